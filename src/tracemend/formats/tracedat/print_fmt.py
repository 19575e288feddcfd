"""A tracepoint's ``print fmt``, parsed: a C format string and C expressions over the record's fields."""

from __future__ import annotations

import re

from tracemend.formats.ringbuffer import Field, Kind
from tracemend.formats.tracedat.expressions import (
    BINARY,
    TYPES,
    UNARY,
    WORD,
    Expression,
    UnprintableError,
    binary,
    choice,
    constant,
    converted,
    flag_names,
    numeric,
    symbol_name,
    unary,
)

#: A ``print fmt`` that is longer (characters), has more that changes from record to record, or nests deeper isn't
#: evaluated. The kernel's longest has 16,000 characters.
LONGEST, MOST_CHANGING, DEEPEST = 1 << 17, 300, 100

_TOKEN = re.compile(
    r"""\s*(?:(?P<number>0[xX][0-9a-fA-F]{1,16}|\d{1,20})(?:[uUlL]{0,3})\b|(?P<name>[A-Za-z_]\w*)|(?P<char>'[^'\\]')"""
    r"""|(?P<text>"(?:[^"\\]|\\.)*")|(?P<sign>->|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^~!<>?:(),{}\[\].]))""",
    re.S,
)
_ESCAPE = re.compile(r"\\(.)", re.S)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0"}
_TYPE_WORDS = frozenset(
    ("unsigned", "signed", "char", "short", "int", "long", "const", "struct", "union", "enum", "void", "bool")
)
#: Binary operators by how tightly they bind.
_BINDING = {
    s: n
    for n, row in enumerate(
        (
            ("||",),
            ("&&",),
            ("|",),
            ("^",),
            ("&",),
            ("==", "!="),
            ("<", ">", "<=", ">="),
            ("<<", ">>"),
            ("+", "-"),
            ("*", "/", "%"),
        )
    )
    for s in row
}


class Parser:
    """One ``print fmt``, cut into tokens and read from left to right."""

    def __init__(self, text: str, kind: Kind) -> None:
        if len(text) > LONGEST:
            raise UnprintableError
        self.kind = kind
        self.fields: dict[str, Field] = {}
        self.changing = 0
        self.tokens: list[tuple[str, str]] = []
        self.depth = 0
        at, end = 0, len(text.rstrip())
        while at < end:
            match = _TOKEN.match(text, at)
            if match is None:
                raise UnprintableError
            self.tokens.append((match.lastgroup or "", match[match.lastgroup or 0]))
            at = match.end()
        self.tokens.append(("end", ""))
        self.at = 0

    def next(self) -> tuple[str, str]:
        token = self.tokens[self.at]
        self.at += self.at < len(self.tokens) - 1
        return token

    def peek(self, ahead: int = 0) -> str:
        """The sign or name that comes; empty for a text or the end."""
        kind, text = self.tokens[min(self.at + ahead, len(self.tokens) - 1)]
        return text if kind in ("sign", "name") else ""

    def take(self, *texts: str) -> None:
        for text in texts:
            if self.next()[1] != text:
                raise UnprintableError

    def text(self) -> str:
        """One text, or several in a row, without quotes and escapes."""
        parts = []
        while self.tokens[self.at][0] == "text":
            parts.append(_ESCAPE.sub(lambda m: _ESCAPES.get(m[1], m[1]), self.next()[1][1:-1]))
        if not parts:
            raise UnprintableError
        return "".join(parts)

    def expression(self, binding: int = -1) -> Expression:
        """An expression of operators that bind tighter; -1: with ``? :``."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise UnprintableError
        left = self.unary()
        while (sign := self.peek()) in _BINDING and _BINDING[sign] > binding:
            self.next()
            right = self.number(_BINDING[sign])
            left = self.changed(binary(BINARY[sign], numeric(left), right))
        if binding < 0 and self.peek() == "?":
            self.next()
            yes = self.expression()
            self.take(":")
            no = self.expression()
            if yes.is_text != no.is_text:
                raise UnprintableError
            left = self.changed(choice(numeric(left).of, yes, no))
        self.depth -= 1
        return left

    def changed(self, made: Expression) -> Expression:
        """Count what has to be computed anew for each record: as deep as that is, Python must call."""
        self.changing += made.constant is None
        if self.changing > MOST_CHANGING:
            raise UnprintableError
        return made

    def number(self, binding: int = -1) -> Expression:
        return numeric(self.expression(binding))

    def unary(self) -> Expression:
        self.depth += 1
        if self.depth > DEEPEST:
            raise UnprintableError
        made = self._unary()
        self.depth -= 1
        return made

    def _unary(self) -> Expression:
        kind, _ = self.tokens[self.at]
        if kind == "text":
            words = self.text()
            return Expression(lambda row: words, True)
        kind, word = self.next()
        if kind == "number":
            return constant(int(word, 16 if word[:2] in ("0x", "0X") else 10))
        if kind == "char":
            return constant(ord(word[1]) & 0xFF)
        if word == "(":
            cast = self.cast()
            if cast is not None:
                return self.changed(converted(cast, self.unary()))
            inner = self.expression()
            self.take(")")
            return inner
        if word in ("-", "~", "!", "+"):
            return self.changed(unary(UNARY[word], numeric(self.unary())))
        if word == "REC":
            self.take("->")
            return self.field(self.next()[1])
        if word == "__get_str":
            self.take("(")
            made = self.field(self.next()[1])
            self.take(")")
            if not made.is_text:
                raise UnprintableError
            return made
        if word in ("__print_flags", "__print_symbolic"):
            return self.table(word == "__print_flags")
        raise UnprintableError

    def cast(self) -> str | None:
        """The type of a cast whose parenthesis is open, up to behind its end; None where it is none."""
        words, at = [], self.at
        while self.tokens[at][0] == "name" or self.tokens[at][1] == "*":
            words.append(self.tokens[at][1])
            at += 1
        if not words or self.tokens[at][1] != ")" or words[0] == "*" or words[0] == "REC":
            return None
        if not (words[0] in _TYPE_WORDS or words[0] in TYPES or words[0].endswith("_t") or words[-1] == "*"):
            return None
        self.at = at + 1
        return " ".join(words)

    def field(self, name: str) -> Expression:
        field = self.kind.by_name.get(name)
        if field is None:
            raise UnprintableError
        index = None
        if self.peek() == "[":
            self.next()
            index = self.expression().constant
            self.take("]")
            if not isinstance(index, int) or field.count < 2 or index >= field.count or field.size % field.count:
                raise UnprintableError
            size = field.size // field.count
            field = Field(f"{name}[{index}]", field.offset + index * size, size, field.signed, False, False)
        elif not field.is_number and not field.text:
            raise UnprintableError
        self.fields.setdefault(field.name, field)
        k = list(self.fields).index(field.name)
        if field.text:
            return Expression(lambda row: row[k], True)
        return Expression(lambda row: row[k] & WORD)

    def table(self, flags: bool) -> Expression:
        """``__print_flags(value, "|", {1, "A"}, ...)`` or ``__print_symbolic(value, {1, "A"}, ...)``."""
        self.take("(")
        value = self.number()
        between = ""
        if flags:
            self.take(",")
            between = self.text()
        names: list[tuple[int, str]] = []
        while self.peek() == ",":
            self.take(",", "{")
            bits = self.number()
            self.take(",")
            if self.peek() == "(":  # the end of the table: ((void *)0)
                self.expression()
            else:
                if bits.constant is None:
                    raise UnprintableError
                names.append((bits.constant, self.text()))
            self.take("}")
        self.take(")")
        return Expression(flag_names(value.of, between, names) if flags else symbol_name(value.of, names), True)
