"""Compressed data of a ``trace.dat`` unpacked: zlib and zstd."""

from __future__ import annotations

import zlib

import pyarrow as pa

from tracemend.formats.tracedat.cursor import DamageError


def unpack(compression: str, data: bytes, size: int, at: int) -> bytes:
    """``size`` bytes out of compressed ``data`` that lies at byte ``at``; raises DamageError."""
    if compression == "zlib":
        try:
            unpacked = zlib.decompressobj().decompress(data, size + 1)
        except zlib.error as e:
            raise DamageError(at, f"can't unpack it: {e}") from None
    elif compression == "zstd":
        try:
            unpacked = pa.Codec("zstd").decompress(data, size, asbytes=True)
        except (OSError, ValueError, pa.ArrowException) as e:
            raise DamageError(at, f"can't unpack it: {e}") from None
    else:
        raise DamageError(
            at, f"compressed by {compression[:40]!r}, which tracemend can't unpack (zlib and zstd it can)"
        )
    if len(unpacked) != size:
        raise DamageError(at, f"can't unpack it: it isn't the {size} bytes that it says")
    return bytes(unpacked)
