"""Batches of a stream's events as columns, and the batches of all streams merged by time.

Axis legend: E events of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

#: Values of an event in ``Rows``.
WIDTH = 6


class Place(NamedTuple):
    """Where reading a packet stands: the bit, the clock, and the clock at the last event."""

    bit: int
    now: int
    floor: int


class Rows(list[Any]):
    """Decoded events, WIDTH values each: clock, code, thread, command, arguments, return value.

    All in one flat list: a tuple for each event would be one more thing for the garbage collector to go through, time
    and again, which takes a third of the time of reading.
    """

    @property
    def events(self) -> int:
        return len(self) // WIDTH

    def column(self, number: int) -> list[Any]:
        """One value of every event."""
        return self[number::WIDTH]


@dataclass(slots=True)
class Batch:
    """Consecutive events of one stream (-1: of several), columns of E rows."""

    time_ns: NDArray[np.int64]
    kind: NDArray[np.int32]
    tid: NDArray[np.int32]
    comm: NDArray[np.int32]
    args: pa.Array
    ret: pa.Array
    stream: int

    def __len__(self) -> int:
        return len(self.time_ns)

    def cut(self, begin: int, end: int) -> Batch:
        rows = slice(begin, end)
        return Batch(
            self.time_ns[rows],
            self.kind[rows],
            self.tid[rows],
            self.comm[rows],
            self.args[rows],
            self.ret[rows],
            self.stream,
        )


def joined(parts: list[Batch], order: NDArray[np.int64]) -> Batch:
    """The events of several batches, one behind the other, in the given order."""
    return Batch(
        np.concatenate([p.time_ns for p in parts])[order],
        np.concatenate([p.kind for p in parts])[order],
        np.concatenate([p.tid for p in parts])[order],
        np.concatenate([p.comm for p in parts])[order],
        pa.concat_arrays([p.args for p in parts]).take(order),
        pa.concat_arrays([p.ret for p in parts]).take(order),
        stream=-1,
    )


def merge(sources: list[Iterator[Batch]]) -> Iterator[list[Batch]]:
    """Pieces of all streams that follow each other in time, each a list of one batch a stream; of the same time, the
    streams in their order, however large their batches are.

    What is no later than the end of every stream's current batch is complete; so there is about one batch of each
    stream in memory.
    """
    heads: dict[int, Batch] = {}
    waiting = dict(enumerate(sources))
    while True:
        for i in list(waiting):
            if i not in heads:
                following = next(waiting[i], None)
                if following is None:
                    del waiting[i]
                else:
                    heads[i] = following
        if not heads:
            return
        until, last = min((int(h.time_ns[-1]), i) for i, h in heads.items())
        parts = []
        for i, head in sorted(heads.items()):
            # the last stream may have more events of that time, which go in front of those of the streams behind it
            at = int(np.searchsorted(head.time_ns, until, "right" if i <= last else "left"))
            if at:
                parts.append(head.cut(0, at))
                if at < len(head):
                    heads[i] = head.cut(at, len(head))
                else:
                    del heads[i]
        yield parts
