"""What a thread must have done before one of its events: the gap in which it must do so, if it may do so in several.

Axis legend: G gaps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tracemend.trace.events import Gap

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

#: So many events a later gap must have room for before something is put off to it: a thread is woken, switched to,
#: does what it must, and leaves, and others do so, too.
ROOM = 16
#: Later than all times.
NEVER = 1 << 62


def waits(gaps: Sequence[Gap]) -> dict[int, int]:
    """For each gap, by its number, from when on (ns) an event that asks for something finds room for it in a gap that
    ends later, behind this one's end; ``NEVER`` where none has any.

    A gap of which nobody knows how many events it lost, and which nobody may fill, has room for anything.
    """
    ends = np.array([g.end_ns for g in gaps], np.int64)
    found = np.full(len(gaps), NEVER, np.int64)
    for cpu in {g.cpu for g in gaps}:
        own = sorted((g for g in gaps if g.cpu == cpu), key=lambda g: (g.end_ns, g.begin_ns))
        begin, end = (np.array(x, np.int64) for x in ([g.begin_ns for g in own], [g.end_ns for g in own]))
        takes = np.array([0 if g.count is None else ROOM * g.duration_ns / max(1, g.count) for g in own])
        room = np.where(begin + takes <= end, begin + takes, NEVER).astype(np.int64)
        room = np.append(np.minimum.accumulate(room[::-1])[::-1], [NEVER, NEVER])
        # of the first gap of this cpu that ends later, what is behind this one's end; the others begin behind that
        first = np.searchsorted(end, ends, "right")
        there = np.minimum(first, len(own) - 1)
        in_first = np.maximum(begin[there], ends) + takes[there]
        in_first = np.where((first < len(own)) & (in_first <= end[there]), in_first, NEVER).astype(np.int64)
        found = np.minimum(found, np.minimum(in_first, room[first + 1]))
    return dict(zip((g.number for g in gaps), found.tolist(), strict=True))
