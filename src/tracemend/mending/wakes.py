"""Whom inferred wakeups wake, once all gaps are filled: whoever waited and then ran.

Axis legend: I inferred events, C changes of threads.
"""

from __future__ import annotations

import heapq
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tracemend.mending.running import IDLE, RUNS, WAITING, Running
from tracemend.mending.together import Inferred

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: What an inferred switch leaves its thread in: ready or waiting, nobody knows.
LEFT = 4
#: Before all times.
EARLY = -(1 << 62)
#: A thread that waits and runs again: from when, until when, which, the inferred switch that it left by or -1.
Need = tuple[int, int, int, int]


def settled(inferred: Inferred, running: Running, switches: Bools, wakeups: Bools) -> Inferred:
    """The inferred events with whom each wakeup wakes, as far as somebody had to be woken, and which switches their
    threads can't have left to wait. switches, wakeups: which of the events (I,) are these."""
    surely, maybe = _needs(inferred, running, switches)
    following, stays = inferred.following.copy(), np.zeros(len(inferred.ids), bool)
    free = np.flatnonzero(wakeups)
    free = free[np.argsort(inferred.times[free], kind="stable")]
    # who was seen to wait comes first: of the others it may be said that they never did
    for needs in (surely, maybe):
        woken = _matched(needs, inferred.times[free])
        for k, (*_, tid, left) in enumerate(needs):
            if woken[k] >= 0:
                following[free[woken[k]]] = tid
            elif left >= 0:
                stays[left] = True
        free = np.delete(free, woken[woken >= 0])
    return replace(inferred, following=following, stays=stays)


def _needs(inferred: Inferred, running: Running, switches: Bools) -> tuple[list[Need], list[Need]]:
    """Threads that ran again without having been woken: those that were seen to wait, and those that may have."""
    at = np.flatnonzero(switches)
    tids, times, kinds, rows = running.changes
    none = np.full(len(tids), -1, np.int64)
    every = (
        np.concatenate([tids, inferred.tids[at], inferred.following[at]]),
        np.concatenate([times, inferred.times[at], inferred.times[at]]),
        np.concatenate([rows, inferred.rows[at], inferred.rows[at]]),
        np.concatenate([kinds, np.full(len(at), LEFT), np.full(len(at), RUNS)]),
        np.concatenate([none, at, np.full(len(at), -1, np.int64)]),
    )
    order = np.lexsort((every[2], every[1], every[0]))
    tid, time, kind, left = (every[k][order] for k in (0, 1, 3, 4))
    again = _again(tid, kind, running)
    found = []
    for before in (WAITING, LEFT):
        rows_C = again[kind[again - 1] == before]
        columns = (time[rows_C - 1], time[rows_C], tid[rows_C], left[rows_C - 1])
        found.append(list(zip(*(c.tolist() for c in columns), strict=True)))
    return found[0], found[1]


def _again(tids: Ints, kinds: Ints, running: Running) -> Ints:
    """Which of all changes (C,), by thread and time, let a thread run of which another change is known before."""
    rows = np.flatnonzero((tids[1:] == tids[:-1]) & (tids[1:] > IDLE) & (kinds[1:] == RUNS)) + 1
    return rows[~running.foreign(tids[rows])]


def _matched(needs: list[Need], times: Ints) -> Ints:
    """For each need the wakeup that is its own, -1 where there is none: each wakeup is for whoever must be awake first
    of those that wait by then. times: of the wakeups, in order."""
    found = np.full(len(needs), -1, np.int64)
    order = sorted(range(len(needs)), key=lambda k: needs[k][0])
    waiting: list[tuple[int, int]] = []
    at = 0
    for w, time in enumerate(times.tolist()):
        while at < len(order) and needs[order[at]][0] <= time:
            heapq.heappush(waiting, (needs[order[at]][1], order[at]))
            at += 1
        while waiting and waiting[0][0] < time:
            heapq.heappop(waiting)
        if waiting:
            found[heapq.heappop(waiting)[1]] = w
    return found


def owed(running: Running, gaps: list[tuple[int, int, int]]) -> dict[int, list[tuple[int, int]]]:
    """By gap, between which times (ns) threads must have been woken there: those seen to wait before and to run behind,
    without a wakeup that survived. Who may have been woken in several gaps was so in the one that has most of the time
    between.

    gaps: number, begin and end in ns.
    """
    tids, times, kinds, _ = running.changes
    rows = _again(tids, kinds, running)
    rows = rows[kinds[rows - 1] == WAITING]
    found: dict[int, list[tuple[int, int]]] = {}
    if not gaps:
        return found
    number, begin, end = np.array(gaps, np.int64).T
    for since, until in zip(times[rows - 1].tolist(), times[rows].tolist(), strict=True):
        shared = np.minimum(end, until) - np.maximum(begin, since)
        most = int(shared.argmax())
        if shared[most] > 0:
            own = max(since, int(begin[most])), min(until, int(end[most]))
            found.setdefault(int(number[most]), []).append(own)
    return found


def pinned(owed: list[tuple[int, int]], switched: list[tuple[int, int]], times: Ints) -> tuple[Bools, Ints]:
    """Which positions (N,) must be wakeups so that there is one between each of the times that are owed, and the
    positions' times, moved where that takes it and so that there is one, for a switch, between each of the others.
    Nothing is asked for where there is no room."""
    pins, fixed, times = np.zeros(len(times), bool), np.zeros(len(times), bool), times.copy()
    next_one, now = 0, EARLY
    asked = [(until, since, True) for since, until in owed] + [(until, since, False) for since, until in switched]
    for until, since, wakes in sorted(asked):
        inside = int(np.searchsorted(times, since, "right"))
        at = max(next_one, inside if inside < len(times) and times[inside] < until else inside - 1)
        if at >= len(times) or max(now, since) + 1 >= until:
            continue
        now = times[at] = min(max(int(times[at]), since + 1, now + 1), until - 1)
        pins[at], fixed[at] = wakes, True
        next_one = at + 1
    low, high = np.where(fixed, times, EARLY), np.where(fixed, times, -EARLY)
    low, high = np.maximum.accumulate(low), np.minimum.accumulate(high[::-1])[::-1]
    return pins, np.clip(times, low, high)


def woken(running: Running, first: tuple[int, int], switches: tuple[Ints, Ints], wakeups: Ints) -> bool:
    """Whether everybody that a fill switches to is awake by then. first: who runs where the gap begins, and when that
    is; switches: when there are some, and to whom; wakeups: when there are some."""
    times, tids = switches
    threads, own = np.unique(tids, return_inverse=True)
    kinds, since = (known[np.arange(len(times)), own] for known in running.readiness(threads, times))
    asleep = (kinds == WAITING) & ~running.foreign(tids)
    came, needs = dict([first]), []
    for time, tid, waits, began in zip(times.tolist(), tids.tolist(), asleep.tolist(), since.tolist(), strict=True):
        if waits and came.get(tid, EARLY) <= began:
            needs.append((began, time, tid, -1))
        came[tid] = time
    return bool((_matched(needs, wakeups) >= 0).all())
