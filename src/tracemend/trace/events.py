"""Events, gaps and traces: what every format reads into and everything later works on.

Axis legend: E events of a trace (rows of the table), G gaps.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.errors import extra
from tracemend.trace.evidence import Doubt, PassedOver, Unplaced, duration, plural
from tracemend.untrusted import printable

if TYPE_CHECKING:
    import pandas as pd

PHASES = ("enter", "exit", "instant")
ENTER, EXIT, INSTANT = range(3)
Phase = Literal["enter", "exit", "instant"]

#: One row an event. ``cpu`` and ``tid`` are -1 where the format doesn't record them. ``line`` is the line of the
#: source text (from 1), or the index in the sequence (from 0) for formats without lines.
SCHEMA = pa.schema(
    [
        pa.field("time_ns", pa.int64(), nullable=False),
        pa.field("cpu", pa.int32(), nullable=False),
        pa.field("tid", pa.int32(), nullable=False),
        pa.field("comm", pa.dictionary(pa.int32(), pa.string())),
        pa.field("name", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("phase", pa.dictionary(pa.int8(), pa.string()), nullable=False),
        pa.field("args", pa.string()),
        pa.field("ret", pa.string()),
        pa.field("line", pa.int64(), nullable=False),
    ]
)

#: How a gap is known: the tracer's mark with a count, its mark without one, or a suspicion of ours (no mark at all).
Known = Literal["counted", "uncounted", "suspected"]


@dataclass(frozen=True, slots=True)
class Gap:
    """Events lost on one stream (the ring buffer of one cpu) between two surviving events of that stream.

    ``before`` and ``after`` are rows of the trace's table, None where the stream has no event on that side.
    ``begin_ns`` and ``end_ns`` bound the gap in the trace's clock; where a side is open they fall back on the
    first or last event of the whole trace. ``count`` is the tracer's number of lost events, None if it gave none.
    """

    number: int
    cpu: int
    before: int | None
    after: int | None
    begin_ns: int
    end_ns: int
    count: int | None
    known: Known
    line: int

    @property
    def duration_ns(self) -> int:
        return self.end_ns - self.begin_ns

    @property
    def edges(self) -> tuple[tuple[int, float], tuple[int, float]]:
        """The moments (time, row) just behind the last event before the gap and just in front of the first one after
        it: events of the same time follow each other as they stand in the file."""
        before = -1.0 if self.before is None else self.before + 0.5
        after = float("inf") if self.after is None else self.after - 0.5
        return (self.begin_ns, before), (self.end_ns, after)

    @property
    def told(self) -> tuple[str, str]:
        """How many events were lost, and who says so, as people read it."""
        count = "unknown" if self.count is None else f"{self.count:,}"
        return count, "suspicion" if self.known == "suspected" else "the tracer"

    def as_dict(self) -> dict[str, Any]:
        return {
            "gap": self.number,
            "cpu": self.cpu,
            "begin_ns": self.begin_ns,
            "end_ns": self.end_ns,
            "count": self.count,
            "known": self.known,
            "line": self.line,
            "open_begin": self.before is None,
            "open_end": self.after is None,
        }


@dataclass(frozen=True, slots=True)
class StreamHeads:
    """One stream as its packets' headers tell it. ``number`` is what a trace has as the cpu of the stream's events."""

    number: int
    packets: int
    bytes: int
    begin_ns: int
    end_ns: int


@dataclass(frozen=True)
class Glance:
    """What a trace lost by its packets' headers alone: no event was read, so gaps have no events beside them.

    A gap's ``line`` is the packet (from 0, of its stream) behind whose last event it lies; it can't have begun before
    that packet did.
    """

    path: Path
    format: str
    streams: tuple[StreamHeads, ...]
    gaps: tuple[Gap, ...]
    warnings: tuple[str, ...] = ()
    unplaced: tuple[Unplaced, ...] = ()
    doubts: tuple[Doubt, ...] = ()


@dataclass(frozen=True, slots=True)
class Mark:
    """A loss as the tracer wrote it: on ``cpu``, before row ``row`` of the table (the number of events above it).

    ``begin_ns``, ``end_ns``: between these times, where the tracer tells more than the events around.
    """

    cpu: int
    row: int
    count: int | None
    line: int
    begin_ns: int | None = None
    end_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Partial:
    """What was read of a trace of which only the surroundings of its gaps were.

    ``spans``: times in ns, both included, in order and apart from each other, in which every event of every stream was
    read; each gap lies in one. ``cuts``: by stream, positions among its rows in front of which events were not read.
    """

    spans: tuple[tuple[int, int], ...]
    cuts: dict[int, tuple[int, ...]]
    packets: int
    packets_read: int

    def span(self, gap: Gap) -> tuple[int, int]:
        """The span that a gap lies in; the gap itself where packets lie about their times."""
        own = gap.begin_ns, gap.end_ns
        at = bisect.bisect_left(self.spans, own[1], key=lambda span: span[1])  # the first that doesn't end before it
        return self.spans[at] if at < len(self.spans) and self.spans[at][0] <= own[0] else own

    def as_dict(self, events: int) -> dict[str, Any]:
        """For provenance; ``events`` were read."""
        return {
            "events_read": events,
            "packets": self.packets,
            "packets_read": self.packets_read,
            "spans_ns": [list(s) for s in self.spans],
        }

    def sentence(self, events: int) -> str:
        """What was read, and what that means, in one line."""
        return (
            f"only windows around the gaps were read: {events:,} events in {self.packets_read:,} of {self.packets:,} "
            "packets; what lies elsewhere is neither shown nor said to be absent"
        )


@dataclass(frozen=True)
class Trace:
    """A recorded trace: events in file order, the gaps in it, and where it came from."""

    path: Path | None
    format: str
    table: pa.Table
    gaps: tuple[Gap, ...] = ()
    #: Events the tracer says it overwrote before the first one it kept (ftrace's ``trace`` header), not per cpu.
    overwritten: int = 0
    #: ``ns`` for a clock in nanoseconds, ``index`` where the format has no times and positions stand in for them.
    clock: Literal["ns", "index"] = "ns"
    provenance: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    #: None where all of it was read.
    partial: Partial | None = None
    #: Who wrote it (ftrace, trace-cmd, perf, lttng and so on), empty if nothing tells.
    tracer: str = ""
    #: Whether calls lie within one another, as those of functions do: then an enter isn't followed by its own exit.
    nested: bool = False
    #: Losses without a place, ``overwritten`` not among them.
    unplaced: tuple[Unplaced, ...] = ()
    #: Why a trace without a loss may still have lost something; none where its tracer would have said so.
    doubts: tuple[Doubt, ...] = ()
    #: What could not be read, None where everything was.
    passed_over: PassedOver | None = None
    #: By stream, the bytes that its events took in the ring buffer, where the format tells.
    stored: dict[int, int] = field(default_factory=dict)
    #: By thread the process that it is of, as far as the format tells.
    processes: dict[int, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def time_ns(self) -> NDArray[np.int64]:
        return np.asarray(self.table["time_ns"].to_numpy(), np.int64)

    @cached_property
    def cpu(self) -> NDArray[np.int32]:
        return np.asarray(self.table["cpu"].to_numpy(), np.int32)

    @cached_property
    def tid(self) -> NDArray[np.int32]:
        return np.asarray(self.table["tid"].to_numpy(), np.int32)

    @cached_property
    def line(self) -> NDArray[np.int64]:
        return np.asarray(self.table["line"].to_numpy(), np.int64)

    @cached_property
    def phase(self) -> NDArray[np.int8]:
        """Phase codes, indices into PHASES (E,)."""
        codes, names = self._codes("phase")
        return np.array([PHASES.index(n) for n in names], np.int8)[codes] if len(names) else codes.astype(np.int8)

    @cached_property
    def names(self) -> tuple[NDArray[np.int32], list[str]]:
        """Codes into the list of distinct event names (E,), and the list."""
        return self._codes("name")

    @cached_property
    def comms(self) -> tuple[NDArray[np.int32], list[str]]:
        """Codes into the list of distinct commands (E,), and the list; code -1 where there is none."""
        return self._codes("comm")

    def _codes(self, column: str) -> tuple[NDArray[np.int32], list[str]]:
        array = self.table[column].combine_chunks()
        if isinstance(array, pa.ChunkedArray):
            array = array.chunk(0) if array.num_chunks else pa.array([], array.type)
        codes = np.nan_to_num(array.indices.to_numpy(zero_copy_only=False), nan=-1)
        return codes.astype(np.int32), array.dictionary.to_pylist()

    @cached_property
    def streams(self) -> dict[int, NDArray[np.int64]]:
        """Rows of each cpu's events, in file order."""
        return rows_by(self.cpu)

    @cached_property
    def threads(self) -> dict[int, NDArray[np.int64]]:
        """Rows of each thread's events, in file order."""
        return rows_by(self.tid)

    @cached_property
    def _gaps_by_cpu(self) -> dict[int, list[Gap]]:
        return by_cpu(self.gaps)

    def breaks(self, cpu: int) -> list[int]:
        """Positions among the stream's rows in front of which events are missing: lost, or not read."""
        rows = self.streams.get(cpu, np.empty(0, np.int64))
        own = self._gaps_by_cpu.get(cpu, [])
        lost = (int(np.searchsorted(rows, g.after)) if g.after is not None else len(rows) for g in own)
        return sorted([*lost, *(self.partial.cuts.get(cpu, ()) if self.partial else ())])

    @property
    def lost(self) -> int:
        """Events lost by the tracer's own counts."""
        return sum(g.count or 0 for g in self.gaps)

    def to_pandas(self) -> pd.DataFrame:
        """The events as a data frame. Raises MissingError where pandas isn't installed."""
        with extra("pandas"):
            frame: pd.DataFrame = self.table.to_pandas()
        return frame

    def with_gaps(self, gaps: tuple[Gap, ...]) -> Trace:
        return replace(self, gaps=gaps)

    @property
    def span(self) -> tuple[int, int]:
        """The earliest and the latest time; both 0 where there is no event."""
        return (int(self.time_ns.min()), int(self.time_ns.max())) if len(self) else (0, 0)

    def density(self, cpu: int, columns: int, begin_ns: int, span_ns: int) -> NDArray[np.int64]:
        """How many events of a cpu there are in each of so many equal parts of a time."""
        since = self.time_ns - begin_ns  # times since 1970 have no nanoseconds left in floating point
        rows = self.streams.get(cpu, np.array([], np.int64))
        return np.histogram(since[rows], columns, (0, span_ns))[0]

    def long(self, time: int) -> str:
        """How long a time is, as it is read; without a clock it is a number of positions."""
        return duration(time) if self.clock == "ns" else plural(time, "position")

    @property
    def title(self) -> str:
        """Where it is from, and what it is, on one line."""
        path = f"{printable(str(self.path))} " if self.path else ""
        return f"{path}({printable(self.format)})"

    def __repr__(self) -> str:
        events, cpus, gaps = plural(len(self), "event"), plural(len(self.streams), "cpu"), plural(len(self.gaps), "gap")
        begin, end = self.span
        lost = plural(self.lost, "lost event")
        return f"<Trace {self.title}: {events} in {self.long(end - begin)} on {cpus}, {gaps} with {lost}>"

    def _repr_html_(self) -> str:
        from tracemend.trace.notebook import COLUMNS, ROWS, box, kind, said, table, timeline

        begin, end = self.span
        lanes = timeline(
            self.gaps,
            [kind(g) for g in self.gaps],
            self.streams,
            (begin, end),
            lambda cpu: self.density(cpu, COLUMNS, begin, end - begin),
            self.long(end - begin),
        )
        rows = [
            (g.number, g.cpu, self.long(g.begin_ns - begin), self.long(g.duration_ns), *g.told)
            for g in self.gaps[:ROWS]
        ]
        columns = ("gap", "cpu", "begins at", "lasts", "lost events", "known by")
        return box(
            said(
                f"{self.title}: {plural(len(self), 'event')}, {plural(len(self.gaps), 'gap')} with "
                f"{plural(self.lost, 'lost event')} by the tracer's counts.",
                title="Trace",
            ),
            lanes,
            table(columns, rows, of=len(self.gaps)) if rows else "",
        )


def by_cpu(gaps: Iterable[Gap]) -> dict[int, list[Gap]]:
    """Each cpu's gaps, in the order in which they were given."""
    found: dict[int, list[Gap]] = {}
    for gap in gaps:
        found.setdefault(gap.cpu, []).append(gap)
    return found


def rows_by(key: NDArray[np.integer[Any]]) -> dict[int, NDArray[np.int64]]:
    """Rows of each distinct value of ``key`` (E,), in order."""
    order = stable_order(key)
    ordered = key[order]
    starts = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    parts = np.split(order, starts) if len(order) else []
    return {int(key[p[0]]): p for p in parts}


def stable_order(key: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """The rows (E,) in order of ``key``, equal ones as they stand: in time of E where it fits 16 bits, as cpus do, or
    has few distinct values, as threads have."""
    if len(key) and (key.min() < -(1 << 15) or key.max() >= 1 << 15):
        coded = pa.array(key).dictionary_encode()
        values, codes = coded.dictionary.to_numpy(), coded.indices.to_numpy()
        if len(values) > 1 << 15:
            return np.argsort(key, kind="stable")
        rank = np.empty(len(values), np.int16)
        rank[np.argsort(values)] = np.arange(len(values))
        key = rank[codes]
    return np.argsort(key.astype(np.int16), kind="stable")
