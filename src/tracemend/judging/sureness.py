"""Is what is said to be sure right as often? By length of gap, by recording, and where it is said to be surest.

Axis legend: N events of a gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracemend.judging.metrics import LENGTH_BINS, bin_name, calibration_error

#: What a recording's calibration error is hoped to be at most, and confidences from which on events count as sure.
ENOUGH, SUREST = 0.1, (0.9, 0.99)
#: Recordings of fewer inferred events are left out of the share that is off by ENOUGH at most.
FEWEST = 100


@dataclass(frozen=True, slots=True)
class Sure:
    """A gap's fill: confidence and right (N,), of which recording, and how that lost its events."""

    recording: str
    kind: str
    confidence: NDArray[np.float64]
    right: NDArray[np.bool_]


def summary(fills: Sequence[Sure]) -> dict[str, Any]:
    """Of all fills, of those of each length, and of each kind of loss; with the recordings one by one."""
    kinds = list(dict.fromkeys(f.kind for f in fills))
    lengths = [(bin_name(*b), [f for f in fills if b[0] <= len(f.right) <= b[1]]) for b in LENGTH_BINS]
    return {
        "all": row(fills),
        "lengths": {name: row(own) for name, own in lengths if own},
        "kinds": {kind: row([f for f in fills if f.kind == kind]) for kind in kinds},
        "recordings": {name: _said(own) for name, own in by_recording(fills).items()},
    }


def by_recording(fills: Sequence[Sure]) -> dict[str, list[Sure]]:
    """The fills of each recording."""
    found: dict[str, list[Sure]] = {}
    for fill in fills:
        found.setdefault(fill.recording, []).append(fill)
    return found


def _said(fills: Sequence[Sure]) -> dict[str, Any]:
    confidence, right = (np.concatenate([getattr(f, what) for f in fills]) for what in ("confidence", "right"))
    return {
        "gaps": len(fills),
        "events": len(right),
        "said": round(float(confidence.mean()), 4),
        "right": round(float(right.mean()), 4),
        "calibration_error": round(calibration_error(confidence, right), 4),
    }


def row(fills: Sequence[Sure]) -> dict[str, Any]:
    """What holds of some fills: over their events, over whole gaps, and over whole recordings."""
    confidence, right = (np.concatenate([getattr(f, what) for f in fills]) for what in ("confidence", "right"))
    cell = _said(fills)
    means = np.array([(f.confidence.mean(), f.right.mean()) for f in fills])
    cell["off_by_gap"] = round(float(np.abs(means[:, 0] - means[:, 1]).mean()), 4)
    for least in SUREST:
        sure = confidence >= least
        cell[f"sure_{least:g}"] = {
            "events": int(sure.sum()),
            "said": round(float(confidence[sure].mean()), 4) if sure.any() else None,
            "right": round(float(right[sure].mean()), 4) if sure.any() else None,
        }
    errors = np.array(
        [r["calibration_error"] for r in map(_said, by_recording(fills).values()) if r["events"] >= FEWEST]
    )
    if len(errors):
        cell["recordings"] = {
            "recordings": len(errors),
            "within": round(float((errors <= ENOUGH).mean()), 4),
            "median": round(float(np.median(errors)), 4),
            "nine_of_ten": round(float(np.quantile(errors, 0.9)), 4),
        }
    return cell


def lines(fills: Sequence[Sure]) -> list[str]:
    """The summary for people."""
    found = summary(fills)
    rows = {"all": found["all"], **found["lengths"], **found["kinds"]}
    return [f"{name}: {_told(cell)}" for name, cell in rows.items()]


def _told(cell: dict[str, Any]) -> str:
    sure = [
        f"from {p:g} {c['events']} events, {c['right']} right" for p in SUREST if (c := cell[f"sure_{p:g}"])["events"]
    ]
    of = cell.get("recordings")
    return "; ".join(
        [
            f"{cell['events']} events in {cell['gaps']} gaps, said {cell['said']}, right {cell['right']}",
            f"calibration error {cell['calibration_error']}, by gap {cell['off_by_gap']}",
            *sure,
            *(
                [f"{of['within']} of {of['recordings']} recordings within {ENOUGH:g}, median {of['median']}"]
                if of
                else []
            ),
        ]
    )
