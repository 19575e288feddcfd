"""What a trace tells of its own losses besides its gaps: losses without a place, doubts, and what could not be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


def plural(n: int, what: str) -> str:
    """So many of something."""
    return f"{n:,} {what}" + ("" if n == 1 else "s")


def duration(ns: float) -> str:
    """A time in the unit that suits it, to three digits."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns:.0f} ns"


@dataclass(frozen=True, slots=True)
class Unplaced:
    """Losses that the tracer tells of without saying where among the events they were.

    said: one sentence for people. count: so many ``unit`` (events, samples, buffers, chunks), None if it doesn't say.
    cpu: whose buffer lost them, -1 if nothing tells. line: where the trace says so, 0 where that is no line.
    """

    said: str
    count: int | None
    unit: str = "events"
    cpu: int = -1
    line: int = 0

    def as_dict(self) -> dict[str, Any]:
        return {"said": self.said, "count": self.count, "unit": self.unit, "cpu": self.cpu, "line": self.line}


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why a trace without a marked loss may have lost events all the same.

    why: one clause ("perf script prints losses only with --show-lost-events"). remedy: what to do about it, as a
    sentence. unless: where the search for broken pairs of events settles it, the condition that is left then
    ("unless it was recorded with overwrite off"); empty where it settles nothing.
    """

    why: str
    remedy: str
    unless: str = ""


@dataclass(frozen=True, slots=True)
class PassedOver:
    """Pieces of a trace (lines, packets) that can't be read: how many, where the first is, and what is wrong there."""

    number: int
    pieces: str
    line: int
    why: str

    def sentence(self) -> str:
        where = f"line {self.line}: " if self.line else ""
        first = ": " if self.number == 1 else "; the first: "
        return f"{plural(self.number, self.pieces.removesuffix('s'))} passed over{first}{where}{self.why}"

    def as_dict(self) -> dict[str, Any]:
        return {"number": self.number, "pieces": self.pieces, "first_line": self.line, "why": self.why}
