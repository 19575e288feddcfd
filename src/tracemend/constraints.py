"""What a fill must satisfy, and the search for the likeliest fill that does.

A thread is in one place at a time: between two of its events on other cpus it may run on this one. Its system calls
alternate: an enter is followed by the exit of the same call. What survives on both sides of a gap says how each thread
goes in (a call pending or not) and how it must come out.

Axis legend: N hidden positions, M candidates, T threads (the window's slots, then threads with obligations only).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tracemend.events import ENTER, EXIT
from tracemend.syscalls import LAST_CALLS, SIGNAL_RETURNS
from tracemend.vocabulary import OTHER, Vocabulary

#: States of a thread besides the id of the pending enter (which is never negative). FREE: it may go on with anything;
#: UNSEEN: the same, and nobody knows what it did before, so it may already be as it must be behind the gap.
CLOSED, FREE, ENDED, UNSEEN = -1, -2, -3, -4
#: Log-probability of what no candidate speaks for.
FLOOR = -14.0


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


@dataclass(slots=True)
class _Beam:
    score: float
    states: list[int]
    path: tuple[object, ...]  # (event, thread, p, p if its enter is right, path so far): beams share their past


@dataclass(frozen=True, slots=True)
class Decoded:
    """ids_N, threads_N (index into the threads), confidence_N."""

    ids: NDArray[np.int64]
    threads: NDArray[np.int64]
    confidence: NDArray[np.float32]


def decode(
    events_NM: NDArray[np.int64],
    p_NM: NDArray[np.float32],
    threads_NT: NDArray[np.float32],
    threads: Sequence[Thread],
    vocabulary: Vocabulary,
    *,
    usual: Sequence[int] = (),
    width: int = 8,
) -> Decoded:
    """The likeliest fill, by beam search, among those in which every thread alternates and ends as it must.

    events_NM, p_NM: candidates and probabilities; threads_NT: probability of each thread. Index 0 is the unknown
    thread: free on both sides and never absent, so there is always a fill once ``drop_impossible`` was asked.
    ``usual``: ids of enters to fall back on where no candidate is allowed.
    """
    phase, partner = vocabulary.phase, vocabulary.partner
    unusual = without_exit(vocabulary)
    N, T = threads_NT.shape
    best = _best_of_each(events_NM, p_NM, threads_NT, threads, vocabulary, unusual)
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
                    rest = total - needs[t] + need(after, ends[t])
                    if rest > left:
                        continue
                    if not anywhere and rest and not _still_fits(states, needs, t, after, ends, firsts, lasts, i + 1):
                        continue
                    sure = min(1.0, p / allowed) if state >= 0 else p
                    expanded.append((beam.score + lp + log_t[i][t], beam, event, t, after, p, sure))
        expanded.sort(key=lambda x: -x[0])
        beams, seen = [], set()
        for score, beam, event, t, after, p, sure in expanded:
            states = beam.states.copy()
            states[t] = after
            key = (event, *states)
            if key in seen:
                continue
            seen.add(key)
            beams.append(_Beam(score, states, (event, t, p, sure, beam.path)))
            if len(beams) == width:
                break
    ids, chosen = np.empty(N, np.int64), np.empty(N, np.int64)
    plain, given = np.empty(N, np.float32), np.empty(N, np.float32)
    path = beams[0].path
    for i in range(N - 1, -1, -1):
        ids[i], chosen[i], plain[i], given[i], path = path  # type: ignore[call-overload,assignment]
    return Decoded(ids, chosen, _confidence(ids, chosen, plain, given, vocabulary))


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


def _still_fits(
    states: list[int],
    needs: list[int],
    moved: int,
    after: int,
    ends: list[int],
    firsts: list[int],
    lasts: list[int],
    at: int,
) -> bool:
    bound = []
    total, shortest = 0, 1 << 60
    for t, before in enumerate(needs):
        n = need(after, ends[t]) if t == moved else before
        if n:
            first = max(firsts[t], at)
            bound.append((first, lasts[t], n))
            total += n
            shortest = min(shortest, lasts[t] - first)
    # where every single stretch has room for all that is needed there is nothing more to look at
    return shortest >= total or _room(bound, at)
