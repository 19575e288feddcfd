"""Recording system calls with ftrace: one complete instance, or two at once of which one really loses events.

A pair of instances records the same run: a large one that keeps everything and a small one, read slowly, in which the
kernel overwrites what isn't read in time. The small one's text is a real lossy trace; the large one is the truth.

Needs root (or a readable and writable tracefs). Instances carry the recorder's process id in their name; what a killed
recorder left behind is removed at the next start.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tracemend.errors import TracemendError
from tracemend.events import Gap, Trace
from tracemend.formats import read

TRACEFS = Path("/sys/kernel/tracing")
PREFIX = "tracemend-"
EVENTS = ("raw_syscalls/sys_enter", "raw_syscalls/sys_exit")
#: Complete recordings: 64 MiB a cpu hold about 700,000 system-call events.
COMPLETE_KB = 64 << 10


class RecordError(TracemendError):
    """Recording isn't possible here, or what was recorded doesn't hold together."""


class Instance:
    """One ftrace instance: its own buffers, events and options. Use as a context manager; leaving removes it."""

    def __init__(self, label: str, buffer_kb: int, *, overwrite: bool = True, pid: int) -> None:
        self.path = TRACEFS / "instances" / f"{PREFIX}{os.getpid()}-{label}"
        try:
            self.path.mkdir()
        except OSError as e:
            raise RecordError(f"{self.path}: can't make an ftrace instance: {e.strerror} (root needed)") from e
        try:
            self.set("tracing_on", 0)
            self.set("trace_clock", "mono")
            self.set("buffer_size_kb", buffer_kb)
            self.set("options/overwrite", int(overwrite))
            self.set("options/event-fork", 1)
            self.set("set_event_pid", pid)
            for event in EVENTS:
                self.set(f"events/{event}/enable", 1)
        except OSError as e:
            self.close()
            raise RecordError(f"{self.path}: ftrace refuses: {e}") from e

    def set(self, name: str, value: object) -> None:
        (self.path / name).write_text(str(value))

    def statistic(self, name: str) -> int:
        """A counter of ``per_cpu/cpuN/stats``, summed over the cpus."""
        pattern = re.compile(rf"^{name}: (\d+)", re.M)
        return sum(int(pattern.findall(p.read_text())[0]) for p in self.path.glob("per_cpu/cpu*/stats"))

    def close(self) -> None:
        remove_instance(self.path)

    def __enter__(self) -> Instance:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def remove_instance(path: Path) -> None:
    """Remove an instance; a reader that is just closing can keep it busy for a moment."""
    for event in EVENTS:
        with contextlib.suppress(OSError):
            (path / "events" / event / "enable").write_text("0")
    for _ in range(100):
        try:
            path.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.02)
        else:
            return


def remove_stale() -> None:
    """Remove the instances of recorders that are no longer alive."""
    for path in (TRACEFS / "instances").glob(f"{PREFIX}*"):
        pid = path.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdigit() and not Path("/proc", pid).exists():
            remove_instance(path)


def available() -> str:
    """Why recording isn't possible here; empty if it is."""
    if not TRACEFS.joinpath("trace").exists():
        return f"no tracefs on {TRACEFS} (mount -t tracefs nodev {TRACEFS})"
    if not os.access(TRACEFS / "instances", os.W_OK) or os.geteuid() != 0:
        return f"{TRACEFS} isn't writable: root needed"
    return ""


@contextlib.contextmanager
def held_process(command: Sequence[str], cwd: Path | None = None) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Start a process that waits for a line on its stdin before it becomes ``command``; yields it and the pipe."""
    waits, goes = os.pipe()
    process = subprocess.Popen(
        ["/bin/sh", "-c", 'read -r go && exec "$@" < /dev/null', "sh", *command],
        cwd=cwd,
        stdin=waits,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(waits)
    try:
        yield process, goes
    finally:
        os.close(goes)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()


def _ready() -> None:
    reason = available()
    if reason:
        raise RecordError(reason)
    remove_stale()
    with contextlib.suppress(OSError):  # so that short-lived threads keep their names in the text
        (TRACEFS / "saved_cmdlines_size").write_text("8192")


def record(command: Sequence[str], text: Path, *, cwd: Path | None = None, timeout: float = 120) -> Trace:
    """Record every system call of ``command`` and its children, complete, as ftrace text in the file ``text``.

    Raises RecordError when tracing isn't possible or when even the large buffer ran over.
    """
    _ready()
    with held_process(command, cwd) as (process, go), Instance("all", COMPLETE_KB, pid=process.pid) as whole:
        whole.set("tracing_on", 1)
        os.write(go, b"\n")
        _wait(process, timeout)
        whole.set("tracing_on", 0)
        _save_complete(whole, text)
    return read(text)


def _wait(process: subprocess.Popen[bytes], timeout: float) -> None:
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.wait()


def _save_complete(whole: Instance, text: Path) -> None:
    lost = whole.statistic("overrun") + whole.statistic("dropped events")
    if lost:
        raise RecordError(f"the complete recording lost {lost} events: record a shorter run")
    with open(text, "wb") as out, open(whole.path / "trace_pipe", "rb", buffering=0) as pipe:
        os.set_blocking(pipe.fileno(), False)
        while block := pipe.read(1 << 16):
            out.write(block)


@dataclass(frozen=True)
class Pair:
    """A lossy recording with its truth.

    ``missing[g]`` are the rows of ``complete`` that gap g of ``lossy`` lost, in the order of their cpu's stream.
    """

    lossy: Trace
    complete: Trace
    missing: list[NDArray[np.int64]]


def record_pair(
    command: Sequence[str],
    folder: Path,
    *,
    buffer_kb: int = 8,
    delay_ms: float = 1.0,
    seed: int = 0,
    cwd: Path | None = None,
    timeout: float = 120,
) -> Pair:
    """Record ``command`` twice at once, as ``lossy.txt`` and ``complete.txt`` in ``folder``.

    delay_ms: mean pause of the small buffer's reader after it has read all there was (exponential, seeded).
    Raises RecordError if the marks, the kernel's overrun counter and the missing events don't agree.
    """
    _ready()
    folder.mkdir(parents=True, exist_ok=True)
    lossy_path, complete_path = folder / "lossy.txt", folder / "complete.txt"
    with (
        held_process(command, cwd) as (process, go),
        Instance("all", COMPLETE_KB, pid=process.pid) as whole,
        Instance("few", buffer_kb, pid=process.pid) as small,
    ):
        done = threading.Event()
        reader = threading.Thread(target=_read_slowly, args=(small, lossy_path, delay_ms, seed, done))
        whole.set("tracing_on", 1)
        small.set("tracing_on", 1)
        reader.start()
        try:
            os.write(go, b"\n")
            _wait(process, timeout)
            small.set("tracing_on", 0)
            whole.set("tracing_on", 0)
        finally:
            done.set()
            reader.join()
        overrun = small.statistic("overrun")
        _save_complete(whole, complete_path)
    return align(read(lossy_path), read(complete_path), overrun)


def _read_slowly(small: Instance, text: Path, delay_ms: float, seed: int, done: threading.Event) -> None:
    rng = random.Random(seed)
    with open(text, "wb") as out, open(small.path / "trace_pipe", "rb", buffering=0) as pipe:
        os.set_blocking(pipe.fileno(), False)
        while True:
            finished = done.is_set()
            while block := pipe.read(1 << 16):
                out.write(block)
            if finished:
                return
            time.sleep(rng.expovariate(1 / delay_ms) / 1000)


def _keys(trace: Trace) -> NDArray[np.object_]:
    columns = (trace.table[c].to_pylist() for c in ("tid", "name", "phase", "args", "ret"))
    keys = np.empty(len(trace), object)
    keys[:] = list(zip(*columns, strict=True))
    return keys


def align(lossy: Trace, complete: Trace, overrun: int | None = None) -> Pair:
    """Find the events that each gap lost; each cpu's surviving events must stand, in order, in the complete stream.

    Per cpu the complete stream is walked with the tracer's own counts: after a mark of k events the k-th next event
    must be the surviving one. Raises RecordError at the first disagreement, and if the counts don't add up to
    ``overrun`` (the kernel's counter).
    """
    if overrun is not None and overrun != lossy.lost:
        raise RecordError(f"the marks tell of {lossy.lost} lost events, the kernel of {overrun}")
    have, whole = _keys(lossy), _keys(complete)
    missing: list[NDArray[np.int64]] = [np.empty(0, np.int64) for _ in lossy.gaps]
    for cpu in sorted({*lossy.streams, *(g.cpu for g in lossy.gaps)}):
        rows = lossy.streams.get(cpu, np.empty(0, np.int64))
        truth = complete.streams.get(cpu, np.empty(0, np.int64))
        gap_before = {g.after: g for g in lossy.gaps if g.cpu == cpu}
        segments = _segments(rows, gap_before)
        for skipped in range(64):  # the complete instance is switched on a moment earlier
            found = _walk(segments, truth, have, whole, skipped)
            if found is not None:
                break
        else:
            raise RecordError(f"cpu {cpu}: the surviving events aren't a part of the complete recording")
        for number, lost in found.items():
            missing[number] = lost
    return Pair(lossy, complete, missing)


Segment = tuple["int | None", int, NDArray[np.int64]]  # gap number, its count, the events that survive after it


def _segments(rows: NDArray[np.int64], gap_before: dict[int | None, Gap]) -> list[Segment]:
    cuts = [i for i, r in enumerate(rows.tolist()) if r in gap_before]
    parts = np.split(rows, cuts)
    segments: list[Segment] = []
    if not cuts or cuts[0] != 0:
        segments.append((None, 0, parts[0]))
    for part in parts[1:] if cuts else []:
        gap = gap_before[int(part[0])]
        segments.append((gap.number, gap.count or 0, part))
    last = gap_before.get(None)
    if last is not None:
        segments.append((last.number, last.count or 0, np.empty(0, np.int64)))
    return segments


def _walk(
    segments: list[Segment],
    truth: NDArray[np.int64],
    have: NDArray[np.object_],
    whole: NDArray[np.object_],
    at: int,
) -> dict[int, NDArray[np.int64]] | None:
    missing: dict[int, NDArray[np.int64]] = {}
    for number, count, part in segments:
        if number is not None:
            missing[number] = truth[at : at + count]
            at += count
        if at + len(part) > len(truth) or not (have[part] == whole[truth[at : at + len(part)]]).all():
            return None
        at += len(part)
    return missing
