"""Expressions of a ``print fmt``: what each is worth for a record. Numbers are 64 bits, as trace-cmd takes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

WORD = (1 << 64) - 1
#: A record's fields, in the order in which the expression names them.
Row = tuple[Any, ...]
Evaluate = Callable[[Row], Any]

#: Bits and sign of the types that a cast can name; a cast to any other leaves a number as it is.
TYPES = {
    **{f"{s}{b}": (b, s == "s") for s in "us" for b in (8, 16, 32, 64)},
    **{f"__{s}{b}": (b, s == "s") for s in "us" for b in (8, 16, 32, 64)},
    "unsigned char": (8, False),
    "unsigned short": (16, False),
    "short": (16, True),
    "unsigned int": (32, False),
    "unsigned": (32, False),
    "int": (32, True),
}
#: Operators by their signs.
BINARY: dict[str, Callable[[int, int], int]] = {
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
UNARY: dict[str, Callable[[int], int]] = {
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


def numeric(made: Expression) -> Expression:
    """The same, if it is a number; raises UnprintableError."""
    if made.is_text:
        raise UnprintableError
    return made


def constant(value: int) -> Expression:
    """A number that is the same for all records."""
    value &= WORD
    return Expression(lambda row: value, False, value)


def unary(how: Callable[[int], int], made: Expression) -> Expression:
    """An operator before a number."""
    if made.constant is not None:
        return constant(how(made.constant))
    of = made.of
    return Expression(lambda row: how(of(row)))


def binary(how: Callable[[int, int], int], left: Expression, right: Expression) -> Expression:
    """An operator between two numbers."""
    if left.constant is not None and right.constant is not None:
        return constant(how(left.constant, right.constant))
    a, b = left.of, right.of
    return Expression(lambda row: how(a(row), b(row)))


def choice(asked: Evaluate, yes: Expression, no: Expression) -> Expression:
    """``asked ? yes : no``."""
    a, b = yes.of, no.of
    return Expression(lambda row: a(row) if asked(row) else b(row), yes.is_text)


def converted(type_: str, made: Expression) -> Expression:
    """A cast of a number; a text stays as it is."""
    bits, signed = TYPES.get(type_, (64, False))
    if bits == 64 or made.is_text:
        return made
    return unary(lambda a: wrapped(a, bits, signed) & WORD, made)


def wrapped(value: int, bits: int, signed: bool) -> int:
    """The lowest bits of a number, with their sign."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if signed and value >> bits - 1 else value


def flag_names(of: Evaluate, between: str, names: Sequence[tuple[int, str]]) -> Evaluate:
    """``__print_flags``: the names of the bits that are set, and the rest in hexadecimal."""

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


def symbol_name(of: Evaluate, names: Sequence[tuple[int, str]]) -> Evaluate:
    """``__print_symbolic``: the name of a number, or the number in hexadecimal."""
    by_value: dict[int, str] = {}
    for value, name in names:
        by_value.setdefault(value, name)

    def say(row: Row) -> str:
        value = of(row)
        return by_value.get(value) or f"0x{value:x}"

    return say
