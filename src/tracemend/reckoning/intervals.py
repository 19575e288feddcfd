"""From what draws say to an estimate and an interval: the one place that decides both.

Axis legend: H draws, K keys.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: The share of intervals that are to hold what really happened.
NOMINAL = 0.9
#: Draws that are made if nobody says how many; and where a trace is mended and figures only come along: four take half
#: as long as all else of mending, and estimates are as good as of sixteen (``benchmarks/few.py``).
DRAWS, FEW = 16, 4


@dataclass(frozen=True, slots=True)
class Interval:
    """Each (K,)."""

    estimate: Floats
    low: Floats
    high: Floats

    @property
    def whole(self) -> tuple[Floats, Floats, Floats]:
        """Low, estimate and high as whole numbers: all of these that lie within, and the nearest one."""
        estimate = np.round(self.estimate)
        return np.minimum(np.ceil(self.low), estimate), estimate, np.maximum(np.floor(self.high), estimate)


def estimated(draws: Floats) -> Floats:
    """The estimate (K,) from draws (H, K): the median, which errs least."""
    return np.asarray(np.median(draws, axis=0))


def spread(draws: Floats) -> tuple[Floats, Floats]:
    """Between what nine of ten further draws would lie (K,), by those that there are (H, K).

    A further one is below the least of H draws in one of H + 1 cases, so few draws don't reach far enough: what they
    reach is stretched as if they came from a normal distribution.
    """
    tail = (1 - NOMINAL) / 2
    low, high = np.quantile(draws, [tail, 1 - tail], axis=0, method="weibull")
    reached = 1 / (len(draws) + 1)
    if reached > tail:
        further = NormalDist().inv_cdf(tail) / NormalDist().inv_cdf(reached)
        middle = estimated(draws)
        low, high = (middle + further * (side - middle) for side in (low, high))
    return low, high


def interval(draws: Floats, observed: Floats, kind: str, usual: Floats | None = None) -> Interval:
    """Estimate and interval from draws (H, K): as wide as it took on recordings whose truth is known
    (``intervals.json``, scripts/calibrate_figures.py); of a kind that isn't in there, as the draws are.

    observed: what survived (K,). kind: of figure, as "call calls" or "thread cpu_ns". usual: what was lost if it is as
    what survived (K,).
    """
    estimate = estimated(draws)
    ends = table().get(kind)
    if ends is None:
        return Interval(estimate, *spread(draws))
    grounds = terms(draws, observed, shared_out(draws, observed) if usual is None else usual, kind)
    return Interval(estimate, estimate - ends["low"].distance(grounds), estimate + ends["high"].distance(grounds))


@dataclass(frozen=True, slots=True)
class End:
    """How far an end of an interval is from the estimate: the root of a weighted sum of ``terms``, times a factor.
    weights (T,). by: what the factor goes by, of ``GRADES``. upto: up to which grade each of ``times`` counts; the last
    is for all above."""

    by: str
    weights: Sequence[float]
    upto: Sequence[float]
    times: Sequence[float]

    def distance(self, grounds: Floats) -> Floats:
        """(K,), from terms (T, K)."""
        times = np.array(self.times, float)[np.searchsorted(self.upto, GRADES[self.by](grounds))]
        return np.asarray(root(grounds, np.array(self.weights, float)) * times)


def terms(draws: Floats, observed: Floats, usual: Floats, kind: str) -> Floats:
    """What makes a figure unsure (T, K): how far the draws are apart, how much they have and how much would be usual,
    as sums of many small losses and as a whole, and the least there is."""
    unit = np.full(draws.shape[1], 1e3 if kind.endswith("_ns") else 1.0)
    mean = np.abs(draws.mean(axis=0) - observed)
    apart = draws.std(axis=0) * np.sqrt(unsure(len(draws)) / unsure(DRAWS))
    return np.stack(
        [apart**2, apart * mean, mean**2, mean * usual, usual**2, unit * mean, unit * usual, unit * apart, unit**2]
    )


def unsure(draws: int) -> float:
    """By how much the variance of so many draws is too small for how far the truth may be from their median: the mean
    that it is taken about is their own, and the median itself varies by pi / 2H of it (that of a normal distribution).
    """
    return draws / (draws - 1) * (1 + np.pi / (2 * draws)) if draws > 1 else 1.0  # of one nothing is apart


def root(grounds: Floats, weights: Floats) -> Floats:
    """The root of a weighted sum (K,) of terms (T, K)."""
    return np.asarray(np.sqrt(weights @ grounds))


def size(grounds: Floats) -> Floats:
    """How much was lost (K,), in units: by the draws and by what would be usual, whichever is more."""
    return np.asarray(np.sqrt(np.maximum(grounds[2], grounds[4]) / grounds[-1]))


def dissent(grounds: Floats) -> Floats:
    """How far the draws are apart (K,), over how much was lost."""
    return np.asarray(np.sqrt(grounds[0] / grounds[-1]) / np.maximum(size(grounds), 1))


#: What factors may go by.
GRADES = {"size": size, "dissent": dissent}


def shared_out(draws: Floats, observed: Floats) -> Floats:
    """What was lost of all figures (by draws (H, K)), shared out as what survived is (K,)."""
    return np.asarray(observed * max(0.0, float((draws.mean(axis=0) - observed).sum())) / max(1.0, observed.sum()))


def share_lost(observed: Floats, estimate: Floats) -> Floats:
    """How much of a figure was lost (K,), by its estimate; 0 where more survived than there was."""
    return np.where(estimate > observed, 1 - observed / np.maximum(estimate, 1), 0.0)


@cache
def table() -> dict[str, dict[str, End]]:
    """The ends "low" and "high" of intervals, by kind of figure."""
    document = json.loads(resources.files("tracemend.reckoning").joinpath("intervals.json").read_text("utf-8"))
    return {kind: {side: End(**end) for side, end in ends.items()} for kind, ends in document.get("kinds", {}).items()}
