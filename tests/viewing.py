"""Made-up kernel traces for tests of views, and a slow viewer that goes through them event by event."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from numpy.random import Generator

from tracemend.judging.transitions import INTERRUPTS, OPEN
from tracemend.mending.mended import INFERRED
from tracemend.trace.events import ENTER, EXIT, INSTANT, PHASES, SCHEMA, Gap, Trace

WAKEUPS = ("sched_wakeup", "sched_wakeup_new", "sched_waking")


@dataclass
class Event:
    """A made-up event; fields: what it says, an unknown one is absent. row: a half one for an inferred event."""

    time_ns: int
    cpu: int
    tid: int
    name: str
    phase: int = INSTANT
    fields: dict[str, str] = field(default_factory=dict)
    gap: int = -1
    row: float = 0.0

    @property
    def args(self) -> str | None:
        """As the kernel prints them."""
        f = self.fields
        if self.name == "sched_switch" and f:
            return (
                f"prev_comm=a prev_pid={f['prev_pid']} prev_prio=120 prev_state={f['prev_state']} ==> "
                f"next_comm=b next_pid={f['next_pid']} next_prio=120"
            )
        return f"comm=c pid={f['pid']} prio=120 target_cpu=000" if self.name in WAKEUPS and f else None


def trace_of(events: Sequence[Event], gaps: Sequence[Gap] = ()) -> Trace:
    columns = [
        pa.array([e.time_ns for e in events], pa.int64()),
        pa.array([e.cpu for e in events], pa.int32()),
        pa.array([e.tid for e in events], pa.int32()),
        pa.array([f"task{e.tid}" for e in events], pa.string()).dictionary_encode(),
        pa.array([e.name for e in events], pa.string()).dictionary_encode(),
        pa.DictionaryArray.from_arrays(pa.array([e.phase for e in events], pa.int8()), pa.array(PHASES, pa.string())),
        pa.array([e.args for e in events], pa.string()),
        pa.nulls(len(events), pa.string()),
        pa.array(range(1, len(events) + 1), pa.int64()),
    ]
    return Trace(None, "ftrace", pa.Table.from_arrays(columns, schema=SCHEMA), tuple(gaps))


def inferred_of(events: Sequence[Event]) -> pa.Table:
    rows: list[dict[str, Any]] = [
        {
            **{k: getattr(e, k) for k in ("gap", "cpu", "time_ns", "tid", "name")},
            "phase": PHASES[e.phase],
            "confidence": 0.5,
            "fields": [(k, {"value": v, "confidence": 0.5}) for k, v in e.fields.items()],
        }
        for e in events
    ]
    return pa.Table.from_pylist(rows, INFERRED)


NAMES = ("sched_switch", "sched_switch", *WAKEUPS[:2], "read", "read", "write", "irq_handler_entry", "irq_handler_exit",
         "hrtimer_expire_entry", "hrtimer_expire_exit", "sched_process_exit")  # fmt: skip


def soup(rng: Generator, events: int, gaps: int) -> tuple[Trace, pa.Table, list[Event | tuple[int, bool]]]:
    """Events without sense, gaps between them, some with inferred events of which little is known; and all in order,
    with the edges of gaps that stay open as (cpu, whether it begins)."""
    cpus = 2
    now, recorded = 0, []
    for _ in range(events):
        now += int(rng.integers(0, 3))
        recorded.append(_any(rng, now, int(rng.integers(cpus)), known=True))
    found: list[Gap] = []
    said: list[Event] = []
    for number in range(gaps):
        cpu = int(rng.integers(cpus))
        own = [i for i, e in enumerate(recorded) if e.cpu == cpu]
        cut = int(rng.integers(len(own) + 1))
        before, after = (own[cut - 1] if cut else None), (own[cut] if cut < len(own) else None)
        if any((g.cpu, g.before, g.after) == (cpu, before, after) for g in found):
            continue
        begin = recorded[before].time_ns if before is not None else 0
        end = recorded[after].time_ns if after is not None else now
        found.append(Gap(number, cpu, before, after, begin, end, None, "counted", 0))
        if rng.random() < 0.5:
            for time in sorted(rng.integers(begin, end + 1, int(rng.integers(1, 5))).tolist()):
                event = _any(rng, time, cpu, known=False)
                event.gap, event.row = number, found[-1].edges[time == end][1]
                said.append(event)
    entries: list[tuple[int, float, Event | tuple[int, bool]]] = []
    for row, event in enumerate(recorded):
        entries.append((event.time_ns, row, event))
    entries += [(e.time_ns, e.row, e) for e in said]
    filled = {e.gap for e in said}
    for gap in found:
        if gap.number not in filled:
            entries += [(*edge, (gap.cpu, side == 0)) for side, edge in enumerate(gap.edges)]
    ordered = [e for _, _, e in sorted(entries, key=lambda entry: entry[:2])]
    return trace_of(recorded, found), inferred_of(said), ordered


def _any(rng: Generator, time_ns: int, cpu: int, *, known: bool) -> Event:
    def thread() -> int:
        return int(rng.integers(0, 4))

    name = NAMES[int(rng.integers(len(NAMES)))]
    event = Event(time_ns, cpu, thread() if known or rng.random() < 0.8 else -1, name)
    if name in ("read", "write"):
        event.phase = int(rng.integers(2))
    elif name == "sched_switch":
        prev = event.tid if rng.random() < 0.9 else thread()
        state = "SRDR+"[int(rng.integers(5))]
        event.fields = {"prev_pid": str(prev), "prev_state": "S" if state == "+" else state, "next_pid": str(thread())}
    elif name in WAKEUPS:
        event.fields = {"pid": str(thread())}
    if not known:
        event.fields = {k: v for k, v in event.fields.items() if rng.random() < 0.8 and v != "-1"}
    return event


def one_by_one(ordered: Sequence[Event | tuple[int, bool]]) -> dict[str, set[int]]:
    """The impossible transitions of made-up events in order: by kind the events, numbered from 0 without the gaps."""
    viewer = _Viewer([e for e in ordered if isinstance(e, Event)])
    for entry in ordered:
        if isinstance(entry, Event):
            viewer.see(entry)
        else:
            viewer.lose_sight(*entry)
    return {kind: found for kind, found in viewer.wrong.items() if found}


class _Viewer:
    """What a viewer knows for certain. runs: the thread of a cpu; place: the cpu of a running thread."""

    def __init__(self, events: Sequence[Event]) -> None:
        names = {e.name for e in events}
        phases = {e.phase for e in events if e.phase != INSTANT and e.tid >= 0}
        self.switches, self.wakeups, self.calls = (
            "sched_switch" in names,
            not names.isdisjoint(WAKEUPS),
            len(phases) > 1,
        )
        self.families = [f for f in INTERRUPTS if {f"{f}_entry", f"{f}_exit"} <= names]
        self.wrong: dict[str, set[int]] = defaultdict(set)
        self.number = -1
        self.gaps = 0
        self.runs: dict[int, int] = {}
        self.place: dict[int, int] = {}
        self.asleep: set[int] = set()
        self.call: dict[int, tuple[str, int]] = {}
        self.open: dict[tuple[int, str], int] = defaultdict(int)
        self.spare: dict[tuple[int, str], int] = defaultdict(lambda: OPEN)

    def lose_sight(self, cpu: int, begins: bool) -> None:
        """A gap begins or ends."""
        self.gaps += 1 if begins else -1
        self.forget(cpu)
        self.asleep.clear()
        self.call.clear()
        for family in INTERRUPTS:
            self.open[cpu, family], self.spare[cpu, family] = 0, OPEN

    def forget(self, cpu: int) -> None:
        self.runs.pop(cpu, None)
        self.place = {t: c for t, c in self.place.items() if c != cpu}

    def see(self, e: Event) -> None:
        self.number += 1
        if e.name == "sched_switch":
            self.switch(e)
        elif e.tid < 0:
            self.forget(e.cpu)
        else:
            self.blame("not running", self.switches and self.runs.get(e.cpu, e.tid) != e.tid)
            if e.cpu not in self.runs:
                self.place[e.tid] = e.cpu
                self.asleep.discard(e.tid)
            self.runs[e.cpu] = e.tid
        if e.name in WAKEUPS:
            self.asleep &= set() if "pid" not in e.fields else self.asleep - {int(e.fields["pid"])}
        if e.phase != INSTANT:
            self.pair(e)
        self.interrupt(e)

    def blame(self, kind: str, wrong: bool) -> None:
        if wrong:
            self.wrong[kind].add(self.number)

    def switch(self, e: Event) -> None:
        prev, following = int(e.fields.get("prev_pid", e.tid)), int(e.fields.get("next_pid", -1))
        self.blame("other prev", prev >= 0 and self.runs.get(e.cpu, prev) != prev)
        self.blame("other prev", e.gap >= 0 and e.tid >= 0 and prev != e.tid)
        for family in self.families:
            self.blame("interrupt not left", self.open[e.cpu, family] > 0)
            self.open[e.cpu, family] = self.spare[e.cpu, family] = 0
        if prev < 0:
            self.forget(e.cpu)
        self.runs.pop(e.cpu, None)
        self.place.pop(prev, None)
        self.asleep.discard(prev)
        if prev > 0 and not e.fields.get("prev_state", "R").startswith("R") and not self.gaps:
            self.asleep.add(prev)
        if following >= 0:
            self.runs[e.cpu] = following
        if following > 0:
            self.blame("on two cpus", self.place.get(following, e.cpu) != e.cpu)
            self.blame("not woken", self.wakeups and following in self.asleep)
            self.asleep.discard(following)
            self.place[following] = e.cpu

    def pair(self, e: Event) -> None:
        if e.tid < 0:
            self.call.clear()
            return
        last = self.call.pop(e.tid, None)
        if last is not None and self.calls:
            self.blame("enter within a call", e.phase == ENTER and last[1] == ENTER)
            self.blame("exit without enter", e.phase == EXIT and last != (e.name, ENTER))
        if not self.gaps:
            self.call[e.tid] = e.name, e.phase

    def interrupt(self, e: Event) -> None:
        family, _, side = e.name.rpartition("_")
        if family not in self.families:
            return
        key = e.cpu, family
        if side == "entry":
            self.open[key] += 1
        elif self.open[key]:
            self.open[key] -= 1
        elif self.spare[key]:
            self.spare[key] -= 1
        else:
            self.blame("interrupt not entered", True)
