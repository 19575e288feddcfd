"""The mosaic against its definition: all transitions written out, all paths weighed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tracemend.menders import hidden_runs
from tracemend.menders.mosaic import Mosaic, _union
from tracemend.trace.vocabulary import BREAK
from tracemend.trace.windows import Stream, Window, window

JUMPS = {4: 0.05, 2: 0.03, 1: 0.02, 0: 0.01}
MISS, TRUST = 0.02, 0.3


def stream(ids: Sequence[int], tids: Sequence[int] | None = None) -> Stream:
    return Stream(np.array(ids, np.int64), np.array(tids if tids is not None else [7] * len(ids), np.int64))


def gap(left: Sequence[int], right: Sequence[int], hidden: int) -> Window:
    return window(stream(left), stream(right), hidden)


def by_definition(
    own: list[list[int]], examples: list[list[int]]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """The places' events and weights, and the whole matrix of moves between them."""
    places = [(s, i) for s, ids in enumerate(own + examples) for i in range(len(ids))]
    ids = [(own + examples)[s][i] for s, i in places]
    weight = np.array([1.0 if s < len(own) else TRUST for s, _ in places])

    def before(place: tuple[int, int], k: int) -> tuple[int, ...]:
        s, i = place
        line = [-1] * k + (own + examples)[s]
        return tuple(line[i + 1 : i + 1 + k]) if k else ()

    n = len(places)
    follows = [(s, i + 1) in places for s, i in places]
    move: NDArray[np.float64] = np.zeros((n, n))
    for a in range(n):
        mass = 0.0
        for k, p in JUMPS.items():
            alike = [b for b in range(n) if follows[b] and before(places[b], k) == before(places[a], k)]
            total = sum(weight[b] for b in alike)
            for b in alike:
                move[a, b + 1] += p * weight[b] / total
            mass += p if alike else 0
        if follows[a]:
            move[a, a + 1] += 1 - mass
        elif mass:
            move[a] /= mass
    return np.array(ids), weight, move


def fills_by_definition(
    own: list[list[int]], examples: list[list[int]], left: list[int], right: list[int], hidden: int
) -> dict[tuple[int, ...], float]:
    """The probability of every fill as a whole, one after the other."""
    ids, weight, move = by_definition(own, examples)
    emission = [np.where(ids == e, 1.0, MISS) for e in left]
    behind = [np.where(ids == e, 1.0, MISS) for e in right]
    found = {}
    for fill in product(sorted(set(ids.tolist())), repeat=hidden):
        here = weight / weight.sum()
        for e in [*emission, *(np.where(ids == f, 1.0, 0.0) for f in fill), *behind]:
            here = (here @ move) * e
        found[fill] = here.sum()
    total = sum(found.values())
    return {fill: p / total for fill, p in found.items()}


EVENTS = st.integers(3, 6)
LINES = st.lists(st.lists(EVENTS, min_size=2, max_size=9), min_size=1, max_size=2)


@settings(deadline=None, max_examples=60)
@given(LINES, LINES | st.just([]), st.lists(EVENTS, max_size=5), st.lists(EVENTS, max_size=5), st.integers(1, 4))
def test_beliefs_are_the_models_marginals(
    own: list[list[int]], examples: list[list[int]], left: list[int], right: list[int], hidden: int
) -> None:
    mosaic = Mosaic([stream(s) for s in own], [stream(s) for s in examples], jumps=JUMPS, miss=MISS, trust=TRUST)
    proposal = mosaic.propose([gap(left, right, hidden)])[0]
    fills = fills_by_definition(own, examples, left, right, hidden)
    for t in range(hidden):
        expected = {e: sum(p for fill, p in fills.items() if fill[t] == e) for e in {f[t] for f in fills}}
        found = {int(e): float(p) for e, p in zip(proposal.events_NM[t], proposal.p_NM[t], strict=True) if e >= 0}
        assert found == pytest.approx({e: p for e, p in expected.items() if p > 0}, abs=1e-4)


def test_hypotheses_are_drawn_as_wholes() -> None:
    """As often as they are likely, by all paths weighed; positions drawn one by one would be far off."""
    own, examples, left, right = [[3, 4, 5, 6, 3, 4, 6, 5], [4, 4, 5, 3]], [[5, 6, 4, 3, 3]], [3, 4], [5, 3]
    mosaic = Mosaic([stream(s) for s in own], [stream(s) for s in examples], jumps=JUMPS, miss=MISS, trust=TRUST)
    window = gap(left, right, 3)
    drawn = mosaic.hypotheses(window, 6000, seed=1)
    often = Counter(tuple(h.events_NM[:, 0].tolist()) for h in drawn)
    fills = fills_by_definition(own, examples, left, right, 3)

    def distance(p: dict[tuple[int, ...], float]) -> float:
        return sum(abs(often[fill] / 6000 - p[fill]) for fill in fills) / 2

    alone = [{e: sum(p for f, p in fills.items() if f[t] == e) for e in range(3, 7)} for t in range(3)]
    assert distance(fills) < 0.03
    assert distance({f: alone[0][f[0]] * alone[1][f[1]] * alone[2][f[2]] for f in fills}) > 0.1
    again = mosaic.hypotheses(window, 20, seed=1)
    assert [h.events_NM.tolist() for h in again] == [h.events_NM.tolist() for h in drawn[:20]]
    assert len(Mosaic([]).hypotheses(window, 2)) == 2


def test_a_copy_changes_places_where_the_count_asks_for_it() -> None:
    """Loops of 5 and of 7 events, and a gap of 12 between whole loops: neither of them twice, but one of each."""
    short, long = [3, 4, 5, 6, 7], [3, 4, 5, 6, 8, 9, 10]
    text = (short * 3 + long * 3) * 6
    fill = Mosaic([stream(text)]).propose([gap(short * 4, long * 4, 12)])[0].events_NM[:, 0].tolist()
    assert fill == short + long


def test_few_places_do_where_there_are_many() -> None:
    rng = np.random.default_rng(0)
    pieces = [rng.integers(3, 40, 30).tolist() for _ in range(12)]
    text = [e for i in rng.integers(0, 12, 120) for e in pieces[i]]
    few, all_ = Mosaic([stream(text)], most=[(0, 2000)]), Mosaic([stream(text)])
    windows = []
    for i in rng.integers(0, 12, 20).tolist():
        whole = pieces[i - 1] + pieces[i] + pieces[(i + 3) % 12]
        windows.append(gap(whole[:40], whole[55:], 15))
    for w, a, b in zip(windows, few.propose(windows), all_.propose(windows), strict=True):
        assert (a.events_NM[:, 0] == b.events_NM[:, 0]).all(), w
    assert few.places.events > few.how.most[0][1]
    assert len(few.sources(hidden_runs(windows[0])[0])) < few.places.events


def test_long_gaps_are_copied_from_more_places() -> None:
    text = np.random.default_rng(1).integers(3, 6, 6000).tolist()
    mosaic = Mosaic([stream(text)], most=[(0, 2000), (20, 4000)])
    short, long = (mosaic.sources(hidden_runs(gap(text[:40], text[90:130], n))[0]) for n in (20, 21))
    assert 1.5 * len(short) < len(long) < mosaic.places.events


def test_the_threads_are_copied_with_the_events() -> None:
    """Two threads take turns; the pattern's own thread ids mean nothing for the gap's."""
    ids = [3, 4, 5, 6, 7, 8] * 20
    mosaic = Mosaic([stream(ids, [1, 1, 2, 1, 2, 2] * 20)])
    left, right = stream(ids[:12], [50, 50, 60, 50, 60, 60] * 2), stream(ids[:12], [50, 50, 60, 50, 60, 60] * 2)
    w = window(left, right, 6)
    proposal = mosaic.propose([w])[0]
    assert proposal.events_NM[:, 0].tolist() == [3, 4, 5, 6, 7, 8]
    assert w.tids[proposal.threads_NT.argmax(axis=1)].tolist() == [50, 50, 60, 50, 60, 60]
    assert np.allclose(proposal.threads_NT.sum(axis=1), 1)


def test_contexts_that_are_not_indexed_are_refused() -> None:
    for k in (3, 64):
        with pytest.raises(ValueError, match="powers of two up to 32"):
            Mosaic([], jumps={k: 0.1, 0: 0.1})


def test_contexts_end_at_breaks_and_nothing_is_known_of_an_empty_trace() -> None:
    mosaic = Mosaic([stream([3, 4, 5, 6] * 10)])
    beyond = gap([9, 9, BREAK, 3, 4], [5, 6, BREAK, 9], 4)
    plain = gap([3, 4], [5, 6], 4)
    a, b = mosaic.propose([beyond, plain])
    assert (a.events_NM == b.events_NM).all()
    assert (a.p_NM == b.p_NM).all()
    assert len(Mosaic([]).propose([plain])[0]) == 4
    assert len(mosaic.propose([gap([3], [4], 0)])[0]) == 0


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), max_size=10))
def test_union_of_ranges(ranges: list[tuple[int, int]]) -> None:
    ranges = sorted(ranges)
    begin, end = np.array([a for a, _ in ranges], np.int64), np.array([a + n for a, n in ranges], np.int64)
    assert _union(begin, end).tolist() == sorted({x for a, n in ranges for x in range(a, a + n)})
