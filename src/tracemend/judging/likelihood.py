"""How likely events are to who knows other traces: a judge of fills that knows no truth.

Axis legend: B windows, L length, G gaps or windows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from tracemend.menders import NGram
from tracemend.trace.vocabulary import OTHER, Vocabulary
from tracemend.trace.windows import Stream

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
#: (ids_BL, known_BL) -> bits_B: mean -log2 of the probability that who knows other traces gives to the events that are
#: not known, in bits an event.
Likelihood = Callable[[Ints, Bools], Floats]

#: Events of the longest n-grams by which likelihood is judged: a compromise. Longer ones predict other runs of the
#: programs that they were counted in better, and other programs worse.
LIKELIHOOD_ORDER = 5


def held_out(streams: Sequence[Stream], vocabulary: Vocabulary) -> Likelihood | None:
    """How likely events are by interpolated n-grams of these streams, which no mender should have been trained on.

    Every id of the vocabulary has a probability, those that the streams don't hold too. None where there is no event.
    """
    model = NGram(streams, order=LIKELIHOOD_ORDER)
    return partial(model.bits, among=len(vocabulary) - OTHER) if len(model.model.ids_V) else None


def likelier(bits_G: Floats, truth_G: Floats) -> dict[str, Floats]:
    """Fills' bits an event beside those of the truth; likelier: 1 where the fill is the likelier of the two, as one is
    that goes for what is common."""
    return {"bits": bits_G, "bits_truth": truth_G, "likelier": (bits_G < truth_G).astype(float)}
