"""Whether a call with an inferred side may have lasted as long as its two sides say."""

from __future__ import annotations

import numpy as np

from tracemend.mending.constraints import rules
from tracemend.mending.durations import Durations, reached
from tracemend.mending.timelines import Timelines
from tracemend.trace.events import ENTER, Trace
from tracemend.trace.vocabulary import universal

#: A call of which a smaller share lasts so long isn't believed to have lasted so long.
PLAUSIBLE = 1e-3


def longest(trace: Trace) -> dict[str, int]:
    """By name, how long a call may well have lasted in this trace, in ns, as survived of it and the examples tell.

    Of a call that was inferred on one side, or on both in two gaps, a longer duration is to be called unknown: it is
    likelier that the two sides aren't of one call.
    """
    vocabulary = universal().extended(trace)
    ids = vocabulary.encode(trace).astype(np.int64)
    durations = Durations(Timelines(trace, ids, rules(vocabulary)).spans, vocabulary)
    steps = (durations.log_tail >= np.log(PLAUSIBLE)).sum(axis=1)
    entries = ((i, vocabulary.entry(i)) for i in range(len(vocabulary)))
    return {entry[0]: reached(int(steps[i])) for i, entry in entries if entry and entry[1] == ENTER}
