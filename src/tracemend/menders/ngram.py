"""A two-sided n-gram bridge: what the events on both sides of a gap make likely, position by position.

Axis legend: C contexts of the model, V distinct ids, E pairs of both, M queries, N hidden positions; B windows of L
positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tracemend.menders.base import Proposal, Proposer
from tracemend.menders.contexts import Contexts
from tracemend.menders.runs import Run, by_runs, likeliest
from tracemend.trace.vocabulary import OTHER
from tracemend.trace.windows import Stream, Window

if TYPE_CHECKING:
    from tracemend.menders.bridging import Model

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

#: The look-ahead sees contexts of so many events, and this far: from there on it hardly changes.
AHEAD, REACH = 2, 256


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

    @cached_property
    def arrays(self) -> Model:
        """The model as loops take it, with what leads from context to context of at most AHEAD events."""
        from tracemend.menders.bridging import Model

        model, v = self.model, len(self.model.ids_V)
        last = np.zeros(len(model.length_C), np.int64)  # the latest event of each context, V for the empty one
        last[model.goto_E] = model.event_E
        last[0] = v
        single = np.zeros(v + 1, np.int64)  # the context of one event (or none)
        ones = np.flatnonzero(model.length_C == 1)
        single[last[ones]] = ones
        every = np.repeat(single, v), np.tile(np.arange(v), v + 1)
        near_VV = self._cut(model.step(*every)).reshape(v + 1, v)
        goto_A = self._cut(model.goto_E[: model.start_C[self.near]])
        whole = (model.shorter_C, model.start_C, model.event_E, model.goto_E, last, near_VV, goto_A)
        shorter, start, event, goto, last_C, near, cut = (
            x.astype(np.int32) for x in whole
        )  # half as much to go through
        chances = self.own_E, self.back_C
        short = 1 + len(ones), self._p_near(last)
        return Model(shorter, start, event, goto, *chances, last_C, *short, near, cut, model.longest)

    def _p_near(self, last_C: Ints) -> Floats:
        """p(v | u) of all events u (rows), and p(v) in a row behind them."""
        v, start = len(self.model.ids_V), self.model.start_C
        none = self.own_E[:v] + self.back_C[0] / v  # every event follows the empty context
        table = np.tile(none, (v + 1, 1))
        for c in range(1, int(np.searchsorted(self.model.length_C, 1, "right"))):
            table[last_C[c]] *= self.back_C[c]
            pairs = slice(start[c], start[c + 1])
            table[last_C[c], self.model.event_E[pairs]] += self.own_E[pairs]
        return table

    @cached_property
    def near(self) -> int:
        """How many contexts of at most AHEAD events there are; they come first."""
        return int(np.searchsorted(self.model.length_C, AHEAD, "right"))

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
        starts = self._context([run.left for run in runs])
        return [self._bridge(run, int(start)) for run, start in zip(runs, starts, strict=True)]

    def _bridge(self, run: Run, start: int) -> tuple[Ints, NDArray[np.float32]]:
        """start: the context before the run."""
        from tracemend.menders.bridging import bridge, look_ahead

        right = self.model.encode(run.right[: self.order - 1])
        guide = look_ahead(self.arrays, right[:AHEAD], self.near, min(len(run), REACH + 1))
        places, p = bridge(self.arrays, start, right, guide, len(run), self.width)
        return np.where(places >= 0, self.model.ids_V[places], -1), p.astype(np.float32)

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
