"""Lines of text as columns: the scanning that all line formats share.

A chunk of the file is one array of bytes. Each field of all its lines is found at once by array operations, which is
what makes reading fast.

Axis legend: D bytes of a chunk, N lines of it.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import math
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, TypeVar, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.errors import TraceError

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

Piece = TypeVar("Piece", bound=tuple[Any, ...])
Done = TypeVar("Done")

#: A text is read in pieces of about this size: large ones from where much was read, or is to be.
CHUNK, LARGE = 1 << 19, 1 << 20
#: Reading so many bytes without compiled loops takes longer than getting those ready.
MUCH = 3 << 24
LONGEST_LINE = 1 << 20
#: A file may begin with the rest of a line that was cut off: so many lines are looked at for the first event.
LOOKED_AT = 50
_PAD = 64  # zero bytes behind a chunk, so that look-ahead never leaves the array

#: How packed files begin.
GZIP, BZIP2, XZ, ZSTD, PZSTD = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18"
PACKED = (GZIP, BZIP2, XZ, ZSTD, PZSTD)
#: What unpacking a damaged file raises.
UNPACKING = (EOFError, OSError, lzma.LZMAError, zlib.error)


def open_binary(path: Path) -> IO[bytes]:
    """Open a file for reading; gzip, bzip2, xz and zstd are seen by their magic numbers and unpacked on the way."""
    with open(path, "rb") as f:
        magic = f.read(6)
    if magic.startswith(GZIP):
        return cast(IO[bytes], gzip.open(path, "rb"))
    if magic.startswith(BZIP2):
        return bz2.open(path, "rb")
    if magic.startswith(XZ):
        return lzma.open(path, "rb")
    if magic.startswith((ZSTD, PZSTD)):
        # takes the memory of a frame's window, which pyarrow bounds at 128 MiB
        return cast(IO[bytes], io.BufferedReader(pa.input_stream(str(path), compression="zstd"), CHUNK))
    return open(path, "rb")


def read_head(path: Path, size: int = 1 << 16) -> bytes:
    """The file's first bytes, unpacked; raises TraceError where it is packed and damaged."""
    try:
        with open_binary(path) as f:
            return f.read(size)
    except UNPACKING as e:
        raise TraceError(path, 0, f"can't read it: {e}") from e


def chunks(path: Path, effort: int = 1) -> Iterator[tuple[bytes, int]]:
    """The file in pieces that end at a line's end, each with the number of its first line.

    effort: how many times longer than usual reading takes without compiled loops.
    Raises TraceError on a line longer than 1 MiB (a binary file, most likely) and on a broken compressed file.
    """
    known = path.stat().st_size

    def read() -> bytes:
        nonlocal known
        block = f.read(CHUNK if effort * known < MUCH else LARGE)
        known += len(block)
        return block

    with open_binary(path) as f:
        yield from pieces(read, path)


def pieces(read: Callable[[], bytes], path: Path) -> Iterator[tuple[bytes, int]]:
    """What ``read`` gives, until that is nothing, cut at the ends of lines; raises TraceError as ``chunks`` does."""
    line = 1
    rest = b""
    while True:
        try:
            block = read()
        except UNPACKING as e:
            raise TraceError(path, line, f"can't read on: {e}") from e
        if not block:
            break
        cut = block.rfind(b"\n") + 1
        if len(rest) + (block.find(b"\n") if cut else len(block)) > LONGEST_LINE:
            raise TraceError(path, line, "a line of more than 1 MiB: this is no text trace")
        if not cut:
            rest += block
            continue
        piece, rest = rest + block[:cut], block[cut:]
        yield piece, line
        line += count_lines(piece)
    if rest:
        yield rest, line


def is_large(text: bytes) -> bool:
    """Whether a piece is worth compiled loops and threads: one of ``LARGE``, no small one with the rest of a line."""
    return 2 * len(text) > 3 * CHUNK


def ahead(pieces: Iterable[Piece], work: Callable[[Piece], Done], jobs: int) -> Iterator[Done]:
    """What ``work`` makes of each piece, in order. Large pieces, whose text comes first in each, are worked on in so
    many threads ahead of the one that is asked for; a small one, such as comes from a pipe, never waits for the next.

    What ``pieces`` raises comes behind what was made of the pieces before.
    """
    waiting: deque[Future[Done]] = deque()
    with ExitStack() as stack:
        pool: ThreadPoolExecutor | None = None
        try:
            for piece in pieces:
                if jobs > 1 and is_large(piece[0]):
                    if pool is None:
                        pool = stack.enter_context(ThreadPoolExecutor(jobs))
                    waiting.append(pool.submit(work, piece))
                    if len(waiting) > jobs:
                        yield waiting.popleft().result()
                else:
                    while waiting:
                        yield waiting.popleft().result()
                    yield work(piece)
        except TraceError:
            while waiting:
                yield waiting.popleft().result()
            raise
        while waiting:
            yield waiting.popleft().result()


def count_lines(text: bytes) -> int:
    """How many line ends there are, much faster than bytes.count."""
    data = np.frombuffer(text, np.uint8)
    if not is_large(text):
        return int(np.count_nonzero(data == 10))
    from tracemend.formats.text_scan import count

    return count(data, 10)


class _Scratch(threading.local):
    def __init__(self) -> None:
        self.arrays: dict[str, Bytes] = {}


_SCRATCH = _Scratch()


def scratch(name: str, shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
    """An array to work in, which is this thread's and holds until it asks for the same name again: to be given fresh
    memory takes the system longer than what is done in it."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    held = _SCRATCH.arrays.get(name)
    if held is None or len(held) < size:
        held = _SCRATCH.arrays[name] = np.empty(size + size // 4, np.uint8)
    return held[:size].view(dtype).reshape(shape)


class Lines:
    """A chunk of text, cut into lines.

    ``data`` (D + padding,) bytes; ``start``, ``end`` (N,) each line's span without its line end. ``cut``: the last
    line has no line end, which at the end of a file may mean that the rest of it is missing. ``large``: worth compiled
    loops; then the arrays are of this thread's ``scratch``, and hold until its next chunk.
    """

    def __init__(self, chunk: bytes, first: int) -> None:
        self.raw = chunk
        self.ascii = chunk.isascii()
        self.large = is_large(chunk)
        size = len(chunk)
        data = scratch("data", (size + _PAD,), np.uint8) if self.large else np.empty(size + _PAD, np.uint8)
        data[:size] = np.frombuffer(chunk, np.uint8)
        data[size:] = 0
        self.data: Bytes = data
        self.cut = bool(size) and data[size - 1] != 10
        self.first = first
        self.start, self.end = self._cut_compiled(size) if self.large else self._cut(size)

    def _cut(self, size: int) -> tuple[Ints, Ints]:
        newline = np.flatnonzero(self.data[:size] == 10)
        if self.cut:
            newline = np.append(newline, size)
        start = np.concatenate([[0], newline[:-1] + 1]) if len(newline) else newline
        return start, newline - ((newline > start) & (self.data[newline - 1] == 13))

    def _cut_compiled(self, size: int) -> tuple[Ints, Ints]:
        from tracemend.formats.text_scan import cut_lines

        spans = scratch("lines", (2, count_lines(self.raw) + self.cut), np.int64)
        cut_lines(self.data, size, spans)
        return spans[0], spans[1]

    def __len__(self) -> int:
        return len(self.start)

    def text(self, i: int) -> bytes:
        return self.raw[int(self.start[i]) : int(self.end[i])]

    def holding(self, needle: bytes) -> Ints:
        """The lines that contain ``needle``, in order."""
        found, at = [], self.raw.rfind(needle)  # backwards is twice as fast where nothing is found
        while at >= 0:
            found.append(at)
            at = self.raw.rfind(needle, 0, at)
        return np.unique(np.searchsorted(self.start, found, side="right") - 1)


def skip(data: Bytes, at: Ints, byte: int, most: int = 64) -> Ints:
    """Move each position of ``at`` (N,) over a run of ``byte``, at most ``most`` times."""
    at = at.copy()
    for _ in range(most):
        same = data[at] == byte
        if not same.any():
            break
        at += same
    return at


def digits_at(data: Bytes, start: Ints, most: int = 18) -> tuple[Ints, Ints]:
    """The decimal number that starts at each position ``start`` (N,), and where it ends (end == start: none)."""
    value = np.zeros(len(start), np.int64)
    end = start.copy()
    alive = np.ones(len(start), bool)
    for _ in range(most):
        digit = data[end] - np.uint8(48)  # wraps: anything but a digit is above 9
        alive &= digit <= 9
        if not alive.any():
            break
        value = np.where(alive, value * 10 + digit, value)
        end += alive
    return value, end


def spans(raw: bytes, start: Ints, end: Ints, valid: Bools | None = None) -> pa.Array:
    """The bytes [start, end) (N,) of ``raw`` as Arrow binary; rows not ``valid`` are null.

    Spans must be in order and must not overlap: together with what lies between them they are one Arrow array that
    borrows ``raw`` as it is, of which every second value is picked.
    """
    offsets = np.empty(2 * len(start), np.int32)
    offsets[0::2], offsets[1::2] = start, end
    both = pa.Array.from_buffers(
        pa.binary(), max(0, len(offsets) - 1), [None, pa.py_buffer(offsets), pa.py_buffer(raw)]
    )
    wanted = np.arange(0, len(offsets), 2, dtype=np.int32)
    return both.take(pa.array(wanted, mask=None if valid is None else ~valid))


def as_strings(array: pa.Array, ascii_only: bool = False) -> pa.Array:
    """Arrow binary as Arrow strings; values that are no UTF-8 are kept as Latin-1 characters."""
    if ascii_only:
        return array.view(pa.string())
    try:
        return array.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([None if v is None else decode(v) for v in array.to_pylist()], pa.string())


def decode(raw: bytes) -> str:
    """UTF-8, or Latin-1 where it isn't: no byte is ever lost and nothing raises."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
