"""What viewers keep of a kernel trace: who runs on each cpu, who was switched out how, who was woken.

Modelled on the attribute tree of Trace Compass's kernel analysis, where switches set a cpu's ``Current_thread`` and the
``Status`` of two threads, wakeups that of one, system calls ``System_call``, interrupts the entries of their own trees.
There as here a view goes on with what it last heard. Here every event says who runs, too, not switches alone: a viewer
that overlooks that has no gap to blame for being wrong.

Axis legend: E events in order of time, W switches, K wakeups, H holes, F families of interrupts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.mending.mended import INFERRED, rows_of
from tracemend.reckoning.events import UNKNOWN, coded, recorded
from tracemend.recording import Pair
from tracemend.trace.events import PHASES, Trace, stable_order
from tracemend.trace.fields import SWITCH, WAKEUPS, kernel_name, numbers, values

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: In place of a thread: one of those that a recording of some processes leaves out.
OTHERS = -2
#: How a thread was switched out.
RUNNABLE, BLOCKED = 0, 1


@dataclass(frozen=True)
class Holes:
    """Where events may be that nobody has (each (H,)): on a cpu, in front of the events first, first + 1, ..., last."""

    cpu: Ints
    first: Ints
    last: Ints

    @staticmethod
    def joined(parts: Sequence[Holes]) -> Holes:
        """All of them."""
        return Holes(*(np.concatenate([getattr(p, k) for p in parts]) for k in ("cpu", "first", "last")))

    def of(self, which: Bools) -> Holes:
        """Some of them."""
        return Holes(self.cpu[which], self.first[which], self.last[which])

    def between(self, since: Ints, at: Ints, cpu: Ints | None = None) -> Bools:
        """For each pair of events, whether one of the holes lies behind the first and in front of the second one. cpu:
        on which one it must be, any if not given."""
        if not len(self.first):
            return np.zeros(len(at), bool)
        shift, other = np.zeros(len(self.cpu), np.int64), np.zeros(len(at), np.int64)
        if cpu is not None:  # each cpu's numbers behind those of the one before
            width = int(max(self.last.max(), at.max(initial=0))) + 1
            shift, other = (np.searchsorted(np.unique(self.cpu), c) * width for c in (self.cpu, cpu))
            other[~np.isin(cpu, self.cpu)] = -width
        order = np.argsort(self.first + shift)
        latest = np.maximum.accumulate((self.last + shift)[order])
        place = np.searchsorted((self.first + shift)[order], at + other, "right") - 1
        return (place >= 0) & (latest[place] > since + other)


@dataclass(frozen=True)
class View:
    """The events that a view is drawn from.

    names: what ``code`` (E,) counts, as the kernel calls them. inferred (E,): those that a mender said, of a complete
    recording those that were really lost. prev, next, state (W,): of the switches, which are the events ``switches``.
    woken (K,): by the events ``wakeups``. gaps: those still open. filled: the others.
    """

    time_ns: Ints
    cpu: Ints
    tid: Ints
    names: list[str]
    code: Ints
    phase: NDArray[np.int8]
    inferred: Bools
    switches: Ints
    prev: Ints
    next: Ints
    state: Ints
    wakeups: Ints
    woken: Ints
    gaps: Holes
    filled: Holes

    def __len__(self) -> int:
        return len(self.time_ns)

    @cached_property
    def after(self) -> Ints:
        """Who runs on the event's cpu behind it (E,)."""
        after = self.tid.copy()
        after[self.switches] = self.next
        return after

    @cached_property
    def by_cpu(self) -> Ints:
        """The events in order of their cpus (E,)."""
        return stable_order(self.cpu)

    def vague(self, at: Ints) -> Holes:
        """Holes that events are, of which nobody knows enough."""
        return Holes(self.cpu[at], at, at)

    @cached_property
    def claims(self) -> Ints:
        """Who runs on the event's cpu in front of it, as it says (E,)."""
        claims = self.tid.copy()
        claims[self.switches] = self.prev
        return claims

    @cached_property
    def unsure(self) -> Holes:
        """The gaps, and events of threads that nobody knows."""
        return Holes.joined([self.gaps, self.vague(np.flatnonzero(self.claims == UNKNOWN))])

    @cached_property
    def since(self) -> Ints:
        """The event of the same cpu that said last, before each event, who runs (E,); -1 where none did."""
        order, says = self.by_cpu, self.tid != UNKNOWN
        says[self.switches] = True
        number = np.arange(len(order))
        last = np.maximum.accumulate(np.where(says[order], number, -1))
        last = np.concatenate([[-1], last])[:-1]
        cpu = self.cpu[order]
        begin = np.maximum.accumulate(np.where(np.diff(cpu, prepend=-2) != 0, number, 0))
        since = np.empty(len(order), np.int64)
        since[order] = np.where(last >= begin, order[last], -1)
        return since

    @cached_property
    def before(self) -> Ints:
        """Who runs on the event's cpu in front of it (E,); UNKNOWN where nothing told yet, or a gap is between."""
        told = (self.since >= 0) & ~self.unsure.between(self.since, np.arange(len(self)), self.cpu)
        return np.where(told, self.after[self.since], UNKNOWN)

    @cached_property
    def running(self) -> dict[int, tuple[Ints, Ints]]:
        """Of each cpu, from when on which thread is shown, until the next one is; the last event, too. Gaps change
        nothing."""
        told = self.by_cpu[self.after[self.by_cpu] != UNKNOWN]
        cpu, after = self.cpu[told], self.after[told]
        first, last = np.diff(cpu, prepend=-1) != 0, np.diff(cpu, append=-1) != 0
        kept = told[first | last | (np.diff(after, prepend=UNKNOWN) != 0)]
        parts = np.split(kept, np.flatnonzero(np.diff(self.cpu[kept])) + 1) if len(kept) else []
        return {int(self.cpu[p[0]]): (self.time_ns[p], self.after[p]) for p in parts}


def of_trace(trace: Trace, inferred: pa.Table | None = None, inside: Ints | None = None) -> View:
    """A trace, with its inferred events if any are given (INFERRED): the gaps that have none stay open.

    inside: the threads that were recorded, if only some were (``recorded``).
    """
    table = INFERRED.empty_table() if inferred is None else inferred
    told = np.zeros(len(trace) + table.num_rows, bool)
    told[len(trace) :] = True
    return _view(trace, table, told, inside)


def of_truth(pair: Pair) -> View:
    """The complete recording of a pair; its events that were lost count as inferred."""
    lost = np.zeros(len(pair.complete), bool)
    for rows in pair.missing:
        lost[rows] = True
    view = _view(pair.complete, INFERRED.empty_table(), lost, recorded(pair.complete))
    return replace(view, filled=view.vague(np.flatnonzero(view.inferred)))


def _view(trace: Trace, table: pa.Table, told: Bools, inside: Ints | None) -> View:
    """told (E,): which of the trace's events and those of the table are inferred."""
    rows = np.arange(len(trace)).astype(float)
    edges = [edge for gap in trace.gaps for edge in gap.edges]
    time_ns = np.concatenate([trace.time_ns, table["time_ns"].to_numpy(), np.array([t for t, _ in edges], np.int64)])
    row = np.concatenate([rows, rows_of(table, trace.gaps) if table.num_rows else [], [r for _, r in edges]])
    order = np.lexsort((row, time_ns))
    event = order < len(told)
    place = np.empty(len(order), np.int64)
    place[order] = np.cumsum(event) - event  # how many events stand in front of each, and of each edge of a gap
    order = order[event]
    first, last = place[len(told) :].reshape(-1, 2).T
    holes = Holes(np.array([g.cpu for g in trace.gaps], np.int64), first, last)
    filled = np.isin([g.number for g in trace.gaps], table["gap"].to_numpy())
    number: dict[str, int] = {}
    named = [
        np.array([number.setdefault(kernel_name(n), len(number)) for n in known], np.int64)[codes]
        for codes, known in (trace.names, coded(table["name"]))
    ]
    phases, said = coded(table["phase"])
    fields = _Fields(trace, table, place)
    switches, prev, following, state = fields.of(
        [SWITCH], {"prev_pid": numbers, "next_pid": numbers, "prev_state": _states}
    )
    wakeups, woken = fields.of(WAKEUPS, {"pid": numbers})
    tid = np.concatenate([trace.tid, table["tid"].to_numpy()]).astype(np.int64)[order]

    def threads(tids: Ints) -> Ints:
        return tids if inside is None else np.where((tids < 0) | np.isin(tids, inside), tids, OTHERS)

    return View(
        time_ns[order],
        np.concatenate([trace.cpu, table["cpu"].to_numpy()]).astype(np.int64)[order],
        threads(tid),
        list(number),
        np.concatenate(named)[order],
        np.concatenate([trace.phase, np.array([PHASES.index(p) for p in said], np.int8)[phases]])[order],
        told[order],
        switches,
        threads(np.where(prev == UNKNOWN, tid[switches], prev)),
        threads(following),
        state,
        wakeups,
        threads(woken),
        holes.of(~filled),
        holes.of(filled),
    )


@dataclass(frozen=True)
class _Fields:
    """place: where each event of the trace, then of the table, stands in order."""

    trace: Trace
    table: pa.Table
    place: Ints

    def of(self, names: Sequence[str], fields: dict[str, Callable[[pa.Array], Ints]]) -> tuple[Ints, ...]:
        """The places of the events that the kernel calls so, in order, and each of the fields, read as is said."""
        found = []
        for name in names:
            rows, texts = values(self.trace, name, list(fields))
            found.append((rows, [read(texts[f]) for f, read in fields.items()]))
        if self.table.num_rows:
            import pyarrow.compute as pc

            codes, known = coded(self.table["name"])
            rows = np.flatnonzero(np.array([kernel_name(n) in names for n in known])[codes])
            told = self.table["fields"].take(pa.array(rows)).combine_chunks()
            texts = {f: pc.struct_field(pc.map_lookup(told, f, "first"), "value") for f in fields}
            found.append((rows + len(self.trace), [read(texts[f]) for f, read in fields.items()]))
        places = np.concatenate([self.place[rows] for rows, _ in found])
        order = np.argsort(places)
        return places[order], *(np.concatenate([v[i] for _, v in found])[order] for i in range(len(fields)))


def _states(texts: pa.Array) -> Ints:
    import pyarrow.compute as pc

    codes = pc.if_else(pc.starts_with(texts, "R"), RUNNABLE, BLOCKED).fill_null(UNKNOWN)
    return np.asarray(codes.to_numpy(zero_copy_only=False), np.int64)
