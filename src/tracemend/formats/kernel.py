"""The line that ftrace, trace-cmd and perf share: ``comm tid [cpu] flags time: event detail``, read as columns.

Lines of the usual form are taken apart by array operations, all at once; what is left over is tried with a regular
expression line by line; what that leaves too (marks of losses, comments, damage) goes back to the format.

Axis legend: N lines of a chunk, K events among them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.lib.stride_tricks import sliding_window_view

from tracemend.events import ENTER, EXIT, INSTANT
from tracemend.formats.base import Builder
from tracemend.formats.text import Bools, Ints, Lines, decode, digits_at, digits_before, first_at, skip, substrings
from tracemend.syscalls import call_name, canonical

OPEN_BRACKET, CLOSE_BRACKET, OPEN, CLOSE, SPACE, DOT, COLON = b"[]() .:"
COMM_WIDTH = 16  # TASK_COMM_LEN: 15 bytes and a zero
WORD_WIDTH = 64

#: How the word in front of an event's detail tells call and phase.
RAW_ENTER, RAW_EXIT, NAMED, NAMED_ENTER, NAMED_EXIT, OTHER = range(6)


@dataclass(frozen=True, slots=True)
class Layout:
    """What differs between the tracers: the byte between command and thread, and the pattern of the unusual line.

    ``pattern`` has the groups comm, tid, time, event and optionally cpu.
    """

    separator: int
    pattern: re.Pattern[bytes]


@dataclass(slots=True)
class _Fields:
    """Where each line's fields lie (N,); only rows of ``found`` mean anything."""

    found: Bools
    cpu: Ints
    tid: Ints
    time_ns: Ints
    comm_start: Ints
    comm_end: Ints
    word: Ints


def read_chunk(lines: Lines, layout: Layout, builder: Builder, other: Callable[[int, int, bytes], None]) -> None:
    """Add the chunk's events to the builder.

    ``other(row, line, text)`` gets every line that is no event, with the number of events above it.
    """
    fields = _locate(lines, layout)
    _locate_slowly(lines, layout, fields)
    rows = np.flatnonzero(fields.found)
    above = np.cumsum(fields.found)
    for i in np.flatnonzero(~fields.found).tolist():
        text = lines.text(i)
        if text:
            other(builder.rows + int(above[i]), lines.first + i, text)
    if len(rows):
        _add_events(lines, fields, rows, builder)


def _locate(lines: Lines, layout: Layout) -> _Fields:
    data, start, end = lines.data, lines.start, lines.end
    size = len(lines.raw)
    # cpu: the line's first bracket, with nothing but digits inside
    bracket = np.minimum(first_at(lines.find(OPEN_BRACKET), start, size), end)
    cpu, cpu_end = digits_at(data, bracket + 1, most=4)
    found = (bracket < end) & (cpu_end > bracket + 1) & (data[cpu_end] == CLOSE_BRACKET)
    bracket = np.where(found, bracket, start)  # keep every further look inside the line
    # thread: the number in front of it; command: what stands before that
    tid, tid_start = digits_before(data, skip(data, bracket - 1, SPACE, most=24, step=-1) + 1, most=9)
    comm_start = skip(data, start, SPACE, most=COMM_WIDTH)
    comm_end = tid_start - 1
    found &= (tid_start < bracket) & (comm_end > comm_start) & (data[np.maximum(comm_end, 0)] == layout.separator)
    if layout.separator == SPACE:
        comm_end = np.where(found, skip(data, comm_end - 1, SPACE, most=24, step=-1) + 1, comm_end)
    found &= (comm_end > comm_start) & (comm_end - comm_start < COMM_WIDTH)
    # time: seconds and six or nine digits before the first colon behind the bracket
    colon = np.minimum(first_at(lines.find(COLON), np.where(found, cpu_end, start), size), end)
    micro, nano = data[np.maximum(colon - 7, 0)] == DOT, data[np.maximum(colon - 10, 0)] == DOT
    point = np.where(micro, colon - 7, colon - 10)
    fraction, fraction_start = digits_before(data, colon, most=9)
    seconds, seconds_start = digits_before(data, point, most=10)
    found &= (colon < end) & (micro ^ nano) & (fraction_start == point + 1) & (seconds_start < point)
    found &= (data[seconds_start - 1] == SPACE) & (seconds_start > cpu_end)
    # between bracket and time stands one word of flags at the most
    flags = skip(data, np.where(found, cpu_end + 1, start), SPACE, most=24)
    spaces = np.where(found, seconds_start - 1, start)
    flags_end = skip(data, spaces, SPACE, most=24, step=-1)
    has_flags = flags < seconds_start
    windows = sliding_window_view(data, 16)[np.where(found & has_flags, flags, 0)]
    inside = np.arange(16) <= np.clip(flags_end - flags, -1, 15)[:, None]
    found &= ~has_flags | ((flags_end - flags < 16) & ~((windows == SPACE) & inside).any(axis=1))
    word = skip(data, np.where(found, colon + 1, start), SPACE, most=64)
    found &= word < end
    time_ns = seconds * 1_000_000_000 + fraction * np.where(micro, 1000, 1)
    return _Fields(found, cpu, tid, time_ns, comm_start, comm_end, word)


def _locate_slowly(lines: Lines, layout: Layout, fields: _Fields) -> None:
    for i in np.flatnonzero(~fields.found & (lines.end > lines.start)).tolist():
        match = layout.pattern.match(lines.text(i))
        if match is None:
            continue
        seconds, _, fraction = match["time"].partition(b".")
        if len(match["tid"]) > 9 or len(seconds) > 10 or len(fraction) > 9:
            continue
        at = int(lines.start[i])
        fields.found[i] = True
        fields.cpu[i] = int(match["cpu"]) if match["cpu"] is not None else -1
        fields.tid[i] = int(match["tid"])
        fields.time_ns[i] = int(seconds) * 1_000_000_000 + int(fraction.ljust(9, b"0") or 0)
        fields.comm_start[i], fields.comm_end[i] = at + match.start("comm"), at + match.end("comm")
        fields.word[i] = at + match.start("event")


def _kind(word: bytes) -> tuple[int, str]:
    """What the word before an event's detail says: a kind and the event's name."""
    colon = word.endswith(b":")
    name = decode(word.rstrip(b":"))
    short = name.rpartition(":")[2]  # perf puts the tracepoint's group in front
    if colon and short in ("sys_enter", "sys_exit"):
        return (RAW_ENTER if short == "sys_enter" else RAW_EXIT), short
    if colon and short.startswith("sys_enter_"):
        return NAMED_ENTER, canonical(short.removeprefix("sys_enter_"))
    if colon and short.startswith("sys_exit_"):
        return NAMED_EXIT, canonical(short.removeprefix("sys_exit_"))
    if not colon and short.startswith("sys_"):
        return NAMED, canonical(short.removeprefix("sys_"))
    return OTHER, short


def _add_events(lines: Lines, fields: _Fields, rows: Ints, builder: Builder) -> None:
    data = lines.data
    end, word = lines.end[rows], fields.word[rows]
    # the word: up to a space or a parenthesis
    window = sliding_window_view(data, WORD_WIDTH)[word]
    stop = (window == SPACE) | (window == OPEN) | (np.arange(WORD_WIDTH) >= (end - word)[:, None])
    stop[:, -1] = True
    length = stop.argmax(axis=1)
    window = np.where(np.arange(WORD_WIDTH) < length[:, None], window, 0).astype(np.uint8)
    encoded = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(WORD_WIDTH), len(rows), [None, pa.py_buffer(np.ascontiguousarray(window))]
    ).dictionary_encode()
    kinds = [_kind(w.rstrip(b"\0")) for w in encoded.dictionary.to_pylist()]
    codes = encoded.indices.to_numpy()
    kind = np.array([k for k, _ in kinds], np.int64)[codes]
    name = np.array([-1 if k in (RAW_ENTER, RAW_EXIT) else builder.names(n) for k, n in kinds], np.int64)[codes]
    after = word + length
    # raw_syscalls: NR and the number, then the arguments in parentheses or = and the result
    detail = skip(data, after, SPACE, most=64)
    number_at = skip(data, np.minimum(detail + 2, end), SPACE, most=8)
    minus = data[number_at] == 45
    number, number_end = digits_at(data, number_at + minus, most=9)
    raw = (kind == RAW_ENTER) | (kind == RAW_EXIT)
    raw &= (data[detail] == 78) & (data[np.minimum(detail + 1, end)] == 82) & (number_end > number_at)
    lost = ((kind == RAW_ENTER) | (kind == RAW_EXIT)) & ~raw
    for i in np.flatnonzero(lost).tolist():  # the same word without a number is some other event
        kind[i], name[i] = OTHER, builder.names(_kind(decode_word(window[i]))[1])
    number = np.where(minus, -number, number)
    calls, inverse = np.unique(number[raw], return_inverse=True)
    if len(calls):
        arch = builder.options.arch
        name[raw] = np.array([builder.names(call_name(int(c), arch)) for c in calls], np.int64)[inverse]
    opener = skip(data, np.where(raw, number_end, detail), SPACE, most=8)
    mark = data[np.minimum(opener, end)]
    named = kind == NAMED
    arrow = named & (data[detail] == 45)  # ->
    is_enter = (kind == RAW_ENTER) | (kind == NAMED_ENTER) | (named & (data[after] == OPEN))
    is_exit = (kind == RAW_EXIT) | (kind == NAMED_EXIT) | arrow
    phase = np.where(is_enter, ENTER, np.where(is_exit, EXIT, INSTANT)).astype(np.int8)
    begin = np.where(raw, opener, detail)
    begin = np.where((raw | named) & ((mark == OPEN) | (mark == 61)), opener + 1, begin)  # 61: =
    begin = np.where(arrow, detail + 2, begin)
    begin = np.minimum(skip(data, begin, SPACE, most=8), end)
    closed = (raw | named) & is_enter & (data[np.maximum(end - 1, 0)] == CLOSE)
    finish = np.maximum(np.where(closed, end - 1, end), begin)
    comm = _commands(lines, fields, rows, builder)
    builder.add(
        time_ns=fields.time_ns[rows],
        cpu=fields.cpu[rows].astype(np.int32),
        tid=fields.tid[rows].astype(np.int32),
        comm=comm,
        name=name.astype(np.int32),
        phase=phase,
        args=substrings(data, begin, finish, ~is_exit),
        ret=substrings(data, begin, finish, is_exit),
        line=lines.first + rows,
    )


def decode_word(window: np.typing.NDArray[np.uint8]) -> bytes:
    return window.tobytes().rstrip(b"\0")


def _commands(lines: Lines, fields: _Fields, rows: Ints, builder: Builder) -> np.typing.NDArray[np.int32]:
    start = fields.comm_start[rows]
    length = fields.comm_end[rows] - start
    window = sliding_window_view(lines.data, COMM_WIDTH)[start]
    window = np.where(np.arange(COMM_WIDTH) < length[:, None], window, 0).astype(np.uint8)
    encoded = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(COMM_WIDTH), len(rows), [None, pa.py_buffer(np.ascontiguousarray(window))]
    ).dictionary_encode()
    known = [builder.comms(decode(c.rstrip(b"\0"))) for c in encoded.dictionary.to_pylist()]
    codes = np.array(known, np.int32)[encoded.indices.to_numpy()]
    for i in np.flatnonzero(length > COMM_WIDTH).tolist():  # only the slow pattern finds longer ones
        a = int(start[i])
        codes[i] = builder.comms(decode(lines.raw[a : a + int(length[i])]))
    return codes
