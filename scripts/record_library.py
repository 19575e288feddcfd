"""Record programs that people trace, to copy from: the workloads of experiments/library.toml, complete, system calls.

    python scripts/record_library.py --root ROOT [--out FOLDER] [--only NAME ...] [--runs 3] [--most 15000] [--packages]

ROOT holds a Debian 12 of its own (debootstrap) with the packages that --packages prints; nothing is installed on the
machine itself. Each run has its processes, its network and its devices to itself, so that nothing of it is left, and no
program meets another. It needs root and tracefs, and takes one run at a time, first of every workload run 0.

A run becomes FOLDER/WORKLOAD-RUN.parquet (a trace without arguments and results, its first --most events) and a line in
FOLDER/manifest.jsonl. What lost an event, did nearly nothing or can't be set up is told and left out. What is there
already isn't recorded again.
"""

import argparse
import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pyarrow as pa

from tracemend.formats import parquet
from tracemend.recording import RecordError, record
from tracemend.recording.corpus import Workload
from tracemend.trace.events import SCHEMA

ROOT = Path(__file__).parents[1]
LIST = ROOT / "experiments" / "library.toml"
#: Seconds that a run may take, and its setup; events that it must have; tries without a loss.
TIMEOUT, SETUP, LEAST, TRIES = 40.0, 90.0, 300, 2
#: What a machine of its own is made of: processes, network, devices, and a process that holds them.
HOLD = """
mount -t proc proc "$0/proc"; mount -t tmpfs -o mode=755 dev "$0/dev"; mkdir "$0/dev/pts" "$0/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$0/dev/pts"; mount -t tmpfs shm "$0/dev/shm"
mknod -m 666 "$0/dev/null" c 1 3; mknod -m 666 "$0/dev/zero" c 1 5; mknod -m 666 "$0/dev/full" c 1 7
mknod -m 666 "$0/dev/random" c 1 8; mknod -m 666 "$0/dev/urandom" c 1 9; mknod -m 666 "$0/dev/tty" c 5 0
ln -s pts/ptmx "$0/dev/ptmx"; ln -s /proc/self/fd "$0/dev/fd"
ln -s /proc/self/fd/0 "$0/dev/stdin"; ln -s /proc/self/fd/1 "$0/dev/stdout"; ln -s /proc/self/fd/2 "$0/dev/stderr"
ip link set lo up; echo ready; exec sleep infinity
"""
CLEAN = (
    "HOME=/root",
    "LC_ALL=C.UTF-8",
    "TERM=xterm",
    "PATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/games:/usr/lib/rabbitmq/bin",
)


@contextlib.contextmanager
def machine(root: Path) -> Iterator[list[str]]:
    """How to start a command in a machine of its own, which ends with all that runs in it. Raises RecordError."""
    apart = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount", "--ipc", "--uts"]
    with subprocess.Popen([*apart, "/bin/sh", "-c", HOLD, str(root)], stdout=subprocess.PIPE, text=True) as holder:
        try:
            if holder.stdout is None or holder.stdout.readline() != "ready\n":
                raise RecordError("no machine of its own")
            children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
            yield ["nsenter", "-t", children[0], "-m", "-n", "-p", "-i", "-u", "chroot", str(root), "env", "-i", *CLEAN]
        finally:
            holder.kill()


@contextlib.contextmanager
def folder(root: Path) -> Iterator[tuple[Path, str]]:
    """A folder for a run, by its name outside and inside."""
    made = Path(tempfile.mkdtemp(prefix="run-", dir=root / "tmp"))
    made.chmod(0o755)  # some servers give up root
    try:
        yield made, f"/{made.relative_to(root)}"
    finally:
        shutil.rmtree(made, ignore_errors=True)


def recorded(workload: Workload, run: int, root: Path, path: Path, most: int) -> dict[str, object]:
    """Record a run; returns what is to be said of it. Raises RecordError if there is nothing to keep."""
    with folder(root) as (outside, inside), machine(root) as start:
        start += [f"N={run}", "/bin/sh", "-c"]
        if workload.setup:
            made = [*start, f"cd {inside}; {workload.setup}"]
            try:
                done = subprocess.run(
                    made, capture_output=True, text=True, errors="replace", timeout=SETUP, check=False
                )
            except subprocess.TimeoutExpired as e:
                raise RecordError("its setup takes too long") from e
            if done.returncode:
                raise RecordError(f"its setup failed: {(done.stderr.strip() or 'no reason')[-200:]}")
        said = outside / ".said"
        begin = time.monotonic()
        command = [*start, f"cd {inside}; exec > .said 2>&1\n{workload.command}"]
        found = record(command, quiet=True, timeout=TIMEOUT)
        seconds = time.monotonic() - begin
        text = said.read_text(errors="replace")[-2000:] if said.exists() else ""
    trace = found.trace
    own = trace.table.filter(pa.compute.not_equal(trace.table["comm"].cast(pa.string()), "nsenter"))
    if trace.gaps or trace.unplaced:
        raise RecordError(f"{trace.lost} events were lost")
    if "not found" in text and "sh: " in text:
        raise RecordError(text.strip().splitlines()[-1])
    if own.num_rows < LEAST:
        raise RecordError(f"only {own.num_rows} events: {text.strip()[-200:]}")
    kept = own.slice(0, most)
    first = kept["time_ns"][0].as_py()
    kept = kept.set_column(0, SCHEMA.field("time_ns"), pa.compute.subtract(kept["time_ns"], first))
    told = {"sha256": "", "command": workload.command}
    parquet.write(replace(trace, table=kept, provenance=trace.provenance | told), path, details=False)
    return {
        "events": own.num_rows,
        "kept": kept.num_rows,
        "threads": len(trace.threads),
        "status": found.status,
        "seconds": round(seconds, 2),
        "said": text.strip()[-300:],
    }


@cache
def versions(root: Path) -> dict[str, str]:
    """Of each package that is installed."""
    asked = ["chroot", str(root), "dpkg-query", "-W", "-f", "${Package} ${Version}\n"]
    lines = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()
    return dict(line.split(" ", 1) for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "library")
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--most", type=int, default=15_000, help="events kept of a run")
    parser.add_argument("--packages", action="store_true")
    options = parser.parse_args()
    document = tomllib.loads(LIST.read_text())["workload"]
    splits = {w["name"]: w.pop("split", "examples") for w in document}
    found = [Workload(**w) for w in document]
    if options.packages:
        print(" ".join(sorted({p for w in found for p in w.packages})))
        return
    options.out.mkdir(parents=True, exist_ok=True)
    failed = 0
    for run in range(options.runs):
        for workload in found:
            path = options.out / f"{workload.name}-{run}.parquet"
            if (options.only and workload.name not in options.only) or path.exists():
                continue
            for left in reversed(range(TRIES)):
                try:
                    about = recorded(workload, run, options.root, path, options.most)
                except RecordError as e:
                    if left and "were lost" in str(e):
                        continue
                    print(f"{workload.name}-{run}: {e}", file=sys.stderr, flush=True)
                    failed += 1
                    break
                line = {
                    "workload": workload.name,
                    "run": run,
                    "split": splits[workload.name],
                    **about,
                    "packages": {p: versions(options.root).get(p, "") for p in workload.packages},
                    "kernel": os.uname().release,
                    "architecture": platform.machine(),
                }
                with open(options.out / "manifest.jsonl", "a") as file:
                    file.write(json.dumps(line) + "\n")
                size = path.stat().st_size >> 10
                told = f"{about['events']} events, {about['threads']} threads, {about['seconds']} s, {size} KiB"
                print(f"{workload.name}-{run}: {told}, status {about['status']}", flush=True)
                break
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
