"""From what draws say to an estimate and an interval: the one place that decides both.

Axis legend: H draws, K keys.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: The share of intervals that are to hold what really happened.
NOMINAL = 0.9
#: Draws that are made if nobody says how many; and where a trace is mended and figures only come along.
DRAWS, FEW = 16, 8


@dataclass(frozen=True, slots=True)
class Interval:
    """Each (K,)."""

    estimate: Floats
    low: Floats
    high: Floats


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


def interval(draws: Floats, observed: Floats, kind: str) -> Interval:
    """Estimate and interval from draws (H, K), widened as much as it takes to hold the truth (``intervals.json``).

    observed: what survived (K,). kind: of figure, as "call calls" or "thread cpu_ns".
    """
    estimate = estimated(draws)
    low, high = spread(draws)
    times, plus = _widening(kind, share_lost(observed, estimate))
    filled = plus * np.abs(estimate - observed)
    return Interval(
        estimate, estimate - times * (estimate - low) - filled, estimate + times * (high - estimate) + filled
    )


def share_lost(observed: Floats, estimate: Floats) -> Floats:
    """How much of a figure was lost (K,), by its estimate; 0 where more survived than there was."""
    return np.where(estimate > observed, 1 - observed / np.maximum(estimate, 1), 0.0)


def _widening(kind: str, lost: Floats) -> tuple[Floats, Floats]:
    """What the spread of the draws is multiplied by, and what is added to it of what was filled in (K,)."""
    rows = np.array(_table().get(kind, [[1.0, 1.0, 0.0]]))
    at = np.minimum(np.searchsorted(rows[:, 0], lost), len(rows) - 1)
    return rows[at, 1], rows[at, 2]


@cache
def _table() -> dict[str, list[list[float]]]:
    """By kind of figure, in order: up to which share lost, times, plus."""
    found: dict[str, list[list[float]]] = json.loads(
        resources.files("tracemend.reckoning").joinpath("intervals.json").read_text("utf-8")
    )
    return found
