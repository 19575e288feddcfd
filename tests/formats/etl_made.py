"""Made-up event trace logs (``.etl``): written from the structures' documentation, with whatever a test needs."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, fields
from uuid import UUID

EPOCH = 116_444_736_000_000_000
#: The clock's value where the trace begins, its ticks a second, and that moment (100 ns since 1601): 1 October 2024.
ORIGIN, FREQUENCY, START = 5_000_000, 10_000_000, EPOCH + 1_727_740_800 * 10_000_000
START_NS = (START - EPOCH) * 100
SIZE = 1024
GUID = UUID("11111111-2222-3333-4444-555555555555")


def perfinfo(time: int, group: int, type: int, data: bytes = b"", wide: bool = True) -> bytes:
    kind = 0x11 if wide else 0x10
    return struct.pack("<HBBHBBq", 2, kind, 0xC0, 16 + len(data), type, group, time) + data


def system(time: int, group: int, type: int, data: bytes = b"", tid: int = 7, compact: bool = False) -> bytes:
    head, kind = (24, 4) if compact else (32, 2)
    raw = struct.pack("<HBBHBBIIq", 2, kind, 0xC0, head + len(data), type, group, tid, 1, time)
    return raw + bytes(head - 24) + data


def event(
    time: int, id: int, tid: int = 7, guid: UUID = GUID, channel: int = 0, items: list[tuple[int, bytes]] | None = None
) -> bytes:
    extended = b""
    for n, (kind, data) in enumerate(items or []):
        more = n + 1 < len(items or [])
        item = struct.pack("<HHHH", 0, kind, more, len(data)) + data
        extended += item + bytes(-len(item) % 8)
    head = struct.pack("<HBBHHIIq", 80 + len(extended), 0x13, 0xC0, bool(items), 0, tid, 1, time) + guid.bytes_le
    return head + struct.pack("<HBBBBHQ", id, 0, channel, 4, 0, 0, 0) + bytes(24) + extended


def classic(time: int, guid: UUID, type: int, tid: int = 7) -> bytes:
    return struct.pack("<HBBBBHIIq", 48, 0x14, 0xC0, type, 0, 0, tid, 1, time) + guid.bytes_le + bytes(8)


def instance(time: int, guid: UUID, type: int, tid: int = 7) -> bytes:
    return struct.pack("<HBBBBHIIq", 72, 0x15, 0xC0, type, 0, 0, tid, 1, time) + guid.bytes_le + bytes(32)


def message(time: int, number: int, guid: UUID = GUID, tid: int = 7) -> bytes:
    raw = struct.pack("<HH", number, 0x2 | 0x8 | 0x20) + guid.bytes_le + struct.pack("<qII", time, tid, 1)
    return struct.pack("<HBB", 4 + len(raw), 0, 0x90) + raw


def switch(time: int, new: int, old: int) -> bytes:
    return perfinfo(time, 5, 36, struct.pack("<II", new, old) + bytes(16))


@dataclass
class Log:
    """A log that is being made: every buffer is (cpu, records), numbered from 1."""

    processors: int = 2
    end: int = START + 10**9
    mode: int = 1
    pointer: int = 8
    written: int | None = None
    events_lost: int = 0
    buffers_lost: int = 0
    clock: int = 1
    origin: int = ORIGIN
    major: int = 10
    buffers: list[bytes] = field(default_factory=list)

    def add(
        self, cpu: int, *records: bytes, number: int | None = None, session: int = 3, flags: int = 0x20, full: int = 0
    ) -> None:
        """A buffer of some records; those without a ``number`` go on from the last one."""
        data = b"".join(r + bytes(-len(r) % 8) for r in records)
        number = len(self.buffers) + 1 if number is None else number
        head = struct.pack("<IIIi", SIZE, 72 + len(data), SIZE, 0) + struct.pack("<qqq", full or ORIGIN, number, 0)
        head += struct.pack("<HHIIHH", cpu, session, 3, 72 + len(data), flags, 0) + bytes(16)
        self.buffers.append((head + data).ljust(SIZE, b"\xff"))

    def header(self) -> bytes:
        data = struct.pack("<I4BIIq", SIZE, self.major, 0, 1, 5, 19041, self.processors, self.end)
        data += struct.pack("<8I", 156250, 0, self.mode, self.written or 0, 1, self.pointer, self.events_lost, 3000)
        data += bytes(2 * self.pointer + 172)
        data += bytes(-len(data) % 8) + struct.pack("<qqqII", 0, FREQUENCY, START, self.clock, self.buffers_lost)
        return system(self.origin, 0, 0, data)

    def bytes(self) -> bytes:
        whole = Log(**{f.name: getattr(self, f.name) for f in fields(self)} | {"buffers": []})
        whole.written = len(self.buffers) + 1 if self.written is None else self.written
        whole.add(0, whole.header(), system(self.origin, 0, 80), number=0)
        return b"".join([*whole.buffers, *self.buffers])
