"""Records as text, by their tracepoint's ``print fmt``: what ``trace-cmd report`` prints behind an event's name.

A ``print fmt`` is a C format string and C expressions over the record's fields (``REC->prev_pid``), ``__get_str``,
``__print_flags`` and ``__print_symbolic``. Numbers are 64 bits, as trace-cmd takes them. What is beyond that (names of
functions from kallsyms, kernel macros, bit masks, dumps) makes an event be told as ``field=value``. trace-cmd spells
sched_switch and sched_wakeup its own way, and so does this.

Axis legend: N records.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from tracemend.formats.ringbuffer import Field, Ints, Kind, Stream, say_fields, values

WORD = (1 << 64) - 1
#: A ``print fmt`` that is longer (characters), has more conversions or more that changes from record to record, or
#: nests deeper isn't evaluated. The kernel's longest has 16,000 characters.
LONGEST, MOST_CONVERSIONS, MOST_CHANGING, DEEPEST = 1 << 17, 64, 300, 100

#: A record's fields, in the order in which the expression names them.
Row = tuple[Any, ...]
Evaluate = Callable[[Row], Any]

_TOKEN = re.compile(
    r"""\s*(?:(?P<number>0[xX][0-9a-fA-F]{1,16}|\d{1,20})(?:[uUlL]{0,3})\b|(?P<name>[A-Za-z_]\w*)|(?P<char>'[^'\\]')"""
    r"""|(?P<text>"(?:[^"\\]|\\.)*")|(?P<sign>->|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^~!<>?:(),{}\[\].]))""",
    re.S,
)
_CONVERSION = re.compile(
    r"%(?P<flags>[-+ #0]*)(?P<width>\d{0,3})(?P<precise>(?:\.\d{0,3})?)(?P<long>hh|h|ll|l|L|q|z|t|j|)(?P<c>.)"
)
_ESCAPE = re.compile(r"\\(.)", re.S)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0"}
#: Bits and sign of the types that a cast can name; a cast to any other leaves a number as it is.
_TYPES = {
    **{f"{s}{b}": (b, s == "s") for s in "us" for b in (8, 16, 32, 64)},
    **{f"__{s}{b}": (b, s == "s") for s in "us" for b in (8, 16, 32, 64)},
    "unsigned char": (8, False),
    "unsigned short": (16, False),
    "short": (16, True),
    "unsigned int": (32, False),
    "unsigned": (32, False),
    "int": (32, True),
}
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
_BINARY: dict[str, Callable[[int, int], int]] = {
    "|": lambda a, b: a | b,
    "^": lambda a, b: a ^ b,
    "&": lambda a, b: a & b,
    "==": lambda a, b: int(a == b),
    "!=": lambda a, b: int(a != b),
    "<": lambda a, b: int(a < b),
    ">": lambda a, b: int(a > b),
    "<=": lambda a, b: int(a <= b),
    ">=": lambda a, b: int(a >= b),
    "<<": lambda a, b: a << (b & 63) & WORD,
    ">>": lambda a, b: a >> (b & 63),
    "+": lambda a, b: a + b & WORD,
    "-": lambda a, b: a - b & WORD,
    "*": lambda a, b: a * b & WORD,
    "/": lambda a, b: a // b if b else 0,
    "%": lambda a, b: a % b if b else 0,
    "&&": lambda a, b: int(bool(a and b)),
    "||": lambda a, b: int(bool(a or b)),
}


_UNARY: dict[str, Callable[[int], int]] = {
    "-": lambda a: -a & WORD,
    "~": lambda a: ~a & WORD,
    "!": lambda a: int(not a),
    "+": lambda a: a,
}


class UnprintableError(Exception):
    """A ``print fmt`` that isn't evaluated."""


@dataclass(frozen=True, slots=True)
class Expression:
    """What an expression is worth for a record: a text, or an unsigned number of 64 bits. ``constant``: that number,
    where it is the same for all records."""

    of: Evaluate
    is_text: bool = False
    constant: int | None = None


class _Parser:
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
            left = self.changed(_binary(_BINARY[sign], _number(left), right))
        if binding < 0 and self.peek() == "?":
            self.next()
            yes = self.expression()
            self.take(":")
            no = self.expression()
            if yes.is_text != no.is_text:
                raise UnprintableError
            left = self.changed(_choice(_number(left).of, yes, no))
        self.depth -= 1
        return left

    def changed(self, made: Expression) -> Expression:
        """Count what has to be computed anew for each record: as deep as that is, Python must call."""
        self.changing += made.constant is None
        if self.changing > MOST_CHANGING:
            raise UnprintableError
        return made

    def number(self, binding: int = -1) -> Expression:
        return _number(self.expression(binding))

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
            return _constant(int(word, 16 if word[:2] in ("0x", "0X") else 10))
        if kind == "char":
            return _constant(ord(word[1]) & 0xFF)
        if word == "(":
            cast = self.cast()
            if cast is not None:
                return self.changed(_cast(cast, self.unary()))
            inner = self.expression()
            self.take(")")
            return inner
        if word in ("-", "~", "!", "+"):
            return self.changed(_unary(_UNARY[word], _number(self.unary())))
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
        if not (words[0] in _TYPE_WORDS or words[0] in _TYPES or words[0].endswith("_t") or words[-1] == "*"):
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
        return Expression(_flags(value.of, between, names) if flags else _symbol(value.of, names), True)


def _number(made: Expression) -> Expression:
    if made.is_text:
        raise UnprintableError
    return made


def _constant(value: int) -> Expression:
    value &= WORD
    return Expression(lambda row: value, False, value)


def _unary(how: Callable[[int], int], made: Expression) -> Expression:
    if made.constant is not None:
        return _constant(how(made.constant))
    of = made.of
    return Expression(lambda row: how(of(row)))


def _binary(how: Callable[[int, int], int], left: Expression, right: Expression) -> Expression:
    if left.constant is not None and right.constant is not None:
        return _constant(how(left.constant, right.constant))
    a, b = left.of, right.of
    return Expression(lambda row: how(a(row), b(row)))


def _choice(asked: Evaluate, yes: Expression, no: Expression) -> Expression:
    a, b = yes.of, no.of
    return Expression(lambda row: a(row) if asked(row) else b(row), yes.is_text)


def _cast(type_: str, made: Expression) -> Expression:
    bits, signed = _TYPES.get(type_, (64, False))
    if bits == 64 or made.is_text:
        return made
    return _unary(lambda a: _wrapped(a, bits, signed) & WORD, made)


def _wrapped(value: int, bits: int, signed: bool) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if signed and value >> bits - 1 else value


def _flags(of: Evaluate, between: str, names: Sequence[tuple[int, str]]) -> Evaluate:
    def say(row: Row) -> str:
        value, found = of(row), []
        for bits, name in names:
            if not value and not bits:
                found.append(name)
                break
            if bits and value & bits == bits:
                found.append(name)
                value &= ~bits
        return between.join([*found, f"0x{value:x}"] if value else found)

    return say


def _symbol(of: Evaluate, names: Sequence[tuple[int, str]]) -> Evaluate:
    by_value: dict[int, str] = {}
    for value, name in names:
        by_value.setdefault(value, name)

    def say(row: Row) -> str:
        value = of(row)
        return by_value.get(value) or f"0x{value:x}"

    return say


#: Makes one text of each record.
Printer = Callable[[Stream, Ints, Kind], list[str]]


def printer(kind: Kind, long: int) -> Printer:
    """How the records of this kind are printed; ``long``: bytes of a long in its ``print fmt``."""
    try:
        plain = _compiled(kind, long)
    except UnprintableError:
        plain = say_fields
    known = _OWN.get(kind.name)
    if known is None:
        return plain
    names, own = known
    if any(n not in kind.by_name for n in names):
        return plain
    fields = [kind.by_name[n] for n in names]

    def say(stream: Stream, rows: Ints, _: Kind) -> list[str]:
        texts = [own(r) for r in _rows(stream, rows, fields)]
        left = [i for i, text in enumerate(texts) if text is None]
        for i, text in zip(left, plain(stream, rows[left], kind) if left else (), strict=True):
            texts[i] = text
        return cast(list[str], texts)

    return say


def _rows(stream: Stream, rows: Ints, fields: Sequence[Field]) -> list[Row]:
    """The values of these fields, a tuple for each record."""
    return list(zip(*(values(stream, rows, f) for f in fields), strict=True))


def _compiled(kind: Kind, long: int) -> Printer:
    parser = _Parser(kind.printed, kind)
    form, shapes = _form(parser.text(), long)
    made: list[Evaluate] = []
    for shape in shapes:
        parser.take(",")
        made.append(shape(parser.expression()))
    if parser.next()[0] != "end":
        raise UnprintableError
    fields = list(parser.fields.values())

    def say(stream: Stream, rows: Ints, _: Kind) -> list[str]:
        if not fields:
            return [_line(form % tuple(of(()) for of in made))] * len(rows)
        return [_line(form % tuple([of(row) for of in made])) for row in _rows(stream, rows, fields)]

    return say


def _line(text: str) -> str:
    """The first line of a text: what comes behind it in a report is no event's."""
    return text.partition("\n")[0] if "\n" in text else text


def _form(text: str, long: int) -> tuple[str, list[Callable[[Expression], Evaluate]]]:
    """C's format string as Python's, and for each of its conversions what makes its value of an expression."""
    parts: list[str] = []
    shapes: list[Callable[[Expression], Evaluate]] = []
    at = 0
    while (found := text.find("%", at)) >= 0:
        match = _CONVERSION.match(text, found)
        if match is None:
            raise UnprintableError
        parts.append(text[at:found])
        at = match.end()
        letter, flags, precise = match["c"], match["flags"], match["precise"]
        if letter == "%":
            parts.append("%%")
            continue
        if letter == "s":
            shapes.append(_as_text)
        elif letter == "p" and not text[at : at + 1].isalpha():
            shapes.append(_as_pointer)
            letter, flags, precise = "s", flags.replace("0", ""), ""
        elif letter in "dixXuoc":
            bits = {"hh": 8, "h": 16, "": 32, "l": 8 * long, "z": 8 * long, "t": 8 * long}.get(match["long"], 64)
            shapes.append(_as_number(bits, letter in "di", letter == "c"))
            letter = "d" if letter == "u" else letter
        else:
            raise UnprintableError
        parts.append(f"%{flags}{match['width']}{precise}{letter}")
    if len(shapes) > MOST_CONVERSIONS:
        raise UnprintableError
    return "".join([*parts, text[at:]]), shapes


def _as_text(made: Expression) -> Evaluate:
    if not made.is_text:
        raise UnprintableError
    return made.of


def _as_pointer(made: Expression) -> Evaluate:
    of = _number(made).of

    def say(row: Row) -> str:
        value = of(row)
        return f"0x{value:x}" if value else "(nil)"

    return say


def _as_number(bits: int, signed: bool, letter: bool) -> Callable[[Expression], Evaluate]:
    def shape(made: Expression) -> Evaluate:
        of = _number(made).of
        if letter:
            return lambda row: of(row) & 0xFF
        return lambda row: _wrapped(of(row), bits, signed)

    return shape


# What trace-cmd's plugins spell otherwise than the kernel does.

#: Letters of a thread's state, the lowest bit first. (The kernel has X for the fifth and Z for the sixth bit by now.)
_STATES = "SDTtZXxW"


def _state(value: int) -> str:
    return "|".join(c for k, c in enumerate(_STATES) if value >> k & 1) or "R"


def _switched(row: Row) -> str:
    comm, pid, prio, state, next_comm, next_pid, next_prio = row
    return f"{comm}:{pid} [{prio}] {_state(state)} ==> {next_comm}:{next_pid} [{next_prio}]"


def _woken(row: Row) -> str:
    comm, pid, prio, cpu = row
    return f"{comm}:{pid} [{prio}] CPU:{cpu:03d}"


#: futex's operations by number, and which of the call's arguments each of them takes: ``val`` as a number or (``VAL``)
#: in hexadecimal, the fourth as ``utime`` or the number ``val2``.
_FUTEX = dict(
    enumerate(
        (
            ("WAIT", ("VAL", "utime")),
            ("WAKE", ("val",)),
            ("FD", ("val",)),
            ("REQUEUE", ("val", "val2", "uaddr2")),
            ("CMP_REQUEUE", ("val", "val2", "uaddr2", "val3")),
            ("WAKE_OP", ("val", "val2", "uaddr2", "val3")),
            ("LOCK_PI", ("utime",)),
            ("UNLOCK_PI", ()),
            ("TRYLOCK_PI", ()),
            ("WAIT_BITSET", ("VAL", "utime", "val3")),
            ("WAKE_BITSET", ("val", "val3")),
            ("WAIT_REQUEUE_PI", ("VAL", "utime", "uaddr2", "val3")),
            ("CMP_REQUEUE_PI", ("val", "val2", "uaddr2", "val3")),
        )
    )
)
_PRIVATE, _REALTIME = 128, 256


def _futex(row: Row) -> str | None:
    uaddr, op, val, utime, uaddr2, val3 = (v & WORD for v in row)
    known = _FUTEX.get(op & ~(_PRIVATE | _REALTIME))
    if known is None:
        return None
    name, arguments = known
    said = {
        "VAL": f" val=0x{val:08x}",
        "val": f" val={val}",
        "utime": f" utime=0x{utime:08x}",
        "val2": f" val2={utime}",
        "uaddr2": f" uaddr2=0x{uaddr2:08x}",
        "val3": f" val3=0x{val3:08x}",
    }
    flags = "|FUTEX_PRIVATE_FLAG" * bool(op & _PRIVATE) + "|FUTEX_CLOCK_REALTIME" * bool(op & _REALTIME)
    return f"op=FUTEX_{name}{flags} uaddr=0x{uaddr:08x}" + "".join(said[a] for a in arguments)


_WAKEUP = (("comm", "pid", "prio", "target_cpu"), _woken)
#: The fields that it takes, and the text; None: as the kernel has it.
_OWN: dict[str, tuple[tuple[str, ...], Callable[[Row], str | None]]] = {
    "sched_switch": (
        ("prev_comm", "prev_pid", "prev_prio", "prev_state", "next_comm", "next_pid", "next_prio"),
        _switched,
    ),
    "sched_wakeup": _WAKEUP,
    "sched_wakeup_new": _WAKEUP,
    "sys_enter_futex": (("uaddr", "op", "val", "utime", "uaddr2", "val3"), _futex),
}
#: Which threads' commands these events tell: of a thread that nothing else named, trace-cmd knows it from then on.
TOLD = {
    "sched_switch": (("prev_pid", "prev_comm"), ("next_pid", "next_comm")),
    "sched_wakeup": (("pid", "comm"),),
    "sched_wakeup_new": (("pid", "comm"),),
}
