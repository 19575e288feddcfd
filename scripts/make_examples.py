"""Make the recordings that ship with the package from the corpus's training part.

    python scripts/make_examples.py [--corpus corpus] [--out src/tracemend/menders/examples.parquet]

The training part is what experiments/workloads.toml says; nothing that is validated or tested with is in it.
"""

import argparse
from itertools import groupby
from pathlib import Path

from tracemend.datasets import corpus
from tracemend.menders.examples import NAME, Example, write
from tracemend.trace.vocabulary import universal
from tracemend.trace.windows import streams

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--corpus", type=Path, default=ROOT / "corpus")
    parser.add_argument("--out", type=Path, default=ROOT / "src" / "tracemend" / "menders" / NAME)
    options = parser.parse_args()
    traces = corpus(options.corpus, "train", ROOT / "experiments" / "workloads.toml")
    runs = groupby(traces, key=lambda t: Path(str(t.path)).stem.rpartition("-")[0])
    found = [Example(name, tuple(s for t in some for s in streams(t, universal())), universal()) for name, some in runs]
    write(found, options.out)
    events, size = sum(map(len, found)), options.out.stat().st_size
    print(f"{options.out}: {events:,} events of {len(traces)} recordings, {size:,} bytes")


main()
