"""Every place of streams of events by what stands beside it: what lookups look things up in.

Axis legend: S positions of the indexed streams, N hidden positions, P sites (places of the index), K context events.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tracemend.menders.base import CANDIDATES
from tracemend.menders.runs import Run
from tracemend.trace.vocabulary import OTHER
from tracemend.trace.windows import Stream

Ints = NDArray[np.int64]

#: Lengths of context that are indexed; a query backs off from the longest.
ORDERS = (32, 16, 8, 4, 2, 1)
CONTEXT = ORDERS[0]
#: Places of a context that are looked at.
MOST = 4096
#: Odd: multiplication by it is a bijection of 64-bit words.
BASE = np.uint64(0x9E3779B97F4A7C15)


class Places:
    """The events of ``streams`` and behind them those of ``examples``, each stream followed by CONTEXT times -1.

    ids_S, tids_S, steps_S: events, threads and the times since the events before, -1 between streams. foreign: where
    the examples begin. stretch_end_S: the end of the stretch of events that a position lies in. prefix_S: the hash of
    everything up to each (S + 1,). common: the commonest events.
    """

    def __init__(self, streams: Sequence[Stream], examples: Sequence[Stream] = ()) -> None:
        every = (*streams, *examples)
        self.foreign = CONTEXT + sum(len(s) + CONTEXT for s in streams)
        self.ids_S, self.tids_S, self.steps_S = (
            _apart(x) for x in ([s.ids for s in every], [s.tids for s in every], [s.steps for s in every])
        )
        real = self.ids_S >= 0
        ends = np.flatnonzero(real & ~np.append(real[1:], False)) + 1
        size = len(self.ids_S)
        self.stretch_end_S: Ints = np.append(ends, size)[np.searchsorted(ends, np.arange(size), "right")]
        self.events = int(real.sum())
        self.prefix_S = prefixes(self.ids_S)
        self.index = _Index(self.ids_S, self.prefix_S)
        present, number = np.unique(self.ids_S[real], return_counts=True)
        self.common: Ints = present[np.argsort(-number)][:CANDIDATES] if len(present) else np.array([OTHER])

    def sites(self, run: Run) -> Ints:
        """Places (P,) where the run's left context stands before them, or its right one behind them at the run's exact
        distance, in order; they may lie outside of the streams."""
        n = len(run)
        found = np.unique(np.concatenate([self._matching(run.left, -1), self._matching(run.right, 1) - n]))
        return np.asarray(found[(found > -n) & (found < len(self.ids_S))], np.int64)

    def best(self, run: Run, most: int, discount: float) -> tuple[Ints, Ints, Ints, NDArray[np.bool_]]:
        """Up to ``most`` sites (P,), the one with the longest matches first; how many events match on the left and on
        the right, and whether both sides match around the run's exact number of events. discount: what a match in the
        examples counts less, as a logarithm of its length."""
        sites = self.sites(run)
        left, right = self.matches(run, sites)
        both = self.whole(sites, len(run)) & (left > 0) & (right > 0)
        strength = np.log1p(left) + np.log1p(right) * np.where(both | (left == 0), 1.0, 0.0)
        strength -= np.where(sites >= self.foreign, discount, 0.0)
        keep = np.argsort(-strength, kind="stable")[:most]
        return sites[keep], left[keep], right[keep], both[keep]

    def matches(self, run: Run, sites_P: Ints) -> tuple[Ints, Ints]:
        """How many events of the left and of the right context stand beside each site, CONTEXT at most."""
        from tracemend.menders.matching import match

        left, right = (np.ascontiguousarray(x, np.int64) for x in (run.left[::-1][:CONTEXT], run.right[:CONTEXT]))
        return match(self.ids_S, sites_P, left, -1), match(self.ids_S, sites_P + len(run), right, 1)

    def whole(self, sites_P: Ints, n: int) -> NDArray[np.bool_]:
        """Do ``n`` events of one stretch stand at each site?"""
        return np.asarray((sites_P >= 0) & (self.stretch_end_S[np.maximum(sites_P, 0)] >= sites_P + n))

    def _matching(self, context: Ints, side: int) -> Ints:
        """Places whose events before (side -1) or from there on (side 1) match the context, longest matches included.

        Backs off to shorter contexts until there are enough places to vote.
        """
        prefix = prefixes(context[-CONTEXT:] if side < 0 else context[:CONTEXT])
        for k in ORDERS:
            if k >= len(prefix):
                continue
            found = self.index.places(k, of_runs(prefix, k)[-1 if side < 0 else 0], MOST)
            if len(found) >= 48 or (k == 1 and len(found)):
                return found if side < 0 else found - k
        return np.empty(0, np.int64)


def _apart(parts: Sequence[Ints]) -> Ints:
    """The parts one after the other, with CONTEXT times -1 before and behind each."""
    nothing = np.full(CONTEXT, -1, np.int64)
    return np.concatenate([nothing, *(x for part in parts for x in (part, nothing))]).astype(np.int64)


def prefixes(ids: Ints) -> NDArray[np.uint64]:
    """The hash of everything up to each of S positions (S + 1,): h(s + 1) = BASE h(s) + event(s), modulo 2^64.

    That of the run from a to b follows from two of them: h(b) - BASE^(b - a) h(a).
    """
    event = (ids + 2).astype(np.uint64) * BASE
    event ^= event >> np.uint64(29)
    # h(s) = BASE^s times the sum of event(i) BASE^-(i + 1): no loop
    power, inverse = (
        np.cumprod(np.full(len(ids), x, np.uint64)) for x in (BASE, np.uint64(pow(int(BASE), -1, 1 << 64)))
    )
    return np.append(np.uint64(0), np.cumsum(event * inverse) * power)


def of_runs(prefix: NDArray[np.uint64], k: int) -> NDArray[np.uint64]:
    """The hash of the run of ``k`` events that begins at each position, from ``prefixes`` (S + 1,): (S + 1 - k,)."""
    return prefix[k:] - prefix[: len(prefix) - k] * np.uint64(pow(int(BASE), k, 1 << 64))


class _Index:
    """Where runs of k real events end, by their hash, for each k of ORDERS: sorted words of a hash's upper bits and the
    position behind the run. (Plain words sort many times faster than an order of them would. Two runs of one hash are
    no harm: the matches are looked at.)"""

    def __init__(self, ids: Ints, prefix: NDArray[np.uint64]) -> None:
        self.bits = np.uint64(max(1, len(ids)).bit_length())
        self.mask = (np.uint64(1) << self.bits) - np.uint64(1)
        self.words: dict[int, NDArray[np.uint64]] = {}
        real = np.cumsum(np.append(0, ids < 0))
        for k in ORDERS:
            behind = np.flatnonzero(real[k:] == real[: max(len(real) - k, 0)]) + k
            words = self._upper(of_runs(prefix, k)[behind - k]) | behind.astype(np.uint64)
            self.words[k] = np.sort(words)

    def places(self, k: int, key: np.uint64, most: int) -> Ints:
        """The positions behind the runs of k events of this hash, in order; of more than ``most`` so many, evenly over
        all of them."""
        words, upper = self.words[k], self._upper(np.array([key]))[0]
        lo, hi = np.searchsorted(words, [upper, upper | self.mask]).tolist()
        at = slice(lo, hi) if hi - lo <= most else lo + np.linspace(0, hi - lo - 1, most).astype(np.int64)
        return (words[at] & self.mask).astype(np.int64)

    def _upper(self, hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """What a hash has above the position's bits, once a last product has carried all of it up there."""
        with np.errstate(over="ignore"):
            return np.asarray(hashes * BASE & ~self.mask)
