"""Record the project's own corpus: every workload of experiments/workloads.toml, complete, as one Parquet file a run.

    python scripts/record_corpus.py [--out corpus] [--only NAME ...] [--most 60000]

Needs root and tracefs; install the workloads' Debian packages first (--packages prints them). A run whose recording
isn't complete is refused, never kept. Times have microseconds (ftrace's text); arguments are not stored.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tracemend.record import RecordError, record

ROOT = Path(__file__).parents[1]
COLUMNS = ["time_ns", "cpu", "tid", "comm", "name", "phase"]


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
                trace = record(shell(workload["command"], folder, run), folder / "trace.txt")
            except (RecordError, subprocess.CalledProcessError) as e:
                print(f"{workload['name']} {run}: {e}", file=sys.stderr)
                failed += 1
                continue
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            table = trace.table.select(COLUMNS).slice(0, options.most)
            table = table.set_column(0, "time_ns", pa.array(trace.time_ns[: options.most] - trace.time_ns[0]))
            table = pa.table(
                {
                    c: table[c].combine_chunks().dictionary_decode() if c in ("comm", "name", "phase") else table[c]
                    for c in COLUMNS
                }
            )
            path = options.out / f"{workload['name']}-{run}.parquet"
            pq.write_table(
                table,
                path,
                compression="zstd",
                compression_level=19,
                store_schema=False,
                use_dictionary=["comm", "name", "phase", "cpu", "tid"],
                column_encoding={"time_ns": "DELTA_BINARY_PACKED"},
            )
            print(
                f"{path.name:24} {len(trace):8} events, {table.num_rows} kept, {len(trace.threads)} threads, "
                f"{path.stat().st_size >> 10} KiB",
                flush=True,
            )
    sys.exit(bool(failed))


main()
