"""What threads need in a gap, and whether it has room for that: compiled.

Axis legend: T threads.
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from tracemend.compiled import compiled
from tracemend.mending.constraints import CLOSED, ENDED, FREE, UNSEEN, Threads

Ints = NDArray[np.int64]

#: More events than any gap has: nothing brings the thread to its end.
NEVER = 1 << 30


@compiled
def need(state: int, end: int) -> int:
    """The fewest events that bring a thread from ``state`` to ``end`` (NEVER if nothing can)."""
    if end in (FREE, state) or state == UNSEEN:
        return 0
    if state == ENDED:
        return NEVER
    if end == CLOSED:
        return 0 if state == FREE else 1
    return 2 if state >= 0 else 1  # an enter must be pending: close the other one first


@compiled
def obliged(threads: Threads, by_first: Ints, count: int) -> tuple[Ints, int]:
    """For ``drop_impossible``: each thread's end, FREE where it is let off, and how many were. by_first: the threads in
    order of their first positions."""
    T = len(threads.end)
    end = threads.end.copy()
    needs = np.zeros(T, np.int64)
    bound = np.empty(T, np.int64)  # those that need something, in the order of the list
    B = dropped = total = 0
    shortest = count
    for t in range(T):
        wanted = need(threads.begin[t], end[t])
        room = threads.last[t] - threads.first[t]
        if wanted > max(0, room):
            end[t] = FREE
            dropped += 1
        elif wanted:
            needs[t] = wanted
            bound[B] = t
            B += 1
            total += wanted
            shortest = min(shortest, room)
    if total <= shortest:
        return end, dropped
    # the most of them, counted from the first, for which there is room: with more there is never more of it
    some = np.empty(B, np.int64)
    least, most = 0, B
    while least < most:
        middle = (least + most + 1) // 2
        n = 0
        for t in by_first:
            if needs[t] and t <= bound[middle - 1]:
                some[n] = t
                n += 1
        if _room(some[:n], needs, threads):
            least = middle
        else:
            most = middle - 1
    for t in bound[least:B]:
        end[t] = FREE
    return end, dropped + B - least


@compiled
def _room(by_first: Ints, needs: Ints, threads: Threads) -> bool:
    """Is there room for what these threads need? by_first: some, in order of their first positions.

    Whoever must be through first goes first: if that fails, everything does.
    """
    left = needs.copy()
    heap = [(0, 0)][:0]
    at = k = 0
    while heap or k < len(by_first):
        if not heap:
            at = max(at, threads.first[by_first[k]])
        while k < len(by_first) and threads.first[by_first[k]] <= at:
            heapq.heappush(heap, (threads.last[by_first[k]], by_first[k]))
            k += 1
        last, t = heap[0]
        step = left[t] if k == len(by_first) else min(left[t], threads.first[by_first[k]] - at)
        at += step
        left[t] -= step
        if at > last:
            return False
        if not left[t]:
            heapq.heappop(heap)
    return True
