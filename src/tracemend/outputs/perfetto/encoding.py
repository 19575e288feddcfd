"""Perfetto's protocol buffers: messages one at a time, and packets of track events as columns, many at once.

Every number in a column has a fixed width, which the encoding allows (a varint may be longer than it has to be) and
which Perfetto's own writers use for lengths.

Axis legend: P packets, W bytes of a column, F fields of all of them.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from tracemend.outputs.known import Flat
from tracemend.untrusted import printable

BEGIN, END, INSTANT = 1, 2, 3  # TrackEvent.Type
SYSCALL, ACROSS, EVENT, INFERRED, LOST, ABOUT, RUNNING, INTERRUPT, BY_CPU, INFERRED_BY_CPU, RAN = range(1, 12)
CATEGORIES = {
    SYSCALL: "syscall",
    ACROSS: "syscall.across_gap",
    EVENT: "event",
    INFERRED: "tracemend.inferred",
    LOST: "tracemend.lost",
    ABOUT: "tracemend",
    RUNNING: "running",
    INTERRUPT: "interrupt",
    BY_CPU: "by_cpu",
    INFERRED_BY_CPU: "tracemend.inferred.by_cpu",
    RAN: "tracemend.inferred.running",
}
ARGS, RET, CONFIDENCE, GAP, VALUE, LEFT, THREAD, EXIT_CONFIDENCE = range(1, 9)
ANNOTATIONS = {
    ARGS: "args",
    RET: "ret",
    CONFIDENCE: "confidence",
    GAP: "gap",
    VALUE: "value",
    LEFT: "left in state",
    THREAD: "thread",
    EXIT_CONFIDENCE: "exit_confidence",
}
#: What the viewer makes a slice's colour of, if it has one, and not of its name: its correlation id. It takes the hue
#: and the lightness from a hash of the text; so of many ways to say it these are the ones with the colours named. What
#: was inferred is orange, the surer the darker; what was recorded is of the cool colours between green and blue.
RED, VIOLET, DARK_ORANGE, ORANGE, LIGHT_ORANGE = range(1, 6)
COLOURS = {
    RED: "tracemend loss",
    VIOLET: "tracemend lost, not filled",
    DARK_ORANGE: "inferred with confidence >= 0.9.",
    ORANGE: "inferred with confidence 0.5 or more, no evidence",
    LIGHT_ORANGE: "inferred with confidence up to 0.5, no evidence",
}
_COOL = range(len(COLOURS) + 1, len(COLOURS) + 13)
COLOURS |= {
    number: f"recorded, colour {spelled}"
    for number, spelled in zip(_COOL, (9, 186, 129, 149, 19, 194, 115, 151, 131, 145, 25, 96), strict=True)
}

_SEQUENCE = 1  # trusted_packet_sequence_id
CLEARED, _NEEDS = 1, 2  # SEQ_INCREMENTAL_STATECLEARED, SEQ_NEEDS_INCREMENTAL_STATE
_AT_ONCE = 1 << 16
EXPLICIT = 3  # TrackDescriptor.ChildTracksOrdering

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Bytes = NDArray[np.uint8]


def varint(value: int) -> bytes:
    """As many groups of seven bits as it takes."""
    if value < 0x80:
        return value.to_bytes()
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def uint(number: int, value: int) -> bytes:
    """A field of a whole number not below 0."""
    return varint(number << 3) + varint(value)


def message(number: int, body: bytes) -> bytes:
    """A field that is a message, or any other bytes."""
    return varint(number << 3 | 2) + varint(len(body)) + body


def text(number: int, value: str) -> bytes:
    """A field of text."""
    return message(number, printable(value).encode())


def packet(body: bytes) -> bytes:
    """A packet of the one sequence that a trace is."""
    return message(1, uint(10, _SEQUENCE) + body)


def notes_of(told: dict[str, Any]) -> bytes:
    """Annotations written out, none for what nobody knows."""
    return b"".join(message(4, text(10, key) + _value(value)) for key, value in told.items() if value is not None)


def _value(value: Any) -> bytes:
    if isinstance(value, int) and value >= 0:
        return uint(3, value)
    if isinstance(value, float):
        return varint(5 << 3 | 1) + struct.pack("<d", value)
    return text(6, value if isinstance(value, str) else json.dumps(value))


def slice_of(
    span: tuple[int, int], track: int, category: int, name: str, notes: dict[str, Any], colour: int
) -> Iterator[bytes]:
    """Two packets from begin to end (ns), with name and annotations written out."""
    body = text(23, name) + uint(54, colour) + notes_of(notes)
    for time, kind, rest in ((span[0], BEGIN, body), (span[1], END, b"")):
        event = uint(9, kind) + uint(11, track) + uint(3, category) + rest
        yield packet(uint(8, time) + uint(13, _NEEDS) + message(11, event))


def descriptor(uuid: int, *, name: str = "", parent: int = 0, rest: bytes = b"") -> bytes:
    """The packet that says what a track is; ``rest``: further fields of the descriptor."""
    body = uint(1, uuid) + (text(2, name) if name else b"") + (uint(5, parent) if parent else b"") + rest
    return packet(message(60, body))


def ranked(rank: int) -> bytes:
    """The field of a descriptor that says where among its like the track stands."""
    return uint(12, rank)


class Names:
    """Names of events, from 1 (0 is for an event without one), and of annotations, with their interned numbers."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.notes = {name: number for number, name in ANNOTATIONS.items()}
        self._cooled: dict[str, int] = {}

    def of(self, names: Sequence[str]) -> Ints:
        return np.array([self.numbers.setdefault(n, len(self.numbers) + 1) for n in names], np.int64)

    def of_notes(self, names: Sequence[str]) -> Ints:
        return np.array([self.notes.setdefault(n, len(self.notes) + 1) for n in names], np.int64)

    def cool(self, names: Sequence[str]) -> Ints:
        """Colours of things recorded, by their names; the first twelve names have one each."""
        order = [self._cooled.setdefault(n, len(self._cooled)) for n in names]
        return _COOL[0] + np.array(order, np.int64) % len(_COOL)

    def interned(self) -> bytes:
        categories = {name: number for number, name in CATEGORIES.items()}
        colours = {text: number for number, text in COLOURS.items()}
        entries = [(1, categories), (3, self.notes), (43, colours), (2, self.numbers)]
        return b"".join(
            message(number, uint(1, iid) + text(2, name)) for number, table in entries for name, iid in table.items()
        )


@dataclass
class Events:
    """Track events as columns (P,). ``notes``: columns of encoded annotations, arrays (P, W) or Arrow binary (P,)."""

    time: Ints
    kind: Ints
    track: Ints
    category: Ints
    name: Ints
    notes: list[Bytes | pa.Array] = field(default_factory=list)

    @classmethod
    def joined(cls, parts: Sequence[Events]) -> Events:
        """One behind the other."""
        columns = zip(*((e.time, e.kind, e.track, e.category, e.name) for e in parts), strict=True)
        time, kind, track, category, name = map(np.concatenate, columns)
        return cls(time, kind, track, category, name, [pa.concat_arrays([e._noted() for e in parts])])

    def take(self, rows: Ints) -> Events:
        """Some of them, in this order."""
        return Events(
            self.time[rows],
            self.kind[rows],
            self.track[rows],
            self.category[rows],
            self.name[rows],
            [n[rows] if isinstance(n, np.ndarray) else n.take(pa.array(rows)) for n in self.notes],
        )

    def _noted(self) -> pa.Array:
        """The annotations of each as one value (P,)."""
        if not self.notes:
            return pa.repeat(pa.scalar(b"", pa.binary()), len(self.time))
        return pc.binary_join_element_wise(*map(binary, self.notes), b"")

    def write(self, file: IO[bytes]) -> None:
        """Append the packets in order of time; those of one time keep their order."""
        order = np.argsort(self.time, kind="stable")
        for start in range(0, len(order), _AT_ONCE):
            file.write(self.take(order[start : start + _AT_ONCE])._encode())

    def _encode(self) -> memoryview:
        count = len(self.time)
        event = join(
            [
                fixed(9, self.kind, 1),
                fixed(11, self.track, 5),
                fixed(3, self.category, 1),
                fixed(10, self.name, 4),
            ]
        )
        front = join([fixed(10, np.full(count, _SEQUENCE), 1), fixed(8, self.time, 9)])
        front = join([front, fixed(13, np.full(count, _NEEDS), 1)])
        length = sum(map(lengths, self.notes), lengths(event))
        inner = fixed(11, length, 4, wire=2)
        outer = fixed(1, length + front.shape[1] + inner.shape[1], 4, wire=2)
        parts = [binary(join([outer, front, inner, event])), *map(binary, self.notes)]
        joined = pc.binary_join_element_wise(*parts, b"") if len(parts) > 1 else parts[0]
        offsets, data = joined.buffers()[1:]
        first, last = np.frombuffer(offsets, np.int32)[[joined.offset, joined.offset + len(joined)]].tolist()
        return memoryview(data)[first:last]


def fixed(number: int, value: Ints, width: int, wire: int = 0) -> Bytes:
    """A field as columns: its tag, then ``value`` (P,) as a varint of ``width`` bytes -> (P, W)."""
    tag = varint(number << 3 | wire)
    digits = [(value >> (7 * i)) & 0x7F | (0x80 if i < width - 1 else 0) for i in range(width)]
    columns = [np.full(len(value), byte, np.int64) for byte in tag] + digits
    return np.stack(columns, axis=1).astype(np.uint8)


def join(parts: list[Bytes]) -> Bytes:
    """Columns side by side."""
    return np.concatenate(parts, axis=1)


def lengths(part: Bytes | pa.Array) -> Ints:
    """Bytes of each row."""
    if isinstance(part, np.ndarray):
        return np.full(len(part), part.shape[1], np.int64)
    length: Ints = pc.binary_length(part).to_numpy().astype(np.int64)
    return length


def binary(part: Bytes | pa.Array) -> pa.Array:
    """Rows of bytes (P, W) as an Arrow array of binary values (P,)."""
    if not isinstance(part, np.ndarray):
        return part
    offsets = np.arange(len(part) + 1, dtype=np.int32) * part.shape[1]
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(part))]
    return pa.Array.from_buffers(pa.binary(), len(part), buffers)


def text_notes(note: int, texts: pa.ChunkedArray | pa.Array) -> pa.Array:
    """An annotation with a text; empty where the text is null or empty."""
    texts = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    head, values = _parts(note, texts.fill_null(""))
    size = lengths(head) + lengths(values)
    joined = pc.binary_join_element_wise(binary(fixed(4, size, 4, wire=2)), head, values, b"")
    return pc.if_else(pa.array(lengths(values) > 0), joined, pa.scalar(b"", pa.binary()))


def number_notes(note: int, numbers: Ints) -> Bytes:
    """An annotation with a whole number."""
    body = join([fixed(1, np.full(len(numbers), note), 1), fixed(3, numbers, 5)])
    return join([fixed(4, np.full(len(numbers), body.shape[1]), 1, wire=2), body])


def confidence_notes(confidence: NDArray[np.floating[Any]], note: ArrayLike = CONFIDENCE) -> Bytes:
    """How sure each of them is."""
    body = _confidence(confidence, note)
    return join([fixed(4, np.full(len(body), body.shape[1]), 1, wire=2), body])


def inferred_colour(confidence: NDArray[np.floating[Any]]) -> Bytes:
    """A colour that tells how sure each of them is; where nobody says, that of the least sure."""
    return colour(np.where(confidence >= 0.9, DARK_ORANGE, np.where(confidence >= 0.5, ORANGE, LIGHT_ORANGE)))


def colour(number: Ints) -> Bytes:
    """The colour of each; it may stand among the annotations."""
    return fixed(54, number, 1)


def _confidence(confidence: NDArray[np.floating[Any]], note: ArrayLike = CONFIDENCE) -> Bytes:
    double = np.round(confidence.astype("<f8"), 4).view(np.uint8).reshape(-1, 8)
    count = len(double)
    named = fixed(1, np.broadcast_to(np.asarray(note, np.int64), count), 1)
    return join([named, np.full((count, 1), 5 << 3 | 1, np.uint8), double])


def field_notes(names: Names, fields: Flat) -> pa.Array:
    """Of each event's fields an annotation each, which holds its value and how sure that is."""
    coded = fields.names.dictionary_encode()
    number = names.of_notes(coded.dictionary.to_pylist())[coded.indices.to_numpy()]
    values = pc.binary_join_element_wise(*_parts(VALUE, fields.values), b"")
    value = pc.binary_join_element_wise(binary(fixed(11, lengths(values), 4, wire=2)), values, b"")
    sure = _confidence(fields.confidence)
    sure = join([fixed(11, np.full(len(sure), sure.shape[1]), 1, wire=2), sure])
    front = fixed(1, number, 2)
    size = front.shape[1] + lengths(value) + sure.shape[1]
    parts = (binary(fixed(4, size, 4, wire=2)), binary(front), value, binary(sure))
    encoded = pc.binary_join_element_wise(*parts, b"")
    return pc.binary_join(pa.ListArray.from_arrays(pa.array(fields.starts, pa.int32()), encoded), b"")


def _parts(note: int, texts: pa.Array) -> tuple[pa.Array, pa.Array]:
    """The name and the text of an annotation."""
    values = texts.cast(pa.binary())
    size = lengths(values)
    return binary(join([fixed(1, np.full(len(size), note), 1), fixed(6, size, 4, wire=2)])), values
