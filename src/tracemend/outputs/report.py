"""The report: one HTML file that needs nothing else, and says what was lost before it says what was inferred.

Axis legend: G gaps, X columns of the timeline.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterator
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pyarrow as pa

from tracemend.losses.scanning import judge
from tracemend.mending.mended import Mended
from tracemend.outputs.overlay import NOTE
from tracemend.trace.events import Gap, Trace
from tracemend.untrusted import printable

NAME = "report.html"

MOST_GAPS = 500  # rows of the table
MOST_DETAILS = 50  # gaps shown event by event
MOST_EVENTS = 40  # inferred events shown of one gap
AROUND = 5  # surviving events shown on each side of a gap

COLUMNS = 400  # of the timeline
COLUMN = 2.5  # its width in the drawing's units
MOST_CPUS = 64  # drawn

STATUSES = {"filled": "filled", "refused": "refused", "left": "left open"}


def write(mended: Mended, folder: Path) -> list[Path]:
    """Write ``report.html`` into the folder; raises OSError."""
    path = folder / NAME
    path.write_text(render(mended), encoding="utf-8", newline="\n")
    return [path]


def render(mended: Mended) -> str:
    """The report as HTML. Every string out of the trace is escaped, and no script but the report's own may run."""
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,  # the script is no str, but Markup
    )
    source = resources.files("tracemend.outputs").joinpath("report.html.j2").read_text("utf-8")
    script = resources.files("tracemend.outputs").joinpath("report.js").read_text("utf-8")
    gaps = mended.gap_table()
    clock = _Clock(mended.trace)
    return environment.from_string(source).render(
        note=NOTE,
        made=mended.provenance,
        options=json.dumps(mended.provenance.get("options") or {}, sort_keys=True),
        trace=mended.trace,
        inferred=mended.inferred.num_rows,
        drawn=mended.hypotheses is not None,
        familiar=mended.familiar,
        counts={status: mended.counts[status] for status in STATUSES},
        statuses=STATUSES,
        losses=_losses(mended),
        verdict=None if mended.trace.gaps else judge(mended.trace),
        reasons=_reasons(gaps),
        most_gaps=MOST_GAPS,
        timeline=_timeline(mended, gaps, clock),
        rows=[_row(gap, clock) for gap in gaps[:MOST_GAPS]],
        more_rows=max(0, len(gaps) - MOST_GAPS),
        details=list(_details(mended, gaps, clock)),
        more_details=max(0, len(gaps) - MOST_DETAILS),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


class _Clock:
    """Times of one trace as text: seconds from its first event, or positions where it has no clock."""

    def __init__(self, trace: Trace) -> None:
        times = [t for gap in trace.gaps for t in (gap.begin_ns, gap.end_ns)]
        if len(trace):
            times += [int(trace.time_ns.min()), int(trace.time_ns.max())]
        self.begin, self.end = min(times, default=0), max(times, default=0)
        self.index = trace.clock == "index"
        self.digits = 6 if not len(trace) or not (trace.time_ns[:1000] % 1000).any() else 9

    def at(self, ns: int) -> str:
        return str(ns) if self.index else f"{ns / 1e9:.{self.digits}f}"

    def span(self, ns: float) -> str:
        """A duration with three digits and the unit that suits it."""
        if self.index:
            return f"{ns:g}"
        for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
            if ns >= size:
                return f"{ns / size:.3g} {unit}" if ns < 1000 * size else f"{ns / size:,.0f} {unit}"
        return f"{ns:g} ns"


def _losses(mended: Mended) -> dict[str, Any]:
    """What was lost, in numbers."""
    trace = mended.trace
    uncounted = sum(gap.count is None for gap in trace.gaps)
    whole = trace.lost + len(trace)
    return {
        "events": trace.lost,
        "share": f"{100 * trace.lost / whole:.2g}" if whole and trace.lost < whole else "100",
        "gaps": len(trace.gaps),
        "uncounted": uncounted,
        "suspected": sum(gap.known == "suspected" for gap in trace.gaps),
        "cpus": len({gap.cpu for gap in trace.gaps if gap.cpu >= 0}),
        "estimated": sum(fill.estimated for fill in mended.fills),
        "unmet": sum(fill.unmet for fill in mended.fills),
    }


def _reasons(gaps: list[dict[str, Any]]) -> list[tuple[str, str, int]]:
    """Why gaps were not filled: status, reason and number of gaps."""
    why = sorted((g["status"], g["reason"] or "no reason given") for g in gaps if g["status"] != "filled")
    return [(STATUSES[status], reason, len(list(same))) for (status, reason), same in groupby(why)]


def _row(gap: dict[str, Any], clock: _Clock) -> dict[str, Any]:
    """One gap as the table shows it."""
    return gap | {
        "begin": clock.at(gap["begin_ns"]),
        "duration": clock.span(gap["end_ns"] - gap["begin_ns"]),
        "detailed": gap["gap"] < MOST_DETAILS,
    }


# The timeline ------------------------------------------------------------------------------------------------------


def _timeline(mended: Mended, gaps: list[dict[str, Any]], clock: _Clock) -> dict[str, Any]:
    """Lanes of cpus, COLUMNS wide: how many events survived, and over it the gaps."""
    trace = mended.trace
    span = max(1, clock.end - clock.begin)
    cpus = sorted({g["cpu"] for g in gaps} | {int(c) for c in np.unique(trace.cpu)})
    shown = cpus[:MOST_CPUS]
    none = np.array([], np.int64)
    since = trace.time_ns - clock.begin  # times since 1970 have no nanoseconds left in floating point
    density = [np.histogram(since[trace.streams.get(c, none)], COLUMNS, (0, span))[0] for c in shown]
    busiest = max([1, *(int(d.max()) for d in density)])
    lanes = [
        {"cpu": cpu, "area": _area(d / busiest), **_marks([g for g in gaps if g["cpu"] == cpu], clock.begin, span)}
        for cpu, d in zip(shown, density, strict=True)
    ]
    return {
        "lanes": lanes,
        "hidden": len(cpus) - len(shown),
        "width": COLUMNS * COLUMN,
        "ticks": list(_ticks(span, clock)),
        "kinds": sorted({(g["status"], g["known"]) for g in gaps}),
        "crowded": any(lane["crowds"] for lane in lanes),
    }


def _marks(gaps: list[dict[str, Any]], begin: int, span: int) -> dict[str, Any]:
    """The gaps of one cpu: rectangles for those that can be told apart, and shares of status where they can't."""
    held: list[list[int]] = [[] for _ in range(COLUMNS)]
    for i, gap in enumerate(gaps):
        first = min(int((gap["begin_ns"] - begin) * COLUMNS / span), COLUMNS - 1)
        last = min(math.ceil((gap["end_ns"] - begin) * COLUMNS / span), COLUMNS)
        for x in range(first, max(last, first + 1)):
            held[x].append(i)
    alone, crowds = [], dict.fromkeys(STATUSES, "")
    for which, run in groupby(range(COLUMNS), key=lambda x: tuple(held[x])):
        columns = list(run)
        left, width = columns[0] * COLUMN, len(columns) * COLUMN
        if len(which) == 1:
            alone.append(gaps[which[0]] | {"x": left, "width": width, "title": _title(gaps[which[0]])})
        y = 22.0
        for status in STATUSES if len(which) > 1 else ():
            share = 24 * sum(gaps[i]["status"] == status for i in which) / len(which)
            if share:
                y -= share
                crowds[status] += f"M{left:g} {y:.3g}h{width:g}v{share:.3g}h-{width:g}z"
    return {"marks": alone, "crowds": {status: path for status, path in crowds.items() if path}}


def _title(gap: dict[str, Any]) -> str:
    lost = "an unknown number of events" if gap["count"] is None else f"{gap['count']:,} events"
    return f"gap {gap['gap']}: {lost} lost, {STATUSES[gap['status']]} ({gap['known']})"


def _area(share: np.typing.NDArray[np.float64]) -> str:
    """A path over the columns; ``share`` (X,) of a lane's height, by the root, so that quiet times stay visible."""
    height = np.round(20 * np.sqrt(share), 1).tolist()
    steps = "".join(f"L{x * COLUMN:g} {20 - h:g}h{COLUMN:g}" for x, h in enumerate(height))
    return f"M0 20{steps}L{COLUMNS * COLUMN:g} 20Z"


def _ticks(span: int, clock: _Clock) -> Iterator[tuple[float, str]]:
    """Up to ten round times from the trace's begin: where they lie in the drawing, and what they say."""
    step = 10 ** math.floor(math.log10(span / 5)) if span >= 5 else 1
    step = next(s for s in (step, 2 * step, 5 * step, 10 * step) if span / s <= 8)
    for k in range(int(span / step) + 1):
        label = str(clock.begin + int(k * step)) if clock.index else "0" if not k else clock.span(k * step)
        yield round(k * step * COLUMNS * COLUMN / span, 1), label


# Gap by gap --------------------------------------------------------------------------------------------------------


def _details(mended: Mended, gaps: list[dict[str, Any]], clock: _Clock) -> Iterator[dict[str, Any]]:
    """The first gaps, each with the events around it and the inferred ones in it."""
    trace = mended.trace
    numbers = mended.inferred["gap"].to_numpy()
    for gap, row in list(zip(trace.gaps, gaps, strict=True))[:MOST_DETAILS]:
        before, after = _around(trace, gap)
        start, stop = np.searchsorted(numbers, [gap.number, gap.number + 1]).tolist()
        head = min(stop - start, MOST_EVENTS if stop - start <= MOST_EVENTS else MOST_EVENTS // 2)
        tail = min(stop - start - head, MOST_EVENTS // 2)
        yield _row(row, clock) | {
            "before": _events(trace.table, before, clock),
            "head": _events(mended.inferred, np.arange(start, start + head), clock),
            "hidden": stop - start - head - tail,
            "tail": _events(mended.inferred, np.arange(stop - tail, stop), clock),
            "after": _events(trace.table, after, clock),
        }


def _around(trace: Trace, gap: Gap) -> tuple[np.typing.NDArray[np.int64], np.typing.NDArray[np.int64]]:
    """Rows of the last events of the gap's stream before it, and of the first ones after it."""
    stream = trace.streams.get(gap.cpu, np.array([], np.int64))
    split = len(stream) if gap.before is not None else 0
    if gap.after is not None:
        split = int(np.searchsorted(stream, gap.after))
    return stream[max(0, split - AROUND) : split], stream[split : split + AROUND]


def _events(table: pa.Table, rows: np.typing.NDArray[np.int64], clock: _Clock) -> list[dict[str, Any]]:
    """Events as the report shows them; ``confidence`` is None for a surviving one."""
    events = table.take(pa.array(rows)).to_pylist()
    return [
        {
            "time": clock.at(e["time_ns"]),
            "thread": e["comm"] or ("unknown thread" if e["tid"] < 0 else "<...>"),
            "tid": e["tid"] if e["tid"] >= 0 else "",
            "name": e["name"],
            "phase": e["phase"],
            "confidence": e.get("confidence"),
        }
        for e in events
    ]
