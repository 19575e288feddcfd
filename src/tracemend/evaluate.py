"""Menders against the truth: windows with a blackout, or a lossy recording with the complete one of the same run.

Axis legend: G gaps, N events of a gap, W windows (one gap each), L length of a window, V vocabulary, B windows of any
kind.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracemend.baselines import Copy, MostFrequent, NGram
from tracemend.downstream import descriptor_error, errors, of_mended, of_trace
from tracemend.events import ENTER, EXIT, PHASES, Trace
from tracemend.examples import shipped
from tracemend.gaps import Blackout
from tracemend.mended import Mended
from tracemend.mender import Mender, Restorer
from tracemend.mending import COPIERS, mend_trace
from tracemend.metrics import (
    LENGTH_BINS,
    accuracy,
    bin_name,
    calibration_error,
    edit_similarity,
    interval,
    perfect,
    rouge_l,
    rouge_l_published,
)
from tracemend.recording import Pair
from tracemend.syscalls import module
from tracemend.vocabulary import BREAK, FIRST, MASK, OTHER, Vocabulary, universal
from tracemend.windows import Stream

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
#: (ids_BL, known_BL) -> bits_B: mean -log2 of the probability that who knows other traces gives to the events that are
#: not known, in bits an event.
Likelihood = Callable[[Ints, Bools], Floats]

#: Bins of frequency rank in which accuracy is reported: (from, to), both inclusive.
RANK_BINS = ((1, 4), (5, 8), (9, 16), (17, 255))
#: Below so many groups a bootstrap over them says nothing, and no interval is given.
FEWEST_GROUPS = 10
#: Events of the longest n-grams by which likelihood is judged: a compromise. Longer ones predict other runs of the
#: programs that they were counted in better, and other programs worse.
LIKELIHOOD_ORDER = 5
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


def held_out(streams: Sequence[Stream], vocabulary: Vocabulary) -> Likelihood | None:
    """How likely events are by interpolated n-grams of these streams, which no mender should have been trained on.

    Every id of the vocabulary has a probability, those that the streams don't hold too. None where there is no event.
    """
    model = NGram(streams, order=LIKELIHOOD_ORDER)
    return partial(model.bits, among=len(vocabulary) - OTHER) if len(model.model.ids_V) else None


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
        pairs = [(s.bits, s.bits_truth) for s in held if s.bits is not None and s.bits_truth is not None]
        rows.append(
            {
                "length": "all" if high >= 1 << 63 else bin_name(low, high),
                "gaps": len(held),
                "events": len(right),
                "accuracy": round(float(per_gap.mean()), 4),
                "interval": [round(x, 4) for x in interval(per_gap, np.random.default_rng(seed))],
                "event_accuracy": round(float(right.mean()), 4),
                **{k: round(float(np.mean([getattr(s, k) for s in held])), 4) for k in MEANS},
                "count_better": round(float(np.mean([s.count_error < 1 for s in held])), 4),
                "calibration_error": round(calibration_error(np.concatenate([s.confidence for s in held]), right), 4),
            }
            | ({k: round(float(v.mean()), 4) for k, v in _likelier(*np.array(pairs).T).items()} if pairs else {})
        )
    return rows


def _likelier(bits_G: Floats, truth_G: Floats) -> dict[str, Floats]:
    """Fills' bits an event beside those of the truth; likelier: 1 where the fill is the likelier of the two, as one is
    that goes for what is common."""
    return {"bits": bits_G, "bits_truth": truth_G, "likelier": (bits_G < truth_G).astype(float)}


#: What ``mend`` can be made of: the network, the two that copy from the very trace, the shipped recordings as examples
#: for them, and trials on the intact part; the last is what it does if nothing else is asked for.
PARTS = (
    *("network", "lookup", "lookup + examples", "mosaic", "mosaic + examples + network", "mosaic + examples"),
    "mosaic + examples, adapted",
)
#: Those that take a network.
TRAINED = tuple(name for name in PARTS if "network" in name)


def part_of_mend(name: str, model: Restorer | None) -> Callable[..., Mended]:
    """One of ``PARTS`` as ``mend_trace`` with some of its arguments."""
    return partial(
        mend_trace,
        model=model if name in TRAINED else None,
        copier=COPIERS.get(name.split(" + ", maxsplit=1)[0]),
        shipped=shipped() if "examples" in name else (),
        adapt=None if "adapted" in name else 0,
    )


def contestants(model: Restorer | None) -> Iterator[tuple[str, Callable[..., Mended]]]:
    """What every table shows, by name, as ``mend_trace`` with some of its arguments; the last is what ``mend`` does.

    All decode under the same constraints. Lookup and mosaic have what is intact of the trace itself, and as "examples"
    the recordings that ship with the package.
    """
    yield "most frequent", partial(mend_trace, model=MostFrequent())
    yield "copy", partial(mend_trace, model=Copy())
    for name in PARTS:
        if model is not None or name not in TRAINED:
            yield name, part_of_mend(name, model)


def compare(
    pair: Pair, model: Restorer | None, *, seed: int = 0, likelihood: Likelihood | None = None
) -> tuple[list[dict[str, Any]], dict[str, dict[str, float]]]:
    """Every contestant on one pair. likelihood: see ``judge``.

    Rows of ``summary`` with the mender's name and its seconds of wall time; and how far the figures made from each
    mended trace are from the truth (``downstream.errors``), those of the trace "left open" first.
    """
    rows = []
    truth = of_trace(pair.complete)
    figures = {"left open": errors(truth, of_trace(pair.lossy))}
    for name, fill in contestants(model):
        begin = time.perf_counter()
        mended = fill(pair.lossy, seed=seed)
        seconds = time.perf_counter() - begin
        figures[name] = errors(truth, of_mended(mended))
        for row in summary(judge(mended, pair, likelihood), seed):
            rows.append({"mender": name, **row, "seconds": round(seconds, 3)})
    return rows, figures


def blackout(length: int, size: int, place: str) -> Bools:
    """known_L of a window with a blackout at its "centre" or "end". Raises ModelError for a gap that doesn't fit."""
    known = np.ones(length, bool)
    begin = Blackout(size, place).begin(np.random.default_rng(0), length)
    known[begin : begin + size] = False
    return known


def judge_windows(
    mender: Mender,
    ids_WL: Ints,
    known_L: Bools,
    subsets: dict[str, Bools],
    vocabulary: Vocabulary,
    *,
    group_W: Ints | None = None,
    named: bool = False,
    likelihood: Likelihood | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Hide the same positions of every window, restore them, and score what came back.

    subsets: names of parts of the windows to report on, each a mask over the windows. group_W: the trace each window is
    of, for the intervals. named: the ids are system calls, whose kernel modules are known. likelihood: of the windows'
    ids, if fills are to be judged by it, too.
    """
    begin = time.process_time()
    known_WL = np.broadcast_to(known_L, ids_WL.shape)
    restored = mender.restore(np.where(known_L, ids_WL, MASK), known_WL, seed)
    seconds = time.process_time() - begin
    filled_GN, truth_GN = restored.ids[:, ~known_L], ids_WL[:, ~known_L]
    # an event that nobody saw in training has no name here, so nobody can have said what it was
    right_GN = (filled_GN == truth_GN) & (truth_GN != OTHER)
    pairs = list(zip(filled_GN, truth_GN, strict=True))
    measures = {
        "accuracy": right_GN.mean(axis=1),
        "perfect": right_GN.all(axis=1).astype(float),
        "rouge_l": np.array([rouge_l(f, t) for f, t in pairs]),
        "rouge_l_published": np.array([rouge_l_published(f, t) for f, t in pairs]),
        "edit_similarity": np.array([edit_similarity(f, t) for f, t in pairs]),
        **_functional(ids_WL, known_L, filled_GN, len(vocabulary)),
        **(_likelier(likelihood(restored.ids, known_WL), likelihood(ids_WL, known_WL)) if likelihood else {}),
    }
    parts: dict[str, dict[str, Any]] = {}
    for name, chosen in subsets.items():
        parts[name] = {"gaps": int(chosen.sum())}
        if chosen.any():
            parts[name] |= {k: round(float(v[chosen].mean()), 5) for k, v in measures.items()}
            groups = np.flatnonzero(chosen) if group_W is None else group_W[chosen]
            parts[name]["groups"] = len(np.unique(groups))
            if parts[name]["groups"] < FEWEST_GROUPS:
                continue
            for k in ("accuracy", "perfect"):
                low, high = interval(measures[k][chosen], np.random.default_rng(0), group_G=groups)
                parts[name][f"{k}_interval"] = [round(low, 5), round(high, 5)]
    confidence = restored.confidence_BL[:, ~known_L].astype(np.float64)
    row = {
        "impute_s": round(seconds, 2),
        "subsets": parts,
        "calibration_error": round(calibration_error(confidence.ravel(), right_GN.ravel()), 5),
        "by_rank": by_rank(right_GN, truth_GN - FIRST + 1),
    }
    return row | ({"by_type": by_type(filled_GN, truth_GN, vocabulary)} if named else {})


def by_rank(right_GN: Bools, rank_GN: Ints) -> dict[str, dict[str, Any]]:
    """Accuracy by the event's frequency rank in training (Janecek et al. 2025, RQ4)."""
    return {
        f"{low}-{high}": {"events": int(held.sum()), "accuracy": round(float(right_GN[held].mean()), 4)}
        for low, high in RANK_BINS
        if (held := (rank_GN >= low) & (rank_GN <= high)).any()
    }


def by_type(filled_GN: Ints, truth_GN: Ints, vocabulary: Vocabulary) -> dict[str, dict[str, Any]]:
    """Accuracy and type accuracy (the call is at least of the right kernel module) by the module of the truth.

    Janecek et al. (2025), RQ4 and figure 7; "all" is over all events.
    """
    modules = np.array([module(e[0]) if (e := vocabulary.entry(i)) else "" for i in range(len(vocabulary))])
    right, right_type = filled_GN == truth_GN, modules[filled_GN] == modules[truth_GN]
    kinds = modules[truth_GN]
    return {
        str(kind): {
            "events": int(held.sum()),
            "accuracy": round(float(right[held].mean()), 4),
            "type_accuracy": round(float(right_type[held].mean()), 4),
        }
        for kind in ["all", *np.unique(kinds)]
        if (held := (kinds == kind) | (kind == "all")).any()
    }


def _functional(ids_WL: Ints, known_L: Bools, filled_GN: Ints, size: int) -> dict[str, NDArray[np.float64]]:
    """Is a figure made from the mended window nearer to the truth than one made from the broken window?

    count_error: calls counted wrongly over calls lost; leaving the gap open has 1. share_error: total variation
    between the true shares of the calls in the window and those after mending; share_error_open: before mending.
    count_better, share_better: 1 where mending made it better.
    """

    def counts(part_WN: Ints) -> NDArray[np.float64]:
        at = np.arange(len(part_WN))[:, None] * size + part_WN
        return np.bincount(at.ravel(), minlength=len(part_WN) * size).reshape(-1, size).astype(float)

    lost, filled, seen = counts(ids_WL[:, ~known_L]), counts(filled_GN), counts(ids_WL[:, known_L])
    n, L = filled_GN.shape[1], ids_WL.shape[1]
    wrong = np.abs(filled - lost).sum(axis=1) / n
    true_share = (seen + lost) / L
    mended = np.abs((seen + filled) / L - true_share).sum(axis=1) / 2
    broken = np.abs(seen / max(1, L - n) - true_share).sum(axis=1) / 2
    return {
        "count_error": wrong,
        "count_better": (wrong < 1).astype(float),
        "share_error": mended,
        "share_error_open": broken,
        "share_better": (mended < broken).astype(float),
    }
