"""What there is to copy from around one gap, as a chain of states: places of the same context are one state (compiled).

A place's context are the events up to it. Places that share a long one are alike in all that the mosaic's jumps look
at; kept apart they would be ten times as many, and what tells them apart is worth keeping of the best ones only
(``menders/passes.py``).

Axis legend: S places of the index, R ranges of places to copy from, C states, X nodes of the tree of contexts, E moves
between states, L lengths of contexts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracemend.compiled import compiled
from tracemend.menders.places import BASE

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Words = NDArray[np.uint64]


class Index(NamedTuple):
    """What the loops need of the index: events and the distance to the event before of the same thread (S,), the hash
    of everything up to each place (S + 1,), where the examples begin, whose places count ``trust``, and the steps of
    the places in front of them (F,)."""

    ids_S: NDArray[np.int32]
    steps_F: Ints
    back_S: NDArray[np.int32]
    prefix_S: Words
    foreign: int
    trust: float


class Chain(NamedTuple):
    """States and their moves: what there is to copy from, places of the same context taken together by their weights.

    event_C: the last event of the context, as its place in ids_U. weight_C, follow_C: of all its places, and of those
    with a next one. place_C: one that stands for them. timed_C2, step_C2: the share of them that has a time since the
    event before, and its mean in ns (0 for the others); and the same of the events behind. next_C: the weight of the
    places whose next one is in the next state; from_E, to_E, weight_E: of all others.

    The tree leads from the states, its first C nodes, over ever shorter contexts to the empty one. parent_X; rank_X,
    top_X: which of ``lengths`` the contexts have that a node stands for, from the longest to the shortest; enter_X: the
    weight that a jump to it finds.
    """

    ids_U: Ints
    event_C: Ints
    weight_C: Floats
    follow_C: Floats
    place_C: Ints
    timed_C2: Floats
    step_C2: Floats
    next_C: Floats
    from_E: NDArray[np.uint32]
    to_E: NDArray[np.uint32]
    weight_E: Floats
    parent_X: NDArray[np.uint32]
    rank_X: Ints
    top_X: Ints
    enter_X: Floats


@compiled
def _power(k: int) -> np.uint64:
    result = np.uint64(1)
    for _ in range(k):
        result = result * BASE
    return result


@compiled
def _table(most: int) -> Ints:
    """A hash table that ``most`` keys fill by half."""
    size = 16
    while size < 2 * most:
        size *= 2
    return np.full(size, -1, np.int64)


@compiled
def _find(key: np.uint64, table: Ints, keys: Words, number: int) -> int:
    """Where ``key`` stands among the first ``number`` of ``keys``: behind them, if it was no one of them so far."""
    mask = np.uint64(len(table) - 1)
    mixed = key * BASE
    at = (mixed ^ (mixed >> np.uint64(31))) & mask
    while True:
        held = table[at]
        if held < 0:
            table[at] = number
            keys[number] = key
            return number
        if keys[held] == key:
            return int(held)
        at = (at + np.uint64(1)) & mask


@compiled
def chain(
    index: Index,
    begin_R: Ints,
    end_R: Ints,
    hidden: tuple[int, int],
    lengths: Ints,
    state_S: NDArray[np.int32],
) -> Chain:
    """The states of the places in some ranges (in order, apart from each other) of the index; of none whose context is
    in ``hidden``.

    lengths: of the contexts, falling, from the states' to 0. state_S: -1 everywhere; the places' states are written
    there. No states if there is no place.
    """
    ids, steps, prefix = index.ids_S, index.steps_F, index.prefix_S
    order = lengths[0]
    most = 1
    for r in range(len(begin_R)):
        most += end_R[r] - begin_R[r]
    # at most a state and a move a place
    table, keys = _table(most), np.empty(most, np.uint64)
    place, votes = np.empty(most, np.int64), np.zeros(most, np.int64)
    weight, follow, timed, step = np.zeros(most), np.zeros(most), np.zeros((most, 2)), np.zeros((most, 2))
    first, onward, target = np.full(most, -1, np.int64), np.empty(most, np.int64), np.empty(most, np.int64)
    heavy = np.zeros(most)
    states, moves, power = 0, 0, _power(order)
    for r in range(len(begin_R)):
        before = -1
        for s in range(begin_R[r] + order - 1, end_R[r]):
            if ids[s] < 0 or hidden[0] <= s < hidden[1] + order - 1:
                before = -1
                continue
            c = _find(prefix[s + 1] - prefix[s + 1 - order] * power, table, keys, states)
            if c == states:
                states += 1
            state_S[s] = c
            w = 1.0 if s < index.foreign else index.trust
            weight[c] += w
            if s < index.foreign and steps[s] >= 0:
                timed[c, 0] += w
                step[c, 0] += w * steps[s]
            if s + 1 < index.foreign and steps[s + 1] >= 0:
                timed[c, 1] += w
                step[c, 1] += w * steps[s + 1]
            # the place whose thread was last seen as far back as that of most (Boyer and Moore, "MJRTY", 1981)
            if votes[c] == 0:
                place[c] = s
            votes[c] += 1 if index.back_S[place[c]] == index.back_S[s] else -1
            if before >= 0:
                w = 1.0 if s - 1 < index.foreign else index.trust
                follow[before] += w
                e = first[before]
                while e >= 0 and target[e] != c:
                    e = onward[e]
                if e < 0:
                    e = moves
                    moves += 1
                    target[e], onward[e], first[before] = c, first[before], e
                heavy[e] += w
            before = c
    if not states:
        parent_X, none = np.zeros(1, np.uint32), np.zeros(0, np.uint32)
        ints, floats, pair = np.zeros(0, np.int64), np.zeros(0), np.zeros((0, 2))
        top = np.zeros(1, np.int64)
        return Chain(
            ints, ints, floats, floats, ints, pair, pair, floats, none, none, floats, parent_X, top, top, np.zeros(1)
        )
    for c in range(states):
        for ahead in range(2):
            timed[c, ahead] /= weight[c]
            step[c, ahead] /= weight[c]
    following = np.zeros(states)
    from_E, to_E, weight_E = np.empty(moves, np.uint32), np.empty(moves, np.uint32), np.empty(moves)
    others = 0
    for c in range(states):
        e = first[c]
        while e >= 0:
            if target[e] == c + 1:
                following[c] = heavy[e]
            else:
                from_E[others], to_E[others], weight_E[others] = c, target[e], heavy[e]
                others += 1
            e = onward[e]
    ids_U, event_C = _distinct(ids, place[:states])
    parent_X, rank_X, top_X, enter_X = _tree(prefix, lengths, place[:states], follow[:states])
    return Chain(
        ids_U,
        event_C,
        weight[:states],
        follow[:states],
        place[:states],
        timed[:states],
        step[:states],
        following,
        from_E[:others],
        to_E[:others],
        weight_E[:others],
        parent_X,
        rank_X,
        top_X,
        enter_X,
    )


@compiled
def _distinct(ids: NDArray[np.int32], place_C: Ints) -> tuple[Ints, Ints]:
    """The distinct events at some places, in order, and the place of each one's among them."""
    states = len(place_C)
    table, keys = _table(states + 1), np.empty(states + 1, np.uint64)
    event_C, number = np.empty(states, np.int64), 0
    for c in range(states):
        event_C[c] = _find(np.uint64(ids[place_C[c]]), table, keys, number)
        number = max(number, event_C[c] + 1)
    ids_U, rank_U = np.empty(number, np.int64), np.zeros(number, np.int64)
    for u in range(number):
        for v in range(number):
            rank_U[u] += keys[v] < keys[u]
    for u in range(number):
        ids_U[rank_U[u]] = keys[u]
    for c in range(states):
        event_C[c] = rank_U[event_C[c]]
    return ids_U, event_C


@compiled
def _tree(
    prefix: Words, lengths: Ints, place_C: Ints, follow_C: Floats
) -> tuple[NDArray[np.uint32], Ints, Ints, Floats]:
    """The nodes: their parents, ranks, highest ranks and the weight below them (X,)."""
    states = len(place_C)
    most = states * len(lengths) + 1
    parent, rank, top = np.zeros(most, np.uint32), np.zeros(most, np.int64), np.zeros(most, np.int64)
    enter, stands = np.zeros(most), np.empty(most, np.int64)
    for c in range(states):
        enter[c], stands[c] = follow_C[c], place_C[c]
    children = np.zeros(most, np.int64)
    low, high = 0, states
    for level in range(1, len(lengths)):
        k = lengths[level]
        power, table, keys = _power(k), _table(high - low + 1), np.empty(high - low + 1, np.uint64)
        number = 0
        for x in range(low, high):
            s = stands[x]
            found = _find(prefix[s + 1] - prefix[s + 1 - k] * power, table, keys, number)
            if found == number:
                number += 1
                stands[high + found] = s
                rank[high + found] = level
            parent[x] = high + found
            enter[high + found] += enter[x]
            children[high + found] += 1
        low, high = high, high + number
    # one with but one child is no node of its own: the child jumps there, too
    kept, place = 0, np.empty(high, np.int64)
    for x in range(high):
        place[x] = -1 if x < high - 1 and children[x] == 1 else kept
        kept += place[x] >= 0
    for x in range(high - 1):
        if place[x] >= 0:
            top[x] = rank[x]
            above = int(parent[x])
            while place[above] < 0:
                top[x] = rank[above]
                above = int(parent[above])
            at = place[x]
            parent[at], rank[at], top[at], enter[at] = place[above], rank[x], top[x], enter[x]
    parent[kept - 1], rank[kept - 1], enter[kept - 1] = 0, rank[high - 1], enter[high - 1]
    top[kept - 1] = rank[high - 1]
    return parent[:kept], rank[:kept], top[:kept], enter[:kept]
