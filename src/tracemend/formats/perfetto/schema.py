"""The numbers of Perfetto's schema: what each packet and each ftrace event is, and what its fields are called."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

from tracemend.formats.perfetto.wire import message, number, raw, within
from tracemend.formats.text import decode

# FtraceEvent: fields that every event has beside its own message
TIMESTAMP, PID, FLAGS = 1, 2, 5
# FtraceEvent: events that are not read as all others are
PRINT, GENERIC, SYS_ENTER, SYS_EXIT = 3, 327, 329, 330

#: Types of a field in a FieldDescriptorProto, as far as an event of the kernel has them.
TYPES = {3: "i", 4: "u", 5: "i", 8: "u", 9: "s", 12: "s", 13: "u", 14: "i"}

#: By event, the fields of a thread's number and its command: what threads are called.
TOLD = {
    "sched_switch": (("prev_pid", "prev_comm"), ("next_pid", "next_comm")),
    "sched_waking": (("pid", "comm"),),
    "sched_wakeup": (("pid", "comm"),),
    "sched_wakeup_new": (("pid", "comm"),),
    "sched_process_fork": (("child_pid", "child_comm"),),
    "task_newtask": (("pid", "comm"),),
    "task_rename": (("pid", "newcomm"),),
}


@dataclass(frozen=True, slots=True)
class Event:
    """An ftrace event: its name and, by number, its fields' names and kinds (i signed, u unsigned, s text)."""

    name: str
    fields: dict[int, tuple[str, str]] = field(default_factory=dict)

    @property
    def told(self) -> list[tuple[int, int]]:
        """The numbers of the fields that tell a thread and its command."""
        numbers = {name: n for n, (name, _) in self.fields.items()}
        return [(numbers[tid], numbers[comm]) for tid, comm in TOLD.get(self.name, ()) if {tid, comm} <= {*numbers}]


@cache
def _document() -> dict[str, dict[str, str]]:
    text = resources.files("tracemend.formats.perfetto").joinpath("schema.json").read_text()
    document: dict[str, dict[str, str]] = json.loads(text)
    return document


@cache
def packet_names() -> dict[int, str]:
    """The kinds of packets by the number of their field."""
    return {int(n): name for n, name in _document()["packets"].items()}


@cache
def events() -> dict[int, Event]:
    """The ftrace events that the public schema has, by the number of their field."""
    return {int(n): _event(line.split()) for n, line in _document()["events"].items()}


def _event(words: Iterable[str]) -> Event:
    name, *rest = words
    known = {}
    for word in rest:
        key, _, label = word.partition(":")
        known[int(key[:-1])] = label, key[-1]
    return Event(name, known)


def described(descriptor: bytes) -> Event:
    """An event that the trace itself describes (a DescriptorProto). Raises WireError."""
    about = message(descriptor)
    known = {number(f, 3): (decode(raw(f, 1)), TYPES[number(f, 5)]) for f in within(about, 2) if number(f, 5) in TYPES}
    return Event(decode(raw(about, 1)), known)
