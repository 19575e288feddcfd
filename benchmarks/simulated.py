"""What benchmarks on the corpus's validation recordings with simulated losses share (tracemend.gaps.lose)."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from common import ROOT
from numpy.typing import NDArray

from tracemend.datasets import corpus, workload
from tracemend.judging.metrics import LENGTH_BINS, bin_name
from tracemend.menders.base import Mender
from tracemend.mending.blocks import propose
from tracemend.mending.filling import Filling
from tracemend.trace.events import Trace
from tracemend.trace.vocabulary import Vocabulary, universal
from tracemend.trace.windows import Stream, streams

SPLIT = ROOT / "experiments" / "workloads.toml"

#: Length of a gap and the share of its events that are right.
Share = tuple[int, float]


def recordings() -> Iterator[tuple[int, Trace, dict[str, list[Stream]]]]:
    """The validation recordings with their numbers, and what there is to copy from beside each: the training recordings
    ("seen"), those of other workloads ("unseen"), nothing ("alone")."""
    known: dict[str, list[Stream]] = {}
    for trace in corpus(ROOT / "corpus", "train", SPLIT):
        known.setdefault(workload(trace), []).extend(streams(trace, universal()))
    for number, trace in enumerate(corpus(ROOT / "corpus", "validation", SPLIT)):
        others = [s for name, held in known.items() if name != workload(trace) for s in held]
        yield number, trace, {"seen": [*others, *known.get(workload(trace), [])], "unseen": others, "alone": []}
        print(workload(trace), flush=True)


def right(
    mender: Mender, lossy: Trace, truth: NDArray[np.int32], missing: Sequence[NDArray[np.int64]], vocabulary: Vocabulary
) -> list[Share]:
    """What of each gap the likeliest event at each position has right, without constraints."""
    run = Filling(lossy, mender, vocabulary)
    beliefs = propose(mender, run.around, [(g, g.count or 0) for g in lossy.gaps], 0, lambda done, total: None)
    shares = zip(beliefs, missing, strict=True)
    return [(len(lost), float((b.events[:, 0] == truth[lost]).mean())) for b, lost in shares]


def by_length(gaps: Sequence[Share]) -> dict[str, Any]:
    """How many gaps of each bin of length there are, and their mean accuracy; "all" of them last."""
    cells = {}
    for low, high in (*LENGTH_BINS, (1, 1 << 63)):
        held = [share for n, share in gaps if low <= n <= high]
        if held:
            name = "all" if high > 1 << 62 else bin_name(low, high)
            cells[name] = {"gaps": len(held), "accuracy": round(float(np.mean(held)), 4)}
    return cells
