"""What Windows' tracerpt makes of an event trace log: CSV (``-of CSV``) or XML (``-of XML``), in any encoding.

A row of CSV has columns that are the same for all events, and behind them the event's own data. In XML each event is
taken out of the text and parsed alone: one that is damaged takes no other along, and a document type with its entities
is never looked at. Losses stand in the row that describes the log (EventTrace, Header).

``rows`` collects the events and what the file tells of losses, ``table`` reads CSV, ``elements`` reads XML.
"""

from __future__ import annotations

import re
from pathlib import Path

from tracemend.formats.base import Evidence, Format, Options
from tracemend.trace.events import Trace

#: Marks at the beginning of a file that tell its encoding.
MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}
#: The first column, and those that are needed besides.
FIRST, NEEDED = "Event Name", ("TID", "Clock-Time")
EVENT = re.compile(r"<Event[\s>]")


def encoding(head: bytes) -> str:
    """Its mark's encoding; else UTF-16 without a mark where every other byte of some first ones is zero."""
    for mark, encoding in MARKS.items():
        if head.startswith(mark):
            return encoding
    if len(head) >= 4 and head[0] and not head[1] and head[2] and not head[3]:
        return "utf-16-le"
    return "utf-8"


def recognise(head: bytes) -> bool:
    """Whether there is a line with tracerpt's columns, or XML of events."""
    text = head[:8192].decode(encoding(head), "replace").lstrip()
    return any(columns(line) for line in text.splitlines()[:5]) or (
        text.startswith("<") and re.search(r"<Events[\s>]", text) is not None and EVENT.search(text) is not None
    )


def columns(line: str) -> dict[str, int]:
    """The places of the columns in a line that names them, none in any other line."""
    names = [n.strip().strip('"') for n in line.split(",")]
    known = names[0] == FIRST and set(NEEDED) <= set(names)
    return {n: i for i, n in enumerate(names)} if known else {}


def _read(path: Path, options: Options) -> Trace:
    # every command lists the formats, few read this one
    from tracemend.formats.tracerpt import reader

    return reader.read(path, options)


EVIDENCE = Evidence(
    marks="the counters EventsLost and BuffersLost in the row that describes the log, and RT_LostEvent records; none "
    "tells where",
    complete="that row is there, the log was closed, and both counters are zero",
    blind="buffers that are missing from the .etl file",
)
FORMAT = Format("tracerpt", "Windows' tracerpt (CSV, XML)", recognise, _read, EVIDENCE, "etw")
