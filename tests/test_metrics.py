"""Metrics on cases worked out by hand, and against brute force."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from conftest import make_trace, right, threads_on_cpus
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tracemend.diffusion.gaps import lose
from tracemend.errors import ModelError
from tracemend.judging.gaps import judge, summary
from tracemend.judging.likelihood import held_out
from tracemend.judging.metrics import (
    LENGTH_BINS,
    accuracy,
    bin_name,
    calibration_error,
    edit_similarity,
    error_by_chance,
    interval,
    perfect,
    rouge_l,
    rouge_l_published,
)
from tracemend.judging.windows import Hidden, blackout, by_rank, by_type, judge_windows
from tracemend.menders import MostFrequent, NGram
from tracemend.menders.base import Proposal, Proposer, certain
from tracemend.menders.calibration import LENGTHS, Calibration, Weight
from tracemend.mending.mended import INFERRED
from tracemend.mending.run import mend_trace
from tracemend.recording import Pair
from tracemend.trace.events import Gap
from tracemend.trace.syscalls import NO_MODULE, all_names, module
from tracemend.trace.vocabulary import FIRST, OTHER, Vocabulary, numbered, universal
from tracemend.trace.windows import Stream, Window, streams

short = st.lists(st.integers(0, 3), min_size=1, max_size=7)


def test_by_hand() -> None:
    truth, shifted = np.array([1, 2, 3, 4, 5]), np.array([9, 1, 2, 3, 4])
    assert accuracy(shifted, truth) == 0
    assert rouge_l(shifted, truth) == 0.8
    assert not perfect(shifted, truth)
    assert perfect(truth, truth)
    assert not perfect(truth[:4], truth)
    with pytest.raises(ValueError, match="4 restored events for 5"):
        accuracy(truth[:4], truth)


@given(a=short, b=short)
def test_rouge_is_the_longest_common_subsequence(a: list[int], b: list[int]) -> None:
    best = 0
    for k in range(len(b), 0, -1):
        for pick in itertools.combinations(b, k):
            rest = iter(a)
            if all(x in rest for x in pick):
                best = k
                break
        if best:
            break
    assert rouge_l(np.array(a), np.array(b)) == pytest.approx(best / len(b))


def test_calibration_error_by_hand() -> None:
    confidence = np.array([0.95, 0.95, 0.55, 0.55])
    right = np.array([True, True, True, False])
    assert calibration_error(confidence, right) == pytest.approx((2 * 0.05 + 2 * 0.05) / 4)
    assert calibration_error(np.ones(5), np.ones(5, bool)) == 0


def test_so_much_of_a_calibration_error_is_chance() -> None:
    """One event of a half: off by a half, whatever happens. Two: none, one or both are right. None of a certainty."""
    rng = np.random.default_rng(0)
    assert error_by_chance(np.array([[1.0], [0.5], [1.0]]), rng) == pytest.approx(0.5)
    assert error_by_chance(np.array([[2.0], [1.0], [0.0]]), rng, 10_000) == pytest.approx(0.25, abs=0.01)
    assert error_by_chance(np.array([[9.0, 0.0], [9.0, 0.0], [0.0, 0.0]]), rng) == 0
    many = np.array([[1e6], [3e5], [0.0]])
    assert error_by_chance(many, rng) < 0.001


def test_bins_cover_every_length_once() -> None:
    assert [low for low, _ in LENGTH_BINS[1:]] == [high + 1 for _, high in LENGTH_BINS[:-1]]
    assert bin_name(1, 1) == "1"
    assert bin_name(2, 10) == "2-10"
    assert bin_name(*LENGTH_BINS[-1]) == "over 5000"


def test_an_interval_holds_the_mean_and_narrows() -> None:
    rng = np.random.default_rng(0)
    few, many = rng.random(10), rng.random(1000)
    for values in (few, many):
        low, high = interval(values, np.random.default_rng(1))
        assert low < values.mean() < high
    width = [np.subtract(*interval(v, np.random.default_rng(1))[::-1]) for v in (few, many)]
    assert width[1] < width[0]


def test_calibration_lowers_the_error_and_is_monotone() -> None:
    rng = np.random.default_rng(0)
    belief = rng.random(20_000)
    right = rng.random(20_000) < belief**2  # overconfident
    length = rng.choice([5, 30, 100, 1000], 20_000)
    calibration = Calibration.fit(belief, right, length)
    again = Calibration.from_dict(calibration.as_dict())
    for n in (5, 30, 100, 1000):
        at = length == n
        confidence = again(belief[at].astype(np.float32), n)
        assert calibration_error(confidence.astype(float), right[at]) < 0.03
        assert calibration_error(belief[at], right[at]) > 0.1
    ramp = again(np.linspace(0, 1, 50, dtype=np.float32), 30)
    assert (np.diff(ramp) >= -1e-6).all()
    assert len(again.curves) == len(LENGTHS)


@pytest.mark.parametrize("document", [{}, {"curves": []}, {"curves": [[[1], [2, 3]]] * 4}, {"curves": 3}])
def test_no_calibration_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(ModelError):
        Calibration.from_dict(document)


def test_an_unfitted_weight_takes_the_surer_one_by_a_margin() -> None:
    weight = Weight()
    assert weight(0.5, 0.64, 10) < 0.5 < weight(0.5, 0.66, 1000)
    assert weight(0.0, 1.0, 1) > 0.999
    assert weight(1.0, 0.0, 1) < 0.001


def test_a_weight_learns_where_the_network_has_more_right() -> None:
    rng = np.random.default_rng(0)
    copier, network = rng.random((2, 4000))
    length = rng.integers(1, 500, 4000)
    worth = network - 0.5 * np.log10(length)  # the network is that much too sure in long gaps
    ahead = np.where(rng.random(4000) < 0.9, 1, -1) * (worth - copier)
    weight = Weight.fit(copier, network, length, ahead)
    again = Weight.from_list(weight.as_list())
    taken = np.array([again(*of) > 0.5 for of in zip(copier, network, length.tolist(), strict=True)])
    assert (taken == (worth > copier)).mean() > 0.95
    # a network that is never right is never taken, and needn't be asked
    never = Weight.fit(copier, network, length, -rng.random(4000))
    assert max(never(c, sure, 10) for c in (0.0, 0.5, 1.0) for sure in (0.0, 1.0)) < 0.05


def test_a_fitted_weight_is_the_best_one() -> None:
    rng = np.random.default_rng(1)
    copier, network = rng.random((2, 50))
    length, ahead = rng.integers(1, 500, 50), rng.normal(size=50)
    features = np.stack([np.ones(50), copier, network, np.log10(length)], axis=1)

    def loss(coefficients: np.ndarray) -> float:
        signed = np.where(ahead > 0, 1, -1) * (features @ coefficients)
        penalty = np.array([1e-3, 0.1, 0.1, 0.1]) @ coefficients**2 / 2
        return float((np.abs(ahead) * np.log1p(np.exp(-signed))).sum() + penalty)

    best = np.array(Weight.fit(copier, network, length, ahead).coefficients)
    assert all(loss(best) < loss(best + step) for step in rng.normal(scale=0.01, size=(100, 4)))


@pytest.mark.parametrize("document", [3, "1", [1, 2, 3], ["a", 0, 0, 0], [1, 2, 3, float("nan")], None])
def test_no_weight_is_refused(document: object) -> None:
    with pytest.raises(ModelError):
        Weight.from_list(document)


def test_the_published_rouge_counts_separators() -> None:
    one, other = np.array([1]), np.array([2])
    assert rouge_l_published(one, one) == 1
    assert rouge_l_published(one, other) == 0.5  # wrong everywhere, and half of it is right
    # "1 2 3 " and "2 3 1 " share " 2 3 "less one separator: 2,s,3,s and one of the separators beside them
    assert rouge_l_published(np.array([1, 2, 3]), np.array([2, 3, 1])) == pytest.approx(4 / 6)
    assert rouge_l(np.array([1, 2, 3]), np.array([2, 3, 1])) == pytest.approx(2 / 3)


@pytest.mark.parametrize(("accuracy_of_one", "published"), [(0.894, 0.947), (0.884, 0.942), (0.906, 0.953)])
def test_the_published_rouge_of_one_event_is_what_the_study_printed(accuracy_of_one: float, published: float) -> None:
    """SSSD-S4, blackout 1, compress-gzip, ffmpeg and unpack-linux: 500 windows, so many of them right."""
    right = round(500 * accuracy_of_one)
    values = [rouge_l_published(np.array([1]), np.array([1 if n < right else 2])) for n in range(500)]
    assert np.mean(values) == pytest.approx(published, abs=5e-4)


@given(a=short, b=short)
def test_the_published_rouge_is_never_below_a_half_and_never_below_the_real_one(a: list[int], b: list[int]) -> None:
    n = min(len(a), len(b))
    x, y = np.array(a[:n]), np.array(b[:n])
    assert rouge_l_published(x, y) >= max(0.5, rouge_l(x, y)) - 1e-9


def test_edit_similarity_by_hand() -> None:
    assert edit_similarity(np.array([1, 2, 3, 4]), np.array([2, 3, 4, 5])) == 0.5  # one typed, one deleted
    assert edit_similarity(np.array([1, 2]), np.array([1, 2])) == 1


def test_every_call_has_a_module() -> None:
    assert not [name for name in all_names() if module(name) == NO_MODULE]
    assert [module(n) for n in ("openat", "mmap", "munmap", "futex", "sendto", "semop", "no_call")] == [
        "FS", "AR", "MM", "KER", "NET", "IPC", NO_MODULE,
    ]  # fmt: skip


def test_by_rank_and_by_type_by_hand() -> None:
    truth, filled = np.array([[1, 5, 9, 20]]), np.array([[1, 5, 1, 1]])
    assert by_rank(truth == filled, truth) == {
        "1-4": {"events": 1, "accuracy": 1.0},
        "5-8": {"events": 1, "accuracy": 1.0},
        "9-16": {"events": 1, "accuracy": 0.0},
        "17-255": {"events": 1, "accuracy": 0.0},
    }
    words = Vocabulary([("read", 2), ("write", 2), ("futex", 2)])
    table = by_type(np.array([[FIRST + 1, FIRST, FIRST + 2]]), np.array([[FIRST, FIRST, FIRST + 1]]), words)
    assert table["all"] == {"events": 3, "accuracy": 0.3333, "type_accuracy": 0.6667}
    assert table["FS"] == {"events": 3, "accuracy": 0.3333, "type_accuracy": 0.6667}


class Constant(Proposer):
    """Says the same event everywhere."""

    name = "constant"

    def propose(self, windows: Sequence[Window], seed: int = 0) -> list[Proposal]:
        return [certain(np.full(w.hidden, FIRST), np.ones(w.hidden, np.int64), 0.75) for w in windows]


def test_windows_are_judged_by_what_was_hidden() -> None:
    a, b = FIRST, FIRST + 1
    ids = np.array([[a, a, a, a], [a, a, b, a], [a, b, b, a], [b, b, b, b]])
    known = blackout(4, 2, "centre")
    assert known.tolist() == [True, False, False, True]
    hard = np.array([False, True, True, False])
    row = judge_windows(Constant(), Hidden(ids, known, {"all": np.ones(4, bool), "hard": hard}, numbered(2)))
    every, part = row["subsets"]["all"], row["subsets"]["hard"]
    assert every["accuracy"] == pytest.approx((1 + 0.5 + 0 + 0) / 4)
    assert (every["perfect"], every["gaps"], part["gaps"]) == (0.25, 4, 2)
    assert part["accuracy"] == 0.25
    assert row["calibration_error"] == pytest.approx(abs(0.75 - 3 / 8))
    # of the second window a, b was lost and a, a filled in: two wrong counts for two lost calls are no better than none
    assert every["count_error"] == pytest.approx((0 + 1 + 2 + 2) / 4)
    assert every["count_better"] == 0.25
    # the shares: the broken first window (a, a) tells them as they are, mending can't do better
    assert every["share_better"] == 0
    assert judge_windows(Constant(), Hidden(ids, known, {"none": np.zeros(4, bool)}, numbered(2)))["subsets"] == {
        "none": {"gaps": 0}
    }


def test_fills_are_judged_by_their_likelihood_beside_the_truth() -> None:
    a, b = FIRST, FIRST + 1
    ids = np.array([[a, a, a, a], [a, a, b, a], [a, b, b, a], [b, b, b, b]])
    known, parts = blackout(4, 2, "centre"), {"all": np.ones(4, bool), "last": np.arange(4) == 3}

    def likelihood(ids_BL: NDArray[np.int64], known_BL: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Three bits for a b, one for an a."""
        return np.asarray(np.where(known_BL, 0, 1 + 2.0 * (ids_BL == b)).sum(axis=1) / (~known_BL).sum(axis=1))

    row = judge_windows(Constant(), Hidden(ids, known, parts, numbered(2)), likelihood=likelihood)
    every, last = row["subsets"]["all"], row["subsets"]["last"]
    assert (every["bits"], every["bits_truth"], every["likelier"]) == (1, (1 + 2 + 3 + 3) / 4, 0.75)
    assert (last["bits"], last["bits_truth"], last["likelier"]) == (1, 3, 1)
    assert "bits" not in judge_windows(Constant(), Hidden(ids, known, parts, numbered(2)))["subsets"]["all"]


def test_held_out_streams_tell_how_likely_events_are() -> None:
    assert held_out([], numbered(2)) is None
    likelihood = held_out([Stream(np.array([FIRST, FIRST, FIRST]), np.zeros(3, np.int64))], numbered(1))
    assert likelihood is not None
    # one id was seen, there are two (with OTHER): Witten-Bell gives the seen one (3 + 1 / 2) / 4 without a context
    assert likelihood(np.array([[FIRST]]), np.zeros((1, 1), bool)) == pytest.approx(-np.log2(3.5 / 4))
    assert likelihood(np.array([[OTHER]]), np.zeros((1, 1), bool)) == pytest.approx(-np.log2(0.5 / 4))


def test_gaps_are_judged_by_the_likelihood_of_what_stands_in_their_stream() -> None:
    whole = threads_on_cpus(np.random.default_rng(5), 3000)
    lossy, lost = lose(whole, np.random.default_rng(6), longest=50)
    pair = Pair(lossy, whole, lost)
    known = streams(threads_on_cpus(np.random.default_rng(7), 2000), universal())
    likelihood = held_out(known, universal())
    model, among = NGram(known, order=5), len(universal()) - OTHER
    ids = universal().encode(whole).astype(np.int64)
    scores = judge(right(whole, lossy, lost), pair, likelihood)
    assert len(scores) == len(lost)
    for s in scores:
        stream = whole.streams[int(whole.cpu[lost[s.gap][0]])]
        at = int(np.searchsorted(stream, lost[s.gap][0]))
        window, mask = ids[stream[: at + s.length]], np.arange(at + s.length) < at
        assert s.bits == s.bits_truth == pytest.approx(model.bits(window[None], mask[None], among)[0])
    rows = summary(judge(mend_trace(lossy, MostFrequent()), pair, likelihood))
    assert rows[-1]["bits_truth"] == pytest.approx(np.mean([s.bits_truth for s in scores]), abs=1e-4)
    assert rows[-1]["bits"] != rows[-1]["bits_truth"]
    assert "bits" not in summary(judge(right(whole, lossy, lost), pair))[-1]
    assert judge(mend_trace(lossy.with_gaps(()), MostFrequent()), pair, likelihood) == []


def test_the_descriptors_of_a_gap_are_those_of_the_calls_that_return_in_it() -> None:
    """Lost: the exit of an openat whose enter is there, a whole pipe2 and the enter of a close whose exit is there."""
    names = [("openat", 0), ("openat", 1), ("pipe2", 0), ("pipe2", 1), ("close", 0), ("close", 1)]
    whole = make_trace([(10 * i, 0, 1, name, phase) for i, (name, phase) in enumerate(names)])
    gap = Gap(0, 0, 0, 1, 0, 50, 4, "counted", 2)
    lossy = replace(whole, table=whole.table.take([0, 5]), gaps=(gap,))
    lost = [np.arange(1, 5)]
    exact = right(whole, lossy, lost)
    (score,) = judge(exact, Pair(lossy, whole, lost))
    assert (score.descriptors, score.descriptors_open) == (0, 1)
    table = exact.inferred
    swapped = replace(exact, inferred=table.set_column(5, "name", table["name"].take([0, 3, 3, 3])))
    assert judge(swapped, Pair(lossy, whole, lost))[0].descriptors == pytest.approx(abs(1 - 1 - 3) / 3)
    (row,) = summary([score])[-1:]
    assert (row["descriptors"], row["descriptors_open"]) == (0, 1)


def test_the_times_of_a_gap_are_judged_position_by_position() -> None:
    whole = make_trace([(t, 0, 1, name, 2) for t, name in zip((0, 10, 20, 30, 40, 50), "abcdef", strict=True)])
    gap = Gap(0, 0, 0, 1, 0, 50, 4, "counted", 2)
    pair = Pair(replace(whole, table=whole.table.take([0, 5]), gaps=(gap,)), whole, [np.arange(1, 5)])
    exact = right(whole, pair.lossy, pair.missing)
    assert judge(exact, pair)[0].time_error == 0
    late = exact.inferred.set_column(2, "time_ns", pa.array([11, 25, 37, 49], pa.int64()))
    shifted = late.set_column(5, "name", whole.table["name"].take([2, 3, 4, 5]))
    (score,) = judge(replace(exact, inferred=shifted.cast(INFERRED)), pair)
    assert score.time_error == pytest.approx(np.median([1, 5, 7, 9]) / 50)
    assert (score.accuracy, score.edit_similarity) == (0, 0.5)  # c d e f for b c d e: one deleted, one typed
    (row,) = summary([score])[-1:]
    assert (row["time_error"], row["edit_similarity"]) == (0.12, 0.5)


def test_an_interval_over_groups_is_wider_than_one_over_gaps() -> None:
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(10), 50)
    values = rng.random(10)[group]
    low, high = interval(values, rng)
    wide_low, wide_high = interval(values, rng, group_G=group)
    assert wide_high - wide_low > 3 * (high - low)
    assert wide_low < values.mean() < wide_high
