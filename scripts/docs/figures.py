"""Every figure of the pages, drawn from files of results: those of the study beside what was measured here, and what
``lost_figures``, ``pictures`` and ``windows`` have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from docs import informed, lost_figures, pictures, windows
from docs.common import ROOT, by_part, rows_of
from docs.drawing import Bars, Curves, Panel, Ranges, draw
from docs.paper import (
    BENCHMARKS,
    BLACKOUTS,
    CORRECTED,
    FIRST,
    LAST,
    LENGTHS,
    LOOKUP,
    LSTM,
    MAIN,
    MASKED,
    MODELS,
    NGRAM,
    PERIOD,
    PRINTED,
    PUBLISHED,
    RANKS,
    Line,
    Number,
    Paper,
    ways,
)
from tracemend.judging.report import markdown_table

FOLDER = ROOT / "docs" / "figures"

#: In place of what the tables call the ranks above 16.
SHORT_RANKS = {k: "17+" if k == "17-255" else k for k in RANKS}
#: A kernel module with fewer events tells nothing.
FEWEST_EVENTS = 10
LABELS = {PRINTED: "SSSD-S4, printed", PUBLISHED: "SSSD-S4 as published", CORRECTED: "SSSD-S4 corrected"}


def label(line: Line) -> str:
    return LABELS.get(line, line.label)


def panel(
    title: str,
    across: str,
    ticks: Sequence[tuple[float, str]],
    curves: Mapping[str, Sequence[tuple[float, Number]]],
    up: str = "accuracy (%)",
) -> Curves:
    """Points that nobody measured and curves without points are left out."""
    drawn = {name: [(x, round(y, 2)) for x, y in points if y is not None] for name, points in curves.items()}
    return Curves(title, across, ticks, {name: p for name, p in drawn.items() if p}, up)


def plain(numbers: Sequence[int]) -> list[tuple[float, str]]:
    return [(n, str(n)) for n in numbers]


def models() -> list[Ranges]:
    """Table IV, from the lowest to the highest benchmark."""
    p = Paper()
    singles = dict.fromkeys((LSTM, MASKED), "other models, here")
    singles |= dict.fromkeys((LOOKUP, NGRAM, PERIOD), "baselines, here")
    rows = [*MODELS.values(), *(line.label for line in singles)]
    lines = [(way.label.partition(", ")[2], row, way) for row, model in enumerate(MODELS) for way in ways(model)] + [
        (how, row, line) for row, (line, how) in enumerate(singles.items(), len(MODELS))
    ]
    panels = []
    for title, subset in (("all gaps", "all"), ("gaps outside the loop", "outside the loop")):
        ranges: dict[str, list[tuple[int, float, float]]] = {}
        for how, row, line in lines:
            held = [x for b in BENCHMARKS if (x := p.value(line, b, 10, subset=subset)) is not None]
            if held:
                ranges.setdefault(how, []).append((row, round(min(held), 2), round(max(held), 2)))
        panels.append(Ranges(title, "accuracy (%), blackout of 10", rows, ranges))
    return panels


def lengths() -> list[Curves]:
    """Figure 4."""
    p = Paper()
    return [
        panel(
            f"{FIRST}, blackout of {gap}",
            "events in the window",
            plain(LENGTHS),
            {label(line): [(n, p.first(line, gap, length=n)) for n in LENGTHS] for line in MAIN},
        )
        for gap in (10, 40)
    ]


def places() -> list[Curves]:
    """Figure 5. What was measured at the shortest gaps only (for figure 6) is no curve."""
    p = Paper()
    panels = []
    for place, where in (("centre", "gap in the centre"), ("end", "gap at the end")):
        curves = {line: [(gap, p.first(line, gap, place=place)) for gap in BLACKOUTS] for line in MAIN}
        shown = {label(line): c for line, c in curves.items() if line.model or any(y is not None for _, y in c[2:])}
        panels.append(panel(f"{FIRST}, {where}", "events lost", plain(BLACKOUTS), shown))
    return panels


def last_events() -> list[Curves]:
    """Figure 6. What is printed is the mean of nine benchmarks; of those measured here, the lowest counts."""
    p = Paper()

    def lowest(line: Line, gap: int, place: str) -> Number:
        # only where the line was measured throughout, or another set of benchmarks would speak at each gap
        whole = [b for b in BENCHMARKS if all(p.own(line.mender, b, g, place=place) is not None for g in LAST)]
        return min((x for b in whole if (x := p.own(line.mender, b, gap, place=place)) is not None), default=None)

    panels = []
    for place, where in (("end", "gap at the end"), ("centre", "gap in the centre")):
        models = {"LSTM, printed": "lstm", "SSSD-S4, printed": "sssd-s4-end"}
        if place == "centre":
            models = {"SSSD-S4, printed": "sssd-s4"}
        curves = {name: [(g, p.printed(model, "average", g)) for g in LAST] for name, model in models.items()}
        curves |= {label(line): [(g, lowest(line, g, place)) for g in LAST] for line in (LSTM, CORRECTED)}
        panels.append(panel(where, "events lost", plain(LAST), {**curves}))
    return panels


def rare() -> list[Curves]:
    """Figure 7: by rank on the study's data, by kernel module where calls have names."""
    p = Paper()
    lines = {label(line): p.ranks(line) for line in (PUBLISHED, CORRECTED, MASKED, LOOKUP, NGRAM, PERIOD)}
    return [
        panel(
            f"{FIRST}, blackout of 10",
            "rank of the call (share of events)",
            ticks(lines, SHORT_RANKS),
            {
                name: [(x, 100 * parts[k]["accuracy"]) for x, k in enumerate(RANKS) if k in parts]
                for name, parts in lines.items()
            },
        ),
        modules(),
    ]


def modules() -> Curves:
    """ADFA-LD, split by trace."""
    shown = {"masked-s4-small": label(MASKED), "sssd-s4-small": label(CORRECTED)}
    shown |= {name: name for name in ("lookup", "n-gram", "copy period")}
    rows = [
        r
        for r in rows_of("honest")[0]
        if (r["data"], r["length"], r["gap"], r["place"]) == ("adfa", 200, 10, "centre") and r["mender"] in shown
    ]
    lines = {name: by_part([r for r in rows if r["mender"] == m], "by_type") for m, name in shown.items()}
    events = {k: part["events"] for parts in lines.values() for k, part in parts.items() if k != "all"}
    kinds = {k: k for k in sorted(events, key=lambda k: -events[k]) if events[k] >= FEWEST_EVENTS}
    return panel(
        "ADFA-LD, blackout of 10",
        "kernel module of the call (share of events)",
        ticks(lines, kinds),
        {
            name: [(x, 100 * parts[k]["type_accuracy"]) for x, k in enumerate(kinds) if k in parts]
            for name, parts in lines.items()
        },
        up="type accuracy (%)",
    )


def ticks(lines: dict[str, dict[str, dict[str, float]]], kinds: dict[str, str]) -> list[tuple[float, str]]:
    """What stands under each kind, with its share of the events; some lines were asked for fewer windows."""
    events = {k: max((parts[k]["events"] for parts in lines.values() if k in parts), default=0) for k in kinds}
    whole = sum(events.values()) or 1
    return [(x, f"{name}\n{100 * events[k] / whole:.2g} %") for x, (k, name) in enumerate(kinds.items())]


#: The name of each picture, what it shows, its panels, and how many stand beside each other.
FIGURES: dict[str, tuple[str, Callable[[], Sequence[Panel]], int]] = {
    "table4-models": ("Accuracy of the study's models, as printed, as published and corrected", models, 2),
    "figure4-lengths": ("Accuracy against the length of the window", lengths, 2),
    "figure5-places": ("Accuracy against the length of the gap, in the centre and at the end of the window", places, 2),
    "figure6-lstm": ("Accuracy on the last one to five events, LSTM and SSSD-S4", last_events, 2),
    "figure7-rare": ("Accuracy by the call's rank and by kernel module", rare, 1),
    **lost_figures.FIGURES,
    **pictures.FIGURES,
    **windows.FIGURES,
    "informed": ("Accuracy of a network that reads the copies' beliefs, beside them", informed.picture, 2),
}


def svg(name: str) -> str:
    title, panels, beside = FIGURES[name]
    return draw(title, panels(), beside)


def table(name: str, results: str, panels: slice = slice(None)) -> str:
    """What a picture shows, or some of its panels, as a table: rows are its rows or curves."""
    columns: dict[str, dict[str, str]] = {}
    shown = FIGURES[name][1]()[panels]
    for panel_ in shown:
        title = f"{panel_.title}: " if len(shown) > 1 else ""
        if isinstance(panel_, Curves):
            for x, tick in panel_.ticks:
                held = {label: y for label, points in panel_.curves.items() for at, y in points if at == x}
                columns[title + tick.replace("\n", ", ")] = {label: f"{y:.1f}" for label, y in held.items()}
        elif isinstance(panel_, Bars):
            for label, values in panel_.bars.items():
                held = {row: value for row, value in zip(panel_.rows, values, strict=True) if value is not None}
                columns[title + label] = {row: f"{value:.1f}" for row, value in held.items()}
        elif isinstance(panel_, Ranges):
            for label, ranges in panel_.ranges.items():
                columns[title + label] = {panel_.rows[row]: f"{low:.1f}-{high:.1f}" for row, low, high in ranges}
    rows = dict.fromkeys(row for cells in columns.values() for row in cells)
    body = [[row, *(cells.get(row, "") for cells in columns.values())] for row in rows]
    return markdown_table(["per cent", *columns], body) + rows_of(results)[1] if body else "Not run.\n"


def stale() -> list[str]:
    """The names of the figures that would look other than they do."""
    there = {path.stem: path.read_text() for path in FOLDER.glob("*.svg")}
    return [name for name in FIGURES if there.get(name) != svg(name)]


def write(folder: Path = FOLDER) -> list[str]:
    """Draw all figures; returns the names of those that look other than before."""
    changed = stale()
    for name in changed:
        folder.joinpath(f"{name}.svg").write_text(svg(name))
    return changed
