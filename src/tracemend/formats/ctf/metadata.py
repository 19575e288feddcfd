"""What a CTF trace's metadata says: its clocks, its kinds of streams and their kinds of events."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tracemend.formats.ctf.types import Structure

NS = 1_000_000_000

#: The context that marks events as inferred by this package, and the entry of the environment that counts them.
INFERRED, INFERRED_EVENTS = "tracemend_inferred", "tracemend_events"


@dataclass(frozen=True, slots=True)
class Clock:
    """Cycles since an origin: ``offset_s`` seconds and ``offset`` cycles before value 0."""

    name: str
    frequency: int = NS
    offset_s: int = 0
    offset: int = 0

    def ns(self, value: int) -> int:
        """Nanoseconds since the origin, rounded down."""
        return self.offset_s * NS + (self.offset + value) * NS // self.frequency


@dataclass(frozen=True, slots=True)
class EventClass:
    """One kind of event: its own context and its fields."""

    id: int
    name: str
    context: Structure | None
    fields: Structure | None
    line: int


@dataclass(slots=True)
class StreamClass:
    """One kind of stream: what stands around each packet's and each event's own fields."""

    id: int
    packet_context: Structure | None = None
    event_header: Structure | None = None
    event_context: Structure | None = None
    events: dict[int, EventClass] = field(default_factory=dict)
    line: int = 0

    @property
    def inferred(self) -> bool:
        """Whether its events are none of the tracer's: an earlier mending inferred them."""
        return self.event_context is not None and any(name == INFERRED for name, _ in self.event_context.members)


@dataclass(slots=True)
class Metadata:
    """What a trace's metadata says."""

    path: Path
    little: bool
    uuid: bytes | None = None
    packet_header: Structure | None = None
    streams: dict[int, StreamClass] = field(default_factory=dict)
    clocks: dict[str, Clock] = field(default_factory=dict)
    env: dict[str, str | int] = field(default_factory=dict)
    #: Whether each stream and event tells its stream's id: where there is one kind of stream, they needn't.
    numbered: bool = True
    #: The first number of CTF's version.
    version: int = 1
