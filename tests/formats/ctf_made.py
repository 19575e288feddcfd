"""Made-up CTF traces: types drawn at random, with values, their text and their bits, written as the specification says.

Bits are laid one by one, which is slow and plain: little-endian numbers from a byte's lowest bit up, big-endian ones
from its highest bit down.
"""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

MAGIC = 0xC1FC1FC1
UUID = uuid.UUID("12345678-1234-5678-1234-567812345678")


class Bits:
    """A packet that grows bit by bit."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.at = 0

    def align(self, to: int) -> None:
        while self.at % to:
            self.bit(0)

    def bit(self, value: int, big: bool = False) -> None:
        if self.at % 8 == 0:
            self.data.append(0)
        self.data[-1] |= value << (7 - self.at % 8 if big else self.at % 8)
        self.at += 1

    def number(self, value: int, size: int, little: bool = True, align: int = 1) -> None:
        self.align(align)
        for i in range(size):
            self.bit(value >> (i if little else size - 1 - i) & 1, not little)


@dataclass
class Int:
    size: int
    signed: bool
    little: bool
    base: int
    align: int
    clock: str = ""

    def tsdl(self, name: str) -> str:
        order = "le" if self.little else "be"
        mapped = f" map = clock.{self.clock}.value;" if self.clock else ""
        attributes = f"size = {self.size}; align = {self.align}; signed = {str(self.signed).lower()};"
        return f"integer {{ {attributes} byte_order = {order}; base = {self.base};{mapped} }} {name};"

    def draw(self, rng: Random) -> int:
        low, high = (-(1 << (self.size - 1)), (1 << (self.size - 1)) - 1) if self.signed else (0, (1 << self.size) - 1)
        return rng.choice([low, high, 0, rng.randint(low, high)])

    def write(self, bits: Bits, value: int) -> None:
        bits.number(value & ((1 << self.size) - 1), self.size, self.little, self.align)

    def text(self, value: int) -> str:
        unsigned = value & ((1 << self.size) - 1)
        return {10: str(value), 16: f"{unsigned:#x}", 8: f"0{unsigned:o}", 2: f"{unsigned:#b}"}[self.base]


@dataclass
class Real:
    size: int
    little: bool
    align: int

    def tsdl(self, name: str) -> str:
        digits = "exp_dig = 8; mant_dig = 24;" if self.size == 32 else "exp_dig = 11; mant_dig = 53;"
        return (
            f"floating_point {{ {digits} byte_order = {'le' if self.little else 'be'}; align = {self.align}; }} {name};"
        )

    def draw(self, rng: Random) -> float:
        value = rng.choice([0.0, -1.5, rng.random(), 1e30])
        return float(struct.unpack("f", struct.pack("f", value))[0]) if self.size == 32 else value

    def write(self, bits: Bits, value: float) -> None:
        raw = struct.pack("<f" if self.size == 32 else "<d", value)
        bits.number(int.from_bytes(raw, "little"), self.size, self.little, self.align)

    def text(self, value: float) -> str:
        return repr(value)


@dataclass
class Words:
    """A string, or text of a fixed length or of one that another field tells."""

    length: int | str = ""

    def tsdl(self, name: str) -> str:
        if self.length == "":
            return f"string {{ encoding = UTF8; }} {name};"
        return f"integer {{ size = 8; align = 8; signed = true; encoding = UTF8; }} {name}[{self.length}];"

    def draw(self, rng: Random) -> str:
        word = rng.choice(["", "a", 'say "x"\n', "naïve", "back\\slash", "\x01"])
        return word if not isinstance(self.length, int) else word.encode()[: self.length].decode(errors="ignore")

    def write(self, bits: Bits, value: str) -> None:
        bits.align(8)
        raw = value.encode()
        for byte in (
            raw + b"\0" if self.length == "" else raw.ljust(self.length if isinstance(self.length, int) else 0, b"\0")
        ):
            bits.number(byte, 8)

    def text(self, value: str) -> str:
        escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\x01": "\\x01"}
        return '"' + "".join(escapes.get(c, c) for c in value) + '"'


@dataclass
class Enum:
    container: Int
    labels: list[tuple[str, int, int]]

    def tsdl(self, name: str) -> str:
        listed = ", ".join(f'"{n}" = {a} ... {b}' if a != b else f"{n} = {a}" for n, a, b in self.labels)
        return f"enum : {self.container.tsdl('').strip().removesuffix(';').strip()} {{ {listed} }} {name};"

    def draw(self, rng: Random) -> int:
        return rng.randint(*rng.choice(self.labels)[1:])

    def write(self, bits: Bits, value: int) -> None:
        self.container.write(bits, value)

    def text(self, value: int) -> str:
        label = next((n for n, a, b in self.labels if a <= value <= b), None)
        return f"{label}({value})" if label else str(value)


@dataclass
class Many:
    """An array, or a sequence whose length another field tells."""

    element: Any
    length: int | str

    def tsdl(self, name: str) -> str:
        return str(self.element.tsdl(f"{name}[{self.length}]"))

    def draw(self, rng: Random) -> list[Any]:
        return [
            self.element.draw(rng) for _ in range(self.length if isinstance(self.length, int) else rng.randint(0, 20))
        ]

    def write(self, bits: Bits, value: list[Any]) -> None:
        bits.align(alignment(self.element))
        for v in value:
            self.element.write(bits, v)

    def text(self, value: list[Any]) -> str:
        return "[" + ", ".join(map(self.element.text, value)) + "]"


@dataclass
class Choice:
    """A variant, whose tag is the enumeration named ``tag`` beside it."""

    tag: str
    options: list[tuple[str, Any]]

    def tsdl(self, name: str) -> str:
        return f"variant <{self.tag}> {{ {' '.join(t.tsdl(n) for n, t in self.options)} }} {name};"


@dataclass
class Struct:
    members: list[tuple[str, Any]] = field(default_factory=list)
    align: int = 1

    def tsdl(self, name: str) -> str:
        return f"struct {{ {' '.join(t.tsdl(n) for n, t in self.members)} }} align({self.align}) {name};"

    def draw(self, rng: Random) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, kind in self.members:
            if isinstance(kind, Choice):
                tag = dict(self.members)[kind.tag]
                label = next(n for n, a, b in tag.labels if a <= values[kind.tag] <= b)
                values[name] = label, dict(kind.options)[label].draw(rng)
            else:
                values[name] = kind.draw(rng)
            if isinstance(kind, Many | Words) and isinstance(kind.length, str) and kind.length:
                size = values[name].encode() if isinstance(kind, Words) else values[name]
                values[kind.length] = len(size)
        return values

    def write(self, bits: Bits, value: dict[str, Any]) -> None:
        bits.align(alignment(self))
        for name, kind in self.members:
            if isinstance(kind, Choice):
                dict(kind.options)[value[name][0]].write(bits, value[name][1])
            else:
                kind.write(bits, value[name])

    def texts(self, value: dict[str, Any]) -> list[tuple[str, str]]:
        found = []
        for name, kind in self.members:
            v = value[name]
            found.append((name, dict(kind.options)[v[0]].text(v[1]) if isinstance(kind, Choice) else kind.text(v)))
        return found

    def text(self, value: dict[str, Any]) -> str:
        return "{" + ", ".join(f"{n}={t}" for n, t in self.texts(value)) + "}"


def alignment(kind: Any) -> int:
    if isinstance(kind, Struct):
        return max([kind.align, *(alignment(t) for _, t in kind.members)])
    if isinstance(kind, Many):
        return alignment(kind.element)
    if isinstance(kind, Words):
        return 8
    if isinstance(kind, Choice):
        return 1
    return int(kind.container.align if isinstance(kind, Enum) else kind.align)


def draw_struct(rng: Random, little: bool, depth: int = 0, most: int = 6) -> Struct:
    """A structure of random fields; bit fields have the trace's byte order, whole bytes any."""
    found = Struct(align=rng.choice([1, 1, 8, 16, 32]))
    for i in range(rng.randint(1, most)):
        name = f"f{i}"
        match rng.choice(
            ["int", "int", "bits", "real", "words", "enum", "text", "array", "sequence", "struct", "variant"]
        ):
            case "bits":
                found.members.append((name, draw_int(rng, little, bits=True)))
            case "real":
                align = rng.choice([1, 8, 32])
                order = little if align == 1 else rng.random() < 0.5
                found.members.append((name, Real(rng.choice([32, 64]), order, align)))
            case "words":
                found.members.append((name, Words()))
            case "enum":
                found.members.append((name, Enum(draw_int(rng, little, unsigned=True), LABELS)))
            case "text":
                found.members.append((name, Words(rng.randint(1, 9))))
            case "array":
                found.members.append((name, Many(draw_any(rng, little, depth), rng.choice([1, 2, 3, 16, 17, 40]))))
            case "sequence":
                length = Int(rng.choice([8, 16, 32]), False, little, 10, 8)
                found.members.append((f"{name}_length", length))
                if rng.random() < 0.3:
                    found.members.append((name, Words(f"{name}_length")))
                else:
                    found.members.append((name, Many(draw_any(rng, little, depth), f"{name}_length")))
            case "struct" if depth < 2:
                found.members.append((name, draw_struct(rng, little, depth + 1, 4)))
            case "variant" if depth < 2:
                found.members.append((f"{name}_tag", Enum(draw_int(rng, little, unsigned=True), LABELS)))
                options = [(label, draw_any(rng, little, depth)) for label, _, _ in LABELS]
                found.members.append((name, Choice(f"{name}_tag", options)))
            case _:
                found.members.append((name, draw_int(rng, little)))
    # a sequence's length stands in front of it, and its value is known only when it is drawn
    return found


LABELS = [("one", 1, 1), ("few", 2, 4), ("more", 5, 7)]


def draw_int(rng: Random, little: bool, *, bits: bool = False, unsigned: bool = False) -> Int:
    size = rng.randint(3, 64) if bits else rng.choice([8, 16, 32, 64])
    align = 1 if bits or rng.random() < 0.3 else rng.choice([8, size])
    signed = not unsigned and rng.random() < 0.5
    order = little if align == 1 or size == 8 else rng.random() < 0.5
    return Int(size, signed, order, rng.choice([10, 10, 16, 8, 2]), align)


def draw_any(rng: Random, little: bool, depth: int) -> Any:
    pick = rng.random()
    if pick < 0.4 or depth >= 2:
        return draw_int(rng, little, bits=rng.random() < 0.4)
    if pick < 0.5:
        return Real(64, little, 8)
    if pick < 0.6:
        return Words()
    return draw_struct(rng, little, depth + 1, 3)


@dataclass
class Made:
    """A made-up trace of one stream: events as (time, fields' values), in packets."""

    fields: Struct
    little: bool
    context: Struct | None = None
    frequency: int = 1_000_000_000
    offset_s: int = 0
    offset: int = 0
    stamp: int = 64
    names: tuple[str, ...] = ("made",)
    cpus: bool = True
    instance: int | None = None

    def metadata(self) -> str:
        order = "le" if self.little else "be"
        stamp = Int(self.stamp, False, self.little, 10, 1 if self.stamp % 8 else 8, "c")
        number = "uint32_t id;" if len(self.names) > 1 else ""
        instance = "" if self.instance is None else "integer { size = 64; align = 8; } stream_instance_id;"
        context = f"event.context := {self.context.tsdl('').strip().removesuffix(';')};" if self.context else ""
        return f"""/* CTF 1.8 */
        typealias integer {{ size = 32; align = 8; signed = false; }} := uint32_t;
        typealias integer {{ size = 64; align = 8; signed = false; }} := unsigned long;
        trace {{ major = 1; minor = 8; uuid = "{UUID}"; byte_order = {order};
          packet.header := struct {{ uint32_t magic; integer {{ size = 8; }} uuid[16]; uint32_t stream_id;
            {instance} }}; }};
        clock {{ name = c; freq = {self.frequency}; offset_s = {self.offset_s}; offset = {self.offset}; }};
        typealias integer {{ size = 64; align = 8; signed = false; map = clock.c.value; }} := time_t;
        stream {{ id = 0;
          packet.context := struct {{ time_t timestamp_begin; time_t timestamp_end; unsigned long content_size;
            unsigned long packet_size; unsigned long packet_seq_num; unsigned long events_discarded;
            {"uint32_t cpu_id;" if self.cpus else ""} }};
          event.header := struct {{ {number} {stamp.tsdl("timestamp")} }} align(8);
          {context} }};
        """ + "".join(
            f"""event {{ name = "{name}"; id = {i}; stream_id = 0;
            fields := {self.fields.tsdl("").strip().removesuffix(";")}; }};
            """
            for i, name in enumerate(self.names)
        )

    def packet(
        self, events: list[tuple[int, dict[str, Any]]], *, sequence: int = 0, discarded: int = 0, **other: Any
    ) -> bytes:
        """One packet; ``other``: begin, end, cpu, contexts and ids of the events, size and content (bits)."""
        bits = Bits()
        instance = () if self.instance is None else ((self.instance, 64),)
        for value, size in ((MAGIC, 32), *((b, 8) for b in UUID.bytes), (0, 32), *instance):
            bits.number(value, size, self.little)
        times = [t for t, _ in events] or [0]
        begin, end = other.get("begin", times[0]), other.get("end", times[-1])
        contents = bits.at + 6 * 64 + (32 if self.cpus else 0)
        body = Bits()
        body.data, body.at = bytearray(contents >> 3), contents
        for i, (time, values) in enumerate(events):
            body.align(8)
            if len(self.names) > 1:
                body.number(other["ids"][i], 32, self.little)
            body.number(time & ((1 << self.stamp) - 1), self.stamp, self.little)
            if self.context:
                self.context.write(body, other["contexts"][i])
            self.fields.write(body, values)
        content = other.get("content", body.at)
        size = other.get("size", -(-body.at // 64) * 64)
        for value in (begin, end, content, size, sequence, discarded):
            bits.number(value, 64, self.little)
        if self.cpus:
            bits.number(other.get("cpu", 0), 32, self.little)
        whole = bytes(bits.data) + bytes(body.data[contents >> 3 :])
        return whole.ljust(-(-body.at // 64) * 8, b"\0")

    def write(self, folder: Path, streams: list[list[bytes]]) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "metadata").write_text(self.metadata())
        for i, packets in enumerate(streams):
            (folder / f"stream_{i}").write_bytes(b"".join(packets))
        return folder
