"""The buffers of an event trace log, and where the records in them begin.

A buffer is as large as the log's header says, and has a header of its own (WMI_BUFFER_HEADER). Its records lie one
behind the other, each at a multiple of 8 bytes.

A buffer's number counts the session's buffers in the order in which they were put to use, whatever their processor: in
the logs we have, the buffers of all processors in the order of their numbers begin one after the other in time, while
in the file they lie in the order in which they were full.

Axis legend: W words of the file (4 bytes), N records.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader, FileIO
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracemend.errors import TraceError
from tracemend.formats.etl import BUFFER_HEADER
from tracemend.formats.etl.header import KIB, MOST_BUFFER, Header
from tracemend.formats.text import UNPACKING, open_binary

Ints = NDArray[np.int64]
Words = NDArray[np.uint32]

#: Size, bytes filled, time it was full, number, processor, session, bytes filled (again), flags.
LAYOUT = struct.Struct("<II8xqq8xHH4xIH")
#: Flags of a buffer.
EVENTS_LOST, BUFFER_LOST, INDEXED, COMPRESSED = 0x2, 0x4, 0x20, 0x40

#: Kinds of records by their type, and the least bytes that one takes (0: not known).
SYSTEM, COMPACT, PERFINFO, EVENT, CLASSIC, INSTANCE = (
    (1, 2),
    (3, 4),
    (0x10, 0x11),
    (0x12, 0x13),
    (0x0A, 0x14),
    (0x0B, 0x15),
)
LEAST = np.zeros(256, np.int64)
for _kinds, _least in ((SYSTEM, 32), (COMPACT, 24), (PERFINFO, 16), (EVENT, 80), (CLASSIC, 48), (INSTANCE, 72)):
    LEAST[list(_kinds)] = _least
#: Those whose size stands in their second word.
PACKET = np.zeros(256, bool)
PACKET[[*SYSTEM, *COMPACT, *PERFINFO]] = True
#: The upper byte of a record's first word: a record of the tables above, or a message (WPP), whose head has 8 bytes.
TABLED, MESSAGE = 0xC0, 0x90
MESSAGE_HEAD = 8
#: The first word where a buffer's records end early.
END = 0xFFFFFFFF
LAST, DAMAGED = -1, -2


@dataclass(slots=True)
class Buffer:
    """A buffer in the file: its records lie from ``begin`` up to ``end`` (bytes). ``events``: their rows, when read."""

    begin: int
    end: int
    cpu: int
    session: int
    number: int
    flags: int
    full: int
    events: tuple[int, int] = (0, 0)


@contextmanager
def mapped(path: Path) -> Iterator[Words]:
    """The file's words, a compressed one's unpacked into a temporary file. Raises TraceError."""
    with open_binary(path) as f:
        if isinstance(f, BufferedReader) and isinstance(f.raw, FileIO):
            yield _map(f)
            return
        with TemporaryFile() as copy:
            try:
                copyfileobj(f, copy)
            except UNPACKING as e:
                raise TraceError(path, 0, f"can't unpack it: {e}") from e
            copy.flush()
            yield _map(copy)


def _map(file: Any) -> Words:
    return np.memmap(file, "<u4", "r", shape=(file.seek(0, 2) // 4,))


def buffers(words: Words, header: Header, bad: Callable[[int, str], None]) -> tuple[list[Buffer], int]:
    """All buffers in the order of the file, and the number of those that are damaged beyond that.

    ``bad`` is told of damage, by byte.
    """
    found, damaged, at, size = [], 0, 0, 4 * len(words)
    raw = words.view(np.uint8)
    while at < size:
        piece = raw[at : at + BUFFER_HEADER].tobytes()
        if len(piece) < BUFFER_HEADER:
            bad(at, "the file ends within the header of a buffer")
            damaged += 1
            break
        length, saved, full, number, cpu, session, filled, flags = LAYOUT.unpack_from(piece)
        if length != header.buffer_size and not _plausible(raw, at, length, header.buffer_size):
            if any(piece):  # space that was never written is zero
                bad(at, "a buffer whose header is damaged")
                damaged += 1
            at += header.buffer_size
            continue
        cpu = cpu if flags & INDEXED else cpu & 0xFF
        filled = saved or filled or BUFFER_HEADER
        if not BUFFER_HEADER <= filled <= length:
            bad(at, f"a buffer of {length} bytes that says it holds {filled}")
            filled = length
        found.append(Buffer(at + BUFFER_HEADER, at + filled, cpu, session, number, flags, full))
        at += length
    return found, damaged


def _plausible(raw: NDArray[np.uint8], at: int, length: int, usual: int) -> bool:
    """Whether a buffer that has another size than the log's header says is one: the next one begins behind it."""
    if not KIB <= length <= MOST_BUFFER or length % KIB:
        return False
    behind = raw[at + length : at + length + 8].tobytes()
    if len(behind) < 8:
        return at + length == len(raw)
    following, saved = struct.unpack("<II", behind)
    return following in (length, usual) and saved <= following


def walk(words: Words, among: list[Buffer]) -> tuple[Ints, list[int], dict[int, int]]:
    """Where the records of some buffers begin (N,), how many there are up to each one's end, and for each of those that
    are damaged the byte where they are."""
    parts: list[Ints] = []
    ends, count, faults, whole = [], 0, {}, 4 * len(words)
    for i, buffer in enumerate(among):
        following = _following(words[buffer.begin >> 2 : min(buffer.end + 7, whole) >> 3 << 1])
        at, found = 0, []
        while at < len(following) and following[at] > 0:
            found.append(at)
            at = following[at]
        if following[at] == DAMAGED if at < len(following) else buffer.end > whole:
            faults[i] = buffer.begin + 8 * at
        count += len(found)
        ends.append(count)
        parts.append(buffer.begin + 8 * np.array(found, np.int64))
    return np.concatenate(parts), ends, faults


def _following(words: Words) -> list[int]:
    """For each place (of 8 bytes) of a buffer where a record would begin that is one, the place behind it; else LAST
    or DAMAGED."""
    first, second = words[0::2], words[1::2]
    kind, upper = first >> 16 & 0xFF, first >> 24
    tabled = upper & TABLED == TABLED
    size = np.where(tabled & PACKET[kind], second, first).astype(np.int64) & 0xFFFF
    least = np.where(tabled, LEAST[kind], np.where(upper & 0xF0 == MESSAGE, MESSAGE_HEAD, 0))
    behind = np.arange(len(first)) + (size + 7 >> 3)
    behind[(least == 0) | (size < least) | (behind > len(first))] = DAMAGED
    behind[first == END] = LAST
    following: list[int] = behind.tolist()
    return following
