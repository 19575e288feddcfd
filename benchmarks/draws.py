"""What figures cost beside the mend that they are made of, before and after a change.

    python benchmarks/draws.py before=../before/src after=src [--mb 13] [--runs 3] [--out benchmarks/results/draws.json]

A recording of really lost events, repeated with its times moved on (``scripts/enlarge.py``). Whole commands in one
process, by user's and system's seconds of the processor: the versions take turns, so other work on the machine falls
on both. Each ran once before, so nothing is compiled while it is measured. The medians count.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import ROOT, command

from tracemend.judging.provenance import provenance

sys.path.insert(0, str(ROOT / "scripts"))
from enlarge import enlarge

LOSSY = ROOT / "recordings" / "deploy" / "lossy.txt"
#: The mend alone, with the eight draws that it tells its figures from, and the sixteen of ``figures``.
WORDS = {
    "mend --no-figures": ["mend", "{trace}", "-o", "{out}", "--no-figures", "--force", "--jobs", "1", "--quiet"],
    "mend": ["mend", "{trace}", "-o", "{out}", "--force", "--jobs", "1", "--quiet"],
    "figures": ["figures", "{trace}", "--jobs", "1", "--quiet"],
}


def measured(source: Path, words: list[str]) -> tuple[float, float]:
    """Seconds of the processor, and the most memory in MB."""
    environment = os.environ | {"PYTHONPATH": str(source.resolve())}
    with open(os.devnull, "wb") as null:
        process = subprocess.Popen(
            [sys.executable, "-m", "tracemend", *words], stdout=null, stderr=null, env=environment
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 3, 4):
        raise SystemExit(f"{' '.join(words)}: exit code {process.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("versions", nargs="+", metavar="NAME=SRC")
    parser.add_argument("--mb", type=float, default=13)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "draws.json")
    options = parser.parse_args()
    versions = {name: Path(source) for name, source in (v.split("=", 1) for v in options.versions)}
    runs: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        trace, out = Path(folder) / "trace.txt", Path(folder) / "out"
        enlarge(LOSSY, trace, int(options.mb * 1e6))
        filled = {"trace": trace, "out": out}
        for run in range(-1, options.runs):
            for name, source in versions.items():
                for what, words in WORDS.items():
                    given = [w.format(**(filled | ({"trace": LOSSY} if run < 0 else {}))) for w in words]
                    took = measured(source, given)
                    if run >= 0:
                        runs.setdefault((what, name), []).append(took)
                        print(run, name, what, *(round(x, 1) for x in took), flush=True)
    rows: list[dict[str, Any]] = [
        {
            "command": what,
            "version": name,
            "cpu_s": round(statistics.median(t for t, _ in took), 1),
            "all_cpu_s": [round(t, 1) for t, _ in took],
            "peak_mb": round(statistics.median(m for _, m in took)),
        }
        for (what, name), took in runs.items()
    ]
    document = {"command": command(), **provenance(), "seed": 0, "mb": options.mb, "rows": rows}
    options.out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
