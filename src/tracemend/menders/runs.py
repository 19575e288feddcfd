"""The hidden runs of a window with what is known beside them: what every baseline begins with.

Axis legend: L positions of a window, C channels (event, thread), N hidden positions of a run, K context events.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracemend.menders.base import CANDIDATES, Proposal, certain
from tracemend.trace.vocabulary import BREAK
from tracemend.trace.windows import SLOTS, UNKNOWN_THREAD, Window

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive hidden positions [begin, end) of a window, with the contexts up to the next BREAK or hidden one."""

    begin: int
    end: int
    left: Ints
    right: Ints
    left_threads: Ints
    right_threads: Ints

    def __len__(self) -> int:
        return self.end - self.begin


def hidden_runs(window: Window) -> list[Run]:
    """The runs of hidden positions, in order."""
    known = window.known_L
    edges = np.flatnonzero(np.diff(np.concatenate([[True], known, [True]]).astype(np.int8)))
    events, threads = window.ids_LC[:, 0], window.ids_LC[:, 1]
    barrier = ~known | (events == BREAK)
    runs = []
    for begin, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        before = np.flatnonzero(barrier[:begin])
        after = np.flatnonzero(barrier[end:])
        a = int(before[-1]) + 1 if len(before) else 0
        b = end + int(after[0]) if len(after) else len(known)
        runs.append(Run(begin, end, events[a:begin], events[end:b], threads[a:begin], threads[end:b]))
    return runs


def joined(runs: Sequence[Proposal]) -> Proposal:
    """What is proposed for a window's runs, in order, as one; nothing for a window in which nothing is hidden."""
    if not runs:
        return certain(np.empty(0, np.int64), np.empty(0, np.int64))
    return Proposal(
        np.concatenate([p.events_NM for p in runs]),
        np.concatenate([p.p_NM for p in runs]),
        np.concatenate([p.threads_NT for p in runs]),
        one_after_the_other([p.steps for p in runs]),
    )


def one_after_the_other(steps: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Steps (N + 1,) of runs that follow each other as those of one: behind a run is before the next."""
    return np.concatenate([*(s[:-1] for s in steps), steps[-1][-1:]])


def by_runs(
    windows: Sequence[Window], fill: Callable[[Sequence[Run]], Sequence[tuple[Ints, NDArray[np.float32]]]]
) -> list[Proposal]:
    """Proposals from a function that fills runs, all windows' runs at once: (events_NM, p_NM) of each run.

    Threads: that of the nearest known event, before the gap if there is one.
    """
    runs = [hidden_runs(w) for w in windows]
    filled = iter(fill([run for of_window in runs for run in of_window]))
    proposals = []
    for of_window in runs:
        parts = []
        for run in of_window:
            threads = np.zeros((len(run), SLOTS), np.float32)
            threads[:, _nearest(run)] = 1
            parts.append(Proposal(*next(filled), threads))
        proposals.append(joined(parts))
    return proposals


def _nearest(run: Run) -> int:
    """The thread slot of the last known event before the run, else of the first one after it."""
    near = run.left_threads[-1:] if len(run.left) else run.right_threads[:1]
    return int(near[0]) if len(near) and 0 <= near[0] < SLOTS else UNKNOWN_THREAD


def likeliest(table_MV: NDArray[np.float64], ids_V: Ints) -> tuple[Ints, NDArray[np.float32]]:
    """The CANDIDATES likeliest ids of each row with their probabilities, always that wide; -1 where there are fewer."""
    m = min(CANDIDATES, len(ids_V))
    order = np.argsort(-table_MV, axis=1, kind="stable")[:, :m]
    events = np.full((len(table_MV), CANDIDATES), -1, np.int64)
    p = np.zeros((len(table_MV), CANDIDATES), np.float32)
    p[:, :m] = np.take_along_axis(table_MV, order, 1)
    events[:, :m] = np.where(p[:, :m] > 0, ids_V[order], -1)
    return events, p
