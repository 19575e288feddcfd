"""What a newcomer waits for: start-up, memory of small commands, demonstration and tests, before and after a change.

    python benchmarks/frontdoor.py before=FOLDER after=FOLDER [--runs 5] [--make demo test] [--out FILE]

Each FOLDER is a checkout with its environment (``make env``, or for ``--make demo`` of the core ``.venv/core``). Every
command is a process of its own, run in turn for all checkouts, once to warm up and then ``--runs`` times; seconds are
medians, memory is the largest resident size of any run. ``--make`` times targets of the Makefile, once each.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from common import ROOT, command

from tracemend.judging.provenance import commit, provenance

TRACE = "tests/data/ftrace_pipe.txt"
OUT = "out/frontdoor"
COMMANDS = {
    "tracemend --help": ["--help"],
    "scan of a small trace": ["scan", TRACE],
    "mend of a small trace": ["mend", TRACE, "-o", OUT, "--force"],
}


def run(words: list[str], folder: Path) -> dict[str, float]:
    """Seconds of wall and CPU time, and MB of the largest resident size, of one process."""
    begin = time.perf_counter()
    process = subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - begin
    if process.returncode not in (0, 3):
        sys.exit(f"{' '.join(words)}: exit code {process.returncode}")
    return {"wall_s": wall, "cpu_s": used.ru_utime + used.ru_stime, "memory_mb": used.ru_maxrss / 1024}


def made(target: str, folder: Path) -> dict[str, float]:
    """Seconds of a target of the Makefile, and the longest time in which it printed nothing."""
    begin = said = time.perf_counter()
    silent = 0.0
    process = subprocess.Popen(["make", target], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    while process.stdout.readline():
        now = time.perf_counter()
        silent, said = max(silent, now - said), now
    if process.wait():
        sys.exit(f"make {target} in {folder}: exit code {process.returncode}")
    return {"wall_s": round(time.perf_counter() - begin, 1), "longest_silence_s": round(silent, 1)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("checkouts", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--make", nargs="*", default=[])
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "frontdoor.json")
    options = parser.parse_args()
    folders = {name: Path(folder) for name, _, folder in (c.partition("=") for c in options.checkouts)}
    for folder in folders.values():
        (folder / OUT).parent.mkdir(exist_ok=True)
    rows = []
    for what, words in COMMANDS.items():
        found: dict[str, list[dict[str, float]]] = {name: [] for name in folders}
        for _ in range(options.runs + 1):
            for name, folder in folders.items():
                found[name].append(run([str(folder / ".venv" / "bin" / "tracemend"), *words], folder))
        for name, runs in found.items():
            seconds = {k: round(statistics.median(r[k] for r in runs[1:]), 3) for k in ("wall_s", "cpu_s")}
            rows.append({"what": what, "of": name, **seconds, "memory_mb": round(max(r["memory_mb"] for r in runs))})
            print(rows[-1], flush=True)
    for target in options.make:
        for name, folder in folders.items():
            rows.append({"what": f"make {target}", "of": name, **made(target, folder)})
            print(rows[-1], flush=True)
    about = {"command": command(), **provenance(), "commits": {n: commit(f) for n, f in folders.items()}}
    options.out.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
