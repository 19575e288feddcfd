"""Declarations of types in TSDL, the language of CTF's metadata, to the types that they declare."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from tracemend.formats.ctf.names import ROOTS
from tracemend.formats.ctf.tokens import Token, TokenReader, Value, tokens, unescape
from tracemend.formats.ctf.types import (
    Array,
    Enumeration,
    FieldPath,
    Float,
    Integer,
    Place,
    Refused,
    String,
    Structure,
    Type,
    Variant,
)

#: Types written within each other nest no deeper.
DEPTH = 32

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


class Scope:
    """The types that a block has declared, each sort by its name; what isn't here is looked for further out."""

    def __init__(self, outer: Scope | None = None) -> None:
        self.outer = outer
        self.types: dict[tuple[str, str], Type] = {}

    def find(self, sort: str, name: str) -> Type | None:
        scope: Scope | None = self
        while scope is not None:
            if (sort, name) in scope.types:
                return scope.types[sort, name]
            scope = scope.outer
        return None


class TypeParser(TokenReader):
    """Recursive descent over the tokens of types."""

    def __init__(self, path: Path, found: list[Token]) -> None:
        super().__init__(path, found)
        self.depth = 0
        #: the structures that are being declared, with their fields so far, from the outermost in
        self.open: list[tuple[Place, dict[str, Type]]] = []
        self.little = self._byte_order()
        self.integers: dict[str, Type] = {}
        self.rules: dict[str, Callable[[Scope], Type]] = {
            "integer": self._integer,
            "floating_point": self._float,
            "string": self._string,
            "struct": self._struct,
            "variant": self._variant,
            "enum": self._enum,
        }

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

    def type(self, scope: Scope, *, whole: bool = False) -> Type:
        """A type without what a declarator adds to it. ``whole``: no declarator follows."""
        self.depth += 1
        if self.depth > DEPTH:
            self.fail(f"types nested more than {DEPTH} deep")
        line = self.token.line
        try:
            if self.token.text == "const":
                following = self.tokens[self.at + 1]
                self.at += following.kind == "integer" or following.text in KEYWORDS
            if self.token.kind == "integer":
                return self._whole_integer(self.next(), scope)
            rule = self.rules.get(self.token.text) if self.token.kind == "word" else None
            if rule is not None:
                self.next()
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

    def _named(self, scope: Scope, name: str, sort: str = "type") -> Type:
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

    def number(self, attributes: Attributes, name: str, default: int) -> int:
        """The number that an attribute is."""
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

    def _integer(self, scope: Scope) -> Integer:
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
            size=self.number(a, "size", 0),
            signed=self._one_of(a, "signed", dict.fromkeys(TRUE, True) | dict.fromkeys(FALSE, False), False),
            little=self._one_of(a, "byte_order", orders, self.little),
            base=self._one_of(a, "base", BASES, 10),
            text=self._one_of(a, "encoding", ENCODINGS, False),
            clock=clock,
            alignment=self.number(a, "align", 0),
        )

    def _whole_integer(self, token: Token, scope: Scope) -> Type:
        """An integer's type that is one token; what it says is read once."""
        if token.text not in self.integers:
            outer, at = self.tokens, self.at
            self.tokens, self.at = tokens(self.path, token.text, token.line, whole=False), 1
            self.integers[token.text] = self.typed(self._integer, scope, token.line)
            self.tokens, self.at = outer, at
        return self.integers[token.text]

    def _float(self, scope: Scope) -> Float:
        a = self._attributes()
        parts = self.number(a, "exp_dig", 0), self.number(a, "mant_dig", 0)
        if parts not in MANTISSAS:
            raise Refused(f"a floating-point number with exponent and mantissa of {parts[0]} and {parts[1]} bits")
        orders = ORDERS | {"native": self.little}
        little = self._one_of(a, "byte_order", orders, self.little)
        return Float(MANTISSAS[parts], little, self.number(a, "align", 0))

    def _string(self, scope: Scope) -> String:
        if self.token.text == "{":
            self._attributes()
        return String()

    def _definition(self, scope: Scope, sort: str, make: Callable[[], Type]) -> Type:
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

    def _struct(self, scope: Scope) -> Type:
        def make() -> Structure:
            place = Place()
            members = self._members(scope, place)
            align = 1
            if self.accept("align"):
                self.expect("(")
                align = self.integer()
                self.expect(")")
            return Structure(members, align, place)

        return self._definition(scope, "struct", make)

    def _variant(self, scope: Scope) -> Type:
        return self._definition(scope, "variant", lambda: Variant((), self._members(scope)))

    def _tag(self) -> FieldPath:
        self.expect("<")
        path = self._path()
        self.expect(">")
        return path

    def _path(self) -> FieldPath:
        """A path to a field: what a structure around it here has by its first name is meant wherever the type is used
        (4.2.4), what is in none of them is looked for where it is used."""
        path = self.dotted()
        if not any(path[: len(root)] == root for root in ROOTS):
            for place, members in reversed(self.open):
                if path[0] in members:
                    return place, *path
        return path

    def _members(self, outer: Scope, place: Place | None = None) -> tuple[tuple[str, Type], ...]:
        """``{ type name; ... }``, with types declared for this block only. ``place``: of a structure, not a variant."""
        scope = Scope(outer)
        members: dict[str, Type] = {}
        if place is not None:
            self.open.append((place, members))
        self.expect("{")
        while not self.accept("}"):
            if self.declaration(scope):
                continue
            line = self.token.line
            kind = self.type(scope)
            if self.accept(";"):  # a struct, variant or enum that only gets its name here
                continue
            for name, declared in self._declarators(kind, line):
                if name in members:
                    self.fail(f"two fields named {name}", line)
                members[name] = declared
        if place is not None:
            self.open.pop()
        return tuple(members.items())

    def _declarators(self, kind: Type, line: int) -> list[tuple[str, Type]]:
        """``name``, ``name[length]``, several with commas between them, and the semicolon."""
        found = []
        while True:
            name = self.word("a field's name")
            lengths: list[int | FieldPath] = []
            while self.accept("["):
                lengths.append(self.integer() if self.token.kind != "word" else self._path())
                self.expect("]")
            declared = kind
            for length in reversed(lengths):
                declared = self._array(declared, length, line)
            found.append((name, declared))
            if not self.accept(","):
                self.expect(";")
                return found

    def _array(self, element: Type, length: int | FieldPath, line: int) -> Type:
        if isinstance(length, int) and length < 0:
            self.fail(f"an array of {length} elements", line)
        return self.typed(lambda n: Array(element, n), length, line)

    def _enum(self, scope: Scope) -> Type:
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
            name = unescape(token.text) if token.kind == "string" else token.text
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

    def declaration(self, scope: Scope) -> bool:
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
