"""What a network adds that reads what the mixture's experts hold likely (docs/results/informed.md)."""

from __future__ import annotations

from typing import Any

import numpy as np

from docs.common import load, rows_of
from docs.drawing import Curves, Panel
from docs.honest import STUDIED
from docs.pictures import evenly
from tracemend.judging.report import by_gap, markdown_table

#: Menders in the order of the tables, by what they are called there.
NAMES = {
    "n-gram": "n-gram",
    "mosaic": "mosaic",
    "lookup": "lookup",
    "mixture": "mixture",
    "informed": "network that reads them",
    "together": "three of these together",
    "the best of all, chosen by the truth": "the best of all and of 8 drawn fills, chosen by the truth",
}
#: Networks that read no evidence, the study's four among them, and what to compare them with.
ALONE = ("lstm-small", "masked-s4-small", *STUDIED, "mixture")
LOST = "lost"
LOST_MENDERS = ("mosaic", "mixture", "informed")
SHOWN = {name: NAMES[name] for name in ("mosaic", "mixture", "informed")} | {
    "the best of all, chosen by the truth": "the best, chosen by the truth"
}


def windows() -> str:
    """Hidden events in windows of others' traces: a row a mender, a column a length of gap."""
    rows = [r for r in _rows() if r["data"] != LOST and r.get("steps", 1) == 1]
    gaps = sorted({r["gap"] for r in rows})
    body = []
    for mender, name in NAMES.items():
        own = [[r for r in rows if r["mender"] == mender and r["gap"] == n] for n in gaps]
        if all(own):
            body.append([name, *map(_window, own)])
    windows = {r["gap"]: r["windows"] for r in rows}
    heads = [f"{n} hidden ({windows[n]:,} windows)" for n in gaps]
    return markdown_table(["adfa, windows of 200, unseen", *heads], body) + _source(rows)


def _window(rows: list[dict[str, Any]]) -> str:
    said = f"{_mean(rows, 'accuracy'):.1f}{_spread([r['accuracy'] for r in rows])}"
    if "more" in rows[0]:
        said += _more(rows)
    said += f" / {_mean(rows, 'perfect'):.1f}"
    return said if rows[0]["calibration_error"] is None else f"{said} / {_mean(rows, 'calibration_error') / 100:.3f}"


def alone() -> str:
    """The same windows, by networks that read the known events alone, and by the mixture."""
    rows, end = rows_of("honest")
    shown = [r for r in rows if (r["data"], r["length"]) == ("adfa", 200) and r["mender"] in ALONE]
    return by_gap(shown, "unseen") + end


def lost() -> str:
    """Really lost events: a row a length of gaps, a column a mender, and how much better it is than the mosaic."""
    rows = [r for r in _rows() if r["data"] == LOST]
    bins = list(dict.fromkeys(r["length"] for r in rows))
    body = []
    for n in bins:
        own = [[r for r in rows if r["length"] == n and r["mender"].startswith(m)] for m in LOST_MENDERS]
        body.append([n, f"{own[0][0]['gaps']:,}", *map(_lost, own)])
    heads = ["events lost", "gaps", *(NAMES[name] for name in LOST_MENDERS)]
    return markdown_table(heads, body) + _source(rows)


def _lost(rows: list[dict[str, Any]]) -> str:
    error = f" / {_mean(rows, 'calibration_error') / 100:.3f}"
    said = f"{_mean(rows, 'accuracy'):.1f}{_spread([r['accuracy'] for r in rows])}"
    if rows[0]["mender"].startswith("mosaic"):
        return said + error
    return said + _more(rows) + error


def _more(rows: list[dict[str, Any]]) -> str:
    """By how much it is better than what it is compared with; ends of intervals as means over seeds."""
    low, high = (100 * float(np.mean([r["more_interval"][k] for r in rows])) for k in (0, 1))
    return f" ({_mean(rows, 'more'):+.1f}: {low:+.1f} to {high:+.1f})"


def picture() -> list[Panel]:
    """Accuracy by the length of a gap: hidden events of others' traces, and really lost ones."""
    hidden = [r for r in _rows() if r["data"] != LOST and r.get("steps", 1) == 1]
    lost = [r for r in _rows() if r["data"] == LOST and r["length"] != "all"]
    return [
        _curves("ADFA-LD, hidden, unseen windows", "events hidden", hidden, "gap"),
        _curves("Really lost, workloads never seen", "events lost", lost, "length"),
    ]


def _curves(title: str, across: str, rows: list[dict[str, Any]], by: str) -> Panel:
    places = list(dict.fromkeys(r[by] for r in rows))
    curves = {}
    for mender, name in SHOWN.items():
        own = [[r for r in rows if r["mender"].startswith(mender) and r[by] == x] for x in places]
        if all(own):
            curves[name] = [(float(x), _mean(held, "accuracy")) for x, held in enumerate(own)]
    return Curves(title, across, evenly(map(str, places)), curves)


def _rows() -> list[dict[str, Any]]:
    """Networks that are asked together as a mender of their own."""
    rows = load("informed")["rows"]
    return [r | {"mender": "together"} if r.get("model") == "together" else r for r in rows]


def _mean(rows: list[dict[str, Any]], name: str) -> float:
    """Per cent."""
    return 100 * float(np.mean([r[name] for r in rows]))


def _spread(values: list[float]) -> str:
    """Half the range over seeds."""
    return f" (± {50 * (max(values) - min(values)):.1f})" if len(values) > 1 else ""


def _source(rows: list[dict[str, Any]]) -> str:
    commands = ", ".join(f"`{c}`" for c in dict.fromkeys(r["command"] for r in rows))
    commits = ", ".join(f"`{c[:10]}`" for c in dict.fromkeys(r["commit"] for r in rows))
    return f"\nFrom `benchmarks/results/informed.json`: {commands}; commit {commits}, seed 0.\n"
