"""Metrics on cases worked out by hand, and against brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracemend.calibration import LENGTHS, Calibration
from tracemend.errors import ModelError
from tracemend.metrics import LENGTH_BINS, accuracy, bin_name, calibration_error, interval, perfect, rouge_l

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
