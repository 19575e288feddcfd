"""The report: one HTML file that needs nothing else, and says what was lost before it says what was inferred.

Axis legend: G gaps, X columns of the timeline.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib import resources
from itertools import chain, groupby, islice, repeat
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pyarrow as pa

from tracemend.mending.mended import Mended, Result
from tracemend.outputs.known import known
from tracemend.outputs.overlay import NOTE
from tracemend.reckoning.figures import Figures
from tracemend.reckoning.reading import explained, sentence, table
from tracemend.reckoning.reading import shown as shown_figures
from tracemend.trace.events import Gap, Trace, by_cpu
from tracemend.untrusted import printable

NAME = "report.html"

MOST_GAPS = 500  # rows of the table
MOST_DETAILS = 50  # gaps shown event by event
MOST_EVENTS = 40  # inferred events shown of one gap
LONGEST_VALUE = 40  # characters shown of a field
MOST_FIGURES = 10  # rows of each figure
AROUND = 5  # surviving events shown on each side of a gap

COLUMNS = 400  # of the timeline
COLUMN = 2.5  # its width in the drawing's units
MOST_CPUS = 64  # drawn

STATUSES = {"filled": "filled", "refused": "refused", "left": "left open"}


def write(mended: Result, folder: Path, made: Sequence[Figures] = ()) -> list[Path]:
    """Write ``report.html`` into the folder; raises OSError."""
    path = folder / NAME
    path.write_text(render(mended, made), encoding="utf-8", newline="\n")
    return [path]


def render(mended: Result, made: Sequence[Figures] = ()) -> str:
    """The report as HTML, with figures if there are any (the first ones by call). Every string out of the trace is
    escaped, and no script but the report's own may run."""
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,  # the script is no str, but Markup
    )
    source = resources.files("tracemend.outputs").joinpath("report.html.j2").read_text("utf-8")
    script = resources.files("tracemend.outputs").joinpath("report.js").read_text("utf-8")
    clock = _Clock(mended)
    head = mended.head
    shown = list(islice(zip(head.trace.gaps, head.gap_rows(), strict=True), MOST_DETAILS))
    detailed = {gap.number for gap, _ in shown}
    return environment.from_string(source).render(
        note=NOTE,
        made=mended.provenance,
        options=json.dumps(mended.provenance.get("options") or {}, sort_keys=True),
        trace=mended.trace,
        survived=mended.outline.kept,
        inferred=mended.events,
        drawn=mended.drawn() is not None,
        familiar=mended.familiar,
        sentence=sentence(made[0]) if made else "",
        figures=[table(f, name, MOST_FIGURES) for f in made for name in shown_figures(f)],
        figures_said=explained(made[0]) if made else (),
        counts={status: mended.counts[status] for status in STATUSES},
        statuses=STATUSES,
        losses=_losses(mended),
        verdict=None if mended.trace.gaps else mended.verdict,
        reasons=_reasons(mended),
        most_gaps=MOST_GAPS,
        timeline=_timeline(mended, clock),
        rows=[_row(gap, clock, detailed) for gap in islice(mended.gap_rows(), MOST_GAPS)],
        more_rows=max(0, len(mended.fills) - MOST_GAPS),
        details=[_detail(head, gap, row, clock) for gap, row in shown],
        more_details=max(0, len(mended.fills) - len(shown)),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


class _Clock:
    """Times of one trace as text: seconds from its first event, or positions where it has no clock."""

    def __init__(self, mended: Result) -> None:
        outline, gaps = mended.outline, mended.trace.gaps
        begins, ends = ([outline.begin_ns], [outline.end_ns]) if outline.kept else ([], [])
        self.begin = min(chain(begins, (g.begin_ns for g in gaps)), default=0)
        self.end = max(chain(ends, (g.end_ns for g in gaps)), default=0)
        self.index = mended.trace.clock == "index"
        self.digits = 6 if outline.whole_us else 9

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


def _losses(mended: Result) -> dict[str, Any]:
    """What was lost, in numbers."""
    trace = mended.trace
    uncounted = sum(gap.count is None for gap in trace.gaps)
    whole = trace.lost + mended.outline.kept
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


def _reasons(mended: Result) -> list[tuple[str, str, int]]:
    """Why gaps were not filled: status, reason and number of gaps."""
    why = Counter((f.status, f.reason or "no reason given") for f in mended.fills if f.status != "filled")
    return [(STATUSES[status], reason, number) for (status, reason), number in sorted(why.items())]


def _row(gap: dict[str, Any], clock: _Clock, detailed: Collection[int]) -> dict[str, Any]:
    """One gap as the table shows it."""
    return gap | {
        "begin": clock.at(gap["begin_ns"]),
        "duration": clock.span(gap["end_ns"] - gap["begin_ns"]),
        "detailed": gap["gap"] in detailed,
    }


# The timeline ------------------------------------------------------------------------------------------------------


def _timeline(mended: Result, clock: _Clock) -> dict[str, Any]:
    """Lanes of cpus, COLUMNS wide: how many events survived, and over it the gaps."""
    gaps = by_cpu(mended.trace.gaps)
    status = {f.gap: f.status for f in mended.fills}
    span = max(1, clock.end - clock.begin)
    cpus = sorted({*gaps, *mended.outline.cpus})
    shown = cpus[:MOST_CPUS]
    density = [mended.density(c, COLUMNS, clock.begin, span) for c in shown]
    busiest = max([1, *(int(d.max()) for d in density)])
    lanes = [
        {"cpu": cpu, "area": _area(d / busiest), **_marks(gaps.get(cpu, []), status, clock.begin, span)}
        for cpu, d in zip(shown, density, strict=True)
    ]
    return {
        "lanes": lanes,
        "hidden": len(cpus) - len(shown),
        "width": COLUMNS * COLUMN,
        "ticks": list(_ticks(span, clock)),
        "kinds": sorted({(status[g.number], g.known) for g in mended.trace.gaps}),
        "crowded": any(lane["crowds"] for lane in lanes),
    }


def _marks(gaps: Sequence[Gap], status: Mapping[int, str], begin: int, span: int) -> dict[str, Any]:
    """The gaps of one cpu: rectangles for those that can be told apart, and shares of status where they can't."""
    held: list[list[int]] = [[] for _ in range(COLUMNS)]
    for i, gap in enumerate(gaps):
        first = min(int((gap.begin_ns - begin) * COLUMNS / span), COLUMNS - 1)
        last = min(math.ceil((gap.end_ns - begin) * COLUMNS / span), COLUMNS)
        for x in range(first, max(last, first + 1)):
            held[x].append(i)
    alone, crowds = [], dict.fromkeys(STATUSES, "")
    for which, run in groupby(range(COLUMNS), key=lambda x: tuple(held[x])):
        columns = list(run)
        left, width = columns[0] * COLUMN, len(columns) * COLUMN
        if len(which) == 1:
            gap = gaps[which[0]]
            one = gap.as_dict() | {"status": status[gap.number], "x": left, "width": width}
            alone.append(one | {"title": _title(one)})
        y = 22.0
        for name in STATUSES if len(which) > 1 else ():
            share = 24 * sum(status[gaps[i].number] == name for i in which) / len(which)
            if share:
                y -= share
                crowds[name] += f"M{left:g} {y:.3g}h{width:g}v{share:.3g}h-{width:g}z"
    return {"marks": alone, "crowds": {name: path for name, path in crowds.items() if path}}


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


def _detail(mended: Mended, gap: Gap, row: dict[str, Any], clock: _Clock) -> dict[str, Any]:
    """A gap with the events around it and the inferred ones in it."""
    trace = mended.trace
    numbers = mended.inferred["gap"].to_numpy()
    before, after = _around(trace, gap)
    start, stop = np.searchsorted(numbers, [gap.number, gap.number + 1]).tolist()
    head = min(stop - start, MOST_EVENTS if stop - start <= MOST_EVENTS else MOST_EVENTS // 2)
    tail = min(stop - start - head, MOST_EVENTS // 2)
    return _row(row, clock, [gap.number]) | {
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
    """Events as the report shows them; ``confidence`` is None for a surviving one, which has no ``fields``."""
    table = table.take(pa.array(rows))
    inferred = "fields" in table.column_names
    fields = known(table) if inferred else repeat((), len(table))
    return [
        {
            "time": clock.at(e["time_ns"]),
            "thread": e["comm"] or ("unknown thread" if e["tid"] < 0 else "<...>"),
            "tid": e["tid"] if e["tid"] >= 0 else "",
            "name": e["name"],
            "phase": e["phase"],
            "confidence": e.get("confidence"),
            "fields": [(name, _short(value), sure) for name, value, sure in told],
        }
        for e, told in zip(table.to_pylist(), fields, strict=True)
    ]


def _short(value: str) -> str:
    """So much of a field's value as is shown."""
    return value if len(value) <= LONGEST_VALUE else value[: LONGEST_VALUE - 1] + "…"
