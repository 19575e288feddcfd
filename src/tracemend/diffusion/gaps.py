"""Gaps to train on and to test with: as tracers make them, and as studies do."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from tracemend.errors import ModelError
from tracemend.trace.events import Gap, Trace
from tracemend.trace.windows import (
    GONE,
    HIDDEN,
    UNKNOWN_STEP,
    Stream,
    Window,
    log_step,
    slots_by_recency,
    to_slots,
    window,
)

#: Events on each side of a gap that training shows at least, if there are so many.
LEAST_CONTEXT = 32


@dataclass(frozen=True, slots=True)
class Overflow:
    """Gaps as an overflowing ring buffer makes them.

    Lengths are log-uniform from 1 to ``longest`` (real losses span three orders of magnitude). Each side keeps up to
    ``context`` events; with probability ``cut`` a side was lost again after a log-uniform number of events, and what
    lies beyond that second gap follows after a BREAK. shared: one length and one size of the context, log-uniform
    from ``LEAST_CONTEXT``, for a whole batch, so that short gaps count as much as long ones and time goes into few long
    windows.
    """

    longest: int = 128
    context: int = 128
    cut: float = 0.5
    shared: bool = False
    at: float | None = None

    @property
    def least(self) -> int:
        """Events that a stream must have for such a gap."""
        return 1

    def for_batch(self, rng: Generator) -> Overflow:
        if not self.shared:
            return self
        context = int(np.exp(rng.uniform(np.log(min(LEAST_CONTEXT, self.context)), np.log(self.context + 1))))
        return replace(self, at=float(rng.random()), context=context)

    def windows(self, batch: int, length: int) -> int:
        """How many windows a batch has that may have ``batch`` of ``length`` events: more if they are shorter."""
        if self.at is None:
            return batch
        return batch * length // min(length, self.of(self.at, length * 5 // 8) + 2 * self.context)

    def length(self, rng: Generator, most: int) -> int:
        return self.of(rng.random() if self.at is None else self.at, most)

    def of(self, share: float, most: int) -> int:
        """The length that this share of all gaps is shorter than."""
        return int(np.exp(share * np.log(min(self.longest, most) + 1)))

    def draw(self, stream: Stream, rng: Generator, length: int) -> tuple[Window, NDArray[np.int64]]:
        """A window of at most ``length`` positions from a stream, and the hidden truth_NC (events, slots, steps)."""
        n = max(1, self.length(rng, min(len(stream), length * 5 // 8)))
        at = int(rng.integers(0, len(stream) - n + 1))
        room = length - n
        left_room = int(np.clip(rng.normal(room / 2, room / 8), min(8, room), room))
        left = self._side(stream, rng, np.arange(at - 1, -1, -1), min(left_room, self.context))
        right = self._side(stream, rng, np.arange(at + n, len(stream)), min(room - left_room, self.context))
        over = stream.steps[at : at + n + 1]
        w = window(left[::-1], right, n, int(over.sum()) if len(over) == n + 1 and over.min() >= 0 else -1)
        return w, _truth(stream[at : at + n], w.tids)

    def _side(self, stream: Stream, rng: Generator, rows: NDArray[np.int64], most: int) -> Stream:
        """Events of one side, nearest first."""
        if most <= 0:
            return stream[:0]
        keep = most
        if rng.random() < self.cut:
            keep = int(np.exp(rng.uniform(0, np.log(most + 1))))
        side = stream[rows[:keep]]
        if keep < most:
            gone = int(np.exp(rng.uniform(0, np.log(500))))
            side = side + GONE + stream[rows[keep + gone :][: most - keep - 1]]
        return side[:most]


@dataclass(frozen=True, slots=True)
class Blackout:
    """The study's gaps: ``size`` consecutive events of a window are gone (Janecek et al. 2025, section III-C).

    place: "anywhere", "centre", "end", or "grid": a multiple of the size, as in the public SSSD code. shared: the same
    place for a whole batch, as there, instead of a fresh one for each window.
    """

    size: int = 10
    place: str = "anywhere"
    shared: bool = False
    at: float | None = None

    def __post_init__(self) -> None:
        if self.place not in {"anywhere", "centre", "end", "grid"}:
            raise ModelError(f"unknown place {self.place!r} of a blackout; one of anywhere, centre, end, grid")

    @property
    def least(self) -> int:
        """See Overflow.least."""
        return self.size

    def for_batch(self, rng: Generator) -> Blackout:
        return replace(self, at=float(rng.random())) if self.shared else self

    def windows(self, batch: int, length: int) -> int:
        """See Overflow.windows: all are alike."""
        return batch

    def begin(self, rng: Generator, length: int) -> int:
        """The gap's first position in a window. Raises ModelError for a window that can't hold it."""
        room = length - self.size
        if room < 0:
            raise ModelError(f"a window of {length} events is shorter than its gap of {self.size}")
        if self.place == "centre":
            return room // 2
        if self.place == "end":
            return room
        share = rng.random() if self.at is None else self.at
        if self.place == "grid":
            return int(share * (length // self.size)) * self.size
        return int(share * (room + 1))

    def draw(self, stream: Stream, rng: Generator, length: int) -> tuple[Window, NDArray[np.int64]]:
        """See Overflow.draw."""
        L = min(length, len(stream))
        begin = self.begin(rng, L)
        known = np.ones(L, bool)
        known[begin : begin + self.size] = False
        return _hidden(stream, int(rng.integers(0, len(stream) - L + 1)), known)


@dataclass(frozen=True, slots=True)
class Points:
    """Single events are hidden, a uniformly drawn share of the window (CSDI's training: Tashiro et al. 2021, 4.3)."""

    @property
    def least(self) -> int:
        """See Overflow.least."""
        return 1

    def for_batch(self, rng: Generator) -> Points:
        return self

    def windows(self, batch: int, length: int) -> int:
        """See Overflow.windows: all are alike."""
        return batch

    def draw(self, stream: Stream, rng: Generator, length: int) -> tuple[Window, NDArray[np.int64]]:
        """See Overflow.draw."""
        L = min(length, len(stream))
        known = np.ones(L, bool)
        known[rng.permutation(L)[: max(1, round(L * rng.random()))]] = False
        return _hidden(stream, int(rng.integers(0, len(stream) - L + 1)), known)


def _hidden(stream: Stream, first: int, known_L: NDArray[np.bool_]) -> tuple[Window, NDArray[np.int64]]:
    """The window of a stream that begins at ``first``, and the truth_NC of what isn't known of it."""
    part = stream[first : first + len(known_L)]
    at = int(np.argmin(known_L))
    seen = np.where(known_L, part.tids, -1)
    slots = slots_by_recency(seen[:at], seen[at:])
    full = _truth(part, slots)
    full[1:, 2][known_L[1:] & ~known_L[:-1]] = UNKNOWN_STEP  # the event before isn't known
    return Window(np.where(known_L[:, None], full, HIDDEN), known_L, slots), full[~known_L]


def _truth(events: Stream, slots: NDArray[np.int64]) -> NDArray[np.int64]:
    """What windows hold of some events (N, C)."""
    return np.stack([events.ids, to_slots(events.tids, slots), log_step(events.steps)], axis=1).astype(np.int64)


Gaps = Overflow | Blackout | Points
GAPS: dict[str, type[Gaps]] = {"overflow": Overflow, "blackout": Blackout, "points": Points}


def lose(
    trace: Trace, rng: Generator, *, share: float = 0.3, shortest: int = 1, longest: int = 600
) -> tuple[Trace, list[NDArray[np.int64]]]:
    """Take events out of a complete trace as a ring buffer would: runs of one cpu's stream, log-uniform lengths.

    About ``share`` of the events go. Returns the lossy trace, its gaps with exact counts, and for each gap the rows
    of ``trace`` that are missing.
    """
    gone = np.zeros(len(trace), bool)
    cuts: list[tuple[int, NDArray[np.int64]]] = []
    for cpu, rows in sorted(trace.streams.items()):
        at = 0
        while True:
            n = int(np.exp(rng.uniform(np.log(shortest), np.log(longest + 1))))
            at += 8 + int(rng.exponential(n * (1 - share) / share))
            if at + n + 8 >= len(rows):
                break
            gone[rows[at : at + n]] = True
            cuts.append((cpu, rows[at : at + n]))
            at += n
    new_row = np.cumsum(~gone) - 1
    kept = np.flatnonzero(~gone)
    cuts.sort(key=lambda c: int(c[1][-1]))
    gaps = []
    for number, (cpu, lost) in enumerate(cuts):
        rows = trace.streams[cpu]
        first = int(np.searchsorted(rows, lost[0]))
        before, after = int(rows[first - 1]), int(rows[first + len(lost)])
        begin, end = int(trace.time_ns[before]), int(trace.time_ns[after])
        row_after = int(new_row[after])
        gaps.append(
            Gap(number, cpu, int(new_row[before]), row_after, begin, end, len(lost), "counted", int(trace.line[after]))
        )
    lossy = replace(trace, table=trace.table.take(kept), gaps=tuple(gaps))
    return lossy, [lost for _, lost in cuts]
