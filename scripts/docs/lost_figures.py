"""Truly lost events as figures: accuracy by length of the gap, and confidence beside the share that is right."""

from __future__ import annotations

import numpy as np

from docs.drawing import Panel
from docs.lost import ALL, PARTS, of_part, recorded
from tracemend.judging import lost

#: What is drawn, from the best to who knows next to nothing.
MENDERS = (ALL, "lookup + examples", "n-gram", "most frequent")
#: A bin of confidence with fewer events tells nothing.
FEWEST_EVENTS = 100
TRUE = "as it says"


def by_length() -> list[Panel]:
    """System calls, for workloads of which other runs were recorded and for those of which none was."""
    rows, _ = recorded()
    panels = []
    for part in ("by run", "by workload"):
        here = [r for r in of_part(rows, part) if r["mender"] in MENDERS]
        cells = {(c["mender"], c["length"]): c for c in lost.by_length(here)}
        names = [n for n in lost.lengths(list(cells.values())) if n != "all"]
        curves = {
            m: [(float(x), round(100 * cells[m, n]["accuracy"], 2)) for x, n in enumerate(names) if (m, n) in cells]
            for m in MENDERS
        }
        panels.append(
            Panel(
                title=part,
                across="events lost in the gap, up to",
                up="events right (%)",
                ticks=[(float(x), n.rpartition("-")[2].replace("over 5000", "more")) for x, n in enumerate(names)],
                curves={name: points for name, points in curves.items() if points},
            )
        )
    return panels


def confidence() -> list[Panel]:
    """Of the events of about one confidence, how many are right."""
    rows, _ = recorded()
    panels = []
    for part in PARTS:
        bins = [b for r in of_part(rows, part) if r["mender"] == ALL for b in r["confidence"].values()]
        count, said, right = np.sum(bins, axis=0) if bins else np.zeros((3, 1))
        enough = count >= FEWEST_EVENTS
        points = [
            (round(100 * s / n, 2), round(100 * r / n, 2))
            for n, s, r in zip(count[enough], said[enough], right[enough], strict=True)
        ]
        ticks = [(float(x), str(x)) for x in range(0, 101, 50)]
        curves = {TRUE: [(100.0, 100.0), (0.0, 0.0)]} | ({ALL: points} if points else {})
        panels.append(Panel(title=part, across="confidence (%)", up="events right (%)", ticks=ticks, curves=curves))
    return panels
