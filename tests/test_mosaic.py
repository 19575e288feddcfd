"""The mosaic against its definition: all transitions written out, all paths weighed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tracemend.menders import hidden_runs, passes
from tracemend.menders.drawing import draw
from tracemend.menders.mosaic import Mosaic, _joined
from tracemend.trace.vocabulary import BREAK
from tracemend.trace.windows import Stream, Window, window

JUMPS = {4: 0.05, 2: 0.03, 1: 0.02, 0: 0.01}
MISS, TRUST = 0.02, 0.3
#: With states of so many events (and no diagonals) no two places are one, but where all before them is the same.
ALL = 32


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
    mosaic = Mosaic(
        [stream(s) for s in own],
        [stream(s) for s in examples],
        jumps=JUMPS,
        miss=MISS,
        trust=TRUST,
        order=ALL,
        diagonals=0,
    )
    proposal = mosaic.propose([gap(left, right, hidden)])[0]
    fills = fills_by_definition(own, examples, left, right, hidden)
    for t in range(hidden):
        expected = {e: sum(p for fill, p in fills.items() if fill[t] == e) for e in {f[t] for f in fills}}
        found = {int(e): float(p) for e, p in zip(proposal.events_NM[t], proposal.p_NM[t], strict=True) if e >= 0}
        assert found == pytest.approx({e: p for e, p in expected.items() if p > 0}, abs=1e-4)


def test_hypotheses_are_drawn_as_wholes() -> None:
    """As often as they are likely, by all paths weighed; positions drawn one by one would be far off."""
    own, examples, left, right = [[3, 4, 5, 6, 3, 4, 6, 5], [4, 4, 5, 3]], [[5, 6, 4, 3, 3]], [3, 4], [5, 3]
    mosaic = Mosaic(
        [stream(s) for s in own],
        [stream(s) for s in examples],
        jumps=JUMPS,
        miss=MISS,
        trust=TRUST,
        order=ALL,
        diagonals=0,
    )
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
    chain, _, _ = few.around(hidden_runs(windows[0])[0])
    assert chain.weight_C.sum() < few.places.events


def test_long_gaps_are_copied_from_more_places() -> None:
    text = np.random.default_rng(1).integers(3, 6, 6000).tolist()
    mosaic = Mosaic([stream(text)], most=[(0, 2000), (20, 4000)])
    short, long = (mosaic.around(hidden_runs(gap(text[:40], text[90:130], n))[0])[0].weight_C.sum() for n in (20, 21))
    assert 1.5 * short < long < mosaic.places.events


@pytest.mark.parametrize("turns", [1, 8])  # few enough events for single places to count, and too many for that
def test_the_threads_are_copied_with_the_events(turns: int) -> None:
    """Two threads take turns; the pattern's own thread ids mean nothing for the gap's."""
    ids = [3, 4, 5, 6, 7, 8] * 20
    mosaic = Mosaic([stream(ids, [1, 1, 2, 1, 2, 2] * 20)])
    left, right = stream(ids[:12], [50, 50, 60, 50, 60, 60] * 2), stream(ids[:12], [50, 50, 60, 50, 60, 60] * 2)
    w = window(left, right, 6 * turns)
    proposal = mosaic.propose([w])[0]
    assert proposal.events_NM[:, 0].tolist() == [3, 4, 5, 6, 7, 8] * turns
    assert w.tids[proposal.threads_NT.argmax(axis=1)].tolist() == [50, 50, 60, 50, 60, 60] * turns
    assert np.allclose(proposal.threads_NT.sum(axis=1), 1)


def test_contexts_that_are_too_long_are_refused() -> None:
    for jumps in ({16: 0.1, 0: 0.1}, {8: 0.1}, {-1: 0.1, 0: 0.1}):
        with pytest.raises(ValueError, match="jumps need 0 and may have lengths below 16"):
            Mosaic([], jumps=jumps)
    for order in (0, 33):
        with pytest.raises(ValueError, match=f"up to 32 events, not {order}"):
            Mosaic([], order=order)


def test_contexts_end_at_breaks_and_nothing_is_known_of_an_empty_trace() -> None:
    mosaic = Mosaic([stream([3, 4, 5, 6] * 10)])
    beyond = gap([9, 9, BREAK, 3, 4], [5, 6, BREAK, 9], 4)
    plain = gap([3, 4], [5, 6], 4)
    a, b = mosaic.propose([beyond, plain])
    assert (a.events_NM == b.events_NM).all()
    assert (a.p_NM == b.p_NM).all()
    assert len(Mosaic([]).propose([plain])[0]) == 4
    assert len(mosaic.propose([gap([3], [4], 0)])[0]) == 0


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20)), max_size=10))
def test_ranges_that_overlap_are_joined(ranges: list[tuple[int, int]]) -> None:
    ranges = sorted(ranges)
    begin, end = np.array([a for a, _ in ranges], np.int64), np.array([a + n for a, n in ranges], np.int64)
    found = [(int(a), int(b)) for a, b in zip(*_joined(begin, end), strict=True)]
    assert [x for a, b in found for x in range(a, b)] == sorted({x for a, n in ranges for x in range(a, a + n)})
    assert all(b < a for (_, b), (a, _) in pairwise(found))


def merged_by_definition(
    mosaic: Mosaic, own: list[list[int]], left: list[int], right: list[int], hidden: int
) -> NDArray[np.float64]:
    """The probability of each event at each hidden position (N, 7), all moves written out.

    What is at a state is spread over all its places by their weights; what jumps to a diagonal's place goes along it.
    """
    order, (run,) = mosaic.how.order, hidden_runs(gap(left, right, hidden))
    ids = by_definition(own, [])[0]
    starts = np.cumsum([0, *map(len, own)])[:-1].tolist()
    last = {s + len(o) - 1 for s, o in zip(starts, own, strict=True)}
    padded: list[tuple[int, ...]] = []
    for line in own:
        padded += [tuple(([-1] * order + line)[i + 1 : i + 1 + order]) for i in range(len(line))]
    names = sorted(set(padded))
    state = [names.index(c) for c in padded]
    C, P = len(names), len(ids)
    # the index has 32 places of nothing before each line
    where = {
        32 * (k + 1) + s + i: s + i for k, (s, o) in enumerate(zip(starts, own, strict=True)) for i in range(len(o))
    }
    _, _, known = mosaic.around(run)
    sites, D = known.site_D.tolist(), len(known.site_D)

    def on(t: int) -> dict[int, int]:
        return {where[s + t]: d for d, s in enumerate(sites) if s + t in where}

    def jump(a: int) -> tuple[dict[int, float], float]:
        total, to = 0.0, dict.fromkeys(range(P), 0.0)
        for k, p in mosaic.how.jumps.items():
            alike = [b for b in range(P) if b not in last and padded[b][order - k :] == padded[a][order - k :]]
            for b in alike:
                to[b + 1] += p / len(alike)
            total += p if alike else 0.0
        return to, total

    def moves(t: int) -> NDArray[np.float64]:
        m = np.zeros((C + D, C + D))
        here, then = on(t), on(t + 1)
        rows = [(state[a], a, 1 / state.count(state[a])) for a in range(P)] + [(C + d, a, 1.0) for a, d in here.items()]
        for row, a, share in rows:
            to, total = jump(a)
            lost = 1 / total if a in last and total else 1.0
            for b, p in to.items():
                m[row, C + then[b] if b in then and b - 1 in here else state[b]] += share * p * lost
            if a not in last:
                m[row, row if row >= C else state[a + 1]] += share * (1 - total)
        return m

    def seen(t: int, event: int | None) -> NDArray[np.float64]:
        events = np.array([c[-1] for c in names] + [ids[{d: a for a, d in on(t).items()}.get(d, 0)] for d in range(D)])
        there = np.array([True] * C + [d in on(t).values() for d in range(D)])
        value = there.astype(float)
        return value if event is None else np.where(events == event, 1.0, mosaic.how.miss) * value

    events = [*left, *[None] * hidden, *right]
    first = -len(left)
    begin = np.bincount(state, minlength=C).astype(float)
    here = np.append(begin, np.zeros(D))
    for a, d in on(first - 1).items():
        here[state[a]] -= 1
        here[C + d] = 1
    forward = []
    for i, e in enumerate(events):
        here = (here @ moves(first + i - 1)) * seen(first + i, e)
        forward.append(here / here.sum())
        here = forward[-1]
    behind = np.ones(C + D)
    table = np.zeros((hidden, 7))
    for i in range(len(events) - 1, len(left) - 1, -1):
        t = first + i
        if i < len(left) + hidden:
            belief = forward[i] * behind
            for x in range(C + D):
                if x < C:
                    table[t, names[x][-1]] += belief[x]
            for a, d in on(t).items():
                table[t, ids[a]] += belief[C + d]
        behind = moves(t - 1) @ (behind * seen(t, events[i]))
        behind /= behind.max()
    return np.asarray(table / table.sum(axis=1, keepdims=True))


@settings(deadline=None, max_examples=60)
@given(
    LINES,
    st.lists(EVENTS, min_size=1, max_size=5),
    st.lists(EVENTS, min_size=1, max_size=5),
    st.integers(1, 4),
    st.integers(0, 4),
    st.sampled_from([JUMPS, {2: 0.1, 0: 0.02}, {0: 0.1}]),
)
def test_states_of_short_contexts_are_as_defined(
    own: list[list[int]], left: list[int], right: list[int], hidden: int, diagonals: int, jumps: dict[int, float]
) -> None:
    order = max(jumps) + 1
    mosaic = Mosaic([stream(s) for s in own], jumps=jumps, miss=MISS, order=order, diagonals=diagonals)
    proposal = mosaic.propose([gap(left, right, hidden)])[0]
    expected = merged_by_definition(mosaic, own, left, right, hidden)
    for t in range(hidden):
        found = {int(e): float(p) for e, p in zip(proposal.events_NM[t], proposal.p_NM[t], strict=True) if e >= 0}
        assert found == pytest.approx({e: p for e, p in enumerate(expected[t]) if p > 0}, abs=1e-4)


def test_places_that_match_on_both_sides_are_kept_apart() -> None:
    """A loop of 60 rounds that each end in another way: only the round that is like the gap's says how it ends."""
    rounds = [[3, 4, 5, 6] * 10 + [10 + k] + [3, 4, 5, 6] * 10 + [100 + k] for k in range(60)]
    text = [e for r in rounds for e in r]
    lost = rounds[17][41:82]
    window = gap(text[: 17 * 82 + 41], rounds[18][:60], len(lost))
    mosaic, merged = Mosaic([stream(text)]), Mosaic([stream(text)], diagonals=0)
    _, _, known = mosaic.around(hidden_runs(window)[0])
    assert 32 + 17 * 82 + 41 in known.site_D
    assert mosaic.propose([window])[0].events_NM[:, 0].tolist() == lost
    assert merged.propose([window])[0].events_NM[-1, 0] != lost[-1]


def test_a_long_gap_is_computed_in_blocks_that_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    text = np.resize(rng.integers(3, 9, 50), 2000)
    mosaic = Mosaic([stream(text.tolist())])
    window = gap(text[:60].tolist(), text[25:80].tolist(), 90)
    chain, diagonals, known = mosaic.around(hidden_runs(window)[0])
    jumps = mosaic._jumps(90)
    chance = rng.random((90, 3, 3))
    made = []
    for most in (passes.HELD, 7 * (len(chain.weight_C) + len(known.site_D))):
        monkeypatch.setattr(passes, "HELD", most)
        way = passes.forward.py_func(chain, diagonals, known, jumps, 1e-3)  # type: ignore[attr-defined]
        filled = passes.fill(mosaic.index, chain, diagonals, known, way, 1e-3)
        made.append((*filled, *draw(chain, diagonals, known, way, 1e-3, chance)))
    assert len(way.marks) == 13
    for a, b in zip(*made, strict=True):
        assert np.array_equal(a, b, equal_nan=True)
