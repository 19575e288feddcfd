"""Panels to SVG: curves with their names at their ends, and ranges by row. Text stays text, bytes stay the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, TypedDict, final

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@final
class Panel(TypedDict):
    """Curves by their label, points (x, y) with y in per cent; ticks: (x, what stands there)."""

    title: str
    across: str
    up: str
    ticks: list[tuple[float, str]]
    curves: dict[str, list[tuple[float, float]]]


@final
class Ranges(TypedDict):
    """Rows from top to bottom; by label, for some of the rows, (row, lowest, highest) in per cent."""

    title: str
    across: str
    rows: list[str]
    ranges: dict[str, list[tuple[int, float, float]]]


#: Colours that the colour-blind can tell apart (Okabe and Ito): what is printed is black, what learns nothing grey.
BLACK, GREY, BLUE, GREEN = "#000000", "#7F7F7F", "#0072B2", "#009E73"
ORANGE, RED, PURPLE, SKY = "#E69F00", "#D55E00", "#CC79A7", "#56B4E9"
STYLES = {
    "SSSD-S4, printed": (BLACK, "s", "--"),
    "SSSD-S4 as published": (RED, "o", "-"),
    "SSSD-S4 corrected": (BLUE, "o", "-"),
    "LSTM, printed": (BLACK, "D", "--"),
    "LSTM": (ORANGE, "D", "-"),
    "masked S4": (PURPLE, "v", "-"),
    "lookup": (GREEN, "^", "-"),
    "n-gram": (SKY, "v", "-"),
    "copy period": (GREY, "x", "-"),
    "mosaic + examples": (BLUE, "o", "-"),
    "lookup + examples": (GREEN, "^", "-"),
    "most frequent": (GREY, "x", "-"),
    "as it says": (GREY, "", "--"),
    "as printed": (BLACK, "s", "-"),
    "as published, here": (RED, "o", "-"),
    "corrected, here": (BLUE, "o", "-"),
    "other models, here": (PURPLE, "D", "-"),
    "baselines, here": (GREEN, "^", "-"),
}
#: Room above 100 % for what lies there.
TOP = 102.5


def draw(path: Path, title: str, panels: Sequence[Panel | Ranges], description: str) -> None:
    """The same bytes for the same data (and the same matplotlib)."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(
        {
            "svg.hashsalt": "tracemend",
            "svg.fonttype": "none",
            "font.family": "sans-serif",
            "font.sans-serif": ["DejaVu Sans"],
            "font.size": 9.5,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": "#444444",
            "xtick.color": "#444444",
            "ytick.color": "#444444",
        }
    ):
        figure = Figure(figsize=(9.2, 3.5), layout="constrained")
        values = [y for p in panels if "curves" in p for curve in p["curves"].values() for _, y in curve]
        low = max(-4, 10 * ((min(values, default=0) - 4) // 10))
        all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, panel in zip(all_axes, panels, strict=True):
            axes.set_title(panel["title"], fontsize=10.5, loc="left")
            axes.set_axisbelow(True)
            if "curves" in panel:
                _curves(axes, panel, low)
            else:
                _ranges(axes, panel, first=axes is all_axes[0])
        if handles := all_axes[0].get_legend_handles_labels()[0]:
            figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False)
        metadata = {"Date": None, "Creator": None, "Title": title, "Description": description}
        figure.savefig(path, format="svg", metadata=metadata)


def _curves(axes: Axes, panel: Panel, low: float) -> None:
    positions = [x for x, _ in panel["ticks"]]
    axes.set(xlabel=panel["across"], ylabel=panel["up"], ylim=(low, TOP))
    axes.set_xticks(positions, [text for _, text in panel["ticks"]])
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.7)
    for name, curve in panel["curves"].items():
        colour, marker, line = STYLES[name]
        x, y = zip(*curve, strict=True)
        axes.plot(x, y, line, color=colour, marker=marker, markersize=4.5, linewidth=1.6, clip_on=False)
    _names(axes, panel["curves"], last=max(positions, default=0), apart=(TOP - low) * 0.058)


def _names(axes: Axes, curves: dict[str, list[tuple[float, float]]], last: float, apart: float) -> None:
    """The name of each curve at its end: in the margin, moved apart, or, where it ends early, right beside it."""
    ends = {name: curve[-1] for name, curve in curves.items()}
    whole = sorted((name for name, (x, _) in ends.items() if x == last), key=lambda n: ends[n][1])
    for name, at in zip(whole, spread([ends[n][1] for n in whole], apart, most=TOP + apart), strict=True):
        colour = STYLES[name][0]
        axes.annotate(
            name,
            ends[name],
            xytext=(20, at),
            textcoords=("offset points", "data"),
            va="center",
            color=darker(colour),
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.6,
                "relpos": (0, 0.5),
                "shrinkA": 1,
                "shrinkB": 5,
            },
        )
    for name, end in ends.items():
        if name not in whole:
            colour = darker(STYLES[name][0])
            axes.annotate(name, end, xytext=(8, 0), textcoords="offset points", va="center", color=colour)


def _ranges(axes: Axes, panel: Ranges, *, first: bool) -> None:
    """Several of one row lie side by side, in the order of their labels."""
    rows = panel["rows"]
    axes.set(xlabel=panel["across"], xlim=(-2, TOP), ylim=(len(rows) - 0.4, -0.6))
    axes.set_yticks(range(len(rows)), rows if first else [""] * len(rows))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#DDDDDD", linewidth=0.7)
    for row in range(1, len(rows)):
        axes.axhline(row - 0.5, color="#EEEEEE", linewidth=0.7, zorder=0)
    beside = [[n for n, held in panel["ranges"].items() if row in {r for r, *_ in held}] for row in range(len(rows))]
    for name, held in panel["ranges"].items():
        colour, marker, _ = STYLES[name]
        y = [row + 0.24 * (beside[row].index(name) - (len(beside[row]) - 1) / 2) for row, *_ in held]
        low, high = [x for _, x, _ in held], [x for *_, x in held]
        axes.hlines(y, low, high, color=colour, linewidth=2.2)
        for n, x in enumerate((low, high)):
            axes.plot(x, y, marker, color=colour, markersize=4, clip_on=False, label=name if not n else None)


def darker(colour: str) -> str:
    """For text, which is thinner than a curve."""
    return "#" + "".join(f"{int(colour[i : i + 2], 16) * 7 // 10:02X}" for i in (1, 3, 5))


def spread(wanted: Sequence[float], apart: float, most: float) -> list[float]:
    """Rising numbers, ``apart`` from each other and up to ``most``, as near the wanted ones as that allows."""
    blocks: list[list[float]] = []  # of what is left of each number without the room below it; a block has one mean
    for i, y in enumerate(wanted):
        blocks.append([y - i * apart])
        while len(blocks) > 1 and mean(blocks[-2]) > mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    level = [mean(block) for block in blocks for _ in block]
    return [min(y + i * apart, most - (len(level) - 1 - i) * apart) for i, y in enumerate(level)]
