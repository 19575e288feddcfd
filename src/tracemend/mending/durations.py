"""How long calls take, and how long threads do without: how likely a thread does nothing for so long.

What the trace itself shows counts most. Where it shows little, the recordings that ship as examples are asked
(durations.json, made by scripts/fit_durations.py).

Axis legend: E calls' enters and exits that survived, by thread and time; V vocabulary, N positions of a gap.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from importlib import resources
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracemend.mending.constraints import ENDED, FREE, UNSEEN, Rules, Threads
from tracemend.trace.events import ENTER, EXIT, Gap
from tracemend.trace.vocabulary import OTHER, Vocabulary

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

#: Durations are told apart by so many steps for each doubling, from a nanosecond to some hours.
STEPS, LONGEST = 4, 4 * 45
#: States that are no pending call: their rows stand behind those of the vocabulary, in order from UNSEEN to CLOSED.
STATES = 4
#: A duration counts only if no more of it than this was lost on the cpus of its ends: else it may have been two.
LOST = 0.5
#: What the examples show counts as so many durations of the trace, and all calls' as so many of one call.
EXAMPLES, SHARED = 3.0, 1.0
#: The share of what nobody has seen.
NEVER_SEEN = 1e-4
#: Under which name the times between calls stand among those of calls.
BETWEEN = ""


class Spans(NamedTuple):
    """States of threads that lasted (each (E,)): from when, which, and how long; -1: nobody knows."""

    times: Ints
    states: Ints
    lasted: Ints


def step_of(duration_ns: Floats | Ints) -> Ints:
    """Durations in ns as whole numbers from 0, on a logarithmic scale."""
    return np.asarray(np.minimum(STEPS * np.log2(np.maximum(duration_ns, 1)), LONGEST - 1), np.int64)


def counted(spans: Spans, size: int) -> Floats:
    """How many spans of each state reach each step of the scale (V + STATES, LONGEST). size: of the vocabulary."""
    known = spans.lasted >= 0
    states = spans.states[known]
    kinds = np.where(states >= 0, states, size + STATES + states)
    seen = np.bincount(kinds * LONGEST + step_of(spans.lasted[known]), minlength=(size + STATES) * LONGEST)
    return np.cumsum(seen.reshape(-1, LONGEST)[:, ::-1], axis=1)[:, ::-1].astype(float)


@cache
def _shipped() -> dict[str, list[int]]:
    text = (resources.files("tracemend.mending") / "durations.json").read_text()
    found: dict[str, list[int]] = json.loads(text)
    return found


def _examples(vocabulary: Vocabulary) -> Floats:
    """The same of the examples."""
    reach = np.zeros((len(vocabulary) + STATES, LONGEST))
    for name, seen in _shipped().items():
        row = vocabulary.id(name, ENTER) if name != BETWEEN else -1
        if row != OTHER:
            reach[row, : len(seen)] = seen
    return reach


class Durations:
    """How likely a thread is silent for long, by the state that it is in.

    log_tail (V + STATES, LONGEST): the logarithm of the share of durations that reach each step of the scale; row s is
    of the pending call s, row s from the end of the state s below 0.
    """

    def __init__(self, spans: Spans, vocabulary: Vocabulary) -> None:
        size = len(vocabulary)
        known = _examples(vocabulary)
        calls = known[:size].sum(axis=0)
        shared = (calls + NEVER_SEEN) / (calls[0] + 1)
        known = (known + SHARED * shared) / (known[:, :1] + SHARED)
        reach = counted(spans, size)
        self.log_tail = np.log((reach + EXAMPLES * known) / (reach[:, :1] + EXAMPLES))
        for state in (FREE, UNSEEN, ENDED):  # nothing is known of them, and who has ended is silent
            self.log_tail[state] = 0

    def by_state(self, duration_ns: int) -> Floats | None:
        """How likely a thread in each state (V + STATES) does nothing for so long, as a logarithm; None for no time."""
        if duration_ns <= 0:
            return None
        return np.ascontiguousarray(self.log_tail[:, step_of(np.array([duration_ns]))[0]])

    def silence(self, states: Ints, duration_ns: float) -> Floats:
        """How likely threads in these states do nothing for so long, as a logarithm."""
        return np.asarray(self.log_tail[states, step_of(np.array([duration_ns]))[0]])

    def through(self, ids: Ints, chosen: Ints, threads: Threads, rules: Rules, duration_ns: float) -> Floats:
        """How likely nobody did anything for so long in each step of a fill, from that before its first event to that
        behind its last one (N + 1,), as a logarithm, but for what is the same in all steps. chosen (N,): indices of
        threads."""
        calls = np.flatnonzero(rules.phase[ids] <= EXIT)
        order = calls[np.argsort(chosen[calls], kind="stable")]
        who = chosen[order]
        first = np.append(True, who[1:] != who[:-1])[: len(who)]
        states = rules.after[ids[order]]
        before = np.where(first, threads.begin[who], np.append(-1, states[:-1])[: len(who)])
        change = self.silence(states, duration_ns) - self.silence(before, duration_ns)
        known = threads.tids[who] >= 0
        steps = np.zeros(len(ids) + 1)
        np.add.at(steps, order[known] + 1, change[known])
        return np.cumsum(steps)


def lasting(times: Ints, cpus: Ints, goes_on: NDArray[np.bool_], gaps: Iterable[Gap]) -> Ints:
    """How long what is between events (E,) and the next ones lasted; -1 where that doesn't count (``goes_on``), or too
    much was lost there."""
    took = np.append(np.diff(times), 0)[: len(times)]
    lasts = goes_on.copy()
    lasts[-1:] = False
    by_cpu: dict[int, list[tuple[int, int]]] = {}
    for gap in gaps:
        by_cpu.setdefault(gap.cpu, []).append((gap.begin_ns, gap.end_ns))
    for cpu, spans in by_cpu.items():
        edges = np.maximum.accumulate(np.array(sorted(spans), np.int64).ravel()).reshape(-1, 2)  # they may overlap
        gone = np.append(0, np.cumsum(edges[:, 1] - edges[:, 0]))
        lost = np.interp(times, edges.ravel(), np.stack([gone[:-1], gone[1:]], axis=1).ravel())
        here = np.flatnonzero((cpus == cpu) | (np.append(cpus[1:], -1)[: len(cpus)] == cpu))
        lasts[here] &= np.append(np.diff(lost), 0)[here] <= LOST * took[here]
    return np.where(lasts, took, -1)
