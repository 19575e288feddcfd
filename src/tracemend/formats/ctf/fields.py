"""Types to Python source that reads fields of these types and makes text of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tracemend.formats.ctf.names import Bound, NamedSource, Names, Options, shown_name
from tracemend.formats.ctf.source import CODES
from tracemend.formats.ctf.types import Array, Enumeration, Float, Integer, Refused, String, Structure, Type, Variant
from tracemend.formats.ctf.values import SHOWN, Bulk, Labels, numbers

#: Arrays of up to so many numbers are read with the fields around them.
UNROLLED = 16
FLOATS = {32: "f", 64: "d"}


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
        texts, self.roots[root] = self.members(structure)
        return texts

    def read(self, kind: Type) -> tuple[Text, Bound | Names]:
        """Write what reads a value of this type."""
        if isinstance(kind, Integer):
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
            return self._structure(kind)
        if isinstance(kind, Variant):
            return self._variant(kind)
        if isinstance(kind, Array):
            return self._array(kind)
        raise Refused(f"a type that can't be read: {type(kind).__name__}")

    def _integer(self, kind: Integer) -> tuple[Text, Bound]:
        self.align(kind.align)
        code = CODES.get(kind.size // 8, "") if kind.size % 8 == 0 else ""
        name = self.later(kind.size, code if kind.signed else code.upper(), kind.little, kind.signed)
        unsigned = f"{name} & {(1 << kind.size) - 1}" if kind.signed else name
        if kind.base == 10:
            return Text("%d", [name]), Bound(kind, name)
        if kind.base == 2:
            return Text("%s", [f"bin({unsigned})"]), Bound(kind, name)
        return Text("0x%x" if kind.base == 16 else "0%o", [unsigned]), Bound(kind, name)

    def _string(self, kind: String) -> tuple[Text, Bound]:
        self.align(8)
        self.settle(bits=False)
        end, name = self.variable(), self.variable()
        self.emit(f"{end} = data.index(ZERO, at)")
        self.emit(f"{name} = data[at:{end}]")
        self.emit(f"at = {end} + 1")
        self.known = 8
        return Text("%s", [f"QUOTES[{name}]"]), Bound(kind, name)

    def members(self, kind: Structure) -> tuple[list[tuple[str, Text]], Names]:
        """Write what reads a structure's fields, one by one."""
        self.align(kind.align)
        names = Names()
        self.scopes.append(names)
        texts = []
        for name, member in kind.members:
            text, names[name] = self.read(member)
            texts.append((shown_name(name), text))
            bound = names[name]
            if isinstance(bound, Bound):
                line = self.keep(name, bound)
                if line is not None:
                    self.behind.append(line)
        self.scopes.pop()
        return texts, names

    def _structure(self, kind: Structure) -> tuple[Text, Names]:
        texts, names = self.members(kind)
        text = joined(texts)
        return Text(f"{{{text.template}}}", text.values), names

    def _variant(self, kind: Variant) -> tuple[Text, Names]:
        tag = self.find(kind.tag)
        if not isinstance(tag.type, Enumeration):
            raise Refused("a variant whose tag is no enumeration")
        self.flush()
        shown, names = self.variable(), Options()
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
            branches.append((condition, self.lines, (self.bits, self.off, self.known)))
        whole = all(not bits and off % 8 == 0 for _, _, (bits, off, _) in branches)
        known = 1 << 16
        word = "if"
        for condition, written, end in branches:
            self.lines = lines
            self.emit(f"{word} {condition}:")
            lines += written
            self.bits, self.off, self.known = end
            with self.indented():
                self.settle(bits=not whole)
                self.emit("pass")
            known, word = min(known, self.known), "elif"
        self.lines = lines
        if branches:
            self.emit("else:")
            with self.indented():
                self.emit(f"raise Damage(f'no option of a variant for {{{tag.value}}}')")
            self.bits, self.off, self.known = not whole, 0, known
        else:
            self.emit(f"raise Damage(f'no option of a variant for {{{tag.value}}}')")
        return Text("%s", [shown]), names

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
            return Text("%s", [f"QUOTES[{name}]"]), Bound(kind, name)
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
        length = str(fixed) if fixed is not None else self._length(kind.length)
        if kind.is_text:
            self.settle(bits=False)
            name = self.variable()
            self.emit(f"{name} = data[at : at + {length}]")
            self.emit(f"if len({name}) != {length}: raise Damage('text runs over the end of its packet')")
            self.emit(f"at += {length}")
            self.known = 8
            return Text("%s", [f"QUOTES[{name}]"]), Bound(kind, name)
        self.settle()
        code, shown = self._bulk(element)
        if code and not self.bits:
            name = self.variable()
            self.emit(f"{name} = {code}[{length}](data, at)")
            self.emit(f"at += {length} * {element.least >> 3}")
            self.known = min(self.known, element.least & -element.least)
            return Text("%s", [f"{shown}({name})"]), Bound(kind, name)
        return self._loop(kind, length)

    def _length(self, path: object) -> str:
        assert isinstance(path, tuple)
        bound = self.find(path)
        if not isinstance(bound.type, Integer | Enumeration):
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
        row = isinstance(element, Integer | Float | Enumeration) and element.least % element.align == 0
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


def _choices(tag: Bound, kind: Variant) -> list[tuple[str, str]]:
    """Conditions on the tag's value with the option that each of them chooses."""
    assert isinstance(tag.type, Enumeration)
    options = {name: name for name, _ in kind.options} | {shown_name(name): name for name, _ in kind.options}
    found = []
    for label, low, high in tag.type.labels:
        option = options.get(label) or options.get(shown_name(label))
        if option is not None:
            is_it = f"{tag.value} == {low}" if low == high else f"{low} <= {tag.value} <= {high}"
            found.append((is_it, option))
    return found
