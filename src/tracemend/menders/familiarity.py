"""Has anything like this trace been seen before? How much of it stands, word for word, in the examples.

Where little of it does, the examples have little to give, and fills rest mainly on the trace's own intact part; who
reads them should know that.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tracemend.trace import ngrams
from tracemend.trace.windows import Stream

#: Events of a run, and the share of a trace's runs that must stand in the examples for it to count as familiar: what
#: tells validation recordings with their own workload among the examples best from the same without it
#: (benchmarks/results/foreign.json).
LENGTH, FAMILIAR = 6, 0.97


def familiarity(streams: Sequence[Stream], examples: Sequence[Stream], length: int = LENGTH) -> float | None:
    """The share of the streams' runs of ``length`` events that stand in the examples; None if there are no runs, or no
    examples."""
    runs = np.concatenate([np.empty(0, np.uint64), *(ngrams.runs(s.ids, length) for s in streams)])
    known = ngrams.distinct((s.ids for s in examples), length)
    return float(ngrams.occur(runs, known).mean()) if len(runs) and len(known) else None
