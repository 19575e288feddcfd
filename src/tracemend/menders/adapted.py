"""The mosaic fitted to the very streams that it copies from: how readily should the copy go on elsewhere?

Pieces of the streams are hidden, as long as the gaps are, and filled by what is left; what fills them best is taken. A
trace that runs in long loops wants few jumps, one that mixes short habits wants many.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracemend.menders.base import Proposal
from tracemend.menders.mosaic import Mosaic
from tracemend.menders.places import Places
from tracemend.menders.runs import Run, hidden_runs
from tracemend.trace.windows import Stream, Window

#: How much likelier jumps are made; the first is what the mosaic does by itself.
FACTORS = (1.0, 3.0, 10.0)
#: Pieces that are hidden one after the other, and fewer than which tell nothing.
TRIALS, LEAST = 60, 12
#: Known events around a piece that must be there on both sides, and those that are looked at. Longer gaps stand for
#: themselves by pieces of so many events at most.
MARGIN, CONTEXT, LONGEST = 64, 96, 512


@dataclass(frozen=True, slots=True)
class Adaptation:
    """What was chosen, from how many pieces."""

    factor: float
    trials: int


def adapt(
    mosaic: Mosaic,
    lengths: Sequence[int],
    *,
    trials: int = TRIALS,
    seconds: float = float("inf"),
    whole: bool = False,
    seed: int = 0,
) -> Adaptation:
    """Choose a factor for the mosaic's jumps by filling pieces of its own streams, and let it have that.

    lengths: of the gaps that there are to fill. trials: pieces, at most. seconds: time after which no other piece is
    begun (then the choice depends on the machine). whole: hide a piece's whole stretch, not just the piece: where gaps
    are in streams that aren't there to copy from.

    Another factor than 1 is taken if it has more events right than 1 by more than the standard error of the difference,
    pieces being what is counted; of several the best. Where there is room for fewer than LEAST pieces none is tried.
    """
    begun = time.monotonic()
    pieces = _pieces(mosaic.places, lengths, trials, np.random.default_rng([seed, len(mosaic.places.ids_S)]))
    right: list[list[float]] = []
    for at, n in pieces if len(pieces) >= LEAST else []:
        if time.monotonic() - begun > seconds:
            break
        right.append(_tried(mosaic, at, n, whole))
    mosaic.factor = _best(np.array(right).reshape(-1, len(FACTORS)))
    return Adaptation(mosaic.factor, len(right))


def _best(right_TF: NDArray[np.float64]) -> float:
    """Which factor to take, by how much of each piece each has right."""
    if len(right_TF) < LEAST:
        return FACTORS[0]
    gain = right_TF - right_TF[:, :1]
    mean, error = gain.mean(axis=0), gain.std(axis=0, ddof=1) / np.sqrt(len(gain))
    return FACTORS[int(np.argmax(np.where(mean > error, mean, 0.0)))]


def _pieces(places: Places, lengths: Sequence[int], number: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Up to ``number`` pieces of the streams (not of the examples): position and length, each with a margin of known
    events around it; drawn evenly over all positions."""
    real = places.ids_S[: places.foreign] >= 0
    edges = np.flatnonzero(np.diff(np.concatenate([[False], real, [False]]).astype(np.int8)))
    begin, size = edges[::2], edges[1::2] - edges[::2]
    found: list[tuple[int, int]] = []
    for n in np.minimum(rng.choice(lengths, number), LONGEST).tolist() if len(lengths) else []:
        room = np.maximum(size - n - 2 * MARGIN + 1, 0)
        if room.any():
            k = int(rng.integers(room.sum()))
            i = int(np.searchsorted(np.cumsum(room), k, "right"))
            found.append((int(begin[i]) + MARGIN + k - int(room[:i].sum()), n))
    return found


def _tried(mosaic: Mosaic, at: int, n: int, whole: bool) -> list[float]:
    """The share of a piece's events that each factor has right, with the piece (or its whole stretch) hidden."""
    places = mosaic.places
    end = int(places.stretch_end(np.array([at]))[0])
    first = int(np.flatnonzero(places.ids_S[:at] < 0)[-1]) + 1
    beside = slice(max(first, at - CONTEXT), at), slice(at + n, min(end, at + n + CONTEXT))
    left, right = (places.ids_S[side].astype(np.int64) for side in beside)
    run = Run(0, n, left, right, np.zeros_like(left), np.zeros_like(right))
    hidden = slice(first, end) if whole else slice(at, at + n)
    truth = places.ids_S[at : at + n]
    return [float((mosaic.tried(run, factor, hidden)[:, 0] == truth).mean()) for factor in FACTORS]


class AdaptedMosaic(Mosaic):
    """A mosaic that adapts itself, once for each length of gaps that it is asked for, to streams of other traces."""

    name = "mosaic adapted"

    def __init__(self, streams: Sequence[Stream]) -> None:
        super().__init__(streams)
        self.calibration = self.confidence = None
        self.factors: dict[tuple[int, ...], float] = {}

    def propose(self, windows: Sequence[Window], seed: int = 0) -> list[Proposal]:
        """Deterministic: ``seed`` isn't used."""
        lengths = tuple(sorted({len(run) for window in windows for run in hidden_runs(window)}))
        if lengths not in self.factors:
            self.factors[lengths] = adapt(self, lengths, trials=200, whole=True).factor
        self.factor = self.factors[lengths]
        return super().propose(windows, seed)
