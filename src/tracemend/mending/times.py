"""When inferred events happened: steps between events, stretched or shrunk to the gap's span.

Axis legend: N positions of a gap, V vocabulary.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tracemend.mending.beliefs import Beliefs
from tracemend.mending.constraints import OPEN, Rules, Threads
from tracemend.mending.durations import Durations
from tracemend.mending.surroundings import Surroundings
from tracemend.trace.events import Gap

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Times:
    """How long events of a trace usually take. size: of the vocabulary."""

    def __init__(self, around: Surroundings, size: int, durations: Durations) -> None:
        self.ids, self.durations = around.ids, durations
        self.usual_V = _usual(around, size)

    def expected(self, gap: Gap, ids: Ints, beliefs: Beliefs) -> Floats:
        """How long it takes to each event of a fill, and from the last one to the end (N + 1,), in ns: what the mender
        says of its likeliest events, else the median time behind such an event as the one before."""
        before = self.ids[gap.before] if gap.before is not None else None
        first = self.usual_V[before] if before is not None else float(np.median(self.usual_V[ids]))
        usual = np.concatenate([[first], self.usual_V[ids]])
        likeliest = ids == beliefs.events[:, 0]
        said = np.where(np.append(likeliest, likeliest[-1]), beliefs.steps, np.nan)
        return np.maximum(np.where(np.isnan(said), usual, said), 1.0)

    def stretched(self, gap: Gap, steps: Floats, fill: tuple[Ints, Ints], threads: Threads, rules: Rules) -> Floats:
        """Steps (N + 1,) that fill the gap's span. What is more than they take goes to the long ones of those in which
        the threads may well do nothing for as long: a long time is mostly one long step.

        fill: ids and indices of threads (N,).
        """
        more = gap.duration_ns - float(steps.sum())
        if more <= 0:
            return steps
        silent = self.durations.through(fill[0], fill[1], threads, rules, more)
        share = steps * np.exp(silent - silent.max())
        return np.asarray(steps + more * share / share.sum())


def _usual(around: Surroundings, size: int) -> Floats:
    """For every id (V,) the median time to the stream's next event, in ns: how a fill is spread over its span."""
    total = np.full(size, np.nan)
    every = []
    for cpu, rows in around.trace.streams.items():
        keep = np.ones(max(len(rows) - 1, 0), bool)
        keep[[c - 1 for c in around.breaks[cpu][1] if 0 < c < len(rows)]] = False
        every.append(np.stack([around.ids[rows[:-1]][keep], np.diff(around.trace.time_ns[rows])[keep]]))
    pairs = np.concatenate(every, axis=1) if every else np.empty((2, 0), np.int64)
    order = np.argsort(pairs[0], kind="stable")
    ids, starts = np.unique(pairs[0][order], return_index=True)
    for i, part in zip(ids.tolist(), np.split(pairs[1][order], starts[1:]), strict=True) if len(ids) else ():
        total[i] = np.median(part)
    typical = float(np.median(pairs[1])) if pairs.shape[1] else 1.0
    return np.maximum(np.where(np.isnan(total), typical, total), 1.0)


def placed(gap: Gap, steps: Floats, chosen: Ints, threads: Threads, nominal: Ints) -> Ints:
    """Times spread by the steps (N + 1,), held within what the events of each event's thread elsewhere allow."""
    times = spread(steps[:-1], gap.begin_ns, gap.end_ns, last=float(steps[-1]))
    # between a thread's events elsewhere; the nominal times, by which the fill was found, satisfy all this
    n = len(chosen)
    low, high = threads.low[chosen], threads.high[chosen]
    lower = np.where(low == OPEN, gap.begin_ns + 1, np.minimum(low + 1, nominal))
    upper = np.where(high == OPEN, gap.end_ns - 1, np.maximum(high - 1, nominal))
    # the narrowest bounds that leave every event a nanosecond of its own, if there is room for that
    order = np.arange(n)
    least = np.maximum.accumulate(lower - order) + order
    most = (np.minimum.accumulate((upper - order)[::-1])[::-1]) + order
    if (least <= most).all():
        return np.asarray(np.maximum.accumulate(np.clip(times, least, most) - order) + order, np.int64)
    least = np.maximum.accumulate(np.minimum(lower, gap.end_ns))
    most = np.minimum.accumulate(np.maximum(upper, gap.begin_ns)[::-1])[::-1]
    return np.asarray(np.maximum.accumulate(np.clip(times, least, most)), np.int64)


def spread(steps: NDArray[np.float64], begin: int, end: int, last: float = 1.0) -> Ints:
    """Times (N,) strictly inside (begin, end), in proportion to ``steps``; ``last`` is the step behind the last one.

    Increasing by at least a nanosecond where the span has room for that, else never decreasing.
    """
    n = len(steps)
    span = end - begin
    share = np.cumsum(steps) / (steps.sum() + last)
    if span <= n:
        return np.asarray(begin + np.minimum((share * span).astype(np.int64), span), np.int64)
    # n whole nanoseconds are set aside, one for each event, and the rest is spread
    return np.asarray(begin + 1 + np.arange(n) + np.floor(share * (span - n - 1)).astype(np.int64), np.int64)
