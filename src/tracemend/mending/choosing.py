"""The fill that suits figures: of several that were drawn, the one whose counts are nearest to the others'.

What is right position by position need not be right in its counts: where a fill is unsure, the likeliest event of each
position is the same one again and again, and rare ones come too short. Of fills drawn as wholes, the one nearest to all
others is expected to be nearest to the truth, too (minimum Bayes risk: Kumar and Byrne, "Minimum Bayes-risk decoding
for statistical machine translation", 2004).

Axis legend: H fills, K kinds of events.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tracemend.mending.beliefs import Filled


def nearest_in_counts(fills: Sequence[Filled]) -> int:
    """Which of some fills of one gap has the least distance to all of them in how often each thread has each event; of
    equals the first."""
    kinds = np.concatenate([np.stack([f.ids, f.tids], axis=1) for f in fills])
    distinct, kind = np.unique(kinds, axis=0, return_inverse=True)
    which = np.repeat(np.arange(len(fills)), [len(f.ids) for f in fills])
    cells = np.bincount(which * len(distinct) + kind.ravel(), minlength=len(fills) * len(distinct))
    counts_HK = cells.reshape(len(fills), len(distinct))
    return int(np.argmin([np.abs(counts_HK - own).sum() for own in counts_HK]))
