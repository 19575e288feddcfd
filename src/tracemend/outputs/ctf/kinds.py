"""How inferred events are spelt: the tracer's own names of events and fields, and what its fields hold.

An event has the fields that the tracer's own event of its name has. What is known of one stands there as the tracer
would have it, in a number's place a number of its size. Any other field is a text, ``<...>``, which no reader takes for
a value. A name may therefore stand for several event classes, which differ in what is known.

Viewers choose events by name and rely on their numbers: Trace Compass passes over a switch whose threads are no
numbers, but gives up its whole analysis at an interrupt without one. So an event without the numbers that views are
drawn from has a name that none of them looks for. Calls keep theirs, of which views need no more than the name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

from tracemend.formats.base import Builder, Options
from tracemend.formats.ctf.decode import PERF_TID
from tracemend.formats.ctf.event_names import NAMED, NUMBERED, OLD_EXIT, Kinds
from tracemend.formats.ctf.metadata import EventClass, StreamClass
from tracemend.formats.ctf.names import shown_name
from tracemend.formats.ctf.types import Array, Enumeration, Float, Integer, String, Type
from tracemend.outputs.ctf.layout import quoted
from tracemend.outputs.known import UNKNOWN, Known
from tracemend.trace.events import ENTER, EXIT, INSTANT
from tracemend.trace.fields import SOFTIRQS, SWITCH, WAKEUPS, coded, kernel_name, spellings
from tracemend.trace.syscalls import table

INCOMPLETE = ":incomplete"
#: The fields that views are drawn from; of all other events those are all that are numbers.
DRAWN = {
    SWITCH: ("prev_pid", "next_pid"),
    **dict.fromkeys(WAKEUPS, ("pid",)),
    **dict.fromkeys(("irq_handler_entry", "irq_handler_exit"), ("irq",)),
    **dict.fromkeys(SOFTIRQS, ("vec",)),
    "sched_process_fork": ("pid", "child_pid"),
    "sched_process_exec": ("pid",),
    "sched_process_exit": ("pid",),
    "sched_migrate_task": ("pid", "dest_cpu"),
}
#: The number of its call, in an event that doesn't have it in its name.
NUMBER = "id"


@dataclass(frozen=True, slots=True)
class Kind:
    """The tracer's own event of a name, with its fields; ``numbered``: which call it is of is one of them."""

    name: str
    fields: tuple[tuple[str, Type], ...] = ()
    numbered: bool = False

    @classmethod
    def of(cls, event: EventClass, numbered: bool = False) -> Kind:
        return cls(event.name, event.fields.members if event.fields else (), numbered)


@dataclass(frozen=True, slots=True)
class Class:
    """An event class of the extra stream: of which fields something is known, and which of those were inferred."""

    kind: Kind
    known: tuple[str, ...] = ()
    inferred: tuple[str, ...] = ()

    def tsdl(self, little: bool) -> tuple[list[str], list[str]]:
        """The members of its context, which are how sure each inferred field is, and of its fields."""
        order = "le" if little else "be"
        sure = "floating_point { exp_dig = 8; mant_dig = 24; align = 8; }"
        fields = [
            _declared(kind, name, order) if name in self.known else f"string {name}" for name, kind in self.kind.fields
        ]
        return [f"{sure} {name}" for name in self.inferred], fields


@dataclass(frozen=True, slots=True)
class Spelt:
    """An inferred event as its class has it: the bytes of its fields, and how sure those are that were inferred."""

    event_class: Class
    fields: bytes
    confidence: tuple[float, ...]


class Spelling:
    """How a tracer spells events: from what is known of one to the event class of one of its streams, and its bytes."""

    def __init__(self, stream: StreamClass, arch: str, little: bool) -> None:
        kinds = Kinds(Builder(Path(), "ctf", Options(arch)))
        self.little = little
        self.named: dict[tuple[str, int], Kind] = {}
        self.numbered: dict[int, Kind] = {}
        self.prefixes = {ENTER: "syscall_entry_", EXIT: "syscall_exit_"}
        self.numbers = {name: number for number, name in reversed(table(arch).items())}
        for event in stream.events.values():
            plan = kinds.plan(event)
            if isinstance(plan.kind, int):
                entry = list(kinds.codes)[plan.kind]
                self.named.setdefault(entry, Kind.of(event))
                called = NAMED.fullmatch(event.name)
                if called:
                    self.prefixes[entry[1]] = event.name[: called.start("call")]
            elif NUMBERED.fullmatch(event.name):
                self.numbered.setdefault(EXIT if plan.has_ret else ENTER, Kind.of(event, numbered=True))
        self.spelt = lru_cache(1 << 16)(self._spelt)

    def kind(self, name: str, phase: int) -> Kind:
        """A call that the trace has no class for is spelled as its other calls are, and has no fields."""
        if (name, phase) in self.named:
            return self.named[name, phase]
        if phase in self.numbered:
            return self.numbered[phase]
        if phase == EXIT and (OLD_EXIT, EXIT) in self.named:
            return self.named[OLD_EXIT, EXIT]
        return Kind(self.prefixes.get(phase, "") + name)

    def _spelt(self, name: str, phase: int, tid: int, known: tuple[Known, ...]) -> Spelt:
        """``tid``: the thread, for an event that says it in its fields."""
        kind = self.kind(name, phase)
        values: dict[str, bytes] = {}
        sure: dict[str, float] = {}
        own = {shown_name(member): (member, t) for member, t in reversed(kind.fields)}
        for field, text, confidence in known:
            member, t = next((own[s] for s in spellings(field) if s in own), ("", None))
            value = None if t is None else self._bytes(t, coded(kernel_name(name), field, text), text)
            if value is not None:
                values[member], sure[member] = value, confidence
        facts = {PERF_TID: tid} | ({NUMBER: self.numbers.get(name, -1)} if kind.numbered else {})
        values |= self._facts(own, facts)
        inferred = tuple(member for member, _ in kind.fields if member in sure)
        members = tuple(member for member, _ in kind.fields if member in values)
        fields = b"".join(values.get(member, UNKNOWN.encode() + b"\0") for member, _ in kind.fields)
        if phase == INSTANT and not self._can_be_drawn(kind, members, own):
            kind = replace(kind, name=kind.name + INCOMPLETE)
        return Spelt(Class(kind, members, inferred), fields, tuple(sure[member] for member in inferred))

    @staticmethod
    def _can_be_drawn(kind: Kind, known: tuple[str, ...], own: Mapping[str, tuple[str, Type]]) -> bool:
        needed = DRAWN.get(kernel_name(kind.name))
        if needed is None:
            return all(name in known for name, t in kind.fields if isinstance(t, Integer | Float))
        return all(any(s in own and own[s][0] in known for s in spellings(field)) for field in needed)

    def _facts(self, own: Mapping[str, tuple[str, Type]], facts: Mapping[str, int]) -> dict[str, bytes]:
        """Fields that say what the event's name or context does."""
        found = {}
        for field, number in facts.items():
            member, t = own.get(field, ("", None))
            if isinstance(t, Integer):
                found[member] = (number & (1 << t.size) - 1).to_bytes(_size(t), self._order)
        return found

    @property
    def _order(self) -> Literal["little", "big"]:
        return "little" if self.little else "big"

    def _bytes(self, kind: Type, number: int | None, text: str) -> bytes | None:
        """A value in the place of a field; None where it doesn't fit there."""
        box = kind.container if isinstance(kind, Enumeration) else kind
        if isinstance(kind, String) or (isinstance(kind, Array) and kind.is_text):
            value = text.encode(errors="replace")
            return value + b"\0" if value and b"\0" not in value else None
        if not isinstance(box, Integer) or number is None:
            return None
        least, most = (-(1 << box.size - 1), 1 << box.size - 1) if box.signed else (0, 1 << box.size)
        if not least <= number < most:
            return None
        return number.to_bytes(_size(box), self._order, signed=box.signed)


def _size(kind: Integer) -> int:
    """Bytes that it takes here."""
    return -(-kind.size // 8)


def _declared(kind: Type, name: str, order: str) -> str:
    """A field that holds something: text, whatever it lay in, or a number in whole bytes."""
    box = kind.container if isinstance(kind, Enumeration) else kind
    if not isinstance(box, Integer):
        return f"string {name}"
    sign = str(box.signed).lower()
    size = 8 * _size(box)
    integer = f"integer {{ size = {size}; align = 8; signed = {sign}; base = {box.base}; byte_order = {order}; }}"
    if not isinstance(kind, Enumeration):
        return f"{integer} {name}"
    labels = ", ".join(f"{quoted(label)} = {low} ... {high}" for label, low, high in kind.labels)
    return f"enum : {integer} {{ {labels} }} {name}"
