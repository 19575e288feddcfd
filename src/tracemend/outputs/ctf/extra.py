"""The stream that holds a trace directory's inferred events: what the metadata says of it, and its packets.

Whatever the trace declares for all its streams (byte order, packet header, clock) this one keeps to; packet context,
event header and event context are its own. Decisions behind them:

* An event begins at a multiple of 64 bits, all in it at a multiple of 8, and its header and context have a fixed size,
  so the bytes of its fields are the same wherever it stands.
* A packet holds events of one cpu, so that ``cpu_id`` stands where readers look for it. It has no counters: what was
  lost is told by the stream that lost it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, groupby, islice
from typing import Any

import numpy as np
import pyarrow as pa

from tracemend.errors import OutputError
from tracemend.formats.ctf.decode import COMMS, TIDS
from tracemend.formats.ctf.metadata import INFERRED, NS, Clock
from tracemend.formats.ctf.names import shown_name
from tracemend.formats.ctf.packets import MAGIC, Packets, Stream
from tracemend.formats.ctf.types import Integer
from tracemend.outputs.ctf.kinds import Class, Spelling, Spelt
from tracemend.outputs.ctf.layout import Bits, Unfit, quoted
from tracemend.outputs.known import UNKNOWN, flat, known
from tracemend.trace.events import PHASES

#: The file of the stream.
NAME = "tracemend_inferred"
#: The context of an event that says how sure each of its inferred fields is.
FIELDS = "tracemend_fields"
#: Bits to whose multiples events, and packets' contexts, are aligned at least.
STEP = 64
#: Events of a packet, at most.
PACKET_EVENTS = 512
MOST_CYCLES = (1 << 64) - 1

_BYTE, _WORD, _LONG = (f"integer {{ size = {n}; align = 8; signed = false; }}" for n in (8, 32, 64))
_SIGNED = "integer { size = 32; align = 8; signed = true; }"
_FLOAT = "floating_point { exp_dig = 8; mant_dig = 24; align = 8; }"
_CHARACTER = "integer { size = 8; align = 8; signed = false; encoding = UTF8; }"


@dataclass(frozen=True, slots=True)
class Event:
    """An inferred event; ``time`` in cycles of the clock."""

    spelt: Spelt
    time: int
    stream: Stream
    gap: int
    tid: int
    comm: bytes
    confidence: float


def cycles(clock: Clock, time_ns: int) -> int:
    """The clock's first value that is no earlier than a time in nanoseconds.

    So an event between two of the clock's values, as ``Clock.ns`` rounds them, doesn't leave them.
    """
    value = -((clock.offset_s * NS - time_ns) * clock.frequency // NS) - clock.offset
    return min(max(value, 0), MOST_CYCLES)


class Extra:
    """The extra stream of one trace directory, for the events inferred of its ``lossy`` streams (by their numbers)."""

    def __init__(
        self, trace: Packets, lossy: Mapping[int, Stream], inferred: Callable[[], Iterator[pa.Table]], arch: str
    ) -> None:
        """``inferred``: gives the events in order of time, again and again. Raises OutputError where the trace has no
        room for another kind of stream."""
        self.inferred = inferred
        self.metadata = trace.metadata
        self.lossy = lossy
        self.clock = self._clock()
        self.id = self._unused_id()
        self.cpus = all(s.cpu >= 0 for s in lossy.values())
        self.spelling = {
            s.decoder.stream.id: Spelling(s.decoder.stream, arch, self.metadata.little) for s in lossy.values()
        }
        self.count, longest = 0, 0
        self.classes: dict[Class, int] = {}
        for some in self._own():
            self.count += some.num_rows
            longest = max([longest, *(len((c or UNKNOWN).encode()) for c in some["comm"].unique().to_pylist())])
            for event in self._events(self._differing(some)):
                self.classes.setdefault(event.spelt.event_class, len(self.classes))
        self.tid, self.comm = self._context_named(TIDS), self._context_named(COMMS)
        self.comm_size = 1 + longest
        comm = f"{self.comm_size}s" if self.comm else ""
        order = "<" if self.metadata.little else ">"
        self.head = struct.Struct(f"{order}IQBBfii{'i' if self.tid else ''}{comm}")
        self.context = struct.Struct(f"{order}QQQQ{'I' if self.cpus else ''}")

    def _clock(self) -> Clock:
        name = next((s.decoder.clock for s in self.lossy.values() if s.decoder.clock is not None), None)
        if name is None:
            raise OutputError(f"{self.metadata.path.parent}: its events have no clock; not merged")
        return self.metadata.clocks[name]

    def _unused_id(self) -> int:
        header = dict(self.metadata.packet_header.members) if self.metadata.packet_header else {}
        kind = header.get("stream_id") or header.get("_stream_id")
        used = self.metadata.streams
        most = 1 << (kind.size - kind.signed) if isinstance(kind, Integer) and self.metadata.numbered else 0
        found: int | None = next((i for i in (max(used) + 1, *range(len(used))) if i not in used and i < most), None)
        if found is None:
            folder = self.metadata.path.parent
            raise OutputError(f"{folder}: its streams have no ids that leave room for another kind; not merged")
        return found

    def _context_named(self, names: tuple[str, ...]) -> str | None:
        """The trace's own name of the context with one of these names; None if no lossy stream has one."""
        contexts = [s.decoder.stream.event_context for s in self.lossy.values()]
        contexts += [e.context for s in self.lossy.values() for e in s.decoder.stream.events.values()]
        found = {shown_name(name): name for c in contexts if c for name, _ in c.members}
        return next((found[name] for name in names if name in found), None)

    def _own(self) -> Iterator[pa.Table]:
        """The inferred events of these streams, in order of time."""
        for some in self.inferred():
            own = some.filter(pa.array(np.isin(some["cpu"].to_numpy(), list(self.lossy))))
            if own.num_rows:
                yield own

    def _differing(self, events: pa.Table) -> pa.Table:
        """Of events of which nothing is known the first one of each name, phase and stream, and all others."""
        columns = [events[c].combine_chunks() for c in ("name", "phase")]
        name, phase = (np.asarray(c.indices, np.int64) for c in columns)
        some = np.diff(flat(events).starts) > 0
        of_one = np.where(some, np.arange(len(some)), -1)
        _, first = np.unique(np.stack([name, phase, events["cpu"].to_numpy(), of_one]), axis=1, return_index=True)
        return events.take(pa.array(np.sort(first)))

    def _events(self, inferred: pa.Table) -> Iterator[Event]:
        columns = (inferred[c].to_pylist() for c in ("name", "phase", "time_ns", "cpu", "gap", "tid"))
        comms = ((comm or UNKNOWN).encode() for comm in inferred["comm"].to_pylist())
        sure = np.round(inferred["confidence"].to_numpy().astype(np.float64), 4).tolist()
        rows = zip(*columns, comms, sure, known(inferred), strict=True)
        for name, phase, time, number, gap, tid, comm, confidence, fields in rows:
            stream = self.lossy[number]
            spelling = self.spelling[stream.decoder.stream.id]
            spelt = spelling.spelt(name, PHASES.index(phase), tid, fields)
            yield Event(spelt, cycles(self.clock, time), stream, gap, tid, comm, confidence)

    # the metadata

    def tsdl(self, env: Mapping[str, str | int]) -> str:
        """What the metadata says of the stream, and ``env`` of how it was made."""
        lines = ["env {", *(f"\t{k} = {v if isinstance(v, int) else quoted(v)};" for k, v in env.items()), "};"]
        lines += ["stream {", f"\tid = {self.id};"]
        for name, fields, align in self._structures():
            lines += [f"\t{name} := struct {{", *(f"\t\t{f};" for f in fields), f"\t}} align({align});"]
        lines.append("};")
        for event, i in self.classes.items():
            lines += ["event {", f"\tname = {quoted(event.kind.name)};", f"\tid = {i};", f"\tstream_id = {self.id};"]
            sure, fields = event.tsdl(self.metadata.little)
            if sure:
                lines.append(f"\tcontext := struct {{ struct {{ {'; '.join(sure)}; }} align(8) {FIELDS}; }} align(8);")
            if fields:
                lines.append(f"\tfields := struct {{ {'; '.join(fields)}; }} align(8);")
            lines.append("};")
        return "\n".join(lines) + "\n"

    def _structures(self) -> Iterator[tuple[str, list[str], int]]:
        stamp = f"integer {{ size = 64; align = 8; signed = false; map = clock.{self.clock.name}.value; }}"
        packet = [f"{stamp} timestamp_begin", f"{stamp} timestamp_end", f"{_LONG} content_size", f"{_LONG} packet_size"]
        yield "packet.context", packet + ([f"{_WORD} cpu_id"] if self.cpus else []), STEP
        yield "event.header", [f"{_WORD} id", f"{stamp} timestamp"], STEP
        streams = ", ".join(f"{quoted(s.file.name)} = {n}" for n, s in self.lossy.items())
        context = [
            f"{_BYTE} {INFERRED}",
            f"{_BYTE} tracemend_fields_inferred",
            f"{_FLOAT} tracemend_confidence",
            f"{_SIGNED} tracemend_gap",
            f"enum : {_SIGNED} {{ {streams} }} tracemend_of_stream",
        ]
        context += [f"{_SIGNED} {self.tid}"] if self.tid else []
        context += [f"{_CHARACTER} {self.comm}[{self.comm_size}]"] if self.comm else []
        yield "event.context", context, 8

    # the packets

    def packets(self) -> Iterator[bytes]:
        """The stream file's bytes."""
        header = self._packet_header()
        events = chain.from_iterable(map(self._events, self._own()))
        for _, same in groupby(events, key=lambda e: e.stream.cpu):
            while some := list(islice(same, PACKET_EVENTS)):
                yield self._packet(header, some)

    def _packet_header(self) -> bytes:
        bits = Bits()
        given: dict[str, int | bytes] = {"magic": MAGIC, "uuid": self.metadata.uuid or bytes(16), "stream_id": self.id}
        try:
            assert self.metadata.packet_header is not None  # there is a stream_id in it
            bits.fields(self.metadata.packet_header, given)
        except Unfit as e:
            raise OutputError(f"{self.metadata.path}: a packet header that depends on {e}; not merged") from None
        bits.align(STEP)
        return bits.data

    def _packet(self, header: bytes, events: list[Event]) -> bytes:
        data = bytearray(len(header) + self.context.size)
        content = 0
        order = "<" if self.metadata.little else ">"
        for e in events:
            data.extend(bytes(-len(data) % (STEP >> 3)))
            data += self.head.pack(*self._head(e))
            data += struct.pack(f"{order}{len(e.spelt.confidence)}f", *e.spelt.confidence)
            data += e.spelt.fields
            content = len(data) * 8
        data.extend(bytes(-len(data) % (STEP >> 3)))
        cpu = [events[0].stream.cpu] if self.cpus else []
        context = self.context.pack(events[0].time, events[-1].time, content, len(data) * 8, *cpu)
        data[: len(header) + len(context)] = header + context
        return bytes(data)

    def _head(self, e: Event) -> list[Any]:
        whose: list[Any] = ([e.tid] if self.tid else []) + ([e.comm] if self.comm else [])
        told = min(len(e.spelt.confidence), 255)
        event_class = self.classes[e.spelt.event_class]
        return [event_class, e.time, 1, told, e.confidence, e.gap, e.stream.number, *whose]
