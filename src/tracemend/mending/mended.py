"""The result of mending: inferred events beside the trace they belong to, never in it.

Axis legend: E events of the trace, I inferred events, G gaps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tracemend.errors import extra
from tracemend.losses.scanning import judge
from tracemend.losses.verdict import Verdict
from tracemend.menders.likeness import sentence
from tracemend.mending.outline import Outline
from tracemend.mending.shown import Shown
from tracemend.trace.events import Gap, Trace
from tracemend.trace.evidence import plural
from tracemend.trace.pieces import Piece

if TYPE_CHECKING:
    import pandas as pd

    from tracemend.mending.tables import Draws

#: Fields of an inferred event by their names, as the kernel has them: each a text, and how sure it is. What nobody can
#: know is not among them.
FIELDS = pa.map_(
    pa.string(),
    pa.struct([pa.field("value", pa.string(), nullable=False), pa.field("confidence", pa.float32(), nullable=False)]),
)

#: One row an inferred event, in order of gap and time. ``tid`` is -1 and ``comm`` null for a thread that nothing in
#: the trace identifies. ``name`` and ``phase`` are as in a trace's events.
INFERRED = pa.schema(
    [
        pa.field("gap", pa.int32(), nullable=False),
        pa.field("cpu", pa.int32(), nullable=False),
        pa.field("time_ns", pa.int64(), nullable=False),
        pa.field("tid", pa.int32(), nullable=False),
        pa.field("comm", pa.dictionary(pa.int32(), pa.string())),
        pa.field("name", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("phase", pa.dictionary(pa.int8(), pa.string()), nullable=False),
        pa.field("confidence", pa.float32(), nullable=False),
        pa.field("fields", FIELDS, nullable=False),
    ]
)

#: One row an event of a hypothesis, in order of gap, hypothesis (from 0) and time: what else may have been lost.
HYPOTHESES = INFERRED.remove(INFERRED.get_field_index("confidence")).insert(
    1, pa.field("hypothesis", pa.int32(), nullable=False)
)

Status = Literal["filled", "refused", "left"]
#: What stands beside every fill.
NOTE = "Inferred events are no evidence."


@dataclass(frozen=True, slots=True)
class Fill:
    """What became of one gap.

    ``filled``: ``events`` were inferred (``estimated`` if the tracer gave no count). ``refused``: the confidence was
    below what the caller asked for. ``left``: nothing was tried; ``reason`` says why. ``confidence`` is the mean over
    the events that were, or would have been, inferred. ``unmet`` counts calls that the surviving events leave open
    and that the gap's count has no room to close. ``agreement``: the share of the hypotheses' events that are those of
    the fill (threads aside), None where none were drawn. ``by``: who filled it, if not the model that was asked for,
    because there was no time left. ``changed``: so many events aren't those that were proposed as the likeliest ones,
    because these would not have fitted the events around them. ``drawn``: of a refused gap so many events were drawn
    all the same, as often as figures take: what isn't sure event by event can be in its counts.
    """

    gap: int
    status: Status
    events: int
    confidence: float | None
    estimated: bool = False
    reason: str = ""
    unmet: int = 0
    agreement: float | None = None
    by: str = ""
    changed: int = 0
    drawn: int = 0

    @property
    def counted(self) -> int:
        """So many of its events figures count."""
        return self.events + self.drawn

    def as_dict(self) -> dict[str, Any]:
        """``agreement`` is there only if hypotheses were drawn, others that are mostly empty if they say something."""
        agreed = {} if self.agreement is None else {"agreement": round(self.agreement, 4)}
        by = {"by": self.by} if self.by else {}
        changed = {"changed": self.changed} if self.changed else {}
        drawn = {"drawn": self.drawn} if self.drawn else {}
        return agreed | {
            "status": self.status,
            "events": self.events,
            "confidence": None if self.confidence is None else round(self.confidence, 4),
            "estimated": self.estimated,
            "reason": self.reason,
            "unmet": self.unmet,
            **by,
            **changed,
            **drawn,
        }


class Result(ABC):
    """What came of mending, whether it is held or lies in files; outputs are made of it.

    ``trace`` has all gaps, and its facts; of a trace that was mended in pieces it has no events.
    """

    trace: Trace
    fills: tuple[Fill, ...]
    provenance: dict[str, Any]

    @property
    @abstractmethod
    def outline(self) -> Outline:
        """What there is to know of the events that survived."""

    @property
    @abstractmethod
    def verdict(self) -> Verdict:
        """What can be said of the trace's losses, where it has no gaps."""

    @property
    def confidence(self) -> float | None:
        """The mean confidence of the inferred events; None where there are none."""
        return sum(f.events * (f.confidence or 0.0) for f in self.fills) / self.events if self.events else None

    @abstractmethod
    def density(self, cpu: int, columns: int, begin_ns: int, span_ns: int) -> NDArray[np.int64]:
        """How many events of a cpu survived in each of so many equal parts of a time."""

    @abstractmethod
    def recorded(self) -> tuple[int, Iterator[pa.Table]]:
        """The recorded events that can be shown one by one, with their ``row`` of the whole trace; and how many of them
        from the first on are all there (see ``mending/shown.py``)."""

    @property
    @abstractmethod
    def head(self) -> Mended:
        """As much of it as can be shown event by event: all of what is held, or the first piece with gaps."""

    @abstractmethod
    def tables(self) -> Iterator[pa.Table]:
        """The inferred events in order of their gaps, some at a time; no gap is divided."""

    @abstractmethod
    def parts(self) -> Iterator[pa.Table]:
        """The inferred events as the pieces came, a table a piece."""

    @abstractmethod
    def in_time(self) -> Iterator[pa.Table]:
        """The inferred events as they follow each other, some at a time (see ``Mended.order``)."""

    @abstractmethod
    def drawn(self) -> Iterator[pa.Table] | None:
        """The hypotheses likewise; None if none were asked for."""

    @cached_property
    def events(self) -> int:
        """How many events were inferred."""
        return sum(f.events for f in self.fills)

    @property
    def familiar(self) -> str:
        """Whether the program is among the recordings copied from, in sentences; empty where there were none."""
        told = self.provenance.get("familiar")
        if not told:
            return ""
        runs = f"{100 * told['share']:.1f} % of the trace's runs of {told['length']} events"
        if told["enough"]:
            return f"The recordings copied from hold {runs}: your program is probably among them."
        similar = (
            " That the trace looks like one of them means similar work, not the same program." if self.alike else ""
        )
        return (
            f"Your program is probably not among the recordings copied from: they hold {runs}; of programs that they "
            f"know, 97 % and more.{similar} A complete recording of it would help: --example."
        )

    @property
    def alike(self) -> str:
        """Which of the recordings to copy from the trace is like, in a sentence; empty where it is like none."""
        return sentence(self.provenance.get("alike", ()))

    @property
    def filled(self) -> int:
        return sum(f.status == "filled" for f in self.fills)

    @property
    def counts(self) -> Counter[str]:
        """Gaps by status."""
        return Counter(f.status for f in self.fills)

    def gap_rows(self) -> Iterator[dict[str, Any]]:
        """Each gap and what became of it, one dictionary a gap."""
        return (g.as_dict() | f.as_dict() for g, f in zip(self.trace.gaps, self.fills, strict=True))

    def gap_table(self) -> list[dict[str, Any]]:
        """The rows as a list."""
        return list(self.gap_rows())

    def __repr__(self) -> str:
        sure = "" if self.confidence is None else f", mean confidence {self.confidence:.2f}"
        return (
            f"<{type(self).__name__} {self.trace.title}: {plural(self.events, 'inferred event')} in {self.filled:,} of "
            f"{plural(len(self.fills), 'gap')}{sure}>"
        )

    def _repr_html_(self) -> str:
        from tracemend.trace.notebook import COLUMNS, ROWS, box, kind, said, table, timeline

        trace, begin, end = self.trace, self.outline.begin_ns, self.outline.end_ns
        lanes = timeline(
            trace.gaps,
            [kind(g, f.status) for g, f in zip(trace.gaps, self.fills, strict=True)],
            self.outline.cpus,
            (begin, end),
            lambda cpu: self.density(cpu, COLUMNS, begin, end - begin),
            trace.long(end - begin),
        )
        rows = [
            (
                *(g.number, g.cpu, trace.long(g.begin_ns - begin), trace.long(g.duration_ns), g.told[0]),
                *(f.status if f.status != "left" else "left open", f"{f.events:,}"),
                "" if f.confidence is None else f"{f.confidence:.2f}",
                f.reason,
            )
            for g, f in zip(trace.gaps[:ROWS], self.fills, strict=False)
        ]
        columns = ("gap", "cpu", "begins at", "lasts", "lost", "status", "inferred", "confidence", "why")
        sure = "" if self.confidence is None else f" Their mean confidence is {self.confidence:.2f}."
        return box(
            said(
                f"{trace.title}: {plural(self.events, 'inferred event')} in {self.filled:,} of "
                f"{plural(len(self.fills), 'gap')}.{sure}",
                NOTE,
                title="Mended",
            ),
            lanes,
            table(columns, rows, of=len(self.fills)) if rows else "",
        )


@dataclass(frozen=True, repr=False)
class Mended(Result):
    """A trace, its inferred events, what became of each of its gaps, and how it was made.

    ``provenance`` holds: tracemend (version), model (name), model_sha256, seed, input (path), input_sha256, format,
    options (dict); familiar (tracemend.familiarity), if there were examples. ``hypotheses`` (of the schema HYPOTHESES):
    other fills of the same gaps, if any were asked for. ``to_count``: such fills that only figures are made of.
    """

    trace: Trace
    inferred: pa.Table
    fills: tuple[Fill, ...]
    provenance: dict[str, Any]
    hypotheses: pa.Table | None = None
    to_count: Draws | None = None

    @cached_property
    def outline(self) -> Outline:
        outline = Outline()
        outline.add(Piece.whole(self.trace), self.trace.gaps)
        return outline

    @property
    def verdict(self) -> Verdict:
        return judge(self.trace)

    def density(self, cpu: int, columns: int, begin_ns: int, span_ns: int) -> NDArray[np.int64]:
        return self.trace.density(cpu, columns, begin_ns, span_ns)

    def recorded(self) -> tuple[int, Iterator[pa.Table]]:
        shown = Shown()
        table = shown.take(Piece.whole(self.trace))
        return shown.whole, iter([table])

    @property
    def head(self) -> Mended:
        return self

    def tables(self) -> Iterator[pa.Table]:
        yield self.inferred

    def parts(self) -> Iterator[pa.Table]:
        yield self.inferred

    def drawn(self) -> Iterator[pa.Table] | None:
        return None if self.hypotheses is None else iter([self.hypotheses])

    def with_draws(self, number: int) -> Mended:
        """The same with the first hypotheses of filled gaps alone; without any as if none had been asked for."""
        if number:
            table = self.hypotheses
            if table is not None:
                filled = pa.array([f.gap for f in self.fills if f.status == "filled"], pa.int32())
                table = table.filter(pc.and_(pc.less(table["hypothesis"], number), pc.is_in(table["gap"], filled)))
            return replace(self, hypotheses=table, to_count=None)
        options = {k: v for k, v in self.provenance["options"].items() if k != "hypotheses"}
        fills = tuple(replace(f, agreement=None) for f in self.fills)
        provenance = {**self.provenance, "options": options}
        return replace(self, hypotheses=None, to_count=None, fills=fills, provenance=provenance)

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """The trace's rows (0 to E - 1) and its inferred events (from E on) as they follow each other, (E + I,).

        By time. At the same time an inferred event stands where its gap lies in its stream, as in the merged text:
        behind the last event before the gap or, at the gap's very end, in front of the first one after it.
        """
        rows = np.concatenate([np.arange(len(self.trace)), rows_of(self.inferred, self.trace.gaps)])
        return np.lexsort((rows, np.concatenate([self.trace.time_ns, self.inferred["time_ns"].to_numpy()])))

    def in_time(self) -> Iterator[pa.Table]:
        order = self.order - len(self.trace)
        yield self.inferred.take(pa.array(order[order >= 0]))

    def to_pandas(self) -> pd.DataFrame:
        """The inferred events as a data frame. Raises MissingError where pandas isn't installed."""
        with extra("pandas"):
            frame: pd.DataFrame = self.inferred.to_pandas()
        return frame


@dataclass(frozen=True, slots=True)
class Edges:
    """Of gaps, in order of their numbers (G,): behind and in front of which of the trace's rows they lie, and when they
    end."""

    number_G: NDArray[np.int64]
    behind_G: NDArray[np.float64]
    ahead_G: NDArray[np.float64]
    end_G: NDArray[np.int64]

    @classmethod
    def of(cls, gaps: Sequence[Gap]) -> Edges:
        number_G, end_G = (np.array(x, np.int64) for x in ([g.number for g in gaps], [g.end_ns for g in gaps]))
        behind_G, ahead_G = (np.array([g.edges[side][1] for g in gaps], np.float64) for side in (0, 1))
        order = np.argsort(number_G)
        return cls(number_G[order], behind_G[order], ahead_G[order], end_G[order])

    def rows(self, inferred: pa.Table) -> NDArray[np.float64]:
        """Where among a trace's rows each inferred event stands (I,), if it is of the same time as one of them."""
        at = np.searchsorted(self.number_G, inferred["gap"].to_numpy())
        last = inferred["time_ns"].to_numpy() == self.end_G[at]
        return np.asarray(np.where(last, self.ahead_G[at], self.behind_G[at]))


def rows_of(inferred: pa.Table, gaps: Sequence[Gap]) -> NDArray[np.float64]:
    """The same for some gaps."""
    return Edges.of(gaps).rows(inferred)
