"""Record what the whole machine does during workloads of experiments/workloads.toml (those that [kernel] names).

    python scripts/record_kernel_corpus.py [--out corpus/kernel] [--only NAME ...] [--again] [--seed 0] [--most 30000]
        [--busy CPU ...]

Runs 0 and 1 become complete recordings, OUT/WORKLOAD-RUN.parquet; runs 2 and 3, and all of the workloads that only
test, pairs that really lost events, OUT/pairs/WORKLOAD-RUN-HOW.parquet, with their truth. Needs root and tracefs. What
is there already is recorded only --again. Of other people's programs that ran meanwhile the recordings show that they
ran, and no more (recording/others.py). A recording is refused if anything about it doesn't agree, and ends where a
cpu's switches don't tell any more who runs there. Some kernels don't trace some idle threads: --busy gives their cpus a
thread that runs when nothing else does.
"""

import argparse
import contextlib
import os
import platform
import subprocess
import sys
import tomllib
import zlib
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from tracemend.formats import parquet
from tracemend.recording import Pair, RecordError, pairs, record
from tracemend.recording.corpus import SURVIVE, TIMEOUT, Attempt, How, Workload, attempts, workloads
from tracemend.recording.others import descendants, kernel_threads, masked, whole_until
from tracemend.trace.events import Trace

ROOT = Path(__file__).parents[1]
LIST = ROOT / "experiments" / "workloads.toml"
#: How often a recording is tried before it is given up.
TRIES = 5
#: A recording that isn't whole for so many events isn't kept. One of which fewer can be shown, or with fewer gaps, is
#: kept only if no other is better.
LEAST, ENOUGH_EVENTS, ENOUGH_GAPS = 2_000, 5_000, 3


def own(trace: Trace, before: set[int]) -> set[int]:
    """The threads of a complete recording that belong to its command or to the kernel."""
    kernel = before | kernel_threads()
    return kernel | descendants(trace, {*kernel, int(trace.provenance["pid"])})


@contextlib.contextmanager
def busy(cpus: list[int]) -> Iterator[None]:
    """Let these cpus never idle: whatever else is to be done on them comes first."""
    with contextlib.ExitStack() as stack:
        for cpu in cpus:
            process = subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"])
            stack.callback(process.wait)
            stack.callback(process.kill)
            os.sched_setaffinity(process.pid, {cpu})
            os.sched_setscheduler(process.pid, os.SCHED_IDLE, os.sched_param(0))
        yield


def complete(workload: Workload, run: int, path: Path, most: int) -> str:
    """Record a run without losses; returns what became of it. Raises RecordError."""
    best: tuple[int, Trace, set[int]] | None = None
    tried = 0
    while tried < TRIES and not (best and best[0] >= min(most, len(best[1]))):
        tried += 1
        before = kernel_threads()
        with workload.ready(run) as (command, folder):
            trace = record(command, events="kernel", cwd=folder, quiet=True, timeout=TIMEOUT).trace
        until = whole_until(trace)
        if not trace.gaps and until > (best[0] if best else 0):
            best = until, trace, own(trace, before)
    if not best or best[0] < LEAST:
        raise RecordError(f"{trace.lost} events were lost, whole until event {until}")
    until, trace, mine = best
    shown, may = masked(trace, mine)
    table = shown.table.slice(0, until).filter(pa.array(may[:until])).slice(0, most)
    parquet.write(replace(shown, table=table), path)
    return f"{len(trace)} events, whole until {until}, {table.num_rows} kept, {tried} attempts"


def shown_of(made: Attempt, before: set[int], until: int, most: int) -> tuple[Pair, Pair]:
    """What may be shown of a pair, and what is kept of that."""
    shown, may = masked(made.pair.complete, own(made.pair.complete, before))
    pair = pairs.only(replace(made.pair, complete=shown), may)
    end = min(most, int(may[:until].sum()))
    return pair, pairs.head(pair, end) if end < len(pair.complete) else pair


def worth(pair: Pair) -> tuple[int, int]:
    """What is better is greater: enough events first, then gaps."""
    return min(len(pair.complete), ENOUGH_EVENTS), len(pair.missing)


def lossy(workload: Workload, run: int, how: How, path: Path, most: int, seed: int) -> str:
    """Record a pair; returns what became of it. Raises RecordError if none was good enough to keep."""
    seed = zlib.crc32(f"{path.stem} {seed}".encode())
    log: list[dict[str, Any]] = []
    best: tuple[Attempt, Pair, Pair] | None = None
    for lap in range(TRIES):
        before = kernel_threads()
        for made in attempts(workload, run, how, seed + 100 * lap, TRIES):
            if isinstance(made, str):
                log.append({"refused": made})
                continue
            until = whole_until(made.pair.complete)
            log.append({**made.as_dict(), "whole_until": until})
            if made.faults or made.survived < SURVIVE[0] or until < LEAST:
                continue
            shown, kept = shown_of(made, before, until, most)
            if kept.lost and (best is None or worth(kept) > worth(best[2])):
                best = made, shown, kept
        if (best and worth(best[2]) >= (ENOUGH_EVENTS, ENOUGH_GAPS)) or len(log) >= 2 * TRIES:
            break
    if not best:
        raise RecordError(f"no pair in {len(log)} attempts: {log[-1]}")
    made, shown, kept = best
    about = {
        "workload": workload.name,
        "run": run,
        **asdict(made.setting),
        "counted": made.counted,
        "cut": None if kept is shown else len(kept.complete),
        "recorded": {"events": len(made.pair.complete), "survived": len(made.pair.lossy), "missing": made.pair.lost},
        "shown": {"events": len(shown.complete), "survived": len(shown.lossy), "missing": shown.lost},
        "attempts": log,
        "machine": {"kernel": os.uname().release, "cpus": os.cpu_count(), "architecture": platform.machine()},
    }
    pairs.write(kept, path, about={"pair": about})
    return (
        f"{len(made.pair.complete)} events, {len(shown.complete)} shown, {len(kept.complete)} kept, "
        f"{len(kept.lossy) / len(kept.complete):.0%} survived, {len(kept.missing)} gaps, {len(log)} attempts, "
        f"{made.setting.buffer_kb} KiB, {made.setting.delay_ms} ms"
    )


def wanted(names: list[str], tested: set[str]) -> Iterator[tuple[str, int, How | None]]:
    """Everything the corpus is made of, the small half of it first; how is None for a complete recording."""
    for name in names:
        yield name, 3, "kernel_overwrite"
        yield from ((name, run, None if name not in tested else "kernel_overwrite") for run in (0,))
    for name in names:
        if name not in tested:
            yield name, 1, None
            yield name, 2, "kernel_overwrite"
        yield name, 3, "kernel_drop"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=ROOT / "corpus" / "kernel")
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--most", type=int, default=30_000, help="events kept of a recording")
    parser.add_argument(
        "--busy", type=int, nargs="*", default=[], help="cpus whose idle threads this kernel doesn't trace"
    )
    options = parser.parse_args()
    document = tomllib.loads(LIST.read_text())
    found = {w.name: w for w in workloads(LIST)[0]}
    (options.out / "pairs").mkdir(parents=True, exist_ok=True)
    failed = 0
    for name, run, how in wanted(document["kernel"]["workloads"], set(document["split"]["test"])):
        file = f"{name}-{run}.parquet" if how is None else f"pairs/{name}-{run}-{how}.parquet"
        path = options.out / file
        if (options.only and name not in options.only) or (path.exists() and not options.again):
            continue
        try:
            with busy(options.busy):
                if how is None:
                    done = complete(found[name], run, path, options.most)
                else:
                    done = lossy(found[name], run, how, path, options.most, options.seed)
        except RecordError as e:
            print(f"{file}: {e}", file=sys.stderr, flush=True)
            failed += 1
            continue
        print(f"{file:45} {done}, {path.stat().st_size >> 10} KiB", flush=True)
    sys.exit(bool(failed))


main()
