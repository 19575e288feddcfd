"""``perf script``: with and without ``--ns``, with ``comm tid`` or ``comm pid/tid``, with and without the cpu.

Losses: with ``--show-lost-events`` a line ``PERF_RECORD_LOST lost k`` stands at the end of its gap, before the first
surviving event of that cpu's ring. ``PERF_RECORD_LOST_SAMPLES`` counts all that an event lost over the whole recording,
what the other marks count included; what it counts beyond them was lost at the end, on a cpu that nothing tells. perf
counts records of all kinds, so that its numbers can include a few that are no events (mappings, forks, exits).

Now and then a mark has ``[-01]`` for its cpu. It was written by the thread that it names, right before an
event of its own, and so by that one's cpu.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from tracemend.formats.base import Builder, Evidence, Format, Options
from tracemend.formats.ftrace import LOOKED_AT, parse_count
from tracemend.formats.kernel import Layout, read_chunk
from tracemend.formats.text import Lines, chunks, decode
from tracemend.trace.events import Mark, Trace
from tracemend.trace.evidence import Doubt

#: A counted event has its count in front of its name: ``250000 cycles:``.
EVENT = re.compile(
    rb"\s*+(?:(?P<comm>\S.{0,63}?)\s++)??(?:\d++/)?(?P<tid>-1|\d++)\s++(?:\[(?P<cpu>-?\d{1,5})\]\s++)?"
    rb"(?P<time>\d++\.\d++):\s++(?:\d++\s++)?(?P<event>\S)"
)
REMARK = b"PERF_RECORD_"
LOST = re.compile(rb"PERF_RECORD_LOST(?P<samples>_SAMPLES)? .*?lost (?:samples ?:? ?)?(?P<count>\d+)\s*$")
#: Comments of ``--header``, blank lines, the frames of a call chain (address, symbol, file) and perf's own remarks.
SILENT = re.compile(rb"#|\s*$|\s+[0-9a-f]{1,16} \S|\s*PERF_RECORD_|Warning:|Processed \d+|Check IO/CPU overload")

LAYOUT = Layout(EVENT, REMARK)


def recognise(head: bytes) -> bool:
    """Whether one of the first lines is an event."""
    looked = 0
    for line in head.splitlines():
        if LAYOUT.match(line):
            return True
        looked += not SILENT.match(line)
        if looked > LOOKED_AT:
            break
    return False


def fill(builder: Builder, text: Path) -> None:
    """Read the lines of ``text`` into the builder; raises TraceError."""
    samples = 0
    astray: list[tuple[int, int]] = []  # marks without a cpu, and the threads that they were written by

    def other(row: int, line: int, text: bytes) -> None:
        nonlocal samples
        event = LAYOUT.match(text)
        lost = LOST.match(text, event.start("event") if event else len(text) - len(text.lstrip()))
        if lost:
            count = parse_count(builder, line, lost["count"])
            if lost["samples"]:
                samples += count or 0
            elif event:
                cpu = int(event["cpu"] or -1)
                if cpu < 0 and event["cpu"]:
                    astray.append((len(builder.marks), int(event["tid"])))
                builder.marks.append(Mark(cpu, row, count, line))
        elif not event and not SILENT.match(text):
            builder.bad(line, f"no line of perf script: {decode(text[:80])!r}")

    for chunk, first in chunks(text):
        read_chunk(Lines(chunk, first), LAYOUT, builder, other)
    for number, tid in astray:
        mark = builder.marks[number]
        builder.marks[number] = replace(mark, cpu=builder.cpu_of(tid, mark.row))
    beyond = samples - sum(m.count or 0 for m in builder.marks)
    if beyond > 0:
        builder.warnings.append(f"{beyond} events more were lost at the end of the recording, which no mark places")


def read(path: Path, options: Options) -> Trace:
    """Read perf script's text; raises TraceError."""
    builder = Builder(path, "perf", options)
    fill(builder, path)
    builder.doubts.append(NOT_SHOWN)
    return builder.finish()


NOT_SHOWN = Doubt(
    "perf script prints losses only with --show-lost-events, and its text doesn't tell whether it had that",
    "Scan perf.data itself, which holds them.",
)
EVIDENCE = Evidence(
    marks="PERF_RECORD_LOST lost k, with --show-lost-events; perf's own line Processed n events and lost m chunks!",
    complete="",
    blind="everything, if it was printed without --show-lost-events, and nothing tells whether it was",
)
FORMAT = Format("perf", "perf script text (--ns --show-lost-events)", recognise, read, EVIDENCE, "perf")
