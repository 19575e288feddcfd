"""Whose events a copy's are (compiled): as far back in the gap as the copied event's thread was last seen at its place.

Axis legend: K known events on a side, N hidden positions, T thread slots.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tracemend.compiled import compiled
from tracemend.trace.windows import UNKNOWN_THREAD

Ints = NDArray[np.int64]


@compiled
def follow(known_K: Ints, distance_N: Ints, from_behind: bool, threads_NT: NDArray[np.float32]) -> None:
    """Add what one edge of the gap says: known_K its slots, the nearest last; distance_N: how far back each event's
    thread was last seen, 0 for never; ``from_behind``: the same from the gap's end on.

    The nearer edge says more.
    """
    n, known = len(distance_N), len(known_K)
    line = np.empty(known + n, np.int64)
    line[:known] = known_K
    for t in range(n):
        d = distance_N[t]
        slot = line[known + t - d] if 0 < d <= known + t else UNKNOWN_THREAD
        line[known + t] = slot
        threads_NT[n - 1 - t if from_behind else t, slot] += (n - t) / (n + 1)
