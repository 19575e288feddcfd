"""The compiled loops that large texts share: eight bytes at a time, and words as codes.

No index leaves its array: positions lie within a chunk, and behind it are 64 bytes more (``Lines.data``), so that eight
bytes can be loaded from wherever one can. They are never below 0 and are taken as unsigned numbers, which spares
numba's look for those that are.

Axis legend: D bytes of a chunk with what is behind it, N lines, K spans.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.compiled import inlined, lean
from tracemend.formats.text import Bools, Bytes, Ints, scratch

Codes = NDArray[np.int32]

_MIX = np.uint64(0x9E3779B97F4A7C15)
_LOW, _HIGH = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
_INDEX = np.uint64(0x0001020304050607)
_NEWLINE = np.uint64(10) * _LOW
#: So many places of a table are looked at for a word: one made to collide gets another code, and costs no more time.
_PROBES = 16


@inlined
def byte_at(data: Bytes, at: int) -> int:
    """One byte, as a number with a sign."""
    return np.int64(data[np.uint64(at)])  # type: ignore[return-value]  # a number to numba


@inlined
def eight_at(data: Bytes, at: int) -> np.uint64:
    """Eight bytes as one number, the first one lowest."""
    first = np.uint64(at)
    value = np.uint64(0)
    for k in range(8):
        value |= np.uint64(data[first + np.uint64(k)]) << np.uint64(8 * k)
    return value


@inlined
def zeros(value: np.uint64) -> np.uint64:
    """A number of which the lowest bit that is set is in the first of eight bytes that is 0; 0 if none is."""
    return (value - _LOW) & ~value & _HIGH


@inlined
def first_of(hits: np.uint64) -> int:
    """Which of eight bytes has the lowest bit that ``zeros`` set."""
    lowest = (hits & (~hits + np.uint64(1))) >> np.uint64(7)
    return np.int64((lowest * _INDEX) >> np.uint64(56))  # type: ignore[return-value]


@inlined
def find(data: Bytes, at: int, end: int, wanted: np.uint64) -> int:
    """Where the byte that ``wanted`` is eight times comes first; ``end`` if it doesn't before that."""
    while at < end:
        hits = zeros(eight_at(data, at) ^ wanted)
        if hits:
            return min(at + first_of(hits), end)
        at += 8
    return end


@inlined
def _last_at(data: Bytes, at: int, end: int) -> np.uint64:
    """The bytes from ``at`` to ``end``, fewer than eight, as one number."""
    return eight_at(data, at) & ((np.uint64(1) << np.uint64(8 * (end - at))) - np.uint64(1))


@inlined
def same(data: Bytes, a: int, b: int, length: int) -> bool:
    """Whether the bytes at two places are the same."""
    end = a + length
    while end - a >= 8:
        if eight_at(data, a) != eight_at(data, b):
            return False
        a += 8
        b += 8
    return bool(_last_at(data, a, end) == _last_at(data, b, b + end - a))


class Table(NamedTuple):
    """Distinct words, and their codes in order of first sight.

    ``codes`` has codes + 1 by hash, 0 where there is none, in a power of two of places. ``seen`` (3, at least one more
    than there are codes): begin and length of each code's bytes, and how many codes there are in the last row's first
    place.
    """

    codes: Codes
    seen: Ints

    def words(self, raw: bytes) -> list[bytes]:
        """Each code's word; one may have several codes."""
        begin, length = self.seen[:2, : int(self.seen[2, 0])].tolist()
        return [raw[b : b + n] for b, n in zip(begin, length, strict=True)]


def table_of(name: str, n: int) -> Table:
    """An empty table for the words of ``n`` places, in this thread's scratch of that name."""
    codes = scratch(f"{name} codes", (1 << (2 * n + 64).bit_length(),), np.int32)
    seen = scratch(f"{name} seen", (3, n + 1), np.int64)
    codes[:] = 0
    seen[2, 0] = 0
    return Table(codes, seen)


@inlined
def code_of(data: Bytes, begin: int, end: int, table: Table) -> int:
    """The code of the bytes from ``begin`` to ``end``, which may be a new one.

    table: with room for one more.
    """
    codes, seen = table
    mixed = np.uint64(end - begin)
    at = begin
    while end - at >= 8:
        mixed = (mixed ^ eight_at(data, at)) * _MIX
        at += 8
    mixed = (mixed ^ _last_at(data, at, end)) * _MIX
    mixed ^= mixed >> np.uint64(32)
    last = np.uint64(len(codes) - 1)
    place = mixed & last
    for _ in range(_PROBES):
        code = np.int64(codes[place]) - 1
        if code < 0:
            break
        if seen[1, code] == end - begin and same(data, seen[0, code], begin, end - begin):
            return code  # type: ignore[return-value]
        place = (place + np.uint64(1)) & last
    code = np.int64(seen[2, 0])
    seen[0, code] = begin
    seen[1, code] = end - begin
    seen[2, 0] = code + 1
    codes[place] = code + 1
    return code  # type: ignore[return-value]


@lean
def count(data: Bytes, byte: int) -> int:
    """How often a byte occurs."""
    n = 0
    for i in range(len(data)):
        n += data[i] == byte
    return n


@lean
def cut_lines(data: Bytes, size: int, spans: Ints) -> None:
    """Begin and end (2, N) of all lines of the first ``size`` bytes, without line ends, which the last may lack."""
    at = 0
    for i in range(spans.shape[1]):
        spans[0, i] = at
        end = find(data, at, size, _NEWLINE)
        spans[1, i] = end - (end > at and byte_at(data, end - 1) == 13)
        at = min(end + 1, size)


@lean
def gather(data: Bytes, spans: Codes, wanted: Bools, offsets: Codes, valid: Bytes, gathered: Bytes) -> None:
    """Copy the bytes of the wanted spans (2, K) behind one another.

    offsets (K + 1,), valid (a bit a span, all 0) and gathered (as long as all spans together): an Arrow array's parts.
    """
    to = np.int64(0)
    for i in range(len(wanted)):
        if wanted[i]:
            valid[np.uint64(i >> 3)] |= np.uint8(1 << (i & 7))
            begin, length = np.int64(spans[0, i]), np.int64(spans[1, i] - spans[0, i])
            for k in range(length):
                gathered[np.uint64(to + k)] = data[np.uint64(begin + k)]
            to += length
        offsets[i + 1] = to


def gathered(data: Bytes, spans: Codes, wanted: Bools, total: int) -> pa.Array:
    """The spans (2, K) as Arrow binary, null where not wanted. total: the bytes of all that are."""
    n = len(wanted)
    offsets, valid, copied = np.zeros(n + 1, np.int32), np.zeros((n + 7) // 8, np.uint8), np.empty(total, np.uint8)
    gather(data, spans, wanted, offsets, valid, copied)
    return pa.Array.from_buffers(pa.binary(), n, [pa.py_buffer(b) for b in (valid, offsets, copied)])
