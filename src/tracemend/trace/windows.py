"""A gap with its surroundings as one window of ids.

Axis legend: S events of a stream, L positions of a window, C channels (event, thread, step), N hidden positions.

The event channel holds vocabulary ids. The thread channel holds slots: threads of the window numbered by how near
to the gap they were seen (1 is the nearest), 0 for every thread that wasn't seen or is too far down the list. Which
thread is which is thus told by the window itself and a model needs no thread ids. The step channel holds the time
since the stream's event before, as ``log_step`` has it; that of the first event behind a gap tells the gap's mean step.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tracemend.trace.events import Trace
from tracemend.trace.vocabulary import BREAK, MASK, Vocabulary

#: Thread slots of the second channel: 0 unknown, 1 to SLOTS - 1 by recency. Hidden positions hold SLOTS.
SLOTS = 16
UNKNOWN_THREAD = 0
HIDDEN_THREAD = SLOTS
#: Values of the third channel: 0 unknown, k for steps of 2^(k - 1) ns or more (2^40 ns are 18 minutes). Hidden
#: positions hold STEPS; STEPS + k stands behind a gap whose events are k apart, on average.
STEPS = 42
UNKNOWN_STEP = 0
HIDDEN_STEP = STEPS
#: What hidden positions hold in every channel.
HIDDEN = (MASK, HIDDEN_THREAD, HIDDEN_STEP)

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Stream:
    """One cpu's events (S,) with their thread ids; BREAK with tid -1 stands where events are missing.

    steps: the time in ns since the event before, -1 where nobody knows: at the beginning, at and behind a BREAK, and
    everywhere if nothing is given.
    """

    ids: Ints
    tids: Ints
    steps: Ints = field(default_factory=lambda: np.empty(0, np.int64))

    def __post_init__(self) -> None:
        if not len(self.steps):
            object.__setattr__(self, "steps", np.broadcast_to(np.int64(-1), len(self.ids)))
        if not len(self.ids) == len(self.tids) == len(self.steps):
            raise ValueError(f"{len(self.ids)} events, {len(self.tids)} threads and {len(self.steps)} steps don't fit")

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, at: slice | NDArray[np.bool_] | Ints) -> Stream:
        """The events at some positions."""
        return Stream(self.ids[at], self.tids[at], self.steps[at])

    def __add__(self, other: Stream) -> Stream:
        parts = zip((self.ids, self.tids, self.steps), (other.ids, other.tids, other.steps), strict=True)
        return Stream(*(np.concatenate(pair) for pair in parts))


#: Events that nobody knows, between others.
GONE = Stream(np.array([BREAK]), np.array([-1]))


def streams(trace: Trace, vocabulary: Vocabulary, *, shortest: int = 32) -> list[Stream]:
    """A trace's intact stretches: each cpu's stream, cut at its gaps and where it was not read."""
    ids = vocabulary.encode(trace)
    result = []
    for cpu, rows in trace.streams.items():
        for part in np.split(rows, trace.breaks(cpu)):
            if len(part) >= shortest:
                steps = np.append(-1, np.diff(trace.time_ns[part]))
                result.append(Stream(ids[part].astype(np.int64), trace.tid[part].astype(np.int64), steps))
    return result


@dataclass(frozen=True, slots=True)
class Window:
    """ids_LC (L, 3): event ids, thread slots and log steps, HIDDEN where hidden; known_L (L,) True where observed.

    tids: the thread id of each slot, index 0 is -1.
    """

    ids_LC: NDArray[np.int64]
    known_L: NDArray[np.bool_]
    tids: Ints

    @property
    def hidden(self) -> int:
        return int((~self.known_L).sum())

    def narrowed(self, context: int) -> Window:
        """The same with so many known events on each side of what is hidden, at most.

        Threads keep their slots, since the nearest ones come first; those not seen any more have none.
        """
        at = np.flatnonzero(~self.known_L)
        if not len(at):
            return self
        first, last = max(0, int(at[0]) - context), int(at[-1]) + 1 + context
        if first == 0 and last >= len(self.known_L):
            return self
        ids, known = self.ids_LC[first:last], self.known_L[first:last]
        return Window(ids, known, self.tids[: int(ids[known, 1].max(initial=0)) + 1])


def slots_by_recency(left: Ints | NDArray[np.int32], right: Ints | NDArray[np.int32]) -> Ints:
    """Thread ids in order of their distance from the gap, -1 first: the index of a tid is its slot.

    left (.,) thread ids before the gap in stream order, right (.,) after it; -1 entries are no threads.
    """
    tids = np.full(2 * max(len(left), len(right)), -1, np.int64)
    tids[0 : 2 * len(left) : 2] = left[::-1]
    tids[1 : 2 * len(right) : 2] = right
    ranked = [t for t in dict.fromkeys(tids.tolist()) if t >= 0]
    return np.array([-1, *ranked[: SLOTS - 1]], np.int64)


def to_slots(tids: Ints, slots: Ints) -> Ints:
    """Slot of each thread id: its index in ``slots``, else UNKNOWN_THREAD."""
    return np.asarray((tids[:, None] == slots).argmax(axis=1))  # the first slot is nobody's


def log_step(steps_S: Ints) -> Ints:
    """Times in ns to values of the step channel; -1 (not known) to UNKNOWN_STEP."""
    buckets = np.frexp(np.maximum(steps_S, 1))[1]
    return np.where(steps_S < 0, UNKNOWN_STEP, np.minimum(buckets, STEPS - 1)).astype(np.int64)


def window(left: Stream, right: Stream, hidden: int, span_ns: int = -1) -> Window:
    """A window with ``hidden`` unknown positions between two contexts, which may contain BREAK.

    span_ns: the time between the known events on both sides, -1 where nobody knows. It is told only if there are such,
    as is the step of an event only if the event before it is known.
    """
    slots = slots_by_recency(left.tids, right.tids)
    first, last = len(left), len(left) + hidden
    ids = np.empty((last + len(right), len(HIDDEN)), np.int64)
    ids[first:last] = HIDDEN
    for stream, side in ((left, ids[:first]), (right, ids[last:])):
        side[:, 0], side[:, 1], side[:, 2] = stream.ids, to_slots(stream.tids, slots), log_step(stream.steps)
        side[:1, 2] = UNKNOWN_STEP
        side[1:, 2][side[:-1, 0] == BREAK] = UNKNOWN_STEP
    if len(left) and len(right) and BREAK not in (left.ids[-1], right.ids[0]) and span_ns >= 0:
        ids[last, 2] = STEPS + log_step(np.array([span_ns // (hidden + 1)]))[0]
    known = np.ones(len(ids), bool)
    known[first:last] = False
    return Window(ids, known, slots)


def batch(windows: list[Window]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Windows of any length as one batch: ids_BLC and known_BL, filled up with BREAK at the end."""
    length = max(len(w.known_L) for w in windows)
    ids = np.zeros((len(windows), length, len(HIDDEN)), np.int64)
    ids[..., 0] = BREAK
    known = np.ones((len(windows), length), bool)
    for b, w in enumerate(windows):
        ids[b, : len(w.known_L)] = w.ids_LC
        known[b, : len(w.known_L)] = w.known_L
    return ids, known
