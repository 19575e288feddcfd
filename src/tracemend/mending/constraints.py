"""What a fill must satisfy.

A thread is in one place at a time: between two of its events on other cpus it may run on this one. Its system calls
alternate: an enter is followed by the exit of the same call. What survives on both sides of a gap says how each thread
goes in (a call pending or not) and how it must come out.

Positions of a gap are numbered from 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tracemend.trace.events import ENTER, EXIT
from tracemend.trace.syscalls import LAST_CALLS, SIGNAL_RETURNS
from tracemend.trace.vocabulary import OTHER, Vocabulary

#: States of a thread besides the id of the pending enter (which is never negative). FREE: it may go on with anything;
#: UNSEEN: the same, and nobody knows what it did before, so it may already be as it must be behind the gap.
CLOSED, FREE, ENDED, UNSEEN = -1, -2, -3, -4


@dataclass(frozen=True, slots=True)
class Thread:
    """How a thread may take part in a gap: its state before, the state it must have behind (FREE: any), and the
    positions [first, last) at which it isn't known to be elsewhere, by its events at low_ns and high_ns (None: the gap
    itself is the bound)."""

    tid: int
    begin: int
    end: int
    first: int
    last: int
    low_ns: int | None = None
    high_ns: int | None = None


def without_exit(vocabulary: Vocabulary) -> dict[int, int]:
    """The enters that no exit of the same call follows, with a thread's state after them."""
    states = dict.fromkeys(LAST_CALLS, ENDED) | dict.fromkeys(SIGNAL_RETURNS, FREE)
    ids = {vocabulary.id(call, ENTER): state for call, state in states.items()}
    return {i: state for i, state in ids.items() if i != OTHER}


def state_after(event: int, before: int, phase: int, unusual: Mapping[int, int]) -> int:
    """A thread's state after an event (id and phase code) in state ``before``. unusual: ``without_exit``'s."""
    if phase == ENTER:
        return unusual.get(event, event)
    return CLOSED if phase == EXIT else before


def need(state: int, end: int) -> int:
    """The fewest events that bring a thread from ``state`` to ``end`` (a large number if nothing can)."""
    if end in (FREE, state) or state == UNSEEN:
        return 0
    if state == ENDED:
        return 1 << 30
    if end == CLOSED:
        return 0 if state == FREE else 1
    return 2 if state >= 0 else 1  # an enter must be pending: close the other one first


def drop_impossible(threads: Sequence[Thread], count: int) -> tuple[list[Thread], int]:
    """Free threads of their obligations, the last in the list first, until the gap has room for what is left.

    Room: for any stretch of positions, the threads bound to it need no more events than it has (Hall's condition).
    Returns the threads and how many obligations were dropped.
    """
    kept = list(threads)
    dropped = 0
    for i, t in enumerate(kept):
        if need(t.begin, t.end) > max(0, t.last - t.first):
            kept[i] = replace(t, end=FREE)
            dropped += 1
    while not _fits(kept, 0, count):
        i = max(i for i, t in enumerate(kept) if need(t.begin, t.end) > 0)
        kept[i] = replace(kept[i], end=FREE)
        dropped += 1
    return kept, dropped


def _fits(threads: Sequence[Thread], at: int, count: int) -> bool:
    bound = [(max(t.first, at), t.last, need(t.begin, t.end)) for t in threads]
    bound = [b for b in bound if b[2]]
    return _room(bound, at)


def _room(bound: list[tuple[int, int, int]], at: int) -> bool:
    """Hall's condition for (first, last, events needed): every interval has as many positions as it must hold."""
    for a in {b[0] for b in bound}:
        for z in {b[1] for b in bound}:
            if sum(n for first, last, n in bound if first >= a and last <= z) > max(0, z - max(a, at)):
                return False
    return True


def still_fits(threads: Sequence[Thread], needs: Sequence[int], at: int) -> bool:
    """Have the threads, of which each needs so many events, room from position ``at`` on?"""
    bound = []
    total, shortest = 0, 1 << 60
    for t, n in zip(threads, needs, strict=True):
        if n:
            first = max(t.first, at)
            bound.append((first, t.last, n))
            total += n
            shortest = min(shortest, t.last - first)
    # where every single stretch has room for all that is needed there is nothing more to look at
    return shortest >= total or _room(bound, at)
