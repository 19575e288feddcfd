"""Is what is said to be sure right as often? By length of gap, by recording, and where it is said to be surest.

Axis legend: N events of a gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracemend.judging.gaps import judge
from tracemend.judging.metrics import LENGTH_BINS, bin_name, calibration_error
from tracemend.menders import Mosaic
from tracemend.menders.confidence import Confidence, Grounds
from tracemend.mending.adjacent import Places
from tracemend.mending.mended import Fill
from tracemend.mending.run import mend_trace
from tracemend.recording import Pair
from tracemend.trace.windows import Stream

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


@dataclass(slots=True)
class Recorder:
    """In place of a mender's confidence: as sure as ``by`` says, or as is believed, and the grounds of each fill."""

    by: Confidence | None = None
    grounds: list[Grounds] = field(default_factory=list)

    def __call__(self, grounds: Grounds) -> NDArray[np.float32]:
        self.grounds.append(grounds)
        return self.by(grounds) if self.by else grounds.belief


def filled(pair: Pair, examples: Sequence[Stream], recorder: Recorder) -> list[tuple[Grounds, NDArray[np.bool_]]]:
    """The mosaic's fills of the places where a recording lost events, and what of each is right."""

    def copier(own: Sequence[Stream], others: Sequence[Stream]) -> Mosaic:
        made = Mosaic(own, others)
        made.confidence = recorder
        return made

    mended = mend_trace(pair.lossy, None, copier=copier, shipped=examples)
    right = {s.gap: s.right for s in judge(mended, pair)}
    places = Places((g for g in mended.trace.gaps if g.number in right), {g: len(r) for g, r in right.items()})
    members = [[f.gap for f in places.told(Fill(gap.number, "filled", 0, None))] for gap in places.gaps]
    found = [np.concatenate([right[g] for g in gaps]) for gaps in members]
    return list(zip(recorder.grounds, found, strict=True))


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
