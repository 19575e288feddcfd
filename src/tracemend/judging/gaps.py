"""Mended gaps against what was lost, by a lossy recording and the complete one of the same run.

Axis legend: G gaps, N events of a gap.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracemend.judging.downstream import descriptor_error
from tracemend.judging.likelihood import Likelihood, likelier
from tracemend.judging.metrics import (
    LENGTH_BINS,
    accuracy,
    bin_name,
    calibration_error,
    edit_similarity,
    interval,
    perfect,
    rouge_l,
)
from tracemend.mending.mended import Mended
from tracemend.recording import Pair
from tracemend.trace.events import ENTER, EXIT, PHASES, Trace
from tracemend.trace.vocabulary import BREAK, OTHER, universal

Ints = NDArray[np.int64]

#: Events before a gap that likelihood is judged by; n-grams see the last few of them.
BEFORE = 32
#: What ``summary`` has the means of, besides the accuracy.
MEANS = (
    *("perfect", "rouge_l", "edit_similarity", "threads", "count_error"),
    *("descriptors", "descriptors_open", "time_error"),
)


@dataclass(frozen=True, slots=True)
class GapScore:
    """One gap's fill against what was lost.

    threads: share of positions with the right thread. count_error: events counted too many or too few, by thread, call
    and phase, over the events lost; leaving the gap open has 1. descriptors: ``downstream.descriptor_error`` of the
    calls that return in the gap; descriptors_open: of the gap left open. bits, bits_truth: of the fill and of what was
    lost, by ``Likelihood``; None where there was none to ask. time_error: median absolute error of the events' times,
    position by position, over the gap's duration.
    """

    gap: int
    length: int
    accuracy: float
    perfect: bool
    rouge_l: float
    edit_similarity: float
    threads: float
    count_error: float
    descriptors: float
    descriptors_open: float
    bits: float | None
    bits_truth: float | None
    time_error: float
    confidence: NDArray[np.float64]
    right: NDArray[np.bool_]


def judge(mended: Mended, pair: Pair, likelihood: Likelihood | None = None) -> list[GapScore]:
    """Score every filled gap whose count was right; call and phase must agree for an event to be right.

    likelihood: of ids of the universal vocabulary; an event that it doesn't hold is OTHER.
    """
    vocabulary = universal().extended(pair.complete).extended(pair.lossy)
    truth = vocabulary.encode(pair.complete).astype(np.int64)
    table = mended.inferred
    names, phases = table["name"].to_pylist(), table["phase"].to_pylist()
    ids = np.array([vocabulary.id(n, PHASES.index(p)) for n, p in zip(names, phases, strict=True)], np.int64)
    gap, tid, time_ns = (table[c].to_numpy() for c in ("gap", "tid", "time_ns"))
    duration_ns = {g.number: g.duration_ns for g in mended.trace.gaps}
    confidence = table["confidence"].to_numpy().astype(np.float64)
    judged = [(number, np.flatnonzero(gap == number), lost) for number, lost in enumerate(pair.missing)]
    judged = [(number, at, lost) for number, at, lost in judged if len(at) and len(at) == len(lost)]
    bits: list[tuple[float | None, float | None]] = [(None, None)] * len(judged)
    if likelihood and judged:
        before = [truth[_before(pair.complete, lost)] for _, _, lost in judged]
        sides = ([ids[at] for _, at, _ in judged], [truth[lost] for _, _, lost in judged])
        bits = list(zip(*(_bits(likelihood, before, side) for side in sides), strict=True))
    real_ns = pair.complete.time_ns
    returns = EXIT if (pair.complete.phase == EXIT).any() else ENTER

    def calls(ids_N: Ints, tid_N: NDArray[Any]) -> Counter[tuple[int, str]]:
        entries = (vocabulary.entry(i) for i in ids_N.tolist())
        return Counter((t, e[0]) for t, e in zip(tid_N.tolist(), entries, strict=True) if e and e[1] == returns)

    scores = []
    for (number, at, lost), (of_fill, of_truth) in zip(judged, bits, strict=True):
        filled, real, real_tid = ids[at], truth[lost], pair.complete.tid[lost]
        real_calls = calls(real, real_tid)
        scores.append(
            GapScore(
                gap=number,
                length=len(lost),
                accuracy=accuracy(filled, real),
                perfect=perfect(filled, real),
                rouge_l=rouge_l(filled, real),
                edit_similarity=edit_similarity(filled, real),
                threads=float((tid[at] == real_tid).mean()),
                count_error=_count_error(filled, tid[at], real, real_tid),
                descriptors=descriptor_error(real_calls, calls(filled, tid[at])),
                descriptors_open=descriptor_error(real_calls, {}),
                bits=of_fill,
                bits_truth=of_truth,
                time_error=float(np.median(np.abs(time_ns[at] - real_ns[lost])) / max(1, duration_ns[number])),
                confidence=confidence[at],
                right=filled == real,
            )
        )
    return scores


def _before(complete: Trace, lost: Ints) -> Ints:
    """Rows of the events that stand before the lost ones in their stream."""
    stream = complete.streams[int(complete.cpu[lost[0]])]
    at = int(np.searchsorted(stream, lost[0]))
    return stream[max(0, at - BEFORE) : at]


def _bits(likelihood: Likelihood, before: Sequence[Ints], events: Sequence[Ints]) -> list[float]:
    """Bits an event of each gap's events, behind what stands before the gap."""
    ids_GL = np.full((len(events), BEFORE + max(map(len, events))), BREAK)
    known_GL = np.ones(ids_GL.shape, bool)
    for row, (left, here) in enumerate(zip(before, events, strict=True)):
        ids_GL[row, BEFORE - len(left) : BEFORE] = left
        ids_GL[row, BEFORE : BEFORE + len(here)] = here
        known_GL[row, BEFORE : BEFORE + len(here)] = False
    bits_G: list[float] = likelihood(np.where(ids_GL < len(universal()), ids_GL, OTHER), known_GL).tolist()
    return bits_G


def _count_error(filled_N: Ints, filled_tid_N: NDArray[Any], real_N: Ints, real_tid_N: NDArray[Any]) -> float:
    keys = np.stack([np.concatenate([filled_N, real_N]), np.concatenate([filled_tid_N, real_tid_N])])
    _, kind = np.unique(keys, axis=1, return_inverse=True)
    sign = np.repeat([1.0, -1.0], [len(filled_N), len(real_N)])
    return float(np.abs(np.bincount(kind.ravel(), sign)).sum() / len(real_N))


def summary(scores: Sequence[GapScore], seed: int = 0) -> list[dict[str, Any]]:
    """One row a length bin, and one for all: means over gaps, with 95 % bootstrap intervals of the accuracy."""
    rows = []
    for low, high in (*LENGTH_BINS, (1, 1 << 63)):
        held = [s for s in scores if low <= s.length <= high]
        if not held:
            continue
        per_gap = np.array([s.accuracy for s in held])
        right = np.concatenate([s.right for s in held])
        confidence = np.concatenate([s.confidence for s in held])
        pairs = [(s.bits, s.bits_truth) for s in held if s.bits is not None and s.bits_truth is not None]
        rows.append(
            {
                "length": "all" if high >= 1 << 63 else bin_name(low, high),
                "gaps": len(held),
                "events": len(right),
                "accuracy": round(float(per_gap.mean()), 4),
                "interval": [round(x, 4) for x in interval(per_gap, np.random.default_rng(seed))],
                "event_accuracy": round(float(right.mean()), 4),
                "right": int(right.sum()),
                "confidence": round(float(confidence.mean()), 4),
                **{k: round(float(np.mean([getattr(s, k) for s in held])), 4) for k in MEANS},
                "count_better": round(float(np.mean([s.count_error < 1 for s in held])), 4),
                "calibration_error": round(calibration_error(confidence, right), 4),
            }
            | ({k: round(float(v.mean()), 4) for k, v in likelier(*np.array(pairs).T).items()} if pairs else {})
        )
    return rows
