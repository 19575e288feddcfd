"""What more recordings to copy from are worth, and what they cost: programs never seen, events really lost.

    python benchmarks/library.py [--most 4] [--only WAY ...] [--out benchmarks/results/library.json]

The pairs of corpus/library, of workloads that validate (experiments/library.toml), are mended by the mosaic, up to
--most gaps of each pair and length. To copy from there is, besides what is intact of the trace: nothing, the recordings
that come with the package and are always copied from ("usual"), these and all of the many programs that come with it,
and of both together those that the trace is like (menders/likeness.py), up to so many events. Nothing of a workload
that validates or tests is copied from, nor of one that is nearly the same. Seconds are of the processor.
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
from tracemend.judging.metrics import LENGTH_BINS, bin_name, calibration_error, interval
from tracemend.judging.provenance import provenance
from tracemend.menders.examples import Example, packaged
from tracemend.menders.likeness import chosen, likeness
from tracemend.mending.options import Options
from tracemend.mending.run import mend_trace
from tracemend.recording import Pair, pairs
from tracemend.trace.events import Trace
from tracemend.trace.vocabulary import universal
from tracemend.trace.windows import streams

Chooser = Callable[[Trace], Sequence[Example]]
BEFORE = "usual"


def likest(examples: Sequence[Example], most: int) -> Chooser:
    def choose(lossy: Trace) -> Sequence[Example]:
        vocabulary = universal().extended(lossy)
        shares = likeness(streams(lossy, vocabulary, shortest=1), examples, vocabulary)
        return chosen(examples, shares, most)

    return choose


def choosers(usual: list[Example], every: list[Example]) -> dict[str, Chooser]:
    return {
        "none": lambda lossy: (),
        BEFORE: lambda lossy: usual,
        "all": lambda lossy: every,
        **{f"the likest, {most:,}": likest(every, most) for most in (2_000_000, 1_000_000, 500_000)},
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
    judged = judge(mended, pair)
    gaps = [{"length": g.length, "accuracy": g.accuracy, "sure": g.confidence, "right": g.right} for g in judged]
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
        value, more, group, held = [], [], [], []
        for number, (name, row) in enumerate(rows.items()):
            for gap, other in zip(row["gaps"], before[name]["gaps"], strict=True):
                if low <= gap["length"] <= high:
                    value.append(gap["accuracy"])
                    more.append(gap["accuracy"] - other["accuracy"])
                    group.append(number)
                    held.append(gap)
        if value:
            ends = interval(np.array(more), np.random.default_rng(0), group_G=np.array(group))
            found[bin_name(low, high)] = {
                "gaps": len(value),
                "accuracy": round(float(np.mean(value)), 4),
                "more": round(float(np.mean(more)), 4),
                "interval": [round(e, 4) for e in ends],
                "calibration_error": round(
                    calibration_error(
                        np.concatenate([g["sure"] for g in held]), np.concatenate([g["right"] for g in held])
                    ),
                    4,
                ),
            }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=4, help="gaps of each pair and length")
    parser.add_argument("--only", nargs="*", help="ways of choosing")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "library.json")
    options = parser.parse_args()
    usual = packaged()
    every = packaged(more=True)
    ways = choosers(usual, every)
    found: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for path in sorted((ROOT / "corpus" / "library" / "pairs").glob("*.parquet")):
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
        "programs": len(every),
        "events": sum(map(len, every)),
        "pairs": list(found[BEFORE]),
        "ways": {name: summary(rows, found[BEFORE]) for name, rows in found.items()},
    }
    options.out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
