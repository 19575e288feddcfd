"""Does the share of a trace that stands in the examples tell programs recorded before from those that never were?

    python benchmarks/foreign.py [--out benchmarks/results/foreign.json]

Validation: each of the corpus's validation recordings with its own workload's training recordings among the examples
("seen"), and without them ("unseen"). There the length of a run and the least share are chosen. Test: the really lossy
pairs of workloads that were recorded before ("by run") and of those that never were ("by workload"); programs with
tracepoints of their own are left out, of which the examples know no name. Intervals: workloads are drawn anew.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from common import ROOT, command
from simulated import SPLIT, recordings

from tracemend.datasets import pairs
from tracemend.judging.provenance import provenance
from tracemend.menders.familiarity import FAMILIAR, LENGTH, familiarity
from tracemend.recording.corpus import HOW_UST
from tracemend.trace.vocabulary import universal
from tracemend.trace.windows import streams

LENGTHS = (2, 4, 6, 8, 12, 16, 32)
SHARES = np.round(np.arange(0.5, 1, 0.01), 2)


def auroc(higher: Sequence[float], lower: Sequence[float]) -> float:
    """The probability that one of ``higher`` is above one of ``lower``, ties counting half: the area under the receiver
    operating characteristic (Hanley and McNeil 1982)."""
    a, b = np.asarray(higher, np.float64)[:, None], np.asarray(lower, np.float64)
    return float((a > b).mean() + (a == b).mean() / 2)


def balanced(seen: Sequence[float], unseen: Sequence[float], share: float) -> float:
    """The mean share of both kinds that are told right, if more than ``share`` means seen."""
    return float(((np.array(seen) >= share).mean() + (np.array(unseen) < share).mean()) / 2)


def bootstrap(seen: dict[str, list[float]], unseen: dict[str, list[float]], draws: int = 1000) -> list[float]:
    rng = np.random.default_rng(0)

    def drawn(groups: list[list[float]]) -> list[float]:
        return [x for i in rng.integers(0, len(groups), len(groups)) for x in groups[i]]

    values = [auroc(drawn(list(seen.values())), drawn(list(unseen.values()))) for _ in range(draws)]
    return [round(float(x), 4) for x in np.quantile(values, [0.025, 0.975])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "foreign.json")
    options = parser.parse_args()
    found: dict[str, dict[int, list[float]]] = {kind: {n: [] for n in LENGTHS} for kind in ("seen", "unseen")}
    for _, trace, examples in recordings():
        own = streams(trace, universal(), shortest=1)
        for kind, shares in found.items():
            for n in LENGTHS:
                shares[n].append(familiarity(own, examples[kind], n) or 0.0)
    validation = [
        {
            "length": n,
            "auroc": round(auroc(found["seen"][n], found["unseen"][n]), 4),
            "least": float(max(SHARES, key=lambda s: balanced(found["seen"][n], found["unseen"][n], s))),
        }
        for n in LENGTHS
    ]
    held: dict[str, dict[str, list[float]]] = {"by run": {}, "by workload": {}}
    for pair in pairs(ROOT / "corpus", SPLIT):
        if pair.how not in HOW_UST:
            own = streams(pair.read().lossy, universal(), shortest=1)
            share = familiarity(own, examples["seen"])
            held[pair.tests].setdefault(pair.workload, []).append(share or 0.0)
    run, workload = ([x for shares in of.values() for x in shares] for of in held.values())
    test = {
        "recordings": [len(run), len(workload)],
        "workloads": [len(of) for of in held.values()],
        "auroc": round(auroc(run, workload), 4),
        "interval": bootstrap(held["by run"], held["by workload"]),
        "told_right": [
            round(float((np.array(run) >= FAMILIAR).mean()), 4),
            round(float((np.array(workload) < FAMILIAR).mean()), 4),
        ],
        "median": [round(float(np.median(x)), 4) for x in (run, workload)],
    }
    chosen = {"length": LENGTH, "least": FAMILIAR}
    document = {"command": command(), **provenance(), "validation": validation, "chosen": chosen, "test": test}
    options.out.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps([validation, test], indent=1))


main()
