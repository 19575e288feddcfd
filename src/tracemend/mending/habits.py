"""What each thread usually does: compilers fault pages in, shells fork, idle threads handle interrupts.

Axis legend: E events of the trace, T threads, V vocabulary.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tracemend.mending.beliefs import Beliefs
from tracemend.trace.events import Trace

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

#: So many events of all threads of a command count beside a thread's own, and so many of all threads beside those.
OF_COMMAND, OF_ALL = 50.0, 20.0
#: What habits say at least: an event that a thread was never seen to do is so much rarer of it.
LEAST = 0.005


class Habits:
    """How often each thread of a trace does what. ids (E,): of its events; size: of the vocabulary."""

    def __init__(self, trace: Trace, ids: Ints, size: int) -> None:
        self.trace, self.ids, self.size = trace, ids, size
        counts = np.bincount(ids, minlength=size)
        self.usual_V = (counts + 1.0 / size) / (counts.sum() + 1.0)
        self._commands: dict[int, Floats] = {}
        self._threads: dict[int, NDArray[np.float32]] = {}
        self._nobody = np.ones(size, np.float32)

    def of(self, tids: Ints, beliefs: Beliefs) -> Floats:
        """How much likelier what is believed of each position is of each of these threads than of any (N, T), as
        logarithms."""
        p = np.where(beliefs.events >= 0, beliefs.p, 0)
        whole = np.maximum(p.sum(axis=1), 1e-9)
        likelier = [(p * self._of(tid)[beliefs.events]).sum(axis=1) / whole for tid in tids.tolist()]
        said: Floats = np.log(np.clip(np.stack(likelier, axis=1), LEAST, 1 / LEAST))
        return said

    def _of(self, tid: int) -> NDArray[np.float32]:
        rows = self.trace.threads.get(tid)
        if tid < 0 or rows is None:
            return self._nobody
        found = self._threads.get(tid)
        if found is None:
            counts = np.bincount(self.ids[rows], minlength=self.size)
            command = self._command(int(self.trace.comms[0][rows[-1]]))
            share = (counts + OF_COMMAND * command) / (len(rows) + OF_COMMAND)
            found = self._threads[tid] = (share / self.usual_V).astype(np.float32)
        return found

    def _command(self, code: int) -> Floats:
        found = self._commands.get(code)
        if found is None:
            counts = np.bincount(self.ids[self.trace.comms[0] == code], minlength=self.size)
            found = self._commands[code] = (counts + OF_ALL * self.usual_V) / (counts.sum() + OF_ALL)
        return found
