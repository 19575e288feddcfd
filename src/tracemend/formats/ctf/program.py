"""Types to the programs that ``kernel`` reads events by."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracemend.formats.ctf import kernel
from tracemend.formats.ctf.decode import Decoder, integer, whose
from tracemend.formats.ctf.fields import chosen_by
from tracemend.formats.ctf.metadata import EventClass
from tracemend.formats.ctf.names import (
    EVENT_CONTEXT,
    EVENT_FIELDS,
    EVENT_HEADER,
    STREAM_CONTEXT,
    Bound,
    Names,
    Options,
    Scopes,
    shown_name,
)
from tracemend.formats.ctf.types import (
    Array,
    Enumeration,
    FieldPath,
    Integer,
    Refused,
    String,
    Structure,
    Type,
    Variant,
)

#: Registers of one event, operations and literal text of a program: what takes more is left to ``decode``.
MOST_REGISTERS, MOST_OPERATIONS, MOST_LITERALS = 256, 1 << 20, 1 << 26
#: An enumeration of more ranges (not single values) is left to ``decode``.
MOST_RANGES = 64
#: A variant of more choices is, too.
MOST_CHOICES = 64
#: Classes with larger numbers are left to ``decode``, and those of further tables of calls.
MOST_CLASSES, MOST_TABLES = 1 << 16, 16
LOWEST, HIGHEST = -(1 << 63), (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Shown:
    """How fields are shown: ``before`` is in front of the first; some of these names are not, one ``apart``."""

    unshown: Collection[str] = ()
    apart: str = ""
    before: str = ""


ALL = Shown()


class Writer(Scopes):
    """Writes the operations of one header or one event class. Values are known by the operations that read them, and
    get a register when something refers to them. Raises Refused where the kernel has no operation."""

    def __init__(self, table: Table, outer: dict[tuple[str, ...], Structure | None]) -> None:
        super().__init__(outer)
        self.table = table
        self.first = table.size
        self.ops: list[list[int]] = []
        self.literal = b""
        self.shown = False
        self.registers = kernel.FREE
        self.options: list[int] = []  # the options of variants that are being written, from the outermost in
        self.written_in: list[tuple[int, ...]] = []  # those of each operation

    # operations

    def emit(self, op: int, *operands: int, to: int = -1) -> int:
        """Write an operation, in front of it the literal that waits; returns its place in this program."""
        text, self.literal = self.literal, b""
        at = self.table.literal(text)
        self.ops.append([op, at, len(text), *operands, *[0] * (4 - len(operands)), to])
        self.written_in.append(tuple(self.options))
        return len(self.ops) - 1

    def say(self, text: str) -> None:
        """Literal text of what is shown."""
        if self.shown:
            self.literal += encoded(text)

    def flush(self) -> int:
        """Write the literal that waits: a jump may lead here. Returns where the next operation will be."""
        if self.literal:
            self.emit(kernel.LITERAL)
        return len(self.ops)

    def register(self, count: int = 1) -> int:
        self.registers += count
        if self.registers > MOST_REGISTERS:
            raise Refused("too many values that others refer to")
        return self.registers - count

    def held(self, bound: Bound, count: int = 1) -> int:
        """The register of a value that was read by now in any case."""
        at = int(bound.value)
        inside = self.written_in[at]
        if tuple(self.options[: len(inside)]) != inside:
            raise Refused("a value that may not be there")
        if self.ops[at][kernel.TO] < 0:
            self.ops[at][kernel.TO] = self.register(count)
        return self.ops[at][kernel.TO]

    def numbered(self, path: FieldPath) -> int:
        """The register of the integer at a path."""
        bound = self.find(path)
        if not isinstance(bound.type, Integer | Enumeration):
            raise Refused("no integer")
        return self.held(bound)

    # types

    def read(self, kind: Type) -> Bound | Names:
        """Write what reads a value of this type."""
        if isinstance(kind, Integer):
            return self._integer(kind, kind.base if self.shown else 0, kind)
        if isinstance(kind, Enumeration):
            return self._enumeration(kind)
        if isinstance(kind, String) and kind.unit == 1 and kind.codec == "utf-8":
            return Bound(kind, str(self.emit(kernel.STRING, 0, 0, self.shown)))
        if isinstance(kind, Structure):
            return self._structure(kind, Names())
        if isinstance(kind, Variant):
            return self._variant(kind)
        if isinstance(kind, Array):
            return self._array(kind)
        raise Refused(f"no operation for {type(kind).__name__}")

    def _integer(self, kind: Integer, base: int, bound: Type) -> Bound:
        if kind.size > 64 or base == 2:
            raise Refused("no operation for such an integer")
        flags = kernel.LITTLE * kind.little | kernel.SIGNED * kind.signed
        return Bound(bound, str(self.emit(kernel.INTEGER, kind.size, kind.align, flags, base)))

    def _enumeration(self, kind: Enumeration) -> Bound:
        if not isinstance(kind.container, Integer) or len(kind.ranges) > MOST_RANGES:
            raise Refused("no operation for such an enumeration")
        bound = self._integer(kind.container, 0, kind)
        if self.shown:
            self.emit(kernel.LABEL, self.held(bound), *self.table.labels(kind))
        return bound

    def members(self, kind: Structure, names: Names, shown: Shown = ALL) -> bool:
        """Write what reads a structure's fields; says whether any of them is shown with the others."""
        if kind.align > 1:
            self.emit(kernel.ALIGN, kind.align)
        names.place = kind.place
        self.scopes.append(names)
        speaking, said = self.shown, False
        for name, member in kind.members:
            short = shown_name(name)
            apart = speaking and short == shown.apart
            self.shown = speaking and short not in shown.unshown
            if apart:
                self.emit(kernel.OUT)
            else:
                self.say(f"{', ' if said else shown.before}{short}=")
                said |= self.shown
            if isinstance(member, Structure):  # known by its name before it is read: a field in it may refer to it
                names[name] = inner = Names()
                self._structure(member, inner)
            else:
                names[name] = self.read(member)
            if apart:
                self.emit(kernel.OUT)
            self.kept(name, names[name])
        self.shown = speaking
        self.scopes.pop()
        return said

    def root(self, root: tuple[str, ...], structure: Structure | None, shown: Shown = ALL) -> bool:
        """Write what reads one of an event's structures; says whether it shows anything."""
        self.roots[root] = names = Names()
        return structure is not None and self.members(structure, names, shown)

    def kept(self, name: str, bound: Bound | Names) -> None:
        """What becomes of a structure's field."""

    def _structure(self, kind: Structure, names: Names) -> Names:
        self.say("{")
        self.members(kind, names)
        self.say("}")
        return names

    def _variant(self, kind: Variant) -> Options:
        tag = self.find(kind.tag)
        if kind.keys or not isinstance(tag.type, Integer | Enumeration):
            raise Refused("no operation for such a variant")
        tested = self.held(tag)
        choices = chosen_by(tag, kind)
        if sum(len(ranges) for ranges, _ in choices) > MOST_CHOICES:
            raise Refused("too many choices")
        names = Options()
        options = dict(kind.options)
        self.flush()
        switch = self.emit(kernel.SWITCH, tested)
        cases, ends = [], []
        for ranges, option in choices:
            here = self.flush()
            cases += [(max(low, LOWEST), min(high, HIGHEST), self.first + here, 0) for low, high in ranges]
            self.options.append(self.first + here)
            names[option] = self.read(options[option])
            self.flush()
            ends.append(self.emit(kernel.JUMP))
            self.options.pop()
        otherwise = -1
        if kind.optional:
            otherwise = self.first + self.flush()
            self.say("none")
        end = self.first + self.flush()
        for jump in ends:
            self.ops[jump][kernel.A] = end
        self.ops[switch][kernel.B : kernel.D + 1] = *self.table.case(cases), otherwise
        return names

    def _array(self, kind: Array) -> Bound:
        if kind.align > 1:
            self.emit(kernel.ALIGN, kind.align)
        element, fixed = kind.element, kind.length if isinstance(kind.length, int) else -1
        length = 0 if isinstance(kind.length, int) else self.numbered(kind.length)
        if kind.is_text:
            if kind.codec != "utf-8":
                raise Refused("no operation for such text")
            return Bound(kind, str(self.emit(kernel.CHARACTERS, fixed, length, self.shown)))
        if not element.least:
            raise Refused("elements without a size")
        self.say("[")
        between = self.table.literal(b", "), 2 * self.shown
        loop = self.emit(kernel.LOOP, fixed, length, to=self.register())
        self.read(element)
        self.emit(kernel.AGAIN, self.first + loop + 1, *between, to=self.ops[loop][kernel.TO])
        self.ops[loop][kernel.D] = self.first + self.flush()
        self.say("]")
        return Bound(kind, str(loop))


class _Header(Writer):
    """Of an event's header, which tells the event's class and moves the clock on."""

    def kept(self, name: str, bound: Bound | Names) -> None:
        if not isinstance(bound, Bound):
            return
        kind = bound.type.container if isinstance(bound.type, Enumeration) else bound.type
        if not isinstance(kind, Integer):
            return
        if kind.clock is not None or shown_name(name) == "timestamp":
            self.emit(kernel.CLOCK, self.held(bound), kind.size)
        elif shown_name(name) == "id":
            self.emit(kernel.COPY, self.held(bound), to=kernel.NUMBER)


class Table:
    """The program of one stream class, and what its parts have in common; it grows by the classes that occur."""

    def __init__(self, decoder: Decoder) -> None:
        """Raises Refused where the kernel can't read the events' header."""
        self.decoder = decoder
        self.size = self.kept = self.count = self.known = 0
        self.plain = self.odd = 0  # events that the kernel has read, and that it left to others
        self.text = bytearray()
        self.places: dict[bytes, int] = {}
        self.label_cases: dict[int, tuple[int, int]] = {}
        self.calls: list[Mapping[int, int]] = []
        numbers = max(decoder.stream.events, default=0)
        self.program = kernel.Program(
            np.zeros((256, 8), np.int64),
            np.zeros((64, 4), np.int64),
            np.zeros(1024, np.uint8),
            np.full((min(numbers + 1, MOST_CLASSES), 6), kernel.NEW, np.int64),
            np.full((0, kernel.CALLS), -1, np.int32),
            np.zeros((kernel.COMMS, 3), np.int64),
            np.zeros(MOST_REGISTERS, np.int64),
        )
        w = _Header(self, {k: v for k, v in decoder.outer.items() if k != EVENT_HEADER})
        header = decoder.stream.event_header
        if header is not None:
            w.members(header, Names())
        w.emit(kernel.EVENT)
        self._add(w)
        self.program.registers[kernel.NUMBER] = next(iter(decoder.stream.events), 0)

    # what parts have in common

    def literal(self, text: bytes) -> int:
        """Where a literal is."""
        if text not in self.places:
            self.places[text] = len(self.text)
            self.text += text
            if len(self.text) > MOST_LITERALS:
                raise Refused("too much text")
        return self.places[text]

    def case(self, rows: list[tuple[int, int, int, int]]) -> tuple[int, int]:
        """Where cases are, from and to."""
        begin, self.count = self.count, self.count + len(rows)
        cases = _grown(self.program.cases, self.count)
        cases[begin : self.count] = np.array(rows, np.int64).reshape(-1, 4)
        self.program = self.program._replace(cases=cases)
        return begin, self.count

    def labels(self, kind: Enumeration) -> tuple[int, int]:
        """Where an enumeration's cases are, apart from each other and in order."""
        if id(kind) not in self.label_cases:
            found = [(value, value, name) for value, name in kind.single.items()]
            singles = sorted(kind.single)
            for name, low, high in kind.ranges:
                found += [(first, last, name) for first, last in _without(low, high, singles)]
            found.sort()
            if any(a[1] >= b[0] for a, b in pairwise(found)):
                raise Refused("labels of the same values")
            rows = []
            for low, high, name in found:
                if high >= LOWEST and low <= HIGHEST:
                    text = encoded(name)
                    rows.append((max(low, LOWEST), min(high, HIGHEST), self.literal(text), len(text)))
            self.label_cases[id(kind)] = self.case(rows)
        return self.label_cases[id(kind)]

    # what grows while reading

    def learn_class(self, number: int) -> None:
        """Write the program of an event class, or leave the class to ``decode``."""
        event = self.decoder.stream.events.get(number)
        row = [kernel.SLOW, 0, -1, -1, -1, 0]
        if event is not None:
            try:
                row = self._event(event)
            except Refused:
                row[kernel.ENTRY] = kernel.SLOW
        self.program.classes[number] = row

    def learn_call(self, number: int, table: int) -> None:
        """Give a number of a call its kind."""
        self.program.kinds[table, number] = self.calls[table][number]

    def learn_comm(self, place: int, raw: NDArray[np.uint8], code: int) -> bool:
        """Give a command its code, if there is still room for one."""
        if self.known >= kernel.COMMS // 2:
            return False
        self.known += 1
        size = len(raw)
        self.program.comms[place] = kernel.half(raw, 0, size), kernel.half(raw, 8, size), code + 1
        return True

    def _event(self, event: EventClass) -> list[int]:
        plan, w = self.decoder.plan(event), Writer(self, self.decoder.outer)
        fields = event.fields.members if event.fields else ()
        rets = [name for name, _ in fields if plan.has_ret and shown_name(name) == "ret"]
        if len(rets) > 1 or any("%" in name for name, _ in fields):
            raise Refused("names that are none")
        back = w.emit(kernel.SAVE, to=w.register())
        contexts = {STREAM_CONTEXT: self.decoder.stream.event_context, EVENT_CONTEXT: event.context}
        for root, structure in contexts.items():
            w.root(root, structure)
        w.shown = True
        said = w.root(EVENT_FIELDS, event.fields, Shown(apart="ret" if rets else ""))
        thread, command, taken = whose(w.roots)
        tid, comm = w.held(thread) if thread else -1, w.held(command, 2) if command else -1
        number = integer(w.roots[EVENT_FIELDS], plan.number)
        call = w.held(number) if number else -1
        if any(shown_name(name) not in taken for s in contexts.values() if s for name, _ in s.members):
            end = w.emit(kernel.SAVE, to=w.register())  # contexts stand in front of the fields, and are shown behind
            w.emit(kernel.SEEK, w.ops[back][kernel.TO])
            for root, structure in contexts.items():
                said |= w.root(root, structure, Shown(taken, before=", " if said else ""))
            w.emit(kernel.SEEK, w.ops[end][kernel.TO])
        w.emit(kernel.END)
        kind = plan.kind if isinstance(plan.kind, int) else self._table(plan.kind)
        return [self._add(w), kind, tid, comm, call, (not said) | 2 * (not rets)]

    def _table(self, kinds: Mapping[int, int]) -> int:
        """Make room for the kinds of numbers of calls; returns what stands for them in a class's row."""
        if len(self.calls) == MOST_TABLES:
            raise Refused("too many classes of numbered calls")
        self.calls.append(kinds)
        rows = np.full((len(self.calls), kernel.CALLS), -1, np.int32)
        rows[:-1] = self.program.kinds
        self.program = self.program._replace(kinds=rows)
        return -len(self.calls)

    def _add(self, w: Writer) -> int:
        """Take over the operations that were written; returns where they begin."""
        begin, self.size = self.size, self.size + len(w.ops)
        if self.size > MOST_OPERATIONS:
            raise Refused("too many operations")
        ops = _grown(self.program.ops, self.size)
        ops[begin : self.size] = w.ops
        literals = _grown(self.program.literals, len(self.text))
        literals[self.kept : len(self.text)] = np.frombuffer(self.text, np.uint8, offset=self.kept)
        self.kept = len(self.text)
        self.program = self.program._replace(ops=ops, literals=literals)
        return begin


def _grown(rows: NDArray[Any], count: int) -> NDArray[Any]:
    """The rows with room for so many."""
    if count <= len(rows):
        return rows
    grown = np.zeros((2 * count, *rows.shape[1:]), rows.dtype)
    grown[: len(rows)] = rows
    return grown


def _without(low: int, high: int, taken: list[int]) -> list[tuple[int, int]]:
    """What is left of a range where these values, in order, are taken."""
    found = []
    for value in taken[bisect_left(taken, low) : bisect_right(taken, high)]:
        if value > low:
            found.append((low, value - 1))
        low = value + 1
    return [*found, (low, high)] if low <= high else found


def encoded(text: str) -> bytes:
    """Text as bytes; raises Refused where it has none."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Refused("text that is none") from None
