"""How many gaps could be filled at all by who copies from the training traces? An upper bound, not a mender.

    python benchmarks/ceiling.py --data ../shared/data [--sets adfa android] [--out benchmarks/results/ceiling.json]

Of the windows that experiments/honest.toml asks for and that occur nowhere in training: does what is hidden stand
anywhere in training, with so many events of the window on each side of it? A fill that is copied in one piece can be
perfect only there.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, command

from tracemend.datasets import Data, load
from tracemend.judging.provenance import provenance
from tracemend.judging.windows import blackout
from tracemend.trace import ngrams

LENGTH, NUMBER = 200, 1000
GAPS, SIDES = (1, 10, 40), (0, 1, 2, 4, 8, 16)


def shares(data: Data) -> list[dict[str, Any]]:
    windows = data.windows(LENGTH, NUMBER)
    unseen = windows.ids_NL[data.subsets(windows, blackout(LENGTH, 1, "centre"))["unseen"]]
    rows = []
    for gap in GAPS:
        known = blackout(LENGTH, gap, "centre")
        begin = int(np.flatnonzero(~known)[0])
        row: dict[str, Any] = {"data": data.name, "gap": gap, "windows": len(unseen)}
        for side in SIDES:
            hidden = ngrams.windows(unseen[:, begin - side : begin + gap + side])
            there = ngrams.distinct((s.ids for s in data.train), gap + 2 * side)
            row[str(side)] = round(float(ngrams.occur(hidden, there).mean()), 4)
        rows.append(row)
        print(row, flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=["adfa", "android"])
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "ceiling.json")
    given = parser.parse_args()
    rows = [row for name in given.sets for row in shares(load(name, given.data))]
    document = {"command": command(), "seed": 0, **provenance(), "rows": rows}
    given.out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
