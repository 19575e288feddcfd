"""Every place of streams of events by what stands beside it: what lookups look things up in.

Axis legend: S positions of the indexed streams, F those in front of the examples, N hidden
positions, P sites (places of the index), K context events.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracemend.menders.base import CANDIDATES
from tracemend.menders.runs import Run
from tracemend.trace.vocabulary import OTHER
from tracemend.trace.windows import Stream

Ints = NDArray[np.int64]
Narrow = NDArray[np.int32]
Words = NDArray[np.uint64]

#: Lengths of context that are indexed; a query backs off from the longest.
ORDERS = (32, 16, 8, 4, 2, 1)
CONTEXT = ORDERS[0]
#: Places of a context that are looked at.
MOST = 4096
#: Odd: multiplication by it is a bijection of 64-bit words.
BASE = np.uint64(0x9E3779B97F4A7C15)
#: Places that are worked on at once: what lies about on the way is small beside what is kept.
BLOCK = 1 << 17


class Places:
    """The events of ``streams`` and behind them those of ``examples``, each stream followed by CONTEXT times -1.

    ids_S: events, -1 between streams. foreign: where the examples begin. steps_F: the times since
    the events before, of the streams alone (those of the examples are another machine's), -1 where nobody knows.
    prefix_S: the hash of everything up to each (S + 1,). common: the commonest events.

    What takes long to make of the examples is kept for whoever comes with the same ones.
    """

    def __init__(self, streams: Sequence[Stream], examples: Sequence[Stream] = ()) -> None:
        every = (*streams, *examples)
        self.foreign = CONTEXT + sum(len(s) + CONTEXT for s in streams)
        #: Their threads and the examples; the streams themselves are held by nobody then.
        self._tids, self._examples = _narrow([s.tids for s in streams]), examples
        self.ids_S = _narrow([s.ids for s in every])
        self.steps_F = np.concatenate(_apart([s.steps for s in streams]))
        real = self.ids_S >= 0
        ends = np.append(np.flatnonzero(real & ~np.append(real[1:], False)) + 1, len(real))
        self._ends = ends
        self.events = int(real.sum())
        self.prefix_S = prefixes(self.ids_S)
        present, number = np.unique(self.ids_S[real], return_counts=True)
        self.common: Ints = (
            present[np.argsort(-number)][:CANDIDATES].astype(np.int64) if len(present) else np.array([OTHER])
        )
        own = slice(0, self.foreign)
        self.own = _Side(self.ids_S[own], self.prefix_S[: self.foreign + 1])
        self.others = self._others(tuple(examples))

    def _others(self, examples: tuple[Stream, ...]) -> _Side:
        """The examples' side: that of the last ones, if these are the very same."""
        if _last:
            before, side = _last[0]
            if len(before) == len(examples) and all(a is b for a, b in zip(before, examples, strict=True)):
                return side
        at = slice(self.foreign, None)
        side = _Side(self.ids_S[at], self.prefix_S[at])
        _last[:] = [(examples, side)]
        return side

    def same_thread(self) -> tuple[Narrow, Narrow]:
        """How far back the event before, and how far ahead the next one, of the same thread and stretch stands (S,);
        0: none."""
        own = _same_thread(self._tids)
        others = self.others.same_thread or _same_thread(self._examples_tids())
        back, ahead = (np.concatenate(both) for both in zip(own, others, strict=True))
        self.others.same_thread = back[self.foreign :], ahead[self.foreign :]  # they are kept once
        return back, ahead

    @cached_property
    def tids(self) -> Narrow:
        """Their threads (S,), -1 between streams."""
        return np.concatenate([self._tids, self._examples_tids()])

    def _examples_tids(self) -> Narrow:
        return _narrow([s.tids for s in self._examples])[CONTEXT:]

    def behind(self, k: int, key: np.uint64, most: int) -> Ints:
        """The positions behind the runs of k events of this hash, in order; of more than ``most`` so many, evenly over
        all of them."""
        own = self.own.behind(k, key, self.prefix_S[: self.foreign + 1])
        others = self.others.behind(k, key, self.prefix_S[self.foreign :])
        number = len(own) + len(others)
        if number > most:  # of a common run there are very many
            at = np.linspace(0, number - 1, most).astype(np.int64)
            divide = int(np.searchsorted(at, len(own)))
            own, others = own[at[:divide]], others[at[divide:] - len(own)]
        return np.concatenate([own.astype(np.int64), others + np.int64(self.foreign)])

    def sites(self, run: Run) -> Ints:
        """Places (P,) where the run's left context stands before them, or its right one behind them at the run's exact
        distance, in order; they may lie outside of the streams."""
        from tracemend.menders.matching import united

        n = len(run)
        return united(self._matching(run.left, -1), self._matching(run.right, 1) - n, 1 - n, len(self.ids_S))

    def best(self, run: Run, most: int, discount: float) -> tuple[Ints, Ints, Ints, NDArray[np.bool_]]:
        """Up to ``most`` sites (P,), the one with the longest matches first; how many events match on the left and on
        the right, and whether both sides match around the run's exact number of events. discount: what a match in the
        examples counts less, as a logarithm of its length."""
        sites = self.sites(run)
        left, right = self.matches(run, sites)
        both = self.whole(sites, len(run)) & (left > 0) & (right > 0)
        strength = np.log1p(left) + np.log1p(right) * np.where(both | (left == 0), 1.0, 0.0)
        strength -= np.where(sites >= self.foreign, discount, 0.0)
        keep = np.arange(len(sites))
        if len(sites) > most:  # sorting all of them takes longer than what is done with them
            keep = np.flatnonzero(strength >= np.partition(strength, -most)[-most])
        keep = keep[np.argsort(-strength[keep], kind="stable")[:most]]
        return sites[keep], left[keep], right[keep], both[keep]

    def matches(self, run: Run, sites_P: Ints) -> tuple[Ints, Ints]:
        """How many events of the left and of the right context stand beside each site, CONTEXT at most."""
        from tracemend.menders.matching import match

        left, right = (np.ascontiguousarray(x, np.int64) for x in (run.left[::-1][:CONTEXT], run.right[:CONTEXT]))
        return match(self.ids_S, sites_P, left, -1), match(self.ids_S, sites_P + len(run), right, 1)

    def stretch_end(self, at: Ints) -> Ints:
        """The ends of the stretches of events that some positions lie in."""
        return np.asarray(self._ends[np.searchsorted(self._ends, at, "right")])

    def stretch_begin(self, at: Ints) -> Ints:
        """Where the stretches of events begin that some positions lie in, or behind the last of which they lie."""
        last = np.searchsorted(self._ends, np.minimum(at, len(self.ids_S) - 1), "right") - 1
        return np.where(last < 0, 0, self._ends[np.maximum(last, 0)])

    def whole(self, sites_P: Ints, n: int) -> NDArray[np.bool_]:
        """Do ``n`` events of one stretch stand at each site?"""
        return np.asarray((sites_P >= 0) & (self.stretch_end(np.maximum(sites_P, 0)) >= sites_P + n))

    def _matching(self, context: Ints, side: int) -> Ints:
        """Places whose events before (side -1) or from there on (side 1) match the context, longest matches included.

        Backs off to shorter contexts until there are enough places to vote.
        """
        prefix = prefixes(context[-CONTEXT:] if side < 0 else context[:CONTEXT])
        for k in ORDERS:
            if k >= len(prefix):
                continue
            found = self.behind(k, of_runs(prefix, k)[-1 if side < 0 else 0], MOST)
            if len(found) >= 48 or (k == 1 and len(found)):
                return found if side < 0 else found - k
        return np.empty(0, np.int64)


def _apart(parts: Sequence[Ints]) -> list[Ints]:
    """The parts, with CONTEXT times -1 before and behind each."""
    nothing = np.full(CONTEXT, -1, np.int64)
    return [nothing, *(x for part in parts for x in (part, nothing))]


def _narrow(parts: Sequence[Ints]) -> Narrow:
    return np.concatenate(_apart(parts), dtype=np.int32, casting="same_kind")


def _same_thread(tids: Narrow) -> tuple[Narrow, Narrow]:
    """Of each place, how far back the event before and how far ahead the next one of the same thread stands; 0:
    none."""
    back, ahead = np.zeros(len(tids), np.int32), np.zeros(len(tids), np.int32)
    between, begin = np.flatnonzero(tids < 0), 0
    while begin < len(tids):
        later = between[np.searchsorted(between, begin + BLOCK) :][:1]
        end = int(later[0]) + 1 if len(later) else len(tids)
        own = tids[begin:end]
        stretch = np.cumsum(own < 0)
        order = np.lexsort((own, stretch))
        same = (np.diff(own[order]) == 0) & (np.diff(stretch[order]) == 0) & (own[order][1:] >= 0)
        step = np.where(same, np.diff(order), 0)
        back[begin + order[1:]], ahead[begin + order[:-1]] = step, step
        begin = end
    return back, ahead


def prefixes(ids: NDArray[np.signedinteger[Any]]) -> Words:
    """The hash of everything up to each of S positions (S + 1,): h(s + 1) = BASE h(s) + event(s), modulo 2^64.

    That of the run from a to b follows from two of them: h(b) - BASE^(b - a) h(a).
    """
    result = np.zeros(len(ids) + 1, np.uint64)
    # h(s) = BASE^s times the sum of event(i) BASE^-(i + 1): no loop but over blocks
    power, inverse = (
        np.cumprod(np.full(min(len(ids), BLOCK), x, np.uint64)) for x in (BASE, np.uint64(pow(int(BASE), -1, 1 << 64)))
    )
    for begin in range(0, len(ids), BLOCK):
        event = (ids[begin : begin + BLOCK] + 2).astype(np.uint64) * BASE
        event ^= event >> np.uint64(29)
        n = len(event)
        result[begin + 1 : begin + 1 + n] = (result[begin] + np.cumsum(event * inverse[:n])) * power[:n]
    return result


def of_runs(prefix: Words, k: int) -> Words:
    """The hash of the run of ``k`` events that begins at each position, from ``prefixes`` (S + 1,): (S + 1 - k,)."""
    return prefix[k:] - prefix[: len(prefix) - k] * np.uint64(pow(int(BASE), k, 1 << 64))


class _Side:
    """What takes long to make of some places, by themselves.

    For each k of ORDERS the positions behind runs of k real events, by the runs' hashes; equal ones in order. They are
    sorted as words of a hash's upper bits and the position, and only the position is kept: ``prefixes`` has the rest.
    (Plain words sort many times faster than an order of them would. Two runs of one hash are no harm: the matches are
    looked at.)
    """

    def __init__(self, ids: Narrow, prefix: Words) -> None:
        #: As ``Places.same_thread``, once it was asked for.
        self.same_thread: tuple[Narrow, Narrow] | None = None
        self.bits = max(1, len(ids)).bit_length()
        low = np.uint64((1 << self.bits) - 1)
        unreal = np.cumsum(np.append(0, ids < 0), dtype=np.int32)
        self.behind_k: dict[int, NDArray[np.uint32]] = {}
        for k in ORDERS:
            parts = [np.empty(0, np.uint64)]
            for begin in range(0, len(ids) + 1 - k, BLOCK):
                end = min(begin + BLOCK, len(ids) + 1 - k)
                at = np.flatnonzero(unreal[begin + k : end + k] == unreal[begin:end])
                words = of_runs(prefix[begin : end + k], k)[at] * BASE & ~low
                parts.append(words | (at + (begin + k)).astype(np.uint64))
            every = np.concatenate(parts)
            every.sort()
            self.behind_k[k] = (every & low).astype(np.uint32)

    def behind(self, k: int, key: np.uint64, prefix: Words) -> NDArray[np.uint32]:
        """The positions behind the runs of k events of this hash, in order."""
        from tracemend.menders.matching import alike

        behind = self.behind_k[k]
        first, last = alike(behind, prefix, k, key, self.bits)
        return behind[first:last]


#: The examples that somebody last came with, and their side.
_last: list[tuple[tuple[Stream, ...], _Side]] = []
