"""Record programs that people trace, to copy from: the workloads of experiments/library.toml, complete, system calls.

    python scripts/record_library.py --root ROOT [--out FOLDER] [--only NAME ...] [--runs 3] [--most 15000] [--packages]

ROOT holds a Debian 12 of its own (debootstrap) with the packages that --packages prints; nothing is installed on the
machine itself. Each run has its processes, its network and its devices to itself, so that nothing of it is left, and no
program meets another. It needs root and tracefs, and takes one run at a time, first of every workload run 0.

A run becomes FOLDER/WORKLOAD-RUN.parquet (a trace without arguments and results, its first --most events) and a line in
FOLDER/manifest.jsonl. Of workloads that validate there are pairs, too, of which one really lost events
(FOLDER/pairs). What lost an event, did nearly nothing or can't be set up is told and left out. What is there
already isn't recorded again.
"""

import argparse
import contextlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tracemend.formats import parquet
from tracemend.recording import RecordError, pairs, record
from tracemend.recording.corpus import SURVIVE, How, Workload, attempts
from tracemend.trace.events import SCHEMA

ROOT = Path(__file__).parents[1]
LIST = ROOT / "experiments" / "library.toml"
#: Seconds that a run may take, and its setup; events that it must have; tries.
TIMEOUT, SETUP, LEAST, TRIES = 40.0, 90.0, 300, 2
#: Attempts at a pair, and the file that takes what a workload says.
PAIRS, SAID = 6, ".said"
#: What a machine of its own is made of: processes, network, devices, and a process that holds them.
HOLD = """
mount --bind "$0" "$0"; mount -t proc proc "$0/proc"; mount -t tmpfs -o mode=755 dev "$0/dev"
mkdir "$0/dev/pts" "$0/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$0/dev/pts"; mount -t tmpfs shm "$0/dev/shm"
mknod -m 666 "$0/dev/null" c 1 3; mknod -m 666 "$0/dev/zero" c 1 5; mknod -m 666 "$0/dev/full" c 1 7
mknod -m 666 "$0/dev/random" c 1 8; mknod -m 666 "$0/dev/urandom" c 1 9; mknod -m 666 "$0/dev/tty" c 5 0
ln -s pts/ptmx "$0/dev/ptmx"; ln -s /proc/self/fd "$0/dev/fd"
ln -s /proc/self/fd/0 "$0/dev/stdin"; ln -s /proc/self/fd/1 "$0/dev/stdout"; ln -s /proc/self/fd/2 "$0/dev/stderr"
hostname localhost; ip link set lo up; echo ready; exec sleep infinity
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


@dataclass(frozen=True)
class Apart(Workload):
    """A workload in a machine of its own. What it says goes into a file of its folder."""

    root: Path = Path("/")

    @contextlib.contextmanager
    def ready(self, run: int) -> Iterator[tuple[list[str], Path]]:
        """As of every workload. Raises RecordError if the setup fails."""
        outside = Path(tempfile.mkdtemp(prefix="run-", dir=self.root / "tmp"))
        outside.chmod(0o755)  # some servers give up root
        try:
            with machine(self.root) as start:
                begin = [*start, f"N={run}", "/bin/sh", "-c"]
                enter = f"cd /{outside.relative_to(self.root)}"
                if self.setup:
                    self._prepare([*begin, f"{enter}\n{self.setup}"])
                yield [*begin, f"{enter}; exec > {SAID} 2>&1\n{self.command}"], outside
        finally:
            shutil.rmtree(outside, ignore_errors=True)

    def _prepare(self, command: list[str]) -> None:
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SETUP, check=False)
        except subprocess.TimeoutExpired as e:
            raise RecordError("its setup takes too long") from e
        if done.returncode:
            raise RecordError(f"its setup failed: {(done.stderr.strip() or 'no reason')[-200:]}")


def recorded(workload: Apart, run: int, path: Path, most: int) -> dict[str, Any]:
    """Record a run; returns what is to be said of it. Raises RecordError if there is nothing to keep."""
    with workload.ready(run) as (command, folder):
        begin = time.monotonic()
        found = record(command, cwd=folder, quiet=True, timeout=TIMEOUT)
        seconds = time.monotonic() - begin
        said = folder / SAID
        text = said.read_text(errors="replace").strip() if said.exists() else ""
    trace = found.trace
    own = trace.table.filter(pc.not_equal(trace.table["comm"].cast(pa.string()), "nsenter"))
    if trace.gaps or trace.unplaced:
        raise RecordError(f"{trace.lost} events were lost")
    if "not found" in text and "sh: " in text:
        raise RecordError(text.splitlines()[-1])
    if own.num_rows < LEAST:
        raise RecordError(f"only {own.num_rows} events: {text[-200:]}")
    kept = own.slice(0, most)
    kept = kept.set_column(0, SCHEMA.field("time_ns"), pc.subtract(kept["time_ns"], kept["time_ns"][0]))
    parquet.write(replace(trace, table=kept), path, details=False)
    return {
        "events": own.num_rows,
        "kept": kept.num_rows,
        "threads": len(np.unique(own["tid"].to_numpy())),
        "status": found.status,
        "seconds": round(seconds, 2),
        "said": text[-300:],
    }


def lossy(workload: Apart, run: int, how: How, path: Path, most: int) -> dict[str, Any]:
    """Record a pair that really lost events; the same."""
    seed = zlib.crc32(path.stem.encode())
    made = [a for a in attempts(workload, run, how, seed, PAIRS) if not isinstance(a, str)]
    good = [a for a in made if not a.faults and a.pair.lost and SURVIVE[0] <= a.survived <= SURVIVE[1]]
    if not good:
        raise RecordError(f"no pair in {PAIRS} attempts")
    best = min(good, key=lambda a: a.survived)
    kept = pairs.head(best.pair, most) if len(best.pair.complete) > most else best.pair
    pairs.write(kept, path, details=False)
    return {
        "how": how,
        "events": len(best.pair.complete),
        "kept": len(kept.complete),
        "lost": kept.lost,
        "gaps": len(kept.missing),
        "threads": len(kept.complete.threads),
    }


@cache
def versions(root: Path) -> dict[str, str]:
    """Of each package that is installed."""
    asked = ["chroot", str(root), "dpkg-query", "-W", "-f", "${Package} ${Version}\n"]
    lines = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()
    return dict(line.split(" ", 1) for line in lines)


def tried(workload: Apart, run: int, path: Path, most: int) -> dict[str, Any]:
    """A complete recording, once more if it lost something. Raises RecordError."""
    for left in reversed(range(TRIES)):
        try:
            return recorded(workload, run, path, most)
        except RecordError as e:
            if not left or "were lost" not in str(e):
                raise
    raise RecordError("never tried")


def wanted(found: list[Apart], splits: dict[str, str], runs: int) -> Iterator[tuple[Apart, int, How | None]]:
    """Run 0 of every workload first. how is None for a complete recording; of those that validate there are pairs."""
    for run in range(runs):
        yield from ((workload, run, None) for workload in found)
        if run == 0:
            for how in ("overwrite", "drop"):
                yield from ((w, runs - 1, how) for w in found if splits[w.name] == "validation")


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
    if options.packages:
        print(" ".join(sorted({p for w in document for p in w["packages"]})))
        return
    found = [Apart(**w, root=options.root) for w in document]
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that no machine is left
    (options.out / "pairs").mkdir(parents=True, exist_ok=True)
    failed = 0
    for workload, run, how in wanted(found, splits, options.runs):
        name = f"{workload.name}-{run}" if how is None else f"pairs/{workload.name}-{run}-{how}"
        path = options.out / f"{name}.parquet"
        if (options.only and workload.name not in options.only) or path.exists():
            continue
        try:
            if how is None:
                about = tried(workload, run, path, options.most)
            else:
                about = lossy(workload, run, how, path, 2 * options.most)
        except RecordError as e:
            print(f"{name}: {e}", file=sys.stderr, flush=True)
            failed += 1
            continue
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
        print(
            f"{name}: {about['events']} events, {about['threads']} threads, {path.stat().st_size >> 10} KiB", flush=True
        )
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
