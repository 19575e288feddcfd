"""Two-sided context lookup: places that look like the gap's surroundings vote for what stood in it.

Axis legend: S positions of the indexed streams, N hidden positions, P sites (places of the index), U distinct ids.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tracemend.menders import calibration
from tracemend.menders.base import CANDIDATES, Proposal, Proposer
from tracemend.menders.places import Places
from tracemend.menders.runs import Run, hidden_runs, joined
from tracemend.trace.windows import SLOTS, UNKNOWN_THREAD, Stream, Window, slots_by_recency

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
        return joined([self._run(run) for run in hidden_runs(window)])

    def _run(self, run: Run) -> Proposal:
        n = len(run)
        places = self.places
        room = int(np.clip(400_000 // n, 8, self.most_sites))
        sites, left, right, both = places.best(run, room, -np.log(self.trust) / self.power)
        if not len(sites):
            return self._nothing(n)
        from tracemend.menders.voting import Sites, votes

        # a one-sided vote holds only on its own stretch of events
        end, begin = places.stretch_end(np.maximum(sites - 1, 0)), places.stretch_begin(sites + n)
        sure = both & (np.minimum(left, right) >= 2)
        heard = Sites(sites, np.log1p(left), np.log1p(right), sure, end, begin)
        vote_PN, named, sum_NU = votes(places.ids_S, heard, n, self.power, self.reach, places.foreign, self.trust)
        order = np.argsort(-sum_NU, axis=1, kind="stable")[:, :CANDIDATES]
        p = np.take_along_axis(sum_NU, order, 1) / (sum_NU.sum(axis=1) + self.doubt)[:, None]
        events = np.where(p > 0, named[order], -1)
        return self._padded(events, p, self._threads(run, sites, vote_PN))

    def _threads(self, run: Run, sites: Ints, vote_PN: NDArray[np.float64]) -> NDArray[np.float64]:
        """Votes for thread slots: ranked by recency at a site and here, equal ranks stand for each other."""
        from tracemend.menders.voting import thread_votes

        here = _ranks(run.left_threads, run.right_threads)
        best = np.argsort(-vote_PN.sum(axis=1), kind="stable")[:24]
        depth = max(len(run.left), 1), len(run.right)
        threads = thread_votes(self.places.tids, sites[best], vote_PN[best], depth, here)
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
