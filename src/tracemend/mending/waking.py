"""Who must be woken before a switch goes to it, and by which wakeup of a fill: what ``grammar`` keeps of it, compiled.

Whoever is known to wait was seen to begin it, on this cpu or on another one. So a wakeup counts for it only from there
on; and a fill that has woken it must do so once more if it was seen to begin to wait again.

Axis legend: N hidden positions, T threads, W beams.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracemend.compiled import compiled

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: In a digest, in place of a thread's state: that it was woken, and the era of a wakeup that has woken nobody yet.
AWAKE, FREE_ONES = 1 << 21, 1 << 23


class Waits(NamedTuple):
    """eras (N,): numbers of stretches of positions; where a thread begins to wait a new one begins. since (N, T): the
    first era whose wakeups wake whoever is known to wait at a position (-1: it isn't known to). wakeup: the id of an
    event that wakes a thread. pinned (N,): where an event must wake somebody who is seen to run elsewhere later."""

    eras: Ints
    since: Ints
    wakeup: int
    pinned: Bools


class Woken(NamedTuple):
    """What the wakeups of each beam did. awake (W, T): who was woken since it began to wait; asleep (W,): how many wait
    and weren't; wakes (W, T + 1), free (W,): the eras of wakeups that may still wake these, in order, and how many."""

    awake: Bools
    asleep: Ints
    wakes: Ints
    free: Ints


@compiled
def nobody(width: int, threads: int) -> Woken:
    """Nobody was woken on any of so many ways."""
    none = np.zeros((2, width), np.int64)
    return Woken(np.zeros((width, threads), np.bool_), none[0], np.zeros((width, threads + 1), np.int64), none[1])


@compiled
def mixed(t: int, state: int) -> int:
    """A thread's share of a digest: digests of the same states are the same, others hardly ever."""
    x = (t + 1) * 0x9E3779B1 + (state + 7) * 0x85EBCA6B
    x ^= x >> 15
    x *= 0x2C1B3C6D
    x ^= x >> 12
    return x & 0xFFFFFFFFFFFF


@compiled
def to_the_end(waits: Waits) -> Bools:
    """Who waits from each position on (N, T) to the gap's end, unless this fill wakes it."""
    long = waits.since >= 0
    for i in range(len(long) - 2, -1, -1):
        for t in range(long.shape[1]):
            long[i, t] &= long[i + 1, t]
    return long


@compiled
def sleepers(i: int, waits: Waits, woken: Woken, beam: int, digest: int) -> int:
    """Find who waits at position i on a beam: what was done for it before counts no more if it began to wait since, nor
    do wakeups that can wake nobody. Returns the beam's digest."""
    new = i == 0 or waits.eras[i - 1] < waits.eras[i]
    asleep, first = 0, waits.eras[i] + 1
    for t in range(waits.since.shape[1]):
        since = waits.since[i, t]
        if since < 0:
            continue
        if new and since == waits.eras[i] and woken.awake[beam, t]:
            woken.awake[beam, t] = False
            digest -= mixed(t, AWAKE)
        if not woken.awake[beam, t]:
            asleep += 1
            first = min(first, since)
    skipped, n = 0, woken.free[beam]
    while skipped < n and (woken.wakes[beam, skipped] < first or n - skipped > asleep):
        skipped += 1
    for k in range(n - skipped):
        woken.wakes[beam, k] = woken.wakes[beam, k + skipped]
    woken.asleep[beam], woken.free[beam] = asleep, n - skipped
    return int(digest)


@compiled
def waker(free: Ints, since: int) -> int:
    """Which of some wakeups, by their eras, wakes a thread that has waited since an era: the earliest one, as the later
    ones may wake more others; -1 if none does."""
    for k in range(len(free)):
        if free[k] >= since:
            return k
    return -1


@compiled
def unwoken(free: Ints, since: Ints, rest: Ints) -> int:
    """How many of some threads that have waited since these eras can't be woken by wakeups of such eras, each by one of
    its own. rest: room to work in."""
    n, asleep = len(free), 0
    rest[:n] = free
    for era in since:
        k = waker(rest[:n], era)
        asleep += k < 0
        if k >= 0:
            for j in range(k + 1, n):
                rest[j - 1] = rest[j]
            n -= 1
    return asleep


@compiled
def wakes(i: int, event: int, waits: Waits, woken: Woken, beam: int) -> bool:
    """Whether an event at position i is a wakeup that may wake whoever is switched in later."""
    return event == waits.wakeup and not waits.pinned[i] and woken.asleep[beam] > 0


@compiled
def uses(i: int, following: int, waits: Waits, woken: Woken, beam: int) -> int:
    """Which wakeup is used up by a switch to a thread at position i; -1 if it needs none."""
    if waits.since[i, following] < 0 or woken.awake[beam, following]:
        return -1
    return waker(woken.wakes[beam, : woken.free[beam]], waits.since[i, following])


@compiled
def free_ones(woken: Woken, beam: int, used: int, more: int) -> int:
    """The free wakeups' share of the digest of where a beam leads, without one of them (-1: with all of them) or with
    one more, of an era (-1: without)."""
    n, share = woken.free[beam], 0
    for k in range(int(more >= 0 and n == woken.asleep[beam]), n):
        if k != used:
            share += mixed(woken.wakes[beam, k], FREE_ONES)
    return share + (mixed(more, FREE_ONES) if more >= 0 else 0)


@compiled
def follow(i: int, way: tuple[int, int, int, int], waits: Waits, before: Woken, after: Woken, j: int) -> int:
    """Go on from a beam as way j. way: the beam, the event at position i, and who is switched in by it and who is found
    running, -1 if nobody. Returns what the digest gains by who is awake now."""
    beam, event, switched, first = way
    after.awake[j] = before.awake[beam]
    n = before.free[beam]
    after.wakes[j, :n] = before.wakes[beam, :n]
    gained, used = 0, uses(i, switched, waits, before, beam) if switched >= 0 else -1
    if used >= 0:
        for k in range(used + 1, n):
            after.wakes[j, k - 1] = after.wakes[j, k]
        n -= 1
    if wakes(i, event, waits, before, beam):
        after.wakes[j, n] = waits.eras[i]
        n += 1
    after.free[j] = n
    for t in (switched if used >= 0 else -1, first):
        if t >= 0 and waits.since[i, t] >= 0 and not after.awake[j, t]:
            after.awake[j, t] = True
            gained += mixed(t, AWAKE)
    return gained
