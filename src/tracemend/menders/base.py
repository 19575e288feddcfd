"""The Mender protocol: whatever can say what stood at hidden positions. Networks, copies and counts all look the same.

Axis legend: B batch, L length, N hidden positions of a window in order, M candidates, T thread slots.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracemend.menders.calibration import Calibration, Weight
from tracemend.menders.confidence import Grounds
from tracemend.trace.vocabulary import Vocabulary
from tracemend.trace.windows import HIDDEN, SLOTS, UNKNOWN_STEP, Stream, Window

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

#: Confidence of the events of a fill (``menders/confidence.py``).
Sureness = Callable[[Grounds], Floats]

#: Candidates that a distribution over events is cut down to.
CANDIDATES = 12
#: Known events that a window shows on each side of its gap.
CONTEXT = 96


@dataclass(frozen=True, slots=True)
class Proposal:
    """Beliefs about the N hidden positions of one window.

    events_NM: candidate ids, likeliest first, -1 where there are fewer; p_NM: their probabilities (a row's sum may be
    below 1: the rest is spread over everything else). threads_NT: probabilities of the thread slots, rows sum to 1.
    steps: (N + 1,) the expected time since the event before each, and from the last one to the event behind it, in ns;
    NaN (all of them, if not given) where the mender can't say.
    """

    events_NM: Ints
    p_NM: Floats
    threads_NT: Floats
    steps: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        if not len(self.steps):
            object.__setattr__(self, "steps", np.full(len(self.events_NM) + 1, np.nan))
        if len(self.steps) != len(self.events_NM) + 1:
            raise ValueError(f"{len(self.steps)} steps don't fit {len(self.events_NM)} events")

    def __len__(self) -> int:
        return len(self.events_NM)

    def __repr__(self) -> str:
        return f"<Proposal of {len(self)} events, {self.events_NM.shape[1]} candidates each>"


@dataclass(frozen=True, slots=True)
class Restored:
    """ids of the same shape as given in, hidden positions filled; belief_BL in [0, 1], 1 where observed: how likely the
    mender holds each. How often that is right nobody has measured on such data."""

    ids: Ints
    belief_BL: Floats

    def __repr__(self) -> str:
        windows, length = self.belief_BL.shape
        return f"<Restored: {windows} windows of {length} events>"


class Mender(Protocol):
    """What evaluation and mending see."""

    name: str
    #: Turns beliefs into confidence; None if nobody has measured how far they can be trusted.
    calibration: Calibration | None
    #: The same of the events of finished fills, by more than belief; None: by ``calibration``.
    confidence: Sureness | None
    #: Hidden events that a window may have; longer gaps come in blocks.
    longest: int
    #: Known events that a window has on each side.
    context: int
    #: Windows that it is best asked for at once; None: as many as there are. Few, if none gains by the others' company:
    #: then there is progress to be seen. (Not for menders with noise: a window's is drawn by its number.)
    at_once: int | None

    def propose(self, windows: Sequence[Window], seed: int = 0) -> list[Proposal]:
        """Beliefs about the hidden positions of each window, each window for itself."""
        ...

    def restore(self, ids: ArrayLike, known: ArrayLike, seed: int = 0) -> Restored:
        """Fill windows: ids (B, L) of events or (B, L, 2) of events and thread slots, known_BL True where observed."""
        ...


@runtime_checkable
class Trained(Mender, Protocol):
    """A mender with weights and a vocabulary of its own: mending asks it beside what copies (``mending/blend.py``)."""

    vocabulary: Vocabulary
    #: SHA-256 of its weights.
    digest: str
    #: What it counts beside copies, and the confidence of both together.
    weight: Weight
    blend_calibration: Calibration | None

    def tuned(self, streams: Sequence[Stream], *, seconds: float, seed: int = 0) -> tuple[Trained, int]:
        """The same after some seconds of training on these streams, and the number of training steps."""
        ...


class Proposer:
    """``restore`` for every mender that can propose: the likeliest candidate of each position."""

    name = ""
    calibration: Calibration | None = None
    confidence: Sureness | None = None
    longest = 128
    context = CONTEXT
    at_once: int | None = None

    def propose(self, windows: Sequence[Window], seed: int = 0) -> list[Proposal]:
        raise NotImplementedError

    def restore(self, ids: ArrayLike, known: ArrayLike, seed: int = 0) -> Restored:
        """See Mender. Raises ValueError for shapes that don't fit."""
        given = np.asarray(ids, np.int64)
        known_BL = np.asarray(known, bool)
        if given.ndim not in (2, 3) or given.shape[:2] != known_BL.shape or (given.ndim == 3 and given.shape[2] != 2):
            raise ValueError(f"ids of shape {given.shape} and known of shape {known_BL.shape} don't fit")
        events, threads = np.moveaxis(given, -1, 0) if given.ndim == 3 else (given, np.ones_like(given))
        full = np.stack([events, threads, np.full_like(events, UNKNOWN_STEP)], axis=-1)
        full = np.where(known_BL[..., None], full, HIDDEN)
        slots = np.arange(-1, SLOTS - 1)
        windows = [Window(w, k, slots) for w, k in zip(full, known_BL, strict=True)]
        result, belief = full[..., :2].copy(), np.ones(known_BL.shape, np.float32)
        for b, proposal in enumerate(self.propose(windows, seed)):
            hidden = ~known_BL[b]
            result[b, hidden, 0] = proposal.events_NM[:, 0]
            result[b, hidden, 1] = proposal.threads_NT.argmax(axis=1)
            belief[b, hidden] = proposal.p_NM[:, 0]
        return Restored(result if given.ndim == 3 else result[..., 0], belief)


def certain(events: Ints, threads: Ints, p: float | Floats = 1.0) -> Proposal:
    """A proposal of one candidate a position."""
    n = len(events)
    table = np.zeros((n, SLOTS), np.float32)
    table[np.arange(n), np.clip(threads, 0, SLOTS - 1)] = 1
    return Proposal(events[:, None].astype(np.int64), np.broadcast_to(np.float32(p), n)[:, None].copy(), table)
