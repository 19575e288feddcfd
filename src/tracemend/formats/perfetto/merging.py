"""All bundles' events merged by time: threads and commands found, losses put in their places.

Axis legend: E events (in order of time once they are sorted), B bundles, T tellings of a thread's command.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from tracemend.formats.base import Builder
from tracemend.formats.columns import Sorted
from tracemend.formats.perfetto.bundles import Bundles
from tracemend.formats.perfetto.clocks import BOOT, NAMES, Clocks, to_boot
from tracemend.formats.perfetto.events import UNKNOWN
from tracemend.formats.text import Ints
from tracemend.trace.events import Mark, rows_by

#: Events that are added to the trace at once.
IDLE = "<idle>"


@dataclass(slots=True)
class Merging:
    """Makes the trace of the bundles. ``stride``: between the streams of one source and the next one's."""

    bundles: Bundles
    clocks: Clocks
    stride: int
    names: dict[int, str]
    builder: Builder
    bundle: Ints = field(init=False)
    time: Ints = field(init=False)
    order: Ints = field(init=False)
    stream_B: Ints = field(init=False)

    def __post_init__(self) -> None:
        bundles = self.bundles.all
        self.stream_B = np.array([b.cpu + self.stride * b.source for b in bundles], np.int64)
        self.bundle = self._column("bundle")
        self.time = self._boot_time(self.bundle, self._column("time_ns"), warn=True)
        self.order = np.lexsort((self.bundle, self.time))
        impossible = int(np.searchsorted(self.time[self.order], 0))
        for _ in range(impossible):
            self.builder.bad(0, "a time that can't be")
        self.order = self.order[impossible:]
        self.bundle, self.time = self.bundle[self.order], self.time[self.order]

    def _column(self, name: str) -> Ints:
        parts = [getattr(c, name).astype(np.int64) for c in self.bundles.columns]
        return np.concatenate([np.empty(0, np.int64), *parts])

    def _boot_time(self, bundle: Ints, time: Ints, warn: bool = False) -> Ints:
        """Times of bundles' events in boot time; -1 for what can't be one."""
        time = time.copy()
        clocks = np.array([b.clock for b in self.bundles.all], np.int64)
        for clock in sorted(set(clocks.tolist()) - {BOOT}):
            moments = self.clocks.moments(clock, self.bundles.all)
            own = clocks[bundle] == clock
            if moments:
                time[own] = np.where(time[own] < 0, -1, to_boot(time[own], moments))
            elif warn and own.any():
                name = NAMES.get(clock, f"number {clock}")
                self.builder.warnings.append(f"times are of ftrace's clock ({name}), which can't be told in boot time")
        return np.maximum(time, -1)

    def place(self, dropped: list[tuple[int, int]]) -> bool:
        """Put the gaps into the builder; ``dropped``: packets lost of a source, in front of a bundle (of that index).

        Such a loss lies on a cpu whose next bundle follows on events that aren't there. Returns whether all could be
        placed.
        """
        bundles, count = self.bundles.all, len(self.time)
        present, first = np.unique(self.bundle, return_index=True)
        first_B, latest_B = np.full(len(bundles), count), np.full(len(bundles), -1, np.int64)
        first_B[present] = first
        np.maximum.at(latest_B, self.bundle, self.time)
        behind_B = self._boot_time(np.arange(len(bundles)), np.array([b.behind for b in bundles], np.int64))
        drops: dict[int, list[int]] = {}
        for source, index in dropped:
            drops.setdefault(source, []).append(index)
        latest: dict[int, int] = {}
        passed: dict[int, int] = {}
        open_: set[int] = set()
        errors: dict[int, list[int]] = {}
        placed: set[tuple[int, int]] = set()
        marks = self.builder.marks
        for i, (bundle, stream) in enumerate(zip(bundles, self.stream_B.tolist(), strict=True)):
            before = bisect_right(drops.get(bundle.source, []), i)
            if before > passed.get(stream, 0) and latest.get(stream, 1 << 63) < behind_B[i]:
                open_.add(stream)
                placed |= {(bundle.source, d) for d in range(passed.get(stream, 0), before)}
            passed[stream] = before
            if bundle.lost:
                open_.add(stream)
            row = int(first_B[i])
            if stream in open_ and row < count:
                open_.remove(stream)
                begin = int(behind_B[i]) if bundle.lost and 0 < behind_B[i] <= self.time[row] else None
                marks.append(Mark(stream, row, None, row, begin_ns=begin))
            latest[stream] = max(latest.get(stream, 0), int(latest_B[i]))
            if bundle.damaged:
                open_.add(stream)
            if bundle.errors:
                errors.setdefault(stream, []).extend(bundle.errors)
        streams = rows_by(self.stream_B[self.bundle]) if errors else {}
        for stream, times in errors.items():
            rows = streams.get(stream, np.empty(0, np.int64))
            behind = np.searchsorted(self.time[rows], np.array(times, np.int64), "right")
            after = np.unique(np.append(rows, count)[behind])
            marks += [Mark(stream, row, None, row) for row in after.tolist()]
        marks += [Mark(stream, count, None, count) for stream in sorted(open_)]
        marks.sort(key=lambda m: m.row)
        return len(placed) == len(dropped)

    def add(self) -> None:
        """Add the events to the builder; the gaps are in it already. Raises TraceError."""
        if not len(self.time):
            return
        order, stream = self.order, self.stream_B[self.bundle]
        name, phase = self._column("name")[order], self._column("phase")[order]
        tid = self._threads(stream)
        comm = self._comms(tid)
        # 64-bit offsets: a whole trace's texts may be more than 2 GiB
        args, ret = (
            pa.concat_arrays([getattr(c, text).cast(pa.large_string()) for c in self.bundles.columns])
            for text in ("args", "ret")
        )
        cpu, thread, kind, who = (column.astype(np.int32) for column in (stream, tid, name, comm))
        self.builder.add_sorted(Sorted(order, self.time, cpu, thread, kind, args, ret, who, phase.astype(np.int8)))

    def _threads(self, stream: Ints) -> Ints:
        """Each event's thread (E,). A compact event has none of its own: it is the one that the switch before brought
        in, or that an event before or behind names, with no switch and no gap between; else UNKNOWN."""
        tid, brought_in, compact = (self._column(c)[self.order] for c in ("tid", "next", "compact"))
        after = np.where((compact > 0) | (brought_in != UNKNOWN), brought_in, tid)
        gaps = rows_by(np.array([m.cpu for m in self.builder.marks], np.int64))
        at = np.array([m.row for m in self.builder.marks], np.int64)
        for number, rows in rows_by(stream).items():
            blank = np.flatnonzero(compact[rows] > 0)
            if not len(blank):
                continue
            lost = np.sort(at[gaps[number]]) if number in gaps else np.empty(0, np.int64)
            part = np.searchsorted(lost, rows, "right")
            told = np.flatnonzero(after[rows] != UNKNOWN)
            if not len(told):
                continue
            where = np.searchsorted(told, blank)  # the first that tells, not in front of the event itself
            left, right = told[np.maximum(where - 1, 0)], told[np.minimum(where, len(told) - 1)]
            known = (where > 0) & (part[left] == part[blank])
            own = right > blank
            known_right = own & (compact[rows[right]] == 0) & (part[right] == part[blank])
            tid[rows[blank]] = np.where(known, after[rows[left]], np.where(known_right, tid[rows[right]], UNKNOWN))
        return tid

    def _comms(self, tid: Ints) -> Ints:
        """The code of each event's command (E,): the latest told until then, or the first told later, or that of the
        list of processes; -1 where nothing tells."""
        told = self.bundles.told
        empty = [np.empty(0, np.int64)]
        threads, codes = (np.concatenate([*empty, *(getattr(t, c) for t in told)]) for c in ("tid", "comm"))
        bundle, time = (np.concatenate([*empty, *(getattr(t, c) for t in told)]) for c in ("bundle", "time_ns"))
        time = self._boot_time(bundle, time)
        count = len(threads)
        all_tid, is_event = np.concatenate([threads, tid]), np.repeat([0, 1], [count, len(tid)])
        order = np.lexsort((is_event, np.concatenate([time, self.time]), all_tid))
        latest = np.maximum.accumulate(np.where(is_event[order] == 0, np.arange(len(order)), -1))
        teller = np.where(latest >= 0, order[np.maximum(latest, 0)], -1)
        found = (teller >= 0) & (all_tid[np.maximum(teller, 0)] == all_tid[order])
        comm = np.full(len(order), -1, np.int64)
        comm[order[found]] = codes[teller[found]] if count else -1
        comm = comm[count:]
        tellings = order[is_event[order] == 0]
        firsts, index = np.unique(threads[tellings], return_index=True)
        first = dict(zip(firsts.tolist(), codes[tellings[index]].tolist(), strict=True))
        missing = np.flatnonzero(comm < 0)
        for thread, rows in rows_by(tid[missing]).items():
            code = first.get(thread, -1)
            if code < 0 and thread in self.names:
                code = self.builder.comms(self.names[thread])
            comm[missing[rows]] = code
        comm[tid == 0] = self.builder.comms(IDLE) if (tid == 0).any() else -1
        comm[tid == UNKNOWN] = -1
        return comm
