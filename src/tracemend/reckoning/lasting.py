"""How long calls may well have lasted: what a call with an inferred side lasted longer isn't believed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tracemend.mending.constraints import rules
from tracemend.mending.durations import STEPS, Durations
from tracemend.mending.timelines import Timelines
from tracemend.trace.events import ENTER, Trace
from tracemend.trace.vocabulary import universal

#: A call of which a smaller share lasts so long isn't believed to have lasted so long.
PLAUSIBLE = 1e-3
#: Longer than anything lasts.
ANY = 1 << 62


class Lasting(NamedTuple):
    """How long a call may well have lasted, and how long it usually does, in ns."""

    most: int = ANY
    usual: int = 0


def lasting(trace: Trace) -> dict[str, Lasting]:
    """By call, as survived of it in this trace and as the recordings tell that come with the package.

    Two sides of which one was inferred may be of two calls, with a long time between. If they would be a longer call
    than all but one in a thousand of that name, that is likelier, and how long the call took is unknown.
    """
    vocabulary = universal().extended(trace)
    ids = vocabulary.encode(trace).astype(np.int64)
    tail = Durations(Timelines(trace, ids, rules(vocabulary)).spans, vocabulary).log_tail
    most, usual = (2.0 ** ((tail >= np.log(share)).sum(axis=1) / STEPS) for share in (PLAUSIBLE, 0.5))
    entries = ((i, vocabulary.entry(i)) for i in range(len(vocabulary)))
    return {e[0]: Lasting(int(most[i]), int(usual[i])) for i, e in entries if e and e[1] == ENTER}
