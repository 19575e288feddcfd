"""What stands around a gap: the events that survived on both sides, in the stream that lost it."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tracemend.trace.events import Gap, Trace
from tracemend.trace.vocabulary import BREAK
from tracemend.trace.windows import GONE, Stream

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
        begin, end = max(0, at - most), min(len(rows), at + most)
        left, right = self._side(rows[begin:at]), self._side(rows[at:end])
        if 0 < begin < at:
            left.steps[0] = self.trace.time_ns[rows[begin]] - self.trace.time_ns[rows[begin - 1]]
        left = _broken(left, breaks[bisect.bisect_left(breaks, begin) : bisect.bisect_left(breaks, at)], begin)
        right = _broken(right, breaks[bisect.bisect_right(breaks, at) : bisect.bisect_left(breaks, end)], at)
        return left if at >= most else GONE + left, right if end == at + most else right + GONE

    def _side(self, rows: Ints) -> Stream:
        """These rows of a stream; nobody knows what is before the first."""
        steps = np.full(len(rows), -1, np.int64)
        steps[1:] = np.diff(self.trace.time_ns[rows])
        return Stream(self.ids[rows], self.trace.tid[rows].astype(np.int64), steps)


def _broken(stream: Stream, breaks: Sequence[int], first: int) -> Stream:
    """A piece of a stream, from position ``first``, with a BREAK in front of some positions."""
    if not breaks:
        return stream
    at = np.unique(breaks) - first
    stream.steps[at] = -1
    known = np.ones(len(stream) + len(at), bool)
    known[at + np.arange(len(at))] = False
    columns = []
    for own, unknown in ((stream.ids, BREAK), (stream.tids, -1), (stream.steps, -1)):
        columns.append(np.full(len(known), unknown))
        columns[-1][known] = own
    return Stream(*columns)
