"""What more recordings to copy from are worth, and what they cost: programs never seen, events really lost.

    python benchmarks/library.py --recordings FOLDER [--most 12] [--out benchmarks/results/library.json]

FOLDER is what scripts/record_library.py filled. The pairs of its workloads that validate (experiments/library.toml) are
mended by the mosaic, up to --most gaps of each pair and length. To copy from there is, besides what is intact of the
trace: nothing, the recordings that come with the package today, these and all of corpus/programs.parquet (which
scripts/make_examples.py makes), and of both together those that the trace is like (menders/likeness.py), up to so many
events. Nothing of a workload that validates or tests is copied from, nor of one that is nearly the same. Seconds are of
the processor.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, command

from tracemend.judging.gaps import judge
from tracemend.judging.metrics import LENGTH_BINS, bin_name, interval
from tracemend.judging.provenance import provenance
from tracemend.menders.examples import Example, packaged, read
from tracemend.menders.likeness import likeness
from tracemend.mending.options import Options
from tracemend.mending.run import mend_trace
from tracemend.recording import Pair, pairs
from tracemend.trace.events import Trace
from tracemend.trace.vocabulary import universal
from tracemend.trace.windows import streams

Chooser = Callable[[Trace], Sequence[Example]]
BEFORE = "today's"


def likest(examples: Sequence[Example], most: int, worth: float, always: Sequence[Example] = ()) -> Chooser:
    def choose(lossy: Trace) -> Sequence[Example]:
        vocabulary = universal().extended(lossy)
        shares = likeness(streams(lossy, vocabulary, shortest=1), examples, vocabulary)
        found, room = list(always), most
        for share, example in sorted(zip(shares, examples, strict=True), key=lambda pair: -pair[0]):
            if share >= worth and len(example) <= room:
                found.append(example)
                room -= len(example)
        return found

    return choose


def choosers(core: list[Example], programs: list[Example]) -> dict[str, Chooser]:
    every = [*core, *programs]
    return {
        "none": lambda lossy: (),
        BEFORE: lambda lossy: core,
        "all": lambda lossy: every,
        "today's and the likest, 500,000": likest(programs, 500_000, 0.3, core),
        "the likest, 2,000,000": likest(every, 2_000_000, 0.2),
        "the likest, 1,000,000": likest(every, 1_000_000, 0.2),
        "the likest, 500,000": likest(every, 500_000, 0.2),
        "the likest, 200,000": likest(every, 200_000, 0.2),
    }


def some_gaps(pair: Pair, most: int) -> frozenset[int]:
    """So many gaps of each length, evenly over the recording."""
    chosen: set[int] = set()
    for low, high in LENGTH_BINS:
        held = [g.number for g in pair.lossy.gaps if g.count and low <= g.count <= high]
        chosen |= {held[i] for i in np.linspace(0, len(held) - 1, min(most, len(held))).astype(int)}
    return frozenset(chosen)


def scored(pair: Pair, choose: Chooser, only: frozenset[int]) -> dict[str, Any]:
    began = time.process_time()
    used = choose(pair.lossy)
    mended = mend_trace(pair.lossy, options=Options(only=only), shipped=[s for e in used for s in e.streams])
    seconds = time.process_time() - began
    gaps = [{"length": g.length, "accuracy": g.accuracy} for g in judge(mended, pair)]
    return {"gaps": gaps, "seconds": seconds, "copied": sum(map(len, used)), "events": mended.inferred.num_rows}


def summary(rows: dict[str, dict[str, Any]], before: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """By the gaps' length: the mean accuracy, and how much more that is than before, paired, drawn by recording."""
    found: dict[str, Any] = {
        "seconds": round(sum(r["seconds"] for r in rows.values()), 1),
        "ms_an_event": round(
            1e3 * sum(r["seconds"] for r in rows.values()) / sum(r["events"] for r in rows.values()), 2
        ),
        "copied": round(float(np.mean([r["copied"] for r in rows.values()]))),
    }
    for low, high in LENGTH_BINS:
        value, more, group = [], [], []
        for number, (name, row) in enumerate(rows.items()):
            for gap, other in zip(row["gaps"], before[name]["gaps"], strict=True):
                if low <= gap["length"] <= high:
                    value.append(gap["accuracy"])
                    more.append(gap["accuracy"] - other["accuracy"])
                    group.append(number)
        if value:
            ends = interval(np.array(more), np.random.default_rng(0), group_G=np.array(group))
            found[bin_name(low, high)] = {
                "gaps": len(value),
                "accuracy": round(float(np.mean(value)), 4),
                "more": round(float(np.mean(more)), 4),
                "interval": [round(e, 4) for e in ends],
            }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=Path, required=True)
    parser.add_argument("--programs", type=Path, default=ROOT / "corpus" / "programs.parquet")
    parser.add_argument("--most", type=int, default=12, help="gaps of each pair and length")
    parser.add_argument("--only", nargs="*", help="ways of choosing")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "library.json")
    options = parser.parse_args()
    programs = read(options.programs)
    ways = choosers(packaged(), programs)
    found: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for path in sorted((options.recordings / "pairs").glob("*.parquet")):
        pair = pairs.read(path).told()
        only = some_gaps(pair, options.most)
        for name in options.only or ways:
            found[name][path.stem] = scored(pair, ways[name], only)
        told = {
            n: round(float(np.mean([g["accuracy"] for g in rows[path.stem]["gaps"]] or [0])), 3)
            for n, rows in found.items()
        }
        print(path.stem, len(only), told, flush=True)
    document = {
        "command": command(),
        **provenance(),
        "seed": 0,
        "programs": len(programs),
        "events": sum(map(len, programs)),
        "pairs": list(found[BEFORE]),
        "ways": {name: summary(rows, found[BEFORE]) for name, rows in found.items()},
    }
    options.out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
