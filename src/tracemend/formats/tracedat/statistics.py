"""The ring buffers' own counters of lost events, which ``trace-cmd record`` takes down when it ends (option CPUSTAT).

They are each cpu's ``per_cpu/cpuN/stats`` behind a line ``CPU: N``, an instance's cpus behind a line ``Buffer: NAME``.
``overrun`` counts what marks in the sub-buffers count as well; what was overwritten after the last of them was read
has none. ``commit overrun`` (an interrupt found the buffer's end still being written) and ``dropped events`` (a full
buffer in drop mode) have none ever.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tracemend.formats.base import Builder
from tracemend.formats.ftrace import DROP_MODE
from tracemend.trace.evidence import Doubt, Unplaced

OVERRUN, COMMIT_OVERRUN, DROPPED = "overrun", "commit overrun", "dropped events"
_LINE = re.compile(r"(?:Buffer: (?P<buffer>.+)|CPU: (?P<cpu>\d{1,9})|(?P<name>[a-z ]{1,40}): (?P<value>\d{1,19}))\s*$")

#: Counters of each buffer's cpus: (name of the buffer, cpu).
Counters = dict[tuple[str, int], dict[str, int]]

NOT_COUNTED = Doubt(
    "ftrace marks nothing that a buffer in drop mode (overwrite off) loses, and this file has no counters of it",
    "Record with trace-cmd record, which takes down the counters at its end, or with overwrite on.",
    DROP_MODE.unless,
)


def parse(texts: list[str]) -> Counters:
    """The counters that the options' texts hold."""
    found: Counters = {}
    buffer, own = "", dict[str, int]()
    for line in (line for text in texts for line in text.splitlines()):
        match = _LINE.match(line)
        if match is None:
            continue
        if match["buffer"]:
            buffer = match["buffer"]
        elif match["cpu"]:
            own = found.setdefault((buffer, int(match["cpu"])), {})
        else:
            own[match["name"]] = int(match["value"])
    return found


def tell(builder: Builder, counters: Counters, streams: dict[tuple[str, int], int]) -> None:
    """Add to the builder, whose marks are complete, what the counters say beyond them.

    streams: the number of each buffer's cpu that has data.
    """
    marked: dict[int, int] = {}
    for mark in builder.marks:
        marked[mark.cpu] = marked.get(mark.cpu, 0) + (mark.count or 0)
    for (buffer, cpu), own in sorted(counters.items()):
        number = streams.get((buffer, cpu), -1)
        who = f"cpu {cpu}" + (f" of {buffer!r}" if buffer else "")
        for said, count in _beyond(own, marked.get(number, 0)):
            builder.unplaced.append(Unplaced(f"{who}: {count:,} {said}", count, cpu=number))
    if any(DROPPED not in counters.get(stream, ()) for stream in streams):
        builder.doubts.append(NOT_COUNTED)


def _beyond(own: dict[str, int], marked: int) -> Iterator[tuple[str, int]]:
    overwritten = own.get(OVERRUN, 0) - marked
    if overwritten > 0:
        yield "events overwritten" + (" beyond those that its marks count" if marked else ""), overwritten
    if own.get(COMMIT_OVERRUN):
        yield "events lost to interrupts that filled the buffer (commit overrun)", own[COMMIT_OVERRUN]
    if own.get(DROPPED):
        yield "events dropped by the full buffer", own[DROPPED]
