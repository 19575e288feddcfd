"""The n-gram bridge and the automaton against brute force over every sequence of a tiny alphabet."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tracemend.menders import MENDERS, Automaton, NGram, bridging, hidden_runs
from tracemend.menders.automaton import Machine, _descending
from tracemend.menders.base import CANDIDATES
from tracemend.menders.contexts import Contexts
from tracemend.menders.ngram import AHEAD
from tracemend.menders.runs import Run
from tracemend.trace.vocabulary import BREAK
from tracemend.trace.windows import SLOTS, Stream, Window, window

Pieces = list[list[int]]
pieces = st.lists(st.lists(st.integers(3, 5), min_size=1, max_size=30), min_size=1, max_size=4)
side = st.lists(st.sampled_from([3, 4, 5, 9]), max_size=5)  # 9 is never seen in training


def streams(parts: Pieces) -> list[Stream]:
    """The first two parts in one stream, with a BREAK between them."""
    joined = [*(parts[0] + [BREAK] + parts[1] if len(parts) > 1 else parts[0])]
    return [Stream(np.array(p), np.zeros(len(p), np.int64)) for p in [joined, *parts[2:]]]


def gap(left: list[int], right: list[int], n: int) -> Window:
    before, behind = (Stream(np.array(x, int), np.full(len(x), 7)) for x in (left, right))
    return window(before, behind, n)


def naive(parts: Pieces, history: list[int], event: int, order: int, among: int = 0) -> float:
    """Witten-Bell, interpolated, from dictionaries, over ``among`` ids or those that were seen."""
    ids = {x for p in parts for x in p}
    p = 1 / (among or len(ids))
    for k in range(order):
        if k > len(history):
            break
        context = history[len(history) - k :]
        follows = Counter(q[i + k] for q in parts for i in range(len(q) - k) if q[i : i + k] == context)
        total, kinds = sum(follows.values()), len(follows)
        if not total:
            break
        p = (follows[event] + kinds * p) / (total + kinds)
    return p


def contexts(model: NGram, history: list[int]) -> NDArray[np.int64]:
    return model._context([np.array(history, np.int64)])


@settings(max_examples=60, deadline=None)
@given(parts=pieces, history=side, order=st.integers(1, 5))
def test_probabilities_are_those_of_the_definition(parts: Pieces, history: list[int], order: int) -> None:
    model = NGram(streams(parts), order=order)
    ids = model.model.ids_V.tolist()
    start = int(contexts(model, history)[0])
    row, leads = np.empty(len(ids)), np.empty(len(ids), np.int32)
    bridging.distribution(model.arrays, start, np.empty(order, np.int64), np.empty(order), row, leads)
    assert math.isclose(row.sum(), 1)
    since = history[max((i + 1 for i, x in enumerate(history) if x not in ids), default=0) :]
    np.testing.assert_allclose(row, [naive(parts, since, x, order) for x in ids])
    single = model.p(np.repeat(contexts(model, history), len(ids)), np.arange(len(ids)))
    np.testing.assert_allclose(single, row)
    every = np.repeat(start, len(ids)), np.arange(len(ids))
    assert leads.tolist() == model.model.step(*every).tolist()
    for x in range(-1, len(ids)):
        assert bridging.step(model.arrays, start, x) == model.model.step(np.array([start]), np.array([x]))[0]
        assert bridging.likelihood(model.arrays, start, x) == pytest.approx(
            model.p(np.array([start]), np.array([x]))[0]
        )


@settings(max_examples=40, deadline=None)
@given(parts=pieces, right=side, order=st.integers(1, 5))
def test_the_look_ahead_is_that_of_its_definition(parts: Pieces, right: list[int], order: int) -> None:
    """Under the model cut to contexts of two events."""
    model = NGram(streams(parts), order=order)
    moments, after = 4, model.model.encode(np.array(right[:AHEAD], np.int64))
    guide = bridging.look_ahead(model.arrays, after, model.near, moments)
    events = range(len(model.model.ids_V))

    def to(context: int, event: int) -> int:
        return int(model._cut(model.model.step(np.array([context]), np.array([event])))[0])

    def ahead(context: int, left: int) -> float:
        """What the context says by itself, and what the shorter one says."""
        if not left:
            total = 1.0
            for event in after.tolist():
                total *= float(model.p(np.array([context]), np.array([event]))[0])
                context = to(context, event)
            return total
        pairs = range(model.model.start_C[context], model.model.start_C[context + 1])
        own = sum(float(model.own_E[e]) * ahead(to(context, int(model.model.event_E[e])), left - 1) for e in pairs)
        if context:
            less = ahead(int(model.model.shorter_C[context]), left)
        else:
            less = float(np.mean([ahead(to(0, e), left - 1) for e in events]))
        return own + float(model.back_C[context]) * less

    for left in range(moments):
        wanted = np.array([ahead(c, left) for c in range(model.near)])
        np.testing.assert_allclose(guide[left], wanted / wanted.max())


@settings(max_examples=60, deadline=None)
@given(parts=pieces, windows=st.lists(st.tuples(side, side, side), min_size=1, max_size=4), order=st.integers(1, 5))
def test_bits_are_those_of_the_definition(
    parts: Pieces, windows: list[tuple[list[int], list[int], list[int]]], order: int
) -> None:
    """Windows of a context, hidden events and what stands behind them, of any lengths."""
    among = 7
    length = max(sum(map(len, w)) for w in windows)
    ids, known = np.full((len(windows), length), BREAK), np.ones((len(windows), length), bool)
    for row, (left, fill, after) in enumerate(windows):
        ids[row, : len(left + fill + after)] = left + fill + after
        known[row, len(left) : len(left + fill)] = False
    seen = {x for p in parts for x in p}
    expected = []
    for left, fill, _ in windows:
        total = 0.0
        for i, event in enumerate(fill):
            history = left + fill[:i]
            since = history[max((k + 1 for k, x in enumerate(history) if x not in seen), default=0) :]
            total -= math.log2(naive(parts, since, event, order, among))
        expected.append(total / max(len(fill), 1))
    model = NGram(streams(parts), order=order)
    np.testing.assert_allclose(model.bits(ids, known, among), expected, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(parts=pieces, left=side, order=st.integers(1, 5))
def test_probabilities_of_all_fills_sum_to_one(parts: Pieces, left: list[int], order: int) -> None:
    """Those that hold events which were never seen, too."""
    fills = list(itertools.product(range(3, 8), repeat=2))
    ids = np.array([[*left, *fill] for fill in fills])
    known = np.broadcast_to(np.arange(ids.shape[1]) < len(left), ids.shape)
    assert (0.5 ** (2 * NGram(streams(parts), order=order).bits(ids, known, 5))).sum() == pytest.approx(1)


@settings(max_examples=60, deadline=None)
@given(parts=pieces, history=side, longest=st.integers(0, 4))
def test_steps_lead_to_the_longest_known_context(parts: Pieces, history: list[int], longest: int) -> None:
    model = Contexts(streams(parts), longest)
    state = np.zeros(1, np.int64)
    for i, event in enumerate(model.encode(np.array(history, np.int64))):
        state = model.step(state, event[None])
        past = history[: i + 1]
        known = [
            k
            for k in range(min(longest, len(past)) + 1)
            if any(p[j : j + k] == past[len(past) - k :] for p in parts for j in range(len(p) - k))
        ]
        assert model.length_C[state[0]] == max(known, default=0)


def exhaustive(model: NGram, left: list[int], right: list[int], n: int) -> NDArray[np.float64]:
    """Posterior of each id at each position (N, V), over all sequences."""
    ids = model.model.ids_V
    start = contexts(model, left)
    after = model.model.encode(np.array(right[: model.order - 1], np.int64))
    table = np.zeros((n, len(ids)))
    for fill in itertools.product(range(len(ids)), repeat=n):
        state, p = start, 1.0
        for event in (*fill, *after.tolist()):
            p *= float(model.p(state, np.array([event]))[0])
            state = model.model.step(state, np.array([event]))
        table[np.arange(n), fill] += p
    return np.asarray(table / table.sum(axis=1, keepdims=True))


@pytest.mark.long
@settings(max_examples=40, deadline=None)
@given(parts=pieces, left=side, right=side, n=st.integers(1, 4), order=st.integers(1, 5))
def test_a_wide_beam_is_exhaustive_search(parts: Pieces, left: list[int], right: list[int], n: int, order: int) -> None:
    model = NGram(streams(parts), order=order, width=81)
    proposal = model.propose([gap(left, right, n)])[0]
    expected = exhaustive(model, left, right, n)
    for row, p, want in zip(proposal.events_NM, proposal.p_NM, expected, strict=True):
        got = {int(e): float(x) for e, x in zip(row, p, strict=True) if e >= 0}
        assert got == pytest.approx(dict(zip(model.model.ids_V.tolist(), want.tolist(), strict=True)), rel=1e-4)


def test_a_gap_at_the_windows_begin_is_filled_from_behind() -> None:
    """The look-ahead must reach the beam: from the left nothing tells the two loops apart, but one is far commoner."""
    common, rare = [3, 4, 5, 6, 7, 8], [9, 10, 11, 12, 13, 14]
    model = NGram(
        [Stream(np.array(common * 60), np.zeros(360, int)), Stream(np.array(rare * 6), np.zeros(36, int))], width=2
    )
    assert model.propose([gap([], rare, 9)])[0].events_NM[:, 0].tolist() == (rare * 2)[3:]


def test_contexts_may_be_long() -> None:
    """Made up: what follows is told by what stood a hundred events before."""
    parts = [np.array([first, *range(20, 120), last]) for first, last in ((3, 4), (5, 6))]
    model = NGram([Stream(ids, np.zeros(len(ids), int)) for ids in parts], order=110)
    for ids in parts:
        assert model.propose([gap(ids[:-1].tolist(), [], 1)])[0].events_NM[0, 0] == ids[-1]


def path_p(machine: Machine, left: list[int], fill: tuple[int, ...], right: list[int]) -> float:
    """Log p of the best path along these events, from all states that the machine may begin in."""
    best = -math.inf
    begin = machine.begin(np.array(left, np.int64))
    for z in np.flatnonzero(np.isfinite(begin)).tolist():
        p, state = float(begin[z]), z
        for event in (*fill, *machine.model.encode(np.array(right[: machine.tail], np.int64)).tolist()):
            edge = [
                e
                for e in range(len(machine.log_E))
                if machine.source_E[e] == state and machine.event_E[e] == event and state < machine.ends
            ]
            if not edge:
                p = -math.inf
                break
            p, state = p + float(machine.log_E[edge[0]]), int(machine.goto_E[edge[0]])
        best = max(best, p)
    return best


@pytest.mark.long
@settings(max_examples=40, deadline=None)
@given(parts=pieces, left=side, right=side, n=st.integers(1, 3), tail=st.integers(1, 2))
def test_the_path_is_the_best_of_all(parts: Pieces, left: list[int], right: list[int], n: int, tail: int) -> None:
    automaton = Automaton(streams(parts), tail=tail)
    proposal = automaton.propose([gap(left, right, n)])[0]
    found = tuple(np.searchsorted(automaton.ids_V, proposal.events_NM[:, 0]).tolist())
    for machine, after in itertools.product(automaton.machines, [right, []]):
        every = {
            fill: path_p(machine, left, fill, after)
            for fill in itertools.product(range(len(automaton.ids_V)), repeat=n)
        }
        best = max(every.values())
        if math.isfinite(best):
            assert every[found] == pytest.approx(best)
            for i, row in enumerate(proposal.p_NM):  # shares of the best paths through each event
                through = [
                    math.exp(max(p for fill, p in every.items() if fill[i] == v) - best)
                    for v in range(len(automaton.ids_V))
                ]
                np.testing.assert_allclose(
                    row[: len(through)], sorted(np.array(through) / sum(through))[::-1], atol=1e-5
                )
            return
    raise AssertionError("the machine without a memory has a path to everywhere")


@pytest.mark.parametrize("n", [0, 1, 7, 50, 1000])
def test_what_is_computed_twice_is_the_same(n: int) -> None:
    """Both ways of holding a sequence: as a whole, and (where it is large) at some places only."""
    for size in (1, 1 << 19):
        seen = [(m, float(x[0])) for m, x in _descending(np.zeros(size), lambda x: x[:1] + np.ones(1), n)]
        assert seen == [(m, float(m)) for m in range(n, -1, -1)]


LEARNT = ["n-gram", "automaton"]


def walk(rng: np.random.Generator, length: int, kinds: int) -> NDArray[np.int64]:
    """Made up: loops of different lengths in random order."""
    loops = [rng.integers(3, 3 + kinds, size) for size in rng.integers(2, 9, 12)]
    return np.concatenate([loops[i] for i in rng.integers(0, len(loops), length)])[:length]


@pytest.mark.parametrize("name", LEARNT)
class TestLearnt:
    def test_a_fill_does_not_depend_on_what_else_is_filled(self, name: str) -> None:
        rng = np.random.default_rng(0)
        text = walk(rng, 3000, 30)
        mender = MENDERS[name]([Stream(text, np.zeros(len(text), int))])
        windows = [
            gap(text[i : i + 20].tolist(), text[i + 20 + n :][:20].tolist(), n) for i, n in enumerate([5, 1, 12])
        ]
        windows.append(gap([], [], 4))
        windows.append(gap([3, 99, BREAK], [BREAK, 3], 6))
        ids = np.concatenate([text[:20], np.zeros(3, int), text[23:27], np.zeros(8, int), text[35:50]])
        known = np.ones(50, bool)
        known[20:23] = known[27:35] = False
        windows.append(
            Window(np.stack([ids, np.ones_like(ids), np.zeros_like(ids)], axis=1), known, np.arange(-1, SLOTS - 1))
        )
        together = mender.propose(windows)
        for w, proposal in zip(windows, together, strict=True):
            alone = mender.propose([w])[0]
            assert len(proposal) == w.hidden
            assert proposal.events_NM.shape == proposal.p_NM.shape == (w.hidden, CANDIDATES)
            assert (alone.events_NM == proposal.events_NM).all()
            np.testing.assert_array_equal(alone.p_NM, proposal.p_NM)
            assert (np.diff(proposal.p_NM, axis=1) <= 0).all()
            assert (proposal.p_NM.sum(axis=1) <= 1 + 1e-5).all()
            assert np.isin(proposal.events_NM[:, 0], text).all()

    def test_a_loop_goes_on_in_phase(self, name: str) -> None:
        loop = np.tile([3, 4, 5, 4, 6], 40)
        mender = MENDERS[name]([Stream(loop, np.zeros(200, int))])
        w = gap(loop[:20].tolist(), loop[33:50].tolist(), 13)
        proposal = mender.propose([w])[0]
        assert (proposal.events_NM[:, 0] == loop[20:33]).all()
        assert (w.tids[proposal.threads_NT.argmax(axis=1)] == 7).all()

    @pytest.mark.long
    def test_long_gaps_and_many_kinds_of_events(self, name: str) -> None:
        rng = np.random.default_rng(1)
        text = walk(rng, 4000, 1300)
        text = np.concatenate([text, np.arange(3, 1303)])
        mender = MENDERS[name]([Stream(text, np.zeros(len(text), int))])
        n = 5000 if name == "automaton" else 300
        w = gap(text[:30].tolist(), text[2030:2060].tolist(), n)
        assert np.isin(mender.propose([w])[0].events_NM[:, 0], text).all()

    def test_no_training_at_all(self, name: str) -> None:
        empty = np.empty(0, np.int64)
        for nothing in ([], [Stream(empty, empty)], [Stream(np.array([BREAK]), np.array([-1]))]):
            assert len(MENDERS[name](nothing).propose([gap([3], [4], 3)])[0]) == 3


def test_runs_end_at_breaks_and_other_runs() -> None:
    ids = np.array([5, BREAK, 6, 0, 0, 7, 0, 8])
    known = ids != 0
    slots = np.array([1, 0, 2, SLOTS, SLOTS, 3, SLOTS, 4])
    first, second = hidden_runs(Window(np.stack([ids, slots], axis=1), known, np.arange(-1, 5)))
    assert isinstance(first, Run)
    assert (first.left.tolist(), first.right.tolist()) == ([6], [7])
    assert (second.left.tolist(), second.right.tolist()) == ([7], [8])
