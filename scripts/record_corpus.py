"""Record the project's own corpus: the workloads of experiments/workloads.toml, complete, and as really lossy pairs.

    python scripts/record_corpus.py [--out corpus] [--only NAME ...] [--again] [--seed 0] [--most 60000]

Complete recordings, runs 0 to 2, become OUT/WORKLOAD-RUN.parquet; pairs become OUT/pairs/WORKLOAD-RUN-HOW.parquet.
Programs with their own tracepoints become pairs only. Needs root and tracefs; install the Debian packages first
(--packages prints them). What is there already is recorded only --again. A complete recording with a loss is refused,
and so is a pair of which anything doesn't agree. Arguments and results are not stored.
"""

import argparse
import os
import platform
import sys
import tomllib
import zlib
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from tracemend.formats import parquet
from tracemend.recording import RecordError, pairs, record
from tracemend.recording.corpus import SURVIVE, TIMEOUT, Attempt, How, Workload, attempts, workloads
from tracemend.trace.events import SCHEMA

ROOT = Path(__file__).parents[1]
LIST = ROOT / "experiments" / "workloads.toml"


def complete(workload: Workload, run: int, path: Path, most: int) -> str:
    """Record a run without losses; returns what became of it. Raises RecordError."""
    with workload.ready(run) as (command, folder):
        trace = record(command, cwd=folder, quiet=True, timeout=TIMEOUT).trace
    if trace.gaps:
        raise RecordError(f"{trace.lost} events were lost")
    times = pa.array(trace.time_ns[:most] - trace.time_ns[0])
    table = trace.table.slice(0, most).set_column(0, SCHEMA.field("time_ns"), times)
    parquet.write(replace(trace, table=table), path, details=False)
    return f"{len(trace)} events, {table.num_rows} kept, {len(trace.threads)} threads"


def lossy(workload: Workload, run: int, how: How, path: Path, most: int, seed: int) -> str:
    """Record a pair; returns what became of it. Raises RecordError if none was good enough to keep."""
    seed = zlib.crc32(f"{path.stem} {seed}".encode())
    log: list[dict[str, Any]] = []
    good: list[Attempt] = []
    for made in attempts(workload, run, how, seed):
        log.append({"refused": made} if isinstance(made, str) else made.as_dict())
        if not isinstance(made, str) and not made.faults and made.pair.lost and made.survived >= SURVIVE[0]:
            good.append(made)
    if not good:
        raise RecordError(f"no pair in {len(log)} attempts: {log[-1]}")
    best = min(good, key=lambda a: a.survived)
    kept, recorded = best.pair, best.pair.complete
    if len(recorded) > most:
        kept = pairs.head(kept, most)
    about = {
        "workload": workload.name,
        "run": run,
        **asdict(best.setting),
        "counted": best.counted,
        "cut": None if kept is best.pair else most,
        "recorded": {"events": len(recorded), "survived": len(best.pair.lossy), "missing": best.pair.lost},
        "attempts": log,
        "machine": {"kernel": os.uname().release, "cpus": os.cpu_count(), "architecture": platform.machine()},
    }
    pairs.write(kept, path, details=False, about={"pair": about})
    return (
        f"{len(kept.complete)} of {len(recorded)} events, {len(kept.lossy) / len(kept.complete):.0%} survived, "
        f"{len(kept.missing)} gaps, {len(log)} attempts, {best.setting.buffer_kb} KiB, {best.setting.delay_ms} ms"
    )


def wanted(found: list[Workload], tested: set[str]) -> Iterator[tuple[Workload, int, How | None]]:
    """Everything the corpus is made of; how is None for a complete recording."""
    for number, workload in enumerate(found):
        if workload.ust:
            yield from ((workload, run, how) for run in range(4) for how in workload.ways)
            continue
        for run in range(3):
            yield workload, run, None
        yield workload, 3, "overwrite"
        if workload.name in tested:
            yield workload, 0, "overwrite"
        for how in workload.ways[1:]:
            if workload.name in tested or number % 2:
                yield workload, 3, how


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=ROOT / "corpus")
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--most", type=int, default=60_000, help="events kept of a complete recording")
    parser.add_argument("--most-of-pairs", type=int, default=80_000, help="events kept of a pair")
    parser.add_argument("--packages", action="store_true")
    options = parser.parse_args()
    found, packages = workloads(LIST)
    if options.packages:
        print(" ".join(packages))
        return
    (options.out / "pairs").mkdir(parents=True, exist_ok=True)
    failed = 0
    for workload, run, how in wanted(found, set(tomllib.loads(LIST.read_text())["split"]["test"])):
        name = f"{workload.name}-{run}.parquet" if how is None else f"pairs/{workload.name}-{run}-{how}.parquet"
        path = options.out / name
        if (options.only and workload.name not in options.only) or (path.exists() and not options.again):
            continue
        try:
            if how is None:
                done = complete(workload, run, path, options.most)
            else:
                done = lossy(workload, run, how, path, options.most_of_pairs, options.seed)
        except RecordError as e:
            print(f"{name}: {e}", file=sys.stderr, flush=True)
            failed += 1
            continue
        print(f"{name:40} {done}, {path.stat().st_size >> 10} KiB", flush=True)
    sys.exit(bool(failed))


main()
