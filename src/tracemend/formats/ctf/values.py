"""What generated code calls while it reads: numbers and text out of bytes, and what they look like."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from functools import partial
from itertools import repeat
from typing import Any

from tracemend.formats.ctf.types import MOST_INTEGER, Enumeration
from tracemend.formats.text import decode

#: Elements of an array that its text shows.
SHOWN = 1 << 16
ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
AWKWARD = re.compile(r'[\\"\x00-\x1f\x7f]')
#: Short texts of an encoding, kept with their quotes: so many, each of so many bytes.
MOST_KEPT, LONGEST_KEPT = 1 << 16, 256
#: What reads up to so many numbers at once is kept.
MOST_AT_ONCE = 64


class Damage(Exception):  # noqa: N818 - the reader makes a TraceError of it
    """Bytes that can't be what the metadata says they are."""


#: What reading damaged bytes raises, in generated code.
DAMAGED = (Damage, struct.error, ValueError, IndexError, KeyError, NameError, OverflowError)


def complaint(error: Exception) -> str:
    """What is wrong, in words."""
    if isinstance(error, Damage):
        return str(error)
    if isinstance(error, NameError):
        return "it refers to a field that isn't there"
    return "it runs over the end of its packet"


# what generated code calls


def read_bits(data: bytes, at: int, size: int, little: bool) -> int:
    """The ``size`` bits from bit ``at`` on, unsigned; raises Damage beyond the end."""
    low, high = at >> 3, (at + size + 7) >> 3
    if high > len(data):
        raise Damage("it runs over the end of its packet")
    if little:
        return int.from_bytes(data[low:high], "little") >> (at & 7) & ((1 << size) - 1)
    return int.from_bytes(data[low:high], "big") >> (high * 8 - at - size) & ((1 << size) - 1)


def need(count: int, bits: int, data: bytes, at: int) -> None:
    """Raise Damage unless ``count`` elements of at least ``bits`` bits fit behind bit ``at``."""
    if not 0 <= count * bits <= len(data) * 8 - at or count < 0:
        raise Damage(f"{count} elements run over the end of its packet")


def varint(data: bytes, at: int, signed: bool) -> tuple[int, int, int]:
    """The integer in LEB128 from byte ``at`` on, the bits that it takes there, and the byte behind it."""
    value = bits = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << bits
        bits += 7
        if byte < 128:
            return value - (1 << bits if signed and byte & 64 else 0), bits, at
        if bits > MOST_INTEGER:
            raise Damage(f"an integer of more than {MOST_INTEGER} bits")


def wide_zero(data: bytes, at: int, unit: int) -> int:
    """Where the first zero of ``unit`` bytes begins, a whole number of them behind ``at``."""
    end = at
    while True:
        end = data.index(bytes(unit), end)
        if (end - at) % unit == 0:
            return end
        end += 1


#: What generated code that reads may call, by its name there.
READING: dict[str, Any] = {
    **{f.__name__: f for f in (repeat, read_bits, need, varint, wide_zero, Damage)},
    "ZERO": b"\0",
}


class Bulk(dict[int, Callable[[bytes, int], tuple[Any, ...]]]):
    """How many numbers of one kind that lie one behind the other to what reads so many, no more than are shown (and one
    to tell)."""

    def __init__(self, code: str, size: int, little: bool) -> None:
        self.size, self.form = size, f"{'<' if little else '>'}{{}}{code}"

    def __missing__(self, count: int) -> Callable[[bytes, int], tuple[Any, ...]]:
        if 0 <= count <= MOST_AT_ONCE:
            self[count] = read = struct.Struct(self.form.format(count)).unpack_from
            return read
        return partial(self._many, count)

    def _many(self, count: int, data: bytes, at: int) -> tuple[Any, ...]:
        need(count, self.size * 8, data, at * 8)
        return struct.unpack_from(self.form.format(min(count, SHOWN + 1)), data, at)


class Budget:
    """Elements without a size cost time and no bytes: there may be so many of them, refilled with each packet."""

    left = 0

    def spend(self, count: int) -> None:
        self.left -= max(0, count)
        if self.left < 0:
            raise Damage("too many elements without a size")


class Quotes(dict[bytes, str]):
    """Text of an encoding in quotes, as C writes it, up to its first zero; short ones are kept."""

    def __init__(self, codec: str = "utf-8") -> None:
        self.codec = codec

    def __missing__(self, raw: bytes) -> str:
        wide = self.codec != "utf-8"
        text = raw.decode(self.codec, "replace").partition("\0")[0] if wide else decode(raw.partition(b"\0")[0])
        text = AWKWARD.sub(lambda m: ESCAPES.get(m[0], f"\\x{ord(m[0]):02x}"), text)
        if len(raw) <= LONGEST_KEPT and len(self) < MOST_KEPT:
            self[raw] = f'"{text}"'
        return f'"{text}"'


class Labels(dict[int, str]):
    """An enumeration's values as text: label and number, or the number alone where it has no label."""

    def __init__(self, kind: Enumeration) -> None:
        self.kind = kind

    def __missing__(self, value: int) -> str:
        label = self.kind.label(value)
        text = str(value) if label is None else f"{label}({value})"
        if len(self) < MOST_KEPT:
            self[value] = text
        return text


def listed(texts: list[str], count: int) -> str:
    """Elements in brackets, of which there are ``count``."""
    return f"[{', '.join([*texts, '...'] if count > len(texts) else texts)}]"


def numbers(base: int) -> Callable[[tuple[Any, ...]], str]:
    """What shows numbers of a base, which are not negative but for 10."""
    forms: dict[int, Callable[[Any], str]] = {10: repr, 16: hex, 8: "0%o".__mod__, 2: bin}
    form = forms[base]

    def show(values: tuple[Any, ...]) -> str:
        return listed(list(map(form, values[:SHOWN])), len(values))

    return show
