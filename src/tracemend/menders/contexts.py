"""Every short context of the training streams with what followed it, as one automaton with back-off links.

Axis legend: S positions of the streams, V distinct ids, C contexts (nodes), E pairs of a context and an event that
followed it, M queries.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tracemend.trace.vocabulary import BREAK, MASK
from tracemend.trace.windows import Stream

Ints = NDArray[np.int64]

#: Where a stream of ``Contexts.encode`` is interrupted, and what stands for an id that was never seen.
NOTHING = -1


class Contexts:
    """Contexts of 0 to ``longest`` events that were followed by something; none goes over a BREAK or a stream's end.

    Contexts are numbered by their length, the empty one is 0. ids_V: the distinct ids; all events below are places in
    it. shorter_C: the context without its oldest event. length_C. Pairs are sorted by context, those of context c are
    start_C[c] to start_C[c + 1]: event_E, count_E, and goto_E, the longest context that ends with both. total_C: how
    often a context was followed by anything.
    """

    def __init__(self, streams: Sequence[Stream], longest: int) -> None:
        self.longest = longest
        cut = np.full(1, BREAK, np.int64)
        ids = np.concatenate([cut, *(x for s in streams for x in (s.ids, cut))]).astype(np.int64)
        self.ids_V: Ints = np.setdiff1d(ids, [BREAK, MASK])
        x = self.encode(ids)
        size = max(len(self.ids_V), 1)
        at = np.flatnonzero(x >= 0)  # positions that are events with a context of d events before them
        node = np.full(len(x), NOTHING, np.int64)
        node[at] = 0
        shorter, lengths, count = [np.zeros(1, np.int64)], [0], 1
        keys: list[Ints] = []
        parts: list[Ints] = []
        goto: list[Ints] = []
        for d in range(longest + 1):
            longer_at, longer = at, node
            if d < longest:
                longer_at = at[x[at - d - 1] >= 0]  # a cut stands at 0, and no context reaches beyond one
                found, inverse = np.unique(node[longer_at] * size + x[longer_at - d - 1], return_inverse=True)
                longer = np.full(len(x), NOTHING, np.int64)
                longer[longer_at] = count + inverse
                shorter.append(found // size)
                lengths.append(len(found))
                count += len(found)
            key, inverse, number = np.unique(node[at] * size + x[at], return_inverse=True, return_counts=True)
            target = np.full(len(key), NOTHING, np.int64)
            behind = longer[at + 1]
            target[inverse[behind >= 0]] = behind[behind >= 0]  # the same for all places of a pair
            lost = np.flatnonzero(target < 0)  # seen only where nothing follows: as the shorter context goes on
            if d:
                less = np.concatenate(shorter)[key[lost] // size] * size + key[lost] % size
                target[lost] = goto[-1][np.searchsorted(keys[-1], less)]
            else:
                target[lost] = 0
            keys.append(key)
            goto.append(target)
            parts.append(number)
            at, node = longer_at, longer
        self.shorter_C: Ints = np.concatenate(shorter)
        self.length_C: Ints = np.repeat(np.arange(longest + 1), [1, *lengths[1:]])
        self.key_E: Ints = np.concatenate(keys)
        self.event_E: Ints = self.key_E % size
        self.count_E: Ints = np.concatenate(parts)
        self.goto_E: Ints = np.concatenate(goto)
        self.start_C: Ints = np.searchsorted(self.key_E, np.arange(count + 1) * size)
        self.total_C: Ints = np.diff(np.append(0, np.cumsum(self.count_E))[self.start_C])

    def encode(self, ids: Ints) -> Ints:
        """Places of ids in ``ids_V``, NOTHING for those that aren't there."""
        if not len(self.ids_V):
            return np.full(len(ids), NOTHING, np.int64)
        at = np.minimum(np.searchsorted(self.ids_V, ids), len(self.ids_V) - 1)
        return np.where(self.ids_V[at] == ids, at, NOTHING).astype(np.int64)

    def pair(self, context_M: Ints, event_M: Ints) -> Ints:
        """The pair of a context and an event, NOTHING where the event never followed it."""
        key = context_M * max(len(self.ids_V), 1) + event_M
        at = np.minimum(np.searchsorted(self.key_E, key), len(self.key_E) - 1)
        return np.where((event_M >= 0) & (self.key_E[at] == key), at, NOTHING)

    def step(self, context_M: Ints, event_M: Ints) -> Ints:
        """The longest context that ends with the given one (or a shorter one's end) and the event.

        Failure links as in Aho and Corasick, "Efficient string matching" (1975): a pair that was never seen is looked
        for with the shorter context.
        """
        context, result = context_M.copy(), np.zeros(len(context_M), np.int64)
        todo = np.flatnonzero(event_M >= 0)
        while len(todo):
            at = self.pair(context[todo], event_M[todo])
            found = at >= 0
            result[todo[found]] = self.goto_E[at[found]]
            todo = todo[~found & (context[todo] > 0)]
            context[todo] = self.shorter_C[context[todo]]
        return result

    def successors(self, context_M: Ints) -> tuple[Ints, Ints]:
        """For each context its pairs: (row, pair), flat, rows in order."""
        begin, number = self.start_C[context_M], self.start_C[context_M + 1] - self.start_C[context_M]
        rows = np.repeat(np.arange(len(context_M)), number)
        return rows, np.arange(len(rows)) + np.repeat(begin - np.append(0, np.cumsum(number)[:-1]), number)
