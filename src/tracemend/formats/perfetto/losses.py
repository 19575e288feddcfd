"""What Perfetto's statistics tell of losses: the kernel's buffers by cpu, and Perfetto's own buffers.

The kernel's counters are taken at the beginning and at every flush, so at the end: what they rose by was lost
meanwhile. They count what was lost in gaps, too, which the bundles mark without a number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tracemend.formats.base import Builder
from tracemend.formats.perfetto.wire import Message, message, number, repeated, within
from tracemend.formats.text import decode
from tracemend.trace.evidence import Doubt, Unplaced, plural

_START, _END = 1, 2  # FtraceStats.Phase
_FAILED = 2  # TraceStats.FinalFlushOutcome
#: FtraceCpuStats: what each counter counts.
COUNTERS = {
    3: "overwritten in the kernel's buffer",
    4: "that the kernel's buffer could not commit",
    8: "dropped by the kernel's buffer, which was full",
}
#: BufferStats: what each counter counts, and in which unit.
BUFFER = {
    3: ("overwrote {n:,} chunks before they were read", "chunks"),
    18: ("had no room for {n:,} chunks", "chunks"),
    6: ("could not complete {n:,} packets", "packets"),
    9: ("was given {n:,} chunks or packets that break its rules", "chunks"),
    19: ("was told {n:,} times that a producer had lost packets", "losses of packets"),
}
#: TraceStats: the same for what no buffer has.
SERVICE = {
    8: ("discarded {n:,} chunks", "chunks"),
    9: ("discarded {n:,} corrections of packets", "packets"),
    10: ("discarded {n:,} packets that were not valid", "packets"),
}

NO_STATISTICS = Doubt(
    "it has no statistics of its end, in which Perfetto counts what its buffers and the kernel's lost",
    "Record again, let the recording come to its end, and keep the whole file.",
)
NO_KERNEL = Doubt(
    "it holds no events of the kernel, and others (track events) are not read",
    "Record the data source linux.ftrace as well.",
)
FLUSH_FAILED = Doubt(
    "the last flush failed: what was on its way to Perfetto's buffers then is missing",
    "Record again with a longer flush_timeout_ms.",
)


@dataclass(slots=True)
class Statistics:
    """The statistics of a trace, the kernel's by source (which sequence of packets tells them)."""

    begin: dict[int, dict[int, dict[int, int]]] = field(default_factory=dict)
    end: dict[int, dict[int, dict[int, int]]] = field(default_factory=dict)
    service: Message = field(default_factory=dict)
    buffers: list[Message] = field(default_factory=list)
    unparsed: bool = False

    def kernel(self, data: bytes, source: int, builder: Builder) -> None:
        """Take in a FtraceStats. Raises WireError."""
        about = message(data)
        cpus = {number(c, 1): {key: number(c, key) for key in COUNTERS} for c in within(about, 2)}
        if number(about, 1) == _START:
            self.begin.setdefault(source, cpus)
        elif number(about, 1) == _END:
            self.end[source] = cpus
        self.unparsed |= bool(len(repeated(about, 9)))
        missing = [decode(n) for key in (6, 7) for n in about.get(key, ()) if isinstance(n, bytes)]
        if missing and number(about, 1) == _END:
            builder.warnings.append(f"asked for, but not recorded: {', '.join(missing)}")

    def own(self, data: bytes) -> None:
        """Take in a TraceStats; the last one tells of the whole trace. Raises WireError."""
        about = message(data)
        self.buffers, self.service = within(about, 1), about

    def unplaced(self, gaps: set[int], stride: int) -> Iterator[Unplaced]:
        """The losses, ``gaps``: the streams that have gaps."""
        for source, cpus in self.end.items():
            before = self.begin.get(source, {})
            for cpu, counters in sorted(cpus.items()):
                stream = cpu + stride * source
                for key, what in COUNTERS.items():
                    then, now = before.get(cpu, {}).get(key, 0), counters[key]
                    lost = now - then if now >= then else now  # less: the buffer was set up anew meanwhile
                    if lost:
                        within_gaps = ", those of its gaps among them" if stream in gaps else ""
                        said = f"cpu {cpu}: {plural(lost, 'event')} {what}{within_gaps}"
                        yield Unplaced(said, lost, cpu=stream)
        if self.unparsed:
            yield Unplaced("Perfetto could not make sense of a part of the kernel's buffers", None)
        for index, buffer in enumerate(self.buffers):
            yield from _counted(buffer, BUFFER, f"Perfetto's buffer {index}")
        yield from _counted(self.service, SERVICE, "Perfetto's service")

    def doubts(self, sources: set[int]) -> Iterator[Doubt]:
        """Why more may have been lost; ``sources`` have events."""
        if not self.service or not sources <= set(self.end):
            yield NO_STATISTICS
        if not sources:
            yield NO_KERNEL
        if number(self.service, 15) == _FAILED or number(self.service, 14):
            yield FLUSH_FAILED


def _counted(found: Message, counters: dict[int, tuple[str, str]], whose: str) -> Iterator[Unplaced]:
    for key, (what, unit) in counters.items():
        n = number(found, key)
        if n:
            yield Unplaced(f"{whose} {what.format(n=n)}", n, unit)
