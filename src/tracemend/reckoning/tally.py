"""The figures of a run of events, which add up: what follows a run is taken in, and calls that begin in the one and end
in the other are put together. So a trace of any size is counted piece by piece.

Axis legend: E events in order, C events that enter or leave a call, K keys, F figures, S stretches of a cpu's time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracemend.reckoning.calls import paired
from tracemend.reckoning.events import FAILED, IDLE, UNTOLD, Events
from tracemend.trace.events import ENTER, EXIT, INSTANT, stable_order

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: What is counted by. Figures can be by process as well: its threads' together.
BY = ("call", "thread", "cpu", "time")
#: Columns of a tally. UNSAID: exits that don't say how their call ended. SIDES: enters and exits. GUESSED: the part of
#: TIME of calls with an inferred side; UNKNOWN: so many of them would have lasted longer than is plausible, and are
#: taken for usual ones. UNTIL is no sum: when the last event came that figures of a key rest on.
EVENTS, CALLS, ERRORS, TIME, CPU, UNSAID, SIDES, GUESSED, UNKNOWN, UNTIL = range(10)
#: At so many parts of a time, or fewer, a run of events is looked at.
CELLS = 2000
#: Of a key that nothing rests on yet.
NEVER = -(1 << 62)
#: Of an event that was recorded: what its call lasted is as it is.
RECORDED = -1

Key = str | int


@dataclass(frozen=True, slots=True)
class Asked:
    """What is counted: ``by`` what, and of what time (ns, both included; all of it if None). ``processes``: figures by
    process are to be made of what is counted by thread.

    A call counts where it was entered. One whose enter is not there was made all the same, if that place doesn't
    matter: by call and thread, and of all times. So what all keys have together is what they have by call, which is
    always counted. An error counts where it was returned. Of a call that reaches over an edge of the time, the part
    inside counts.
    """

    by: tuple[str, ...] = ("call",)
    span: tuple[int, int] | None = None
    processes: bool = False

    def inside(self, time_ns: Ints) -> Bools:
        if self.span is None:
            return np.ones(len(time_ns), bool)
        return (time_ns >= self.span[0]) & (time_ns <= self.span[1])

    def reaches(self, begin_ns: Ints, end_ns: Ints) -> Bools:
        """Whether some of what begins and ends then (both included) is inside."""
        if self.span is None:
            return np.ones(np.shape(begin_ns), bool)
        return np.asarray((begin_ns <= self.span[1]) & (end_ns >= self.span[0]))

    def part(self, begin_ns: Ints, end_ns: Ints) -> Ints:
        """How much of what lasts from one time to another is inside, in ns."""
        if self.span is None:
            return end_ns - begin_ns
        return np.asarray(np.maximum(np.minimum(end_ns, self.span[1] + 1) - np.maximum(begin_ns, self.span[0]), 0))

    def nearest(self, time_ns: Ints) -> Ints:
        """Where what reaches inside is first seen there."""
        return time_ns if self.span is None else np.clip(time_ns, *self.span)

    def anywhere(self, by: str) -> bool:
        """Whether a call counts that was entered nobody knows where."""
        return self.span is None and by in ("call", "thread")


class Edge(NamedTuple):
    """The first or last event of a thread that enters or leaves a call. most, usual: of one that was inferred how long
    its call may have lasted, and usually does."""

    phase: int
    name: str
    time_ns: int
    cpu: int
    most: int = RECORDED
    usual: int = 0


class Took(NamedTuple):
    """How long a call lasts by its sides; most, usual: of one with an inferred side as of an ``Edge``."""

    lasted: int
    most: int = RECORDED
    usual: int = 0

    @property
    def guessed(self) -> bool:
        return self.most != RECORDED

    @property
    def unknown(self) -> bool:
        """Whether that is longer than is plausible."""
        return self.guessed and self.lasted > self.most

    @property
    def ns(self) -> int:
        """What counts."""
        return self.usual if self.unknown else self.lasted


class _Ran(NamedTuple):
    """Stretches of cpus' time (each (S,)): on which cpu, from when on, who runs there, until when."""

    cpu: Ints
    since: Ints
    who: Ints
    until: Ints

    def by(self, by: str, tally: Tally) -> tuple[Ints, Ints]:
        """The keys of those in which someone runs, and how long they are; cut where cells of time end."""
        since, until = self.since, self.until
        if by == "call":
            return np.empty(0, np.int64), np.empty(0, np.int64)
        if tally.asked.span is not None:
            since, until = np.maximum(since, tally.asked.span[0]), np.minimum(until, tally.asked.span[1] + 1)
        counted = np.flatnonzero((self.who != IDLE) & (until > since))
        since, until = since[counted], until[counted]
        if by != "time":
            return (self.cpu if by == "cpu" else self.who)[counted], until - since
        first, last = since // tally.width, (until - 1) // tally.width
        cells = last - first + 1
        cell = np.repeat(first, cells) + np.arange(cells.sum()) - np.repeat(np.cumsum(cells) - cells, cells)
        begin, end = (np.repeat(side, cells) for side in (since, until))
        return cell, np.minimum(end, (cell + 1) * tally.width) - np.maximum(begin, cell * tally.width)


@dataclass
class Tally:
    """``counts``: by what, by key, the columns. ``begin_ns``, ``end_ns``: of its events; the begin is behind the end
    where it has none. ``width``: ns of a cell of time, whose key is time // width; there are no more than CELLS.
    ``heads``, ``tails``: each thread's first and last event of a call. ``starts``, ``ends``: of each cpu the time of
    its first event and whether events are missing in front of it; the time of its last one and who runs behind it.
    """

    asked: Asked
    counts: dict[str, dict[Key, list[int]]] = field(default_factory=dict)
    begin_ns: int = 0
    end_ns: int = -1
    width: int = 1
    heads: dict[int, Edge] = field(default_factory=dict)
    tails: dict[int, Edge] = field(default_factory=dict)
    starts: dict[int, tuple[int, bool]] = field(default_factory=dict)
    ends: dict[int, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, events: Events, asked: Asked, nested: bool = False) -> Tally:
        """The tally of some events. nested: calls lie within one another, so an exit isn't that of the enter before;
        then each is made by its enter, and how long it took is not counted."""
        made = cls(asked, {by: {} for by in asked.by})
        if not len(events):
            return made
        made.begin_ns, made.end_ns = int(events.time_ns.min()), int(events.time_ns.max())
        made.width = _width(made.end_ns - made.begin_ns)
        _Counting(made, events, nested).count()
        return made

    def take(self, other: Tally) -> None:
        """Take in the tally of the events that follow."""
        if other.end_ns < other.begin_ns:
            return
        some = self.end_ns >= self.begin_ns
        self.begin_ns = min(self.begin_ns, other.begin_ns) if some else other.begin_ns
        self.end_ns = max(self.end_ns, other.end_ns) if some else other.end_ns
        width = max(self.width, other.width, _width(self.end_ns - self.begin_ns))
        self.coarsen(width)
        for by, keys in other.counts.items():
            for key, columns in keys.items():
                self._add(by, key if by != "time" else int(key) * other.width // width, columns)
        for tid, head in other.heads.items():
            tail = self.tails.get(tid)
            if tail is not None and tail.phase == ENTER:
                self._join(tid, tail, head)
            self.heads.setdefault(tid, head)
        self.tails |= other.tails
        for cpu, (time_ns, cut) in other.starts.items():
            if cpu in self.ends and not cut:
                self._ran(cpu, self.ends[cpu], time_ns)
            self.starts.setdefault(cpu, (time_ns, cut))
        self.ends |= other.ends

    def coarsen(self, width: int) -> None:
        """Make the cells of time as wide as that, a multiple of what they are."""
        cells, times = self.counts.get("time", {}), width // self.width
        self.width = width
        if cells and times > 1:
            self.counts["time"] = {}
            for key, columns in cells.items():
                self._add("time", int(key) // times, columns)

    def close(self, end_ns: int) -> None:
        """Nothing follows: calls that are still open rest on the end."""
        for tid, tail in self.tails.items():
            if tail.phase == ENTER:
                self._enter(tid, tail, Took(0), end_ns)

    def _add(self, by: str, key: Key, columns: Sequence[int]) -> None:
        held = self.counts[by].setdefault(key, [0] * UNTIL + [NEVER])
        for i in range(UNTIL):
            held[i] += columns[i]
        held[UNTIL] = max(held[UNTIL], columns[UNTIL])

    def _join(self, tid: int, tail: Edge, head: Edge) -> None:
        """A thread's last event of a call enters one; the next one is ``head``."""
        if head.phase == EXIT and head.name == tail.name:
            took = Took(head.time_ns - tail.time_ns, *max(tail[-2:], head[-2:]))
            self._enter(tid, tail, took, head.time_ns)
            for by, key in (("call", head.name), ("thread", tid)):
                if by in self.counts and self.asked.anywhere(by):
                    self.counts[by][key][CALLS] -= 1  # it was no call by itself
        else:
            self._enter(tid, tail, Took(0), head.time_ns)

    def _enter(self, tid: int, edge: Edge, took: Took, until_ns: int) -> None:
        """A call that was entered there took so long, and rests on events up to a time."""
        begin, end, until = (np.array(x, np.int64) for x in (edge.time_ns, edge.time_ns + took.ns, until_ns))
        if not self.asked.reaches(begin, until):
            return
        cell, ns = int(self.asked.nearest(begin)) // self.width, int(self.asked.part(begin, end))
        keys: dict[str, Key] = {"call": edge.name, "thread": tid, "cpu": edge.cpu, "time": cell}
        for by in self.counts:
            columns = [0] * UNTIL + [until_ns]
            columns[TIME], columns[GUESSED], columns[UNKNOWN] = ns, ns * took.guessed, int(took.unknown)
            self._add(by, keys[by], columns)

    def _ran(self, cpu: int, since: tuple[int, int], until_ns: int) -> None:
        """On a cpu someone ran from a time on."""
        for by in self.counts:
            ran = _Ran(*(np.array([x]) for x in (cpu, *since, until_ns)))
            keys, length = ran.by(by, self)
            for key, ns in zip(keys.tolist(), length.tolist(), strict=True):
                columns = [0] * UNTIL + [NEVER]
                columns[CPU] = ns
                self._add(by, key, columns)

    def as_dict(self) -> dict[str, Any]:
        """For JSON; what is asked for isn't in it."""
        edges = {
            name: [[tid, *edge] for tid, edge in getattr(self, name).items()]
            for name in ("heads", "tails", "starts", "ends")
        }
        counts = {by: [[key, *columns] for key, columns in keys.items()] for by, keys in self.counts.items()}
        return {"counts": counts, "begin_ns": self.begin_ns, "end_ns": self.end_ns, "width": self.width, **edges}

    @classmethod
    def of_dict(cls, asked: Asked, document: dict[str, Any]) -> Tally:
        def edges(name: str, kind: Callable[[list[Any]], Any]) -> dict[int, Any]:
            return {key: kind(rest) for key, *rest in document[name]}

        return cls(
            asked,
            {by: {key: columns for key, *columns in rows} for by, rows in document["counts"].items()},
            *(document[k] for k in ("begin_ns", "end_ns", "width")),
            *(edges(name, lambda rest: Edge(*rest)) for name in ("heads", "tails")),
            *(edges(name, tuple) for name in ("starts", "ends")),
        )


@dataclass
class _Counting:
    """Puts the figures of some events into an empty tally."""

    made: Tally
    events: Events
    nested: bool

    def count(self) -> None:
        made, e = self.made, self.events
        inside = made.asked.inside(e.time_ns)
        calls = paired(e.tid, e.code, e.phase)
        rows, enter = calls.rows, calls.rows[calls.first]
        entered = e.phase[rows] == ENTER
        alone = ~entered & calls.lone & (not self.nested)
        leave = rows[calls.first + 1]
        took = np.zeros(len(e), np.int64)
        guessed, unknown = np.zeros(len(e), bool), np.zeros(len(e), bool)
        if not self.nested:
            most, usual = np.array(e.lasting, np.int64).reshape(-1, 2)[e.code[enter]].T
            lasted = e.time_ns[leave] - e.time_ns[enter]
            guessed[enter] = e.inferred[enter] | e.inferred[leave]
            unknown[enter] = guessed[enter] & (lasted > most)
            begin = e.time_ns[enter]
            took[enter] = made.asked.part(begin, begin + np.where(unknown[enter], usual, lasted))
        until = np.full(len(e), NEVER)
        # an enter rests on its thread's next event; of the last one, what follows says so
        follows = np.flatnonzero(entered[:-1] & (e.tid[rows[:-1]] == e.tid[rows[1:]]))
        until[rows[follows]] = e.time_ns[rows[follows + 1]]
        reaching = made.asked.reaches(e.time_ns, np.maximum(e.time_ns, until))
        exits = e.phase == EXIT
        for by in made.asked.by:
            keys, code, ran_key, ran_ns = self._keys(by)
            own = np.zeros((len(keys), UNTIL + 1), np.int64)
            own[:, UNTIL] = NEVER
            made_at = np.zeros(len(e), bool)
            made_at[rows] = entered | alone if made.asked.anywhere(by) else entered
            for column, counted in (
                (EVENTS, inside),
                (CALLS, inside & made_at),
                (ERRORS, inside & (e.result == FAILED)),
                (UNSAID, inside & exits & (e.result == UNTOLD)),
                (SIDES, inside & (e.phase != INSTANT)),
                (UNKNOWN, reaching & unknown),
            ):
                own[:, column] = np.bincount(code[counted], minlength=len(keys))
            np.add.at(own[:, TIME], code[enter], took[enter])
            np.add.at(own[:, GUESSED], code[guessed], took[guessed])
            np.maximum.at(own[:, UNTIL], code[reaching], until[reaching])
            np.add.at(own[:, CPU], ran_key, ran_ns)
            there = np.flatnonzero(own[:, :UNTIL].any(axis=1) | (own[:, UNTIL] > NEVER))
            made.counts[by] = dict(zip([keys[i] for i in there.tolist()], own[there].tolist(), strict=True))
        if not self.nested:
            made.heads, made.tails = self._edges(rows)
        by_cpu = stable_order(e.cpu)
        first, last = by_cpu[_first(e.cpu[by_cpu])], by_cpu[_last(e.cpu[by_cpu])]
        starts = zip(e.time_ns[first].tolist(), e.cut[first].tolist(), strict=True)
        ends = zip(e.time_ns[last].tolist(), e.who[last].tolist(), strict=True)
        made.starts = dict(zip(e.cpu[first].tolist(), starts, strict=True))
        made.ends = dict(zip(e.cpu[last].tolist(), ends, strict=True))

    def _keys(self, by: str) -> tuple[list[Key], Ints, Ints, Ints]:
        """The keys (K,), which of them each event has (E,), and each stretch of a cpu's time (S,) with its ns."""
        e = self.events
        order = stable_order(e.cpu)
        same = np.flatnonzero((e.cpu[order[1:]] == e.cpu[order[:-1]]) & ~e.cut[order[1:]])
        at, behind = order[same], order[same + 1]
        ran, length = _Ran(e.cpu[at], e.time_ns[at], e.who[at], e.time_ns[behind]).by(by, self.made)
        if by == "call":
            return list(e.names), e.code, ran, length
        key = {"thread": e.tid, "cpu": e.cpu, "time": self.made.asked.nearest(e.time_ns) // self.made.width}[by]
        keys, code = np.unique(np.concatenate([key, ran]), return_inverse=True)
        code = code.ravel()
        return keys.tolist(), code[: len(key)], code[len(key) :], length

    def _edges(self, rows: Ints) -> tuple[dict[int, Edge], dict[int, Edge]]:
        e = self.events
        tid = e.tid[rows]
        found = []
        for ends in (_first(tid), _last(tid)):
            at = rows[ends]
            names = [e.names[c] for c in e.code[at].tolist()]
            known = np.array(e.lasting, np.int64).reshape(-1, 2)[e.code[at]]
            known[~e.inferred[at]] = RECORDED, 0
            columns = zip(
                *(e.phase[at].tolist(), names, e.time_ns[at].tolist(), e.cpu[at].tolist(), *known.T.tolist()),
                strict=True,
            )
            found.append(dict(zip(tid[ends].tolist(), map(Edge._make, columns), strict=True)))
        return found[0], found[1]


def _first(key: Ints) -> Ints:
    """Where runs of equal keys begin."""
    return np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]])[: len(key)])


def _last(key: Ints) -> Ints:
    """Where they end."""
    return np.flatnonzero(np.concatenate([key[1:] != key[:-1], [True]])[: len(key)])


def _width(span_ns: int) -> int:
    """The power of ten that divides a span into no more than so many cells."""
    width = 1
    while span_ns // width >= CELLS:
        width *= 10
    return width
