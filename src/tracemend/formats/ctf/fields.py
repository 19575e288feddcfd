"""Types to Python source that reads fields of these types and makes text of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tracemend.formats.ctf.names import Bound, NamedSource, Names, Options, shown_name
from tracemend.formats.ctf.source import CODES
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
    Varint,
)
from tracemend.formats.ctf.values import SHOWN, Bulk, Labels, Quotes, numbers

#: Arrays of up to so many numbers are read with the fields around them.
UNROLLED = 16
FLOATS = {16: "e", 32: "f", 64: "d"}
Ranges = tuple[tuple[int, int], ...]
#: What chooses an option that may be there or not, of numbers of 64 bits.
NOT_ZERO: Ranges = (-(1 << 63), -1), (1, (1 << 63) - 1)


@dataclass(slots=True)
class Text:
    """What a value looks like: a template for ``%``, and the expressions that go into it."""

    template: str
    values: list[str]


class Writer(NamedSource):
    """Writes the source of one function that reads fields. ``keep``: what becomes of a structure's field, as a line."""

    def __init__(self, shared: dict[str, Any], outer: dict[tuple[str, ...], Structure | None]) -> None:
        super().__init__(shared, outer)
        self.keep: Callable[[str, Bound], str | None] = lambda name, bound: None
        self.silent = False

    def root(self, root: tuple[str, ...], structure: Structure | None) -> list[tuple[str, Text]]:
        """Write what reads one of the structures that make up a packet's or an event's head and body."""
        if structure is None:
            return []
        self.roots[root] = names = Names()
        return self.members(structure, names)

    def read(self, kind: Type) -> tuple[Text, Bound | Names]:
        """Write what reads a value of this type."""
        if isinstance(kind, Integer | Varint):
            return self._integer(kind)
        if isinstance(kind, Float):
            self.align(kind.align)
            name = self.later(kind.size, FLOATS[kind.size], kind.little)
            return Text("%r", [name]), Bound(kind, name)
        if isinstance(kind, String):
            return self._string(kind)
        if isinstance(kind, Enumeration):
            _, bound = self._integer(kind.container)
            return Text("%s", [f"{self.constant(Labels(kind))}[{bound.value}]"]), Bound(kind, bound.value)
        if isinstance(kind, Structure):
            names = Names()
            return self._structure(kind, names), names
        if isinstance(kind, Variant):
            return self._variant(kind)
        if isinstance(kind, Array):
            return self._array(kind)
        raise Refused(f"a type that can't be read: {type(kind).__name__}")

    def _integer(self, kind: Integer | Varint) -> tuple[Text, Bound]:
        self.align(kind.align)
        if isinstance(kind, Varint):
            return self._varint(kind)
        code = CODES.get(kind.size // 8, "") if kind.size % 8 == 0 else ""
        name = self.later(kind.size, code if kind.signed else code.upper(), kind.little, kind.signed)
        unsigned = f"{name} & {(1 << kind.size) - 1:#x}" if kind.signed else name
        return _in_base(kind.base, name, unsigned), Bound(kind, name)

    def _varint(self, kind: Varint) -> tuple[Text, Bound]:
        self.settle(bits=False)
        name = self.variable()
        self.emit(f"{name}, {name}_bits, at = varint(data, at, {kind.signed})")
        self.known = 8
        return _in_base(10 if kind.signed else kind.base, name, name), Bound(kind, name)

    def _string(self, kind: String) -> tuple[Text, Bound]:
        self.align(8)
        self.settle(bits=False)
        end, name = self.variable(), self.variable()
        self.emit(f"{end} = data.index(ZERO, at)" if kind.unit == 1 else f"{end} = wide_zero(data, at, {kind.unit})")
        self.emit(f"{name} = data[at:{end}]")
        self.emit(f"at = {end} + {kind.unit}")
        self.known = 8
        return self._quoted(name, kind.codec), Bound(kind, name)

    def _quoted(self, name: str, codec: str) -> Text:
        """What text in a variable looks like."""
        return Text("%s", [f"QUOTES[{name}]" if codec == "utf-8" else f"{self.constant(Quotes(codec))}[{name}]"])

    def members(self, kind: Structure, names: Names) -> list[tuple[str, Text]]:
        """Write what reads a structure's fields, one by one; ``names`` takes what they are called."""
        self.align(kind.align)
        names.place = kind.place
        self.scopes.append(names)
        texts = []
        for name, member in kind.members:
            if isinstance(member, Structure):  # known by its name before it is read: a field in it may refer to it
                names[name] = inner = Names()
                text = self._structure(member, inner)
            else:
                text, names[name] = self.read(member)
            texts.append((shown_name(name), text))
            bound = names[name]
            if isinstance(bound, Bound):
                line = self.keep(name, bound)
                if line is not None:
                    self.behind.append(line)
        self.scopes.pop()
        return texts

    def _structure(self, kind: Structure, names: Names) -> Text:
        text = joined(self.members(kind, names))
        return Text(f"{{{text.template}}}", text.values)

    def _variant(self, kind: Variant) -> tuple[Text, Names]:
        tag = self.find(kind.tag)
        if not isinstance(tag.type, Enumeration | Integer | Varint if kind.ranges or kind.optional else Enumeration):
            raise Refused("a variant whose tag is no enumeration")
        self.flush()
        shown, names = self.variable(), Options()
        held = {key: self.variable() for key in kind.keys}
        state = self.bits, self.off, self.known
        branches = []
        lines = self.lines
        options = dict(kind.options)
        for condition, option in _choices(tag, kind):
            self.lines = []
            self.bits, self.off, self.known = state
            with self.indented():
                text, names[option] = self.read(options[option])
                self.flush()
                self.show(shown, text)
                self._hold(names, option, held)
            branches.append((condition, self.lines, (self.bits, self.off, self.known)))
        if kind.optional:
            self.lines = []
            self.bits, self.off, self.known = state
            with self.indented():
                self.show(shown, Text("none", []))
            branches.append(("", self.lines, state))
        whole = all(not bits and off % 8 == 0 for _, _, (bits, off, _) in branches)
        known = 1 << 16
        word = "if"
        for condition, written, end in branches:
            self.lines = lines
            self.emit(f"{word} {condition}:" if condition else "else:")
            lines += written
            self.bits, self.off, self.known = end
            with self.indented():
                self.settle(bits=not whole)
                self.emit("pass")
            known, word = min(known, self.known), "elif"
        self.lines = lines
        if not kind.optional:
            self.emit("else:" if branches else "if True:")
            with self.indented():
                self.emit(f"raise Damage(f'no option of a variant for {{{tag.value}}}')")
        if branches:
            self.bits, self.off, self.known = not whole, 0, known
        return Text("%s", [shown]), names

    def _hold(self, names: Options, option: str, held: dict[str, str]) -> None:
        """Let variables hold what the chosen option has of the names that others refer to."""
        chosen = names[option]
        for key, variable in held.items():
            bound = chosen.get(key) if isinstance(chosen, Names) else None if key else chosen
            if isinstance(bound, Bound):
                self.emit(f"{variable} = {bound.value}")
                names[key] = Bound(bound.type, variable)

    def show(self, name: str, text: Text) -> None:
        """Let a variable hold the text, which the source can't hand on any other way."""
        if not self.silent:
            self.emit(f"{name} = {self.rendered(text)}")

    def rendered(self, text: Text) -> str:
        """The text as an expression."""
        if not text.values:
            return self.constant(text.template.replace("%%", "%"))
        if text.template == "%s":
            return text.values[0]
        return f"{self.constant(text.template)} % ({', '.join(text.values)},)"

    def _array(self, kind: Array) -> tuple[Text, Bound]:
        self.align(kind.align)
        element = kind.element
        fixed = kind.length if isinstance(kind.length, int) else None
        if kind.is_text and fixed is not None:
            if not fixed:
                return Text('""', []), Bound(kind, "b''")
            name = self.later(fixed * 8, "s", True)
            return self._quoted(name, kind.codec), Bound(kind, name)
        byte = isinstance(element, Integer) and element.size == element.align == 8
        if fixed and fixed <= UNROLLED and self.silent and byte:
            name = self.later(fixed * 8, "s", True)  # a UUID, for example, which nothing shows
            return Text("", []), Bound(kind, name)
        if fixed is not None and fixed <= UNROLLED and isinstance(element, Integer | Float | Enumeration):
            read = [self.read(element) for _ in range(fixed)]
            template = ", ".join(text.template for text, _ in read)
            values = [v for text, _ in read for v in text.values]
            bound = ", ".join(b.value for _, b in read if isinstance(b, Bound))
            return Text(f"[{template}]", values), Bound(kind, f"[{bound}]")
        length = str(kind.length) if isinstance(kind.length, int) else self._length(kind.length)
        if kind.is_text:
            self.settle(bits=False)
            name = self.variable()
            self.emit(f"{name} = data[at : at + {length}]")
            self.emit(f"if len({name}) != {length}: raise Damage('text runs over the end of its packet')")
            self.emit(f"at += {length}")
            self.known = 8
            return self._quoted(name, kind.codec), Bound(kind, name)
        self.settle()
        code, shown = self._bulk(element)
        if code and not self.bits:
            name = self.variable()
            self.emit(f"{name} = {code}[{length}](data, at)")
            self.emit(f"at += {length} * {element.least >> 3}")
            self.known = min(self.known, element.least & -element.least)
            return Text("%s", [f"{shown}({name})"]), Bound(kind, name)
        return self._loop(kind, length)

    def _length(self, path: FieldPath) -> str:
        bound = self.find(path)
        if not isinstance(bound.type, Integer | Varint | Enumeration):
            raise Refused("a sequence whose length is no integer")
        self.flush()
        return bound.value

    def _bulk(self, element: Type) -> tuple[str, str]:
        """What reads many such elements at once and what shows them, if they lie one behind the other."""
        if isinstance(element, Integer | Float) and element.size >> 3 in CODES and not element.size % 8:
            if element.size % element.align:
                return "", ""
            if isinstance(element, Float):
                code, show = FLOATS[element.size], numbers(10)
            else:
                code, show = CODES[element.size >> 3], numbers(element.base)
                code = code if element.signed and element.base == 10 else code.upper()
            return self.constant(Bulk(code, element.size >> 3, element.little)), self.constant(show)
        return "", ""

    def _loop(self, kind: Array, length: str) -> tuple[Text, Bound]:
        element = kind.element
        texts = self.variable()
        self.emit(f"need({length}, {element.least}, data, {self.here})")
        if not element.least:
            self.emit(f"spend({length})")
        whole = not self.bits and element.ends[0] == 0
        if not whole:
            self.settle(bits=True)
        self.known = 8 if whole else 1
        self.emit(f"{texts} = []")
        number = element.container if isinstance(element, Enumeration) else element
        row = isinstance(number, Integer | Float) and number.least % number.align == 0
        shown = f"min({length}, {SHOWN})" if row else length  # of numbers in a row, what isn't shown is passed over
        self.emit(f"for _ in repeat(None, {shown}):")
        with self.indented():
            text, _ = self.read(element)
            self.settle(bits=not whole)
            if not self.silent:
                self.emit(f"if len({texts}) < {SHOWN}:")
                with self.indented():
                    self.emit(f"{texts}.append({self.rendered(text)})")
            self.emit("pass")
        self.known = 8 if whole else 1
        if row:
            size = element.least >> 3 if whole else element.least
            self.emit(f"{'at' if whole else 'bit'} += ({length} - {shown}) * {size}")
        return Text("%s", [f"listed({texts}, {length})"]), Bound(kind, texts)


def joined(texts: list[tuple[str, Text]]) -> Text:
    """Fields as ``name=value``, with commas."""
    template = ", ".join(f"{name}={text.template}" for name, text in texts)
    return Text(template, [v for _, text in texts for v in text.values])


def chosen_by(tag: Bound, kind: Variant) -> list[tuple[Ranges, str]]:
    """Ranges of the tag's value with the option that each of them chooses, of which the first counts."""
    if kind.ranges:
        return [(ranges, name) for ranges, (name, _) in zip(kind.ranges, kind.options, strict=True)]
    if not isinstance(tag.type, Enumeration):
        return [(NOT_ZERO, name) for name, _ in kind.options]
    options = {name: name for name, _ in kind.options} | {shown_name(name): name for name, _ in kind.options}
    found: list[tuple[Ranges, str]] = []
    for label, low, high in tag.type.labels:
        option = options.get(label) or options.get(shown_name(label))
        if option is not None:
            found.append((((low, high),), option))
    return found


def _choices(tag: Bound, kind: Variant) -> list[tuple[str, str]]:
    """Conditions on the tag's value with the option that each of them chooses."""

    def condition(ranges: Ranges) -> str:
        return tag.value if ranges is NOT_ZERO else " or ".join(_within(tag, *r) for r in ranges) or "0"

    return [(condition(ranges), option) for ranges, option in chosen_by(tag, kind)]


def _within(tag: Bound, low: int, high: int) -> str:
    return f"{tag.value} == {low:#x}" if low == high else f"{low:#x} <= {tag.value} <= {high:#x}"


def _in_base(base: int, name: str, unsigned: str) -> Text:
    """What a number looks like; ``unsigned``: the expression that is shown in a base other than 10."""
    if base == 10:
        return Text("%d", [name])
    return Text("%s", [f"bin({unsigned})"]) if base == 2 else Text("0x%x" if base == 16 else "0%o", [unsigned])
