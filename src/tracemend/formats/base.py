"""What a format is, and the builder that every reader fills."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.errors import TraceError
from tracemend.formats.columns import Interner, Sorted
from tracemend.formats.cutting import Cutting, Sink
from tracemend.formats.endings import WITHIN_A_LINE
from tracemend.formats.text import count_lines, decode
from tracemend.trace.events import INSTANT, PHASES, SCHEMA, Gap, Glance, Mark, Trace, stable_order
from tracemend.trace.evidence import Doubt, PassedOver, Unplaced
from tracemend.trace.pieces import Piece
from tracemend.trace.placing import gaps_from_marks
from tracemend.trace.syscalls import DEFAULT_ARCH

#: Events that are added to a trace at once.
BATCH = 1 << 20
#: A text piece by piece: whole lines, and the number of the first one.
Pieces = Iterable[tuple[bytes, int]]
#: What times are: nanoseconds, or numbers that tell an order alone.
Clock = Literal["ns", "index"]


#: What is said of inferred events that a file holds: they are never read as recorded ones.
EARLIER = "inferred events of an earlier mending were passed over"
#: More lost events than this in one mark is damage, not a loss: no buffer runs over by 2^40 events.
MOST_LOST = 1 << 40


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Options:
    """How to read. ``strict``: refuse a trace for the first line that can't be read, instead of passing it over.
    ``jobs``: so many threads may work at once, which changes nothing of what is read. ``sink``: for formats
    ``in_pieces``; without one all events are held.
    """

    arch: str = DEFAULT_ARCH
    strict: bool = False
    jobs: int = field(default_factory=cores)
    sink: Sink | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a format can show of losses: the verdict rests on it, and the table of formats in the docs is made from it.

    marks: how a loss stands in it, empty if it never shows one. complete: how one knows of a trace without a mark that
    it lost nothing; empty if that can't be known, and then no such trace is ever called complete. blind: what was lost
    without a mark even so, empty if nothing.
    """

    marks: str
    complete: str
    blind: str = ""


@dataclass(frozen=True, slots=True)
class Format:
    """One way a trace lies on disk.

    ``recognise`` sees the first 64 KiB (unpacked) and says whether this is it; ``read`` raises TraceError. ``folder``:
    a trace is a folder, recognised by the file of metadata in it. ``glance``: where the format has packets, reads their
    headers and no event; ``windows``: reads only the packets that hold so many events on each side of each loss, and
    the other streams' packets of that time; ``fill``: of a text that can be followed while it is written, reads its
    pieces and says what its clock counts. They raise TraceError, too. ``tracer``: who writes it, if only one does.
    ``in_pieces``: ``read`` has one builder, which may hand its events on (``Options.sink``): marks come in the order
    of their lines, and each before the batch that follows the event behind it.
    """

    name: str
    title: str
    recognise: Callable[[bytes], bool]
    read: Callable[[Path, Options], Trace]
    evidence: Evidence
    tracer: str = ""
    folder: bool = False
    glance: Callable[[Path, Options], Glance] | None = None
    windows: Callable[[Path, Options, int], Trace] | None = None
    fill: Callable[[Builder, Pieces], Clock] | None = None
    in_pieces: bool = False


@dataclass
class Builder:
    """Collects batches of events and marks in file order; ``finish`` makes the trace.

    Name and command codes come from ``names`` and ``comms``, so that all batches share one dictionary.
    """

    path: Path
    format: str
    options: Options
    pieces: str = "lines"
    names: Interner = field(default_factory=Interner)
    comms: Interner = field(default_factory=Interner)
    marks: list[Mark] = field(default_factory=list)
    provenance: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    overwritten: int = 0
    tracer: str = ""
    nested: bool = False
    #: Whether lines of somebody else's may lie in between, which say nothing of the trace.
    mixed: bool = False
    unplaced: list[Unplaced] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)
    stored: dict[int, int] = field(default_factory=dict)
    processes: dict[int, int] = field(default_factory=dict)
    #: Whether marks go once they are handed on: there may be very many.
    forgets_marks: bool = False
    rows: int = 0
    #: Bytes that were read by now, unpacked, where the reader counts them.
    taken: int = 0
    malformed: int = 0
    inferred: int = 0
    _first_bad: tuple[int, str] = (0, "")
    _last_bad: int = 0
    #: The last line of a text, where it has no line end.
    _unended: int = 0
    _batches: list[list[pa.Array]] = field(default_factory=list)
    _latest: dict[int, int] = field(default_factory=dict)
    #: Marks that were handed on.
    _marked: int = 0
    #: The first row that is held.
    _first: int = 0
    _cutting: Cutting = field(default_factory=Cutting)

    def bad(self, line: int, message: str, path: Path | None = None) -> None:
        """A line that can't be read: counts it, or raises TraceError where the caller asked to be strict.

        ``path``: the file that it is in, where the trace has several.
        """
        if self.options.strict:
            raise TraceError(path or self.path, line, message)
        if not self.malformed:
            self._first_bad = line, message if path is None else f"{path.name}: {message}"
        self._last_bad = line
        self.malformed += 1

    def reading(self, text: bytes, first: int) -> None:
        """A piece of text, of whole lines but for the last one of the file, is read now; ``first``: its first line."""
        self.taken += len(text)
        self._unended = 0 if text.endswith(b"\n") else first + count_lines(text)
        if self._unended and not text[text.rfind(b"\n") + 1 :].strip():  # nothing of the line but what indents it
            self._last_bad = self._unended

    def count(self, line: int, text: bytes) -> int | None:
        """A mark's number of lost events; None, once reported as a bad line, when no buffer can have lost so many."""
        count = int(text) if len(text) < 20 else MOST_LOST
        if count < MOST_LOST:
            return count
        self.bad(line, f"a loss of {decode(text[:40])} events can't be true")
        return None

    def add(
        self,
        *,
        time_ns: NDArray[np.int64],
        cpu: NDArray[np.int32],
        tid: NDArray[np.int32],
        comm: NDArray[np.int32],
        name: NDArray[np.int32],
        phase: NDArray[np.int8],
        args: pa.Array,
        ret: pa.Array,
        line: NDArray[np.int64],
    ) -> None:
        """Append one batch of E events, in file order. Raises TraceError where time runs backwards on one cpu."""
        self._check_times(time_ns, cpu, line)
        self._hand_on()
        if self.options.sink and len(time_ns):
            self._cutting.span(int(time_ns.min()), int(time_ns.max()))
        self.rows += len(time_ns)
        codes = pa.array(np.where(comm < 0, 0, comm), pa.int32(), mask=comm < 0)
        self._batches.append(
            [
                pa.array(time_ns),
                pa.array(cpu.astype(np.int32)),
                pa.array(tid.astype(np.int32)),
                codes,
                pa.array(name.astype(np.int32)),
                pa.array(phase.astype(np.int8)),
                args,
                ret,
                pa.array(line),
            ]
        )

    def belong(self, tid: NDArray[np.integer[Any]], process: NDArray[np.integer[Any]]) -> None:
        """Say of which process each event's thread is, in file order (E,); below 0: nobody knows.

        A number can be given to one thread after another; the last one counts.
        """
        told = np.flatnonzero((tid >= 0) & (process >= 0))[::-1]
        threads, last = np.unique(tid[told], return_index=True)
        self.processes.update(zip(threads.tolist(), process[told[last]].tolist(), strict=True))

    def add_sorted(self, events: Sorted) -> None:
        """Append all events, a batch at a time: their texts together may be more than 2 GiB. Raises as ``add`` does."""
        for begin in range(0, len(events.order), BATCH):
            rows = slice(begin, begin + BATCH)
            taken = pa.array(events.order[rows])
            n = len(taken)
            self.add(
                time_ns=events.time_ns[rows],
                cpu=events.cpu[rows],
                tid=events.tid[rows],
                comm=np.full(n, -1, np.int32) if events.comm is None else events.comm[rows],
                name=events.name[rows],
                phase=np.full(n, INSTANT, np.int8) if events.phase is None else events.phase[rows],
                args=events.args.take(taken).cast(pa.string()),
                ret=pa.nulls(n, pa.string()) if events.ret is None else events.ret.take(taken).cast(pa.string()),
                line=np.arange(begin, begin + n, dtype=np.int64) if events.line is None else events.line[rows],
            )

    def _check_times(self, time_ns: NDArray[np.int64], cpu: NDArray[np.int32], line: NDArray[np.int64]) -> None:
        order = stable_order(cpu)
        streams, times = cpu[order], time_ns[order]
        first = np.flatnonzero(np.diff(streams, prepend=streams[:1] - 1))
        last = np.append(first[1:], len(order)) - 1
        before = np.concatenate([times[:1], times[:-1]])
        before[first] = [self._latest.get(c, t) for c, t in zip(streams[first].tolist(), times[first], strict=True)]
        back = np.flatnonzero(times < before)
        if len(back):
            row = order[back[0]]
            where = f" on cpu {cpu[row]}" if cpu[row] >= 0 else ""
            raise TraceError(self.path, int(line[row]), f"time goes backwards{where}")
        self._latest.update(zip(streams[first].tolist(), times[last].tolist(), strict=True))

    def cpu_of(self, tid: int, row: int) -> int:
        """The cpu of the thread's first event from a row on, or else of its last one before; -1 if none is held."""
        before, first = -1, self._first
        for batch in self._batches:
            cpu, found = batch[1].to_numpy(), np.flatnonzero(batch[2].to_numpy() == tid)
            later = found[first + found >= row]
            if len(later):
                return int(cpu[later[0]])
            before = int(cpu[found[-1]]) if len(found) else before
            first += len(cpu)
        return before

    def latest(self, cpu: int) -> int:
        """The time of the last event on a cpu so far, or of the last one on any."""
        return self._latest.get(cpu, max(self._latest.values(), default=0))

    def take(self) -> pa.Table:
        """The events added since they were last taken; they are kept no longer."""
        table = self.held()
        self._batches.clear()
        self._first = self.rows
        return table

    def passed_over(self) -> list[str]:
        """A warning for each sort of things that were not read."""
        unread = self.unread()
        found = [unread.sentence()] if unread else []
        if self.inferred:
            found.append(f"{self.inferred} {EARLIER}")
        return found

    def unread(self) -> PassedOver | None:
        """What could not be read so far."""
        return PassedOver(self.malformed, self.pieces, *self._first_bad) if self.malformed else None

    def finish(self, clock: Clock = "ns") -> Trace:
        """The trace; one without an event is a trace, too. Raises TraceError if nothing of it could be read."""
        if not self.rows and not self.marks and not self.unplaced and self.malformed:
            line, message = self._first_bad
            raise TraceError(self.path, line, f"{message} (read as {self.format}, in which no event was found)")
        if self.malformed > self.rows and not self.mixed:
            self.doubts.append(
                Doubt(
                    f"more {self.pieces} of it can't be read than can",
                    "See what it is: --strict stops at the first.",
                )
            )
        if self._last_bad and self._last_bad == self._unended:
            self.doubts.append(WITHIN_A_LINE)
        sink = self.options.sink
        self._hand_on(ended=True)
        rest = None
        if sink and self._cutting.own:
            rest = self._piece(sink, None)
            table, gaps = rest.trace.table, rest.trace.gaps
        else:
            table = self.held()
            gaps = gaps_from_marks(table["cpu"].to_numpy(), table["time_ns"].to_numpy(), self.marks)
        trace = self._trace(table, gaps, clock)
        if sink:
            sink.rest = replace(rest, trace=trace) if rest else Piece.whole(trace)
        return trace

    def _trace(self, table: pa.Table, gaps: tuple[Gap, ...], clock: Clock) -> Trace:
        self.warnings += self.passed_over()
        return Trace(
            path=self.path,
            format=self.format,
            table=table,
            gaps=gaps,
            overwritten=self.overwritten,
            clock=clock,
            provenance=self.provenance,
            warnings=tuple(self.warnings),
            tracer=self.tracer,
            nested=self.nested,
            unplaced=tuple(self.unplaced),
            doubts=tuple(self.doubts),
            passed_over=self.unread(),
            stored=self.stored,
            processes=self.processes,
        )

    def _hand_on(self, ended: bool = False) -> None:
        """Give the sink what is whole by now with its surroundings; once all have ended, all but the last piece."""
        sink = self.options.sink
        around = 0 if sink is None else 1 if ended else sink.size.margin
        while sink and self.rows - self._cutting.own >= sink.size.events + around:
            sink.take(self._piece(sink, self._cutting.own + sink.size.events))

    def _piece(self, sink: Sink, until: int | None) -> Piece:
        """The events from the first that was not handed on up to row ``until`` (None: all that is left) as a piece, of
        which only what later ones will show stays here."""
        facts = Trace(self.path, self.format, self.held(), nested=self.nested, processes=self.processes.copy())
        piece, keep = self._cutting.piece(facts, self._first, until, sink.size, self.marks[self._marked :])
        if self.forgets_marks:
            self.marks.clear()
        self._marked = len(self.marks)
        while self._batches and self._first + len(self._batches[0][0]) <= keep:
            self._first += len(self._batches.pop(0)[0])
        return replace(piece, taken=self.taken)

    def held(self) -> pa.Table:
        """The events that were not handed on or taken."""
        names, comms = self.names.dictionary(), self.comms.dictionary()
        phases = pa.array(PHASES, pa.string())
        batches = []
        for c in self._batches:
            arrays = [
                *c[:3],
                pa.DictionaryArray.from_arrays(c[3], comms),
                pa.DictionaryArray.from_arrays(c[4], names),
                pa.DictionaryArray.from_arrays(c[5], phases),
                *c[6:],
            ]
            batches.append(pa.RecordBatch.from_arrays(arrays, schema=SCHEMA))
        return pa.Table.from_batches(batches, SCHEMA)
