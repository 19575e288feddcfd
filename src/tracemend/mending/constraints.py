"""What a fill must satisfy.

A thread is in one place at a time: between two of its events on other cpus it may run on this one. Its system calls
alternate: an enter is followed by the exit of the same call. What survives on both sides of a gap says how each thread
goes in (a call pending or not) and how it must come out.

Positions of a gap are numbered from 0. Axis legend: T threads of a gap, V vocabulary.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracemend.trace.events import ENTER, EXIT
from tracemend.trace.syscalls import LAST_CALLS, NO_NUMBER, SIGNAL_RETURNS
from tracemend.trace.vocabulary import OTHER, Vocabulary

Ints = NDArray[np.int64]

#: States of a thread besides the id of the pending enter (which is never negative). FREE: it may go on with anything;
#: UNSEEN: the same, and nobody knows what it did before, so it may already be as it must be behind the gap.
CLOSED, FREE, ENDED, UNSEEN = -1, -2, -3, -4
#: In place of a time: the gap itself is the bound.
OPEN = -(1 << 62)


class Threads(NamedTuple):
    """How threads may take part in a gap (each (T,)): the state before, the state they must have behind (FREE: any),
    and the positions [first, last) at which they aren't known to be elsewhere, by their events at low and high (ns)."""

    tids: Ints
    begin: Ints
    end: Ints
    first: Ints
    last: Ints
    low: Ints
    high: Ints


def unbound(tids: Ints, count: int) -> Threads:
    """Threads that may do anything at any of ``count`` positions."""
    n = len(tids)
    free, nowhere = np.full(n, FREE), np.full(n, OPEN)
    return Threads(tids, free, free, np.zeros(n, np.int64), np.full(n, count), nowhere, nowhere)


class Rules(NamedTuple):
    """What each event of a vocabulary is and does (each (V,)): its phase, the id of the same call's other phase or -1,
    a thread's state after it, and the one that it asks for before it (FREE: it doesn't tell)."""

    phase: Ints
    partner: Ints
    after: Ints
    required: Ints


def rules(vocabulary: Vocabulary) -> Rules:
    """The exit of no number, behind a signal's return, asks for no state."""
    ids, entering = np.arange(len(vocabulary)), vocabulary.phase == ENTER
    after = np.where(entering, ids, CLOSED)
    for call, state in [*((c, ENDED) for c in LAST_CALLS), *((c, FREE) for c in SIGNAL_RETURNS)]:
        enter = vocabulary.id(call, ENTER)
        if enter != OTHER:
            after[enter] = state
    partner = vocabulary.partner.astype(np.int64)
    paired = (partner >= 0) & (ids != vocabulary.id(NO_NUMBER, EXIT))
    required = np.where(entering, CLOSED, np.where(paired, partner, FREE))
    return Rules(vocabulary.phase.astype(np.int64), partner, after, required)


def drop_impossible(threads: Threads, count: int) -> tuple[Threads, int]:
    """Free threads of their obligations, the last in the list first, until the gap has room for what is left.

    Room: for any stretch of positions, the threads bound to it need no more events than it has (Hall's condition).
    Returns the threads and how many obligations were dropped.
    """
    from tracemend.mending.room import obliged

    end, dropped = obliged(threads, np.argsort(threads.first, kind="stable"), count)
    return threads._replace(end=end), int(dropped)
