"""Which file descriptor a call returns: the lowest that is free, as the kernel promises.

Nobody tells which descriptors a process had when its trace began. But whatever returns one says that all below it are
open then, and those above it are taken to be free; what is closed later is free again. Where nobody knows what was
opened or closed, nothing is known until the next one is returned. What was open above before, and threads that share
their descriptors, disturb this: so how often it is right is counted.

Axis legend: M surviving and inferred events.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tracemend.mending.together import Line

Ints = NDArray[np.int64]

#: What an event does to the descriptors: nothing; it returns the lowest free one; it opens or closes a certain one;
#: others come and go.
NOTHING, RETURNS, OPENS, CLOSES, DISTURBS = range(5)
#: In place of a descriptor: whichever is the lowest; none, the call failed; nobody knows.
LOWEST, NONE, UNKNOWN = -1, -2, -3


def lowest_free(line: Line, does: Ints, numbers: Ints, wanted: Ints) -> Ints:
    """The lowest that is free when each event returns one (M,); -1 elsewhere and where nobody knows.

    does (M,): what each event does; numbers (M,): with which descriptor. Only the threads of the wanted events matter.
    """
    from tracemend.mending.free import walk

    found = np.full(len(does), -1, np.int64)
    steps = line.order[(does != NOTHING)[line.order]]
    steps = steps[np.isin(line.whose(steps), line.whose(wanted))]
    found[steps] = walk(line.whose(steps), does[steps], numbers[steps])
    return found
