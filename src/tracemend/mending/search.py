"""The search for the likeliest fill among those that satisfy the constraints.

Axis legend: N hidden positions, M candidates, T threads (the window's slots, then threads with obligations only).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tracemend.mending.constraints import FREE, Rules, Threads
from tracemend.mending.durations import STATES
from tracemend.trace.events import ENTER, EXIT

if TYPE_CHECKING:
    from tracemend.mending.beam import Ending

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Decoded:
    """ids_N, threads_N (index into the threads), confidence_N."""

    ids: Ints
    threads: Ints
    confidence: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Manner:
    """How a fill is searched for.

    usual: ids of enters to fall back on where no candidate is allowed. width: ways that are followed at once. silence:
    of each state (``durations.Durations.by_state``), how likely nothing is seen of a thread until the next gap.
    """

    usual: Sequence[int] = ()
    width: int = 8
    silence: NDArray[np.float64] | None = None


USUAL = Manner()


def decode(
    events_NM: Ints,
    p_NM: NDArray[np.float32],
    threads_NT: NDArray[np.float32],
    threads: Threads,
    rules: Rules,
    manner: Manner = USUAL,
) -> Decoded:
    """The likeliest fill, by beam search, among those in which every thread alternates and ends as it must.

    events_NM, p_NM: candidates and probabilities; threads_NT: probability of each thread. Index 0 is the unknown
    thread: free on both sides and never absent, so there is always a fill of threads as ``drop_impossible`` leaves
    them. Raises IndexError for an id that is none.
    """
    from tracemend.mending import beam

    events_NM, p_NM = np.ascontiguousarray(events_NM, np.int64), np.ascontiguousarray(p_NM, np.float32)
    threads_NT = np.ascontiguousarray(threads_NT, np.float32)  # of another layout it would be compiled for once more
    if events_NM.max(initial=0) >= len(rules.phase):
        raise IndexError(f"no event has the id {events_NM.max()}")
    # nothing can be likelier than the likeliest event and thread of each position, if together they satisfy everything
    rows, top = np.arange(len(p_NM)), p_NM.argmax(axis=1)
    p = p_NM[rows, top]
    best = beam.Chosen(events_NM[rows, top], threads_NT.argmax(axis=1), p, p)
    ending = ending_of(threads_NT, threads, manner.silence)
    fits, pending = beam.each_by_itself(best, threads, rules, ending)
    if fits and (pending >= 0).any():
        # inside a call only its exit and events that are no system call were possible
        phase_NM = rules.phase[events_NM]
        possible = (events_NM == pending[:, None]) | ((phase_NM != ENTER) & (phase_NM != EXIT) & (events_NM >= 0))
        allowed = np.where(possible, p_NM, 0).sum(axis=1)
        sure = np.where((pending >= 0) & (allowed > 0), np.minimum(1, p / np.maximum(allowed, 1e-9)), p)
        best = best._replace(sure=sure.astype(np.float32))
    elif not fits:
        log_p = np.log(np.maximum(p_NM, 1e-9))
        log_t = np.log(np.maximum(threads_NT, np.exp(beam.FLOOR)))
        candidates = beam.Candidates(events_NM, p_NM, log_p, threads_NT, log_t)
        order = np.argsort(threads.last, kind="stable")
        best = beam.search(candidates, threads, ending, order, rules, np.array(manner.usual, np.int64), manner.width)
    return Decoded(best.ids, best.threads, beam.confidence(best, rules, len(threads.tids)))


def ending_of(threads_NT: NDArray[np.float32], threads: Threads, silence: NDArray[np.float64] | None) -> Ending:
    """What the silence behind a gap says of the threads of which nothing else is known there."""
    from tracemend.mending.beam import Ending

    asked = (threads.end == FREE) & (threads.last == len(threads_NT)) & (threads.tids >= 0)
    if silence is None or not asked.any():
        return Ending(np.zeros(STATES), np.zeros_like(threads_NT))
    later = np.cumsum(threads_NT[::-1], axis=0)[::-1] - threads_NT
    return Ending(silence, np.where(asked, np.exp(-later), 0).astype(np.float32, order="C"))
