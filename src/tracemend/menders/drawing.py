"""Fills drawn as wholes (compiled): forward through a gap, then backward, drawing where each event came from.

Forward filtering, backward sampling: Carter and Kohn, "On Gibbs sampling for state space models" (1994).

Axis legend: as in ``menders/passes.py``, and H hypotheses.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tracemend.compiled import compiled
from tracemend.menders.chain import Chain, Floats, Ints
from tracemend.menders.passes import Diagonals, Forward, Known, Rates, behind_of, hold, leaving, sum_of


class _Into(NamedTuple):
    """The moves into each state: edge_E from start_C on, up to the next one's; and room for the ways that they are."""

    edge_E: Ints
    start_C: Ints
    came: Ints
    weight: Floats


@compiled
def _into(chain: Chain) -> _Into:
    states, edges = len(chain.weight_C), len(chain.to_E)
    start, order = np.zeros(states + 1, np.int64), np.empty(edges, np.int64)
    for e in range(edges):
        start[chain.to_E[e] + 1] += 1
    most = 1
    for c in range(states):
        most = max(most, 1 + start[c + 1])
        start[c + 1] += start[c]
    place = start.copy()
    for e in range(edges):
        order[place[chain.to_E[e]]] = e
        place[chain.to_E[e]] += 1
    return _Into(order, start, np.empty(most, np.int64), np.empty(2 * most))


@compiled
def draw(
    chain: Chain,
    diagonals: Diagonals,
    run: Known,
    way: Forward,
    miss: float,
    chance_NH3: Floats,
) -> tuple[Ints, Ints]:
    """Events and the places that they were copied from (H, N). chance_NH3: numbers from 0 to 1, all the chance there
    is."""
    n, first, states = run.length, len(run.left_K) + 1, len(chain.weight_C)
    rates, held, block = way.rates, way.held, len(way.held)
    number = chance_NH3.shape[1]
    events, copied = np.empty((number, n), np.int64), np.empty((number, n), np.int64)
    at_H, ways = np.empty(number, np.int64), (chain, rates, diagonals, _into(chain))
    behind = behind_of(chain, rates, diagonals, run, miss)
    here = np.empty(len(behind))
    for i in range(len(here)):  # expressions of whole arrays take seconds to compile
        here[i] = way.last[i] * behind[i]
    for h in range(number):
        at_H[h] = _one_of(here, chance_NH3[n - 1, h, 0])
    for t in range(n - 1, -1, -1):
        for h in range(number):
            at = at_H[h]
            c = at if at < states else diagonals.state_TD[first + t, at - states]
            events[h, t] = chain.ids_U[chain.event_C[c]]
            copied[h, t] = chain.place_C[c] if at < states else run.site_D[at - states] + t
        if t:
            hold(way, chain, diagonals, run, (t - 1) // block)
            for i in range(len(here)):
                here[i] = held[(t - 1) % block, i]
            leaving(chain, rates, diagonals, first + t - 1, here)
            for h in range(number):
                at_H[h] = _earlier(ways, first + t - 1, here, at_H[h], chance_NH3[t - 1, h])
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
def _earlier(ways: tuple[Chain, Rates, Diagonals, _Into], t: int, y: Floats, at: int, chance_3: Floats) -> int:
    """Where the copy was at moment ``t``, when it was as likely anywhere as y (C + D,), if it is at ``at`` one event
    later."""
    chain, rates, diagonals, into = ways
    states, got = len(chain.weight_C), rates.room_2X[1]
    state_D, then_D, weight_D = diagonals.state_TD[t], diagonals.state_TD[t + 1], diagonals.weight_TD[t]
    if at >= states:
        c = int(state_D[at - states])
        stayed, jumped = y[at] * (1 - rates.total_C[c]), got[c] * weight_D[at - states]
        return at if chance_3[0] * (stayed + jumped) < stayed else _source(chain, rates, diagonals, t, y, c, chance_3)
    # the ways into a state: from the one before it in number, by the other moves; staying or jumping, each
    first, many = into.start_C[at], 1 + into.start_C[at + 1] - into.start_C[at]
    came, weight = into.came[:many], into.weight[: 2 * many]
    came[0], weight[0] = max(at - 1, 0), chain.next_C[at - 1] if at else 0.0
    for w in range(1, many):
        e = into.edge_E[first + w - 1]
        came[w], weight[2 * w] = chain.from_E[e], chain.weight_E[e]
    for w in range(many):
        c = came[w]
        weight[2 * w + 1] = got[c] * weight[2 * w]
        weight[2 * w] *= y[c] * rates.stay_C[c]
    for d in range(len(then_D)):  # what jumped to a diagonal didn't jump to its state
        if then_D[d] == at:
            for w in range(many):
                if state_D[d] == came[w]:
                    weight[2 * w + 1] = max(0.0, weight[2 * w + 1] - got[came[w]] * weight_D[d])
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
