"""How a ``trace.dat`` lies on disk, versions 6 and 7 (trace-cmd.dat.v6(5), trace-cmd.dat.v7(5)).

Version 6 is one sequence: header, ring buffer and event formats, kallsyms, printk formats, commands, number of cpus,
options, and where each cpu's sub-buffers lie. Version 7 has these as sections that options point to, each of them
perhaps compressed; the sub-buffers are then compressed in chunks.

Whatever the file claims (sizes, counts, offsets) is held against what is there before it costs memory or time.
"""

from __future__ import annotations

from typing import IO

from tracemend.formats.tracedat import MAGIC
from tracemend.formats.tracedat.cursor import Cursor
from tracemend.formats.tracedat.described import LEAST_PAGE, MOST_PAGE, Described
from tracemend.formats.tracedat.event_formats import read_commands, read_events, read_ftrace_events, read_headers
from tracemend.formats.tracedat.version6 import read_buffers
from tracemend.formats.tracedat.version7 import read_sections


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
        read_headers(cursor, found)
        read_ftrace_events(cursor, found)
        read_events(cursor, found)
        cursor.skip(cursor.number(4, "the size of kallsyms"), "kallsyms")
        cursor.skip(cursor.number(4, "the size of the printk formats"), "the printk formats")
        read_commands(cursor, found)
        read_buffers(cursor, found)
    else:
        found.compression = cursor.string("the compression's name")
        cursor.string("the compression's version")
        read_sections(cursor, found)
    return found
