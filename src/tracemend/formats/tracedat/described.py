"""What a ``trace.dat`` says of itself: its machine, events and commands, and where each cpu's sub-buffers lie."""

from __future__ import annotations

from dataclasses import dataclass, field

from tracemend.formats.ringbuffer import NATIVE, Kind, Layout

#: Sub-buffers of any machine (bytes).
LEAST_PAGE, MOST_PAGE = 64, 1 << 20
MOST_CPUS, MOST_BUFFERS = 1 << 14, 1 << 10


@dataclass(frozen=True, slots=True)
class Cpu:
    """Where one cpu's sub-buffers lie (bytes from the beginning of the file)."""

    number: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Buffer:
    """One instance's ring buffers. The name of the top one is empty. page_size: bytes of a sub-buffer."""

    name: str
    clock: str
    page_size: int
    cpus: tuple[Cpu, ...]
    compressed: bool


@dataclass
class Described:
    """What a file says of itself. offset_ns is added to every time; tsc: (multiplier, shift, offset) that make
    nanoseconds of the clock's ticks; shifted: times of a guest, to be brought to its host's clock; statistics: the
    counters of all buffers' cpus, as text."""

    order: str = "<"
    page_size: int = 4096
    layout: Layout = NATIVE
    user_long: int = 8
    version: int = 6
    compression: str = "none"
    kinds: dict[int, Kind] = field(default_factory=dict)
    comms: dict[int, str] = field(default_factory=dict)
    buffers: list[Buffer] = field(default_factory=list)
    cpus: int = 0
    offset_ns: int = 0
    tsc: tuple[int, int, int] | None = None
    clock: str = ""
    shifted: bool = False
    statistics: list[str] = field(default_factory=list)
    uname: str = ""
    recorder: str = ""
