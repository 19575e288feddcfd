"""Menders on windows with a blackout: the same positions of every window are hidden, restored and scored.

Axis legend: W windows, G gaps (one a window), N events of a gap, L length of a window.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracemend.diffusion.gaps import Blackout
from tracemend.judging.likelihood import Likelihood, likelier
from tracemend.judging.metrics import (
    calibration_error,
    edit_similarity,
    interval,
    rouge_l,
    rouge_l_published,
)
from tracemend.menders.base import Mender
from tracemend.trace.syscalls import module
from tracemend.trace.vocabulary import FIRST, MASK, OTHER, Vocabulary

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: Bins of frequency rank in which accuracy is reported: (from, to), both inclusive.
RANK_BINS = ((1, 4), (5, 8), (9, 16), (17, 255))
#: Below so many groups a bootstrap over them says nothing, and no interval is given.
FEWEST_GROUPS = 10


@dataclass(frozen=True, slots=True)
class Hidden:
    """Windows of ids_WL of which every one shows only what known_L says.

    subsets: names of parts of the windows to report on, each a mask over the windows. group_W: the trace each window is
    of, for the intervals. named: the ids are system calls, whose kernel modules are known.
    """

    ids_WL: Ints
    known_L: Bools
    subsets: dict[str, Bools]
    vocabulary: Vocabulary
    group_W: Ints | None = None
    named: bool = False


def blackout(length: int, size: int, place: str) -> Bools:
    """known_L of a window with a blackout at its "centre" or "end". Raises ModelError for a gap that doesn't fit."""
    known = np.ones(length, bool)
    begin = Blackout(size, place).begin(np.random.default_rng(0), length)
    known[begin : begin + size] = False
    return known


def judge_windows(
    mender: Mender, hidden: Hidden, *, likelihood: Likelihood | None = None, seed: int = 0
) -> dict[str, Any]:
    """Restore what is hidden, and score what came back. likelihood: of the windows' ids, if fills are to be judged by
    it, too."""
    ids_WL, known_L, vocabulary = hidden.ids_WL, hidden.known_L, hidden.vocabulary
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
        **(likelier(likelihood(restored.ids, known_WL), likelihood(ids_WL, known_WL)) if likelihood else {}),
    }
    parts: dict[str, dict[str, Any]] = {}
    for name, chosen in hidden.subsets.items():
        parts[name] = {"gaps": int(chosen.sum())}
        if chosen.any():
            parts[name] |= {k: round(float(v[chosen].mean()), 5) for k, v in measures.items()}
            groups = np.flatnonzero(chosen) if hidden.group_W is None else hidden.group_W[chosen]
            parts[name]["groups"] = len(np.unique(groups))
            if parts[name]["groups"] < FEWEST_GROUPS:
                continue
            for k in ("accuracy", "perfect"):
                low, high = interval(measures[k][chosen], np.random.default_rng(0), group_G=groups)
                parts[name][f"{k}_interval"] = [round(low, 5), round(high, 5)]
    belief = restored.belief_BL[:, ~known_L].astype(np.float64)
    row = {
        "impute_s": round(seconds, 2),
        "subsets": parts,
        "calibration_error": round(calibration_error(belief.ravel(), right_GN.ravel()), 5),
        "by_rank": by_rank(right_GN, truth_GN - FIRST + 1),
    }
    return row | ({"by_type": by_type(filled_GN, truth_GN, vocabulary)} if hidden.named else {})


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
