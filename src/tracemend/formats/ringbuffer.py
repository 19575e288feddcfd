"""Sub-buffers of ftrace's ring buffer as the kernel hands them out (``trace_pipe_raw``, the pages of a ``trace.dat``).

A sub-buffer begins with its time stamp (u64, ns) and its commit word (a long): the bytes of data behind the header, bit
31 when events were lost before this sub-buffer, bit 30 when their number (a long) stands behind the data. Each event
begins with a word of 5 bits type or length and 27 bits time since the one before (include/linux/ring_buffer.h). What
lies where in an event's record is said by its tracepoint's ``format`` file.

Axis legend: E events of a stream, N some of them.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.formats.base import Builder
from tracemend.formats.text import decode
from tracemend.trace.events import ENTER, EXIT, INSTANT
from tracemend.trace.syscalls import call_name, canonical

MISSED, STORED, COMMIT = 1 << 31, 1 << 30, (1 << 27) - 1
PADDING, TIME_EXTEND, TIME_STAMP = 29, 30, 31
#: An absolute time stamp has 59 bits; the others are the sub-buffer's.
STAMP = (1 << 59) - 1
#: No tracepoint has more fields; the kernel's largest has some 30.
MOST_FIELDS = 256
#: All 64 bits of a time.
WORD = (1 << 64) - 1

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class FormatError(ValueError):
    """A description of events that doesn't describe any, or a ring buffer laid out in a way that nobody knows."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How sub-buffers lie: byte order (``<`` or ``>``), bytes of a long, and where the first event begins (bytes)."""

    order: str = "<"
    long: int = 8
    begin: int = 16


NATIVE = Layout()


def parse_layout(page: str, event: str, order: str) -> Layout:
    """The layout that ``events/header_page`` and ``events/header_event`` describe. Raises FormatError for an unknown
    one."""
    commit = re.search(r"local_t commit;\s*offset:8;\s*size:([48]);", page)
    data = re.search(r"char data;\s*offset:(\d{1,4});", page)
    bits = re.search(r"type_len\s*:\s*5 bits\s+time_delta\s*:\s*27 bits", event)
    if not (commit and data and bits) or not 8 + int(commit[1]) <= int(data[1]) or int(data[1]) % 4:
        raise FormatError("this kernel's ring buffer is laid out in a way that tracemend doesn't know")
    return Layout(order, int(commit[1]), int(data[1]))


@dataclass(frozen=True)
class Stream:
    """One cpu's events: times (E,) in ns, where each one's record begins and ends in ``raw`` (E,), and the losses:
    (index of the first event behind it, number or None). ``faults``: what was damaged, as (byte in ``raw``, what is
    wrong); of a damaged sub-buffer the events before the fault are there, and a loss of unknown number behind them.
    """

    raw: bytes
    layout: Layout
    time_ns: Ints
    begin: Ints
    end: Ints
    marks: list[tuple[int, int | None]] = field(default_factory=list)
    faults: list[tuple[int, str]] = field(default_factory=list)

    @cached_property
    def data(self) -> Bytes:
        """``raw`` as an array (bytes,)."""
        return np.frombuffer(self.raw, np.uint8)

    def numbers(self, rows: Ints, offset: int, size: int, signed: bool, count: int = 1) -> NDArray[np.integer[Any]]:
        """``count`` integers of ``size`` bytes (1, 2, 4, 8) that stand side by side in the records of ``rows`` (N,)
        from ``offset`` on: (N,), or (N, count) where there are several. The records must be long enough."""
        at = self.begin[rows] + offset
        bytes_NB = self.data[at[:, None] + np.arange(size * count)]
        values: NDArray[np.integer[Any]] = bytes_NB.view(f"{self.layout.order}{'i' if signed else 'u'}{size}")
        return values[:, 0] if count == 1 else values


def split(raw: bytes, size: int, layout: Layout = NATIVE) -> Stream:
    """The events of one cpu's sub-buffers, each of ``size`` bytes, in their order."""
    times: list[int] = []
    begins: list[int] = []
    ends: list[int] = []
    marks: list[tuple[int, int | None]] = []
    faults: list[tuple[int, str]] = []
    word = struct.Struct(f"{layout.order}I").unpack_from
    long = struct.Struct(f"{layout.order}{'Q' if layout.long == 8 else 'I'}").unpack_from
    stamp = struct.Struct(f"{layout.order}Q").unpack_from
    # the bit field's first member is in the low bits, or the high ones where bytes are in that order
    low, time_shift, kind_shift = (31, 5, 0) if layout.order == "<" else (31, 0, 27)
    delta_mask = (1 << 27) - 1
    for page in range(0, len(raw), size):
        limit = min(page + size, len(raw))
        if limit - page < layout.begin:
            faults.append((page, f"a sub-buffer of {limit - page} bytes"))
            break
        time, commit = stamp(raw, page)[0], long(raw, page + 8)[0]
        at = page + layout.begin
        end = at + (commit & COMMIT)
        if commit & MISSED:
            stored = commit & STORED and end + layout.long <= limit
            marks.append((len(times), long(raw, end)[0] if stored else None))
        if end > limit:
            faults.append((page, f"a sub-buffer of {limit - page} bytes that says it holds {end - page}"))
            marks.append((len(times), None))
            continue
        while at < end:
            if at + 4 > end:
                break
            head = word(raw, at)[0]
            kind, delta = head >> kind_shift & low, head >> time_shift & delta_mask
            if kind == PADDING and not delta:
                at = end  # nothing behind it on this sub-buffer
                break
            length = 0
            if kind == 0 or kind >= PADDING:
                if at + 8 > end:
                    break
                length = word(raw, at + 4)[0]
            if kind < PADDING:
                begin, after = (at + 4, at + 4 + 4 * kind) if kind else (at + 8, at + 4 + (length + 3 & ~3))
                if after > end or after < begin:
                    break
                time = time + delta & WORD
                times.append(time)
                begins.append(begin)
                ends.append(after)
                at = after
            elif kind == PADDING:
                time = time + delta & WORD
                at += 4 + (length + 3 & ~3)
            else:
                delta += length << 27
                time = time + delta & WORD if kind == TIME_EXTEND else time & ~STAMP | delta
                at += 8
        if at < end or at > limit:
            faults.append((at, "a sub-buffer that ends within an event"))
            marks.append((len(times), None))
    return Stream(
        raw,
        layout,
        np.array(times, np.uint64).astype(np.int64),
        np.array(begins, np.int64),
        np.array(ends, np.int64),
        marks,
        faults,
    )


@dataclass(frozen=True, slots=True)
class Field:
    """A member of an event's record, in bytes. ``located``: a word that says where in the record the text lies.
    ``count``: numbers in it, more than one where it is an array of them (0: how many isn't known)."""

    name: str
    offset: int
    size: int
    signed: bool
    text: bool
    located: bool
    count: int = 1

    @property
    def is_number(self) -> bool:
        """Whether it is one number of a size that computers have."""
        return self.count == 1 and self.size in (1, 2, 4, 8) and not self.text and not self.located


@dataclass(frozen=True)
class Kind:
    """A tracepoint as its ``format`` file describes it. ``printed``: its ``print fmt``."""

    number: int
    name: str
    fields: tuple[Field, ...]
    printed: str = ""

    @cached_property
    def own(self) -> tuple[Field, ...]:
        """Its fields beyond those that all events have."""
        return tuple(f for f in self.fields if not f.name.startswith("common_"))

    @cached_property
    def by_name(self) -> dict[str, Field]:
        """Its fields by their names."""
        return {f.name: f for f in self.fields}

    @cached_property
    def least(self) -> int:
        """Bytes that a record must have."""
        return max((f.offset + f.size for f in self.fields), default=0)


_FIELD = re.compile(
    r"^\tfield:([^;\n]{1,400}?)\s*\*?(\w{1,200})((?:\[[^\]\n;]{0,40}\])?);"
    r"\s*offset:(\d{1,6});\s*size:(\d{1,6});(?:\s*signed:([01]);)?",
    re.M,
)


def parse_format(text: str) -> Kind:
    """A tracepoint's ``format`` file. Raises FormatError for one without name or number, or with
    too many fields."""
    name, number = re.search(r"^name: (\S+)", text, re.M), re.search(r"^ID: (\d{1,9})$", text, re.M)
    if not name or not number:
        raise FormatError("a tracepoint's format without a name or a number")
    found = _FIELD.findall(text)
    if len(found) > MOST_FIELDS:
        raise FormatError(f"a tracepoint of {len(found)} fields")
    fields = []
    for type_, member, array, offset, size, signed in found:
        located = "__data_loc" in type_
        is_text = re.search(r"\bchar\b", type_) is not None and (bool(array) or located)
        count = 1
        if array and not is_text and not located:
            length = array[1:-1]
            count = int(length) if length.isdecimal() and length.isascii() else 0
        fields.append(Field(member, int(offset), int(size), signed == "1", is_text, located, count))
    printed = re.search(r"^print fmt: (.*)", text, re.M | re.S)
    return Kind(int(number[1]), name[1], tuple(fields), printed[1].strip() if printed else "")


@dataclass
class Columns:
    """What a stream's records say (E,): thread, name code, phase, arguments and result (None where there are none)."""

    tid: NDArray[np.int32]
    name: NDArray[np.int32]
    phase: NDArray[np.int8]
    args: pa.Array
    ret: pa.Array


_SIX = "%x, %x, %x, %x, %x, %x"

#: What the records of ``rows`` (N,), all of one kind, hold beside call and thread, as text.
Say = Callable[[Stream, Ints, Kind], list[str]]


def short(stream: Stream, known: Mapping[int, Kind]) -> Bools:
    """Which events (E,) have a record that is shorter than its kind's fields take, and can't be read."""
    length = stream.end - stream.begin
    bad = length < 8
    rows = np.flatnonzero(~bad)
    number = stream.numbers(rows, 0, 2, False)
    for n in np.unique(number).tolist():
        kind = known.get(n)
        if kind is not None:
            these = rows[number == n]
            bad[these] = length[these] < kind.least
    return bad


def columns(stream: Stream, known: Mapping[int, Kind], builder: Builder, say: Say) -> Columns:
    """The stream's records, none of which may be ``short``. An unknown tracepoint is named after its number."""
    everything = np.arange(len(stream.time_ns))
    number = stream.numbers(everything, 0, 2, False)
    tid = stream.numbers(everything, 4, 4, True).astype(np.int32)
    name = np.zeros(len(number), np.int32)
    phase = np.full(len(number), INSTANT, np.int8)
    args = np.full(len(number), None, object)
    ret = np.full(len(number), None, object)
    for n in np.unique(number).tolist():
        kind, rows = known.get(n) or Kind(n, f"event_{n}", ()), np.flatnonzero(number == n)
        found = _call(kind)
        if found:
            call, value = found
            calls, inverse = np.unique(stream.numbers(rows, call.offset, call.size, True), return_inverse=True)
            codes = [builder.names(call_name(c, builder.options.arch)) for c in calls.tolist()]
            name[rows] = np.array(codes, np.int32)[inverse]
            if kind.name == "sys_enter":
                phase[rows] = ENTER
                six = stream.numbers(rows, value.offset, value.size // 6, False, 6)
                args[rows] = [_SIX % tuple(v) for v in six.tolist()]
            else:
                phase[rows] = EXIT
                ret[rows] = [str(v) for v in stream.numbers(rows, value.offset, value.size, True).tolist()]
            continue
        word = kind.name
        texts = say(stream, rows, kind)
        if word.startswith("sys_enter_"):
            word, phase[rows] = canonical(word.removeprefix("sys_enter_")), ENTER
            args[rows] = texts
        elif word.startswith("sys_exit_"):
            word, phase[rows] = canonical(word.removeprefix("sys_exit_")), EXIT
            ret[rows] = texts
        else:
            args[rows] = texts
        name[rows] = builder.names(word)
    return Columns(tid, name, phase, pa.array(args.tolist(), pa.string()), pa.array(ret.tolist(), pa.string()))


def _call(kind: Kind) -> tuple[Field, Field] | None:
    """The two fields of raw_syscalls, the call's number and its six arguments or its result; None for another event."""
    number, args, ret = (kind.by_name.get(n) for n in ("id", "args", "ret"))
    if number is None or not number.is_number:
        return None
    if kind.name == "sys_enter" and args is not None and args.count == 6 and args.size in (24, 48):
        return number, args
    return (number, ret) if kind.name == "sys_exit" and ret is not None and ret.is_number else None


def say_fields(stream: Stream, rows: Ints, kind: Kind) -> list[str]:
    """``field=value`` of each record, its own fields only; a Say."""
    fields = [f for f in kind.own if f.name != "__syscall_nr"]
    columns = [values(stream, rows, f) for f in fields]
    form = " ".join(f"{f.name.replace('%', '%%')}=%s" for f in fields)
    return [form % row for row in zip(*columns, strict=True)] if fields else [""] * len(rows)


def values(stream: Stream, rows: Ints, field: Field) -> list[Any]:
    """A field's value in each of the records (N,): numbers, texts, or hexadecimal digits of anything else."""
    if field.is_number:
        numbers: list[Any] = stream.numbers(rows, field.offset, field.size, field.signed).tolist()
        return numbers
    raw = stream.raw
    pieces: Iterable[bytes]
    if field.located and field.size == 4:
        where = stream.numbers(rows, field.offset, 4, False)
        begin, end = stream.begin[rows], stream.end[rows]
        first = np.minimum(begin + (where & 0xFFFF), end)
        pieces = map(_cut(raw), first.tolist(), np.minimum(first + (where >> 16), end).tolist())
    else:
        first = stream.begin[rows] + field.offset
        last = first + field.size if field.size else stream.end[rows]
        pieces = map(_cut(raw), first.tolist(), np.maximum(first, last).tolist())
    if field.text:
        return [decode(p.partition(b"\0")[0]) for p in pieces]
    if field.located or field.count != 1:
        return [p.hex() for p in pieces]
    order = "little" if stream.layout.order == "<" else "big"
    return [int.from_bytes(p, order, signed=field.signed) for p in pieces]  # type: ignore[arg-type]


def _cut(raw: bytes) -> Callable[[int, int], bytes]:
    return lambda first, last: raw[first:last]
