"""A two-sided n-gram bridge: what the events on both sides of a gap make likely, position by position.

Axis legend: R runs (gaps), W hypotheses of a run (the beam), C contexts of the model, V distinct ids, Q extensions of
a run's hypotheses that are looked at, M queries, N hidden positions; B windows of L positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracemend.menders.base import CANDIDATES, Proposal, Proposer
from tracemend.menders.contexts import Contexts
from tracemend.menders.runs import Run, by_runs, likeliest
from tracemend.trace.vocabulary import OTHER
from tracemend.trace.windows import Stream, Window

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

#: The look-ahead sees contexts of so many events, and this far: from there on it hardly changes.
AHEAD, REACH = 2, 256
#: Numbers that a chunk of runs may hold at once.
ROOM = 1 << 23
TINY = 1e-290


@dataclass(frozen=True, slots=True)
class _Step:
    """One position of the lattice: its hypotheses' weights (R, W), and its edges (R, Q) to those of the next one."""

    weight_RW: Floats
    parent_RQ: Ints
    event_RQ: Ints
    p_RQ: Floats
    dest_RQ: Ints


class NGram(Proposer):
    """Interpolated n-gram model of the training streams, decoded under the known events on both sides.

    p(v | h) = (c(hv) + T(h) p(v | h')) / (c(h) + T(h)), h' = h without its oldest event, T(h) = how many distinct
    events followed h (Witten and Bell 1991, method C; in the interpolated form that Chen and Goodman 1999 give for it),
    down to the empty context, under which lies the uniform distribution.

    A beam runs over a gap's positions from the left. Hypotheses that the model can't tell apart any more (the same
    longest known context) are one, with the sum of their probabilities, so the beam is a lattice. What is kept is
    decided by weight times look-ahead: the probability of the events after the gap at their exact distance, under the
    model cut to contexts of AHEAD events. Beliefs are the lattice's marginals, with the ``order`` - 1 events after the
    gap (forward-backward, Rabiner 1989, eq. 27): exact as long as no hypothesis fell out of the beam. Where both sides
    are known the look-ahead hardly matters; where only the right one is, the beam would be blind without it.
    """

    name = "n-gram"

    def __init__(self, streams: Sequence[Stream], *, order: int = 8, width: int = 32) -> None:
        """order: events of the longest n-gram. width: hypotheses that are kept at each position of a gap."""
        self.order, self.width = order, width
        self.model = model = Contexts(streams, order - 1)
        types = np.diff(model.start_C)
        #: p(v | h) = own_E of the pair, if there is one, + back_C[h] p(v | h')
        self.back_C: Floats = types / np.maximum(model.total_C + types, 1)
        self.own_E: Floats = model.count_E / np.repeat(np.maximum(model.total_C + types, 1), types)
        if not len(model.ids_V):
            return
        self._ahead_tables()

    def _ahead_tables(self) -> None:
        """The model cut to contexts of AHEAD events: its pairs come first, and lead to the longest of its contexts."""
        model, v = self.model, len(self.model.ids_V)
        self.ahead_contexts = int(np.searchsorted(model.length_C, AHEAD, "right"))
        last = np.zeros(len(model.length_C), np.int64)  # the latest event of each context, V for the empty one
        last[model.goto_E] = model.event_E
        last[0] = v
        self.last_C = last
        goto = model.goto_E[: model.start_C[self.ahead_contexts]].copy()
        self.ahead_goto = self._cut(goto)
        single = np.zeros(v + 1, np.int64)  # the context of one event (or none)
        ones = np.flatnonzero(model.length_C == 1)
        single[last[ones]] = ones
        every = np.repeat(single, v), np.tile(np.arange(v), v + 1)
        #: context of at most AHEAD = 2 events after (latest event, next event)
        self.near_VV: Ints = self._cut(model.step(*every)).reshape(v + 1, v)

    def _cut(self, context_M: Ints) -> Ints:
        context = context_M.copy()
        while (long := self.model.length_C[context] > AHEAD).any():
            context[long] = self.model.shorter_C[context[long]]
        return context

    def propose(self, windows: Sequence[Window], seed: int = 0) -> list[Proposal]:
        """Deterministic: ``seed`` isn't used."""
        return by_runs(windows, self._fill)

    def _fill(self, runs: Sequence[Run]) -> list[tuple[Ints, NDArray[np.float32]]]:
        if not len(self.model.ids_V):
            return [likeliest(np.full((len(run), 1), 0.05), np.array([OTHER])) for run in runs]
        filled: list[tuple[Ints, NDArray[np.float32]]] = [None] * len(runs)  # type: ignore[list-item]
        order = sorted(range(len(runs)), key=lambda i: -len(runs[i]))
        while order:
            n = len(runs[order[0]])
            each = max(
                min(n, REACH) * self.ahead_contexts, 8 * n * self.width * 3, self.width * len(self.model.ids_V) * 2
            )
            chunk, order = order[: max(1, ROOM // each)], order[max(1, ROOM // each) :]
            for i, part in zip(chunk, self._bridge([runs[i] for i in chunk]), strict=True):
                filled[i] = part
        return filled

    # ------------------------------------------------------------------ the model

    def p(self, context_M: Ints, event_M: Ints, among: int = 0) -> Floats:
        """p(event | context) of single pairs.

        among: how many ids the uniform distribution under the empty context is over. If it isn't given: those that were
        seen, and an event that never was has 1, since it tells hypotheses not apart.
        """
        model = self.model
        total, scale = np.zeros(len(context_M)), np.ones(len(context_M))
        rated = (event_M >= 0) | (among > 0)
        todo, context = np.flatnonzero(rated), context_M.copy()
        while len(todo):
            at = model.pair(context[todo], event_M[todo])
            total[todo] += np.where(at >= 0, scale[todo] * self.own_E[at], 0)
            scale[todo] *= self.back_C[context[todo]]
            empty = context[todo] == 0
            total[todo[empty]] += scale[todo[empty]] / (among or len(model.ids_V))
            todo = todo[~empty]
            context[todo] = model.shorter_C[context[todo]]
        return np.where(rated, total, 1.0)

    def bits(self, ids_BL: Ints, known_BL: NDArray[np.bool_], among: int) -> Floats:
        """Mean -log2 p(event | what stands before it in the window) of the events where ``known_BL`` is False, (B,).

        In bits an event: the cross-entropy by which Chen and Goodman (1999) compare models, here of one model to
        compare events by. Contexts begin anew behind a BREAK. among: of ``p``, how many different ids there can be.
        """
        hidden_BL = ~known_BL
        at = np.flatnonzero(hidden_BL.any(axis=0))
        total, state = np.zeros(len(ids_BL)), np.zeros(len(ids_BL), np.int64)
        for column in range(max(0, at[0] - self.model.longest), at[-1] + 1) if len(at) else ():
            event = self.model.encode(ids_BL[:, column])
            rows = np.flatnonzero(hidden_BL[:, column])
            total[rows] -= np.log2(self.p(state[rows], event[rows], among))
            state = self.model.step(state, event)
        return np.asarray(total / np.maximum(hidden_BL.sum(axis=1), 1))

    def distributions(self, context_M: Ints) -> Floats:
        """p(. | context), a row each."""
        model = self.model
        table = np.zeros((len(context_M), len(model.ids_V)))
        scale, context, rows = np.ones(len(context_M)), context_M.copy(), np.arange(len(context_M))
        while len(rows):
            row, pair = model.successors(context[rows])
            table[rows[row], model.event_E[pair]] += (scale[rows])[row] * self.own_E[pair]
            scale[rows] *= self.back_C[context[rows]]
            rows = rows[context[rows] > 0]
            context[rows] = model.shorter_C[context[rows]]
        return table + (scale / len(model.ids_V))[:, None]

    def _context(self, known: Sequence[Ints]) -> Ints:
        """The longest known context at the end of each sequence."""
        k = self.model.longest
        state = np.zeros(len(known), np.int64)
        tails = np.full((len(known), k), -1, np.int64)
        for i, ids in enumerate(known):
            tail = ids[max(len(ids) - k, 0) :]
            tails[i, k - len(tail) :] = self.model.encode(tail)
        for column in tails.T:
            state = self.model.step(state, column)
        return state

    # ------------------------------------------------------------------ the bridge

    def _bridge(self, runs: Sequence[Run]) -> list[tuple[Ints, NDArray[np.float32]]]:
        """Runs in order of falling length: all end at the same step."""
        model, v = self.model, len(self.model.ids_V)
        length = np.array([len(r) for r in runs])
        right = np.full((len(runs), self.order - 1), -1, np.int64)
        for i, run in enumerate(runs):
            head = run.right[: self.order - 1]
            right[i, : len(head)] = model.encode(head)
        ahead, which = self._look_ahead(right, min(int(length[0]), REACH))
        start = self._context([r.left for r in runs])
        weight = np.zeros((len(runs), self.width))
        state = np.zeros((len(runs), self.width), np.int64)
        weight[:, 0], state[:, 0] = 1, start
        steps: list[_Step] = []
        for left in range(int(length[0]), 0, -1):
            active = int(np.searchsorted(-length, -left, "right"))
            guide = ahead[min(left - 1, len(ahead) - 1)][which[:active]]
            step, weight[:active], state[:active] = self._extend(weight[:active], state[:active], guide)
            steps.append(step)
        beta = np.ones(weight.shape)
        for column in right.T:
            event = np.repeat(column, self.width)
            beta *= self.p(state.ravel(), event).reshape(beta.shape)
            state = model.step(state.ravel(), event).reshape(beta.shape)
        events = np.full((len(runs), length[0], CANDIDATES), -1, np.int64)
        p = np.zeros(events.shape, np.float32)
        for left, step in enumerate(reversed(steps), 1):
            active = len(step.weight_RW)
            beta = beta[:active]
            rows = np.arange(active)[:, None]
            onward = step.p_RQ * np.where(step.dest_RQ >= 0, beta[rows, step.dest_RQ], 0)
            share = step.weight_RW[rows, step.parent_RQ] * onward
            flat = (rows * v + step.event_RQ).ravel()
            table: Floats = np.bincount(flat, share.ravel(), active * v).reshape(active, v).astype(float)
            table /= np.maximum(table.sum(axis=1, keepdims=True), TINY)
            at = length[:active] - left
            events[rows[:, 0], at], p[rows[:, 0], at] = likeliest(table, model.ids_V)
            flat = (rows * self.width + step.parent_RQ).ravel()
            beta = np.bincount(flat, onward.ravel(), active * self.width).reshape(active, self.width).astype(float)
            beta /= np.maximum(beta.max(axis=1, keepdims=True), TINY)
        return [(events[i, :n], p[i, :n]) for i, n in enumerate(length.tolist())]

    def _extend(self, weight_RW: Floats, state_RW: Ints, guide_RC: Floats) -> tuple[_Step, Floats, Ints]:
        """One position further: the step, and the weights (largest 1) and contexts of the hypotheses behind it."""
        model, v, width = self.model, len(self.model.ids_V), self.width
        runs = len(weight_RW)
        rows = np.arange(runs)[:, None]
        distinct, which = np.unique(state_RW, return_inverse=True)
        table, which = self.distributions(distinct), which.reshape(state_RW.shape)
        near = self.near_VV[self.last_C[distinct]]
        score = weight_RW[:, :, None] * table[which] * guide_RC[rows[:, :, None], near[which]]
        score = score.reshape(runs, -1)
        most = min(4 * width, score.shape[1])
        chosen = np.argpartition(-score, most - 1, axis=1)[:, :most]
        parent, event = chosen // v, chosen % v
        p = table[which[rows, parent], event]
        weight = weight_RW[rows, parent] * p
        state = model.step(state_RW[rows, parent].ravel(), event.ravel())
        # what the model can't tell apart any more is one hypothesis
        key = np.repeat(np.arange(runs), most) * len(model.length_C) + state
        found, merged = np.unique(key, return_inverse=True)
        worth = np.bincount(merged, np.take_along_axis(score, chosen, 1).ravel())
        row = found // len(model.length_C)
        order = np.lexsort((-worth, row))
        rank = np.empty(len(found), np.int64)
        rank[order] = np.arange(len(found)) - np.searchsorted(row, row[order])
        keep = (rank < width) & (worth > 0)
        sums = np.bincount(merged, weight.ravel())
        new_weight, new_state = np.zeros((runs, width)), np.zeros((runs, width), np.int64)
        new_weight[row[keep], rank[keep]] = sums[keep]
        new_state[row[keep], rank[keep]] = found[keep] % len(model.length_C)
        new_weight /= np.maximum(new_weight.max(axis=1, keepdims=True), TINY)
        dest = np.where(keep, rank, -1)[merged].reshape(parent.shape)
        return _Step(weight_RW.copy(), parent, event, p, dest), new_weight, new_state

    def _look_ahead(self, right_RK: Ints, reach: int) -> tuple[list[Floats], Ints]:
        """For 0, 1, ... events until the gap's end: the probability (largest 1) of the first events after it, given
        each context (D, C) of at most AHEAD events; and which of the D each run is."""
        model = self.model
        heads, which = np.unique(right_RK[:, :AHEAD], axis=0, return_inverse=True)
        d, c = len(heads), self.ahead_contexts
        state, end = np.tile(np.arange(c), d), np.ones(d * c)
        for column in heads.T:
            event = np.repeat(column, c)
            end *= self.p(state, event)
            state = self._cut(model.step(state, event))
        beta: Floats = end.reshape(d, c)
        beta /= beta.max(axis=1, keepdims=True)
        messages = [beta]
        starts = model.start_C[:c]
        edges = np.searchsorted(model.length_C, np.arange(AHEAD + 2))
        for _ in range(reach):
            beta = np.add.reduceat(beta[:, self.ahead_goto] * self.own_E[: len(self.ahead_goto)], starts, axis=1)
            uniform = messages[-1][:, self.ahead_goto[: len(model.ids_V)]].mean(axis=1)
            beta[:, 0] += self.back_C[0] * uniform
            for k in range(1, AHEAD + 1):
                part = slice(edges[k], edges[k + 1])
                beta[:, part] += self.back_C[part] * beta[:, model.shorter_C[part]]
            beta /= beta.max(axis=1, keepdims=True)
            messages.append(beta)
        return messages, which.reshape(-1)
