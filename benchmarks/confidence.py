"""Are inferred events right as often as they are said to be? By length, by recording, and where they are surest.

    python benchmarks/confidence.py [--every 1] [--seed 0] [--out benchmarks/results/confidence.json]

On the recordings that really lost events and that nothing was fitted on (the test part of corpus/pairs and
corpus/kernel/pairs), mended by the mosaic with the shipped examples. "curves": as sure as beliefs in gaps of a length
have proven right (mosaic_calibration.json); "fitted": by all that is known of an event (mosaic_confidence.json). What
to expect by the recordings of validation is in confidence_unseen.json (scripts/fit_confidence.py). --every: only every
so manieth recording.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

from common import ROOT, command

from tracemend.judging.gaps import judge
from tracemend.judging.lost import found
from tracemend.judging.provenance import provenance
from tracemend.judging.sureness import Sure, lines, summary
from tracemend.menders import Mosaic
from tracemend.menders.examples import shipped
from tracemend.mending.options import Options
from tracemend.mending.run import mend_trace
from tracemend.recording.corpus import HOW_KERNEL, HOW_UST
from tracemend.trace.windows import Stream

KINDS = {**dict.fromkeys(HOW_KERNEL, "machine"), **dict.fromkeys(HOW_UST, "tracepoints of programs")}


def by_curves(own: Sequence[Stream], others: Sequence[Stream]) -> Mosaic:
    """A mosaic that is as sure as its beliefs have proven right."""
    made = Mosaic(own, others)
    made.confidence = None
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "confidence.json")
    options = parser.parse_args()
    fills: dict[str, list[Sure]] = {"curves": [], "fitted": []}
    seconds = dict.fromkeys(fills, 0.0)
    for recording in found(ROOT)[:: options.every]:
        pair = recording.read().told()
        kind = f"{KINDS.get(recording.how, 'calls')}, {recording.tests}"
        for name, copier in (("curves", by_curves), ("fitted", Mosaic)):
            begin = time.process_time()
            mended = mend_trace(pair.lossy, None, Options(seed=options.seed), copier=copier, shipped=shipped())
            seconds[name] += time.process_time() - begin
            fills[name] += [Sure(recording.name, kind, s.confidence, s.right) for s in judge(mended, pair)]
        print(recording.name, flush=True)
    document = {"command": command(), "seed": options.seed, **provenance()}
    document |= {name: {"seconds": round(seconds[name], 1), **summary(own)} for name, own in fills.items()}
    options.out.write_text(json.dumps(document, indent=1) + "\n")
    for name, own in fills.items():
        print(name, *lines(own), sep="\n")


main()
