"""How should the mosaic jump, and what should places of other recordings count?

    python benchmarks/mosaic.py [--events 6000] [--seed 0] [--out benchmarks/results/mosaic.json]

On the corpus's validation recordings with simulated losses (tracemend.gaps.lose), as benchmarks/trust.py does for the
lookup, and, where a recording is long enough, with gaps of 1,000 to 5,000 events: accuracy of the likeliest event at
each position, without constraints; nothing of the test part is looked at.
"unseen": the training recordings of other workloads are there to copy from; "seen": those of the same one, too.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from common import ROOT, command
from numpy.typing import NDArray
from simulated import Share, by_length, recordings, right

from tracemend.diffusion.gaps import lose
from tracemend.judging.provenance import provenance
from tracemend.menders import Lookup, Mosaic, NGram
from tracemend.menders.base import Mender
from tracemend.menders.mosaic import JUMPS, MOST
from tracemend.trace.events import Trace
from tracemend.trace.vocabulary import universal
from tracemend.trace.windows import Stream, streams

Ints = NDArray[np.int64]
Maker = Callable[[Sequence[Stream], Sequence[Stream]], Mender]


def scaled(factor: float) -> dict[int, float]:
    return {k: factor * p for k, p in JUMPS.items()}


def in_blocks(own: Sequence[Stream], others: Sequence[Stream]) -> Mender:
    made = Mosaic(own, others)
    made.longest = 128
    return made


#: What is compared: where examples come from, and how a mender is made of the trace and them.
VARIANTS: dict[str, tuple[str, Maker]] = {
    "n-gram of 8": ("alone", lambda own, others: NGram(own)),
    "n-gram of 12": ("alone", lambda own, others: NGram(own, order=12)),
    "lookup": ("alone", Lookup),
    "lookup, unseen": ("unseen", Lookup),
    "mosaic": ("alone", Mosaic),
    "mosaic, in blocks of 64": ("alone", in_blocks),
    "mosaic, jumps x 3": ("alone", lambda own, others: Mosaic(own, jumps=scaled(3))),
    "mosaic, jumps / 3": ("alone", lambda own, others: Mosaic(own, jumps=scaled(1 / 3))),
    "mosaic, the same after 8 events and more": (
        "alone",
        lambda own, others: Mosaic(own, jumps={k: 3 * p if k == 8 else p for k, p in JUMPS.items() if k <= 8}),
    ),
    "mosaic, jumps alike in gaps of any length": ("alone", lambda own, others: Mosaic(own, calmer=[(0, 1.0)])),
    "mosaic, as few places in gaps of any length": ("alone", lambda own, others: Mosaic(own, most=MOST[:1])),
    "mosaic, unseen, as few places in gaps of any length": (
        "unseen",
        lambda own, others: Mosaic(own, others, most=MOST[:1]),
    ),
    "mosaic, unseen, places count 0.1": ("unseen", lambda own, others: Mosaic(own, others, trust=0.1)),
    "mosaic, unseen, 0.03": ("unseen", Mosaic),
    "mosaic, unseen, 0.01": ("unseen", lambda own, others: Mosaic(own, others, trust=0.01)),
    "mosaic, seen, 0.03": ("seen", Mosaic),
}


def losses(trace: Trace, events: int, rng: np.random.Generator) -> Iterator[tuple[Trace, Trace, list[Ints]]]:
    """Parts of a recording with what is left of them and the rows that are lost: usual gaps, and long ones."""
    for most, least, lengths, share in ((events, 0, (1, 600), 0.3), (4 * events, 15_000, (1000, 5000), 0.25)):
        if len(trace) >= least:
            begin = int(rng.integers(0, max(1, len(trace) - most)))
            part = replace(trace, table=trace.table.slice(begin, most))
            yield part, *lose(part, rng, share=share, shortest=lengths[0], longest=lengths[1])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=6000, help="of each recording")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "mosaic.json")
    options = parser.parse_args()
    found: dict[str, list[Share]] = {name: [] for name in VARIANTS}
    seconds = dict.fromkeys(VARIANTS, 0.0)
    for number, trace, examples in recordings():
        for part, lossy, missing in losses(trace, options.events, np.random.default_rng([options.seed, number])):
            vocabulary = universal().extended(lossy)
            truth = vocabulary.encode(part)
            own = streams(lossy, vocabulary, shortest=1)
            for name, (kind, make) in VARIANTS.items():
                started = time.process_time()
                found[name] += right(make(own, examples[kind]), lossy, truth, missing, vocabulary)
                seconds[name] += time.process_time() - started
    rows = [
        {
            "mender": name,
            "ms_per_event": round(1000 * seconds[name] / sum(n for n, _ in gaps), 2),
            **by_length(gaps),
        }
        for name, gaps in found.items()
    ]
    document = {"command": command(), "seed": options.seed, "events": options.events, **provenance(), "rows": rows}
    options.out.write_text(json.dumps(document, indent=1) + "\n")
    print(options.out)


main()
