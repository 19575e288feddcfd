"""``perf script``: with and without ``--ns``, with ``comm tid`` or ``comm pid/tid``, with and without the cpu.

Losses: with ``--show-lost-events`` a line ``PERF_RECORD_LOST lost k`` stands at the end of its gap, before the first
surviving event of that cpu's ring. ``PERF_RECORD_LOST_SAMPLES`` counts all that an event lost over the whole recording,
what the other marks count included; what it counts beyond them was lost at the end, on a cpu that nothing tells. perf
counts records of all kinds, so that its numbers can include a few that are no events (mappings, forks, exits). Without
that option perf's own remarks ("Processed n events and lost m chunks!") may stand in the text, and nothing else.

Now and then a mark has ``[-01]`` for its cpu. It was written by the thread that it names, right before an
event of its own, and so by that one's cpu.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tracemend.errors import TraceError
from tracemend.formats.base import Builder, Clock, Evidence, Format, Options, Pieces
from tracemend.formats.kernel import Layout, Parsed, parse
from tracemend.formats.text import LOOKED_AT, Lines, ahead, chunks, decode
from tracemend.trace.events import Mark, Trace
from tracemend.trace.evidence import Doubt, Unplaced

#: A counted event has its count in front of its name: ``250000 cycles:``.
EVENT = re.compile(
    rb"\s*+(?:(?P<comm>\S.{0,63}?)\s++)??(?:(?P<process>\d++)/)?(?P<tid>-1|\d++)\s++(?:\[(?P<cpu>-?\d{1,5})\]\s++)?"
    rb"(?P<time>\d++\.\d++):\s++(?:\d++\s++)?(?P<event>\S)"
)
REMARK = b"PERF_RECORD_"
LOST = re.compile(rb"PERF_RECORD_LOST(?P<samples>_SAMPLES)? .*?lost (?:samples ?:? ?)?(?P<count>\d+)\s*$")
#: Comments of ``--header``, blank lines, the frames of a call chain (address, symbol, file) and perf's own remarks.
SILENT = re.compile(
    rb"#|\s*$|\s+[0-9a-f]{1,16} \S|\s*PERF_RECORD_|Warning:|WARNING:|\[ perf record: |Check IO/CPU overload|"
    rb"Are you running a KVM guest|Do you have a KVM guest|Is this an older tool|If that is not the case, consider"
)
#: What perf remarks of losses, in its own words: the pattern (which may have a number), what that means, and of what.
#: Those of chunks and samples say again what marks say, where there are some.
REMARKS: tuple[tuple[re.Pattern[bytes], str, str], ...] = (
    (
        re.compile(rb"Processed \d+ events and lost (\d+) chunks!"),
        "perf says it lost {0} chunks; record the text with --show-lost-events to see where",
        "chunks",
    ),
    (
        re.compile(rb"Processed (\d+) samples and lost (?P<share>[\d.]+)%!"),
        "perf says it lost {1} % of {0} samples",
        "samples",
    ),
    (re.compile(rb"(?:Warning: )?LOST (\d+) events\b"), "perf says it lost {0} events", "events"),
    (re.compile(rb"(?:# Total Lost Samples: |(?=\d+ lost samples))(\d+)"), "perf says it lost {0} samples", "samples"),
    (re.compile(rb"AUX data lost (\d+) times"), "perf says AUX data were lost {0} times", "AUX"),
    (re.compile(rb"AUX data had gaps in it (\d+) times"), "perf says AUX data had gaps {0} times", "AUX"),
    (re.compile(rb"AUX data detected collision +(\d+) times"), "perf says AUX data collided {0} times", "AUX"),
    (re.compile(rb"(\d+) events with unknown id!"), "perf passed over {0} events that it couldn't tell", "events"),
    (re.compile(rb"(\d+) unprocessable samples recorded"), "perf passed over {0} samples of a guest", "samples"),
)
REPEATED = ("chunks", "samples")
#: What perf remarks of else.
ODD = re.compile(rb"Found \d+ unknown events!|\d+ out of order events recorded|Found invalid callchains!.*")
#: An event without a time.
TIMELESS = re.compile(
    rb"\s*+(?:\S.{0,63}?\s++)??(?:\d++/)?(?:-1|\d++)\s++(?:\[-?\d{1,5}\]\s++)?(?:\d++\s++)?"
    rb"(?:[\w.-]++(?::[\w.-]++)*+:+(?:\s|$)|PERF_RECORD_)"
)
WITHOUT_TIMES = "perf script without times: record with -T (--timestamp), print with -F +time"

LAYOUT = Layout(EVENT, REMARK, counted=True)


def recognise(head: bytes) -> bool:
    """Whether one of the first lines is an event."""
    looked = 0
    for line in head.splitlines():
        if LAYOUT.match(line):
            return True
        looked += not SILENT.match(line)
        if looked > LOOKED_AT:
            break
    return without_times(head)  # to be told what it lacks


def without_times(head: bytes) -> bool:
    """Whether these first lines are perf script's, printed without the events' times."""
    looked = head.splitlines()[: 4 * LOOKED_AT]
    timeless = [bool(TIMELESS.match(line)) for line in looked]
    others = sum(not t and not SILENT.match(line) for t, line in zip(timeless, looked, strict=True))
    return sum(timeless) > max(1, others) and not any(map(LAYOUT.match, looked))


def remark(builder: Builder, line: int, text: bytes) -> bool:
    """Take in a line that perf says something in itself; False if it isn't one."""
    if text[:1].isspace():  # a frame of a call chain
        return False
    for pattern, said, unit in REMARKS:
        found = pattern.search(text)
        if found:
            count, share = int(found[1][:18]), found.groupdict().get("share")
            if count:
                words = said.format(f"{count:,}", decode(share or b""))
                builder.unplaced.append(Unplaced(words, count if share is None else None, unit, line=line))
            return True
    odd = ODD.search(text)
    if odd:
        builder.warnings.append(f"perf says: {decode(odd[0][:200])}")
    return odd is not None


def fill(builder: Builder, pieces: Pieces) -> None:
    """Read a text into the builder; raises TraceError."""
    samples = 0
    astray: list[tuple[int, int]] = []  # marks without a cpu, and the threads that they were written by

    def other(row: int, line: int, text: bytes) -> None:
        nonlocal samples
        event = LAYOUT.match(text)
        lost = LOST.match(text, event.start("event") if event else len(text) - len(text.lstrip()))
        if lost:
            count = builder.count(line, lost["count"])
            if lost["samples"]:
                samples += count or 0
            elif event:
                cpu = int(event["cpu"] or -1)
                if cpu < 0 and event["cpu"]:
                    astray.append((len(builder.marks), int(event["tid"])))
                builder.marks.append(Mark(cpu, row, count, line))
        elif not event and not remark(builder, line, text) and not SILENT.match(text):
            builder.bad(line, f"no line of perf script: {decode(text[:80])!r}")

    def settle() -> None:
        """Give marks that are astray the cpu that their thread is on."""
        for number, tid in astray:
            mark = builder.marks[number]
            builder.marks[number] = replace(mark, cpu=builder.cpu_of(tid, mark.row))

    def timed() -> Iterator[tuple[bytes, int]]:
        for chunk, first in pieces:
            if first == 1 and without_times(chunk[: 1 << 16]):
                raise TraceError(builder.path, 1, WITHOUT_TIMES)
            builder.reading(chunk, first)
            yield chunk, first

    def work(piece: tuple[bytes, int]) -> Parsed:
        return parse(Lines(*piece), LAYOUT, builder.options.arch)

    for parsed in ahead(timed(), work, builder.options.jobs):
        parsed.add_to(builder, other)
        if builder.options.sink:  # before the events around it are gone
            settle()
    settle()
    beyond = samples - sum(m.count or 0 for m in builder.marks)
    if beyond > 0:
        said = f"{beyond:,} events more were lost at the end of the recording, which no mark places"
        builder.unplaced.append(Unplaced(said, beyond))
    if builder.marks or beyond > 0:
        builder.unplaced = [u for u in builder.unplaced if not u.line or u.unit not in REPEATED]


def fill_bare(builder: Builder, pieces: Pieces) -> Clock:
    """Read a text of which nobody knows how it was printed; raises TraceError."""
    fill(builder, pieces)
    if not builder.marks:
        builder.doubts.append(NOT_SHOWN)
    return "ns"


def read(path: Path, options: Options) -> Trace:
    """Read perf script's text; raises TraceError."""
    builder = Builder(path, "perf", options)
    return builder.finish(fill_bare(builder, chunks(path)))


NOT_SHOWN = Doubt(
    "perf script prints losses only with --show-lost-events, and its text doesn't tell whether it had that",
    "Scan perf.data itself, which holds them.",
)
EVIDENCE = Evidence(
    marks="PERF_RECORD_LOST lost k, with --show-lost-events; perf's own line Processed n events and lost m chunks!",
    complete="",
    blind="everything, if it was printed without --show-lost-events, and nothing tells whether it was",
)
TITLE = "perf script text (--ns --show-lost-events)"
FORMAT = Format("perf", TITLE, recognise, read, EVIDENCE, "perf", fill=fill_bare, in_pieces=True)
