"""Fit the curves from belief to confidence on the validation recordings, with simulated losses.

    python scripts/calibrate.py MODEL_FOLDER [--only lookup mosaic mixture network] [--corpus corpus] [--seed 0]

"network" fits all of a model's calibration.json: the network's curve, what it counts beside the mosaic (the weight of
their blend), and the blend's curve. The others are src/tracemend/menders/{lookup,mosaic,mixture}_calibration.json; of
the mixture first mixture_powers.json, what each of those that are mixed counts.

The recordings are the validation part of experiments/workloads.toml: not trained on, not tested on. Losses are
simulated (``diffusion/gaps.py``). Examples to copy from are the training recordings of other workloads, since a user's
program is mostly not among them.
"""

import argparse
import bisect
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from tracemend.datasets import corpus, workload
from tracemend.diffusion.gaps import lose
from tracemend.diffusion.restorer import Restorer
from tracemend.judging.gaps import GapScore, judge
from tracemend.judging.metrics import calibration_error
from tracemend.menders import Lookup, Mixture, Mosaic
from tracemend.menders.base import Ints
from tracemend.menders.calibration import Calibration, Weight
from tracemend.menders.mixture import LENGTHS, Evidence, Powers, fit
from tracemend.menders.mixture import shipped as shipped_powers
from tracemend.mending.run import Copier, mend_trace
from tracemend.mending.surroundings import Surroundings
from tracemend.recording import Pair
from tracemend.trace.vocabulary import universal
from tracemend.trace.windows import Stream, streams, window

ROOT = Path(__file__).parents[1]
SPLIT = ROOT / "experiments" / "workloads.toml"
EVENTS, DRAWS = 3000, 3  # of each recording, so often, each time at another place and with other losses
COPIERS: dict[str, Copier] = {"lookup": Lookup, "mosaic": Mosaic, "mixture": Mixture}
MENDERS = ROOT / "src" / "tracemend" / "menders"

Losses = list[tuple[Pair, list[Stream]]]


def losses(folder: Path, seed: int) -> Iterator[tuple[Pair, list[Stream]]]:
    """Recordings with holes, each with the examples that there are for it."""
    known: dict[str, list[Stream]] = {}
    for trace in corpus(folder, "train", SPLIT):
        known.setdefault(workload(trace), []).extend(streams(trace, universal(), shortest=1))
    for (number, trace), draw in product(enumerate(corpus(folder, "validation", SPLIT)), range(DRAWS)):
        rng = np.random.default_rng([seed, number, draw])
        begin = int(rng.integers(0, max(1, len(trace) - EVENTS)))
        part = replace(trace, table=trace.table.slice(begin, EVENTS))
        lossy, missing = lose(part, rng)
        yield (
            Pair(lossy, part, missing),
            [s for name, held in known.items() if name != workload(trace) for s in held],
        )


def bare(copier: Copier) -> Copier:
    """The same without the curve that is to be fitted anew."""

    def make(streams: Sequence[Stream], examples: Sequence[Stream]) -> Mosaic | Lookup:
        made = copier(streams, examples)
        made.calibration = made.confidence = None
        return made

    return make


def judged(lost: Losses, model: Restorer | None, copier: Copier | None) -> list[GapScore]:
    return [
        score
        for pair, examples in lost
        for score in judge(mend_trace(pair.lossy, model, copier=copier, shipped=examples), pair)
    ]


def curve_of(name: str, scores: Sequence[GapScore]) -> Calibration:
    belief, right = (np.concatenate([getattr(s, what) for s in scores]) for what in ("confidence", "right"))
    length = np.repeat([s.length for s in scores], [s.length for s in scores])
    curve = Calibration.fit(belief, right, length)
    after = np.concatenate([curve(s.confidence.astype(np.float32), s.length) for s in scores])
    print(
        f"{name}: {len(right)} events, {right.mean():.3f} right, calibration error "
        f"{calibration_error(belief, right):.3f} -> {calibration_error(after, right):.3f} (on the same events)",
        flush=True,
    )
    return curve


def weight_of(
    copied: Sequence[GapScore], restored: Sequence[GapScore], copies: Calibration, own: Calibration
) -> Weight:
    """What the network counts, from the same gaps filled by either alone."""
    copier, network = (
        np.array([curve.mean(s.confidence, s.length) for s in scores])
        for curve, scores in ((copies, copied), (own, restored))
    )
    length = np.array([s.length for s in copied])
    ahead = np.array([b.accuracy - a.accuracy for a, b in zip(copied, restored, strict=True)])
    weight = Weight.fit(copier, network, length, ahead)
    asked = sum(weight(a, b, n) > 0.5 for a, b, n in zip(copier, network, length.tolist(), strict=True))
    print(f"weight: the network has more right in {(ahead > 0).sum()} of {len(ahead)} gaps, it is taken in {asked}")
    return weight


def powers_of(lost: Losses) -> Powers:
    """What each of the mixture's experts counts, from the gaps of each class of length."""
    gaps: dict[int, tuple[list[Evidence], list[Ints]]] = {n: ([], []) for n in LENGTHS}
    for pair, examples in lost:
        mixture = Mixture(streams(pair.lossy, universal(), shortest=1), examples)
        ids = universal().encode(pair.complete).astype(np.int64)
        around = Surroundings(pair.lossy, universal().encode(pair.lossy).astype(np.int64))
        for gap, missing in zip(pair.lossy.gaps, pair.missing, strict=True):
            shown = window(*around.of(gap, mixture.context), len(missing), gap.duration_ns)
            found, truth = gaps[LENGTHS[bisect.bisect_left(LENGTHS, len(missing))]]
            found += mixture.evidence([shown])
            truth.append(ids[missing])
    powers = Powers()
    for n, (found, truth) in gaps.items():
        powers = powers.replaced(n, fit(found, truth))
        print(f"powers in gaps of up to {n}: {powers.of(n)} ({len(found)} gaps)", flush=True)
    return powers


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--only", nargs="+", choices=[*COPIERS, "network"], default=[*COPIERS, "network"])
    parser.add_argument("--corpus", type=Path, default=ROOT / "corpus")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    lost = list(losses(options.corpus, options.seed))
    if "mixture" in options.only:
        powers_of(lost).save(MENDERS / "mixture_powers.json")
        shipped_powers.cache_clear()
    scores = {name: judged(lost, None, bare(COPIERS[name])) for name in COPIERS if name in options.only}
    for name, of_name in scores.items():
        curve = curve_of(name, of_name)
        file = MENDERS / f"{name}_calibration.json"
        file.write_text(json.dumps(curve.as_dict()) + "\n")
    if "network" in options.only:
        model = Restorer.load(options.model)
        model.calibration = model.blend_calibration = None
        restored = judged(lost, model, None)
        copied = scores["mosaic"] if "mosaic" in scores else judged(lost, None, bare(Mosaic))
        own = curve_of("network", restored)
        model.calibration, model.weight = own, weight_of(copied, restored, curve_of("mosaic", copied), own)
        model.blend_calibration = curve_of("blend", judged(lost, model, Mosaic))
        model.save_calibration(options.model)


main()
