"""Calls that lost a side: pairs of a thread's events that don't fit, with a gap that explains it."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tracemend.losses.searching import Looked
from tracemend.trace.events import ENTER, EXIT, Gap, by_cpu


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A system call of which a gap took one side: ``lost`` is "exit" or "enter"."""

    gap: int
    tid: int
    comm: str | None
    name: str
    lost: str

    def as_dict(self) -> dict[str, Any]:
        return {"gap": self.gap, "tid": self.tid, "comm": self.comm, "name": self.name, "lost": self.lost}


SIDES = ("exit", "enter")


class _InTime:
    """Gaps in the order in which they begin."""

    def __init__(self) -> None:
        self.begins, self.ends, self.numbers, self.latest = (np.empty(0, np.int64) for _ in range(4))

    def add(self, gaps: Sequence[Gap]) -> None:
        """Take in further gaps."""
        new = np.array([(g.begin_ns, g.end_ns, g.number) for g in gaps], np.int64).reshape(-1, 3)
        held = np.concatenate([np.stack([self.begins, self.ends, self.numbers], axis=1), new])
        held = held[np.argsort(held[:, 0], kind="stable")]
        self.begins, self.ends, self.numbers = np.ascontiguousarray(held.T)
        #: the latest end of each gap and all before it
        self.latest = np.maximum.accumulate(self.ends)

    def first(self, begin_ns: int, end_ns: int) -> int | None:
        """The number of the first gap that overlaps this time, both ends included."""
        at = int(np.searchsorted(self.latest, begin_ns))
        return int(self.numbers[at]) if at < len(self.begins) and self.begins[at] <= end_ns else None


@dataclass
class Calls:
    """Calls with one side missing where a gap lies between the two events that should have been neighbours.

    There may be millions of them, so they are held as columns: gap, thread, command, name (both as places among
    ``words``) and lost side of each in turn.
    """

    words: dict[str | None, int] = field(default_factory=dict)
    _columns: array[int] = field(default_factory=lambda: array("q"))
    _any_cpu: _InTime = field(default_factory=_InTime)
    _own: dict[int, _InTime] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._columns) // 5

    def __iter__(self) -> Iterator[OpenCall]:
        words = list(self.words)
        table = np.array(self._columns, np.int64).reshape(-1, 5)
        # in order of gap and thread, else as they were found
        for gap, tid, comm, name, lost in table[np.lexsort((table[:, 1], table[:, 0]))].tolist():
            yield OpenCall(gap, tid, words[comm], str(words[name]), SIDES[lost])

    def gaps(self, gaps: Sequence[Gap]) -> None:
        """Gaps that pairs to come may lie around."""
        if gaps:
            self._any_cpu.add(gaps)
        for cpu, own in by_cpu(gaps).items():
            self._own.setdefault(cpu, _InTime()).add(own)

    def look(self, looked: Looked, around: Sequence[Gap]) -> None:
        """Find the calls of a piece. around: gaps that are not told for good, because they reach beyond it."""
        trace = looked.trace
        near = Calls()
        near.gaps(around)
        (codes, names), (comm_codes, comms) = trace.names, trace.comms
        for p, q in zip(looked.before.tolist(), looked.after.tolist(), strict=True):
            span = int(trace.time_ns[p]), int(trace.time_ns[q])
            cpus = int(trace.cpu[p]), int(trace.cpu[q])
            number = self._explains(span, cpus, near)
            if number is None:
                continue
            for row, phase, lost in ((p, ENTER, 0), (q, EXIT, 1)):
                if trace.phase[row] == phase:
                    comm = comms[comm_codes[row]] if comm_codes[row] >= 0 else None
                    words = (self.words.setdefault(w, len(self.words)) for w in (comm, names[codes[row]]))
                    self._columns.extend((number, int(trace.tid[row]), *words, lost))

    def _explains(self, span: tuple[int, int], cpus: tuple[int, int], near: Calls) -> int | None:
        """The number of the first gap of one of these cpus, or else of any, that overlaps this time."""
        ways = [those._own.get(c) for c in dict.fromkeys(cpus) for those in (self, near)]
        ways += [self._any_cpu, near._any_cpu]
        return next((n for those in ways if those and (n := those.first(*span)) is not None), None)

    def renumber(self, numbers: dict[int, int]) -> None:
        """Gaps by their last numbers; calls of those that have none are forgotten."""
        table = np.array(self._columns, np.int64).reshape(-1, 5)
        table = table[np.isin(table[:, 0], np.array(list(numbers), np.int64))]
        table[:, 0] = [numbers[n] for n in table[:, 0].tolist()]
        self._columns = array("q", table.tobytes())
