"""The lookup: its index against brute force, and what it must get right."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracemend.menders import hidden_runs
from tracemend.menders.lookup import Lookup
from tracemend.menders.matching import match, united
from tracemend.menders.places import CONTEXT, ORDERS, Places, of_runs, prefixes
from tracemend.menders.voting import Sites, thread_votes, votes
from tracemend.trace.windows import GONE, SLOTS, UNKNOWN_THREAD, Stream, slots_by_recency, to_slots, window

small = st.lists(st.integers(3, 6), min_size=1, max_size=80)


def stream(ids: list[int]) -> Stream:
    return Stream(np.array(ids), np.zeros(len(ids), np.int64))


@settings(max_examples=100, deadline=None)
@given(parts=st.lists(small, min_size=1, max_size=4), context=small, side=st.sampled_from([-1, 1]))
def test_sites_are_those_that_brute_force_finds(parts: list[list[int]], context: list[int], side: int) -> None:
    lookup = Lookup([stream(p) for p in parts])
    found = set(lookup.places._matching(np.array(context), side).tolist())
    ids = lookup.places.ids_S.tolist()
    for k in ORDERS:
        if k > len(context):
            continue
        key = context[-k:] if side < 0 else context[:k]
        places = {i + (k if side < 0 else 0) for i in range(len(ids) - k + 1) if ids[i : i + k] == key}
        if len(places) >= 48 or k == 1:
            assert found == places
            return


@settings(max_examples=100, deadline=None)
@given(parts=st.lists(small, max_size=2), context=small, side=st.sampled_from([-1, 1]))
def test_match_lengths_are_those_that_brute_force_finds(parts: list[list[int]], context: list[int], side: int) -> None:
    ids = Places([stream(p) for p in parts]).ids_S
    near = np.array(context[::-1] if side < 0 else context)[:CONTEXT]
    sites = np.arange(-40, len(ids) + 40)
    for site, length in zip(sites, match(ids, sites, near, side), strict=True):
        if not 0 <= site <= len(ids):
            assert length == 0
            continue
        n = 0
        while n < len(near):
            at = site - 1 - n if side < 0 else site + n
            if not (0 <= at < len(ids)) or ids[at] != near[n]:
                break
            n += 1
        assert n == length


@pytest.mark.long
@settings(max_examples=60, deadline=None)
@given(
    streams=st.lists(small, max_size=3),
    examples=st.lists(small, max_size=3),
    block=st.sampled_from([7, 64, 1 << 17]),
    data=st.data(),
)
def test_runs_and_threads_are_those_that_brute_force_finds(
    streams: list[list[int]], examples: list[list[int]], block: int, data: st.DataObject
) -> None:
    own, others = (
        [
            Stream(np.array(p), np.array(data.draw(st.lists(st.integers(-1, 2), min_size=len(p), max_size=len(p)))))
            for p in s
        ]
        for s in (streams, examples)
    )
    with mock.patch("tracemend.menders.places.BLOCK", block):
        made = (
            Places(own, others),
            Places([], others),
            Places(own, others),
        )  # the last one finds the examples' part made
        for places in made:
            ids, tids = places.ids_S.tolist(), places.tids.tolist()
            for k in (1, 2, 4):
                behind: dict[tuple[int, ...], list[int]] = {}
                for i in range(len(ids) - k + 1):
                    if min(ids[i : i + k]) >= 0:
                        behind.setdefault(tuple(ids[i : i + k]), []).append(i + k)
                for run, expected in behind.items():
                    key = of_runs(prefixes(np.array(run)), k)[0]
                    assert places.behind(k, key, len(ids)).tolist() == expected
                    some = np.linspace(0, len(expected) - 1, 2).astype(int)
                    assert len(expected) <= 2 or places.behind(k, key, 2).tolist() == [expected[i] for i in some]
            back, ahead = np.zeros(len(ids), int), np.zeros(len(ids), int)
            last: dict[int, int] = {}
            for i, tid in enumerate(tids):
                if tid < 0:
                    last.clear()
                elif tid in last:
                    back[i] = ahead[last[tid]] = i - last[tid]
                last[tid] = i
            assert [x.tolist() for x in places.same_thread()] == [back.tolist(), ahead.tolist()]


def test_what_is_kept_of_examples_is_theirs() -> None:
    one, two = stream([3, 4, 5]), stream([5, 4, 3])
    key = of_runs(prefixes(np.array([5, 4])), 2)[0]
    assert [len(Places([one], [s]).behind(2, key, 9)) for s in (one, two, one, two)] == [0, 1, 0, 1]


def test_an_exact_repeat_is_restored() -> None:
    rng = np.random.default_rng(0)
    text = rng.integers(3, 60, 400)
    lookup = Lookup([Stream(np.concatenate([text, text[:150]]), np.zeros(550, np.int64))])
    w = window(stream(text[100:140].tolist()), stream(text[200:240].tolist()), 60)
    proposal = lookup.propose([w])[0]
    assert (proposal.events_NM[:, 0] == text[140:200]).all()
    assert (proposal.p_NM[:, 0] > 0.95).all()
    assert (proposal.threads_NT.argmax(axis=1) == 1).all()


def test_nothing_is_matched_across_the_streams_end_or_a_break() -> None:
    lookup = Lookup([stream([3, 4, 5]), stream([6, 7, 8])])
    w = window(stream([3, 4, 5]), GONE + stream([8]), 2)
    assert lookup.propose([w])[0].p_NM[:, 0].max() < 0.5
    assert len(lookup.places._matching(np.array([5, 6]), -1)) == 1  # only the 6


def test_an_empty_index_still_answers() -> None:
    w = window(stream([3]), stream([4]), 3)
    proposal = Lookup([]).propose([w])[0]
    assert len(proposal) == 3


def test_threads_are_followed_by_their_rank() -> None:
    """Made up: two threads take turns; at the gap they have other ids than at the site."""
    ids = np.tile([3, 4, 5, 6], 30)
    tids = np.tile([11, 11, 12, 12], 30)
    lookup = Lookup([Stream(ids, tids)])
    left, right = (Stream(ids[a : a + 40], np.tile([21, 21, 22, 22], 10)) for a in (0, 44))
    w = window(left, right, 4)
    slots = lookup.propose([w])[0].threads_NT.argmax(axis=1)
    assert w.tids[slots].tolist() == [21, 21, 22, 22]


def test_a_match_in_the_examples_ranks_behind_one_that_is_little_shorter() -> None:
    own, example = stream([9, *range(20, 28), 3]), stream([8, *range(20, 28), 4])
    places = Places([own], [example])
    gap = hidden_runs(window(example[:9], example[:0], 1))[0]
    for discount, first in ((0.0, 9), (0.5, 8)):
        sites, left, _, _ = places.best(gap, 1, discount)
        assert left.tolist() == [first]
        assert (sites >= places.foreign).tolist() == [first == 9]


@given(
    sites=st.lists(st.integers(-9, 30), max_size=12),
    others=st.lists(st.integers(-9, 30), max_size=12),
    low=st.integers(-9, 0),
)
def test_sites_of_both_sides_stand_once_and_in_order(sites: list[int], others: list[int], low: int) -> None:
    held, beside = (np.sort(np.array(x, np.int64)) for x in (sites, others))
    found = united(held, beside, low, 20)
    assert found.tolist() == sorted({x for x in (*sites, *others) if low <= x < 20})


def test_of_a_common_run_some_places_are_taken_all_over() -> None:
    """Two streams, and one to copy from besides."""
    parts = [Stream(np.full(n, 5), np.zeros(n, np.int64)) for n in (300, 200, 100)]
    places = Places(parts[:2], parts[2:])
    key = of_runs(prefixes(np.array([5])), 1)[0]
    every = places.behind(1, key, 600)
    assert len(every) == 600
    assert (np.diff(every) > 0).all()
    for most in (1, 2, 7, 599):
        some = places.behind(1, key, most)
        assert some.tolist() == every[np.linspace(0, 599, most).astype(int)].tolist()


@given(
    parts=st.lists(small, min_size=1, max_size=3),
    sites=st.lists(st.tuples(st.integers(0, 999), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=6),
    n=st.integers(1, 12),
)
def test_votes_are_those_of_the_definition(parts: list[list[int]], sites: list[tuple[int, int, int]], n: int) -> None:
    places = Places([stream(p) for p in parts[:1]], [stream(p) for p in parts[1:]])
    place, left, right = np.array(sites).T
    place = place % (len(places.ids_S) + n - 1) + 1 - n
    for p, site in enumerate(place.tolist()):  # what matches is there
        left[p] *= site > 0 and places.ids_S[site - 1] >= 0
        right[p] *= site + n < len(places.ids_S) and places.ids_S[site + n] >= 0
    end, begin = places.stretch_end(np.maximum(place - 1, 0)), places.stretch_begin(place + n)
    sure = places.whole(place, n) & (np.minimum(left, right) >= 2)
    heard = Sites(place, np.log1p(left), np.log1p(right), sure, end, begin)
    vote_PN, named, sum_NU = votes(places.ids_S, heard, n, 3.0, 50.0, places.foreign, 0.1)
    expected: list[dict[int, float]] = [{} for _ in range(n)]
    for p, site in enumerate(place.tolist()):
        for i in range(n):
            at = site + i
            if not 0 <= at < len(places.ids_S) or places.ids_S[at] < 0:
                assert vote_PN[p, i] == 0
                continue
            to_the_left, to_the_right = places.ids_S[max(site, 1) - 1 : at + 1], places.ids_S[at : site + n + 1]
            evidence = 0.0
            if left[p] and (to_the_left[1:] >= 0).all():
                evidence += np.log1p(left[p]) / (1 if sure[p] else 1 + i / 50)
            if right[p] and (to_the_right[:-1] >= 0).all():
                evidence += np.log1p(right[p]) / (1 if sure[p] else 1 + (n - 1 - i) / 50)
            vote = np.expm1(3 * evidence) * (1 if at < places.foreign else 0.1)
            assert vote_PN[p, i] == pytest.approx(vote)
            if vote:
                expected[i][int(places.ids_S[at])] = expected[i].get(int(places.ids_S[at]), 0) + vote
    assert named.tolist() == sorted({event for votes_of in expected for event in votes_of})
    for i, votes_of in enumerate(expected):
        assert sum_NU[i] == pytest.approx([votes_of.get(event, 0) for event in named.tolist()])


@given(
    tids=st.lists(st.integers(-1, 20), min_size=1, max_size=60),
    sites=st.lists(st.integers(-9, 59), min_size=1, max_size=4),
    n=st.integers(1, 12),
    depth=st.tuples(st.integers(1, 9), st.integers(0, 9)),
    ranks=st.integers(1, SLOTS),
)
def test_threads_are_ranked_as_windows_rank_them(
    tids: list[int], sites: list[int], n: int, depth: tuple[int, int], ranks: int
) -> None:
    tids_S, here = np.array(tids, np.int32), np.arange(ranks)[::-1].copy()
    here[0] = UNKNOWN_THREAD
    place, vote_PN = np.array(sites), 1 + np.arange(len(sites) * n, dtype=float).reshape(len(sites), n)
    expected = np.zeros((n, SLOTS))
    for p, site in enumerate(sites):
        left = tids_S[max(site - depth[0], 0) : max(site, 0)]
        right = tids_S[site + n : site + n + depth[1]] if site + n >= 0 else tids_S[:0]
        own = np.array([tids[at] if 0 <= at < len(tids) else -1 for at in range(site, site + n)])
        rank = to_slots(own, slots_by_recency(left, right))
        slot = np.where(rank < ranks, here[np.minimum(rank, ranks - 1)], UNKNOWN_THREAD)
        expected[np.arange(n), slot] += vote_PN[p]
    assert thread_votes(tids_S, place, vote_PN, depth, here).tolist() == expected.tolist()


@given(parts=st.lists(small, min_size=1, max_size=3), around=st.lists(st.integers(3, 6), min_size=8, max_size=20))
def test_the_best_sites_are_the_first_of_all(parts: list[list[int]], around: list[int]) -> None:
    places = Places([stream(p) for p in parts])
    gap = hidden_runs(window(stream(around[:4]), stream(around[4:]), 2))[0]
    every = places.best(gap, 1 << 20, 0.5)
    for most in range(1, len(every[0]) + 1):
        for some, column in zip(places.best(gap, most, 0.5), every, strict=True):
            assert some.tolist() == column[:most].tolist()
