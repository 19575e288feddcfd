"""What does it bring that fills weigh how long calls last? And what do sixteen drawn histories cost?

    python benchmarks/durations.py [--events 6000] [--recordings 32] [--seed 0] [--out FILE]

On recordings of run 2 (validation): the corpus's with simulated losses (tracemend.gaps.lose), a piece of each, and
those of whole machines that truly lost events, of which the system calls alone are kept on both sides. Mended as
``tracemend mend`` does it, with the training recordings of other workloads as examples: "with" as it is, "without"
durations.

time: the error of the total time by call over the true one, of the trace left open and mended, a mean over recordings;
nearer: recordings whose mended one is less. long: calls of 5 ms and more with an inferred side; never: those that no
true call of the thread covers by half or more.
place: median error of inferred events' times over the gap's duration. By length of gap: accuracy and count error.
"""

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
from common import ROOT, command
from numpy.typing import NDArray
from simulated import SPLIT

from tracemend.datasets import corpus, workload
from tracemend.diffusion.gaps import lose
from tracemend.judging.gaps import GapScore, judge
from tracemend.judging.metrics import LENGTH_BINS, bin_name
from tracemend.judging.provenance import provenance
from tracemend.mending.durations import Durations
from tracemend.mending.options import Options
from tracemend.mending.run import mend_trace
from tracemend.mending.times import Times
from tracemend.recording import Pair
from tracemend.recording.pairs import read
from tracemend.trace.events import ENTER, EXIT, INSTANT, PHASES, Gap, Trace
from tracemend.trace.vocabulary import universal
from tracemend.trace.windows import Stream, streams

#: A call is long from so many ns on; and so many histories are drawn.
LONG, DRAWS = 5_000_000, 16
#: Recordings of whole machines with more system calls than this would take most of the time.
MOST = 60_000

Ints = NDArray[np.int64]
Case = tuple[str, Pair, list[Stream]]


def of_calls(pair: Pair) -> Pair:
    """A pair as it would be had system calls alone been recorded."""
    complete = pair.complete
    gone = np.zeros(len(complete), bool)
    gone[np.concatenate(pair.missing)] = True
    rows = np.flatnonzero(complete.phase != INSTANT)
    gone = gone[rows]
    table = complete.table.take(rows)
    at = table.schema.get_field_index("name")
    names = table["name"].cast(pa.string()).dictionary_encode().cast(table.schema.field(at).type)
    whole = replace(complete, table=table.set_column(at, table.schema.field(at), names), gaps=())
    runs = []
    for cpu, stream in sorted(whole.streams.items()):
        edges = np.diff(np.concatenate([[0], gone[stream].astype(int), [0]]))
        for a, b in zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True):
            if a == 0 or b == len(stream):
                gone[stream[a:b]] = False
            else:
                runs.append((cpu, stream[a - 1 : b + 1]))
    row, time_ns = np.cumsum(~gone) - 1, whole.time_ns
    gaps = []
    for k, (cpu, r) in enumerate(runs):
        (before, after), (begin, end) = (x[[r[0], r[-1]]].tolist() for x in (row, time_ns))
        gaps.append(Gap(k, cpu, before, after, begin, end, len(r) - 2, "counted", 1))
    lossy = replace(whole, table=whole.table.take(np.flatnonzero(~gone)), gaps=tuple(gaps))
    return Pair(lossy, whole, [r[1:-1] for _, r in runs])


def cases(events: int, recordings: int, seed: int) -> Iterator[Case]:
    known: dict[str, list[Stream]] = {}
    for trace in corpus(ROOT / "corpus", "train", SPLIT):
        known.setdefault(workload(trace), []).extend(streams(trace, universal(), shortest=1))

    def others(name: str) -> list[Stream]:
        return [s for own, held in known.items() if own != name for s in held]

    for path in sorted((ROOT / "corpus" / "kernel" / "pairs").glob("*-2-*.parquet")):
        pair = of_calls(read(path))
        if pair.lossy.gaps and len(pair.complete) <= MOST:
            yield "whole machines, truly lost", pair, others(path.stem.rpartition("-2-")[0])
    held = corpus(ROOT / "corpus", "validation", SPLIT)
    for number, trace in list(enumerate(held))[:: max(1, len(held) // recordings)]:
        rng = np.random.default_rng([seed, number])
        begin = int(rng.integers(0, max(1, len(trace) - events)))
        part = replace(trace, table=trace.table.slice(begin, events))
        lossy, missing = lose(part, rng, shortest=4, longest=1500)
        if lossy.gaps:
            yield "recordings, simulated", Pair(lossy, part, missing), others(workload(trace))


Calls = list[tuple[int, str, int, int, bool]]


def calls_of(trace: Trace, inferred: pa.Table | None = None) -> Calls:
    """All calls with both sides: thread, name, from when to when, and whether a side was inferred."""
    columns: list[NDArray[Any]] = [trace.time_ns, trace.tid, trace.phase, np.zeros(len(trace), bool)]
    names = trace.table["name"].to_pylist()
    if inferred is not None:
        phases = np.array([PHASES.index(p) for p in inferred["phase"].to_pylist()], np.int64)
        more = [inferred["time_ns"].to_numpy(), inferred["tid"].to_numpy(), phases, np.ones(len(phases), bool)]
        columns = [np.append(a, b) for a, b in zip(columns, more, strict=True)]
        names = names + inferred["name"].to_pylist()
    time_ns, tid, phase, made = columns
    order = np.lexsort((np.arange(len(tid)), time_ns, tid))
    order = order[(phase[order] != INSTANT) & (tid[order] >= 0)]
    a, b = order[:-1], order[1:]
    both = (tid[a] == tid[b]) & (phase[a] == ENTER) & (phase[b] == EXIT)
    return [
        (int(tid[i]), names[i], int(time_ns[i]), int(time_ns[j]), bool(made[i] or made[j]))
        for i, j in zip(a[both].tolist(), b[both].tolist(), strict=True)
        if names[i] == names[j]
    ]


def total(calls: Calls) -> dict[str, int]:
    found: dict[str, int] = {}
    for _, name, begin, end, _ in calls:
        found[name] = found.get(name, 0) + end - begin
    return found


def error(calls: Calls, truth: Calls) -> float:
    one, other = total(calls), total(truth)
    apart = sum(abs(one.get(n, 0) - other.get(n, 0)) for n in one.keys() | other.keys())
    return apart / max(1, sum(other.values()))


def happened(call: tuple[int, str, int, int, bool], truth: Calls) -> bool:
    tid, name, begin, end, _ = call
    same = [(b, e) for t, n, b, e, _ in truth if (t, n) == (tid, name)]
    return any(2 * (min(e, end) - max(b, begin)) > max(e, end) - min(b, begin) for b, e in same)


def scored(pair: Pair, examples: list[Stream]) -> tuple[dict[str, Any], list[GapScore]]:
    mended = mend_trace(pair.lossy, shipped=examples)
    truth, left, whole = calls_of(pair.complete), calls_of(pair.lossy), calls_of(pair.lossy, mended.inferred)
    long = [happened(c, truth) for c in whole if c[4] and c[3] - c[2] >= LONG]
    return {"left": error(left, truth), "mended": error(whole, truth), "long": long}, judge(mended, pair)


def summed(found: list[tuple[dict[str, Any], list[GapScore]]]) -> dict[str, Any]:
    rows, gaps = [r for r, _ in found], [g for _, held in found for g in held]
    long = [c for r in rows for c in r["long"]]

    def mean(values: list[float]) -> float:
        return round(float(np.mean(values)), 4)

    lengths = {bin_name(a, b): [g for g in gaps if a <= g.length <= b] for a, b in LENGTH_BINS}
    return {
        "recordings": len(rows),
        "time": {k: mean([r[k] for r in rows]) for k in ("left", "mended")},
        "nearer": sum(r["mended"] < r["left"] for r in rows),
        "long": len(long),
        "never": len(long) - sum(long),
        "place": mean([g.time_error for g in gaps]),
        "by_length": {
            name: {
                "gaps": len(held),
                "accuracy": mean([g.accuracy for g in held]),
                "count_error": mean([g.count_error for g in held]),
            }
            for name, held in lengths.items()
            if held
        },
    }


def cost(found: list[Case]) -> dict[str, float]:
    """Milliseconds of the processor for each inferred event, without draws and with them."""
    spent = {}
    for draws in (0, DRAWS):
        began = time.process_time()
        events = sum(
            mend_trace(pair.lossy, options=Options(hypotheses=draws), shipped=examples).inferred.num_rows
            for _, pair, examples in found
        )
        spent[str(draws)] = round(1e3 * (time.process_time() - began) / events, 4)
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=6000, help="of each recording with simulated losses")
    parser.add_argument("--recordings", type=int, default=32, help="with simulated losses, about")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "durations.json")
    options = parser.parse_args()
    held = list(cases(options.events, options.recordings, options.seed))
    found: dict[str, Any] = {}
    for name in ("with", "without"):
        with ExitStack() as stack:
            if name == "without":
                stack.enter_context(patch.object(Durations, "by_state", lambda self, duration_ns: None))
                stack.enter_context(patch.object(Times, "stretched", lambda self, gap, steps, *rest: steps))
            scores: dict[str, list[tuple[dict[str, Any], list[GapScore]]]] = {}
            for kind, pair, examples in held:
                scores.setdefault(kind, []).append(scored(pair, examples))
        found[name] = {kind: summed(of_kind) for kind, of_kind in scores.items()}
        print(name, json.dumps(found[name]), flush=True)
    spent = cost([c for c in held if c[0].startswith("whole")])
    settings = {"events": options.events, "recordings": options.recordings, "seed": options.seed}
    document = {"command": command(), **settings, **provenance(), **found, "milliseconds_an_event": spent}
    options.out.write_text(json.dumps(document, indent=1) + "\n")


main()
