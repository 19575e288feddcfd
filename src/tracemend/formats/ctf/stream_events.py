"""The events of one stream, decoded packet by packet and given batch by batch."""

from __future__ import annotations

import mmap
from array import array
from bisect import insort
from collections import OrderedDict, deque
from collections.abc import Generator, Iterator
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.errors import TraceError
from tracemend.formats.base import Builder
from tracemend.formats.ctf.batches import WIDTH, Batch, Place, Rows
from tracemend.formats.ctf.decode import Env
from tracemend.formats.ctf.metadata import NS
from tracemend.formats.ctf.packet_table import Packet
from tracemend.formats.ctf.packets import DROPPED_AFTER, Lost, Stream, drop
from tracemend.formats.ctf.values import DAMAGED, complaint
from tracemend.formats.text import decode

if TYPE_CHECKING:
    from tracemend.formats.ctf.quick import Quick

#: Files mapped at a time.
MOST_MAPPED = 64
INT64 = range(-(1 << 63), 1 << 63)
#: At a lower frequency a second's cycles can be counted in nanoseconds within 64 bits.
MOST_HZ = 1 << 33


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


class Shared(NamedTuple):
    """What all streams' readers have in common; ``quick`` where it pays."""

    builder: Builder
    maps: Maps
    comms: Comms
    quick: Quick | None


class Events:
    """Decodes one stream, batch by batch, and knows how many events stand before the end of each of its packets.

    ``wanted``: the packets to decode, all if None; ``cuts`` then are the events in front of which others were not.
    ``lost``: what the tracer says that it lost, and what is lost because it can't be decoded, by their packets; whoever
    has placed one takes it out, since there may be very many.
    ``stored``: bytes of what was decoded.
    """

    def __init__(self, stream: Stream, index: int, most: int, shared: Shared) -> None:
        self.stream, self.index, self.most = stream, index, most
        self.builder, self.maps, self.comms, self.quick = shared
        self.wanted: set[int] | None = None
        self.held: dict[int, Rows] = {}  # rows of packets that were decoded ahead
        self.until = array("q")  # events up to and with each packet
        self.cuts: list[int] = []
        self.lost = deque(stream.trace.losses(stream))
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
                now = self.latest if packet.begin is None else packet.begin
                at: Place | None = Place(packet.body, now, self.latest)
                if at and self.quick is not None and not rows:
                    at = yield from self._quickly(self.quick, k, at)
                for _ in self._slowly(k, rows, at) if at else ():
                    if rows.events >= self.most:
                        yield self._batch(rows)
                        rows.clear()
            else:
                passed = True
            self.until.append(self.count + rows.events + (self.quick.rows if self.quick else 0))
        if self.quick is not None and self.quick.rows:
            yield self._quick_batch(self.quick)
        if rows:
            yield self._batch(rows)

    def _quickly(self, quick: Quick, k: int, at: Place) -> Generator[Batch, None, Place | None]:
        """Decode a packet by the compiled loop; returns where it is of no use any longer, None where all was read."""
        packet = self.stream.packets[k]
        source: tuple[bytes, Env] | None = None
        while (table := quick.table(self.stream.decoder, at)) is not None:
            why, at = quick.read(table, self.maps(packet.file), packet, at)
            self.latest = at.floor
            if why == "done":
                return None
            if why == "full" and quick.rows:
                yield self._quick_batch(quick)
                continue
            source = source or self._source(packet)
            rows = Rows()
            following, error = self._run(packet, source, at, rows, 1)
            if error is not None:
                self._damaged(k, at.bit, complaint(error))
                return None
            if not quick.put(table, rows):
                if not quick.rows:
                    break
                yield self._quick_batch(quick)
                continue
            at = following
        if quick.rows:
            yield self._quick_batch(quick)
        return at

    def _quick_batch(self, quick: Quick) -> Batch:
        batch = quick.take(self.index)
        batch.time_ns = self._time(batch.time_ns)
        self.count += len(batch)
        return batch

    def ahead(self, k: int) -> Rows:
        """The rows of packet ``k``, decoded out of turn."""
        packet, rows = self.stream.packets[k], Rows()
        for _ in self._packet(k, rows, Place(packet.body, packet.begin or 0, 0)):
            pass
        self.latest = 0
        return rows

    def _slowly(self, k: int, rows: Rows, at: Place) -> Iterator[None]:
        """Decode a packet, or take its rows if it was decoded ahead."""
        if k not in self.held:
            yield from self._packet(k, rows, at)
            return
        rows += self.held.pop(k)
        self.latest = rows[-WIDTH] if rows else self.latest
        yield

    def _packet(self, k: int, rows: Rows, at: Place) -> Iterator[None]:
        """Decode a packet from a place on in pieces, pausing after each of them."""
        packet = self.stream.packets[k]
        source = self._source(packet)
        while True:
            before = rows.events
            at, error = self._run(packet, source, at, rows, self.most)
            decoded = rows.events - before
            yield
            if error is not None:
                self._damaged(k, at.bit, complaint(error))
                return
            if decoded < self.most:
                return

    def _run(
        self, packet: Packet, source: tuple[bytes, Env], at: Place, rows: Rows, most: int
    ) -> tuple[Place, Exception | None]:
        """Decode so many events of a packet; returns where the next begins, and what is wrong there."""
        data, env = source
        bit, now, floor, error = self.stream.decoder.run(data, *at, packet.content, most, rows.extend, env)
        self.latest = floor
        return Place(bit, now, floor), error

    def _source(self, packet: Packet) -> tuple[bytes, Env]:
        """A packet's bytes, and the values of its header and context."""
        data = self.maps(packet.file)[packet.at : packet.at + (packet.content + 7 >> 3)]
        env: Env = {}
        try:
            self.stream.trace.head(data, env)
        except DAMAGED:
            raise TraceError(packet.file, 0, f"byte {packet.at}: the file changed while it was read") from None
        return data, env

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

    def _time(self, now: list[int] | NDArray[np.int64]) -> NDArray[np.int64]:
        """Values of the stream's clock as nanoseconds, exactly; raises TraceError beyond 64 bits."""
        if not self.stream.decoder.timed:
            return np.arange(self.count, self.count + len(now), dtype=np.int64)
        clock = self.stream.clock
        begin, end = int(now[0]), int(now[-1])
        first, last = clock.ns(begin), clock.ns(end)  # they never go backwards
        if first not in INT64 or last not in INT64:
            raise TraceError(self.stream.file, 0, "the time is beyond what 64 bits of nanoseconds hold")
        if clock.frequency == NS and end in INT64:
            return np.asarray(now, np.int64) - begin + first
        counted = clock.offset + begin, clock.offset + end, end, first - NS
        if clock.frequency < MOST_HZ and all(v in INT64 for v in counted):
            seconds, rest = np.divmod(np.asarray(now, np.int64) + clock.offset, clock.frequency)
            times: NDArray[np.int64] = (seconds - seconds[0]) * NS + rest * NS // clock.frequency
            times += first - times[0]
            return times
        return np.array([clock.ns(int(v)) for v in now], np.int64)


def _tids(tid: list[int]) -> NDArray[np.int32]:
    """Threads; -1 for a number that no thread can have."""
    try:
        wide = np.array(tid, np.int64)
    except OverflowError:
        wide = np.array(tid, object)
    return np.where((wide >= -1) & (wide < 1 << 31), wide, -1).astype(np.int32)
