"""Sub-buffers of ftrace's ring buffer (``trace_pipe_raw``), read into traces by the running kernel's own descriptions.

How they lie is in ``formats.ringbuffer``; here is what the kernel says of them (``events/header_page`` and
``events/header_event``, the tracepoints' ``format`` files).
"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.formats import ringbuffer
from tracemend.formats.base import Builder, Options
from tracemend.formats.ringbuffer import (
    NATIVE,
    FormatError,
    Ints,
    Kind,
    Say,
    Stream,
    columns,
    parse_format,
    parse_layout,
    say_fields,
)
from tracemend.formats.tracedat.printing import Printer, printer
from tracemend.recording.symbols import Symbols
from tracemend.recording.tracefs import TRACEFS, RecordError
from tracemend.trace.events import Mark, Trace
from tracemend.trace.syscalls import DEFAULT_ARCH, architectures

#: Numbers for which the kernel's ``print fmt`` has only names (include/uapi/linux/ioprio.h).
_CLASSES = {"NONE": "0", "RT": "1", "BE": "2", "IDLE": "3", "INVALID": "7"}
_IOPRIO = re.compile(rf"\bIOPRIO_CLASS_({'|'.join(_CLASSES)})\b")


def split(raw: bytes, size: int) -> Stream:
    """The events of one cpu's sub-buffers of ``size`` bytes, in their order. Raises RecordError for one that isn't what
    it should be."""
    stream = ringbuffer.split(raw, size)
    if stream.faults:
        at, message = stream.faults[0]
        raise RecordError(f"{message} (byte {at})")
    return stream


def kinds(events: Iterable[str]) -> dict[int, Kind]:
    """The tracepoints (or groups of them) under tracefs' ``events``, by number. Raises RecordError for a kernel whose
    ring buffer is laid out otherwise."""
    page, event = ((TRACEFS / "events" / n).read_text() for n in ("header_page", "header_event"))
    found = {}
    try:
        if parse_layout(page, event, "<" if sys.byteorder == "little" else ">") != NATIVE:
            raise FormatError("this kernel's ring buffer is laid out in a way that tracemend doesn't know")
        for name in events:
            folder = TRACEFS / "events" / name
            for path in [folder / "format"] if (folder / "format").exists() else sorted(folder.glob("*/format")):
                kind = parse_format(path.read_text())
                found[kind.number] = replace(kind, printed=_IOPRIO.sub(lambda m: _CLASSES[m[1]], kind.printed))
    except FormatError as e:
        raise RecordError(str(e)) from None
    return found


def architecture() -> str:
    """The table of system calls for this machine."""
    machine = {"i686": "i386", "armv7l": "arm", "armv8l": "arm"}.get(platform.machine(), platform.machine())
    return machine if machine in architectures() else DEFAULT_ARCH


def to_trace(
    streams: dict[int, Stream], known: dict[int, Kind], names: dict[int, str], path: Path
) -> tuple[Trace, NDArray[np.uint16]]:
    """One trace of all cpus' streams, in order of time, and each event's flags (low byte) and preempt count.

    names: thread id to command.
    """
    builder = Builder(path, "ftrace", Options(architecture()))
    say = _sayer()
    parts = [columns(stream, known, builder, say) for stream in streams.values()]
    cpu = np.concatenate([np.full(len(s.time_ns), c, np.int32) for c, s in streams.items()])
    time = np.concatenate([s.time_ns for s in streams.values()])
    order = np.argsort(time, kind="stable")
    tid = np.concatenate([p.tid for p in parts])[order]
    name = np.concatenate([p.name for p in parts])[order]
    phase = np.concatenate([p.phase for p in parts])[order]
    args = pa.concat_arrays([p.args for p in parts]).take(pa.array(order))
    ret = pa.concat_arrays([p.ret for p in parts]).take(pa.array(order))
    threads, of = np.unique(tid, return_inverse=True)
    comm = np.array([builder.comms(names[t]) if t in names else -1 for t in threads.tolist()], np.int32)[of]
    # a mark stands before the first event behind it, or at the trace's end
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    first = 0
    for c, stream in streams.items():
        for at, count in stream.marks:
            row = int(place[first + at]) if at < len(stream.time_ns) else len(order)
            builder.marks.append(Mark(c, row, count, row))
        first += len(stream.time_ns)
    builder.marks.sort(key=lambda m: m.row)
    builder.add(
        time_ns=time[order],
        cpu=cpu[order],
        tid=tid,
        comm=comm,
        name=name,
        phase=phase,
        args=args,
        ret=ret,
        line=np.arange(len(order), dtype=np.int64),
    )
    both = [(np.frombuffer(s.raw, "<u4")[s.begin // 4] >> 16).astype(np.uint16) for s in streams.values()]
    return builder.finish(), np.concatenate(both)[order]


def _sayer() -> Say:
    """``field=value`` of each system call by name, of its exit the result alone; of all else what the kernel prints."""
    symbols = Symbols()
    printers: dict[int, Printer] = {}

    def say(stream: Stream, rows: Ints, kind: Kind) -> list[str]:
        if kind.name.startswith("sys_e"):
            texts = say_fields(stream, rows, kind)
            return [t.partition("ret=")[2] for t in texts] if kind.name.startswith("sys_exit_") else texts
        if kind.number not in printers:
            printers[kind.number] = printer(kind, NATIVE.long, spelt=False, pointer=symbols.pointer)
        return printers[kind.number](stream, rows, kind)

    return say
