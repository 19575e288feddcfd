"""The trace of Perfetto's packets: every cpu's events in boot time, merged in its order.

Read are the kernel's events (ftrace, one by one and compact), what threads are called, clocks, and the statistics of
losses. A sequence of packets that holds events of its own (a second session, another machine) is a set of streams of
its own: the first one keeps the cpus' numbers, each other one adds 1000 more.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tracemend.formats.base import Builder, Options
from tracemend.formats.perfetto import schema
from tracemend.formats.perfetto.bundles import Bundles
from tracemend.formats.perfetto.clocks import Clocks
from tracemend.formats.perfetto.losses import Statistics
from tracemend.formats.perfetto.merging import Merging
from tracemend.formats.perfetto.packets import Packet, packets
from tracemend.formats.perfetto.wire import LENGTH, WireError, message, number, raw, walk, within
from tracemend.formats.text import decode
from tracemend.trace.events import Trace
from tracemend.trace.evidence import Unplaced
from tracemend.trace.syscalls import DEFAULT_ARCH, architectures

# TracePacket
BUNDLE, PROCESSES, SNAPSHOT, KERNEL_STATISTICS, STATISTICS, SYSTEM = 1, 2, 6, 34, 35, 45
SEQUENCE, DROPPED, MACHINE = 10, 42, 98
#: Kinds of packets that tell of the recording and not of what was recorded: nothing is missed by passing over them.
ABOUT = {"trace_config", "trace_uuid", "synchronization_marker", "service_event", "trace_provenance", "cpu_info"}
ARCHITECTURES = {"i686": "i386", "i386": "i386", "armv7l": "arm", "armv8l": "arm"}


@dataclass(slots=True)
class _Reader:
    """What the packets told so far."""

    builder: Builder
    bundles: Bundles
    clocks: Clocks = field(default_factory=Clocks)
    statistics: Statistics = field(default_factory=Statistics)
    names: dict[int, str] = field(default_factory=dict)
    sources: dict[tuple[int, int], int] = field(default_factory=dict)
    seen: set[tuple[int, int]] = field(default_factory=set)
    #: Packets lost on a sequence, in front of a bundle.
    dropped: list[tuple[tuple[int, int], int]] = field(default_factory=list)
    other: Counter[int] = field(default_factory=Counter)

    def take(self, packet: Packet) -> None:
        """Read one packet. Raises WireError."""
        content, key, told, dropped = [], [0, 0], packet.data, 0
        for n, wire, value, end in walk(told, 0, len(told)):
            if wire == LENGTH:
                content.append((n, value, end))
            elif n == SEQUENCE:
                key[1] = value
            elif n == MACHINE:
                key[0] = value
            elif n == DROPPED:
                dropped = value
        sequence = key[0], key[1]
        if dropped and sequence in self.seen:  # the first packet of each sequence says so, too
            self.dropped.append((sequence, len(self.bundles.all)))
        self.seen.add(sequence)
        for n, begin, end in content:
            if n == BUNDLE:
                self.bundles.add(packet, begin, end, self.source(sequence))
                self.bundles.decode(self.arch)
            elif n == SNAPSHOT:
                self.clocks.add(told[begin:end])
            elif n == PROCESSES:
                self.processes(told[begin:end])
            elif n == KERNEL_STATISTICS:
                self.statistics.kernel(told[begin:end], self.source(sequence), self.builder)
            elif n == STATISTICS:
                self.statistics.own(told[begin:end])
            elif n == SYSTEM:
                self.system(told[begin:end])
            elif n in schema.packet_names():
                self.other[n] += 1

    def source(self, sequence: tuple[int, int]) -> int:
        return self.sources.setdefault(sequence, len(self.sources))

    def system(self, data: bytes) -> None:
        """Take in a SystemInfo. Raises WireError."""
        about = message(data)
        (kernel,) = within(about, 1)[-1:] or [{}]
        said = {"recorder": raw(about, 4), "kernel": raw(kernel, 3), "machine": raw(kernel, 4)}
        self.builder.provenance.update({k: decode(v) for k, v in said.items() if v})

    @property
    def arch(self) -> str:
        """The architecture asked for, or that of the machine that the trace is of."""
        asked = self.builder.options.arch
        machine = str(self.builder.provenance.get("machine", ""))
        own = ARCHITECTURES.get(machine, machine)
        return own if asked == DEFAULT_ARCH and own in architectures() else asked

    def processes(self, data: bytes) -> None:
        """Take in a ProcessTree. Raises WireError."""
        about = message(data)
        belong = self.builder.processes
        for process in within(about, 1):
            belong[number(process, 1)] = number(process, 1)
            words = [decode(w) for w in process.get(3, ()) if isinstance(w, bytes)]
            if words and words[0]:
                exact = number(process, 9) or number(process, 8)
                self.names.setdefault(number(process, 1), words[0] if exact else Path(words[0]).name[:15])
        for thread in within(about, 2):
            if 3 in thread:
                belong[number(thread, 1)] = number(thread, 3)
            if raw(thread, 2):
                self.names[number(thread, 1)] = decode(raw(thread, 2))

    def finish(self) -> Trace:
        """The trace of all that was read. Raises TraceError."""
        about, bundles = self.builder, self.bundles.all
        self.bundles.decode(self.arch, least=1)
        stride = 1000
        while stride <= max((b.cpu for b in bundles), default=0):
            stride *= 10
        kernel = {b.source for b in bundles}
        dropped = [(self.sources.get(sequence, -1), index) for sequence, index in self.dropped]
        merging = Merging(self.bundles, self.clocks, stride, self.names, about)
        if not merging.place([d for d in dropped if d[0] in kernel]):
            about.unplaced.append(Unplaced("Perfetto lost packets with events of the kernel", None, "packets"))
        merging.add()
        others = sum(source not in kernel for source, _ in dropped)
        if others and not kernel:
            about.unplaced.append(Unplaced(f"Perfetto lost packets {others} times", None, "packets"))
        elif others:
            about.warnings.append(f"Perfetto lost packets {others} times that hold no events of the kernel")
        about.unplaced += self.statistics.unplaced({m.cpu for m in about.marks}, stride)
        about.doubts += self.statistics.doubts(kernel)
        self._warn(kernel, stride)
        return about.finish()

    def _warn(self, kernel: set[int], stride: int) -> None:
        about, names = self.builder, schema.packet_names()
        other = {names[n]: count for n, count in self.other.most_common() if names[n] not in ABOUT}
        if other:
            about.provenance["packets_passed_over"] = other
            listed = ", ".join(f"{count:,} {name}" for name, count in other.items())
            about.warnings.append(f"packets of kinds that are not read: {listed}")
        if len(kernel) > 1:
            listed = ", ".join(str(stride * k) for k in sorted(kernel) if k)
            about.warnings.append(f"several sources of the kernel's events: their cpu 0 is cpu {listed}")
        if any(machine for (machine, _), source in self.sources.items() if source in kernel):
            about.warnings.append("another machine's times, which were not brought to this one's clock")


def read(path: Path, options: Options) -> Trace:
    """Read a trace of Perfetto; raises TraceError with the byte of the file in its message."""
    builder = Builder(path, "perfetto", options, pieces="packets")
    reader = _Reader(builder, Bundles(builder))
    for packet in packets(path, builder):
        try:
            reader.take(packet)
        except WireError as e:
            builder.bad(0, f"{packet.where(e.at)}: {e.message}")
    return reader.finish()
