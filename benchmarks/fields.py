"""How right are the fields of inferred events, and how sure of them are they said to be?

    python benchmarks/fields.py [--corpus corpus/kernel] [--run 1] [--recordings FILE...]
        [--events 20000] [--wider 0.5,1,2,4] [--seed 0] [--out benchmarks/results/fields.json]

On one run of each complete recording (of the corpus, or others) with simulated losses (tracemend.gaps.lose; 20 % of the
events, gaps of up to 300). "hidden": the lost events are given as they were, with who follows in switches and wakeups,
and only their other fields are asked for, so that nothing but the fields can be wrong. "mended": the trace is mended,
without examples; a field is right if the event at that position is, too. By field: of how many events the truth has it;
the share of those for which a value was given; how many of these were right; what they were said to be. "sure": the
same by how sure they were said to be. "names": of hidden events, how many of their threads' commands were given, how
many of all were right, and how many the last surviving event of each thread would have had right.

--wider: the log loss of "hidden" with the wider surroundings counting so much (shares.WIDER); never on what experiments
test with.
"""

import argparse
import json
import math
from collections import defaultdict
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from common import ROOT, command
from numpy.typing import NDArray

from tracemend.datasets import corpus
from tracemend.diffusion.gaps import lose
from tracemend.formats import read
from tracemend.judging.provenance import provenance
from tracemend.mending import settling
from tracemend.mending.beliefs import Filled
from tracemend.mending.fields import IRQS, MIGRATION, Fields
from tracemend.mending.run import mend_trace
from tracemend.mending.shares import likeliest
from tracemend.mending.together import Inferred
from tracemend.trace.arguments import key_texts, keys
from tracemend.trace.events import ENTER, EXIT, Trace
from tracemend.trace.fields import SOFTIRQS, SWITCH, WAKEUPS, kernel_name, numbers, taken, values
from tracemend.trace.syscalls import DESCRIPTORS
from tracemend.trace.vocabulary import Vocabulary, universal

SPLIT = ROOT / "experiments" / "workloads.toml"
NAMES = {
    SWITCH: ("prev_pid", "prev_comm", "prev_state", "next_pid", "next_comm"),
    **dict.fromkeys(WAKEUPS, ("pid", "comm", "target_cpu")),
    MIGRATION: ("pid", "comm", "orig_cpu", "dest_cpu"),
    "sched_process_fork": ("pid", "comm", "child_pid", "child_comm"),
    "sched_process_exec": ("pid", "old_pid", "filename"),
    "sched_process_exit": ("pid", "comm"),
    IRQS[0]: ("irq", "name"),
    IRQS[1]: ("irq", "ret"),
    **dict.fromkeys(SOFTIRQS, ("vec", "action")),
}
BINS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.01)
#: Which field of which event, whether it was given, whether it was right, how sure it was said to be.
Answer = tuple[str, bool, bool, float]


def truth(trace: Trace) -> dict[int, dict[str, str]]:
    """The fields of a trace's events by row, as far as they are told."""
    told: dict[int, dict[str, str]] = defaultdict(dict)
    for event in trace.names[1]:
        names = NAMES.get(kernel_name(event), ())
        rows, found = values(trace, event, names)
        for name in names:
            for row, value in zip(rows.tolist(), found[name].to_pylist(), strict=True):
                if value is not None:
                    told[row][name] = value
    for key, calls in keys(trace.names[1]).items():
        rows = np.flatnonzero(np.isin(np.asarray(trace.names[1])[trace.names[0]], [*calls]) & (trace.phase == ENTER))
        for row, value in zip(rows.tolist(), key_texts(taken(trace, "args", rows), key).to_pylist(), strict=True):
            if value is not None:
                told[row][key[0]] = value
    returned = trace.table["ret"].to_pylist()
    for row in np.flatnonzero(trace.phase == EXIT).tolist():
        if returned[row] is not None:
            told[row]["ret"] = returned[row]
    return told


def answers(trace: Trace, rows: NDArray[np.int64], inferred: pa.Table) -> list[Answer]:
    """What was said of lost events, which are these rows of the trace, and what not; of what was never lost, too."""
    told = truth(trace)
    columns = [
        c.cast("string").to_pylist() for t in (trace.table.take(rows), inferred) for c in (t["name"], t["phase"])
    ]
    found: list[Answer] = []
    for row, lost, lost_as, name, phase, said in zip(
        rows.tolist(), *columns, inferred["fields"].to_pylist(), strict=True
    ):
        given, same = dict(said), (lost, lost_as) == (name, phase)
        wanted = told.get(row, {}) if same else {}
        made = "exit of what opens" if DESCRIPTORS.get(name, 0) == 1 else "exit"
        event = {"enter": "enter", "exit": made}.get(phase, kernel_name(name))
        for which in wanted.keys() | given.keys():
            value = given.get(which)
            right = value is not None and value["value"] == wanted.get(which)
            called = "key argument" if phase == "enter" else which
            found.append((f"{event} {called}", value is not None, right, value["confidence"] if value else 0.0))
    return found


def as_they_were(trace: Trace, lossy: Trace, missing: list[NDArray[np.int64]], vocabulary: Vocabulary) -> list[Filled]:
    """The lost events as fills."""
    ids = vocabulary.encode(trace).astype(np.int64)
    following = np.full(len(trace), -1, np.int64)
    for event, pid in ((SWITCH, "next_pid"), *((w, "pid") for w in WAKEUPS)):
        rows, told = values(trace, event, (pid,))
        following[rows] = numbers(told[pid])
    tids, times = trace.tid.astype(np.int64), trace.time_ns
    return [
        Filled(gap, ids[lost], tids[lost], times[lost], np.ones(len(lost), np.float32), following[lost])
        for gap, lost in zip(lossy.gaps, missing, strict=True)
    ]


def hidden(trace: Trace, lossy: Trace, missing: list[NDArray[np.int64]]) -> list[Answer]:
    """Only fields are asked for."""
    vocabulary = universal().extended(trace)
    inferred = Inferred.of(as_they_were(trace, lossy, missing, vocabulary))
    fields = Fields(lossy, vocabulary.encode(lossy).astype(np.int64), vocabulary)
    column = fields.of(inferred, fields.comms(inferred))
    rows = np.concatenate(missing)
    lost = trace.table.take(rows)
    return answers(trace, rows, pa.table({"name": lost["name"], "phase": lost["phase"], "fields": column}))


def called(trace: Trace, lossy: Trace, missing: list[NDArray[np.int64]]) -> list[tuple[bool, bool, bool]]:
    """Of each lost event whose thread is known, given as it was: whether its thread's command was found, whether that
    was right, and whether the thread's last surviving event, wherever it is, says what is right."""
    vocabulary = universal().extended(trace)
    inferred = Inferred.of(as_they_were(trace, lossy, missing, vocabulary))
    fields = Fields(lossy, vocabulary.encode(lossy).astype(np.int64), vocabulary)
    codes, names = fields.comms(inferred).tolist(), fields.names.known
    last = {tid: lossy.table["comm"][int(rows[-1])].as_py() for tid, rows in lossy.threads.items()}
    lost = trace.table["comm"].take(np.concatenate(missing)).to_pylist()
    return [
        (code >= 0, code >= 0 and names[code] == comm, last.get(tid) == comm)
        for code, tid, comm in zip(codes, inferred.tids.tolist(), lost, strict=True)
        if tid >= 0 and comm is not None
    ]


def mended(trace: Trace, lossy: Trace, missing: list[NDArray[np.int64]]) -> list[Answer]:
    """Everything is."""
    return answers(trace, np.concatenate(missing), mend_trace(lossy).inferred)


def summary(found: list[Answer]) -> dict[str, Any]:
    def row(own: list[Answer]) -> dict[str, Any]:
        given = [a for a in own if a[1]]
        cell: dict[str, Any] = {"events": len(own), "given": round(len(given) / max(1, len(own)), 4)}
        if given:
            cell["right"] = round(float(np.mean([a[2] for a in given])), 4)
            cell["said"] = round(float(np.mean([a[3] for a in given])), 4)
        return cell

    by_field = {name: row([a for a in found if a[0] == name]) for name in sorted({a[0] for a in found})}
    given = [a for a in found if a[1]]
    sure = {
        f"{low:g}-{min(1, high):g}": row([a for a in given if low <= a[3] < high])
        for low, high in pairwise(BINS)
        if any(low <= a[3] < high for a in given)
    }
    return {"fields": by_field, "sure": sure, "all": row(found)}


def log_loss(found: list[Answer]) -> float:
    """Of what was given, by how sure it was said to be."""
    p = [min(max(a[3], 1e-3), 1 - 1e-3) for a in found if a[1]]
    right = [a[2] for a in found if a[1]]
    return -float(np.mean([math.log(s if r else 1 - s) for s, r in zip(p, right, strict=True)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=ROOT / "corpus" / "kernel")
    parser.add_argument("--recordings", type=Path, nargs="*", default=[], help="other complete ones")
    parser.add_argument(
        "--run", type=int, default=1, help="of the corpus's recordings; shares.WIDER was chosen by run 0"
    )
    parser.add_argument("--events", type=int, default=20_000, help="of each recording")
    parser.add_argument("--wider", type=lambda text: [float(w) for w in text.split(",")], default=[])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "fields.json")
    options = parser.parse_args()
    found: dict[str, list[Answer]] = defaultdict(list)
    names: list[tuple[bool, bool, bool]] = []
    recordings = [read(path) for path in options.recordings] or [
        t for t in corpus(options.corpus, "train", SPLIT) if t.path and t.path.stem.endswith(f"-{options.run}")
    ]
    for number, whole in enumerate(recordings):
        rng = np.random.default_rng([options.seed, number])
        begin = int(rng.integers(0, max(1, len(whole) - options.events)))
        trace = replace(whole, table=whole.table.slice(begin, options.events))
        lossy, missing = lose(trace, rng, share=0.2, longest=300)
        for wider in options.wider:
            setattr(settling, "likeliest", partial(likeliest, wider=wider))  # noqa: B010 (mypy: not its to give)
            found[f"wider {wider:g}"] += hidden(trace, lossy, missing)
        setattr(settling, "likeliest", likeliest)  # noqa: B010
        if not options.wider:
            found["hidden"] += hidden(trace, lossy, missing)
            names += called(trace, lossy, missing)
            found["mended"] += mended(trace, lossy, missing)
        print(whole.path.stem if whole.path else "", flush=True)
    settings = {"run": options.run, "recordings": len(recordings), "events": options.events, "seed": options.seed}
    document: dict[str, Any] = {"command": command(), **settings, **provenance()}
    if options.wider:
        document = {name: {"log_loss": round(log_loss(own), 4), **summary(own)} for name, own in found.items()}
        print(json.dumps({name: [own["log_loss"], own["sure"]] for name, own in document.items()}, indent=1))
        return
    document |= {name: summary(own) for name, own in found.items()}
    shares = np.mean(names, axis=0).round(4).tolist()
    document["names"] = {"events": len(names)} | dict(zip(("given", "right", "right_by_last"), shares, strict=True))
    options.out.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps({name: document[name] for name in (*found, "names")}, indent=1))


main()
