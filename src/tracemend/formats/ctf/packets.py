"""The packets of a trace's stream files: where they lie, when, and what the tracer says it lost (no event is read).

A stream is what loses: one ring buffer, that is one channel on one cpu. Its packets have one stream instance id, in one
file or in several (LTTng's trace files that are split by size), or in the folders of several chunks (``lttng rotate``);
where there are no such ids, a file is a stream.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracemend.errors import TraceError
from tracemend.formats.base import MOST_LOST, Builder
from tracemend.formats.ctf.counters import growth, step
from tracemend.formats.ctf.decode import Decoder, Env, Plan, packet_reader
from tracemend.formats.ctf.folders import METADATA, stream_files
from tracemend.formats.ctf.metadata import INFERRED_EVENTS, Clock, EventClass, Metadata
from tracemend.formats.ctf.metadata_file import MERGED, unpack
from tracemend.formats.ctf.names import PACKET_CONTEXT, PACKET_HEADER, shown_name
from tracemend.formats.ctf.packet_table import Packet, PacketTable
from tracemend.formats.ctf.tsdl import read_metadata
from tracemend.formats.ctf.types import Integer, Refused, Structure, Type, Varint
from tracemend.formats.ctf.values import DAMAGED, Damage, complaint

MAGIC = 0xC1FC1FC1
#: Bytes of a packet in which its header and context are looked for, and, where they are larger, at most.
HEAD, LARGEST_HEAD = 512, 1 << 20
#: Packets after which what they brought into memory may go.
DROPPED_AFTER = 32
#: A trace of more packets is refused: that many of LTTng's smallest have 16 GiB.
MOST_PACKETS = 1 << 22
#: A cpu's number above this is damage, but for -1, be it written without a sign: of a thread that is bound to no cpu.
MOST_CPUS, NO_CPU = 1 << 16, (-1, (1 << 32) - 1, (1 << 64) - 1)
#: No value of a packet's context has more bits.
MOST_BITS = 72

Key = tuple[int, object]


def drop(mapped: mmap.mmap) -> None:
    """Let what a mapped file brought into memory go; where it is looked at again it comes back."""
    if hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


@dataclass(slots=True)
class Stream:
    """The packets of one stream in their order; ``number`` is what tells it apart in a trace (``number_streams``).

    instance: its id beside others of its class, None if it has none. copy: another one of the same id is of its time.
    """

    trace: Packets
    decoder: Decoder
    clock: Clock
    packets: PacketTable
    instance: int | None = None
    copy: bool = False
    number: int = -1

    @property
    def counts(self) -> bool:
        """Whether its packets count discarded events."""
        return "events_discarded" in self.trace.kind(self.decoder.stream.id)[1].sizes

    @property
    def file(self) -> Path:
        return self.packets[0].file

    @property
    def cpu(self) -> int:
        return self.packets[0].cpu

    def ns(self, value: int) -> int:
        """A value of the clock in nanoseconds, cut to 64 bits (packets' times are told, not proven by any event)."""
        return max(-(1 << 63), min((1 << 63) - 1, self.clock.ns(value)))

    def lasted(self, k: int) -> int:
        """How long packet ``k`` was open, in cycles of the clock."""
        begin, end = self.packets.times(k)
        return 0 if begin is None or end is None else end - begin

    def span(self, k: int) -> tuple[int, int]:
        """Begin and end of packet ``k`` in nanoseconds; 0 where nothing tells them."""
        begin, end = self.packets.times(k)
        first = 0 if begin is None else self.ns(begin)
        return first, first if end is None else self.ns(end)


@dataclass(frozen=True, slots=True)
class Lost:
    """Events lost behind packet ``after`` (an index), no earlier and no later than two values of the stream's clock.

    unread: not by the tracer, they can't be read.
    """

    after: int
    count: int | None
    begin: int | None
    end: int | None
    unread: bool = False


#: The fields of packet headers and contexts that CTF gives a meaning (5.2, and LTTng's for the sequence number).
HEADER = ("magic", "uuid", "stream_id", "stream_instance_id")
TIMES, COUNTERS = ("timestamp_begin", "timestamp_end"), ("packet_seq_num", "events_discarded")
CONTEXT = ("packet_size", "content_size", *TIMES, *COUNTERS, "cpu_id")


class Heads:
    """Reads packet headers or contexts: the values of HEADER or of CONTEXT, None where there is no such field."""

    def __init__(self, root: tuple[str, ...], structure: Structure | None, metadata: Metadata) -> None:
        found = list(_members(structure, metadata.version > 1))
        kinds = {shown_name(name): t for name, t in reversed(found)}
        #: bits of the fields that are numbers; whether the times are less than the clock's 64
        self.sizes = {n: t.size for n, t in kinds.items() if isinstance(t, Integer)}
        self.sizes |= {n: 64 for n, t in kinds.items() if isinstance(t, Varint)}
        names = HEADER if root == PACKET_HEADER else CONTEXT
        self.short = any(self.sizes.get(name, 64) < 64 for name in TIMES)
        wanted = [n if n in {*self.sizes, "uuid"} else "" for n in names]
        self.read, self.refers = packet_reader(root, structure, metadata, wanted)

    def moved(self, value: int | None, name: str, before: int) -> int | None:
        """The clock's value of a field that may hold only its lower bits: the first such value from ``before`` on."""
        size = self.sizes.get(name, 64)
        return value if value is None or size >= 64 else before + (value - before & (1 << size) - 1)


@dataclass(frozen=True, slots=True)
class _Id:
    """Whose packet one is: its stream's instance id, and the UUID if it is another trace's; None where it has none."""

    instance: int | None
    other: bytes | None


class Packets:
    """Reads the packets of one trace, that is of one folder. Raises TraceError where the metadata can't be read."""

    def __init__(self, folder: Path, builder: Builder, plan: Callable[[EventClass], Plan]) -> None:
        self.folder, self.builder, self.plan = folder, builder, plan
        self.metadata = read_metadata(folder / METADATA)
        self.header = self._heads(PACKET_HEADER, self.metadata.packet_header, 0)
        self.kinds: dict[int, tuple[Decoder, Heads]] = {}
        self.count = 0
        #: packets of other UUIDs than the metadata's, and where the first is; files of which no packet could be read
        self.foreign, self.first_foreign = 0, ""
        self.unread: list[Path] = []

    def _heads(self, root: tuple[str, ...], structure: Structure | None, line: int) -> Heads:
        try:
            return Heads(root, structure, self.metadata)
        except Refused as e:
            raise TraceError(self.metadata.path, line, f"{'.'.join(root)}: {e}") from None

    def kind(self, number: int | None) -> tuple[Decoder, Heads]:
        """What reads the events and the packet contexts of a stream class; raises Damage if there is no such class."""
        if number is None:
            number = next(iter(self.metadata.streams), 0)
        if number not in self.kinds:
            if number not in self.metadata.streams:
                raise Damage(f"a packet of stream class {number}, which the metadata doesn't have")
            stream = self.metadata.streams[number]
            heads = self._heads(PACKET_CONTEXT, stream.packet_context, stream.line)
            self.kinds[number] = Decoder(self.metadata, stream, self.plan), heads
        return self.kinds[number]

    def head(self, data: bytes, env: Env | None = None) -> tuple[Decoder, Heads, _Id, int, Sequence[Any]]:
        """Read header and context (into ``env``, too): what reads the rest, whose packet it is, the bit behind them,
        and the values of CONTEXT.

        Raises one of DAMAGED.
        """
        bit, (magic, uuid, stream, instance) = self.header.read(data, 0, env)
        if magic is not None and magic & 0xFFFFFFFF != MAGIC:
            raise Damage(f"no packet begins here: {magic:#x} instead of {MAGIC:#x}")
        other = uuid if isinstance(uuid, bytes) and uuid != (self.metadata.uuid or uuid) else None
        decoder, heads = self.kind(stream)
        if heads.refers and env is None:
            self.header.read(data, 0, env := {})
        return decoder, heads, _Id(instance, other), *heads.read(data, bit, env)

    def streams(self) -> list[Stream]:
        """All streams with their packets in order, but for inferred ones; raises TraceError where one is damaged."""
        files: dict[Key, list[PacketTable]] = {}
        for file in stream_files(self.folder):
            of_file: dict[Key, PacketTable] = {}
            damaged = False
            for key, packet in self._of_file(file):
                if key not in of_file:
                    of_file[key] = PacketTable()
                of_file[key].append(packet)
                damaged = packet.cut
            if not of_file:
                self.unread.append(file)
            for key, packets in of_file.items():
                if damaged:  # nobody knows whose packets come then
                    packets.cut_last()
                files.setdefault(key, []).append(packets)
        found = []
        for (number, instance), parts in files.items():
            decoder, _ = self.kind(number)
            if decoder.stream.inferred:
                count = self.metadata.env.get(INFERRED_EVENTS)
                self.builder.inferred += count if isinstance(count, int) else 0
                continue
            parts.sort(key=lambda p: p[0].begin or 0)
            packets = parts.pop(0)
            for part in parts:
                packets.extend(part)
            known = instance.instance if isinstance(instance, _Id) and not instance.other else None
            found.append(Stream(self, decoder, self._clock(decoder), packets, known))
        return found

    def text(self) -> bytes:
        """The metadata's text, read anew, without what a mending has added to it."""
        return unpack(self.metadata.path, self.metadata.path.read_bytes()).partition(MERGED)[0].rstrip(b"\n")

    def _clock(self, decoder: Decoder) -> Clock:
        clocks = self.metadata.clocks
        if decoder.clock is not None and decoder.clock not in clocks:
            raise TraceError(self.metadata.path, 0, f"no such clock: {decoder.clock}")
        return clocks[decoder.clock or next(iter(clocks))] if clocks else Clock("")

    def _of_file(self, file: Path) -> Iterator[tuple[Key, Packet]]:
        at, before = 0, 0
        last: tuple[Key, Packet] | None = None
        with open(file, "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            while at < len(mapped):
                try:
                    following = self._packet(file, mapped, at, before)
                except DAMAGED as e:
                    self.builder.bad(0, f"byte {at}: {complaint(e)}", file)
                    last = last and (last[0], last[1]._replace(cut=True))
                    break
                if last is not None:
                    yield last
                self.count += 1
                if self.count % DROPPED_AFTER == 0:
                    drop(mapped)
                if self.count > MOST_PACKETS:
                    raise TraceError(file, 0, f"byte {at}: more than {MOST_PACKETS:,} packets")
                _, packet = last = following
                at += packet.size
                before = packet.end or packet.begin or before
        if last is not None:
            yield last

    def _packet(self, file: Path, mapped: mmap.mmap, at: int, before: int) -> tuple[Key, Packet]:
        try:
            decoder, heads, whose, body, values = self.head(mapped[at : at + HEAD])
        except DAMAGED:
            decoder, heads, whose, body, values = self.head(mapped[at : at + LARGEST_HEAD])
        left = len(mapped) - at
        if any(v is not None and v.bit_length() > MOST_BITS for v in values):
            raise Damage("a packet's context with a number that can't be")
        size, content, begin, end, sequence, discarded, cpu = values
        size = left * 8 if size is None and content is None else -(-content // 8) * 8 if size is None else size
        content = size if content is None else content
        if size % 8 or not size or not body <= content <= size:
            raise Damage(f"a packet of {size} bits with {content} bits of content")
        cut = size > left * 8
        if cut:
            self.builder.bad(0, f"byte {at}: a packet of {size >> 3} bytes where the file has {left}", file)
            size, content = left * 8, min(content, left * 8)
        cpu = -1 if cpu is None or cpu in NO_CPU else cpu
        if not -1 <= cpu < MOST_CPUS:
            raise Damage(f"a cpu with number {cpu}")
        if heads.short:
            begin = heads.moved(begin, "timestamp_begin", before)
            end = heads.moved(end, "timestamp_end", before if begin is None else begin)
        if whose.other:
            self.first_foreign = self.first_foreign or f"{file.name}, byte {at}"
            self.foreign += 1
        packet = Packet(file, at, size >> 3, content, begin, end, sequence, discarded, cpu, body, cut)
        return (decoder.stream.id, (file, whose.other) if whose.instance is None else whose), packet

    def losses(self, stream: Stream) -> list[Lost]:
        """What the tracer says that this stream lost, in order; raises TraceError where a count can't be true.

        The counter of discarded events is what it was when the packet was closed, so what it grew by was lost behind
        that packet's last event, before the packet's end. Where packets have no count it was behind one of them: while
        nothing finds room a packet stays open, so behind the one that lasted longest.
        """
        _, heads = self.kind(stream.decoder.stream.id)
        size = heads.sizes.get("packet_seq_num", 64)
        packets, found = stream.packets, []
        p: Packet | None = None
        for k, q in enumerate(packets):
            if p is not None and p.cut:
                found.append(Lost(k - 1, None, None, q.begin, unread=True))
            if p is not None and step(p.sequence, q.sequence, size) > 1:
                found.append(Lost(k - 1, None, p.end, q.begin))
            p = q
        if p is not None and p.cut:
            found.append(Lost(len(packets) - 1, None, None, None, unread=True))
        size = heads.sizes.get("events_discarded", 64)
        for places, grown in growth(packets.discarded, size, whole=not packets[0].sequence):
            k = max(places, key=lambda k: (stream.lasted(k), k))
            p = packets[k]
            if grown >= MOST_LOST:
                self.builder.bad(0, f"byte {p.at}: a loss of {grown} events can't be true", p.file)
            found.append(Lost(k, None if grown >= MOST_LOST else grown, None, p.end))
        return sorted(found, key=lambda lost: lost.after)


def _members(structure: Structure | None, deep: bool) -> Iterator[tuple[str, Type]]:
    """A structure's fields; ``deep``: with those of the structures in it."""
    for name, kind in structure.members if structure else ():
        yield name, kind
        if deep and isinstance(kind, Structure):
            yield from _members(kind, deep)
