"""Records as text, by their tracepoint's ``print fmt``: what ``trace-cmd report`` prints behind an event's name.

A ``print fmt`` is a C format string and C expressions over the record's fields (``REC->prev_pid``), ``__get_str``,
``__print_flags`` and ``__print_symbolic``. Numbers are 64 bits, as trace-cmd takes them. What is beyond that (names of
functions from kallsyms, kernel macros, bit masks, dumps) makes an event be told as ``field=value``.

Axis legend: N records.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import cast

from tracemend.formats.ringbuffer import Field, Ints, Kind, Stream, say_fields, values
from tracemend.formats.tracedat.expressions import Evaluate, Expression, Row, UnprintableError, numeric, wrapped
from tracemend.formats.tracedat.plugins import OWN
from tracemend.formats.tracedat.print_fmt import Parser

#: A ``print fmt`` that has more conversions isn't evaluated.
MOST_CONVERSIONS = 64

_CONVERSION = re.compile(
    r"%(?P<flags>[-+ #0]*)(?P<width>\d{0,3})(?P<precise>(?:\.\d{0,3})?)(?P<long>hh|h|ll|l|L|q|z|t|j|)"
    r"(?P<c>p[A-Za-z]*|.)"
)
#: Makes one text of each record.
Printer = Callable[[Stream, Ints, Kind], list[str]]
#: Says an address as the letters behind ``%p`` ask for it. Raises UnprintableError for letters that it doesn't know.
Pointer = Callable[[int, str], str]


def printer(kind: Kind, long: int, spelt: bool = True, pointer: Pointer | None = None) -> Printer:
    """How the records of this kind are printed; ``long``: bytes of a long in its ``print fmt``. ``spelt``: in
    trace-cmd's own way where it has one. ``pointer``: how addresses are said, if not as trace-cmd does."""
    try:
        plain = _compiled(kind, long, pointer or _numbered)
    except UnprintableError:
        plain = say_fields
    known = OWN.get(kind.name) if spelt else None
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


def _compiled(kind: Kind, long: int, pointer: Pointer) -> Printer:
    parser = Parser(kind.printed, kind)
    form, shapes = _form(parser.text(), long, pointer)
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


def _form(text: str, long: int, pointer: Pointer) -> tuple[str, list[Callable[[Expression], Evaluate]]]:
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
        elif letter[0] == "p":
            pointer(0, letter[1:])
            shapes.append(_as_pointer(pointer, letter[1:]))
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


def _as_pointer(pointer: Pointer, letters: str) -> Callable[[Expression], Evaluate]:
    def shape(made: Expression) -> Evaluate:
        of = numeric(made).of
        return lambda row: pointer(of(row), letters)

    return shape


def _numbered(address: int, letters: str) -> str:
    """As trace-cmd does; a Pointer."""
    if letters:
        raise UnprintableError
    return f"0x{address:x}" if address else "(nil)"


def _as_number(bits: int, signed: bool, letter: bool) -> Callable[[Expression], Evaluate]:
    def shape(made: Expression) -> Evaluate:
        of = numeric(made).of
        if letter:
            return lambda row: of(row) & 0xFF
        return lambda row: wrapped(of(row), bits, signed)

    return shape
