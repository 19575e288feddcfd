"""Records of an event trace log as columns.

All events are instants: a system call's enter and exit don't pair in Windows' kernel, where a call may call back into
the program, which calls again.

Axis legend: W words of the file (4 bytes), N records of a batch, K those of one kind.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tracemend.formats.etl import names
from tracemend.formats.etl.buffers import CLASSIC, COMPACT, EVENT, INSTANCE, PERFINFO, SYSTEM, TABLED, Ints, Words

#: Kernel's events (group and type) of which more than the name is read.
SWITCH, READY, CALL, RETURN = 0x0524, 0x0532, 0x0F33, 0x0F34
#: A thread that isn't known.
NOBODY = -1
#: TraceLogging's channel; its events bring their names along, behind their head of 80 bytes.
TRACELOGGING, HEAD = 11, 80
#: What a message (WPP) has, in this order behind its head: sequence, GUID, component, time (two kinds), thread.
SEQUENCE, GUID, COMPONENT, TIME, FINE_TIME, THREAD = 0x1, 0x2, 0x4, 0x8, 0x10, 0x20


@dataclass
class Columns:
    """Records as columns (N,). ``thread``, ``process``: NOBODY where the record doesn't say. ``switches``: records that
    tell which thread gets the cpu (``incoming``) and which gives it up (``outgoing``). ``texts``: arguments by record.
    ``own``: records that tell of the log itself, not of the system.
    """

    time: Ints
    thread: NDArray[np.int32]
    process: NDArray[np.int32]
    name: NDArray[np.int32]
    switches: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    incoming: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    outgoing: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    texts: dict[int, str] = field(default_factory=dict)
    own: Ints = field(default_factory=lambda: np.empty(0, np.int64))


def columns(words: Words, at: Ints, intern: Callable[[str], int]) -> Columns:
    """The columns of the records that begin at the bytes ``at`` (N,)."""
    reader = _Reader(words, at, intern)
    reader.tabled()
    reader.messages()
    return reader.found


class _Reader:
    """Fills the columns, one kind of records after the other."""

    def __init__(self, words: Words, at: Ints, intern: Callable[[str], int]) -> None:
        self.words, self.at, self.intern = words, at, intern
        first = words[at >> 2]
        self.kind, self.message = first >> 16 & 0xFF, (first >> 24 & TABLED) != TABLED
        count = len(at)
        thread, process = np.full((2, count), NOBODY, np.int32)
        self.found = Columns(np.zeros(count, np.int64), thread, process, np.zeros(count, np.int32))

    def tabled(self) -> None:
        """Every kind of records but messages."""
        kernel = self._rows(*SYSTEM, *COMPACT, *PERFINFO)
        brief = np.isin(self.kind[kernel], PERFINFO)
        at = self.at[kernel]
        hook = self._word(at, 4).astype(np.int64) >> 16  # the type is the lower byte, the group the upper one
        self.found.time[kernel] = self._long(at + np.where(brief, 8, 16))
        self._whose(kernel[~brief])
        hooks, of = np.unique(hook, return_inverse=True)
        codes = [self.intern(names.kernel(h >> 8, h & 0xFF)) for h in hooks.tolist()]
        self.found.name[kernel] = np.array(codes, np.int32)[of]
        self.found.own = kernel[hook >> 8 == 0]
        head = np.where(brief, 16, np.where(np.isin(self.kind[kernel], SYSTEM), 32, 24))
        self._details(kernel, hook, at + head)
        for rows in (self._rows(*EVENT), self._rows(*CLASSIC, *INSTANCE)):
            at = self.at[rows]
            self.found.time[rows] = self._long(at + 16)
            self._whose(rows)
        self._providers(self._rows(*EVENT), names.described)
        self._providers(self._rows(*CLASSIC, *INSTANCE), names.classic)
        self._told()

    def _whose(self, rows: Ints) -> None:
        """Thread and process of records that tell both in their heads."""
        for column, offset in ((self.found.thread, 8), (self.found.process, 12)):
            column[rows] = self._word(self.at[rows], offset).view(np.int32)

    def _rows(self, *kinds: int) -> Ints:
        return np.flatnonzero(np.isin(self.kind, kinds) & ~self.message)

    def _word(self, at: Ints, offset: int) -> NDArray[np.uint32]:
        return np.asarray(self.words[at + offset >> 2])

    def _long(self, at: Ints) -> Ints:
        return self._word(at, 0).astype(np.int64) | self._word(at, 4).astype(np.int64) << 32

    def _end(self, rows: Ints) -> Ints:
        """Where records whose size stands in their first word end."""
        return self.at[rows] + (self._word(self.at[rows], 0) & 0xFFFF)

    def _bytes(self, begin: int, end: int) -> bytes:
        """Bytes of the file; ``begin`` is a multiple of 4."""
        return self.words[begin >> 2 : end + 3 >> 2].tobytes()[: end - begin]

    def _details(self, rows: Ints, hook: Ints, data: Ints) -> None:
        """Switches of threads, and the arguments of some kernel's events, whose data begin at ``data`` (K,)."""
        end = self.at[rows] + (self._word(self.at[rows], 4) & 0xFFFF)
        switch = np.flatnonzero((hook == SWITCH) & (data + 8 <= end))
        found = self.found
        found.switches = rows[switch]
        found.incoming = self._word(data[switch], 0).view(np.int32)
        found.outgoing = self._word(data[switch], 4).view(np.int32)
        for row, new, old in zip(found.switches.tolist(), found.incoming, found.outgoing, strict=True):
            found.texts[row] = f"next={new} previous={old}"
        ready = np.flatnonzero((hook == READY) & (data + 4 <= end))
        for row, thread in zip(rows[ready].tolist(), self._word(data[ready], 0), strict=True):
            found.texts[row] = f"thread={thread}"
        wide = self.kind[rows] == PERFINFO[1]
        call = np.flatnonzero((hook == CALL) & (data + np.where(wide, 8, 4) <= end))
        low = self._word(data[call], 0).astype(np.uint64)
        high = np.where(wide[call], self._word(np.minimum(data[call], end[call] - 8), 4), 0).astype(np.uint64)
        for row, address in zip(rows[call].tolist(), (high << np.uint64(32) | low).tolist(), strict=True):
            found.texts[row] = f"{address:#x}"
        status = np.flatnonzero((hook == RETURN) & (data + 4 <= end))
        for row, value in zip(rows[status].tolist(), self._word(data[status], 0).tolist(), strict=True):
            found.texts[row] = f"{value:#x}"

    def _providers(self, rows: Ints, name: Callable[[bytes, int], str]) -> None:
        """Name records by their provider's GUID and by a number: a described event's, or a classic one's type."""
        at = self.at[rows]
        described = np.isin(self.kind[rows], EVENT)
        number = np.where(described, self._word(at + 40 * described, 0) & 0xFFFF, self._word(at, 4) & 0xFF)
        key = np.stack([*(self._word(at, 24 + k) for k in (0, 4, 8, 12)), number.astype(np.uint32)], axis=1)
        distinct, of = np.unique(np.ascontiguousarray(key).view("V20").ravel(), return_inverse=True)
        codes = [
            self.intern(name(raw[:16], int.from_bytes(raw[16:], "little"))) for raw in (d.tobytes() for d in distinct)
        ]
        self.found.name[rows] = np.array(codes, np.int32)[of]

    def _told(self) -> None:
        """Name TraceLogging's events by what they bring along."""
        rows = self._rows(*EVENT)
        at = self.at[rows]
        brings = (self._word(at, 4) & 1 > 0) & (self._word(at, 40) >> 24 == TRACELOGGING)
        rows = rows[brings]
        for row, begin, end in zip(rows.tolist(), self.at[rows].tolist(), self._end(rows).tolist(), strict=True):
            name = names.told(self._bytes(begin + HEAD, end), self._bytes(begin + 24, begin + 40))
            if name:
                self.found.name[row] = self.intern(name)

    def messages(self) -> None:
        """Messages (WPP): a number, and what its flags say."""
        rows = np.flatnonzero(self.message)
        for row, begin, end in zip(rows.tolist(), self.at[rows].tolist(), self._end(rows).tolist(), strict=True):
            raw = self._bytes(begin, end)
            number, flags = struct.unpack_from("<HH", raw, 4)
            at = 12 if flags & SEQUENCE else 8
            provider = "message"
            if flags & GUID:
                provider, at = names.braced(raw[at : at + 16].ljust(16, b"\0")), at + 16
            elif flags & COMPONENT:
                provider, at = f"component{int.from_bytes(raw[at : at + 4], 'little')}", at + 4
            self.found.time[row] = -1
            if flags & (TIME | FINE_TIME) and at + 8 <= len(raw):
                (self.found.time[row],) = struct.unpack_from("<q", raw, at)
                at += 8
            if flags & THREAD and at + 4 <= len(raw):
                (self.found.thread[row],) = struct.unpack_from("<i", raw, at)
            self.found.name[row] = self.intern(f"{provider}/{number}")
