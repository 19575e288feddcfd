"""Make the recordings that ship with the package from the corpus's training part, and those of more programs.

    python scripts/make_examples.py [--corpus corpus] [--out src/tracemend/menders/examples.parquet]
    python scripts/make_examples.py --programs FOLDER --out src/tracemend/menders/programs.parquet

The training part is what experiments/workloads.toml says; nothing that is validated or tested with is in it. FOLDER is
what scripts/record_library.py filled; what is to be copied from of that says experiments/library.toml. What each of its
recordings was goes into corpus/library/manifest.jsonl, and its pairs beside it.
"""

import argparse
import json
import shutil
import tomllib
from itertools import groupby
from pathlib import Path

from tracemend.datasets import corpus, workload
from tracemend.formats import read
from tracemend.menders.examples import NAME, Example, write
from tracemend.trace.events import Trace
from tracemend.trace.vocabulary import universal
from tracemend.trace.windows import streams

ROOT = Path(__file__).parents[1]
EXPERIMENTS = ROOT / "experiments"
LIBRARY = ROOT / "corpus" / "library"
#: Runs that are copied from.
RUNS = ("0", "1")
#: What of the recorder's manifest tells which recording it was.
TOLD = (
    *("workload", "run", "split", "how", "events", "kept", "lost", "gaps", "threads"),
    *("packages", "kernel", "architecture"),
)


def programs(folder: Path) -> list[Trace]:
    """The recordings of more programs that may be copied from, by workload and run."""
    listed = tomllib.loads((EXPERIMENTS / "library.toml").read_text())["workload"]
    free = {w["name"] for w in listed if "split" not in w}
    split = sorted((*p.stem.rpartition("-")[::2], p) for p in folder.glob("*.parquet"))
    return [read(path) for name, run, path in split if name in free and run in RUNS]


def tell(folder: Path) -> None:
    """Lay the manifest down, one line a recording that is there, and the pairs."""
    lines = (folder / "manifest.jsonl").read_text().splitlines()
    last = {(d["workload"], d["run"], d.get("how", "")): d for d in map(json.loads, lines)}
    (LIBRARY / "pairs").mkdir(parents=True, exist_ok=True)
    with open(LIBRARY / "manifest.jsonl", "w") as file:
        for key in sorted(last):
            workload, run, how = key
            name = f"pairs/{workload}-{run}-{how}" if how else f"{workload}-{run}"
            if not (folder / f"{name}.parquet").exists():
                continue
            file.write(json.dumps({name: last[key][name] for name in TOLD if name in last[key]}) + "\n")
    for path in (folder / "pairs").glob("*.parquet"):
        shutil.copy(path, LIBRARY / "pairs")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--corpus", type=Path, default=ROOT / "corpus")
    parser.add_argument("--programs", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "src" / "tracemend" / "menders" / NAME)
    options = parser.parse_args()
    if options.programs:
        traces = programs(options.programs)
        tell(options.programs)
    else:
        traces = corpus(options.corpus, "train", EXPERIMENTS / "workloads.toml")
    runs = groupby(traces, key=workload)
    found = [Example(name, tuple(s for t in some for s in streams(t, universal())), universal()) for name, some in runs]
    write(found, options.out)
    events, size = sum(map(len, found)), options.out.stat().st_size
    print(f"{options.out}: {events:,} events of {len(traces)} recordings, {size:,} bytes")


main()
