"""A CTF trace's events as rows: streams decoded packet by packet and merged by time, losses where they happened.

Axis legend: E events of a batch.
"""

from __future__ import annotations

import mmap
import re
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.errors import TraceError
from tracemend.formats.base import Builder, Format, Options
from tracemend.formats.ctf.decode import Env, Plan
from tracemend.formats.ctf.packets import (
    METADATA,
    Lost,
    Packet,
    Packets,
    Stream,
    all_streams,
    copies,
    folders,
    late_streams,
    shared_cpus,
)
from tracemend.formats.ctf.tsdl import NS, EventClass, recognise
from tracemend.formats.ctf.values import DAMAGED, complaint
from tracemend.formats.text import decode
from tracemend.trace.events import ENTER, EXIT, INSTANT, Gap, Glance, Known, Mark, Partial, StreamHeads, Trace
from tracemend.trace.syscalls import NO_NUMBER, call_name, canonical

#: Events decoded before they are merged; of each stream there are about as many in memory.
BATCH = 1 << 13
#: Values of an event in ``Rows``.
WIDTH = 6
#: Events that are kept from looking for windows, to be decoded only once.
MOST_HELD = 1 << 19
#: Files mapped at a time.
MOST_MAPPED = 64
INT64 = range(-(1 << 63), 1 << 63)

#: A system call in the names of LTTng (since 2.6, before, and for 32-bit programs) and of perf.
NAMED = re.compile(
    r"(?P<compat>compat_(?=sys))?(?:syscall_(?P<lttng>entry|exit)_|syscalls:sys_(?P<perf>enter|exit)_|sys_)(?P<call>\w+)"
)
NUMBERED = re.compile(r"(?:raw_syscalls:)?sys_(enter|exit)")
#: The exit of whatever call the thread was in (LTTng before 2.6).
OLD_EXIT = "exit_syscall"


class Kinds:
    """What a row is, as one code: a name and a phase."""

    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self.codes: dict[tuple[str, int], int] = {}
        self.old_exit = -1

    def __call__(self, name: str, phase: int) -> int:
        return self.codes.setdefault((name, phase), len(self.codes))

    def name(self, code: int) -> str:
        return list(self.codes)[code][0]

    def plan(self, event: EventClass) -> Plan:
        """What the rows of an event class are."""
        fields = dict(event.fields.members) if event.fields else {}
        raw = NUMBERED.fullmatch(event.name)
        if raw and ("id" in fields or "_id" in fields):
            phase = ENTER if raw[1] == "enter" else EXIT
            return Plan(_Numbers(self, phase), "id", has_ret=phase == EXIT)
        if event.name == OLD_EXIT:
            self.old_exit = self(OLD_EXIT, EXIT)
            return Plan(self.old_exit, has_ret=True)
        named = NAMED.fullmatch(event.name)
        if named is None:
            return Plan(self(event.name, INSTANT))
        phase = EXIT if "exit" in (named["lttng"], named["perf"]) else ENTER
        if named["call"] == "unknown" and not named["compat"] and ("id" in fields or "_id" in fields):
            return Plan(_Numbers(self, phase), "id", has_ret=phase == EXIT)
        return Plan(self(canonical(named["call"]), phase), has_ret=phase == EXIT)

    def tables(self) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
        """Each code's name, as the builder numbers names, and phase."""
        names = [self.builder.names(name) for name, _ in self.codes]
        return np.array(names, np.int32), np.array([phase for _, phase in self.codes], np.int8)


class _Numbers(dict[int, int]):
    """Numbers of system calls to the codes of their rows."""

    def __init__(self, kinds: Kinds, phase: int) -> None:
        self.kinds, self.phase = kinds, phase

    def __missing__(self, number: int) -> int:
        name = call_name(number, self.kinds.builder.options.arch)
        self[number] = code = self.kinds(name, self.phase)
        return code


@dataclass(slots=True)
class Batch:
    """Consecutive events of one stream (-1: of several), columns of E rows."""

    time_ns: NDArray[np.int64]
    kind: NDArray[np.int32]
    tid: NDArray[np.int32]
    comm: NDArray[np.int32]
    args: pa.Array
    ret: pa.Array
    stream: int

    def __len__(self) -> int:
        return len(self.time_ns)

    def cut(self, begin: int, end: int) -> Batch:
        rows = slice(begin, end)
        return Batch(
            self.time_ns[rows],
            self.kind[rows],
            self.tid[rows],
            self.comm[rows],
            self.args[rows],
            self.ret[rows],
            self.stream,
        )


class Maps:
    """Files in memory, the latest few of them."""

    def __init__(self) -> None:
        self.held: OrderedDict[Path, mmap.mmap] = OrderedDict()

    def __call__(self, path: Path) -> mmap.mmap:
        if path in self.held:
            self.held.move_to_end(path)
            return self.held[path]
        if len(self.held) >= MOST_MAPPED:
            self.held.popitem(last=False)[1].close()
        with open(path, "rb") as f:
            self.held[path] = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
        return self.held[path]

    def close(self) -> None:
        for held in self.held.values():
            held.close()


class Comms(dict[bytes | None, int]):
    """Commands as bytes (up to a zero, if there is one) to the builder's codes; -1 for none."""

    def __init__(self, builder: Builder) -> None:
        super().__init__({None: -1})
        self.builder = builder

    def __missing__(self, raw: bytes | None) -> int:
        assert raw is not None  # it is there from the start
        self[raw] = code = self.builder.comms(decode(raw.partition(b"\0")[0]))
        return code


class Rows(list[Any]):
    """Decoded events, WIDTH values each: clock, code, thread, command, arguments, return value.

    All in one flat list: a tuple for each event would be one more thing for the garbage collector to go through, time
    and again, which takes a third of the time of reading.
    """

    @property
    def events(self) -> int:
        return len(self) // WIDTH

    def column(self, number: int) -> list[Any]:
        """One value of every event."""
        return self[number::WIDTH]


class _Events:
    """Decodes one stream, batch by batch, and knows how many events stand before the end of each of its packets.

    ``wanted``: the packets to decode, all if None; ``cuts`` then are the events in front of which others were not.
    """

    def __init__(self, stream: Stream, index: int, builder: Builder, maps: Maps, comms: Comms) -> None:
        self.stream, self.index, self.builder = stream, index, builder
        self.maps, self.comms = maps, comms
        self.wanted: set[int] | None = None
        self.held: dict[int, Rows] = {}  # rows of packets that were decoded ahead
        self.until: list[int] = []  # events up to and with each packet
        self.cuts: list[int] = []
        self.count = 0
        self.latest = 0  # the clock at the last event

    def batches(self) -> Iterator[Batch]:
        rows = Rows()
        passed = False
        for k, packet in enumerate(self.stream.packets):
            if self.wanted is None or k in self.wanted:
                if passed and (rows or self.count):
                    self.cuts.append(self.count + rows.events)
                passed = False
                for _ in self._ahead(k, rows) if k in self.held else self._packet(packet, rows):
                    if rows.events >= BATCH:
                        yield self._batch(rows)
                        rows.clear()
            else:
                passed = True
            self.until.append(self.count + rows.events)
        if rows:
            yield self._batch(rows)

    def ahead(self, k: int) -> Rows:
        """The rows of packet ``k``, decoded out of turn."""
        rows = Rows()
        self.latest = 0
        for _ in self._packet(self.stream.packets[k], rows):
            pass
        self.latest = 0
        return rows

    def _ahead(self, k: int, rows: Rows) -> Iterator[None]:
        rows += self.held.pop(k)
        self.latest = rows[-WIDTH] if rows else self.latest
        yield

    def _packet(self, packet: Packet, rows: Rows) -> Iterator[None]:
        """Decode a packet in pieces, pausing after each of them."""
        data = self.maps(packet.file)[packet.at : packet.at + (packet.content + 7 >> 3)]
        env: Env = {}
        try:
            decoder, _, _, bit, _ = self.stream.trace.head(data, env)
        except DAMAGED:
            raise TraceError(packet.file, 0, f"byte {packet.at}: the file changed while it was read") from None
        now = self.latest if packet.begin is None else packet.begin
        while True:
            before = rows.events
            bit, now, self.latest, error = decoder.run(
                data, bit, packet.content, now, self.latest, BATCH, rows.extend, env
            )
            decoded = rows.events - before
            yield
            if error is not None:
                self.builder.bad(
                    0, f"byte {packet.at + (bit >> 3)}: an event is damaged: {complaint(error)}", packet.file
                )
                return
            if decoded < BATCH:
                return

    def _batch(self, rows: Rows) -> Batch:
        now, kind, tid, comm, args, ret = map(rows.column, range(WIDTH))
        time = self._time(now)
        self.count += rows.events
        return Batch(
            time,
            np.array(kind, np.int32),
            _tids(tid),
            np.array(list(map(self.comms.__getitem__, comm)), np.int32),
            pa.array(args, pa.string()),
            pa.array(ret, pa.string()),
            self.index,
        )

    def _time(self, now: list[int]) -> NDArray[np.int64]:
        """Values of the stream's clock as nanoseconds, exactly; raises TraceError beyond 64 bits."""
        if not self.stream.decoder.timed:
            return np.arange(self.count, self.count + len(now), dtype=np.int64)
        clock = self.stream.clock
        first, last = clock.ns(now[0]), clock.ns(now[-1])  # they never go backwards
        if first not in INT64 or last not in INT64:
            raise TraceError(self.stream.file, 0, "the time is beyond what 64 bits of nanoseconds hold")
        if clock.frequency == NS and now[-1] in INT64:
            return np.array(now, np.int64) - now[0] + first
        return np.array([clock.ns(v) for v in now], np.int64)


def _tids(tid: list[int]) -> NDArray[np.int32]:
    """Threads; -1 for a number that no thread can have."""
    try:
        wide = np.array(tid, np.int64)
    except OverflowError:
        wide = np.array(tid, object)
    return np.where((wide >= -1) & (wide < 1 << 31), wide, -1).astype(np.int32)


def _joined(parts: list[Batch], order: NDArray[np.int64]) -> Batch:
    """The events of several batches, one behind the other, in the given order."""
    return Batch(
        np.concatenate([p.time_ns for p in parts])[order],
        np.concatenate([p.kind for p in parts])[order],
        np.concatenate([p.tid for p in parts])[order],
        np.concatenate([p.comm for p in parts])[order],
        pa.concat_arrays([p.args for p in parts]).take(order),
        pa.concat_arrays([p.ret for p in parts]).take(order),
        stream=-1,
    )


def merge(sources: list[Iterator[Batch]]) -> Iterator[list[Batch]]:
    """Pieces of all streams that follow each other in time, each a list of one batch a stream.

    What is no later than the end of every stream's current batch is complete; so there is about one batch of each
    stream in memory.
    """
    heads: dict[int, Batch] = {}
    waiting = dict(enumerate(sources))
    while True:
        for i in list(waiting):
            if i not in heads:
                following = next(waiting[i], None)
                if following is None:
                    del waiting[i]
                else:
                    heads[i] = following
        if not heads:
            return
        until = min(int(h.time_ns[-1]) for h in heads.values())
        parts = []
        for i, head in sorted(heads.items()):
            at = int(np.searchsorted(head.time_ns, until, "right"))
            if at:
                parts.append(head.cut(0, at))
                if at < len(head):
                    heads[i] = head.cut(at, len(head))
                else:
                    del heads[i]
        yield parts


class _Reader:
    """Reads all traces in a folder into one builder."""

    def __init__(self, path: Path, options: Options) -> None:
        self.builder = Builder(path, "ctf", options, pieces="packets")
        self.kinds = Kinds(self.builder)
        self.traces = open_traces(path, self.builder, self.kinds)
        self.streams = all_streams(self.traces)
        self.numbers = np.array([s.number for s in self.streams], np.int32)
        self.open_calls: dict[tuple[int, int], int] = {}
        self.losses = [s.trace.losses(s) for s in self.streams]

    def trace(self, context: int | None = None) -> Trace:
        """The whole trace, or of its packets those that the ``context`` events around each loss need."""
        maps, comms = Maps(), Comms(self.builder)
        events = [_Events(s, i, self.builder, maps, comms) for i, s in enumerate(self.streams)]
        spans: list[tuple[int, int]] = []
        try:
            if context is not None:
                kinds = (e for s in self.streams for e in s.decoder.stream.events.values())
                if any(e.name == OLD_EXIT for e in kinds):
                    why = f"only read whole, {OLD_EXIT} tells which call it ends"
                    raise TraceError(self.builder.path, 0, why)
                spans = select(events, self.losses, context)
            self._events(events)
        finally:
            maps.close()
        trace = self._finish(empty=context is not None)
        if context is None:
            return trace
        packets, read = sum(len(s.packets) for s in self.streams), sum(len(e.wanted or ()) for e in events)
        cuts = {s.number: tuple(e.cuts) for s, e in zip(self.streams, events, strict=True) if e.cuts}
        return replace(trace, partial=Partial(tuple(spans), cuts, packets, read))

    def _finish(self, empty: bool) -> Trace:
        builder = self.builder
        builder.warnings += late_streams(self.streams) + copies(self.streams) + shared_cpus(self.streams)
        builder.provenance["streams"] = [
            {"number": s.number, "cpu": s.cpu, "file": str(s.file.relative_to(_folder(builder.path)))}
            for s in self.streams
        ]
        return builder.finish("ns" if any(s.decoder.timed for s in self.streams) else "index", empty=empty)

    def _events(self, events: list[_Events]) -> None:
        losses = [lost[::-1] for lost in self.losses]
        seen = [0] * len(events)
        for parts in merge([e.batches() for e in events]):
            base = self.builder.rows
            rank = self._add(parts)
            at = 0
            for part in parts:
                i = part.stream
                begin, seen[i] = seen[i], seen[i] + len(part)
                until = events[i].until
                while losses[i] and losses[i][-1].after < len(until) and until[losses[i][-1].after] < seen[i]:
                    lost = losses[i].pop()
                    self._mark(i, lost, base + int(rank[at + until[lost.after] - begin]), until[lost.after])
                at += len(part)
        for i, rest in enumerate(losses):
            for lost in reversed(rest):
                self._mark(i, lost, self.builder.rows, events[i].until[lost.after])

    def _mark(self, i: int, lost: Lost, row: int, survived: int) -> None:
        """A loss before a row of the table; ``survived``: events of the stream before it."""
        s = self.streams[i]
        begin, end = (None if v is None else s.ns(v) for v in (lost.begin, lost.end))
        if begin is None and not survived and s.packets[0].begin is not None:
            begin = s.ns(s.packets[0].begin)
        self.builder.marks.append(Mark(s.number, row, lost.count, row, begin, end))

    def _add(self, parts: list[Batch]) -> NDArray[np.int64]:
        """Add the parts' events in order of time; returns where each of them (one part after the other) went."""
        order = np.argsort(np.concatenate([p.time_ns for p in parts]), kind="stable")
        rows = parts[0] if len(parts) == 1 else _joined(parts, order)
        cpu = np.repeat(self.numbers[[p.stream for p in parts]], [len(p) for p in parts])[order]
        if self.kinds.old_exit >= 0:
            self._name_exits(rows.kind, rows.tid, cpu)
        names, phases = self.kinds.tables()
        self.builder.add(
            time_ns=rows.time_ns,
            cpu=cpu,
            tid=rows.tid,
            comm=rows.comm,
            name=names[rows.kind],
            phase=phases[rows.kind],
            args=rows.args,
            ret=rows.ret,
            line=np.arange(self.builder.rows, self.builder.rows + len(order)),
        )
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        return rank

    def _name_exits(self, kind: NDArray[np.int32], tid: NDArray[np.int32], cpu: NDArray[np.int32]) -> None:
        """Give exits that don't tell their call the one that their thread (or else their cpu) is in."""
        _, phases = self.kinds.tables()
        for row in np.flatnonzero(phases[kind] != INSTANT).tolist():
            key = (0, int(tid[row])) if tid[row] >= 0 else (1, int(cpu[row]))
            if phases[kind[row]] == ENTER:
                self.open_calls[key] = int(kind[row])
            elif kind[row] == self.kinds.old_exit:
                entered = self.open_calls.pop(key, None)
                name = NO_NUMBER if entered is None else self.kinds.name(entered)
                kind[row] = self.kinds(name, EXIT)


def select(events: list[_Events], losses: list[list[Lost]], context: int) -> list[tuple[int, int]]:
    """Choose the packets that the surroundings of all losses need; returns the spans of time that they cover whole.

    A span reaches from the ``context``-th event before a loss to the one after it, on the stream that lost, or as far
    as that stream has events. What overlaps it is wanted of every stream: a thread may have run on any of them.
    Raises TraceError where packets don't tell their times.
    """
    edges = [_edges(e.stream) for e in events]
    reaches = _Reaches(context)
    spans: list[tuple[int, int]] = []
    for e, lost in zip(events, losses, strict=True):
        for one in lost:
            before, after = reaches(e, one.after, -1), reaches(e, one.after + 1, 1)
            low = e.stream.span(0)[0] if before is None else before
            ends = [e.stream.span(one.after)[1], *([] if one.end is None else [e.stream.ns(one.end)])]
            spans.append((low, max(low, *ends) if after is None else after))
    merged: list[tuple[int, int]] = []
    for low, high in sorted(spans):
        if merged and low <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(high, merged[-1][1])
        else:
            merged.append((low, high))
    for e, (begins, latest) in zip(events, edges, strict=True):
        e.wanted = set()
        for low, high in merged:
            e.wanted.update(range(int(np.searchsorted(latest, low)), int(np.searchsorted(begins, high, "right"))))
    return merged


class _Reaches:
    """How far ``context`` events of a stream reach from one of its packets on."""

    def __init__(self, context: int) -> None:
        self.context, self.kept = context, MOST_HELD
        #: the number of events of each packet that was looked at, and its first and last ones' values of the clock
        self.known: dict[tuple[int, int], tuple[int, list[int], list[int]]] = {}

    def __call__(self, events: _Events, k: int, step: int) -> int | None:
        """When the last of them was, from packet ``k`` forwards (step 1) or backwards (-1), in ns; None if none is."""
        found, last = 0, None
        while 0 <= k < len(events.stream.packets) and found < self.context:
            count, first_ones, last_ones = self._packet(events, k)
            if count:
                at = min(self.context - found, count)
                last = events.stream.ns(last_ones[-at] if step < 0 else first_ones[at - 1])
            found += count
            k += step
        return last

    def _packet(self, events: _Events, k: int) -> tuple[int, list[int], list[int]]:
        key = events.index, k
        if key not in self.known:
            rows = events.ahead(k)
            now = rows.column(0)
            self.known[key] = rows.events, now[: self.context], now[-self.context :]
            if self.kept > 0:
                events.held[k] = rows
                self.kept -= rows.events
        return self.known[key]


def _edges(stream: Stream) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """When the stream's packets begin and end, in ns; both in order, none earlier or later than it can be."""
    if not stream.decoder.timed or any(p.begin is None or p.end is None for p in stream.packets):
        raise TraceError(stream.file, 0, "packets don't tell their times, so it can only be read whole")
    times = np.array([stream.span(k) for k in range(len(stream.packets))], np.int64)
    return np.minimum.accumulate(times[::-1, 0])[::-1], np.maximum.accumulate(times[:, 1])


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def open_traces(path: Path, builder: Builder, kinds: Kinds) -> list[Packets]:
    """The traces in a folder, with their metadata read; raises TraceError if there is none."""
    found, others = folders(_folder(path)) if path.is_dir() or path.name == METADATA else ([], [])
    if not found:
        raise TraceError(path, 0, "no folder with a CTF trace's metadata")
    if others:
        more = f" (and {len(others) - 1} more)" if len(others) > 1 else ""
        builder.warnings.append(f"passed over, no CTF metadata: {others[0] / METADATA}{more}")
    return [Packets(folder, builder, kinds.plan) for folder in found]


def read(path: Path, options: Options) -> Trace:
    """Read a trace's folder (or the one around its metadata); raises TraceError."""
    return _Reader(path, options).trace()


def windows(path: Path, options: Options, context: int) -> Trace:
    """Read the packets of the ``context`` events around each loss and all streams' of that time; raises TraceError."""
    return _Reader(path, options).trace(context)


def glance(path: Path, options: Options) -> Glance:
    """Read the headers of a trace's packets; raises TraceError."""
    builder = Builder(path, "ctf", options, pieces="packets")
    streams = all_streams(open_traces(path, builder, Kinds(builder)))
    if not streams:
        raise TraceError(path, 0, "no packets found (read as ctf)")
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
    warnings = (
        *builder.warnings,
        *builder.passed_over(),
        *late_streams(streams),
        *copies(streams),
        *shared_cpus(streams),
    )
    return Glance(path, "ctf", tuple(heads), tuple(gaps), warnings)


FORMAT = Format(
    "ctf",
    "CTF 1.8 (LTTng, perf data convert --to-ctf, ...), a folder",
    recognise,
    read,
    folder=True,
    glance=glance,
    windows=windows,
)
