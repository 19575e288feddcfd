"""The search for the likeliest fill among those that satisfy the constraints.

Axis legend: N hidden positions, M candidates, T threads (the window's slots, then threads with obligations only).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracemend.mending.constraints import (
    CLOSED,
    ENDED,
    FREE,
    UNSEEN,
    Thread,
    need,
    state_after,
    still_fits,
    without_exit,
)
from tracemend.trace.events import ENTER, EXIT
from tracemend.trace.vocabulary import Vocabulary

#: Log-probability of what no candidate speaks for.
FLOOR = -14.0


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
                    wanted = need(after, ends[t])
                    rest = total - needs[t] + wanted
                    if rest > left:
                        continue
                    if not anywhere and rest and not still_fits(threads, [*needs[:t], wanted, *needs[t + 1 :]], i + 1):
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
