"""Values of fixed place and size, and the bytes that are read as one value for several of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from tracemend.formats.ctf.types import Refused


@dataclass(slots=True)
class Pending:
    """A value of fixed place and size, not yet read: ``off`` bits behind the base."""

    off: int
    size: int
    code: str  # of struct, for whole bytes in their usual sizes; s for text; empty for bits
    little: bool
    signed: bool
    name: str


@dataclass(slots=True)
class Chunk:
    """Bytes read as one value, with the bit fields cut from it."""

    low: int
    high: int
    code: str
    little: bool
    signed: bool
    name: str
    fields: list[Pending] = field(default_factory=list)


def chunked(pending: list[Pending]) -> list[Chunk]:
    """What is read as one value each: whole bytes, and bit fields that share bytes or follow each other closely."""
    chunks: list[Chunk] = []
    for p in pending:
        low, high = p.off >> 3, p.off + p.size + 7 >> 3
        last = chunks[-1] if chunks else None
        if p.off % 8 == 0 and p.code:
            chunk = Chunk(low, high, p.code, p.little, p.signed, p.name)
        elif last and last.fields and last.little == p.little and (low < last.high or high - last.low <= 8):
            last.high = high
            last.fields.append(p)
            continue
        else:
            chunk = Chunk(low, high, "", p.little, False, f"w{p.name}", [p])
        if last and chunk.low < last.high:
            raise Refused("bit fields of two byte orders within one byte")
        chunks.append(chunk)
    return chunks
