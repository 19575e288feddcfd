"""What a trace lost: where, how many, whose.

Axis legend: E events, G gaps.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracemend.formats import in_pieces
from tracemend.losses.calls import Calls, OpenCall
from tracemend.losses.searching import Search
from tracemend.losses.seen import Seen
from tracemend.losses.suspect import suspect
from tracemend.losses.verdict import LOST, Losses, Verdict, doubts, verdict
from tracemend.trace.events import Gap, Glance, Trace, by_cpu
from tracemend.trace.evidence import plural
from tracemend.trace.pieces import Piece

Counts = NDArray[np.int64]

#: Slices of the trace's time in which losses are counted for the view over time, and gaps that are spread over them at
#: once.
SLICES, AT_ONCE = 60, 4096


@dataclass(frozen=True)
class Scan:
    """The findings. ``gaps`` are the marked ones and behind them the suspected ones, if they were searched for.

    ``trace``: what was scanned; of one that came in pieces the last of them, which knows all but the events.
    """

    trace: Trace
    gaps: tuple[Gap, ...]
    marked: tuple[Gap, ...]
    calls: Calls
    verdict: Verdict
    seen: Seen

    @property
    def broken(self) -> bool:
        return self.verdict.word == LOST

    @cached_property
    def losses(self) -> Losses:
        """What the tracer itself says."""
        return Losses.of(self.trace.with_gaps(self.marked))

    @property
    def lost(self) -> int:
        """Lost events by the tracer's counts, those overwritten before the first one among them."""
        return self.losses.events

    @property
    def share_lost(self) -> float:
        """Lost events by the tracer's counts, of all that happened; a lower bound where a gap has no count."""
        return self.losses.share(len(self.seen))

    @property
    def open_calls(self) -> tuple[OpenCall, ...]:
        return tuple(self.calls)

    def cpus(self) -> list[dict[str, Any]]:
        """One dictionary a cpu, in order."""
        rows = []
        gaps = by_cpu(self.gaps)
        for cpu in sorted({*self.seen.events, *gaps}):
            sums = _sums(gaps.get(cpu, []))
            events = self.seen.events[cpu]
            share = sums["lost"] / max(1, events + sums["lost"])
            rows.append({"cpu": cpu, "events": events, **sums, "share_lost": share})
        return rows

    def over_time(self) -> list[int]:
        """Lost events by slice of the trace's time, each gap's count spread evenly over its span."""
        if not len(self.seen) or not self.gaps:
            return []
        return _over_time(self.gaps, self.seen.begin_ns, self.seen.end_ns)

    def threads(self, gap: Gap) -> list[int]:
        """Threads seen just before or after the gap on its cpu."""
        return self.seen.threads(gap.number)

    def __repr__(self) -> str:
        gaps = plural(len(self.gaps), "gap")
        return f"<Scan {self.trace.title}: {self.verdict.word}, {plural(self.lost, 'lost event')} in {gaps}>"

    def _repr_html_(self) -> str:
        from tracemend.trace.notebook import COLUMNS, box, kind, said, table, timeline

        trace, begin, end = self.trace, self.seen.begin_ns, self.seen.end_ns
        rows = [
            (
                *(row["cpu"], f"{row['events']:,}", f"{row['gaps']:,}"),
                *_counted(row),
                *(trace.long(row[k]) for k in ("longest_ns", "lost_ns")),
            )
            for row in self.cpus()
        ]
        columns = ("cpu", "events", "gaps", "lost", "share lost", "longest gap", "time lost")
        held = len(trace) == len(self.seen)  # of a trace that came in pieces the events are gone

        def density(cpu: int) -> Counts:
            return trace.density(cpu, COLUMNS, begin, end - begin)

        kinds, cpus = [kind(g) for g in self.gaps], self.seen.events
        lanes = timeline(self.gaps, kinds, cpus, (begin, end), density if held else None, trace.long(end - begin))
        said_of_it = (
            f"{trace.title}: {plural(len(self.seen), 'event')}.",
            self.verdict.sentence(),
            self.verdict.advice,
        )
        return box(said(*said_of_it, title="Scan"), lanes, table(columns, rows))

    def as_dict(self) -> dict[str, Any]:
        """Everything, for ``--json``."""
        return {
            "input": str(self.trace.path),
            **self.verdict.as_dict(),
            "sha256": self.trace.provenance.get("sha256"),
            "format": self.trace.format,
            "tracer": self.trace.tracer,
            "events": len(self.seen),
            "gaps": [g.as_dict() | {"threads": self.threads(g)} for g in self.gaps],
            "lost": self.lost,
            "share_lost": round(self.share_lost, 6),
            "overwritten_before_begin": self.trace.overwritten,
            "unplaced": [u.as_dict() for u in self.losses.unplaced],
            "cpus": self.cpus(),
            "over_time": self.over_time(),
            "open_calls": [c.as_dict() for c in self.calls],
            "passed_over": self.trace.passed_over.as_dict() if self.trace.passed_over else None,
            "warnings": list(self.trace.warnings),
        }


def _counted(row: dict[str, Any]) -> tuple[str, str]:
    """How many events a cpu lost, and the share of all, as far as that was counted."""
    if row["uncounted"] and not row["lost"]:
        return "unknown", "unknown"
    least = "at least " if row["uncounted"] else ""
    return f"{least}{row['lost']:,}", f"{least}{100 * row['share_lost']:.1f} %"


def _sums(gaps: list[Gap]) -> dict[str, int]:
    """What the gaps of one cpu come to."""
    return {
        "gaps": len(gaps),
        "lost": sum(g.count or 0 for g in gaps),
        "uncounted": sum(g.count is None for g in gaps),
        "largest": max((g.count or 0 for g in gaps), default=0),
        "longest_ns": max((g.duration_ns for g in gaps), default=0),
        "lost_ns": sum(g.duration_ns for g in gaps),
    }


def _over_time(gaps: tuple[Gap, ...], lo: int, hi: int) -> list[int]:
    """Lost events by slice of the time from ``lo`` to ``hi``, each gap's count spread evenly over its span."""
    width = max(1, hi - lo) / SLICES
    counts = np.zeros(SLICES)
    edges = width * np.arange(SLICES + 1)  # from lo on: times since 1970 have no nanoseconds left in floating point
    for at in range(0, len(gaps), AT_ONCE):
        some = gaps[at : at + AT_ONCE]
        begin = np.array([g.begin_ns - lo for g in some], float)[:, None]
        end = np.array([max(g.end_ns, g.begin_ns + 1) - lo for g in some], float)[:, None]
        overlap = np.clip(np.minimum(edges[1:], end) - np.maximum(edges[:-1], begin), 0, None)
        nowhere = np.flatnonzero(overlap.sum(axis=1) == 0)
        overlap[nowhere, np.clip(begin[nowhere, 0] // width, 0, SLICES - 1).astype(int)] = 1
        count = np.array([g.count or 0 for g in some], float)
        counts += (overlap * (count / overlap.sum(axis=1))[:, None]).sum(axis=0)
    return [round(c) for c in counts]


@dataclass(frozen=True)
class QuickScan:
    """What the headers of packets tell: where and how many, but not whose, and of how many events."""

    seen: Glance

    @property
    def verdict(self) -> Verdict:
        return verdict(self.seen)

    @property
    def broken(self) -> bool:
        return self.verdict.word == LOST

    @property
    def losses(self) -> Losses:
        return Losses.of(self.seen)

    @property
    def lost(self) -> int:
        return self.losses.events

    @property
    def span(self) -> tuple[int, int]:
        """The first packet's begin and the last one's end."""
        begins, ends = ([getattr(s, side) for s in self.seen.streams] for side in ("begin_ns", "end_ns"))
        return min(begins, default=0), max(ends, default=0)

    def cpus(self) -> list[dict[str, Any]]:
        """One dictionary a stream, in order."""
        rows = []
        gaps = by_cpu(self.seen.gaps)
        for s in self.seen.streams:
            own = _sums(gaps.get(s.number, []))
            rows.append({"cpu": s.number, "packets": s.packets, "bytes": s.bytes, **own})
        return rows

    def over_time(self) -> list[int]:
        """Lost events by slice of the trace's time."""
        return _over_time(self.seen.gaps, *self.span) if self.seen.gaps else []

    def as_dict(self) -> dict[str, Any]:
        """Everything, for ``--json``: as of a whole scan, without what only events can tell."""
        gaps = [g.as_dict() for g in self.seen.gaps]
        for g in gaps:
            del g["open_begin"], g["open_end"]
            g["packet"] = g.pop("line")
        return {
            "input": str(self.seen.path),
            **self.verdict.as_dict(),
            "format": self.seen.format,
            "events": None,
            "gaps": gaps,
            "lost": self.lost,
            "unplaced": [u.as_dict() for u in self.losses.unplaced],
            "cpus": self.cpus(),
            "over_time": self.over_time(),
            "warnings": list(self.seen.warnings),
        }


def scan(trace: Trace | str | Path, *, suspected: bool = False) -> Scan:
    """Find what a trace, or the one that lies at a path, lost.

    Losses without a mark are looked for where the trace marks none and could have lost events unseen (ftrace in drop
    mode), and with ``suspected`` in any case. A large trace is gone through in pieces.
    Raises TraceError for a path that can't be read, TypeError for what is neither a trace nor a path.

    >>> found = scan("recordings/shell/lossy.txt")
    >>> found.verdict.word, found.lost, len(found.gaps)
    ('lost', 3957, 17)
    """
    return scan_pieces([Piece.whole(trace)] if isinstance(trace, Trace) else in_pieces(trace), suspected=suspected)


def scan_pieces(pieces: Iterable[Piece], *, suspected: bool = False) -> Scan:
    """Find what was lost in a trace that comes in pieces (``tracemend.formats.pieces``), as ``scan`` does."""
    scanning = Scanning(suspected)
    for piece in pieces:
        scanning.add(piece)
    return scanning.finish()


def judge(trace: Trace) -> Verdict:
    """The verdict alone, which ``scan`` gives as well."""
    return verdict(trace, suspect(trace) if doubts(trace) and not Losses.of(trace) else None)


@dataclass
class Scanning:
    """A scan on its way through the pieces of a trace, in order. ``asked``: search also where losses are marked."""

    asked: bool = False
    seen: Seen = field(default_factory=Seen)
    marked: list[Gap] = field(default_factory=list)
    search: Search = field(default_factory=Search)
    calls: Calls = field(default_factory=Calls)
    last: Trace | None = None

    def add(self, piece: Piece) -> None:
        """Take in the next piece."""
        self.marked += piece.gaps
        self.seen.add(piece)
        around = _beyond(piece)
        searched = self.asked or not (self.marked or around)
        if piece.last:
            self.last = piece.trace
            searched = searched and self._searched(piece.trace)
        new = list(piece.gaps)
        if searched or self.marked or not piece.only:
            looked = self.search.look(piece)
            if searched:
                known = piece.trace.gaps if piece.only else (*self.marked, *around)
                new += [replace(g, number=-1 - g.number) for g in self.search.suspect(looked, known)]
            self.calls.gaps(new)
            self.calls.look(looked, around)
        self.seen.near(piece, new)

    def _searched(self, facts: Trace) -> bool:
        """Whether losses without a mark are looked for, now that all of the trace is known."""
        return self.asked or (bool(doubts(facts)) and not Losses.of(facts.with_gaps(tuple(self.marked))))

    def finish(self) -> Scan:
        """The findings, once the last piece was taken in."""
        assert self.last is not None
        marked = tuple(sorted(self.marked, key=lambda g: g.number))
        found = self.search.finish() if self._searched(self.last) else None
        suspected = tuple(replace(g, number=len(marked) + i) for i, g in enumerate(found or ()))
        numbers = {g.number: g.number for g in marked}
        for old, new in zip(found or (), suspected, strict=True):
            if old.number >= 0:  # others were settled only at the end, when what was around them was gone
                numbers[-1 - old.number] = new.number
        self.seen.renumber(numbers)
        self.calls.renumber(numbers)
        facts = self.last.with_gaps(marked)
        said = verdict(facts, None if found is None else suspected)
        return Scan(self.last, marked + suspected, marked, self.calls, said, self.seen)


def _beyond(piece: Piece) -> list[Gap]:
    """The gaps that a piece shows of those to come."""
    own = {g.number for g in piece.gaps}
    return [g for g in piece.trace.gaps if g.number not in own and (g.after is None or g.after >= piece.end)]
