"""Fills against what was really lost: how many events of each gap are right, shifted, not there, missing.

An inferred event is right if the same event (whichever thread it was of) was lost at its place, shifted if it was lost
at another place of the gap, else it was not there. A lost event that is neither right nor shifted is missing.
``data.mjs`` says the same of each event.

Axis legend: G gaps.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.mending.mended import Result
from tracemend.recording.pairs import Pair

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Judged:
    """Of each gap how many events; all are (G,)."""

    right: Ints
    shifted: Ints
    absent: Ints
    missing: Ints

    @property
    def totals(self) -> dict[str, int]:
        """Of all gaps."""
        return {name: int(values.sum()) for name, values in self.columns().items()}

    def columns(self) -> dict[str, Ints]:
        return {"right": self.right, "shifted": self.shifted, "absent": self.absent, "missing": self.missing}


def judged(result: Result, pair: Pair) -> Judged:
    """Each gap of the result against the same one of the pair."""
    fills: dict[int, list[str]] = {}
    for table in result.tables():
        gap = table["gap"].to_numpy()
        bounds = np.flatnonzero(np.diff(gap, prepend=-1, append=-1))
        kinds = _kinds(table)
        for begin, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            fills[int(gap[begin])] = kinds[begin:end]
    rows = []
    for gap_, missing in zip(pair.lossy.gaps, pair.missing, strict=True):
        fill, lost = fills.get(gap_.number, []), _kinds(pair.complete.table.take(pa.array(missing)))
        right = sum(one == other for one, other in zip(fill, lost, strict=False))
        same = (Counter(fill) & Counter(lost)).total()
        rows.append((right, same - right, len(fill) - same, len(lost) - same))
    return Judged(*np.array(rows, np.int64).reshape(-1, 4).T)


def _kinds(table: pa.Table) -> list[str]:
    """Name and phase of each event as one text."""
    name, phase = (table[c].cast(pa.string()).to_pylist() for c in ("name", "phase"))
    return [f"{p} {n}" for n, p in zip(name, phase, strict=True)]
