"""How fast each format is read, against plain line reading of the same file in the same run.

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
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from common import ROOT, command

import tracemend
from tracemend.formats import read
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


def fastest(runs: int, work: Callable[[], int]) -> tuple[int, float]:
    """What ``work`` returns and the seconds of its fastest run."""
    best = float("inf")
    count = 0
    for _ in range(runs):
        start = time.perf_counter()
        count = work()
        best = min(best, time.perf_counter() - start)
    return count, best


def count_lines(path: Path) -> int:
    """Read the file line by line, as plainly as Python can."""
    with open(path, "rb") as f:
        return sum(1 for _ in f)


def measure(path: Path, runs: int) -> dict[str, float | int | str]:
    """Read the file plainly and as a trace."""
    lines, plain = fastest(runs, lambda: count_lines(path))
    events, seconds = fastest(runs, lambda: len(read(path)))
    return {
        "bytes": path.stat().st_size,
        "lines": lines,
        "events": events,
        "seconds": round(seconds, 4),
        "events_per_s": round(events / seconds),
        "plain_lines_per_s": round(lines / plain),
        "times_slower_than_plain": round(seconds / plain, 2),
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
    document = {**about(numpy=np.__version__, pyarrow=pa.__version__), "results": results}
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
