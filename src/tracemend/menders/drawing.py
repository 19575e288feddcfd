"""Fills drawn as wholes (compiled): forward through a gap, then backward, drawing where each event came from.

Forward filtering, backward sampling: Carter and Kohn, "On Gibbs sampling for state space models" (1994).

Axis legend: as in ``menders/passes.py``, and H hypotheses.
"""

from __future__ import annotations

import numpy as np

from tracemend.compiled import compiled
from tracemend.menders.chain import Chain, Floats, Ints
from tracemend.menders.passes import Diagonals, Known, Rates, before, behind_of, leaving, onward, rates_of, sum_of


@compiled
def draw(
    chain: Chain,
    diagonals: Diagonals,
    run: Known,
    jump_L: Floats,
    miss: float,
    chance_NH3: Floats,
) -> tuple[Ints, Ints]:
    """Events and the places that they were copied from (H, N). chance_NH3: numbers from 0 to 1, all the chance there
    is."""
    n, first, states = run.length, len(run.left_K) + 1, len(chain.weight_C)
    size = states + len(run.site_D)
    rates = rates_of(chain, jump_L)
    here, there = before(chain, rates, diagonals, run, miss), np.empty(size)
    held = np.empty((n, size), np.float32)
    for t in range(n):
        onward(chain, rates, diagonals, first + t - 1, here, there)
        here, there = there, here
        held[t] = here
    number = chance_NH3.shape[1]
    events, copied = np.empty((number, n), np.int64), np.empty((number, n), np.int64)
    at_H = np.empty(number, np.int64)
    behind = behind_of(chain, rates, diagonals, run, miss)
    for i in range(size):
        there[i] = held[n - 1, i] * behind[i]
    for h in range(number):
        at_H[h] = _one_of(there, chance_NH3[n - 1, h, 0])
    for t in range(n - 1, -1, -1):
        for h in range(number):
            at = at_H[h]
            c = at if at < states else diagonals.state_TD[first + t, at - states]
            events[h, t] = chain.ids_U[chain.event_C[c]]
            copied[h, t] = chain.place_C[c] if at < states else run.site_D[at - states] + t
        if t:
            here[:] = held[t - 1]
            leaving(chain, rates, diagonals, first + t - 1, here)
            for h in range(number):
                at_H[h] = _earlier(chain, rates, diagonals, first + t - 1, here, at_H[h], chance_NH3[t - 1, h])
    return events, copied


@compiled
def _one_of(weight: Floats, chance: float) -> int:
    """One of them, as likely as its weight."""
    left, last = chance * sum_of(weight), 0
    for i in range(len(weight)):
        if weight[i] > 0:
            last = i
            left -= weight[i]
            if left < 0:
                break
    return last


@compiled
def _earlier(chain: Chain, rates: Rates, diagonals: Diagonals, t: int, y: Floats, at: int, chance_3: Floats) -> int:
    """Where the copy was at moment ``t``, when it was as likely anywhere as y (C + D,), if it is at ``at`` one event
    later."""
    states, got = len(chain.weight_C), rates.room_2X[1]
    state_D, then_D, weight_D = diagonals.state_TD[t], diagonals.state_TD[t + 1], diagonals.weight_TD[t]
    if at >= states:
        c = int(state_D[at - states])
        stayed, jumped = y[at] * (1 - rates.total_C[c]), got[c] * weight_D[at - states]
        return at if chance_3[0] * (stayed + jumped) < stayed else _source(chain, rates, diagonals, t, y, c, chance_3)
    # the ways into a state: from the one before it in number, by the other moves; staying or jumping, each
    ways = 1
    for e in range(len(chain.to_E)):
        ways += chain.to_E[e] == at
    came, weight = np.empty(ways, np.int64), np.zeros(2 * ways)
    came[0] = max(at - 1, 0)
    if at:
        weight[0] = chain.next_C[at - 1]
    ways = 1
    for e in range(len(chain.to_E)):
        if chain.to_E[e] == at:
            came[ways], weight[2 * ways] = chain.from_E[e], chain.weight_E[e]
            ways += 1
    for w in range(ways):
        c = came[w]
        weight[2 * w + 1] = got[c] * weight[2 * w]
        weight[2 * w] *= y[c] * rates.stay_C[c]
        for d in range(len(state_D)):  # what jumped to a diagonal didn't jump to its state
            if state_D[d] == c and then_D[d] == at:
                weight[2 * w + 1] = max(0.0, weight[2 * w + 1] - got[c] * weight_D[d])
    way = _one_of(weight, chance_3[0])
    c = int(came[way // 2])
    return c if way % 2 == 0 else _source(chain, rates, diagonals, t, y, c, chance_3)


@compiled
def _source(chain: Chain, rates: Rates, diagonals: Diagonals, t: int, y: Floats, c: int, chance_3: Floats) -> int:
    """From where a copy jumped to a context of state ``c``."""
    states, sums, got = len(chain.weight_C), rates.room_2X[0], rates.room_2X[1]
    state_D, then_D = diagonals.state_TD[t], diagonals.state_TD[t + 1]
    x, left = c, chance_3[1] * got[c] - rates.rate_X[c] * sums[c]
    while left >= 0 and x < len(chain.parent_X) - 1:
        x = int(chain.parent_X[x])
        left -= rates.rate_X[x] * sums[x]
    left, last = chance_3[2] * sums[x], c
    for i in range(len(y)):
        state = i if i < states else int(state_D[i - states])
        if state < 0 or y[i] <= 0:
            continue
        above = state
        while above < x:
            above = int(chain.parent_X[above])
        if above != x:
            continue
        leave = rates.leave_C[state]
        if i >= states:
            leave = 1.0 if then_D[i - states] >= 0 else 1 / max(rates.total_C[state], 1e-280)
        last = i
        left -= y[i] * leave
        if left < 0:
            break
    return last
