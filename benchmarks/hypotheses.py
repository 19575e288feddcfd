"""What are other fills of the same gap worth, and does their agreement say how right a fill is?

    python benchmarks/hypotheses.py [--number 10] [--events 6000] [--seed 0] [--out benchmarks/results/hypotheses.json]

On the corpus's validation recordings with simulated losses (tracemend.gaps.lose), mended as ``tracemend mend`` does it,
the training recordings of other workloads as examples. By length: the accuracy of the fill and of the best of all
hypotheses; how often either is perfect; the share of system calls whose true number (of enters, in a gap) lies within
the range of the hypotheses' numbers, and of those that the fill has exactly. Agreement: that of fill and hypotheses,
from so much up, beside the fill's accuracy there.
"""

import argparse
import json
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, command
from simulated import recordings

from tracemend.diffusion.gaps import lose
from tracemend.judging.metrics import LENGTH_BINS, bin_name
from tracemend.judging.provenance import provenance
from tracemend.mending.options import Options
from tracemend.mending.run import mend_trace

Event = tuple[str, str]
#: Agreement from so much up.
LEAST = (0, 0.5, 0.8, 0.9, 0.99, 1)


def numbers(events: list[Event]) -> Counter[str]:
    return Counter(name for name, phase in events if phase == "enter")


def compared(truth: list[Event], fill: list[Event], drawn: list[list[Event]], agreement: float) -> dict[str, Any]:
    """One gap."""
    right = [float(np.mean([a == b for a, b in zip(truth, other, strict=True)])) for other in [fill, *drawn]]
    counts, own, others = numbers(truth), numbers(fill), [numbers(d) for d in drawn]
    calls = counts.keys() | own.keys() | {c for o in others for c in o}
    within = [min(o[c] for o in others) <= counts[c] <= max(o[c] for o in others) for c in calls]
    return {
        "length": len(truth),
        "agreement": agreement,
        "accuracy": right[0],
        "best": max(right[1:]),
        "perfect": right[0] == 1,
        "any_perfect": max(right[1:]) == 1,
        "calls": len(calls),
        "within": sum(within),
        "exact": sum(own[c] == counts[c] for c in calls),
    }


def row(gaps: list[dict[str, Any]]) -> dict[str, Any]:
    means = {k: round(float(np.mean([g[k] for g in gaps])), 4) for k in ("accuracy", "best", "perfect", "any_perfect")}
    calls = max(1, sum(g["calls"] for g in gaps))
    return {"gaps": len(gaps), **means, **{k: round(sum(g[k] for g in gaps) / calls, 4) for k in ("within", "exact")}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=10)
    parser.add_argument("--events", type=int, default=6000, help="of each recording")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "hypotheses.json")
    options = parser.parse_args()
    gaps: list[dict[str, Any]] = []
    for number, trace, examples in recordings():
        rng = np.random.default_rng([options.seed, number])
        begin = int(rng.integers(0, max(1, len(trace) - options.events)))
        part = replace(trace, table=trace.table.slice(begin, options.events))
        lossy, missing = lose(part, rng, longest=600)
        mended = mend_trace(lossy, options=Options(hypotheses=options.number), shipped=examples["unseen"])
        assert mended.hypotheses is not None
        names = list(zip(part.table["name"].to_pylist(), part.table["phase"].to_pylist(), strict=True))
        fills, drawn = (
            list(zip(table["name"].to_pylist(), table["phase"].to_pylist(), strict=True))
            for table in (mended.inferred, mended.hypotheses)
        )
        at = 0
        for fill, lost in zip(mended.fills, missing, strict=True):
            n = len(lost)
            others = [drawn[options.number * at + k * n :][:n] for k in range(options.number)]
            gaps.append(compared([names[i] for i in lost], fills[at : at + n], others, fill.agreement or 0.0))
            at += n
    lengths = {bin_name(a, b): [g for g in gaps if a <= g["length"] <= b] for a, b in LENGTH_BINS}
    by_length = {name: row(held) for name, held in lengths.items() if held} | {"all": row(gaps)}
    by_agreement = [
        {"least": low, "gaps": len(held), "accuracy": round(float(np.mean([g["accuracy"] for g in held])), 4)}
        for low, high in pairwise((*LEAST, 2))
        if (held := [g for g in gaps if low <= g["agreement"] < high])
    ]
    settings = {"number": options.number, "events": options.events, "seed": options.seed}
    document = {"command": command(), **settings, **provenance(), "by_length": by_length, "by_agreement": by_agreement}
    options.out.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps([by_length, by_agreement], indent=1))


main()
