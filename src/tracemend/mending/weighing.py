"""What was inferred in one gap weighs in the next and doesn't bind it: an exit can't be surer than the enter it closes.

Axis legend: N positions of a gap, T threads.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tracemend.mending.beliefs import Filled
from tracemend.mending.constraints import Rules
from tracemend.trace.events import ENTER, EXIT, INSTANT, Trace

Ints = NDArray[np.int64]


class Weighing:
    """The calls that inferred events left open, and how sure it is that they were entered."""

    def __init__(self, trace: Trace, rules: Rules) -> None:
        self.trace, self.rules = trace, rules
        #: By thread the last inferred call, if that is an enter: its time, its id, and how sure it is.
        self._open: dict[int, tuple[int, int, float]] = {}

    def weighed(self, filled: Filled, begins: dict[int, int], alone: NDArray[np.float32]) -> Filled:
        """A fill with its confidence as it is if the calls that are open at the gap's begin were inferred themselves:
        of the exit that closes such a one that of both together, or what it has by itself.

        begins: by thread its state where the gap begins; alone: the confidence of each event by itself (N,).
        """
        asked = [t for t, state in begins.items() if state >= 0 and t in self._open]
        if not asked:
            return filled
        confidence = filled.confidence.copy()
        phase = self.rules.phase[filled.ids]
        for tid in asked:
            time, enter, sure = self._open[tid]
            calls = np.flatnonzero((filled.tids == tid) & ((phase == ENTER) | (phase == EXIT)))
            if enter != begins[tid] or not len(calls) or phase[calls[0]] != EXIT or self._seen(tid, time, filled):
                continue
            at = calls[0]
            confidence[at] = max(alone[at], confidence[at] * np.float32(sure))
        return replace(filled, confidence=confidence)

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
