"""Version 6 of ``trace.dat`` behind its commands: number of cpus, options, and where each cpu's sub-buffers lie."""

from __future__ import annotations

from tracemend.formats.tracedat.cursor import Cursor, DamageError
from tracemend.formats.tracedat.described import MOST_BUFFERS, MOST_CPUS, Buffer, Cpu, Described
from tracemend.formats.tracedat.options import BUFFER, read_options


def read_buffers(cursor: Cursor, found: Described) -> None:
    """Take in all buffers, the top one first; raises DamageError."""
    found.cpus = cpus = cursor.number(4, "the number of cpus")
    if cpus > MOST_CPUS:
        raise cursor.fail(f"{cpus} cpus")
    instances: list[tuple[int, str, int]] = []
    tag = cursor.take(10, "the kind of data")
    if tag == b"options  \0":
        for number, own, size in read_options(cursor, found):
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
