"""Types to the programs that ``kernel`` reads events by."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracemend.formats.ctf import operations
from tracemend.formats.ctf.fields import chosen_by
from tracemend.formats.ctf.names import (
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
    Float,
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


if TYPE_CHECKING:
    from tracemend.formats.ctf.table import Table


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
        self.registers = operations.FREE
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
            self.emit(operations.LITERAL)
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
        if self.ops[at][operations.TO] < 0:
            self.ops[at][operations.TO] = self.register(count)
        return self.ops[at][operations.TO]

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
        if isinstance(kind, Float) and kind.size > 16:
            flags = operations.LITTLE * kind.little
            return Bound(kind, str(self.emit(operations.REAL, kind.size, kind.align, flags, self.shown)))
        if isinstance(kind, Enumeration):
            return self._enumeration(kind)
        if isinstance(kind, String) and kind.unit == 1 and kind.codec == "utf-8":
            return Bound(kind, str(self.emit(operations.STRING, 0, 0, self.shown)))
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
        flags = operations.LITTLE * kind.little | operations.SIGNED * kind.signed
        return Bound(bound, str(self.emit(operations.INTEGER, kind.size, kind.align, flags, base)))

    def _enumeration(self, kind: Enumeration) -> Bound:
        if not isinstance(kind.container, Integer) or len(kind.ranges) > MOST_RANGES:
            raise Refused("no operation for such an enumeration")
        bound = self._integer(kind.container, 0, kind)
        if self.shown:
            self.emit(operations.LABEL, self.held(bound), *self.table.labels(kind))
        return bound

    def members(self, kind: Structure, names: Names, shown: Shown = ALL) -> bool:
        """Write what reads a structure's fields; says whether any of them is shown with the others."""
        if kind.align > 1:
            self.emit(operations.ALIGN, kind.align)
        names.place = kind.place
        self.scopes.append(names)
        speaking, said = self.shown, False
        for name, member in kind.members:
            short = shown_name(name)
            apart = speaking and short == shown.apart
            self.shown = speaking and short not in shown.unshown
            if apart:
                self.emit(operations.OUT)
            else:
                self.say(f"{', ' if said else shown.before}{short}=")
                said |= self.shown
            if isinstance(member, Structure):  # known by its name before it is read: a field in it may refer to it
                names[name] = inner = Names()
                self._structure(member, inner)
            else:
                names[name] = self.read(member)
            if apart:
                self.emit(operations.OUT)
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
        switch = self.emit(operations.SWITCH, tested)
        cases, ends = [], []
        for ranges, option in choices:
            here = self.flush()
            cases += [(max(low, LOWEST), min(high, HIGHEST), self.first + here, 0) for low, high in ranges]
            self.options.append(self.first + here)
            names[option] = self.read(options[option])
            self.flush()
            ends.append(self.emit(operations.JUMP))
            self.options.pop()
        otherwise = -1
        if kind.optional:
            otherwise = self.first + self.flush()
            self.say("none")
        end = self.first + self.flush()
        for jump in ends:
            self.ops[jump][operations.A] = end
        self.ops[switch][operations.B : operations.D + 1] = *self.table.case(cases), otherwise
        return names

    def _array(self, kind: Array) -> Bound:
        if kind.align > 1:
            self.emit(operations.ALIGN, kind.align)
        element, fixed = kind.element, kind.length if isinstance(kind.length, int) else -1
        length = 0 if isinstance(kind.length, int) else self.numbered(kind.length)
        if kind.is_text:
            if kind.codec != "utf-8":
                raise Refused("no operation for such text")
            return Bound(kind, str(self.emit(operations.CHARACTERS, fixed, length, self.shown)))
        if not element.least:
            raise Refused("elements without a size")
        self.say("[")
        between = self.table.literal(b", "), 2 * self.shown
        loop = self.emit(operations.LOOP, fixed, length, to=self.register())
        self.read(element)
        self.emit(operations.AGAIN, self.first + loop + 1, *between, to=self.ops[loop][operations.TO])
        self.ops[loop][operations.D] = self.first + self.flush()
        self.say("]")
        return Bound(kind, str(loop))


class HeaderWriter(Writer):
    """Of an event's header, which tells the event's class and moves the clock on."""

    def kept(self, name: str, bound: Bound | Names) -> None:
        if not isinstance(bound, Bound):
            return
        kind = bound.type.container if isinstance(bound.type, Enumeration) else bound.type
        if not isinstance(kind, Integer):
            return
        if kind.clock is not None or shown_name(name) == "timestamp":
            self.emit(operations.CLOCK, self.held(bound), kind.size)
        elif shown_name(name) == "id":
            self.emit(operations.COPY, self.held(bound), to=operations.NUMBER)


def encoded(text: str) -> bytes:
    """Text as bytes; raises Refused where it has none."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Refused("text that is none") from None
