"""What is kept of a trace's events while it is gone through piece by piece: counts, and who was near the gaps.

Axis legend: E events of a piece.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tracemend.trace.events import Gap
from tracemend.trace.pieces import PIECE, Piece
from tracemend.trace.placing import last_of

#: Events on each side of a gap whose threads are named as concerned.
NEIGHBOURS = 32

#: Threads whose commands are remembered: as many as one piece can have.
MOST_THREADS = PIECE

Tids = NDArray[np.int32]
Threads = tuple[int, ...]


@dataclass
class Seen:
    """``begin_ns``, ``end_ns``: the earliest and latest time. ``events`` of each cpu. ``commands``: each thread's, at
    its last event."""

    begin_ns: int = 0
    end_ns: int = 0
    events: Counter[int] = field(default_factory=Counter)
    commands: dict[int, str | None] = field(default_factory=dict)
    #: By gap the threads near it, in order. There may be very many gaps, and few threads: those alike are kept once.
    _near: dict[int, Threads] = field(default_factory=dict)
    _alike: dict[Threads, Threads] = field(default_factory=dict)
    #: By cpu, its last events' threads, and the gaps that wait for so many events more.
    _behind: dict[int, Tids] = field(default_factory=dict)
    _waiting: dict[int, list[tuple[int, int]]] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.events.total()

    def add(self, piece: Piece) -> None:
        """Take in a piece's events."""
        own = piece.own
        if not len(own):
            return
        begin, end = int(own.time_ns.min()), int(own.time_ns.max())
        self.begin_ns, self.end_ns = (min(self.begin_ns, begin), max(self.end_ns, end)) if len(self) else (begin, end)
        self.events.update({cpu: len(rows) for cpu, rows in own.streams.items()})
        codes, comms = own.comms
        for tid, row in last_of(own.tid).items():
            if len(self.commands) >= MOST_THREADS and tid not in self.commands:
                continue  # no system has so many: the numbers are damaged or made up
            self.commands[tid] = comms[codes[row]] if codes[row] >= 0 else None

    def near(self, piece: Piece, gaps: list[Gap]) -> None:
        """Look at who is near some gaps whose event behind is one of the piece's (or that have none); once a piece."""
        own, first = piece.own, piece.first + piece.begin
        none = np.empty(0, np.int32)
        at: dict[int, list[Gap]] = {}
        for gap in gaps:
            at.setdefault(gap.cpu, []).append(gap)
        streams = own.streams
        for cpu in {*at, *streams}:
            behind = self._behind.get(cpu, none)
            rows = streams.get(cpu, np.empty(0, np.int64))
            tids = own.tid[rows]
            waiting = []
            for number, wanted in self._waiting.get(cpu, []):
                self._concern(number, tids[:wanted])
                if len(tids) < wanted:
                    waiting.append((number, wanted - len(tids)))
            here = at.get(cpu, [])
            end = first + len(own)  # behind all rows
            places = np.searchsorted(rows, [(end if g.after is None else g.after) - first for g in here])
            for gap, place in zip(here, places.tolist(), strict=True):
                before = tids[max(0, place - NEIGHBOURS) : place]
                missing = NEIGHBOURS - len(before)
                self._concern(gap.number, np.concatenate([behind[len(behind) - min(missing, len(behind)) :], before]))
                after = tids[place : place + NEIGHBOURS]
                self._concern(gap.number, after)
                if len(after) < NEIGHBOURS:
                    waiting.append((gap.number, NEIGHBOURS - len(after)))
            self._waiting[cpu] = waiting
            self._behind[cpu] = np.concatenate([behind, tids[-NEIGHBOURS:]])[-NEIGHBOURS:]

    def _concern(self, number: int, tids: Tids) -> None:
        near = tuple(sorted({*self._near.get(number, ()), *(tid for tid in tids.tolist() if tid >= 0)}))
        self._near[number] = self._alike.setdefault(near, near)

    def threads(self, number: int) -> list[int]:
        """Threads seen just before or behind a gap on its cpu."""
        return list(self._near.get(number, ()))

    def renumber(self, numbers: dict[int, int]) -> None:
        """Gaps by their last numbers; those that have none are forgotten."""
        self._near = {numbers[n]: tids for n, tids in self._near.items() if n in numbers}
