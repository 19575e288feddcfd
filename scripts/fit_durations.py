"""Count how long calls took in the recordings that ship as examples: src/tracemend/mending/durations.json.

    python scripts/fit_durations.py [--corpus corpus]

The recordings are the training part of experiments/workloads.toml. For each call, and the times between calls under no
name: how many lasted up to each step of the scale (``mending/durations.py``) or longer.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from tracemend.datasets import corpus
from tracemend.mending.constraints import rules
from tracemend.mending.durations import BETWEEN, counted
from tracemend.mending.timelines import Timelines
from tracemend.trace.events import ENTER
from tracemend.trace.vocabulary import universal

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=ROOT / "corpus")
    options = parser.parse_args()
    vocabulary = universal()
    reach = np.zeros((1, 1))
    for trace in corpus(options.corpus, "train", ROOT / "experiments" / "workloads.toml"):
        timelines = Timelines(trace, vocabulary.encode(trace).astype(np.int64), rules(vocabulary))
        reach = reach + counted(timelines.spans, len(vocabulary))
    found = {}
    for row in [-1, *range(len(vocabulary))]:
        entry = vocabulary.entry(row) if row >= 0 else (BETWEEN, ENTER)
        numbers = np.trim_zeros(reach[row], "b").astype(int).tolist()
        if numbers and entry and entry[1] == ENTER:
            found[entry[0]] = numbers
    file = ROOT / "src" / "tracemend" / "mending" / "durations.json"
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(numbers)}" for name, numbers in sorted(found.items()))
    file.write_text("{\n" + lines + "\n}\n")


main()
