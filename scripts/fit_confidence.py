"""Fit how sure the mosaic's fills are (src/tracemend/menders/mosaic_confidence.json) on the validation recordings.

    python scripts/fit_confidence.py [--corpus corpus] [--seed 0] [--out src/tracemend/menders/mosaic_confidence.json]
        [--results benchmarks/results/confidence_unseen.json]

On what experiments/workloads.toml has for validation: complete recordings with simulated losses; recordings of whole
machines that really lost events, as they are and with their system calls alone; and other losses simulated in what
these would have been. Examples to copy from are the training recordings of other workloads, since a user's program is
mostly not among them; every third time also those of the same one.

The results tell what to expect of recordings that were never seen: each workload's fills are judged by what was fitted
to those of the others ("fitted"), and by the curves of beliefs alone (mosaic_calibration.json; "curves").
"""

import argparse
import json
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np

from tracemend.datasets import corpus, workload
from tracemend.diffusion.gaps import lose
from tracemend.judging.provenance import provenance
from tracemend.judging.sureness import Recorder, Sure, filled, lines, summary
from tracemend.menders import Mosaic
from tracemend.menders.calibration import shipped
from tracemend.menders.confidence import Confidence, Judged, apart
from tracemend.recording import Pair
from tracemend.recording.pairs import only
from tracemend.recording.pairs import read as read_pair
from tracemend.trace.events import INSTANT, Trace
from tracemend.trace.vocabulary import universal
from tracemend.trace.windows import Stream, streams

ROOT = Path(__file__).parents[1]
SPLIT = ROOT / "experiments" / "workloads.toml"
FILE = ROOT / "src" / "tracemend" / "menders" / "mosaic_confidence.json"
RESULTS = ROOT / "benchmarks" / "results" / "confidence_unseen.json"
#: Parts of recordings that events are lost in: how many events, and the longest gap.
PARTS = ((6_000, 600), (12_000, 3_000), (25_000, 5_000))
DRAWS = 2  # of losses in a machine's recording


@dataclass(frozen=True)
class Lost:
    """A recording with holes. kind: how it lost. seen: whether its own workload is among the examples."""

    name: str
    workload: str
    kind: str
    pair: Pair
    seen: bool = False


def simulated(trace: Trace, part: tuple[int, int], seed: list[int]) -> Pair:
    """Losses in a part of a complete recording."""
    rng, (events, longest) = np.random.default_rng(seed), part
    begin = int(rng.integers(0, max(1, len(trace) - events)))
    whole = replace(trace, table=trace.table.slice(begin, events), gaps=())
    lossy, missing = lose(whole, rng, longest=longest)
    return Pair(lossy, whole, missing)


def losses(folder: Path, seed: int) -> Iterator[Lost]:
    """All that there is to fit to."""
    for (number, trace), (draw, part) in product(enumerate(corpus(folder, "validation", SPLIT)), enumerate(PARTS)):
        pair = simulated(trace, part, [seed, number, draw])
        yield Lost(f"{workload(trace)} {draw}", workload(trace), "calls, simulated", pair, draw == 1)
    for number, path in enumerate(sorted((folder / "kernel" / "pairs").glob("*-2-*.parquet"))):
        name = path.stem.rsplit("-", 2)[0]
        machine = read_pair(path).told()
        calls = only(machine, machine.complete.phase != INSTANT).told()
        for kind, pair in (("machine", machine), ("calls", calls)):
            yield Lost(f"{name} {kind}", name, f"{kind}, lost", pair)
            for draw in range(DRAWS):
                again = simulated(pair.complete, PARTS[1 + draw], [seed, number, draw, len(kind)])
                yield Lost(f"{name} {kind} {draw}", name, f"{kind}, simulated", again)


def fills(lost: Lost, examples: dict[str, list[Stream]]) -> list[Judged]:
    """The mosaic's fills of what a recording lost, as far as their truth is known."""
    if not any(len(m) for m in lost.pair.missing):
        return []
    others = [s for name, held in examples.items() if lost.seen or name != lost.workload for s in held]
    return [Judged(*fill, lost.name, lost.workload) for fill in filled(lost.pair, others, Recorder())]


def unseen(found: list[Judged], kinds: dict[str, str], seed: int) -> dict[str, list[Sure]]:
    """How sure each fill would be by what was fitted to other workloads' fills, and by the curves of beliefs alone."""
    result: dict[str, list[Sure]] = {"curves": [], "fitted": []}
    curves = shipped(Mosaic.name)
    for others, own in apart(np.array([f.workload for f in found]), seed):
        fitted = Confidence.fit([found[i] for i in np.flatnonzero(others)], seed)
        for fill in (found[i] for i in np.flatnonzero(own)):
            belief = fill.grounds.belief
            by_curves = curves(belief, len(belief)) if curves else belief
            for name, confidence in (("curves", by_curves), ("fitted", fitted(fill.grounds))):
                sure = Sure(fill.recording, kinds[fill.recording], confidence.astype(float), fill.right)
                result[name].append(sure)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=ROOT / "corpus")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=FILE)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    examples: dict[str, list[Stream]] = {}
    for trace in corpus(options.corpus, "train", SPLIT):
        examples.setdefault(workload(trace), []).extend(streams(trace, universal(), shortest=1))
    found: list[Judged] = []
    kinds: dict[str, str] = {}
    for lost in losses(options.corpus, options.seed):
        kinds[lost.name] = lost.kind
        own = fills(lost, examples)
        found += own
        print(f"{lost.name}: {len(own)} gaps", flush=True)
    options.out.write_text(json.dumps(Confidence.fit(found, options.seed).as_dict(), indent=1) + "\n")
    sure = unseen(found, kinds, options.seed)
    typed = " ".join(["python", "scripts/fit_confidence.py", *map(shlex.quote, sys.argv[1:])])
    document = {"command": typed, "seed": options.seed, **provenance()} | {n: summary(own) for n, own in sure.items()}
    options.results.write_text(json.dumps(document, indent=1) + "\n")
    for name, those in sure.items():
        print(name, *lines(those), sep="\n")


if __name__ == "__main__":
    main()
