"""What each thread did, as far as it survived or was inferred, and what that leaves it to do in a gap.

Axis legend: N positions of a gap, V vocabulary.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tracemend.mending.beliefs import Filled
from tracemend.mending.constraints import CLOSED, FREE, UNSEEN, Thread, need, without_exit
from tracemend.trace.events import ENTER, EXIT, Gap, Trace
from tracemend.trace.syscalls import NO_NUMBER
from tracemend.trace.vocabulary import Vocabulary

Ints = NDArray[np.int64]


@dataclass(slots=True)
class Timeline:
    """All that is known of one thread: its events' moments, cpus and states after them, in order."""

    #: (time, row): events of the same time are in the order in which they stand in the file
    times: list[tuple[int, float]] = field(default_factory=list)
    cpus: list[int] = field(default_factory=list)
    states: list[int] = field(default_factory=list)
    #: for each event the state the thread must have had before it (FREE: it doesn't tell)
    required: list[int] = field(default_factory=list)

    def insert(self, moment: tuple[int, float], cpu: int, state: int, required: int) -> None:
        """Add an event; behind all others of the same moment."""
        at = bisect.bisect_right(self.times, moment)
        self.times.insert(at, moment)
        self.cpus.insert(at, cpu)
        self.states.insert(at, state)
        self.required.insert(at, required)


class Timelines:
    """All threads of a trace. ids (E,): of its events."""

    def __init__(self, trace: Trace, ids: Ints, vocabulary: Vocabulary) -> None:
        self.trace, self.vocabulary = trace, vocabulary
        #: a thread's state after each enter and exit, and the one it must have had before (FREE: any)
        self.state_V, self.required_V = _states(vocabulary)
        self.lines = self._lines(ids)

    def _lines(self, ids: Ints) -> dict[int, Timeline]:
        phase = self.vocabulary.phase[ids]
        result: dict[int, Timeline] = {}
        time, cpu = self.trace.time_ns, self.trace.cpu
        for tid, rows in self.trace.threads.items():
            if tid < 0:
                continue
            calls = rows[(phase[rows] == 0) | (phase[rows] == 1)]
            line = result[tid] = Timeline()
            line.times = list(zip(time[calls].tolist(), calls.tolist(), strict=True))
            line.cpus = cpu[calls].tolist()
            line.states, line.required = (table[ids[calls]].tolist() for table in (self.state_V, self.required_V))
        return result

    def threads_of(
        self, gap: Gap, tids: Ints, times: Ints, later: Sequence[tuple[int, int]]
    ) -> tuple[list[Thread], list[int]]:
        """How each thread may take part, and for each entry the index of its thread in ``tids`` (-1: not among them).

        First the given ones (index 0 unknown), then what else of them or of any other thread has a call to settle: a
        thread that comes and goes has an entry for each stretch of time in which it may be here. times (N,): nominal
        times of the positions; later: spans of gaps that are still to be filled.
        """
        count = len(times)
        threads, columns = [Thread(-1, FREE, FREE, 0, count)], [0]
        listed = {int(t): i for i, t in enumerate(tids) if i}
        rest: list[tuple[int, int, Thread]] = []
        for tid, column in listed.items():
            line = self.lines.get(tid)
            stretches = self._stretches(gap, tid, line, times, later) if line else [Thread(tid, FREE, FREE, 0, count)]
            threads.append(stretches[0])
            columns.append(column)
            rest += [(column - len(listed) - 1, column, t) for t in stretches[1:]]
        for tid, line in self.lines.items():
            if tid not in listed:
                for t in self._stretches(gap, tid, line, times, later):
                    if need(t.begin, t.end):
                        at = bisect.bisect_right(line.times, gap.edges[0])
                        rest.append((abs(line.times[max(at - 1, 0)][0] - gap.begin_ns), -1, t))
        for _, column, t in sorted(rest, key=lambda x: (x[0], x[2].tid, x[2].first)):
            threads.append(t)
            columns.append(column)
        return threads, columns

    def _stretches(
        self, gap: Gap, tid: int, line: Timeline, times: Ints, later: Sequence[tuple[int, int]]
    ) -> list[Thread]:
        """The stretches of the gap between a thread's events elsewhere, the likeliest one first, then every other one
        in which the thread has a call to settle."""
        n = len(times)
        begin_edge, end_edge = gap.edges
        a = bisect.bisect_right(line.times, begin_edge)
        b = max(a, bisect.bisect_left(line.times, end_edge))
        bounds = [gap.begin_ns, *(t for t, _ in line.times[a:b]), gap.end_ns]
        # events beyond what was read without a hole tell no state: the thread may have done anything in between
        least, most = 0, len(line.times)
        if self.trace.partial is not None:
            low_ns, high_ns = self.trace.partial.span(gap)
            least = min(a, bisect.bisect_left(line.times, (low_ns, -1.0)))
            most = max(b, bisect.bisect_right(line.times, (high_ns, float("inf"))))
        here_before = a > least and line.cpus[a - 1] == gap.cpu
        here_after = b < most and line.cpus[b] == gap.cpu
        if here_before and not here_after:
            likeliest = 0
        elif here_after and not here_before:
            likeliest = b - a
        else:
            likeliest = int(np.diff(bounds).argmax())
        result = []
        for i in [likeliest, *(i for i in range(b - a + 1) if i != likeliest)]:
            k = a + i  # the thread's next event behind this stretch
            # the call that a thread first seen behind the gap returns from may have begun before the trace did, and a
            # child begins with such a return
            begin = line.states[k - 1] if k > least else UNSEEN
            end = line.required[k] if k < most else FREE
            if i != likeliest and not need(begin, end):
                continue
            # what the next event asks for can wait for a gap that lasts longer than this one and begins before it
            if end != FREE and i == b - a and any(g0 < line.times[k][0] and g1 > gap.end_ns for g0, g1 in later):
                end = FREE
                if i != likeliest:
                    continue
            first = int(np.searchsorted(times, bounds[i], "right")) if i else 0
            last = int(np.searchsorted(times, bounds[i + 1], "left")) if i < b - a else n
            low, high = (bounds[i] if i else None), (bounds[i + 1] if i < b - a else None)
            result.append(Thread(tid, begin, end, first, max(first, last), low, high))
        return result

    def remember(self, filled: Filled) -> None:
        """Make a fill part of its threads' history."""
        phase = self.vocabulary.phase
        gap = filled.gap
        after_begin, before_end = gap.edges
        for event, tid, time in zip(filled.ids.tolist(), filled.tids.tolist(), filled.times.tolist(), strict=True):
            line = self.lines.get(tid)
            if line is None or phase[event] not in (0, 1):
                continue
            row = before_end[1] if time == gap.end_ns else after_begin[1]
            line.insert((time, row), gap.cpu, int(self.state_V[event]), int(self.required_V[event]))


def _states(vocabulary: Vocabulary) -> tuple[Ints, Ints]:
    """For every enter and exit of the vocabulary (V,) a thread's state after it, and the one that it needs before it.

    The exit of no number, behind a signal's return, needs none.
    """
    ids, entering = np.arange(len(vocabulary)), vocabulary.phase == ENTER
    after = np.where(entering, ids, CLOSED)
    for enter, state in without_exit(vocabulary).items():
        after[enter] = state
    paired = (vocabulary.partner >= 0) & (ids != vocabulary.id(NO_NUMBER, EXIT))
    return after, np.where(entering, CLOSED, np.where(paired, vocabulary.partner, FREE))
