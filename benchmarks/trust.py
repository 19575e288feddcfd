"""How much should a vote of other recordings count against one of the very trace?

    python benchmarks/trust.py [--events 4000] [--seed 0] [--out benchmarks/results/trust.json]

On the corpus's validation recordings with simulated losses (tracemend.gaps.lose): the lookup alone, and with the
training recordings as examples, their votes counting ``trust``, once with those of the same workload among them
("seen") and once without ("unseen"). Accuracy of the likeliest event at each position, without constraints; nothing of
the test part is looked at.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from study import command

from tracemend.baselines import Lookup
from tracemend.datasets import corpus
from tracemend.events import Trace
from tracemend.experiment import provenance
from tracemend.gaps import lose
from tracemend.mending import Mending
from tracemend.metrics import LENGTH_BINS, bin_name
from tracemend.training import streams
from tracemend.vocabulary import universal
from tracemend.windows import Stream

ROOT = Path(__file__).parents[1]
TRUSTS = (1.0, 0.3, 0.1, 0.03, 0.01)


def workload(trace: Trace) -> str:
    return trace.path.stem.rpartition("-")[0] if trace.path else ""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=4000, help="of each recording")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "trust.json")
    options = parser.parse_args()
    split = ROOT / "experiments" / "workloads.toml"
    known: dict[str, list[Stream]] = {}
    for trace in corpus(ROOT / "corpus", "train", split):
        known.setdefault(workload(trace), []).extend(streams(trace, universal()))
    right: dict[tuple[str, float | None], list[tuple[int, float]]] = {}
    for number, trace in enumerate(corpus(ROOT / "corpus", "validation", split)):
        rng = np.random.default_rng([options.seed, number])
        begin = int(rng.integers(0, max(1, len(trace) - options.events)))
        part = replace(trace, table=trace.table.slice(begin, options.events))
        lossy, missing = lose(part, rng)
        vocabulary = universal().extended(lossy)
        truth = vocabulary.encode(part)
        own = streams(lossy, vocabulary, shortest=1)
        others = [s for name, held in known.items() if name != workload(trace) for s in held]
        for kind, examples in (("seen", [*others, *known.get(workload(trace), [])]), ("unseen", others), ("alone", [])):
            lookup = Lookup(own, examples)
            run = Mending(lossy, lookup, vocabulary)
            for trust in TRUSTS if examples else (None,):
                lookup.trust = trust or 1.0
                beliefs = run.propose([(g, g.count or 0) for g in lossy.gaps], 0, lambda done, total: None)
                right.setdefault((kind, trust), []).extend(
                    (len(lost), float((b.events[:, 0] == truth[lost]).mean()))
                    for b, lost in zip(beliefs, missing, strict=True)
                )
        print(workload(trace), flush=True)
    rows = []
    for (kind, trust), gaps in right.items():
        row: dict[str, Any] = {"examples": kind, "trust": trust}
        for low, high in (*LENGTH_BINS, (1, 1 << 63)):
            held = [share for n, share in gaps if low <= n <= high]
            if held:
                name = "all" if high > 1 << 62 else bin_name(low, high)
                row[name] = {"gaps": len(held), "accuracy": round(float(np.mean(held)), 4)}
        rows.append(row)
    document = {"command": command(), "seed": options.seed, "events": options.events, **provenance(), "rows": rows}
    options.out.write_text(json.dumps(document, indent=1) + "\n")
    print(options.out)


if __name__ == "__main__":
    main()
