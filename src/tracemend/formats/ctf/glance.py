"""What a CTF trace lost, by the headers of its packets alone: no event is read."""

from __future__ import annotations

from pathlib import Path

from tracemend.formats.base import Builder, Options
from tracemend.formats.ctf.event_names import Kinds
from tracemend.formats.ctf.streams import all_streams, doubts, open_traces, warnings
from tracemend.trace.events import Gap, Glance, Known, StreamHeads


def glance(path: Path, options: Options) -> Glance:
    """Read the headers of a trace's packets; raises TraceError."""
    builder = Builder(path, "ctf", options, pieces="packets")
    traces = open_traces(path, builder, Kinds(builder))
    streams = all_streams(traces)
    if not streams:
        builder.finish()  # raises where there is something, but nothing that can be read
    streams.sort(key=lambda s: s.number)
    heads: list[StreamHeads] = []
    gaps: list[Gap] = []
    for s in streams:
        sizes = sum(p.size for p in s.packets)
        heads.append(StreamHeads(s.number, len(s.packets), sizes, s.span(0)[0], s.span(-1)[1]))
        for lost in s.trace.losses(s):
            begin, end = s.span(lost.after)
            begin = begin if lost.begin is None else s.ns(lost.begin)
            end = end if lost.end is None else s.ns(lost.end)
            known: Known = "uncounted" if lost.count is None else "counted"
            gaps.append(Gap(len(gaps), s.number, None, None, begin, max(begin, end), lost.count, known, lost.after))
    told = (*builder.warnings, *builder.passed_over(), *warnings(traces, streams))
    return Glance(path, "ctf", tuple(heads), tuple(gaps), told, tuple(builder.unplaced), tuple(doubts(streams)))
