"""Perfetto's traces: packets in the encoding of protocol buffers, with the kernel's events in bundles.

``wire`` reads that encoding, ``packets`` splits the file, ``schema`` has the numbers of the public schema (its table is
made by scripts/make_perfetto_table.py). ``bundles`` takes in the bundles of events, ``events`` decodes them, ``clocks``
brings their times to boot time, ``merging`` puts all cpus' in order, ``losses`` reads the statistics. ``reader`` makes
the trace.

Read are the kernel's events (ftrace) alone: Perfetto's own track events belong to no cpu's buffer and are passed over,
counted and told. So what ``outputs.perfetto`` writes has no event when it is read again, and what it infers can't come
to be taken for a fact.
"""

from __future__ import annotations

from pathlib import Path

from tracemend.formats.base import Evidence, Format, Options
from tracemend.formats.perfetto.packets import recognise
from tracemend.trace.events import Trace


def _read(path: Path, options: Options) -> Trace:
    # every command lists the formats, few read this one
    from tracemend.formats.perfetto import reader

    return reader.read(path, options)


EVIDENCE = Evidence(
    marks="bundles that follow a loss (without a number), errors in reading the kernel's buffers, lost packets, and in "
    "the statistics events overrun or dropped by cpu, chunks and packets that Perfetto's own buffers lost",
    complete="no such mark, and statistics of the end that are all zero",
    blind="what happened behind the last read of the kernel's buffers",
)
TITLE = "Perfetto's trace (protobuf)"
FORMAT = Format("perfetto", TITLE, recognise, _read, EVIDENCE, "perfetto")
