"""The options of a ``trace.dat``: what they are, and those that say something of the whole file taken in."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tracemend.formats.text import decode
from tracemend.formats.tracedat.cursor import Cursor
from tracemend.formats.tracedat.described import MOST_CPUS, Described

#: Options, by their numbers.
DONE, DATE, CPUSTAT, BUFFER, CLOCK, UNAME, OFFSET, CPUS, VERSION, SHIFT, TSC = 0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 14
HEADERS, FTRACE_EVENTS, EVENTS, CMDLINES, BUFFER_TEXT = 16, 17, 18, 21, 22


def read_options(cursor: Cursor, found: Described) -> Iterator[tuple[int, Cursor, int]]:
    """Each option up to DONE: its number, a cursor that can't leave it, and its size. Those that say something of the
    whole file are taken in on the way."""
    while True:
        number = cursor.number(2, "an option")
        if number == DONE and found.version == 6:
            return
        size = cursor.number(4, "an option's size")
        begin = cursor.at
        cursor.skip(size, f"option {number}")
        own = Cursor(cursor.file, cursor.at, cursor.order, begin, cursor.origin)
        _option(number, own, size, found)
        yield number, Cursor(cursor.file, cursor.at, cursor.order, begin, cursor.origin), size
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
    elif number == CPUSTAT:
        found.statistics.append(text())
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
