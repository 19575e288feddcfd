"""What an inferred event rests on. What was inferred in one gap weighs in the next and doesn't bind it: an exit can't
be surer than the enter it closes.

Axis legend: N positions of a gap, C calls' events among them in order of their threads, T threads.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tracemend.mending.beliefs import Filled
from tracemend.mending.constraints import Rules, Threads
from tracemend.trace.events import ENTER, EXIT, INSTANT, Trace
from tracemend.trace.vocabulary import OTHER

Ints = NDArray[np.int64]

#: Numbers of ``confidence.RESTS``.
ITSELF, INSIDE, SURVIVOR, CARRIED, ASKED = range(5)


class Weighing:
    """The calls that inferred events left open, and how sure it is that they were entered."""

    def __init__(self, trace: Trace, rules: Rules) -> None:
        self.trace, self.rules = trace, rules
        #: By thread the last inferred call, if that is an enter: its time, its id, and how sure it is.
        self._open: dict[int, tuple[int, int, float]] = {}

    def weighed(self, filled: Filled, threads: Threads, alone: NDArray[np.float32]) -> tuple[NDArray[np.float32], Ints]:
        """The belief in each event of a fill, whose confidence is that belief so far, and what each rests on (N,).

        The belief in an exit that closes an inferred call of an earlier gap is that in both together, or what it has by
        itself. alone: the belief in each event by itself (N,).
        """
        belief = filled.confidence.copy()
        rests, first = self._rests(filled, threads)
        for at in first.tolist():
            tid = int(filled.tids[at])
            time, enter, sure = self._open.get(tid, (0, OTHER, 0.0))
            if enter == self.rules.partner[filled.ids[at]] and not self._seen(tid, time, filled):
                rests[at] = CARRIED
                belief[at] = max(alone[at], belief[at] * np.float32(sure))
        return belief, rests

    def _rests(self, filled: Filled, threads: Threads) -> tuple[Ints, Ints]:
        """What each event rests on, if all that is known of threads before the gap survived (N,), and the exits that
        close what was open at its begin."""
        rests = np.full(len(filled.ids), ITSELF)
        phase = self.rules.phase[filled.ids]
        calls = np.flatnonzero(((phase == ENTER) | (phase == EXIT)) & (filled.tids >= 0))
        calls = calls[np.argsort(filled.tids[calls], kind="stable")]
        tid_C, phase_C = filled.tids[calls], phase[calls]
        same = tid_C[1:] == tid_C[:-1]
        rests[calls[1:][same & (phase_C[1:] == EXIT) & (phase_C[:-1] == ENTER)]] = INSIDE
        begins = dict(zip(threads.tids[::-1].tolist(), threads.begin[::-1].tolist(), strict=True))
        ends = dict(zip(threads.tids.tolist(), threads.end.tolist(), strict=True))
        first = calls[np.append(True, ~same)[: len(calls)] & (phase_C == EXIT)]
        first = first[[begins.get(t, -1) >= 0 for t in filled.tids[first].tolist()]]
        rests[first] = SURVIVOR
        last = calls[np.append(~same, True)[: len(calls)] & (phase_C == ENTER)]
        rests[last[[ends.get(int(filled.tids[i]), -1) == filled.ids[i] for i in last.tolist()]]] = ASKED
        return rests, first

    def _seen(self, tid: int, since_ns: int, filled: Filled) -> bool:
        """Whether a call of the thread survived between a time and this gap."""
        rows = self.trace.threads.get(tid, np.empty(0, np.int64))
        times = self.trace.time_ns[rows]
        between = rows[np.searchsorted(times, since_ns, "right") : np.searchsorted(times, filled.gap.begin_ns, "right")]
        return bool((self.trace.phase[between] != INSTANT).any())

    def remember(self, filled: Filled) -> None:
        """Keep what a fill leaves open."""
        phase = self.rules.phase[filled.ids]
        calls = np.flatnonzero(((phase == ENTER) | (phase == EXIT)) & (filled.tids >= 0))
        tids, last = np.unique(filled.tids[calls][::-1], return_index=True)
        for tid, at in zip(tids.tolist(), calls[::-1][last].tolist(), strict=True):
            if phase[at] == ENTER:
                self._open[tid] = int(filled.times[at]), int(filled.ids[at]), float(filled.confidence[at])
            else:
                self._open.pop(tid, None)
