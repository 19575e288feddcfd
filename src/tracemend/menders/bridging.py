"""The way of an n-gram bridge through a gap: look-ahead from behind, a beam from the left, and back (compiled).

Axis legend: C contexts of the model, A those of at most two events, E pairs of a context and an event that followed it,
V distinct ids; N hidden positions, L moments of the look-ahead, W hypotheses (the beam), Q extensions of them that are
looked at, K events behind the gap, M candidates.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracemend.compiled import compiled
from tracemend.menders.base import CANDIDATES

Ints = NDArray[np.int64]
Small = NDArray[np.int32]
Floats = NDArray[np.float64]

TINY = 1e-290
#: Extensions that are looked at, for each hypothesis that is kept.
TRIED = 4


class Model(NamedTuple):
    """An n-gram model as arrays. shorter_C, start_C, event_E, goto_E: of ``Contexts``. p(v | h) = own_E of the pair, if
    there is one, + back_C[h] p(v | h'). last_C: the latest event of a context, V of the empty one. short: how many
    contexts have one event or none, and p_VV: p of them by that event, V for none. near_VV: which of the contexts A
    (they come first) one is in after two events; goto_A: the same after each of their pairs. longest: events of the
    longest context."""

    shorter_C: Small
    start_C: Small
    event_E: Small
    goto_E: Small
    own_E: Floats
    back_C: Floats
    last_C: Small
    short: int
    p_VV: Floats
    near_VV: Small
    goto_A: Small
    longest: int


class Lattice(NamedTuple):
    """The hypotheses' weights at each position (N, W), and their extensions (N, Q) to those of the next one: which one
    is extended, by which event, how likely that is, and to which of the next ones (-1: to none that is kept)."""

    weight_NW: Floats
    parent_NQ: Small
    event_NQ: Small
    p_NQ: Floats
    to_NQ: Small


@compiled
def pair(model: Model, context: int, event: int) -> int:
    """The pair of a context and an event, -1 where the event never followed it."""
    low, high = model.start_C[context], model.start_C[context + 1]
    end = high
    while low < high:
        middle = (low + high) // 2
        if model.event_E[middle] < event:
            low = middle + 1
        else:
            high = middle
    return low if low < end and model.event_E[low] == event else -1


@compiled
def step(model: Model, context: int, event: int) -> int:
    """The longest context that ends with the given one (or a shorter one's end) and the event."""
    while event >= 0:
        at = pair(model, context, event)
        if at >= 0:
            return int(model.goto_E[at])
        if context == 0:
            break
        context = model.shorter_C[context]
    return 0


@compiled
def likelihood(model: Model, context: int, event: int) -> float:
    """p(event | context); 1 for an event that was never seen, since it tells hypotheses not apart."""
    if event < 0:
        return 1.0
    total, scale = 0.0, 1.0
    while True:
        at = pair(model, context, event)
        if at >= 0:
            total += scale * model.own_E[at]
        scale *= model.back_C[context]
        if context == 0:
            return float(total + scale / (len(model.near_VV) - 1))
        context = model.shorter_C[context]


@compiled
def distribution(model: Model, context: int, chain_K: Ints, scale_K: Floats, p_V: Floats, to_V: Small) -> None:
    """p(. | context), and the longest context that ends with the given one (or its end) and each event. chain_K,
    scale_K: room for a number for each length of context."""
    at, scale, levels = context, 1.0, 0
    while at >= model.short:
        chain_K[levels], scale_K[levels] = at, scale
        scale *= model.back_C[at]
        at = model.shorter_C[at]
        levels += 1
    last = model.last_C[at]
    for e in range(len(p_V)):
        p_V[e] = scale * model.p_VV[last, e]
        to_V[e] = model.near_VV[last, e]
    for k in range(levels - 1, -1, -1):  # what the longest one says of where an event leads comes last
        for pair in range(model.start_C[chain_K[k]], model.start_C[chain_K[k] + 1]):
            event = model.event_E[pair]
            p_V[event] += scale_K[k] * model.own_E[pair]
            to_V[event] = model.goto_E[pair]


@compiled
def heard(model: Model, event: int, contexts: int) -> tuple[Floats, Ints]:
    """Of each of so many contexts of at most two events (A,): p(event | context), and where the event leads."""
    p_A, to_A = np.ones(contexts), np.zeros(contexts, np.int64)
    if event >= 0:
        for c in range(contexts):  # shorter ones come first
            at = pair(model, c, event)
            less = p_A[model.shorter_C[c]] if c else 1.0 / (len(model.near_VV) - 1)
            p_A[c] = model.back_C[c] * less + (model.own_E[at] if at >= 0 else 0.0)
            to_A[c] = model.goto_A[at] if at >= 0 else to_A[model.shorter_C[c]]
    return p_A, to_A


@compiled
def look_ahead(model: Model, right_K: Ints, contexts: int, moments: int) -> Floats:
    """For 0, 1, ... events until the gap's end the probability (largest 1) of the events after it, given each of so
    many contexts of at most two events (L, A). What a context knows of the next event leads to the longer context, what
    it has from the shorter one (own_E and back_C) to that one's: it guides, no more."""
    guide = np.empty((moments, contexts))
    guide[0] = 1.0
    for k in range(len(right_K) - 1, -1, -1):  # of what comes later first
        p_A, to_A = heard(model, right_K[k], contexts)
        guide[0] = p_A * guide[0][to_A]
    guide[0] /= max(guide[0].max(), TINY)
    v = len(model.near_VV) - 1
    for t in range(1, moments):
        behind = guide[t - 1]
        uniform = 0.0
        for e in range(v):  # every event follows the empty context
            uniform += behind[model.goto_A[e]]
        for c in range(contexts):
            p = 0.0
            for e in range(model.start_C[c], model.start_C[c + 1]):
                p += model.own_E[e] * behind[model.goto_A[e]]
            guide[t, c] = p + model.back_C[c] * (guide[t, model.shorter_C[c]] if c else uniform / v)
        guide[t] /= max(guide[t].max(), TINY)
    return guide


@compiled
def _tried(score_WV: Floats, most: int) -> Ints:
    """The places of the greatest scores, so many, none of 0; in the order of their places."""
    heap, place, held = np.empty(most), np.empty(most, np.int64), 0
    for w in range(score_WV.shape[0]):
        for v in range(score_WV.shape[1]):
            x = score_WV[w, v]
            if x <= 0 or (held == most and x <= heap[0]):
                continue
            if held < most:
                i = held
                held += 1
                while i > 0 and heap[(i - 1) // 2] > x:
                    heap[i], place[i] = heap[(i - 1) // 2], place[(i - 1) // 2]
                    i = (i - 1) // 2
            else:
                i = 0
                while True:
                    least = 2 * i + 1
                    if least >= held:
                        break
                    if least + 1 < held and heap[least + 1] < heap[least]:
                        least += 1
                    if heap[least] >= x:
                        break
                    heap[i], place[i] = heap[least], place[least]
                    i = least
            heap[i], place[i] = x, w * score_WV.shape[1] + v
    return np.sort(place[:held])


@compiled
def bridge(model: Model, start: int, right_K: Ints, guide_LA: Floats, n: int, width: int) -> tuple[Ints, Floats]:
    """The likeliest events of each of n positions (N, M), as places of ids, and their beliefs; -1 where there are
    fewer. start: the context before the gap."""
    lattice, state_W = _forward(model, start, guide_LA, n, width)
    beta_W = np.ones(width)
    for w in range(width):
        state = state_W[w]
        for k in range(len(right_K)):
            beta_W[w] *= likelihood(model, state, right_K[k])
            state = step(model, state, right_K[k])
    return _backward(lattice, beta_W, len(model.near_VV) - 1)


@compiled
def _forward(model: Model, start: int, guide_LA: Floats, n: int, width: int) -> tuple[Lattice, Ints]:
    """The lattice from the left, and the contexts of its last hypotheses (W,)."""
    v, most = len(model.near_VV) - 1, TRIED * width
    lattice = Lattice(
        np.zeros((n, width)),
        np.zeros((n, most), np.int32),
        np.zeros((n, most), np.int32),
        np.zeros((n, most)),
        np.full((n, most), -1, np.int32),
    )
    weight, state = np.zeros(width), np.zeros(width, np.int64)
    weight[0], state[0] = 1.0, start
    p_WV, score_WV, to_WV = np.empty((width, v)), np.empty((width, v)), np.empty((width, v), np.int32)
    chain, scale = np.empty(model.longest, np.int64), np.empty(model.longest)
    behind, worth, first = np.empty(most, np.int64), np.empty(most), np.empty(most + 1, np.int64)
    for i in range(n):
        guide = guide_LA[min(n - 1 - i, len(guide_LA) - 1)]
        for w in range(width):
            if weight[w] == 0:
                score_WV[w] = 0.0
                continue
            distribution(model, state[w], chain, scale, p_WV[w], to_WV[w])
            near = model.near_VV[model.last_C[state[w]]]
            for e in range(v):
                score_WV[w, e] = weight[w] * p_WV[w, e] * guide[near[e]]
        lattice.weight_NW[i] = weight
        tried = _tried(score_WV, most)
        for q in range(len(tried)):
            w, e = tried[q] // v, tried[q] % v
            lattice.parent_NQ[i, q], lattice.event_NQ[i, q], lattice.p_NQ[i, q] = w, e, p_WV[w, e]
            behind[q] = to_WV[w, e]
        # what the model can't tell apart any more is one hypothesis
        order = np.argsort(behind[: len(tried)], kind="mergesort")
        distinct = 0
        for k in range(len(tried)):
            q = order[k]
            if k == 0 or behind[q] != behind[order[k - 1]]:
                first[distinct], worth[distinct] = k, 0.0
                distinct += 1
            worth[distinct - 1] += score_WV[tried[q] // v, tried[q] % v]
        first[distinct] = len(tried)
        best = np.argsort(-worth[:distinct], kind="mergesort")[:width]
        onward, context = np.zeros(width), np.zeros(width, np.int64)
        for rank in range(len(best)):
            for k in range(first[best[rank]], first[best[rank] + 1]):
                q = order[k]
                lattice.to_NQ[i, q], context[rank] = rank, behind[q]
                onward[rank] += weight[lattice.parent_NQ[i, q]] * lattice.p_NQ[i, q]
        weight, state = onward / max(onward.max(), TINY), context
    return lattice, state


@compiled
def _backward(lattice: Lattice, beta_W: Floats, v: int) -> tuple[Ints, Floats]:
    """Beliefs: forward and backward weights multiplied (Rabiner 1989, eq. 27)."""
    n = len(lattice.weight_NW)
    events, p = np.full((n, CANDIDATES), -1, np.int64), np.zeros((n, CANDIDATES))
    table = np.empty(v)
    for i in range(n - 1, -1, -1):
        table[:] = 0.0
        before = np.zeros(len(beta_W))
        for q in range(lattice.to_NQ.shape[1]):
            if lattice.to_NQ[i, q] >= 0:
                onward = lattice.p_NQ[i, q] * beta_W[lattice.to_NQ[i, q]]
                w = lattice.parent_NQ[i, q]
                before[w] += onward
                table[lattice.event_NQ[i, q]] += lattice.weight_NW[i, w] * onward
        table /= max(table.sum(), TINY)
        best = np.argsort(-table, kind="mergesort")[:CANDIDATES]
        for m in range(len(best)):
            if table[best[m]] > 0:
                events[i, m], p[i, m] = best[m], table[best[m]]
        beta_W = before / max(before.max(), TINY)
    return events, p
