"""The events of a ``perf.data`` without perf: samples of tracepoints by their formats, others by name alone.

Axis legend: E events of the trace, P of a piece, N some of them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.errors import TraceError
from tracemend.formats.base import Builder
from tracemend.formats.columns import Sorted
from tracemend.formats.kernel import LATEST
from tracemend.formats.perf import WITHOUT_TIMES
from tracemend.formats.perfdata.file import CALLCHAIN, RAW, READ, TIME, TRACEPOINT, Attr, Described
from tracemend.formats.perfdata.records import Samples, Told, walk
from tracemend.formats.ringbuffer import Ints, Kind, Stream, columns, short
from tracemend.formats.tracedat.printing import Printer, printer
from tracemend.trace.events import INSTANT, Mark, rows_by

#: Bits of read_format.
ENABLED, RUNNING, WITH_ID, GROUP, WITH_LOST = 1, 2, 4, 8, 16
#: Of a sample that is too short to tell its event.
NAMELESS = -1
#: Events that are added to the trace at once.


def fill(builder: Builder, path: Path, size: int, found: Described) -> Told:
    """Read the samples of a file into the builder; raises TraceError."""
    reader = _Reader(builder, found)
    told = walk(path, size, found, reader.take)
    reader.merge(told)
    return told


class _Reader:
    """Collects the samples in the order of the file, then adds them in order of time."""

    def __init__(self, builder: Builder, found: Described) -> None:
        self.builder, self.found = builder, found
        self.printers: dict[int, Printer] = {}
        self.time: list[Ints] = []
        self.cpu: list[Ints] = []
        self.tid: list[Ints] = []
        self.name: list[NDArray[np.int32]] = []
        self.phase: list[NDArray[np.int8]] = []
        self.args: list[pa.Array] = []
        self.ret: list[pa.Array] = []

    def take(self, samples: Samples) -> None:
        """One piece of the file."""
        builder, attrs = self.builder, self.found.attrs
        if not any(a.has(TIME) for a in attrs):
            raise TraceError(builder.path, 0, WITHOUT_TIMES)
        count = len(samples.begin)
        late = samples.time > LATEST
        if late.any():
            builder.bad(0, f"a sample of cpu {samples.cpu[np.argmax(late)]} whose time can't be")
        name = np.full(count, NAMELESS, np.int32)
        phase = np.full(count, INSTANT, np.int8)
        args, ret = np.full(count, None, object), np.full(count, None, object)
        begin, end = _raw(samples, attrs)
        for k in np.unique(samples.attr[samples.attr >= 0]).tolist():
            rows = np.flatnonzero(samples.attr == k)
            name[rows] = builder.names(self._name(attrs[k]))
            args[rows] = ""
        described = np.flatnonzero(end > begin)
        if self.found.kinds and len(described):
            stream = _stream(samples, self.found, begin, end, described)
            described = described[~short(stream, self.found.kinds)]
            stream = _stream(samples, self.found, begin, end, described)
            said = columns(stream, self.found.kinds, builder, self._say)
            name[described], phase[described] = said.name, said.phase
            args[described], ret[described] = said.args.to_pylist(), said.ret.to_pylist()
        if (name == NAMELESS).any():
            name[name == NAMELESS] = builder.names("unknown")
        self.time.append(np.where(late, -1, samples.time.astype(np.int64)))
        self.cpu.append(samples.cpu)
        self.tid.append(samples.tid)
        builder.belong(samples.tid, samples.pid)
        self.name.append(name)
        self.phase.append(phase)
        self.args.append(pa.array(args.tolist(), pa.large_string()))
        self.ret.append(pa.array(ret.tolist(), pa.large_string()))

    def _name(self, attr: Attr) -> str:
        if attr.type == TRACEPOINT:
            kind = self.found.kinds.get(attr.config)
            return kind.name if kind else attr.name.rpartition(":")[2] or f"event_{attr.config}"
        return attr.name or f"event_{attr.type}_{attr.config}"

    def _say(self, stream: Stream, rows: Ints, kind: Kind) -> list[str]:
        if kind.number not in self.printers:
            self.printers[kind.number] = printer(kind, self.found.layout.long, spelt=False)
        return self.printers[kind.number](stream, rows, kind)

    def merge(self, told: Told) -> None:
        """Add all events and losses to the builder."""
        if not self.time:
            _marks(self.builder, told, np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64))
            return
        time, cpu, tid = (np.concatenate(c) for c in (self.time, self.cpu, self.tid))
        order = np.argsort(time, kind="stable")
        order = order[time[order] >= 0]
        place = np.full(len(time), len(order), np.int64)
        place[order] = np.arange(len(order))
        _marks(self.builder, told, cpu, tid, place)
        name, phase = np.concatenate(self.name)[order], np.concatenate(self.phase)[order]
        args, ret = pa.concat_arrays(self.args), pa.concat_arrays(self.ret)
        time, cpus, tids = time[order], cpu[order].astype(np.int32), tid[order].astype(np.int32)
        comm = _comms(self.builder, told, time, tids)
        phase = phase.astype(np.int8)
        self.builder.add_sorted(Sorted(order, time, cpus, tids, name.astype(np.int32), args, ret, comm, phase))


def _stream(samples: Samples, found: Described, begin: Ints, end: Ints, rows: Ints) -> Stream:
    return Stream(samples.raw, found.layout, samples.time[rows].astype(np.int64), begin[rows], end[rows])


def _raw(samples: Samples, attrs: list[Attr]) -> tuple[Ints, Ints]:
    """Where each sample (P,) has its tracepoint's record, in ``raw``; end == begin where it has none."""
    begin, end = np.zeros(len(samples.begin), np.int64), np.zeros(len(samples.begin), np.int64)
    for k in np.unique(samples.attr[samples.attr >= 0]).tolist():
        attr = attrs[k]
        if attr.type != TRACEPOINT or not attr.has(RAW):
            continue
        rows = np.flatnonzero(samples.attr == k)
        last = samples.end[rows]
        at = samples.begin[rows] + attr.fixed
        if attr.has(READ):
            times = 8 * sum(bool(attr.read_format & b) for b in (ENABLED, RUNNING))
            each = 8 + 8 * sum(bool(attr.read_format & b) for b in (WITH_ID, WITH_LOST))
            several = attr.read_format & GROUP
            at = at + (8 + times + each * _numbers(samples, at, last, 8) if several else times + each)
        if attr.has(CALLCHAIN):
            at = at + 8 + 8 * _numbers(samples, at, last, 8)
        size = _numbers(samples, at, last, 4)
        fits = (size > 0) & (at + 4 + size <= last)
        begin[rows] = np.where(fits, at + 4, 0)
        end[rows] = np.where(fits, at + 4 + size, 0)
    return begin, end


def _numbers(samples: Samples, at: Ints, last: Ints, size: int) -> Ints:
    """The numbers at these bytes of ``raw`` (N,), no larger than a record can be; 0 beyond the record's end."""
    inside = np.flatnonzero(at + size <= last)
    value = np.zeros(len(at), np.int64)
    found = Stream(samples.raw, samples.layout, at, at, last).numbers(inside, 0, size, False)
    value[inside] = np.minimum(found, 1 << 16).astype(np.int64)
    return value


def _marks(builder: Builder, told: Told, cpu: Ints, tid: Ints, place: Ints) -> None:
    """Each loss before the first sample that its cpu has behind it in the file; ``place`` (E,): rows of samples."""
    streams, threads = rows_by(cpu), rows_by(tid)
    none = np.empty(0, np.int64)
    last = int((place < len(place)).sum())
    for above, said, by, count in told.lost:
        # without a cpu it was written by the thread, right before an event of its own
        own = threads.get(by, none) if said < 0 else none
        on = int(cpu[own[min(int(np.searchsorted(own, above)), len(own) - 1)]]) if len(own) else said
        stream = streams.get(on, none)
        k = int(np.searchsorted(stream, above))
        row = int(place[stream[k]]) if k < len(stream) else last
        builder.marks.append(Mark(on, row, count, row))
    builder.marks.sort(key=lambda m: m.row)


def _comms(builder: Builder, told: Told, time: Ints, tid: NDArray[np.int32]) -> NDArray[np.int32]:
    """The code of each event's command (E,), as it was called then."""
    names: dict[int, list[tuple[int, str]]] = {}
    for when, thread, comm in sorted(told.named, key=lambda n: n[0]):
        if isinstance(comm, str):
            names.setdefault(thread, []).append((when, comm))
        elif comm in names and thread != comm:
            names.setdefault(thread, []).append((when, names[comm][-1][1]))
    codes = np.zeros(len(tid), np.int32)
    for thread, rows in rows_by(tid).items():
        called = names.get(thread, [(0, "swapper" if thread == 0 else f":{thread}")])
        since = np.array([min(t, LATEST) for t, _ in called], np.int64)
        at = np.maximum(np.searchsorted(since, time[rows], side="right") - 1, 0)
        codes[rows] = np.array([builder.comms(c) for _, c in called], np.int32)[at]
    return codes
