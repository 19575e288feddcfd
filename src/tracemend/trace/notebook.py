"""How things look in a notebook: sentences, tables and a small timeline, as HTML that stands for itself.

No script, nothing from elsewhere, every text escaped, and never large, however large the trace. Texts and lines have
the colour of what is around them, so it is readable on light and on dark.

Axis legend: X columns of time.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from tracemend.trace.events import Gap
from tracemend.trace.evidence import plural
from tracemend.untrusted import printable

#: Rows of a table and lanes of a timeline that are shown, and characters of a text.
ROWS, LANES, LONGEST = 10, 12, 400
#: Columns of time, how wide each is drawn, how high a lane is, and the room for its name; in pixels.
COLUMNS, WIDE, HIGH, NAME = 320, 2, 18, 48
#: Pixels from lane to lane, and between the strokes that hatch.
PITCH, STROKES = 26, 6

#: What becomes of a lost stretch, and what its mark is called. Each has a shape of its own besides its colour.
KINDS = {"filled": "filled", "refused": "refused", "left": "left open", "lost": "lost", "suspected": "suspected"}
COLOURS = {"filled": "#2f7fd6", "refused": "#c77a12", "left": "#d0457f", "lost": "#d0457f", "suspected": "#8a6fd0"}

STYLE = """<style>
.tracemend{font:13px/1.5 system-ui,sans-serif;max-width:880px}
.tracemend p{margin:4px 0}
.tracemend .wide{overflow-x:auto}
.tracemend table{border-collapse:collapse;margin:6px 0;font:inherit;font-variant-numeric:tabular-nums}
.tracemend caption{text-align:left;font-weight:600;padding:4px 0}
.tracemend .wide th,.tracemend .wide td{padding:2px 12px 2px 0;text-align:left;white-space:nowrap;border:0}
.tracemend .wide th{font-weight:600;border-bottom:1px solid}
.tracemend .wide .n{text-align:right}
.tracemend .dim{opacity:.7}
.tracemend svg{max-width:100%;height:auto;display:block;margin:6px 0}
</style>"""


def text(value: object) -> str:
    """A text as HTML: what would act is spelt out, and what is too long is cut."""
    shown = printable(str(value))
    return html.escape(shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…")


def box(*parts: str) -> str:
    """The parts, with the style that they need."""
    return f'<div class="tracemend">{STYLE}{"".join(parts)}</div>'


def said(*sentences: object, title: str = "") -> str:
    """A paragraph, with a word in front that says what this is."""
    head = f"<b>{text(title)}</b> " if title else ""
    return f"<p>{head}{' '.join(text(s) for s in sentences)}</p>"


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], caption: str = "", of: int | None = None) -> str:
    """The first rows, of so many (by default of those given). Columns of numbers stand to the right, and those without
    anything in them are left out."""
    shown, of = [[str(cell) for cell in row] for row in rows[:ROWS]], len(rows) if of is None else of
    there = [i for i in range(len(columns)) if any(row[i] for row in shown)]
    columns, shown = [columns[i] for i in there], [[row[i] for i in there] for row in shown]
    right = [bool(shown) and all(row[i][:1].isdigit() or not row[i] for row in shown) for i in range(len(columns))]
    kinds = [' class="n"' if n else "" for n in right]
    head = "".join(f"<th{kind}>{text(c)}</th>" for kind, c in zip(kinds, columns, strict=True))
    lines = ("".join(f"<td{kind}>{text(c)}</td>" for kind, c in zip(kinds, row, strict=True)) for row in shown)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    title = f"<caption>{text(caption)}</caption>" if caption else ""
    more = f'<p class="dim">and {of - len(shown):,} more</p>' if of > len(shown) else ""
    return f'<div class="wide"><table>{title}<tr>{head}</tr>{body}</table></div>{more}'


def kind(gap: Gap, status: str = "lost") -> str:
    """Which mark a gap has: what became of it, if anything was tried, or that it is only suspected."""
    return "suspected" if status in ("left", "lost") and gap.known == "suspected" else status


def timeline(
    gaps: Sequence[Gap],
    kinds: Sequence[str],
    cpus: Iterable[int],
    span: tuple[int, int],
    density: Callable[[int], NDArray[np.int64]] | None,
    end: str,
) -> str:
    """Lanes of cpus over the trace's time: where events survived (grey) and where they were lost, each gap's mark by
    its kind (see ``KINDS``). Of too many cpus those with the most gaps are shown. density: of a cpu, how many events
    survived in each column (X,), if that is known. end: what stands at the end of time."""
    lanes: dict[int, dict[str, list[Gap]]] = {cpu: {} for cpu in cpus}
    for gap, mark in zip(gaps, kinds, strict=True):
        lanes.setdefault(gap.cpu, {}).setdefault(mark, []).append(gap)
    if not lanes:
        return ""
    most = sorted(lanes, key=lambda cpu: (-sum(map(len, lanes[cpu].values())), cpu))[:LANES]
    high = PITCH * len(most) + 18
    drawn = "".join(
        _lane(cpu, PITCH * i, lanes[cpu], span, density and density(cpu)) for i, cpu in enumerate(sorted(most))
    )
    least, wide = PITCH * len(most) + 12, NAME + COLUMNS * WIDE
    axis = f'<text x="{NAME}" y="{least}">0</text><text x="{wide}" y="{least}" text-anchor="end">{text(end)}</text>'
    there = [k for k in KINDS if k in kinds]
    name = f"{plural(len(gaps), 'gap')} on a timeline of {plural(len(lanes), 'cpu')}"
    svg = (
        f'<svg role="img" aria-label="{text(name)}" viewBox="0 0 {wide} {high}" width="{wide}" height="{high}" '
        f'font-size="11" fill="currentColor">{drawn}{axis}</svg>'
    )
    hidden = len(lanes) - len(most)
    more = f'<p class="dim">and {plural(hidden, "more cpu")}, with fewer gaps</p>' if hidden else ""
    return svg + more + _legend(there, density is not None)


def _legend(kinds: Sequence[str], recorded: bool) -> str:
    """What each mark is, beside a small one."""
    mark = 'width="22" height="18" style="display:inline;vertical-align:middle;margin:0"'
    grey = f'<svg {mark} fill="currentColor"><path d="M1 18v-9h20v9z" opacity=".35"/></svg> recorded'
    marks = [grey] if recorded else []
    marks += [f"<svg {mark}>{_marks(k, [(1, 21)], 0)}</svg> {text(KINDS[k])}" for k in kinds]
    return f"<p>{' &nbsp; '.join(marks)}</p>"


def _lane(
    cpu: int, y: int, marks: dict[str, list[Gap]], span: tuple[int, int], density: NDArray[np.int64] | None
) -> str:
    name = f"cpu {cpu}" if cpu >= 0 else "trace"
    drawn = "".join(_marks(k, _runs(marks[k], span), y) for k in KINDS if k in marks)
    return (
        f'<text x="0" y="{y + HIGH - 3}">{name}</text>'
        f'<path d="M{NAME} {y + HIGH}h{COLUMNS * WIDE}" stroke="currentColor" opacity=".35"/>'
        f"{'' if density is None else _recorded(density, y)}{drawn}"
    )


def _recorded(density: NDArray[np.int64], y: int) -> str:
    """How many events survived, as the skyline of a lane."""
    high = np.where(density > 0, 1 + np.round((HIGH - 1) * density / max(1, int(density.max(initial=0)))), 0).astype(
        int
    )
    steps = np.flatnonzero(np.diff(high, prepend=0, append=0))
    path = "".join(f"V{y + HIGH - (high[x] if x < len(high) else 0)}H{_next(steps, i)}" for i, x in enumerate(steps))
    begin = f"M{NAME + WIDE * (steps[0] if len(steps) else 0)} {y + HIGH}"
    return f'<path d="{begin}{path}z" opacity=".3"/>'


def _next(steps: NDArray[np.int64], i: int) -> int:
    """Where the height changes next, in pixels."""
    return NAME + WIDE * int(steps[min(i + 1, len(steps) - 1)])


def _runs(gaps: Sequence[Gap], span: tuple[int, int]) -> list[tuple[int, int]]:
    """From where to where, in pixels, there are gaps; each is one column wide at least."""
    lo, wide = span[0], max(1, span[1] - span[0])
    sides = np.array([(g.begin_ns - lo, g.end_ns - lo) for g in gaps], float) / wide * COLUMNS
    begin = np.clip(np.floor(sides[:, 0]), 0, COLUMNS - 1).astype(int)
    end = np.clip(np.ceil(sides[:, 1]), begin + 1, COLUMNS).astype(int)
    change = np.zeros(COLUMNS + 1, np.int64)
    np.add.at(change, begin, 1)
    np.add.at(change, end, -1)
    edges = np.flatnonzero(np.diff(np.cumsum(change) > 0, prepend=False))
    pixels = (NAME + WIDE * edges).tolist()
    return list(zip(pixels[::2], pixels[1::2], strict=True))


def _marks(kind: str, runs: Sequence[tuple[int, int]], y: int) -> str:
    """Filled: solid. Refused: hollow. Lost or left open: hatched. Suspected: dotted."""
    colour = COLOURS[kind]
    boxes = "".join(f"M{a} {y}h{b - a}v{HIGH}h{a - b}z" for a, b in runs)
    if kind == "filled":
        return f'<path d="{boxes}" fill="{colour}"/>'
    outline = f'<path d="{boxes}" fill="none" stroke="{colour}" stroke-width="1.2"'
    if kind == "suspected":
        return f'{outline} stroke-dasharray="2 2"/>'
    if kind == "refused":
        return f"{outline}/>"
    strokes = "".join(f"M{x} {y + HIGH}L{min(x + STROKES, b)} {y}" for a, b in runs for x in range(a, b, STROKES))
    return f'{outline} opacity=".6"/><path d="{strokes}" stroke="{colour}" stroke-width="1.2"/>'
