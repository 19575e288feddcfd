"""The trace of a ``trace.dat``: each cpu's sub-buffers into columns, all cpus merged by time.

Times, commands and texts are those of ``trace-cmd report -t``. Instances are streams of their own: the first one that
has data keeps the cpus' numbers, each other one adds 1000 more.

Axis legend: E events of the trace, P of a piece (some sub-buffers of one cpu), N some of them.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.errors import TraceError
from tracemend.formats.base import MOST_LOST, Builder, Options
from tracemend.formats.columns import Sorted
from tracemend.formats.endings import another
from tracemend.formats.kernel import LATEST
from tracemend.formats.ringbuffer import Bools, Columns, Ints, Kind, Stream, columns, short, split, values
from tracemend.formats.text import UNPACKING, open_binary
from tracemend.formats.tracedat import MAGIC
from tracemend.formats.tracedat.cursor import DamageError
from tracemend.formats.tracedat.described import Buffer, Cpu, Described
from tracemend.formats.tracedat.file import describe
from tracemend.formats.tracedat.plugins import TOLD
from tracemend.formats.tracedat.printing import Printer, printer
from tracemend.formats.tracedat.statistics import parse, tell
from tracemend.formats.tracedat.sub_buffers import pieces
from tracemend.trace.events import Mark, Trace, rows_by

#: Clocks whose times are no nanoseconds (unless the file tells how they become some).
TICKING = ("counter", "x86-tsc")
#: Events that are added to the trace at once.
#: Bytes in front of an event's record.
HEAD = 4
IDLE, UNKNOWN = "<idle>", "<...>"


@dataclass
class _Cpu:
    """One stream as far as it is read: its columns by piece, its losses by the index of the event behind them, and the
    commands that its events tell: (index of the event, thread, command)."""

    number: int
    count: int = 0
    latest: int = 0
    time_ns: list[Ints] = field(default_factory=list)
    columns: list[Columns] = field(default_factory=list)
    marks: list[tuple[int, int | None]] = field(default_factory=list)
    told: list[tuple[int, int, str]] = field(default_factory=list)


def read(path: Path, options: Options) -> Trace:
    """Read a trace.dat; raises TraceError with the byte of the file in its message."""
    builder = Builder(path, "trace.dat", options, pieces="pieces")
    with _unpacked(path) as (file, size):
        try:
            found = describe(file, size)
        except DamageError as e:
            raise TraceError(path, 0, f"byte {e.at}: {e.message}") from None
        reader = _Reader(builder, found, file, size)
        streams = reader.streams()
        second = another(file, len(MAGIC))
    builder.doubts += [second] if second else []
    _merge(streams, found, builder)
    tell(builder, parse(found.statistics), reader.numbers)
    return builder.finish()


@contextmanager
def _unpacked(path: Path) -> Iterator[tuple[IO[bytes], int]]:
    """The file and its size, in bytes; a compressed one unpacked into a temporary file."""
    with open(path, "rb") as f:
        if f.read(len(MAGIC)) == MAGIC:
            yield f, f.seek(0, 2)
            return
    with tempfile.TemporaryFile() as copy:
        try:
            with open_binary(path) as packed:
                shutil.copyfileobj(packed, copy)
        except UNPACKING as e:
            raise TraceError(path, 0, f"can't unpack it: {e}") from e
        yield cast(IO[bytes], copy), copy.tell()


class _Reader:
    """Reads the sub-buffers of all buffers and cpus."""

    def __init__(self, builder: Builder, found: Described, file: IO[bytes], size: int) -> None:
        self.builder, self.found, self.file, self.size = builder, found, file, size
        self.printers: dict[int, Printer] = {}
        #: What a buffer's cpu is in the trace.
        self.numbers: dict[tuple[str, int], int] = {}

    def streams(self) -> list[_Cpu]:
        """One stream for each buffer and cpu that has data. Raises TraceError."""
        used = [b for b in self.found.buffers if any(c.size for c in b.cpus)]
        stride = 1000
        while stride <= max((c.number for b in used for c in b.cpus), default=0):
            stride *= 10
        streams = []
        for k, buffer in enumerate(used):
            for cpu in buffer.cpus:
                if cpu.number + stride * k >= 1 << 31:
                    raise TraceError(self.builder.path, 0, f"too many buffers, or a cpu {cpu.number}")
                if cpu.size:
                    stream = _Cpu(cpu.number + stride * k)
                    self.numbers[buffer.name, cpu.number] = stream.number
                    self._read(stream, buffer, cpu)
                    streams.append(stream)
        self._about(used, stride)
        return streams

    def _about(self, used: list[Buffer], stride: int) -> None:
        about, found = self.builder, self.found
        about.provenance["recorder"] = f"trace-cmd {found.recorder}".strip()
        about.provenance["version"] = found.version
        for name, value in (("kernel", found.uname), ("clock", found.clock)):
            if value:
                about.provenance[name] = value
        if len(used) > 1:
            about.provenance["buffers"] = [b.name for b in used]
            about.warnings.append(
                "several buffers: "
                + "; ".join(f"cpu {stride * k} is cpu 0 of {b.name!r}" for k, b in enumerate(used) if k)
            )
        ticking = {b.clock or found.clock for b in used} & set(TICKING)
        if ticking and found.tsc is None:
            about.warnings.append(f"the clock {min(ticking)} has no nanoseconds: times are as it counted")
        if found.shifted:
            about.warnings.append("a guest's times, which were not brought to its host's clock")

    def _read(self, stream: _Cpu, buffer: Buffer, cpu: Cpu) -> None:
        try:
            for at, raw, plain in pieces(self.file, self.size, self.found, buffer, cpu):
                self._piece(stream, split(raw, buffer.page_size, self.found.layout), at, plain)
        except DamageError as e:
            self.builder.bad(0, f"byte {e.at}: {e.message}")
            stream.marks.append((stream.count, None))

    def _piece(self, stream: _Cpu, piece: Stream, at: int, plain: bool) -> None:
        """Append a piece whose bytes begin at ``at`` in the file, or were unpacked from there (not ``plain``)."""

        def bad(where: int, message: str) -> None:
            self.builder.bad(0, f"byte {at + where}: {message}" if plain else f"byte {at}: unpacked, {message}")

        for where, message in piece.faults:
            bad(where, message)
        faulty = short(piece, self.found.kinds)
        for row in np.flatnonzero(faulty).tolist():
            bad(int(piece.begin[row]), "an event that is shorter than its format says")
        time = _times(piece.time_ns, self.found)
        for row in np.flatnonzero((time < 0) & ~faulty).tolist():
            bad(int(piece.begin[row]), "a time that can't be")
        faulty |= time < 0
        if faulty.any():
            piece, time = _without(piece, faulty), time[~faulty]
        back = np.flatnonzero(np.diff(time, prepend=stream.latest) < 0)
        if len(back):
            where = at + int(piece.begin[back[0]]) if plain else at
            raise TraceError(self.builder.path, 0, f"byte {where}: time goes backwards on cpu {stream.number}")
        for index, count in piece.marks:
            possible = count is None or count < MOST_LOST
            if not possible:
                bad(0, f"a loss of {count} events can't be true")
            if count != 0:
                stream.marks.append((stream.count + index, count if possible else None))
        if len(time):
            taken = int((piece.end - piece.begin).sum()) + HEAD * len(time)
            self.builder.stored[stream.number] = self.builder.stored.get(stream.number, 0) + taken
            stream.latest = int(time[-1])
            stream.columns.append(columns(piece, self.found.kinds, self.builder, self._say))
            stream.told += self._told(piece, stream.count)
            stream.time_ns.append(time)
            stream.count += len(time)

    def _say(self, piece: Stream, rows: Ints, kind: Kind) -> list[str]:
        if kind.number not in self.printers:
            self.printers[kind.number] = printer(kind, self.found.layout.long)
        return self.printers[kind.number](piece, rows, kind)

    def _told(self, piece: Stream, before: int) -> Iterator[tuple[int, int, str]]:
        """What events tell of the commands of threads that the file's own list doesn't have."""
        number = piece.numbers(np.arange(len(piece.time_ns)), 0, 2, False)
        for n in np.unique(number).tolist():
            kind = self.found.kinds.get(n)
            for names in TOLD.get(kind.name, ()) if kind else ():
                fields = [kind.by_name.get(name) for name in names] if kind else []
                if None in fields:
                    continue
                rows = np.flatnonzero(number == n)
                tids, comms = (values(piece, rows, f) for f in fields if f is not None)
                for row, tid, comm in zip(rows.tolist(), tids, comms, strict=True):
                    if tid and tid not in self.found.comms:
                        yield before + row, tid, str(comm).lstrip()


def _times(time_ns: Ints, found: Described) -> Ints:
    """Times as trace-cmd reports them (P,); -1 for what 63 bits don't hold."""
    if found.tsc is not None and found.tsc[0]:
        multiplier, shift, _ = found.tsc
        exact = [((t & (1 << 64) - 1) * multiplier >> min(shift, 255)) + found.offset_ns for t in time_ns.tolist()]
        return np.array([t if 0 <= t <= LATEST else -1 for t in exact], np.int64)
    low, high = max(0, -found.offset_ns), min(LATEST, LATEST - found.offset_ns)
    if low > LATEST or high < 0:
        return np.full(len(time_ns), -1, np.int64)
    fits = (time_ns >= low) & (time_ns <= high)
    times: Ints = np.where(fits, time_ns + found.offset_ns, -1)
    return times


def _without(piece: Stream, faulty: Bools) -> Stream:
    """The piece without some of its events; where one was, others stay next to each other."""
    above = np.concatenate([[0], np.cumsum(~faulty)])
    return replace(
        piece,
        time_ns=piece.time_ns[~faulty],
        begin=piece.begin[~faulty],
        end=piece.end[~faulty],
        marks=[(int(above[index]), count) for index, count in piece.marks],
    )


def _merge(streams: list[_Cpu], found: Described, builder: Builder) -> None:
    """Add all streams' events and marks, in order of time; at equal times the stream that comes first in the file."""
    time = np.concatenate([t for s in streams for t in s.time_ns] or [np.empty(0, np.int64)])
    parts = [c for s in streams for c in s.columns]
    cpu = np.repeat([s.number for s in streams], [s.count for s in streams]).astype(np.int32)
    order = np.argsort(time, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    first = 0
    told: list[tuple[int, int, str]] = []
    for stream in streams:
        for index, count in stream.marks:
            row = int(place[first + index]) if index < stream.count else len(order)
            builder.marks.append(Mark(stream.number, row, count, row))
        told += [(int(place[first + index]), tid, comm) for index, tid, comm in stream.told]
        first += stream.count
    builder.marks.sort(key=lambda m: m.row)
    if not len(order):
        return
    tid = np.concatenate([c.tid for c in parts])[order]
    name = np.concatenate([c.name for c in parts])[order]
    phase = np.concatenate([c.phase for c in parts])[order]
    # 64-bit offsets: a whole trace's texts may be more than 2 GiB
    args = pa.concat_arrays([c.args.cast(pa.large_string()) for c in parts])
    ret = pa.concat_arrays([c.ret.cast(pa.large_string()) for c in parts])
    comm = _comms(tid, told, found, builder)
    builder.add_sorted(Sorted(order, time[order], cpu[order], tid, name, args, ret, comm, phase))


def _comms(
    tid: NDArray[np.int32], told: list[tuple[int, int, str]], found: Described, builder: Builder
) -> NDArray[np.int32]:
    """The code of each event's command (E,), in order of time: by the file's list, or as an event told it before."""
    threads, of = np.unique(tid, return_inverse=True)
    names = [IDLE if t == 0 else found.comms.get(t, UNKNOWN) for t in threads.tolist()]
    codes: NDArray[Any] = np.array([builder.comms(n) for n in names], np.int32)[of]
    unknown = rows_by(tid) if told else {}
    for row, thread, comm in sorted(told, key=lambda t: t[0]):
        rows = unknown.pop(thread, None)
        if rows is not None:
            codes[rows[rows > row]] = builder.comms(comm)
    return codes.astype(np.int32)
