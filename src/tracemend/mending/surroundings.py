"""What stands around a gap: the events that survived on both sides, in the stream that lost it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tracemend.trace.events import Gap, Trace
from tracemend.trace.vocabulary import BREAK
from tracemend.trace.windows import Stream

Ints = NDArray[np.int64]


class Surroundings:
    """The streams of a trace, cut where events are missing. ids (E,): of the trace's events."""

    def __init__(self, trace: Trace, ids: Ints) -> None:
        self.trace, self.ids = trace, ids
        #: by cpu the stream's rows, and the positions in it before which events are missing
        self.breaks = {cpu: self._breaks(cpu) for cpu in {g.cpu for g in trace.gaps} | set(trace.streams)}

    def _breaks(self, cpu: int) -> tuple[Ints, list[int]]:
        return self.trace.streams.get(cpu, np.empty(0, np.int64)), self.trace.breaks(cpu)

    def of(self, gap: Gap, most: int) -> tuple[Stream, Stream]:
        """Up to ``most`` events on each side, BREAK where another gap lies or the stream ends."""
        rows, breaks = self.breaks[gap.cpu]
        at = int(np.searchsorted(rows, gap.after)) if gap.after is not None else len(rows)
        left = self._side(rows, np.arange(at - 1, -1, -1)[:most], most, {b for b in breaks if b < at}, before=True)
        right = self._side(rows, np.arange(at, len(rows))[:most], most, {b for b in breaks if b > at}, before=False)
        return left[::-1], right

    def _side(self, rows: Ints, positions: Ints, most: int, breaks: set[int], *, before: bool) -> Stream:
        events: list[tuple[int, int, int]] = []
        unknown = (BREAK, -1, -1)
        for i, p in enumerate(positions.tolist()):
            broken = p in breaks
            first = p == 0 or broken or (not before and i == 0)
            step = -1 if first else int(self.trace.time_ns[rows[p]] - self.trace.time_ns[rows[p - 1]])
            event = (int(self.ids[rows[p]]), int(self.trace.tid[rows[p]]), step)
            events += [event] if not broken else [event, unknown] if before else [unknown, event]
        if len(positions) < most:
            events.append(unknown)
        return Stream(*np.array(events, np.int64).reshape(-1, 3).T)
