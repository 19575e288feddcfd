"""What is fitted where the truth is known: curves from belief to confidence, and what a network counts beside copies.

Axis legend: N events, K knots of a curve, G gaps, F features.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracemend.errors import ModelError
from tracemend.untrusted import json_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Gaps up to these lengths have curves of their own (the last one: any length): a belief in the middle of a long gap
#: holds less often than the same belief in a short one.
LENGTHS = (10, 40, 200, 1 << 62)
KNOTS = 24


@dataclass(frozen=True)
class Calibration:
    """One curve a class of gap length: (x_K, y_K), both increasing, in [0, 1]."""

    curves: tuple[tuple[Floats, Floats], ...]

    def __call__(self, belief_N: NDArray[np.float32], length: int) -> NDArray[np.float32]:
        """Confidence of events of a gap of ``length`` events."""
        x, y = self.curves[bisect.bisect_left(LENGTHS, length)]
        return np.interp(belief_N, x, y).astype(np.float32)

    def mean(self, belief_N: NDArray[Any], length: int) -> float:
        """The mean confidence of a fill of ``length`` events."""
        return float(self(belief_N, length).mean())

    def as_dict(self) -> dict[str, Any]:
        return {
            "lengths": list(LENGTHS),
            "curves": [[np.round(x, 4).tolist(), np.round(y, 4).tolist()] for x, y in self.curves],
        }

    @staticmethod
    def from_dict(document: dict[str, Any]) -> Calibration:
        """Raises ModelError for anything that is no calibration."""
        try:
            curves = tuple((np.array(x, float), np.array(y, float)) for x, y in document["curves"])
        except (KeyError, TypeError, ValueError) as e:
            raise ModelError(f"no calibration: {e}") from e
        usable = all(len(x) == len(y) > 0 and (np.diff(x) >= 0).all() for x, y in curves)
        if len(curves) != len(LENGTHS) or not usable:
            raise ModelError("no calibration: curves of the wrong shape")
        return Calibration(curves)

    @staticmethod
    def fit(belief_N: Floats, right_N: NDArray[np.bool_], length_N: NDArray[np.int64]) -> Calibration:
        """Fit on events whose truth is known; ``length_N`` is the length of each event's gap."""
        kind, weight_N = np.searchsorted(LENGTHS, length_N), np.ones(len(belief_N))
        of = [kind == k for k in range(len(LENGTHS))]
        return Calibration(tuple(monotone(belief_N[own], right_N[own], weight_N[own]) for own in of))


def monotone(belief_N: Floats, right_N: NDArray[np.bool_], weight_N: Floats) -> tuple[Floats, Floats]:
    """Means of equally filled bins, made monotone by pooling adjacent violators (Ayer et al. 1955)."""
    if not len(belief_N):
        return np.array([0.0, 1.0]), np.array([0.0, 1.0])
    order = np.argsort(belief_N, kind="stable")
    reached = np.cumsum(weight_N[order])
    cuts = np.searchsorted(reached, reached[-1] * np.arange(1, KNOTS) / KNOTS)
    blocks = [
        [float(np.average(side[part], weights=weight_N[part])) for side in (belief_N, right_N)] + [weight_N[part].sum()]
        for part in np.split(order, np.unique(cuts))
        if len(part)
    ]
    pooled: list[list[float]] = []
    for block in blocks:
        pooled.append(block)
        while len(pooled) > 1 and pooled[-2][1] > pooled[-1][1]:
            b, a = pooled.pop(), pooled.pop()
            n = a[2] + b[2]
            pooled.append([(a[0] * a[2] + b[0] * b[2]) / n, (a[1] * a[2] + b[1] * b[2]) / n, n])
    return np.array([p[0] for p in pooled]), np.array([p[1] for p in pooled])


@dataclass(frozen=True, slots=True)
class Weight:
    """How much a network's fill of a gap counts beside a copier's, in [0, 1]: a logistic curve of how sure of their
    fills both are in the mean and of the gap's length.

    coefficients: of 1, the copier's and the network's mean confidence, and log10 of the events lost. If none were
    fitted the surer one is taken, with a margin of 0.15 for the copier: networks are surer than they should be.
    """

    coefficients: tuple[float, ...] = (-5.0, -100 / 3, 100 / 3, 0.0)

    def __call__(self, copier: float, network: float, length: int) -> float:
        return float(logistic(_features(copier, network, length) @ self.coefficients))

    def as_list(self) -> list[float]:
        return [round(c, 4) for c in self.coefficients]

    @staticmethod
    def from_list(document: Any) -> Weight:
        """Raises ModelError for anything that is no weight."""
        try:
            coefficients = tuple(float(c) for c in document)
        except (TypeError, ValueError) as e:
            raise ModelError(f"no weight: {e}") from e
        if len(coefficients) != len(Weight().coefficients) or not np.isfinite(coefficients).all():
            raise ModelError("no weight: numbers missing")
        return Weight(coefficients)

    @staticmethod
    def fit(copier_G: Floats, network_G: Floats, length_G: Ints, ahead_G: Floats, *, ridge: float = 0.1) -> Weight:
        """Logistic regression: does the network have more right? A gap counts as much as is at stake in it.

        ahead_G: the network's share of events right less the copier's. By Newton's method, with a little ridge.
        """
        found_F = regression(_features(copier_G, network_G, length_G), ahead_G > 0, np.abs(ahead_G), ridge)
        return Weight(tuple(found_F.tolist()))


def regression(x_NF: Floats, true_N: NDArray[np.bool_], weight_N: Floats, ridge: float) -> Floats:
    """The coefficients of a logistic regression, the first one of 1, by Newton's method (Hastie et al. 2009, 4.4.1)."""
    penalty_F = np.array([1e-3, *[ridge] * (x_NF.shape[1] - 1)])
    found_F = np.zeros(x_NF.shape[1])
    for _ in range(50):
        p_N = logistic(x_NF @ found_F)
        slope_F = x_NF.T @ (weight_N * (p_N - true_N)) + penalty_F * found_F
        curvature_FF = (x_NF * (weight_N * p_N * (1 - p_N))[:, None]).T @ x_NF + np.diag(penalty_F)
        step_F = np.linalg.solve(curvature_FF, slope_F)
        found_F = found_F - step_F
        if np.abs(step_F).max() < 1e-6:
            break
    return found_F


def _features(copier_G: Floats | float, network_G: Floats | float, length_G: Ints | int) -> Floats:
    """(G, F), or (F,) of one gap."""
    return np.stack([np.ones_like(copier_G), copier_G, network_G, np.log10(length_G)], axis=-1)


def logistic(x: Floats) -> Floats:
    """From the whole line to between 0 and 1."""
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -50, 50))))


@cache
def shipped(name: str) -> Calibration | None:
    """The curve of a mender without a network, which ships with the package if it was measured."""
    file = resources.files("tracemend.menders") / f"{name}_calibration.json"
    return Calibration.from_dict(json_of(file.read_text())) if file.is_file() else None
