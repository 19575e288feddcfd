"""Columns of events on their way from a reader to a trace.

Axis legend: E events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


class Interner:
    """Strings to codes in order of first sight."""

    def __init__(self, names: tuple[str, ...] = ()) -> None:
        self.codes: dict[str, int] = {n: i for i, n in enumerate(names)}

    def __call__(self, name: str) -> int:
        return self.codes.setdefault(name, len(self.codes))

    def dictionary(self) -> pa.Array:
        return pa.array(list(self.codes), pa.string())


@dataclass(frozen=True, slots=True)
class Coded:
    """A column of strings (E,) as codes into those that occur, in the order in which they first do; -1: none."""

    codes: NDArray[np.int32]
    words: list[str]

    @staticmethod
    def of(codes: NDArray[np.integer[Any]], words: list[str]) -> Coded:
        """From codes into a list in any order, of which some may not occur."""
        first = np.full(len(words) + 1, len(codes))
        first[codes[::-1]] = np.arange(len(codes))[::-1]  # what is written last stays
        first[-1] = len(codes)
        order = np.argsort(first[:-1], kind="stable")
        order = order[first[order] < len(codes)]
        renamed = np.full(len(words) + 1, -1, np.int32)
        renamed[order] = np.arange(len(order))
        return Coded(renamed[codes], [words[i] for i in order.tolist()])

    def among(self, interner: Interner) -> NDArray[np.int32]:
        """Their codes there, where new ones get the next."""
        codes = np.array([*map(interner, self.words), -1], np.int32)
        among: NDArray[np.int32] = codes[self.codes]
        return among


@dataclass(frozen=True, slots=True)
class Sorted:
    """All events of a trace in order of time, as columns (E,).

    ``order``: the place of each among ``args`` and ``ret``, which are large strings as they were found. What a format
    doesn't have may be left out: comm (then nobody's), phase (then instants), ret, and line (then the row).
    """

    order: NDArray[np.int64]
    time_ns: NDArray[np.int64]
    cpu: NDArray[np.int32]
    tid: NDArray[np.int32]
    name: NDArray[np.int32]
    args: pa.Array
    ret: pa.Array | None = None
    comm: NDArray[np.int32] | None = None
    phase: NDArray[np.int8] | None = None
    line: NDArray[np.int64] | None = None
