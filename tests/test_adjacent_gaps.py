"""Gaps that no event lies between are filled as one, and each has its own events."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tracemend
from tracemend.judging.transitions import counted
from tracemend.judging.views import of_trace
from tracemend.mending.adjacent import Places
from tracemend.mending.beliefs import Filled
from tracemend.mending.mended import Fill
from tracemend.recording import pairs
from tracemend.trace.events import Gap

PAIR = Path(__file__).parents[1] / "corpus" / "kernel" / "pairs" / "sort-3-kernel_overwrite.parquet"


def gap(number: int, before: int | None, after: int | None, count: int | None) -> Gap:
    return Gap(number, 0, before, after, 100, 200, count, "counted", 0)


def test_what_one_place_was_filled_with_is_shared_out() -> None:
    gaps = [gap(3, 7, 8, 2), gap(4, 7, 8, None), gap(5, 8, 9, 1)]  # made up
    places = Places(gaps, {3: 2, 4: 3, 5: 1})
    assert [(g.number, places.counts[g.number]) for g in places.gaps] == [(3, 5), (5, 1)]
    n = np.arange(5)
    parts = list(places.fills(Filled(gaps[0], n, n, n + 110, n.astype(np.float32), n)))
    assert [(p.gap.number, p.ids.tolist(), p.times.tolist()) for p in parts] == [
        (3, [0, 1], [110, 111]),
        (4, [2, 3, 4], [112, 113, 114]),
    ]
    told = list(places.told(Fill(3, "filled", 5, 0.5, unmet=2)))
    assert [(f.gap, f.events, f.estimated, f.unmet) for f in told] == [(3, 2, False, 2), (4, 3, True, 0)]
    refused = list(places.told(Fill(3, "refused", 0, 0.5, reason="unsure")))
    assert [(f.gap, f.events, f.reason) for f in refused] == [(3, 0, "unsure"), (4, 0, "unsure")]


def test_no_switch_contradicts_the_gap_beside() -> None:
    if not PAIR.exists():
        pytest.skip("no corpus/kernel here")
    lossy = pairs.read(PAIR).lossy
    beside = [(a, b) for a, b in zip(lossy.gaps, lossy.gaps[1:], strict=False) if (a.cpu, a.after) == (b.cpu, b.after)]
    assert beside
    result = tracemend.mend(lossy, "mosaic", alone=True)
    number, times = result.inferred["gap"].to_numpy(), result.inferred["time_ns"].to_numpy()
    for gaps in beside:
        earlier, later = (times[number == g.number] for g in gaps)
        assert [len(earlier), len(later)] == [g.count for g in gaps]
        assert earlier.max() <= later.min()
    kinds = counted(of_trace(lossy, result.inferred))
    assert not sum(kinds["other prev"].values()) + sum(kinds["not running"].values())
