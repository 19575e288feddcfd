"""Does the recorder tell the truth of scheduling, and of whole machines? Pairs recorded anew, and what doesn't agree.

    python benchmarks/recording_machine.py [--number 20] [--seed 0] [--out benchmarks/results/recording_machine.json]

So many pairs of ``sched`` (a command's) and of ``kernel`` (the machine's) events, in overwrite and drop mode in turn,
each one attempt at another workload, which stays in the table whatever comes of it. "recorder": the share of the events
that are the recorder's own. Needs root and tracefs.
"""

import argparse
import json
import os
import platform
import random
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, command

from tracemend.judging.provenance import commit
from tracemend.recording import RecordError, SmallBuffer, Wanted, record_pair
from tracemend.recording.corpus import TIMEOUT, Workload, workloads


def one(workload: Workload, run: int, events: str, small: SmallBuffer) -> dict[str, Any]:
    row: dict[str, Any] = {"workload": workload.name, "run": run, "events_of": events, **small.about()}
    try:
        with workload.ready(run) as (typed, folder):
            pair, lossy, faults = record_pair(typed, small, events=events, cwd=folder, quiet=True, timeout=TIMEOUT)
    except RecordError as e:
        return {**row, "error": str(e)}
    stated = [(g.count, len(m)) for g, m in zip(pair.lossy.gaps, pair.missing, strict=True) if g.count is not None]
    return {
        **row,
        "events": len(pair.complete),
        "survived": len(pair.lossy),
        "gaps": len(pair.missing),
        "stated": len(stated),
        "exact": sum(said == missing for said, missing in stated),
        "counter": lossy.lost,
        "missing": pair.lost,
        "recorder": round(float(np.isin(pair.complete.tid, pair.complete.provenance["recorder_threads"]).mean()), 4),
        "faults": faults,
    }


def total(rows: list[dict[str, Any]], events: str) -> dict[str, Any]:
    recorded = [r for r in rows if r["events_of"] == events and "error" not in r]
    amounts = ("events", "survived", "gaps", "stated", "exact", "counter", "missing")
    return {
        "events_of": events,
        "recordings": sum(r["events_of"] == events for r in rows),
        "without_faults": sum(not r["faults"] for r in recorded),
        **{a: sum(r[a] for r in recorded) for a in amounts},
        "recorder": round(sum(r["recorder"] * r["events"] for r in recorded) / sum(r["events"] for r in recorded), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--number", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "recording_machine.json")
    options = parser.parse_args()
    path = ROOT / "experiments" / "workloads.toml"
    names = tomllib.loads(path.read_text())["kernel"]["workloads"]
    named = [w for w in workloads(path)[0] if w.name in names]
    rng = random.Random(options.seed)
    rows = []
    for events in ("sched", "kernel"):
        for number, workload in enumerate(rng.sample(named, options.number)):
            small = replace(SmallBuffer.of(Wanted.of(events)), overwrite=number % 2 == 0, seed=rng.getrandbits(32))
            rows.append(one(workload, rng.randrange(4), events, small))
            print(json.dumps(rows[-1]), flush=True)
    document = {
        "command": command(),
        "commit": commit(ROOT),
        "seed": options.seed,
        "machine": {"kernel": os.uname().release, "cpus": os.cpu_count(), "architecture": platform.machine()},
        "totals": [total(rows, events) for events in ("sched", "kernel")],
        "recordings": rows,
    }
    options.out.write_text(json.dumps(document, indent=1) + "\n")


main()
