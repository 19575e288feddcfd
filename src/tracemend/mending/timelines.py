"""What each thread did, as far as it survived or was inferred, and what that leaves it to do in a gap.

Axis legend: N positions of a gap, C conflicts, G gaps.
"""

from __future__ import annotations

import bisect
from copy import copy
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tracemend.mending.beliefs import Filled
from tracemend.mending.constraints import CLOSED, ENDED, FREE, OPEN, Rules, Threads
from tracemend.mending.durations import Spans, lasting
from tracemend.trace.events import ENTER, EXIT, Gap, Trace

if TYPE_CHECKING:
    from tracemend.mending.histories import Span

Ints = NDArray[np.int64]
#: Later than all times.
LATE = 1 << 62
#: Behind all rows, twice a row as it is: what is known of fills is narrow (``histories.Hung``).
LAST = (1 << 31) - 1
#: Room for so many fills' calls is taken before they are there, at most.
MOST_ROOM = 1 << 18


class Timelines:
    """All threads of a trace. ids (E,): of its events."""

    def __init__(self, trace: Trace, ids: Ints, rules: Rules) -> None:
        from tracemend.mending.histories import REQUIRED, ROW, TIME, Conflicts, History, Hung

        self.trace, self.rules = trace, rules
        phase = rules.phase[ids]
        calls = np.flatnonzero(((phase == ENTER) | (phase == EXIT)) & (trace.tid >= 0))
        calls = calls[np.lexsort((trace.time_ns[calls], trace.tid[calls]))]
        tids = np.unique(trace.tid[trace.tid >= 0]).astype(np.int64)
        starts = np.append(np.searchsorted(trace.tid[calls], tids), len(calls))
        events = np.empty((len(calls), REQUIRED + 1), np.int64)
        what = ids[calls]
        columns: tuple[NDArray[np.integer[Any]], ...] = (
            trace.time_ns[calls],
            2 * calls,
            trace.cpu[calls],
            rules.after[what],
            rules.required[what],
        )
        for k, column in enumerate(columns):
            events[:, k] = column
        self._history = History(tids, starts, events, np.full(len(calls) + len(tids), -1, np.int32))
        #: The fills' calls, behind which room is kept for more, and how many they are.
        self._hung = Hung.empty(0)
        # taken at once, as what grows leaves holes in memory; but a count may be anything
        self._room = min(sum(g.count or 0 for g in trace.gaps), MOST_ROOM)
        self._fills = 0
        self._late, self._needs = _conflicts(events, starts)
        late = events[self._late]
        self._conflicts = Conflicts(
            late[:, TIME].copy(),
            late[:, ROW].copy(),
            np.searchsorted(starts, self._late, "right") - 1,
            np.arange(len(late) + 1),
        )
        #: Conflicts that fills made, in order: time, row, thread, and the event (``histories.hang``).
        self._made: list[tuple[int, int, int, int]] = []
        gaps = sorted((g.end_ns, g.begin_ns) for g in trace.gaps)
        self._ends = [end for end, _ in gaps]
        begins = np.array([*(begin for _, begin in gaps), LATE], np.int64)
        self._last = int(trace.time_ns.max(initial=-LATE))
        #: For each gap in order of their ends, when the first of it and those behind it begins.
        self._begins: list[int] = np.minimum.accumulate(begins[::-1])[::-1].tolist()

    def unfilled(self) -> Timelines:
        """The same threads, for another history. Nothing may have been filled yet."""
        other = copy(self)
        other._history = self._history._replace(latest=self._history.latest.copy())
        other._conflicts = self._conflicts._replace(following=self._conflicts.following.copy())
        other._made = []
        return other

    def threads_of(self, gap: Gap, tids: Ints, times: Ints, wait_ns: int | None = None) -> tuple[Threads, Ints]:
        """How each thread may take part, and for each entry the index of its thread in ``tids`` (-1: not among them).

        First the given ones (index 0 unknown), then what else of them or of any other thread has a call to settle: a
        thread that comes and goes has an entry for each stretch of time in which it may be here. times (N,): nominal
        times of the positions. What a thread's event behind this gap asks for can wait for a gap that lasts longer, or,
        if given, until ``wait_ns``.
        """
        from tracemend.mending.histories import COLUMN, TID

        if wait_ns is None:
            wait_ns = self._begins[bisect.bisect_right(self._ends, gap.end_ns)]
        found = self._stretches(gap, tids, times, wait_ns)
        rows = np.empty((len(found) + 1, found.shape[1]), np.int64)
        rows[0], rows[1:] = (0, 0, 0, -1, FREE, FREE, 0, len(times), OPEN, OPEN), found
        return Threads(*rows.T[TID:].copy()), rows[:, COLUMN]

    def silence(self, gap: Gap) -> int:
        """The time from a gap's end to the next moment at which something may have been lost, or to the trace's end, in
        ns; below 0 where another gap lasts longer."""
        begins = self._begins[bisect.bisect_right(self._ends, gap.end_ns)]
        last = self.trace.partial.span(gap)[1] if self.trace.partial else self._last
        return min(begins, last) - gap.end_ns

    def _stretches(self, gap: Gap, tids: Ints, times: Ints, wait_ns: int) -> Ints:
        """Stretches in order (``histories.stretches``)."""
        from tracemend.mending.histories import FIRST, KEY, TID, standing, stretches

        span = self._span(gap, wait_ns)
        others = standing(self._conflicts, span)
        if self._made:
            made = self._made
            end = max((span.end_ns, span.end_row), (min(wait_ns, span.high_ns), LATE))
            first = bisect.bisect_right(made, (span.begin_ns, span.begin_row, LATE))
            more = made[first : bisect.bisect_right(made, (*end, LATE))]
            others = np.append(others, np.array([u for _, _, u, _ in more], np.int64))
        if len(others):
            others = np.unique(others)
        found = stretches(self._history, self._hung, tids, others, span, times)
        if len(found) < len(tids):  # in order as they are
            return found
        return found[np.lexsort((found[:, FIRST], found[:, TID], found[:, KEY]))]

    def _span(self, gap: Gap, wait_ns: int) -> Span:
        from tracemend.mending.histories import Span

        (begin_ns, begin_row), (end_ns, end_row) = gap.edges
        low_ns, high_ns = self.trace.partial.span(gap) if self.trace.partial else (-LATE, LATE)
        return Span(begin_ns, _twice(begin_row), end_ns, _twice(end_row), gap.cpu, low_ns, high_ns, wait_ns)

    def obligations(self, gap: Gap) -> int:
        """How many events threads need in a gap of a trace in which nothing was filled yet."""
        from tracemend.mending.histories import BEGIN, NEED

        if self.trace.partial:
            middle = np.array([(gap.begin_ns + gap.end_ns) // 2])
            found = self._stretches(gap, np.array([-1]), middle, LATE)
            return int(found[found[:, BEGIN] != ENDED, NEED].sum())
        (begin_ns, begin_row), (end_ns, end_row) = gap.edges
        times, rows, begun, ended = self._sums
        late = self._conflicts
        began = begun[_behind(times, rows, end_ns, _twice(end_row))]
        return int(began - ended[_behind(late.times, late.rows, begin_ns, _twice(begin_row))])

    @cached_property
    def spans(self) -> Spans:
        """How long the threads' states lasted, as far as that survived."""
        from tracemend.mending.histories import CPU, REQUIRED, STATE, TIME

        events = self._history.events
        states, behind = events[:, STATE], np.roll(events[:, REQUIRED], -1)
        goes_on = (states == behind) & (states >= CLOSED)
        ends = self._history.starts[1:]
        goes_on[ends[ends > 0] - 1] = False
        return Spans(events[:, TIME], states, lasting(events[:, TIME], events[:, CPU], goes_on, self.trace.gaps))

    @cached_property
    def _sums(self) -> tuple[Ints, Ints, Ints, Ints]:
        """Times and rows of the events before conflicts, in order; what all conflicts up to each of them need, and up
        to each of the later events."""
        from tracemend.mending.histories import ROW, TIME

        early = self._history.events[self._late - 1]
        order = np.lexsort((early[:, ROW], early[:, TIME]))
        begun, ended = (np.append(0, np.cumsum(n)) for n in (self._needs[order], self._needs))
        return early[order, TIME], early[order, ROW], begun, ended

    def remember(self, filled: Filled) -> None:
        """Make a fill part of its threads' history."""
        from tracemend.mending.histories import CPU, REQUIRED, ROW, STATE, Hung, hang

        tids, phase = self._history.tids, self.rules.phase[filled.ids]
        if not len(tids):
            return
        threads = np.minimum(np.searchsorted(tids, filled.tids), len(tids) - 1)
        known = np.flatnonzero(((phase == ENTER) | (phase == EXIT)) & (tids[threads] == filled.tids))
        first, end = self._fills, self._fills + len(known)
        if end > len(self._hung.times):
            more = Hung.empty(max(2 * end, self._room))
            more.times[:first], more.calls[:first] = self._hung.times[:first], self._hung.calls[:first]
            self._hung = more
        ids, times = filled.ids[known], filled.times[known]
        (_, after_begin), (end_ns, before_end) = filled.gap.edges
        calls = self._hung.calls[first:end]
        self._hung.times[first:end], calls[:, CPU] = times, filled.gap.cpu
        calls[:, ROW] = np.where(times == end_ns, _twice(before_end), _twice(after_begin))
        calls[:, STATE], calls[:, REQUIRED] = self.rules.after[ids], self.rules.required[ids]
        self._fills = end
        changed = hang(self._history, self._hung, self._conflicts, first, threads[known])
        for time, row, thread, event, there in changed.tolist():
            conflict = time, row, thread, event
            at = bisect.bisect_left(self._made, conflict)
            known_one = self._made[at : at + 1] == [conflict]
            if there and not known_one:
                self._made.insert(at, conflict)
            elif known_one and not there:
                del self._made[at]


def _conflicts(events: Ints, starts: Ints) -> tuple[Ints, Ints]:
    """Those among surviving events that can't follow the ones before them, in order of time, and how many events their
    threads need in between."""
    from tracemend.mending.histories import REQUIRED, ROW, STATE, TIME

    n = len(events)
    state, required = events[np.arange(-1, n - 1), STATE], events[:, REQUIRED]
    # ``room.need`` of each event, for all at once
    needs = np.where((required >= 0) & (state >= 0), 2, 1)
    needs[(required == FREE) | (required == state) | ((required == CLOSED) & (state == FREE))] = 0
    needs[starts[:-1][starts[:-1] < n]] = 0  # a thread's first event
    late = np.flatnonzero(needs)
    late = late[np.lexsort((events[late, ROW], events[late, TIME]))]
    return late, np.where(state[late] == ENDED, 0, needs[late])  # whoever has ended needs more than there can be


def _twice(row: float) -> int:
    """A row, or an edge between two, as a whole number."""
    return LAST if row == float("inf") else int(2 * row)


def _behind(times: Ints, rows: Ints, time: int, row: int) -> int:
    """The place of the first event behind a moment, among events in order."""
    first, end = np.searchsorted(times, time, "left"), np.searchsorted(times, time, "right")
    return int(first + np.searchsorted(rows[first:end], row, "right"))
