"""How places that look like a gap's surroundings vote for what stood in it (compiled).

Axis legend: S places of the index, P sites, N hidden positions, U events that are voted for, T thread slots, R ranks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracemend.compiled import compiled
from tracemend.trace.windows import SLOTS, UNKNOWN_THREAD

Ints = NDArray[np.int64]
Narrow = NDArray[np.int32]
Floats = NDArray[np.float64]


class Sites(NamedTuple):
    """Sites and how well they match. place_P: where they begin. left_P, right_P: logarithms of (1 + events that match)
    on each side, 0 where none does. sure_P: whether both sides match at the gap's exact distance. end_P, begin_P: where
    the stretch of the left match ends, and that of the right one begins."""

    place_P: Ints
    left_P: Floats
    right_P: Floats
    sure_P: NDArray[np.bool_]
    end_P: Ints
    begin_P: Ints


@compiled
def votes(
    ids_S: Narrow, sites: Sites, n: int, power: float, reach: float, foreign: int, trust: float
) -> tuple[Floats, Ints, Floats]:
    """Each site's vote at each position (P, N), the events that any of them is for, in order, and the sums (N, U).

    A one-sided vote counts only on its own stretch of events, and fades with the distance from its edge; one from the
    places behind ``foreign`` counts ``trust``.
    """
    vote_PN = np.zeros((len(sites.place_P), n))
    highest = -1
    for p in range(len(sites.place_P)):
        for i in range(n):
            at = sites.place_P[p] + i
            if not 0 <= at < len(ids_S) or ids_S[at] < 0:
                continue
            evidence = 0.0
            if sites.left_P[p] > 0 and at < sites.end_P[p]:
                evidence += sites.left_P[p] * (1.0 if sites.sure_P[p] else 1 / (1 + i / reach))
            if sites.right_P[p] > 0 and at >= sites.begin_P[p]:
                evidence += sites.right_P[p] * (1.0 if sites.sure_P[p] else 1 / (1 + (n - 1 - i) / reach))
            if evidence > 0:
                vote_PN[p, i] = np.expm1(power * evidence) * (trust if at >= foreign else 1.0)
                highest = max(highest, ids_S[at])
    named = np.zeros(highest + 1, np.bool_)
    for p in range(len(sites.place_P)):
        for i in range(n):
            if vote_PN[p, i] > 0:
                named[ids_S[sites.place_P[p] + i]] = True
    column, number = np.zeros(highest + 1, np.int64), 0
    for event in range(highest + 1):
        column[event] = number
        number += named[event]
    sum_NU = np.zeros((n, number))
    for p in range(len(sites.place_P)):
        for i in range(n):
            if vote_PN[p, i] > 0:
                sum_NU[i, column[ids_S[sites.place_P[p] + i]]] += vote_PN[p, i]
    return vote_PN, np.flatnonzero(named), sum_NU


@compiled
def thread_votes(tids_S: Narrow, place_P: Ints, vote_PN: Floats, depth: tuple[int, int], here_R: Ints) -> Floats:
    """Votes (N, T) for thread slots. depth: events that a site's threads are ranked by on its left and its right.
    here_R: the slots of the gap's own surroundings by rank, the first is nobody's.

    As ``slots_by_recency`` and ``to_slots`` (``trace/windows.py``) of each site.
    """
    sites, n = vote_PN.shape
    vote_NT = np.zeros((n, SLOTS))
    ranked = np.empty(SLOTS, np.int64)
    for p in range(sites):
        begin, end = place_P[p], place_P[p] + n
        left, right = max(begin, 0), end if end >= 0 else len(tids_S)
        ranked[0] = -1
        ranks = 1
        for k in range(max(depth[0], depth[1])):
            for at in (left - 1 - k, right + k):
                within = (k < depth[0] and at >= 0) if at < left else (k < depth[1] and at < len(tids_S))
                if ranks == SLOTS or not within or tids_S[at] < 0:
                    continue
                known = False
                for r in range(1, ranks):
                    known = known or ranked[r] == tids_S[at]
                if not known:
                    ranked[ranks] = tids_S[at]
                    ranks += 1
        for i in range(n):
            at = begin + i
            tid = tids_S[at] if 0 <= at < len(tids_S) else -1
            rank = 0
            for r in range(1, ranks):
                if ranked[r] == tid:
                    rank = r
            slot = here_R[rank] if rank < len(here_R) else UNKNOWN_THREAD
            vote_NT[i, slot] += vote_PN[p, i]
    return vote_NT
