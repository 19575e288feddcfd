"""What tests share: made-up traces (labelled so), and an independent judge of fills."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import settings
from numpy.random import Generator
from numpy.typing import NDArray

from tracemend.mending.mended import FIELDS, INFERRED, Fill, Mended
from tracemend.trace.events import PHASES, SCHEMA, Trace

# how long an example takes says how busy the machine is
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

pytest_plugins = ["browser"]

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "recordings" / "deploy"

#: Tracers share one kernel and one LTTng daemon: of tests that record, one runs at a time.
recorders = pytest.mark.usefixtures("alone")


def mostly_long(values: Iterable[Any], quick: int = 1) -> list[Any]:
    """Values of a parameter of which only the first are tried among the quick tests."""
    return [v if k < quick else pytest.param(v, marks=pytest.mark.long) for k, v in enumerate(values)]


CALLS = ("openat", "read", "write", "close", "mmap", "futex", "newfstatat")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _no_terminal() -> None:
    """Processes of pytest-xdist are told of a terminal's width, by which tables would be cut."""
    os.environ.pop("COLUMNS", None)


@pytest.fixture(autouse=True, scope="session")
def _no_library(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What a developer has in a library of their own changes no test."""
    os.environ["TRACEMEND_LIBRARY"] = str(tmp_path_factory.mktemp("library") / "none")


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
    table = whole.table.take(np.concatenate([np.empty(0, np.int64), *lost]))
    gap = np.repeat(np.arange(len(lost)), np.array([len(x) for x in lost], np.int64))
    columns = {name: table[name] for name in ("cpu", "time_ns", "tid", "comm", "name", "phase")}
    columns |= {"gap": pa.array(gap, pa.int32()), "confidence": pa.array(np.ones(len(gap)), pa.float32())}
    columns["fields"] = pa.array([()] * len(gap), FIELDS)
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
    for now, tid, name, phase in rows:
        if tid < 0 or phase == "instant":
            continue
        before = open_call.get(tid, "?")
        if phase == "enter":
            if before not in ("?", None):
                found.append(f"{now}: thread {tid} enters {name} inside {before}")
            open_call[tid] = name
        else:
            if before not in ("?", name):
                found.append(f"{now}: thread {tid} leaves {name}, open is {before}")
            open_call[tid] = None
    return found


def rng(seed: int) -> Generator:
    return np.random.default_rng(seed)


# recording


@contextlib.contextmanager
def nobody_else_records() -> Iterator[None]:
    """Wait until no other process of tests on this machine records, and keep them waiting."""
    with open(Path(tempfile.gettempdir()) / f"tracemend-recorders-{os.getuid()}.lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture
def alone() -> Iterator[None]:
    with nobody_else_records():
        yield


# traces that LTTng records


@contextlib.contextmanager
def daemon(folder: Path) -> Iterator[None]:
    """LTTng's session daemon, ours if none runs."""
    for tool, package in (("lttng", "lttng-tools"), ("lttng-sessiond", "lttng-tools"), ("gcc", "gcc")):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed ({package})")
    listing = ["lttng", "--no-sessiond", "list"]
    if not subprocess.run(listing, capture_output=True, check=False).returncode:
        yield
        return
    with open(folder / "log", "wb") as log:
        started = subprocess.Popen(["lttng-sessiond", "--no-kernel"], stdout=log, stderr=log)
        try:
            for _ in range(200):
                if not subprocess.run(listing, capture_output=True, check=False).returncode:
                    break
                time.sleep(0.05)
            yield
        finally:
            started.terminate()
            started.wait(20)


@pytest.fixture
def lttng_daemon(alone: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with daemon(tmp_path_factory.mktemp("lttng")):
        yield


@pytest.fixture(scope="session")
def traced_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program with tracepoints, compiled."""
    made = tmp_path_factory.mktemp("program") / "app"
    source = ROOT / "tests" / "formats" / "ctf_app"
    command = ["gcc", "-O1", f"-I{source}", str(source / "app.c"), "-o", str(made), "-llttng-ust", "-ldl", "-lpthread"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"the program with tracepoints can't be compiled (liblttng-ust-dev): {done.stderr[:200]}")
    return made


CHANNELS = {
    "whole": ["--subbuf-size=4M", "--num-subbuf=4", "--discard"],
    "discard": ["--subbuf-size=4096", "--num-subbuf=4", "--discard"],
    "overwrite": ["--subbuf-size=4096", "--num-subbuf=4", "--overwrite"],
}


def lttng(*words: str) -> None:
    subprocess.run(["lttng", *words], check=True, capture_output=True)


@pytest.fixture(scope="session")
def lttng_recordings(traced_program: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same run in several sessions at once: one loses nothing, one discards events, one overwrites packets."""
    folder = tmp_path_factory.mktemp("recordings")
    sessions = {name: f"tracemend-{os.getpid()}-{name}" for name in CHANNELS}

    with nobody_else_records(), daemon(folder):
        try:
            for name, session in sessions.items():
                lttng("create", session, f"--output={folder / name}")
                lttng("enable-channel", "-u", "-s", session, "ch", *CHANNELS[name])
                lttng("enable-event", "-u", "demo:*", "-c", "ch", "-s", session)
                lttng("add-context", "-u", "-s", session, "-c", "ch", "-t", "vtid", "-t", "procname", "-t", "vpid")
                lttng("start", session)
            subprocess.run([traced_program, "4000", "2"], check=True)
        finally:
            for session in sessions.values():
                subprocess.run(["lttng", "destroy", session], check=False, capture_output=True)
    return {name: folder / name for name in CHANNELS}
