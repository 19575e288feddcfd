"""Values out of bits, and what they look like as text: the parts of ``kernel`` that know no program."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracemend.compiled import compiled
from tracemend.formats.ctf.operations import LITTLE, SIGNED


@compiled
def bits(data: NDArray[np.uint8], bit: int, size: int, flags: int) -> Any:
    """The 1 to 64 bits from ``bit`` on, all of which there are."""
    at, off = bit >> 3, bit & 7
    value = np.int64(0)
    if flags == LITTLE and not off and size == 64:
        return (  # one load
            np.int64(data[at])
            | np.int64(data[at + 1]) << 8
            | np.int64(data[at + 2]) << 16
            | np.int64(data[at + 3]) << 24
            | np.int64(data[at + 4]) << 32
            | np.int64(data[at + 5]) << 40
            | np.int64(data[at + 6]) << 48
            | np.int64(data[at + 7]) << 56
        )
    if flags & LITTLE:
        value |= np.int64(data[at]) >> off
        got = 8 - off
        while got < size:
            at += 1
            value |= np.int64(data[at]) << got
            got += 8
    else:
        value |= np.int64(data[at]) & (255 >> off)
        got = 8 - off
        while got + 8 <= size:
            at += 1
            value = value << 8 | np.int64(data[at])
            got += 8
        if got < size:
            rest = size - got
            value = value << rest | np.int64(data[at + 1]) >> (8 - rest)
        elif got > size:
            value >>= got - size
    if size < 64:
        value &= (np.int64(1) << size) - 1
        if flags & SIGNED and value >> (size - 1):
            value -= np.int64(1) << size
    return value


@compiled
def number(text: NDArray[np.uint8], at: int, value: Any, size: int, signed: int, base: int) -> int:
    """Write a number; returns where it ends, at most DIGITS further on."""
    if base == 10:
        left = np.uint64(value)
        if signed and value < 0:
            text[at] = 45
            at += 1
            left = np.uint64(-value)
        count, beyond = 1, left // np.uint64(10)
        while beyond:
            beyond //= np.uint64(10)
            count += 1
        for k in range(at + count - 1, at - 1, -1):
            rest = left // np.uint64(10)
            text[k] = np.uint8(np.uint64(48) + left - rest * np.uint64(10))
            left = rest
        return at + count
    step = 4 if base == 16 else 3
    if size < 64:
        value &= (np.int64(1) << size) - 1
    text[at] = 48
    at += 1
    if base == 16:
        text[at] = 120
        at += 1
    top = (size - 1) // step * step
    while top and not value >> top & ((1 << step) - 1 if top + step <= 64 else 1):
        top -= step
    while top >= 0:
        digit = value >> top & ((1 << step) - 1 if top + step <= 64 else 1)
        text[at] = np.uint8(48 + digit if digit < 10 else 87 + digit)
        at += 1
        top -= step
    return at


@compiled
def quoted(text: NDArray[np.uint8], at: int, data: NDArray[np.uint8], begin: int, end: int) -> int:
    """Write bytes in quotes, as C does, at most four for each and two; returns where they end, -1 beyond ASCII."""
    text[at] = 34
    at += 1
    for k in range(begin, end):
        byte = data[k]
        if byte >= 128:
            return -1
        if byte >= 32 and byte not in (34, 92, 127):
            text[at] = byte
            at += 1
            continue
        text[at] = 92
        at += 1
        if byte in (34, 92):
            text[at] = byte
        elif byte == 10:
            text[at] = 110
        elif byte == 9:
            text[at] = 116
        elif byte == 13:
            text[at] = 114
        else:
            text[at] = 120
            text[at + 1] = 48 + (byte >> 4)
            low = byte & 15
            text[at + 2] = 48 + low if low < 10 else 87 + low
            at += 2
        at += 1
    text[at] = 34
    return at + 1
