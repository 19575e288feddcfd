"""How much of a context stands beside places of the index (compiled).

Axis legend: S places of the index, P sites, K events of a context, the nearest first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tracemend.compiled import compiled

Ints = NDArray[np.int64]


@compiled
def match(ids_S: Ints, site_P: Ints, context_K: Ints, side: int) -> Ints:
    """How many events of the context stand next to each site (P,): before it (side -1) or from it on (side 1)."""
    length_P = np.zeros(len(site_P), np.int64)
    for p in range(len(site_P)):
        at = site_P[p] if side > 0 else site_P[p] - 1
        if not 0 <= site_P[p] <= len(ids_S):
            continue
        k = 0
        while k < len(context_K) and 0 <= at < len(ids_S) and ids_S[at] == context_K[k]:
            at += side
            k += 1
        length_P[p] = k
    return length_P
