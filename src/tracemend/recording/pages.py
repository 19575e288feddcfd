"""Sub-buffers of ftrace's ring buffer as the kernel hands them out (``trace_pipe_raw``), read into traces.

A sub-buffer begins with its time stamp (u64, ns) and its commit word: the bytes of data behind the header, bit 31 when
events were lost before this sub-buffer, bit 30 when their number stands behind the data. Each event begins with a word
of 5 bits type or length and 27 bits time since the one before (include/linux/ring_buffer.h; the sizes are checked
against ``events/header_page`` and ``events/header_event``).

Axis legend: E events.
"""

from __future__ import annotations

import platform
import re
import struct
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.events import ENTER, EXIT, INSTANT, Mark, Trace
from tracemend.formats.base import Builder, Options
from tracemend.recording.tracefs import TRACEFS, RecordError
from tracemend.syscalls import DEFAULT_ARCH, architectures, call_name, canonical

HEADER = 16
MISSED, STORED, COMMIT = 1 << 31, 1 << 30, (1 << 27) - 1
PADDING, TIME_EXTEND, TIME_STAMP = 29, 30, 31
#: An absolute time stamp has 59 bits; the others are the sub-buffer's.
STAMP = (1 << 59) - 1

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Stream:
    """One cpu's events: times (E,) in ns, where each one's record begins in ``raw`` (E,), and the losses: (index of the
    first event behind it, number or None)."""

    raw: bytes
    time_ns: Ints
    begin: Ints
    marks: list[tuple[int, int | None]]


def split(pages: Iterable[bytes]) -> Stream:
    """The events of one cpu's sub-buffers, in their order. Raises RecordError for one that isn't what it should be."""
    times: list[int] = []
    begins: list[int] = []
    marks: list[tuple[int, int | None]] = []
    whole = []
    base = 0
    word = struct.Struct("<I").unpack_from
    for page in pages:
        time, commit = struct.unpack_from("<QQ", page)
        end = HEADER + (commit & COMMIT)
        if end > len(page):
            raise RecordError(f"a sub-buffer of {len(page)} bytes that says it holds {end}")
        if commit & MISSED:
            stored = commit & STORED and end + 8 <= len(page)
            marks.append((len(times), struct.unpack_from("<Q", page, end)[0] if stored else None))
        at = HEADER
        try:
            while at < end:
                head = word(page, at)[0]
                kind, delta = head & 31, head >> 5
                if kind < PADDING:
                    time += delta
                    times.append(time)
                    if kind:
                        begins.append(base + at + 4)
                        at += 4 + 4 * kind
                    else:
                        begins.append(base + at + 8)
                        at += 4 + (word(page, at + 4)[0] + 3 & ~3)
                elif kind == PADDING:
                    if not delta:
                        break  # nothing behind it on this sub-buffer
                    time += delta
                    at += 4 + word(page, at + 4)[0]
                else:
                    delta += word(page, at + 4)[0] << 27
                    time = time + delta if kind == TIME_EXTEND else time & ~STAMP | delta
                    at += 8
        except struct.error:
            raise RecordError(f"a sub-buffer that ends within an event (byte {at})") from None
        whole.append(page)
        base += len(page)
    return Stream(b"".join(whole), np.array(times, np.int64), np.array(begins, np.int64), marks)


@dataclass(frozen=True, slots=True)
class Field:
    """A member of an event's record, in bytes. ``located``: a word that says where in the record the text lies."""

    name: str
    offset: int
    size: int
    signed: bool
    text: bool
    located: bool


@dataclass(frozen=True)
class Kind:
    """A tracepoint as its ``format`` file describes it."""

    number: int
    name: str
    fields: tuple[Field, ...]

    @cached_property
    def own(self) -> tuple[Field, ...]:
        """Its fields beyond those that all events have."""
        return tuple(f for f in self.fields if not f.name.startswith("common_"))


_FIELD = re.compile(r"^\tfield:(.+?)\s*\*?(\w+)(\[\w*\])?;\s*offset:(\d+);\s*size:(\d+);\s*signed:([01]);", re.M)


def parse_format(text: str) -> Kind:
    """A tracepoint's ``format`` file. Raises RecordError for one that says neither name nor number."""
    name, number = re.search(r"^name: (\S+)", text, re.M), re.search(r"^ID: (\d+)", text, re.M)
    if not name or not number:
        raise RecordError("a tracepoint's format without a name or a number")
    fields = []
    for type_, field, array, offset, size, signed in _FIELD.findall(text):
        located = "__data_loc" in type_
        is_text = re.search(r"\bchar\b", type_) is not None and (bool(array) or located)
        fields.append(Field(field, int(offset), int(size), signed == "1", is_text, located))
    return Kind(int(number[1]), name[1], tuple(fields))


def kinds(events: Iterable[str]) -> dict[int, Kind]:
    """The tracepoints (or groups of them) under tracefs' ``events``, by number. Raises RecordError for a kernel whose
    ring buffer is laid out otherwise."""
    page, event = ((TRACEFS / "events" / n).read_text() for n in ("header_page", "header_event"))
    commit = re.search(r"local_t commit;\s*offset:8;\s*size:8;", page)
    data = re.search(rf"char data;\s*offset:{HEADER};", page)
    bits = re.search(r"type_len\s*:\s*5 bits\s+time_delta\s*:\s*27 bits", event)
    if not (commit and data and bits) or sys.byteorder != "little":
        raise RecordError("this kernel's ring buffer is laid out in a way that tracemend doesn't know")
    found = {}
    for name in events:
        folder = TRACEFS / "events" / name
        for path in [folder / "format"] if (folder / "format").exists() else sorted(folder.glob("*/format")):
            kind = parse_format(path.read_text())
            found[kind.number] = kind
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
    parts = {cpu: _columns(stream, known, builder) for cpu, stream in streams.items()}
    cpu = np.concatenate([np.full(len(s.time_ns), c, np.int32) for c, s in streams.items()])
    time = np.concatenate([s.time_ns for s in streams.values()])
    order = np.argsort(time, kind="stable")
    tid, name, phase = (np.concatenate([p[i] for p in parts.values()])[order] for i in range(3))
    args, ret = (pa.concat_arrays([p[i] for p in parts.values()]).take(pa.array(order)) for i in (3, 4))
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


_Columns = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int8], pa.Array, pa.Array]


def _columns(stream: Stream, known: dict[int, Kind], builder: Builder) -> _Columns:
    """tid, name code, phase, args and ret (E,) of one stream. An unknown tracepoint is named after its number."""
    words = np.frombuffer(stream.raw, "<u4")  # records begin at multiples of four bytes
    at = stream.begin // 4
    number = (words[at] & 0xFFFF).astype(np.int64)
    tid = words[at + 1].astype(np.int32)
    name = np.zeros(len(at), np.int32)
    phase = np.full(len(at), INSTANT, np.int8)
    args = np.full(len(at), None, object)
    ret = np.full(len(at), None, object)
    for n in np.unique(number).tolist():
        kind, rows = known.get(n) or Kind(n, f"event_{n}", ()), np.flatnonzero(number == n)
        if kind.name in ("sys_enter", "sys_exit"):
            values = words[at[rows][:, None] + np.arange(2, 16 if kind.name == "sys_enter" else 6)].view("<i8")
            calls, inverse = np.unique(values[:, 0], return_inverse=True)
            codes = [builder.names(call_name(c, builder.options.arch)) for c in calls.tolist()]
            name[rows] = np.array(codes, np.int32)[inverse]
            if kind.name == "sys_enter":
                phase[rows] = ENTER
                args[rows] = [", ".join([f"{a:x}" for a in v]) for v in values[:, 1:].view("<u8").tolist()]
            else:
                phase[rows] = EXIT
                ret[rows] = [str(v) for v in values[:, 1].tolist()]
            continue
        short = kind.name
        texts = _texts(stream.raw, stream.begin[rows].tolist(), kind)
        if short.startswith("sys_enter_"):
            short, phase[rows] = canonical(short.removeprefix("sys_enter_")), ENTER
            args[rows] = texts
        elif short.startswith("sys_exit_"):
            short, phase[rows] = canonical(short.removeprefix("sys_exit_")), EXIT
            ret[rows] = [t.partition("ret=")[2] for t in texts]
        else:
            args[rows] = texts
        name[rows] = builder.names(short)
    return tid, name, phase, pa.array(args.tolist(), pa.string()), pa.array(ret.tolist(), pa.string())


def _texts(raw: bytes, begins: Sequence[int], kind: Kind) -> list[str]:
    """``field=value`` of each record, its own fields only."""
    fields = [f for f in kind.own if f.name != "__syscall_nr"]
    return [" ".join(f"{f.name}={_value(raw, begin, f)}" for f in fields) for begin in begins]


def _value(raw: bytes, begin: int, field: Field) -> str:
    piece = raw[begin + field.offset : begin + field.offset + field.size]
    if field.located:
        where = int.from_bytes(piece, "little")
        piece = raw[begin + (where & 0xFFFF) : begin + (where & 0xFFFF) + (where >> 16)]
    if field.text:
        return piece.partition(b"\0")[0].decode(errors="replace")
    if field.located:
        return piece.hex()
    return str(int.from_bytes(piece, "little", signed=field.signed))
