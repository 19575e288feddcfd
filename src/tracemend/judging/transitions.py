"""Transitions of a view that no kernel makes: where a trace shows them, what was inferred can't be true.

Each is a pair of events of which the second one can't follow the first. Where a hole is between the two (a gap that is
still open, an event of which nobody knows enough), what happened in it may explain them, and nothing is said.

Axis legend: E events in order of time, N transitions, P entries of threads' histories, R rows of one family of
interrupts and of switches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tracemend.judging.views import BLOCKED, OTHERS, Holes, View
from tracemend.reckoning.events import IDLE, UNKNOWN
from tracemend.trace.events import ENTER, INSTANT, stable_order
from tracemend.trace.syscalls import LAST_CALLS, NO_NUMBER, SIGNAL_RETURNS

Ints = NDArray[np.int64]

#: What is impossible, and what it means.
KINDS = {
    "not running": "an event of a thread that isn't the one running",
    "other prev": "a switch from another thread than the one running",
    "on two cpus": "a thread switched in while it runs on another cpu",
    "not woken": "a thread switched in that blocked and wasn't woken since",
    "enter within a call": "a call entered within another one",
    "exit without enter": "a call left that wasn't entered",
    "interrupt not entered": "the end of an interrupt that didn't begin",
    "interrupt not left": "a switch within an interrupt",
}
#: Of these both events are on one cpu.
OF_CPUS = ("not running", "other prev", "interrupt not entered", "interrupt not left")
#: Interrupts, by the names of their events without ``_entry`` and ``_exit``; as LTTng calls them, too.
INTERRUPTS = ("irq_handler", "softirq", "tasklet", "timer_expire", "hrtimer_expire", "timer_hrtimer_expire")
#: How many of a family may be open where nobody knows: hard timers interrupt soft ones.
OPEN = 2

Where = Literal["within", "behind", "elsewhere"]


@dataclass(frozen=True)
class Found:
    """Impossible transitions of one kind: the events ``at`` (N,) can't follow the events ``since`` (N,)."""

    kind: str
    since: Ints
    at: Ints


def impossible(view: View) -> list[Found]:
    """All of a view's impossible transitions, kind by kind."""
    found = [*_calls(view), *_interrupts(view)]
    return [*_of_cpus(view), *_of_threads(view), *found] if len(view.switches) else found


def counted(view: View) -> dict[str, dict[Where, int]]:
    """How many there are of each kind: ``within`` what was inferred, ``behind`` it (a gap that was filled is between
    both events, or the first one is in it), ``elsewhere``."""
    counts = {}
    for found in impossible(view):
        within = view.inferred[found.at]
        cpu = view.cpu[found.at] if found.kind in OF_CPUS else None
        behind = ~within & (view.inferred[found.since] | view.filled.between(found.since, found.at, cpu))
        parts: list[tuple[Where, int]] = [("within", int(within.sum())), ("behind", int(behind.sum()))]
        counts[found.kind] = dict([*parts, ("elsewhere", len(within) - sum(n for _, n in parts))])
    return counts


def _of_cpus(view: View) -> Iterator[Found]:
    """One thread runs on a cpu at a time, and only a switch changes which."""
    wrong = (view.claims != UNKNOWN) & (view.before != UNKNOWN) & (view.claims != view.before)
    wrong &= view.before != OTHERS  # the kernel's filter by process misses many a switch from the idle thread
    switch = np.zeros(len(view), bool)
    switch[view.switches] = True
    # what an inferred switch says of itself must agree, too
    own = view.tid[view.switches]
    wrong[view.switches] |= view.inferred[view.switches] & (own != UNKNOWN) & (view.prev != own)
    for kind, of in (("not running", ~switch), ("other prev", switch)):
        at = np.flatnonzero(wrong & of)
        yield Found(kind, view.since[at], at)


#: What a thread's history holds, in the order in which it stands if one event says several things of it.
OUT, IN, HERE, WOKEN = range(4)


def _of_threads(view: View) -> Iterator[Found]:
    """A thread runs on one cpu at a time, and is switched in only if it can run."""
    here = np.flatnonzero(view.before == UNKNOWN)  # behind a gap; else what follows a switch is of the thread it says
    here = here[~np.isin(here, view.switches)]
    parts = [
        (OUT, view.switches, view.prev, view.state),
        (IN, view.switches, view.next, np.full(len(view.switches), UNKNOWN)),
        (HERE, here, view.tid[here], np.full(len(here), UNKNOWN)),
        (WOKEN, view.wakeups, view.woken, np.full(len(view.wakeups), UNKNOWN)),
    ]
    what, at, thread, state = (
        np.concatenate(column) for column in zip(*((np.full(len(a), w), a, t, s) for w, a, t, s in parts), strict=True)
    )
    kept = (thread != UNKNOWN) & (thread != OTHERS) & (thread != IDLE)
    order = np.flatnonzero(kept)
    order = order[np.lexsort((what[order], at[order], thread[order]))]
    what, at, thread, state = what[order], at[order], thread[order], state[order]
    number = np.arange(len(what))

    def last(of: NDArray[np.bool_]) -> Ints:
        """The entry in front of each one, of those that ``of`` says; -1 where its thread has none (P,)."""
        found = np.concatenate([[-1], np.maximum.accumulate(np.where(of, number, -1))])[:-1]
        return np.where((found >= 0) & (thread[found] == thread), found, -1)

    before = last(what != WOKEN)
    two = np.flatnonzero((what == IN) & (before >= 0) & np.isin(what[before], (IN, HERE)))
    since, now = at[before[two]], at[two]
    two_cpus = view.cpu[since] != view.cpu[now]
    since, now = since[two_cpus], now[two_cpus]
    explained = view.unsure.between(since, now, view.cpu[since])
    yield Found("on two cpus", since[~explained], now[~explained])

    if not len(view.wakeups):
        return
    before = last(np.ones(len(what), bool))
    asleep = np.flatnonzero((what == IN) & (before >= 0) & (what[before] == OUT) & (state[before] == BLOCKED))
    since, now = at[before[asleep]], at[asleep]
    holes = Holes.joined([view.gaps, view.vague(view.wakeups[view.woken == UNKNOWN])])
    explained = holes.between(since, now)
    yield Found("not woken", since[~explained], now[~explained])


def _calls(view: View) -> Iterator[Found]:
    """A thread's calls are entered, then left, one after the other."""
    calls = np.flatnonzero(view.phase != INSTANT)
    known = calls[view.tid[calls] >= 0]
    order = known[stable_order(view.tid[known])]
    since, at = order[:-1], order[1:]
    free = np.array([n in (*LAST_CALLS, *SIGNAL_RETURNS) for n in view.names], bool)
    unnumbered = np.array([n == NO_NUMBER for n in view.names], bool)
    enters, entered = view.phase[at] == ENTER, view.phase[since] == ENTER
    same = view.code[since] == view.code[at]
    wrong = np.where(enters, entered, ~(entered & same)) & (view.tid[since] == view.tid[at])
    wrong &= ~(entered & free[view.code[since]]) & ~(~enters & unnumbered[view.code[at]])
    wrong &= len(np.unique(view.phase[known])) > 1  # else one of both isn't recorded
    since, at = since[wrong], at[wrong]
    holes = Holes.joined([view.gaps, view.vague(calls[view.tid[calls] == UNKNOWN])])
    open_ = ~holes.between(since, at)
    since, at, enters = since[open_], at[open_], enters[wrong][open_]
    yield Found("enter within a call", since[enters], at[enters])
    yield Found("exit without enter", since[~enters], at[~enters])


def _interrupts(view: View) -> Iterator[Found]:
    """On each cpu interrupts of a family nest, and no thread is switched before all have ended."""
    early: list[tuple[Ints, Ints]] = []
    late: list[tuple[Ints, Ints]] = []
    for family in INTERRUPTS:
        codes = [view.names.index(n) if n in view.names else -1 for n in (f"{family}_entry", f"{family}_exit")]
        if min(codes) < 0:
            continue
        step = np.zeros(len(view), np.int64)
        step[view.code == codes[0]], step[view.code == codes[1]] = 1, -1
        switch = np.zeros(len(view), bool)
        switch[view.switches] = True
        rows = view.by_cpu[(switch | (step != 0))[view.by_cpu]]
        for pairs, found in zip((early, late), _unbalanced(view, rows, step[rows], switch[rows]), strict=True):
            pairs.append(found)
    for kind, pairs in (("interrupt not entered", early), ("interrupt not left", late)):
        if pairs:
            yield Found(kind, *(np.concatenate(side) for side in zip(*pairs, strict=True)))


def _unbalanced(
    view: View, rows: Ints, step: Ints, switch: NDArray[np.bool_]
) -> tuple[tuple[Ints, Ints], tuple[Ints, Ints]]:
    """Ends without a beginning and switches before an end, among the rows (R,) of a family's events and of switches, in
    order of their cpus; each with the row since which the family's events are counted."""
    since = np.concatenate([rows[:1], rows[:-1]])
    first = np.diff(view.cpu[rows], prepend=-2) != 0
    unknown = first | view.gaps.between(since, rows, view.cpu[rows])
    begins = unknown | np.concatenate([[False], switch])[:-1]
    part = np.cumsum(begins) - 1
    start = np.flatnonzero(begins)
    total = np.cumsum(step)
    level = total - (total - step)[start][part]
    # the lowest level of each part so far, no higher than that at its start: parts are set apart from each other
    apart = part * (2 * len(rows) + 2)
    lowest = np.minimum.accumulate(np.minimum(level, 0) - apart) + apart
    before = np.where(begins, 0, np.concatenate([[0], lowest])[:-1])
    allowed = np.where(unknown[start], OPEN, 0)[part]
    early = np.flatnonzero((level < before) & (level < -allowed))
    late = np.flatnonzero(switch & (level > lowest))
    counted_from = rows[np.where(unknown[start], start, start - 1)][part]
    return (counted_from[early], rows[early]), (counted_from[late], rows[late])
