"""The compiled part of the timelines: each thread's events that survived, and the fills hung in between.

Axis legend: S surviving calls, by thread and moment; U threads; F fills' calls, in order of their arrival; N positions
of a gap; R stretches.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracemend.compiled import compiled
from tracemend.mending.beam import need
from tracemend.mending.constraints import FREE, OPEN, UNSEEN

Ints = NDArray[np.int64]
Small = NDArray[np.int32]
Floats = NDArray[np.float64]

#: No event: what is before the first one of a thread and behind its last one.
NONE = 1 << 62
#: The columns of a stretch: what it is sorted by, the index of its thread among those asked for (-1: not among them),
#: the events that the thread needs in it, and what ``Threads`` tells of it.
KEY, COLUMN, NEED, TID, BEGIN, END, FIRST, LAST, LOW, HIGH = range(10)
#: The keys of stretches that come before all others.
AHEAD = 1 << 40


class History(NamedTuple):
    """What is known of all threads.

    tids (U,), in order; starts (U + 1,) of each thread's events; of each of these (S,) its time and row, its cpu, the
    thread's state after it and the one that it asks for before it. latest (S + U,): of the fills between an event of a
    thread and the one before, or behind its last one, the latest, -1 if there is none; the place in front of event s of
    thread u is s + u.
    """

    tids: Ints
    starts: Ints
    time: Ints
    row: Ints
    cpu: Small
    state: Small
    required: Small
    latest: Small


class Hung(NamedTuple):
    """Fills' events (F,), as those of a history; their places, and the fills beside them there, -1 if there is none."""

    time: Ints
    row: Floats
    cpu: Small
    state: Small
    required: Small
    thread: Ints
    place: Ints
    before: Ints
    behind: Ints


class Span(NamedTuple):
    """A gap: the moments of its edges, its cpu, the times within which everything was read, and the time from which on
    an event's demands can wait for another gap."""

    begin_ns: int
    begin_row: float
    end_ns: int
    end_row: float
    cpu: int
    low_ns: int
    high_ns: int
    wait_ns: int


@compiled
def _behind(time: int, row: float, other_time: int, other_row: float) -> bool:
    """Is the first moment behind the other one?"""
    return time > other_time or (time == other_time and row > other_row)


@compiled
def _first_behind(history: History, u: int, time: int, row: float, or_at: bool) -> int:
    """The thread's first surviving event behind a moment (``or_at`` it), or the end of its events."""
    least, most = history.starts[u], history.starts[u + 1]
    while least < most:
        middle = (least + most) // 2
        if or_at:
            later = not _behind(time, row, history.time[middle], float(history.row[middle]))
        else:
            later = _behind(history.time[middle], float(history.row[middle]), time, row)
        if later:
            most = middle
        else:
            least = middle + 1
    return int(least)


@compiled
def _prior(history: History, hung: Hung, u: int, event: int) -> int:
    """The event before another one of thread u, NONE before the first. A fill f is the event -1 - f; the end of the
    thread's events counts as one that survived."""
    if event >= 0:
        fill = history.latest[event + u]
        survived = event - 1
    else:
        fill = hung.before[-1 - event]
        survived = hung.place[-1 - event] - u - 1
    if fill >= 0:
        return int(-1 - fill)
    return int(survived) if survived >= history.starts[u] else NONE


@compiled
def _time(history: History, hung: Hung, event: int) -> int:
    return int(hung.time[-1 - event] if event < 0 else history.time[event])


@compiled
def _cpu(history: History, hung: Hung, event: int) -> int:
    return int(hung.cpu[-1 - event] if event < 0 else history.cpu[event])


@compiled
def _state(history: History, hung: Hung, event: int) -> int:
    return int(np.int64(hung.state[-1 - event] if event < 0 else history.state[event]))


@compiled
def _required(history: History, hung: Hung, event: int) -> int:
    return int(np.int64(hung.required[-1 - event] if event < 0 else history.required[event]))


@compiled
def _is_behind(history: History, hung: Hung, event: int, time: int, row: float) -> bool:
    if event < 0:
        return _behind(hung.time[-1 - event], hung.row[-1 - event], time, row)
    return _behind(history.time[event], float(history.row[event]), time, row)


@compiled
def _is_before_end(history: History, hung: Hung, event: int, span: Span) -> bool:
    """Is an event before the gap's end? Then it is before the gap or in it."""
    if not _is_behind(history, hung, event, span.begin_ns, span.begin_row):
        return True
    if event < 0:
        return _behind(span.end_ns, span.end_row, hung.time[-1 - event], hung.row[-1 - event])
    return _behind(span.end_ns, span.end_row, history.time[event], float(history.row[event]))


@compiled
def _events(history: History, hung: Hung, u: int, span: Span) -> Ints:
    """The thread's last event before the gap, those in it, and the first one behind it; NONE where there is none."""
    top = max(
        _first_behind(history, u, span.begin_ns, span.begin_row, False),
        _first_behind(history, u, span.end_ns, span.end_row, True),
    )
    event = _prior(history, hung, u, top)
    while event != NONE and not _is_before_end(history, hung, event, span):
        top, event = event, _prior(history, hung, u, event)
    n, last = 2, event
    while event != NONE and _is_behind(history, hung, event, span.begin_ns, span.begin_row):
        n += 1
        event = _prior(history, hung, u, event)
    events = np.empty(n, np.int64)
    events[0], events[n - 1] = event, NONE if top == history.starts[u + 1] else top
    for i in range(n - 2, 0, -1):
        events[i] = last
        last = _prior(history, hung, u, last)
    return events


@compiled
def _stretches(history: History, hung: Hung, u: int, span: Span, nominal: Ints) -> Ints:
    """The stretches of the gap in which a thread may be here (R, columns), the likeliest first; of the others only
    those in which it has something to settle."""
    events = _events(history, hung, u, span)
    n = len(events) - 1
    bounds = np.empty(n + 1, np.int64)
    bounds[0], bounds[n] = span.begin_ns, span.end_ns
    for i in range(1, n):
        bounds[i] = _time(history, hung, events[i])
    # events beyond what was read without a hole tell no state: the thread may have done anything in between
    before, behind = events[0], events[n]
    if before != NONE and _time(history, hung, before) < span.low_ns:
        before = NONE
    if behind != NONE and _time(history, hung, behind) > span.high_ns:
        behind = NONE
    here_before = before != NONE and _cpu(history, hung, before) == span.cpu
    here_behind = behind != NONE and _cpu(history, hung, behind) == span.cpu
    likeliest = 0
    if here_behind and not here_before:
        likeliest = n - 1
    elif here_behind or not here_before:
        for i in range(1, n):
            if bounds[i + 1] - bounds[i] > bounds[likeliest + 1] - bounds[likeliest]:
                likeliest = i
    earliest = events[0] if events[0] != NONE else events[1]
    key = 0 if earliest == NONE else abs(_time(history, hung, earliest) - span.begin_ns)
    found = np.empty((4, HIGH + 1), np.int64)
    r = 0
    for k in range(-1, n):
        i = likeliest if k < 0 else k
        if k == likeliest:
            continue
        event, following = events[i] if i else before, events[i + 1] if i < n - 1 else behind
        # the call that a thread first seen behind the gap returns from may have begun before the trace did, and a
        # child begins with such a return
        begin = UNSEEN if event == NONE else _state(history, hung, event)
        end = FREE if following == NONE else _required(history, hung, following)
        # what the next event asks for can wait for a gap that lasts longer than this one and begins before it
        if i == n - 1 and end != FREE and _time(history, hung, following) > span.wait_ns:
            end = FREE
        wanted = need(begin, end)
        if i != likeliest and not wanted:
            continue
        if r == len(found):
            more = np.empty((2 * r, HIGH + 1), np.int64)
            more[:r] = found
            found = more
        first = np.searchsorted(nominal, bounds[i], "right") if i else 0
        last = np.searchsorted(nominal, bounds[i + 1], "left") if i < n - 1 else len(nominal)
        found[r, KEY], found[r, NEED], found[r, TID] = key, wanted, history.tids[u]
        found[r, BEGIN], found[r, END] = begin, end
        found[r, FIRST], found[r, LAST] = first, max(first, last)
        found[r, LOW] = bounds[i] if i else OPEN
        found[r, HIGH] = bounds[i + 1] if i < n - 1 else OPEN
        r += 1
    return found[:r]


@compiled
def stretches(history: History, hung: Hung, tids: Ints, others: Ints, span: Span, nominal: Ints) -> Ints:
    """All stretches (R, columns) of the threads ``tids`` but the first, and those of the ``others`` (indices) in which
    these have something to settle. nominal: times (N,) of the positions."""
    found = np.empty((2 * len(tids) + len(others), HIGH + 1), np.int64)
    n = 0
    listed = len(tids) - 1
    for k in range(1, len(tids) + len(others)):
        column = k if k <= listed else -1
        u = np.searchsorted(history.tids, tids[k]) if k <= listed else others[k - listed - 1]
        if k <= listed and (u == len(history.tids) or history.tids[u] != tids[k]):
            some = np.array([[0, 0, 0, tids[k], FREE, FREE, 0, len(nominal), OPEN, OPEN]])
        elif k > listed and history.tids[u] in tids[1:]:
            continue
        else:
            some = _stretches(history, hung, u, span, nominal)
        for r in range(len(some)):
            if k > listed and not some[r, NEED]:
                continue
            if n == len(found):
                more = np.empty((2 * n, HIGH + 1), np.int64)
                more[:n] = found
                found = more
            found[n] = some[r]
            found[n, COLUMN] = column
            if k <= listed:
                found[n, KEY] = k - listed - 1 if r else k - AHEAD
            n += 1
    return found[:n]


@compiled
def hang(history: History, hung: Hung, first: int, end: int) -> tuple[Ints, Floats, Ints, NDArray[np.bool_]]:
    """Put fills [first, end) in their places. Returns, for every neighbour whose event before has changed, its time,
    its row, its thread, and whether the two can't follow each other."""
    for f in range(first, end):
        u, time, row = hung.thread[f], hung.time[f], hung.row[f]
        place = _first_behind(history, u, time, row, False) + u
        behind, before = -1, history.latest[place]
        while before >= 0 and _behind(hung.time[before], hung.row[before], time, row):
            behind, before = before, hung.before[before]
        hung.place[f], hung.before[f], hung.behind[f] = place, before, behind
        if behind >= 0:
            hung.before[behind] = f
        else:
            history.latest[place] = f
        if before >= 0:
            hung.behind[before] = f
    times, rows = np.empty(2 * (end - first), np.int64), np.empty(2 * (end - first), np.float64)
    threads, broken = np.empty(2 * (end - first), np.int64), np.empty(2 * (end - first), np.bool_)
    n = 0
    for f in range(first, end):
        u = hung.thread[f]
        before = _prior(history, hung, u, -1 - f)
        if before != NONE and need(_state(history, hung, before), _required(history, hung, -1 - f)):
            times[n], rows[n], threads[n], broken[n] = hung.time[f], hung.row[f], u, True
            n += 1
        behind = hung.behind[f]
        if behind >= first:
            continue  # one of them itself
        event = -1 - behind if behind >= 0 else hung.place[f] - u
        if event == history.starts[u + 1]:
            continue
        if event < 0:
            times[n], rows[n] = hung.time[behind], hung.row[behind]
        else:
            times[n], rows[n] = history.time[event], history.row[event]
        threads[n] = u
        broken[n] = need(_state(history, hung, -1 - f), _required(history, hung, event)) > 0
        n += 1
    return times[:n], rows[:n], threads[:n], broken[:n]


@compiled
def standing(next_C: Ints, first: int, end: int) -> Ints:
    """The conflicts in [first, end) that aren't settled. next_C (C + 1,): for each one itself, or for a settled one
    some later one; ways are shortened where they are gone."""
    found = np.empty(8, np.int64)
    n, at = 0, first
    while True:
        while next_C[at] != at:
            next_C[at] = next_C[next_C[at]]
            at = next_C[at]
        if at >= end:
            return found[:n]
        if n == len(found):
            more = np.empty(2 * n, np.int64)
            more[:n] = found
            found = more
        found[n] = at
        n += 1
        at += 1
