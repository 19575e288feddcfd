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

import numpy as np
from common import ROOT, command
from simulated import Share, by_length, recordings, right

from tracemend.diffusion.gaps import lose
from tracemend.judging.provenance import provenance
from tracemend.menders import Lookup
from tracemend.trace.vocabulary import universal
from tracemend.trace.windows import streams

TRUSTS = (1.0, 0.3, 0.1, 0.03, 0.01)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=4000, help="of each recording")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "trust.json")
    options = parser.parse_args()
    found: dict[tuple[str, float | None], list[Share]] = {}
    for number, trace, examples in recordings():
        rng = np.random.default_rng([options.seed, number])
        begin = int(rng.integers(0, max(1, len(trace) - options.events)))
        part = replace(trace, table=trace.table.slice(begin, options.events))
        lossy, missing = lose(part, rng)
        vocabulary = universal().extended(lossy)
        truth = vocabulary.encode(part)
        own = streams(lossy, vocabulary, shortest=1)
        for kind, others in examples.items():
            lookup = Lookup(own, others)
            for trust in TRUSTS if others else (None,):
                lookup.trust = trust or 1.0
                found.setdefault((kind, trust), []).extend(right(lookup, lossy, truth, missing, vocabulary))
    rows = [{"examples": kind, "trust": trust, **by_length(gaps)} for (kind, trust), gaps in found.items()]
    document = {"command": command(), "seed": options.seed, "events": options.events, **provenance(), "rows": rows}
    options.out.write_text(json.dumps(document, indent=1) + "\n")
    print(options.out)


main()
