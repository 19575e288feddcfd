"""The decoder against brute force, and its conditions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_fill import Thread, as_arrays, state_after

from tracemend.mending.constraints import CLOSED, ENDED, FREE, UNSEEN, drop_impossible, rules
from tracemend.mending.room import need
from tracemend.mending.search import Manner, decode
from tracemend.trace.syscalls import LAST_CALLS, SIGNAL_RETURNS
from tracemend.trace.vocabulary import Vocabulary

VOCABULARY = Vocabulary([("a", 0), ("a", 1), ("b", 0), ("b", 1), ("tick", 2)])
RULES = rules(VOCABULARY)
A, A_, B, B_, TICK = range(3, 8)
NOTHING: dict[int, int] = {}


def follows(events: tuple[int, ...], who: tuple[int, ...], threads: list[Thread]) -> list[int] | None:
    """The threads' states behind these events, if the threads allow them. Written apart from the decoder."""
    states = [t.begin for t in threads]
    for i, (event, t) in enumerate(zip(events, who, strict=True)):
        if not threads[t].first <= i < threads[t].last or states[t] == ENDED:
            return None
        name_phase = VOCABULARY.entry(event)
        assert name_phase is not None
        _, phase = name_phase
        if phase == 0 and states[t] >= 0:
            return None
        open_call = states[t] >= 0 and VOCABULARY.partner[states[t]] == event
        if phase == 1 and not (states[t] in (FREE, UNSEEN) or open_call):
            return None
        states[t] = state_after(event, states[t], phase, NOTHING)
    return states


def fits(events: tuple[int, ...], who: tuple[int, ...], threads: list[Thread]) -> bool:
    """Is it a fill that the threads allow, to its end?"""
    states = follows(events, who, threads)
    return states is not None and all(
        t.end in (FREE, s) or (t.end == CLOSED and s == FREE) or s == UNSEEN
        for s, t in zip(states, threads, strict=True)
    )


Fill = tuple[tuple[int, ...], tuple[int, ...]]


def fills(n: int, ids: list[int], threads: list[Thread], so_far: Fill = ((), ())) -> Iterator[Fill]:
    """Every fill of n events that the threads allow: events and whose they are. What can't begin one isn't gone on."""
    events, who = so_far
    if len(events) == n:
        if fits(events, who, threads):
            yield so_far
    elif follows(events, who, threads) is not None:
        for event, thread in itertools.product(ids, range(len(threads))):
            yield from fills(n, ids, threads, ((*events, event), (*who, thread)))


state = st.sampled_from([A, B, CLOSED])
before = st.sampled_from([A, B, CLOSED, FREE, UNSEEN])


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_decode_finds_the_likeliest_fill_that_fits(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 4))
    threads = [Thread(-1, FREE, FREE, 0, n)]
    for tid in range(data.draw(st.integers(1, 2))):
        first = data.draw(st.integers(0, n - 1))
        last = data.draw(st.integers(first + 1, n))
        threads.append(Thread(tid, data.draw(before), data.draw(st.one_of(state, st.just(FREE))), first, last))
    arrays, _ = drop_impossible(as_arrays(threads), n)
    threads = [replace(t, end=int(end)) for t, end in zip(threads, arrays.end, strict=True)]
    seed = data.draw(st.integers(0, 2**31))
    rng = np.random.default_rng(seed)
    ids = np.array([A, A_, B, B_, TICK])
    events = np.broadcast_to(ids, (n, 5)).copy()
    p = rng.dirichlet(np.ones(5), n).astype(np.float32)
    q = rng.dirichlet(np.ones(len(threads)), n).astype(np.float32)
    place = {int(e): i for i, e in enumerate(ids)}
    best, score = None, -np.inf
    for fill, who in fills(n, ids.tolist(), threads):
        likely = [math.log(p[i, place[e]]) + math.log(q[i, t]) for i, (e, t) in enumerate(zip(fill, who, strict=True))]
        if sum(likely) > score:
            best, score = (fill, who), sum(likely)
    decoded = decode(events, p, q, arrays, RULES, Manner([A, B], 400))
    assert fits(tuple(decoded.ids.tolist()), tuple(decoded.threads.tolist()), threads)
    assert best is not None
    found = [place[int(e)] for e in decoded.ids]
    got = float(np.log(p[np.arange(n), found]).sum() + np.log(q[np.arange(n), decoded.threads]).sum())
    assert got >= score - 1e-4


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_narrow_beam_still_obeys(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 30))
    threads = [Thread(-1, FREE, FREE, 0, n)]
    for tid in range(data.draw(st.integers(0, 6))):
        first = data.draw(st.integers(0, n - 1))
        last = data.draw(st.integers(first + 1, n))
        begin = data.draw(st.sampled_from([A, B, CLOSED, FREE, ENDED, UNSEEN]))
        threads.append(Thread(tid, begin, data.draw(st.sampled_from([A, B, CLOSED, FREE])), first, last))
    arrays, _ = drop_impossible(as_arrays(threads), n)
    threads = [replace(t, end=int(end)) for t, end in zip(threads, arrays.end, strict=True)]
    rng = np.random.default_rng(data.draw(st.integers(0, 2**31)))
    events = rng.choice([A, A_, B, B_, TICK], (n, 2))
    p = rng.dirichlet(np.ones(2), n).astype(np.float32)
    q = rng.dirichlet(np.ones(len(threads)), n).astype(np.float32)
    decoded = decode(events, p, q, arrays, RULES, Manner([A], 2))
    assert fits(tuple(decoded.ids.tolist()), tuple(decoded.threads.tolist()), threads)
    assert ((decoded.confidence >= 0) & (decoded.confidence <= 1)).all()


def test_need_is_the_shortest_way() -> None:
    """Against a search over all ways."""
    for begin, end in itertools.product([A, B, CLOSED, FREE], [A, B, CLOSED, FREE]):
        thread = [Thread(0, begin, end, 0, 9)]
        for n in range(4):
            if any(fits(f, (0,) * n, thread) for f in itertools.product([A, A_, B, B_], repeat=n)):
                assert need(begin, end) == n
                break


def test_an_exit_is_not_surer_than_the_guessed_enter_that_it_closes() -> None:
    """The first thread's enter is a guess at 0.2, the second's survived before the gap."""
    threads = [Thread(-1, FREE, FREE, 0, 3), Thread(7, CLOSED, CLOSED, 0, 3), Thread(8, B, CLOSED, 0, 3)]
    arrays = as_arrays(threads)
    events = np.array([[A, B], [A_, B_], [B_, A_]])
    p = np.array([[0.2, 0.1], [0.1, 0.05], [0.1, 0.05]], np.float32)
    q = np.array([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], np.float32)
    for width in (1, 8):
        decoded = decode(events, p, q, arrays, RULES, Manner([A], width))
        assert decoded.ids.tolist() == [A, A_, B_]
        np.testing.assert_allclose(decoded.confidence, [0.2, 0.2, 1.0], atol=1e-6)
    # the same by the search, which a fourth, useless candidate with the most belief forces
    forced = np.concatenate([events, np.array([[A_], [A], [A]])], axis=1)
    decoded = decode(
        forced, np.concatenate([p, np.full((3, 1), 0.3, np.float32)], axis=1), q, arrays, RULES, Manner([A])
    )
    assert decoded.ids.tolist() == [A, A_, B_]
    np.testing.assert_allclose(decoded.confidence, [0.2, 0.2, 1.0], atol=1e-6)


def test_obligations_without_room_are_dropped_and_counted() -> None:
    threads = [Thread(-1, FREE, FREE, 0, 2), *(Thread(t, A, CLOSED, 0, 2) for t in range(4))]
    kept, dropped = drop_impossible(as_arrays(threads), 2)
    assert dropped == 2
    assert kept.end.tolist() == [FREE, CLOSED, CLOSED, FREE, FREE]


def test_enters_without_an_exit() -> None:
    names = [*LAST_CALLS, *SIGNAL_RETURNS, "read"]
    vocabulary = Vocabulary([(name, phase) for name in names for phase in (0, 1)])
    expected = {vocabulary.id(c, 0): s for calls, s in ((LAST_CALLS, ENDED), (SIGNAL_RETURNS, FREE)) for c in calls}
    after = rules(vocabulary).after
    assert {i: after[i] for i in expected} == expected
    others = [i for i in range(3, len(vocabulary)) if i not in expected and vocabulary.phase[i] == 0]
    assert after[others].tolist() == others == [vocabulary.id("read", 0)]
