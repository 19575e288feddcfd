"""Fit the curves from belief to confidence on the validation recordings, with simulated losses.

    python scripts/calibrate.py MODEL_FOLDER [--only lookup mosaic] [--corpus corpus] [--seed 0]

Writes calibration.json into the model's folder, and src/tracemend/data/{lookup,mosaic}_calibration.json. The recordings
are the validation part of experiments/workloads.toml: not trained on, not tested on. Losses: tracemend.gaps.lose.
Examples to copy from are the training recordings of other workloads: a user's program is mostly not among them.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from tracemend.baselines import Lookup, Mosaic
from tracemend.calibration import Calibration
from tracemend.datasets import corpus, workload
from tracemend.evaluate import judge
from tracemend.gaps import lose
from tracemend.mender import Restorer
from tracemend.mending import Copier, mend_trace
from tracemend.metrics import calibration_error
from tracemend.recording import Pair
from tracemend.vocabulary import universal
from tracemend.windows import Stream, streams

ROOT = Path(__file__).parents[1]
SPLIT = ROOT / "experiments" / "workloads.toml"
EVENTS, DRAWS = 3000, 3  # of each recording, so often, each time at another place and with other losses
SHIPPED, TRAINED = ("lookup", "mosaic"), ("network", "blend")


def bare(copier: Copier) -> Copier:
    """The same without the curve that is to be fitted anew."""

    def make(streams: Sequence[Stream], examples: Sequence[Stream]) -> Mosaic | Lookup:
        made = copier(streams, examples)
        made.calibration = None
        return made

    return make


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--only", nargs="+", choices=SHIPPED + TRAINED, default=SHIPPED + TRAINED)
    parser.add_argument("--corpus", type=Path, default=ROOT / "corpus")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    model = Restorer.load(options.model)
    model.calibration = model.blend_calibration = None
    found: dict[str, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {name: [] for name in options.only}
    known: dict[str, list[Stream]] = {}
    for trace in corpus(options.corpus, "train", SPLIT):
        known.setdefault(workload(trace), []).extend(streams(trace, universal(), shortest=1))
    for (number, trace), draw in product(enumerate(corpus(options.corpus, "validation", SPLIT)), range(DRAWS)):
        rng = np.random.default_rng([options.seed, number, draw])
        begin = int(rng.integers(0, max(1, len(trace) - EVENTS)))
        part = replace(trace, table=trace.table.slice(begin, EVENTS))
        lossy, missing = lose(part, rng)
        pair = Pair(lossy, part, missing)
        strangers = [s for name, held in known.items() if name != workload(trace) for s in held]
        for name, chosen, copier in (
            ("lookup", None, Lookup),
            ("mosaic", None, Mosaic),
            ("network", model, None),
            ("blend", model, Mosaic),
        ):
            if name not in found:
                continue
            scores = judge(mend_trace(lossy, chosen, copier=copier and bare(copier), shipped=strangers), pair)
            found[name] += [(s.confidence, s.right, np.full(s.length, s.length)) for s in scores]
        print(trace.path.name if trace.path else "", flush=True)
    curves = {}
    for name, parts in found.items():
        belief, right, length = (np.concatenate(x) for x in zip(*parts, strict=True))
        curve = curves[name] = Calibration.fit(belief, right, length)
        after = np.concatenate([curve(b, int(n[0])) for b, _, n in parts])
        print(
            f"{name}: {len(right)} events, {right.mean():.3f} right, calibration error "
            f"{calibration_error(belief, right):.3f} -> {calibration_error(after, right):.3f} (on the same events)"
        )
    file = options.model / "calibration.json"
    if curves.keys() & TRAINED:
        held = json.loads(file.read_text()) if file.exists() else {}
        document = held | {n: c.as_dict() for n, c in curves.items() if n in TRAINED}
        file.write_text(json.dumps(document) + "\n")
    for name in curves.keys() & SHIPPED:
        file = ROOT / "src" / "tracemend" / "data" / f"{name}_calibration.json"
        file.write_text(json.dumps(curves[name].as_dict()) + "\n")


main()
