"""A gap with its surroundings as one window of ids.

Axis legend: S events of a stream, L positions of a window, C channels (event, thread), N hidden positions.

The event channel holds vocabulary ids. The thread channel holds slots: threads of the window numbered by how near
to the gap they were seen (1 is the nearest), 0 for every thread that wasn't seen or is too far down the list. Which
thread is which is thus told by the window itself and a model needs no thread ids.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracemend.vocabulary import BREAK, MASK

#: Thread slots of the second channel: 0 unknown, 1 to SLOTS - 1 by recency. Hidden positions hold SLOTS.
SLOTS = 16
UNKNOWN_THREAD = 0
HIDDEN_THREAD = SLOTS

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Window:
    """ids_LC (L, 2): event ids and thread slots, MASK and HIDDEN_THREAD where hidden; known_L (L,) True where observed.

    tids: the thread id of each slot, index 0 is -1.
    """

    ids_LC: NDArray[np.int64]
    known_L: NDArray[np.bool_]
    tids: Ints

    @property
    def hidden(self) -> int:
        return int((~self.known_L).sum())


def slots_by_recency(left: Ints, right: Ints) -> Ints:
    """Thread ids in order of their distance from the gap, -1 first: the index of a tid is its slot.

    left (.,) thread ids before the gap in stream order, right (.,) after it; -1 entries are no threads.
    """
    tids = np.concatenate([left[::-1], right])
    distance = np.concatenate([2 * np.arange(len(left)), 2 * np.arange(len(right)) + 1])
    order = np.argsort(distance, kind="stable")
    unique, first = np.unique(tids[order], return_index=True)
    ranked = unique[np.argsort(first, kind="stable")]
    ranked = ranked[ranked >= 0][: SLOTS - 1]
    return np.concatenate([[-1], ranked]).astype(np.int64)


def to_slots(tids: Ints, slots: Ints) -> Ints:
    """Slot of each thread id: its index in ``slots``, else UNKNOWN_THREAD."""
    if len(slots) == 1:
        return np.zeros(len(tids), np.int64)
    order = np.argsort(slots)
    at = np.minimum(np.searchsorted(slots[order], tids), len(slots) - 1)
    found = order[at]
    return np.where((slots[found] == tids) & (tids >= 0), found, UNKNOWN_THREAD).astype(np.int64)


def window(left_ids: Ints, left_tids: Ints, right_ids: Ints, right_tids: Ints, hidden: int) -> Window:
    """A window with ``hidden`` unknown positions between two contexts, which may contain BREAK (with tid -1)."""
    slots = slots_by_recency(left_tids, right_tids)
    events = np.concatenate([left_ids, np.full(hidden, MASK), right_ids])
    threads = np.concatenate([to_slots(left_tids, slots), np.full(hidden, HIDDEN_THREAD), to_slots(right_tids, slots)])
    known = np.ones(len(events), bool)
    known[len(left_ids) : len(left_ids) + hidden] = False
    return Window(np.stack([events, threads], axis=1).astype(np.int64), known, slots)


def batch(windows: list[Window]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Windows of any length as one batch: ids_BLC and known_BL, filled up with BREAK at the end."""
    length = max(len(w.known_L) for w in windows)
    ids = np.zeros((len(windows), length, 2), np.int64)
    ids[..., 0] = BREAK
    known = np.ones((len(windows), length), bool)
    for b, w in enumerate(windows):
        ids[b, : len(w.known_L)] = w.ids_LC
        known[b, : len(w.known_L)] = w.known_L
    return ids, known


@dataclass(frozen=True, slots=True)
class Stream:
    """One cpu's events (S,) with their thread ids; BREAK with tid -1 stands where events are missing."""

    ids: Ints
    tids: Ints

    def __len__(self) -> int:
        return len(self.ids)
