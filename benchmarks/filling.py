"""What a fill takes once its proposals are there, against the plain search that was there before, in the same run.

    python benchmarks/filling.py [--mb 6] [--gaps 2000] [--out benchmarks/results/filling.json]

Two texts: recordings/deploy/lossy.txt, repeated with its seconds moved on, whose gaps are long; and a made-up trace of
threads on cpus that lost one event at each of many gaps. Proposals are those of the lookup, made once and then given to
both. The plain search is tests/slow_fill.py, which fills bit for bit alike.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT
from reading import about, repeated

from tracemend.formats import read
from tracemend.menders import Lookup
from tracemend.mending.beliefs import Beliefs, Filled
from tracemend.mending.blocks import propose
from tracemend.mending.filling import Filling
from tracemend.trace.events import Gap, Trace
from tracemend.trace.vocabulary import universal
from tracemend.trace.windows import streams

sys.path.insert(0, str(ROOT / "tests"))
from conftest import threads_on_cpus
from slow_fill import Slow

SEED = 0


def single_losses(gaps: int) -> Trace:
    """A made-up trace that lost one event at each of so many gaps."""
    whole = threads_on_cpus(np.random.default_rng(SEED), 40 * gaps, threads=40, cpus=8)
    lost = np.zeros(len(whole), bool)
    lost[20::40] = True
    trace = Trace(whole.path, whole.format, whole.table.filter(~lost))
    rows = np.cumsum(~lost) - 1
    found = []
    for number, row in enumerate(np.flatnonzero(lost).tolist()):
        cpu = int(whole.cpu[row])
        own = whole.streams[cpu]
        own = own[~lost[own]]
        at = int(np.searchsorted(own, row))
        if 0 < at < len(own):
            before, after = int(own[at - 1]), int(own[at])
            times = int(whole.time_ns[before]), int(whole.time_ns[after])
            found.append(Gap(number, cpu, int(rows[before]), int(rows[after]), *times, 1, "counted", 1))
    return trace.with_gaps(tuple(found))


def measure(trace: Trace) -> dict[str, Any]:
    """Fill all gaps in both ways, the compiled one once before for its compiling."""
    vocabulary = universal().extended(trace)
    mender = Lookup(streams(trace, vocabulary, shortest=1))
    order = sorted(trace.gaps, key=lambda g: (g.end_ns, g.begin_ns, g.number))
    wanted = [(g, g.count or 0) for g in order]
    beliefs = propose(mender, Filling(trace, mender, vocabulary).around, wanted, SEED, lambda done, total: None)

    def filled(kind: type[Filling]) -> tuple[list[Filled], float]:
        run = kind(trace, mender, vocabulary)
        start = time.process_time()
        fills = [_one(run, gap, count, b) for (gap, count), b in zip(wanted, beliefs, strict=True)]
        return fills, time.process_time() - start

    filled(Filling)
    (new, quick), (old, plain) = filled(Filling), filled(Slow)
    for a, b in zip(new, old, strict=True):
        for x, y in ((a.ids, b.ids), (a.tids, b.tids), (a.times, b.times), (a.confidence, b.confidence)):
            assert x.tobytes() == y.tobytes()
    events = sum(count for _, count in wanted)
    return {
        "events": len(trace),
        "threads": len(trace.threads),
        "gaps": len(order),
        "inferred": events,
        "ms_an_inferred_event": round(1e3 * quick / events, 5),
        "ms_a_gap": round(1e3 * quick / len(order), 4),
        "before_ms_an_inferred_event": round(1e3 * plain / events, 5),
        "before_ms_a_gap": round(1e3 * plain / len(order), 4),
        "times_faster": round(plain / quick, 1),
    }


def _one(run: Filling, gap: Gap, count: int, beliefs: Beliefs) -> Filled:
    fill, _ = run.fill(gap, count, beliefs)
    if not isinstance(run, Slow):  # which remembers by itself
        run.timelines.remember(fill)
    return fill


def main() -> None:
    """Measure both traces and write the results."""
    options = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    options.add_argument("--mb", type=int, default=6, help="size of the text in MB")
    options.add_argument("--gaps", type=int, default=2000, help="gaps of one event in the made-up trace")
    options.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "filling.json")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lossy.txt"
        path.write_bytes(
            repeated("../../recordings/deploy/lossy.txt", rb"(?<= )\d+(?=\.\d{6}: )", chosen.mb * 1_000_000)
        )
        traces = {"deploy, repeated": read(path), "single losses (made up)": single_losses(chosen.gaps)}
    results = {}
    for title, trace in traces.items():
        results[title] = measure(trace)
        print(title, results[title])
    document = {**about(numpy=np.__version__), "seed": SEED, "results": results}
    chosen.out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
