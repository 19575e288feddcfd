"""What is believed of a gap, and what was chosen for it.

Axis legend: N positions of a gap, M candidates, T threads.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tracemend.trace.events import Gap

Ints = NDArray[np.int64]
Whole = NDArray[np.int64] | NDArray[np.int32] | NDArray[np.uint16]

#: So many candidates are left where others are told.
LIKELIEST = 3


@dataclass(frozen=True, slots=True)
class Beliefs:
    """A gap's proposals: events (N, M), p (N, M), threads (N, T) with the thread id of each column, steps (N + 1,)."""

    events: Ints
    p: NDArray[np.float32]
    threads: NDArray[np.float32]
    tids: Ints
    steps: NDArray[np.float64]

    def told(self, other: Beliefs, weight: float) -> Beliefs:
        """The likeliest of these beliefs about the same gap, mixed with so much of the other ones."""
        events, p = self.events[:, :LIKELIEST], self.p[:, :LIKELIEST]
        p = np.where((events[:, :, None] == other.events[:, None, :]).any(axis=2), 0, (1 - weight) * p)
        return Beliefs(
            np.concatenate([other.events, events], axis=1),
            np.concatenate([weight * other.p, p], axis=1).astype(np.float32),
            ((1 - weight) * self.threads + weight * other.threads).astype(np.float32),
            self.tids,
            np.where(np.isnan(other.steps), self.steps, other.steps),
        )


@dataclass(frozen=True, slots=True)
class Filled:
    """A gap's events, one by one (N,): ids, thread ids (-1: nobody knows), times in ns, confidence, and which thread
    follows: the one that a switch goes to or a wakeup wakes (-1: no such event, or nobody knows)."""

    gap: Gap
    ids: Whole
    tids: Whole
    times: Ints
    confidence: NDArray[np.float32]
    following: Whole

    def narrow(self) -> Filled:
        """The same in less memory, to be kept beside many others."""
        following = self.following if self.following.strides == (0,) else self.following.astype(np.int32)
        few = self.ids.max(initial=0) <= np.iinfo(np.uint16).max
        ids: Whole = self.ids.astype(np.uint16) if few else self.ids.astype(np.int32)
        return replace(self, ids=ids, tids=self.tids.astype(np.int32), following=following)
