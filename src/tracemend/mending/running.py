"""Who runs on which cpu when, as the scheduler's switches tell: what survived of it, and what was inferred since.

One thread runs on a cpu at a time, and it changes only by a switch from who runs to who runs next. A thread runs on one
cpu at a time; idle is a thread that each cpu has for itself.

Axis legend: E events of the trace, R runs, N positions of a gap, T threads of a gap.
"""

from __future__ import annotations

import bisect
from copy import copy
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.mending.beliefs import Filled
from tracemend.trace.events import INSTANT, Gap, Trace, rows_by
from tracemend.trace.fields import SWITCH, WAKEUPS, numbers, values

Ints = NDArray[np.int64]

#: The thread that a cpu runs when it has nothing to do, and one that nobody knows.
IDLE, UNKNOWN = 0, -1

#: What a thread was last seen to do: to run, to become ready to run, or to begin to wait.
RUNS, READY, WAITING = 1, 2, 3
#: If more of the switches than this contradict the event before, not all were recorded.
FILTERED = 0.1


@dataclass(frozen=True, slots=True)
class Edges:
    """Who runs where a gap begins, and who where it ends; UNKNOWN where nothing tells."""

    before: int
    behind: int


class Running:
    """The runs of a trace's threads, and what each was last seen to do.

    ``whole``: whether all switches of the machine were recorded, as far as they survived.
    """

    def __init__(self, trace: Trace) -> None:
        switches, said = values(trace, SWITCH, ("prev_pid", "next_pid", "prev_state"))
        prev, following = numbers(said["prev_pid"]), numbers(said["next_pid"])
        #: Who runs behind each event of the trace (E,).
        self.behind_E = trace.tid.astype(np.int64)
        self.behind_E[switches] = following
        self.trace = trace
        rows, following_rows = _neighbours(trace)
        # to whom a switch goes that doesn't tell, the next event does
        who = self.behind_E[rows]
        self.behind_E[rows] = who = np.where(who < 0, trace.tid[following_rows], who)
        broken = np.count_nonzero(who != trace.tid[following_rows])
        times = trace.time_ns[rows], trace.time_ns[following_rows]
        own = np.unique(trace.tid[trace.phase != INSTANT])
        # a filter lets through the switches of the threads whose calls it lets through, and no others
        others = ~np.isin(prev, own) & ~np.isin(following, own)
        self.whole = bool(others.any()) and broken <= FILTERED * len(switches)
        self._own = None if self.whole else own
        self._runs = _merged(who, trace.cpu[rows].astype(np.int64), *times)
        self._runs_of = rows_by(self._runs[:, 0])
        self._by_thread: dict[int, list[tuple[int, int, int]]] = {}
        switch = np.isin(rows, switches)
        self._lasts = _durations(who[switch], (times[1] - times[0])[switch])
        #: What threads were seen to do, by thread and time: which thread, when, READY or another, row.
        self.changes = self._seen(switches, prev, following, said["prev_state"])
        self._changes_of = rows_by(self.changes[0])

    def unfilled(self) -> Running:
        """What survived, for another history."""
        other = copy(self)
        other._by_thread = {}
        return other

    def _seen(
        self, switches: Ints, prev: Ints, following: Ints, states: pa.StringArray
    ) -> tuple[Ints, Ints, Ints, Ints]:
        import pyarrow.compute as pc

        ready = pc.starts_with(states, "R").fill_null(True).to_numpy(zero_copy_only=False)
        parts = [(prev, switches, np.where(ready, READY, WAITING)), (following, switches, np.full(len(switches), RUNS))]
        for name in WAKEUPS:
            rows, said = values(self.trace, name, ("pid",))
            parts.append((numbers(said["pid"]), rows, np.full(len(rows), READY)))
        tids, rows, kinds = (np.concatenate(c) for c in zip(*parts, strict=True))
        order = np.lexsort((rows, self.trace.time_ns[rows], tids))
        return tids[order], self.trace.time_ns[rows[order]], kinds[order], rows[order]

    def lasts(self, tids: Ints) -> NDArray[np.float64]:
        """How long it usually takes from a switch to each of these threads to the next event, in ns, NaN where nobody
        knows."""
        usual = self._lasts.get(UNKNOWN, np.nan)
        return np.array([self._lasts.get(t, usual) for t in tids.tolist()])

    def readiness(self, tids: Ints, times: Ints) -> tuple[Ints, Ints]:
        """What is known of each thread at each position (N, T): READY, RUNS, WAITING, or 0; and since when, in ns."""
        kinds, since = (np.zeros((len(times), len(tids)), np.int64) for _ in range(2))
        for t, tid in enumerate(tids.tolist()):
            own = self._changes_of.get(tid) if tid > IDLE else None
            if own is not None:
                at = np.searchsorted(self.changes[1][own], times, "right") - 1
                known = at >= 0
                kinds[known, t] = self.changes[2][own[at[known]]]
                since[known, t] = self.changes[1][own[at[known]]]
        return kinds, since

    def foreign(self, tids: Ints) -> NDArray[np.bool_]:
        """Which of some threads are of those whose switches weren't all recorded."""
        if self._own is None:
            return np.zeros(len(tids), bool)
        return np.asarray((tids != UNKNOWN) & ~np.isin(tids, self._own))

    def edges(self, gap: Gap) -> Edges:
        """Who runs on a gap's cpu at its two edges."""
        before = int(self.behind_E[gap.before]) if gap.before is not None else UNKNOWN
        behind = int(self.trace.tid[gap.after]) if gap.after is not None else UNKNOWN
        return Edges(max(UNKNOWN, before), max(UNKNOWN, behind))

    def able(self, gap: Gap, tids: Ints, times: Ints) -> NDArray[np.bool_]:
        """Who may run here up to each position of a gap, and from the last one to its end (N + 1, T): whoever isn't
        known to run elsewhere at any moment since the position before. times (N,): of the positions, in ns."""
        edges = np.concatenate([[gap.begin_ns], times, [gap.end_ns]])
        able, skipped = np.ones((len(times) + 1, len(tids)), bool), self.foreign(tids)
        for t, tid in enumerate(tids.tolist()):
            if tid <= IDLE or skipped[t]:
                continue
            for begin, end, cpu in self._of(tid, gap):
                if cpu != gap.cpu:
                    first, last = np.searchsorted(edges, begin, "right"), np.searchsorted(edges, end, "left")
                    able[max(0, first - 1) : last, t] = False
        return able

    def switched(self, gap: Gap, edges: Edges) -> list[tuple[int, int]]:
        """Between which times (ns) somebody must have been switched here: whoever runs at an edge of the gap, and at
        some moment within it on another cpu."""
        found = []
        for tid, first in ((edges.before, True), (edges.behind, False)):
            known = tid > IDLE and not self.foreign(np.array([tid]))[0]
            runs = [r for r in self._of(tid, gap) if r[2] != gap.cpu] if known else []
            if runs:
                found.append((gap.begin_ns, runs[0][0]) if first else (runs[-1][1], gap.end_ns))
        return found

    def _of(self, tid: int, gap: Gap) -> list[tuple[int, int, int]]:
        """The runs of a thread that touch a gap: begin, end, cpu."""
        runs = self._by_thread.get(tid)
        if runs is None:
            rows = self._runs[self._runs_of[tid]].tolist() if tid in self._runs_of else []
            runs = self._by_thread[tid] = [(begin, end, cpu) for _, cpu, begin, end in rows]
        # runs of one thread don't overlap, so the one before the first that begins in the gap is all that may reach in
        at = bisect.bisect_left(runs, (gap.begin_ns, gap.begin_ns, UNKNOWN))
        end = bisect.bisect_left(runs, (gap.end_ns, gap.end_ns, UNKNOWN))
        return [r for r in runs[max(0, at - 1) : end] if r[1] > gap.begin_ns]

    def remember(self, filled: Filled) -> None:
        """Make a fill's runs known."""
        gap = filled.gap
        last = filled.following[-1] if filled.following[-1] != UNKNOWN else filled.tids[-1]
        who = np.append(filled.tids, last)
        edges = np.concatenate([[gap.begin_ns], filled.times, [gap.end_ns]])
        n = len(who)
        runs = _merged(who, np.full(n, gap.cpu, np.int64), edges[:-1], edges[1:])
        for tid, cpu, begin, end in runs.tolist():
            self._of(tid, gap)
            bisect.insort(self._by_thread[tid], (begin, end, cpu))


def _neighbours(trace: Trace) -> tuple[Ints, Ints]:
    """The rows of events (R,) with which a stream goes on as nothing is missing, and those of the next ones there."""
    none = np.empty(0, np.int64)
    before, behind = [none], [none]
    for cpu, rows in trace.streams.items():
        known = np.ones(max(0, len(rows) - 1), bool)
        known[[b - 1 for b in trace.breaks(cpu) if 0 < b < len(rows)]] = False
        before.append(rows[:-1][known])
        behind.append(rows[1:][known])
    return np.concatenate(before), np.concatenate(behind)


def _durations(tids: Ints, took: Ints) -> dict[int, float]:
    """By thread, how long it takes on average from a switch to it to the next event of the cpu, in ns; UNKNOWN: of any
    thread. The mean, not the median: the rare long runs are what the time goes into."""
    if not len(took):
        return {}
    threads, at, runs = np.unique(tids, return_inverse=True, return_counts=True)
    usual = float(took.mean())
    means = (np.bincount(at, took) + usual) / (runs + 1)
    return {UNKNOWN: usual, **dict(zip(threads.tolist(), means.tolist(), strict=True))}


def _merged(tids: Ints, cpus: Ints, begins: Ints, ends: Ints) -> Ints:
    """Stretches of time of one thread each, in order of time for each cpu, as runs (R, 4): thread, cpu, begin and end,
    by thread and time. Idle and unknown threads have none."""
    known = tids > IDLE
    tids, cpus, begins, ends = (np.asarray(c, np.int64)[known] for c in (tids, cpus, begins, ends))
    if not len(tids):
        return np.empty((0, 4), np.int64)
    new = np.ones(len(tids), bool)
    new[1:] = (tids[1:] != tids[:-1]) | (cpus[1:] != cpus[:-1]) | (begins[1:] != ends[:-1])
    first = np.flatnonzero(new)
    last = np.append(first[1:], len(tids)) - 1
    runs = np.stack([tids[first], cpus[first], begins[first], ends[last]], axis=1)
    return np.asarray(runs[np.lexsort((runs[:, 2], runs[:, 0]))])
