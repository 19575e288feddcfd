"""Truly lost events as figures: accuracy by length of the gap, and confidence beside the share that is right."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from docs.drawing import Curves, Panel
from docs.lost import ALL, PARTS, TITLES, of_part, recorded
from tracemend.judging import lost

#: What is drawn, and what it is called there, from the best to who knows next to nothing.
MENDERS = {ALL: "mend", "lookup + examples": "lookup + examples", "n-gram": "n-gram", "most frequent": "most frequent"}
#: A bin of confidence with fewer events tells nothing.
FEWEST_EVENTS = 100
TRUE = "as it says"


def ticks(names: Sequence[str]) -> list[tuple[float, str]]:
    """Under each bin of lengths the last of them."""
    return [(float(x), n.rpartition("-")[2].replace("over 5000", "more")) for x, n in enumerate(names)]


def by_length() -> list[Curves]:
    """System calls, for workloads of which other runs were recorded and for those of which none was."""
    rows, _ = recorded()
    panels = []
    for part in ("by run", "by workload"):
        here = [r for r in of_part(rows, part) if r["mender"] in MENDERS]
        cells = {(c["mender"], c["length"]): c for c in lost.by_length(here)}
        names = [n for n in lost.lengths(list(cells.values())) if n != "all"]
        curves = {
            label: [(float(x), round(100 * cells[m, n]["accuracy"], 2)) for x, n in enumerate(names) if (m, n) in cells]
            for m, label in MENDERS.items()
        }
        panels.append(
            Curves(TITLES[part], "events lost in the gap, up to", ticks(names), {n: p for n, p in curves.items() if p})
        )
    return panels


def confidence() -> list[Curves]:
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
        tenths = [(float(x), str(x)) for x in range(0, 101, 50)]
        curves = {"mend": points, TRUE: [(0.0, 0.0), (100.0, 100.0)]} if points else {}
        panels.append(Curves(TITLES[part], "confidence (%)", tenths, curves))
    return panels


def worth() -> list[Curves]:
    """What ``mend`` has right, by three measures."""
    rows, _ = recorded()
    measures = {"in the right order": "rouge_l", "events right": "accuracy", "gaps right": "perfect"}
    panels = []
    for part in ("by run", "by workload"):
        cells = {c["length"]: c for c in lost.by_length([r for r in of_part(rows, part) if r["mender"] == ALL])}
        names = [n for n in lost.lengths(list(cells.values())) if n != "all"]
        curves = {
            name: [(float(x), round(100 * cells[n][measure], 2)) for x, n in enumerate(names)]
            for name, measure in measures.items()
        }
        panels.append(
            Curves(TITLES[part], "events lost in the gap, up to", ticks(names), curves if names else {}, "per cent")
        )
    return panels


FIGURES: dict[str, tuple[str, Callable[[], Sequence[Panel]], int]] = {
    "lost-lengths": ("Events right against the length of the gap, truly lost events", by_length, 2),
    "lost-confidence": ("Events right against their confidence, truly lost events", confidence, 3),
    "lost-worth": ("What mend has right, against the length of the gap", worth, 2),
}
