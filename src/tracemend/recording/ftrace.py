"""Recording with ftrace: one complete instance, or two at once of which one really loses events."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from tracemend.recording.pages import architecture, kinds, split, to_trace
from tracemend.recording.pairs import Pair, by_times
from tracemend.recording.text import flags, lines
from tracemend.recording.tracefs import (
    Instance,
    RecordError,
    Wanted,
    available,
    held,
    names_kept,
    remove_stale,
    thread_names,
    thread_processes,
)
from tracemend.trace.events import Trace

#: Buffers of complete recordings, KiB a cpu: 64 MiB hold about 700,000 system-call events, and are read all the time.
COMPLETE_KB = 64 << 10
#: Seconds between two readings of a buffer that is to lose nothing, and between two lines about it.
READ_EVERY, SAY_EVERY = 0.02, 0.2

#: Called with the events so far, the rate in events/s, and the events lost so far.
Live = Callable[[int, float, int], None]


@dataclass(frozen=True)
class Recorded:
    """A recording: the trace (its own losses are gaps), each event's flags, and the kernel's counters of lost events.

    status: the command's exit status, None if it was cut off. Negative: the signal that ended it.
    """

    trace: Trace
    flags: NDArray[np.uint16]
    lost: int
    status: int | None

    def text(self) -> Iterator[str]:
        """The trace as the kernel's own text; raises RecordError for system calls by name."""
        if self.trace.provenance["events"] == "syscalls":
            raise RecordError("system calls by name can't be written as text: other --events, or a name in .parquet")
        letters = {n: flags(n & 0xFF, n >> 8) for n in np.unique(self.flags).tolist()}
        return lines(self.trace, [letters[n] for n in self.flags.tolist()], architecture())


class _Pages:
    """The sub-buffers of an instance, collected in files without a name, one a cpu."""

    def __init__(self, instance: Instance, stack: contextlib.ExitStack) -> None:
        self.instance = instance
        self._files: dict[int, IO[bytes]] = {}
        for cpu in instance.cpus:
            self._files[cpu] = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115

    def take(self) -> None:
        """Everything that is there."""
        for cpu, file in self._files.items():
            while page := self.instance.page(cpu):
                file.write(page)

    def recorded(
        self, command: Sequence[str], names: dict[int, str], status: int | None = None, **about: Any
    ) -> Recorded:
        """What was collected, read. about: more for the trace's provenance."""
        wanted = self.instance.wanted
        tracepoints, absent = wanted.tracepoints()
        size = self.instance.page_size
        streams = {}
        for cpu, file in self._files.items():
            file.seek(0)
            streams[cpu] = split(file.read(), size)
        if not any(len(s.time_ns) or s.marks for s in streams.values()):
            raise RecordError("nothing was recorded: does this kernel trace system calls?")
        trace, letters = to_trace(streams, kinds(tracepoints), names, Path(command[0]))
        counters = self.instance.statistics()
        lost = counters["overrun"] + counters["dropped events"] + counters.get("commit overrun", 0)
        provenance = {
            "recorder": "tracemend, ftrace",
            "command": list(command),
            "events": wanted.events,
            "of": "machine" if wanted.machine else "command",
            "recorder_threads": self.instance.recorder_threads,
            **({"absent": absent} if absent else {}),
            "kernel": os.uname().release,
            "cpus": len(streams),
            "lost": lost,
            **about,
        }
        there = set(np.unique(trace.tid).tolist())
        processes = {tid: pid for tid, pid in thread_processes().items() if tid in there}
        trace = replace(trace, path=None, provenance=provenance, processes=processes)
        return Recorded(trace, letters, lost, status)


def _ready(events: str | Wanted) -> Wanted:
    wanted = Wanted.of(events)
    reason = available(wanted.events)
    if reason:
        raise RecordError(reason)
    remove_stale()
    return wanted


def record(
    command: Sequence[str],
    *,
    events: str | Wanted = "raw",
    buffer_kb: int = COMPLETE_KB,
    cwd: Path | None = None,
    quiet: bool = False,
    timeout: float | None = None,
    live: Live = lambda events, rate, lost: None,
) -> Recorded:
    """Record what ``command`` and its descendants do, or the machine meanwhile, times in nanoseconds.

    events: a key of ``EVENTS``, or also whose. buffer_kb: KiB a cpu. quiet: the command reads and writes nothing,
    and is killed with all its descendants at the end. timeout: seconds, then it is ended. What the kernel lost although
    the buffers were read all the time is a gap in the trace. Raises RecordError where recording isn't possible.
    """
    wanted = _ready(events)
    with (
        contextlib.ExitStack() as stack,
        held(command, cwd=cwd, quiet=quiet) as (process, go),
        names_kept(),
        Instance("all", buffer_kb, events=wanted, pid=process.pid) as whole,
    ):
        pages = _Pages(whole, stack)
        whole.leave_out([threading.get_native_id()])
        whole.set("tracing_on", 1)
        go()
        status = _read_until_end(process, pages, timeout, live)
        whole.set("tracing_on", 0)
        pages.take()
        return pages.recorded(command, thread_names(), status, pid=process.pid, buffer_kb=buffer_kb)


def _read_until_end(
    process: subprocess.Popen[bytes], complete: _Pages, timeout: float | None, live: Live
) -> int | None:
    """Read the buffers while the command runs; an interrupt from the keyboard is the command's, and ends it, not us."""
    begin = said = time.monotonic()
    before = signal.getsignal(signal.SIGINT)
    main = threading.current_thread() is threading.main_thread()
    if main:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        while process.poll() is None:
            time.sleep(READ_EVERY)
            complete.take()
            now = time.monotonic()
            if now - said >= SAY_EVERY:
                counters = complete.instance.statistics()
                count = counters["entries"] + counters["read events"]
                live(count, count / (now - begin), counters["overrun"] + counters["dropped events"])
                said = now
            if timeout is not None and now - begin > timeout:
                process.kill()
                process.wait()
                return None
    finally:
        if main:
            signal.signal(signal.SIGINT, before)
    return process.returncode


@dataclass(frozen=True, slots=True)
class SmallBuffer:
    """The buffer that is to lose events, and its slow reader.

    kb: KiB a cpu. delay_ms: mean pause of the reader after it has read all there was (exponential, drawn by seed).
    overwrite: the oldest events are lost, else (drop mode) the newest, without any mark.
    """

    kb: int = 8
    delay_ms: float = 1.0
    overwrite: bool = True
    seed: int = 0

    @classmethod
    def of(cls, wanted: Wanted) -> SmallBuffer:
        """One that loses in parts: a machine has more and larger events than a command, and a reader that often wakes
        up would fill its trace."""
        return cls(64, 10.0) if wanted.machine else cls()

    def about(self) -> dict[str, Any]:
        """For the lossy trace's provenance."""
        return {"buffer_kb": self.kb, "delay_ms": self.delay_ms, "overwrite": self.overwrite, "seed": self.seed}


def record_pair(
    command: Sequence[str],
    small: SmallBuffer | None = None,
    *,
    events: str | Wanted = "raw",
    cwd: Path | None = None,
    quiet: bool = False,
    timeout: float | None = None,
    live: Live = lambda events, rate, lost: None,
) -> tuple[Pair, Recorded, list[str]]:
    """Record ``command``, or the machine meanwhile, into two instances at once; the small one really loses events.

    events: as of ``record``. small: if it isn't given, one that suits them. Returns the pair, the lossy recording as it
    was read, and the identities that don't hold (none: all is well). Raises RecordError where recording isn't possible,
    and if the large instance lost events, too.
    """
    wanted = _ready(events)
    small = small or SmallBuffer.of(wanted)
    with (
        contextlib.ExitStack() as stack,
        held(command, cwd=cwd, quiet=quiet) as (process, go),
        names_kept(),
        # the large one first: then it also sees every event first
        Instance("all", COMPLETE_KB, events=wanted, pid=process.pid) as whole,
        Instance("few", small.kb, events=wanted, overwrite=small.overwrite, pid=process.pid) as few,
    ):
        complete_pages, lossy_pages = _Pages(whole, stack), _Pages(few, stack)
        begun, done = threading.Event(), threading.Event()
        reader = threading.Thread(target=_read_slowly, args=(lossy_pages, small, begun, done))
        reader.start()
        try:
            for instance in (whole, few):
                instance.leave_out([threading.get_native_id(), reader.native_id or 0])
            whole.set("tracing_on", 1)
            few.set("tracing_on", 1)
            begin = time.monotonic_ns()
            # what the machine did until then is taken before it can be lost: the window would miss it
            lossy_pages.take()
            begun.set()
            go()
            status = _read_until_end(process, complete_pages, timeout, live)
        finally:
            begun.set()
            done.set()
            reader.join()
        # the small buffer is as good as empty, so nothing that comes from here on is lost
        end = time.monotonic_ns()
        few.set("tracing_on", 0)
        whole.set("tracing_on", 0)
        complete_pages.take()
        lossy_pages.take()
        names = thread_names()
        complete = complete_pages.recorded(command, names, status, pid=process.pid, buffer_kb=COMPLETE_KB)
        lossy = lossy_pages.recorded(command, names, status, pid=process.pid, **small.about())
    if complete.lost:
        raise RecordError(f"the complete recording lost {complete.lost} events: record a shorter run")
    pair, faults = by_times(lossy.trace, complete.trace, window_ns=(begin, end))
    marks = lossy.trace.lost
    uncounted = sum(g.count is None for g in lossy.trace.gaps)
    if small.overwrite and not uncounted and marks != lossy.lost:
        faults.append(f"the marks tell of {marks} lost events, the kernel of {lossy.lost}")
    return pair, lossy, faults + pair.faults(lossy.lost)


def _read_slowly(pages: _Pages, small: SmallBuffer, begun: threading.Event, done: threading.Event) -> None:
    rng = random.Random(small.seed)
    begun.wait()
    while not done.is_set():
        pages.take()
        done.wait(rng.expovariate(1) * small.delay_ms / 1000)
    pages.take()
