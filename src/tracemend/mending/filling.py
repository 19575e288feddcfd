"""One gap after the other: the likeliest fill that the constraints allow.

Axis legend: E events of the trace, N positions of a gap.
"""

from __future__ import annotations

import bisect
from copy import copy
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tracemend.menders.base import Mender
from tracemend.menders.confidence import Grounds, families
from tracemend.mending.beliefs import Beliefs, Filled
from tracemend.mending.constraints import FREE, Threads, drop_impossible, rules, unbound
from tracemend.mending.durations import Durations
from tracemend.mending.scheduled import Scheduled
from tracemend.mending.search import Decoded, Manner, decode
from tracemend.mending.surroundings import Surroundings
from tracemend.mending.timelines import Timelines
from tracemend.mending.times import Times, placed, spread
from tracemend.mending.weighing import Weighing
from tracemend.trace.events import ENTER, EXIT, Gap, Trace
from tracemend.trace.fields import SWITCH, kernel_name
from tracemend.trace.vocabulary import OTHER, Vocabulary

Ints = NDArray[np.int64]

#: A fill of more events than this isn't tried: its memory would be hundreds of megabytes and its worth nothing.
LONGEST_FILL = 2_000_000
#: A longer gap is filled only if it isn't so many times as long as all that survived: there is nothing to copy such a
#: fill from, and a count that is no true one could ask for hours of work.
SHORT_FILL, TIMES_AS_LONG = 10_000, 10
#: Ways that the search follows at once; what was drawn is to be kept to, so there it takes few.
WAYS, DRAWN_WAYS = 8, 2
#: Events of a stream on each side of a gap whose rate tells how many it lost.
NEAR = 500


class Filling:
    """The gaps of one trace on their way. What was filled counts as its threads' history for the gaps that follow."""

    def __init__(self, trace: Trace, mender: Mender, vocabulary: Vocabulary) -> None:
        self.trace, self.vocabulary = trace, vocabulary
        self.sure, self.calibration = mender.confidence, mender.calibration
        ids = vocabulary.encode(trace).astype(np.int64)
        self.rules = rules(vocabulary)
        self.timelines = Timelines(trace, ids, self.rules)
        self.weighing = Weighing(trace, self.rules)
        self.families = families(vocabulary)
        self.around = Surroundings(trace, ids)
        self.durations = Durations(self.timelines.spans, vocabulary)
        self.times = Times(self.around, len(vocabulary), self.durations)
        phases = vocabulary.phase[ids]
        entering = np.bincount(ids[phases == ENTER], minlength=len(vocabulary))
        seen = entering if entering.any() else np.bincount(ids, minlength=len(vocabulary))
        self.usual: list[int] = np.argsort(-seen, kind="stable")[:3].tolist()
        self.enters_only = bool((phases == ENTER).any()) and not bool((phases == EXIT).any())
        switched = bool(trace.gaps) and any(kernel_name(n) == SWITCH for n in trace.names[1])
        #: What the scheduler's switches ask of fills, where they were recorded.
        self.scheduled = Scheduled(trace, ids, vocabulary, self.rules, self.usual) if switched else None
        self.ways = WAYS
        #: Whether anybody asks how sure events are.
        self.weighs = True

    def another(self, weighs: bool) -> Filling:
        """The same trace with nothing filled, for a history that is drawn beside this one. weighs: whether anybody asks
        how sure it is."""
        other = copy(self)
        other.timelines, other.weighing = self.timelines.unfilled(), Weighing(self.trace, self.rules)
        other.scheduled = self.scheduled.unfilled(DRAWN_WAYS) if self.scheduled else None
        other.ways, other.weighs = DRAWN_WAYS, weighs
        return other

    def fill(self, gap: Gap, count: int, beliefs: Beliefs, believed: Beliefs | None = None) -> tuple[Filled, int]:
        """The likeliest fill of one gap that the constraints allow, and how many obligations had no room.

        believed: what says how sure it is, where the beliefs only say what is to be filled in.
        """
        steps = self.times.expected(gap, beliefs.events[:, 0], beliefs)
        nominal = spread(steps[:-1], gap.begin_ns, gap.end_ns, last=float(steps[-1]))
        events, p = beliefs.events, np.where(beliefs.events == OTHER, 0, beliefs.p)  # OTHER has no name to be filled in
        unmet = 0
        if self.scheduled:
            filled, threads, unmet = self._scheduled(self.scheduled, gap, replace(beliefs, p=p), nominal)
            return self.weighed(filled, threads, beliefs.events, p, believed), unmet
        if self.enters_only:
            p = np.where((events >= 0) & (self.rules.phase[events] == ENTER), p, 0)
            if not (p > 1e-6).any(axis=1).all():
                events = np.concatenate([events, np.full((count, 1), self.usual[0])], axis=1)
                p = np.concatenate([p, np.full((count, 1), 1e-4, p.dtype)], axis=1)
            threads = unbound(beliefs.tids, count)
            decoded = _without_pairs(events, p, beliefs.threads)
        else:
            wanted, columns = self.timelines.threads_of(gap, beliefs.tids, nominal)
            threads, unmet = drop_impossible(wanted, count)
            threads, columns = _that_matter(threads, columns)
            table = np.where(columns >= 0, beliefs.threads[:, columns], 0).astype(np.float32)
            silence = self.durations.by_state(self.timelines.silence(gap))
            decoded = decode(events, p, table, threads, self.rules, Manner(self.usual, self.ways, silence))
        steps = self.times.expected(gap, decoded.ids, beliefs)
        steps = self.times.stretched(gap, steps, (decoded.ids, decoded.threads), threads, self.rules)
        times = placed(gap, steps, decoded.threads, threads, nominal)
        tids = threads.tids[decoded.threads]
        nobody = np.broadcast_to(np.int64(-1), len(tids))
        filled = Filled(gap, decoded.ids, tids, times, decoded.confidence, nobody)
        return self.weighed(filled, threads, events, p, believed), unmet

    def _scheduled(
        self, scheduled: Scheduled, gap: Gap, beliefs: Beliefs, nominal: Ints
    ) -> tuple[Filled, Threads, int]:
        """As ``fill``, of a cpu whose switches were recorded; and the threads."""
        silence = self.durations.by_state(self.timelines.silence(gap))
        way, unmet = scheduled.fill(gap, beliefs, self.timelines, silence, nominal)
        steps = self.times.expected(gap, way.decoded.ids, beliefs)
        steps = scheduled.steps(gap, steps, way)
        times = placed(gap, steps, way.decoded.threads, way.threads, way.nominal)
        times = scheduled.times(gap, times, way)
        filled = Filled(gap, way.decoded.ids, way.who[:-1], times, way.decoded.confidence, way.following)
        return filled, way.threads, unmet

    def weighed(
        self,
        filled: Filled,
        threads: Threads,
        events: Ints,
        p: NDArray[np.float32],
        believed: Beliefs | None = None,
    ) -> Filled:
        """A fill, whose confidence is what is believed so far, as sure as such fills have proven right. events, p: what
        was proposed (N, M); believed: what else says how sure each event is, by itself."""
        if not self.weighs:
            return replace(filled, confidence=np.broadcast_to(np.float32(0), len(filled.ids)))
        if believed:
            events, p = believed.events, believed.p
        alone = np.where(events == filled.ids[:, None], p, 0).max(axis=1, initial=0).astype(np.float32)
        if believed:
            filled = replace(filled, confidence=alone)
        belief, rests = self.weighing.weighed(filled, threads, alone)
        if self.sure:
            different, switched = len(np.unique(filled.tids)), self.scheduled is not None
            grounds = Grounds(belief, alone, self.families[filled.ids], rests, different, switched)
            return replace(filled, confidence=self.sure(grounds))
        return replace(filled, confidence=self.calibration(belief, len(belief)) if self.calibration else belief)

    def remember(self, filled: Filled) -> None:
        """Make a fill part of its threads' history."""
        self.timelines.remember(filled)
        if self.weighs:
            self.weighing.remember(filled)
        if self.scheduled:
            self.scheduled.running.remember(filled)

    def estimate(self, gap: Gap) -> int:
        """A gap's count where the tracer gave none: its span at the rate of the stream's intact events beside it.

        It is at least one event for every call that the surviving events leave open.
        """
        rows, breaks = self.around.breaks[gap.cpu]
        at = int(np.searchsorted(rows, gap.after)) if gap.after is not None else len(rows)
        first = max(0, at - NEAR)
        steps = np.diff(self.trace.time_ns[rows[first : at + NEAR + 1]])
        usable = np.ones(len(steps), bool)
        usable[[b - 1 - first for b in breaks[bisect.bisect_right(breaks, first) :] if b - 1 - first < len(steps)]] = (
            False
        )
        steps = steps[usable]
        if not len(steps):
            return 0
        rate_count = round(gap.duration_ns / max(1.0, float(steps.mean()))) - 1
        return min(LONGEST_FILL, max(0, rate_count, self.timelines.obligations(gap)))


def _that_matter(threads: Threads, columns: Ints) -> tuple[Threads, Ints]:
    """The threads without those at the end of the list that nobody believes in and that need nothing: more than three
    threads that may be likely are never tried."""
    if columns[-1] >= 0:
        return threads, columns
    obliged = np.flatnonzero((threads.end != FREE) | (columns >= 0))
    n = max(3, int(obliged[-1]) + 1 if len(obliged) else 0)
    return Threads(*(a[:n] for a in threads)), columns[:n]


def _without_pairs(events: Ints, p: NDArray[np.float32], threads: NDArray[np.float32]) -> Decoded:
    best = p.argmax(axis=1)
    rows = np.arange(len(p))
    return Decoded(events[rows, best], threads.argmax(axis=1).astype(np.int64), p[rows, best].astype(np.float32))
