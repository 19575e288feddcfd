"""What is known of the fields of inferred events, as outputs take it.

Axis legend: I inferred events, F fields of all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise, repeat
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tracemend.mending.mended import FIELDS

#: What stands for a text that nobody knows, as ftrace has it for a command.
UNKNOWN = "<...>"
#: A field's name, its value as text and how sure it is, to four digits.
Known = tuple[str, str, float]


class Flat(NamedTuple):
    """The fields of some events one behind the other: ``starts`` (I + 1,) says whose they are; the others are (F,)."""

    starts: NDArray[np.int64]
    names: pa.Array
    values: pa.Array
    confidence: NDArray[np.float64]

    def of(self, name: str) -> tuple[pa.Array, NDArray[np.float64]]:
        """What each event says of one field, null where it doesn't, and how sure that is (I,)."""
        whose = np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))
        found = np.flatnonzero(pc.equal(self.names, name))
        at = np.full(len(self.starts) - 1, -1)
        at[whose[found]] = found
        return self.values.take(pa.array(at, mask=at < 0)), np.append(self.confidence, np.nan)[at]


def flat(inferred: pa.Table) -> Flat:
    """The fields of all events."""
    column = inferred["fields"]
    column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], FIELDS)
    starts = column.offsets.to_numpy().astype(np.int64)
    first, count = starts[0], starts[-1] - starts[0]
    items = column.items.slice(first, count)
    confidence = np.round(items.field("confidence").to_numpy().astype(np.float64), 4)
    return Flat(starts - first, column.keys.slice(first, count), items.field("value"), confidence)


def known(inferred: pa.Table) -> Iterator[tuple[Known, ...]]:
    """The known fields of each event, in their order."""
    starts, names, values, confidence = flat(inferred)
    if not len(names):
        return repeat((), inferred.num_rows)
    every = list(zip(names.to_pylist(), values.to_pylist(), confidence.tolist(), strict=True))
    return (tuple(every[begin:end]) for begin, end in pairwise(starts.tolist()))
