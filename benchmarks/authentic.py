"""Every mender on gaps that a kernel really made, judged by the complete recording of the same run.

    python benchmarks/authentic.py [--model default] [--dual FOLDER ...] [--out benchmarks/results/authentic.json]

Takes every recording under recordings/. ``--dual``: folders made by an independent recorder that writes A.tsv and B.tsv
(ts_ns, cpu, tid, type, payload) and gaps.json; ``--kinds`` are its ids of sys_enter and sys_exit.
"""

import argparse
import json
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

import tracemend
from tracemend.evaluate import GapScore, contestants, judge, summary
from tracemend.events import PHASES, SCHEMA, Gap, Trace
from tracemend.recording import Pair, align
from tracemend.syscalls import call_name

ROOT = Path(__file__).parents[1]


def read_dual(folder: Path, kinds: tuple[int, int]) -> Pair:
    """The independent recorder's two recordings and its own alignment of them; gaps without a count are passed over."""
    complete, of_complete = read_tsv(folder / "A.tsv", kinds)
    lossy, of_lossy = read_tsv(folder / "B.tsv", kinds)
    gaps, missing = [], []
    for g in json.loads((folder / "gaps.json").read_text()):
        if g["said"] != g["missing"] or g["A_to"] - g["A_from"] + 1 != g["missing"]:
            continue
        stream, whole = of_lossy[g["cpu"]], of_complete[g["cpu"]]
        before = int(stream[g["before"] - 1]) if g["before"] else None
        after = int(stream[g["before"]]) if g["before"] < len(stream) else None
        begin = int(lossy.time_ns[before]) if before is not None else int(lossy.time_ns[0])
        end = int(lossy.time_ns[after]) if after is not None else int(lossy.time_ns[-1])
        gaps.append(Gap(len(gaps), g["cpu"], before, after, begin, max(begin, end), g["said"], "counted", 0))
        missing.append(whole[g["A_from"] : g["A_to"] + 1])
    return Pair(lossy.with_gaps(tuple(gaps)), complete, missing)


def read_tsv(path: Path, kinds: tuple[int, int]) -> tuple[Trace, dict[int, Any]]:
    """Events of the two given types; system-call numbers are the first eight bytes of the payload."""
    rows = [line.split("\t") for line in path.read_text().splitlines()[1:]]
    rows = [r for r in rows if int(r[3]) in kinds]
    names = [call_name(int.from_bytes(bytes.fromhex(r[4][:16]), "little", signed=True)) for r in rows]
    phases = pa.array([kinds.index(int(r[3])) for r in rows], pa.int8())
    columns = [
        pa.array([int(r[0]) for r in rows], pa.int64()),
        pa.array([int(r[1]) for r in rows], pa.int32()),
        pa.array([int(r[2]) for r in rows], pa.int32()),
        pa.array([f"task {r[2]}" for r in rows], pa.string()).dictionary_encode(),
        pa.array(names, pa.string()).dictionary_encode(),
        pa.DictionaryArray.from_arrays(phases, pa.array(PHASES, pa.string())),
        pa.nulls(len(rows), pa.string()),
        pa.nulls(len(rows), pa.string()),
        pa.array(np.arange(len(rows)), pa.int64()),
    ]
    trace = Trace(path, "tsv", pa.Table.from_arrays(columns, schema=SCHEMA))
    return trace, trace.streams


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="default")
    parser.add_argument("--dual", type=Path, nargs="*", default=[])
    parser.add_argument("--kinds", type=int, nargs=2, default=(0, 0))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "authentic.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = tracemend.load(options.model)
    pairs = {
        folder.name: align(tracemend.read(folder / "lossy.txt"), tracemend.read(folder / "complete.txt.xz"))
        for folder in sorted((ROOT / "recordings").iterdir())
        if folder.is_dir()
    }
    pairs |= {f"independent recorder, {f.name}": read_dual(f, tuple(options.kinds)) for f in options.dual}
    every: dict[str, list[GapScore]] = {}
    seconds: dict[str, float] = {}
    recordings = []
    for name, pair in pairs.items():
        print(f"{name}: {len(pair.missing)} gaps, {pair.lossy.lost} events lost of {len(pair.complete)}", flush=True)
        rows = []
        for mender_name, fill in contestants(model):
            begin = time.perf_counter()
            mended = fill(pair.lossy, seed=options.seed)
            took = time.perf_counter() - begin
            scores = judge(mended, pair)
            every.setdefault(mender_name, []).extend(scores)
            seconds[mender_name] = seconds.get(mender_name, 0.0) + took
            rows += [{"mender": mender_name, **r} for r in summary(scores, options.seed)]
            print(f"  {mender_name}: {rows[-1]['accuracy']:.3f} in {took:.1f} s", flush=True)
        recordings.append(
            {
                "recording": name,
                "survived": len(pair.lossy),
                "complete": len(pair.complete),
                "gaps": len(pair.missing),
                "rows": rows,
            }
        )
    total = [{"mender": m, **r} for m, scores in every.items() for r in summary(scores, options.seed)]
    events = {m: sum(s.length for s in scores) for m, scores in every.items()}
    document = {
        "command": f"python benchmarks/authentic.py --model {options.model} --seed {options.seed}"
        + (f" --dual {' '.join(f.name for f in options.dual)}" if options.dual else ""),
        "commit": subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
        ).stdout.strip(),
        "seed": options.seed,
        "model": model.name,
        "model_sha256": model.digest,
        "machine": f"{platform.machine()}, {platform.release()}, one core",
        "all": total,
        "speed": {
            m: {
                "events": events[m],
                "seconds": round(seconds[m], 2),
                "events_per_second": round(events[m] / seconds[m]),
            }
            for m in every
        },
        "recordings": recordings,
    }
    options.out.write_text(json.dumps(document, indent=1) + "\n")
    print(options.out)


main()
