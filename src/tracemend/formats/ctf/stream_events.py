"""The events of one stream, decoded packet by packet and given batch by batch."""

from __future__ import annotations

import mmap
from bisect import insort
from collections import OrderedDict
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.errors import TraceError
from tracemend.formats.base import Builder
from tracemend.formats.ctf.batches import Batch
from tracemend.formats.ctf.decode import Env
from tracemend.formats.ctf.metadata import NS
from tracemend.formats.ctf.packets import DROPPED_AFTER, Lost, Stream, drop
from tracemend.formats.ctf.values import DAMAGED, complaint
from tracemend.formats.text import decode

#: Events decoded before they are merged; of each stream there are about as many in memory.
BATCH = 1 << 13
#: Values of an event in ``Rows``.
WIDTH = 6
#: Files mapped at a time.
MOST_MAPPED = 64
INT64 = range(-(1 << 63), 1 << 63)


class Maps:
    """Files in memory, the latest few of them."""

    def __init__(self) -> None:
        self.held: OrderedDict[Path, mmap.mmap] = OrderedDict()
        self.asked = 0

    def __call__(self, path: Path) -> mmap.mmap:
        self.asked += 1
        if self.asked % DROPPED_AFTER == 0:
            for held in self.held.values():
                drop(held)
        if path in self.held:
            self.held.move_to_end(path)
            return self.held[path]
        if len(self.held) >= MOST_MAPPED:
            self.held.popitem(last=False)[1].close()
        with open(path, "rb") as f:
            self.held[path] = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
        return self.held[path]

    def close(self) -> None:
        for held in self.held.values():
            held.close()


class Comms(dict[bytes | None, int]):
    """Commands as bytes (up to a zero, if there is one) to the builder's codes; -1 for none."""

    def __init__(self, builder: Builder) -> None:
        super().__init__({None: -1})
        self.builder = builder

    def __missing__(self, raw: bytes | None) -> int:
        assert raw is not None  # it is there from the start
        self[raw] = code = self.builder.comms(decode(raw.partition(b"\0")[0]))
        return code


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


class Events:
    """Decodes one stream, batch by batch, and knows how many events stand before the end of each of its packets.

    ``wanted``: the packets to decode, all if None; ``cuts`` then are the events in front of which others were not.
    ``lost``: what the tracer says that it lost, and what is lost because it can't be decoded, by their packets.
    ``stored``: bytes of what was decoded.
    """

    def __init__(self, stream: Stream, index: int, builder: Builder, maps: Maps, comms: Comms) -> None:
        self.stream, self.index, self.builder = stream, index, builder
        self.maps, self.comms = maps, comms
        self.wanted: set[int] | None = None
        self.held: dict[int, Rows] = {}  # rows of packets that were decoded ahead
        self.until: list[int] = []  # events up to and with each packet
        self.cuts: list[int] = []
        self.lost: list[Lost] = stream.trace.losses(stream)
        self.stored = 0
        self.count = 0
        self.latest = 0  # the clock at the last event

    def batches(self) -> Iterator[Batch]:
        rows = Rows()
        passed = False
        for k, packet in enumerate(self.stream.packets):
            if self.wanted is None or k in self.wanted:
                if passed and (rows or self.count):
                    self.cuts.append(self.count + rows.events)
                passed = False
                self.stored += packet.content - packet.body >> 3
                for _ in self._ahead(k, rows) if k in self.held else self._packet(k, rows):
                    if rows.events >= BATCH:
                        yield self._batch(rows)
                        rows.clear()
            else:
                passed = True
            self.until.append(self.count + rows.events)
        if rows:
            yield self._batch(rows)

    def ahead(self, k: int) -> Rows:
        """The rows of packet ``k``, decoded out of turn."""
        rows = Rows()
        self.latest = 0
        for _ in self._packet(k, rows):
            pass
        self.latest = 0
        return rows

    def _ahead(self, k: int, rows: Rows) -> Iterator[None]:
        rows += self.held.pop(k)
        self.latest = rows[-WIDTH] if rows else self.latest
        yield

    def _packet(self, k: int, rows: Rows) -> Iterator[None]:
        """Decode a packet in pieces, pausing after each of them."""
        packet = self.stream.packets[k]
        data = self.maps(packet.file)[packet.at : packet.at + (packet.content + 7 >> 3)]
        env: Env = {}
        try:
            decoder, _, _, bit, _ = self.stream.trace.head(data, env)
        except DAMAGED:
            raise TraceError(packet.file, 0, f"byte {packet.at}: the file changed while it was read") from None
        now = self.latest if packet.begin is None else packet.begin
        while True:
            before = rows.events
            bit, now, self.latest, error = decoder.run(
                data, bit, packet.content, now, self.latest, BATCH, rows.extend, env
            )
            decoded = rows.events - before
            yield
            if error is not None:
                self._damaged(k, bit, complaint(error))
                return
            if decoded < BATCH:
                return

    def _damaged(self, k: int, bit: int, why: str) -> None:
        """An event of packet ``k`` can't be decoded, so what follows it there is lost. Told once: the packet may be
        decoded anew, or is known to be cut short."""
        packet = self.stream.packets[k]
        lost = Lost(k, None, None, packet.end, unread=True)
        if packet.cut or lost in self.lost:
            return
        self.builder.bad(0, f"byte {packet.at + (bit >> 3)}: an event is damaged: {why}", packet.file)
        insort(self.lost, lost, key=attrgetter("after"))

    def _batch(self, rows: Rows) -> Batch:
        now, kind, tid, comm, args, ret = map(rows.column, range(WIDTH))
        time = self._time(now)
        self.count += rows.events
        return Batch(
            time,
            np.array(kind, np.int32),
            _tids(tid),
            np.array(list(map(self.comms.__getitem__, comm)), np.int32),
            pa.array(args, pa.string()),
            pa.array(ret, pa.string()),
            self.index,
        )

    def _time(self, now: list[int]) -> NDArray[np.int64]:
        """Values of the stream's clock as nanoseconds, exactly; raises TraceError beyond 64 bits."""
        if not self.stream.decoder.timed:
            return np.arange(self.count, self.count + len(now), dtype=np.int64)
        clock = self.stream.clock
        first, last = clock.ns(now[0]), clock.ns(now[-1])  # they never go backwards
        if first not in INT64 or last not in INT64:
            raise TraceError(self.stream.file, 0, "the time is beyond what 64 bits of nanoseconds hold")
        if clock.frequency == NS and now[-1] in INT64:
            return np.array(now, np.int64) - now[0] + first
        return np.array([clock.ns(v) for v in now], np.int64)


def _tids(tid: list[int]) -> NDArray[np.int32]:
    """Threads; -1 for a number that no thread can have."""
    try:
        wide = np.array(tid, np.int64)
    except OverflowError:
        wide = np.array(tid, object)
    return np.where((wide >= -1) & (wide < 1 << 31), wide, -1).astype(np.int32)
