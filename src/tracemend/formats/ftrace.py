"""ftrace's text: ``trace_pipe``, ``trace`` and ``trace-cmd report`` (with and without ``-t``, and with ``-l``), in all
formats that the kernel's options give its lines; ``funcgraph`` reads those of the ``function_graph`` tracer.

Losses: ``CPU:n [LOST k EVENTS]`` (trace_pipe) and ``CPU:n [k EVENTS DROPPED]`` (trace-cmd), each also without a number,
stand before the first surviving event of that cpu. The ``trace`` file's header tells how many events were written and
how many are left. Without its header a line ``##### CPU n buffer started ####`` still says that some buffer overran:
the kernel writes it only then. Statistics of the buffers, where someone kept them with the text, say it, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tracemend.formats import funcgraph
from tracemend.formats.base import Builder, Clock, Evidence, Format, Options, Pieces
from tracemend.formats.kernel import Layout, Parsed, parse
from tracemend.formats.text import LOOKED_AT, Lines, ahead, chunks, decode
from tracemend.trace.events import Mark, Trace
from tracemend.trace.evidence import Doubt, Unplaced

#: Thread, cpu and flags in front of the time: as usual, in the latency format, and in its verbose one.
USUAL = (
    rb"\s*+(?P<comm>.*?)-(?P<tid>\d++)\s++(?:\(\s*+(?P<process>[\d-]++)\)\s++)?\[(?P<cpu>\d{1,5})\]\s++"
    rb"(?:[^\s:]++\s++)?"
)
LATENCY = rb"\s*+(?P<comm>.*?)-(?P<tid>\d++)\s++(?P<cpu>\d{1,5})[^\s\d:][^\s:]*+\s++"
VERBOSE = rb"\s*+(?P<comm>\S.*?)\s++(?P<tid>\d++)\s++(?P<cpu>\d{1,5}) \d+ [\da-f]{8} [\da-f]{8} \[[\da-f]+\] "
SECONDS, TICKS = rb"(?P<time>\d++\.\d++):\s++(?P<event>\S)", rb"(?P<time>\d++):\s++(?P<event>\S)"
MARK = re.compile(rb"CPU:(?P<cpu>\d{1,5}) \[(?:LOST )?(?:(?P<count>\d+) )?EVENTS(?: DROPPED)?\]\s*$")
WRITTEN = re.compile(rb"# (?:entries-in-buffer/entries-written: |latency: \d+ us, #)(\d{1,18})/(\d{1,18})\b")
#: Lines that carry no event: comments, blank lines, trace-cmd's preamble, stack traces of the trace file.
SILENT = re.compile(
    rb"#|\s*$|cpus=\d+$|version = |CPU \d+ is empty|trace-cmd|\s*=> |\s*<(?:user )?stack|TRACE:|Tracing\b.*\.\.\."
    rb"|Tracing\b.*Ctrl-C|Ending tracing|capturing trace"
)
STARTED = re.compile(rb"##### CPU \d+ buffer started ####$")
#: What per_cpu/cpuN/stats and ``trace-cmd report --stat`` say, a number a line.
STATISTIC = re.compile(
    rb"(?:(?P<cpu>CPU)|(?P<lost>overrun|dropped events)|commit overrun|entries|bytes|oldest event ts|now ts"
    rb"|read events): +(?P<number>\d{1,18})(?:\.\d+)?\s*$"
)
LAYOUT = Layout(re.compile(USUAL + SECONDS))
#: The other ways in which a line may be laid out; all lines of a file are laid out alike.
LAYOUTS = (
    LAYOUT,
    TICKING := Layout(re.compile(USUAL + TICKS), unit_ns=1),
    Layout(re.compile(LATENCY + SECONDS)),
    Layout(re.compile(LATENCY + rb"(?P<time>\d++)us.:\s*+(?P<event>\S)"), unit_ns=1_000),
    TICKING_LATENCY := Layout(re.compile(LATENCY + TICKS), unit_ns=1),
    Layout(re.compile(VERBOSE + rb"(?P<time>\d++\.\d{3})ms \([^)]*+\): (?P<event>\S)"), unit_ns=1_000_000),
)

#: Stands for the lines of ``function_graph``, which are laid out as ``funcgraph`` says.
GRAPH = Layout(funcgraph.LINE)
#: So many bytes of a piece say how its lines are laid out.
DECIDED_BY = 1 << 16

DROP_MODE = Doubt(
    "ftrace marks nothing that a buffer in drop mode (overwrite off) loses",
    "Look at dropped events in /sys/kernel/tracing/per_cpu/cpu*/stats, or record with overwrite on.",
    "unless it was recorded with overwrite off",
)
NO_HEADER = Doubt(
    "the trace file tells only in its header what was overwritten, and this text has none",
    "Keep the header of the trace file, or read trace_pipe, which marks its losses.",
    "unless it is a part of a trace file",
)
#: Lines that only ``trace-cmd report`` prints: the number of cpus, and its own spelling of a loss.
TRACE_CMD = re.compile(rb"cpus=\d+$|CPU:\d+ \[.*EVENTS DROPPED\]")


def recognise(head: bytes) -> bool:
    """Whether one of the first lines is an event, a mark or the header of ``trace``."""
    looked = 0
    for line in head.splitlines():
        if MARK.match(line) or line.startswith(b"# tracer:") or layout_of(line) or funcgraph.matches(line):
            return True
        looked += not SILENT.match(line)
        if looked > LOOKED_AT:
            break
    return False


def layout_of(line: bytes) -> Layout | None:
    """How an event's line is laid out; None if it is none."""
    return next((layout for layout in LAYOUTS if layout.match(line)), None)


def _layout(chunk: bytes) -> Layout | None:
    """How the first event in a piece is laid out: as GRAPH a call of ``function_graph``; None if no line tells."""
    for line in chunk[:DECIDED_BY].splitlines():
        if line.startswith(funcgraph.HEADER) or funcgraph.matches(line):
            return GRAPH
        if layout := layout_of(line):
            return layout
    return None


@dataclass(slots=True)
class _Remarks:
    """What the lines that are no events say of losses."""

    builder: Builder
    headed: bool = False
    reported: bool = False
    started: int = 0
    cpu: int = -1
    #: By cpu, events lost by its statistics, and the line.
    lost: dict[int, tuple[int, int]] = field(default_factory=dict)

    def __call__(self, row: int, line: int, text: bytes) -> None:
        if TRACE_CMD.match(text):
            self.builder.tracer = "trace-cmd"
        elif text.startswith(b"TRACE:"):
            self.builder.tracer = "atrace"
        mark = MARK.match(text)
        if mark:
            count = self.builder.count(line, mark["count"]) if mark["count"] else None
            self.builder.marks.append(Mark(int(mark["cpu"]), row, count, line))
        elif written := WRITTEN.match(text):
            self.headed = True
            self.builder.overwritten += max(0, int(written[2]) - int(written[1]))
        elif text.startswith(b"cpus="):
            self.reported = True
        elif STARTED.match(text):
            self.started = self.started or line
        elif statistic := STATISTIC.match(text):
            number = int(statistic["number"])
            if statistic["cpu"]:
                self.cpu = number
            elif statistic["lost"]:
                self.lost[self.cpu] = self.lost.get(self.cpu, (0, line))[0] + number, line
        elif not SILENT.match(text):
            self.builder.bad(line, f"no ftrace line: {decode(text[:80])!r}")

    def finish(self) -> None:
        """Add the losses that have no place."""
        builder = self.builder
        if not self.headed and not self.reported:
            builder.doubts.append(NO_HEADER)
        if self.started and not self.headed:
            said = "ftrace says where a cpu's buffer starts, which it does only after one was overwritten"
            builder.unplaced.append(Unplaced(said, None, "events", -1, self.started))
        for cpu, (number, line) in self.lost.items():
            marked = [m.count for m in builder.marks if cpu in (m.cpu, -1)]
            beyond = number - sum(c or 0 for c in marked)
            if beyond > 0 and None not in marked:
                where = f" of cpu {cpu}" if cpu >= 0 else ""
                said = f"the statistics{where} count {beyond:,} events lost beyond those that marks place"
                builder.unplaced.append(Unplaced(said, beyond, "events", cpu, line))


def fill(builder: Builder, pieces: Pieces) -> Clock:
    """Read a text into the builder, and say what its clock counts; raises TraceError."""
    remarks, graph = _Remarks(builder), funcgraph.Graph(builder)
    layout: Layout | None = None

    def laid_out() -> Iterator[tuple[bytes, int, Layout | None]]:
        nonlocal layout
        for chunk, first in pieces:
            builder.reading(chunk, first)
            layout = layout or _layout(chunk)
            builder.nested = layout is GRAPH
            yield chunk, first, layout

    def work(piece: tuple[bytes, int, Layout | None]) -> Parsed | tuple[bytes, int]:
        chunk, first, own = piece
        return (chunk, first) if own is GRAPH else parse(Lines(chunk, first), own or LAYOUT, builder.options.arch)

    for done in ahead(laid_out(), work, builder.options.jobs):
        if isinstance(done, Parsed):
            done.add_to(builder, remarks)
        else:
            graph.read(Lines(*done), remarks)
    builder.doubts.append(DROP_MODE)
    remarks.finish()
    if layout in (TICKING, TICKING_LATENCY):
        builder.warnings.append("the clock counts ticks: times are as it counted, and no seconds")
        return "index"
    return "ns" if layout is not GRAPH or graph.timed else "index"


def read(path: Path, options: Options) -> Trace:
    """Read ftrace's text; raises TraceError."""
    builder = Builder(path, "ftrace", options)
    return builder.finish(fill(builder, chunks(path)))


EVIDENCE = Evidence(
    marks="CPU:n [LOST k EVENTS] (trace_pipe), CPU:n [k EVENTS DROPPED] (trace-cmd report), and in the header of the "
    "trace file fewer entries in the buffer than were written",
    complete="no mark, and events that fit together",
    blind="what a buffer in drop mode (overwrite off) lost: only per_cpu/cpuN/stats counts it; what was overwritten "
    "before a trace file was read, if its header isn't kept",
)
TITLE = "ftrace text (trace_pipe, trace, trace-cmd report, atrace, perf-tools)"
FORMAT = Format("ftrace", TITLE, recognise, read, EVIDENCE, "ftrace", fill=fill, in_pieces=True)
