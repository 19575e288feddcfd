"""How fast each format is read, against plain line reading of the same file in the same run.

Each file is read in one thread, in one per processor, and once more as small files are, without compiled loops; the
runs of all four ways alternate, and the fastest of each counts. Seconds are the processor's, which other processes
disturb least; only those on all cores are the clock's, as are those that they are compared with.

    python benchmarks/reading.py [--mb 60] [--runs 5] [--out benchmarks/results/reading.json]

The files are the recorded fixtures of tests/data, repeated with their seconds moved on until they have the size.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import subprocess
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
from common import ROOT, command

import tracemend
from tracemend.formats import read, text
from tracemend.formats.base import cores
from tracemend.formats.text import open_binary

#: What a file is repeated from, and where its lines have their seconds.
SOURCES = {
    "ftrace, raw_syscalls": ("ftrace_pipe.txt", rb"(?<= )\d+(?=\.\d{6}: )"),
    "ftrace, syscalls and sched": ("ftrace_syscalls.txt.xz", rb"(?<= )\d+(?=\.\d{6}: )"),
    "trace-cmd report": ("trace_cmd_report.txt", rb"(?<= )\d+(?=\.\d{9}: )"),
    "perf script": ("perf_lost.txt.xz", rb"(?<= )\d+(?=\.\d{9}: )"),
    "strace -f -ttt": ("strace_ttt.txt", rb"(?<= )\d{10}(?=\.\d{6} )"),
}


def repeated(name: str, seconds: bytes, size: int) -> bytes:
    """The fixture over and over, each time later than the time before, until it has ``size`` bytes."""
    with open_binary(ROOT / "tests" / "data" / name) as f:
        text = f.read()
    times = [int(t) for t in re.findall(seconds, text)]
    span = max(times) - min(times) + 1
    width = len(str(max(times)))
    pattern = re.compile(rb" *" + seconds)

    def moved(by: int) -> bytes:
        def later(match: re.Match[bytes]) -> bytes:
            return b"%*d" % (len(match[0]), (int(match[0]) + by) % 10**width)  # the columns stay where they are

        return pattern.sub(later, text)

    return b"".join(moved(k * span) for k in range(size // len(text) + 1))


def sequence(size: int) -> bytes:
    """The calls of a recording, one name and phase a line."""
    trace = read(ROOT / "tests" / "data" / "ftrace_complete.txt.xz")
    names = zip(trace.table["name"].to_pylist(), trace.table["phase"].to_pylist(), strict=True)
    text = "".join(f"{name}:{phase}\n" for name, phase in names).encode()
    return text * (size // len(text) + 1)


def fastest(runs: int, ways: dict[str, Callable[[], int]]) -> dict[str, tuple[int, float, float]]:
    """What each way returns, and its fastest run's seconds by the processor and by the clock; the ways take turns."""
    best = dict.fromkeys(ways, (0, float("inf"), float("inf")))
    for _ in range(runs):
        for name, work in ways.items():
            clock, processor = time.perf_counter(), time.process_time()
            count = work()
            _, least, shortest = best[name]
            least = min(least, time.process_time() - processor)
            best[name] = count, least, min(shortest, time.perf_counter() - clock)
    return best


def read_as_small(path: Path) -> int:
    """Read a large file as a small one."""
    with mock.patch.object(text, "MUCH", 1 << 60):
        return len(read(path, jobs=1))


def count_lines(path: Path) -> int:
    """Read the file line by line, as plainly as Python can."""
    with open(path, "rb") as f:
        return sum(1 for _ in f)


def measure(path: Path, runs: int) -> dict[str, float | int | str]:
    """Read the file plainly and as a trace, in each way."""
    read(path)  # what is compiled is compiled now
    found = fastest(
        runs,
        {
            "plain": lambda: count_lines(path),
            "one": lambda: len(read(path, jobs=1)),
            "all": lambda: len(read(path)),
            "small": lambda: read_as_small(path),
        },
    )
    (lines, plain, _), (events, seconds, in_one), (_, _, in_all), (_, small, _) = found.values()
    return {
        "bytes": path.stat().st_size,
        "lines": lines,
        "events": events,
        "seconds": round(seconds, 4),
        "events_per_s": round(events / seconds),
        "plain_lines_per_s": round(lines / plain),
        "times_slower_than_plain": round(seconds / plain, 2),
        "times_faster_than_as_small": round(small / seconds, 2),
        "seconds_on_all_cores": round(in_all, 4),
        "times_faster_on_all_cores": round(in_one / in_all, 2),
    }


def cpu_name() -> str:
    """The processor as Linux names it."""
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace"))
    return found[1] if found else platform.processor()


def git(*command: str) -> str:
    """What git prints, or nothing."""
    return subprocess.run(
        ["git", "-C", str(ROOT), *command], capture_output=True, text=True, check=False
    ).stdout.strip()


def about(**versions: str) -> dict[str, Any]:
    """What a file of results begins with. versions: of further software."""
    return {
        "command": command(),
        "commit": git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(git("status", "--porcelain", "--", "src")),
        "cpu": cpu_name(),
        "cores_used": 1,
        "versions": {
            "tracemend": tracemend.__version__,
            "python": platform.python_version(),
            **versions,
            "kernel": platform.release(),
        },
    }


def main() -> None:
    """Measure every format and write the results."""
    options = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    options.add_argument("--mb", type=int, default=60, help="size of each file in MB")
    options.add_argument("--runs", type=int, default=5, help="runs of which the fastest counts")
    options.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "reading.json")
    chosen = options.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace"
        for title in (*SOURCES, "sequence"):
            size = chosen.mb * 1_000_000
            path.write_bytes(repeated(*SOURCES[title], size) if title in SOURCES else sequence(size // 4))
            results[title] = measure(path, chosen.runs)
            print(title, results[title])
    versions = about(numpy=np.__version__, pyarrow=pa.__version__, numba=version("numba"))
    document = {**versions, "all_cores": cores(), "results": results}
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
