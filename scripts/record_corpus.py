"""Record the project's own corpus: every workload of experiments/workloads.toml, complete, as one Parquet file a run.

    python scripts/record_corpus.py [--out corpus] [--only NAME ...] [--most 60000]

Needs root and tracefs; install the workloads' Debian packages first (--packages prints them). A run whose recording
isn't complete is refused, never kept. Arguments and results are not stored.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from tracemend.events import SCHEMA
from tracemend.formats import parquet
from tracemend.recording import RecordError, record

ROOT = Path(__file__).parents[1]


def shell(program: str, folder: Path, run: int) -> list[str]:
    return ["/bin/sh", "-c", f"cd {folder}; N={run}; export N; PATH=/usr/sbin:$PATH; {program}"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=ROOT / "corpus")
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--most", type=int, default=60_000, help="events kept of a run, from its start")
    parser.add_argument("--packages", action="store_true")
    options = parser.parse_args()
    workloads = tomllib.loads((ROOT / "experiments" / "workloads.toml").read_text())["workload"]
    if options.packages:
        print(" ".join(sorted({p for w in workloads for p in w.get("packages", [])})))
        return
    options.out.mkdir(exist_ok=True)
    failed = 0
    for workload in workloads:
        for run in range(3):
            if options.only and workload["name"] not in options.only:
                continue
            folder = Path(tempfile.mkdtemp(prefix="workload-"))
            folder.chmod(0o755)
            try:
                if "setup" in workload:
                    subprocess.run(shell(workload["setup"], folder, run), check=True, capture_output=True)
                trace = record(shell(workload["command"], folder, run), quiet=True, timeout=120).trace
            except (RecordError, subprocess.CalledProcessError) as e:
                print(f"{workload['name']} {run}: {e}", file=sys.stderr)
                failed += 1
                continue
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            if trace.gaps:
                print(f"{workload['name']} {run}: {trace.lost} events were lost", file=sys.stderr)
                failed += 1
                continue
            table = trace.table.slice(0, options.most)
            times = pa.array(trace.time_ns[: options.most] - trace.time_ns[0])
            part = replace(trace, table=table.set_column(0, SCHEMA.field("time_ns"), times))
            path = options.out / f"{workload['name']}-{run}.parquet"
            parquet.write(part, path, details=False)
            print(
                f"{path.name:24} {len(trace):8} events, {len(part)} kept, {len(trace.threads)} threads, "
                f"{path.stat().st_size >> 10} KiB",
                flush=True,
            )
    sys.exit(bool(failed))


main()
