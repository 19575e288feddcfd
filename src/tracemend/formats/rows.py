"""Events that a reader finds line by line, put into the order of their times where the text has them in another.

A tracer that prints a call when it has ended, or one buffer after the other, prints times that run back and forth. A
loss stands before an event in the text and stays before that event.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa

from tracemend.formats.base import Builder
from tracemend.formats.text import Bools, Ints, as_strings, chunks
from tracemend.trace.events import Mark

#: Time, cpu, thread, command's code (-1: none), name's code, phase, arguments, result, line.
Row = tuple[int, int, int, int, int, int, str | None, str | None, int]

DAY_NS = 86_400 * 1_000_000_000
#: The latest time that fits 64 bits, with room for another trace's worth behind it.
LATEST_NS = 1 << 62


def nanoseconds(seconds: bytes, power: int = 9) -> int:
    """A decimal number as nanoseconds, if one of it is 10 to the ``power`` of them; what lies below is cut off."""
    whole, _, fraction = seconds.partition(b".")
    return int(whole + fraction[:power].ljust(power, b"0"))


class DayClock:
    """Times of day (hh:mm:ss.f) as nanoseconds that go on over midnight."""

    def __init__(self) -> None:
        self.now = 0

    def read(self, hours: bytes, minutes: bytes, seconds: bytes) -> int:
        """The moment nearest to the last one that was read."""
        self.now = self.near(hours, minutes, seconds)
        return self.now

    def near(self, hours: bytes, minutes: bytes, seconds: bytes) -> int:
        """The moment nearest to the last one that was read, which stays that."""
        of_day = (int(hours) * 60 + int(minutes)) * 60_000_000_000 + nanoseconds(seconds)
        days = (self.now - of_day + DAY_NS // 2) // DAY_NS
        return min(of_day + max(0, days) * DAY_NS, LATEST_NS)


class Rows:
    """Events to come, in the order of the text. ``found`` are those since the last ``pack``."""

    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self.found: list[Row] = []
        self.packed: list[tuple[Ints, pa.Array, pa.Array]] = []
        self.before = 0

    def __len__(self) -> int:
        return self.before + len(self.found)

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """The lines of the builder's file that aren't empty, with their numbers; what was found is packed meanwhile."""
        for chunk, first in chunks(self.builder.path):
            self.builder.reading(chunk, first)
            for line, text in enumerate(chunk.split(b"\n"), first):
                if text:
                    yield line, text.rstrip(b"\r")
            self.pack()

    def pack(self) -> None:
        """Keep what was found as arrays, which take less room."""
        if not self.found:
            return
        *numbers, args, ret, line = zip(*self.found, strict=True)
        self.packed.append((np.array([*numbers, line], np.int64), _strings(args), _strings(ret)))
        self.before += len(self.found)
        self.found = []

    def numbers(self) -> Ints:
        """Time, cpu, thread, command, name, phase and line of all events (7, E), once packed."""
        self.pack()
        return np.concatenate([np.empty((7, 0), np.int64), *(part for part, _, _ in self.packed)], axis=1)

    def finish(self, numbers: Ints, marks: list[Mark]) -> None:
        """Give the builder all events (with these ``numbers``), and the marks, of which each ``row`` is one of ours."""
        order = _order(numbers[0], numbers[1])
        if order is not None:
            where = np.empty(len(order) + 1, np.int64)
            where[order], where[-1] = np.arange(len(order)), len(order)
            marks = [replace(m, row=int(where[m.row])) for m in marks]
        self.builder.marks += marks
        for rows, args, ret in self._parts(numbers, order):
            time_ns, cpu, tid, comm, name, phase, line = rows
            self.builder.add(
                time_ns=time_ns,
                cpu=cpu.astype(np.int32),
                tid=tid.astype(np.int32),
                comm=comm.astype(np.int32),
                name=name.astype(np.int32),
                phase=phase.astype(np.int8),
                args=args,
                ret=ret,
                line=line,
            )

    def _parts(self, numbers: Ints, order: Ints | None) -> Iterator[tuple[Ints, pa.Array, pa.Array]]:
        if order is not None:
            args, ret = (pa.chunked_array([p[i] for p in self.packed], pa.string()).take(order) for i in (1, 2))
            yield numbers[:, order], args.combine_chunks(), ret.combine_chunks()
            return
        first = 0
        for part, args, ret in self.packed:
            yield numbers[:, first : first + part.shape[1]], args, ret
            first += part.shape[1]


def _strings(values: tuple[str | None, ...]) -> pa.Array:
    try:
        return pa.array(values, pa.string())
    except UnicodeEncodeError:  # half of a pair of surrogates, as JSON can spell it
        return as_strings(pa.array([None if v is None else v.encode(errors="replace") for v in values], pa.binary()))


def _order(time_ns: Ints, cpu: Ints) -> Ints | None:
    """The order by time, None where no stream's times run backwards."""
    by_cpu = np.argsort(cpu, kind="stable")
    back: Bools = (np.diff(time_ns[by_cpu]) < 0) & (np.diff(cpu[by_cpu]) == 0)
    return np.argsort(time_ns, kind="stable") if back.any() else None
