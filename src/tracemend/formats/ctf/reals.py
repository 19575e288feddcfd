"""Numbers with a point as Python shows them: the fewest digits that are read as the same number again.

By R. Giulietti's "The Schubfach way to render doubles": of the decimal numbers that lie around a double, within half
the way to its neighbours, the shortest is found with one multiplication for each end, by a power of ten of 128 bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracemend.compiled import compiled

#: Powers of ten that doubles need.
LEAST, MOST = -292, 324
HIDDEN, HALF = 1 << 52, np.uint64(0xFFFFFFFF)
ZERO, POINT, MINUS, PLUS, EXPONENT = b"0.-+e"


def _powers() -> NDArray[np.uint64]:
    """The upper and the lower half of 128 bits of each power of ten, rounded up."""
    rows = []
    for k in range(LEAST, MOST + 1):
        above, below = 10 ** max(k, 0), 10 ** max(-k, 0)
        shift = 128 - (above.bit_length() - below.bit_length())
        value = -(-(above << max(shift, 0)) // (below << max(-shift, 0)))
        while value >= 1 << 128:
            shift -= 1
            value = -(-(above << max(shift, 0)) // (below << max(-shift, 0)))
        rows.append((value >> 64, value & (1 << 64) - 1))
    return np.array(rows, np.uint64)


POWERS = _powers()


@compiled
def _upper(a: Any, b: Any) -> Any:
    """The upper 64 bits of a product."""
    a0, a1, b0, b1 = a & HALF, a >> np.uint64(32), b & HALF, b >> np.uint64(32)
    middle = a1 * b0 + (a0 * b0 >> np.uint64(32))
    other = a0 * b1 + (middle & HALF)
    return a1 * b1 + (middle >> np.uint64(32)) + (other >> np.uint64(32))


@compiled
def _scaled(k: int, c: Any) -> Any:
    """The upper bits of a power of ten times a number, the last one set where there are more behind it."""
    high, low = POWERS[k - LEAST, 0], POWERS[k - LEAST, 1]
    rest = high * c + _upper(low, c)
    carry = np.uint64(1) if rest < high * c else np.uint64(0)
    odd = np.uint64(1) if rest > np.uint64(1) else np.uint64(0)
    return _upper(high, c) + carry | odd


@compiled
def _shortest(fraction: int, exponent: int) -> tuple[Any, int]:
    """The digits, and how many zeros follow them, of a double that is neither zero nor infinite."""
    c, q = (fraction | HIDDEN, exponent - 1075) if exponent else (fraction, -1074)
    closer = fraction == 0 and exponent > 1
    k = (q * 1262611 - (524031 if closer else 0)) >> 22
    shift = np.uint64(q + ((-k * 1741647) >> 19) + 1)
    even = np.uint64(c & 1)  # an end that is the number's own counts where the number is even
    four = np.uint64(4 * c)
    lower = _scaled(-k, (four - np.uint64(1 if closer else 2)) << shift) + even
    value = _scaled(-k, four << shift)
    upper = _scaled(-k, (four + np.uint64(2)) << shift) - even
    s = value >> np.uint64(2)
    if s >= np.uint64(10):
        tens = s // np.uint64(10)
        below, above = lower <= np.uint64(40) * tens, np.uint64(40) * tens + np.uint64(40) <= upper
        if below != above:
            return (tens + np.uint64(1) if above else tens), k + 1
    below, above = lower <= np.uint64(4) * s, np.uint64(4) * s + np.uint64(4) <= upper
    if below != above:
        return (s + np.uint64(1) if above else s), k
    middle = np.uint64(4) * s + np.uint64(2)
    up = value > middle or (value == middle and s & np.uint64(1))
    return (s + np.uint64(1) if up else s), k


@compiled
def _widened(raw: int) -> Any:
    """The bits of a double of the same value as a float's."""
    sign, exponent, fraction = raw >> 31 & 1, raw >> 23 & 255, np.int64(raw & 0x7FFFFF)
    if exponent == 255:
        exponent = 2047
    elif exponent:
        exponent += 896
    elif fraction:
        exponent = 897
        while not fraction & 0x800000:
            fraction <<= 1
            exponent -= 1
        fraction &= 0x7FFFFF
    return np.int64(sign) << 63 | np.int64(exponent) << 52 | fraction << 29


@compiled
def real(text: NDArray[np.uint8], at: int, raw: Any, size: int) -> int:
    """Write a number of 32 or 64 bits; returns where it ends, at most 24 bytes further on."""
    if size == 32:
        raw = _widened(raw)
    exponent, fraction = raw >> 52 & 2047, raw & (HIDDEN - 1)
    if exponent == 2047 and fraction:
        text[at], text[at + 1], text[at + 2] = 110, 97, 110  # nan
        return at + 3
    if raw < 0:
        text[at] = MINUS
        at += 1
    if exponent == 2047:
        text[at], text[at + 1], text[at + 2] = 105, 110, 102  # inf
        return at + 3
    if not exponent and not fraction:
        text[at], text[at + 1], text[at + 2] = ZERO, POINT, ZERO
        return at + 3
    digits, zeros = _shortest(fraction, exponent)
    ten = np.uint64(10)
    while digits // ten * ten == digits:
        digits //= ten
        zeros += 1
    count, left = 1, digits // ten
    while left:
        left //= ten
        count += 1
    point = count + zeros
    short = -4 < point <= 16
    before = point if short else 1  # digits in front of the point
    if before <= 0:
        text[at], text[at + 1] = ZERO, POINT
        for k in range(-before):
            text[at + 2 + k] = ZERO
        at += 2 - before
    for k in range(count - 1, -1, -1):
        rest = digits // ten
        text[at + k + (1 if 0 < before <= k else 0)] = np.uint8(np.uint64(ZERO) + digits - rest * ten)
        digits = rest
    if 0 < before < count:
        text[at + before] = POINT
        at += 1
    at += count
    if not short:
        power = point - 1
        text[at], text[at + 1] = EXPONENT, MINUS if power < 0 else PLUS
        power, at = abs(power), at + 2
        if power >= 100:
            text[at] = ZERO + power // 100
            at += 1
        text[at], text[at + 1] = ZERO + power // 10 % 10, ZERO + power % 10
        return at + 2
    if before >= count:
        for k in range(before - count):
            text[at + k] = ZERO
        at += before - count
        text[at], text[at + 1] = POINT, ZERO
        at += 2
    return at
