"""The encoding of protocol buffers: one message at a time, or the fields of many at once as columns.

A message is fields, each a tag (its number and how it lies there) and a value: a varint (7 bits a byte, the lowest
first), 4 or 8 bytes, or a length and so many bytes.

Axis legend: M messages, F fields of all of them, V varints.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tracemend.formats.text import Bools, Bytes, Ints

VARINT, EIGHT, LENGTH, FOUR = 0, 1, 2, 5
#: A varint holds 64 bits, so it has no more bytes.
LONGEST = 10
#: So many zero bytes behind the data let look-ahead stay within the array.
PAD = 16
#: A message with more fields is damage (no event has fifty), and would take a round each.
MOST_FIELDS = 1000


#: All fields of a message by number; text, bytes and messages within it as bytes.
Message = dict[int, list[int | bytes]]


class WireError(ValueError):
    """Bytes that are no message: where, and what is wrong there."""

    def __init__(self, at: int, message: str) -> None:
        self.at, self.message = at, message
        super().__init__(message)


def varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """The varint at ``at`` and where it ends. Raises WireError."""
    value = shift = 0
    for i in range(at, min(end, at + LONGEST)):
        byte = data[i]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, i + 1
        shift += 7
    raise WireError(at, "a number that doesn't end")


def walk(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Each field of the message data[at:end]: its number, how it lies there, its value (or where its bytes begin) and
    where it ends. Raises WireError."""
    while at < end:
        begin = at
        tag, at = varint(data, at, end)
        number, wire = tag >> 3, tag & 7
        if wire == VARINT:
            value, at = varint(data, at, end)
        elif wire == LENGTH:
            length, value = varint(data, at, end)
            at = value + length
        elif wire in (EIGHT, FOUR):
            size = 8 if wire == EIGHT else 4
            value = int.from_bytes(data[at : at + size], "little")
            at += size
        else:
            raise WireError(begin, f"a field of the unknown sort {wire}")
        if at > end or not number:
            raise WireError(begin, "a field that goes beyond its message" if number else "a field without a number")
        yield number, wire, value, at


def message(data: bytes, at: int = 0, end: int | None = None) -> Message:
    """All fields of a message by number. Raises WireError."""
    found: Message = {}
    for number, wire, value, stop in walk(data, at, len(data) if end is None else end):
        found.setdefault(number, []).append(data[value:stop] if wire == LENGTH else value)
    return found


def number(fields: Message, key: int) -> int:
    """The last value of a field of a whole number; 0 where it isn't there."""
    value = fields.get(key, [0])[-1]
    return value if isinstance(value, int) else 0


def raw(fields: Message, key: int) -> bytes:
    """The last value of a field of text or bytes; empty where it isn't there."""
    value = fields.get(key, [b""])[-1]
    return value if isinstance(value, bytes) else b""


def within(fields: Message, key: int) -> list[Message]:
    """The messages that are values of a field. Raises WireError."""
    return [message(v) for v in fields.get(key, ()) if isinstance(v, bytes)]


def repeated(fields: Message, key: int) -> Ints:
    """All values of a repeated whole number, packed or not -> (V,); signed. Raises WireError."""
    parts = [packed(v) if isinstance(v, bytes) else np.array([v], np.uint64) for v in fields.get(key, ())]
    return np.concatenate([*parts, np.empty(0, np.uint64)]).astype(np.uint64).view(np.int64)


def packed(data: bytes) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """Varints one behind the other -> (V,). Raises WireError."""
    padded = np.frombuffer(data + bytes(PAD), np.uint8)
    last = np.flatnonzero(padded[: len(data)] < 0x80)
    begin = np.concatenate([[0], last[:-1] + 1]) if len(last) else last
    length = last - begin + 1
    if len(data) and (not len(last) or last[-1] != len(data) - 1 or length.max() > LONGEST):
        raise WireError(0, "a number that doesn't end")
    value = np.zeros(len(last), np.uint64)
    for k in range(int(length.max(initial=0))):
        digit = (padded[begin + k] & 0x7F).astype(np.uint64) << np.uint64(7 * k)
        value |= np.where(k < length, digit, np.uint64(0))
    return value


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of M messages, in order of the messages and, within one, as they lie there.

    All (F,): ``row`` the message, ``number``, ``wire``, ``value`` (the bits of a whole number; for text the place where
    it begins), ``end`` where the field ends. ``broken`` (M,): messages that are none, of which no field is told.
    """

    row: Ints
    number: Ints
    wire: Ints
    value: Ints
    end: Ints
    broken: Bools

    def of(self, chosen: Bools) -> Fields:
        """Some of the fields."""
        row, number, wire, value, end = (c[chosen] for c in (self.row, self.number, self.wire, self.value, self.end))
        return Fields(row, number, wire, value, end, self.broken)


def fields(data: Bytes, begin: Ints, stop: Ints) -> Fields:
    """The fields of messages data[begin:stop] (M,); ``data`` has PAD bytes more than they take."""
    rows, at = np.arange(len(begin)), begin.astype(np.int64)
    broken = np.zeros(len(begin), bool)
    found: list[tuple[Ints, ...]] = []
    alive = at < stop
    rows, at, stop = rows[alive], at[alive], stop[alive]
    while len(rows):
        tag, value_at, sound = varints(data, at)
        wire = tag & 7
        value, after, whole = varints(data, value_at)
        counted = (wire == VARINT) | (wire == LENGTH)
        sound &= (whole & counted) | (wire == EIGHT) | (wire == FOUR)
        text = wire == LENGTH
        sound &= ~text | ((value >= 0) & (value <= stop - after))
        ends = np.where(text, after + np.where(sound, value, 0), after)
        value = np.where(text, after, value)
        for sort, size in ((EIGHT, 8), (FOUR, 4)):
            fixed = np.flatnonzero((wire == sort) & (value_at + size <= stop))
            ends[wire == sort] = value_at[wire == sort] + size
            if len(fixed):
                bits = np.zeros((len(fixed), 8), np.uint8)
                bits[:, :size] = data[value_at[fixed, None] + np.arange(size)]
                value[fixed] = bits.view("<i8")[:, 0]
        sound &= (ends <= stop) & (tag >> 3 > 0)
        broken[rows[~sound]] = True
        found.append((rows[sound], tag[sound] >> 3, wire[sound], value[sound], ends[sound]))
        on = sound & (ends < stop)
        if len(found) == MOST_FIELDS:
            broken[rows[on]] = True
            break
        rows, at, stop = rows[on], ends[on], stop[on]
    empty = np.empty(0, np.int64)
    columns = [np.concatenate(c) for c in zip(*found, strict=True)] if found else [empty] * 5
    order = np.argsort(columns[0], kind="stable")
    order = order[~broken[columns[0][order]]]
    row, numbers, sorts, values, ends = (c[order] for c in columns)
    return Fields(row, numbers, sorts, values, ends, broken)


def varints(data: Bytes, at: Ints) -> tuple[Ints, Ints, Bools]:
    """The varints at ``at`` (V,), which may lie behind all messages: their bits, where they end, whether they do."""
    at = np.minimum(at, len(data) - PAD)
    byte = data[at]
    value = (byte & 0x7F).astype(np.int64)
    end = at + 1
    going = np.flatnonzero(byte >= 0x80)
    for k in range(1, LONGEST):
        if not len(going):
            break
        byte = data[at[going] + k]
        value[going] |= (byte & 0x7F).astype(np.int64) << (7 * k)
        end[going] += 1
        going = going[byte >= 0x80]
    whole = np.ones(len(at), bool)
    whole[going] = False
    return value, end, whole
