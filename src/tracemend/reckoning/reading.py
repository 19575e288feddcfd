"""Figures as people read them: cells of a table, and one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tracemend.reckoning.figures import Figures
from tracemend.trace.evidence import duration
from tracemend.untrusted import printable

TITLES = {"calls": "Calls", "time_ns": "Time in calls", "cpu_ns": "Cpu time", "errors": "Errors", "events": "Events"}
#: Which figures are shown, in this order; the last one that there is where there are none of these.
SHOWN = {
    "call": ("calls", "time_ns", "errors"),
    "thread": ("cpu_ns", "calls", "time_ns"),
    "process": ("cpu_ns", "calls", "time_ns"),
    "cpu": ("cpu_ns", "events", "calls"),
    "time": ("events", "calls", "cpu_ns"),
}
#: What they are of.
KEYS = {
    "call": ("call",),
    "thread": ("command", "tid"),
    "process": ("command", "pid"),
    "cpu": ("cpu",),
    "time": ("from",),
}
#: Characters of a name that are shown (its ends, which tell it from others), and calls that the sentence has.
LONGEST, MOST = 41, 3
#: In place of a share that is rounded to nothing: it is no certain zero.
NO_SHARE = "< 0.1 %"


@dataclass(frozen=True)
class Table:
    """One figure, by what it is. ``rows``: the largest, how many more there are, if there are, and all together."""

    by: str
    title: str
    columns: tuple[str, ...]
    rows: list[list[str]]

    def __str__(self) -> str:
        """Plain text: the title, and columns side by side, numbers to the right."""
        lines = [[printable(cell) for cell in line] for line in (self.columns, *self.rows)]
        wide = [max(map(len, column)) for column in zip(*lines, strict=True)]
        sides = [str.ljust if c < len(KEYS[self.by]) else str.rjust for c in range(len(wide))]
        laid = ["  ".join(f(cell, n) for f, cell, n in zip(sides, line, wide, strict=True)) for line in lines]
        return "\n".join([self.title, *(line.rstrip() for line in laid)])


def shown(made: Figures) -> list[str]:
    """The figures to show."""
    there = [row["figure"] for row in made.total.to_pylist() if row["high"] != 0]
    return [name for name in SHOWN[made.by] if name in there] or there[-1:]


def table(made: Figures, name: str, top: int) -> Table:
    """One figure of so many keys, the largest; by time of all."""
    rows = made.of(name)
    if made.by != "time":  # what probably never was is in the row of all alone
        rows = rows.filter(pc.or_(pc.greater(rows["estimate"], 0), pc.greater(rows["observed"], 0)))
    some = rows
    if made.by == "cpu":  # the largest, in order of cpus
        largest = np.argsort(-rows["estimate"].to_numpy(), kind="stable")[:top]
        some = rows.take(pa.array(np.sort(largest)))
    elif made.by != "time":
        some = rows.slice(0, top)
    total = next(row for row in made.total.to_pylist() if row["figure"] == name)
    held = [*some.to_pylist(), total]
    exact = all(row["exact"] for row in held)
    first = KEYS[made.by]
    rest = [""] * (len(first) - 1)
    columns = ("observed",) if exact else ("observed", "about", "range", "lost")
    lines = [[*_key(made, row), *_cells(name, row)[: len(columns)]] for row in held[:-1]]
    if rows.num_rows > some.num_rows:
        lines.append([f"{rows.num_rows - some.num_rows:,} more", *rest, *[""] * len(columns)])
    lines.append(["all", *rest, *_cells(name, total)[: len(columns)]])
    return Table(made.by, TITLES[name], (*first, *columns), lines)


def sentence(made: Figures) -> str:
    """What changed most by what was lost: how many calls (of the largest change) were observed, and how many there
    probably were. Empty where nothing did. made: by call."""
    name = "calls" if "calls" in shown(made) else "events"
    rows = [row for row in made.of(name).to_pylist() if row["estimate"] > row["observed"]]
    rows.sort(key=lambda row: (row["observed"] - row["estimate"], row["key"]))
    told: list[str] = []
    for row in rows[:MOST]:
        observed, about, between, _ = _cells(name, row)
        were = f"about {about}" + (f" ({between})" if between != about else "")
        if row["high"] is None:
            were = between
        words = ("", "") if told else (" observed", " happened")
        told.append(f"`{_short(row['key'])}`: {observed}{words[0]}, {were}{words[1]}")
    return "; ".join(told) + "." if told else ""


def explained(made: Figures) -> list[str]:
    """What to know of all tables, a sentence each."""
    about = made.about
    if made.exact:
        return ["Nothing that was lost touches these figures: they are exact.", *made.notes]
    held = pa.concat_tables([made.table, made.total])
    endless = held.filter(pc.is_in(held["figure"], pa.array(shown(made))))["high"].null_count
    draws, said = about["draws"], []
    if draws:
        said = [
            f"About: what there probably was: the middle of {draws} fills of the gaps, each as it may have been.",
            "Range: nine of ten times the truth lies within.",
            "No count can be below what was observed, so a range often reaches further up than down.",
            "Lost: the share that was lost, if about is right.",
        ]
    if endless:
        said.append("Or more: nobody knows how much was lost there, so the range has no upper end.")
    return [*said, *_unsure_times(made), *made.notes]


def _unsure_times(made: Figures) -> Iterator[str]:
    """How much of the time in calls rests on inferred sides, and of which calls nobody knows how long they took."""
    rows = made.total.to_pylist() if "time_ns" in shown(made) else []
    (total,) = [row for row in rows if row["figure"] == "time_ns"] or [{}]
    if not total.get("inferred"):
        return
    share = 100 * total["inferred"] / max(1, total["estimate"])
    yield f"Of the time in calls {share:.1f} % rests on calls of which a side was inferred."
    if total["unknown"]:
        calls = [row for row in made.of("time_ns").to_pylist() if row["unknown"]] if made.by == "call" else []
        calls.sort(key=lambda row: (-row["unknown"], row["key"]))
        named = ", ".join(f"{_short(row['key'])} {row['unknown']:,}" for row in calls[:MOST])
        which = f" ({named}{', ...' if len(calls) > MOST else ''})" if named else ""
        yield f"{total['unknown']:,} of these calls{which} would have lasted longer than 999 of 1,000 such calls do."
        yield "Their two sides may be of two calls. How long they took is unknown: a usual duration counts instead."


def _key(made: Figures, row: dict[str, Any]) -> list[str]:
    if made.by in ("thread", "process"):
        number = row["tid" if made.by == "thread" else "pid"]
        return [_short(row["key"]) or "-", str(number)] if number >= 0 else ["unknown", "-"]
    if made.by == "cpu":
        return [str(row["cpu"]) if row["cpu"] >= 0 else "-"]
    if made.by == "time":
        return [str(row["begin_ns"]) if made.index else f"{row['begin_ns'] / 1e9:.9g} s"]
    return [_short(row["key"])]


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST // 2]}…{name[-(LONGEST // 2) :]}"


def _cells(name: str, row: dict[str, Any]) -> list[str]:
    """What was observed, about how much there was, between what, and the share that was lost."""

    def told(n: int) -> str:
        return duration(n) if name.endswith("_ns") else f"{n:,}"

    observed, about, low = (told(row[k]) for k in ("observed", "estimate", "low"))
    if row["exact"]:
        return [observed, observed, "exact", ""]
    if row["high"] is None:
        about = "unknown" if row["estimate"] == row["observed"] else about
        return [observed, about, f"{low} or more", "unknown"]
    high = told(row["high"])
    lost = f"{100 * round(row['lost'], 4):.1f} %" if row["lost"] >= 0.0005 else NO_SHARE  # as figures are written
    return [observed, about, low if low == high else f"{low} to {high}", lost]
