"""Mending: for every gap that can be filled, exactly as many events as were lost, in place, in order, within reason.

The steps: contexts of all gaps -> proposals (batched over gaps, long gaps block by block from both ends inward) ->
gap by gap, in order of their ends: the likeliest fill that satisfies the constraints, and times within the gap's span.

Axis legend: E events of the trace, S events of a stream, N positions of a gap, T threads.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend import __version__
from tracemend.baselines import Lookup, Mosaic
from tracemend.baselines import adapt as adapt_mosaic
from tracemend.baselines.runs import one_after_the_other
from tracemend.blend import Blend
from tracemend.constraints import (
    CLOSED,
    ENDED,
    FREE,
    UNSEEN,
    Decoded,
    Thread,
    decode,
    drop_impossible,
    need,
    without_exit,
)
from tracemend.errors import ModelError
from tracemend.events import ENTER, EXIT, PHASES, Gap, Trace
from tracemend.familiarity import FAMILIAR, LENGTH, familiarity
from tracemend.mended import HYPOTHESES, INFERRED, Fill, Mended
from tracemend.mender import Mender, Proposal, Restorer
from tracemend.syscalls import DEFAULT_ARCH, NO_NUMBER
from tracemend.tuning import tuned
from tracemend.vocabulary import BREAK, OTHER, Vocabulary, universal
from tracemend.windows import GONE, SLOTS, UNKNOWN_THREAD, Stream, Window, slots_by_recency, streams, window

Ints = NDArray[np.int64]

#: A fill of more events than this isn't tried: its memory would be hundreds of megabytes and its worth nothing.
LONGEST_FILL = 2_000_000

#: How sure a hypothesis is of the events drawn for it: where the constraints don't allow them others take their place.
DRAWN = 0.95

#: What copies from the intact part of a trace and from examples: the default, and the one that votes.
Copier = Callable[[Sequence[Stream], Sequence[Stream]], Mosaic | Lookup]
MOSAIC, LOOKUP = "mosaic", "lookup"
COPIERS: dict[str, Copier] = {MOSAIC: Mosaic, LOOKUP: Lookup}

Progress = Callable[[int, int], None]


@dataclass(slots=True)
class _Timeline:
    """All that is known of one thread: its events' moments, cpus and states after them, in order."""

    #: (time, row): events of the same time are in the order in which they stand in the file
    times: list[tuple[int, float]] = field(default_factory=list)
    cpus: list[int] = field(default_factory=list)
    states: list[int] = field(default_factory=list)
    #: for each event the state the thread must have had before it (FREE: it doesn't tell)
    required: list[int] = field(default_factory=list)

    def insert(self, moment: tuple[int, float], cpu: int, state: int, required: int) -> None:
        """Add an event; behind all others of the same moment."""
        at = bisect.bisect_right(self.times, moment)
        self.times.insert(at, moment)
        self.cpus.insert(at, cpu)
        self.states.insert(at, state)
        self.required.insert(at, required)


class Mending:
    """One run of mending over one trace. Use ``mend``."""

    def __init__(self, trace: Trace, mender: Mender, vocabulary: Vocabulary) -> None:
        self.trace, self.mender, self.vocabulary = trace, mender, vocabulary
        self.ids = vocabulary.encode(trace).astype(np.int64)
        #: a thread's state after each enter and exit, and the one it must have had before (FREE: any)
        self.state_V, self.required_V = _states(vocabulary)
        self.timelines = self._timelines()
        self.breaks = {cpu: self._breaks(cpu) for cpu in {g.cpu for g in trace.gaps} | set(trace.streams)}
        self.steps = self._steps()
        tid_comm: dict[int, int] = {}
        for tid, rows in trace.threads.items():
            tid_comm[tid] = int(trace.comms[0][rows[-1]])
        self.comm_of = tid_comm
        phases = vocabulary.phase[self.ids]
        entering = np.bincount(self.ids[phases == ENTER], minlength=len(vocabulary))
        seen = entering if entering.any() else np.bincount(self.ids, minlength=len(vocabulary))
        self.usual: list[int] = np.argsort(-seen, kind="stable")[:3].tolist()
        self.enters_only = bool((phases == ENTER).any()) and not bool((phases == 1).any())

    # ------------------------------------------------------------------ what the trace knows

    def _timelines(self) -> dict[int, _Timeline]:
        phase = self.vocabulary.phase[self.ids]
        result: dict[int, _Timeline] = {}
        time, cpu = self.trace.time_ns, self.trace.cpu
        for tid, rows in self.trace.threads.items():
            if tid < 0:
                continue
            calls = rows[(phase[rows] == 0) | (phase[rows] == 1)]
            line = result[tid] = _Timeline()
            line.times = list(zip(time[calls].tolist(), calls.tolist(), strict=True))
            line.cpus = cpu[calls].tolist()
            line.states, line.required = (table[self.ids[calls]].tolist() for table in (self.state_V, self.required_V))
        return result

    def _breaks(self, cpu: int) -> tuple[Ints, list[int]]:
        """The stream's rows, and the positions in it before which events are missing."""
        return self.trace.streams.get(cpu, np.empty(0, np.int64)), self.trace.breaks(cpu)

    def _steps(self) -> NDArray[np.float64]:
        """For every id (V,) the median time to the stream's next event, in ns: how a fill is spread over its span."""
        total = np.full(len(self.vocabulary), np.nan)
        every = []
        for cpu, rows in self.trace.streams.items():
            keep = np.ones(max(len(rows) - 1, 0), bool)
            keep[[c - 1 for c in self.breaks[cpu][1] if 0 < c < len(rows)]] = False
            every.append(np.stack([self.ids[rows[:-1]][keep], np.diff(self.trace.time_ns[rows])[keep]]))
        pairs = np.concatenate(every, axis=1) if every else np.empty((2, 0), np.int64)
        order = np.argsort(pairs[0], kind="stable")
        ids, starts = np.unique(pairs[0][order], return_index=True)
        for i, part in zip(ids.tolist(), np.split(pairs[1][order], starts[1:]), strict=True) if len(ids) else ():
            total[i] = np.median(part)
        typical = float(np.median(pairs[1])) if pairs.shape[1] else 1.0
        return np.maximum(np.where(np.isnan(total), typical, total), 1.0)

    def context(self, gap: Gap) -> tuple[Stream, Stream]:
        """As many events on each side as the mender's context has, BREAK where another gap lies or the stream ends."""
        rows, breaks = self.breaks[gap.cpu]
        at = int(np.searchsorted(rows, gap.after)) if gap.after is not None else len(rows)
        left = self._side(rows, np.arange(at - 1, -1, -1), {b for b in breaks if b < at}, before=True)
        right = self._side(rows, np.arange(at, len(rows)), {b for b in breaks if b > at}, before=False)
        return left[::-1], right

    def _side(self, rows: Ints, positions: Ints, breaks: set[int], *, before: bool) -> Stream:
        context = self.mender.context
        positions = positions[:context]
        events: list[tuple[int, int, int]] = []
        unknown = (BREAK, -1, -1)
        for i, p in enumerate(positions.tolist()):
            broken = p in breaks
            first = p == 0 or broken or (not before and i == 0)
            step = -1 if first else int(self.trace.time_ns[rows[p]] - self.trace.time_ns[rows[p - 1]])
            event = (int(self.ids[rows[p]]), int(self.trace.tid[rows[p]]), step)
            events += [event] if not broken else [event, unknown] if before else [unknown, event]
        if len(positions) < context:
            events.append(unknown)
        return Stream(*np.array(events, np.int64).reshape(-1, 3).T)

    # ------------------------------------------------------------------ proposals

    def propose(self, gaps: Sequence[tuple[Gap, int]], seed: int, progress: Progress) -> list[_Beliefs]:
        """Beliefs for each gap with its count, in blocks where it is long; all gaps' blocks of a round run together."""
        work = [_Blocks(*self.context(gap), count, self.mender, gap.duration_ns) for gap, count in gaps]
        total, done = sum(n for _, n in gaps), 0
        while True:
            open_blocks = [(w, part) for w in work for part in w.next_blocks()]
            if not open_blocks:
                return [w.beliefs() for w in work]
            many = self.mender.at_once or len(open_blocks)
            for some in (open_blocks[at : at + many] for at in range(0, len(open_blocks), many)):
                for (w, part), proposal in zip(
                    some, self.mender.propose([p.window for _, p in some], seed), strict=True
                ):
                    w.take(part, proposal)
                    done += len(proposal)
                progress(done, total)

    def hypotheses(self, mender: Mosaic, gap: Gap, count: int, number: int, seed: int) -> list[_Beliefs]:
        """So many different beliefs about one gap, each sure of a fill that was drawn as a whole.

        A gap in blocks is drawn block by block, each beside what was drawn before.
        """
        work = [_Blocks(*self.context(gap), count, mender, gap.duration_ns) for _ in range(number)]
        alike = True  # they all begin with the same windows
        while (rounds := [w.next_blocks() for w in work])[0]:
            for parts in zip(*rounds, strict=True):
                own = [seed, gap.number, parts[0].begin]  # gaps and blocks that look alike are drawn apart
                if alike:
                    drawn = mender.hypotheses(parts[0].window, number, own)
                else:
                    drawn = [mender.hypotheses(part.window, 1, [*own, k])[0] for k, part in enumerate(parts)]
                for w, part, proposal in zip(work, parts, drawn, strict=True):
                    w.take(part, proposal)
            alike = False
        return [w.beliefs() for w in work]

    # ------------------------------------------------------------------ one gap

    def threads_of(
        self, gap: Gap, tids: Ints, times: Ints, later: Sequence[tuple[int, int]]
    ) -> tuple[list[Thread], list[int]]:
        """How each thread may take part, and for each entry the index of its thread in ``tids`` (-1: not among them).

        First the given ones (index 0 unknown), then what else of them or of any other thread has a call to settle: a
        thread that comes and goes has an entry for each stretch of time in which it may be here. times (N,): nominal
        times of the positions; later: spans of gaps that are still to be filled.
        """
        count = len(times)
        threads, columns = [Thread(-1, FREE, FREE, 0, count)], [0]
        listed = {int(t): i for i, t in enumerate(tids) if i}
        rest: list[tuple[int, int, Thread]] = []
        for tid, column in listed.items():
            line = self.timelines.get(tid)
            stretches = self._stretches(gap, tid, line, times, later) if line else [Thread(tid, FREE, FREE, 0, count)]
            threads.append(stretches[0])
            columns.append(column)
            rest += [(column - len(listed) - 1, column, t) for t in stretches[1:]]
        for tid, line in self.timelines.items():
            if tid not in listed:
                for t in self._stretches(gap, tid, line, times, later):
                    if need(t.begin, t.end):
                        at = bisect.bisect_right(line.times, gap.edges[0])
                        rest.append((abs(line.times[max(at - 1, 0)][0] - gap.begin_ns), -1, t))
        for _, column, t in sorted(rest, key=lambda x: (x[0], x[2].tid, x[2].first)):
            threads.append(t)
            columns.append(column)
        return threads, columns

    def _stretches(
        self, gap: Gap, tid: int, line: _Timeline, times: Ints, later: Sequence[tuple[int, int]]
    ) -> list[Thread]:
        """The stretches of the gap between a thread's events elsewhere, the likeliest one first, then every other one
        in which the thread has a call to settle."""
        n = len(times)
        begin_edge, end_edge = gap.edges
        a = bisect.bisect_right(line.times, begin_edge)
        b = max(a, bisect.bisect_left(line.times, end_edge))
        bounds = [gap.begin_ns, *(t for t, _ in line.times[a:b]), gap.end_ns]
        # events beyond what was read without a hole tell no state: the thread may have done anything in between
        least, most = 0, len(line.times)
        if self.trace.partial is not None:
            low_ns, high_ns = self.trace.partial.span(gap)
            least = min(a, bisect.bisect_left(line.times, (low_ns, -1.0)))
            most = max(b, bisect.bisect_right(line.times, (high_ns, float("inf"))))
        here_before = a > least and line.cpus[a - 1] == gap.cpu
        here_after = b < most and line.cpus[b] == gap.cpu
        if here_before and not here_after:
            likeliest = 0
        elif here_after and not here_before:
            likeliest = b - a
        else:
            likeliest = int(np.diff(bounds).argmax())
        result = []
        for i in [likeliest, *(i for i in range(b - a + 1) if i != likeliest)]:
            k = a + i  # the thread's next event behind this stretch
            # the call that a thread first seen behind the gap returns from may have begun before the trace did, and a
            # child begins with such a return
            begin = line.states[k - 1] if k > least else UNSEEN
            end = line.required[k] if k < most else FREE
            if i != likeliest and not need(begin, end):
                continue
            # what the next event asks for can wait for a gap that lasts longer than this one and begins before it
            if end != FREE and i == b - a and any(g0 < line.times[k][0] and g1 > gap.end_ns for g0, g1 in later):
                end = FREE
                if i != likeliest:
                    continue
            first = int(np.searchsorted(times, bounds[i], "right")) if i else 0
            last = int(np.searchsorted(times, bounds[i + 1], "left")) if i < b - a else n
            low, high = (bounds[i] if i else None), (bounds[i + 1] if i < b - a else None)
            result.append(Thread(tid, begin, end, first, max(first, last), low, high))
        return result

    def fill(self, gap: Gap, count: int, beliefs: _Beliefs, later: Sequence[tuple[int, int]]) -> tuple[_Filled, int]:
        """The likeliest fill of one gap that the constraints allow, and how many obligations had no room."""
        steps = self._expected(gap, beliefs.events[:, 0], beliefs)
        nominal = spread(steps[:-1], gap.begin_ns, gap.end_ns, last=float(steps[-1]))
        wanted, columns = self.threads_of(gap, beliefs.tids, nominal, later)
        threads, unmet = drop_impossible(wanted, count)
        table = np.where(np.array(columns) >= 0, beliefs.threads[:, columns], 0).astype(np.float32)
        events, p = beliefs.events, np.where(beliefs.events == OTHER, 0, beliefs.p)  # OTHER has no name to be filled in
        if self.enters_only:
            p = np.where((events >= 0) & (self.vocabulary.phase[events] == ENTER), p, 0)
            if not (p > 1e-6).any(axis=1).all():
                events = np.concatenate([events, np.full((count, 1), self.usual[0])], axis=1)
                p = np.concatenate([p, np.full((count, 1), 1e-4, p.dtype)], axis=1)
            threads, unmet = [Thread(t.tid, FREE, FREE, 0, count) for t in wanted], 0
            decoded = _without_pairs(events, p, table)
        else:
            decoded = decode(events, p, table, threads, self.vocabulary, usual=self.usual)
        steps = self._expected(gap, decoded.ids, beliefs)
        times = self._times(gap, steps, decoded.threads, threads, nominal)
        tids = np.array([threads[t].tid for t in decoded.threads], np.int64)
        return _Filled(gap, decoded.ids, tids, times, self.confidence(decoded.confidence, count)), unmet

    def confidence(self, belief: NDArray[np.float32], count: int) -> NDArray[np.float32]:
        """Beliefs in a gap of ``count`` events, as far as they have proven right."""
        calibration = self.mender.calibration
        return calibration(belief, count) if calibration else belief

    def _expected(self, gap: Gap, ids: Ints, beliefs: _Beliefs) -> NDArray[np.float64]:
        """How long it takes to each event of a fill, and from the last one to the end (N + 1,), in ns: what the mender
        says of its likeliest events, else the median time behind such an event as the one before."""
        before = self.ids[gap.before] if gap.before is not None else None
        first = self.steps[before] if before is not None else float(np.median(self.steps[ids]))
        usual = np.concatenate([[first], self.steps[ids]])
        likeliest = ids == beliefs.events[:, 0]
        said = np.where(np.append(likeliest, likeliest[-1]), beliefs.steps, np.nan)
        return np.maximum(np.where(np.isnan(said), usual, said), 1.0)

    def _times(
        self, gap: Gap, steps: NDArray[np.float64], chosen: Ints, threads: Sequence[Thread], nominal: Ints
    ) -> Ints:
        """Times spread by the steps (N + 1,), held within what the events of each event's thread elsewhere allow."""
        times = spread(steps[:-1], gap.begin_ns, gap.end_ns, last=float(steps[-1]))
        # between a thread's events elsewhere; the nominal times, by which the fill was found, satisfy all this
        n = len(chosen)
        lower = np.full(n, gap.begin_ns + 1, np.int64)
        upper = np.full(n, gap.end_ns - 1, np.int64)
        for i, t in enumerate(chosen.tolist()):
            low, high = threads[t].low_ns, threads[t].high_ns
            if low is not None:
                lower[i] = min(low + 1, nominal[i])
            if high is not None:
                upper[i] = max(high - 1, nominal[i])
        # the narrowest bounds that leave every event a nanosecond of its own, if there is room for that
        order = np.arange(n)
        least = np.maximum.accumulate(lower - order) + order
        most = (np.minimum.accumulate((upper - order)[::-1])[::-1]) + order
        if (least <= most).all():
            return np.asarray(np.maximum.accumulate(np.clip(times, least, most) - order) + order, np.int64)
        least = np.maximum.accumulate(np.minimum(lower, gap.end_ns))
        most = np.minimum.accumulate(np.maximum(upper, gap.begin_ns)[::-1])[::-1]
        return np.asarray(np.maximum.accumulate(np.clip(times, least, most)), np.int64)

    def remember(self, filled: _Filled) -> None:
        """Make a fill part of its threads' history."""
        phase = self.vocabulary.phase
        gap = filled.gap
        after_begin, before_end = gap.edges
        for event, tid, time in zip(filled.ids.tolist(), filled.tids.tolist(), filled.times.tolist(), strict=True):
            line = self.timelines.get(tid)
            if line is None or phase[event] not in (0, 1):
                continue
            row = before_end[1] if time == gap.end_ns else after_begin[1]
            line.insert((time, row), gap.cpu, int(self.state_V[event]), int(self.required_V[event]))


def _states(vocabulary: Vocabulary) -> tuple[Ints, Ints]:
    """For every enter and exit of the vocabulary (V,) a thread's state after it, and the one that it needs before it.

    The exit of no number, behind a signal's return, needs none.
    """
    ids, entering = np.arange(len(vocabulary)), vocabulary.phase == ENTER
    after = np.where(entering, ids, CLOSED)
    for enter, state in without_exit(vocabulary).items():
        after[enter] = state
    paired = (vocabulary.partner >= 0) & (ids != vocabulary.id(NO_NUMBER, EXIT))
    return after, np.where(entering, CLOSED, np.where(paired, vocabulary.partner, FREE))


@dataclass(frozen=True, slots=True)
class _Filled:
    gap: Gap
    ids: Ints
    tids: Ints
    times: Ints
    confidence: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Beliefs:
    """A gap's proposals: events (N, M), p (N, M), threads (N, T) with the thread id of each column, steps (N + 1,)."""

    events: Ints
    p: NDArray[np.float32]
    threads: NDArray[np.float32]
    tids: Ints
    steps: NDArray[np.float64]

    def told(self, other: _Beliefs, weight: float) -> _Beliefs:
        """These beliefs about the same gap, mixed with so much of the other ones."""
        p = np.where((self.events[:, :, None] == other.events[:, None, :]).any(axis=2), 0, (1 - weight) * self.p)
        return _Beliefs(
            np.concatenate([other.events, self.events], axis=1),
            np.concatenate([weight * other.p, p], axis=1).astype(np.float32),
            ((1 - weight) * self.threads + weight * other.threads).astype(np.float32),
            self.tids,
            np.where(np.isnan(other.steps), self.steps, other.steps),
        )


@dataclass(slots=True)
class _Part:
    window: Window
    begin: int
    end: int


class _Blocks:
    """A gap on its way: blocks from both ends inward, each seeing what was put beside it."""

    def __init__(self, left: Stream, right: Stream, count: int, mender: Mender, span_ns: int) -> None:
        """What the mender doesn't take at once is filled half as much at each end. span_ns: the gap's duration."""
        self.left, self.right, self.count, self.span_ns = left, right, count, span_ns
        self.longest, self.context = mender.longest, mender.context
        self.begin, self.end = 0, count
        self.tids = slots_by_recency(left.tids, right.tids)
        self.events: list[tuple[int, Proposal, Ints]] = []

    def next_blocks(self) -> list[_Part]:
        """The windows to propose for next: the whole of what is left, or one block at each end of it."""
        room = self.end - self.begin
        if room <= 0:
            return []
        left, right = self.left[-self.context - 1 :], self.right[: self.context + 1]
        span_ns = self.span_ns * room // self.count
        if room <= self.longest:
            return [_Part(window(left, right, room, span_ns), self.begin, self.end)]
        block = self.longest // 2
        # beyond a block lie events of which nothing is known yet: a BREAK
        ahead = window(left, GONE + right, block)
        behind = window(left + GONE, right, block, span_ns * block // room)
        return [
            _Part(ahead, self.begin, self.begin + block),
            _Part(behind, self.end - block, self.end),
        ]

    def take(self, part: _Part, proposal: Proposal) -> None:
        """Keep a block's proposal, and its likeliest events as context of the next one."""
        self.events.append((part.begin, proposal, part.window.tids))
        tids = part.window.tids
        slots = proposal.threads_NT.argmax(axis=1)
        guess = np.where(slots < len(tids), tids[np.minimum(slots, len(tids) - 1)], -1)
        best = Stream(proposal.events_NM[:, 0], guess)
        if part.begin == self.begin:
            self.left = self.left + best
            self.begin = part.end
        else:
            self.right = best + self.right
            self.end = part.begin

    def beliefs(self) -> _Beliefs:
        parts = sorted(self.events, key=lambda x: x[0])
        threads = np.zeros((self.count, len(self.tids)), np.float32)
        place = {int(t): i for i, t in enumerate(self.tids)}
        for begin, proposal, tids in parts:  # a block numbers threads its own way
            rows = slice(begin, begin + len(proposal))
            for slot in range(SLOTS):
                tid = int(tids[slot]) if slot < len(tids) else -1
                threads[rows, place.get(tid, UNKNOWN_THREAD)] += proposal.threads_NT[:, slot]
        return _Beliefs(
            np.concatenate([p.events_NM for _, p, _ in parts]),
            np.concatenate([p.p_NM for _, p, _ in parts]),
            threads,
            self.tids,
            one_after_the_other([p.steps for _, p, _ in parts]),
        )


def spread(steps: NDArray[np.float64], begin: int, end: int, last: float = 1.0) -> Ints:
    """Times (N,) strictly inside (begin, end), in proportion to ``steps``; ``last`` is the step behind the last one.

    Increasing by at least a nanosecond where the span has room for that, else never decreasing.
    """
    n = len(steps)
    span = end - begin
    share = np.cumsum(steps) / (steps.sum() + last)
    if span <= n:
        return np.asarray(begin + np.minimum((share * span).astype(np.int64), span), np.int64)
    # n whole nanoseconds are set aside, one for each event, and the rest is spread
    return np.asarray(begin + 1 + np.arange(n) + np.floor(share * (span - n - 1)).astype(np.int64), np.int64)


def _without_pairs(events: Ints, p: NDArray[np.float32], threads: NDArray[np.float32]) -> Decoded:
    best = p.argmax(axis=1)
    rows = np.arange(len(p))
    return Decoded(events[rows, best], threads.argmax(axis=1).astype(np.int64), p[rows, best].astype(np.float32))


Unknown = Literal["leave", "estimate"]


def estimate(mending: Mending, gap: Gap) -> int:
    """A gap's count where the tracer gave none: its span at the rate of the stream's intact events beside it, and at
    least one event for every call that the surviving events leave open."""
    rows, breaks = mending.breaks[gap.cpu]
    time = mending.trace.time_ns[rows]
    at = int(np.searchsorted(rows, gap.after)) if gap.after is not None else len(rows)
    inside = np.diff(time)
    usable = np.ones(len(inside), bool)
    usable[[b - 1 for b in breaks if 0 < b <= len(inside)]] = False
    near = np.zeros(len(inside), bool)
    near[max(0, at - 500) : at + 500] = True
    steps = inside[usable & near]
    if not len(steps):
        return 0
    rate_count = round(gap.duration_ns / max(1.0, float(steps.mean()))) - 1
    nominal = spread(np.ones(1), gap.begin_ns, max(gap.end_ns, gap.begin_ns + 2))
    threads, _ = mending.threads_of(gap, np.array([-1]), nominal, [])
    return min(LONGEST_FILL, max(0, rate_count, sum(need(t.begin, t.end) for t in threads if t.begin != ENDED)))


def mend_trace(
    trace: Trace,
    model: Restorer | Mender | None = None,
    *,
    copier: Copier | None = Mosaic,
    examples: Sequence[Trace] = (),
    shipped: Sequence[Stream] = (),
    seed: int = 0,
    unknown: Unknown = "leave",
    refuse: float = 0.0,
    hypotheses: int = 0,
    adapt: float | None = None,
    only: Collection[int] | None = None,
    progress: Progress = lambda done, total: None,
) -> Mended:
    """Fill the trace's gaps (``tracemend.mend`` is this with loading).

    A Restorer works together with what ``copier`` makes of the trace's intact part and, as places that count less, of
    ``examples`` and ``shipped`` streams of ids of the universal vocabulary (alone if there is no copier); another
    Mender works alone; None is the copier alone. only: numbers of the gaps to fill, all if None. hypotheses: so many
    other fills of every filled gap are drawn, under the same constraints and beside the fills of the gaps before it.
    adapt: for how many seconds the trace's intact part may be learnt from: the mosaic tries there how readily it should
    jump (baselines/adapted.py), a Restorer is trained on (tuning.py), half of the time each. None: the mosaic alone, on
    half as many events as were lost, and only if nothing like the trace is among the examples. Raises ModelError for a
    mender that can't draw, and for seconds that are no number from 0.
    """
    if adapt is not None and not 0 <= adapt < math.inf:
        raise ModelError(f"seconds to adapt must be a number from 0, not {adapt:g}")
    network = model if isinstance(model, Restorer) else None
    vocabulary = (network.vocabulary if network else universal()).extended(trace)
    mender: Mender
    made = share = None
    tuning = 0
    if copier and (model is None or network):
        # nothing to fill, nothing to copy: the examples' index takes a second
        known = universal()
        if shipped and vocabulary.entries[: len(known.entries)] != known.entries:
            shipped = [Stream(vocabulary.translated(s.ids, known), s.tids, s.steps) for s in shipped]
        others = [*shipped, *(s for t in examples for s in streams(t, vocabulary, shortest=1))] if trace.gaps else []
        own = streams(trace, vocabulary, shortest=1)
        share = familiarity(own, others)
        copies = copier(own, others)
        made = copies if isinstance(copies, Mosaic) else None
        mender = Blend(copies, network) if network else copies
    elif model is not None:
        mender = model
    else:
        raise ModelError("neither a model nor anything to copy with")
    drawer = mender if isinstance(mender, Mosaic) else None
    if hypotheses and drawer is None:
        raise ModelError(f"{mender.name} has no hypotheses, only {MOSAIC} has")
    run = Mending(trace, mender, vocabulary)
    counts: dict[int, int] = {}
    fills: dict[int, Fill] = {}
    for gap in trace.gaps:
        if only is not None and gap.number not in only:
            fills[gap.number] = Fill(gap.number, "left", 0, None, reason="not asked for")
            continue
        if gap.count is None and unknown == "leave":
            fills[gap.number] = Fill(gap.number, "left", 0, None, reason="the tracer gave no count")
            continue
        count = gap.count if gap.count is not None else estimate(run, gap)
        if count > LONGEST_FILL:
            reason = f"a gap of {count} events is too long to fill (at most {LONGEST_FILL})"
            fills[gap.number] = Fill(gap.number, "left", 0, None, reason=reason)
        elif not len(trace):
            fills[gap.number] = Fill(gap.number, "left", 0, None, reason="no event survives to learn from")
        elif count == 0:
            fills[gap.number] = Fill(
                gap.number, "left", 0, None, reason="no event is missed", estimated=gap.count is None
            )
        else:
            counts[gap.number] = count
    todo = sorted((g for g in trace.gaps if g.number in counts), key=lambda g: (g.end_ns, g.begin_ns, g.number))
    adapted = None
    familiar = share is not None and share >= FAMILIAR
    if made and todo and (not familiar if adapt is None else adapt):
        lengths = list(counts.values())
        limits = {"most": sum(lengths) // 2} if adapt is None else {"seconds": adapt / 2 if network else adapt}
        adapted = adapt_mosaic(made, lengths, seed=seed, **limits)
    if network and adapt and todo:
        more = streams(trace, vocabulary)
        network, tuning = tuned(network, more, seconds=adapt / 2 if made else adapt, seed=seed)
        if isinstance(mender, Blend):
            mender.network = network
        else:
            run.mender = network
    beliefs = run.propose([(g, counts[g.number]) for g in todo], seed, progress) if todo else []
    parts: list[_Filled] = []
    drawn: list[list[_Filled]] = []
    unfilled = [(g.begin_ns, g.end_ns) for g in trace.gaps if g.number not in counts]
    for i, gap in enumerate(todo):
        later = [(g.begin_ns, g.end_ns) for g in todo[i + 1 :]] + unfilled
        filled, unmet = run.fill(gap, counts[gap.number], beliefs[i], later)
        mean = float(filled.confidence.mean())
        if mean < refuse:
            reason = f"mean confidence {mean:.2f} is below {refuse:g}"
            fills[gap.number] = Fill(gap.number, "refused", 0, mean, gap.count is None, reason)
            unfilled.append((gap.begin_ns, gap.end_ns))
            continue
        agreement = None
        if hypotheses and drawer:
            kinds = run.hypotheses(drawer, gap, counts[gap.number], hypotheses, seed)
            drawn.append([run.fill(gap, counts[gap.number], beliefs[i].told(k, DRAWN), later)[0] for k in kinds])
            agreement = float(np.mean([other.ids == filled.ids for other in drawn[-1]]))
        run.remember(filled)
        parts.append(filled)
        estimated = gap.count is None
        fills[gap.number] = Fill(gap.number, "filled", len(filled.ids), mean, estimated, "", unmet, agreement)
    provenance = {
        "tracemend": __version__,
        "model": mender.name,
        "model_sha256": network.digest if network else "",
        "seed": seed,
        "input": str(trace.path) if trace.path else "",
        "input_sha256": trace.provenance.get("sha256", ""),
        "format": trace.format,
        "options": {
            "unknown": unknown,
            "refuse": refuse,
            "examples": [str(t.path) for t in examples],
            "shipped": sum(map(len, shipped)),
            "arch": trace.provenance.get("arch", DEFAULT_ARCH),
        },
    }
    if share is not None:
        provenance["familiar"] = {"share": round(share, 4), "length": LENGTH, "enough": familiar}
    if hypotheses:
        provenance["options"]["hypotheses"] = hypotheses
    if adapt is not None:
        provenance["options"]["adapt"] = adapt
    if adapted:
        provenance["options"]["adapted"] = {"jumps": adapted.factor, "trials": adapted.trials}
    if tuning:
        provenance["options"]["tuned"] = {"steps": tuning}
    if trace.partial is not None:
        provenance["windows"] = trace.partial.as_dict(len(trace))
    ordered = tuple(fills[g.number] for g in trace.gaps)
    parts.sort(key=lambda f: f.gap.number)
    drawn.sort(key=lambda others: others[0].gap.number)
    table = _drawn_table(run, drawn) if hypotheses else None
    return Mended(trace, _table(run, parts), ordered, provenance, table)


def _drawn_table(run: Mending, drawn: Sequence[Sequence[_Filled]]) -> pa.Table:
    """The hypotheses of each gap as a table (HYPOTHESES)."""
    table = _table(run, [f for of_gap in drawn for f in of_gap]).drop_columns("confidence")
    number = [np.full(len(f.ids), k) for of_gap in drawn for k, f in enumerate(of_gap)]
    column = pa.array(np.concatenate(number) if number else [], pa.int32())
    return table.add_column(1, HYPOTHESES.field("hypothesis"), column)


def _table(run: Mending, parts: Sequence[_Filled]) -> pa.Table:
    if not parts:
        return INFERRED.empty_table()
    ids = np.concatenate([f.ids for f in parts])
    tids = np.concatenate([f.tids for f in parts])
    comms = [*run.trace.comms[1]]
    comm = np.array([run.comm_of.get(t, -1) for t in tids.tolist()], np.int32)
    entries = [run.vocabulary.entry(i) or ("unknown", 2) for i in range(len(run.vocabulary))]
    names = list(dict.fromkeys(n for n, _ in entries))
    place = {n: i for i, n in enumerate(names)}
    name_of = np.array([place[n] for n, _ in entries], np.int32)
    phase_of = np.array([p for _, p in entries], np.int8)
    columns = [
        pa.array(np.repeat([f.gap.number for f in parts], [len(f.ids) for f in parts]), pa.int32()),
        pa.array(np.repeat([f.gap.cpu for f in parts], [len(f.ids) for f in parts]), pa.int32()),
        pa.array(np.concatenate([f.times for f in parts]), pa.int64()),
        pa.array(tids, pa.int32()),
        pa.DictionaryArray.from_arrays(
            pa.array(np.maximum(comm, 0), pa.int32(), mask=comm < 0), pa.array(comms, pa.string())
        ),
        pa.DictionaryArray.from_arrays(pa.array(name_of[ids], pa.int32()), pa.array(names, pa.string())),
        pa.DictionaryArray.from_arrays(pa.array(phase_of[ids], pa.int8()), pa.array(PHASES, pa.string())),
        pa.array(np.clip(np.concatenate([f.confidence for f in parts]), 0, 1), pa.float32()),
    ]
    return pa.Table.from_arrays(columns, schema=INFERRED)
