"""Tracks of threads: what survived of each, and below it what was inferred.

Where the trace says which threads are one process, they stand under that process. The others are put together by their
commands, and the name of such a group says how many there are. Its number is larger than those of Linux's processes, so
that nobody takes it for one. A thread that is alone with its command stands under its own number.

Axis legend: T threads, E events, I inferred events.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.mending.mended import Mended
from tracemend.outputs.known import flat
from tracemend.outputs.perfetto.encoding import (
    ACROSS,
    ARGS,
    EVENT,
    EXPLICIT,
    GAP,
    INFERRED,
    RET,
    SYSCALL,
    Bytes,
    Events,
    Ints,
    Names,
    descriptor,
    field_notes,
    message,
    number_notes,
    ranked,
    text,
    text_notes,
    uint,
)
from tracemend.outputs.perfetto.rows import Rows
from tracemend.untrusted import printable

_FIRST = 1 << 32  # three tracks for each thread: process, thread, inferred
_OTHERS = _FIRST - 1
#: The first number of a group of threads: PID_MAX_LIMIT of Linux, which no thread reaches.
_GROUPS = 1 << 22


class Threads:
    """The threads (T,), by their numbers. ``comm``: the last command that each of them had."""

    def __init__(self, mended: Mended) -> None:
        trace, inferred = mended.trace, mended.inferred
        self._mended = mended
        tid = inferred["tid"].to_numpy()
        self.tids, first = np.unique(np.concatenate([trace.tid, tid]).astype(np.int64), return_index=True)
        self._appearance = np.argsort(np.argsort(first))
        self._survived, self._inferred = np.isin(self.tids, trace.tid), np.isin(self.tids, tid)
        self.comm: dict[int, str] = {}
        comms = inferred["comm"].cast(pa.string()).to_pylist()
        self.comm.update((int(t), c) for t, c in zip(tid.tolist(), comms, strict=True) if c)
        codes, known = trace.comms
        for t, rows in trace.threads.items():
            named = rows[codes[rows] >= 0]
            if len(named):
                self.comm[t] = known[codes[named[-1]]]

    def name(self, tid: int) -> str:
        """What to call a thread."""
        comm = self.comm.get(tid, "")
        if tid > 0:
            return f"{comm} {tid}" if comm else f"thread {tid}"
        return (comm or "idle thread") if tid == 0 else "unknown thread"

    def names(self, tid: NDArray[np.integer]) -> pa.Array:
        """Of each event's thread."""
        which = np.searchsorted(self.tids, tid)
        return pa.array([printable(self.name(t)) for t in self.tids.tolist()], pa.string()).take(pa.array(which))

    def events(
        self, recorded: Rows, filled: Rows, fill_notes: list[Bytes | pa.Array], names: Names
    ) -> Iterator[Events]:
        """What survived, and what was inferred. ``fill_notes``: of each inferred event."""
        table, gaps = self._mended.trace.table, self._mended.trace.gaps
        enters, exits = recorded.pairs(recorded.tid, np.zeros_like(recorded.tid))
        category = np.where(recorded.calls, SYSCALL, EVENT)
        begins, ends = (
            np.sort(np.array(times, np.int64)) for times in ([g.begin_ns for g in gaps], [g.end_ns for g in gaps])
        )
        across = np.searchsorted(begins, recorded.time[exits]) > np.searchsorted(
            ends, recorded.time[enters], side="right"
        )
        category[enters[across]] = category[exits[across]] = ACROSS
        notes: list[Bytes | pa.Array] = [text_notes(ARGS, table["args"]), text_notes(RET, table["ret"])]
        yield recorded.events((enters, exits), self._tracks(recorded.tid) + 1, category, notes, names)
        pairs = filled.pairs(filled.tid, self._mended.inferred["gap"].to_numpy().astype(np.int64))
        yield filled.events(pairs, self._tracks(filled.tid) + 2, np.full_like(filled.tid, INFERRED), fill_notes, names)

    def _tracks(self, tid: Ints) -> Ints:
        return _FIRST + 3 * np.searchsorted(self.tids, tid)

    def _groups(self) -> Iterator[tuple[int, str, list[int]]]:
        """Which threads go together, in order of appearance: those of one process; where that isn't known those of one
        command, and alone those without one. Their number, what they are called, and which they are."""
        processes = self._mended.trace.processes
        groups: dict[tuple[int, str], list[int]] = {}
        for i in np.argsort(self._appearance).tolist():
            tid = int(self.tids[i])
            if tid > 0:
                comm = self.comm.get(tid, "")
                key = (processes[tid], "") if tid in processes else (0, comm) if comm else (-tid, "")
                groups.setdefault(key, []).append(i)
        taken = {*self.tids.tolist(), *processes.values()}
        numbers = itertools.filterfalse(taken.__contains__, itertools.count(_GROUPS))
        known = set(processes.values())
        for (pid, comm), members in groups.items():
            first = int(self.tids[members[0]])
            many = f": {len(members)} threads" if len(members) > 1 else ""
            if pid > 0:
                yield pid, self.comm.get(pid) or self.comm.get(first) or f"process {pid}", members
            elif many or first in known:
                yield next(numbers), (comm or f"thread {first}") + many, members
            else:
                yield first, comm or f"thread {first}", members

    def descriptors(self) -> Iterator[bytes]:
        """What the tracks are. Newer versions of the viewer than 52 show processes and threads in the order given.

        The viewer puts a thread's number behind the names of its tracks. A thread names its process by number alone:
        with a parent its process would have a track, and such tracks push those of the cpus down.
        """
        for rank, (pid, name, members) in enumerate(self._groups()):
            process = message(3, uint(1, pid) + text(6, name))
            yield descriptor(_FIRST + 3 * members[0], rest=process + ranked(rank))
            for i in members:
                tid = int(self.tids[i])
                said = uint(1, pid) + uint(2, tid) + text(5, self.comm.get(tid) or f"thread {tid}")
                track = _FIRST + 3 * i + 1
                yield descriptor(track, rest=message(4, said) + ranked(int(self._appearance[i])))
                if self._inferred[i]:
                    yield descriptor(track + 1, name=f"inferred: {self.comm.get(tid) or 'thread'}", parent=track)
        others = np.flatnonzero(self.tids <= 0).tolist()  # the idle thread of every cpu; events without a thread
        if others:
            yield descriptor(_OTHERS, name="other threads", rest=uint(11, EXPLICIT))
        for i in others:
            track, name = _FIRST + 3 * i + 1, self.name(int(self.tids[i]))
            if self._survived[i]:
                yield descriptor(track, name=name, parent=_OTHERS, rest=ranked(2 * i))
            if self._inferred[i]:
                yield descriptor(track + 1, name=f"inferred: {name}", parent=_OTHERS, rest=ranked(2 * i + 1))


def fill_notes(table: pa.Table, names: Names) -> list[Bytes | pa.Array]:
    """What is said of each inferred event besides how sure it is: its gap, and its fields with how sure those are."""
    notes: list[Bytes | pa.Array] = [number_notes(GAP, table["gap"].to_numpy().astype(np.int64))]
    fields = flat(table)
    if len(fields.names):
        notes.append(field_notes(names, fields))
    return notes
