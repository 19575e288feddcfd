"""A finite-state automaton of the training streams: the most probable path of exactly so many events through a gap.

After Martin and Dagenais, who recover lost events of a kernel trace with a state machine of what the kernel can do;
here the machine is learnt.

Axis legend: R runs (gaps), Z states, E edges, D distinct right ends, V distinct ids, N hidden positions, M candidates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tracemend.menders.base import CANDIDATES, Proposal, Proposer
from tracemend.menders.contexts import Contexts
from tracemend.menders.runs import Run, by_runs, likeliest
from tracemend.trace.vocabulary import OTHER
from tracemend.trace.windows import Stream, Window

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

#: Numbers that a chunk of runs may hold at once.
ROOM = 1 << 23


class Machine:
    """States are the contexts of exactly ``tail`` events; an edge is an event seen behind one, by how often.

    The last V states are the ends of streams, one for each event that stood there: nothing goes on from them. log_E:
    log p(event | state), maximum likelihood. log_Z: log share of all places. Edges are sorted by their source.
    """

    def __init__(self, model: Contexts, tail: int) -> None:
        self.model, self.tail = model, tail
        states, v = np.flatnonzero(model.length_C == tail), len(model.ids_V)
        self.base, self.ends = int(states[0]), len(states)
        self.first = int(model.start_C[states[0]])
        edges = slice(self.first, int(model.start_C[states[-1] + 1]))
        self.start_Z: Ints = model.start_C[states] - self.first
        self.source_E: Ints = np.repeat(np.arange(self.ends), np.diff(model.start_C)[states])
        goto = model.goto_E[edges]
        while (long := model.length_C[goto] > tail).any():
            goto = np.where(long, model.shorter_C[goto], goto)
        event = model.event_E[edges]
        self.goto_E: Ints = np.where(model.length_C[goto] == tail, goto - self.base, self.ends + event)
        self.log_E: Floats = np.log(model.count_E[edges] / model.total_C[states][self.source_E])
        share = model.total_C[states] / model.total_C[states].sum()
        self.log_Z: Floats = np.append(np.log(share), np.full(v, -np.inf))
        self.event_E: Ints = event
        self.into = np.argsort(self.goto_E, kind="stable")
        self.targets, self.into_start = np.unique(self.goto_E[self.into], return_index=True)
        # states by their latest event; those that no edge leads to have no part in a gap
        latest = event[self.into[self.into_start]]
        self.sorted = self.targets[np.argsort(latest, kind="stable")]
        events, self.event_start = np.unique(np.sort(latest), return_index=True)
        self.events: Ints = events if tail else event
        #: for each number of events less, the context that a state ends with
        self.suffix: list[Ints] = [states]
        for _ in range(tail):
            self.suffix.append(model.shorter_C[self.suffix[-1]])

    def begin(self, left: Ints) -> Floats:
        """Log weights of the states (Z,) before a gap: those that end with as many of the known events as any does."""
        context = np.zeros(1, np.int64)
        for event in self.model.encode(left[max(len(left) - self.tail, 0) :]):
            context = self.model.step(context, np.array([event]))
        while (length := int(self.model.length_C[context[0]])) > self.tail:
            context = self.model.shorter_C[context]
        here = np.append(self.suffix[self.tail - length] == context[0], np.zeros(len(self.model.ids_V), bool))
        return np.where(here, self.log_Z, -np.inf)

    def finish(self, head: Ints) -> Floats:
        """Log p of the first ``tail`` events after a gap given each state (Z,); behind those all paths are alike."""
        total, state = np.zeros(len(self.log_Z)), np.arange(len(self.log_Z))
        for event in head.tolist():
            alive = np.flatnonzero(state < self.ends)
            edge = self.model.pair(state[alive] + self.base, np.full(len(alive), event)) - self.first
            alive, edge = alive[edge >= 0], edge[edge >= 0]
            step = np.full(len(total), -np.inf)
            step[alive] = self.log_E[edge]
            state[alive] = self.goto_E[edge]
            total += step
        return total

    def before(self, value_DZ: Floats) -> Floats:
        """One event earlier: the best path's log p from each state, given that from each state behind the event."""
        ahead = np.maximum.reduceat(value_DZ[:, self.goto_E] + self.log_E, self.start_Z, axis=1)
        return np.concatenate([ahead, np.full((len(ahead), len(self.model.ids_V)), -np.inf)], axis=1)

    def after(self, value_RZ: Floats) -> Floats:
        """One event later: the log p of the best path to each state."""
        along = (value_RZ[:, self.source_E] + self.log_E)[:, self.into]
        result = np.full(value_RZ.shape, -np.inf)
        result[:, self.targets] = np.maximum.reduceat(along, self.into_start, axis=1)
        return result

    def by_event(self, through_RZ: Floats) -> Floats:
        """The best log p of each of ``events``, from those of the states that a path may be in behind it."""
        if not self.tail:  # one state, whose latest event may be any: all positions are alike
            return np.tile(self.log_E, (len(through_RZ), 1))
        return np.maximum.reduceat(through_RZ[:, self.sorted], self.event_start, axis=1)

    def follow(self, state_R: Ints, value_RZ: Floats) -> Ints:
        """The best edge out of each state, given the best log p from each state behind it; of equals the first."""
        row, pair = self.model.successors(state_R + self.base)
        edge = pair - self.first
        score = self.log_E[edge] + value_RZ[row, self.goto_E[edge]]
        begin = np.searchsorted(row, np.arange(len(state_R)))
        best = np.flatnonzero(score == np.maximum.reduceat(score, begin)[row])
        return edge[best[np.searchsorted(row[best], np.arange(len(state_R)))]]


class Automaton(Proposer):
    """The most probable path of a learnt automaton through exactly as many events as were lost, by exact Viterbi.

    Viterbi (1967), in the order of dynamic programming from the gap's end (Bellman 1957): V_m(z) = max over the edges
    from z to z' of log p + V_(m-1)(z'), and V_0(z) = log p of the first known events after the gap. Only transitions
    that were seen in training are taken. Where no path of that length joins both sides, the events after the gap are
    let go, then the states are made shorter; the one state of no events has a path to everywhere. Beliefs are
    max-marginals: the probability of the best path through an event, as a share of the sum over all events at this
    position. So the best path's event comes first, of equals too.
    """

    name = "automaton"

    def __init__(self, streams: Sequence[Stream], *, tail: int = 3) -> None:
        """tail: events of a state."""
        model = Contexts(streams, tail)
        self.ids_V = model.ids_V
        lengths = range(int(model.length_C[-1]), -1, -1) if len(model.ids_V) else range(0)
        self.machines = [Machine(model, k) for k in lengths]

    def propose(self, windows: Sequence[Window], seed: int = 0) -> list[Proposal]:
        """Deterministic: ``seed`` isn't used."""
        return by_runs(windows, self._fill)

    def _fill(self, runs: Sequence[Run]) -> list[tuple[Ints, NDArray[np.float32]]]:
        if not len(self.ids_V):
            return [likeliest(np.full((len(run), 1), 0.05), np.array([OTHER])) for run in runs]
        filled: dict[int, tuple[Ints, NDArray[np.float32]]] = {}
        todo = sorted(range(len(runs)), key=lambda i: -len(runs[i]))
        for machine in self.machines:
            for whole in (True, False):
                rest, todo = todo, []
                each = max(len(machine.log_E), len(machine.log_Z) * 2 * math.isqrt(len(runs[rest[0]]))) if rest else 1
                size = max(1, ROOM // each)
                for a in range(0, len(rest), size):
                    chunk = rest[a : a + size]
                    for i, part in zip(chunk, self._paths(machine, [runs[i] for i in chunk], whole), strict=True):
                        if part is None:
                            todo.append(i)
                        else:
                            filled[i] = part
        return [filled[i] for i in range(len(runs))]

    def _paths(
        self, machine: Machine, runs: Sequence[Run], whole: bool
    ) -> list[tuple[Ints, NDArray[np.float32]] | None]:
        """Runs in order of falling length, so that all end at the same step; None where there is no path.

        whole: with the events after the gap.
        """
        length = np.array([len(r) for r in runs])
        heads = [tuple(machine.model.encode(r.right[: machine.tail if whole else 0]).tolist()) for r in runs]
        number = {head: d for d, head in enumerate(dict.fromkeys(heads))}
        which = np.array([number[head] for head in heads])
        last = np.stack([machine.finish(np.array(head, np.int64)) for head in number])
        begin = np.stack([machine.begin(r.left) for r in runs])
        forward, state = begin, np.zeros(len(runs), np.int64)
        possible = np.ones(len(runs), bool)
        events = np.full((len(runs), length[0], CANDIDATES), -1, np.int64)
        p = np.zeros(events.shape, np.float32)
        for left, value in _descending(last, machine.before, int(length[0])):
            active = int(np.searchsorted(-length, -left, "right"))
            done = int(np.searchsorted(-length, -(left + 1), "right"))  # had begun a step before
            if done:
                edge = machine.follow(np.where(possible[:done], state[:done], 0), value[which[:done]])
                state[:done] = machine.goto_E[edge]
                path = machine.event_E[edge]
                forward[:done] = machine.after(forward[:done])
                score = machine.by_event(forward[:done] + value[which[:done]])
                score[np.arange(done), np.searchsorted(machine.events, path)] += (
                    1e-9  # of equally good paths the one that is followed
                )
                top = score.max(axis=1, keepdims=True)
                table = np.exp(score - np.where(np.isfinite(top), top, 0))
                table /= np.maximum(table.sum(axis=1, keepdims=True), 1e-290)
                at = length[:done] - left - 1
                events[np.arange(done), at], p[np.arange(done), at] = likeliest(table, self.ids_V[machine.events])
            fresh = slice(done, active)
            if left and active > done:
                total = begin[fresh] + value[which[fresh]]
                state[fresh] = total.argmax(axis=1)
                possible[fresh] = np.isfinite(total.max(axis=1))
        return [(events[i, :n], p[i, :n]) if possible[i] else None for i, n in enumerate(length.tolist())]


def _descending(first: Floats, step: Callable[[Floats], Floats], n: int) -> Iterator[tuple[int, Floats]]:
    """(n, x_n), ..., (1, x_1), (0, x_0) of the sequence x_0 = first, x_(m+1) = step(x_m).

    Long ones are held at every sqrt(n)-th place only and computed a second time from there (checkpointing).
    """
    each = n + 1 if (n + 1) * first.size <= ROOM else math.isqrt(n)
    marks = [first]
    for m in range(1, n // each * each + 1):
        first = step(first)
        if m % each == 0:
            marks.append(first)
    for b in range(len(marks) - 1, -1, -1):
        block = [marks[b]]
        while len(block) < min(each, n + 1 - b * each):
            block.append(step(block[-1]))
        for k in range(len(block) - 1, -1, -1):
            yield b * each + k, block[k]
