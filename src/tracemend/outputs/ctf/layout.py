"""Texts as TSDL has them, and structures as bits where nothing is known of their values: zeros, as few as may be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from tracemend.formats.ctf.names import dotted, shown_name
from tracemend.formats.ctf.types import (
    MOST_FIELDS,
    Array,
    Enumeration,
    FieldPath,
    Float,
    Integer,
    String,
    Structure,
    Type,
    Variant,
)

#: What stands for itself between the quotes of a string of TSDL.
_PLAIN = re.compile(r"[^\\\"\x00-\x1f\x7f]")


class Unfit(Exception):  # noqa: N818 - not an error: the fields are left out
    """Fields that can't stand outside of the stream they are from, or that are too many to write down."""


def quoted(text: str) -> str:
    """A string of TSDL; a ``?`` for each byte of a file's name that is no text."""
    text = text.encode(errors="replace").decode()
    return '"' + "".join(c if _PLAIN.match(c) else "\\" + (c if c in '\\"' else f"{ord(c):03o}") for c in text) + '"'


def _beside(path: FieldPath) -> str:
    """The name of a length or tag that is a field in front of its user; raises Unfit for one that lies elsewhere."""
    names = [name for name in path if isinstance(name, str)]
    if len(names) != 1:
        raise Unfit(dotted(path))
    return names[0]


class Bits:
    """Values one behind the other from bit ``at`` of a packet on, the bits in front of it being zeros."""

    def __init__(self, at: int = 0) -> None:
        self.at = at
        self._data = bytearray()
        self._values = 0

    @property
    def data(self) -> bytes:
        """All bytes that the bits reach into."""
        return bytes(self._data).ljust(self.at + 7 >> 3, b"\0")

    def align(self, to: int) -> None:
        self.at = -(-self.at // to) * to

    def number(self, value: int, size: int, align: int, little: bool) -> None:
        """The ``size`` lowest bits of an integer."""
        self.align(align)
        low, high = self.at >> 3, self.at + size + 7 >> 3
        order: Literal["little", "big"] = "little" if little else "big"
        shift = self.at & 7 if little else high * 8 - self.at - size
        self._data.extend(bytes(max(0, high - len(self._data))))
        held = int.from_bytes(self._data[low:high], order) | (value & (1 << size) - 1) << shift
        self._data[low:high] = held.to_bytes(high - low, order)
        self.at += size

    def fields(self, kind: Structure, given: Mapping[str, int | bytes]) -> None:
        """A structure: what is ``given`` by the names that fields are shown with, and neutral values else.

        Raises Unfit for fields that depend on others elsewhere, and for more than MOST_FIELDS values.
        """
        self._structure(kind, {}, given)

    def _structure(self, kind: Structure, around: Mapping[str, Type], given: Mapping[str, int | bytes]) -> None:
        self.align(kind.align)
        scope = dict(around)
        for name, member in kind.members:
            self._value(member, scope, given.get(shown_name(name), 0))
            scope[name] = member

    def _value(self, kind: Type, scope: Mapping[str, Type], given: int | bytes = 0) -> None:
        self._values += 1
        if self._values > MOST_FIELDS:
            raise Unfit("too many values")
        match kind:
            case Integer():
                self.number(given if isinstance(given, int) else 0, kind.size, kind.align, kind.little)
            case Float():
                self.number(0, kind.size, kind.align, kind.little)
            case String():
                self.number(0, 8, 8, True)
            case Enumeration(container=Integer() as box):
                self.number(_neutral(kind), box.size, box.align, box.little)
            case Structure():
                self._structure(kind, scope, {})
            case Array():
                self.align(kind.align)
                for i in range(_length(kind, scope)):
                    self._value(kind.element, scope, given[i] if isinstance(given, bytes) and i < len(given) else 0)
            case Variant():
                self._value(_chosen(kind, scope), scope)


def _neutral(kind: Enumeration) -> int:
    """0 if that has a label, or else the value of the first one: a tag must choose something."""
    return 0 if not kind.labels or kind.label(0) is not None else kind.labels[0][1]


def _length(kind: Array, scope: Mapping[str, Type]) -> int:
    """Elements of an array; a sequence has none, since the field that tells how many is 0."""
    if isinstance(kind.length, int):
        return kind.length
    if not isinstance(scope.get(_beside(kind.length)), Integer):
        raise Unfit(dotted(kind.length))
    return 0


def _chosen(kind: Variant, scope: Mapping[str, Type]) -> Type:
    """The option that its tag's neutral value chooses."""
    tag = scope.get(_beside(kind.tag))
    label = tag.label(_neutral(tag)) if isinstance(tag, Enumeration) else None
    options = dict(kind.options) | {shown_name(name): option for name, option in kind.options}
    if label is None or (label not in options and shown_name(label) not in options):
        raise Unfit(dotted(kind.tag))
    return options.get(label) or options[shown_name(label)]
