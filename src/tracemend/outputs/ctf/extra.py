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
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pyarrow as pa

from tracemend.errors import OutputError
from tracemend.formats.ctf.decode import COMMS, TIDS
from tracemend.formats.ctf.metadata import INFERRED, Clock
from tracemend.formats.ctf.names import shown_name
from tracemend.formats.ctf.packets import MAGIC, Packets, Stream
from tracemend.formats.ctf.types import Integer
from tracemend.outputs.ctf.kinds import Class
from tracemend.outputs.ctf.layout import Bits, Unfit, quoted
from tracemend.outputs.ctf.records import STEP, Layout, Records, Spellings
from tracemend.outputs.known import UNKNOWN

#: The file of the stream.
NAME = "tracemend_inferred"
#: The context of an event that says how sure each of its inferred fields is.
FIELDS = "tracemend_fields"
#: Events of a packet, at most.
PACKET_EVENTS = 512

_BYTE, _WORD, _LONG = (f"integer {{ size = {n}; align = 8; signed = false; }}" for n in (8, 32, 64))
_SIGNED = "integer { size = 32; align = 8; signed = true; }"
_FLOAT = "floating_point { exp_dig = 8; mant_dig = 24; align = 8; }"
_CHARACTER = "integer { size = 8; align = 8; signed = false; encoding = UTF8; }"


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
        self.spellings = Spellings(lossy, arch, self.metadata.little)
        self.count, longest = 0, 0
        self.classes: dict[Class, int] = {}
        for some in self._own():
            self.count += some.num_rows
            longest = max([longest, *(len((c or UNKNOWN).encode()) for c in some["comm"].unique().to_pylist())])
            for spelt in self.spellings(some)[0]:
                self.classes.setdefault(spelt.event_class, len(self.classes))
        self.tid, self.comm = self._context_named(TIDS), self._context_named(COMMS)
        self.comm_size = 1 + longest
        size = self.comm_size if self.comm else 0
        self.layout = Layout(self.metadata.little, self.tid is not None, size, self.classes)
        order = "<" if self.metadata.little else ">"
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
        yield "packet.context", packet + ([f"{_WORD} cpu_id"] if self.cpus else []), 8 * STEP
        yield "event.header", [f"{_WORD} id", f"{stamp} timestamp"], 8 * STEP
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
        packet = _Packet()
        for some in self._own():
            records = self.spellings.records(some, self.clock, self.layout)
            edges = np.flatnonzero(np.diff(records.cpu_N)) + 1
            for begin, end in pairwise([0, *edges.tolist(), len(records.cpu_N)]):
                at = begin
                while at < end:
                    if packet.events == PACKET_EVENTS or (packet.events and packet.cpu != records.cpu_N[at]):
                        yield self._packet(header, packet)
                        packet = _Packet()
                    at = packet.take(records, at, end)
        if packet.events:
            yield self._packet(header, packet)

    def _packet_header(self) -> bytes:
        bits = Bits()
        given: dict[str, int | bytes] = {"magic": MAGIC, "uuid": self.metadata.uuid or bytes(16), "stream_id": self.id}
        try:
            assert self.metadata.packet_header is not None  # there is a stream_id in it
            bits.fields(self.metadata.packet_header, given)
        except Unfit as e:
            raise OutputError(f"{self.metadata.path}: a packet header that depends on {e}; not merged") from None
        bits.align(8 * STEP)
        return bits.data

    def _packet(self, header: bytes, packet: _Packet) -> bytes:
        front = len(header) + self.context.size
        front += -front % STEP
        size = front + len(packet.data)
        bits = (size - packet.filled) * 8, size * 8
        context = self.context.pack(packet.first, packet.last, *bits, *([packet.cpu] if self.cpus else []))
        return (header + context).ljust(front, b"\0") + packet.data


@dataclass(slots=True)
class _Packet:
    """Events of a packet that is being filled: their bytes, of which the last so many fill up the last one; the first
    and the last one's time."""

    cpu: int = -1
    events: int = 0
    data: bytearray = field(default_factory=bytearray)
    first: int = 0
    last: int = 0
    filled: int = 0

    def take(self, records: Records, begin: int, end: int) -> int:
        """Take as many of some events of one cpu as there is room for; returns where the others begin."""
        end = min(end, begin + PACKET_EVENTS - self.events)
        if not self.events:
            self.cpu, self.first = int(records.cpu_N[begin]), int(records.time_N[begin])
        self.data += records.data[records.begin_N[begin] : records.begin_N[end]]
        self.events += end - begin
        self.last, self.filled = int(records.time_N[end - 1]), int(records.filled_N[end - 1])
        return end
