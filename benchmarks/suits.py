"""The fill that suits a question: right position by position, or right in its counts, on truly lost events.

    python benchmarks/suits.py [--most 3] [--seed 0] [--out benchmarks/results/suits.json]

Recordings of the test parts (experiments/workloads.toml) that really lost system calls, evenly over all of each way of
losing and each part, as of experiments/figures.toml. Every gap is filled with the true number of events. What is told
are means over gaps by their length, and of how many recordings one fill is better than another in the mean over gaps.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, command

from tracemend.judging.contests import found, told
from tracemend.judging.corrected import Contest
from tracemend.judging.evaluate import contestants
from tracemend.judging.gaps import GapScore, judge
from tracemend.judging.metrics import LENGTH_BINS, bin_name
from tracemend.judging.provenance import provenance
from tracemend.mending.options import Options, Suits

HOW = ("overwrite", "drop", "perf")
POSITIONS, FIGURES = "mosaic + examples", "mosaic + examples, for figures"
MENDERS = ("copy", "lookup + examples", POSITIONS, FIGURES)
ALL = (0, 1 << 63)
MEASURES = ("accuracy", "perfect", "rouge_l", "threads", "count_error")


def means(scores: list[GapScore]) -> dict[str, Any]:
    told = {k: round(float(np.mean([getattr(s, k) for s in scores])), 4) for k in MEASURES}
    return {"gaps": len(scores), "events": sum(s.length for s in scores), **told}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=3, help="recordings of each way of losing and part")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "suits.json")
    given = parser.parse_args()
    recordings = {r.name: r for r in found(ROOT)}
    contest = Contest((POSITIONS,), HOW, given.most, seed=given.seed)
    by_mender: dict[str, dict[str, list[GapScore]]] = defaultdict(dict)
    for job in contest.jobs(list(recordings.values())):
        pair = told(recordings[job.pair])
        for name in MENDERS:
            suits: Suits = "figures" if name == FIGURES else "positions"
            fill = contestants(None)[name.partition(",")[0]]
            by_mender[name][job.pair] = judge(fill(pair.lossy, Options(given.seed, suits=suits)), pair)
        print(job.pair, flush=True)
    rows = []
    for low, high in (*LENGTH_BINS, ALL):
        for name, of in by_mender.items():
            held = [s for scores in of.values() for s in scores if low <= s.length <= high]
            if held:
                rows.append(
                    {"mender": name, "length": "all" if (low, high) == ALL else bin_name(low, high), **means(held)}
                )
    better = {
        measure: int(
            sum(
                (np.mean([getattr(s, measure) for s in by_mender[FIGURES][pair]]) < mean) == (measure == "count_error")
                for pair, scores in by_mender[POSITIONS].items()
                for mean in [np.mean([getattr(s, measure) for s in scores])]
            )
        )
        for measure in ("accuracy", "rouge_l", "count_error")
    }
    document = {
        "command": command(),
        **provenance(),
        "seed": given.seed,
        "recordings": len(by_mender[POSITIONS]),
        "better_for_figures": better,
        "rows": rows,
    }
    given.out.write_text(json.dumps(document, indent=1) + "\n")
    for row in rows:
        print(row)
    print(better)


if __name__ == "__main__":
    main()
