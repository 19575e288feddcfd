"""Marks on their way to gaps: a mark becomes a gap where the events around it are known.

Axis legend: E events that are held, rows ``first`` and on of the whole trace.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.trace.events import Gap, Known, Mark, rows_by

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Held:
    """Events of a trace whose gaps are placed: the cpus and times (E,) of its rows from ``first`` on, and the earliest
    and the latest time of all that was read."""

    cpu: NDArray[np.int32]
    time_ns: Ints
    first: int = 0
    span_ns: tuple[int, int] = (0, 0)

    @classmethod
    def whole(cls, cpu: NDArray[np.int32], time_ns: Ints) -> Held:
        return cls(cpu, time_ns, 0, (int(time_ns.min()), int(time_ns.max())) if len(time_ns) else (0, 0))


@dataclass(slots=True)
class _Waiting:
    """Marks that are one gap, as one. ``number``: of the gap; -1 as long as it has none."""

    mark: Mark
    number: int = -1


@dataclass
class Placing:
    """Places marks between the events of their cpu that surround them; marks with no event between them are one gap.

    It may see a trace piece by piece: ``behind`` then has each cpu's last event (row and time) in front of what is
    held. Gaps are numbered over the whole trace, in the order of their lines.
    """

    behind: dict[int, tuple[int, int]] = field(default_factory=dict)
    _waiting: list[_Waiting] = field(default_factory=list)
    _number: int = 0

    def place(
        self, marks: Sequence[Mark], held: Held, own: int = 0, until: int | None = None
    ) -> tuple[list[Gap], list[Gap]]:
        """Take in further marks, and place those whose event behind is one of the rows from ``own`` up to ``until``
        (all that are left, if None), which are returned in order of their numbers.

        Also returned are the gaps that wait, as far as they are known.
        """
        waiting = [*self._waiting, *map(_Waiting, marks)]
        rows = rows_by(held.cpu) if waiting else {}
        merged: dict[tuple[int, int], _Waiting] = {}
        places = np.zeros(len(waiting), np.int64)
        # a mark that comes too late for its place has it in front of what was handed on
        row = np.maximum(np.array([w.mark.row for w in waiting], np.int64), own) - held.first
        for cpu, those in rows_by(np.array([w.mark.cpu for w in waiting], np.int64)).items():
            places[those] = np.searchsorted(rows.get(cpu, np.empty(0, np.int64)), row[those])
        for one, at in zip(waiting, places.tolist(), strict=True):
            found = merged.setdefault((one.mark.cpu, at), one)
            if found is not one:
                found.mark = _joined(found.mark, one.mark)
        for one in sorted((w for w in merged.values() if w.number < 0), key=lambda w: w.mark.line):
            one.number, self._number = self._number, self._number + 1
        placed, left, self._waiting = [], [], []
        for (cpu, at), one in merged.items():
            gap = self._gap(one, rows.get(cpu, np.empty(0, np.int64)), at, held)
            if until is None or (gap.after is not None and gap.after < until):
                placed.append(gap)
            else:
                left.append(gap)
                self._waiting.append(one)
        return sorted(placed, key=lambda g: g.number), left

    def _gap(self, one: _Waiting, stream: Ints, at: int, held: Held) -> Gap:
        """A gap in front of event ``at`` of its stream, of which ``stream`` are the rows that are held."""
        mark, (lo, hi) = one.mark, held.span_ns
        before, after = self.behind.get(mark.cpu), None
        if at:
            before = int(stream[at - 1]) + held.first, int(held.time_ns[stream[at - 1]])
        if at < len(stream):
            after = int(stream[at]) + held.first, int(held.time_ns[stream[at]])
        # on a side without an event what the tracer says is all there is, be it beyond every event that survived
        begin = before[1] if before else lo if mark.begin_ns is None else mark.begin_ns
        end = after[1] if after else hi if mark.end_ns is None else mark.end_ns
        begin = begin if mark.begin_ns is None else max(begin, min(mark.begin_ns, end))
        end = end if mark.end_ns is None else max(min(begin, end), min(end, mark.end_ns))
        known: Known = "uncounted" if mark.count is None else "counted"
        rows = before[0] if before else None, after[0] if after else None
        return Gap(one.number, mark.cpu, *rows, min(begin, end), end, mark.count, known, mark.line)

    def forget(self, cpu: NDArray[np.int32], time_ns: Ints, first: int) -> None:
        """Events (E,) that will be held no longer, the first of them row ``first``."""
        self.behind.update((c, (first + row, int(time_ns[row]))) for c, row in last_of(cpu).items())


def last_of(key: NDArray[np.integer[Any]]) -> dict[int, int]:
    """The last row of each distinct value of ``key`` (E,)."""
    coded = pa.array(key).dictionary_encode()
    values = coded.dictionary.to_numpy()
    last = np.zeros(len(values), np.int64)
    last[coded.indices.to_numpy()] = np.arange(len(key))  # of several the last one stays
    order = np.argsort(values)
    return dict(zip(values[order].tolist(), last[order].tolist(), strict=True))


def _joined(held: Mark, mark: Mark) -> Mark:
    """Two marks as one, which has a count only if both have one."""
    begins, ends = (held.begin_ns, mark.begin_ns), (held.end_ns, mark.end_ns)
    return replace(
        held,
        count=None if held.count is None or mark.count is None else held.count + mark.count,
        begin_ns=None if None in begins else min(b for b in begins if b is not None),
        end_ns=None if None in ends else max(e for e in ends if e is not None),
    )


def gaps_from_marks(cpu: NDArray[np.int32], time_ns: Ints, marks: Sequence[Mark]) -> tuple[Gap, ...]:
    """The gaps of a whole trace; cpu (E,), time_ns (E,): of its events in file order."""
    return tuple(Placing().place(marks, Held.whole(cpu, time_ns))[0])
