"""Are inferred events right as often as they are said to be? By length, by recording, and where they are surest.

    python benchmarks/confidence.py [--every 1] [--out benchmarks/results/confidence.json]

On the recordings that really lost events and that nothing was fitted on (the test part of corpus/pairs and
corpus/kernel/pairs), mended by the mosaic with the shipped examples. "curves": as sure as beliefs in gaps of a length
have proven right (mosaic_calibration.json); "fitted": by all that is known of an event (mosaic_confidence.json). What
to expect by the recordings of validation is in confidence_unseen.json (scripts/fit_confidence.py). --every: only every
so manieth recording. Nothing is drawn, so there is no seed.
"""

import argparse
import json
import time
from pathlib import Path

from common import ROOT, command

from tracemend.judging.contests import found
from tracemend.judging.provenance import provenance
from tracemend.judging.sureness import Recorder, Sure, filled, lines, summary
from tracemend.menders import Mosaic, calibration, confidence
from tracemend.menders.examples import shipped
from tracemend.recording.corpus import HOW_KERNEL, HOW_UST

KINDS: dict[str, str] = {**dict.fromkeys(HOW_KERNEL, "machine"), **dict.fromkeys(HOW_UST, "tracepoints of programs")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "confidence.json")
    options = parser.parse_args()
    curves, fitted = calibration.shipped(Mosaic.name), confidence.shipped(Mosaic.name)
    if not (curves and fitted):
        raise SystemExit("nothing is fitted")
    fills: dict[str, list[Sure]] = {"curves": [], "fitted": []}
    seconds = dict.fromkeys(("mending", "of it confidence"), 0.0)
    for recording in found(ROOT)[:: options.every]:
        pair = recording.read().told()
        kind = f"{KINDS.get(str(recording.how), 'calls')}, {recording.tests}"
        begin = time.process_time()
        judged = filled(pair, shipped(), Recorder(fitted))
        middle = time.process_time()
        said = [fitted(grounds) for grounds, _ in judged]
        seconds["mending"] += middle - begin
        seconds["of it confidence"] += time.process_time() - middle
        for (grounds, right), sure in zip(judged, said, strict=True):
            for name, by in (("curves", curves(grounds.belief, len(right))), ("fitted", sure)):
                fills[name].append(Sure(recording.name, kind, by.astype(float), right))
        print(recording.name, flush=True)
    document = {"command": command(), **provenance(), "seconds": {k: round(v, 2) for k, v in seconds.items()}}
    options.out.write_text(json.dumps(document | {n: summary(own) for n, own in fills.items()}, indent=1) + "\n")
    print(document["seconds"])
    for name, own in fills.items():
        print(name, *lines(own), sep="\n")


main()
