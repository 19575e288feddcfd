"""Who ran on a cpu and which interrupts were served, as recorded, and beside it what was inferred of the gaps.

A slice of a running thread lasts from one switch to the next of its cpu and is cut at the cpu's gaps. Behind a gap it
is the next switch's ``prev`` who ran. Between two inferred switches, too, it is the thread that the first one goes to,
or whose the events behind it are; where nobody knows there is no slice. An interrupt is a slice within, if its end was
seen before the next switch or gap.

Axis legend: S switches, B bounds of slices (switches, ends of gaps and of streams), Q interrupts' begins and ends,
G gaps, I inferred events, R slices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from tracemend.mending.mended import Mended
from tracemend.outputs.known import Flat, flat
from tracemend.outputs.perfetto.encoding import (
    BEGIN,
    END,
    GAP,
    INTERRUPT,
    LEFT,
    RAN,
    RUNNING,
    Bools,
    Events,
    Ints,
    Names,
    binary,
    colour,
    confidence_notes,
    inferred_colour,
    number_notes,
    text_notes,
)
from tracemend.trace.events import Trace
from tracemend.trace.fields import SWITCH, kernel_name, numbers, values

#: Interrupts: begin, end, and what they are told apart by.
INTERRUPTS = {
    "irq": ("irq_handler_entry", "irq_handler_exit", ("irq", "name")),
    "softirq": ("softirq_entry", "softirq_exit", ("vec", "action")),
}

Places = NDArray[np.float64]


@dataclass(frozen=True)
class Slices:
    """Slices (R,): where each begins and ends, in time and then in order, and what it says."""

    cpu: Ints
    time: tuple[Ints, Ints]
    place: tuple[Places, Places]
    category: Ints
    label: pa.Array
    notes: list[pa.Array]

    def events(self, names: Names, track: Ints, inferred: bool) -> Events:
        """As begins and ends, in order; ``track``: each slice's (R,)."""
        count = len(self.cpu)
        label = self.label.dictionary_encode()
        which, known = label.indices.to_numpy().astype(np.int64), label.dictionary.to_pylist()
        shown = [] if inferred else [colour(names.cool(known)[which])]
        name = names.of(known)[which]
        begins = Events(self.time[0], np.full(count, BEGIN), track, self.category, name, [*shown, *self.notes])
        ends = Events(self.time[1], np.full(count, END), track, self.category, np.zeros(count, np.int64))
        # at one place the slice that ends there does so before the next one begins
        rank, place = np.repeat([1, 0], count), np.concatenate(self.place)
        return Events.joined([begins, ends]).take(np.lexsort((rank, place, np.concatenate(self.time))))


class Running:
    """Who ran, as recorded and as inferred; nobody where no switch was. ``comms``: commands of threads."""

    def __init__(self, mended: Mended, comms: dict[int, str]) -> None:
        self.recorded = _Recorded(mended.trace, comms).slices()
        self.inferred = _Inferred(mended, comms).slices()


@dataclass(frozen=True)
class _Served:
    """Begins and ends of interrupts (Q,): their rows, which are which, of what kind, and what to call them."""

    rows: Ints
    enter: Bools
    family: Ints
    label: pa.Array

    @classmethod
    def of(cls, told: Callable[[str, tuple[str, ...]], tuple[Ints, dict[str, pa.Array]]]) -> _Served:
        """``told``: the rows of an event and what they say in their fields."""
        parts = []
        for family, (word, (begin, end, fields)) in enumerate(INTERRUPTS.items()):
            for enter, event in ((True, begin), (False, end)):
                rows, said = told(event, fields)
                number, name = (said[f] for f in fields)
                what = (number, name) if word == "irq" else (pc.coalesce(name, number),)
                label = pc.binary_join_element_wise(word, *what, " ", null_handling="skip")
                label = label if len(rows) else pa.array([], pa.string())
                parts.append((rows, np.full(len(rows), enter), np.full(len(rows), family), label))
        found, enters, families, labels = zip(*parts, strict=True)
        return cls(np.concatenate(found), np.concatenate(enters), np.concatenate(families), pa.concat_arrays(labels))

    def pairs(self, order: Ints, segment: Ints) -> tuple[Ints, Ints]:
        """Begins and ends that belong together. ``order`` (Q,): as they follow each other; no pair is in two segments.

        They nest as brackets do: an end belongs to the begin of its depth right before it.
        """
        enter, family = self.enter[order], self.family[order]
        depth = np.cumsum(np.where(enter, 1, -1)) - enter  # in front of a begin, behind an end
        base = np.append(0, np.cumsum(np.where(enter, 1, -1)))[np.searchsorted(segment, segment)]
        by = np.lexsort((np.arange(len(order)), depth - base, segment))
        a, b = by[:-1], by[1:]
        pair = enter[a] & ~enter[b] & (family[a] == family[b])
        pair &= (segment[a] == segment[b]) & ((depth - base)[a] == (depth - base)[b])
        return order[a[pair]], order[b[pair]]


@dataclass(frozen=True)
class _Recorded:
    trace: Trace
    comms: dict[int, str]

    def slices(self) -> Slices:
        rows, said = self._told(SWITCH, ("prev_pid", "prev_comm", "prev_state", "next_pid", "next_comm"))
        if not len(rows):
            return _NONE
        served = _Served.of(self._told)
        cpus = np.unique(self.trace.cpu[np.concatenate([rows, served.rows])]).astype(np.int64)
        cpu, time, place, opens, switch = self._bounds(rows, cpus)
        a, b = switch[:-1], switch[1:]
        who = np.where(a >= 0, len(rows) + a, b)  # of all that were left, and then of all that came
        pid = np.concatenate([numbers(said["prev_pid"]), numbers(said["next_pid"])])[who]
        comm = pa.concat_arrays([said["prev_comm"], said["next_comm"]])
        kept = (cpu[:-1] == cpu[1:]) & (time[:-1] < time[1:]) & (np.cumsum(opens)[:-1] == 0) & (who >= 0) & (pid >= 0)
        left = said["prev_state"].take(pa.array(b, mask=(b < 0) | (pid != numbers(said["prev_pid"])[b])))
        begin, end = served.pairs(*self._segments(served, (cpu, time, place), opens))
        first, last = served.rows[begin], served.rows[end]
        at = pa.array(np.flatnonzero(kept))
        ran = _label(pid[kept], comm.take(pa.array(who[kept])), self.comms)
        label = pa.concat_arrays([ran, served.label.take(pa.array(begin))])
        left = pa.concat_arrays([left.take(at), pa.nulls(len(first), pa.string())])
        return Slices(
            np.concatenate([cpu[:-1][kept], self.trace.cpu[first]]),
            (
                np.concatenate([time[:-1][kept], self.trace.time_ns[first]]),
                np.concatenate([time[1:][kept], self.trace.time_ns[last]]),
            ),
            (np.concatenate([place[:-1][kept], first]), np.concatenate([place[1:][kept], last])),
            np.repeat([RUNNING, INTERRUPT], [len(at), len(first)]),
            label,
            [text_notes(LEFT, left)],
        )

    def _told(self, event: str, fields: tuple[str, ...]) -> tuple[Ints, dict[str, pa.Array]]:
        """The rows of the events of that name whose cpu is known, and what they say in their fields."""
        rows, said = values(self.trace, event, fields)
        on = self.trace.cpu[rows] >= 0
        return rows[on], {name: text.filter(pa.array(on)) for name, text in said.items()}

    def _bounds(self, rows: Ints, cpus: Ints) -> tuple[Ints, Ints, Places, Ints, Ints]:
        """Of all cpus, in order (B,): cpu, time, place among the rows, whether a gap opens (1) or closes (-1), and the
        number of the switch, -1 for all else."""
        trace = self.trace
        streams = [trace.streams[c] for c in cpus.tolist()]
        gaps = [g for g in trace.gaps if g.cpu in set(cpus.tolist())]
        of_gaps = np.array([g.cpu for g in gaps], np.int64)
        edges = [([g.edges[side][0] for g in gaps], [g.edges[side][1] for g in gaps]) for side in (0, 1)]
        ends = [[f(trace.time_ns[s]) for s in streams] for f in (np.min, np.max)]
        parts: list[tuple[ArrayLike, ArrayLike, ArrayLike]] = [
            (trace.cpu[rows], trace.time_ns[rows], rows),
            (cpus, ends[0], np.full(len(cpus), -1)),
            (of_gaps, *edges[0]),
            (of_gaps, *edges[1]),
            (cpus, ends[1], np.full(len(cpus), np.inf)),
        ]
        cpu, time = (np.concatenate([np.asarray(p[k], np.int64) for p in parts]) for k in (0, 1))
        place = np.concatenate([np.asarray(p[2], np.float64) for p in parts])
        opens = np.repeat([0, 0, 1, -1, 0], [len(rows), len(cpus), len(gaps), len(gaps), len(cpus)])
        switch = np.where(np.arange(len(cpu)) < len(rows), np.arange(len(cpu)), -1)
        order = np.lexsort((place, time, cpu))
        return cpu[order], time[order], place[order], opens[order], switch[order]

    def _segments(self, served: _Served, bounds: tuple[Ints, Ints, Places], opens: Ints) -> tuple[Ints, Ints]:
        """The interrupts' events outside of gaps, as they follow each other on each cpu, and between which bounds each
        of them is."""
        own = (self.trace.cpu[served.rows], self.trace.time_ns[served.rows], served.rows)
        cpu, time, place = (np.concatenate([b, q]) for b, q in zip(bounds, own, strict=True))
        order = np.lexsort((place, time, cpu))
        bound = order < len(opens)
        segment = np.cumsum(bound | (np.diff(cpu[order], prepend=-2) != 0))
        free = ~bound & (np.cumsum(np.append(opens, np.zeros(len(served.rows), np.int64))[order]) == 0)
        return order[free] - len(opens), segment[free]


@dataclass(frozen=True)
class _Inferred:
    mended: Mended
    comms: dict[int, str]

    def slices(self) -> Slices:
        table, trace = self.mended.inferred, self.mended.trace
        switch, _ = self._told(SWITCH, ())
        if not len(switch) and SWITCH not in map(kernel_name, trace.names[1]):
            return _NONE
        gaps = _Gaps.of(table["gap"].to_numpy(), trace)
        served = _Served.of(self._told)
        # what opens a slice: a gap, or a switch in it; what comes next there ends it
        at = np.concatenate([np.arange(len(gaps.first)), gaps.of_row[switch]])
        place = np.concatenate([gaps.first - 0.5, switch])
        order = np.lexsort((place, at))
        by = np.concatenate([np.full(len(gaps.first), -1), switch])[order]
        at, place = at[order], place[order]
        time = np.where(by >= 0, self._time[by], gaps.begin_ns[at])
        last = np.append(at[1:] != at[:-1], True)
        until = np.where(last, gaps.end_ns[at], np.roll(time, -1))
        until_place = np.where(last, gaps.stop[at] - 0.5, np.roll(place, -1))
        behind = np.where(by >= 0, by + 1, gaps.first[at])
        pid, comm, sure = self._who(by, np.where(behind < gaps.stop[at], behind, -1))
        kept = np.flatnonzero((pid >= 0) & (time < until) & gaps.apart[at])
        segment = gaps.of_row[served.rows] + np.searchsorted(switch, served.rows)
        in_order = np.argsort(served.rows)
        begin, end = served.pairs(in_order, segment[in_order])
        shown = gaps.apart[gaps.of_row[served.rows[begin]]]
        begin, end = begin[shown], end[shown]
        rows, ends = served.rows[begin], served.rows[end]
        number = np.concatenate([at[kept], gaps.of_row[rows]])
        shift = gaps.rank[number] * 2.0 * (len(table) + 1)  # gaps stand in order of time, too, where theirs is the same
        how_sure = np.concatenate([sure[kept], table["confidence"].to_numpy()[rows]])
        return Slices(
            gaps.cpu[number],
            (np.concatenate([time[kept], self._time[rows]]), np.concatenate([until[kept], self._time[ends]])),
            (
                shift + np.concatenate([place[kept], rows]),
                shift + np.concatenate([until_place[kept], ends]),
            ),
            np.full(len(number), RAN),
            pa.concat_arrays(
                [_label(pid[kept], comm.take(pa.array(kept)), self.comms), served.label.take(pa.array(begin))]
            ),
            [
                *map(
                    binary,
                    (inferred_colour(how_sure), confidence_notes(how_sure), number_notes(GAP, gaps.number[number])),
                )
            ],
        )

    @cached_property
    def _fields(self) -> Flat:
        return flat(self.mended.inferred)

    @cached_property
    def _time(self) -> Ints:
        return np.append(self.mended.inferred["time_ns"].to_numpy(), 0)  # the last one stands for no event

    @cached_property
    def _kinds(self) -> tuple[Ints, list[str]]:
        """Each event's name as the kernel has it: numbers into a list."""
        coded = self.mended.inferred["name"].cast(pa.string()).combine_chunks().dictionary_encode()
        return coded.indices.to_numpy(), [kernel_name(name) for name in coded.dictionary.to_pylist()]

    def _told(self, event: str, fields: tuple[str, ...]) -> tuple[Ints, dict[str, pa.Array]]:
        """The rows of the inferred events of that name, and what they say in their fields."""
        codes, kinds = self._kinds
        rows = np.flatnonzero(np.isin(codes, [i for i, kind in enumerate(kinds) if kind == event]))
        return rows, {name: self._fields.of(name)[0].take(pa.array(rows)) for name in fields}

    def _who(self, switch: Ints, behind: Ints) -> tuple[Ints, pa.Array, NDArray[np.float64]]:
        """Who runs behind a switch (its row, or -1), the next event there being ``behind`` (-1: there is none): thread
        (-1: nobody knows), command, and how sure that is."""
        table = self.mended.inferred
        following, sure_of_it = self._fields.of("next_pid")
        goes = np.append(numbers(following), -1)[switch]
        pid = np.where(goes >= 0, goes, np.append(table["tid"].to_numpy(), -1)[behind])
        sure = np.append(table["confidence"].to_numpy().astype(np.float64), np.nan)[behind]
        comms = pa.concat_arrays([self._fields.of("next_comm")[0], table["comm"].cast(pa.string()).combine_chunks()])
        row = np.where(goes >= 0, switch, np.where(behind >= 0, len(table) + behind, -1))
        comm = comms.take(pa.array(row, mask=row < 0))
        return pid, comm, np.where(goes >= 0, np.append(sure_of_it, np.nan)[switch], sure)


@dataclass(frozen=True)
class _Gaps:
    """The gaps (G,) that events were inferred in: where those begin and stop among the rows (I,), and whose each is.

    ``rank``: in order of time. ``apart``: whether no earlier one of its cpu that is apart reaches into it.
    """

    number: Ints
    cpu: Ints
    begin_ns: Ints
    end_ns: Ints
    first: Ints
    stop: Ints
    of_row: Ints
    rank: Ints
    apart: Bools

    @classmethod
    def of(cls, gap: NDArray[np.integer[Any]], trace: Trace) -> _Gaps:
        first = np.flatnonzero(np.diff(gap, prepend=-1))
        stop = np.append(first[1:], len(gap))[: len(first)]
        gaps = {g.number: g for g in trace.gaps}
        own = [gaps[n] for n in gap[first].tolist()]
        number, cpu, begin, end = (
            np.array([(g.number, g.cpu, g.begin_ns, g.end_ns) for g in own], np.int64).reshape(-1, 4).T
        )
        order = np.lexsort((end, begin))
        rank = np.empty(len(own), np.int64)
        rank[order] = np.arange(len(own))
        apart = np.zeros(len(own), bool)
        reached: dict[int, int] = {}
        for i in order.tolist():
            apart[i] = cpu[i] >= 0 and begin[i] >= reached.get(int(cpu[i]), begin[i])
            if apart[i]:
                reached[int(cpu[i])] = int(end[i])
        return cls(number, cpu, begin, end, first, stop, np.repeat(np.arange(len(own)), stop - first), rank, apart)


def _label(pid: Ints, comm: pa.Array, comms: dict[int, str]) -> pa.Array:
    """What to call the thread that runs; its command is as the switch has it, or else the last one that it had."""
    threads, which = np.unique(pid, return_inverse=True)
    last = pa.array([comms.get(t, "thread") for t in threads.tolist()], pa.string()).take(pa.array(which))
    number = pc.binary_join_element_wise("[", pa.array(pid).cast(pa.string()), "]", "")
    name = pc.binary_join_element_wise(pc.coalesce(comm, last), number, " ")
    return pc.if_else(pa.array(pid == 0), "idle", name)


_NOTHING = pa.array([], pa.string())
_EMPTY = np.empty(0, np.int64)
_NONE = Slices(_EMPTY, (_EMPTY, _EMPTY), (_EMPTY.astype(float), _EMPTY.astype(float)), _EMPTY, _NOTHING, [])
