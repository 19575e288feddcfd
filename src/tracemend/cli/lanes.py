"""Lanes of cpus over time, drawn with characters: how much of the time was lost, and what became of it.

Axis legend: G gaps, X columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from tracemend.cli.tables import BARS
from tracemend.cli.terminal import cpu_name, painted
from tracemend.outputs.folder import Folder, Row
from tracemend.trace.evidence import duration

#: Cpus that are drawn, at most.
MOST = 32
#: What a column shows of a gap that isn't just filled, what that means and how it is painted; the last one that a
#: column has counts.
MARKS = (
    ("?", "suspected (the tracer marked nothing) and filled", "35"),
    ("x", "refused: the fill was too unsure", "33"),
    ("o", "left open", "31"),
)
FILLED = "36"


def lanes(folder: Folder, width: int) -> list[str]:
    """The lines: one a cpu, the time below them, and what the characters mean. Empty where nothing has a time."""
    begin, end = _ends(folder)
    if begin >= end:
        return []
    gaps = {cpu: list(rows) for cpu, rows in groupby(sorted(folder.gaps, key=_cpu), key=_cpu)}
    cpus = sorted({*gaps, *(folder.span.cpus if folder.span else ())})
    shown = cpus[:MOST] if len(cpus) > MOST else cpus
    names = [f"cpu {cpu_name(cpu)}" for cpu in shown]
    margin = max(map(len, names), default=0)
    columns = max(10, width - margin - 3)
    lines, used = [], set[str]()
    for cpu, name in zip(shown, names, strict=True):
        drawn = lane(gaps.get(cpu, []), columns, begin, end)
        used.update(drawn)
        lines.append(f"{name:<{margin}} [{_in_colour(drawn)}]")
    lines.append(f"{'':{margin}}  {_axis(begin, end, columns, folder.clocked)}")
    if len(cpus) > len(shown):
        lines.append(f"{len(cpus) - len(shown):,} more cpus are not drawn.")
    if used & set(BARS[1:]):
        lines.append(f"{painted('▂▅█', FILLED)}  lost and filled, by how much of the time")
    lines += [f"{painted(mark, style)}    {meant}" for mark, meant, style in MARKS if mark in used]
    return lines


def lane(gaps: Sequence[Row], columns: int, begin: int, end: int) -> str:
    """One cpu's characters (X)."""
    # shares of the whole time: numbers of ns that a damaged overlay makes up may be larger than arrays take
    first_G, last_G = (np.array([(g[side] - begin) / (end - begin) for g in gaps]) for side in ("begin_ns", "end_ns"))
    level = np.ceil(_lost(first_G, last_G, columns) * (len(BARS) - 1)).astype(int)
    from_G = np.minimum(first_G * columns, columns - 1).astype(int)
    to_G = np.clip(np.ceil(last_G * columns).astype(int), from_G + 1, columns)
    level = np.maximum(level, _touched(from_G, to_G, columns))
    drawn = np.array(list(BARS))[level]
    kind = np.array([_kind(g) for g in gaps], int)
    for i, (mark, *_) in enumerate(MARKS):
        drawn[_touched(from_G[kind == i], to_G[kind == i], columns)] = mark
    return "".join(drawn)


def _kind(gap: Row) -> int:
    """Which of the marks a gap has; -1 for none."""
    if gap["status"] == "filled":
        return 0 if gap["known"] == "suspected" else -1
    return 1 if gap["status"] == "refused" else 2


def _touched(from_G: NDArray[np.int_], to_G: NDArray[np.int_], columns: int) -> NDArray[np.bool_]:
    """The columns in which there is a gap (X,)."""
    steps = np.zeros(columns + 1, np.int64)
    np.add.at(steps, from_G, 1)
    np.add.at(steps, to_G, -1)
    return np.asarray(np.cumsum(steps)[:-1] > 0)


def _lost(first_G: NDArray[np.float64], last_G: NDArray[np.float64], columns: int) -> NDArray[np.float64]:
    """The share of each column's time that lies in gaps (X,)."""
    edges = np.linspace(0, 1, columns + 1)

    def before(times_G: NDArray[np.float64]) -> NDArray[np.float64]:
        """For each edge, how long ago these times were, all together."""
        ordered = np.sort(times_G)
        many = np.searchsorted(ordered, edges)
        return np.asarray(many * edges - np.concatenate([[0.0], np.cumsum(ordered)])[many])

    lost = np.diff(before(first_G) - before(last_G)) * columns
    return np.asarray(np.clip(np.round(lost, 9), 0.0, 1.0))


def _ends(folder: Folder) -> tuple[int, int]:
    """From when to when."""
    begins, ends = ([g[side] for g in folder.gaps] for side in ("begin_ns", "end_ns"))
    if folder.span and folder.span.events:
        begins.append(folder.span.begin_ns)
        ends.append(folder.span.end_ns)
    return min(begins, default=0), max(ends, default=0)


def _axis(begin: int, end: int, columns: int, clocked: bool) -> str:
    first, last = (f"{when(begin)} s", f"{duration(end - begin)} later") if clocked else (str(begin), str(end))
    return f"{first}{last:>{max(1, columns - len(first))}}"


def when(ns: int, clocked: bool = True, digits: int = 6) -> str:
    """A time in seconds, exactly; of a trace without a clock the position."""
    if not clocked:
        return str(ns)
    seconds, rest = divmod(abs(ns), 10**9)
    return f"{'-' if ns < 0 else ''}{seconds}.{rest:09d}"[: digits - 9 or None]


def _cpu(gap: Row) -> int:
    cpu: int = gap["cpu"]
    return cpu


def _in_colour(drawn: str) -> str:
    styles = dict.fromkeys(BARS[1:], FILLED) | {mark: style for mark, _, style in MARKS}
    runs = groupby(drawn, key=lambda c: styles.get(c, ""))
    return "".join(painted("".join(run), style) for style, run in runs)
