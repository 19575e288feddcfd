"""Lines of text as columns: the scanning that all line formats share.

A chunk of the file is one array of bytes. Each field of all its lines is found at once by array operations, which is
what makes reading fast; lines that don't have the usual form are handed back, to be read one by one.

Axis legend: D bytes of a chunk, N lines of it.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.errors import TraceError

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

CHUNK = 1 << 19
LONGEST_LINE = 1 << 20
_PAD = 64  # zero bytes behind a chunk, so that look-ahead never leaves the array


def open_binary(path: Path) -> IO[bytes]:
    """Open a file for reading; gzip, bzip2 and xz are seen by their magic numbers and unpacked on the way."""
    with open(path, "rb") as f:
        magic = f.read(6)
    if magic.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.open(path, "rb"))
    if magic.startswith(b"BZh"):
        return bz2.open(path, "rb")
    if magic.startswith(b"\xfd7zXZ\x00"):
        return lzma.open(path, "rb")
    return open(path, "rb")


def chunks(path: Path, size: int = CHUNK) -> Iterator[tuple[bytes, int]]:
    """The file in pieces of about ``size`` bytes that end at a line's end, each with the number of its first line.

    Raises TraceError on a line longer than 1 MiB (a binary file, most likely) and on a broken compressed file.
    """
    line = 1
    rest = b""
    with open_binary(path) as f:
        while True:
            try:
                block = f.read(size)
            except (EOFError, OSError, lzma.LZMAError) as e:
                raise TraceError(path, line, f"can't read on: {e}") from e
            if not block:
                break
            cut = block.rfind(b"\n") + 1
            if not cut:
                rest += block
                if len(rest) > LONGEST_LINE:
                    raise TraceError(path, line, "a line of more than 1 MiB: this is no text trace")
                continue
            piece, rest = rest + block[:cut], block[cut:]
            yield piece, line
            line += piece.count(b"\n")
    if rest:
        yield rest, line


class Lines:
    """A chunk of text, cut into lines.

    ``data`` (D + padding,) bytes; ``start``, ``end`` (N,) each line's span without its line end.
    """

    def __init__(self, chunk: bytes, first: int) -> None:
        self.raw = chunk
        size = len(chunk)
        data = np.zeros(size + _PAD, np.uint8)
        data[:size] = np.frombuffer(chunk, np.uint8)
        self.data: Bytes = data
        newline = np.flatnonzero(data[:size] == 10)
        if size and data[size - 1] != 10:
            newline = np.append(newline, size)
        self.end: Ints = newline
        self.start: Ints = np.concatenate([[0], newline[:-1] + 1]) if len(newline) else newline
        self.first = first
        carriage = (self.end > self.start) & (data[self.end - 1] == 13)
        if carriage.any():
            self.end = self.end - carriage

    def __len__(self) -> int:
        return len(self.start)

    def text(self, i: int) -> bytes:
        return self.raw[int(self.start[i]) : int(self.end[i])]

    def find(self, byte: int) -> Ints:
        """All places of a byte, in order."""
        return np.flatnonzero(self.data[: len(self.raw)] == byte)


def first_at(places: Ints, at: Ints, otherwise: int) -> Ints:
    """For each entry of ``at`` (N,) the first of the sorted ``places`` not before it, else ``otherwise``."""
    if not len(places):
        return np.full(len(at), otherwise, np.int64)
    i = np.searchsorted(places, at)
    return np.where(i < len(places), places[np.minimum(i, len(places) - 1)], otherwise)


def skip(data: Bytes, at: Ints, byte: int, most: int = 64, step: int = 1) -> Ints:
    """Move each position of ``at`` (N,) over a run of ``byte``, at most ``most`` times, forwards or backwards."""
    at = at.copy()
    for _ in range(most):
        same = data[at] == byte
        if not same.any():
            break
        at += step * same
    return at


def digits_before(data: Bytes, end: Ints, most: int = 19) -> tuple[Ints, Ints]:
    """The decimal number that ends just before each position ``end`` (N,), and where it starts (start == end: none)."""
    value = np.zeros(len(end), np.int64)
    start = end.copy()
    alive = np.ones(len(end), bool)
    scale = 1
    for k in range(1, most + 1):
        digit = data[np.maximum(end - k, 0)].astype(np.int64) - 48
        alive &= (digit >= 0) & (digit <= 9) & (end >= k)
        if not alive.any():
            break
        value += np.where(alive, digit, 0) * scale
        start -= alive
        if k < most:
            scale *= 10
    return value, start


def digits_at(data: Bytes, start: Ints, most: int = 19) -> tuple[Ints, Ints]:
    """The decimal number that starts at each position ``start`` (N,), and where it ends (end == start: none)."""
    value = np.zeros(len(start), np.int64)
    end = start.copy()
    alive = np.ones(len(start), bool)
    for _ in range(most):
        digit = data[end].astype(np.int64) - 48
        alive &= (digit >= 0) & (digit <= 9)
        if not alive.any():
            break
        value = np.where(alive, value * 10 + digit, value)
        end += alive
    return value, end


def substrings(data: Bytes, start: Ints, end: Ints, valid: Bools | None = None) -> pa.Array:
    """The spans [start, end) (N,) as Arrow strings; rows not ``valid`` are null. Spans must not overlap.

    Bytes that are no UTF-8 are kept as Latin-1 characters.
    """
    if valid is not None:
        start, end = np.where(valid, start, 0), np.where(valid, end, 0)
    length = np.maximum(end - start, 0)
    offsets = np.zeros(len(start) + 1, np.int64)
    np.cumsum(length, out=offsets[1:])
    edge = np.zeros(len(data) + 1, np.int8)
    some = length > 0
    edge[start[some]] += 1  # no two spans share a start, nor an end
    edge[end[some]] -= 1
    picked = data[np.cumsum(edge[:-1], dtype=np.int8).view(bool)]
    ascii_only = not (picked & 0x80).any()
    nulls = None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little").tobytes())
    if ascii_only:
        buffers = [nulls, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(picked)]
        return pa.Array.from_buffers(pa.string(), len(start), buffers)
    values = [bytes(picked[a:b]) for a, b in zip(offsets[:-1], offsets[1:], strict=True)]
    texts = [decode(v) for v in values]
    return pa.array([t if valid is None or valid[i] else None for i, t in enumerate(texts)], pa.string())


def decode(raw: bytes) -> str:
    """UTF-8, or Latin-1 where it isn't: no byte is ever lost and nothing raises."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
