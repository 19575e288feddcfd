"""Menders against the truth: a lossy recording, the complete one of the same run, and how right each gap's fill is.

Axis legend: G gaps, N events of a gap.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracemend.baselines import Copy, MostFrequent
from tracemend.events import PHASES
from tracemend.mended import Mended
from tracemend.mender import Mender, Restorer
from tracemend.mending import mend_trace
from tracemend.metrics import LENGTH_BINS, accuracy, bin_name, calibration_error, interval, perfect, rouge_l
from tracemend.record import Pair
from tracemend.vocabulary import universal


@dataclass(frozen=True, slots=True)
class GapScore:
    """One gap's fill against what was lost. ``threads``: share of positions with the right thread."""

    gap: int
    length: int
    accuracy: float
    perfect: bool
    rouge_l: float
    threads: float
    confidence: NDArray[np.float64]
    right: NDArray[np.bool_]


def judge(mended: Mended, pair: Pair) -> list[GapScore]:
    """Score every filled gap whose count was right; call and phase must agree for an event to be right."""
    vocabulary = universal().extended(pair.complete).extended(pair.lossy)
    truth = vocabulary.encode(pair.complete).astype(np.int64)
    table = mended.inferred
    names, phases = table["name"].to_pylist(), table["phase"].to_pylist()
    ids = np.array([vocabulary.id(n, PHASES.index(p)) for n, p in zip(names, phases, strict=True)], np.int64)
    gap, tid = table["gap"].to_numpy(), table["tid"].to_numpy()
    confidence = table["confidence"].to_numpy().astype(np.float64)
    scores = []
    for number, lost in enumerate(pair.missing):
        at = np.flatnonzero(gap == number)
        if not len(at) or len(at) != len(lost):
            continue
        filled, real = ids[at], truth[lost]
        scores.append(
            GapScore(
                number,
                len(lost),
                accuracy(filled, real),
                perfect(filled, real),
                rouge_l(filled, real),
                float((tid[at] == pair.complete.tid[lost]).mean()),
                confidence[at],
                filled == real,
            )
        )
    return scores


def summary(scores: Sequence[GapScore], seed: int = 0) -> list[dict[str, Any]]:
    """One row a length bin, and one for all: means over gaps, with 95 % bootstrap intervals of the accuracy."""
    rows = []
    for low, high in (*LENGTH_BINS, (1, 1 << 63)):
        held = [s for s in scores if low <= s.length <= high]
        if not held:
            continue
        per_gap = np.array([s.accuracy for s in held])
        right = np.concatenate([s.right for s in held])
        rows.append(
            {
                "length": "all" if high >= 1 << 63 else bin_name(low, high),
                "gaps": len(held),
                "events": len(right),
                "accuracy": round(float(per_gap.mean()), 4),
                "interval": [round(x, 4) for x in interval(per_gap, np.random.default_rng(seed))],
                "event_accuracy": round(float(right.mean()), 4),
                "perfect": round(float(np.mean([s.perfect for s in held])), 4),
                "rouge_l": round(float(np.mean([s.rouge_l for s in held])), 4),
                "threads": round(float(np.mean([s.threads for s in held])), 4),
                "calibration_error": round(calibration_error(np.concatenate([s.confidence for s in held]), right), 4),
            }
        )
    return rows


def contestants(model: Restorer | None) -> Iterator[tuple[str, Restorer | Mender | None, bool]]:
    """What every table shows: (name, model, with a lookup beside it). All decode under the same constraints."""
    yield "most frequent", MostFrequent(), False
    yield "copy", Copy(), False
    yield "lookup", None, True
    if model is not None:
        yield "network", model, False
        yield "lookup + network", model, True


def compare(pair: Pair, model: Restorer | None, *, seed: int = 0) -> list[dict[str, Any]]:
    """Every contestant on one pair: rows of ``summary`` with the mender's name and its seconds of wall time."""
    rows = []
    for name, mender, lookup in contestants(model):
        begin = time.perf_counter()
        mended = mend_trace(pair.lossy, mender, lookup=lookup, seed=seed)
        seconds = time.perf_counter() - begin
        for row in summary(judge(mended, pair), seed):
            rows.append({"mender": name, **row, "seconds": round(seconds, 3)})
    return rows
