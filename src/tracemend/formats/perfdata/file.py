"""What a ``perf.data`` says of itself: its events' attributes and names, and where its records lie.

tools/perf/Documentation/perf.data-file-format.txt; a file that was written into a pipe has its attributes among its
records. Whatever the file claims is held against what is there before it costs memory or time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import IO, Literal

from tracemend.formats.perfdata import MAGIC
from tracemend.formats.ringbuffer import Kind, Layout
from tracemend.formats.text import decode
from tracemend.formats.tracedat.cursor import Cursor, DamageError
from tracemend.formats.tracedat.described import Described as Formats
from tracemend.formats.tracedat.event_formats import read_events, read_ftrace_events, read_headers

#: Where the header has the size of an attribute, and where the attributes lie (bytes).
ATTR, ATTRS = 16, 24
PIPED = 16
#: Features, by their numbers.
TRACING_DATA, EVENT_DESC, DIR_FORMAT = 1, 12, 24
#: Bits of sample_type, in the order in which a sample has them; each takes 8 bytes.
IDENTIFIER, IP, TID, TIME, ADDR, ID, STREAM_ID, CPU, PERIOD = (1 << n for n in (16, 0, 1, 2, 3, 6, 9, 7, 8))
#: What comes behind them, of sizes that only the sample tells.
READ, CALLCHAIN, RAW = 1 << 4, 1 << 5, 1 << 10
#: Bits of an attribute's flags, and of its read_format.
SAMPLE_ID_ALL, WRITE_BACKWARD = 1 << 18, 1 << 27
FORMAT_LOST = 1 << 4
TRACEPOINT = 2
MOST_ATTR, MOST_ATTRS, MOST_IDS = 1 << 12, 1 << 16, 1 << 20
_SAMPLE = (IDENTIFIER, IP, TID, TIME, ADDR, ID, STREAM_ID, CPU, PERIOD)
_TRAILER = (TID, TIME, ID, STREAM_ID, CPU, IDENTIFIER)


def pack(order: str, value: int, size: int) -> bytes:
    """A number as the file's machine has it."""
    endian: Literal["little", "big"] = "little" if order == "<" else "big"
    return value.to_bytes(size, endian)


@dataclass
class Attr:
    """One event that was recorded. ids_at: where its ids lie (offset, bytes)."""

    raw: bytes
    type: int
    config: int
    sample_type: int
    read_format: int
    flags: int
    ids_at: tuple[int, int] = (0, 0)
    ids: list[int] = field(default_factory=list)
    name: str = ""

    def place(self, bit: int) -> int | None:
        """Where a sample has this (bytes from its record's beginning); None if it doesn't."""
        return 8 + 8 * sum(bool(self.sample_type & b) for b in _SAMPLE[: _SAMPLE.index(bit)]) if self.has(bit) else None

    def from_end(self, bit: int) -> int | None:
        """Where any other record has this (bytes from its end); None if it doesn't."""
        if not self.flags & SAMPLE_ID_ALL or not self.has(bit):
            return None
        return 8 * sum(bool(self.sample_type & b) for b in _TRAILER[_TRAILER.index(bit) :])

    def has(self, bit: int) -> bool:
        return bool(self.sample_type & bit)

    @property
    def fixed(self) -> int:
        """Where what has no fixed place begins (bytes from the record's beginning)."""
        return 8 + 8 * sum(bool(self.sample_type & b) for b in _SAMPLE)


@dataclass
class Described:
    """What a file says of itself. data: where the records lie (offset, bytes). unfinished: its recorder ended before it
    wrote how many there are; split: the records lie in files beside this one."""

    order: str
    attr_size: int = 0
    attrs: list[Attr] = field(default_factory=list)
    data: tuple[int, int] = (0, 0)
    piped: bool = False
    unfinished: bool = False
    split: bool = False
    layout: Layout = field(default_factory=Layout)
    kinds: dict[int, Kind] = field(default_factory=dict)


def describe(file: IO[bytes], size: int) -> Described:
    """Read everything but the records of a file of ``size`` bytes; raises DamageError."""
    cursor = Cursor(file, size, "<")
    order = MAGIC.get(cursor.take(8, "the magic number"))
    if order is None:
        raise DamageError(0, "the magic number of perf.data isn't here")
    cursor.order = order
    found = Described(order)
    length = cursor.number(8, "the header's size")
    if length == PIPED:
        found.piped, found.data = True, (PIPED, size - PIPED)
        return found
    found.attr_size = cursor.number(8, "the size of an attribute") - 16
    if not 64 <= found.attr_size <= MOST_ATTR:
        raise cursor.fail(f"attributes of {found.attr_size} bytes")
    attrs, data, _ = ((cursor.number(8, "an offset"), cursor.number(8, "a size")) for _ in range(3))
    features = [n for k in range(4) for n in _bits(cursor.number(8, "the features"), 64 * k)]
    _read_attrs(Cursor(file, size, order, attrs[0]), attrs[1], found)
    found.unfinished = not data[1]
    found.data = (data[0], data[1] or max(0, size - data[0]))
    if not found.unfinished and features:
        table = Cursor(file, size, order, data[0] + data[1])
        for number in features:
            if size - table.at < 16:
                break  # the file was cut off behind its records
            _feature(number, Cursor(file, size, order, table.number(8, "an offset")), table.number(8, "a size"), found)
    return found


def _bits(word: int, first: int) -> list[int]:
    return [first + n for n in range(64) if word >> n & 1]


def parse_attr(raw: bytes, order: str) -> Attr:
    """An attribute of at least 64 bytes."""

    def number(at: int, size: int) -> int:
        return int.from_bytes(raw[at : at + size], "little" if order == "<" else "big")

    flags = number(40, 8)
    if order == ">":  # a bit field begins with the highest bit there
        flags = int(f"{flags:064b}"[::-1], 2)
    return Attr(raw, number(0, 4), number(8, 8), number(24, 8), number(32, 8), flags)


def _read_attrs(cursor: Cursor, size: int, found: Described) -> None:
    step = found.attr_size + 16
    if size // step > MOST_ATTRS:
        raise cursor.fail(f"{size // step} attributes")
    for _ in range(size // step):
        attr = parse_attr(cursor.take(found.attr_size, "an attribute"), found.order)
        attr.ids_at = cursor.number(8, "the offset of ids"), cursor.number(8, "the size of ids")
        attr.ids = _ids(Cursor(cursor.file, cursor.end, cursor.order, attr.ids_at[0]), attr.ids_at[1] // 8)
        found.attrs.append(attr)


def _ids(cursor: Cursor, count: int) -> list[int]:
    if count > MOST_IDS:
        raise cursor.fail(f"{count} ids of an event")
    raw = cursor.take(8 * count, "an event's ids")
    return [int.from_bytes(raw[k : k + 8], "little" if cursor.order == "<" else "big") for k in range(0, 8 * count, 8)]


def _feature(number: int, cursor: Cursor, size: int, found: Described) -> None:
    """Take in a feature. Names and formats that can't be read are done without."""
    if number == DIR_FORMAT:
        found.split = cursor.number(8, "the version of the folder") > 0
    elif number in (TRACING_DATA, EVENT_DESC):
        own = Cursor(cursor.file, min(cursor.end, cursor.at + size), cursor.order, cursor.at)
        try:
            (read_event_names if number == EVENT_DESC else read_formats)(own, found)
        except DamageError:
            return


def read_event_names(cursor: Cursor, found: Described) -> None:
    """Take in the names of events."""
    count, size = cursor.number(4, "the number of names"), cursor.number(4, "the size of an attribute")
    for attr in found.attrs[:count]:
        cursor.skip(size, "an attribute")
        ids = cursor.number(4, "the number of ids")
        attr.name = decode(cursor.described(cursor.number(4, "a name's size"), "a name").partition(b"\0")[0])
        cursor.skip(8 * ids, "ids")


def read_formats(cursor: Cursor, found: Described) -> None:
    """Take in the formats of tracepoints: they lie as in trace.dat."""
    cursor.expect(b"\x17\x08\x44tracing", "the magic number of formats")
    cursor.string("the version")
    big, _ = cursor.take(2, "the byte order")
    cursor.order = ">" if big else "<"
    cursor.skip(4, "the page size")
    formats = Formats(order=cursor.order)
    read_headers(cursor, formats)
    read_ftrace_events(cursor, formats)
    read_events(cursor, formats)
    found.layout, found.kinds = formats.layout, formats.kinds
