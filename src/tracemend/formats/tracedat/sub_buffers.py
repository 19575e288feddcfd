"""The sub-buffers of one cpu out of a ``trace.dat``, some at a time, unpacked where they are compressed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from tracemend.formats.tracedat.compression import unpack
from tracemend.formats.tracedat.cursor import Cursor, DamageError
from tracemend.formats.tracedat.described import Buffer, Cpu, Described

#: Unpacked chunks of sub-buffers have no more bytes (trace-cmd makes them of 4 pages).
MOST_CHUNK = 1 << 26
#: Sub-buffers that are not compressed are read so many bytes at a time.
PIECE = 1 << 23


def pieces(file: IO[bytes], end: int, found: Described, buffer: Buffer, cpu: Cpu) -> Iterator[tuple[int, bytes, bool]]:
    """One cpu's sub-buffers, some at a time: (byte of the file, sub-buffers, whether the bytes are those of the file).

    Raises DamageError where the file ends before they do, once what is there was given.
    """
    # what trace-cmd says is the size of compressed data doesn't count all of its own words
    limit = end if buffer.compressed else min(end, cpu.offset + cpu.size)
    cursor = Cursor(file, limit, found.order, cpu.offset)
    if not buffer.compressed:
        step = max(PIECE // buffer.page_size, 1) * buffer.page_size
        while cursor.at < cursor.end:
            at = cursor.at
            yield at, cursor.take(min(step, cursor.end - at), "sub-buffers"), True
        if cursor.at < cpu.offset + cpu.size:
            short = cpu.offset + cpu.size - max(cursor.at, cpu.offset)
            raise DamageError(
                min(cursor.at, end), f"the file ends {short} bytes before the data of cpu {cpu.number} do"
            )
        return
    for _ in range(cursor.number(4, "the number of chunks")):
        at = cursor.at
        packed, unpacked = cursor.number(4, "a packed size"), cursor.number(4, "an unpacked size")
        if unpacked > MOST_CHUNK:
            raise DamageError(at, f"a chunk of {unpacked} bytes can't be true")
        yield at, unpack(found.compression, cursor.take(packed, "a packed chunk"), unpacked, at), False
