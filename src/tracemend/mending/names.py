"""What threads are called at a time: what their nearest surviving events say, with an exec as the border.

A thread's command is its parent's until it calls exec, and then that of the program. So where the surviving events
around a moment have different commands, the change comes at the last exec that was inferred between them. Where none
was, an exec that is known to begin or to end there tells; else the event that is nearer in time does.

Axis legend: E events of the trace, F facts of one thread, I moments that are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracemend.trace.events import ENTER, EXIT, PHASES, Trace, rows_by
from tracemend.trace.fields import SWITCH, WAKEUPS, numbers, values
from tracemend.trace.syscalls import FORKS

Ints = NDArray[np.int64]

EXECS = ("execve", "execveat")
EXECUTED, FILENAME = "sched_process_exec", "filename"
#: What an event is to its thread's command: nothing; the last one under the old; the first one under the new.
NO, LAST, FIRST = range(3)
#: Where commands follow execs, so many of these change it, at least: others call a program of the same name.
CHANGING = 0.3
#: Events that tell what a thread is called, with the fields that do.
TELLING = (
    (SWITCH, "prev_pid", "prev_comm"),
    (SWITCH, "next_pid", "next_comm"),
    *((wakeup, "pid", "comm") for wakeup in WAKEUPS),
    ("sched_process_fork", "pid", "comm"),
    ("sched_process_fork", "child_pid", "child_comm"),
    ("sched_process_exit", "pid", "comm"),
    (EXECUTED, "pid", FILENAME),
)


def _command(file: str) -> str:
    """What the kernel calls a thread that executes a file: the last part of its name, of which it keeps 15 bytes."""
    return file.rpartition("/")[2].encode()[:15].decode(errors="ignore")


def border(name: str, phase: int) -> int:
    """What such an event is to its thread's command."""
    if name in EXECS:
        return {ENTER: LAST, EXIT: FIRST}.get(phase, NO)
    return FIRST if name == EXECUTED else NO


class Moments(NamedTuple):
    """Of threads (each (I,)): the thread, the time, the place among the trace's rows, the border it is."""

    tids: Ints
    times: Ints
    rows: NDArray[np.float64]
    borders: NDArray[np.int8]

    def some(self, which: Ints) -> Moments:
        """Some of them."""
        return Moments(self.tids[which], self.times[which], self.rows[which], self.borders[which])


class Names:
    """The commands of a trace's threads. ``known``: those that there are, of which codes speak; -1 is none."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self._codes, known = trace.comms
        self.known = list(known)
        self._place = {name: code for code, name in enumerate(known)}
        codes, names = trace.names
        table = np.array([[border(name, phase) for phase in range(len(PHASES))] for name in names], np.int8)
        self._borders = table[codes, trace.phase] if names else np.empty(0, np.int8)
        self.follow = self._changes()
        told = [*self._fields(), *(self._children() if self.follow else ())]
        tids, rows, codes = (np.concatenate([np.empty(0, np.int64), *column]) for column in zip(*told, strict=True))
        #: By thread, what the fields of kernel events tell of it: rows and codes.
        self._told = {tid: (rows[own], codes[own]) for tid, own in rows_by(tids).items() if tid > 0}

    def _fields(self) -> Iterator[tuple[Ints, Ints, Ints]]:
        """Threads, the rows that tell of them, and what they are called there."""
        for event, pid, comm in TELLING:
            rows, said = values(self.trace, event, (pid, comm))
            coded = said[comm].dictionary_encode()
            called = [_command(file) if comm == FILENAME else file for file in coded.dictionary.to_pylist()]
            table = np.array([*(self.code(name) for name in called), -1], np.int64)
            codes = table[coded.indices.fill_null(-1).to_numpy()]
            known = codes >= 0
            yield numbers(said[pid])[known], rows[known], codes[known]

    def _changes(self) -> bool:
        """Whether commands change where execs succeed. Where a tool looks them up when it prints they don't."""
        changed = execs = 0
        for call in EXECS:
            rows, said = values(self.trace, call, ("ret",))
            over = self.trace.phase[rows] == EXIT
            for row, ret in zip(rows[over].tolist(), said["ret"].filter(over).to_pylist(), strict=True):
                own = self.trace.threads[int(self.trace.tid[row])]
                at = int(np.searchsorted(own, row))
                if at and ret in (None, "0", "0x0"):
                    execs += 1
                    changed += bool(self._codes[own[at - 1]] != self._codes[row])
        return not execs or changed >= CHANGING * execs

    def _children(self) -> Iterator[tuple[Ints, Ints, Ints]]:
        """The same of new threads: whoever forks has the command that its child has."""
        for call in FORKS:
            rows, said = values(self.trace, call, ("ret",))
            codes = self._codes[rows].astype(np.int64)
            known = codes >= 0
            yield numbers(said["ret"])[known], rows[known], codes[known]

    def code(self, name: str) -> int:
        """The code of a command, from now on."""
        if (code := self._place.get(name)) is None:
            code = self._place[name] = len(self.known)
            self.known.append(name)
        return code

    def of(self, moments: Moments, *, told: bool = False) -> NDArray[np.int32]:
        """The codes of the threads' commands (I,): what stands beside their own events, or (``told``) what the fields
        of kernel events call them, which is another name where a tool looks commands up when it prints."""
        found = np.full(len(moments.tids), -1, np.int32)
        order = np.lexsort((moments.rows, moments.times, moments.tids))
        tids = moments.tids[order]
        for own in np.split(order, np.flatnonzero(np.diff(tids)) + 1):
            if len(own) and moments.tids[own[0]] >= 0:
                found[own] = self._of_thread(int(moments.tids[own[0]]), moments.some(own), told)
        return found

    def _of_thread(self, tid: int, moments: Moments, told: bool) -> NDArray[np.int32]:
        """Of one thread, whose moments are in order."""
        facts, codes = self._facts(tid, told)
        if not len(codes):
            return np.full(len(moments.tids), -1, np.int32)
        order = np.lexsort((np.append(facts, moments.rows), np.append(self.trace.time_ns[facts], moments.times)))
        at = np.cumsum(order < len(facts))[order >= len(facts)]  # so many facts before; the moments are in order
        around = np.concatenate([[-1], codes, [-1]]).astype(np.int32)
        before, after = around[at], around[at + 1]
        late = np.zeros(len(at), np.bool_)
        rows = np.concatenate([[-1], facts, [-1]])
        for k in np.unique(at[before != after]).tolist():
            own = np.flatnonzero(at == k)
            late[own] = self._behind(tid, moments.some(own), (int(rows[k]), int(rows[k + 1])), self.follow or told)
        return np.where(late, after, before)

    def _facts(self, tid: int, told: bool) -> tuple[Ints, NDArray[np.int32]]:
        """Rows that tell of a thread's command (F,), in order of time, and what they say."""
        rows = self.trace.threads.get(tid, np.empty(0, np.int64))
        codes = self._codes[rows]
        rows, codes = rows[codes >= 0], codes[codes >= 0]
        if tid in self._told and (told or self.follow or not len(rows)):
            others, theirs = self._told[tid]
            own = len(rows) if self.follow else 0
            rows, codes = np.append(rows[:own], others), np.append(codes[:own], theirs.astype(np.int32))
        order = np.lexsort((rows, self.trace.time_ns[rows]))
        return rows[order], codes[order]

    def _behind(self, tid: int, moments: Moments, around: tuple[int, int], follow: bool) -> NDArray[np.bool_]:
        """Which of a thread's moments lie behind the change of its command, all of them between the rows around (-1:
        nothing is known of the time before or behind)."""
        before, after = around
        some = np.ones(len(moments.tids), np.bool_)
        if follow:
            execs = np.flatnonzero(moments.borders == FIRST)
            if len(execs):
                return np.asarray(np.arange(len(some)) >= execs[-1], np.bool_)
            if self._is(after, FIRST, tid):
                return ~some
            if self._is(before, LAST, tid):
                return some
        if before < 0 or after < 0:
            return some if before < 0 else ~some
        time = self.trace.time_ns
        return np.asarray(moments.times - time[before] > time[after] - moments.times, np.bool_)

    def _is(self, row: int, border: int, tid: int) -> bool:
        """Whether a row is such a border of the thread's own."""
        return row >= 0 and bool(self._borders[row] == border and self.trace.tid[row] == tid)
