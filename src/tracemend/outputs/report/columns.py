"""What the report's page works on: columns of whole numbers and lists of strings, packed as text.

The packed form is base64 of zlib of: one line of JSON, and behind it the columns' bytes. The line has ``strings``
(lists by name) and ``columns``: of each in order its name, length, bytes a number and whether differences are kept. A
number n (or difference) is kept as 2n, or as -2n-1 if it is negative; all numbers' lowest bytes come first, then all
second ones and so on. So bytes that are alike lie together, and times that follow each other take a byte or two.
``data.mjs`` reads it.

Axis legend: V values of a column, B bytes of a number.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracemend.untrusted import printable

Numbers = NDArray[np.integer[Any]]

#: Numbers beyond are cut off: their differences must fit, too.
LARGEST = 1 << 62
#: zlib's level: a higher one takes several times as long for a few percent.
LEVEL = 6


def packed(columns: Mapping[str, Numbers], strings: Mapping[str, Sequence[str]], facts: Mapping[str, Any]) -> str:
    """Columns, strings and whatever else JSON can tell (``facts``) as one text of letters that no HTML minds."""
    told, bodies = [], []
    for name, values in columns.items():
        width, differences, body = _column(np.asarray(values, np.int64))
        told.append([name, len(values), width, differences])
        bodies.append(body)
    shown = {name: [printable(s) for s in held] for name, held in strings.items()}
    head = json.dumps({"columns": told, "strings": shown, **facts}, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(zlib.compress(b"".join([head.encode(), b"\n", *bodies]), LEVEL)).decode()


def _column(values_V: NDArray[np.int64]) -> tuple[int, int, bytes]:
    """Bytes a number, 1 if differences are kept, and the bytes."""
    values_V = np.clip(values_V, -LARGEST, LARGEST)
    plain, steps = _folded(values_V), _folded(np.diff(values_V, prepend=0))
    differences = int(len(values_V) > 1 and steps.astype(np.float64).mean() < plain.astype(np.float64).mean())
    chosen = steps if differences else plain
    width = max(1, (int(chosen.max(initial=0)).bit_length() + 7) // 8)
    bytes_VB = chosen.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :width]
    return width, differences, bytes_VB.T.tobytes()


def _folded(values: NDArray[np.int64]) -> NDArray[np.uint64]:
    """0, -1, 1, -2 and so on as 0, 1, 2, 3: small numbers of either sign are small."""
    return np.asarray((values << 1) ^ (values >> 63)).view(np.uint64)


class Words:
    """Strings by number, in the order in which they came; each only so long as is shown."""

    def __init__(self, longest: int) -> None:
        self.longest = longest
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        if len(text) > self.longest:
            text = text[: self.longest - 1] + "…"
        return self._numbers.setdefault(text, len(self._numbers))

    def numbers(self, texts: Sequence[str]) -> NDArray[np.int64]:
        return np.array([self.number(t) for t in texts], np.int64)

    @property
    def all(self) -> list[str]:
        return list(self._numbers)
