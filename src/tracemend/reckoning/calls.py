"""Which calls were made: enters and exits as an analysis pairs them.

Axis legend: E events in order, C those of them that enter or leave a call, P pairs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracemend.trace.events import ENTER, EXIT, INSTANT, stable_order

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Calls(NamedTuple):
    """rows (C,): the events that enter or leave a call, thread by thread, each thread's in order. first (P,): places in
    ``rows`` of the enters that are followed by their exit. lone (C,): which have no other half beside them."""

    rows: Ints
    first: Ints
    lone: Bools


def paired(tid: NDArray[np.integer[Any]], code: NDArray[np.integer[Any]], phase: NDArray[np.int8]) -> Calls:
    """Each enter with its thread's next event, if that leaves the same call. tid, code (which call), phase: (E,)."""
    rows = stable_order(tid)
    rows = rows[phase[rows] != INSTANT]
    entered, thread, call = phase[rows] == ENTER, tid[rows], code[rows]
    first = np.flatnonzero(
        entered[:-1] & (phase[rows[1:]] == EXIT) & (thread[:-1] == thread[1:]) & (call[:-1] == call[1:])
    )
    lone = np.ones(len(rows), bool)
    lone[first] = lone[first + 1] = False
    return Calls(rows, first, lone)
