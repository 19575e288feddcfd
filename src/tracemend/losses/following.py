"""A live trace, scanned as it comes: what is lost is told when it is read, and few events are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import pyarrow as pa

from tracemend.errors import TraceError
from tracemend.formats import FORMATS
from tracemend.formats.base import Builder, Clock, Format, Pieces
from tracemend.losses.searching import Search
from tracemend.losses.verdict import Losses, Verdict, verdict
from tracemend.trace.events import Gap, Known, Trace
from tracemend.trace.evidence import Unplaced
from tracemend.trace.pieces import Piece

#: So much is looked at to recognise a format, as for a file.
HEAD = 1 << 16
#: Suspected places that are remembered.
REMEMBERED = 1000
#: So many events are searched for broken pairs at once: a search costs the same for a single one.
SEARCHED = 1 << 14


def followed() -> list[str]:
    """The names of the formats that can be followed: texts, which are read line by line."""
    return [f.name for f in FORMATS.values() if f.fill is not None]


@dataclass
class Following:
    """What was seen so far of a live trace. ``tell`` is called with each loss as it is read, a gap or one without a
    place."""

    builder: Builder
    tell: Callable[[Gap | Unplaced], None]
    gaps: list[Gap] = field(default_factory=list)
    clock: Clock = "ns"
    _told: int = 0
    #: Events that wait to be searched.
    _held: list[pa.Table] = field(default_factory=list)
    _waiting: int = 0
    _searched: int = 0
    _searching: Search = field(default_factory=lambda: Search(REMEMBERED))

    def run(self, format: Format, pieces: Pieces) -> None:
        """Read the pieces to their end. Raises TraceError, also for a format that can't be followed."""
        if format.fill is None:
            able = ", ".join(followed())
            raise TraceError(self.builder.path, 0, f"only texts can be followed ({able}), and this is {format.name}")
        self.clock = format.fill(self.builder, self._watched(pieces))
        self._look()
        self._search()

    def _watched(self, pieces: Pieces) -> Iterator[tuple[bytes, int]]:
        for piece in pieces:
            yield piece
            self._look()

    def _look(self) -> None:
        """Tell what the last piece brought, and forget its events."""
        builder = self.builder
        for mark in builder.marks[len(self.gaps) :]:
            now = builder.latest(mark.cpu)
            known: Known = "uncounted" if mark.count is None else "counted"
            gap = Gap(len(self.gaps), mark.cpu, None, None, now, now, mark.count, known, mark.line)
            self.gaps.append(gap)
            self.tell(gap)
        for loss in builder.unplaced[self._told :]:
            self.tell(loss)
        self._told = len(builder.unplaced)
        events = builder.take()
        if len(events):
            self._held.append(events)
            self._waiting += len(events)
        if self._waiting >= SEARCHED:
            self._search()

    def _search(self) -> None:
        """Look for broken pairs in the events that wait, and between them and earlier ones."""
        if not self._waiting:
            return
        table = pa.concat_tables(self._held, promote_options="none").unify_dictionaries()
        trace = Trace(self.builder.path, self.builder.format, table, nested=self.builder.nested)
        self._searching.suspect(self._searching.look(Piece(trace, 0, len(trace), (), self._searched)), ())
        self._searched += len(trace)
        self._held, self._waiting = [], 0

    @cached_property
    def trace(self) -> Trace:
        """The losses alone, as a trace without events, once all of it was read."""
        whole = self.builder.finish(self.clock)
        return Trace(
            whole.path,
            whole.format,
            whole.table.slice(0, 0),
            tuple(self.gaps),
            overwritten=whole.overwritten,
            warnings=whole.warnings,
            unplaced=whole.unplaced,
            doubts=whole.doubts,
            passed_over=whole.passed_over,
        )

    @cached_property
    def verdict(self) -> Verdict:
        return verdict(self.trace, self._searching.finish())

    @property
    def losses(self) -> Losses:
        return Losses.of(self.trace)
