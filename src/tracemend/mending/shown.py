"""Recorded events that outputs can show one by one: all of them as long as they are few, then those beside gaps.

Axis legend: G gaps, N places beside a gap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.trace.events import Gap
from tracemend.trace.pieces import Piece

Ints = NDArray[np.int64]

#: Events of which all are kept, from the first one on; beyond them so many beside gaps, and on each side of one.
WHOLE, BESIDE, NEAR = 1 << 20, 1 << 18, 5
#: Their columns.
COLUMNS = ("time_ns", "cpu", "tid", "comm", "name", "phase")


@dataclass
class Shown:
    """Chooses them while a trace's pieces pass by. ``whole``: so many from the first on are all there."""

    whole: int = 0
    beside: int = 0

    def take(self, piece: Piece) -> pa.Table:
        """Of the next piece the events that are to be kept (COLUMNS), with their rows of the whole trace; some beside
        a gap may have come with the piece before."""
        rows = self._rows(piece)
        return piece.trace.table.select(COLUMNS).take(pa.array(rows)).append_column("row", pa.array(rows + piece.first))

    def _rows(self, piece: Piece) -> Ints:
        first = piece.first + piece.begin
        fits = min(len(piece), WHOLE - self.whole) if self.whole == first else 0
        self.whole += fits
        if fits == len(piece):
            return np.arange(piece.begin, piece.end)
        behind = [len(piece.trace) if g.after is None else g.after - piece.first for g in piece.gaps]
        near = beside(piece.trace.streams, piece.gaps, np.array(behind, np.int64))
        near = near[near + piece.first >= self.whole][: BESIDE - self.beside]
        self.beside += len(near)
        return np.concatenate([np.arange(piece.begin, piece.begin + fits), near])


def beside(streams: Mapping[int, Ints], gaps: Sequence[Gap], behind_G: Ints) -> Ints:
    """Rows beside gaps, in order. streams: rows by cpu; behind_G: where each gap's first row behind it is, or would
    be."""
    cpu_G = np.array([g.cpu for g in gaps], np.int64)
    found = [np.empty(0, np.int64)]
    for cpu in np.unique(cpu_G).tolist():
        rows = streams.get(cpu, found[0])
        place_GN = np.searchsorted(rows, behind_G[cpu_G == cpu])[:, None] + np.arange(-NEAR, NEAR)
        found.append(rows[place_GN[(place_GN >= 0) & (place_GN < len(rows))]])
    return np.unique(np.concatenate(found))
