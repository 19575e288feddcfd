"""Goes through the records of a ``perf.data``: what they say of losses, and where the samples lie.

Axis legend: R records of a piece of the file, N some of them.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.formats.base import MOST_LOST
from tracemend.formats.perfdata.file import (
    CPU,
    EVENT_DESC,
    ID,
    IDENTIFIER,
    MOST_ATTR,
    TID,
    TIME,
    Attr,
    Described,
    parse_attr,
    read_event_names,
    read_formats,
)
from tracemend.formats.ringbuffer import Ints, Layout, Stream
from tracemend.formats.text import decode
from tracemend.formats.tracedat.cursor import Cursor, DamageError

#: Types of records (include/uapi/linux/perf_event.h; those of perf's own, from 64 on, tools/lib/perf).
LOST, COMM, THROTTLE, FORK, SAMPLE, AUX, LOST_SAMPLES = 2, 3, 5, 7, 9, 11, 13
HEADER_ATTR, TRACING_DATA, AUXTRACE, FEATURE, COMPRESSED, COMPRESSED2 = 64, 66, 71, 80, 81, 83
#: Records that bytes follow which belong to no record.
BEHIND = (TRACING_DATA, AUXTRACE)
#: misc of LOST_SAMPLES that a filter dropped, as its user wanted.
FILTERED = 1 << 15
#: flags of AUX: data were cut off, have gaps, or collided with others.
AUX_LOST = 1 | 4 | 8
#: The records are read so many bytes at a time.
PIECE = 1 << 22
#: What unpacks to more than so many times its size was made to do harm.
MOST_UNPACKED = 1 << 8
#: An empty last block: perf leaves its one frame of zstd open.
FRAME_END = b"\1\0\0"


@dataclass
class Samples:
    """The samples of a piece (N,): their records (begin and end in ``raw``), and which attribute each is of, -1 where
    it is too short for any."""

    raw: bytes
    layout: Layout
    begin: Ints
    end: Ints
    attr: Ints
    time: NDArray[np.uint64]
    cpu: Ints
    tid: Ints
    pid: Ints


@dataclass
class Told:
    """What the records tell. lost: (samples above it, cpu, thread, events), cpu or thread -1 where it doesn't say, no
    number where it can't be true.
    named: how threads came by their names, in order: (time, thread, command), or its parent's where it is a number."""

    samples: int = 0
    lost: list[tuple[int, int, int, int | None]] = field(default_factory=list)
    lost_samples: int = 0
    aux: dict[int, int] = field(default_factory=dict)
    throttled: int = 0
    stored: dict[int, int] = field(default_factory=dict)
    named: list[tuple[int, int, str | int]] = field(default_factory=list)
    processes: dict[int, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def walk(path: Path, size: int, found: Described, take: Callable[[Samples], None] | None = None) -> Told:
    """Go through all records of a file of ``size`` bytes; ``take`` gets the samples, piece by piece."""
    told = Told()
    if found.piped:  # its attributes come with the records
        found.attrs.clear()
    with ExitStack() as stack:
        file = stack.enter_context(open(path, "rb"))
        packed = stack.enter_context(tempfile.TemporaryFile())
        walker = _Walker(file, found, told, packed, take)
        begin, length = found.data
        walker.through(file, begin, length, size)
        for part in parts(path) if found.split else ():
            other = stack.enter_context(open(part, "rb"))
            end = other.seek(0, 2)
            walker.through(other, 0, end, end)
        if packed.tell():
            walker.unpacked(packed)
    return told


def parts(path: Path) -> list[Path]:
    """The files beside it that hold the records of perf record --threads."""
    return sorted(path.parent.glob(f"{path.name}.[0-9]*"))


def records(read: Callable[[int], bytes], order: str, base: int) -> Iterator[tuple[int, bytes, list[int]]]:
    """Pieces of the stream: (byte of the first, the bytes, where in them records begin). Raises DamageError."""
    head = struct.Struct(f"{order}IHH").unpack_from
    small, large = struct.Struct(f"{order}I").unpack_from, struct.Struct(f"{order}Q").unpack_from
    raw, passing = b"", 0
    while block := read(PIECE):
        passed = min(passing, len(block))
        passing, base = passing - passed, base + passed
        raw += block[passed:]
        at = 0
        ats: list[int] = []
        fault = None
        while at + 8 <= len(raw):
            kind, _, size = head(raw, at)
            if size < 8 or (kind in BEHIND and size < 16 - 4 * (kind == TRACING_DATA)):
                fault = DamageError(base + at, f"a record of {size} bytes")
                break
            if at + size > len(raw):
                break
            ats.append(at)
            at += size
            if kind in BEHIND:
                more = small(raw, at - size + 8)[0] if kind == TRACING_DATA else large(raw, at - size + 8)[0]
                more += -more % 8
                here = min(more, len(raw) - at)
                at, passing = at + here, more - here
        yield base, raw, ats
        if fault:
            raise fault
        raw, base = raw[at:], base + at
    if raw or passing:
        raise DamageError(base, "the records end within one")


class _Walker:
    def __init__(
        self,
        file: IO[bytes],
        found: Described,
        told: Told,
        packed: IO[bytes],
        take: Callable[[Samples], None] | None,
    ) -> None:
        self.file, self.found, self.told, self.packed, self.take = file, found, told, packed, take
        self._owners: tuple[Ints, Ints] | None = None

    def through(self, file: IO[bytes], begin: int, length: int, size: int) -> None:
        """The records at these bytes of a file of ``size`` bytes."""
        at, end = min(begin, size), min(begin + length, size)

        def read(most: int) -> bytes:
            nonlocal at
            file.seek(at)  # what a file in a pipe says of itself is read in between
            block = file.read(min(most, end - at))
            at += len(block)
            return block

        self._all(read, begin)
        if begin + length > size:
            self.told.faults.append(f"byte {size}: the file ends {begin + length - size} bytes before its records do")

    def unpacked(self, packed: IO[bytes]) -> None:
        """The records that lay compressed in others."""
        left = MOST_UNPACKED * packed.tell()
        packed.write(FRAME_END)
        packed.seek(0)
        stream = pa.CompressedInputStream(pa.PythonFile(packed, "r"), "zstd")

        def read(most: int) -> bytes:
            nonlocal left
            try:
                block: bytes = stream.read(most)
            except OSError as e:
                raise DamageError(0, f"can't unpack the records: {e}") from None
            left -= len(block)
            if left < 0:
                raise DamageError(0, "compressed records that unpack to too much")
            return block

        self._all(read, 0)

    def _all(self, read: Callable[[int], bytes], begin: int) -> None:
        try:
            for base, raw, ats in records(read, self.found.order, begin):
                if ats:
                    self._piece(base, raw, np.array(ats, np.int64))
        except DamageError as e:
            self.told.faults.append(f"byte {e.at}: {e.message}")

    def _piece(self, base: int, raw: bytes, begin: Ints) -> None:
        heads = Stream(raw, Layout(self.found.order), begin, begin, begin)
        rows = np.arange(len(begin))
        kind = heads.numbers(rows, 0, 4, False).astype(np.int64)
        end = begin + heads.numbers(rows, 6, 2, False).astype(np.int64)
        samples = np.flatnonzero(kind == SAMPLE)
        for row in np.flatnonzero(np.isin(kind, OTHERS)).tolist():
            above = self.told.samples + int(np.searchsorted(samples, row))
            self._other(int(kind[row]), raw[begin[row] : end[row]], base + int(begin[row]), above)
        if len(samples):
            self._samples(raw, begin[samples], end[samples], base)

    def _number(self, data: bytes, at: int, size: int) -> int:
        return int.from_bytes(data[at : at + size], "little" if self.found.order == "<" else "big")

    def _other(self, kind: int, record: bytes, at: int, above: int) -> None:
        """A record that is no sample, at this byte of the file."""
        told, number = self.told, self._number
        if kind == COMPRESSED:
            self.packed.write(record[8:])
        elif kind == COMPRESSED2:
            self.packed.write(record[16 : 16 + min(number(record, 8, 8), len(record))])
        elif kind == LOST and len(record) >= 24:
            told.lost.append((above, *self._where(record), self._possible(number(record, 16, 8), at)))
        elif kind == LOST_SAMPLES and len(record) >= 16:
            if not number(record, 4, 2) & FILTERED:
                told.lost_samples += self._possible(number(record, 8, 8), at) or 0
        elif kind == AUX and len(record) >= 32:
            cpu = self._where(record)[0]
            if number(record, 24, 8) & AUX_LOST:
                told.aux[cpu] = told.aux.get(cpu, 0) + 1
        elif kind == THROTTLE:
            told.throttled += 1
        elif kind in (COMM, FORK) and len(record) >= 24:
            told.processes[number(record, 12 if kind == COMM else 16, 4)] = number(record, 8, 4)
            if self.take is None:
                return
            time = self._trailer(record, TIME, 8) or 0
            if kind == COMM:
                told.named.append((time, number(record, 12, 4), decode(record[16:].partition(b"\0")[0])))
            else:
                told.named.append((time, number(record, 16, 4), number(record, 20, 4)))
        elif self.found.piped and kind in (HEADER_ATTR, TRACING_DATA, FEATURE):
            self._described(kind, record, at)

    def _possible(self, count: int, at: int) -> int | None:
        if count < MOST_LOST:
            return count
        self.told.faults.append(f"byte {at}: a loss of {count} events can't be true")
        return None

    def _described(self, kind: int, record: bytes, at: int) -> None:
        """What a file that was written into a pipe says of itself among its records."""
        if kind == HEADER_ATTR and len(record) >= 8 + 64:
            size = min(self._number(record, 12, 4) or 64, len(record) - 8)
            if size < 64 or size > MOST_ATTR:
                return
            attr = parse_attr(record[8 : 8 + size], self.found.order)
            attr.ids = [self._number(record, k, 8) for k in range(8 + size, len(record) - 7, 8)]
            self.found.attrs.append(attr)
            self._owners = None
            return
        here = Cursor(self.file, at + (1 << 26), self.found.order, at + len(record))
        try:
            if kind == TRACING_DATA:
                read_formats(here, self.found)
            elif self._number(record, 8, 8) == EVENT_DESC:
                here.end, here.at = at + len(record), at + 16
                read_event_names(here, self.found)
        except DamageError:
            return  # names and formats that can't be read are done without

    def _where(self, record: bytes) -> tuple[int, int]:
        """The cpu and the thread that wrote a record, -1 for what it doesn't say."""
        cpu, tid = self._trailer(record, CPU, 4), self._trailer(record, TID, 4, 4)
        return tuple(-1 if n is None or n >= 1 << 31 else n for n in (cpu, tid))  # type: ignore[return-value]

    def _trailer(self, record: bytes, bit: int, size: int, offset: int = 0) -> int | None:
        attrs = self.found.attrs
        owner = attrs[0] if attrs else None
        if len(attrs) > 1 and all(a.sample_type & IDENTIFIER for a in attrs):
            owner = attrs[int(self._of(np.array([self._number(record, len(record) - 8, 8)], np.uint64))[0])]
        place = owner.from_end(bit) if owner else None
        if place is None or len(record) < place + 8:
            return None
        return self._number(record, len(record) - place + offset, size)

    def _of(self, ids: NDArray[np.uint64]) -> Ints:
        """Which attribute each id (N,) is of; the first for an unknown one."""
        if self._owners is None:
            pairs = sorted((i, k) for k, a in enumerate(self.found.attrs) for i in a.ids)
            self._owners = np.array([i for i, _ in pairs], np.uint64), np.array([k for _, k in pairs], np.int64)
        known, owner = self._owners
        if not len(known):
            return np.zeros(len(ids), np.int64)
        at = np.minimum(np.searchsorted(known, ids), len(known) - 1)
        of: Ints = np.where(known[at] == ids, owner[at], 0)
        return of

    def _samples(self, raw: bytes, begin: Ints, end: Ints, base: int) -> None:
        attrs = self.found.attrs
        if not attrs:
            raise DamageError(base + int(begin[0]), "a sample of an event that the file doesn't describe")
        stream = Stream(raw, Layout(self.found.order), begin, begin, end)
        of = np.zeros(len(begin), np.int64)
        if len(attrs) > 1:
            place = _place_of_id(attrs)
            if place is not None:
                rows = np.flatnonzero(end - begin >= place + 8)
                of[rows] = self._of(stream.numbers(rows, place, 8, False).astype(np.uint64))
        time = np.zeros(len(begin), np.uint64)
        cpu, tid, pid = np.full((3, len(begin)), -1, np.int64)
        whole = np.zeros(len(begin), bool)
        for k in np.unique(of).tolist():
            attr = attrs[k]
            rows = np.flatnonzero((of == k) & (end - begin >= attr.fixed))
            whole[rows] = True
            for bit, offset, size, to in ((TIME, 0, 8, time), (CPU, 0, 4, cpu), (TID, 4, 4, tid), (TID, 0, 4, pid)):
                at = attr.place(bit)
                if at is not None:
                    to[rows] = stream.numbers(rows, at + offset, size, False)
        if not whole.all():
            self.told.faults.append(
                f"byte {base + int(begin[np.argmin(whole)])}: a sample that is shorter than its event says"
            )
        cpu[cpu >= 1 << 31] = -1
        tid[tid >= 1 << 31] = -1
        pid[pid >= 1 << 31] = -1
        for c, n in zip(*_sums(cpu, end - begin), strict=True):
            self.told.stored[c] = self.told.stored.get(c, 0) + n
        if self.take is not None:
            self.take(Samples(raw, stream.layout, begin, end, np.where(whole, of, -1), time, cpu, tid, pid))
        self.told.samples += len(begin)


OTHERS = (LOST, COMM, THROTTLE, FORK, AUX, LOST_SAMPLES, HEADER_ATTR, TRACING_DATA, FEATURE, COMPRESSED, COMPRESSED2)


def _place_of_id(attrs: list[Attr]) -> int | None:
    """Where every sample has the id of its event; None if that isn't the same for all."""
    for bit in (IDENTIFIER, ID):
        places = {a.place(bit) for a in attrs}
        if len(places) == 1:
            return places.pop()
    return None


def _sums(key: Ints, value: Ints) -> tuple[list[int], list[int]]:
    keys, of = np.unique(key, return_inverse=True)
    return keys.tolist(), np.bincount(of, value).astype(np.int64).tolist()
