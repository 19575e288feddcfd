"""Gaps of a cpu whose switches were recorded: who runs there and which interrupts are open is part of the fill.

Axis legend: E events of the trace, N positions of a gap, T threads, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tracemend.mending.beliefs import Beliefs
from tracemend.mending.constraints import FREE, Rules, Threads, drop_impossible
from tracemend.mending.habits import Habits
from tracemend.mending.later import waits
from tracemend.mending.running import IDLE, READY, UNKNOWN, WAITING, Edges, Running
from tracemend.mending.search import Decoded, ending_of
from tracemend.mending.timelines import Timelines
from tracemend.mending.wakes import owed, pinned, woken
from tracemend.trace.events import INSTANT, Gap, Trace
from tracemend.trace.fields import SWITCH, WAKEUPS, kernel_name
from tracemend.trace.vocabulary import OTHER, Vocabulary

if TYPE_CHECKING:
    from tracemend.mending.grammar import Cpu
    from tracemend.mending.waking import Waits

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

#: What begins (k) and ends (-k) an interrupt, or something that runs like one in whatever thread it meets.
INTERRUPTS = {
    f"{name}_{end}": sign * kind
    for kind, names in enumerate(
        (("irq_handler",), ("softirq",), ("timer_expire",), ("hrtimer_expire", "timer_hrtimer_expire")), 1
    )
    for name in names
    for end, sign in (("entry", 1), ("exit", -1))
}
#: So many of the interrupts that end may be ones that never began though nothing is missing: with more they needn't
#: nest.
ODD = 0.05
#: The least that is believed of a thread: who runs is mostly known from the edges and from switches.
LEAST = 0.02
#: The belief in the unknown thread counts so much of what is said; that a thread is known to be ready speaks for it,
#: and that it is known to wait against it, by these logarithms.
UNNAMED, READIER, WAITS = 0.05, 1.0, 2.0
#: Ways that are followed at once.
WIDTH = 12
#: And where none of these comes to an end.
MANY = 200


@dataclass(frozen=True, slots=True)
class Way:
    """A fill: its events, the threads that they may be of, who runs up to each event and behind the last one (N + 1,),
    and to whom each switch goes (N,), UNKNOWN at other events; the times by which it was found, and which of them (N,)
    must stay."""

    decoded: Decoded
    threads: Threads
    who: Ints
    following: Ints
    nominal: Ints
    pins: NDArray[np.bool_]


class Scheduled:
    """What a trace's switches and interrupts ask of its fills. ids (E,): of the trace's events."""

    def __init__(self, trace: Trace, ids: Ints, vocabulary: Vocabulary, rules: Rules, usual: Sequence[int]) -> None:
        self.ids, self.rules = ids, rules
        self.usual = np.array(usual, np.int64)
        self.running = Running(trace)
        self.habits = Habits(trace, ids, len(vocabulary))
        self.switch, self.wakeup = OTHER, -1
        #: Whether calls of idle threads survived: then it isn't idle that this trace calls so.
        self.idle_calls = bool((trace.phase[trace.tid == IDLE] != INSTANT).any())
        self.nesting = np.zeros(len(vocabulary), np.int64)
        for name in trace.names[1]:
            event = vocabulary.id(name, INSTANT)
            if event != OTHER:
                self.nesting[event] = INTERRUPTS.get(kernel_name(name), 0)
                if kernel_name(name) == WAKEUPS[0]:
                    self.wakeup = event
                if kernel_name(name) == SWITCH:
                    self.switch = event
        for kind in set(np.abs(self.nesting).tolist()):
            if not {kind, -kind} <= set(self.nesting.tolist()):  # the one is recorded without the other
                self.nesting[np.abs(self.nesting) == kind] = 0
        self.trace = trace
        #: By gap, when threads must have been woken there; nobody knows where no wakeups were recorded.
        gaps = [(g.number, g.begin_ns, g.end_ns) for g in trace.gaps] if self.wakeup >= 0 else []
        self.owed = owed(self.running, gaps)
        self.waits = waits(trace.gaps)
        self.behind_E, self.ahead_E = self._interrupts(ids)
        self.ways = WIDTH

    def unfilled(self, ways: int) -> Scheduled:
        """The same trace, for another history, in whose gaps so many ways are followed at once."""
        other = copy(self)
        other.running, other.ways = self.running.unfilled(), ways
        return other

    def _interrupts(self, ids: Ints) -> tuple[Ints, Ints]:
        """The interrupts that are open behind each event (E,), and those that must be open before it, since they end
        behind it."""
        from tracemend.mending.nesting import nested

        kinds = self.nesting[ids]
        behind, ahead = np.zeros(len(kinds), np.int64), np.zeros(len(kinds), np.int64)
        wrong = 0
        for cpu, rows in self.trace.streams.items() if kinds.any() else ():
            cut = np.zeros(len(rows) + 1, bool)
            cut[self.trace.breaks(cpu)] = True
            behind[rows], odd = nested(kinds[rows], cut[:-1])
            ahead[rows[::-1]], odd_too = nested(-kinds[rows[::-1]], cut[:0:-1])
            wrong += odd + odd_too
        if wrong > ODD * np.count_nonzero(kinds):
            self.nesting[:] = behind[:] = ahead[:] = 0
        return behind, ahead

    def fill(
        self, gap: Gap, beliefs: Beliefs, timelines: Timelines, silence: NDArray[np.float64] | None, nominal: Ints
    ) -> tuple[Way, int]:
        """The likeliest fill that is possible, and how many obligations had no room. beliefs: without events that have
        no name; silence: as in ``search.Manner``."""
        from tracemend.mending.beam import Candidates, confidence
        from tracemend.mending.grammar import search

        edges = self.running.edges(gap)
        beliefs = _with_edges(edges, beliefs)
        pins, nominal = pinned(self.owed.get(gap.number, []), self.running.switched(gap, edges), nominal)
        wanted, columns = timelines.threads_of(gap, beliefs.tids, nominal, self.waits[gap.number])
        threads, unmet = drop_impossible(wanted, len(nominal))
        table = np.where(columns >= 0, beliefs.threads[:, columns], 0).astype(np.float32, order="C")
        known, since = self.running.readiness(threads.tids, nominal)
        log_t = _weighed(table, known) + self.habits.of(threads.tids, beliefs)
        log_t = np.ascontiguousarray(log_t)
        candidates = Candidates(
            np.ascontiguousarray(beliefs.events), beliefs.p, np.log(np.maximum(beliefs.p, 1e-9)), table, log_t
        )
        waiting = (known == WAITING) & ~self.running.foreign(threads.tids) & (self.wakeup >= 0)
        waits = since_when(np.where(waiting, np.searchsorted(nominal, since, "right"), -1), self.wakeup, pins)
        cpu = self._cpu(gap, edges, threads, nominal, waits)
        threads = _narrowed(threads, cpu.able[:-1] & cpu.able[1:] & ((threads.tids != IDLE) | self.idle_calls))
        ending = ending_of(table, threads, silence)
        for allowed, asked, width in _less_and_less(threads, cpu, self.ways):
            found, best, following = search(candidates, allowed, ending, asked, self.rules, self.usual, width)
            if found:
                break
        else:
            raise ValueError("no fill satisfies the constraints")
        unmet += int(((threads.end != FREE) & (allowed.end == FREE)).sum())
        sure = confidence(best, self.rules, len(threads.tids))
        ends = self.nesting[best.ids] < 0  # of an interrupt, which nothing else can come before
        sure[ends] = np.maximum(best.p, best.sure)[ends]
        runs = threads.tids[following]
        following = np.where(best.ids == self.switch, runs, UNKNOWN)
        who = np.append(threads.tids[best.threads], runs[-1])
        return Way(Decoded(best.ids, best.threads, sure), threads, who, following, nominal, pins), unmet

    def steps(self, gap: Gap, steps: NDArray[np.float64], way: Way) -> NDArray[np.float64]:
        """Steps (N + 1,), those behind switches by who runs then."""
        first = gap.before is not None and int(self.ids[gap.before]) == self.switch
        behind = np.append(way.who[0] if first else UNKNOWN, way.following)
        lasts = self.running.lasts(behind)
        return np.where((behind != UNKNOWN) & ~np.isnan(lasts), lasts, steps)

    def times(self, gap: Gap, times: Ints, way: Way) -> Ints:
        """The times (N,) of a fill if everybody may run then and is awake, else those by which it was found."""
        if way.pins.any():
            return way.nominal
        tids = np.unique(way.who)
        able = self.running.able(gap, tids, times)
        true = bool(able[np.arange(len(way.who)), np.searchsorted(tids, way.who)].all())
        if true and self.wakeup >= 0:
            at = way.following > IDLE
            wakeups = times[way.decoded.ids == self.wakeup]
            first = int(way.who[0]), gap.begin_ns
            true = woken(self.running, first, (times[at], way.following[at]), wakeups)
        return times if true else way.nominal

    def _cpu(self, gap: Gap, edges: Edges, threads: Threads, nominal: Ints, waits: Waits) -> Cpu:
        """What the cpu allows in this gap."""
        from tracemend.mending.grammar import NOBODY, Cpu

        able = self.running.able(gap, threads.tids, nominal)
        begin = end = NOBODY
        if edges.before != UNKNOWN:
            own = np.flatnonzero(threads.tids == edges.before)
            begin = int(own[np.argmin(threads.first[own])])
            able[0, begin] = True
        if edges.behind != UNKNOWN:
            own = np.flatnonzero(threads.tids == edges.behind)
            end = int(own[np.argmax(threads.last[own])])
            able[-1, end] = True
        begun = int(self.behind_E[gap.before]) if gap.before is not None else 0
        left = int(self.ahead_E[gap.after]) if gap.after is not None else 0
        foreign = self.running.foreign(threads.tids)
        return Cpu(able, foreign, begin, end, self.switch, self.nesting, begun, left, waits)


def _with_edges(edges: Edges, beliefs: Beliefs) -> Beliefs:
    """The beliefs with whoever runs at the gap's edges, and idle, among the threads."""
    more = [t for t in dict.fromkeys((edges.before, edges.behind, IDLE)) if t != UNKNOWN and t not in beliefs.tids]
    none = np.zeros((len(beliefs.threads), len(more)), np.float32)
    return replace(
        beliefs,
        tids=np.append(beliefs.tids, np.array(more, np.int64)),
        threads=np.concatenate([beliefs.threads, none], axis=1),
    )


def _weighed(threads_NT: Floats, known_NT: Ints) -> NDArray[np.float64]:
    """The logarithm of what is believed of each thread at each position (N, T), with what is known of them.

    A belief in the unknown thread says that nobody knows, which is no reason against any other.
    """
    table = threads_NT.astype(np.float64)
    table[:, 1:] += table[:, :1]
    table[:, 0] *= UNNAMED
    ready, waits = READIER * (known_NT == READY), WAITS * (known_NT == WAITING)
    believed: NDArray[np.float64] = np.log(np.maximum(table, LEAST)) + ready - waits
    return believed


def since_when(since: Ints, wakeup: int, pins: NDArray[np.bool_]) -> Waits:
    """Who waits, and since when. since (N, T): the first position whose event can wake whoever waits at another one, -1
    if it doesn't wait there."""
    from tracemend.mending.waking import Waits

    begins = np.unique(since[since >= 0])
    eras = np.searchsorted(begins, np.arange(len(since)), "right")
    return Waits(eras, np.where(since >= 0, np.searchsorted(begins, since, "right"), -1), wakeup, pins)


def _narrowed(threads: Threads, able: NDArray[np.bool_]) -> Threads:
    """The threads within the first and the last position at which they may do more than leave. able (N, T): whether
    they may run both up to each position and behind it."""
    place = np.arange(len(able))[:, None]
    within = able & (place >= threads.first) & (place < threads.last)
    any_T = within.any(axis=0)
    first = np.where(any_T, within.argmax(axis=0), threads.first)
    last = np.where(any_T, len(able) - within[::-1].argmax(axis=0), threads.first)
    return threads._replace(first=first, last=last)


def _less_and_less(threads: Threads, cpu: Cpu, ways: int) -> Iterator[tuple[Threads, Cpu, int]]:
    """What is asked of a fill, and less of it each time, with the ways that are followed at once: it may take more of
    them, or there may be no room for all that is asked for."""
    from tracemend.mending.grammar import NOBODY

    yield threads, cpu, ways
    yield threads, cpu, MANY
    count = len(cpu.able) - 1
    for t in (threads.end != FREE).nonzero()[0][::-1].tolist():  # the last in the list first
        threads = threads._replace(end=np.where(np.arange(len(threads.end)) == t, FREE, threads.end))
        yield threads, cpu, WIDTH
    anywhere = threads._replace(first=np.zeros_like(threads.first), last=np.full_like(threads.last, count))
    cpu = cpu._replace(able=np.ones_like(cpu.able))
    yield anywhere, cpu, WIDTH
    nobody = cpu.waits._replace(since=np.full_like(cpu.waits.since, NOBODY), pinned=np.zeros_like(cpu.waits.pinned))
    cpu = cpu._replace(waits=nobody)
    yield anywhere, cpu, WIDTH
    yield anywhere, cpu._replace(left=cpu.begun), WIDTH
    yield anywhere, cpu._replace(left=cpu.begun, end=NOBODY), WIDTH
    free = np.full_like(threads.begin, FREE)
    yield anywhere._replace(begin=free), cpu._replace(left=0, begun=0, end=NOBODY), WIDTH
