"""Which value something has, by the values that what survived has in the same surroundings.

The more of the surroundings are the same, the more they tell, and the fewer they are: so shares of the wider ones
stand in for what the narrower ones haven't seen.

Axis legend: N values that are known, A that are asked for, L kinds of surroundings from the widest to the narrowest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

#: So many values of wider surroundings count beside those of the narrower ones (``benchmarks/fields.py``).
WIDER = 3.0


def likeliest(known: Sequence[Ints], values: Ints, asked: Sequence[Ints], wider: float = WIDER) -> tuple[Ints, Floats]:
    """The likeliest value for each that is asked for (A,), -1 if none is known in any of its surroundings, and its
    probability. known, asked: for each kind of surroundings those of each (L times (N,) and (A,)); values (N,) from 0.
    """
    count = len(asked[0])
    if not len(values) or not count:
        return np.full(count, -1), np.zeros(count)
    most = int(values.max()) + 1
    seen = []
    candidates = np.full((count, len(known)), -1, np.int64)
    for level, (theirs, ours) in enumerate(zip(known, asked, strict=True)):
        codes = pa.array(np.concatenate([theirs, ours])).dictionary_encode().indices.to_numpy().astype(np.int64)
        own, wanted = codes[: len(theirs)], codes[len(theirs) :]
        pairs, counts = np.unique(own * most + values, return_counts=True)
        totals = np.bincount(own, minlength=int(codes.max()) + 1)
        place = pairs // most
        order = np.lexsort((counts, place))
        last = order[np.flatnonzero(np.diff(place[order], append=-1))]
        top = np.full(len(totals), -1, np.int64)
        top[place[last]] = pairs[last] % most
        candidates[:, level] = top[wanted]
        seen.append((pairs, counts, totals, wanted))
    p = np.zeros(candidates.shape)
    for pairs, counts, totals, wanted in seen:
        pair = wanted[:, None] * most + candidates
        at = np.minimum(np.searchsorted(pairs, pair), len(pairs) - 1)
        number = np.where(pairs[at] == pair, counts[at], 0)
        total = totals[wanted][:, None]
        p = np.where(total > 0, (number + wider * p) / (total + wider), p)
    p[candidates < 0] = 0
    best = p.argmax(axis=1)
    rows = np.arange(count)
    return candidates[rows, best], p[rows, best]
