"""Menders that learn nothing: they repeat what stands beside the gap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tracemend.menders.base import Proposal, Proposer, certain
from tracemend.menders.runs import hidden_runs
from tracemend.trace.vocabulary import BREAK, OTHER
from tracemend.trace.windows import UNKNOWN_THREAD, Window


class Copy(Proposer):
    """Repeats the events just before the gap (or, with none there, those after it) until it is full."""

    name = "copy"

    def propose(self, windows: Sequence[Window], seed: int = 0) -> list[Proposal]:
        """Deterministic: ``seed`` isn't used."""
        return [self._propose(w) for w in windows]

    def _propose(self, window: Window) -> Proposal:
        events, threads = [], []
        for run in hidden_runs(window):
            source, slots = (run.left, run.left_threads) if len(run.left) else (run.right, run.right_threads)
            if not len(source):
                source, slots = np.array([OTHER]), np.array([UNKNOWN_THREAD])
            n = len(run)
            tail = min(n, len(source))
            events.append(np.resize(source[-tail:], n))
            threads.append(np.resize(slots[-tail:], n))
        if not events:
            return certain(np.empty(0, np.int64), np.empty(0, np.int64))
        return certain(np.concatenate(events), np.concatenate(threads), 0.5)


class Period(Proposer):
    """Goes on with the loop that the events before the gap are in: they repeat after so many events as fits them best.

    longest: periods that are tried. On loops this needs no training and is hard to beat.
    """

    name = "copy period"

    def __init__(self, longest: int = 64) -> None:
        self.longest = longest

    def propose(self, windows: Sequence[Window], seed: int = 0) -> list[Proposal]:
        """Deterministic: ``seed`` isn't used."""
        return [self._propose(w) for w in windows]

    def _propose(self, window: Window) -> Proposal:
        parts = []
        for run in hidden_runs(window):
            near, threads, back = run.left, run.left_threads, False
            if not len(near):  # a window that begins with its gap: the same from the other side
                near, threads, back = run.right[::-1], run.right_threads[::-1], True
            if not len(near):
                near, threads = np.array([OTHER]), np.array([UNKNOWN_THREAD])
            most = max(1, min(self.longest, len(near) // 2))
            same = [float((near[lag:] == near[:-lag]).mean()) for lag in range(1, most + 1) if lag < len(near)]
            lag = int(np.argmax(same)) + 1 if same else 1
            at = np.arange(len(run))[:: -1 if back else 1] % lag - lag
            parts.append((near[at], threads[at]))
        if not parts:
            return certain(np.empty(0, np.int64), np.empty(0, np.int64))
        return certain(np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts]), 0.5)


class MostFrequent(Proposer):
    """The commonest event of the window's known part, everywhere."""

    name = "most frequent"

    def propose(self, windows: Sequence[Window], seed: int = 0) -> list[Proposal]:
        """Deterministic: ``seed`` isn't used."""
        proposals = []
        for w in windows:
            seen = w.ids_LC[w.known_L & (w.ids_LC[:, 0] != BREAK)]
            ids, number = np.unique(seen[:, 0], return_counts=True)
            best = ids[number.argmax()] if len(ids) else OTHER
            slot = seen[-1, 1] if len(seen) else UNKNOWN_THREAD
            share = number.max() / number.sum() if len(ids) else 0.0
            proposals.append(certain(np.full(w.hidden, best), np.full(w.hidden, slot), float(share)))
        return proposals
