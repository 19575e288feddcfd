"""How large is the index of places, and how fast does it answer?

    python benchmarks/index.py --data ../shared/data [--set android] [--out benchmarks/results/index.json]

The training traces of a data set as one index, asked for the surroundings of the gaps of experiments/honest.toml (ten
events in windows of 200): all places of the longest context that occurs, and the best matching sites of both sides.
"""

import argparse
import json
import time
import tracemalloc
from pathlib import Path

import numpy as np
from common import ROOT, command

from tracemend.datasets import load
from tracemend.judging.provenance import provenance
from tracemend.judging.windows import blackout
from tracemend.menders import ORDERS, Places, hidden_runs
from tracemend.menders.places import MOST, of_runs, prefixes
from tracemend.trace.windows import SLOTS, Window

LENGTH, GAP, NUMBER, SITES = 200, 10, 1000, 192


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--set", default="android")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "index.json")
    given = parser.parse_args()
    data = load(given.set, given.data)
    ids = data.windows(LENGTH, NUMBER).ids_NL
    known = blackout(LENGTH, GAP, "centre")
    slots = np.arange(-1, SLOTS - 1)
    runs = [hidden_runs(Window(np.stack([w, np.ones_like(w), np.zeros_like(w)], axis=1), known, slots))[0] for w in ids]
    tracemalloc.start()
    begin = time.process_time()
    places = Places(data.train)
    built, held = time.process_time() - begin, tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    contexts = [(k, run.left[-k:]) for run in runs for k in ORDERS]
    begin = time.process_time()
    found = [len(places.behind(k, of_runs(prefixes(context), k)[-1], MOST)) for k, context in contexts]
    asked = time.process_time() - begin
    begin = time.process_time()
    for run in runs:
        places.best(run, SITES, 0.0)
    ranked = time.process_time() - begin
    row = {
        "data": data.name,
        "events": places.events,
        "build_s": round(built, 1),
        "bytes_per_event": round(held / places.events, 1),
        "us_per_context": round(1e6 * asked / len(contexts), 1),
        "places_per_context": round(float(np.mean(found))),
        "ms_per_ranking": round(1e3 * ranked / len(runs), 2),
    }
    given.out.write_text(json.dumps({"command": command(), "seed": 0, **provenance(), "rows": [row]}, indent=1) + "\n")
    print(row)


main()
