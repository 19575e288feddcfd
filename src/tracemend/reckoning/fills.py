"""A figure of one's own, evaluated over whole fills: each draw as a trace that says of itself that it is none.

Axis legend: E events of the trace, I inferred events, H draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from tracemend.errors import ModelError
from tracemend.formats.parquet import INFERRED_COLUMN
from tracemend.mending.mended import Mended
from tracemend.reckoning.counting import Count, Counted, drawn
from tracemend.reckoning.intervals import estimated, spread
from tracemend.reckoning.tally import UNKNOWN, Asked
from tracemend.trace.events import SCHEMA, Trace
from tracemend.trace.evidence import plural
from tracemend.trace.pieces import Piece


@dataclass(frozen=True)
class OverFills:
    """observed: what the figure is of the trace as it is. values: of each draw (H). estimate, low, high: what the draws
    say, and the range that holds nine of ten of them. ``open``: so many gaps stay open in every draw. ``unknown``: so
    many calls of a draw (the middle of all) have an inferred side, and their two sides are further apart than all
    but one in a thousand such calls last. How long they took nobody knows: a figure of times has to do without them.

    All of them are numbers, or arrays or dictionaries of numbers, as the figure is. The range is that of the draws as
    they are: how often it holds the truth for a figure of one's own nobody has measured.
    """

    observed: Any
    values: list[Any]
    estimate: Any
    low: Any
    high: Any
    open: int
    unknown: int = 0

    def __repr__(self) -> str:
        """What it is, on one line, without the draws."""
        told = (f"{name} {_short(getattr(self, name))}" for name in ("observed", "estimate", "low", "high"))
        return (
            f"<OverFills of {plural(len(self.values), 'draw')}: {', '.join(told)}, {plural(self.open, 'open gap')}, "
            f"{plural(self.unknown, 'call')} of unknown duration>"
        )

    def _repr_html_(self) -> str:
        from tracemend.trace.notebook import box, said, table

        sides = (self.observed, self.estimate, self.low, self.high)
        if isinstance(self.observed, Mapping):
            rows = [(k, *(_short(side.get(k, 0)) for side in sides)) for k in self.estimate]
        else:
            rows = [("", *map(_short, sides))]
        what = (
            f"From {plural(len(self.values), 'draw')}; {plural(self.open, 'gap')} stay open in all of them. Of "
            f"{plural(self.unknown, 'inferred call')} nobody knows how long they took."
        )
        return box(said(what, title="Over fills"), table(("", "observed", "about", "from", "to"), rows))


def traces(mended: Mended) -> Iterator[Trace]:
    """Each draw (H) as a trace: the events in order of time, ``inferred`` says which of them are."""
    hypotheses = mended.provenance["options"].get("hypotheses", 0)
    for number, table in enumerate(drawn(mended, hypotheses)):
        yield merged(mended, table, number)


def merged(mended: Mended, inferred: pa.Table, number: int) -> Trace:
    """The trace with the inferred events (I,) of one draw in their places."""
    trace = mended.trace
    inferred = inferred.append_column("confidence", pa.nulls(inferred.num_rows, pa.float32()))
    order = replace(mended, inferred=inferred).order
    there = [c for c in SCHEMA.names if c in inferred.column_names]
    missing = {c: pa.nulls(inferred.num_rows, SCHEMA.field(c).type) for c in SCHEMA.names if c not in there}
    missing["line"] = pa.array(np.full(inferred.num_rows, -1), pa.int64())
    more = pa.table({c: inferred[c] if c in there else missing[c] for c in SCHEMA.names}).cast(SCHEMA)
    table = pa.concat_tables([trace.table, more]).unify_dictionaries().take(pa.array(order))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    filled = {f.gap for f in mended.fills if f.status == "filled"}

    def moved(row: int | None) -> int | None:
        return None if row is None else int(place[row])

    gaps = tuple(replace(g, before=moved(g.before), after=moved(g.after)) for g in trace.gaps if g.number not in filled)
    flags = pa.array(order >= len(trace))
    return replace(
        trace,
        path=None,
        table=table.append_column(INFERRED_COLUMN, flags),
        gaps=gaps,
        provenance={"draw": number, "of": trace.provenance, "inferred": int(inferred.num_rows), **mended.provenance},
    )


def evaluated(mended: Mended, figure: Callable[[Trace], Any]) -> OverFills:
    """A figure over the draws of a mended trace. Raises ModelError for one that gives no numbers."""
    observed = figure(mended.trace)
    values = [figure(t) for t in traces(mended)] or [observed]
    still_open = sum(f.status != "filled" for f in mended.fills)
    told = still_open, _unknown(mended)
    if not isinstance(observed, Mapping):
        return OverFills(observed, values, *_range(values), *told)
    keys = dict.fromkeys(k for value in (observed, *values) for k in value)
    ranges = {k: _range([value.get(k, 0) for value in values]) for k in keys}
    estimate, low, high = ({k: found[i] for k, found in ranges.items()} for i in range(3))
    return OverFills(observed, values, estimate, low, high, *told)


def _unknown(mended: Mended) -> int:
    """Of how many calls nobody knows how long they took."""
    counted = Counted(Count(Asked(("call",)), mended.provenance["options"].get("hypotheses", 0)))
    counted.take(counted.count(Piece.whole(mended.trace), mended))
    each = [sum(columns[UNKNOWN] for columns in tally.counts["call"].values()) for tally in counted.fills[1:]]
    return round(float(np.median(each))) if each else 0


def _short(figure: Any) -> str:
    """A figure on one line: a number, or how many there are."""
    if isinstance(figure, Mapping) or np.ndim(figure):
        return f"({plural(len(figure), 'number')})"
    return f"{figure:,.6g}" if isinstance(figure, float) else f"{figure:,}"


def _range(values: Sequence[Any]) -> tuple[Any, Any, Any]:
    """The estimate and both ends."""
    try:
        numbers = np.array(values, float)
    except (TypeError, ValueError):
        raise ModelError("a figure must be a number, an array of numbers or a dictionary of them") from None
    found = (estimated(numbers), *spread(numbers))
    return found if numbers.ndim > 1 else (float(found[0]), float(found[1]), float(found[2]))
