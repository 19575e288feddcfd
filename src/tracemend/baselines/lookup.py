"""Two-sided context lookup: places that look like the gap's surroundings vote for what stood in it.

Axis legend: S positions of the indexed streams, N hidden positions, P sites (places of the index), K context events,
U distinct ids, T thread slots.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from tracemend.baselines.runs import Run, hidden_runs
from tracemend.calibration import of_lookup
from tracemend.mender import CANDIDATES, Proposal, Proposer, certain
from tracemend.vocabulary import OTHER
from tracemend.windows import SLOTS, UNKNOWN_THREAD, Stream, Window, slots_by_recency, to_slots

Ints = NDArray[np.int64]

#: Lengths of context that are indexed; a query backs off from the longest.
ORDERS = (32, 16, 8, 4, 2, 1)
CONTEXT = ORDERS[0]
_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd: multiplication by it is a bijection of 64-bit words


class Lookup(Proposer):
    """Two-sided context lookup with back-off.

    Every place of the indexed streams whose left context matches the events before the gap, or whose right context
    matches those after it at the gap's exact distance, votes with what follows (or stands) there. A place's vote at a
    position grows with the lengths of its matches and falls with the distance from the matching edge; a place that
    matches on both sides at the exact distance counts the product of both and doesn't fall off. Places in ``examples``,
    streams of other traces, count less than those of the very trace.
    """

    name = "lookup"

    def __init__(
        self,
        streams: Sequence[Stream],
        examples: Sequence[Stream] = (),
        *,
        power: float = 3.0,
        reach: float = 100.0,
        doubt: float = 8.0,
        most_sites: int = 192,
        trust: float = 0.1,
    ) -> None:
        """power: exponent of (1 + match length) in a vote. reach: events until a one-sided vote has lost half its
        exponent. doubt: votes that speak for something else altogether. most_sites: votes that are heard. trust: what
        a vote of the examples counts, against one of the streams."""
        self.calibration = of_lookup()
        self.power, self.reach, self.doubt, self.most_sites = power, reach, doubt, most_sites
        self.trust = trust
        separator = np.full(CONTEXT, -1, np.int64)
        nothing = np.full(CONTEXT, -1, np.int64)
        parts = [separator, *(x for s in (*streams, *examples) for x in (s.ids, separator))]
        tids = [nothing, *(x for s in (*streams, *examples) for x in (s.tids, nothing))]
        #: where the examples begin
        self.foreign = CONTEXT + sum(len(s) + CONTEXT for s in streams)
        self.ids: Ints = np.concatenate(parts).astype(np.int64)
        self.tids: Ints = np.concatenate(tids).astype(np.int64)
        real = self.ids >= 0
        #: for each position the end of the stretch of real events it lies in
        ends = np.flatnonzero(real & ~np.append(real[1:], False)) + 1
        self.stretch_end = np.append(ends, len(self.ids))[np.searchsorted(ends, np.arange(len(self.ids)), "right")]
        self.events = int(real.sum())
        self._index = _Index(self.ids)
        present, number = np.unique(self.ids[real], return_counts=True)
        self.common: Ints = present[np.argsort(-number)][:CANDIDATES] if len(present) else np.array([OTHER])

    def propose(self, windows: Sequence[Window], seed: int = 0) -> list[Proposal]:
        """Deterministic: ``seed`` isn't used."""
        return [self._propose(w) for w in windows]

    def _propose(self, window: Window) -> Proposal:
        runs = [self._run(run, window) for run in hidden_runs(window)]
        if not runs:
            return certain(np.empty(0, np.int64), np.empty(0, np.int64))
        return Proposal(
            np.concatenate([p.events_NM for p in runs]),
            np.concatenate([p.p_NM for p in runs]),
            np.concatenate([p.threads_NT for p in runs]),
        )

    def _sites(self, context: Ints, side: int) -> Ints:
        """Places whose events before (side -1) or from there on (side 1) match the context, longest matches included.

        Backs off to shorter contexts until there are enough places to vote.
        """
        for k in ORDERS:
            if k > len(context):
                continue
            found = self._index.places(k, _hash(context[-k:] if side < 0 else context[:k]))
            if len(found) >= 48 or (k == 1 and len(found)):
                if len(found) > 4096:  # evenly over the trace
                    found = found[np.linspace(0, len(found) - 1, 4096).astype(np.int64)]
                return found if side < 0 else found - k
        return np.empty(0, np.int64)

    def _run(self, run: Run, window: Window) -> Proposal:
        n = len(run)
        begin = self._sites(run.left, -1)
        end = self._sites(run.right, 1)
        sites = np.unique(np.concatenate([begin, end - n]))
        sites = sites[(sites > -n) & (sites < len(self.ids))]
        if not len(sites):
            return self._nothing(n)
        left = _match(self.ids, sites, run.left[::-1][:CONTEXT], -1)
        right = _match(self.ids, sites + n, run.right[:CONTEXT], 1)
        whole = (sites >= 0) & (self.stretch_end[np.maximum(sites, 0)] >= sites + n)
        both = whole & (left > 0) & (right > 0)
        room = int(np.clip(400_000 // n, 8, self.most_sites))
        strength = np.log1p(left) + np.log1p(right) * np.where(both | (left == 0), 1.0, 0.0)
        strength += np.where(sites >= self.foreign, np.log(self.trust) / self.power, 0.0)
        keep = np.argsort(-strength, kind="stable")[:room]
        sites, left, right, both = sites[keep], left[keep], right[keep], both[keep]
        offset = np.arange(n)
        at = sites[:, None] + offset
        inside = (at >= 0) & (at < len(self.ids))
        at = np.where(inside, at, 0)
        # a one-sided vote holds only on its own stretch of events
        from_left = (left > 0)[:, None] & inside & (at < self.stretch_end[np.maximum(sites - 1, 0)][:, None])
        last = np.minimum(sites + n, len(self.ids) - 1)
        from_right = (right > 0)[:, None] & inside & (self.stretch_end[at] >= self.stretch_end[last][:, None])
        sure = both[:, None] & (np.minimum(left, right) >= 2)[:, None]
        fade_left = np.where(sure, 1.0, 1 / (1 + offset / self.reach))
        fade_right = np.where(sure, 1.0, 1 / (1 + (n - 1 - offset) / self.reach))
        evidence = from_left * np.log1p(left)[:, None] * fade_left + from_right * np.log1p(right)[:, None] * fade_right
        vote = np.where((from_left | from_right) & (self.ids[at] >= 0), np.expm1(self.power * evidence), 0.0)
        vote *= np.where(at >= self.foreign, self.trust, 1.0)
        distinct, inverse = np.unique(self.ids[at], return_inverse=True)
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
            left = self.tids[max(site - depth_left, 0) : max(site, 0)]
            right = self.tids[site + n : site + n + depth_right] if site + n >= 0 else self.tids[:0]
            rank = to_slots(self.tids[at[s]], slots_by_recency(left, right))
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
        wide[empty, 0] = self.common[0]
        wide_p[empty, 0] = 0.05
        return Proposal(wide, wide_p, threads.astype(np.float32))

    def _nothing(self, n: int) -> Proposal:
        """Where no context matches: the commonest events, all alike, and the nearest thread."""
        events = np.broadcast_to(self.common, (n, len(self.common)))
        threads = np.zeros((n, SLOTS))
        threads[:, 1] = 1
        return self._padded(events, np.full(events.shape, 0.5 / len(self.common)), threads)


def _ranks(left_threads: Ints, right_threads: Ints) -> Ints:
    """Slots in order of recency within these contexts, 0 first."""
    return slots_by_recency(
        np.where(left_threads > 0, left_threads, -1), np.where(right_threads > 0, right_threads, -1)
    ).clip(0)


def _hash(context: Ints) -> np.uint64:
    value = np.uint64(0)
    with np.errstate(over="ignore"):
        for x in context:
            value = value * _BASE + np.uint64(x + 1)
            value ^= value >> np.uint64(29)
    return value


class _Index:
    """Where runs of k real events end, by their hash, for each k of ORDERS: sorted words of a hash's upper bits and the
    position behind the run. (Plain words sort many times faster than an order of them would. Two runs of one hash are
    no harm: the matches are looked at.)"""

    def __init__(self, ids: Ints) -> None:
        self.bits = np.uint64(max(1, len(ids)).bit_length())
        self.mask = (np.uint64(1) << self.bits) - np.uint64(1)
        self.words: dict[int, NDArray[np.uint64]] = {}
        event = (ids + 1).astype(np.uint64)
        real = np.cumsum(np.append(0, ids < 0))
        value = np.zeros(len(ids), np.uint64)  # the hash of the run of k events that begins at each position
        for k in range(1, max(ORDERS) + 1):
            value = value[: max(0, len(ids) - k + 1)] * _BASE
            value += event[k - 1 :]
            value ^= value >> np.uint64(29)
            if k in ORDERS:
                behind = np.flatnonzero(real[k:] == real[:-k]) + k
                self.words[k] = np.sort(self._upper(value[behind - k]) | behind.astype(np.uint64))

    def places(self, k: int, key: np.uint64) -> Ints:
        """The positions behind the runs of k events of this hash, in order."""
        words, upper = self.words[k], self._upper(np.array([key]))[0]
        lo, hi = np.searchsorted(words, [upper, upper | self.mask])
        return (words[lo:hi] & self.mask).astype(np.int64)

    def _upper(self, hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """What a hash has above the position's bits, once a last product has carried all of it up there."""
        with np.errstate(over="ignore"):
            return np.asarray(hashes * _BASE & ~self.mask)


def _match(ids: Ints, sites: Ints, context: Ints, side: int) -> Ints:
    """How many events of the context (nearest first) stand next to each site, before it (side -1) or from it on (1)."""
    if not len(context):
        return np.zeros(len(sites), np.int64)
    k = len(context)
    padded = np.concatenate([np.full(k, -2), ids, np.full(k, -2)])
    windows = sliding_window_view(padded, k)
    clipped = np.clip(sites, -k, len(ids))
    near = windows[np.clip(clipped, 0, None)][:, ::-1] if side < 0 else windows[np.clip(clipped + k, 0, len(ids) + k)]
    same = near == context
    length = np.where(same.all(axis=1), k, same.argmin(axis=1))
    return np.where((sites < 0) | (sites > len(ids)), 0, length)
