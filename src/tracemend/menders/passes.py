"""Forward and backward through a gap, over states and diagonals (compiled).

The states are those of ``menders/chain.py``. Diagonals are the places that the best matching sites pass at each moment,
each for itself: where the events before a gap and those behind it stand at the gap's very distance, what lies between
them is likely to be what was lost, and merged with its like it would be forgotten. A jump to a state finds the diagonal
among its places; from there on the copy goes along it.

Forward and backward: Rabiner, "A tutorial on hidden Markov models" (1989), eq. 19, 20, 25 and 27.

Axis legend: S places of the index, C states, X nodes of the tree of contexts, E moves between states, D diagonals, T
moments from the first known event to the last, N hidden positions, M candidates, K known events, U distinct events.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracemend.compiled import compiled
from tracemend.menders.base import CANDIDATES
from tracemend.menders.chain import Chain, Floats, Index, Ints

TINY = 1e-280
#: Numbers of the forward pass that are held at once; what is beyond is computed a second time.
HELD = 1 << 22
#: In gaps of up to so many events the copied place is the likeliest one, in longer ones one of the likeliest state: of
#: the many places that a copy may have come to by then none is likely, but their threads are alike.
SHORT = 40


class Known(NamedTuple):
    """A run: so many hidden events, what is known beside them (K,), and where diagonals stand at its first one (D,)."""

    length: int
    left_K: Ints
    right_K: Ints
    site_D: Ints


class Diagonals(NamedTuple):
    """Places that go through a run side by side: the state of each at each moment, -1 where it isn't copied from, and
    what it counts. Moments begin before the first known event."""

    state_TD: NDArray[np.int32]
    weight_TD: Floats


class Rates(NamedTuple):
    """How likely what is at a state goes on elsewhere. total_C: the probability of a jump. stay_C: of going on, for a
    unit of the weight. leave_C: how much a jump is likelier where some places have no next one. rate_X: of a jump to a
    node's context, for a unit of the weight there. room_2X, room_C: for numbers on the way."""

    total_C: Floats
    stay_C: Floats
    leave_C: Floats
    rate_X: Floats
    room_2X: Floats
    room_C: Floats


@compiled
def rates_of(chain: Chain, jump_L: Floats) -> Rates:
    """jump_L: the probability of a jump to a context of each length."""
    states, nodes = len(chain.weight_C), len(chain.parent_X)
    rate, total = np.zeros(nodes), np.zeros(nodes)
    for x in range(nodes - 1, -1, -1):
        if chain.enter_X[x] > 0:
            p = 0.0
            for rank in range(chain.rank_X[x], chain.top_X[x] + 1):
                p += jump_L[rank]
            rate[x] = p / chain.enter_X[x]
            total[x] = p
        if x < nodes - 1:
            total[x] += total[chain.parent_X[x]]
    total_C = total[:states]
    stay, leave = np.empty(states), np.empty(states)
    for c in range(states):
        share = chain.follow_C[c] / chain.weight_C[c]
        stay[c] = (1 - total_C[c]) / chain.weight_C[c]
        leave[c] = share + (1 - share) / max(total_C[c], TINY)
    return Rates(total_C, stay, leave, rate, np.empty((2, nodes)), np.empty(states))


@compiled
def shared(chain: Chain, rates: Rates) -> None:
    """What every state gets of all states' sums (the first C of room_2X[0]) by jumping: over each of its contexts, at
    their rates (the first C of room_2X[1])."""
    states, nodes = len(chain.weight_C), len(chain.parent_X)
    sums, got, parent, rate = rates.room_2X[0], rates.room_2X[1], chain.parent_X, rates.rate_X
    sums[states:nodes] = 0
    for x in range(nodes - 1):
        sums[parent[x]] += sums[x]
    got[nodes - 1] = rate[nodes - 1] * sums[nodes - 1]
    for x in range(nodes - 2, -1, -1):
        got[x] = got[parent[x]] + rate[x] * sums[x]


@compiled
def leaving(chain: Chain, rates: Rates, diagonals: Diagonals, t: int, y: Floats) -> None:
    """What jumps from every node at moment ``t`` (room_2X[0]), and what every state gets of it (room_2X[1])."""
    states, sums = len(chain.weight_C), rates.room_2X[0]
    state_D, then_D = diagonals.state_TD[t], diagonals.state_TD[t + 1]
    for c in range(states):
        sums[c] = y[c] * rates.leave_C[c]
    for d in range(len(state_D)):
        if state_D[d] >= 0:
            sums[state_D[d]] += y[states + d] * (1.0 if then_D[d] >= 0 else 1 / max(rates.total_C[state_D[d]], TINY))
    shared(chain, rates)


@compiled
def onward(chain: Chain, rates: Rates, diagonals: Diagonals, t: int, y: Floats, z: Floats) -> None:
    """One event later: z (C + D,) from y, which is that at moment ``t``. Their sums are the same, up to rounding."""
    states, got, value = len(chain.weight_C), rates.room_2X[1], rates.room_C
    state_D, then_D, weight_D = diagonals.state_TD[t], diagonals.state_TD[t + 1], diagonals.weight_TD[t]
    leaving(chain, rates, diagonals, t, y)
    for c in range(states):
        value[c] = y[c] * rates.stay_C[c] + got[c]
    z[0] = 0
    for c in range(states - 1):
        z[c + 1] = chain.next_C[c] * value[c]
    for e in range(len(chain.from_E)):
        z[chain.to_E[e]] += chain.weight_E[e] * value[chain.from_E[e]]
    for d in range(len(state_D)):
        c, then = state_D[d], then_D[d]
        z[states + d] = 0
        if c >= 0 and then >= 0:
            jumped = got[c] * weight_D[d]
            z[states + d] = y[states + d] * (1 - rates.total_C[c]) + jumped
            z[then] = max(0.0, z[then] - jumped)


@compiled
def _backward(chain: Chain, rates: Rates, diagonals: Diagonals, t: int, b: Floats, a: Floats) -> None:
    """One event earlier, at moment ``t``: how likely what is known behind is from each state and diagonal (C + D,): a,
    from that one event later, b. None is above b's largest."""
    states = len(chain.weight_C)
    sums, got, value = rates.room_2X[0], rates.room_2X[1], rates.room_C
    state_D, then_D, weight_D = diagonals.state_TD[t], diagonals.state_TD[t + 1], diagonals.weight_TD[t]
    value[states - 1] = 0
    for c in range(states - 1):
        value[c] = chain.next_C[c] * b[c + 1]
    for e in range(len(chain.from_E)):
        value[chain.from_E[e]] += chain.weight_E[e] * b[chain.to_E[e]]
    for c in range(states):
        sums[c] = value[c]
    for d in range(len(state_D)):
        c, then = state_D[d], then_D[d]
        if c >= 0 and then >= 0:
            sums[c] += weight_D[d] * (b[states + d] - b[then])
    shared(chain, rates)
    for c in range(states):
        a[c] = value[c] * rates.stay_C[c] + rates.leave_C[c] * got[c]
    for d in range(len(state_D)):
        c = state_D[d]
        a[states + d] = 0
        if c >= 0:
            if then_D[d] >= 0:
                a[states + d] = (1 - rates.total_C[c]) * b[states + d] + got[c]
            else:
                a[states + d] = got[c] / max(rates.total_C[c], TINY)


@compiled
def _seen(chain: Chain, diagonals: Diagonals, t: int, event: int, miss: float, y: Floats) -> None:
    """An event is known at moment ``t``: the states and diagonals of others are as likely as a miss. The largest is 1
    then."""
    states = len(chain.weight_C)
    known = -1
    for u in range(len(chain.ids_U)):
        if chain.ids_U[u] == event:
            known = u
    most = TINY
    for c in range(states):
        if chain.event_C[c] != known:
            y[c] *= miss
        most = max(most, y[c])
    state_D = diagonals.state_TD[t]
    for d in range(len(state_D)):
        c = state_D[d]
        if c >= 0 and chain.event_C[c] != known:
            y[states + d] *= miss
        most = max(most, y[states + d])
    _scale(y, 1 / most)


@compiled
def _scale(y: Floats, by: float) -> None:
    for i in range(len(y)):
        y[i] *= by


@compiled
def sum_of(y: Floats) -> float:
    """All of them together, in order."""
    total = 0.0
    for i in range(len(y)):
        total += y[i]
    return total


@compiled
def placed(index: Index, state_S: NDArray[np.int32], run: Known) -> Diagonals:
    """Where the diagonals are, from the moment before the first known event on."""
    moments, size = len(run.left_K) + run.length + len(run.right_K) + 2, len(run.site_D)
    state, weight = np.full((moments, size), -1, np.int32), np.zeros((moments, size))
    for t in range(moments):
        for d in range(size):
            s = run.site_D[d] - len(run.left_K) - 1 + t
            if 0 <= s < len(state_S) and state_S[s] >= 0:
                state[t, d] = state_S[s]
                weight[t, d] = 1.0 if s < index.foreign else index.trust
    return Diagonals(state, weight)


@compiled
def before(chain: Chain, rates: Rates, diagonals: Diagonals, run: Known, miss: float) -> Floats:
    """Where the copy is at the last event before the run (C + D,)."""
    states, size = len(chain.weight_C), len(chain.weight_C) + len(run.site_D)
    y, z = np.empty(size), np.empty(size)
    for c in range(states):
        y[c] = chain.weight_C[c]
    for d in range(len(run.site_D)):
        y[states + d] = diagonals.weight_TD[0, d]
        if diagonals.state_TD[0, d] >= 0:
            c = diagonals.state_TD[0, d]
            y[c] = max(0.0, y[c] - diagonals.weight_TD[0, d])
    for j in range(len(run.left_K)):
        onward(chain, rates, diagonals, j, y, z)
        _seen(chain, diagonals, j + 1, run.left_K[j], miss, z)
        y, z = z, y
    _scale(y, 1 / max(sum_of(y), TINY))
    return y


@compiled
def behind_of(chain: Chain, rates: Rates, diagonals: Diagonals, run: Known, miss: float) -> Floats:
    """How likely what is known behind the run is from each state and diagonal at its last event (C + D,)."""
    size = len(chain.weight_C) + len(run.site_D)
    b, a = np.ones(size), np.empty(size)
    first = len(run.left_K) + 1 + run.length
    for j in range(len(run.right_K) - 1, -1, -1):
        _seen(chain, diagonals, first + j, run.right_K[j], miss, b)
        _backward(chain, rates, diagonals, first + j - 1, b, a)
        b, a = a, b
    return b


class Forward(NamedTuple):
    """The forward pass through a gap: where each block of it begins, the positions of one block (``which``), and the
    last position."""

    rates: Rates
    marks: Floats
    held: NDArray[np.float32]
    which: Ints
    last: Floats


@compiled
def forward(chain: Chain, diagonals: Diagonals, run: Known, jump_L: Floats, miss: float) -> Forward:
    """The forward pass, with its last block held."""
    n, size = run.length, len(chain.weight_C) + len(run.site_D)
    rates = rates_of(chain, jump_L)
    block = max(1, min(n, HELD // size))
    marks, held = np.empty(((n + block - 1) // block, size)), np.empty((block, size), np.float32)
    here, there = before(chain, rates, diagonals, run, miss), np.empty(size)
    for t in range(n):
        if t % block == 0:
            marks[t // block] = here
        onward(chain, rates, diagonals, len(run.left_K) + t, here, there)
        here, there = there, here
        held[t % block] = here
    return Forward(rates, marks, held, np.array([len(marks) - 1]), here)


@compiled
def hold(way: Forward, chain: Chain, diagonals: Diagonals, run: Known, b: int) -> None:
    """Have a block held."""
    if way.which[0] == b:
        return
    way.which[0] = b
    block = len(way.held)
    here, there = way.marks[b].copy(), np.empty(len(way.last))
    for t in range(b * block, min(run.length, (b + 1) * block)):
        onward(chain, way.rates, diagonals, len(run.left_K) + t, here, there)
        here, there = there, here
        way.held[t % block] = here


@compiled
def fill(
    index: Index, chain: Chain, diagonals: Diagonals, run: Known, way: Forward, miss: float
) -> tuple[Ints, NDArray[np.float32], Ints, Floats]:
    """The candidates of each hidden position with their probabilities (N, M), the likeliest place to have been copied
    from (N,), and the expected steps (N + 1,), NaN where nobody knows."""
    n, first = run.length, len(run.left_K) + 1
    rates, held, block = way.rates, way.held, len(way.held)
    behind, earlier = behind_of(chain, rates, diagonals, run, miss), np.empty(len(way.last))
    events, p = np.empty((n, CANDIDATES), np.int64), np.empty((n, CANDIDATES), np.float32)
    copied, steps = np.empty(n, np.int64), np.empty(n + 1)
    table = np.empty(len(chain.ids_U))
    for b in range(len(way.marks) - 1, -1, -1):
        hold(way, chain, diagonals, run, b)
        for t in range(min(n, (b + 1) * block) - 1, b * block - 1, -1):
            row = held[t % block]
            state_D = diagonals.state_TD[first + t]
            copied[t] = _believed(chain, state_D, run.site_D + t, row, behind, table, n <= SHORT)
            steps[t] = _step(index, chain, run.site_D + t, 0, diagonals.state_TD[first + t], row, behind)
            if t == n - 1:
                steps[n] = _step(index, chain, run.site_D + t, 1, diagonals.state_TD[first + t], row, behind)
            _likeliest(chain.ids_U, table, events[t], p[t])
            if t:
                _backward(chain, rates, diagonals, first + t - 1, behind, earlier)
                behind, earlier = earlier, behind
    return events, p, copied, steps


@compiled
def _believed(
    chain: Chain,
    state_D: NDArray[np.int32],
    at_D: Ints,
    here: NDArray[np.float32],
    behind: Floats,
    table_U: Floats,
    single: bool,
) -> int:
    """Write the probability of each event at one position, and return the likeliest place to have been copied from
    (``single``), or a place of the likeliest state."""
    states = len(chain.weight_C)
    for u in range(len(table_U)):
        table_U[u] = 0
    best, likeliest = 0, -1.0
    for c in range(states):
        belief = here[c] * behind[c]
        table_U[chain.event_C[c]] += belief
        if single:
            belief /= chain.weight_C[c]
        if belief > likeliest:
            best, likeliest = c, belief
    place = chain.place_C[best]
    for d in range(len(at_D)):
        if state_D[d] >= 0:
            belief = here[states + d] * behind[states + d]
            table_U[chain.event_C[state_D[d]]] += belief
            if belief > likeliest:
                place, likeliest = at_D[d], belief
    _scale(table_U, 1 / max(sum_of(table_U), TINY))
    return int(place)


@compiled
def _step(
    index: Index,
    chain: Chain,
    at_D: Ints,
    ahead: int,
    state_D: NDArray[np.int32],
    here: NDArray[np.float32],
    behind: Floats,
) -> float:
    """The expected time since the event before (or, if ``ahead``, to the event behind) in ns; NaN if nobody knows."""
    states = len(chain.weight_C)
    known, step = 0.0, 0.0
    for c in range(states):
        belief = here[c] * behind[c]
        known += belief * chain.timed_C2[c, ahead]
        step += belief * chain.step_C2[c, ahead]
    for d in range(len(at_D)):
        s = at_D[d] + ahead
        if state_D[d] >= 0 and s < index.foreign and index.steps_F[s] >= 0:
            belief = here[states + d] * behind[states + d]
            known += belief
            step += belief * index.steps_F[s]
    return step / known if known > TINY else np.nan


@compiled
def _likeliest(ids_U: Ints, table_U: Floats, events_M: Ints, p_M: NDArray[np.float32]) -> None:
    """Write the likeliest events, of equal ones the first, with their probabilities; -1 where there are fewer."""
    for m in range(len(p_M)):
        events_M[m], p_M[m] = -1, 0
    held = 0
    for u in range(len(ids_U)):
        value = np.float32(table_U[u])
        if value <= 0 or (held == len(p_M) and value <= p_M[held - 1]):
            continue
        at = held if held < len(p_M) else held - 1
        while at > 0 and p_M[at - 1] < value:
            p_M[at], events_M[at] = p_M[at - 1], events_M[at - 1]
            at -= 1
        p_M[at], events_M[at] = value, ids_U[u]
        held = min(held + 1, len(p_M))
