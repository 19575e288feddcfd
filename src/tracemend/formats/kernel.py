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
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from tracemend.formats.base import Builder
from tracemend.formats.columns import Coded, Interner
from tracemend.formats.kernel_details import (
    COLON,
    DOT,
    NINE,
    SPACE,
    ZERO,
    Details,
    details_by_columns,
    details_compiled,
)
from tracemend.formats.text import Bools, Ints, Lines, decode, scratch, skip
from tracemend.trace.syscalls import DEFAULT_ARCH

if TYPE_CHECKING:
    from tracemend.formats.text_scan import Table

#: Nothing in front of an event's detail is longer, which bounds the work on a line made up to be slow.
LONGEST_HEAD = 512
#: The latest time that fits 64 bits of nanoseconds.
LATEST = (1 << 63) - 1
#: How often one chunk's lines are compared with another line's columns, and how many lines are worth it.
ROUNDS, WORTHWHILE = 8, 64

#: An inferred event in a merged file carries this; such a line is never evidence.
INFERRED = b" tracemend_inferred gap="

#: The last line of a file that ends within it: a word alone, a parenthesis never closed, a result never given.
CUT = re.compile(
    rb"(?:[^\s(]*:)?sys_(?:enter:\s++(?!.*\)$)|exit:\s++(?!NR -?\d+ = -?\d+$)|\w+(?:\([^)]*| -> (?:0x)?| -)$)"
    rb"|(?:[^\s(]*:)?sched_switch:(?!.*==>.*\d$)|[^\s(]++$"
)


#: What stands in front of a time: command, thread, cpu, and the thread's process (-1: none).
Head = tuple[bytes | None, int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """What differs between the tracers: the pattern of a line, and the word that tells a remark from an event.

    ``pattern`` has the groups comm (may be absent), tid, cpu (may be absent), time and event, the event's first byte;
    it may have the group process.
    ``unit_ns``: what one of the time stands for; 1 also for a clock's ticks, of which nothing tells how long they are.
    ``counted``: a number may stand between time and event.
    """

    pattern: re.Pattern[bytes]
    remark: bytes = b""
    unit_ns: int = 1_000_000_000
    counted: bool = False

    def match(self, text: bytes) -> re.Match[bytes] | None:
        return self.pattern.match(text, 0, LONGEST_HEAD)


@lru_cache(1 << 14)
def head_of(layout: Layout, text: bytes) -> Head | None:
    """What stands in front of a time with a colon behind it; None if no line has such a head.

    What holds with one time holds with every other: only its digits differ, and nothing else of the pattern can end
    within digits that a point or a colon ends.
    """
    match = layout.match(text + (b"0.0: x" if layout.unit_ns > 1 else b"0: x"))
    return _head(match) if match and match.start("time") == len(text) else None


def _head(match: re.Match[bytes]) -> Head | None:
    """None if the thread's number can't be one."""
    cpu, process = match["cpu"], match.groupdict().get("process") or b""
    if len(match["tid"]) > 9:
        return None
    return (
        match["comm"],
        int(match["tid"]),
        -1 if cpu is None else int(cpu),
        int(process) if process.isdigit() and len(process) <= 9 else -1,
    )


@dataclass(slots=True)
class _Fields:
    """What each line's head says and where its event's word starts (N,); only rows of ``found`` mean anything."""

    found: Bools
    cpu: NDArray[np.int32]
    tid: NDArray[np.int32]
    comm: NDArray[np.int32]
    time_ns: Ints
    word: Ints
    comms: Interner = field(default_factory=Interner)
    processes: dict[int, int] = field(default_factory=dict)
    #: What a compiled loop found, of which ``time_ns`` and ``word`` are rows, and the words in it.
    scanned: tuple[Ints, Table] | None = None

    def of(self, rows: Ints) -> _Fields:
        """Those of some lines."""
        cpu, tid, comm = (column[rows] for column in (self.cpu, self.tid, self.comm))
        times, words = self.time_ns[rows], self.word[rows]
        return _Fields(self.found[rows], cpu, tid, comm, times, words, self.comms, self.processes)

    def code(self, head: Head) -> tuple[int, int, int]:
        """Cpu, thread and the command's code (-1: none)."""
        comm, tid, cpu, process = head
        if process >= 0:
            self.processes[tid] = process
        return cpu, tid, -1 if comm is None else self.comms(decode(comm))


@dataclass(slots=True)
class Parsed:
    """What a chunk holds, by itself. ``lines`` (K,): those of its events; ``others``: those that are none, and
    ``above``, the number of events above each. ``cut``: the line that breaks off, 0 if none does. ``broken``: those
    of the others whose arguments have no end.
    """

    inferred: int
    cut: int
    others: list[tuple[int, bytes]]
    above: Ints
    lines: Ints
    fields: _Fields
    comm: Coded
    details: Details | None
    broken: frozenset[int] = frozenset()

    def add_to(self, builder: Builder, other: Callable[[int, int, bytes], None]) -> None:
        """Add the events. ``other(row, line, text)`` gets every line that is none, with the number of events above it.

        Inferred events of an earlier mending are counted.
        """
        builder.inferred += self.inferred
        for above, (line, text) in zip((builder.rows + self.above).tolist(), self.others, strict=True):
            if line in self.broken:
                builder.bad(line, f"a call whose arguments have no end: {decode(text[:80])!r}")
            else:
                other(above, line, text)
        if self.cut:
            builder.bad(self.cut, "the line is cut short")
        if self.details is None:
            return
        fields, details = self.fields, self.details
        builder.processes.update(fields.processes)
        builder.add(
            time_ns=fields.time_ns,
            cpu=fields.cpu,
            tid=fields.tid,
            comm=self.comm.among(builder.comms),
            name=details.name.among(builder.names),
            phase=details.phase,
            args=details.args,
            ret=details.ret,
            line=self.lines,
        )


def parse(lines: Lines, layout: Layout, arch: str = DEFAULT_ARCH) -> Parsed:
    """Read a chunk; needs nothing of the chunks around it."""
    silent = lines.holding(INFERRED)
    wanted = lines.end > lines.start
    wanted[silent] = False
    cut = False
    if lines.cut and wanted[-1]:
        last = lines.text(len(lines) - 1)
        event = layout.match(last)
        cut = event is not None and CUT.match(last, event.start("event")) is not None
        wanted[-1] = not cut
    fields = _locate(lines, layout, wanted)
    fields.found[_remarks(lines, layout.remark, fields)] = False
    rows = np.flatnonzero(fields.found)
    details = _details(lines, fields, rows, arch) if len(rows) else None
    broken = (
        [i for i in rows[details.unclosed].tolist() if not lines.text(i).rstrip().endswith(b")")] if details else []
    )
    if broken:
        fields.found[broken] = False
        rows = np.flatnonzero(fields.found)
        details = _details(lines, fields, rows, arch) if len(rows) else None
    others = np.flatnonzero(wanted & ~fields.found)
    return Parsed(
        len(silent),
        lines.first + len(lines) - 1 if cut else 0,
        [(lines.first + i, lines.text(i)) for i in others.tolist()],
        np.searchsorted(rows, others),
        lines.first + rows,
        fields.of(rows),
        Coded.of(fields.comm[rows], list(fields.comms.codes)),
        details,
        frozenset(lines.first + i for i in broken),
    )


def _remarks(lines: Lines, remark: bytes, fields: _Fields) -> Ints:
    """The lines whose event's word starts as a remark does."""
    if not remark:
        return np.empty(0, np.int64)
    if fields.scanned is None:
        likely = lines.holding(remark)
    else:
        (*_, code), words = fields.scanned
        flags = np.array([*(w.startswith(remark) for w in words.words(lines.raw)), True])
        likely = np.flatnonzero(fields.found & flags[code])
    meant = [i for i in likely.tolist() if fields.found[i] and lines.raw.startswith(remark, int(fields.word[i]))]
    return np.array(meant, np.int64)


def _details(lines: Lines, fields: _Fields, rows: Ints, arch: str) -> Details:
    if fields.scanned is None:
        return details_by_columns(lines, fields.word[rows], lines.end[rows], arch)
    return details_compiled(lines, *fields.scanned, rows, arch)


def _locate(lines: Lines, layout: Layout, wanted: Bools) -> _Fields:
    n = len(lines)
    cpu, tid, comm = np.zeros((3, n), np.int32)
    fields = _Fields(np.zeros(n, bool), cpu, tid, comm, np.zeros(n, np.int64), np.zeros(n, np.int64))
    if lines.large:
        _locate_compiled(lines, layout, wanted, fields)
    rows = np.flatnonzero(wanted & ~fields.found)
    at = rounds = 0
    while at < len(rows):
        row = int(rows[at])
        at += 1
        text = lines.text(row)
        match = layout.match(text)
        if match is None:
            continue
        time = _time_ns(match["time"], layout.unit_ns)
        head = _head(match)
        if time is None or head is None:
            continue
        fields.found[row] = True
        fields.cpu[row], fields.tid[row], fields.comm[row] = fields.code(head)
        fields.time_ns[row] = time
        fields.word[row] = int(lines.start[row]) + match.start("event")
        if rounds < ROUNDS and len(rows) - at >= WORTHWHILE:
            rounds += 1
            rows = rows[at:]
            rows, at = rows[~_locate_alike(lines, layout, match, rows, fields)], 0
    return fields


def _locate_compiled(lines: Lines, layout: Layout, wanted: Bools, fields: _Fields) -> None:
    """Fill in the lines of which a compiled loop finds the time and the pattern takes what stands in front of it."""
    from tracemend.formats.kernel_scan import CODE, HEAD, TIME, WORD, scan_lines
    from tracemend.formats.text_scan import table_of

    n = len(lines)
    heads, found = table_of("heads", n), scratch("fields", (5, n), np.int64)
    words = table_of("words", 2 * n)  # a line has another one where the pattern finds another time
    units = np.array([layout.unit_ns // 10**d for d in range(19) if 10**d <= layout.unit_ns])
    scan_lines(lines.data, (lines.start, lines.end, wanted), units, layout.counted, heads, words, found)
    texts = heads.words(lines.raw)
    known = np.zeros((4, len(texts) + 1), np.int32)  # whether it is a head at all, cpu, tid, comm; the last: none
    for code, text in enumerate(texts):
        head = head_of(layout, text)
        if head is not None:
            known[:, code] = True, *fields.code(head)
    head_code = found[HEAD]
    fields.found = known[0][head_code] > 0
    found[CODE, ~fields.found] = -1  # the word is behind another time, if there is one
    fields.cpu, fields.tid, fields.comm = (column[head_code] for column in known[1:])
    fields.time_ns, fields.word = found[TIME], found[WORD]
    fields.scanned = found, words


def _time_ns(text: bytes, unit_ns: int) -> int | None:
    """A time with decimals down to nanoseconds at most; None for what 64 bits don't hold."""
    whole, _, fraction = text.partition(b".")
    if len(whole) > 19 or 10 ** len(fraction) > unit_ns:
        return None
    time = int(whole + fraction) * (unit_ns // 10 ** len(fraction))
    return time if time <= LATEST else None


def _locate_alike(lines: Lines, layout: Layout, match: re.Match[bytes], rows: Ints, fields: _Fields) -> Bools:
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
    known = np.zeros((len(heads.dictionary), 4), np.int64)  # cpu, tid, comm, and whether it is a head at all
    needed = np.bincount(codes, weights=alike, minlength=len(known)) > 0
    for code in np.flatnonzero(needed).tolist():
        head = head_of(layout, heads.dictionary[code].as_py())
        if head is not None:
            known[code] = *fields.code(head), True
    cpu, tid, comm, is_head = known[codes].T
    alike &= is_head > 0
    to = rows[alike]
    fields.found[to] = True
    fields.comm[to], fields.tid[to], fields.cpu[to] = comm[alike], tid[alike], cpu[alike]
    fields.time_ns[to] = value[alike].astype(np.int64)
    fields.word[to] = word[alike]
    return alike
