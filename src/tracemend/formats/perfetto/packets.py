"""The packets of a trace, one after the other: the file is a message whose field 1, again and again, is a packet.

Packets may hold others in compressed form. They come out in the order of the file, so much of it read at once as the
largest packet takes.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pyarrow as pa

from tracemend.errors import TraceError
from tracemend.formats.base import Builder
from tracemend.formats.endings import BREAKS_OFF
from tracemend.formats.perfetto.wire import LENGTH, VARINT, WireError, varint, walk
from tracemend.formats.text import UNPACKING, open_binary

#: What every packet begins with: field 1, a length.
PACKET = 0x0A
DEFLATED, ZSTD = 50, 133
#: Fields of a packet that are whole numbers; every other one is text, bytes or a message.
NUMBERS = {3, 8, 10, 13, 41, 42, 58, 79, 87, 98}
#: Packets may come to have fields that no schema knew when this was written: none below this number.
KNOWN = 138
#: Perfetto's own packets are far smaller, packed or not: more than this is damage, or a file made up to fill memory.
MOST = 1 << 28
AT_ONCE = 1 << 20
#: So many of a file's first packets are looked at to know it.
LOOKED_AT = 32


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet: its bytes, and where it begins in the (unpacked) file. ``inside``: it lay within a compressed one."""

    data: bytes
    at: int
    inside: bool = False

    def where(self, offset: int = 0) -> str:
        return f"byte {self.at}: unpacked" if self.inside else f"byte {self.at + offset}"


def recognise(head: bytes) -> bool:
    """Whether the head is nothing but packets as Perfetto has them, the last one perhaps cut off."""
    at = seen = 0
    try:
        while at < len(head) and seen < LOOKED_AT and head[at] == PACKET:
            length, begin = varint(head, at + 1, len(head))
            at = begin + length
            for number, wire, _, _ in walk(head, begin, at):
                if number <= KNOWN and wire != (VARINT if number in NUMBERS else LENGTH):
                    return False
                seen += 1
    except (IndexError, WireError):
        return at > len(head) and seen > 0
    return seen > 0 and (at >= len(head) or head[at] == PACKET)


def packets(path: Path, builder: Builder) -> Iterator[Packet]:
    """All packets of the file, those in compressed ones too; damage goes to the builder. Raises TraceError."""
    with open_binary(path) as file:
        for packet in _split(file, path, builder):
            try:
                yield from _unpacked(packet)
            except WireError as e:
                builder.bad(0, f"{packet.where(e.at)}: {e.message}")


def _split(file: IO[bytes], path: Path, builder: Builder) -> Iterator[Packet]:
    """The packets as they lie in the file; what comes behind damage can't be found again."""
    data, at, first = b"", 0, 0  # ``first``: where ``data`` begins in the file
    while True:
        wanted = 1
        if at < len(data):
            try:
                wanted, begin = _header(data, at)
            except WireError as e:
                if len(data) - at > 20:
                    builder.bad(0, f"byte {first + at}: {e.message}, and so what follows can't be read")
                    return
                wanted = len(data) - at + 1
            else:
                if begin + wanted <= len(data):
                    yield Packet(data[begin : begin + wanted], first + begin)
                    at = begin + wanted
                    continue
                wanted += begin - at
        data, first = data[at:], first + at
        at = 0
        more = _read(file, max(AT_ONCE, wanted - len(data)), path, first + len(data))
        if not more:
            if data:
                builder.bad(0, f"byte {first}: the file ends within a packet")
                builder.doubts.append(BREAKS_OFF)
            return
        data += more


def _header(data: bytes, at: int) -> tuple[int, int]:
    """The length of the packet's bytes and where they begin. Raises WireError."""
    if data[at] != PACKET:
        raise WireError(at, "no packet begins here")
    length, begin = varint(data, at + 1, len(data))
    if length > MOST:
        raise WireError(at, f"a packet of {length} bytes can't be true")
    return length, begin


def _read(file: IO[bytes], size: int, path: Path, at: int) -> bytes:
    try:
        return file.read(size)
    except UNPACKING as e:
        raise TraceError(path, 0, f"byte {at}: can't read on: {e}") from e


def _unpacked(packet: Packet) -> Iterator[Packet]:
    """The packet itself, or those that lie in it. Raises WireError."""
    for number, wire, value, end in walk(packet.data, 0, len(packet.data)):
        if number in (DEFLATED, ZSTD) and wire == LENGTH and not packet.inside:
            data = _inflate(packet.data[value:end], number)
            at = 0
            while at < len(data):
                length, begin = _header(data, at)
                at = begin + length
                if at > len(data):
                    raise WireError(value, "unpacked, it ends within a packet")
                yield Packet(data[begin:at], packet.at, inside=True)
            return
    yield packet


def _inflate(data: bytes, how: int) -> bytes:
    """What is in a packet of compressed ones. Raises WireError."""
    try:
        if how == DEFLATED:
            unpacked = zlib.decompressobj().decompress(data, MOST + 1)
        else:
            unpacked = pa.CompressedInputStream(pa.BufferReader(data), "zstd").read(MOST + 1)
    except (OSError, ValueError, zlib.error, pa.ArrowException) as e:
        raise WireError(0, f"can't unpack it: {e}") from e
    if len(unpacked) > MOST:
        raise WireError(0, f"it unpacks to more than {MOST} bytes")
    return unpacked
