"""How much of a context stands beside places of the index (compiled).

Axis legend: S places of the index, P sites, K events of a context, the nearest first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tracemend.compiled import compiled
from tracemend.menders.places import BASE

Ints = NDArray[np.int64]
Words = NDArray[np.uint64]


@compiled
def united(sites_P: Ints, others_P: Ints, low: int, high: int) -> Ints:
    """Sites of both, each once, from ``low`` up to ``high``; all in order."""
    found = np.empty(len(sites_P) + len(others_P), np.int64)
    i = j = number = 0
    while i < len(sites_P) or j < len(others_P):
        if j == len(others_P) or (i < len(sites_P) and sites_P[i] <= others_P[j]):
            site = sites_P[i]
            i += 1
        else:
            site = others_P[j]
            j += 1
        if low <= site < high and (number == 0 or found[number - 1] != site):
            found[number] = site
            number += 1
    return found[:number]


@compiled
def match(ids_S: NDArray[np.int32], site_P: Ints, context_K: Ints, side: int) -> Ints:
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


@compiled
def alike(behind_P: NDArray[np.uint32], prefix: Words, k: int, key: np.uint64, bits: int) -> tuple[int, int]:
    """Which of the positions behind runs of k events, that are in order of the runs' mixed hashes without the lowest
    ``bits``, are those of this hash: from the first to the last.

    Positions are at least k, and less than there are prefixes (S + 1,).
    """
    low = np.uint64(bits)
    power = np.uint64(1)
    for _ in range(k):
        power = power * BASE
    wanted = (key * BASE) >> low
    first, found, last = 0, len(behind_P), len(behind_P)
    while first < found:
        middle = (first + found) // 2
        at = behind_P[middle]
        if ((prefix[at] - prefix[at - k] * power) * BASE) >> low < wanted:
            first = middle + 1
        else:
            found = middle
    while found < last:
        middle = (found + last) // 2
        at = behind_P[middle]
        if ((prefix[at] - prefix[at - k] * power) * BASE) >> low <= wanted:
            found = middle + 1
        else:
            last = middle
    return first, last
