"""How much of each figure the gaps of a recording lost, gap by gap: in truth, by fills, and by scaling what survived.

Axis legend: E events in order of time, C calls, A amounts, K figures (one key in one gap), S sides, G gaps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.mending.mended import INFERRED, rows_of
from tracemend.reckoning.calls import paired
from tracemend.reckoning.events import coded
from tracemend.recording import Pair
from tracemend.trace.events import ENTER, PHASES, Trace

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

#: The figures that each gap has a part of: by what, and which.
KINDS = ("call calls", "thread calls", "call time_ns")
#: Of an event that lies in no gap.
SURVIVED = -1


class Amounts(NamedTuple):
    """Each (A,): so much of the figure of a key lies there. place: a gap, or a cpu."""

    place: Ints
    key: Ints
    amount: Floats


class Calls(NamedTuple):
    """The calls that were made, each (C,): by whom, which, on which cpu, in which gap it was entered, how long it took,
    and which gap it takes to know that (that of its enter or, if that survived, of its exit)."""

    tid: Ints
    name: Ints
    cpu: Ints
    gap: Ints
    took_ns: Ints
    rests: Ints

    def of(self, kind: str) -> tuple[Ints, Floats, Ints]:
        """The keys of a kind of figure, how much of it each call is, and in which gap."""
        key = self.tid if kind.startswith("thread ") else self.name
        if kind.endswith(" time_ns"):
            return key, self.took_ns.astype(float), self.rests
        return key, np.ones(len(key)), self.gap

    def in_gaps(self, kind: str) -> Amounts:
        key, amount, gap = self.of(kind)
        lost = gap != SURVIVED
        return Amounts(gap[lost], key[lost], amount[lost])

    def by_cpu(self, kind: str) -> Amounts:
        """Wherever they lie."""
        key, amount, _ = self.of(kind)
        return Amounts(self.cpu, key, amount)


@dataclass(frozen=True)
class Calling:
    """Finds the calls of a recording: in truth, as it is, and as fills have it. codes: numbers of names, shared by all
    of these."""

    pair: Pair
    codes: dict[str, int]

    def in_truth(self) -> Calls:
        complete = self.pair.complete
        gap = np.full(len(complete), SURVIVED)
        for number, rows in enumerate(self.pair.missing):
            gap[rows] = number
        return self._calls(complete, np.argsort(complete.time_ns, kind="stable"), gap)

    def filled(self, inferred: pa.Table | None = None) -> Calls:
        """With inferred events (of INFERRED or HYPOTHESES); with none, as the recording is."""
        lossy = self.pair.lossy
        table = INFERRED.empty_table() if inferred is None else inferred
        rows = np.concatenate([np.arange(len(lossy)), rows_of(table, lossy.gaps)])
        order = np.lexsort((rows, np.concatenate([lossy.time_ns, table["time_ns"].to_numpy()])))
        gap = np.concatenate([np.full(len(lossy), SURVIVED), table["gap"].to_numpy()])
        return self._calls(lossy, order, gap, table)

    def _calls(self, trace: Trace, order: Ints, gap: Ints, inferred: pa.Table | None = None) -> Calls:
        """gap (E,): where each of the trace's events and of the inferred ones lies."""
        table = INFERRED.empty_table() if inferred is None else inferred
        codes, names = trace.names
        said, known = coded(table["name"])
        phases, spelt = coded(table["phase"])
        columns = (
            (trace.time_ns, table["time_ns"]),
            (trace.cpu, table["cpu"]),
            (trace.tid, table["tid"]),
        )
        time_ns, cpu, tid = (np.concatenate([own, more.to_numpy()]).astype(np.int64)[order] for own, more in columns)
        code = np.concatenate([self._numbers(names)[codes], self._numbers(known)[said]])[order]
        phase = np.concatenate([trace.phase, np.array([PHASES.index(p) for p in spelt], np.int8)[phases]])[order]
        gap = gap.astype(np.int64)[order]
        calls = paired(tid, code, phase)
        entered = phase[calls.rows] == ENTER
        took, rests = np.zeros(len(order), np.int64), gap.copy()
        if not trace.nested:
            enter, leave = calls.rows[calls.first], calls.rows[calls.first + 1]
            took[enter] = time_ns[leave] - time_ns[enter]
            rests[enter] = np.where(gap[enter] == SURVIVED, gap[leave], gap[enter])
            entered |= calls.lone  # a call was made if its exit is there
        made = calls.rows[entered]
        return Calls(*(column[made] for column in (tid, code, cpu, gap, took, rests)))

    def _numbers(self, names: Iterable[str]) -> Ints:
        return np.array([self.codes.setdefault(n, len(self.codes)) for n in names], np.int64)


def side_by_side(sides: Sequence[Amounts]) -> tuple[Ints, Ints, Floats]:
    """Places and keys that any side has (each (K,)), and how much each side has there (S, K)."""
    place, key, amount = (np.concatenate([side[i] for side in sides]) for i in range(3))
    pairs, at = np.unique(np.stack([place, key]).astype(np.int64), axis=1, return_inverse=True)
    total = np.zeros((len(sides), pairs.shape[1]))
    np.add.at(total, (np.repeat(np.arange(len(sides)), [len(s.place) for s in sides]), at.ravel()), amount)
    return pairs[0], pairs[1], total


def scaled(pair: Pair, survived: Amounts) -> tuple[Amounts, Amounts]:
    """What each gap lost if it is as what survived of its cpu is, and the variance of that if each lost event is drawn
    by itself; survived: by cpu."""
    lossy = pair.lossy
    cpu, key, (once, squared) = side_by_side([survived, survived._replace(amount=survived.amount**2)])
    lost = np.array([len(m) for m in pair.missing], float)
    left = np.array([len(lossy.streams.get(g.cpu, ())) for g in lossy.gaps], float)
    at = [np.flatnonzero(cpu == g.cpu) for g in lossy.gaps]
    own = np.concatenate([np.empty(0, np.int64), *at])
    gap = np.repeat(np.arange(len(at)), [len(a) for a in at])
    times = (lost / np.maximum(left, 1))[gap]
    return Amounts(gap, key[own], once[own] * times), Amounts(gap, key[own], squared[own] * times)
