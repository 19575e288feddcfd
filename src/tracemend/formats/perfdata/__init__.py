"""``perf.data``: what it lost is read from its records by the package itself, its events as perf prints them.

``file`` finds everything in the file, ``records`` goes through the records. ``tool`` lets perf print the events, if
need be from a copy that an older perf can read; ``events`` makes them of the records where perf can't or isn't there.
``reader`` makes the trace.
"""

from __future__ import annotations

from pathlib import Path

from tracemend.formats.base import Evidence, Format, Options
from tracemend.trace.events import Trace

#: What every perf.data begins with, by the byte order of the machine that it was recorded on.
MAGIC = {b"PERFILE2": "<", b"2ELIFREP": ">"}


def recognise(head: bytes) -> bool:
    """Whether the file starts with the magic number."""
    return head[:8] in MAGIC


def _read(path: Path, options: Options) -> Trace:
    # every command lists the formats, few read this one
    from tracemend.formats.perfdata import reader

    return reader.read(path, options)


EVIDENCE = Evidence(
    marks="records of type LOST, LOST_SAMPLES and AUX (truncated, with gaps, collided)",
    complete="none of these records: the kernel writes one whenever a ring buffer had no room",
    blind="before Linux 6.1, losses after the last event that found room; what perf record --overwrite overwrote",
)
FORMAT = Format("perf.data", "perf.data (events as perf prints them)", recognise, _read, EVIDENCE, "perf", folder=True)
