"""A live trace, scanned as it comes: what is lost is told when it is read, and no event is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa

from tracemend.errors import TraceError
from tracemend.formats import FORMATS
from tracemend.formats.base import Builder, Format
from tracemend.losses.suspect import unpaired
from tracemend.losses.verdict import Losses, Verdict, verdict
from tracemend.trace.events import Gap, Known, Trace
from tracemend.trace.evidence import Unplaced

#: So much is looked at to recognise a format, as for a file.
HEAD = 1 << 16
#: Suspected places that are remembered.
REMEMBERED = 1000


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
    _told: int = 0
    #: The last event of each thread, for pairs that pieces divide.
    _last: pa.Table | None = None

    def run(self, format: Format, pieces: Iterator[tuple[bytes, int]]) -> None:
        """Read the pieces to their end. Raises TraceError, also for a format that can't be followed."""
        if format.fill is None:
            able = ", ".join(followed())
            raise TraceError(self.builder.path, 0, f"only texts can be followed ({able}), and this is {format.name}")
        format.fill(self.builder, self._watched(pieces))
        self._look()

    def _watched(self, pieces: Iterator[tuple[bytes, int]]) -> Iterator[tuple[bytes, int]]:
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
        if events.num_rows:
            self._search(events)

    def _search(self, events: pa.Table) -> None:
        """Look for broken pairs in these events and between them and earlier ones."""
        table = events if self._last is None else pa.concat_tables([self._last, events], promote_options="none")
        trace = Trace(self.builder.path, self.builder.format, table.unify_dictionaries())
        for p, q in zip(*(rows.tolist() for rows in unpaired(trace)), strict=True):
            if len(self.suspected) < REMEMBERED:
                line, number = int(trace.line[q]), len(self.suspected)
                begin, end = int(trace.time_ns[p]), int(trace.time_ns[q])
                self.suspected.append(
                    Gap(number, int(trace.cpu[q]), None, None, begin, max(begin, end), None, "suspected", line)
                )
        self._last = trace.table.take(pa.array(np.sort([rows[-1] for rows in trace.threads.values()])))

    @cached_property
    def trace(self) -> Trace:
        """The losses alone, as a trace without events, once all of it was read."""
        whole = self.builder.finish()
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
        return verdict(self.trace, self.suspected)

    @property
    def losses(self) -> Losses:
        return Losses.of(self.trace)

    @property
    def lost(self) -> int:
        return self.losses.events

    @property
    def share_lost(self) -> float:
        return self.lost / max(1, self.lost + self.builder.rows)
