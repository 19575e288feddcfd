"""CTF's metadata: the text of TSDL (CTF 1.8, chapters 6 to 8), plain or in packets, into types, streams and events."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn, TypeVar
from uuid import UUID

from tracemend.errors import TraceError
from tracemend.formats.ctf.types import Array, Enumeration, Float, Integer, Refused, String, Structure, Type, Variant
from tracemend.formats.text import decode

#: How a file of metadata begins: as text, or as packets in either byte order.
TEXT_MAGIC = b"/* CTF 1."
PACKET_MAGIC = 0x75D11D57
#: How metadata of CTF 2 begins: each piece of JSON behind a record separator (RFC 7464).
JSON_MAGIC = b"\x1e"
NO_CTF_2 = (
    "CTF 2 (JSON text sequence) isn't read yet; babeltrace2 from 2.1 on converts it: "
    'babeltrace2 TRACE --component=sink.ctf.fs --params=\'path="OUT",ctf-version="1"\''
)
#: A packet's header: magic, uuid, checksum, content and packet size in bits, compression, encryption, checksum scheme,
#: major and minor version.
PACKET_HEADER = "I16sIIIBBBBB"
#: Metadata larger than this is damage: LTTng's for a whole kernel has one or two mebibytes.
MOST_BYTES = 1 << 24
#: Types written within each other nest no deeper.
DEPTH = 32

NS = 1_000_000_000

#: The context that marks events as inferred by this package, and the entry of the environment that counts them.
INFERRED, INFERRED_EVENTS = "tracemend_inferred", "tracemend_events"
#: What the part of the metadata begins with that a mending has added; the rest of the comment is JSON.
MERGED = b"/* tracemend merged: "


@dataclass(frozen=True, slots=True)
class Clock:
    """Cycles since an origin: ``offset_s`` seconds and ``offset`` cycles before value 0."""

    name: str
    frequency: int = NS
    offset_s: int = 0
    offset: int = 0

    def ns(self, value: int) -> int:
        """Nanoseconds since the origin, rounded down."""
        return self.offset_s * NS + (self.offset + value) * NS // self.frequency


@dataclass(frozen=True, slots=True)
class EventClass:
    """One kind of event: its own context and its fields."""

    id: int
    name: str
    context: Structure | None
    fields: Structure | None
    line: int


@dataclass(slots=True)
class StreamClass:
    """One kind of stream: what stands around each packet's and each event's own fields."""

    id: int
    packet_context: Structure | None = None
    event_header: Structure | None = None
    event_context: Structure | None = None
    events: dict[int, EventClass] = field(default_factory=dict)
    line: int = 0

    @property
    def inferred(self) -> bool:
        """Whether its events are none of the tracer's: an earlier mending inferred them."""
        return self.event_context is not None and any(name == INFERRED for name, _ in self.event_context.members)


@dataclass(slots=True)
class Metadata:
    """What a trace's metadata says."""

    path: Path
    little: bool
    uuid: bytes | None = None
    packet_header: Structure | None = None
    streams: dict[int, StreamClass] = field(default_factory=dict)
    clocks: dict[str, Clock] = field(default_factory=dict)
    env: dict[str, str | int] = field(default_factory=dict)
    #: Whether each stream and event tells its stream's id: where there is one kind of stream, they needn't.
    numbered: bool = True


def recognise(head: bytes) -> bool:
    """Whether a file begins as metadata does; that of CTF 2 counts, too, so that it can be named."""
    json = head.startswith(JSON_MAGIC) and head[1:].lstrip()[:1] in (b"", b"{")
    return json or head.startswith(TEXT_MAGIC) or head[:4] in (struct.pack(o + "I", PACKET_MAGIC) for o in "<>")


def read_metadata(path: Path) -> Metadata:
    """Read a trace's metadata; raises TraceError with the line (of the text that packets hold, if it is in packets)."""
    if path.stat().st_size > MOST_BYTES:
        raise TraceError(path, 0, f"metadata of more than {MOST_BYTES >> 20} MiB")
    text = unpack(path, path.read_bytes())
    if text.startswith(JSON_MAGIC):
        raise TraceError(path, 0, NO_CTF_2)
    return _Parser(path, tokens(path, decode(text))).metadata()


def unpack(path: Path, raw: bytes) -> bytes:
    """The text that metadata packets hold; text as it is. Raises TraceError with the byte."""
    order = next((o for o in "<>" if raw[:4] == struct.pack(o + "I", PACKET_MAGIC)), None)
    if order is None:
        return raw
    header = struct.Struct(order + PACKET_HEADER)
    parts, at = [], 0
    while at < len(raw):
        if at + header.size > len(raw):
            raise TraceError(path, 0, f"byte {at}: the metadata packet is cut short")
        magic, _, _, content, size, *schemes, major, minor = header.unpack_from(raw, at)
        if magic != PACKET_MAGIC:
            raise TraceError(path, 0, f"byte {at}: no metadata packet")
        if any(schemes[:2]):
            raise TraceError(path, 0, f"byte {at}: compressed or encrypted metadata can't be read")
        if major == 2:
            raise TraceError(path, 0, NO_CTF_2)
        if (major, minor) != (1, 8):
            raise TraceError(path, 0, f"byte {at}: CTF {major}.{minor}; only 1.8 can be read")
        if content % 8 or size % 8 or not header.size * 8 <= content <= size or at + size // 8 > len(raw):
            raise TraceError(path, 0, f"byte {at}: a metadata packet of {size} bits with {content} of content")
        parts.append(raw[at + header.size : at + content // 8])
        at += size // 8
    return b"".join(parts)


@dataclass(frozen=True, slots=True)
class Token:
    """``kind``: word, number, string, sign or end."""

    kind: str
    text: str
    line: int


TOKEN = re.compile(
    r"(?P<blank>\s+|//[^\n]*|/\*.*?\*/)"
    r"|(?P<word>[A-Za-z_]\w*)"
    r"|(?P<number>0[xX][0-9a-fA-F]+|\d+)(?:[uUlL]*)\b"
    r'|"(?P<string>(?:[^"\\\n]|\\.)*)"'
    r"|(?P<sign>\.\.\.|:=|[{}()\[\]<>;:,.=*+-])",
    re.DOTALL | re.ASCII,
)
ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{1,2}|[0-7]{1,3}|.)", re.DOTALL)
ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


def tokens(path: Path, text: str) -> list[Token]:
    """Cut the text into tokens; raises TraceError with the line."""
    found, at, line = [], 0, 1
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            raise TraceError(path, line, f"no TSDL: {text[at : at + 40]!r}")
        kind = match.lastgroup or ""
        if kind != "blank":
            found.append(Token(kind, match[kind], line))
        line += text.count("\n", at, match.end())
        at = match.end()
    return [*found, Token("end", "the end", line)]


def _unescape(text: str) -> str:
    def character(match: re.Match[str]) -> str:
        code = match[1]
        if code[0] == "x" and len(code) > 1:
            return chr(int(code[1:], 16))
        return chr(int(code, 8)) if code[0] in "01234567" else ESCAPED.get(code, code)

    return ESCAPE.sub(character, text)


Value = int | str
Attributes = dict[str, tuple[Value, int]]
_T = TypeVar("_T")
_In = TypeVar("_In")

KEYWORDS = ("integer", "floating_point", "string", "struct", "variant", "enum")
TRUE, FALSE = ("true", "TRUE", "1"), ("false", "FALSE", "0")
ORDERS = {"le": True, "be": False, "network": False}
BASES = {
    **dict.fromkeys(("decimal", "dec", "d", "i", "u", "10"), 10),
    **dict.fromkeys(("hexadecimal", "hex", "x", "X", "p", "16"), 16),
    **dict.fromkeys(("octal", "oct", "o", "8"), 8),
    **dict.fromkeys(("binary", "b", "2"), 2),
}
ENCODINGS = {"none": False, "NONE": False, "UTF8": True, "utf8": True, "UTF-8": True, "ASCII": True, "ascii": True}
MANTISSAS = {(8, 24): 32, (11, 53): 64}


class _Scope:
    """The types that a block has declared, each sort by its name; what isn't here is looked for further out."""

    def __init__(self, outer: _Scope | None = None) -> None:
        self.outer = outer
        self.types: dict[tuple[str, str], Type] = {}

    def find(self, sort: str, name: str) -> Type | None:
        scope: _Scope | None = self
        while scope is not None:
            if (sort, name) in scope.types:
                return scope.types[sort, name]
            scope = scope.outer
        return None


@dataclass(slots=True)
class _Block:
    """What stands in ``trace { }``, ``stream { }`` and the like: attributes by ``=``, types by ``:=``."""

    line: int
    attributes: Attributes
    types: dict[str, Type]


class _Parser:
    """Recursive descent over the tokens."""

    def __init__(self, path: Path, found: list[Token]) -> None:
        self.path, self.tokens, self.at, self.depth = path, found, 0, 0
        self.little = self._byte_order()

    # what every rule uses

    @property
    def token(self) -> Token:
        return self.tokens[self.at]

    def fail(self, message: str, line: int = 0) -> NoReturn:
        raise TraceError(self.path, line or self.token.line, message)

    def next(self) -> Token:
        token = self.token
        self.at += token.kind != "end"
        return token

    def accept(self, *texts: str) -> bool:
        """Pass over these tokens if they stand here."""
        here = self.tokens[self.at : self.at + len(texts)]
        if len(here) < len(texts) or any(t.kind == "string" or t.text != x for t, x in zip(here, texts, strict=True)):
            return False
        self.at += len(texts)
        return True

    def expect(self, text: str) -> None:
        if not self.accept(text):
            self.fail(f"{text!r} expected, not {self.token.text[:40]!r}")

    def word(self, what: str) -> str:
        if self.token.kind != "word":
            self.fail(f"{what} expected, not {self.token.text[:40]!r}")
        return self.next().text

    def integer(self) -> int:
        sign = -1 if self.accept("-") else 1
        self.accept("+")
        if self.token.kind != "number":
            self.fail(f"a number expected, not {self.token.text[:40]!r}")
        text = self.next().text
        if len(text) > 40:
            self.fail("a number that no integer holds")
        octal = len(text) > 1 and text.isdigit() and text[0] == "0"
        try:
            return sign * int(text, 8 if octal else 0)
        except ValueError:
            self.fail(f"no number: {text!r}")

    def dotted(self) -> tuple[str, ...]:
        """A path: names with dots between them."""
        names = [self.word("a name")]
        while self.accept("."):
            names.append(self.word("a name"))
        return tuple(names)

    def value(self) -> Value:
        """A number, a string or a name (dotted)."""
        if self.token.kind == "string":
            text = ""
            while self.token.kind == "string":  # strings side by side are one
                text += _unescape(self.next().text)
            return text
        return ".".join(self.dotted()) if self.token.kind == "word" else self.integer()

    def typed(self, make: Callable[[_In], Type], given: _In, line: int) -> Type:
        """What ``make`` makes of what it is given, with the line where a type is refused."""
        try:
            return make(given)
        except Refused as e:
            self.fail(str(e), line)

    def _byte_order(self) -> bool:
        """Whether the trace's own byte order is little-endian: types in front of ``trace { }`` need it, too."""
        depth, inside, order = 0, False, None
        for i, token in enumerate(self.tokens[:-1]):
            if token.kind == "sign" and token.text in "{}":
                depth += 1 if token.text == "{" else -1
            if depth == 0:
                inside = token.kind == "word" and token.text == "trace"
            if inside and depth == 1 and token.kind == "word" and token.text == "byte_order":
                order = self.tokens[min(i + 2, len(self.tokens) - 1)]
                break
        if order is None or order.text not in ORDERS:
            self.fail("no trace { } with a byte_order", self.tokens[-1].line if order is None else order.line)
        return ORDERS[order.text]

    # types

    def type(self, scope: _Scope, *, whole: bool = False) -> Type:
        """A type without what a declarator adds to it. ``whole``: no declarator follows."""
        self.depth += 1
        if self.depth > DEPTH:
            self.fail(f"types nested more than {DEPTH} deep")
        line = self.token.line
        try:
            if self.token.text == "const" and self.tokens[self.at + 1].text in KEYWORDS:
                self.next()
            rules: tuple[tuple[str, Callable[[_Scope], Type]], ...] = (
                ("integer", self._integer),
                ("floating_point", self._float),
                ("string", self._string),
                ("struct", self._struct),
                ("variant", self._variant),
                ("enum", self._enum),
            )
            for word, rule in rules:
                if self.accept(word):
                    return self.typed(rule, scope, line)
            return self._named(scope, self._name_of_type(whole))
        finally:
            self.depth -= 1

    def _name_of_type(self, whole: bool) -> str:
        """The words of a type's name: all that stand here, but for the one that is declared by it."""
        words: list[str] = []
        while self.token.kind == "word" or (self.token.text == "*" and self.token.kind == "sign"):
            following = self.tokens[self.at + 1]
            last = following.kind != "word" and following.text != "*"
            if words and self.token.kind == "word" and last and not whole:
                break
            words.append(self.next().text)
        if not words:
            self.fail(f"a type expected, not {self.token.text[:40]!r}")
        return " ".join(words)

    def _named(self, scope: _Scope, name: str, sort: str = "type") -> Type:
        found = scope.find(sort, name) or scope.find(sort, name.removeprefix("const "))
        if found is None:
            self.fail(f"no such {sort}: {name}", self.tokens[self.at - 1].line)
        return found

    def _attributes(self) -> Attributes:
        """``{ name = value; ... }``."""
        found: Attributes = {}
        self.expect("{")
        while not self.accept("}"):
            line = self.token.line
            name = ".".join(self.dotted())
            self.expect("=")
            found[name] = self.value(), line
            self.expect(";")
        return found

    def _number(self, attributes: Attributes, name: str, default: int) -> int:
        value, line = attributes.get(name, (default, 0))
        if not isinstance(value, int):
            self.fail(f"{name} is no number: {value!r}", line)
        return value

    def _one_of(self, attributes: Attributes, name: str, known: dict[str, _T], default: _T) -> _T:
        if name not in attributes:
            return default
        value, line = attributes[name]
        if str(value) not in known:
            self.fail(f"no {name}: {str(value)[:40]!r}", line)
        return known[str(value)]

    def _integer(self, scope: _Scope) -> Integer:
        a = self._attributes()
        orders = ORDERS | {"native": self.little}
        clock = None
        if "map" in a:
            path = str(a["map"][0]).split(".")
            if len(path) != 3 or path[0] != "clock" or path[2] != "value":
                self.fail(f"map is no clock's value: {a['map'][0]!r}", a["map"][1])
            clock = path[1]
        if "size" not in a:
            self.fail("an integer without a size")
        return Integer(
            size=self._number(a, "size", 0),
            signed=self._one_of(a, "signed", dict.fromkeys(TRUE, True) | dict.fromkeys(FALSE, False), False),
            little=self._one_of(a, "byte_order", orders, self.little),
            base=self._one_of(a, "base", BASES, 10),
            text=self._one_of(a, "encoding", ENCODINGS, False),
            clock=clock,
            alignment=self._number(a, "align", 0),
        )

    def _float(self, scope: _Scope) -> Float:
        a = self._attributes()
        parts = self._number(a, "exp_dig", 0), self._number(a, "mant_dig", 0)
        if parts not in MANTISSAS:
            raise Refused(f"a floating-point number with exponent and mantissa of {parts[0]} and {parts[1]} bits")
        orders = ORDERS | {"native": self.little}
        little = self._one_of(a, "byte_order", orders, self.little)
        return Float(MANTISSAS[parts], little, self._number(a, "align", 0))

    def _string(self, scope: _Scope) -> String:
        if self.token.text == "{":
            self._attributes()
        return String()

    def _definition(self, scope: _Scope, sort: str, make: Callable[[], Type]) -> Type:
        """``sort name { ... }`` defines and names a type, ``sort name`` is one that was defined."""
        name = self.next().text if self.token.kind == "word" else ""
        tag = self._tag() if sort == "variant" and self.token.text == "<" else ()
        if self.token.text not in ("{", ":") or (self.token.text == ":" and sort != "enum"):
            if not name:
                self.fail(f"'{{' expected, not {self.token.text[:40]!r}")
            found = self._named(scope, name, sort)
        else:
            found = make()
            if name:
                if (sort, name) in scope.types:
                    self.fail(f"{sort} {name} is there already")
                scope.types[sort, name] = found
        if isinstance(found, Variant) and tag:
            return Variant(tag, found.options)
        return found

    def _struct(self, scope: _Scope) -> Type:
        def make() -> Structure:
            members = self._members(scope)
            align = 1
            if self.accept("align"):
                self.expect("(")
                align = self.integer()
                self.expect(")")
            return Structure(members, align)

        return self._definition(scope, "struct", make)

    def _variant(self, scope: _Scope) -> Type:
        return self._definition(scope, "variant", lambda: Variant((), self._members(scope)))

    def _tag(self) -> tuple[str, ...]:
        self.expect("<")
        path = self.dotted()
        self.expect(">")
        return path

    def _members(self, outer: _Scope) -> tuple[tuple[str, Type], ...]:
        """``{ type name; ... }``, with types declared for this block only."""
        scope = _Scope(outer)
        members: dict[str, Type] = {}
        self.expect("{")
        while not self.accept("}"):
            if self._declaration(scope):
                continue
            line = self.token.line
            kind = self.type(scope)
            if self.accept(";"):  # a struct, variant or enum that only gets its name here
                continue
            for name, declared in self._declarators(kind, line):
                if name in members:
                    self.fail(f"two fields named {name}", line)
                members[name] = declared
        return tuple(members.items())

    def _declarators(self, kind: Type, line: int) -> list[tuple[str, Type]]:
        """``name``, ``name[length]``, several with commas between them, and the semicolon."""
        found = []
        while True:
            name = self.word("a field's name")
            lengths: list[int | tuple[str, ...]] = []
            while self.accept("["):
                lengths.append(self.integer() if self.token.kind != "word" else self.dotted())
                self.expect("]")
            declared = kind
            for length in reversed(lengths):
                declared = self._array(declared, length, line)
            found.append((name, declared))
            if not self.accept(","):
                self.expect(";")
                return found

    def _array(self, element: Type, length: int | tuple[str, ...], line: int) -> Type:
        if isinstance(length, int) and length < 0:
            self.fail(f"an array of {length} elements", line)
        return self.typed(lambda n: Array(element, n), length, line)

    def _enum(self, scope: _Scope) -> Type:
        def make() -> Enumeration:
            container = self.type(scope, whole=True) if self.accept(":") else self._named(scope, "int")
            if isinstance(container, Enumeration):
                container = container.container
            if not isinstance(container, Integer):
                self.fail("an enumeration of something else than integers")
            return Enumeration(container, self._labels())

        return self._definition(scope, "enum", make)

    def _labels(self) -> tuple[tuple[str, int, int], ...]:
        """``{ name, name = low, "name" = low ... high }``: without a value, one more than the one before."""
        labels, following = [], 0
        self.expect("{")
        while not self.accept("}"):
            if self.token.kind not in ("word", "string"):
                self.fail(f"a label expected, not {self.token.text[:40]!r}")
            token = self.next()
            name = _unescape(token.text) if token.kind == "string" else token.text
            low = high = following
            if self.accept("="):
                low = high = self.integer()
                if self.accept("..."):
                    high = self.integer()
            if high < low:
                self.fail(f"label {name[:40]!r} goes from {low} to {high}")
            labels.append((name, low, high))
            following = high + 1
            if not self.accept(","):
                self.expect("}")
                break
        return tuple(labels)

    def _declaration(self, scope: _Scope) -> bool:
        """``typealias`` or ``typedef``, if one stands here."""
        line = self.token.line
        if self.accept("typealias"):
            kind = self.type(scope, whole=True)
            self.expect(":=")
            words = []
            while not self.accept(";"):
                if self.token.kind != "word" and self.token.text != "*":
                    self.fail(f"a type's name expected, not {self.token.text[:40]!r}")
                words.append(self.next().text)
            if "*" in words and isinstance(kind, Integer) and kind.base == 10:
                kind = replace(kind, base=16)  # pointers are hexadecimal unless it is said otherwise
            declared = [(" ".join(words), kind)]
        elif self.accept("typedef"):
            declared = self._declarators(self.type(scope), line)
        else:
            return False
        for name, alias in declared:
            if ("type", name) in scope.types:
                self.fail(f"type {name} is there already", line)
            scope.types["type", name] = alias
        return True

    # blocks

    def block(self, outer: _Scope) -> _Block:
        """``{ name = value; path := type; ... }``."""
        scope = _Scope(outer)
        found = _Block(self.token.line, {}, {})
        self.expect("{")
        while not self.accept("}"):
            line = self.token.line
            if self._declaration(scope):
                continue
            if self.token.text in ("struct", "variant", "enum"):
                self.type(scope, whole=True)
                self.expect(";")
                continue
            name = ".".join(self.dotted())
            if self.accept(":="):
                found.types[name] = self.type(scope, whole=True)
            else:
                self.expect("=")
                found.attributes[name] = self.value(), line
            self.expect(";")
        return found

    def metadata(self) -> Metadata:
        """The whole of it."""
        result = Metadata(self.path, self.little)
        root = _Scope()
        events: list[_Block] = []
        while self.token.kind != "end":
            line = self.token.line
            if self.accept(";") or self._declaration(root):
                continue
            if self.token.text in ("struct", "variant", "enum"):
                self.type(root, whole=True)
                self.expect(";")
                continue
            sort = self.word("a block")
            if sort not in ("trace", "env", "clock", "stream", "event", "callsite"):
                self.fail(f"no block of metadata: {sort}", line)
            block = self.block(root)
            self.accept(";")
            if sort == "trace":
                self._trace(block, result)
            elif sort == "env":
                result.env |= {name: value for name, (value, _) in block.attributes.items()}
            elif sort == "clock":
                clock = self._clock(block)
                result.clocks[clock.name] = clock
            elif sort == "stream":
                self._stream(block, result)
            elif sort == "event":
                events.append(block)
        for block in events:  # their streams may stand behind them
            self._event(block, result)
        return result

    def _structure(self, block: _Block, name: str) -> Structure | None:
        found = block.types.get(name)
        if found is not None and not isinstance(found, Structure):
            self.fail(f"{name} is no struct", block.line)
        return found

    def _trace(self, block: _Block, result: Metadata) -> None:
        a = block.attributes
        version = self._number(a, "major", 1), self._number(a, "minor", 8)
        if version != (1, 8):
            self.fail(f"CTF {version[0]}.{version[1]}; only 1.8 can be read", block.line)
        if "uuid" in a:
            try:
                result.uuid = UUID(str(a["uuid"][0])).bytes
            except ValueError:
                self.fail(f"no UUID: {str(a['uuid'][0])[:40]!r}", a["uuid"][1])
        result.packet_header = self._structure(block, "packet.header")

    def _clock(self, block: _Block) -> Clock:
        a = block.attributes
        frequency = self._number(a, "freq", NS)
        if frequency < 1:
            self.fail(f"a clock of {frequency} Hz", block.line)
        name = str(a.get("name", ("", 0))[0])
        return Clock(name, frequency, self._number(a, "offset_s", 0), self._number(a, "offset", 0))

    def _stream(self, block: _Block, result: Metadata) -> None:
        stream = StreamClass(
            self._number(block.attributes, "id", 0),
            self._structure(block, "packet.context"),
            self._structure(block, "event.header"),
            self._structure(block, "event.context"),
            line=block.line,
        )
        result.numbered &= "id" in block.attributes
        if stream.id in result.streams:
            self.fail(f"two streams with id {stream.id}", block.line)
        result.streams[stream.id] = stream

    def _event(self, block: _Block, result: Metadata) -> None:
        a = block.attributes
        if not result.streams:  # a trace may have one kind of stream and nothing to say about it
            result.streams[0] = StreamClass(0, line=block.line)
        result.numbered &= "stream_id" in a
        only = next(iter(result.streams)) if len(result.streams) == 1 else 0
        stream = result.streams.get(self._number(a, "stream_id", only))
        if stream is None:
            self.fail(f"an event of stream {self._number(a, 'stream_id', only)}, which isn't there", block.line)
        event = EventClass(
            self._number(a, "id", 0),
            str(a["name"][0]) if "name" in a else f"event_{self._number(a, 'id', 0)}",
            self._structure(block, "context"),
            self._structure(block, "fields"),
            block.line,
        )
        if event.id in stream.events:
            self.fail(f"two events with id {event.id} in stream {stream.id}", block.line)
        stream.events[event.id] = event
