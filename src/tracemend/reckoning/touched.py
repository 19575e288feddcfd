"""Which figures a gap touches: all others are exact.

Axis legend: K keys, G gaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracemend.mending.mended import Fill
from tracemend.reckoning.tally import TIME
from tracemend.trace.events import Gap

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Touched:
    """begin_ns, end_ns, cpu, open (each (G,)): where gaps lie, on which cpu (-1: on any), and whether nobody knows how
    many events are missing there still: it was left open, or its count is an estimate, or it was filled without draws.
    """

    begin_ns: Ints
    end_ns: Ints
    cpu: Ints
    open: Bools

    @classmethod
    def by(cls, gaps: Sequence[Gap], fills: Sequence[Fill]) -> Touched:
        places = np.array([(g.begin_ns, g.end_ns, g.cpu) for g in gaps], np.int64).reshape(-1, 3)
        unsure = [not f.counted or f.estimated or bool(f.by) for f in fills]
        return cls(places[:, 0], places[:, 1], places[:, 2], np.array(unsure, bool))

    def of(self, which: Bools) -> Touched:
        return Touched(self.begin_ns[which], self.end_ns[which], self.cpu[which], self.open[which])

    def within(self, begin_ns: Ints, end_ns: Ints) -> Bools:
        """Whether a gap lies in each of some times (K,), both ends included."""
        began = np.searchsorted(np.sort(self.begin_ns), end_ns, "right")
        return np.asarray(began > np.searchsorted(np.sort(self.end_ns), begin_ns, "left"))

    def figures(self, column: int, cpus: Ints | None, begin_ns: Ints, end_ns: Ints, until_ns: Ints) -> Bools:
        """Whether a gap touches a figure (a column of a tally) of each key (K,), whose events lie in these times; calls
        that are among them rest on events up to ``until_ns``. cpus: on which cpu its events lie, if all on one."""
        if column == TIME:  # the other half of a call, and what is between, may lie on any cpu
            return self.within(begin_ns, np.maximum(end_ns, until_ns))
        if cpus is None:
            return self.within(begin_ns, end_ns)
        found = np.zeros(len(cpus), bool)
        for cpu in np.unique(cpus):
            here = self.of((self.cpu == cpu) | (self.cpu < 0) | (cpu < 0))
            at = cpus == cpu
            found[at] = here.within(begin_ns[at], end_ns[at])
        return found
