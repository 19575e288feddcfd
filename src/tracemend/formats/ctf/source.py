"""Types to Python source that reads them.

The source holds no text of the metadata: variables are numbered, and whatever the metadata names (fields, labels) goes
into templates and tables that the source knows by numbers, too. Fields of fixed size in a row are read by one
``struct``; positions are known at generation as far as they can be, and only what follows something of varying size is
worked out while reading.

A position is a base (``at`` in bytes or ``bit`` in bits, from the packet's begin) and bits behind it that are known.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tracemend.formats.ctf.types import Array, Enumeration, Float, Integer, Refused, String, Structure, Type, Variant
from tracemend.formats.ctf.values import SHOWN, Bulk, Labels, numbers

#: Arrays of up to so many numbers are read with the fields around them.
UNROLLED = 16
#: Source of more lines than this is refused.
MOST_LINES = 50_000
CODES = {1: "b", 2: "h", 4: "i", 8: "q"}
FLOATS = {32: "f", 64: "d"}

PACKET_HEADER, PACKET_CONTEXT = ("trace", "packet", "header"), ("stream", "packet", "context")
EVENT_HEADER, STREAM_CONTEXT = ("stream", "event", "header"), ("stream", "event", "context")
EVENT_CONTEXT, EVENT_FIELDS = ("event", "context"), ("event", "fields")
ROOTS = (EVENT_FIELDS, EVENT_CONTEXT, STREAM_CONTEXT, EVENT_HEADER, PACKET_CONTEXT, PACKET_HEADER)


@dataclass(slots=True)
class Text:
    """What a value looks like: a template for ``%``, and the expressions that go into it."""

    template: str
    values: list[str]


@dataclass(slots=True)
class Bound:
    """A value that was read: its type and the variable or expression that holds it."""

    type: Type
    value: str


class Names(dict[str, "Bound | Names"]):
    """What names stand for: values, or what a structure holds."""


class Options(Names):
    """What a variant's options hold, of which one is there."""


@dataclass(slots=True)
class Pending:
    """A value of fixed place and size, not yet read: ``off`` bits behind the base."""

    off: int
    size: int
    code: str  # of struct, for whole bytes in their usual sizes; s for text; empty for bits
    little: bool
    signed: bool
    name: str


@dataclass(slots=True)
class Chunk:
    """Bytes read as one value, with the bit fields cut from it."""

    low: int
    high: int
    code: str
    little: bool
    signed: bool
    name: str
    fields: list[Pending] = field(default_factory=list)


class Writer:
    """Writes the source of one function. ``bits``: the base is ``bit``; ``known``: its alignment in bits."""

    def __init__(self, shared: dict[str, Any], outer: dict[tuple[str, ...], Structure | None]) -> None:
        self.constants = shared
        self.outer = outer
        self.lines: list[str] = []
        self.count = self.written = 0
        self.indent = 1
        self.bits, self.off, self.known = False, 0, 8
        self.pending: list[Pending] = []
        self.behind: list[str] = []
        self.scopes: list[Names] = []
        self.roots: dict[tuple[str, ...], Names] = {}
        self.keep: Callable[[str, Bound], str | None] = lambda name, bound: None
        self.silent = False
        self.refers = False  # to a value that another function has read

    # source

    def emit(self, line: str) -> None:
        self.written += 1
        if self.written > MOST_LINES:
            raise Refused("types too large to be read")
        self.lines.append("    " * self.indent + line)

    def variable(self) -> str:
        self.count += 1
        return f"v{self.count}"

    def constant(self, value: object) -> str:
        name = f"C{len(self.constants)}"
        self.constants[name] = value
        return name

    def function(self, name: str, parameters: str, result: str) -> Callable[..., Any]:
        """Compile what was written; ``result`` is what it returns. Raises Refused where Python's compiler gives up."""
        self.flush()
        source = "\n".join([f"def {name}({parameters}):", *self.lines, f"    return {result}"])
        namespace = self.constants
        try:
            exec(compile(source, f"<{name}>", "exec"), namespace)
        except (SyntaxError, RecursionError, MemoryError) as e:  # a variant of thousands of options, for example
            raise Refused("types too large to be read") from e
        made: Callable[..., Any] = namespace.pop(name)
        return made

    # positions

    def start(self, *, bits: bool, known: int) -> None:
        self.bits, self.off, self.known = bits, 0, known

    def align(self, align: int) -> None:
        if self.known % align == 0 and not (self.bits and align >= 8):
            self.off = -(-self.off // align) * align
            return
        self.flush()
        if align < 8:
            self.emit(f"bit = bit + {self.off + align - 1} & -{align}")
            self.known = align
        else:
            if self.bits:
                self.emit(f"at = bit + {self.off + 7} >> 3")
            elif self.off:
                self.emit(f"at += {self.off + 7 >> 3}")
            if align > 8:
                self.emit(f"at = at + {(align >> 3) - 1} & -{align >> 3}")
            self.bits, self.known = False, align
        self.off = 0

    def settle(self, *, bits: bool | None = None) -> None:
        """Move the base here. ``bits``: to what; None: to bytes if it is known to be a whole number of them."""
        self.flush()
        whole = not self.bits and self.off % 8 == 0
        if bits is None:
            bits = not whole
        known = min(self.known, self.off & -self.off) if self.off else self.known
        if bits and not self.bits:
            self.emit(f"bit = at * 8 + {self.off}" if self.off else "bit = at * 8")
        elif bits and self.off:
            self.emit(f"bit += {self.off}")
        elif not bits and self.bits:
            self.emit(f"at = bit + {self.off + 7} >> 3")
            known = 8
        elif not bits and self.off:
            self.emit(f"at += {self.off + 7 >> 3}")
            known = max(8, known)
        self.bits, self.off, self.known = bits, 0, known

    @property
    def here(self) -> str:
        """The position in bits, as an expression."""
        base = "bit" if self.bits else "at * 8"
        return f"{base} + {self.off}" if self.off else base

    # values of fixed size

    def later(self, size: int, code: str, little: bool, signed: bool = False) -> str:
        """Put off reading a value until others can be read with it; returns its variable."""
        name = self.variable()
        self.pending.append(Pending(self.off, size, code, little, signed, name))
        self.off += size
        return name

    def flush(self) -> None:
        """Read what was put off."""
        pending, self.pending = self.pending, []
        if self.bits:
            for p in pending:
                self.emit(f"{p.name} = read_bits(data, bit + {p.off}, {p.size}, {p.little})")
                self._sign(p)
        elif pending:
            self._unpack(_chunks(pending))
        behind, self.behind = self.behind, []
        for line in behind:
            self.emit(line)

    def _unpack(self, chunks: list[Chunk]) -> None:
        order = next((c.little for c in chunks if c.high - c.low > 1 and c.code != "s"), True)
        form, at, foreign = "<" if order else ">", chunks[0].low, []
        for c in chunks:
            size = c.high - c.low
            if c.code == "s" or size not in CODES:
                code, raw = f"{size}s", c.code != "s"
            elif c.little != order and size > 1:
                code, raw = f"{size}s", True
            else:
                code, raw = c.code or CODES[size].upper(), False
            if raw:
                foreign.append(c)
            form += (f"{c.low - at}x" if c.low > at else "") + code
            at = c.high
        names = "".join(f"{c.name}, " for c in chunks)
        unpack = self.constant(struct.Struct(form).unpack_from)
        where = f"at + {chunks[0].low}" if chunks[0].low else "at"
        self.emit(f"{names}= {unpack}(data, {where})")
        for c in foreign:
            if c.code in ("f", "d"):
                self.emit(f"{c.name}, = {self.constant(struct.Struct('<>'[not c.little] + c.code).unpack)}({c.name})")
            else:
                how = "'little'" if c.little else "'big'"
                self.emit(f"{c.name} = int.from_bytes({c.name}, {how}, signed={c.signed})")
        for c in chunks:
            for p in c.fields:
                shift = p.off - c.low * 8 if p.little else c.high * 8 - p.off - p.size
                self.emit(f"{p.name} = {c.name} >> {shift} & {(1 << p.size) - 1}")
                self._sign(p)

    def _sign(self, p: Pending) -> None:
        if p.code in ("f", "d"):
            number = self.constant(struct.Struct(f"<{p.code}").unpack)
            self.emit(f"{p.name}, = {number}({p.name}.to_bytes({p.size >> 3}, 'little'))")
        elif p.signed:
            self.emit(f"{p.name} = ({p.name} ^ {1 << (p.size - 1)}) - {1 << (p.size - 1)}")

    # types

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

    @contextmanager
    def indented(self) -> Iterator[None]:
        self.indent += 1
        yield
        self.indent -= 1

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

    # names

    def find(self, path: tuple[str, ...]) -> Bound:
        """The value at a path: absolute, or by its first name in the structures around, the innermost first.

        Raises Refused if there is none. Values of the packet and of the event's header come from other functions.
        """
        for root in ROOTS:
            if path[: len(root)] == root:
                found = self._within(self.roots.get(root), path[len(root) :])
                return found or self._outer(root, path[len(root) :])
        for names in reversed(self.scopes):
            found = self._within(names, path) if path[0] in names else None
            if found:
                return found
        for root in ROOTS:
            found = self._within(self.roots.get(root), path)
            if found:
                return found
            structure = self.outer.get(root)
            if structure is not None and path[0] in dict(structure.members):
                return self._outer(root, path)
        raise Refused(f"no field {'.'.join(path)} to take a length or a tag from")

    @staticmethod
    def _within(names: Names | None, path: tuple[str, ...]) -> Bound | None:
        at: Bound | Names | None = names
        for name in path:
            at = at.get(name) if isinstance(at, dict) else None
        return at if isinstance(at, Bound) else None

    def _outer(self, root: tuple[str, ...], path: tuple[str, ...]) -> Bound:
        self.refers = True
        at: Type | None = self.outer.get(root)
        for name in path:
            inner = at.members if isinstance(at, Structure) else at.options if isinstance(at, Variant) else ()
            at = dict(inner).get(name)
        if at is None:
            raise Refused(f"no field {'.'.join((*root, *path))} to take a length or a tag from")
        return Bound(at, f"env[{self.constant((*root, *path))}]")

    def root(self, root: tuple[str, ...], structure: Structure | None) -> list[tuple[str, Text]]:
        """Write what reads one of the structures that make up a packet's or an event's head and body."""
        if structure is None:
            return []
        texts, self.roots[root] = self.members(structure)
        return texts


def shown_name(name: str) -> str:
    """A field's name without the underscore that tracers put in front of it, against TSDL's keywords."""
    return name[1:] if name.startswith("_") and len(name) > 1 else name


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


def _chunks(pending: list[Pending]) -> list[Chunk]:
    """What is read as one value each: whole bytes, and bit fields that share bytes or follow each other closely."""
    chunks: list[Chunk] = []
    for p in pending:
        low, high = p.off >> 3, p.off + p.size + 7 >> 3
        last = chunks[-1] if chunks else None
        if p.off % 8 == 0 and p.code:
            chunk = Chunk(low, high, p.code, p.little, p.signed, p.name)
        elif last and last.fields and last.little == p.little and (low < last.high or high - last.low <= 8):
            last.high = high
            last.fields.append(p)
            continue
        else:
            chunk = Chunk(low, high, "", p.little, False, f"w{p.name}", [p])
        if last and chunk.low < last.high:
            raise Refused("bit fields of two byte orders within one byte")
        chunks.append(chunk)
    return chunks
