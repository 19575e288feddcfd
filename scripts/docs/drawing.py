"""Panels to SVG, in a few lines of our own: text stays text, the same data give the same bytes with every version of
everything, a page in the dark gets a dark picture, and a picture has some kilobytes.

Colours are those that the colour-blind can tell apart (Okabe and Ito), lighter in the dark; curves also differ by their
marks. Ours is blue wherever it stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import cycle


@dataclass(frozen=True)
class Curves:
    """By label points (x, y); ticks: (x, what stands there), a line end in it begins a second line."""

    title: str
    across: str
    ticks: Sequence[tuple[float, str]]
    curves: Mapping[str, Sequence[tuple[float, float]]]
    up: str = "events right (%)"
    least: float = 0
    most: float = 100


@dataclass(frozen=True)
class Bars:
    """By label a number for each row, from top to bottom; None where there is none. line: what is to be reached."""

    title: str
    across: str
    rows: Sequence[str]
    bars: Mapping[str, Sequence[float | None]]
    most: float = 100
    shown: str = ".0f"
    line: float | None = None


@dataclass(frozen=True)
class Ranges:
    """By label, for some of the rows, (row, lowest, highest)."""

    title: str
    across: str
    rows: Sequence[str]
    ranges: Mapping[str, Sequence[tuple[int, float, float]]]
    least: float = 0
    most: float = 100
    line: float | None = None


@dataclass(frozen=True)
class Columns:
    """Numbers beside each other, as over time."""

    title: str
    across: str
    up: str
    values: Sequence[float]
    ticks: Sequence[tuple[float, str]]
    most: float


Panel = Curves | Bars | Ranges | Columns
Styles = Mapping[str, tuple[str, str, bool]]

#: Colours on light and on dark paper.
COLOURS = {
    "ink": ("#1f2328", "#e6e8eb"),
    "soft": ("#59636e", "#a3abb5"),
    "rule": ("#e1e4e8", "#3a3f4b"),
    "paper": ("#ffffff", "#1e2129"),
    "blue": ("#0072b2", "#56b4e9"),
    "green": ("#009e73", "#2fc79d"),
    "orange": ("#e69f00", "#f0b63c"),
    "red": ("#d55e00", "#ff8b3d"),
    "purple": ("#aa4e85", "#dd9bc3"),
    "grey": ("#7f7f7f", "#9a9a9a"),
}
#: Colour and mark of a label, and whether its line is broken; a label that isn't here has the next of OTHERS.
STYLES = {
    "SSSD-S4, printed": ("ink", "square", True),
    "SSSD-S4": ("red", "square", False),
    "SSSD-S4 as published": ("red", "circle", False),
    "SSSD-S4 corrected": ("blue", "circle", False),
    "LSTM, printed": ("ink", "diamond", True),
    "LSTM": ("orange", "diamond", False),
    "masked S4": ("purple", "down", False),
    "lookup": ("green", "up", False),
    "n-gram": ("orange", "down", False),
    "copy period": ("grey", "cross", False),
    "copy": ("red", "cross", False),
    "mosaic": ("blue", "circle", False),
    "mixture": ("ink", "square", False),
    "mend": ("blue", "circle", False),
    "lookup + examples": ("green", "up", False),
    "most frequent": ("grey", "cross", False),
    "as it says": ("soft", "", True),
    "left open": ("grey", "cross", False),
    "as printed": ("ink", "square", False),
    "as published, here": ("red", "circle", False),
    "corrected, here": ("blue", "circle", False),
    "other models, here": ("purple", "diamond", False),
    "baselines, here": ("green", "up", False),
}
OTHERS = (("blue", "circle"), ("orange", "diamond"), ("green", "up"), ("purple", "down"), ("grey", "cross"))
MARKS = {
    "circle": "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    "square": "M-3.5-3.5h7v7h-7z",
    "diamond": "M0-4.8 4.8 0 0 4.8-4.8 0z",
    "up": "M0-4.6 4.6 3.6h-9.2z",
    "down": "M0 4.6 4.6-3.6h-9.2z",
    "cross": "M-3.4-3.4 3.4 3.4M3.4-3.4-3.4 3.4",
}
#: Curves that lie above this share of the scale don't begin at 0.
FAR_UP = 0.35
#: The picture's width, the room beside panels, the height of a line of text, of a plot of curves, of a bar; the width
#: of a letter, by which text is given room.
WIDE, EDGE, GAP, LINE, HIGH, BAR, LETTER = 660, 14, 22, 18, 190, 13, 7.1


def draw(title: str, panels: Sequence[Panel], beside: int = 2) -> str:
    """The picture; so many panels stand beside each other. Panels with rows share those of the first beside them."""
    styles = _styles(panels)
    body, y = _legend(panels, styles, EDGE) if len(styles) > 1 else ([], float(EDGE))
    for at in range(0, len(panels), beside):
        row = alike(panels[at : at + beside])
        names = 12 + LETTER * max((len(n) for p in row if isinstance(p, Bars | Ranges) for n in p.rows), default=-1)
        wide = (WIDE - 2 * EDGE - names - GAP * (len(row) - 1)) / len(row)
        highs = _row_heights(row)
        bottoms = []
        for n, panel in enumerate(row):
            x = EDGE + names + n * (wide + GAP)
            made, bottom = _panel(panel, (x, y, wide), highs, styles, first=not n)
            body += made
            bottoms.append(bottom)
        y = max(bottoms) + EDGE
    return sheet(title, round(y), body)


def sheet(title: str, high: int, body: Iterable[str]) -> str:
    """The whole drawing; parts of it take their colour by ``class`` and ``currentColor``."""
    return "\n".join([*_head(title, high), *body, "</svg>"]) + "\n"


def _head(title: str, high: int) -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {high}" width="{WIDE}" height="{high}" '
        'role="img" font-family="system-ui, Segoe UI, Helvetica, Arial, sans-serif" font-size="13">'
    )
    yield f"<title>{escape(title)}</title>"
    light, dark = ("".join(f".{name}{{color:{c[n]}}}" for name, c in COLOURS.items()) for n in (0, 1))
    yield f"<style>{light}@media(prefers-color-scheme:dark){{{dark}}}</style>"
    yield f'<rect class="paper" width="{WIDE}" height="{high}" rx="6" fill="currentColor"/>'


def _styles(panels: Iterable[Panel]) -> dict[str, tuple[str, str, bool]]:
    labels = dict.fromkeys(name for p in panels for name in _series(p))
    taken = {STYLES[name][0] for name in labels if name in STYLES}
    free = cycle([style for style in OTHERS if style[0] not in taken] or OTHERS)
    return {name: STYLES.get(name) or (*next(free), False) for name in labels}


def _series(panel: Panel) -> Iterable[str]:
    match panel:
        case Curves():
            return panel.curves
        case Bars():
            return panel.bars
        case Ranges():
            return panel.ranges
        case Columns():
            return ()


def _legend(panels: Iterable[Panel], styles: Styles, y: float) -> tuple[list[str], float]:
    """Marks and their names, in as many lines as they take; and where it ends."""
    filled = {name for p in panels if isinstance(p, Bars) for name in p.bars}
    made, x, y = [], float(EDGE), y + LINE / 2
    for name, style in styles.items():
        if not name:
            continue
        if x > EDGE and x + 36 + LETTER * len(name) > WIDE - EDGE:
            x, y = EDGE, y + LINE
        if name in filled:
            made.append(f'<rect class="{style[0]}" {_at(x + 4, y - 6)} width="18" height="12" fill="currentColor"/>')
        else:
            made += [_line([(x, y), (x + 24, y)], style), *_marks([(x + 12, y)], style)]
        made.append(_text(x + 30, y + 4.5, name))
        x += 48 + LETTER * len(name)
    return made, y + LINE


def _panel(
    panel: Panel, place: tuple[float, float, float], highs: Sequence[float], styles: Styles, *, first: bool
) -> tuple[list[str], float]:
    """One panel with its title at (left, top, width), and where it ends; ``first`` has the names of the rows."""
    x, y, wide = place
    upright = isinstance(panel, Curves | Columns)
    made = [_text(x if upright or not first else EDGE, y + 13, panel.title, more=' font-weight="600"')]
    y += LINE + (LINE + 4 if upright else 6)
    if isinstance(panel, Curves | Columns):
        made.append(_text(x, y - 11, panel.up, "soft", size=12))
        plot, bottom = _upright(panel, (x + 34, y, wide - 34 - 8), styles)
    else:
        plot, bottom = _rows(panel, (x, y, wide - 8), highs, styles)
        if first:
            middles = (y + sum(highs[:n]) + highs[n] / 2 + 4.5 for n in range(len(panel.rows)))
            made += [_text(x - 8, up, name, "ink", "end") for up, name in zip(middles, panel.rows, strict=True)]
    return [*made, *plot], bottom


def alike(panels: Sequence[Panel]) -> list[Panel]:
    """Curves beside each other begin at the same number: at 0, or not far below the lowest where all are high."""
    values = [y / p.most for p in panels if isinstance(p, Curves) for curve in p.curves.values() for _, y in curve]
    lowest = min(values, default=0)
    share = 0 if lowest < FAR_UP else (5 * lowest // 1) / 5
    return [replace(p, least=share * p.most) if isinstance(p, Curves) else p for p in panels]


def _upright(panel: Curves | Columns, place: tuple[float, float, float], styles: Styles) -> tuple[list[str], float]:
    """Curves or columns, and where their axis ends."""
    x, y, wide = place
    low = panel.least if isinstance(panel, Curves) else 0
    made = []
    for value in round_numbers(low, panel.most):
        up = y + HIGH * (1 - (value - low) / (panel.most - low))
        made += [_rule(x, up, x + wide, up), _text(x - 6, up + 4.5, f"{value:,.4g}", "soft", "end")]
    if isinstance(panel, Curves):
        ends = [t for t, _ in panel.ticks]
        left, right = min(ends, default=0), max(ends, default=1)
        inset = 16

        def across(value: float) -> float:
            return x + inset + (wide - 2 * inset) * (value - left) / ((right - left) or 1)

        for name, curve in panel.curves.items():
            held = [(across(a), y + HIGH * (1 - (b - low) / (panel.most - low))) for a, b in curve]
            made += [_line(held, styles[name]), *_marks(held, styles[name])]
    else:
        each = wide / max(1, len(panel.values))
        made.append('<g class="blue" fill="currentColor">')
        for n, value in enumerate(panel.values):
            high = HIGH * value / panel.most
            made.append(f'<rect {_at(x + n * each, y + HIGH - high)} width="{each * 0.86:.1f}" height="{high:.1f}"/>')
        made.append("</g>")

        def across(value: float) -> float:
            return x + wide * value

    lines = max((text.count("\n") + 1 for _, text in panel.ticks), default=1)
    for value, text in panel.ticks:
        for n, part in enumerate(text.split("\n")):
            made.append(_text(across(value), y + HIGH + 17 + n * 15, part, "soft", "middle"))
    bottom = y + HIGH + 17 + 15 * lines + 4
    made.append(_text(x + wide / 2, bottom, panel.across, "ink", "middle"))
    return made, bottom


def _row_heights(panels: Iterable[Panel]) -> list[float]:
    """Of the rows that panels beside each other share."""
    most: dict[int, int] = {}
    for panel in panels:
        if isinstance(panel, Bars | Ranges):
            for row, names in enumerate(_in_rows(panel)):
                most[row] = max(most.get(row, 1), len(names))
    return [BAR * n + 9 for n in most.values()]


def _in_rows(panel: Bars | Ranges) -> list[list[str]]:
    """What stands in each row."""
    return [[n for n, held in _places(panel).items() if row in held] for row in range(len(panel.rows))]


def _rows(
    panel: Bars | Ranges, place: tuple[float, float, float], highs: Sequence[float], styles: Styles
) -> tuple[list[str], float]:
    """Bars or ranges by row, several of one row below each other, and where their axis ends."""
    x, y, wide = place
    tops = [y + sum(highs[:n]) for n in range(len(highs) + 1)]
    # behind the longest bar there is room for its number
    wide -= 5 * LETTER if isinstance(panel, Bars) else 0
    least = panel.least if isinstance(panel, Ranges) else 0

    def across(value: float) -> float:
        return x + wide * (value - least) / (panel.most - least)

    made = []
    for value in round_numbers(least, panel.most):
        at = across(value)
        made += [_rule(at, y, at, tops[-1]), _text(at, tops[-1] + 16, f"{value:,.4g}", "soft", "middle")]
    for row, labels in enumerate(_in_rows(panel)):
        if row and isinstance(panel, Ranges):
            made.append(_rule(x, tops[row], x + wide, tops[row]))
        for n, label in enumerate(labels):
            up = (tops[row] + tops[row + 1]) / 2 + BAR * (n - (len(labels) - 1) / 2)
            for low, high in _places(panel)[label][row]:
                ends = [(across(low), up), (across(high), up)]
                if isinstance(panel, Ranges):
                    made += [_line(ends, (styles[label][0], "", False)), *_marks(ends, styles[label])]
                else:
                    long = f'width="{max(1.0, ends[1][0] - x):.1f}" height="{BAR - 2}" fill="currentColor"'
                    made.append(f'<rect class="{styles[label][0]}" {_at(x, up - BAR / 2 + 1)} {long}/>')
                    made.append(_text(ends[1][0] + 4, up + 4.5, format(high, panel.shown), "soft", size=12))
    if panel.line is not None:
        made.append(_line([(across(panel.line), y), (across(panel.line), tops[-1])], ("ink", "", True)))
    made.append(_text(x + wide / 2, tops[-1] + 34, panel.across, "ink", "middle"))
    return made, tops[-1] + 34


def _places(panel: Bars | Ranges) -> dict[str, dict[int, list[tuple[float, float]]]]:
    """By label and row, from where to where."""
    if isinstance(panel, Bars):
        return {
            name: {row: [(0, value)] for row, value in enumerate(held) if value is not None}
            for name, held in panel.bars.items()
        }
    places: dict[str, dict[int, list[tuple[float, float]]]] = {}
    for name, held in panel.ranges.items():
        for row, low, high in held:
            places.setdefault(name, {}).setdefault(row, []).append((low, high))
    return places


def round_numbers(low: float, most: float) -> list[float]:
    """From the one to the other, for an axis; seven at most."""
    whole = most - low
    size = 10.0 ** (len(str(int(whole))) - 1) if whole >= 1 else 0.1
    step = next(s for s in (size / 5, size / 2, size, 2 * size) if whole / s <= 6)
    first = -(-low // step) * step
    return [round(first + n * step, 9) for n in range(int((most - first) / step + 1e-9) + 1)]


def _at(x: float, y: float) -> str:
    return f'x="{x:.1f}" y="{y:.1f}"'


def _text(
    x: float, y: float, text: str, colour: str = "ink", anchor: str = "start", *, size: int = 0, more: str = ""
) -> str:
    more += f' text-anchor="{anchor}"' if anchor != "start" else ""
    more += f' font-size="{size}"' if size else ""
    return f'<text class="{colour}" {_at(x, y)} fill="currentColor"{more}>{escape(text)}</text>'


def _rule(x: float, y: float, x2: float, y2: float) -> str:
    return f'<path class="rule" d="M{x:.1f} {y:.1f}L{x2:.1f} {y2:.1f}" stroke="currentColor"/>'


def _line(points: Sequence[tuple[float, float]], style: tuple[str, str, bool]) -> str:
    broken = ' stroke-dasharray="5 4"' if style[2] else ""
    way = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return f'<path class="{style[0]}" d="M{way}" fill="none" stroke="currentColor" stroke-width="2"{broken}/>'


def _marks(points: Iterable[tuple[float, float]], style: tuple[str, str, bool]) -> list[str]:
    colour, mark, _ = style
    if not mark:
        return []
    paint = 'fill="none" stroke="currentColor" stroke-width="2"' if mark == "cross" else 'fill="currentColor"'
    shape = f'<path d="{MARKS[mark]}" transform="translate({{:.1f}} {{:.1f}})"/>'
    return [f'<g class="{colour}" {paint}>', *(shape.format(x, y) for x, y in points), "</g>"]
