"""What is known of a gap: the events beside it, what experts hold likely in it, and fills that were drawn as wholes.

Axis legend: N events of a gap, K known events beside it, C candidates, E experts, D drawn fills, B gaps of a batch, L
positions of a batch (K before, the longest gap's N, K behind).
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tracemend.errors import ModelError
from tracemend.trace.vocabulary import BREAK, MASK
from tracemend.trace.windows import HIDDEN_THREAD, UNKNOWN_THREAD
from tracemend.whole import whole_file

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

#: Candidates of a position, at most: those that all experts together hold likeliest.
CANDIDATES = 16
#: Known events beside a gap that are kept.
CONTEXT = 64
#: What a position of a batch is: known, hidden, guessed by an earlier step, or none: there the stream is cut.
KNOWN, ASKED, GUESSED, NONE = range(4)


@dataclass(frozen=True, slots=True)
class Clue:
    """What is known of one gap. left_K2, right_K2: events and thread slots beside it, in order. events_NC: candidates,
    -1 where there are fewer; p_NCE: what each expert holds them likely. drawn_DN: fills. truth_N: what stood there,
    empty where nobody knows."""

    left_K2: NDArray[np.int16]
    right_K2: NDArray[np.int16]
    events_NC: NDArray[np.int16]
    p_NCE: NDArray[np.float16]
    drawn_DN: NDArray[np.int16]
    truth_N: NDArray[np.int16] = field(default_factory=lambda: np.empty(0, np.int16))

    def __len__(self) -> int:
        return len(self.events_NC)

    @classmethod
    def of(cls, sides: tuple[Ints, Ints], events_NC: Ints, p_NCE: Floats, drawn_DN: Ints) -> Self:
        """Cut down to what is kept."""
        order = np.argsort(-p_NCE.sum(axis=2), axis=1, kind="stable")[:, :CANDIDATES]
        events = np.take_along_axis(events_NC, order, 1).astype(np.int16)
        p = np.take_along_axis(p_NCE, order[..., None], 1).astype(np.float16)
        left, right = sides[0][-CONTEXT:].astype(np.int16), sides[1][:CONTEXT].astype(np.int16)
        return cls(left, right, events, p, drawn_DN.astype(np.int16))

    def told(self, truth_N: Ints) -> Clue:
        """The same, and what stood there."""
        return replace(self, truth_N=truth_N.astype(np.int16))


def save(clues: Sequence[Clue], path: Path) -> None:
    """Keep gaps whose truth is known, all with as many draws, as one ``.npz``. Raises OSError."""
    width = max((c.events_NC.shape[1] for c in clues), default=1)

    def wide(values: NDArray[Any], fill: int) -> NDArray[Any]:
        missing = [(0, 0), (0, width - values.shape[1]), *([(0, 0)] * (values.ndim - 2))]
        return np.pad(values, missing, constant_values=fill)

    sizes = np.array([[len(c.left_K2), len(c), len(c.right_K2)] for c in clues], np.int32).reshape(-1, 3)
    with whole_file(path) as file:
        np.savez_compressed(
            file,
            sizes=sizes,
            left=np.concatenate([c.left_K2 for c in clues]),
            right=np.concatenate([c.right_K2 for c in clues]),
            events=np.concatenate([wide(c.events_NC, -1) for c in clues]),
            p=np.concatenate([wide(c.p_NCE, 0) for c in clues]),
            drawn=np.concatenate([c.drawn_DN.T for c in clues]),
            truth=np.concatenate([c.truth_N for c in clues]),
        )


def load(path: Path) -> list[Clue]:
    """What ``save`` kept. Raises ModelError."""
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            held = {name: file[name] for name in ("sizes", "left", "right", "events", "p", "drawn", "truth")}
        ends = np.cumsum(held["sizes"], axis=0, dtype=np.int64)
        found = []
        before = np.zeros(3, np.int64)
        for end in ends:
            left, own, right = (slice(int(a), int(b)) for a, b in zip(before, end, strict=True))
            found.append(
                Clue(
                    held["left"][left],
                    held["right"][right],
                    held["events"][own],
                    held["p"][own],
                    held["drawn"][own].T,
                    held["truth"][own],
                )
            )
            before = end
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as e:
        raise ModelError(f"{path}: no clues ({str(e).splitlines()[0]})") from e
    return found


@dataclass(frozen=True, slots=True)
class Batch:
    """Gaps side by side, as arrays. length_B: of each gap. events_BL, slots_BL, kind_BL: of all positions; those of the
    gap begin at ``first``. candidates_BNC: -1 where there are fewer, or the gap is shorter; p_BNCE; drawn_BND: -1
    behind a gap's end. truth_BN: -1 where nothing is asked."""

    length_B: Ints
    events_BL: Ints
    slots_BL: Ints
    kind_BL: Ints
    candidates_BNC: Ints
    p_BNCE: Floats
    drawn_BND: Ints
    truth_BN: Ints
    first: int

    @staticmethod
    def of(clues: Sequence[Clue], context: int, known: int) -> Batch:
        """Nothing of the gaps is shown. context: known events on each side. known: ids that have rows of their own;
        others are those of strangers (``STRANGERS``)."""
        n = max(map(len, clues))
        width, draws = max(c.events_NC.shape[1] for c in clues), max(len(c.drawn_DN) for c in clues)
        experts = clues[0].p_NCE.shape[2]
        batch = Batch(
            np.array([len(c) for c in clues], np.int64),
            np.full((len(clues), n + 2 * context), BREAK, np.int64),
            np.full((len(clues), n + 2 * context), UNKNOWN_THREAD, np.int64),
            np.full((len(clues), n + 2 * context), NONE, np.int64),
            np.full((len(clues), n, width), -1, np.int64),
            np.zeros((len(clues), n, width, experts), np.float32),
            np.full((len(clues), n, draws), -1, np.int64),
            np.full((len(clues), n), -1, np.int64),
            context,
        )
        for b, clue in enumerate(clues):
            batch._put(b, clue, known)
        return batch

    def _put(self, b: int, clue: Clue, known: int) -> None:
        context, n = self.first, len(clue)
        left, right = clue.left_K2[len(clue.left_K2) - min(context, len(clue.left_K2)) :], clue.right_K2[:context]
        sides = (slice(context - len(left), context), left), (slice(context + n, context + n + len(right)), right)
        for at, side in sides:
            self.events_BL[b, at], self.slots_BL[b, at], self.kind_BL[b, at] = side[:, 0], side[:, 1], KNOWN
        own = slice(context, context + n)
        self.events_BL[b, own], self.slots_BL[b, own], self.kind_BL[b, own] = MASK, HIDDEN_THREAD, ASKED
        self.candidates_BNC[b, :n, : clue.events_NC.shape[1]] = clue.events_NC
        self.p_BNCE[b, :n, : clue.p_NCE.shape[1]] = clue.p_NCE
        self.drawn_BND[b, :n, : len(clue.drawn_DN)] = clue.drawn_DN.T
        self.truth_BN[b, : len(clue.truth_N)] = clue.truth_N
        if max(int(ids.max(initial=0)) for ids in self.held(b)) >= known:
            rename(self.held(b), np.arange(known), known)

    def held(self, b: int) -> tuple[Ints, ...]:
        """All events that stand in one gap's row."""
        return self.events_BL[b], self.candidates_BNC[b], self.drawn_BND[b], self.truth_BN[b]

    def show(self, events_BN: Ints) -> None:
        """Show what was guessed, -1 where nothing was; that isn't asked any more."""
        n = events_BN.shape[1]
        own = slice(self.first, self.first + n)
        shown = events_BN >= 0
        self.events_BL[:, own][shown] = events_BN[shown]
        self.kind_BL[:, own][shown] = GUESSED
        self.truth_BN[shown] = -1


#: Rows of a network for events that it doesn't know, or isn't told.
STRANGERS = 16


def rename(held: Sequence[Ints], kept: Ints, known: int) -> None:
    """Call all events but those of ``kept`` strangers, in place: equal ones alike, as long as there are enough numbers.
    known: where those of strangers begin."""
    ids = np.unique(np.concatenate([x.ravel() for x in held]))
    strange = ids[(ids >= 0) & ~np.isin(ids, kept)]
    for x in held:
        at = np.searchsorted(strange, x)
        hit = (at < len(strange)) & (strange[np.minimum(at, max(0, len(strange) - 1))] == x) if len(strange) else x < -1
        x[hit] = known + at[hit] % STRANGERS
