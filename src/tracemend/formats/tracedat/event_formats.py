"""The formats of events in a ``trace.dat``, those of the sub-buffers' own headers, and the commands of threads."""

from __future__ import annotations

import re

from tracemend.formats.ringbuffer import FormatError, parse_format, parse_layout
from tracemend.formats.text import decode
from tracemend.formats.tracedat.cursor import Cursor, DamageError
from tracemend.formats.tracedat.described import Described


def read_headers(cursor: Cursor, found: Described) -> None:
    """Take in ``header_page`` and ``header_event``, which say how sub-buffers and their records begin."""
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


def read_ftrace_events(cursor: Cursor, found: Described) -> None:
    """Take in the formats of ftrace's own events."""
    for _ in range(cursor.number(4, "the number of ftrace's events")):
        _kind(cursor, found)


def read_events(cursor: Cursor, found: Described) -> None:
    """Take in the formats of all systems' events."""
    for _ in range(cursor.number(4, "the number of event systems")):
        cursor.string("the name of an event system")
        for _ in range(cursor.number(4, "the number of a system's events")):
            _kind(cursor, found)


def read_commands(cursor: Cursor, found: Described) -> None:
    """Take in the commands of threads."""
    text = cursor.described(cursor.number(8, "the size of the commands"), "the commands")
    for line in text.split(b"\n"):
        match = re.match(rb"\s*(\d{1,9}) (.*)", line)
        if match:
            found.comms[int(match[1])] = decode(match[2]).lstrip()
