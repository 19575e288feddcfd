"""The surviving and the inferred events of a trace together, as they follow each other.

Axis legend: E surviving events, I inferred ones, M all of them: the surviving ones and then the inferred ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracemend.mending.beliefs import Filled
from tracemend.trace.events import Trace, stable_order

Ints = NDArray[np.int64]

#: Neighbours that make surroundings: the nearest, and some more.
NEAR, FAR = (-2, -1, 1), (-4, -3, 2, 3, 4)


@dataclass(frozen=True)
class Inferred:
    """Fills, one behind the other (each (I,)): what ``Filled`` has, the cpu, and the place among the trace's rows.

    stays: the switches whose thread can't have left to wait, since it runs again and nothing woke it.
    """

    ids: Ints
    tids: Ints
    times: Ints
    confidence: NDArray[np.float32]
    following: Ints
    cpus: Ints
    rows: NDArray[np.float64]
    stays: NDArray[np.bool_]

    @classmethod
    def of(cls, parts: Sequence[Filled]) -> Inferred:
        """All events of some fills."""
        return cls(
            np.concatenate([f.ids for f in parts]),
            np.concatenate([f.tids for f in parts]),
            np.concatenate([f.times for f in parts]),
            np.concatenate([f.confidence for f in parts]),
            np.concatenate([f.following for f in parts]),
            np.repeat(np.array([f.gap.cpu for f in parts], np.int64), [len(f.ids) for f in parts]),
            np.concatenate([np.where(f.times == f.gap.end_ns, f.gap.edges[1][1], f.gap.edges[0][1]) for f in parts]),
            np.zeros(sum(len(f.ids) for f in parts), bool),
        )


class Together:
    """All events (M,): what they are, whose, where, and what those threads are called."""

    def __init__(self, trace: Trace, ids: Ints, inferred: Inferred, comms: NDArray[np.int32]) -> None:
        self.survived = len(trace)
        self.ids = np.append(ids, inferred.ids)
        self.tids = np.append(trace.tid.astype(np.int64), inferred.tids)
        self.cpus = np.append(trace.cpu.astype(np.int64), inferred.cpus)
        self.times = np.append(trace.time_ns, inferred.times)
        self.comms = np.append(trace.comms[0], comms).astype(np.int64)
        self.order = np.lexsort((np.append(np.arange(len(trace)), inferred.rows), self.times))

    def line(self, who: Ints, members: NDArray[np.bool_] | None = None) -> Line:
        """The events of each of ``who`` (M,) as they follow each other; of some only."""
        order = self.order if members is None else self.order[members[self.order]]
        return Line(self, who, order[stable_order(who[order])])


class Line:
    """Events that follow each other: ``order`` has one's after another's."""

    def __init__(self, together: Together, who: Ints, order: Ints) -> None:
        self.together, self.order = together, order
        self.who = who[order]
        self._place = np.full(len(who), -1, np.int64)
        self._place[order] = np.arange(len(order))

    def whose(self, events: Ints) -> Ints:
        """Whose line each event is in."""
        return self.who[self._place[events]]

    def beside(self, events: Ints, step: int) -> Ints:
        """The event so many steps from each one in its line; -1 behind the end."""
        place = self._place[events]
        at = place + step
        inside = (at >= 0) & (at < len(self.order))
        at = np.where(inside, at, place)
        return np.where(inside & (self.who[at] == self.who[place]), self.order[at], -1)

    def latest(self, source: NDArray[np.bool_], *, ahead: bool = False) -> Ints:
        """For each event (M,) the latest one of the sources (M,) before it in its line, -1 where there is none; ahead:
        the next one behind it."""
        order, who = (self.order[::-1], self.who[::-1]) if ahead else (self.order, self.who)
        here = np.where(source[order], np.arange(len(order)), -1)
        before = np.maximum.accumulate(np.append(-1, here))[:-1]
        found = np.full(len(self._place), -1, np.int64)
        found[order] = np.where((before >= 0) & (who[before] == who), order[before], -1)
        return found

    def surroundings(self, events: Ints) -> list[Ints]:
        """Of each event, from the widest to the narrowest: what it is; whose; what stands beside it; all of that;
        further neighbours, too."""
        ids, comms = self.together.ids, self.together.comms[events]
        own = ids[events]

        def neighbours(steps: Sequence[int]) -> list[Ints]:
            found = (self.beside(events, step) for step in steps)
            return [np.where(event >= 0, ids[event], -1) for event in found]

        near, far = neighbours(NEAR), neighbours(FAR)
        return [
            _mixed(*c) for c in ((own,), (own, comms), (own, *near), (own, comms, *near), (own, comms, *near, *far))
        ]


def _mixed(*columns: Ints) -> Ints:
    """Several numbers as one: others give the same one as good as never."""
    mixed = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        mixed = (mixed ^ column.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return mixed.view(np.int64)
