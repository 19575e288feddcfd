"""Windows' event trace logs (ETW's ``.etl``), read without Windows.

``header`` has what the file's first record says of the trace (its clock, its counters of losses), ``buffers`` finds the
buffers and the records in them, ``records`` makes columns of the records, ``names`` has the names of the kernel's
events. ``losses`` says what is missing, ``reader`` makes the trace.
"""

from __future__ import annotations

import struct
from pathlib import Path

from tracemend.formats.base import Evidence, Format, Options
from tracemend.trace.events import Trace

#: Bytes of a buffer's header (WMI_BUFFER_HEADER), and of the head of the first record in it (SYSTEM_TRACE_HEADER).
BUFFER_HEADER, SYSTEM_HEADER = 72, 32


def recognise(head: bytes) -> bool:
    """Whether the first buffer begins with the record that describes the trace and that knows the buffer's size."""
    if len(head) < BUFFER_HEADER + SYSTEM_HEADER + 4:
        return False
    (size,) = struct.unpack_from("<I", head)
    _, kind, flags, _, event, group, *_ = struct.unpack_from("<HBBHBB24xI", head, BUFFER_HEADER)
    (said,) = struct.unpack_from("<I", head, BUFFER_HEADER + SYSTEM_HEADER)
    return (flags, event, group) == (0xC0, 0, 0) and kind in (1, 2) and size == said


def _read(path: Path, options: Options) -> Trace:
    # every command lists the formats, few read this one
    from tracemend.formats.etl import reader

    return reader.read(path, options)


EVIDENCE = Evidence(
    marks="the header's counters EventsLost and BuffersLost, missing numbers of buffers, fewer buffers than were "
    "written, RT_LostEvent records and flags of buffers; with several processors none of them tells where",
    complete="the file was closed, its counters are zero, and no number of a buffer is missing",
    blind="in a file merged from several sessions, what those sessions lost whose headers are gone",
)
FORMAT = Format("etl", "Windows event trace log (ETW, .etl)", recognise, _read, EVIDENCE, "etw")
