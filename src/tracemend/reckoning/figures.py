"""Figures of a trace as people read them: what was observed, what probably happened, what is exact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from tracemend.errors import extra
from tracemend.losses.verdict import UNKNOWN
from tracemend.reckoning.tally import CALLS, CPU, ERRORS, EVENTS, TIME
from tracemend.trace.evidence import plural

if TYPE_CHECKING:
    import pandas as pd

#: Figures by their columns in a tally; those of ns are times.
FIGURES = {"calls": CALLS, "time_ns": TIME, "cpu_ns": CPU, "errors": ERRORS, "events": EVENTS}

#: Rows of each figure that are printed.
PRINTED = 12

#: One row a figure of a key. ``by``: what figures are by; ``total`` in a row of all keys together, whose key is empty.
#: ``key``: the call, the command of the thread or process, the number of the cpu or of the slice of time; ``tid``,
#: ``pid``, ``cpu``, ``begin_ns`` and ``end_ns`` (the last ns) are there where figures are by thread, process, cpu and
#: time. A ``tid`` or ``pid`` of -1: nobody knows whose it was.
#: ``observed``: what survived; of all but ``time_ns`` no less happened. ``estimate``: what probably happened.
#: ``low``, ``high``: in nine of ten cases it was no less and no more. ``high`` is null where it touches a gap of which
#: nobody knows how much it lost: then the estimate leaves that out, and more may have happened (in calls also less).
#: ``lost``: the share of the figure that was lost, by the estimate. ``exact``: no loss that is known touches it.
#: ``inferred``: of a ``time_ns`` that isn't exact so much rests on calls of which a side was inferred. ``unknown``: so
#: many of these would have lasted longer than all but one in a thousand such calls: nobody knows how long they took,
#: and what is usual counts.
SCHEMA = pa.schema(
    [
        pa.field("by", pa.string(), nullable=False),
        pa.field("key", pa.string(), nullable=False),
        pa.field("tid", pa.int32()),
        pa.field("pid", pa.int32()),
        pa.field("cpu", pa.int32()),
        pa.field("begin_ns", pa.int64()),
        pa.field("end_ns", pa.int64()),
        pa.field("figure", pa.string(), nullable=False),
        pa.field("observed", pa.int64(), nullable=False),
        pa.field("estimate", pa.int64(), nullable=False),
        pa.field("low", pa.int64(), nullable=False),
        pa.field("high", pa.int64()),
        pa.field("lost", pa.float32(), nullable=False),
        pa.field("exact", pa.bool_(), nullable=False),
        pa.field("inferred", pa.int64()),
        pa.field("unknown", pa.int64()),
    ]
)


@dataclass(frozen=True)
class Figures:
    """``table``: of SCHEMA, figure by figure, the largest first (by cpu and time in order). ``total``: the same of all
    keys together, a row a figure. ``notes``: what to know of them, a sentence each. ``about``: the trace and how they
    were made. ``index``: the trace has no clock, times are positions."""

    by: str
    table: pa.Table
    total: pa.Table
    notes: tuple[str, ...]
    about: dict[str, Any]
    index: bool = False

    @property
    def exact(self) -> bool:
        """Whether nothing that was lost touches any of them, for certain."""
        return not self.about["lost"] and self.about["verdict"] != UNKNOWN

    @property
    def names(self) -> list[str]:
        """The figures that there are."""
        there = set(self.total["figure"].to_pylist())
        return [name for name in FIGURES if name in there]

    def of(self, figure: str) -> pa.Table:
        """The rows of one figure."""
        return self.table.filter(pc.equal(self.table["figure"], figure))

    def to_pandas(self) -> pd.DataFrame:
        """The table as a data frame. Raises MissingError where pandas isn't installed."""
        with extra("pandas"):
            frame: pd.DataFrame = self.table.to_pandas()
        return frame

    def as_dict(self) -> dict[str, Any]:
        """For JSON; an upper end that nobody knows is null."""
        rows, total = (
            [{k: v for k, v in row.items() if v is not None or k == "high"} for row in rounded(table).to_pylist()]
            for table in (self.table, self.total)
        )
        return {
            **self.about,
            "by": self.by,
            "exact": self.exact,
            "notes": list(self.notes),
            "total": total,
            "figures": rows,
        }

    def __repr__(self) -> str:
        keys = len({tuple(k.values()) for k in self.table.select(["key", "tid", "pid"]).to_pylist()})
        drawn = f"from {plural(self.about['draws'], 'draw')}" if self.about["lost"] else "as recorded"
        sure = "exact" if self.exact else drawn
        return f"<Figures by {self.by}: {', '.join(self.names) or 'none'} of {keys:,}, {sure}>"

    def __str__(self) -> str:
        """One line, and the largest of each figure as a table."""
        from tracemend.reckoning.reading import shown, table

        return "\n\n".join([repr(self), *(str(table(self, name, PRINTED)) for name in shown(self))])

    def _repr_html_(self) -> str:
        from tracemend.reckoning.reading import explained, shown, table
        from tracemend.trace.notebook import ROWS, box, said
        from tracemend.trace.notebook import table as as_html

        tables = [table(self, name, ROWS - 2) for name in shown(self)]
        parts = [as_html(t.columns, t.rows, t.title) for t in tables]
        about = self.about
        kept = f"{plural(about['events'], 'event')} survived. {about['verdict'].capitalize()}: {about['reason']}."
        return box(said(kept, title=f"Figures by {self.by}"), *parts, said(*explained(self)))


def rounded(table: pa.Table) -> pa.Table:
    """With shares to four digits."""
    share = pc.round(table["lost"].cast(pa.float64()), 4)
    return table.set_column(table.schema.get_field_index("lost"), "lost", share)
