"""The trace of an event trace log: every buffer's records into columns, all cpus merged by time.

Axis legend: E events of the trace.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.errors import TraceError
from tracemend.formats.base import Builder, Options
from tracemend.formats.columns import Sorted
from tracemend.formats.etl import BUFFER_HEADER
from tracemend.formats.etl.buffers import COMPRESSED, Buffer, Ints, Words, buffers, mapped, walk
from tracemend.formats.etl.header import DATA, Header, parse
from tracemend.formats.etl.losses import Losses
from tracemend.formats.etl.names import LOST, TYPES
from tracemend.formats.etl.records import NOBODY, Columns, columns
from tracemend.trace.events import Mark, Trace, rows_by
from tracemend.trace.evidence import Doubt, Unplaced

#: Buffers that are read at once, and events that are added to the trace at once.
AT_ONCE = 1024
#: Bytes that hold the header.
ENOUGH = DATA + 512


@dataclass
class _Read:
    """All events as they lie in the file: when, on which cpu, and their columns, by batch."""

    time_ns: list[Ints] = field(default_factory=list)
    cpu: list[NDArray[np.int32]] = field(default_factory=list)
    columns: list[Columns] = field(default_factory=list)
    count: int = 0


def read(path: Path, options: Options) -> Trace:
    """Read an event trace log; raises TraceError with the byte of the file in its message."""
    builder = Builder(path, "etl", options, pieces="pieces")
    with mapped(path) as words:
        header = parse(path, words[: ENOUGH // 4].tobytes())

        def bad(at: int, message: str) -> None:
            builder.bad(0, f"byte {at}: {message}")

        found, damaged = buffers(words, header, bad)
        if not found:
            raise TraceError(path, 0, "byte 0: no buffer of it can be read")
        packed = next((b for b in found if b.flags & COMPRESSED), None)
        if packed is not None:
            where = packed.begin - BUFFER_HEADER
            raise TraceError(
                path, 0, f"byte {where}: a compressed buffer; let Windows read it: tracerpt FILE -of CSV -o OUT.csv"
            )
        _about(builder, header, found)
        _Reader(builder, header, words, found).fill(damaged)
    return builder.finish()


def _about(builder: Builder, header: Header, found: list[Buffer]) -> None:
    builder.provenance["windows"] = header.version
    builder.provenance["processors"] = header.processors
    builder.provenance["buffers"] = len(found)
    for buffer in found[1:]:  # the first one is the header's
        filled = buffer.end - buffer.begin
        builder.stored[buffer.cpu] = builder.stored.get(buffer.cpu, 0) + filled


class _Reader:
    """Reads the buffers' records and puts them in order."""

    def __init__(self, builder: Builder, header: Header, words: Words, found: list[Buffer]) -> None:
        self.builder, self.header, self.words, self.buffers = builder, header, words, found
        self.read = _Read()
        self.faulty: list[Buffer] = []

    def fill(self, damaged: int) -> None:
        """Add all events, marks and what else there is to tell of losses. Raises TraceError."""
        for first in range(0, len(self.buffers), AT_ONCE):
            self._batch(self.buffers[first : first + AT_ONCE])
        losses = Losses(self.builder, self.header, self.buffers, damaged)
        behind = losses.tell()
        order = self._merge()
        self._mark(order, behind)
        self._records_of_losses(losses.one_stream)

    def _batch(self, among: list[Buffer]) -> None:
        at, ends, faults = walk(self.words, among)
        for i, byte in faults.items():
            self.builder.bad(0, f"byte {byte}: no record; what follows in this buffer is passed over")
            self.faulty.append(among[i])
        found = columns(self.words, at, self.builder.names)
        time = self.header.times(found.time)
        # the log's own records in its first buffer: the header, and how the file was made
        kept = np.ones(len(at), bool)
        kept[found.own[at[found.own] < self.buffers[0].end]] = False
        wrong = kept & (time < 0)
        for byte in at[wrong].tolist():
            self.builder.bad(0, f"byte {byte}: an event at a time that can't be")
        kept &= ~wrong
        counted = np.concatenate([[0], np.cumsum(kept)])
        edges = self.read.count + counted[[0, *ends]]
        for buffer, first, last in zip(among, edges.tolist(), edges[1:].tolist(), strict=False):
            buffer.events = first, last
        cpu = np.repeat(np.array([b.cpu for b in among], np.int32), np.diff([0, *ends]))
        self.read.cpu.append(cpu[kept])
        self.read.time_ns.append(time[kept])
        self.read.columns.append(_kept(found, kept))
        self.read.count += int(counted[-1])

    def _merge(self) -> Ints:
        """Add all events in order of time; where each one is then (E,)."""
        read, builder = self.read, self.builder
        time, cpu = np.concatenate(read.time_ns), np.concatenate(read.cpu)
        order = np.argsort(time, kind="stable")
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        self.time_ns, self.cpu = time[order], cpu[order]
        self.name = np.concatenate([c.name for c in read.columns])[order]
        thread = np.concatenate([c.thread for c in read.columns])[order]
        builder.belong(thread, np.concatenate([c.process for c in read.columns])[order])
        first, texts = 0, []
        switches, incoming, outgoing = [], [], []
        for piece in read.columns:
            switches.append(place[first + piece.switches])
            incoming.append(piece.incoming)
            outgoing.append(piece.outgoing)
            said: list[str | None] = [None] * len(piece.time)
            for row, text in piece.texts.items():
                said[row] = text
            texts.append(pa.array(said, pa.large_string()))
            first += len(piece.time)
        at = np.concatenate(switches)
        self._follow(thread, at, np.concatenate(incoming), np.concatenate(outgoing))
        args = pa.concat_arrays(texts)
        builder.add_sorted(Sorted(order, self.time_ns, self.cpu, thread, self.name, args))
        return place

    def _follow(
        self, thread: NDArray[np.int32], at: Ints, incoming: NDArray[np.int32], outgoing: NDArray[np.int32]
    ) -> None:
        """Give events that don't tell their thread (``thread``, E) the one that has their cpu, as the switches (at rows
        ``at``) tell it: where what one switch put there is what the next one takes away."""
        order = np.argsort(at)
        at, incoming, outgoing = at[order], incoming[order], outgoing[order]
        odd = 0
        switches = rows_by(self.cpu[at])
        for cpu, rows in rows_by(self.cpu).items() if len(at) else ():
            mine = switches.get(cpu)
            if mine is None:
                continue
            before = np.concatenate([outgoing[mine[:1]], incoming[mine]])
            after = np.append(outgoing[mine], incoming[mine[-1]])
            odd += int((before != after).sum())
            holder = np.where(before == after, before, NOBODY)
            untold = rows[thread[rows] == NOBODY]
            # a switch is the last that the outgoing thread does
            thread[untold] = holder[np.searchsorted(at[mine], untold, side="left")]
        if odd:
            self.builder.doubts.append(
                Doubt(
                    f"{odd:,} times a switch takes a cpu from a thread that no switch had given it to",
                    "Record again with more and larger buffers (-nb, -bs).",
                )
            )

    def _mark(self, place: Ints, behind: list[Buffer]) -> None:
        """Mark what is lost behind damage in a buffer, and in front of buffers that follow missing ones."""
        marks = self.builder.marks
        for buffer in self.faulty:
            first, last = buffer.events
            if last > first:
                row = int(place[first:last].max()) + 1
            else:
                full = self.header.times(np.array([buffer.full]))
                row = int(np.searchsorted(self.time_ns, full[0])) if full[0] >= 0 else 0
            marks.append(Mark(buffer.cpu, row, None, row))
        for buffer in behind:
            first, last = buffer.events
            row = int(place[first:last].min()) if last > first else len(place)
            marks.append(Mark(buffer.cpu, row, None, row))
        marks.sort(key=lambda m: m.row)

    def _records_of_losses(self, placed: bool) -> None:
        """Tell of the records that a session read in real time got instead of events."""
        for said in TYPES[LOST].values():
            code = self.builder.names.codes.get(f"{LOST}/{said}", -1)
            rows = np.flatnonzero(self.name == code)
            if placed:
                self.builder.marks += [Mark(int(self.cpu[r]), int(r), None, int(r)) for r in rows]
            elif len(rows):
                unit = "buffers" if said == "RTLostBuffer" else "events"
                self.builder.unplaced.append(Unplaced(f"{len(rows):,} records say {said}", None, unit))


def _kept(found: Columns, kept: NDArray[np.bool_]) -> Columns:
    """The columns without some of their records."""
    if kept.all():
        return found
    place = np.cumsum(kept) - 1
    remain = kept[found.switches]
    return Columns(
        found.time[kept],
        found.thread[kept],
        found.process[kept],
        found.name[kept],
        place[found.switches[remain]],
        found.incoming[remain],
        found.outgoing[remain],
        {int(place[row]): text for row, text in found.texts.items() if kept[row]},
    )
