"""trace-cmd's ``trace.dat``, versions 6 and 7, read without trace-cmd.

``file`` finds everything in the file: ``cursor`` reads its numbers and strings, ``event_formats`` and ``options`` what
both versions have, ``version6`` and ``version7`` what each has of its own; ``described`` holds what was found.
``sub_buffers`` gives the records' bytes, ``compression`` unpacks them.

``printing`` makes text of records as trace-cmd does: ``print_fmt`` parses their formats, ``expressions`` evaluates
them, ``plugins`` has what trace-cmd spells its own way. ``reader`` makes the trace.
"""

from __future__ import annotations

from pathlib import Path

from tracemend.formats.base import Evidence, Format, Options
from tracemend.trace.events import Trace

#: What every trace.dat begins with.
MAGIC = b"\x17\x08\x44tracing"


def recognise(head: bytes) -> bool:
    """Whether the file starts with the magic number."""
    return head.startswith(MAGIC)


def _read(path: Path, options: Options) -> Trace:
    # every command lists the formats, few read this one
    from tracemend.formats.tracedat import reader

    return reader.read(path, options)


EVIDENCE = Evidence(
    marks="sub-buffers that are marked as following a loss, and the counters of each cpu (overrun, commit overrun, "
    "dropped events) that trace-cmd takes down at the end",
    complete="no such mark, and counters that are all zero; where there are no counters, no thread whose calls and "
    "returns don't pair",
    blind="where the file has no counters, what a buffer in drop mode (overwrite off) lost",
)
TITLE = "trace-cmd's trace.dat (versions 6 and 7)"
FORMAT = Format("trace.dat", TITLE, recognise, _read, EVIDENCE, "trace-cmd")
