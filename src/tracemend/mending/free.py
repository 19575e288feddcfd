"""The compiled part of ``descriptors``: which descriptors of a process are free, event by event."""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from tracemend.compiled import compiled
from tracemend.mending.descriptors import CLOSES, DISTURBS, LOWEST, NONE, RETURNS

Ints = NDArray[np.int64]

#: No process has so many descriptors (Linux's usual fs.nr_open); where one is told of, nothing is known any more.
MOST = 1 << 20


@compiled
def _unmarked(above: NDArray[np.bool_], free: NDArray[np.bool_], marked: Ints, marks: int) -> int:
    """Take all marks away; none are left."""
    for k in range(marks):
        above[marked[k]] = free[marked[k]] = False
    return 0


@compiled
def walk(whose: Ints, does: Ints, numbers: Ints) -> Ints:
    """For ``lowest_free``: the lowest that is free when each event returns one, of events thread by thread.

    Of a process all descriptors below ``low`` are open but the free ones, and above it none but some that were opened
    by their numbers. low -1: nobody knows any. Both are marks in arrays, with a list of those that were ever set:
    compiled sets slow down without bound where numbers come and go.
    """
    found = np.full(len(does), -1, np.int64)
    above, free = np.zeros(MOST + 1, np.bool_), np.zeros(MOST + 1, np.bool_)
    marked, marks = np.empty(len(does), np.int64), 0
    low, heap = -1, [0]  # with a number, of which the compiler sees what the list holds
    for i in range(len(does)):
        what, told = does[i], numbers[i]
        if i == 0 or whose[i] != whose[i - 1]:
            low, marks = -1, _unmarked(above, free, marked, marks)
            heap.clear()
        while heap and not free[heap[0]]:
            heapq.heappop(heap)
        lowest = heap[0] if heap else low
        if what == RETURNS:
            found[i] = lowest
        number = lowest if told == LOWEST else told
        if number == NONE:
            continue
        unknown = number < 0 or number >= MOST
        if unknown or what == DISTURBS or (what == RETURNS and number != lowest):
            # nothing is known any more but, of what was returned, that all below it are open
            low = number + 1 if what == RETURNS and not unknown else -1
            marks = _unmarked(above, free, marked, marks)
            heap.clear()
        elif what == CLOSES:
            above[number] = False
            if number < low and not free[number]:
                free[number] = True
                marked[marks], marks = number, marks + 1
                heapq.heappush(heap, number)
        else:
            free[number] = False
            if number >= low >= 0:
                above[number] = True
                marked[marks], marks = number, marks + 1
                while above[low]:
                    above[low] = False
                    low += 1
    return found
