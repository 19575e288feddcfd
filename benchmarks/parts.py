"""What is each part of mending worth: copies, network, channels, constraints, adaptation, steps?

    python benchmarks/parts.py [--events 4000] [--iterations 1500] [--seeds 0 1 2] [--jobs 2] [--out FILE]

Every third workload of the corpus's training part is held out; networks are trained on the recordings of the others,
which are also what there is to copy from as examples. Measured on the validation recordings of the workloads held out,
with simulated losses (tracemend.gaps.lose); nothing of the test part is looked at. A seed draws the losses and the
network's training. Of each gap: events right and all right, under the constraints and without them (the likeliest event
at each position); threads right; and the median error of the times over the gap's duration.
"""

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import ROOT, command
from numpy.typing import NDArray
from simulated import SPLIT

from tracemend.datasets import corpus, workload
from tracemend.diffusion.gaps import lose
from tracemend.diffusion.recipes import recipe
from tracemend.diffusion.restorer import Restorer
from tracemend.diffusion.training import Training, keep_memory
from tracemend.judging.metrics import LENGTH_BINS, bin_name
from tracemend.judging.provenance import provenance
from tracemend.menders import Lookup, Mosaic, NGram
from tracemend.menders.adapted import adapt
from tracemend.menders.base import Mender
from tracemend.mending.blend import Blend
from tracemend.mending.blocks import propose
from tracemend.mending.filling import Filling
from tracemend.trace.events import Trace
from tracemend.trace.vocabulary import universal
from tracemend.trace.windows import Stream, streams

#: Of the network, besides the iterations; one channel more from row to row.
NETWORK = ("width=64", "options.layers=3", "batch=16")
CHANNELS = {1: "events", 2: "events, threads", 3: "events, threads, steps"}
#: More steps of training on the intact part.
TUNING = 80
#: What is measured of a gap.
MEASURES = ("accuracy", "perfect", "accuracy_free", "perfect_free", "threads", "time_error")

Gap = dict[str, float]


def trained(channels: int, data: list[Stream], iterations: int, seed: int) -> Restorer:
    chosen = recipe("masked-transformer").changed([*NETWORK, f"iterations={iterations}", f"how.channels={channels}"])
    run = Training(chosen, universal(), seed=seed, device="cpu")
    for _ in run.steps(data):
        pass
    return Restorer(chosen, universal(), run.averaged())


def in_steps(network: Restorer, steps: int) -> Restorer:
    return Restorer(replace(network.recipe, steps=steps), network.vocabulary, network.network)


def menders(
    own: list[Stream], others: list[Stream], networks: dict[int, Restorer], lengths: list[int], seed: int
) -> Any:
    """Every row's name and how to make its mender."""
    full = networks[max(networks)]

    def adapted() -> Mosaic:
        mosaic = Mosaic(own, others)
        adapt(mosaic, lengths, seed=seed)
        return mosaic

    yield "copies only: n-gram bridge", lambda: NGram(own)
    yield "copies only: lookup", lambda: Lookup(own)
    yield "copies only: lookup + examples", lambda: Lookup(own, others)
    yield "copies only: mosaic", lambda: Mosaic(own)
    yield "copies only: mosaic + examples", lambda: Mosaic(own, others)
    yield "copies only: mosaic + examples, adapted", adapted
    for channels, network in networks.items():
        yield f"network only: {CHANNELS[channels]}", partial(in_steps, network, network.recipe.steps)
    for steps in (1, 2, 4, 16):
        yield f"network only: all channels, {steps} reverse step{'s' * (steps > 1)}", partial(in_steps, full, steps)
    more = partial(full.tuned, own, seconds=float("inf"), steps=TUNING, seed=seed)
    yield f"network only: all channels, {TUNING} steps of training on the trace", lambda: more()[0]
    yield "both: mosaic + examples + network", lambda: Blend(Mosaic(own, others), full)
    yield f"both, the network trained on the trace for {TUNING} steps", lambda: Blend(Mosaic(own, others), more()[0])


def measured(mender: Mender, part: Trace, lossy: Trace, missing: list[NDArray[np.int64]], *, copied_times: bool) -> Any:
    """Each gap, filled as ``mend`` does it, and as the likeliest events would have it."""
    vocabulary = universal().extended(lossy)
    truth, real_ns = vocabulary.encode(part), part.time_ns
    run = Filling(lossy, mender, vocabulary)
    order = sorted(lossy.gaps, key=lambda g: (g.end_ns, g.begin_ns, g.number))
    beliefs = propose(mender, run.around, [(g, g.count or 0) for g in order], 0, lambda done, total: None)
    for gap, belief in zip(order, beliefs, strict=True):
        if not copied_times:
            belief.steps[:] = np.nan
        filled, _ = run.fill(gap, gap.count or 0, belief)
        run.timelines.remember(filled)
        lost = missing[gap.number]
        right, free = filled.ids == truth[lost], belief.events[:, 0] == truth[lost]
        off = np.abs(filled.times - real_ns[lost]) / max(1, gap.duration_ns)
        values = (right.mean(), right.all(), free.mean(), free.all(), (filled.tids == part.tid[lost]).mean())
        yield len(lost), dict(zip(MEASURES, (*map(float, values), float(np.median(off))), strict=True))


def one_seed(seed: int, events: int, iterations: int) -> dict[str, dict[str, Any]]:
    """Every row's means over all gaps and by length, its gaps and milliseconds of CPU an event."""
    torch.set_num_threads(1)
    keep_memory()
    train = corpus(ROOT / "corpus", "train", SPLIT)
    held_out = set(sorted({workload(t) for t in train})[::3])
    known = [s for t in train if workload(t) not in held_out for s in streams(t, universal())]
    networks = {channels: trained(channels, known, iterations, seed) for channels in CHANNELS}
    print(f"seed {seed}: networks are trained", flush=True)
    found: dict[str, list[tuple[int, Gap]]] = {}
    seconds: dict[str, float] = {}
    for number, trace in enumerate(corpus(ROOT / "corpus", "validation", SPLIT)):
        if workload(trace) not in held_out:
            continue
        rng = np.random.default_rng([seed, number])
        begin = int(rng.integers(0, max(1, len(trace) - events)))
        part = replace(trace, table=trace.table.slice(begin, events))
        lossy, missing = lose(part, rng)
        own = streams(lossy, universal().extended(lossy), shortest=1)
        rows = dict(menders(own, known, networks, [g.count or 0 for g in lossy.gaps], seed))
        rows["copies only: mosaic + examples, times by the median of each event"] = rows[
            "copies only: mosaic + examples"
        ]
        for name, make in rows.items():
            started = time.process_time()
            mender = make()
            found.setdefault(name, []).extend(
                measured(mender, part, lossy, missing, copied_times="times by" not in name)
            )
            seconds[name] = seconds.get(name, 0.0) + time.process_time() - started
        print(f"seed {seed}: {workload(trace)}", flush=True)
    return {
        name: means(gaps) | {"ms_per_event": 1000 * seconds[name] / sum(n for n, _ in gaps)}
        for name, gaps in found.items()
    }


def means(gaps: list[tuple[int, Gap]]) -> dict[str, Any]:
    bins = {}
    for low, high in LENGTH_BINS:
        held = [gap["accuracy"] for n, gap in gaps if low <= n <= high]
        if held:
            bins[bin_name(low, high)] = float(np.mean(held))
    return {"gaps": len(gaps), "bins": bins} | {k: float(np.mean([gap[k] for _, gap in gaps])) for k in MEASURES}


def over_seeds(name: str, seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """A row: [mean, lowest, highest] of the seeds."""

    def three(values: list[float]) -> list[float]:
        return [round(x, 4) for x in (float(np.mean(values)), min(values), max(values))]

    names = [b for b in seeds[0]["bins"] if all(b in s["bins"] for s in seeds)]
    return {
        "mender": name,
        "gaps": [s["gaps"] for s in seeds],
        **{k: three([s[k] for s in seeds]) for k in (*MEASURES, "ms_per_event")},
        "bins": {b: three([s["bins"][b] for s in seeds]) for b in names},
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=4000, help="of each recording")
    parser.add_argument("--iterations", type=int, default=1500, help="of a network's training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "parts.json")
    options = parser.parse_args()
    work = partial(one_seed, events=options.events, iterations=options.iterations)
    if options.jobs == 1:
        seeds = list(map(work, options.seeds))
    else:
        with ProcessPoolExecutor(options.jobs) as pool:
            seeds = list(pool.map(work, options.seeds))
    document = {
        "command": command(),
        "seeds": options.seeds,
        "events": options.events,
        "iterations": options.iterations,
        **provenance(),
        "rows": [over_seeds(name, [s[name] for s in seeds]) for name in seeds[0]],
    }
    options.out.write_text(json.dumps(document, indent=1) + "\n")
    print(options.out)


if __name__ == "__main__":
    main()
