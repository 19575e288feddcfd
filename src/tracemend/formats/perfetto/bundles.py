"""Bundles of ftrace events: what one cpu's buffer held, taken in one at a time and decoded many at a time.

A bundle gives its cpu, whether events were lost in front of it, and where the bundle before it ended. Its events lie in
it one by one; of sched_switch and sched_waking they may lie as columns instead ("compact"), times as differences,
commands as numbers into a table of the bundle, and without the thread that ran: the thread is the one that the switch
before brought in (``reader`` finds it).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tracemend.formats.base import Builder
from tracemend.formats.kernel import LATEST
from tracemend.formats.perfetto import schema
from tracemend.formats.perfetto.events import UNKNOWN, Batch, Columns, Told
from tracemend.formats.perfetto.packets import Packet
from tracemend.formats.perfetto.wire import LENGTH, PAD, WireError, message, number, raw, repeated, walk
from tracemend.formats.text import Ints, decode
from tracemend.trace.events import INSTANT

#: Bytes of bundles that are decoded at once.
BATCH = 1 << 23
#: No machine has more.
MOST_CPUS = 1 << 16
#: A bundle's field for an event.
EVENT = 0x12


@dataclass(slots=True)
class Bundle:
    """What a bundle says besides its events.

    ``source``: the sequence of packets that it belongs to, by its number. ``lost``: events in front of its first one.
    ``behind``: the time of the last event in front of it as the tracer saw it, 0 where it doesn't say. ``clock``: which
    one its times are of; ``ticks``, ``boot``: one moment by that clock and in boot time, where the bundle has that.
    ``errors``: times at which its events could not be had. ``damaged``: not all of it could be read here.
    """

    source: int
    cpu: int = 0
    lost: bool = False
    behind: int = 0
    clock: int = 0
    ticks: int = 0
    boot: int = 0
    errors: list[int] = field(default_factory=list)
    damaged: bool = False


@dataclass(slots=True)
class Bundles:
    """Collects bundles, and decodes their events."""

    builder: Builder
    all: list[Bundle] = field(default_factory=list)
    columns: list[Columns] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    kinds: dict[int, schema.Event] = field(default_factory=lambda: dict(schema.events()))
    _spans: list[int] = field(default_factory=list)  # begin, end, bundle of each event
    _packets: list[tuple[int, Packet]] = field(default_factory=list)  # each with the place that its bytes have
    _size: int = 0

    def add(self, packet: Packet, begin: int, end: int, source: int) -> None:
        """Take in the bundle packet.data[begin:end]. Raises WireError; what was in front of the damage is kept."""
        self.all.append(Bundle(source))
        self._packets.append((self._size, packet))
        compact: list[tuple[int, int]] = []
        try:
            self._take(packet.data, begin, end, compact)
            for b, e in compact:
                self._compact(packet.data[b:e], b)
        except WireError:
            self.all[-1].damaged = True
            raise
        finally:
            self._size += len(packet.data)

    def _take(self, data: bytes, at: int, end: int, compact: list[tuple[int, int]]) -> None:
        bundle, index, first, spans = self.all[-1], len(self.all) - 1, self._size, self._spans
        while at < end:
            if data[at] == EVENT and at + 1 < end and data[at + 1] < 0x80:  # nearly all there is
                begin = at + 2
                at = begin + data[at + 1]
                if at > end:
                    raise WireError(begin, "an event that goes beyond its bundle")
                spans += (first + begin, first + at, index)
                continue
            key, wire, value, at = next(walk(data, at, end))
            if wire == LENGTH:
                if key == 2:
                    spans += (first + value, first + at, index)
                elif key == 4:
                    compact.append((value, at))
                elif key == 8:
                    bundle.errors.append(min(number(message(data, value, at), 1), LATEST))
                elif key == 11:
                    about = message(data, value, at)
                    self.kinds[number(about, 1)] = schema.described(raw(about, 2))
            elif key == 1:
                if value >= MOST_CPUS:
                    raise WireError(at, f"a cpu {value} can't be")
                bundle.cpu = value
            elif key == 3:
                bundle.lost = bool(value)
            elif key == 5:
                bundle.clock = min(value, LATEST)
            elif key == 6:
                bundle.ticks = min(value, LATEST)
            elif key == 7:
                bundle.boot = min(value, LATEST)
            elif key in (9, 10):
                bundle.behind = min(value, LATEST) or bundle.behind

    def _compact(self, data: bytes, at: int) -> None:
        """Take in the compact events of the latest bundle. Raises WireError."""
        try:
            about = message(data)
            comms = [decode(c) for c in about.get(5, ()) if isinstance(c, bytes)]
            switch = [repeated(about, n) for n in (1, 2, 3, 4, 6)]
            waking = [repeated(about, n) for n in (7, 8, 9, 10, 11)]
        except WireError as e:
            raise WireError(at + e.at, e.message) from None
        texts = pa.array(comms, pa.string())
        for name, (delta, a, b, c, comm) in (("sched_switch", switch), ("sched_waking", waking)):
            if any(len(column) != len(delta) for column in (a, b, c, comm)):
                raise WireError(at, "compact events whose columns don't fit together")
            if not len(delta):
                continue
            if not 0 <= comm.min() <= comm.max() < len(comms):
                raise WireError(at, "a compact event with a command that isn't there")
            text, first, second, third = texts.take(pa.array(comm)), *(pa.array(x).cast(pa.string()) for x in (a, b, c))
            time, count, full = np.cumsum(delta), len(delta), partial(np.full, len(delta), dtype=np.int64)
            index, unknown = full(len(self.all) - 1), full(UNKNOWN)
            if name == "sched_switch":
                thread, brought_in = b, b
                words = ("prev_state=", first, " next_comm=", text, " next_pid=", second, " next_prio=", third)
            else:
                thread, brought_in = a, unknown
                words = ("comm=", text, " pid=", first, " prio=", third, " target_cpu=", second)
            codes = np.array([self.builder.comms(w) for w in comms], np.int64)[comm]
            self.told.append(Told(index, time, thread, codes))
            self.columns.append(
                Columns(
                    bundle=index,
                    time_ns=time,
                    tid=unknown,
                    name=full(self.builder.names(name)),
                    phase=full(INSTANT),
                    next=brought_in,
                    compact=np.ones(count, bool),
                    args=pc.binary_join_element_wise(*words, ""),
                    ret=pa.nulls(count, pa.string()),
                )
            )

    def decode(self, arch: str, least: int = BATCH) -> None:
        """Decode what was taken in since the last time, if it is so many bytes."""
        if self._size < least:
            return
        begin, end, bundle = np.array(self._spans, np.int64).reshape(-1, 3).T
        data = b"".join([*(p.data for _, p in self._packets), bytes(PAD)])
        columns, told, bad = Batch(data, begin, end, bundle, self.kinds, self.builder, arch).decode()
        starts: Ints = np.array([s for s, _ in self._packets], np.int64)
        for at, which in zip(bad, (np.searchsorted(starts, bad, "right") - 1).tolist(), strict=True):
            start, packet = self._packets[which]
            self.builder.bad(0, f"{packet.where(at - start)}: an event that can't be read")
        self.columns.append(columns)
        self.told += told
        self._spans.clear()
        self._packets.clear()
        self._size = 0
