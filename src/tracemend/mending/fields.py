"""The fields of inferred events: what the search decided, what the grammar of the kernel tells, what is usual.

A field's confidence is that the event is what it is said to be and that the field is right, too: the event's own, times
the share of surviving events that had this value in the same surroundings, or for which the same rule was right. What
is less likely than not, given the event, isn't said, but for threads that the search decided on: fills rest on them.

Axis legend: E events of the trace, I inferred ones, M all of them.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.mending.calls import Told, calls, results
from tracemend.mending.names import EXECUTED, Moments, Names, border
from tracemend.mending.settling import Known, Said, Settling
from tracemend.mending.shares import likeliest
from tracemend.mending.together import Inferred, Line, Together
from tracemend.trace.events import EXIT, Trace
from tracemend.trace.fields import SOFTIRQS, SWITCH, WAKEUPS, kernel_name
from tracemend.trace.vocabulary import Vocabulary

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

MIGRATION, FORK, ENDED = "sched_migrate_task", "sched_process_fork", "sched_process_exit"
IRQS = ("irq_handler_entry", "irq_handler_exit")
KERNEL = frozenset((SWITCH, *WAKEUPS, *SOFTIRQS, *IRQS, MIGRATION, FORK, EXECUTED, ENDED))
#: How often a thread that the search decided on is the right one, if the event is right, and what a thread is called,
#: by how sure the event is (recordings of run 2): from and to whom a switch goes, whose another event is, who is woken.
SURE = (0.0, 0.1, 0.25, 0.5, 1.0)
SWITCHED, OWNED, WOKEN, CALLED = (
    (0.05, 0.16, 0.42, 0.72, 0.88),
    (0.25, 0.38, 0.60, 0.88, 0.95),
    (0.25, 0.34, 0.63, 0.78, 0.78),
    (0.70, 0.75, 0.80, 0.87, 0.92),
)
#: The fields of events that say whose they are.
OWN = {
    SWITCH: (("prev_pid",), ("prev_comm",)),
    FORK: (("pid",), ("comm", "child_comm")),
    EXECUTED: (("pid", "old_pid"), ()),
    ENDED: (("pid",), ("comm",)),
}


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

    @cached_property
    def told(self) -> Told:
        return Told(self.trace)

    def comms(self, inferred: Inferred) -> NDArray[np.int32]:
        """What the threads of inferred events are called (I,), as codes of ``names``."""
        borders = self.borders[inferred.ids]
        return self.names.of(Moments(inferred.tids, inferred.times, inferred.rows, borders))

    def of(self, inferred: Inferred, comms: NDArray[np.int32]) -> pa.MapArray:
        """The column of the fields of inferred events, whose threads are called so."""
        if not self._some(inferred):
            return Said().column(inferred.confidence)
        settling = self._settling(inferred, comms)
        _Kernel(settling, self, inferred).fill()
        calls(settling, self.told)
        return settling.said.column(inferred.confidence)

    def counted(self, inferred: Inferred, comms: NDArray[np.int32]) -> pa.MapArray:
        """The same of the fields alone that figures are made of: to whom switches go, and what calls return."""
        if not self._some(inferred):
            return Said().column(inferred.confidence)
        settling = self._settling(inferred, comms)
        if SWITCH in settling.there:
            _Kernel(settling, self, inferred).switches()
        results(settling, self.told)
        return settling.said.column(inferred.confidence)

    def _settling(self, inferred: Inferred, comms: NDArray[np.int32]) -> Settling:
        together = Together(self.trace, self.ids, inferred, comms)
        return Settling(self.trace, together, self.kinds, self.phases)

    def _some(self, inferred: Inferred) -> bool:
        """Whether there is anything to know: of calls and of events of the kernel's, in a trace that says more of them
        than that they happened."""
        table, there = self.trace.table, np.unique(inferred.ids)
        told = any(table[column].null_count < len(table) for column in ("args", "ret"))
        return told and bool((self.phases[there] <= EXIT).any() or KERNEL.intersection(self.kinds[there].tolist()))


class _Kernel:
    """The fields of kernel events. What they are is found from the surest to what follows from it."""

    def __init__(self, settling: Settling, fields: Fields, inferred: Inferred) -> None:
        self.on, self.names, self.inferred = settling, fields.names, inferred
        self.borders = fields.borders[inferred.ids]
        #: Who a switch goes to, who is woken (M,), as far as the search has decided.
        self.decided = np.append(np.full(settling.first, -1), inferred.following)
        #: The switches of which the search knows that their thread didn't leave to wait: what else it did nobody knows.
        self.stays = np.append(np.zeros(settling.first, bool), inferred.stays)

    def fill(self) -> None:
        """Find what there is to know."""
        for event in sorted(self.on.there & OWN.keys()):
            self._own(event)
        if self.on.there & set(SOFTIRQS):
            self._softirqs()
        if self.on.there & set(IRQS):
            self._interrupts()
        if SWITCH in self.on.there:
            self._usual("prev_state", SWITCH, self.on.threads, self.stays)
            events, following = self.switches()
            self._say_name("next_comm", events, following, self._proven(events, CALLED))
        if self.on.there & {*WAKEUPS, MIGRATION, FORK}:
            self._wakeups()
        self._usual("filename", EXECUTED, self.on.threads)

    def switches(self) -> tuple[Ints, Ints]:
        """To whom switches go; returns them and these."""
        events = self.on.inferred(SWITCH)
        following = self.decided[events]
        self.on.decided("next_pid", events, following, self._proven(events, SWITCHED))
        return events, following

    def _own(self, event: str) -> None:
        """Whose an event is."""
        pids, comms = OWN[event]
        events = self.on.inferred(event)
        tids, sure = self.on.all.tids[events], self._proven(events, SWITCHED if event == SWITCH else OWNED)
        for pid in pids:
            self.on.decided(pid, events, tids, sure)
        for comm in comms:
            self._say_name(comm, events, tids, self._proven(events, CALLED))

    def _proven(self, events: Ints, shares: tuple[float, ...]) -> Floats:
        """How often what was decided of such events is right, if the events are."""
        return np.interp(self.inferred.confidence[events - self.on.first], SURE, shares)

    def _softirqs(self) -> None:
        """A softirq is raised, entered and left."""
        vec = self.on.numbers("vec", *SOFTIRQS)
        raised, entered, left = (self.on.which(event) for event in SOFTIRQS)
        line = self.on.cpus
        for which, *near in (
            (raised, line.latest(entered, ahead=True)),
            (entered, line.latest(left, ahead=True), line.latest(raised)),
            (left, line.latest(entered)),
        ):
            self._named("vec", "action", which, vec, *(vec.at(source) for source in near))

    def _interrupts(self) -> None:
        """An interrupt is entered and left."""
        irq = self.on.numbers("irq", *IRQS)
        entered, left = (self.on.which(event) for event in IRQS)
        self._named("irq", "name", entered, irq, irq.at(self.on.cpus.latest(left, ahead=True)))
        self._named("irq", "", left, irq, irq.at(self.on.cpus.latest(entered)))
        self._usual("ret", IRQS[1], self.on.cpus)

    def _wakeups(self) -> None:
        """Who is woken and where, who moves to another cpu, who is born."""
        pid, child = self.on.numbers("pid", *WAKEUPS, MIGRATION), self.on.numbers("child_pid", FORK)
        waking, woken, new, moving, forking = (
            self.on.which(event) for event in ("sched_waking", "sched_wakeup", "sched_wakeup_new", MIGRATION, FORK)
        )
        decided = (self.decided >= 0) & (waking | woken | new)
        pid.known[decided], pid.sure[decided] = self.decided[decided], 1
        line = self.on.cpus
        for which, other, source in (
            (waking, pid, line.latest(woken, ahead=True)),
            (woken, pid, line.latest(waking)),
            (new, child, line.latest(forking)),
            (moving, pid, line.latest(waking)),
        ):
            events = self.on.settle(line, which, pid, other.at(source))
            sure = np.minimum(pid.sure[events], self._proven(events, WOKEN))
            self.on.decided("pid", events, pid.known[events], sure)
        events = self.on.settle(line, forking, child, pid.at(line.latest(new, ahead=True)))
        self.on.say("child_pid", events, child.known[events], child.sure[events])
        events = self.on.ours(waking | woken | moving)
        sure = np.minimum(pid.sure[events], self._proven(events, CALLED))
        self._say_name("comm", events, pid.known[events], sure)
        events = self.on.ours(new)  # who was just born is called as its parent
        self._say_name("comm", events, self.on.all.tids[events], self._proven(events, CALLED))
        before, behind = self._where(pid)
        for name, kinds, which, near in (
            ("target_cpu", WAKEUPS, waking | woken | new, behind),
            ("orig_cpu", (MIGRATION,), moving, before),
            ("dest_cpu", (MIGRATION,), moving, behind),
        ):
            cpu = self.on.numbers(name, *kinds)
            events = self.on.settle(line, which, cpu, near)
            self.on.say(name, events, cpu.known[events], cpu.sure[events])

    def _say_name(self, name: str, events: Ints, tids: Ints, sure: Floats) -> None:
        """Say what threads are called then; the idle ones by their cpu, which no event's command shows."""
        own, at = self.inferred, events - self.on.first
        beside = np.flatnonzero(np.isin(own.tids, tids))  # an exec among the inferred events changes names
        borders = np.append(self.borders[beside], np.zeros(len(at), np.int8))
        asked = np.append(beside, at)
        moments = Moments(np.append(own.tids[beside], tids), own.times[asked], own.rows[asked], borders)
        codes = self.names.of(moments, told=True)[len(beside) :]
        cpus, cpu = np.unique(self.on.all.cpus[events], return_inverse=True)
        known = self.names.known
        texts = pa.array([*known, *(f"swapper/{cpu}" for cpu in cpus.tolist())], pa.string())
        self.on.say(name, events, np.where(tids == 0, len(known) + cpu, codes), sure, texts)

    def _named(self, number: str, name: str, which: Bools, field: Known, *rules: Known) -> None:
        """Say a number, and the name that goes with it most of the time."""
        events = self.on.settle(self.on.cpus, which, field, *rules)
        known, sure = field.known, field.sure[events]
        self.on.say(number, events, known[events], sure)
        if name and len(events):
            codes, texts = self.on.texts(name, *(SOFTIRQS if number == "vec" else IRQS[:1]))
            both = np.flatnonzero((codes.known >= 0) & (known >= 0))
            code, share = likeliest([known[both]], codes.known[both], [known[events]])
            self.on.say(name, events, np.where(known[events] >= 0, code, -1), sure * share, texts)

    def _usual(self, name: str, event: str, line: Line, unless: Bools | None = None) -> None:
        """Say what is a word, by the surroundings alone; nothing of some events."""
        if event not in self.on.there:
            return
        field, texts = self.on.texts(name, event)
        events = self.on.settle(line, self.on.which(event), field)
        if unless is not None:
            events = events[~unless[events]]
        self.on.say(name, events, field.known[events], field.sure[events], texts)

    def _where(self, pid: Known) -> tuple[Known, Known]:
        """The cpus on which the threads that events speak of have their own events before and behind."""
        count = len(pid.known)
        rank = np.empty(count, np.int64)
        rank[self.on.all.order] = np.arange(count)
        line = self.on.threads
        keys = line.who * count + rank[line.order]
        at = np.searchsorted(keys, pid.known * count + rank)
        found = []
        for place in (at - 1, at):
            there = np.clip(place, 0, count - 1)
            same = (place == there) & (line.who[there] == pid.known) & (pid.known > 0)
            found.append(Known(np.where(same, self.on.all.cpus[line.order[there]], -1), pid.sure))
        return found[0], found[1]
