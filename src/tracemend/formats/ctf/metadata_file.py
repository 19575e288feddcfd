"""How a CTF trace's metadata lies in its file: as plain text, or in packets of text (CTF 1.8, chapter 7)."""

from __future__ import annotations

import struct
from pathlib import Path

from tracemend.errors import TraceError

#: How a file of metadata begins: as text, or as packets in either byte order.
TEXT_MAGIC = b"/* CTF 1."
PACKET_MAGIC = 0x75D11D57
#: How metadata of CTF 2 begins: each piece of JSON behind a record separator (RFC 7464).
JSON_MAGIC = b"\x1e"
#: A packet's header: magic, uuid, checksum, content and packet size in bits, compression, encryption, checksum scheme,
#: major and minor version.
PACKET_HEADER = "I16sIIIBBBBB"
#: What the part of the metadata begins with that a mending has added; the rest of the comment is JSON.
MERGED = b"/* tracemend merged: "


def recognise(head: bytes) -> bool:
    """Whether a file begins as metadata does."""
    json = head.startswith(JSON_MAGIC) and head[1:].lstrip()[:1] in (b"", b"{")
    return json or head.startswith(TEXT_MAGIC) or head[:4] in (struct.pack(o + "I", PACKET_MAGIC) for o in "<>")


def unpack(path: Path, raw: bytes) -> bytes:
    """The text that metadata packets hold; text as it is. Raises TraceError with the byte."""
    order = next((o for o in "<>" if raw[:4] == struct.pack(o + "I", PACKET_MAGIC)), None)
    if order is None:
        return raw
    header = struct.Struct(order + PACKET_HEADER)
    parts, at = [], 0
    while at < len(raw):
        if at + header.size > len(raw):
            raise TraceError(path, 0, f"byte {at}: the metadata packet is cut short")
        magic, _, _, content, size, *schemes, major, minor = header.unpack_from(raw, at)
        if magic != PACKET_MAGIC:
            raise TraceError(path, 0, f"byte {at}: no metadata packet")
        if any(schemes[:2]):
            raise TraceError(path, 0, f"byte {at}: compressed or encrypted metadata can't be read")
        if (major, minor) not in ((1, 8), (2, 0)):
            raise TraceError(path, 0, f"byte {at}: CTF {major}.{minor}; only 1.8 and 2.0 can be read")
        if content % 8 or size % 8 or not header.size * 8 <= content <= size or at + size // 8 > len(raw):
            raise TraceError(path, 0, f"byte {at}: a metadata packet of {size} bits with {content} of content")
        parts.append(raw[at + header.size : at + content // 8])
        at += size // 8
    return b"".join(parts)
