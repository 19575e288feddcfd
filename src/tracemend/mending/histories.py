"""The compiled part of the timelines: each thread's events that survived, and the fills hung in between.

Axis legend: S surviving calls, by thread and moment; U threads; F fills' calls, in order of their arrival; N positions
of a gap; R stretches.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracemend.compiled import compiled
from tracemend.mending.constraints import FREE, OPEN, UNSEEN
from tracemend.mending.room import need

Ints = NDArray[np.int64]
Small = NDArray[np.int32]

#: No event: what is before the first one of a thread and behind its last one.
NONE = 1 << 62
#: The columns of a stretch: what it is sorted by, the index of its thread among those asked for (-1: not among them),
#: the events that the thread needs in it, and what ``Threads`` tells of it.
KEY, COLUMN, NEED, TID, BEGIN, END, FIRST, LAST, LOW, HIGH = range(10)
#: The keys of stretches that come before all others.
AHEAD = 1 << 40


#: The columns of an event: its time, twice its row (a gap's edge lies between two), its cpu, the thread's state after
#: it and the one that it asks for before it.
TIME, ROW, CPU, STATE, REQUIRED = range(5)
#: Of a fill's: its place, where others have their time, and the fill before it there, -1 if there is none.
PLACE, BEFORE = TIME, 5


class History(NamedTuple):
    """What survived of all threads.

    tids (U,), in order; starts (U + 1,) of each thread's events among the events (S, columns); latest (S + U,): of the
    fills between an event of a thread and the one before, or behind its last one, the latest, -1 if there is none; the
    place in front of event s of thread u is s + u.
    """

    tids: Ints
    starts: Ints
    events: Ints
    latest: Small


class Hung(NamedTuple):
    """The fills' calls, as narrow as can be, since many histories stand side by side: times (F,) and what else is known
    of them (F, columns)."""

    times: Ints
    calls: Small

    @classmethod
    def empty(cls, calls: int) -> Hung:
        """Room for so many calls. What isn't written to takes no memory."""
        return cls(np.empty(calls, np.int64), np.empty((calls, BEFORE + 1), np.int32))


class Conflicts(NamedTuple):
    """Events that can't follow the ones before them: between the two something must have been lost.

    times, rows (twice, as above), threads (C,) of those that survived, in order; following (C + 1,): for each one
    itself, or for a settled one some later one.
    """

    times: Ints
    rows: Ints
    threads: Ints
    following: Ints


class Span(NamedTuple):
    """A gap: the moments of its edges, its cpu, the times within which everything was read, and the time from which on
    an event's demands can wait for another gap."""

    begin_ns: int
    begin_row: int
    end_ns: int
    end_row: int
    cpu: int
    low_ns: int
    high_ns: int
    wait_ns: int


@compiled
def _wide(value: np.int32) -> int:
    """The same number. (Compiled code takes a narrow one for another kind.)"""
    return int(np.int64(value))


@compiled
def _first_behind(events: Ints, least: int, most: int, time: int, row: int) -> int:
    """The first of some events [least, most) behind a moment, or the end of them. (One at a moment is behind that with
    the row before: no two events have the same.)"""
    while least < most:
        middle = (least + most) // 2
        if events[middle, TIME] > time or (events[middle, TIME] == time and events[middle, ROW] > row):
            most = middle
        else:
            least = middle + 1
    return least


@compiled
def _first_above(sorted_N: Ints, value: int) -> int:
    """The first of some sorted numbers above a value, or the end of them."""
    least, most = 0, len(sorted_N)
    while least < most:
        middle = (least + most) // 2
        if sorted_N[middle] > value:
            most = middle
        else:
            least = middle + 1
    return least


@compiled
def _prior(history: History, hung: Hung, u: int, event: int) -> int:
    """The event before another one of thread u, NONE before the first. A fill f is the event -1 - f; the end of the
    thread's events counts as one that survived."""
    if event >= 0:
        fill, survived = _wide(history.latest[event + u]), event - 1
    else:
        call = hung.calls[-1 - event]
        fill, survived = _wide(call[BEFORE]), _wide(call[PLACE]) - u - 1
    if fill >= 0:
        return int(-1 - fill)
    return int(survived) if survived >= history.starts[u] else NONE


@compiled
def _doubled(rows: Ints) -> Ints:
    """The same rows with room for as many again."""
    more = np.empty((2 * rows.shape[0], rows.shape[1]), np.int64)
    for r in range(rows.shape[0]):
        for c in range(rows.shape[1]):
            more[r, c] = rows[r, c]
    return more


@compiled
def _seen(history: History, hung: Hung, u: int, span: Span) -> tuple[Ints, int]:
    """The thread's events from its last one before the gap to its first one behind it, the latest first (rows, TIME to
    REQUIRED), and how many they are. Where there is none its time is NONE."""
    events = history.events
    least, most = history.starts[u], history.starts[u + 1]
    event = max(
        _first_behind(events, least, most, span.begin_ns, span.begin_row),
        _first_behind(events, least, most, span.end_ns, span.end_row - 1),
    )
    seen = np.empty((6, REQUIRED + 1), np.int64)
    seen[0, TIME] = NONE
    if event < most:
        for c in range(REQUIRED + 1):
            seen[0, c] = events[event, c]
    n = 1
    while True:
        event = _prior(history, hung, u, event)
        if n == len(seen):
            seen = _doubled(seen)
        if event == NONE:
            seen[n, TIME] = NONE
            return seen, n + 1
        time = hung.times[-1 - event] if event < 0 else events[event, TIME]
        row = _wide(hung.calls[-1 - event, ROW]) if event < 0 else events[event, ROW]
        before = time < span.begin_ns or (time == span.begin_ns and row <= span.begin_row)
        if not before and n == 1 and (time > span.end_ns or (time == span.end_ns and row >= span.end_row)):
            n = 0  # nearer to the gap than what was taken for the first one behind it
        seen[n, TIME] = time
        for c in range(ROW, REQUIRED + 1):
            seen[n, c] = _wide(hung.calls[-1 - event, c]) if event < 0 else events[event, c]
        n += 1
        if before:
            return seen, n


@compiled
def _stretches(history: History, hung: Hung, u: int, span: Span, nominal: Ints) -> tuple[Ints, int]:
    """The stretches of the gap in which a thread may be here (R, columns), the likeliest first, of the others only
    those in which it has something to settle; and how many they are."""
    seen, n = _seen(history, hung, u, span)
    n -= 1  # stretch i lies between events n - i and n - i - 1, as the first is the one behind the gap
    earliest = seen[n, TIME] if seen[n, TIME] != NONE else seen[n - 1, TIME]
    key = 0 if earliest == NONE else abs(earliest - span.begin_ns)
    # events beyond what was read without a hole tell no state: the thread may have done anything in between
    before = seen[n, TIME] != NONE and seen[n, TIME] >= span.low_ns
    behind = seen[0, TIME] != NONE and seen[0, TIME] <= span.high_ns
    # the call that a thread first seen behind the gap returns from may have begun before the trace did, and a child
    # begins with such a return
    begin_state = seen[n, STATE] if before else UNSEEN
    # what the next event asks for can wait for a gap that lasts longer than this one and begins before it
    end_state = seen[0, REQUIRED] if behind and seen[0, TIME] <= span.wait_ns else FREE
    here_before = before and seen[n, CPU] == span.cpu
    here_behind = behind and seen[0, CPU] == span.cpu
    seen[n, TIME], seen[0, TIME] = span.begin_ns, span.end_ns
    likeliest = 0
    if here_behind and not here_before:
        likeliest = n - 1
    elif here_behind or not here_before:
        longest = seen[n - 1, TIME] - seen[n, TIME]
        for i in range(1, n):
            if seen[n - i - 1, TIME] - seen[n - i, TIME] > longest:
                likeliest, longest = i, seen[n - i - 1, TIME] - seen[n - i, TIME]
    found = np.empty((2, HIGH + 1), np.int64)
    r = 0
    for k in range(-1, n):
        i = likeliest if k < 0 else k
        if k == likeliest:
            continue
        begin = seen[n - i, STATE] if i else begin_state
        end = seen[n - i - 1, REQUIRED] if i < n - 1 else end_state
        wanted = need(begin, end)
        if i != likeliest and not wanted:
            continue
        if r == len(found):
            found = _doubled(found)
        low, high = seen[n - i, TIME], seen[n - i - 1, TIME]
        first = _first_above(nominal, low) if i else 0
        last = _first_above(nominal, high - 1) if i < n - 1 else len(nominal)
        found[r, KEY], found[r, NEED], found[r, TID] = key, wanted, history.tids[u]
        found[r, BEGIN], found[r, END] = begin, end
        found[r, FIRST], found[r, LAST] = first, max(first, last)
        found[r, LOW], found[r, HIGH] = low if i else OPEN, high if i < n - 1 else OPEN
        r += 1
    return found, r


@compiled
def standing(conflicts: Conflicts, span: Span) -> Ints:
    """The threads of the conflicts that aren't settled and concern this gap or may."""
    following = conflicts.following
    at = _place(conflicts, span.begin_ns, span.begin_row)
    end = _place(conflicts, span.end_ns, span.end_row)
    if min(span.wait_ns, span.high_ns) >= span.end_ns:
        end = _place(conflicts, min(span.wait_ns, span.high_ns), NONE)
    found = np.empty((8, 1), np.int64)
    n = 0
    while True:
        while following[at] != at:  # ways are shortened where they are gone
            following[at] = following[following[at]]
            at = following[at]
        if at >= end:
            return found[:n, 0]
        if n == len(found):
            found = _doubled(found)
        found[n, 0] = conflicts.threads[at]
        n += 1
        at += 1


@compiled
def _place(conflicts: Conflicts, time: int, row: int) -> int:
    """The first conflict behind a moment."""
    least, most = 0, len(conflicts.times)
    while least < most:
        middle = (least + most) // 2
        if conflicts.times[middle] > time or (conflicts.times[middle] == time and conflicts.rows[middle] > row):
            most = middle
        else:
            least = middle + 1
    return least


@compiled
def _anywhere(tid: int, count: int) -> tuple[Ints, int]:
    """The only stretch of a thread that has no history."""
    found = np.zeros((1, HIGH + 1), np.int64)
    found[0, TID], found[0, BEGIN], found[0, END] = tid, FREE, FREE
    found[0, LAST], found[0, LOW], found[0, HIGH] = count, OPEN, OPEN
    return found, 1


@compiled
def stretches(history: History, hung: Hung, tids: Ints, others: Ints, span: Span, nominal: Ints) -> Ints:
    """All stretches (R, columns) of the threads ``tids`` but the first, and those of ``others`` (indices) in which
    these have something to settle. nominal: times (N,) of the positions."""
    found = np.empty((len(tids) + len(others), HIGH + 1), np.int64)
    n = 0
    listed = len(tids) - 1
    for k in range(1, len(tids) + len(others)):
        if k <= listed:
            u = _first_above(history.tids, tids[k] - 1)
            known = u < len(history.tids) and history.tids[u] == tids[k]
        else:
            u = others[k - listed - 1]
            known = True
            for i in range(1, len(tids)):
                known &= tids[i] != history.tids[u]
            if not known:
                continue
        if known:
            some, many = _stretches(history, hung, u, span, nominal)
        else:
            some, many = _anywhere(tids[k], len(nominal))
        for r in range(many):
            if k > listed and not some[r, NEED]:
                continue
            if n == len(found):
                found = _doubled(found)
            for c in range(HIGH + 1):
                found[n, c] = some[r, c]
            if k > listed:
                found[n, COLUMN] = -1
            else:
                found[n, COLUMN] = k
                found[n, KEY] = k - listed - 1 if r else k - AHEAD
            n += 1
    return found[:n]


@compiled
def hang(history: History, hung: Hung, conflicts: Conflicts, first: int, threads: Ints) -> Ints:
    """Put the fills from the first one on, of these threads, in their places, and pass over the conflicts that they
    settle.

    Returns what else has changed: the time, row and thread of an event, the event itself (a thread can have several
    fills at one moment), and whether it is in conflict with the one before, which is another one now.
    """
    times, calls = hung.times, hung.calls
    end = first + len(threads)
    behind_fills = np.empty(len(threads), np.int64)
    for f in range(first, end):
        u, time, row = threads[f - first], times[f], calls[f, ROW]
        place = _first_behind(history.events, history.starts[u], history.starts[u + 1], time, row) + u
        behind, ahead = -1, _wide(history.latest[place])
        while ahead >= 0 and (times[ahead] > time or (times[ahead] == time and calls[ahead, ROW] > row)):
            behind, ahead = ahead, _wide(calls[ahead, BEFORE])
        calls[f, PLACE], calls[f, BEFORE] = place, ahead
        behind_fills[f - first] = behind
        if behind >= 0:
            calls[behind, BEFORE] = f
        else:
            history.latest[place] = f
        if ahead >= first:
            behind_fills[ahead - first] = f
    changed = np.empty((2 * len(threads), 5), np.int64)
    n = 0
    for f in range(first, end):
        u, behind = threads[f - first], behind_fills[f - first]
        before = _prior(history, hung, u, -1 - f)
        if before != NONE:
            state = _wide(calls[-1 - before, STATE]) if before < 0 else int(history.events[before, STATE])
            if need(state, _wide(calls[f, REQUIRED])):
                changed[n, 0], changed[n, 1], changed[n, 2] = times[f], calls[f, ROW], u
                changed[n, 3], changed[n, 4] = -1 - f, 1
                n += 1
        survived = _wide(calls[f, PLACE]) - u
        if behind >= first or (behind < 0 and survived == history.starts[u + 1]):
            continue  # one of them itself, or none
        time = int(times[behind] if behind >= 0 else history.events[survived, TIME])
        row = _wide(calls[behind, ROW]) if behind >= 0 else int(history.events[survived, ROW])
        required = _wide(calls[behind, REQUIRED]) if behind >= 0 else int(history.events[survived, REQUIRED])
        broken = need(_wide(calls[f, STATE]), required) > 0
        at = _place(conflicts, time, row) - 1
        same = at >= 0 and conflicts.times[at] == time and conflicts.rows[at] == row
        if same and conflicts.following[at] == at:
            if not broken:
                conflicts.following[at] = at + 1
            continue
        changed[n, 0], changed[n, 1], changed[n, 2] = time, row, u
        changed[n, 3], changed[n, 4] = -1 - behind if behind >= 0 else survived, broken
        n += 1
    return changed[:n]
