"""How fast trace.dat is read, against trace-cmd's text of the same file and its reader, in the same run.

    python benchmarks/tracedat.py [--runs 3] [--out benchmarks/results/tracedat.json]

Records system calls of the whole machine with trace-cmd, as root, until there are some hundred thousand. Times are
processor seconds, the least of all runs: ours without the interpreter's start, the text's those of ``trace-cmd report
-t`` and of reading what it printed.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import ROOT
from reading import about

from tracemend.formats import read

sys.path.insert(0, str(ROOT / "tests" / "formats"))
from tracedat_recorded import instances, record

#: Some 300,000 events of raw_syscalls.
WORK = "dd if=/dev/zero of=/dev/null bs=1 count=70000; ls -R /usr/share/doc > /dev/null"


def report(path: Path, text: Path) -> float:
    """trace-cmd's text of the trace, and the processor seconds that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with open(text, "wb") as out:
        subprocess.run(["trace-cmd", "report", "-t", "-i", str(path)], stdout=out, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def seconds(path: Path) -> float:
    """Processor seconds of reading a trace."""
    begin = time.process_time()
    read(path)
    return time.process_time() - begin


def main() -> None:
    """Record, measure both ways and write the results."""
    options = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    options.add_argument("--runs", type=int, default=3, help="runs of which the fastest counts")
    options.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "tracedat.json")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path, text = Path(folder) / "trace.dat", Path(folder) / "trace.txt"
        with instances(1) as (name,):
            record(path, "--file-version", "6", "-B", name, "-e", "raw_syscalls", "-b", "65536", work=WORK)
        ours, printed, text_read = [], [], []
        for _ in range(chosen.runs):
            ours.append(seconds(path))
            printed.append(report(path, text))
            lines = [line.partition(b":")[2] for line in text.read_bytes().splitlines(True) if b"DROPPED" not in line]
            text.write_bytes(b"".join(lines))  # the instance's name in front of each line is no part of ftrace's text
            text_read.append(seconds(text))
        events = len(read(path))
    through_text = min(printed) + min(text_read)
    version = subprocess.run(["trace-cmd", "--version"], capture_output=True, text=True, check=False).stdout.split()[2]
    results = {
        "events": events,
        "seconds": round(min(ours), 3),
        "events_per_s": round(events / min(ours)),
        "report_seconds": round(min(printed), 3),
        "text_seconds": round(min(text_read), 3),
        "text_events_per_s": round(events / through_text),
        "times_text": round(through_text / min(ours), 2),
    }
    made = {**about(**{"trace-cmd": version}), "seconds": "processor", "results": results}
    chosen.out.write_text(json.dumps(made, indent=1) + "\n")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
