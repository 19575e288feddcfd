"""Inferred events as the bytes that stand in packets, very many at a time.

Axis legend: N events, G events that differ in nothing but what is in their heads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.formats.ctf.decode import PERF_TID
from tracemend.formats.ctf.metadata import NS, Clock
from tracemend.formats.ctf.names import shown_name
from tracemend.formats.ctf.packets import Stream
from tracemend.outputs.ctf.kinds import Class, Spelling, Spelt
from tracemend.outputs.known import UNKNOWN, flat, known
from tracemend.trace.events import PHASES

Ints = NDArray[np.int64]

#: An event takes a multiple of so many bytes.
STEP = 8
MOST_CYCLES = (1 << 64) - 1


def cycles(clock: Clock, time_ns: int) -> int:
    """The clock's first value that is no earlier than a time in nanoseconds.

    So an event between two of the clock's values, as ``Clock.ns`` rounds them, doesn't leave them.
    """
    value = -((clock.offset_s * NS - time_ns) * clock.frequency // NS) - clock.offset
    return min(max(value, 0), MOST_CYCLES)


def all_cycles(clock: Clock, time_ns: Ints) -> NDArray[np.uint64]:
    """The same of many times (N,)."""
    zero = clock.offset_s * NS + clock.offset
    if clock.frequency == NS and len(time_ns):
        low, high = int(time_ns.min()) - zero, int(time_ns.max()) - zero
        if low >= 0 and max(high, abs(zero)) < 1 << 63:
            return (time_ns - zero).astype(np.uint64)
    return np.array([cycles(clock, t) for t in time_ns.tolist()], np.uint64)


class Records(NamedTuple):
    """Events one behind the other: where each begins (N + 1,), how many bytes fill it up, when it was in cycles of the
    clock, and on which cpu (N,)."""

    data: bytes
    begin_N: Ints
    filled_N: Ints
    time_N: NDArray[np.uint64]
    cpu_N: Ints


@dataclass(frozen=True, slots=True)
class Layout:
    """What stands in front of an event's fields: a thread and a command of ``comm_size`` bytes only where they are
    told. classes: the numbers of the event classes."""

    little: bool
    tid: bool
    comm_size: int
    classes: Mapping[Class, int]

    @property
    def head(self) -> np.dtype[np.void]:
        order = "<" if self.little else ">"
        members = [("class", "u4"), ("time", "u8"), ("inferred", "u1"), ("told", "u1"), ("confidence", "f4")]
        members += [("gap", "i4"), ("stream", "i4"), *([("tid", "i4")] if self.tid else [])]
        named = [(name, order + kind) for name, kind in members]
        return np.dtype(named + ([("comm", f"S{self.comm_size}")] if self.comm_size else []))

    def tail(self, spelt: Spelt) -> bytes:
        """What stands behind the head."""
        sure = np.array(spelt.confidence, "<f4" if self.little else ">f4")
        return sure.tobytes() + spelt.fields


class Spellings:
    """How the events of some streams (by their numbers) are spelt."""

    def __init__(self, lossy: Mapping[int, Stream], arch: str, little: bool) -> None:
        self.lossy = lossy
        self.numbers = np.array(sorted(lossy), np.int64)
        kinds = {s.decoder.stream.id: s.decoder.stream for s in lossy.values()}
        spelling = {i: Spelling(kind, arch, little) for i, kind in kinds.items()}
        self.of = {n: spelling[s.decoder.stream.id] for n, s in lossy.items()}
        fields = [e.fields.members for kind in kinds.values() for e in kind.events.values() if e.fields]
        #: Whether an event's fields may tell its thread.
        self.tid = any(shown_name(name) == PERF_TID for members in fields for name, _ in members)

    def __call__(self, events: pa.Table) -> tuple[list[Spelt], Ints]:
        """How events are spelt, in order of the first one of each, and which of these each is (N,)."""
        name, phase = events["name"].combine_chunks(), events["phase"].combine_chunks()
        names, phases = name.dictionary.to_pylist(), [PHASES.index(p) for p in phase.dictionary.to_pylist()]
        tid_N, number_N = (events[c].to_numpy().astype(np.int64) for c in ("tid", "cpu"))
        key_N = np.asarray(name.indices, np.int64) * len(phases) + np.asarray(phase.indices, np.int64)
        key_N = key_N * len(self.numbers) + np.searchsorted(self.numbers, number_N)
        if self.tid:
            threads, at = np.unique(tid_N, return_inverse=True)
            key_N = key_N * len(threads) + at
        some = np.diff(flat(events).starts) > 0
        bare, told = np.flatnonzero(~some), np.flatnonzero(some)
        _, first, of_bare = np.unique(key_N[bare], return_index=True, return_inverse=True)
        found: list[Spelt] = []
        place: dict[Spelt, int] = {}
        rows = np.append(bare[first], told)
        which = np.empty(len(rows), np.int64)
        order = np.argsort(rows, kind="stable")
        fields = iter(known(events.take(pa.array(told))))
        for k in order.tolist():
            row = int(rows[k])
            code, of = name.indices[row].as_py(), phase.indices[row].as_py()
            spelling = self.of[int(number_N[row])]
            spelt = spelling.spelt(names[code], phases[of], int(tid_N[row]), next(fields) if some[row] else ())
            if spelt not in place:
                place[spelt] = len(found)
                found.append(spelt)
            which[k] = place[spelt]
        spelt_N = np.empty(len(some), np.int64)
        spelt_N[bare], spelt_N[told] = which[: len(first)][of_bare], which[len(first) :]
        return found, spelt_N

    def records(self, events: pa.Table, clock: Clock, layout: Layout) -> Records:
        """Events as bytes."""
        spelt_G, spelt_N = self(events)
        tail_G = [layout.tail(spelt) for spelt in spelt_G]
        number_N = events["cpu"].to_numpy()
        head_N = np.zeros(len(spelt_N), layout.head)
        head_N["class"] = np.array([layout.classes[s.event_class] for s in spelt_G], np.int64)[spelt_N]
        head_N["time"] = time_N = all_cycles(clock, events["time_ns"].to_numpy())
        head_N["inferred"] = 1
        head_N["told"] = np.array([min(len(s.confidence), 255) for s in spelt_G], np.int64)[spelt_N]
        head_N["confidence"] = np.round(events["confidence"].to_numpy().astype(np.float64), 4)
        head_N["gap"], head_N["stream"] = events["gap"].to_numpy(), number_N
        if layout.tid:
            head_N["tid"] = events["tid"].to_numpy()
        if layout.comm_size:
            comm = events["comm"].combine_chunks()
            texts = [(text or UNKNOWN).encode() for text in (*comm.dictionary.to_pylist(), None)]
            head_N["comm"] = np.array(texts)[comm.indices.fill_null(len(texts) - 1).to_numpy()]
        size_N = layout.head.itemsize + np.array([len(tail) for tail in tail_G], np.int64)[spelt_N]
        filled_N = -size_N % STEP
        begin_N = np.append(0, np.cumsum(size_N + filled_N))
        data = np.zeros(int(begin_N[-1]), np.uint8)
        _put(data, begin_N[:-1], head_N.view(np.uint8).reshape(len(head_N), -1))
        order = np.argsort(spelt_N, kind="stable")
        ends = np.cumsum(np.bincount(spelt_N, minlength=len(spelt_G))).tolist()
        for tail, (first, last) in zip(tail_G, pairwise([0, *ends]), strict=True):
            if tail:
                _put(data, begin_N[order[first:last]] + layout.head.itemsize, np.frombuffer(tail, np.uint8))
        cpu_N = np.array([self.lossy[n].cpu for n in self.numbers.tolist()], np.int64)
        return Records(data.tobytes(), begin_N, filled_N, time_N, cpu_N[np.searchsorted(self.numbers, number_N)])


def _put(data: NDArray[np.uint8], at_N: Ints, rows: NDArray[np.uint8]) -> None:
    """Write rows of bytes (N, .), or one again and again (.,), at these places."""
    data[at_N[:, None] + np.arange(rows.shape[-1])] = rows
