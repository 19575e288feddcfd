"""The beam search, compiled.

Every index is in range: ``search.decode`` refuses ids that the vocabulary doesn't have, states are ids or out of the
``rules``, and there are as many threads as the tables of beliefs have columns.

Axis legend: N hidden positions, M candidates, T threads, W beams.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracemend.compiled import compiled
from tracemend.mending.constraints import CLOSED, ENDED, FREE, UNSEEN, Rules, Threads
from tracemend.mending.room import NEVER, need
from tracemend.trace.events import ENTER, EXIT

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

#: Log-probability of what no candidate speaks for, and its probability.
FLOOR, LITTLE = -14.0, 0.02
#: An end is well possible if it has no less than this as logarithm.
WELL_POSSIBLE = -1.5


class Candidates(NamedTuple):
    """Events (N, M), -1 where there are fewer, with their probabilities and the logarithms of these; the threads'
    probabilities (N, T) and the logarithms of these."""

    events: Ints
    p: Floats
    log_p: Floats
    threads: Floats
    log_t: NDArray[np.float64]


class Ending(NamedTuple):
    """How likely threads do nothing for as long as nothing is seen of them behind the gap: as a logarithm by state
    (V + STATES, those below 0 from the end), and how sure it is that a thread has nothing more to do in the gap behind
    each position (N, T); 0: nothing is known of it."""

    silence: NDArray[np.float64]
    last: Floats


class Chosen(NamedTuple):
    """A fill (N,): ids, indices of threads, p, and p if the enter that an exit closes is right."""

    ids: Ints
    threads: Ints
    p: Floats
    sure: Floats


@compiled
def silent_for(ending: Ending, state: int) -> float:
    """How likely the silence behind the gap is of a thread in this state, as a logarithm."""
    return float(ending.silence[state if state >= 0 else len(ending.silence) + state])


@compiled
def each_by_itself(chosen: Chosen, threads: Threads, rules: Rules, ending: Ending) -> tuple[bool, Ints]:
    """Do these events satisfy everything, and is the end well possible? And the exit (N,) that was pending for each
    event's thread, -1 if none."""
    states = threads.begin.copy()
    pending = np.full(len(chosen.ids), -1, np.int64)
    for i in range(len(chosen.ids)):
        event, t = chosen.ids[i], chosen.threads[i]
        state = states[t]
        if event < 0 or state == ENDED or not threads.first[t] <= i < threads.last[t]:
            return False, pending
        phase = rules.phase[event]
        if phase == ENTER and state >= 0:
            return False, pending
        if phase == EXIT and not (state in (FREE, UNSEEN) or (state >= 0 and rules.partner[state] == event)):
            return False, pending
        if state >= 0:
            pending[i] = rules.partner[state]
        if phase in (ENTER, EXIT):
            states[t] = FREE if t == 0 and rules.after[event] == ENDED else rules.after[event]
    for t in range(len(states)):
        if need(states[t], threads.end[t]):
            return False, pending
        if len(pending) and ending.last[-1, t] * silent_for(ending, states[t]) < WELL_POSSIBLE:
            return False, pending
    return True, pending


@compiled
def confidence(chosen: Chosen, rules: Rules, T: int) -> Floats:
    """Belief in each event: its own probability, or, if that is more, its probability given the enter that it closes
    times the belief in that enter (1 if that survived)."""
    enter_T = np.ones(T, np.float32)
    result = chosen.p.copy()
    for i in range(len(result)):
        t, phase = chosen.threads[i], rules.phase[chosen.ids[i]]
        if phase == EXIT:
            result[i] = max(chosen.p[i], np.float32(chosen.sure[i] * enter_T[t]))
            enter_T[t] = 1
        elif phase == ENTER:
            enter_T[t] = chosen.p[i]
    return result


@compiled
def _room_left(at: int, needs_T: Ints, threads: Threads, order: Ints, spare: Ints) -> None:
    """How many more events threads may need from position ``at`` on, by the place that their last position has among
    all (``order``): spare[0, k] by those before place k, spare[1, k] by those from there on.

    Whoever may take part at the position before is bound to a stretch that begins here, and no stretch that begins
    later has lost room: of Hall's condition this is all that can break.
    """
    T = len(order)
    total, least = 0, NEVER
    for k in range(T):
        spare[0, k] = least
        total += needs_T[order[k]]
        spare[1, k] = max(0, threads.last[order[k]] - at) - total
        least = min(least, spare[1, k])
    for k in range(T - 2, -1, -1):
        spare[1, k] = min(spare[1, k], spare[1, k + 1])


@compiled
def likeliest(p_T: Floats, found: Ints) -> int:
    """The three likeliest threads, the first ones among equals, into ``found``; how many there are."""
    n = min(3, len(p_T))
    for k in range(n):
        best = -1
        for t in range(len(p_T)):
            if (k and t == found[0]) or (k > 1 and t == found[1]):
                continue
            if best < 0 or p_T[t] > p_T[best]:
                best = t
        found[k] = best
    return n


class Options(NamedTuple):
    """Events that are possible, with the logarithms of their probabilities and these."""

    events: Ints
    log_p: NDArray[np.float64]
    p: NDArray[np.float64]


@compiled
def possible(i: int, candidates: Candidates, rules: Rules, row: Options) -> tuple[int, float]:
    """The candidates of a position that are worth a try, into ``row``: how many, and what the exits among them have."""
    m, exits = 0, 0.0
    for k in range(candidates.events.shape[1]):
        event, p = candidates.events[i, k], float(candidates.p[i, k])
        if event >= 0 and p > 1e-6:
            row.events[m], row.log_p[m], row.p[m] = event, candidates.log_p[i, k], p
            m += 1
            if rules.phase[event] == EXIT:
                exits += p
    return m, exits


@compiled
def options_of(
    state: int, end: int, row: Options, some: tuple[int, float], rules: Rules, usual: Ints, own: Options
) -> int:
    """What of a position's candidates (``possible``'s) a thread can do, and what it may have to, into ``own``."""
    m, exits = some
    n = 0
    # a pending call: its own exit, or an event that is no system call
    must = rules.partner[state] if state >= 0 else end
    missing = must >= 0
    for k in range(m):
        event = row.events[k]
        phase = rules.phase[event]
        if event == must:
            missing = False
        if state >= 0:
            if event != must and phase in (ENTER, EXIT):
                continue
        elif state == CLOSED and phase == EXIT:
            continue
        own.events[n], own.log_p[n], own.p[n] = event, row.log_p[k], row.p[k]
        n += 1
    if missing:
        own.events[n], own.log_p[n], own.p[n] = must, FLOOR, max(LITTLE, exits * 0.1) if state >= 0 else LITTLE
        n += 1
    if n == 0 and state < 0:
        for event in usual:
            own.events[n], own.log_p[n], own.p[n] = event, FLOOR, LITTLE
            n += 1
    return n


class Kept(NamedTuple):
    """The best ways on so far, best first (W,): the beam that each goes on from, its event, thread and the state of
    that after it."""

    score: NDArray[np.float64]
    beam: Ints
    event: Ints
    thread: Ints
    after: Ints
    p: NDArray[np.float64]
    sure: NDArray[np.float64]


@compiled
def _same(kept: Kept, n: int, event: int, states: Ints, way: tuple[int, int, int]) -> int:
    """Which of the n kept ways has the same event and leads to the same states as a beam on which a thread is in some
    state after it; n if none does."""
    beam, t, after = way
    for j in range(n):
        other, same = kept.beam[j], kept.event[j] == event
        for k in range(states.shape[1] if same else 0):
            a = kept.after[j] if k == kept.thread[j] else states[other, k]
            if a != (after if k == t else states[beam, k]):
                same = False
                break
        if same:
            return j
    return n


@compiled
def better(scores: NDArray[np.float64], n: int, score: float) -> int:
    """How many of n ways, the best first, are as good as one with this score."""
    at = n
    while at and score > scores[at - 1]:
        at -= 1
    return at


@compiled
def place(reals: NDArray[np.float64], ints: Ints, at: int, same: int, n: int) -> int:
    """Make room for a way behind ``at`` of n others, each a column (R, W) of numbers and of whole ones. same: which of
    these leads to the same (n: none). It goes, and else the last one if there is no room. Returns how many there are
    then."""
    width = reals.shape[1]
    for j in range(min(same, width - 1), at, -1):
        for k in range(len(reals)):
            reals[k, j] = reals[k, j - 1]
        for k in range(len(ints)):
            ints[k, j] = ints[k, j - 1]
    return int(min(n + (same == n), width))


@compiled
def _tries(likely: Ints, total: int, needs_T: Ints, tries: Ints) -> int:
    """The threads to try, each once, into ``tries``: the likeliest, the unknown one, and all that need something."""
    n = len(likely)
    for k in range(n):
        tries[k] = likely[k]
    unknown = True
    for k in range(n):
        unknown &= likely[k] != 0
    if unknown:
        tries[n] = 0
        n += 1
    if total:
        for t in range(1, len(needs_T)):
            new = needs_T[t] > 0
            for k in range(len(likely)):
                new &= likely[k] != t
            if new:
                tries[n] = t
                n += 1
    return n


@compiled
def search(
    candidates: Candidates, threads: Threads, ending: Ending, order: Ints, rules: Rules, usual: Ints, width: int
) -> Chosen:
    """The likeliest fill by beam search. order: the threads in order of their last positions. Raises ValueError where
    no fill is possible.

    What each thread's state says of the silence behind the gap counts as far as the thread is through already: so ways
    to an end that is possible are kept.
    """
    N, M = candidates.events.shape
    T = len(threads.begin)
    place_T = np.empty(T, np.int64)
    for k in range(T):
        place_T[order[k]] = k
    many = M + 1 + len(usual)
    row = Options(np.empty(many, np.int64), np.empty(many), np.empty(many))
    own = Options(np.empty(many, np.int64), np.empty(many), np.empty(many))
    reals, ints = np.empty((3, width)), np.empty((4, width), np.int64)
    kept = Kept(reals[0], ints[0], ints[1], ints[2], ints[3], reals[1], reals[2])
    states, after_states = np.empty((width, T), np.int64), np.empty((width, T), np.int64)
    for t in range(T):
        states[0, t] = threads.begin[t]
    scores = np.zeros(width)
    needs_T, tries, likely = np.empty(T, np.int64), np.empty(T, np.int64), np.empty(3, np.int64)
    spare = np.empty((2, T), np.int64)
    # the ways taken at each position
    from_NW, ids_NW = np.empty((N, width), np.int16), np.empty((N, width), np.int32)
    threads_NW, p_NW = np.empty((N, width), np.int32), np.empty((N, width), np.float32)
    sure_NW = np.empty((N, width), np.float32)
    beams = 1
    for i in range(N):
        some = possible(i, candidates, rules, row)
        first_ones = likely[: likeliest(candidates.threads[i], likely)]
        n = 0
        for beam in range(beams):
            total, silent = 0, 0.0
            for t in range(T):
                needs_T[t] = need(states[beam, t], threads.end[t])
                total += needs_T[t]
                if ending.last[i, t] > 0:
                    silent += ending.last[i, t] * silent_for(ending, states[beam, t])
            _room_left(i + 1, needs_T, threads, order, spare)
            for t in tries[: _tries(first_ones, total, needs_T, tries)]:
                state = states[beam, t]
                if state == ENDED or not threads.first[t] <= i < threads.last[t] or spare[0, place_T[t]] < 0:
                    continue
                options = options_of(state, threads.end[t], row, some, rules, usual, own)
                allowed = 0.0
                for k in range(options):
                    allowed += own.p[k]
                if allowed == 0:
                    allowed = 1.0
                for k in range(options):
                    event = own.events[k]
                    after = rules.after[event] if rules.phase[event] in (ENTER, EXIT) else state
                    if t == 0 and after == ENDED:  # another unknown thread can take its place
                        after = FREE
                    if need(after, threads.end[t]) - needs_T[t] > spare[1, place_T[t]]:
                        continue
                    score = scores[beam] + silent + own.log_p[k] + candidates.log_t[i, t]
                    if after != state and ending.last[i, t] > 0:
                        score += ending.last[i, t] * (silent_for(ending, after) - silent_for(ending, state))
                    at = better(kept.score, n, score)
                    if at == width:
                        continue
                    same = _same(kept, n, event, states, (beam, t, after))
                    if same < at:
                        continue
                    n = place(reals, ints, at, same, n)
                    kept.score[at], kept.beam[at], kept.event[at] = score, beam, event
                    kept.thread[at], kept.after[at], kept.p[at] = t, after, own.p[k]
                    kept.sure[at] = min(1.0, own.p[k] / allowed) if state >= 0 else own.p[k]
        if n == 0:
            raise ValueError("no fill satisfies the constraints")
        for j in range(n):
            for t in range(T):
                after_states[j, t] = states[kept.beam[j], t]
            after_states[j, kept.thread[j]] = kept.after[j]
            scores[j] = kept.score[j]
            for t in range(T):
                if ending.last[i, t] > 0:
                    scores[j] -= ending.last[i, t] * silent_for(ending, after_states[j, t])
            from_NW[i, j], ids_NW[i, j], threads_NW[i, j] = kept.beam[j], kept.event[j], kept.thread[j]
            p_NW[i, j], sure_NW[i, j] = kept.p[j], kept.sure[j]
        states, after_states = after_states, states
        beams = n
    best = Chosen(np.empty(N, np.int64), np.empty(N, np.int64), np.empty(N, np.float32), np.empty(N, np.float32))
    beam = 0
    for i in range(N - 1, -1, -1):
        best.ids[i], best.threads[i] = ids_NW[i, beam], threads_NW[i, beam]
        best.p[i], best.sure[i] = p_NW[i, beam], sure_NW[i, beam]
        beam = from_NW[i, beam]
    return best
