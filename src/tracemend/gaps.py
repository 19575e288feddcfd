"""Gaps as tracers make them, drawn to train on: how long, and how much of the surroundings survived."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from tracemend.vocabulary import BREAK
from tracemend.windows import Stream, Window, to_slots, window


@dataclass(frozen=True, slots=True)
class Loss:
    """How gaps are drawn.

    Lengths are log-uniform from 1 to ``longest`` (real losses span three orders of magnitude). Each side keeps up to
    ``context`` events; with probability ``cut`` a side was lost again after a log-uniform number of events, and what
    lies beyond that second gap follows after a BREAK.
    """

    longest: int = 128
    context: int = 128
    cut: float = 0.5

    def length(self, rng: Generator, most: int) -> int:
        return int(np.exp(rng.uniform(0, np.log(min(self.longest, most) + 1))))

    def draw(self, stream: Stream, rng: Generator, length: int) -> tuple[Window, NDArray[np.int64]]:
        """A window of at most ``length`` positions from a stream, and the hidden truth_NC (events, slots)."""
        n = max(1, self.length(rng, min(len(stream), length * 5 // 8)))
        at = int(rng.integers(0, len(stream) - n + 1))
        room = length - n
        left_room = int(np.clip(rng.normal(room / 2, room / 8), min(8, room), room))
        left = self._side(stream, rng, np.arange(at - 1, -1, -1), min(left_room, self.context))
        right = self._side(stream, rng, np.arange(at + n, len(stream)), min(room - left_room, self.context))
        w = window(left[0][::-1], left[1][::-1], right[0], right[1], n)
        hidden = slice(at, at + n)
        truth = np.stack([stream.ids[hidden], to_slots(stream.tids[hidden], w.tids)], axis=1)
        return w, truth.astype(np.int64)

    def _side(
        self, stream: Stream, rng: Generator, rows: NDArray[np.int64], most: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Events of one side, nearest first."""
        if most <= 0:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        keep = most
        if rng.random() < self.cut:
            keep = int(np.exp(rng.uniform(0, np.log(most + 1))))
        near = rows[:keep]
        ids, tids = stream.ids[near], stream.tids[near]
        if keep < most:
            gone = int(np.exp(rng.uniform(0, np.log(500))))
            far = rows[keep + gone :][: most - keep - 1]
            ids = np.concatenate([ids, [BREAK], stream.ids[far]])
            tids = np.concatenate([tids, [-1], stream.tids[far]])
        return ids[:most], tids[:most]
