"""Menders without a network. Every table of results shows them. One file each, one entry here."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tracemend.baselines.adapted import AdaptedMosaic, adapt
from tracemend.baselines.automaton import Automaton
from tracemend.baselines.copies import Copy, MostFrequent, Period
from tracemend.baselines.lookup import Lookup
from tracemend.baselines.mosaic import Mosaic
from tracemend.baselines.ngram import NGram
from tracemend.baselines.places import CONTEXT, ORDERS, Places
from tracemend.baselines.runs import Run, hidden_runs
from tracemend.mender import Mender
from tracemend.windows import Stream

#: Made from training streams; some learn nothing from them.
BASELINES: dict[str, Callable[[Sequence[Stream]], Mender]] = {
    "most frequent": lambda streams: MostFrequent(),
    "copy": lambda streams: Copy(),
    "copy period": lambda streams: Period(),
    "n-gram": NGram,
    "automaton": Automaton,
    "lookup": Lookup,
    "mosaic": Mosaic,
    "mosaic adapted": AdaptedMosaic,
}

__all__ = [
    "BASELINES",
    "CONTEXT",
    "ORDERS",
    "AdaptedMosaic",
    "Automaton",
    "Copy",
    "Lookup",
    "Mosaic",
    "MostFrequent",
    "NGram",
    "Period",
    "Places",
    "Run",
    "adapt",
    "hidden_runs",
]
