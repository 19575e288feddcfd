"""Pieces of a trace: what is too large to be held is gone through piece by piece, in file order.

Axis legend: E events of a piece, those around its own among them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from tracemend.trace.events import Gap, Trace

#: Events of a piece, and events of its neighbours that it shows on each side.
PIECE, MARGIN = 1 << 18, 1 << 14


@dataclass(frozen=True)
class Piece:
    """Some events of a trace, and around them others that are its neighbours' (as a ``Trace`` that can be mended).

    ``trace``: the events (E,), of which rows ``begin`` up to ``end`` are the piece's own, and all gaps among them by
    these rows. What is known of a trace only at its end (doubts, warnings, losses without a place, provenance) only the
    ``last`` piece's trace has. ``first``: which row of the whole trace its first row is. ``gaps``: the piece's own
    gaps, with the whole trace's rows; a gap belongs to the piece that has the event behind it, one without to the last.
    ``taken``: bytes of the trace, unpacked, that were read by now; 0 where nobody counts them.
    """

    trace: Trace
    begin: int
    end: int
    gaps: tuple[Gap, ...]
    first: int = 0
    last: bool = False
    taken: int = 0

    @classmethod
    def whole(cls, trace: Trace) -> Piece:
        """A trace as its only piece."""
        return cls(trace, 0, len(trace), trace.gaps, last=True)

    @property
    def only(self) -> bool:
        """Whether it is all of the trace."""
        return self.last and not self.first and not self.begin

    @cached_property
    def own(self) -> Trace:
        """The piece's own events, without gaps where there are others around them."""
        if self.begin == 0 and self.end == len(self.trace):
            return self.trace
        return replace(self.trace, table=self.trace.table.slice(self.begin, self.end - self.begin), gaps=())

    def __len__(self) -> int:
        return self.end - self.begin


@dataclass(frozen=True, slots=True)
class Size:
    """How a trace is cut: events of a piece, and of its neighbours on each side."""

    events: int = PIECE
    margin: int = MARGIN


USUAL = Size()


def local(gaps: Iterator[Gap], first: int, end: int) -> tuple[Gap, ...]:
    """Gaps with rows of a piece's table, which has the whole trace's rows ``first`` up to ``end``; a side beyond it is
    open, but for its time."""

    def row(of: int | None) -> int | None:
        return of - first if of is not None and first <= of < end else None

    return tuple(replace(g, before=row(g.before), after=row(g.after)) for g in gaps)


def cut(trace: Trace, size: Size) -> Iterator[Piece]:
    """The pieces of a trace that is held as a whole."""
    if len(trace) <= size.events:
        yield Piece.whole(trace)
        return
    table = trace.table.unify_dictionaries()
    for begin in range(0, len(trace), size.events):
        until = min(begin + size.events, len(trace))
        last = until == len(trace)
        first, end = max(0, begin - size.margin), min(until + size.margin, len(trace))
        own = tuple(g for g in trace.gaps if (last if g.after is None else begin <= g.after < until))
        around = (g for g in trace.gaps if any(r is not None and first <= r < end for r in (g.before, g.after)))
        seen = {g.number: g for g in (*around, *own)}
        gaps = local((seen[n] for n in sorted(seen)), first, end)
        facts = trace if last else replace(trace, doubts=(), warnings=(), unplaced=(), passed_over=None, overwritten=0)
        shown = replace(facts, table=table.slice(first, end - first), gaps=gaps)
        yield Piece(shown, begin - first, until - first, own, first, last)
