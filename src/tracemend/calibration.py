"""Confidence that means what it says: a monotone curve from belief to the share of such events that are right.

Axis legend: N events, K knots of a curve.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracemend.errors import ModelError

Floats = NDArray[np.float64]

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
        x, y = self.curves[int(np.searchsorted(LENGTHS, length))]
        return np.interp(belief_N, x, y).astype(np.float32)

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
        kind = np.searchsorted(LENGTHS, length_N)
        return Calibration(tuple(_curve(belief_N[kind == k], right_N[kind == k]) for k in range(len(LENGTHS))))


def _curve(belief_N: Floats, right_N: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Means of equally filled bins, made monotone by pooling adjacent violators (Ayer et al. 1955)."""
    if not len(belief_N):
        return np.array([0.0, 1.0]), np.array([0.0, 1.0])
    order = np.argsort(belief_N, kind="stable")
    blocks = [
        [float(belief_N[part].mean()), float(right_N[part].mean()), float(len(part))]
        for part in np.array_split(order, min(KNOTS, len(order)))
    ]
    pooled: list[list[float]] = []
    for block in blocks:
        pooled.append(block)
        while len(pooled) > 1 and pooled[-2][1] > pooled[-1][1]:
            b, a = pooled.pop(), pooled.pop()
            n = a[2] + b[2]
            pooled.append([(a[0] * a[2] + b[0] * b[2]) / n, (a[1] * a[2] + b[1] * b[2]) / n, n])
    return np.array([p[0] for p in pooled]), np.array([p[1] for p in pooled])


@cache
def shipped(name: str) -> Calibration | None:
    """The curve of a mender without a network, which ships with the package if it was measured."""
    file = resources.files("tracemend.data") / f"{name}_calibration.json"
    return Calibration.from_dict(json.loads(file.read_text())) if file.is_file() else None
