"""A live trace, scanned as it comes: what is lost is told when it is read, and few events are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa

from tracemend.errors import TraceError
from tracemend.formats import FORMATS
from tracemend.formats.base import Builder, Clock, Format, Pieces
from tracemend.losses.suspect import sides, unpaired
from tracemend.losses.switches import SWITCH, unchained
from tracemend.losses.verdict import Losses, Verdict, verdict
from tracemend.trace.events import INSTANT, Gap, Known, Trace, rows_by
from tracemend.trace.evidence import Unplaced

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
    suspected: list[Gap] = field(default_factory=list)
    clock: Clock = "ns"
    _told: int = 0
    #: Events that wait to be searched, behind those that pairs may begin with which pieces divide.
    _held: list[pa.Table] = field(default_factory=list)
    _waiting: int = 0
    _sides: set[tuple[str, int]] = field(default_factory=set)

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
        trace = Trace(self.builder.path, self.builder.format, table)
        self._sides |= sides(trace)
        broken = zip(unpaired(trace, self._sides), unchained(trace), strict=True)
        before, after = (np.concatenate(rows).tolist() for rows in broken)
        for q, p in sorted(zip(after, before, strict=True)):
            if len(self.suspected) < REMEMBERED:
                line, number = int(trace.line[q]), len(self.suspected)
                begin, end = int(trace.time_ns[p]), int(trace.time_ns[q])
                self.suspected.append(
                    Gap(number, int(trace.cpu[q]), None, None, begin, max(begin, end), None, "suspected", line)
                )
        self._held, self._waiting = [_last(trace)], 0

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
        """Calls within one another are not searched: which of them are open would have to be known for all threads."""
        return verdict(self.trace, None if self.builder.nested else self.suspected)

    @property
    def losses(self) -> Losses:
        return Losses.of(self.trace)


def _last(trace: Trace) -> pa.Table:
    """What pairs with a later event: the last side of a call of each thread, the last switch of each cpu."""
    codes, names = trace.names
    calls = np.flatnonzero(trace.phase != INSTANT)
    switches = np.flatnonzero(codes == names.index(SWITCH)) if SWITCH in names else calls[:0]
    of = ((calls, trace.tid[calls]), (switches, trace.cpu[switches]))
    last = [int(rows[group[-1]]) for rows, key in of for group in rows_by(key).values()]
    return trace.table.take(pa.array(sorted(last), pa.int64()))
