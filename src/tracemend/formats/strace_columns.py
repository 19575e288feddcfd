"""strace's lines in large inputs: compiled loops read the usual ones, and ``strace`` each odd one in between.

Axis legend: N lines of a chunk, K events of its usual lines.
"""

from __future__ import annotations

import re
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tracemend.formats.stracelines import EXECS, HEAD, LATEST_NS, known
from tracemend.formats.text import Ints, Lines, as_strings, decode, is_large, scratch
from tracemend.trace.events import ENTER, EXIT
from tracemend.trace.syscalls import LAST_CALLS

if TYPE_CHECKING:
    from tracemend.formats.strace import Reader


@dataclass(slots=True)
class Threads:
    """The threads that were seen: their places in order, and by place the code of the call that each is in, which
    nothing but its end can follow (-1: none)."""

    places: dict[int, int] = field(default_factory=dict)
    numbers: list[int] = field(default_factory=list)
    inside: array[int] = field(default_factory=lambda: array("i"))

    def add(self, thread: int) -> None:
        self.places[thread] = len(self.places)
        self.numbers.append(thread)
        self.inside.append(-1)

    def leave(self, thread: int) -> int:
        """The call that a thread was in, and isn't from now on."""
        place = self.places.get(thread)
        if place is None:
            return -1
        begun, self.inside[place] = self.inside[place], -1
        return begun

    def enter(self, thread: int, name: int) -> None:
        self.inside[self.places[thread]] = name


@dataclass(frozen=True, slots=True)
class Scanned:
    """A chunk of which each line was read by itself; ``cut``: its last line has no line end."""

    raw: bytes
    first: int
    cut: bool
    ascii: bool
    start: Ints
    end: Ints
    calls: Ints
    names: list[bytes]
    comms: list[bytes]
    threads: list[int]

    def text(self, i: int) -> bytes:
        return self.raw[int(self.start[i]) : int(self.end[i])].rstrip(b"\r")


def scan(piece: tuple[bytes, int]) -> Scanned | tuple[bytes, int]:
    """Read each line of a large piece by itself."""
    if not is_large(piece[0]):
        return piece
    from tracemend.formats.strace_scan import ODD, SORT, scan_calls
    from tracemend.formats.text_scan import table_of

    lines = Lines(*piece)
    n = len(lines)
    calls = np.empty((n, 12), np.int64)
    names, comms, threads = (table_of(kind, n) for kind in ("names", "comms", "threads"))
    scan_calls(lines.data, lines.start, lines.end, (names, comms, threads), calls)
    calls[lines.holding(b"tached"), SORT] = ODD
    start, end = lines.start.copy(), lines.end.copy()
    words = names.words(lines.raw), comms.words(lines.raw), [int(t) for t in threads.words(lines.raw)]
    return Scanned(lines.raw, lines.first, lines.cut, lines.ascii, start, end, calls, *words)


class Follower:
    """Follows a scanned chunk, of which ``reader`` takes the lines that are odd."""

    def __init__(self, reader: Reader, scanned: Scanned) -> None:
        from tracemend.formats import strace_scan

        self.loops = strace_scan
        self.reader, self.scanned = reader, scanned
        self.names = np.full(len(scanned.names), -1, np.int32)
        self.kinds = np.array([_kind(n) for n in scanned.names], np.int32)
        self.comms = np.full(len(scanned.comms), -1, np.int32)
        self.places = np.full(len(scanned.threads), -1, np.int32)
        self.placed = -1
        self.state = np.zeros(11, np.int64)
        #: Of each event of an odd line, how many of the others are above it.
        self.above: list[int] = []
        self.events = scratch("strace events", (9, 2 * len(scanned.start)), np.int64)

    def follow(self) -> bool:
        """Give the reader all events; False if the last line is none of strace's."""
        scanned, reader = self.scanned, self.reader
        at, fits = 0, True
        while at < len(scanned.start):
            if reader.held is None and reader.threads.places and reader.clock.now <= LATEST_NS:
                before, at = at, self._run(at)
                fits |= at > before
                if at == len(scanned.start):
                    break
                if self.state[self.loops.UNKNOWN]:
                    self._learn(at)
                    continue
            fits = reader.read(scanned.first + at, scanned.text(at))
            self.above += [int(self.state[self.loops.ADDED])] * (len(reader.events.numbers) - len(self.above))
            at += 1
        self._pack()
        return fits

    def _run(self, at: int) -> int:
        """Follow the usual lines from one on, and say where they end."""
        loops, reader, state = self.loops, self.reader, self.state
        threads, clock = reader.threads, reader.clock
        if len(threads.places) > self.placed:
            self.placed = len(threads.places)
            self.places[:] = [threads.places.get(t, -1) for t in self.scanned.threads]
        state[loops.LINE_TIMED], state[loops.LINE_COLUMNED] = bool(reader.timed), bool(reader.columned)
        state[loops.NOW], state[loops.DAYS], state[loops.DAY_TIME] = clock.now, clock.days, clock.of_day
        state[loops.ALONE], state[loops.INDEX] = threads.places.get(reader.alone, -1), reader.index
        state[loops.TORN], state[loops.LAST] = reader.torn, reader.over
        active = np.zeros(len(threads.inside), np.bool_)
        inside = np.frombuffer(threads.inside, np.int32)
        known = self.names, self.kinds, self.comms
        to: int = loops.follow_calls(self.scanned.calls, at, state, known, (self.places, inside, active), self.events)
        if to > at:
            clock.now, clock.days, clock.of_day = state[[loops.NOW, loops.DAYS, loops.DAY_TIME]].tolist()
            reader.index, reader.torn = int(state[loops.INDEX]), bool(state[loops.TORN])
            reader.over, reader.left = bool(state[loops.LAST]), self._left(to - 1)
            reader.alive |= {threads.numbers[p] for p in np.flatnonzero(active).tolist()}
        return to

    def _left(self, i: int) -> tuple[re.Match[bytes], bytes] | None:
        """The call that a line left unfinished."""
        loops, call = self.loops, self.scanned.calls[i]
        if call[loops.SORT] != loops.LEFT:
            return None
        head = HEAD.match(self.scanned.text(i))
        assert head is not None  # every part of it may be absent
        return head, self.scanned.names[call[loops.NAME]]

    def _learn(self, i: int) -> None:
        """Take in the name and the command of a line."""
        loops, call = self.loops, self.scanned.calls[i]
        name, comm = int(call[loops.NAME]), int(call[loops.COMM])
        self.names[name] = self.reader.name(self.scanned.names[name])
        if comm >= 0:
            self.comms[comm] = self.reader.builder.comms(decode(self.scanned.comms[comm]))

    def _pack(self) -> None:
        """Hand over the events, those of odd lines where they belong."""
        events = self.reader.events
        n = int(self.state[self.loops.ADDED])
        numbers, spans = self.events[:7, :n].copy(), self.events[7:, :n].astype(np.int32)
        numbers[2] = np.array(self.reader.threads.numbers, np.int64)[numbers[2]]
        numbers[6] += self.scanned.first
        raw, ascii_only = self.scanned.raw, self.scanned.ascii
        if events.numbers:
            words = [(a if a is not None else r or "").encode() for a, r in events.words]
            ends = len(raw) + np.cumsum([len(w) for w in words])
            own = np.array([ends - [len(w) for w in words], ends], np.int32)
            raw = b"".join([raw, *words])
            ascii_only &= all(w.isascii() for w in words)
            numbers = np.insert(numbers, self.above, np.array(events.numbers, np.int64).T, axis=1)
            spans = np.insert(spans, self.above, own, axis=1)
        data = np.frombuffer(raw, np.uint8)
        from tracemend.formats.text_scan import gathered

        args, ret = (
            as_strings(gathered(data, spans, wanted, int((spans[1] - spans[0])[wanted].sum())), ascii_only)
            for wanted in (numbers[5] == ENTER, numbers[5] == EXIT)
        )
        events.take(numbers.T, args, ret)


def _kind(name: bytes) -> int:
    from tracemend.formats.strace_scan import IS_CALL, IS_EXEC, IS_LAST

    return IS_EXEC * (name in EXECS) | IS_LAST * (decode(name) in LAST_CALLS) | IS_CALL * known(name)
