"""What each thread did, as far as it survived or was inferred, and what that leaves it to do in a gap.

Axis legend: N positions of a gap, C conflicts, G gaps.
"""

from __future__ import annotations

import bisect
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tracemend.mending.beliefs import Filled
from tracemend.mending.constraints import CLOSED, ENDED, FREE, OPEN, Rules, Threads
from tracemend.trace.events import ENTER, EXIT, Gap, Trace

if TYPE_CHECKING:
    from tracemend.mending.histories import History, Span

Ints = NDArray[np.int64]
#: Later than all times.
LATE = 1 << 62


class Conflicts:
    """Events of threads that can't follow the ones before them: between the two something must have been lost.

    rows (C,): of those that survived, in order of their ``times``; threads, and how many events each of these needs in
    between; earlier: times and rows of the events before. A conflict that fills settle is passed over, one that they
    make is kept beside the others.
    """

    def __init__(self, times: Ints, rows: Ints, threads: Ints, needs: Ints, earlier: tuple[Ints, Ints]) -> None:
        self.times, self.rows, self.threads, self.needs, self.earlier = times, rows, threads, needs, earlier
        self._next = np.arange(len(times) + 1)
        self._made: list[tuple[int, float, int]] = []

    @cached_property
    def _sums(self) -> tuple[Ints, Ints, Ints, Ints]:
        """Times and rows of the events before, in order; what all conflicts up to each of them need, and up to each of
        the later events."""
        times, rows = self.earlier
        order = np.lexsort((rows, times))
        begun, ended = (np.append(0, np.cumsum(n)) for n in (self.needs[order], self.needs))
        return times[order], rows[order], begun, ended

    def needed(self, begin: tuple[int, float], end: tuple[int, float]) -> int:
        """How many events the threads need whose conflicts overlap with this span, had nothing been filled."""
        times, rows, begun, ended = self._sums
        return int(begun[_behind(times, rows, end)] - ended[_behind(self.times, self.rows, begin)])

    def between(self, begin: tuple[int, float], end: tuple[int, float]) -> Ints:
        """The threads of the conflicts behind the one moment, up to the other."""
        from tracemend.mending.histories import standing

        made = self._made[
            bisect.bisect_right(self._made, (*begin, LATE)) : bisect.bisect_right(self._made, (*end, LATE))
        ]
        first, last = (_behind(self.times, self.rows, m) for m in (begin, end))
        survived = self.threads[standing(self._next, first, last)] if first < last else self.threads[:0]
        return np.unique(np.append(survived, [u for _, _, u in made])) if made else np.unique(survived)

    def mark(self, time: int, row: float, thread: int, there: bool) -> None:
        """Say of an event of a thread whether it is in conflict with the one before."""
        at = _behind(self.times, self.rows, (time, row)) - 1
        if at >= 0 and self.times[at] == time and self.rows[at] == row and self._next[at] == at:
            if not there:
                self._next[at] = at + 1
            return
        place = bisect.bisect_left(self._made, (time, row, thread))
        known = self._made[place : place + 1] == [(time, row, thread)]
        if there and not known:
            self._made.insert(place, (time, row, thread))
        elif known and not there:
            del self._made[place]


class Timelines:
    """All threads of a trace. ids (E,): of its events."""

    def __init__(self, trace: Trace, ids: Ints, rules: Rules) -> None:
        from tracemend.mending.histories import History, Hung

        self.trace, self.rules = trace, rules
        phase = rules.phase[ids]
        calls = np.flatnonzero(((phase == ENTER) | (phase == EXIT)) & (trace.tid >= 0))
        calls = calls[np.lexsort((trace.time_ns[calls], trace.tid[calls]))]
        tids = np.unique(trace.tid[trace.tid >= 0]).astype(np.int64)
        starts = np.append(np.searchsorted(trace.tid[calls], tids), len(calls))
        state, required = (table[ids[calls]].astype(np.int32) for table in (rules.after, rules.required))
        latest = np.full(len(calls) + len(tids), -1, np.int32)
        self._history = History(tids, starts, trace.time_ns[calls], calls, trace.cpu[calls], state, required, latest)
        #: The fills' events (room for more is kept behind them), and how many they are.
        self._hung = Hung(*(np.empty(0, t) for t in (*"ld", *"iii", *"llll")))
        self._fills = 0
        self.conflicts = _conflicts(self._history)
        gaps = sorted((g.end_ns, g.begin_ns) for g in trace.gaps)
        self._ends = [end for end, _ in gaps]
        begins = np.array([*(begin for _, begin in gaps), LATE], np.int64)
        #: For each gap in order of their ends, when the first of it and those behind it begins.
        self._begins_G = np.minimum.accumulate(begins[::-1])[::-1]

    def threads_of(self, gap: Gap, tids: Ints, times: Ints) -> tuple[Threads, Ints]:
        """How each thread may take part, and for each entry the index of its thread in ``tids`` (-1: not among them).

        First the given ones (index 0 unknown), then what else of them or of any other thread has a call to settle: a
        thread that comes and goes has an entry for each stretch of time in which it may be here. times (N,): nominal
        times of the positions. What a thread's event behind this gap asks for can wait for a gap that lasts longer.
        """
        from tracemend.mending.histories import BEGIN, COLUMN, HIGH

        wait_ns = int(self._begins_G[bisect.bisect_right(self._ends, gap.end_ns)])
        found = self._stretches(gap, tids, times, wait_ns)
        unknown = np.array([[0, 0, 0, -1, FREE, FREE, 0, len(times), OPEN, OPEN]])
        rows = np.concatenate([unknown, found])
        return Threads(*rows.T[BEGIN - 1 : HIGH + 1].copy()), rows[:, COLUMN]

    def _stretches(self, gap: Gap, tids: Ints, times: Ints, wait_ns: int) -> Ints:
        """Stretches in order (``histories.stretches``)."""
        from tracemend.mending.histories import FIRST, KEY, TID, stretches

        span = self._span(gap, wait_ns)
        others = self.conflicts.between(gap.edges[0], max(gap.edges[1], (min(wait_ns, span.high_ns), float("inf"))))
        found = stretches(self._history, self._hung, tids, others, span, times)
        if len(found) < len(tids):  # in order as they are
            return found
        return found[np.lexsort((found[:, FIRST], found[:, TID], found[:, KEY]))]

    def _span(self, gap: Gap, wait_ns: int) -> Span:
        from tracemend.mending.histories import Span

        (begin_ns, begin_row), (end_ns, end_row) = gap.edges
        low_ns, high_ns = self.trace.partial.span(gap) if self.trace.partial else (-LATE, LATE)
        return Span(begin_ns, float(begin_row), end_ns, float(end_row), gap.cpu, low_ns, high_ns, wait_ns)

    def obligations(self, gap: Gap) -> int:
        """How many events threads need in a gap of a trace in which nothing was filled yet."""
        from tracemend.mending.histories import BEGIN, NEED

        if self.trace.partial:
            middle = np.array([(gap.begin_ns + gap.end_ns) // 2])
            found = self._stretches(gap, np.array([-1]), middle, LATE)
            return int(found[found[:, BEGIN] != ENDED, NEED].sum())
        return self.conflicts.needed(*gap.edges)

    def remember(self, filled: Filled) -> None:
        """Make a fill part of its threads' history."""
        from tracemend.mending.histories import Hung, hang

        tids, phase = self._history.tids, self.rules.phase[filled.ids]
        if not len(tids):
            return
        threads = np.minimum(np.searchsorted(tids, filled.tids), len(tids) - 1)
        known = np.flatnonzero(
            ((phase == ENTER) | (phase == EXIT)) & (filled.tids >= 0) & (tids[threads] == filled.tids)
        )
        first, end = self._fills, self._fills + len(known)
        if end > len(self._hung.time):
            self._hung = Hung(*(np.concatenate([a[:first], np.zeros(end, a.dtype)]) for a in self._hung))
        hung, ids, times = self._hung, filled.ids[known], filled.times[known]
        new = slice(first, end)
        (_, after_begin), (_, before_end) = filled.gap.edges
        hung.time[new], hung.row[new] = times, np.where(times == filled.gap.end_ns, before_end, after_begin)
        hung.cpu[new], hung.thread[new] = filled.gap.cpu, threads[known]
        hung.state[new], hung.required[new] = self.rules.after[ids], self.rules.required[ids]
        changed = hang(self._history, hung, first, end)
        self._fills = end
        for time, row, thread, there in zip(*(a.tolist() for a in changed), strict=True):
            self.conflicts.mark(time, row, thread, there)


def _conflicts(history: History) -> Conflicts:
    """Those among the events that survived."""
    n = len(history.time)
    state, required = history.state[np.arange(-1, n - 1)], history.required
    # ``beam.need`` of each event, for all at once
    needs = np.where((required >= 0) & (state >= 0), 2, 1)
    needs[(required == FREE) | (required == state) | ((required == CLOSED) & (state == FREE))] = 0
    needs[history.starts[:-1][history.starts[:-1] < n]] = 0  # a thread's first event
    late = np.flatnonzero(needs)
    late = late[np.lexsort((history.row[late], history.time[late]))]
    return Conflicts(
        history.time[late],
        history.row[late],
        np.searchsorted(history.starts, late, "right") - 1,
        np.where(state[late] == ENDED, 0, needs[late]),  # whoever has ended needs more than there can be
        (history.time[late - 1], history.row[late - 1]),
    )


def _behind(times: Ints, rows: Ints, moment: tuple[int, float]) -> int:
    """The place of the first event behind a moment, among events in order."""
    time, row = moment
    first, end = np.searchsorted(times, time, "left"), np.searchsorted(times, time, "right")
    return int(first + np.searchsorted(rows[first:end], row, "right"))
