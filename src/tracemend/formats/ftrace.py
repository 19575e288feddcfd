"""ftrace's text: ``trace_pipe``, ``trace`` and ``trace-cmd report`` (with and without ``-t``).

Losses: ``CPU:n [LOST k EVENTS]`` (trace_pipe) and ``CPU:n [k EVENTS DROPPED]`` (trace-cmd), each also without a number,
stand before the first surviving event of that cpu. The ``trace`` file's header tells how many events were written and
how many are left.
"""

from __future__ import annotations

import re
from pathlib import Path

from tracemend.formats.base import Builder, Evidence, Format, Options
from tracemend.formats.kernel import Layout, read_chunk
from tracemend.formats.text import Lines, chunks, decode
from tracemend.trace.events import Mark, Trace
from tracemend.trace.evidence import Doubt

EVENT = re.compile(
    rb"\s*+(?P<comm>.*?)-(?P<tid>\d++)\s++(?:\(\s*+[\d-]++\)\s++)?\[(?P<cpu>\d{1,5})\]\s++(?:[^\s:]++\s++)?"
    rb"(?P<time>\d++(?:\.\d++)?):\s++(?P<event>\S)"
)
MARK = re.compile(rb"CPU:(?P<cpu>\d{1,5}) \[(?:LOST )?(?:(?P<count>\d+) )?EVENTS(?: DROPPED)?\]\s*$")
WRITTEN = re.compile(rb"# entries-in-buffer/entries-written: (\d{1,18})/(\d{1,18})\b")
#: Lines that carry no event: comments, blank lines, trace-cmd's preamble, stack traces of the trace file.
SILENT = re.compile(
    rb"#|\s*$|cpus=\d+$|version = |CPU \d+ is empty|trace-cmd|\S+: \d+ events? lost|\s*=> |\s*<(?:user )?stack"
)
#: More lost events than this in one mark is damage, not a loss: no buffer runs over by 2^40 events.
MOST_LOST = 1 << 40
#: A file may begin with the rest of a line that was cut off: so many lines are looked at for the first event.
LOOKED_AT = 50

LAYOUT = Layout(EVENT)

DROP_MODE = Doubt(
    "ftrace marks nothing that a buffer in drop mode (overwrite off) loses",
    "Look at dropped events in /sys/kernel/tracing/per_cpu/cpu*/stats, or record with overwrite on.",
    "unless it was recorded with overwrite off",
)


def recognise(head: bytes) -> bool:
    """Whether one of the first lines is an event, a mark or the header of ``trace``."""
    looked = 0
    for line in head.splitlines():
        if MARK.match(line) or LAYOUT.match(line) or line.startswith(b"# tracer:"):
            return True
        looked += not SILENT.match(line)
        if looked > LOOKED_AT:
            break
    return False


def parse_count(builder: Builder, line: int, text: bytes) -> int | None:
    """A mark's number of lost events; None, once reported as a bad line, when no buffer can have lost so many."""
    count = int(text) if len(text) < 20 else MOST_LOST
    if count < MOST_LOST:
        return count
    builder.bad(line, f"a loss of {decode(text[:40])} events can't be true")
    return None


def fill(builder: Builder, text: Path) -> None:
    """Read the lines of ``text`` into the builder; raises TraceError."""

    def other(row: int, line: int, text: bytes) -> None:
        mark = MARK.match(text)
        if mark:
            count = parse_count(builder, line, mark["count"]) if mark["count"] else None
            builder.marks.append(Mark(int(mark["cpu"]), row, count, line))
            return
        written = WRITTEN.match(text)
        if written:
            builder.overwritten = max(0, int(written[2]) - int(written[1]))
        elif not SILENT.match(text):
            builder.bad(line, f"no ftrace line: {decode(text[:80])!r}")

    for chunk, first in chunks(text):
        read_chunk(Lines(chunk, first), LAYOUT, builder, other)


def read(path: Path, options: Options) -> Trace:
    """Read ftrace's text; raises TraceError."""
    builder = Builder(path, "ftrace", options)
    fill(builder, path)
    builder.doubts.append(DROP_MODE)
    return builder.finish()


EVIDENCE = Evidence(
    marks="CPU:n [LOST k EVENTS] (trace_pipe), CPU:n [k EVENTS DROPPED] (trace-cmd report), and in the header of the "
    "trace file fewer entries in the buffer than were written",
    complete="no mark, and no thread whose calls and returns don't pair",
    blind="what a buffer in drop mode (overwrite off) lost: only per_cpu/cpuN/stats counts it",
)
FORMAT = Format("ftrace", "ftrace text (trace_pipe, trace, trace-cmd report)", recognise, read, EVIDENCE, "ftrace")
