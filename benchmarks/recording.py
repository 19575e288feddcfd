"""Does the recorder tell the truth? Pairs recorded anew, and every identity between marks, counters and missing events.

    python benchmarks/recording.py [--number 50] [--seed 0] [--judge PATH] [--out benchmarks/results/recording.json]

Each recording is one attempt at another workload, run or way to lose, and stays in the table whatever comes of it.
``--judge``: an independent recorder (a program that takes ``--out --mode --b-kb --delay-us --seed -- COMMAND`` and
writes report.json), which records some of the same commands by itself; its own counts stand beside. Needs root and
tracefs.
"""

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from common import ROOT

from tracemend.judging.provenance import commit
from tracemend.recording import RecordError
from tracemend.recording.corpus import HOW, HOW_UST, Setting, Workload, attempt, draw, workloads

#: Ways of losing in which the tracer's counter is that of the events missing.
COUNTED = ("overwrite", "drop", "ust_discard")


def ours(workload: Workload, run: int, setting: Setting) -> dict[str, Any]:
    """One row: what was recorded, what each side says was lost, and what doesn't agree."""
    row: dict[str, Any] = {"workload": workload.name, "run": run, **asdict(setting)}
    try:
        with workload.ready(run) as (command, folder):
            row["command"] = command[-1]
            made = attempt(command, folder, setting)
    except RecordError as e:
        return {**row, "error": str(e)}
    pair = made.pair
    stated = [(g.count, len(m)) for g, m in zip(pair.lossy.gaps, pair.missing, strict=True) if g.count is not None]
    return {
        **row,
        "events": len(pair.complete),
        "survived": len(pair.lossy),
        "gaps": len(pair.missing),
        "stated": len(stated),
        "exact": sum(said == missing for said, missing in stated),
        "marks": sum(said for said, _ in stated),
        "counter": made.counted,
        "missing": pair.lost,
        "unmatched": len(pair.lossy) + pair.lost - len(pair.complete),
        "faults": made.faults,
    }


def judges(judge: Path, workload: Workload, run: int, setting: Setting) -> dict[str, Any]:
    """The same by the independent recorder, in the same names."""
    row: dict[str, Any] = {"workload": workload.name, "run": run, **asdict(setting)}
    with workload.ready(run) as (command, folder), tempfile.TemporaryDirectory() as out:
        options = ["--out", out, "--mode", setting.how, "--b-kb", setting.buffer_kb, "--seed", setting.seed]
        options += ["--delay-us", setting.delay_ms * 1000, "--", *command]
        line = [sys.executable, str(judge), *map(str, options)]
        done = subprocess.run(line, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            return {**row, "error": (done.stderr.strip().splitlines() or ["no reason"])[-1]}
        told = json.loads((Path(out) / "report.json").read_text())
    return {
        **row,
        "events": told["A_events"],
        "survived": told["B_events"],
        "gaps": told["gaps_total"],
        "stated": told["marks_total"] - told["marks_without_count"],
        "exact": told["gaps_count_exact"],
        "marks": told["sum_of_marks"],
        "counter": sum(told["B_overrun"].values()) + sum(told["B_dropped"].values()),
        "missing": told["missing_total"],
        "unmatched": told["B_unmatched"],
    }


def agrees(row: dict[str, Any]) -> bool:
    """Whether every identity holds by the numbers of a row of ``COUNTED`` alone."""
    marks_say = row["stated"] == 0 if row["how"] == "drop" else row["marks"] == row["missing"]
    return bool(
        marks_say
        and row["counter"] == row["missing"]
        and row["exact"] == row["stated"]
        and row["survived"] + row["missing"] == row["events"]
        and not row["unmatched"]
    )


def total(rows: list[dict[str, Any]], how: str) -> dict[str, Any]:
    mine = [r for r in rows if r["how"] == how]
    recorded = [r for r in mine if "error" not in r]
    amounts = ("events", "survived", "gaps", "stated", "exact", "marks", "counter", "missing", "unmatched")
    return {
        "how": how,
        "recordings": len(mine),
        "errors": len(mine) - len(recorded),
        "without_faults": sum(r["agree"] for r in recorded),
        **{a: sum(r[a] for r in recorded) for a in amounts},
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--number", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--judge", type=Path)
    parser.add_argument("--judged", type=int, default=12, help="how many of the commands the judge records")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "recording.json")
    options = parser.parse_args()
    found, _ = workloads(ROOT / "experiments" / "workloads.toml")
    rng = random.Random(options.seed)
    # every workload once, in each way in turn, then some again in the way that follows
    order = [(w, w.ways[(n + lap) % len(w.ways)]) for lap in range(3) for n, w in enumerate(found)][: options.number]
    rows: list[dict[str, Any]] = []
    independent: list[dict[str, Any]] = []
    for workload, how in order:
        setting = draw(how, rng.getrandbits(32))
        row = ours(workload, run := rng.randrange(4), setting)
        # perf's counts include records of no event, which the recorder itself takes into account; of packets that LTTng
        # overwrote nobody counts the events
        row["agree"] = "error" not in row and not row["faults"] and (how not in COUNTED or agrees(row))
        rows.append(row)
        print(json.dumps({k: v for k, v in row.items() if k != "command"}), flush=True)
        if options.judge and how in HOW[:2] and len(independent) < options.judged:
            row = judges(options.judge.resolve(), workload, run, setting)
            independent.append({**row, "agree": "error" not in row and agrees(row)})
            print("  judge:", json.dumps(independent[-1]), flush=True)
    document = {
        "command": f"python benchmarks/recording.py --number {options.number} --seed {options.seed}"
        + (f" --judge {options.judge.name}" if options.judge else ""),
        "commit": commit(ROOT),
        "seed": options.seed,
        "machine": {"kernel": os.uname().release, "cpus": os.cpu_count(), "architecture": platform.machine()},
        "totals": [total(rows, how) for how in HOW + HOW_UST],
        "recordings": rows,
        "judge_totals": [total(independent, how) for how in HOW[:2]] if independent else [],
        "judge": independent,
    }
    options.out.write_text(json.dumps(document, indent=1) + "\n")


main()
