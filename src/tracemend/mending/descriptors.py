"""Which file descriptor a call returns: the lowest that is free, as the kernel promises.

Nobody tells which descriptors a process had when its trace began. But whatever returns one says that all below it are
open then, and those above it are taken to be free; what is closed later is free again. Where nobody knows what was
opened or closed, nothing is known until the next one is returned. What was open above before, and threads that share
their descriptors, disturb this: so how often it is right is counted.

Axis legend: M surviving and inferred events.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tracemend.mending.together import Line

Ints = NDArray[np.int64]

#: What an event does to the descriptors: nothing; it returns the lowest free one; it opens or closes a certain one;
#: others come and go.
NOTHING, RETURNS, OPENS, CLOSES, DISTURBS = range(5)
#: In place of a descriptor: whichever is the lowest; none, the call failed; nobody knows.
LOWEST, NONE, UNKNOWN = -1, -2, -3


@dataclass
class Table:
    """The descriptors of one process: below ``low`` all are open but the free ones, above it none but some that were
    opened by their numbers. low -1: nobody knows any."""

    low: int = -1
    _above: set[int] = field(default_factory=set)
    _free: set[int] = field(default_factory=set)
    _heap: list[int] = field(default_factory=list)

    @property
    def lowest(self) -> int:
        """The lowest that is free, -1 if nobody knows."""
        while self._heap and self._heap[0] not in self._free:
            heapq.heappop(self._heap)
        return self._heap[0] if self._heap else self.low

    def returned(self, number: int) -> None:
        """This was the lowest that was free."""
        if number == self.lowest:
            self.opened(number)
        else:  # of those above nothing is known
            self.forget()
            self.low = number + 1

    def opened(self, number: int) -> None:
        """This one is open, whatever is free below it."""
        self._free.discard(number)
        if number >= self.low >= 0:
            self._above.add(number)
            while self.low in self._above:
                self._above.discard(self.low)
                self.low += 1

    def closed(self, number: int) -> None:
        """This one is free again."""
        self._above.discard(number)
        if 0 <= number < self.low and number not in self._free:
            self._free.add(number)
            heapq.heappush(self._heap, number)

    def forget(self) -> None:
        """Nobody knows what is open any more."""
        self.low, self._above, self._free, self._heap = -1, set(), set(), []


def lowest_free(line: Line, does: Ints, numbers: Ints, wanted: Ints) -> Ints:
    """The lowest that is free when each event returns one (M,); -1 elsewhere and where nobody knows.

    does (M,): what each event does; numbers (M,): with which descriptor. Only the threads of the wanted events matter.
    """
    found = np.full(len(does), -1, np.int64)
    steps = line.order[(does != NOTHING)[line.order]]
    steps = steps[np.isin(line.whose(steps), line.whose(wanted))]
    table, whose = Table(), -1
    columns = (a.tolist() for a in (steps, line.whose(steps), does[steps], numbers[steps]))
    for event, who, what, told in zip(*columns, strict=True):
        if who != whose:
            table, whose = Table(), who
        number = table.lowest if told == LOWEST else told
        if what == RETURNS:
            found[event] = table.lowest
        if number == NONE:
            continue
        if number < 0 or what == DISTURBS:
            table.forget()
        elif what == RETURNS:
            table.returned(number)
        elif what == OPENS:
            table.opened(number)
        else:
            table.closed(number)
    return found
