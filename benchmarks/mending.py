"""How long does it take to mend a long trace?

    python benchmarks/mending.py [--events 1000000] [--gaps 1000] [--seed 0] [--out benchmarks/results/mending.json]

The project's recordings, one behind the other until they are as long, with simulated losses (tracemend.gaps.lose). CPU
seconds of this process, all of ``mend_trace`` included; the trace is in memory, nothing is written.
"""

import argparse
import json
import resource
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from common import ROOT, command

from tracemend.datasets import Part, corpus
from tracemend.diffusion.gaps import lose
from tracemend.judging.provenance import provenance
from tracemend.menders.examples import shipped
from tracemend.mending.run import COPIERS, mend_trace
from tracemend.trace.events import Trace

#: Events of a gap in the mean: lengths are log-uniform from 1 to 600.
MEAN = 599 / np.log(600)


def long_trace(events: int) -> Trace:
    """Recordings one behind the other; threads of two recordings are not the same."""
    tables, end, first = [], 0, None
    parts: tuple[Part, ...] = ("train", "validation", "train", "validation")
    for number, part in enumerate(parts):
        for trace in corpus(ROOT / "corpus", part, ROOT / "experiments" / "workloads.toml"):
            first = first or trace
            table = trace.table
            time_ns = trace.time_ns - trace.time_ns.min() + end + 1_000
            end = int(time_ns.max())
            tid = np.where(trace.tid >= 0, trace.tid.astype(np.int64) + 100_000 * number, trace.tid)
            for name, values in (("time_ns", time_ns), ("tid", tid)):
                at = table.schema.get_field_index(name)
                table = table.set_column(at, name, pa.array(values, table.schema.field(name).type))
            tables.append(table)
            if sum(map(len, tables)) >= events:
                whole = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
                assert first is not None
                return replace(first, path=None, table=whole.slice(0, events))
    raise SystemExit("the recordings have fewer events")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--gaps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "mending.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    trace = long_trace(options.events)
    share = options.gaps * MEAN / options.events
    lossy, _ = lose(trace, np.random.default_rng(options.seed), share=share)
    rows = []
    for name, copier in COPIERS.items():
        for examples in ([], shipped()):
            wall, cpu = time.perf_counter(), time.process_time()
            mended = mend_trace(lossy, copier=copier, shipped=examples)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            restored = mended.inferred.num_rows
            rows.append(
                {
                    "mender": name + (" + examples" if examples else ""),
                    "events": len(trace),
                    "gaps": len(lossy.gaps),
                    "restored": restored,
                    "cpu_s": round(cpu, 1),
                    "wall_s": round(wall, 1),
                    "ms_per_event": round(1000 * cpu / restored, 3),
                    "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
                }
            )
            print(rows[-1], flush=True)
    document = {"command": command(), "seed": options.seed, **provenance(), "rows": rows}
    options.out.write_text(json.dumps(document, indent=1) + "\n")
    print(options.out)


if __name__ == "__main__":
    main()
