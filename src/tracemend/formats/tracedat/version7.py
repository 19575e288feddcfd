"""Version 7 of ``trace.dat`` behind its header: sections that options point to, each of them perhaps compressed."""

from __future__ import annotations

import io

from tracemend.formats.tracedat.compression import unpack
from tracemend.formats.tracedat.cursor import MOST_DESCRIBED, Cursor, DamageError
from tracemend.formats.tracedat.described import (
    LEAST_PAGE,
    MOST_BUFFERS,
    MOST_CPUS,
    MOST_PAGE,
    Buffer,
    Cpu,
    Described,
)
from tracemend.formats.tracedat.event_formats import read_commands, read_events, read_ftrace_events, read_headers
from tracemend.formats.tracedat.options import (
    BUFFER,
    BUFFER_TEXT,
    CMDLINES,
    DONE,
    EVENTS,
    FTRACE_EVENTS,
    HEADERS,
    read_options,
)

COMPRESSED = 1
MOST_SECTIONS = 1 << 12


def read_sections(cursor: Cursor, found: Described) -> None:
    """Take in all sections and buffers; raises DamageError."""
    at = cursor.number(8, "the offset of the options")
    seen: set[int] = set()
    pending: dict[int, int] = {}
    while at:
        if at in seen or len(seen) > MOST_SECTIONS:
            raise DamageError(at, "options that lead back to themselves")
        seen.add(at)
        options, _ = _section(cursor, at, 0, found)
        at = 0
        for number, own, size in read_options(options, found):
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
    read = {HEADERS: read_headers, FTRACE_EVENTS: read_ftrace_events, EVENTS: read_events, CMDLINES: read_commands}
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
