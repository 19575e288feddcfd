"""What the first record of an event trace log says of the trace (TRACE_LOGFILE_HEADER), and its clock."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tracemend.errors import TraceError
from tracemend.formats.etl import BUFFER_HEADER, SYSTEM_HEADER
from tracemend.formats.kernel import LATEST

Ints = NDArray[np.int64]

#: 100 ns between 1601, where Windows counts from, and 1970.
EPOCH = 116_444_736_000_000_000
#: Clocks: the performance counter, the system's time (100 ns since 1601), the processor's cycles.
COUNTER, SYSTEM_TIME, CYCLES = 1, 2, 3
#: Modes of a log file that matter here.
CIRCULAR, NEW_FILE, IN_MEMORY, ONE_STREAM = 0x2, 0x8, 0x400, 0x1000_0000
#: Where the record's data begin.
DATA = BUFFER_HEADER + SYSTEM_HEADER
#: Buffers are some KiB, and no session takes larger ones.
KIB, MOST_BUFFER = 1024, 1 << 26


@dataclass(frozen=True, slots=True)
class Header:
    """The trace as its first record describes it. ``origin``: the clock's value at ``start_ns``."""

    buffer_size: int
    version: str
    processors: int
    end_time: int
    mode: int
    buffers_written: int
    events_lost: int
    buffers_lost: int
    clock: int
    frequency: int
    origin: int
    start_ns: int

    @property
    def closed(self) -> bool:
        """Whether the session was stopped: only then are its counters written."""
        return self.end_time != 0

    def times(self, raw: Ints) -> Ints:
        """The clock's values (E,) as nanoseconds since 1970; -1 for what can't be."""
        if self.clock == SYSTEM_TIME:
            fits = (raw >= EPOCH) & (raw <= EPOCH + LATEST // 100)
            return np.where(fits, (raw - EPOCH * fits) * 100, -1)
        plausible = (raw >= 0) & (raw < 1 << 62)
        seconds, rest = np.divmod(np.where(plausible, raw, self.origin) - self.origin, self.frequency)
        low, high = -(self.start_ns // 10**9), (LATEST - self.start_ns) // 10**9 - 1
        plausible &= (seconds >= low) & (seconds <= high)
        time = self.start_ns + np.clip(seconds, low, max(low, high)) * 10**9 + rest * 10**9 // self.frequency
        return np.where(plausible & (time >= 0), time, -1)


def parse(path: Path, raw: bytes) -> Header:
    """The header of a file that begins with ``raw``. Raises TraceError for one that describes no trace."""

    def wrong(at: int, message: str) -> TraceError:
        return TraceError(path, 0, f"byte {at}: {message}")

    try:
        (origin,) = struct.unpack_from("<q", raw, BUFFER_HEADER + 16)
        size, *version, build, processors, end = struct.unpack_from("<I4BIIq", raw, DATA)
        mode, written, _, pointer, events_lost, megahertz = struct.unpack_from("<6I", raw, DATA + 32)
        if pointer not in (4, 8):
            raise wrong(DATA + 44, f"a pointer of {pointer} bytes")
        # two pointers and a time zone of 172 bytes, then aligned to 8 bytes
        times = DATA + (56 + 2 * pointer + 172 + 7 & ~7)
        frequency, start, clock, buffers_lost = struct.unpack_from("<qqII", raw, times + 8)
    except struct.error:
        raise wrong(len(raw), "the file ends within its header") from None
    if not KIB <= size <= MOST_BUFFER or size % KIB:
        raise wrong(DATA, f"buffers of {size} bytes, which no session has")
    if version[0] < 6:
        raise wrong(DATA + 4, "a log of a Windows before Vista, whose buffers are laid out in another way")
    if clock not in (COUNTER, SYSTEM_TIME, CYCLES):
        clock = SYSTEM_TIME if origin >= EPOCH else COUNTER
    frequency = megahertz * 10**6 if clock == CYCLES else frequency
    if clock != SYSTEM_TIME and not 0 < frequency <= 9 * 10**9:
        raise wrong(times + 8, f"a clock of {frequency} ticks a second")
    if not 0 <= origin < 1 << 62 or start > EPOCH + LATEST // 100:
        raise wrong(times + 16, "a trace that begins at a time that can't be")
    return Header(
        buffer_size=size,
        version=f"{version[0]}.{version[1]}.{build}",
        processors=processors,
        end_time=end,
        mode=mode,
        buffers_written=written,
        events_lost=events_lost,
        buffers_lost=buffers_lost,
        clock=clock,
        frequency=frequency,
        origin=origin,
        start_ns=max(0, start - EPOCH) * 100,
    )
