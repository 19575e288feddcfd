"""The compiled part of ``descriptors``: which descriptors of a process are free, event by event."""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from tracemend.compiled import compiled
from tracemend.mending.descriptors import CLOSES, DISTURBS, LOWEST, NONE, RETURNS

Ints = NDArray[np.int64]


@compiled
def walk(whose: Ints, does: Ints, numbers: Ints) -> Ints:
    """For ``lowest_free``: the lowest that is free when each event returns one, of events thread by thread.

    Of a process all descriptors below ``low`` are open but the free ones, and above it none but some that were opened
    by their numbers. low -1: nobody knows any.
    """
    found = np.full(len(does), -1, np.int64)
    low, above, free, heap = (
        -1,
        {0},
        {0},
        [0],
    )  # sets and a list of numbers, which the compiler can't tell of empty ones
    for i in range(len(does)):
        what, told = does[i], numbers[i]
        if i == 0 or whose[i] != whose[i - 1]:
            low = -1
            above.clear()
            free.clear()
            heap.clear()
        while heap and heap[0] not in free:
            heapq.heappop(heap)
        lowest = heap[0] if heap else low
        if what == RETURNS:
            found[i] = lowest
        number = lowest if told == LOWEST else told
        if number == NONE:
            continue
        if number < 0 or what == DISTURBS or (what == RETURNS and number != lowest):
            # nothing is known any more but, of what was returned, that all below it are open
            low = number + 1 if what == RETURNS and number >= 0 else -1
            above.clear()
            free.clear()
            heap.clear()
        elif what == CLOSES:
            above.discard(number)
            if number < low and number not in free:
                free.add(number)
                heapq.heappush(heap, number)
        else:
            free.discard(number)
            if number >= low >= 0:
                above.add(number)
                while low in above:
                    above.discard(low)
                    low += 1
    return found
