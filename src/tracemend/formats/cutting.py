"""Events that a builder holds, handed on in pieces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from tracemend.trace.events import Gap, Mark, Trace
from tracemend.trace.pieces import Piece, Size, local
from tracemend.trace.placing import Held, Placing


@dataclass(slots=True)
class Sink:
    """Where a builder hands on its events in pieces, which it then forgets. ``rest``: the last one, once it is done."""

    size: Size
    take: Callable[[Piece], None]
    rest: Piece | None = None


@dataclass
class Cutting:
    """How far a trace was handed on. ``own``: the first row that was not."""

    own: int = 0
    _span_ns: tuple[int, int] | None = None
    _placing: Placing = field(default_factory=Placing)
    #: Marks that come too early to be placed.
    _early: list[Mark] = field(default_factory=list)
    #: Gaps that were handed on, as far as pieces to come may show them.
    _recent: list[Gap] = field(default_factory=list)

    def span(self, begin_ns: int, end_ns: int) -> None:
        """Times that were read."""
        held = self._span_ns or (begin_ns, end_ns)
        self._span_ns = min(held[0], begin_ns), max(held[1], end_ns)

    def piece(
        self, held: Trace, first_held: int, until: int | None, size: Size, marks: Sequence[Mark]
    ) -> tuple[Piece, int]:
        """The events from ``own`` up to row ``until`` (None: all that is left) as a piece; and the first row that later
        ones will show. ``held``: the events from row ``first_held`` on; ``marks``: new ones."""
        own, rows = self.own, first_held + len(held)
        first, stop = max(first_held, own - size.margin), rows if until is None else until
        end = min(stop + size.margin, rows)
        table = held.table.slice(first - first_held, end - first)
        cpu, time_ns = table["cpu"].to_numpy(), table["time_ns"].to_numpy()
        known = [*self._early, *marks]
        self._early = [m for m in known if m.row > end]
        around = Held(cpu, time_ns, first, self._span_ns or (0, 0))
        gaps, waiting = self._placing.place([m for m in known if m.row <= end], around, own, until)
        shown = sorted((*self._recent, *gaps, *waiting), key=lambda g: g.number)
        trace = replace(held, table=table, gaps=local(iter(shown), first, end))
        # what stays: the events around those to come
        self.own, keep = stop, max(first, stop - size.margin)
        self._placing.forget(cpu[: keep - first], time_ns[: keep - first], first)
        self._recent = [g for g in (*self._recent, *gaps) if g.after is not None and g.after >= keep]
        return Piece(trace, own - first, stop - first, tuple(gaps), first, until is None), keep
