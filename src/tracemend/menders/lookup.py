"""Two-sided context lookup: places that look like the gap's surroundings vote for what stood in it.

Axis legend: S positions of the indexed streams, N hidden positions, P sites (places of the index), U distinct ids,
T thread slots.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tracemend.menders import calibration
from tracemend.menders.base import CANDIDATES, Proposal, Proposer
from tracemend.menders.places import Places
from tracemend.menders.runs import Run, hidden_runs, joined
from tracemend.trace.windows import SLOTS, UNKNOWN_THREAD, Stream, Window, slots_by_recency, to_slots

Ints = NDArray[np.int64]


class Lookup(Proposer):
    """Two-sided context lookup with back-off.

    Every place of the indexed streams whose left context matches the events before the gap, or whose right context
    matches those after it at the gap's exact distance, votes with what follows (or stands) there. A place's vote at a
    position grows with the lengths of its matches and falls with the distance from the matching edge; a place that
    matches on both sides at the exact distance counts the product of both and doesn't fall off. Places in ``examples``,
    streams of other traces, count less than those of the very trace.
    """

    name = "lookup"
    at_once: int | None = 1

    def __init__(
        self,
        streams: Sequence[Stream] | Places,
        examples: Sequence[Stream] = (),
        *,
        power: float = 3.0,
        reach: float = 100.0,
        doubt: float = 8.0,
        most_sites: int = 192,
        trust: float = 0.1,
    ) -> None:
        """streams: or the places of both, if they are there already. power: exponent of (1 + match length) in a vote.
        reach: events until a one-sided vote has lost half its exponent. doubt: votes that speak for something else
        altogether. most_sites: votes that are heard. trust: what a vote of the examples counts, against one of the
        streams."""
        self.calibration = calibration.shipped(self.name)
        self.power, self.reach, self.doubt, self.most_sites = power, reach, doubt, most_sites
        self.trust = trust
        self.places = streams if isinstance(streams, Places) else Places(streams, examples)

    def propose(self, windows: Sequence[Window], seed: int = 0) -> list[Proposal]:
        """Deterministic: ``seed`` isn't used."""
        return [self._propose(w) for w in windows]

    def _propose(self, window: Window) -> Proposal:
        return joined([self._run(run, window) for run in hidden_runs(window)])

    def _run(self, run: Run, window: Window) -> Proposal:
        n = len(run)
        places = self.places
        room = int(np.clip(400_000 // n, 8, self.most_sites))
        sites, left, right, both = places.best(run, room, -np.log(self.trust) / self.power)
        if not len(sites):
            return self._nothing(n)
        offset = np.arange(n)
        at = sites[:, None] + offset
        inside = (at >= 0) & (at < len(places.ids_S))
        at = np.where(inside, at, 0)
        # a one-sided vote holds only on its own stretch of events
        from_left = (left > 0)[:, None] & inside & (at < places.stretch_end(np.maximum(sites - 1, 0))[:, None])
        last = np.minimum(sites + n, len(places.ids_S) - 1)
        from_right = (right > 0)[:, None] & inside & (places.stretch_end(at) >= places.stretch_end(last)[:, None])
        sure = both[:, None] & (np.minimum(left, right) >= 2)[:, None]
        fade_left = np.where(sure, 1.0, 1 / (1 + offset / self.reach))
        fade_right = np.where(sure, 1.0, 1 / (1 + (n - 1 - offset) / self.reach))
        evidence = from_left * np.log1p(left)[:, None] * fade_left + from_right * np.log1p(right)[:, None] * fade_right
        vote = np.where((from_left | from_right) & (places.ids_S[at] >= 0), np.expm1(self.power * evidence), 0.0)
        vote *= np.where(at >= places.foreign, self.trust, 1.0)
        distinct, inverse = np.unique(places.ids_S[at], return_inverse=True)
        inverse = inverse.reshape(at.shape)
        table = np.zeros((n, len(distinct)))
        np.add.at(table, (np.broadcast_to(offset, at.shape), inverse), vote)
        table[:, distinct < 0] = 0
        support = table.sum(axis=1)
        m = min(CANDIDATES, len(distinct))
        order = np.argsort(-table, axis=1, kind="stable")[:, :m]
        p = np.take_along_axis(table, order, 1) / (support + self.doubt)[:, None]
        events = np.where(p > 0, distinct[order], -1)
        threads = self._threads(run, window, sites, at, vote)
        return self._padded(events, p, threads)

    def _threads(
        self, run: Run, window: Window, sites: Ints, at: Ints, vote: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Votes for thread slots: ranked by recency at a site and here, equal ranks stand for each other."""
        n = len(run)
        depth_left, depth_right = max(len(run.left), 1), len(run.right)
        threads = np.zeros((n, SLOTS))
        here = _ranks(run.left_threads, run.right_threads)
        best = np.argsort(-vote.sum(axis=1), kind="stable")[:24]
        for s in best.tolist():
            site = int(sites[s])
            left = self.places.tids[max(site - depth_left, 0) : max(site, 0)]
            right = self.places.tids[site + n : site + n + depth_right] if site + n >= 0 else self.places.tids[:0]
            rank = to_slots(self.places.tids[at[s]], slots_by_recency(left, right))
            slot = np.where(rank < len(here), here[np.minimum(rank, len(here) - 1)], UNKNOWN_THREAD)
            threads[np.arange(n), slot] += vote[s]
        if len(here) > 1:
            threads[:, here[1]] += 1e-3 + self.doubt * (threads.sum(axis=1) == 0)
        else:
            threads[:, UNKNOWN_THREAD] += 1e-3
        return np.asarray(threads / threads.sum(axis=1, keepdims=True))

    def _padded(self, events: Ints, p: NDArray[np.float64], threads: NDArray[np.float64]) -> Proposal:
        """Always CANDIDATES wide; a position that nothing voted for gets the commonest event, with little belief."""
        wide = np.full((len(events), CANDIDATES), -1, np.int64)
        wide_p = np.zeros((len(events), CANDIDATES), np.float32)
        wide[:, : events.shape[1]] = events
        wide_p[:, : events.shape[1]] = p
        empty = wide[:, 0] < 0
        wide[empty, 0] = self.places.common[0]
        wide_p[empty, 0] = 0.05
        return Proposal(wide, wide_p, threads.astype(np.float32))

    def _nothing(self, n: int) -> Proposal:
        """Where no context matches: the commonest events, all alike, and the nearest thread."""
        events = np.broadcast_to(self.places.common, (n, len(self.places.common)))
        threads = np.zeros((n, SLOTS))
        threads[:, 1] = 1
        return self._padded(events, np.full(events.shape, 0.5 / len(self.places.common)), threads)


def _ranks(left_threads: Ints, right_threads: Ints) -> Ints:
    """Slots in order of recency within these contexts, 0 first."""
    return slots_by_recency(
        np.where(left_threads > 0, left_threads, -1), np.where(right_threads > 0, right_threads, -1)
    ).clip(0)
