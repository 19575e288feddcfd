"""What outputs need of a trace besides its gaps and fills, kept while its pieces pass by.

Axis legend: E events of a piece, X columns of time.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tracemend.trace.events import ENTER, EXIT, Gap
from tracemend.trace.pieces import Piece

#: Columns of time in which events are counted, at least half of them in use.
COLUMNS = 1 << 13
#: Cpus of which events are counted.
MOST_CPUS = 1 << 10
#: What stands for the line of an event that isn't there.
_NO_LINE = -1


@dataclass
class Outline:
    """``kept``: events. ``lines``: of the first event and, where there are any, of the first call entered and the first
    left. ``whole_us``: whether the first events' times are whole microseconds."""

    kept: int = 0
    begin_ns: int = 0
    end_ns: int = 0
    whole_us: bool = True
    lines: dict[int, int] = field(default_factory=dict)
    cpus: set[int] = field(default_factory=set)
    #: Of each gap its number and its place, one behind the other: there may be very many.
    _places: array[int] = field(default_factory=lambda: array("q"))
    _density: dict[int, NDArray[np.int64]] = field(default_factory=dict)
    _column_ns: int = 1
    _first_ns: int = 0
    #: The line that is open at a piece's end, and the row of the whole trace with its first event.
    _line: tuple[int, int] = (-1, 0)

    def add(self, piece: Piece, gaps: tuple[Gap, ...]) -> None:
        """Take in the next piece, and its own gaps with the whole trace's rows."""
        own, first = piece.own, piece.first + piece.begin
        if len(own):
            time_ns, line = own.time_ns, own.line
            if not self.kept:
                self.begin_ns = self.end_ns = int(time_ns[0])
                self.whole_us = not (time_ns[:1000] % 1000).any()
                self.lines[-1] = int(line[0])
            for phase in (ENTER, EXIT):
                if phase not in self.lines and (own.phase == phase).any():
                    self.lines[phase] = int(line[int(np.argmax(own.phase == phase))])
            self._count(piece)
            self.kept += len(own)
        for gap in gaps:
            self._places.extend((gap.number, *self._place(piece, gap, first)))
        if len(own):
            last = int(own.line[-1])
            begin = first + int(np.searchsorted(own.line, last))
            self._line = last, self._line[1] if self._line[0] == last else begin

    @property
    def places(self) -> dict[int, tuple[int | None, int]]:
        """By gap the line of the event behind it (None: there is none), and how many events begin before that one on
        its line."""
        triples = zip(self._places[::3], self._places[1::3], self._places[2::3], strict=True)
        return {number: (None if line == _NO_LINE else line, begun) for number, line, begun in triples}

    def renumber(self, number: Callable[[int], int]) -> None:
        """Call the gaps by other numbers."""
        self._places[::3] = array("q", map(number, self._places[::3]))

    def _place(self, piece: Piece, gap: Gap, first: int) -> tuple[int, int]:
        if gap.after is None:
            return _NO_LINE, 0
        own = piece.own.line
        line = int(own[gap.after - first])
        begin = self._line[1] if line == self._line[0] else first + int(np.searchsorted(own, line))
        return line, gap.after - begin

    def _count(self, piece: Piece) -> None:
        own = piece.own
        if not self.kept:
            self._first_ns = int(own.time_ns.min())
        self.begin_ns, self.end_ns = (
            min(self.begin_ns, int(own.time_ns.min())),
            max(self.end_ns, int(own.time_ns.max())),
        )
        while (self.end_ns - self._first_ns) // self._column_ns >= COLUMNS:
            self._column_ns *= 2
            for cpu, held in self._density.items():
                halved = held.reshape(-1, 2).sum(axis=1)
                self._density[cpu] = np.concatenate([halved, np.zeros(COLUMNS // 2, np.int64)])
        self.cpus.update(own.streams)
        for cpu, rows in own.streams.items():
            # what another cpu has before the first piece's begin counts as its first column
            if cpu not in self._density:
                if len(self._density) >= MOST_CPUS:
                    continue
                self._density[cpu] = np.zeros(COLUMNS, np.int64)
            at = np.maximum(own.time_ns[rows] - self._first_ns, 0) // self._column_ns
            self._density[cpu] += np.bincount(at, minlength=COLUMNS)

    def density(self, cpu: int, columns: int, begin_ns: int, span_ns: int) -> NDArray[np.int64]:
        """How many events a cpu has in each of so many equal parts of a time (X,), about."""
        held = self._density.get(cpu)
        if held is None:
            return np.zeros(columns, np.int64)
        middle = np.arange(COLUMNS) * self._column_ns + self._column_ns // 2 + (self._first_ns - begin_ns)
        counts, _ = np.histogram(middle, columns, (0, span_ns), weights=held)
        return counts.astype(np.int64)
