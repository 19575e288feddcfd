"""A CTF trace's events as rows of one table, in order of time, with the losses where they happened."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tracemend.errors import TraceError
from tracemend.formats.base import Builder, Options
from tracemend.formats.ctf.batches import Batch, joined, merge
from tracemend.formats.ctf.event_names import OLD_EXIT, Kinds
from tracemend.formats.ctf.folders import folder_of
from tracemend.formats.ctf.names import shown_name
from tracemend.formats.ctf.packets import Lost, Stream
from tracemend.formats.ctf.stream_events import Comms, Events, Maps, Shared
from tracemend.formats.ctf.streams import all_streams, doubts, open_traces, tracer, warnings
from tracemend.formats.ctf.windows import select
from tracemend.trace.events import ENTER, EXIT, INSTANT, Mark, Partial, Trace
from tracemend.trace.syscalls import NO_NUMBER

if TYPE_CHECKING:
    from tracemend.formats.ctf.quick import Quick

#: Events decoded before they are merged: so many of all streams together, but of each at least and at most so many.
DECODED, LEAST_BATCH, MOST_BATCH = 1 << 19, 1 << 8, 1 << 14
#: Bytes of events from which on they are read by the compiled loop.
LARGE = 10 << 20


class _Reader:
    """Reads all traces in a folder into one builder."""

    def __init__(self, path: Path, options: Options) -> None:
        self.builder = Builder(path, "ctf", options, pieces="packets", forgets_marks=True)
        self.kinds = Kinds(self.builder)
        self.traces = open_traces(path, self.builder, self.kinds)
        self.streams = all_streams(self.traces)
        self.numbers = np.array([s.number for s in self.streams], np.int32)
        self.open_calls: dict[tuple[int, int], int] = {}
        self.process = _process(self.streams)

    def trace(self, context: int | None = None) -> Trace:
        """The whole trace, or of its packets those that the ``context`` events around each loss need."""
        maps, comms = Maps(), Comms(self.builder)
        most = min(MOST_BATCH, max(LEAST_BATCH, DECODED // max(1, len(self.streams))))
        shared = Shared(self.builder, maps, comms, self._quick(comms, most) if context is None else None)
        events = [Events(s, i, most, shared) for i, s in enumerate(self.streams)]
        spans: list[tuple[int, int]] = []
        try:
            if context is not None:
                kinds = (e for s in self.streams for e in s.decoder.stream.events.values())
                if any(e.name == OLD_EXIT for e in kinds):
                    why = f"only read whole, {OLD_EXIT} tells which call it ends"
                    raise TraceError(self.builder.path, 0, why)
                spans = select(events, context)
            self._events(events)
        finally:
            maps.close()
        trace = self._finish(events)
        if context is None:
            return trace
        packets, read = sum(len(s.packets) for s in self.streams), sum(len(e.wanted or ()) for e in events)
        cuts = {s.number: tuple(e.cuts) for s, e in zip(self.streams, events, strict=True) if e.cuts}
        return replace(trace, partial=Partial(tuple(spans), cuts, packets, read))

    def _quick(self, comms: Comms, most: int) -> Quick | None:
        """The compiled loop, where it saves more time than it takes to start."""
        if sum(p.content - p.body >> 3 for s in self.streams for p in s.packets) < LARGE:
            return None
        from tracemend.formats.ctf.quick import Quick

        return Quick(comms, most)

    def _finish(self, events: list[Events]) -> Trace:
        builder = self.builder
        builder.warnings += warnings(self.traces, self.streams)
        builder.tracer, builder.doubts = tracer(self.traces), doubts(self.streams)
        if not builder.rows and all(lost.unread for e in events for lost in e.lost):
            builder.marks.clear()  # nothing is left that could be missing something
        builder.stored = {e.stream.number: e.stored for e in events}
        builder.provenance["streams"] = [
            {"number": s.number, "cpu": s.cpu, "file": str(s.file.relative_to(folder_of(builder.path)))}
            for s in self.streams
        ]
        return builder.finish("ns" if any(s.decoder.timed for s in self.streams) else "index")

    def _events(self, events: list[Events]) -> None:
        seen = [0] * len(events)
        for parts in merge([e.batches() for e in events]):
            base = self.builder.rows
            self.builder.taken = sum(e.stored for e in events)
            rank = self._add(parts)
            at = 0
            for part in parts:
                i = part.stream
                begin, seen[i] = seen[i], seen[i] + len(part)
                until = events[i].until
                losses = events[i].lost
                while losses and losses[0].after < len(until) and until[losses[0].after] < seen[i]:
                    lost = losses.popleft()
                    self._mark(i, lost, base + int(rank[at + until[lost.after] - begin]), until[lost.after])
                at += len(part)
        for i, e in enumerate(events):
            for lost in e.lost:
                self._mark(i, lost, self.builder.rows, e.until[lost.after])

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
        rows = parts[0] if len(parts) == 1 else joined(parts, order)
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
        if self.process:
            self._belong(rows, self.process)
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        return rank

    def _belong(self, rows: Batch, process: re.Pattern[str]) -> None:
        """Note of which process each thread is that wasn't there before: the first event of each says it."""
        known = self.builder.processes
        threads, first = np.unique(rows.tid, return_index=True)
        new = [(t, i) for t, i in zip(threads.tolist(), first.tolist(), strict=True) if t >= 0 and t not in known]
        for thread, row in new:
            said = process.findall(rows.args[row].as_py() or "")
            if said:
                known[thread] = int(said[-1])

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


def _process(streams: Sequence[Stream]) -> re.Pattern[str] | None:
    """How events' arguments end with the process of their thread (contexts stand behind fields); None where no context
    says both."""
    classes = [e for s in streams for e in s.decoder.stream.events.values()]
    contexts = [s.decoder.stream.event_context for s in streams] + [e.context for e in classes]
    told = {shown_name(name) for c in contexts if c is not None for name, _ in c.members}
    name = next((pid for tid, pid in (("tid", "pid"), ("vtid", "vpid")) if tid in told and pid in told), None)
    return re.compile(rf"(?:^|, ){name}=(\d{{1,9}})(?![^,])") if name else None


def read(path: Path, options: Options) -> Trace:
    """Read a trace's folder (or the one around its metadata); raises TraceError."""
    return _Reader(path, options).trace()


def windows(path: Path, options: Options, context: int) -> Trace:
    """Read the packets of the ``context`` events around each loss and all streams' of that time; raises TraceError."""
    return _Reader(path, options).trace(context)
