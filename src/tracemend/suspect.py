"""Losses that the tracer doesn't mark: ftrace in drop mode (``overwrite=0``) leaves no trace of what it dropped.

What shows them is a thread whose events don't pair: after a call's enter the same thread's next event can only be that
call's exit, after an exit only an enter. Whatever breaks this has something missing between its two events, and the
likeliest place is the longest silence of that cpu's stream in between. A loss that leaves every thread's events paired
is not seen, and neither are the lost events counted: these gaps are suspicions.

Axis legend: E events, P pairs of successive calls' events of one thread, B breaks (pairs that can't follow each other).
"""

from __future__ import annotations

from bisect import bisect_left, insort

import numpy as np
from numpy.typing import NDArray

from tracemend.events import ENTER, EXIT, INSTANT, Gap, Trace

Ints = NDArray[np.int64]

#: Calls that leave their thread without an exit: it ends (and its number may come back as a new thread), or goes on
#: with an exit of another number or none at all.
WITHOUT_EXIT = ("exit", "exit_group", "rt_sigreturn", "sigreturn", "execve", "execveat")
#: Exits that may come without their enter: of the call that made the thread, of the call that another thread made to
#: take over this one's number, and of a call that a signal or a filter took the number away from.
WITHOUT_ENTER = ("clone", "clone3", "fork", "vfork", "execve", "execveat", "syscall_-1", "rt_sigreturn", "sigreturn")


def suspect(trace: Trace) -> tuple[Gap, ...]:
    """The gaps that unpaired events give away, by time; none of them where the tracer marked a loss itself.

    Every gap is ``suspected``, without a count, and its ``line`` is that of the event after it.
    """
    before, after = _breaks(trace)
    before, after = _unexplained(trace, before, after)
    return _place(trace, before, after)


def _breaks(trace: Trace) -> tuple[Ints, Ints]:
    """Rows (B,) of the two events of each pair that can't follow each other in a thread."""
    phase, tid = trace.phase, trace.tid
    code, names = trace.names
    entering, leaving = (np.bincount(code[phase == p], minlength=len(names)) > 0 for p in (ENTER, EXIT))
    no_exit, no_enter = np.isin(names, WITHOUT_EXIT), np.isin(names, WITHOUT_ENTER)
    # a call of which only one side was recorded at all pairs with nothing
    usable = (phase != INSTANT) & ((entering & leaving) | no_exit | no_enter)[code] & (tid >= 0)
    rows = np.flatnonzero(usable)
    rows = rows[np.argsort(tid[rows], kind="stable")]
    p, q = rows[:-1], rows[1:]
    same = tid[p] == tid[q]
    p, q = p[same], q[same]
    p_enters, q_enters = phase[p] == ENTER, phase[q] == ENTER
    allowed = p_enters & ~q_enters & (code[p] == code[q])
    allowed |= ~p_enters & q_enters
    allowed |= p_enters & no_exit[code[p]]
    allowed |= ~q_enters & no_enter[code[q]]
    return p[~allowed], q[~allowed]


def _unexplained(trace: Trace, before: Ints, after: Ints) -> tuple[Ints, Ints]:
    """Without the pairs (B,) between whose events any cpu has a marked gap: the thread may have been there."""
    begin = np.sort(np.array([g.begin_ns for g in trace.gaps], np.int64))
    end = np.sort(np.array([g.end_ns for g in trace.gaps], np.int64))
    began = np.searchsorted(begin, trace.time_ns[after], side="left")
    ended = np.searchsorted(end, trace.time_ns[before], side="right")
    free = began <= ended
    return before[free], after[free]


def _place(trace: Trace, before: Ints, after: Ints) -> tuple[Gap, ...]:
    """The gaps that explain all breaks (B,): each break in turn, those with the least room first.

    A break that a gap placed so far explains asks for no other.
    """
    time, cpu, streams = trace.time_ns, trace.cpu, trace.streams
    times = {c: time[rows] for c, rows in streams.items()}
    rooms = []
    for p, q in zip(before.tolist(), after.tolist(), strict=True):
        room = []  # of each cpu the thread was seen on: the events of its stream in between, both ends included
        for c in {int(cpu[p]), int(cpu[q])}:
            rows = streams[c]
            first = int(np.searchsorted(rows, p, side="right")) - 1
            last = int(np.searchsorted(rows, q, side="left"))
            room.append((c, max(first, 0), min(last, len(rows) - 1)))
        rooms.append((sum(last - first for _, first, last in room), p, q, room))
    placed: dict[int, list[int]] = {c: [] for c in streams}  # per cpu, sorted: the position of the event before the gap
    for _, p, q, room in sorted(rooms):
        if any(bisect_left(placed[c], first) < bisect_left(placed[c], last) for c, first, last in room):
            continue
        silences = []
        for c, first, last in room:
            if first < last:
                inside = np.clip(times[c][first : last + 1], time[p], time[q])
                at = int(np.argmax(np.diff(inside)))
                silences.append((int(inside[at + 1] - inside[at]), c, first + at))
        if silences:
            _, c, at = max(silences)
            insort(placed[c], at)
    found = sorted((int(streams[c][at + 1]), int(streams[c][at]), c) for c, ats in placed.items() for at in ats)
    return tuple(
        Gap(
            number=number,
            cpu=c,
            before=p,
            after=q,
            begin_ns=int(time[p]),
            end_ns=int(time[q]),
            count=None,
            known="suspected",
            line=int(trace.line[q]),
        )
        for number, (q, p, c) in enumerate(found)
    )
