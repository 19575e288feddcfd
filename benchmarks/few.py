"""What estimates and ranges are worth by the number of draws that they are made of.

    python benchmarks/few.py [--keep FOLDER] [--seed 0] [--out benchmarks/results/few.json]

On the validation recordings, which ranges of sixteen draws were fitted on (scripts/calibrate_figures.py): each is
mended once with sixteen draws, and its figures of the whole trace are made of the first ones, the next ones and so on.
Of every kind of figure (calls by call, time by thread and so on) the error is summed over all figures, over the truth;
so is the width. What is told are means over kinds, and the kind whose ranges hold least often.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, command
from numpy.typing import NDArray

from tracemend.judging.provenance import provenance
from tracemend.reckoning.intervals import DRAWS, estimated, shared_out, table

sys.path.insert(0, str(ROOT / "scripts"))
from calibrate_figures import Sample, held, mended, samples

NUMBERS = (2, 3, 4, 6, 8, 16)
Floats = NDArray[np.float64]


def parts(sample: Sample, number: int) -> Iterator[Sample]:
    """The same figures, of so many of the draws, as often as these don't overlap."""
    for begin in range(0, DRAWS - number + 1, number):
        draws = sample.draws[begin : begin + number]
        yield replace(sample, draws=draws, usual=shared_out(draws, sample.observed))


def measured(found: list[Sample], number: int) -> dict[str, Any]:
    """Of the figures of one kind: how wrong estimates are, how often ranges hold, how wide they are."""
    ends = table()[found[0].kind]
    some = [p for s in found for p in parts(s, number)]
    truth = sum(float(np.abs(s.truth).sum()) for s in some)
    holds, widths = zip(*(held(s, ends) for s in some), strict=True)
    wrong = sum(float(np.abs(estimated(s.draws) - s.truth).sum()) for s in some)
    return {
        "figures": sum(len(s.truth) for s in found),
        "error": round(wrong / truth, 4),
        "held": round(float(np.concatenate(holds).mean()), 4),
        "width": round(sum(float(w.sum()) for w in widths) / truth, 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="a folder that keeps what was mended")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "few.json")
    given = parser.parse_args()
    found: dict[str, list[Sample]] = defaultdict(list)
    for recording in mended(ROOT / "corpus", given.seed, DRAWS, given.keep):
        for sample in samples(*recording):
            if len(sample.truth) and not sample.length.any() and sample.kind in table():
                found[sample.kind].append(sample)
    kinds = {n: {kind: measured(some, n) for kind, some in sorted(found.items())} for n in NUMBERS}
    rows = []
    for number, by_kind in kinds.items():
        least = min(by_kind, key=lambda kind: by_kind[kind]["held"])
        means = {k: round(float(np.mean([m[k] for m in by_kind.values()])), 4) for k in ("error", "held", "width")}
        rows.append({"draws": number, **means, "least_held": by_kind[least]["held"], "kind": least})
        print(rows[-1])
    document = {"command": command(), **provenance(), "seed": given.seed, "rows": rows, "kinds": kinds}
    given.out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
