"""The fields of inferred events: what the search decided, what the grammar of the kernel tells, what is usual.

A field's confidence is that the event is what it is said to be and that the field is right, too: the event's own, times
the share of surviving events that had this value in the same surroundings, or for which the same rule was right. What
is less likely than not, given the event, isn't said.

Axis legend: M surviving and inferred events, I inferred ones, A those of one kind that are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.mending.mended import FIELDS
from tracemend.mending.names import Moments, Names, border
from tracemend.mending.shares import likeliest
from tracemend.mending.together import Inferred, Line, Together
from tracemend.trace.arguments import key_texts, keys
from tracemend.trace.events import ENTER, EXIT, Trace
from tracemend.trace.fields import SOFTIRQS, SWITCH, WAKEUPS, kernel_name, numbers, taken, values
from tracemend.trace.vocabulary import Vocabulary

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

#: A value that is less likely isn't given.
LEAST = 0.5
#: A call's argument that is less likely isn't: it is what an event is about, not what comes of it.
NEARLY = 0.9
#: So many surviving calls say what their arguments are.
MOST_LEARNT = 1 << 18
MIGRATION, FORK, EXECUTED, ENDED = (
    "sched_migrate_task",
    "sched_process_fork",
    "sched_process_exec",
    "sched_process_exit",
)
#: As they follow each other.
_SOFTIRQS = ("softirq_raise", "softirq_entry", "softirq_exit")
IRQS = ("irq_handler_entry", "irq_handler_exit")
KERNEL = frozenset((SWITCH, *WAKEUPS, *SOFTIRQS, *IRQS, MIGRATION, FORK, EXECUTED, ENDED))
#: The fields of events that say whose they are.
OWN = {
    SWITCH: (("prev_pid",), ("prev_comm",)),
    FORK: (("pid",), ("comm", "child_comm")),
    EXECUTED: (("pid", "old_pid"), ()),
    ENDED: (("pid",), ("comm",)),
}


@dataclass
class Known:
    """A field of all events as a number (M,), -1 where nothing is known, and how sure it is: 1 of what survived."""

    known: Ints
    sure: Floats

    def at(self, events: Ints) -> Known:
        """What others of the events have there; -1: no event."""
        there = events >= 0
        return Known(np.where(there, self.known[events], -1), np.where(there, self.sure[events], 0))


@dataclass
class Said:
    """The fields that were found, one behind the other: whose (of the inferred events), which, what, how sure."""

    events: list[Ints] = field(default_factory=list)
    names: list[pa.Array] = field(default_factory=list)
    texts: list[pa.Array] = field(default_factory=list)
    sure: list[Floats] = field(default_factory=list)

    def add(self, name: str, events: Ints, texts: pa.Array, sure: Floats) -> None:
        """Say a field of some events; nothing where the text is null or too unlikely."""
        kept = np.asarray(texts.is_valid()) & (sure >= LEAST)
        self.events.append(events[kept])
        self.names.append(pa.repeat(name, int(kept.sum())))
        self.texts.append(texts.filter(pa.array(kept)))
        self.sure.append(sure[kept])

    def column(self, confidence: NDArray[np.float32]) -> pa.MapArray:
        """The column ``fields`` of events that are as sure (I,)."""
        events = np.concatenate([np.empty(0, np.int64), *self.events])
        order = np.argsort(events, kind="stable")
        starts = np.append(0, np.cumsum(np.bincount(events, minlength=len(confidence))))
        none = pa.array([], pa.string())
        names, texts = (pa.concat_arrays([none, *a]).take(pa.array(order)) for a in (self.names, self.texts))
        sure = np.concatenate([np.empty(0), *self.sure])[order] * np.clip(confidence, 0, 1)[events[order]]
        items = [texts, pa.array(sure, pa.float32())]
        items = pa.StructArray.from_arrays(items, fields=list(FIELDS.item_type))
        return pa.MapArray.from_arrays(pa.array(starts, pa.int32()), names, items, FIELDS)


class Fields:
    """What the events of a trace have in their fields, and what inferred ones may have. ids (E,): of its events."""

    def __init__(self, trace: Trace, ids: Ints, vocabulary: Vocabulary) -> None:
        self.trace, self.ids, self.vocabulary = trace, ids, vocabulary
        entries = [vocabulary.entry(i) or ("", 2) for i in range(len(vocabulary))]
        self.borders = np.array([border(*entry) for entry in entries], np.int8)
        self.kinds = np.array([kernel_name(name) for name, _ in entries])
        self.phases = np.array([phase for _, phase in entries], np.int8)

    @cached_property
    def names(self) -> Names:
        return Names(self.trace)

    def comms(self, inferred: Inferred) -> NDArray[np.int32]:
        """What the threads of inferred events are called (I,), as codes of ``names``."""
        borders = self.borders[inferred.ids]
        return self.names.of(Moments(inferred.tids, inferred.times, inferred.rows, borders))

    def of(self, inferred: Inferred, comms: NDArray[np.int32]) -> pa.MapArray:
        """The column of the fields of inferred events, whose threads are called so."""
        said = Said()
        if self._some(inferred):
            _Filling(self, inferred, comms, said).fill()
        return said.column(inferred.confidence)

    def _some(self, inferred: Inferred) -> bool:
        """Whether there is anything to know: events of the kernel's, or results of calls."""
        kinds = set(self.kinds[np.unique(inferred.ids)].tolist())
        table = self.trace.table
        told = any(table[column].null_count < len(table) for column in ("args", "ret"))
        return told and bool(len(inferred.ids)) and (bool(kinds & KERNEL) or table["ret"].null_count < len(table))


class _Filling:
    """The fields of inferred events on their way. What they are is found from the surest to what follows from it."""

    def __init__(self, fields: Fields, inferred: Inferred, comms: NDArray[np.int32], said: Said) -> None:
        self.fields, self.inferred, self.said = fields, inferred, said
        self.all = Together(fields.trace, fields.ids, inferred, comms)
        self.first = self.all.survived
        self.kinds = fields.kinds[self.all.ids]
        self.there = set(fields.kinds[np.unique(inferred.ids)].tolist())
        #: Who a switch goes to, who is woken (M,), as far as the search has decided.
        self.decided = np.append(np.full(self.first, -1), inferred.following)

    @cached_property
    def cpus(self) -> Line:
        return self.all.line(self.all.cpus)

    @cached_property
    def threads(self) -> Line:
        return self.all.line(self.all.tids)

    @cached_property
    def calls(self) -> Line:
        return self.all.line(self.all.tids, self.fields.phases[self.all.ids] <= EXIT)

    def fill(self) -> None:
        """Find what there is to know."""
        for event in sorted(self.there & OWN.keys()):
            self._own(event)
        if self.there & set(SOFTIRQS):
            self._softirqs()
        if self.there & set(IRQS):
            self._interrupts()
        if SWITCH in self.there:
            self._usual("prev_state", SWITCH, self.threads)
            events = self._inferred(SWITCH)
            following, sure = self.decided[events], np.ones(len(events))
            self._say("next_pid", events, following, sure)
            self._say_name("next_comm", events, following, sure)
        if self.there & {*WAKEUPS, MIGRATION, FORK}:
            self._wakeups()
        self._usual("filename", EXECUTED, self.threads)
        self._arguments()
        self._results()

    def _own(self, event: str) -> None:
        """Whose an event is."""
        pids, comms = OWN[event]
        events = self._inferred(event)
        tids, sure = self.all.tids[events], np.ones(len(events))
        for pid in pids:
            self._say(pid, events, tids, sure)
        for comm in comms:
            self._say_name(comm, events, tids, sure)

    def _softirqs(self) -> None:
        """A softirq is raised, entered and left."""
        vec = self._numbers("vec", *SOFTIRQS)
        raised, entered, left = (self._is(event) for event in _SOFTIRQS)
        line = self.cpus
        for which, *near in (
            (raised, line.latest(entered, ahead=True)),
            (entered, line.latest(left, ahead=True), line.latest(raised)),
            (left, line.latest(entered)),
        ):
            self._named("vec", "action", which, vec, *(vec.at(source) for source in near))

    def _interrupts(self) -> None:
        """An interrupt is entered and left."""
        irq = self._numbers("irq", *IRQS)
        entered, left = (self._is(event) for event in IRQS)
        self._named("irq", "name", entered, irq, irq.at(self.cpus.latest(left, ahead=True)))
        self._named("irq", "", left, irq, irq.at(self.cpus.latest(entered)))
        self._usual("ret", IRQS[1], self.cpus)

    def _wakeups(self) -> None:
        """Who is woken and where, who moves to another cpu, who is born."""
        pid, child = self._numbers("pid", *WAKEUPS, MIGRATION), self._numbers("child_pid", FORK)
        for part in (pid.known, pid.sure):
            events = np.flatnonzero((self.decided >= 0) & self._is(*WAKEUPS))
            part[events] = self.decided[events] if part is pid.known else 1
        waking, woken, new = (self._is(event) for event in ("sched_waking", "sched_wakeup", "sched_wakeup_new"))
        moving, forking = self._is(MIGRATION), self._is(FORK)
        line = self.cpus
        for which, near in (
            (waking, pid.at(line.latest(woken, ahead=True))),
            (woken, pid.at(line.latest(waking))),
            (new, child.at(line.latest(forking))),
            (moving, pid.at(line.latest(waking))),
        ):
            events = self._settle(line, which, pid, near)
            tids, sure = pid.known[events], pid.sure[events]
            self._say("pid", events, tids, sure)
            # who was just born is called as its parent
            own = self.all.tids[events] if which is new else tids
            self._say_name("comm", events, own, np.ones(len(own)) if which is new else sure)
        events = self._settle(line, forking, child, pid.at(line.latest(new, ahead=True)))
        self._say("child_pid", events, child.known[events], child.sure[events])
        before, behind = self._where(pid)
        for name, kinds, which, near in (
            ("target_cpu", WAKEUPS, waking | woken | new, behind),
            ("orig_cpu", (MIGRATION,), moving, before),
            ("dest_cpu", (MIGRATION,), moving, behind),
        ):
            cpu = self._numbers(name, *kinds)
            events = self._settle(line, which, cpu, near)
            self._say(name, events, cpu.known[events], cpu.sure[events])

    def _results(self) -> None:
        """What calls returned."""
        ret = self.fields.trace.table["ret"]
        exits = self.fields.phases[self.all.ids] == EXIT
        if ret.null_count == len(ret) or not exits[self.first :].any():
            return
        coded = pa.concat_arrays(ret.chunks).dictionary_encode()
        known = self._nothing()
        known.known[: self.first] = _codes(coded)
        events = self._settle(self.calls, exits, known)
        self._say("ret", events, known.known[events], known.sure[events], coded.dictionary)

    def _arguments(self) -> None:
        """What calls are about, where that is nearly always the same."""
        table = self.fields.trace.table
        if table["args"].null_count == len(table):
            return
        entering, known, texts = self.fields.phases[self.all.ids] == ENTER, self._nothing(), pa.array([], pa.string())
        which = {key: entering & self._is(*calls) for key, calls in keys(sorted(self.there)).items()}
        for key, own in which.items():
            rows = np.flatnonzero(own[: self.first])
            rows = rows[:: len(rows) // MOST_LEARNT + 1]
            coded = key_texts(taken(self.fields.trace, "args", rows), key).dictionary_encode()
            codes = _codes(coded)
            known.known[rows] = np.where(codes >= 0, codes + len(texts), -1)
            texts = pa.concat_arrays([texts, coded.dictionary])
        self._settle(self.calls, np.any([*which.values(), np.zeros_like(entering)], axis=0), known)
        for (name, _), own in which.items():
            events = np.flatnonzero(own[self.first :]) + self.first
            sure = np.where(known.sure[events] >= NEARLY, known.sure[events], 0)
            self._say(name, events, known.known[events], sure, texts)

    # what these are made of

    def _is(self, *events: str) -> Bools:
        """Which of all events are of these kinds (M,)."""
        return np.isin(self.kinds, events)

    def _inferred(self, event: str) -> Ints:
        """The inferred events of a kind."""
        return np.flatnonzero(self._is(event)[self.first :]) + self.first

    def _nothing(self) -> Known:
        """A field of which nothing is known yet."""
        return Known(np.full(len(self.all.ids), -1, np.int64), np.ones(len(self.all.ids)))

    def _numbers(self, name: str, *events: str) -> Known:
        """A field that is a number, of these kinds of surviving events."""
        found = self._nothing()
        for event in events:
            rows, told = values(self.fields.trace, event, (name,))
            found.known[rows] = numbers(told[name])
        return found

    def _texts(self, name: str, *events: str) -> tuple[Known, pa.StringArray]:
        """A field that is a text, as numbers of the texts that there are."""
        found = self._nothing()
        rows, told = zip(*(values(self.fields.trace, event, (name,)) for event in events), strict=True)
        coded = pa.concat_arrays([t[name] for t in told]).dictionary_encode()
        found.known[np.concatenate(rows)] = _codes(coded)
        return found, coded.dictionary

    def _settle(self, line: Line, which: Bools, field: Known, *rules: Known) -> Ints:
        """Find a field of the inferred ones of some events, as far as it isn't known; returns these. rules: what else
        it may be; they count as far as they are right elsewhere."""
        events, known = np.flatnonzero(which), field.known
        inferred = events[events >= self.first]
        learnt, asked = events[(events < self.first) & (known[events] >= 0)], inferred[known[inferred] < 0]
        value, p = likeliest(line.surroundings(learnt), known[learnt], line.surroundings(asked))
        for rule in rules:
            tried = learnt[rule.known[learnt] >= 0]
            right = np.sum(rule.known[tried] == known[tried]) / (len(tried) + 1) * rule.sure[asked]
            better = (rule.known[asked] >= 0) & (right > p)
            value, p = np.where(better, rule.known[asked], value), np.where(better, right, p)
        known[asked] = np.where(p >= LEAST, value, -1)
        field.sure[asked] = p
        return inferred

    def _say(self, name: str, events: Ints, numbers: Ints, sure: Floats, texts: pa.Array | None = None) -> None:
        """Say a field of inferred events: numbers, or what these are the numbers of; -1: nobody knows."""
        given = pa.array(np.maximum(numbers, 0), mask=numbers < 0)
        self.said.add(name, events - self.first, given.cast(pa.string()) if texts is None else texts.take(given), sure)

    def _say_name(self, name: str, events: Ints, tids: Ints, sure: Floats) -> None:
        """Say what threads are called then; the idle ones by their cpu, which no event's command shows."""
        own, at = self.inferred, events - self.first
        beside = np.flatnonzero(np.isin(own.tids, tids))  # an exec among the inferred events changes names
        borders = np.append(self.fields.borders[own.ids[beside]], np.zeros(len(at), np.int8))
        asked = np.append(beside, at)
        moments = Moments(np.append(own.tids[beside], tids), own.times[asked], own.rows[asked], borders)
        codes = self.fields.names.of(moments, told=True)[len(beside) :]
        cpus, cpu = np.unique(self.all.cpus[events], return_inverse=True)
        known = self.fields.names.known
        texts = pa.array([*known, *(f"swapper/{cpu}" for cpu in cpus.tolist())], pa.string())
        self._say(name, events, np.where(tids == 0, len(known) + cpu, codes), sure, texts)

    def _named(self, number: str, name: str, which: Bools, field: Known, *rules: Known) -> None:
        """Say a number, and the name that goes with it most of the time."""
        events = self._settle(self.cpus, which, field, *rules)
        known, sure = field.known, field.sure[events]
        self._say(number, events, known[events], sure)
        if name and len(events):
            codes, texts = self._texts(name, *(SOFTIRQS if number == "vec" else IRQS[:1]))
            both = np.flatnonzero((codes.known >= 0) & (known >= 0))
            code, share = likeliest([known[both]], codes.known[both], [known[events]])
            self._say(name, events, np.where(known[events] >= 0, code, -1), sure * share, texts)

    def _usual(self, name: str, event: str, line: Line) -> None:
        """Say what is a word, by the surroundings alone."""
        if event not in self.there:
            return
        field, texts = self._texts(name, event)
        events = self._settle(line, self._is(event), field)
        self._say(name, events, field.known[events], field.sure[events], texts)

    def _where(self, pid: Known) -> tuple[Known, Known]:
        """The cpus on which the threads that events speak of have their own events before and behind."""
        count = len(pid.known)
        rank = np.empty(count, np.int64)
        rank[self.all.order] = np.arange(count)
        line = self.threads
        keys = line.who * count + rank[line.order]
        at = np.searchsorted(keys, pid.known * count + rank)
        found = []
        for place in (at - 1, at):
            there = np.clip(place, 0, count - 1)
            same = (place == there) & (line.who[there] == pid.known) & (pid.known > 0)
            found.append(Known(np.where(same, self.all.cpus[line.order[there]], -1), pid.sure))
        return found[0], found[1]


def _codes(coded: pa.DictionaryArray) -> Ints:
    """The codes of texts; -1 where there is none."""
    return np.asarray(coded.indices.fill_null(-1).to_numpy(), np.int64)
