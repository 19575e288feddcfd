"""What buffer would have held the events that were lost."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tracemend.formats import in_pieces
from tracemend.losses.suspect import ENTER_BYTES, EXIT_BYTES
from tracemend.trace.events import ENTER, EXIT, Gap, Trace, by_cpu
from tracemend.trace.evidence import plural
from tracemend.trace.pieces import Piece

#: Bytes of a ring-buffer record that is no raw_syscalls event: a middling guess.
OTHER_BYTES = 48
#: perf's records hold so many bytes more an event: their header, time, thread, cpu and period.
PERF_BYTES = 60
#: No tracer takes less than this for an event, ns: a gap that is shorter isn't where its events were lost.
SHORTEST_NS = 20


@dataclass(frozen=True, slots=True)
class Advice:
    """What one cpu's buffer lacked: ``missing_bytes`` more would have held what was lost until the reader got to it.

    ``rate`` is the highest rate of lost events a second over any gap whose length and count are known, None if there is
    none; ``complete`` is False if some gap has no count.
    """

    cpu: int
    lost: int
    rate: float | None
    event_bytes: float
    missing_bytes: int
    complete: bool

    def sufficient_kb(self, current_kb: int) -> int:
        """A buffer of ``current_kb`` grown by what was missing and a quarter more, as a power of two of KiB; with 0 so
        much is to be added to whatever it had."""
        need = current_kb + self.missing_bytes * 1.25 / 1024
        return int(2 ** math.ceil(math.log2(max(need, 4))))

    def as_dict(self, current_kb: int) -> dict[str, Any]:
        return {
            "cpu": self.cpu,
            "lost": self.lost,
            "events_per_second": None if self.rate is None else round(self.rate),
            "bytes_per_event": round(self.event_bytes, 1),
            "missing_kb": math.ceil(self.missing_bytes / 1024),
            "add_kb": self.sufficient_kb(0) if self.missing_bytes else None,
            "sufficient_kb": self.sufficient_kb(current_kb) if self.missing_bytes and current_kb else None,
            "complete": self.complete,
        }


class Advices(list[Advice]):
    """The advice for each cpu, which a notebook shows as a table."""

    def __repr__(self) -> str:
        least = "" if all(a.complete for a in self) else "at least "
        missing = math.ceil(sum(a.missing_bytes for a in self) / 1024)
        return f"<Advice for {plural(len(self), 'cpu')}: {least}{missing:,} KiB missing>"

    def _repr_html_(self) -> str:
        from tracemend.trace.notebook import box, said, table

        rows = [
            (
                *(a.cpu if a.cpu >= 0 else "trace", f"{a.lost:,}" if a.lost else "unknown"),
                "unknown" if a.rate is None else f"{a.rate:,.0f}",
                f"{a.event_bytes:.1f}",
                *((f"{math.ceil(a.missing_bytes / 1024):,}", f"{a.sufficient_kb(0):,}") if a.missing_bytes else ()),
            )
            for a in self
        ]
        columns = ("cpu", "lost events", "lost a second in gaps", "bytes an event", "KiB missing", "KiB to add")
        rows = [(*row, *["unknown"] * (len(columns) - len(row))) for row in rows]
        what = "What the buffer of each cpu lacked. KiB to add: with a quarter to spare, as a power of two."
        if not all(a.complete for a in self):
            what += " Some gaps have no count: then it is at least so much."
        return box(said(what, title="Advice"), table(columns, rows)) if self else box(said("No gap.", title="Advice"))


def advise(trace: Trace | str | Path) -> Advices:
    """For each cpu with a gap, how many bytes its buffer was short of, of a trace or of the one that lies at a path.

    The reader's pace is taken from what survived: bytes of surviving events over the time of the cpu's stream. Lost
    events would have waited behind them. What waits beyond the buffer grows by what a gap lost, and falls whenever the
    reader had nothing to read. Its peak is what the buffer lacked: at most all that was lost.
    Raises TraceError for a path that can't be read, TypeError for what is neither a trace nor a path.

    >>> first = advise("recordings/shell/lossy.txt")[0]  # of cpu 0
    >>> first.missing_bytes, first.sufficient_kb(current_kb=8)
    (75820, 128)
    """
    backlogs = Backlogs()
    for piece in [Piece.whole(trace)] if isinstance(trace, Trace) else in_pieces(trace):
        backlogs.add(piece)
    return backlogs.finish()


@dataclass(slots=True)
class _Stream:
    """What was kept of one cpu's stream so far: events, their bytes by what is usual, and first and last time."""

    events: int = 0
    bytes: int = 0
    begin_ns: int | None = None
    end_ns: int = 0
    #: Each gap with the events and the bytes in front of it, and the time between the events beside it (0: none).
    gaps: list[tuple[Gap, int, int, int]] = field(default_factory=list)


@dataclass
class Backlogs:
    """What ``advise`` needs of a trace that comes in pieces, in order."""

    streams: dict[int, _Stream] = field(default_factory=dict)
    last: Trace | None = None

    def add(self, piece: Piece) -> None:
        """Take in the next piece."""
        own, first = piece.own, piece.first + piece.begin
        if piece.last:
            self.last = piece.trace
        size = np.where(own.phase == ENTER, ENTER_BYTES, np.where(own.phase == EXIT, EXIT_BYTES, OTHER_BYTES))
        gaps = by_cpu(piece.gaps)
        for cpu in {*own.streams, *gaps}:
            stream = self.streams.setdefault(cpu, _Stream())
            rows = own.streams.get(cpu, np.empty(0, np.int64))
            kept = np.concatenate([[0], np.cumsum(size[rows])])
            for gap in gaps.get(cpu, []):
                at = len(rows) if gap.after is None else int(np.searchsorted(rows, gap.after - first))
                between = 0
                if gap.before is not None and gap.after is not None:
                    before_ns = int(own.time_ns[rows[at - 1]]) if at else stream.end_ns
                    between = int(own.time_ns[rows[at]]) - before_ns
                stream.gaps.append((gap, stream.events + at, stream.bytes + int(kept[at]), between))
            if len(rows):
                stream.begin_ns = int(own.time_ns[rows[0]]) if stream.begin_ns is None else stream.begin_ns
                stream.end_ns = int(own.time_ns[rows[-1]])
            stream.events += len(rows)
            stream.bytes += int(kept[-1])

    def finish(self) -> Advices:
        """The advice, once the last piece was taken in."""
        assert self.last is not None
        return Advices(_advice(cpu, s, self.last) for cpu, s in sorted(self.streams.items()) if s.gaps)


def _advice(cpu: int, stream: _Stream, trace: Trace) -> Advice:
    more = PERF_BYTES if trace.tracer in ("perf", "perf trace") else 0
    stored = trace.stored.get(cpu, 0)
    whole = stream.bytes + more * stream.events
    mean = (stored or whole) / stream.events if stream.events else (ENTER_BYTES + EXIT_BYTES) / 2
    found = sorted(stream.gaps, key=lambda g: g[0].end_ns)
    begin = found[0][0].begin_ns if stream.begin_ns is None else stream.begin_ns
    end = max(stream.end_ns, found[-1][0].end_ns)
    pace = (stored if stored and stream.events else whole) / max(1, end - begin)
    waiting = extra = peak = seen = 0.0
    at = begin
    for gap, events, size, _ in found:
        kept = mean * events if stored else float(size + more * events)
        waiting += kept - seen - pace * (gap.end_ns - at)
        idle, waiting = max(0.0, -waiting), max(0.0, waiting)
        extra = max(0.0, extra - idle) + (gap.count or 0) * mean
        peak = max(peak, extra)
        seen, at = kept, gap.end_ns
    rate = max((rate for gap, *_, between in found if (rate := _rate(gap, between)) is not None), default=None)
    complete = all(g.count is not None for g, *_ in found)
    return Advice(cpu, sum(g.count or 0 for g, *_ in found), rate, mean, math.ceil(peak), complete)


def _rate(gap: Gap, between_ns: int) -> float | None:
    """Lost events a second between the surviving ones before and after a gap; None where one of them, or the count, is
    unknown, and where the time between them is too short for so many."""
    if gap.count is None or gap.before is None or gap.after is None:
        return None
    time_ns = max(gap.duration_ns, between_ns)
    return gap.count / time_ns * 1e9 if time_ns >= gap.count * SHORTEST_NS and time_ns else None
