"""Figures after a loss: how wrong they are, and how often their intervals hold (docs/figures.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from docs.common import load, rows_of, source
from tracemend.judging import corrected
from tracemend.judging.amounts import KINDS
from tracemend.judging.corrected import Held, held, kinds, named, nearer, sorts, ways
from tracemend.judging.figures import DRAWS, LEFT, SCALED
from tracemend.judging.report import markdown_table
from tracemend.judging.results import Row

NAME = "figures"
#: What ``tracemend figures`` does.
OURS = "mosaic + examples, draws"
#: Calls by name: how many, and how long they took.
SHORT = ("call calls", "call time_ns")
PARTS = {"by run": "other runs of the workload were recorded before", "by workload": "nothing like it was"}


def _made(of: Callable[[Sequence[Row]], str]) -> str:
    rows, end = rows_of(NAME, corrected.KEY, corrected.SCORES)
    return of(rows) + end if rows else "Not run.\n"


def _by_sort(rows: Sequence[Row], of: Callable[[Sequence[Row]], str]) -> str:
    """A table for what was recorded and each part of the split."""
    text = ""
    for (sort, part), own in sorts(rows).items():
        recordings = len({r["pair"] for r in own})
        text += f"\n### {sort[0].upper()}{sort[1:]}, {part}: {PARTS[part]} ({recordings} recordings)\n\n" + of(own)
    return text


def errors_of(rows: Sequence[Row]) -> str:
    return _by_sort(rows, corrected.error_table)


def short_of(rows: Sequence[Row]) -> str:
    """How wrong the figures of the whole trace are as they survived, and drawn; and how often their ranges hold."""
    body = []
    for (sort, part), own in sorts(rows).items():
        found, drawn = ways(own), [r for r in own if r["draws"]]
        for kind in SHORT:
            errors = (_percent(corrected.mean_error(found[way], kind)) for way in (LEFT, OURS))
            body.append([f"{sort}, {part}: {named(kind)}", *errors, _cells(held(drawn, kind))[0]])
    return markdown_table(["", "error left open", "error of the estimate", "ranges that hold"], body)


def nearer_of(rows: Sequence[Row]) -> str:
    """In how many recordings the corrected figure is nearer to the truth."""

    def of(own: Sequence[Row]) -> str:
        columns, found = kinds(own), ways(own)
        body = [
            [f"nearer than {other}", *(_share(nearer(found[OURS], found[other], k)) for k in columns)]
            for other in found
            if other != OURS
        ]
        return markdown_table(["", *map(named, columns)], body)

    return _by_sort(rows, of)


def held_of(rows: Sequence[Row]) -> str:
    """How often intervals hold the truth of the whole trace, and how wide they are."""

    def of(own: Sequence[Row]) -> str:
        drawn = [r for r in own if r["draws"]]
        body = []
        for kind in kinds(drawn):
            sides = [held(drawn, kind, way) for way in (DRAWS, SCALED)]
            if sides[0]:
                without = sum(r["whole"][kind]["without_row"] for r in drawn if kind in r["whole"])
                cells = (x for s in sides for x in _cells(s))
                body.append([named(kind), f"{sides[0].figures:,}", f"{without:,}", *cells])
        head = [
            "",
            "figures that lost something",
            "without a row",
            "held, per cent",
            "width",
            "scaled: held",
            "scaled: width",
        ]
        return markdown_table(head, body)

    return _by_sort(rows, of)


def gaps_of(rows: Sequence[Row]) -> str:
    """How often intervals of what single gaps lost hold the truth, by the gap's length."""

    def of(own: Sequence[Row]) -> str:
        drawn = [r for r in own if r["draws"]]
        columns = corrected.lengths(drawn)
        body = []
        for kind in KINDS:
            cells = [held(drawn, kind, length=n) for n in columns]
            body.append([named(kind), *(_cells(c)[0] for c in cells)])
            body.append([f"{named(kind)}: width", *(_cells(c)[1] for c in cells)])
        return markdown_table(["events lost", *columns], body)

    return _by_sort(rows, of)


def gap_errors_of(rows: Sequence[Row]) -> str:
    """How wrong the counts of single gaps are, by the gap's length."""

    def of(own: Sequence[Row]) -> str:
        columns = corrected.lengths(own)
        body = [
            [way, *(_percent(corrected.mean_error(mine, "call calls", n)) for n in columns)]
            for way, mine in ways(own).items()
            if way != LEFT
        ]
        return markdown_table(["events lost", *columns], body)

    return _by_sort(rows, of)


def short() -> str:
    return _made(short_of)


def errors() -> str:
    return _made(errors_of)


def nearest() -> str:
    return _made(nearer_of)


def coverage() -> str:
    return _made(held_of)


def gaps() -> str:
    return _made(gaps_of)


def gap_errors() -> str:
    return _made(gap_errors_of)


def _cells(found: Held | None) -> tuple[str, str]:
    """How many of the intervals hold, with its interval over recordings, and how wide they are."""
    if found is None:
        return "", ""
    low, high = found.interval
    return f"{100 * found.share:.1f} ({100 * low:.0f}-{100 * high:.0f})", f"{found.width:.2f}"


def _percent(found: tuple[float, tuple[float, float]] | None) -> str:
    return "" if found is None else f"{100 * found[0]:.1f}"


def _share(found: tuple[int, int, int]) -> str:
    """In how many of how many, and in how many as near."""
    closer, same, of = found
    return f"{closer} of {of}" + (f", {same} the same" if same else "")


def few() -> str:
    """What figures are worth by the number of draws that they are made of."""
    d = load("few")
    rows = [
        [
            str(r["draws"]),
            *(f"{100 * r[k]:.1f}" for k in ("error", "held", "width")),
            f"{100 * r['least_held']:.1f} ({r['kind'].replace('_ns', '').split()[1]} by {r['kind'].split()[0]})",
        ]
        for r in d["rows"]
    ]
    head = ["draws", "error of the estimate", "ranges that hold", "their width", "least, of one kind of figure"]
    return markdown_table(head, rows) + source(d, "few")


def plausible() -> str:
    """Whether durations of calls with an inferred side are to be believed."""
    d = load("plausible")
    named = {"simulated": "simulated losses", "calls": "whole machines, their calls"}
    rows = [
        [
            f"{named[how]}: {way}",
            *(f"{100 * r[k]:.1f}" for k in ("left", "error")),
            f"{r['nearer']} of {r['recordings']}",
            f"{100 * r['held']:.1f}",
            f"{100 * r['width']:.0f}",
        ]
        for how, ways in d["time in calls by call"].items()
        for way, r in ways.items()
    ]
    head = ["", "error left open", "error of the estimate", "nearer to the truth", "ranges that hold", "their width"]
    return markdown_table(head, rows) + source(d, "plausible")
