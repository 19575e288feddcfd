"""How a ``trace.dat`` lies on disk, versions 6 and 7 (trace-cmd.dat.v6(5), trace-cmd.dat.v7(5)).

Version 6 is one sequence: header, ring buffer and event formats, kallsyms, printk formats, commands, number of cpus,
options, and where each cpu's sub-buffers lie. Version 7 has these as sections that options point to, each of them
perhaps compressed; the sub-buffers are then compressed in chunks.

Whatever the file claims (sizes, counts, offsets) is held against what is there before it costs memory or time.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

import pyarrow as pa

from tracemend.formats.ringbuffer import NATIVE, FormatError, Kind, Layout, parse_format, parse_layout
from tracemend.formats.text import decode

MAGIC = b"\x17\x08\x44tracing"
#: Options, by their numbers.
DONE, DATE, BUFFER, CLOCK, UNAME, OFFSET, CPUS, VERSION, SHIFT, TSC = 0, 1, 3, 4, 5, 7, 8, 9, 12, 14
HEADERS, FTRACE_EVENTS, EVENTS, CMDLINES, BUFFER_TEXT = 16, 17, 18, 21, 22
COMPRESSED = 1
#: What is larger isn't a description of events (bytes; files of a whole kernel have some 5 MB).
MOST_DESCRIBED = 1 << 26
#: Sub-buffers of any machine (bytes), and unpacked chunks of them (trace-cmd makes them of 4 pages).
LEAST_PAGE, MOST_PAGE, MOST_CHUNK = 64, 1 << 20, 1 << 26
MOST_CPUS, MOST_STRING, MOST_SECTIONS, MOST_BUFFERS = 1 << 14, 1 << 12, 1 << 12, 1 << 10
#: Sub-buffers that are not compressed are read so many bytes at a time.
PIECE = 1 << 23


class DamageError(Exception):
    """What is wrong, and at which byte of the file."""

    def __init__(self, at: int, message: str) -> None:
        super().__init__(message)
        self.at, self.message = at, message


@dataclass(frozen=True, slots=True)
class Cpu:
    """Where one cpu's sub-buffers lie (bytes from the beginning of the file)."""

    number: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Buffer:
    """One instance's ring buffers. The name of the top one is empty. page_size: bytes of a sub-buffer."""

    name: str
    clock: str
    page_size: int
    cpus: tuple[Cpu, ...]
    compressed: bool


@dataclass
class Described:
    """What a file says of itself. offset_ns is added to every time; tsc: (multiplier, shift, offset) that make
    nanoseconds of the clock's ticks; shifted: times of a guest, to be brought to its host's clock."""

    order: str = "<"
    page_size: int = 4096
    layout: Layout = NATIVE
    user_long: int = 8
    version: int = 6
    compression: str = "none"
    kinds: dict[int, Kind] = field(default_factory=dict)
    comms: dict[int, str] = field(default_factory=dict)
    buffers: list[Buffer] = field(default_factory=list)
    cpus: int = 0
    offset_ns: int = 0
    tsc: tuple[int, int, int] | None = None
    clock: str = ""
    shifted: bool = False
    uname: str = ""
    recorder: str = ""


class Cursor:
    """Reads numbers and strings one after the other. ``place``: the byte of the file that a position stands for, where
    what is read was unpacked; raises DamageError where the file ends too early."""

    def __init__(self, file: IO[bytes], end: int, order: str, at: int = 0, place: int | None = None) -> None:
        self.file, self.end, self.order, self.at, self._place = file, end, order, at, place

    @property
    def place(self) -> int:
        return self.at if self._place is None else self._place

    def fail(self, message: str) -> DamageError:
        return DamageError(self.place, message)

    def take(self, size: int, what: str) -> bytes:
        if not 0 <= size <= self.end - self.at:
            raise self.fail(f"{what} takes {size} bytes, the file has {max(0, self.end - self.at)} more")
        self.file.seek(self.at)
        data = self.file.read(size)
        if len(data) < size:
            raise self.fail(f"{what} takes {size} bytes, the file has {len(data)} more")
        self.at += size
        return data

    def skip(self, size: int, what: str) -> None:
        if not 0 <= size <= self.end - self.at:
            raise self.fail(f"{what} takes {size} bytes, the file has {max(0, self.end - self.at)} more")
        self.at += size

    def number(self, size: int, what: str) -> int:
        return int.from_bytes(self.take(size, what), "little" if self.order == "<" else "big")

    def described(self, size: int, what: str) -> bytes:
        """``size`` bytes of description."""
        if size > MOST_DESCRIBED:
            raise self.fail(f"{what} of {size} bytes can't be true")
        return self.take(size, what)

    def string(self, what: str) -> str:
        """A string that a zero byte ends."""
        self.file.seek(self.at)
        data = self.file.read(min(MOST_STRING, max(0, self.end - self.at)))
        end = data.find(b"\0")
        if end < 0:
            raise self.fail(f"{what} doesn't end")
        self.at += end + 1
        return decode(data[:end])

    def expect(self, text: bytes, what: str) -> None:
        at = self.place
        if self.take(len(text), what) != text:
            raise DamageError(at, f"{what} isn't here")


def describe(file: IO[bytes], size: int) -> Described:
    """Read everything but the sub-buffers of a file of ``size`` bytes; raises DamageError."""
    cursor = Cursor(file, size, "<")
    cursor.expect(MAGIC, "the magic number of trace.dat")
    version = cursor.string("the version")
    if version not in ("6", "7"):
        raise cursor.fail(f"version {version[:20]!r} of trace.dat, only 6 and 7 can be read")
    big, user_long = cursor.take(2, "the byte order")
    if big > 1 or user_long not in (4, 8):
        raise cursor.fail(f"a byte order {big} or a long of {user_long} bytes")
    cursor.order = ">" if big else "<"
    page_size = cursor.number(4, "the page size")
    if not LEAST_PAGE <= page_size <= MOST_PAGE or page_size % 4:
        raise cursor.fail(f"pages of {page_size} bytes")
    found = Described(order=cursor.order, page_size=page_size, user_long=user_long, version=int(version))
    if version == "6":
        _headers(cursor, found)
        _ftrace_events(cursor, found)
        _events(cursor, found)
        cursor.skip(cursor.number(4, "the size of kallsyms"), "kallsyms")
        cursor.skip(cursor.number(4, "the size of the printk formats"), "the printk formats")
        _commands(cursor, found)
        _buffers(cursor, found)
    else:
        found.compression = cursor.string("the compression's name")
        cursor.string("the compression's version")
        _sections(cursor, found)
    return found


def _headers(cursor: Cursor, found: Described) -> None:
    at = cursor.place
    cursor.expect(b"header_page\0", "header_page")
    page = decode(cursor.described(cursor.number(8, "the size of header_page"), "header_page"))
    cursor.expect(b"header_event\0", "header_event")
    event = decode(cursor.described(cursor.number(8, "the size of header_event"), "header_event"))
    try:
        found.layout = parse_layout(page, event, found.order)
    except FormatError as e:
        raise DamageError(at, str(e)) from None


def _kind(cursor: Cursor, found: Described) -> None:
    text = cursor.described(cursor.number(8, "the size of an event's format"), "an event's format")
    try:
        kind = parse_format(decode(text))
    except FormatError as e:
        raise cursor.fail(str(e)) from None
    if any(f.name == n and (f.offset, f.size) != w for f in kind.fields for n, w in _COMMON.items()):
        raise cursor.fail(f"event {kind.name} begins in a way that tracemend doesn't know")
    found.kinds[kind.number] = kind


#: Where every event has its kind and its thread: (offset, bytes).
_COMMON = {"common_type": (0, 2), "common_pid": (4, 4)}


def _ftrace_events(cursor: Cursor, found: Described) -> None:
    for _ in range(cursor.number(4, "the number of ftrace's events")):
        _kind(cursor, found)


def _events(cursor: Cursor, found: Described) -> None:
    for _ in range(cursor.number(4, "the number of event systems")):
        cursor.string("the name of an event system")
        for _ in range(cursor.number(4, "the number of a system's events")):
            _kind(cursor, found)


def _commands(cursor: Cursor, found: Described) -> None:
    text = cursor.described(cursor.number(8, "the size of the commands"), "the commands")
    for line in text.split(b"\n"):
        match = re.match(rb"\s*(\d{1,9}) (.*)", line)
        if match:
            found.comms[int(match[1])] = decode(match[2]).lstrip()


def _options(cursor: Cursor, found: Described) -> Iterator[tuple[int, Cursor, int]]:
    """Each option up to DONE: its number, a cursor that can't leave it, and its size. Those that say something of the
    whole file are taken in on the way."""
    while True:
        number = cursor.number(2, "an option")
        if number == DONE and found.version == 6:
            return
        size = cursor.number(4, "an option's size")
        begin = cursor.at
        cursor.skip(size, f"option {number}")
        own = Cursor(cursor.file, cursor.at, cursor.order, begin, cursor._place)
        _option(number, own, size, found)
        yield number, Cursor(cursor.file, cursor.at, cursor.order, begin, cursor._place), size
        if number == DONE:
            return


def _option(number: int, own: Cursor, size: int, found: Described) -> None:
    def text() -> str:
        return decode(own.described(size, "an option").partition(b"\0")[0])

    if number in (DATE, OFFSET):
        match = re.match(r"\s*([+-]?(?:0[xX][0-9a-fA-F]{1,16}|\d{1,19}))", text())
        if match is None:
            raise own.fail("an offset of times that is no number")
        value = match[1]
        time = int(value, 16 if "x" in value.lower() else 10)
        found.offset_ns += time * 1000 if number == DATE else time
    elif number == CLOCK:
        clock = re.search(r"\[([\w-]+)\]", words := text())
        found.clock = clock[1] if clock else words.strip()[:64]
    elif number == UNAME:
        found.uname = text().strip()
    elif number == VERSION:
        found.recorder = text().strip()
    elif number == CPUS and size == 4:
        found.cpus = own.number(4, "the number of cpus")
        if found.cpus > MOST_CPUS:
            raise own.fail(f"{found.cpus} cpus")
    elif number == SHIFT:
        found.shifted = True
    elif number == TSC and size >= 16:
        found.tsc = own.number(4, "an option"), own.number(4, "an option"), own.number(8, "an option")


# Version 6


def _buffers(cursor: Cursor, found: Described) -> None:
    found.cpus = cpus = cursor.number(4, "the number of cpus")
    if cpus > MOST_CPUS:
        raise cursor.fail(f"{cpus} cpus")
    instances: list[tuple[int, str, int]] = []
    tag = cursor.take(10, "the kind of data")
    if tag == b"options  \0":
        for number, own, size in _options(cursor, found):
            if number == BUFFER and size > 8:
                place = own.place
                instances.append((own.number(8, "a buffer's offset"), own.string("a buffer's name"), place))
        tag = cursor.take(10, "the kind of data")
    if len(instances) > MOST_BUFFERS:
        raise cursor.fail(f"{len(instances)} buffers")
    found.buffers.append(_flyrecord(cursor, tag, "", found))
    for offset, name, place in instances:
        if offset >= cursor.end:
            raise DamageError(place, f"buffer {name!r} at byte {offset}, where the file has ended")
        own = Cursor(cursor.file, cursor.end, cursor.order, offset)
        found.buffers.append(_flyrecord(own, own.take(10, "the kind of data"), name, found))


def _flyrecord(cursor: Cursor, tag: bytes, name: str, found: Described) -> Buffer:
    if tag == b"latency  \0":
        raise cursor.fail("latency data, which is text; trace-cmd report prints it")
    if tag != b"flyrecord\0":
        raise cursor.fail("neither options nor flyrecord data")
    cpus = []
    for number in range(found.cpus):
        offset, size = cursor.number(8, "a cpu's offset"), cursor.number(8, "a cpu's size")
        cpus.append(Cpu(number, offset, size))
    return Buffer(name, found.clock, found.page_size, tuple(cpus), False)


# Version 7


def _sections(cursor: Cursor, found: Described) -> None:
    at = cursor.number(8, "the offset of the options")
    seen: set[int] = set()
    pending: dict[int, int] = {}
    while at:
        if at in seen or len(seen) > MOST_SECTIONS:
            raise DamageError(at, "options that lead back to themselves")
        seen.add(at)
        options, _ = _section(cursor, at, 0, found)
        at = 0
        for number, own, size in _options(options, found):
            if number == DONE:
                at = own.number(8, "the offset of the next options") if size >= 8 else 0
            elif number in (HEADERS, FTRACE_EVENTS, EVENTS, CMDLINES):
                pending.setdefault(number, own.number(8, "a section's offset"))
            elif number == BUFFER:
                found.buffers.append(_buffer(cursor, own, found))
                if len(found.buffers) > MOST_BUFFERS:
                    raise own.fail(f"more than {MOST_BUFFERS} buffers")
            elif number == BUFFER_TEXT:
                raise own.fail("latency data, which is text; trace-cmd report prints it")
    read = {HEADERS: _headers, FTRACE_EVENTS: _ftrace_events, EVENTS: _events, CMDLINES: _commands}
    for number, offset in sorted(pending.items()):
        section, _ = _section(cursor, offset, number, found)
        read[number](section, found)


def _section(cursor: Cursor, at: int, number: int, found: Described) -> tuple[Cursor, bool]:
    """A cursor over a section's content, unpacked, and whether it was compressed."""
    own = Cursor(cursor.file, cursor.end, cursor.order, at)
    if not 0 < at < cursor.end:
        raise DamageError(min(at, cursor.end), f"section {number} at byte {at}, where the file has ended")
    said, flags = own.number(2, "a section"), own.number(2, "a section's flags")
    own.skip(4, "a section's description")
    size = own.number(8, "a section's size")
    if said != number:
        raise DamageError(at, f"section {said}, where section {number} should be")
    begin = own.at
    own.skip(size, f"section {number}")
    inside = Cursor(cursor.file, own.at, cursor.order, begin)
    if not flags & COMPRESSED:
        return inside, False
    packed, unpacked = inside.number(4, "a packed size"), inside.number(4, "an unpacked size")
    if unpacked > MOST_DESCRIBED:
        raise inside.fail(f"a section of {unpacked} bytes can't be true")
    data = unpack(found.compression, inside.take(packed, "a packed section"), unpacked, begin)
    return Cursor(io.BytesIO(data), len(data), cursor.order, 0, begin), True


def _buffer(cursor: Cursor, own: Cursor, found: Described) -> Buffer:
    at = own.number(8, "a buffer's offset")
    name, clock = own.string("a buffer's name"), own.string("a buffer's clock")
    page_size, cpus = own.number(4, "a buffer's page size"), own.number(4, "a buffer's cpus")
    if not LEAST_PAGE <= page_size <= MOST_PAGE or page_size % 4:
        raise own.fail(f"sub-buffers of {page_size} bytes")
    if cpus > MOST_CPUS:
        raise own.fail(f"{cpus} cpus")
    head = Cursor(cursor.file, cursor.end, cursor.order, at)
    said, flags = head.number(2, "a buffer"), head.number(2, "a buffer's flags")
    if said != BUFFER:
        raise DamageError(at, f"section {said}, where a buffer should be")
    placed = tuple(
        Cpu(own.number(4, "a cpu"), own.number(8, "a cpu's offset"), own.number(8, "a cpu's size")) for _ in range(cpus)
    )
    return Buffer(name, clock, page_size, placed, bool(flags & COMPRESSED))


def unpack(compression: str, data: bytes, size: int, at: int) -> bytes:
    """``size`` bytes out of compressed ``data`` that lies at byte ``at``; raises DamageError."""
    if compression == "zlib":
        try:
            unpacked = zlib.decompressobj().decompress(data, size + 1)
        except zlib.error as e:
            raise DamageError(at, f"can't unpack it: {e}") from None
    elif compression == "zstd":
        try:
            unpacked = pa.Codec("zstd").decompress(data, size, asbytes=True)
        except (OSError, ValueError, pa.ArrowException) as e:
            raise DamageError(at, f"can't unpack it: {e}") from None
    else:
        raise DamageError(
            at, f"compressed by {compression[:40]!r}, which tracemend can't unpack (zlib and zstd it can)"
        )
    if len(unpacked) != size:
        raise DamageError(at, f"can't unpack it: it isn't the {size} bytes that it says")
    return bytes(unpacked)


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
