"""The operations that events are read by, the tables of a program of them, and what a reading leaves behind."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Operations, and what the columns of their rows are: literal text that is written first (its place, its length), then
#: operands, the last of which is the register that takes the value.
(
    INTEGER,
    STRING,
    CHARACTERS,
    ALIGN,
    LITERAL,
    LABEL,
    SWITCH,
    JUMP,
    LOOP,
    AGAIN,
    CLOCK,
    COPY,
    SAVE,
    SEEK,
    OUT,
    EVENT,
    END,
    REAL,
) = range(18)
OP, TEXT_AT, TEXT_LENGTH, A, B, C, D, TO = range(8)
#: Flags of an integer.
LITTLE, SIGNED = 1, 2
#: Registers with a meaning of their own.
NUMBER, NOW, FREE = range(3)
#: Columns of a class's row: its first operation (or NEW, or SLOW), the row's kind (or a table of kinds, from -1 down),
#: and the registers of its thread, its command and its number of call, -1 for none.
ENTRY, KIND, TID, COMM, CALL, BLANK = range(6)
NEW, SLOW = -1, -2
#: Where reading stands: bits, the clock, rows, bytes of text; and what is new, in detail.
START, CLOCK_AT, FLOOR, STOP, ROWS, ARGS, RET, WHOLE, WHAT, WHERE, LENGTH = range(11)
#: Why it stopped: the packet's end, no more room, an event for ``decode``, or something to learn.
DONE, FULL, ODD, NEW_CLASS, NEW_CALL, NEW_COMM = range(6)
#: No clock's value is larger: so none overflows when it moves on.
LATEST = 1 << 62
#: Numbers of calls that have a place in a table; bytes of a command that has one, and places for commands.
CALLS, COMM_BYTES, COMMS = 1024, 16, 1 << 14
#: Bytes for return values.
RETS = 1 << 18
#: Bytes of the longest number.
DIGITS = 24
#: A longer array is none for this loop.
MOST_ELEMENTS = 1 << 16


class Program(NamedTuple):
    """``cases``: lowest and highest value, then an operation or a literal's place and length. ``kinds``: by table and
    number of call. ``comms``: two halves of a command, and its code plus one (0: free)."""

    ops: NDArray[np.int64]
    cases: NDArray[np.int64]
    literals: NDArray[np.uint8]
    classes: NDArray[np.int64]
    kinds: NDArray[np.int32]
    comms: NDArray[np.int64]
    registers: NDArray[np.int64]


class Columns(NamedTuple):
    """Rows of events (E,): ``args_end`` and ``ret_end`` are where their texts end. ``text``: RETS bytes for return
    values, and behind them those of the arguments."""

    now: NDArray[np.int64]
    kind: NDArray[np.int32]
    tid: NDArray[np.int32]
    comm: NDArray[np.int32]
    args_end: NDArray[np.int32]
    ret_end: NDArray[np.int32]
    blank: NDArray[np.uint8]
    text: NDArray[np.uint8]
