"""The line that ftrace, trace-cmd and perf share: ``comm tid [cpu] flags time: event detail``, read as columns.

One regular expression per tracer says what a line is. Applied to one line it also shows the columns of all lines that
lie alike: those are read at once by array operations, the head (all in front of the time) as one of a few distinct
values, the time digit by digit. A line that lies like no other is read by the expression itself, and what that leaves
(marks of losses, comments, damage) goes back to the format.

Axis legend: N lines of a chunk, K events among them, R lines that lie alike, H columns of a head, T of a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.lib.stride_tricks import sliding_window_view

from tracemend.formats.base import Builder
from tracemend.formats.text import Bools, Ints, Lines, as_strings, decode, digits_at, skip, spans
from tracemend.trace.events import ENTER, EXIT, INSTANT
from tracemend.trace.syscalls import call_name, canonical

OPEN, CLOSE, SPACE, DOT, COLON, MINUS, EQUALS, ZERO, NINE = b"() .:-=09"
#: Nothing in front of an event's detail is longer, which bounds the work on a line made up to be slow.
LONGEST_HEAD = 512
#: The latest time that fits 64 bits of nanoseconds.
LATEST = (1 << 63) - 1
#: How often one chunk's lines are compared with another line's columns, and how many lines are worth it.
ROUNDS, WORTHWHILE = 8, 64
WORD_WIDTH = 32

#: An inferred event in a merged file carries this; such a line is never evidence.
INFERRED = b" tracemend_inferred gap="

#: How the word in front of an event's detail tells call and phase.
RAW_ENTER, RAW_EXIT, NAMED, NAMED_ENTER, NAMED_EXIT, OTHER = range(6)

#: The words of what the kernel writes with a head, as an event, and shows as lines of their own below it.
STACKS = {b"<stack": "kernel_stack", b"<user": "user_stack"}
#: perf's letters behind the colon of a counted event (``cycles:u``), which belong to no name.
MODIFIERS = re.compile(r"[ukhGHIpPSDWeb]+")
#: The last line of a file that ends within it: an opened parenthesis never closed, a result never given.
CUT = re.compile(
    rb"(?:[^\s(]*:)?sys_(?:enter:\s++(?!.*\)$)|exit:\s++(?!NR -?\d+ = -?\d+$)|\w+(?:\([^)]*| -> (?:0x)?| -)$)"
)


@dataclass(frozen=True, slots=True)
class Layout:
    """What differs between the tracers: the pattern of a line, and the word that tells a remark from an event.

    ``pattern`` has the groups comm (may be absent), tid, cpu (may be absent), time and event, the event's first byte.
    ``unit_ns``: what one of the time stands for; 1 also for a clock's ticks, of which nothing tells how long they are.
    """

    pattern: re.Pattern[bytes]
    remark: bytes = b""
    unit_ns: int = 1_000_000_000

    def match(self, text: bytes) -> re.Match[bytes] | None:
        return self.pattern.match(text, 0, LONGEST_HEAD)


@dataclass(slots=True)
class _Fields:
    """What each line's head says and where its event's word starts (N,); only rows of ``found`` mean anything."""

    found: Bools
    cpu: Ints
    tid: Ints
    comm: Ints
    time_ns: Ints
    word: Ints


def read_chunk(lines: Lines, layout: Layout, builder: Builder, other: Callable[[int, int, bytes], None]) -> None:
    """Add the chunk's events to the builder.

    ``other(row, line, text)`` gets every line that is no event, with the number of events above it. Inferred events
    of an earlier mending are counted and passed over.
    """
    silent = lines.holding(INFERRED) if INFERRED in lines.raw else np.empty(0, np.int64)
    builder.inferred += len(silent)
    wanted = lines.end > lines.start
    wanted[silent] = False
    if lines.cut and wanted[-1]:
        last = lines.text(len(lines) - 1)
        event = layout.match(last)
        if event and CUT.match(last, event.start("event")):
            builder.bad(lines.first + len(lines) - 1, "the line is cut short")
            wanted[-1] = False
    fields = _locate(lines, layout, builder, np.flatnonzero(wanted))
    if layout.remark and layout.remark in lines.raw:
        for i in lines.holding(layout.remark).tolist():
            if fields.found[i] and lines.raw.startswith(layout.remark, int(fields.word[i])):
                fields.found[i] = False
    rows = np.flatnonzero(fields.found)
    above = np.cumsum(fields.found)
    for i in np.flatnonzero(wanted & ~fields.found).tolist():
        other(builder.rows + int(above[i]), lines.first + i, lines.text(i))
    if len(rows):
        _add_events(lines, fields, rows, builder)


def _locate(lines: Lines, layout: Layout, builder: Builder, rows: Ints) -> _Fields:
    n = len(lines)
    fields = _Fields(np.zeros(n, bool), *(np.zeros(n, np.int64) for _ in range(5)))
    at = rounds = 0
    while at < len(rows):
        row = int(rows[at])
        at += 1
        text = lines.text(row)
        match = layout.match(text)
        if match is None:
            continue
        time = _time_ns(match["time"], layout.unit_ns)
        head = _head(match, builder)
        if time is None or head is None:
            continue
        fields.found[row] = True
        fields.comm[row], fields.tid[row], fields.cpu[row] = head
        fields.time_ns[row] = time
        fields.word[row] = int(lines.start[row]) + match.start("event")
        if rounds < ROUNDS and len(rows) - at >= WORTHWHILE:
            rounds += 1
            rows = rows[at:]
            rows, at = rows[~_locate_alike(lines, layout, builder, match, rows, fields)], 0
    return fields


def _time_ns(text: bytes, unit_ns: int) -> int | None:
    """A time with decimals down to nanoseconds at most; None for what 64 bits don't hold."""
    whole, _, fraction = text.partition(b".")
    if len(whole) > 19 or 10 ** len(fraction) > unit_ns:
        return None
    time = int(whole + fraction) * (unit_ns // 10 ** len(fraction))
    return time if time <= LATEST else None


def _head(match: re.Match[bytes], builder: Builder) -> tuple[int, int, int] | None:
    """Command code (-1: none), thread and cpu (-1: none); None if the thread's number can't be one."""
    if len(match["tid"]) > 9:
        return None
    comm, cpu = match["comm"], match["cpu"]
    return -1 if comm is None else builder.comms(decode(comm)), int(match["tid"]), -1 if cpu is None else int(cpu)


def _locate_alike(
    lines: Lines, layout: Layout, builder: Builder, match: re.Match[bytes], rows: Ints, fields: _Fields
) -> Bools:
    """Fill in those of ``rows`` (R,) whose time stands in the same columns as that of ``match``; returns which.

    Everything in front of the time is a head. One line of each distinct head goes through the pattern; that holds for
    all lines of this head, because only digits of the time differ.
    """
    data = lines.data
    begin, colon = match.span("time")
    where = match["time"].find(b".")
    decimals = len(match["time"]) - where - 1 if where >= 0 else 0
    alike = lines.end[rows] - lines.start[rows] > colon + 1
    start = np.where(alike, lines.start[rows], 0)
    if len(lines.raw) <= colon:
        return alike
    window_RH = sliding_window_view(data, colon + 1)[start]
    time_TR = np.ascontiguousarray(window_RH[:, begin:].T)
    alike &= time_TR[-1] == COLON
    value = np.zeros(len(rows), np.uint64)  # 19 digits fit
    for k, column in enumerate(time_TR[:-1]):
        if k == where:
            alike &= column == DOT
        else:
            digit = column - np.uint8(ZERO)  # wraps: anything but a digit is above 9
            alike &= digit <= 9
            value *= np.uint64(10)
            value += digit
    unit = layout.unit_ns // 10**decimals
    alike &= value <= LATEST // unit
    value *= np.uint64(unit)
    word = skip(data, start + colon + 1, SPACE)
    # what the pattern passes over in front of the event, other than spaces, it passes over itself
    first = data[word]
    alike &= (word > start + colon + 1) & (word < lines.end[rows]) & (first > SPACE) & ((first < ZERO) | (first > NINE))
    heads = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(begin), len(rows), [None, pa.py_buffer(np.ascontiguousarray(window_RH[:, :begin]))]
    ).dictionary_encode()
    codes = heads.indices.to_numpy()
    known = np.zeros((len(heads.dictionary), 4), np.int64)  # comm, tid, cpu, and whether it is a head at all
    needed = np.bincount(codes, weights=alike, minlength=len(known)) > 0
    for code in np.flatnonzero(needed).tolist():
        own = layout.match(heads.dictionary[code].as_py() + match.string[begin:LONGEST_HEAD])
        if own is not None and own.span("time") == (begin, colon):
            head = _head(own, builder)
            if head is not None:
                known[code] = *head, True
    comm, tid, cpu, is_head = known[codes].T
    alike &= is_head > 0
    to = rows[alike]
    fields.found[to] = True
    fields.comm[to], fields.tid[to], fields.cpu[to] = comm[alike], tid[alike], cpu[alike]
    fields.time_ns[to] = value[alike].astype(np.int64)
    fields.word[to] = word[alike]
    return alike


def _kind(word: bytes) -> tuple[int, str]:
    """What the word before an event's detail says: a kind and the event's name."""
    colon = word.endswith(b":")
    if word in STACKS:
        return OTHER, STACKS[word]
    group, _, short = decode(word.rstrip(b":")).rpartition(":")  # perf puts the tracepoint's group in front
    if group and MODIFIERS.fullmatch(short):
        short = group.rpartition(":")[2]
    if colon and short in ("sys_enter", "sys_exit"):
        return (RAW_ENTER if short == "sys_enter" else RAW_EXIT), short
    if colon and short.startswith("sys_enter_"):
        return NAMED_ENTER, canonical(short.removeprefix("sys_enter_"))
    if colon and short.startswith("sys_exit_"):
        return NAMED_EXIT, canonical(short.removeprefix("sys_exit_"))
    if not colon and short.startswith("sys_"):
        return NAMED, canonical(short.removeprefix("sys_"))
    return OTHER, short


def _word_ends(lines: Lines, word: Ints, end: Ints) -> Ints:
    """Where each event's word (K,) ends: at a space, a parenthesis, or the line's end."""
    window = sliding_window_view(lines.data, WORD_WIDTH)[word]
    stop = (window == SPACE) | (window == OPEN)
    length = stop.argmax(axis=1)
    for i in np.flatnonzero((length == 0) & ~stop[:, 0]).tolist():  # no stop in the window
        text = lines.raw[int(word[i]) : int(end[i])]
        length[i] = min((p for p in (text.find(b" "), text.find(b"(")) if p >= 0), default=len(text))
    ends: Ints = np.minimum(word + length, end)
    return ends


def _add_events(lines: Lines, fields: _Fields, rows: Ints, builder: Builder) -> None:
    data = lines.data
    end, word = lines.end[rows], fields.word[rows]
    after = _word_ends(lines, word, end)
    words = spans(lines.raw, word, after).dictionary_encode()
    codes = words.indices.to_numpy()
    kinds = [_kind(w) for w in words.dictionary.to_pylist()]
    kind = np.array([k for k, _ in kinds], np.int8)[codes]
    # raw_syscalls: NR and the number, then the arguments in parentheses or = and the result
    detail = np.minimum(skip(data, after, SPACE), end)
    raw = (kind == RAW_ENTER) | (kind == RAW_EXIT)
    raw &= (data[detail] == 78) & (data[np.minimum(detail + 1, end)] == 82)  # NR
    number_at = skip(data, np.where(raw, np.minimum(detail + 2, end), end), SPACE, most=8)
    minus = data[number_at] == MINUS
    number, number_end = digits_at(data, number_at + minus, most=9)
    raw &= number_end > number_at + minus
    kind[((kind == RAW_ENTER) | (kind == RAW_EXIT)) & ~raw] = OTHER  # the same word without a number
    spelt = np.bincount(codes[~raw], minlength=len(kinds)) > 0  # the word is the name, and not NR and a number
    name = np.array([builder.names(n) if s else -1 for (_, n), s in zip(kinds, spelt, strict=True)], np.int32)[codes]
    if raw.any():
        calls, inverse = np.unique(np.where(minus, -number, number)[raw], return_inverse=True)
        arch = builder.options.arch
        name[raw] = np.array([builder.names(call_name(c, arch)) for c in calls.tolist()], np.int32)[inverse]
    opener = np.minimum(skip(data, np.where(raw, number_end, detail), SPACE, most=8), end)
    mark = data[opener]
    named = kind == NAMED
    arrow = named & (data[detail] == MINUS)  # ->
    is_enter = (kind == RAW_ENTER) | (kind == NAMED_ENTER) | (named & (data[after] == OPEN))
    is_exit = (kind == RAW_EXIT) | (kind == NAMED_EXIT) | arrow
    phase = np.where(is_enter, ENTER, np.where(is_exit, EXIT, INSTANT)).astype(np.int8)
    begin = np.where((raw | named) & ((mark == OPEN) | (mark == EQUALS)), opener + 1, np.where(raw, opener, detail))
    begin = np.minimum(skip(data, np.where(arrow, detail + 2, begin), SPACE, most=8), end)
    closed = (raw | named) & is_enter & (data[np.maximum(end - 1, 0)] == CLOSE)
    finish = np.maximum(end - closed, begin)
    ascii_only = lines.raw.isascii()
    builder.add(
        time_ns=fields.time_ns[rows],
        cpu=fields.cpu[rows].astype(np.int32),
        tid=fields.tid[rows].astype(np.int32),
        comm=fields.comm[rows].astype(np.int32),
        name=name,
        phase=phase,
        args=as_strings(spans(lines.raw, begin, finish, ~is_exit), ascii_only),
        ret=as_strings(spans(lines.raw, begin, finish, is_exit), ascii_only),
        line=lines.first + rows,
    )
