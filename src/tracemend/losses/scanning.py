"""What a trace lost: where, how many, whose.

Axis legend: E events, G gaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tracemend.losses.suspect import suspect, unpaired
from tracemend.losses.verdict import LOST, Losses, Verdict, doubts, verdict
from tracemend.trace.events import ENTER, EXIT, Gap, Glance, Trace, by_cpu

#: Slices of the trace's time in which losses are counted for the view over time.
SLICES = 60
#: Events beside a gap whose threads are named as concerned.
NEIGHBOURS = 32


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A system call of which a gap took one side: ``lost`` is "exit" or "enter"."""

    gap: int
    tid: int
    comm: str | None
    name: str
    lost: str

    def as_dict(self) -> dict[str, Any]:
        return {"gap": self.gap, "tid": self.tid, "comm": self.comm, "name": self.name, "lost": self.lost}


@dataclass(frozen=True)
class Scan:
    """The findings. ``gaps`` are the marked ones and behind them the suspected ones, if they were searched for."""

    trace: Trace
    gaps: tuple[Gap, ...]
    open_calls: tuple[OpenCall, ...]
    verdict: Verdict

    @property
    def broken(self) -> bool:
        return self.verdict.word == LOST

    @property
    def losses(self) -> Losses:
        """What the tracer itself says."""
        return Losses.of(self.trace)

    @property
    def lost(self) -> int:
        """Lost events by the tracer's counts, those overwritten before the first one among them."""
        return self.losses.events

    @property
    def share_lost(self) -> float:
        """Lost events by the tracer's counts, of all that happened; a lower bound where a gap has no count."""
        return self.losses.share(len(self.trace))

    def cpus(self) -> list[dict[str, Any]]:
        """One dictionary a cpu, in order."""
        streams = self.trace.streams
        rows = []
        gaps = by_cpu(self.gaps)
        for cpu in sorted({*streams, *gaps}):
            sums = _sums(gaps.get(cpu, []))
            events = len(streams.get(cpu, ()))
            share = sums["lost"] / max(1, events + sums["lost"])
            rows.append({"cpu": cpu, "events": events, **sums, "share_lost": share})
        return rows

    def over_time(self) -> list[int]:
        """Lost events by slice of the trace's time, each gap's count spread evenly over its span."""
        if not len(self.trace) or not self.gaps:
            return []
        return _over_time(self.gaps, int(self.trace.time_ns.min()), int(self.trace.time_ns.max()))

    def threads(self, gap: Gap) -> list[int]:
        """Threads seen just before or after the gap on its cpu."""
        rows = self.trace.streams.get(gap.cpu, np.empty(0, np.int64))
        at = int(np.searchsorted(rows, gap.after)) if gap.after is not None else len(rows)
        near = rows[max(0, at - NEIGHBOURS) : at + NEIGHBOURS]
        return [int(t) for t in np.unique(self.trace.tid[near]) if t >= 0]

    def as_dict(self) -> dict[str, Any]:
        """Everything, for ``--json``."""
        return {
            "input": str(self.trace.path),
            **self.verdict.as_dict(),
            "sha256": self.trace.provenance.get("sha256"),
            "format": self.trace.format,
            "tracer": self.trace.tracer,
            "events": len(self.trace),
            "gaps": [g.as_dict() | {"threads": self.threads(g)} for g in self.gaps],
            "lost": self.lost,
            "share_lost": round(self.share_lost, 6),
            "overwritten_before_begin": self.trace.overwritten,
            "unplaced": [u.as_dict() for u in self.losses.unplaced],
            "cpus": self.cpus(),
            "over_time": self.over_time(),
            "open_calls": [c.as_dict() for c in self.open_calls],
            "passed_over": self.trace.passed_over.as_dict() if self.trace.passed_over else None,
            "warnings": list(self.trace.warnings),
        }


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
    for g in gaps:
        begin, end = g.begin_ns - lo, max(g.end_ns, g.begin_ns + 1) - lo
        overlap = np.clip(np.minimum(edges[1:], end) - np.maximum(edges[:-1], begin), 0, None)
        if overlap.sum() == 0:
            overlap[min(SLICES - 1, max(0, int(begin / width)))] = 1
        counts += (g.count or 0) * overlap / overlap.sum()
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


def scan(trace: Trace, *, suspected: bool = False) -> Scan:
    """Find what was lost.

    Losses without a mark are looked for where the trace marks none and could have lost events unseen (ftrace in drop
    mode), and with ``suspected`` in any case.
    """
    found = _searched(trace, suspected)
    gaps = trace.gaps + (found or ())
    return Scan(trace, gaps, _open_calls(trace, gaps), verdict(trace, found))


def judge(trace: Trace) -> Verdict:
    """The verdict alone, which ``scan`` gives as well."""
    return verdict(trace, _searched(trace, False))


def _searched(trace: Trace, asked: bool) -> tuple[Gap, ...] | None:
    """Losses without a mark, numbered behind the gaps; None where nobody looked."""
    if not asked and (not doubts(trace) or Losses.of(trace)):
        return None
    return tuple(replace(g, number=len(trace.gaps) + i) for i, g in enumerate(suspect(trace)))


def _open_calls(trace: Trace, gaps: tuple[Gap, ...]) -> tuple[OpenCall, ...]:
    """Calls with one side missing where a gap lies between the two events that should have been neighbours."""
    if not gaps:
        return ()
    any_cpu = _InTime(gaps)
    own = {cpu: _InTime(held) for cpu, held in by_cpu(gaps).items()}
    (codes, names), (comm_codes, comms) = trace.names, trace.comms
    found = []
    for p, q in zip(*(rows.tolist() for rows in unpaired(trace)), strict=True):
        span = int(trace.time_ns[p]), int(trace.time_ns[q])
        near = [own[c] for c in dict.fromkeys([int(trace.cpu[p]), int(trace.cpu[q])]) if c in own]
        held = next(filter(None, (those.first(*span) for those in [*near, any_cpu])), None)
        if held is None:
            continue
        for row, phase, lost in ((p, ENTER, "exit"), (q, EXIT, "enter")):
            if trace.phase[row] == phase:
                comm = comms[comm_codes[row]] if comm_codes[row] >= 0 else None
                found.append(OpenCall(held.number, int(trace.tid[row]), comm, names[codes[row]], lost))
    return tuple(sorted(found, key=lambda c: (c.gap, c.tid)))


class _InTime:
    """Gaps in the order in which they begin."""

    def __init__(self, gaps: Sequence[Gap]) -> None:
        self.gaps = sorted(gaps, key=lambda g: g.begin_ns)
        #: the latest end of each gap and all before it
        self.latest = np.maximum.accumulate(np.array([g.end_ns for g in self.gaps], np.int64))

    def first(self, begin_ns: int, end_ns: int) -> Gap | None:
        """The first gap that overlaps this time, both ends included."""
        at = int(np.searchsorted(self.latest, begin_ns))
        return self.gaps[at] if at < len(self.gaps) and self.gaps[at].begin_ns <= end_ns else None
