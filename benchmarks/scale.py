"""Time and memory of commands on traces of growing size: memory must not grow with them.

    python benchmarks/scale.py --sizes 0.1 1 --out benchmarks/results/scale.json

The traces are made by repeating a recording with its times moved on (``scripts/enlarge.py``); nothing is left to
chance. Every command runs as a process of its own; what its own children take is counted, too. ``mend`` of ten
gigabytes is for the patient: rows that the results file has and that aren't measured again stay.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import ROOT, command

sys.path.insert(0, str(ROOT / "scripts"))
from enlarge import enlarge, enlarge_ctf

GB = 1e9
MEND = ["mend", "{trace}", "-o", "{out}", "--merged", "--perfetto", "--force", "--quiet", "--jobs", "{jobs}"]
WORDS = {
    "scan": ["scan", "{trace}", "--quiet"],
    "advise": ["advise", "{trace}", "--quiet"],
    "mend": MEND,
    "lookup": [*MEND, "--model", "lookup"],
    "strip": ["strip", "{out}", "-o", "{back}", "--force"],
    "figures": ["figures", "{trace}", "--quiet", "--jobs", "{jobs}"],
}


def measured(words: list[str]) -> dict[str, Any]:
    """A command's seconds of processor and clock, and the most memory that one of its processes had (MB)."""
    begun = time.monotonic()
    with open(os.devnull, "wb") as null:
        process = subprocess.Popen([sys.executable, "-m", "tracemend", *words], stdout=null, stderr=null)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 3, 4):
        raise SystemExit(f"{' '.join(words)}: exit code {process.returncode}")
    return {
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
        "wall_s": round(time.monotonic() - begun, 1),
        "peak_mb": round(usage.ru_maxrss * 1024 / 1e6),
    }


def told(source: Path) -> dict[str, int]:
    """What is repeated: its bytes without the index of a CTF trace, and what ``scan`` says of it."""
    files = [f for f in source.rglob("*") if f.is_file() and f.suffix != ".idx"] if source.is_dir() else [source]
    done = subprocess.run(
        [sys.executable, "-m", "tracemend", "scan", str(source), "--json"], capture_output=True, check=False
    )
    found = json.loads(done.stdout)
    size = sum(f.stat().st_size for f in files)
    return {"bytes": size, "events": found["events"], "lost": found["lost"], "gaps": len(found["gaps"])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=float, nargs="+", default=[0.1, 1.0], help="GB")
    parser.add_argument("--commands", nargs="+", choices=WORDS, default=["scan"])
    parser.add_argument("--jobs", type=int, nargs="+", default=[2], help="workers of commands that can have several")
    parser.add_argument("--text", type=Path, help="a recording of ftrace that lost events")
    parser.add_argument("--ctf", type=Path, help="a recording of LTTng's that lost events")
    parser.add_argument("--work", type=Path, help="a folder with room for the largest trace twice")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "scale.json")
    given = parser.parse_args()
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    document = json.loads(given.out.read_text()) if given.out.exists() else {"commands": [], "runs": []}
    commands = list(dict.fromkeys([*document["commands"], command()]))
    document |= {"seed": None, "processors": os.cpu_count(), "commands": commands}
    with tempfile.TemporaryDirectory(dir=given.work) as folder:
        work = Path(folder)
        for kind, source, make in (("ftrace", given.text, enlarge), ("ctf", given.ctf, enlarge_ctf)):
            if source:
                document.setdefault("recordings", {})[kind] = told(source)
            for size in given.sizes if source else ():
                trace, out, back = work / f"trace-{kind}", work / "out", work / "back"
                make(source, trace, int(size * GB))
                for name in given.commands:
                    for jobs in given.jobs if "{jobs}" in WORDS[name] else (1,):
                        words = [w.format(trace=trace, out=out, back=back, jobs=jobs) for w in WORDS[name]]
                        key = {"trace": kind, "gb": size, "command": name, "jobs": jobs}
                        row = {**key, **measured(words), "commit": commit.strip()}
                        print(row, flush=True)
                        document["runs"] = [r for r in document["runs"] if not key.items() <= r.items()] + [row]
                        given.out.write_text(json.dumps(document, indent=1) + "\n")
                for path in (trace, out, back):
                    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
