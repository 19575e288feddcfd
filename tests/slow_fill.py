"""The fill of a gap as it was found before any of it was compiled: slow, plain Python, the judge of what is fast."""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from tracemend.menders.base import Mender
from tracemend.mending.beam import WELL_POSSIBLE
from tracemend.mending.beliefs import Beliefs, Filled
from tracemend.mending.constraints import CLOSED, ENDED, FREE, OPEN, UNSEEN, Threads
from tracemend.mending.filling import Filling
from tracemend.mending.search import Decoded
from tracemend.mending.surroundings import Surroundings
from tracemend.mending.times import placed, spread
from tracemend.trace.events import ENTER, EXIT, Gap, Trace
from tracemend.trace.syscalls import LAST_CALLS, NO_NUMBER, SIGNAL_RETURNS
from tracemend.trace.vocabulary import BREAK, OTHER, Vocabulary
from tracemend.trace.windows import HIDDEN, SLOTS, STEPS, UNKNOWN_STEP, UNKNOWN_THREAD, Stream, Window, log_step

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Thread:
    """How a thread may take part in a gap: its state before, the state it must have behind (FREE: any), and the
    positions [first, last) at which it isn't known to be elsewhere, by its events at low_ns and high_ns (None: the gap
    itself is the bound)."""

    tid: int
    begin: int
    end: int
    first: int
    last: int
    low_ns: int | None = None
    high_ns: int | None = None


def without_exit(vocabulary: Vocabulary) -> dict[int, int]:
    """The enters that no exit of the same call follows, with a thread's state after them."""
    states = dict.fromkeys(LAST_CALLS, ENDED) | dict.fromkeys(SIGNAL_RETURNS, FREE)
    ids = {vocabulary.id(call, ENTER): state for call, state in states.items()}
    return {i: state for i, state in ids.items() if i != OTHER}


def state_after(event: int, before: int, phase: int, unusual: Mapping[int, int]) -> int:
    """A thread's state after an event (id and phase code) in state ``before``. unusual: ``without_exit``'s."""
    if phase == ENTER:
        return unusual.get(event, event)
    return CLOSED if phase == EXIT else before


def need(state: int, end: int) -> int:
    """The fewest events that bring a thread from ``state`` to ``end`` (a large number if nothing can)."""
    if end in (FREE, state) or state == UNSEEN:
        return 0
    if state == ENDED:
        return 1 << 30
    if end == CLOSED:
        return 0 if state == FREE else 1
    return 2 if state >= 0 else 1  # an enter must be pending: close the other one first


def drop_impossible(threads: Sequence[Thread], count: int) -> tuple[list[Thread], int]:
    """Free threads of their obligations, the last in the list first, until the gap has room for what is left.

    Room: for any stretch of positions, the threads bound to it need no more events than it has (Hall's condition).
    Returns the threads and how many obligations were dropped.
    """
    kept = list(threads)
    dropped = 0
    for i, t in enumerate(kept):
        if need(t.begin, t.end) > max(0, t.last - t.first):
            kept[i] = replace(t, end=FREE)
            dropped += 1
    while not _fits(kept, 0, count):
        i = max(i for i, t in enumerate(kept) if need(t.begin, t.end) > 0)
        kept[i] = replace(kept[i], end=FREE)
        dropped += 1
    return kept, dropped


def _fits(threads: Sequence[Thread], at: int, count: int) -> bool:
    bound = [(max(t.first, at), t.last, need(t.begin, t.end)) for t in threads]
    bound = [b for b in bound if b[2]]
    return _room(bound, at)


def _room(bound: list[tuple[int, int, int]], at: int) -> bool:
    """Hall's condition for (first, last, events needed): every interval has as many positions as it must hold."""
    for a in {b[0] for b in bound}:
        for z in {b[1] for b in bound}:
            if sum(n for first, last, n in bound if first >= a and last <= z) > max(0, z - max(a, at)):
                return False
    return True


def still_fits(threads: Sequence[Thread], needs: Sequence[int], at: int) -> bool:
    """Have the threads, of which each needs so many events, room from position ``at`` on?"""
    bound = []
    total, shortest = 0, 1 << 60
    for t, n in zip(threads, needs, strict=True):
        if n:
            first = max(t.first, at)
            bound.append((first, t.last, n))
            total += n
            shortest = min(shortest, t.last - first)
    # where every single stretch has room for all that is needed there is nothing more to look at
    return shortest >= total or _room(bound, at)


#: Log-probability of what no candidate speaks for.
FLOOR = -14.0


def as_arrays(threads: Sequence[Thread]) -> Threads:
    """The same as what is compiled takes."""
    rows = [
        (t.tid, t.begin, t.end, t.first, t.last, *(OPEN if ns is None else ns for ns in (t.low_ns, t.high_ns)))
        for t in threads
    ]
    return Threads(*np.array(rows, np.int64).T.copy())


@dataclass(slots=True)
class _Beam:
    score: float
    states: list[int]
    path: tuple[object, ...]  # (event, thread, p, p if its enter is right, path so far): beams share their past


def decode(
    events_NM: NDArray[np.int64],
    p_NM: NDArray[np.float32],
    threads_NT: NDArray[np.float32],
    threads: Sequence[Thread],
    vocabulary: Vocabulary,
    *,
    usual: Sequence[int] = (),
    width: int = 8,
    silence: NDArray[np.float64] | None = None,
) -> Decoded:
    """The likeliest fill, by beam search, among those in which every thread alternates and ends as it must.

    events_NM, p_NM: candidates and probabilities; threads_NT: probability of each thread. Index 0 is the unknown
    thread: free on both sides and never absent, so there is always a fill once ``drop_impossible`` was asked.
    ``usual``: ids of enters to fall back on where no candidate is allowed. silence: as ``search.Manner`` has it.
    """
    phase, partner = vocabulary.phase, vocabulary.partner
    unusual = without_exit(vocabulary)
    N, T = threads_NT.shape
    later = threads_NT[::-1].cumsum(axis=0)[::-1] - threads_NT
    through = np.exp(-later)  # how sure it is that a thread has nothing more to do
    for k, thread in enumerate(threads):
        if silence is None or thread.end != FREE or thread.last != N or thread.tid < 0:
            through[:, k] = 0
    silent = [0.0] if silence is None else silence.tolist()

    def quiet(i: int, t: int, state: int) -> float:
        """What the state of a thread behind position i says of the silence behind the gap."""
        return float(through[i, t]) * (silent[state] if through[i, t] > 0 else 0.0)

    best = _best_of_each(events_NM, p_NM, threads_NT, threads, vocabulary, unusual)
    if best is not None:
        states = _behind(best, threads, vocabulary, unusual)
        if any(quiet(N - 1, t, state) < WELL_POSSIBLE for t, state in enumerate(states)):
            best = None
    if best is not None:
        return best
    log_p = np.log(np.maximum(p_NM, 1e-9))
    log_t = np.log(np.maximum(threads_NT, np.exp(FLOOR))).tolist()
    anywhere = all(t.first == 0 and t.last == N for t in threads)
    ends = [t.end for t in threads]
    firsts, lasts = [t.first for t in threads], [t.last for t in threads]
    beams = [_Beam(0.0, [t.begin for t in threads], ())]
    likely_threads = np.argsort(-threads_NT, axis=1, kind="stable")[:, :3].tolist()
    for i in range(N):
        candidates = [
            (int(e), float(lp), float(p))
            for e, lp, p in zip(events_NM[i], log_p[i], p_NM[i], strict=True)
            if e >= 0 and p > 1e-6
        ]
        by_id = {e: (lp, p) for e, lp, p in candidates}
        exits = sum(p for e, _, p in candidates if phase[e] == EXIT)
        left = N - i - 1
        expanded: list[tuple[float, _Beam, int, int, int, float, float]] = []
        for beam in beams:
            states = beam.states
            needs = [need(s, e) for s, e in zip(states, ends, strict=True)]
            total = sum(needs)
            tries = dict.fromkeys(likely_threads[i])
            tries[0] = None
            if total:
                tries.update((t, None) for t in range(T) if needs[t])
            for t in tries:
                if not firsts[t] <= i < lasts[t]:
                    continue
                state = states[t]
                if state == ENDED:
                    continue
                options = candidates
                if state >= 0:  # a pending call: its own exit, or an event that is no system call
                    exit_id = int(partner[state])
                    options = [c for c in candidates if c[0] == exit_id or phase[c[0]] not in (ENTER, EXIT)]
                    if exit_id >= 0 and exit_id not in by_id:
                        options = [*options, (exit_id, FLOOR, max(0.02, exits * 0.1))]
                else:
                    if state == CLOSED:
                        options = [c for c in candidates if phase[c[0]] != EXIT]
                    if ends[t] >= 0 and ends[t] not in by_id:
                        options = [*options, (ends[t], FLOOR, 0.02)]
                    if not options:
                        options = [(e, FLOOR, 0.02) for e in usual]
                allowed = sum(c[2] for c in options) or 1.0
                for event, lp, p in options:
                    after = state_after(event, state, int(phase[event]), unusual)
                    if t == 0 and after == ENDED:  # another unknown thread can take its place
                        after = FREE
                    wanted = need(after, ends[t])
                    rest = total - needs[t] + wanted
                    if rest > left:
                        continue
                    if not anywhere and rest and not still_fits(threads, [*needs[:t], wanted, *needs[t + 1 :]], i + 1):
                        continue
                    sure = min(1.0, p / allowed) if state >= 0 else p
                    score = beam.score + sum(quiet(i, k, s) for k, s in enumerate(states)) + lp + log_t[i][t]
                    if after != state and through[i, t] > 0:
                        score += float(through[i, t]) * (silent[after] - silent[state])
                    expanded.append((score, beam, event, t, after, p, sure))
        expanded.sort(key=lambda x: -x[0])
        beams, seen = [], set()
        for reached, beam, event, t, after, p, sure in expanded:
            states = beam.states.copy()
            states[t] = after
            key = (event, *states)
            if key in seen:
                continue
            seen.add(key)
            score = reached
            for k, s in enumerate(states):
                score -= quiet(i, k, s)
            beams.append(_Beam(score, states, (event, t, p, sure, beam.path)))
            if len(beams) == width:
                break
    ids, chosen = np.empty(N, np.int64), np.empty(N, np.int64)
    plain, given = np.empty(N, np.float32), np.empty(N, np.float32)
    path = beams[0].path
    for i in range(N - 1, -1, -1):
        ids[i], chosen[i], plain[i], given[i], path = path  # type: ignore[call-overload,assignment]
    return Decoded(ids, chosen, _confidence(ids, chosen, plain, given, vocabulary))


def _behind(fill: Decoded, threads: Sequence[Thread], vocabulary: Vocabulary, unusual: Mapping[int, int]) -> list[int]:
    """The threads' states behind a fill."""
    states = [t.begin for t in threads]
    for event, t in zip(fill.ids.tolist(), fill.threads.tolist(), strict=True):
        after = state_after(event, states[t], int(vocabulary.phase[event]), unusual)
        states[t] = FREE if t == 0 and after == ENDED else after
    return states


def _confidence(
    ids: NDArray[np.int64],
    chosen: NDArray[np.int64],
    p_N: NDArray[np.float32],
    given_N: NDArray[np.float32],
    vocabulary: Vocabulary,
) -> NDArray[np.float32]:
    """Belief in each event: its own probability, or, if that is more, its probability given the enter that it closes
    times the belief in that enter (1 if that survived)."""
    enter_of: dict[int, float] = {}
    result = p_N.copy()
    for i, (t, phase) in enumerate(zip(chosen.tolist(), vocabulary.phase[ids].tolist(), strict=True)):
        if phase == EXIT:
            result[i] = max(p_N[i], given_N[i] * enter_of.pop(t, 1.0))
        elif phase == ENTER:
            enter_of[t] = float(p_N[i])
    return result


def _best_of_each(
    events_NM: NDArray[np.int64],
    p_NM: NDArray[np.float32],
    threads_NT: NDArray[np.float32],
    threads: Sequence[Thread],
    vocabulary: Vocabulary,
    unusual: Mapping[int, int],
) -> Decoded | None:
    """The likeliest event and thread of each position by itself, if together they satisfy everything: nothing can be
    likelier. None if they don't."""
    partner = vocabulary.partner
    phase_NM = np.where(events_NM >= 0, vocabulary.phase[events_NM], -1)
    rows, top = np.arange(len(p_NM)), p_NM.argmax(axis=1)
    ids, chosen = events_NM[rows, top], threads_NT.argmax(axis=1)
    states = [t.begin for t in threads]
    pending = np.full(len(ids), -1, np.int64)
    for i, (event, phase, t) in enumerate(
        zip(ids.tolist(), phase_NM[rows, top].tolist(), chosen.tolist(), strict=True)
    ):
        state, thread = states[t], threads[t]
        if event < 0 or state == ENDED or not thread.first <= i < thread.last:
            return None
        if phase == ENTER and state >= 0:
            return None
        if phase == EXIT and not (state in (FREE, UNSEEN) or (state >= 0 and partner[state] == event)):
            return None
        if state >= 0:
            pending[i] = partner[state]
        after = state_after(event, state, phase, unusual)
        states[t] = FREE if t == 0 and after == ENDED else after
    if any(need(s, t.end) for s, t in zip(states, threads, strict=True)):
        return None
    # inside a call only its exit and events that are no system call were possible
    possible = (events_NM == pending[:, None]) | ((phase_NM != ENTER) & (phase_NM != EXIT) & (events_NM >= 0))
    allowed = np.where(possible, p_NM, 0).sum(axis=1)
    p = p_NM[rows, top]
    sure = np.where((pending >= 0) & (allowed > 0), np.minimum(1, p / np.maximum(allowed, 1e-9)), p)
    chosen = chosen.astype(np.int64)
    return Decoded(ids, chosen, _confidence(ids, chosen, p, sure.astype(np.float32), vocabulary))


@dataclass(slots=True)
class Timeline:
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


class Timelines:
    """All threads of a trace. ids (E,): of its events."""

    def __init__(self, trace: Trace, ids: Ints, vocabulary: Vocabulary) -> None:
        self.trace, self.vocabulary = trace, vocabulary
        #: a thread's state after each enter and exit, and the one it must have had before (FREE: any)
        self.state_V, self.required_V = _states(vocabulary)
        self.lines = self._lines(ids)

    def _lines(self, ids: Ints) -> dict[int, Timeline]:
        phase = self.vocabulary.phase[ids]
        result: dict[int, Timeline] = {}
        time, cpu = self.trace.time_ns, self.trace.cpu
        for tid, rows in self.trace.threads.items():
            if tid < 0:
                continue
            calls = rows[(phase[rows] == 0) | (phase[rows] == 1)]
            line = result[tid] = Timeline()
            line.times = list(zip(time[calls].tolist(), calls.tolist(), strict=True))
            line.cpus = cpu[calls].tolist()
            line.states, line.required = (table[ids[calls]].tolist() for table in (self.state_V, self.required_V))
        return result

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
            line = self.lines.get(tid)
            stretches = self._stretches(gap, tid, line, times, later) if line else [Thread(tid, FREE, FREE, 0, count)]
            threads.append(stretches[0])
            columns.append(column)
            rest += [(column - len(listed) - 1, column, t) for t in stretches[1:]]
        for tid, line in self.lines.items():
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
        self, gap: Gap, tid: int, line: Timeline, times: Ints, later: Sequence[tuple[int, int]]
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

    def remember(self, filled: Filled) -> None:
        """Make a fill part of its threads' history."""
        phase = self.vocabulary.phase
        gap = filled.gap
        after_begin, before_end = gap.edges
        for event, tid, time in zip(filled.ids.tolist(), filled.tids.tolist(), filled.times.tolist(), strict=True):
            line = self.lines.get(tid)
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


class Around(Surroundings):
    """What stands around a gap, event by event."""

    def of(self, gap: Gap, most: int) -> tuple[Stream, Stream]:
        """Up to ``most`` events on each side, BREAK where another gap lies or the stream ends."""
        rows, breaks = self.breaks[gap.cpu]
        at = int(np.searchsorted(rows, gap.after)) if gap.after is not None else len(rows)
        left = self._one_side(rows, np.arange(at - 1, -1, -1)[:most], most, {b for b in breaks if b < at}, before=True)
        right = self._one_side(rows, np.arange(at, len(rows))[:most], most, {b for b in breaks if b > at}, before=False)
        return left[::-1], right

    def _one_side(self, rows: Ints, positions: Ints, most: int, breaks: set[int], *, before: bool) -> Stream:
        events: list[tuple[int, int, int]] = []
        unknown = (BREAK, -1, -1)
        for i, p in enumerate(positions.tolist()):
            broken = p in breaks
            first = p == 0 or broken or (not before and i == 0)
            step = -1 if first else int(self.trace.time_ns[rows[p]] - self.trace.time_ns[rows[p - 1]])
            event = (int(self.ids[rows[p]]), int(self.trace.tid[rows[p]]), step)
            events += [event] if not broken else [event, unknown] if before else [unknown, event]
        if len(positions) < most:
            events.append(unknown)
        return Stream(*np.array(events, np.int64).reshape(-1, 3).T)


def slots_by_recency(left: Ints, right: Ints) -> Ints:
    """Thread ids in order of their distance from the gap, -1 first: the index of a tid is its slot.

    left (.,) thread ids before the gap in stream order, right (.,) after it; -1 entries are no threads.
    """
    tids = np.concatenate([left[::-1], right])
    distance = np.concatenate([2 * np.arange(len(left)), 2 * np.arange(len(right)) + 1])
    order = np.argsort(distance, kind="stable")
    unique, first = np.unique(tids[order], return_index=True)
    ranked = unique[np.argsort(first, kind="stable")]
    ranked = ranked[ranked >= 0][: SLOTS - 1]
    return np.concatenate([[-1], ranked]).astype(np.int64)


def to_slots(tids: Ints, slots: Ints) -> Ints:
    """Slot of each thread id: its index in ``slots``, else UNKNOWN_THREAD."""
    if len(slots) == 1:
        return np.zeros(len(tids), np.int64)
    order = np.argsort(slots)
    at = np.minimum(np.searchsorted(slots[order], tids), len(slots) - 1)
    found = order[at]
    return np.where((slots[found] == tids) & (tids >= 0), found, UNKNOWN_THREAD).astype(np.int64)


def window(left: Stream, right: Stream, hidden: int, span_ns: int = -1) -> Window:
    """A window with ``hidden`` unknown positions between two contexts, which may contain BREAK.

    span_ns: the time between the known events on both sides, -1 where nobody knows. It is told only if there are such,
    as is the step of an event only if the event before it is known.
    """
    slots = slots_by_recency(left.tids, right.tids)
    sides = [np.stack([s.ids, to_slots(s.tids, slots), log_step(s.steps)], axis=1) for s in (left, right)]
    for side in sides:
        side[:1, 2] = UNKNOWN_STEP
        side[1:, 2][side[:-1, 0] == BREAK] = UNKNOWN_STEP
    if len(left) and len(right) and BREAK not in (left.ids[-1], right.ids[0]) and span_ns >= 0:
        sides[1][0, 2] = STEPS + log_step(np.array([span_ns // (hidden + 1)]))[0]
    known = np.ones(len(left) + hidden + len(right), bool)
    known[len(left) : len(left) + hidden] = False
    full = np.concatenate([sides[0], np.tile(HIDDEN, (hidden, 1)), sides[1]])
    return Window(full.astype(np.int64), known, slots)


class Slow(Filling):
    """Gaps filled by the slow ways alone."""

    def __init__(self, trace: Trace, mender: Mender, vocabulary: Vocabulary) -> None:
        super().__init__(trace, mender, vocabulary)
        self.slow = Timelines(trace, self.around.ids, vocabulary)

    def fill(self, gap: Gap, count: int, beliefs: Beliefs, believed: Beliefs | None = None) -> tuple[Filled, int]:
        steps = self.times.expected(gap, beliefs.events[:, 0], beliefs)
        nominal = spread(steps[:-1], gap.begin_ns, gap.end_ns, last=float(steps[-1]))
        later = [(g.begin_ns, g.end_ns) for g in self.trace.gaps if g.end_ns > gap.end_ns]
        wanted, columns = self.slow.threads_of(gap, beliefs.tids, nominal, later)
        threads, unmet = drop_impossible(wanted, count)
        table = np.where(np.array(columns) >= 0, beliefs.threads[:, columns], 0).astype(np.float32)
        events, p = beliefs.events, np.where(beliefs.events == OTHER, 0, beliefs.p)
        silence = self.durations.by_state(self.timelines.silence(gap))
        decoded = decode(events, p, table, threads, self.vocabulary, usual=self.usual, silence=silence)
        steps = self.times.expected(gap, decoded.ids, beliefs)
        steps = self.times.stretched(gap, steps, (decoded.ids, decoded.threads), as_arrays(threads), self.rules)
        times = placed(gap, steps, decoded.threads, as_arrays(threads), nominal)
        tids = np.array([threads[t].tid for t in decoded.threads], np.int64)
        filled = Filled(gap, decoded.ids, tids, times, decoded.confidence, np.full(len(tids), -1))
        filled = self.weighed(filled, as_arrays(threads), events, p, believed)
        self.slow.remember(filled)
        self.weighing.remember(filled)
        return filled, unmet
