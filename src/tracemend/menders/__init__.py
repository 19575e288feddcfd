"""Menders say what may have been lost: by copying, by counting. All look the same (``base.Mender``).

One file each, one entry here. Every table of results shows them. Networks are in ``diffusion/``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tracemend.menders.adapted import AdaptedMosaic, adapt
from tracemend.menders.automaton import Automaton
from tracemend.menders.base import Mender
from tracemend.menders.copies import Copy, MostFrequent, Period
from tracemend.menders.lookup import Lookup
from tracemend.menders.mixture import FittedMixture, Mixture
from tracemend.menders.mosaic import Mosaic
from tracemend.menders.ngram import NGram
from tracemend.menders.places import CONTEXT, ORDERS, Places
from tracemend.menders.runs import Run, hidden_runs
from tracemend.trace.windows import Stream

#: Made from training streams; some learn nothing from them.
MENDERS: dict[str, Callable[[Sequence[Stream]], Mender]] = {
    "most frequent": lambda streams: MostFrequent(),
    "copy": lambda streams: Copy(),
    "copy period": lambda streams: Period(),
    "n-gram": NGram,
    "automaton": Automaton,
    "lookup": Lookup,
    "mosaic": Mosaic,
    "mosaic adapted": AdaptedMosaic,
    "mixture": FittedMixture,
}

__all__ = [
    "CONTEXT",
    "MENDERS",
    "ORDERS",
    "AdaptedMosaic",
    "Automaton",
    "Copy",
    "FittedMixture",
    "Lookup",
    "Mixture",
    "Mosaic",
    "MostFrequent",
    "NGram",
    "Period",
    "Places",
    "Run",
    "adapt",
    "hidden_runs",
]
