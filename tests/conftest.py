"""What tests share: made-up traces (labelled so), and an independent judge of fills."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from tracemend.events import PHASES, SCHEMA, Trace
from tracemend.mended import INFERRED, Fill, Mended

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "recordings" / "deploy"

CALLS = ("openat", "read", "write", "close", "mmap", "futex", "newfstatat")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


def make_trace(rows: list[tuple[int, int, int, str, int]], path: Path | None = None) -> Trace:
    """A made-up trace from (time_ns, cpu, tid, name, phase)."""
    time, cpu, tid, name, phase = zip(*rows, strict=True) if rows else ((), (), (), (), ())
    phases = pa.DictionaryArray.from_arrays(pa.array(phase, pa.int8()), pa.array(PHASES, pa.string()))
    columns = [
        pa.array(time, pa.int64()),
        pa.array(cpu, pa.int32()),
        pa.array(tid, pa.int32()),
        pa.array([f"task{t}" for t in tid], pa.string()).dictionary_encode(),
        pa.array(name, pa.string()).dictionary_encode(),
        phases,
        pa.nulls(len(rows), pa.string()),
        pa.nulls(len(rows), pa.string()),
        pa.array(range(1, len(rows) + 1), pa.int64()),
    ]
    return Trace(path, "ftrace", pa.Table.from_arrays(columns, schema=SCHEMA))


def threads_on_cpus(rng: Generator, events: int, *, threads: int = 4, cpus: int = 2) -> Trace:
    """A made-up complete trace: threads run loops of calls and move between cpus; every call is entered and left."""
    loops = {100 + t: [CALLS[i] for i in rng.integers(0, len(CALLS), rng.integers(2, 6))] for t in range(threads)}
    state = dict.fromkeys(loops, 0)
    inside: dict[int, bool] = dict.fromkeys(loops, False)
    running = list(loops)
    rows = []
    now = 1_000
    place = {c: running[c % len(running)] for c in range(cpus)}
    for _ in range(events):
        cpu = int(rng.integers(cpus))
        if rng.random() < 0.15:
            free = [t for t in running if t not in place.values()]
            if free:
                place[cpu] = free[int(rng.integers(len(free)))]
        tid = place[cpu]
        call = loops[tid][state[tid] % len(loops[tid])]
        rows.append((now, cpu, tid, call, int(inside[tid])))
        if inside[tid]:
            state[tid] += 1
        inside[tid] = not inside[tid]
        now += int(rng.integers(200, 5_000))
    return make_trace(rows)


def right(whole: Trace, lossy: Trace, lost: list[NDArray[np.int64]]) -> Mended:
    """The mended trace whose fills are what was lost."""
    table = whole.table.take(np.concatenate(lost))
    gap = np.repeat(np.arange(len(lost)), [len(x) for x in lost])
    columns = {name: table[name] for name in ("cpu", "time_ns", "tid", "comm", "name", "phase")}
    columns |= {"gap": pa.array(gap, pa.int32()), "confidence": pa.array(np.ones(len(gap)), pa.float32())}
    fills = tuple(Fill(n, "filled", len(x), 1.0) for n, x in enumerate(lost))
    return Mended(lossy, pa.table(columns).select(INFERRED.names).cast(INFERRED), fills, {})


def odd_pairs(trace: Trace, mended: Mended | None = None) -> list[str]:
    """Every place where a thread's events, surviving and inferred in order of time, don't alternate as calls must."""
    rows = [
        (int(t), int(tid), name, phase)
        for t, tid, name, phase in zip(
            trace.time_ns, trace.tid, trace.table["name"].to_pylist(), trace.table["phase"].to_pylist(), strict=True
        )
    ]
    if mended is not None:
        m = mended.inferred
        rows += list(zip(*(m[c].to_pylist() for c in ("time_ns", "tid", "name", "phase")), strict=True))
    rows.sort(key=lambda r: r[0])
    open_call: dict[int, str | None] = {}
    found = []
    for time, tid, name, phase in rows:
        if tid < 0 or phase == "instant":
            continue
        before = open_call.get(tid, "?")
        if phase == "enter":
            if before not in ("?", None):
                found.append(f"{time}: thread {tid} enters {name} inside {before}")
            open_call[tid] = name
        else:
            if before not in ("?", name):
                found.append(f"{time}: thread {tid} leaves {name}, open is {before}")
            open_call[tid] = None
    return found


def rng(seed: int) -> Generator:
    return np.random.default_rng(seed)
