"""The compiled loop that reads events by a program: a table of operations, made by ``program`` of the metadata's types.

It knows nothing of errors. At whatever isn't plain (damage, text beyond ASCII, numbers beyond 63 bits, a kind of event
or a command that is new) it stops in front of that event, with nothing of it kept, and says why; whoever called it
learns what is new, or has that one event read by the functions of ``decode``, which can say what is wrong.

Nothing checks its indices, so this is why they are in range. Operations, registers, cases and literals are this
package's own: ``program`` made them, and jumps go only to operations that it wrote. What comes from the trace only ever
indexes three things: the packet, of which no byte is read before the bits up to its end were counted; the tables of
event classes and of numbers of calls, whose bounds are compared with first; and the texts, where each operation first
sees to it that the most that it may write has room. Each round of a loop takes at least a bit of the packet.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracemend.compiled import compiled
from tracemend.formats.ctf.digits import bits, number, quoted
from tracemend.formats.ctf.operations import (
    AGAIN,
    ALIGN,
    ARGS,
    BLANK,
    CALL,
    CALLS,
    CHARACTERS,
    CLOCK,
    CLOCK_AT,
    COMM,
    COMM_BYTES,
    COPY,
    DIGITS,
    DONE,
    END,
    ENTRY,
    EVENT,
    FLOOR,
    FULL,
    INTEGER,
    JUMP,
    KIND,
    LABEL,
    LATEST,
    LENGTH,
    LOOP,
    MOST_ELEMENTS,
    NEW,
    NEW_CALL,
    NEW_CLASS,
    NEW_COMM,
    NOW,
    NUMBER,
    ODD,
    OP,
    OUT,
    REAL,
    RET,
    RETS,
    ROWS,
    SAVE,
    SEEK,
    SIGNED,
    START,
    STOP,
    STRING,
    SWITCH,
    TEXT_AT,
    TEXT_LENGTH,
    TID,
    TO,
    WHAT,
    WHERE,
    WHOLE,
    A,
    B,
    C,
    Columns,
    D,
    Program,
)
from tracemend.formats.ctf.reals import real


@compiled
def place(comms: NDArray[np.int64], first: int, second: int) -> int:
    """Where a command of these halves is among ``comms``, or would be: there is always a free place."""
    mixed = (first ^ (second * 31)) * -7046029254386353131
    at = (mixed >> 40) & (len(comms) - 1)
    while comms[at, 2] and (comms[at, 0] != first or comms[at, 1] != second):
        at = (at + 1) & (len(comms) - 1)
    return at


@compiled
def half(data: NDArray[np.uint8], begin: int, end: int) -> Any:
    """Up to eight bytes as one number."""
    value = np.int64(0)
    for k in range(begin, min(begin + 8, end)):
        value |= np.int64(data[k]) << 8 * (k - begin)
    return value


@compiled
def decode(program: Program, data: NDArray[np.uint8], state: NDArray[np.int64], columns: Columns) -> int:
    """Read events until something is in the way; returns what. ``state`` is where it stands before and after."""
    ops, cases, literals, classes, kinds, comms, registers = program
    nows, row_kinds, tids, row_comms, args_end, ret_end, blank, out = columns
    start, now, floor, n = state[START], state[CLOCK_AT], state[FLOOR], state[ROWS]
    args_used, ret_used = state[ARGS], state[RET]
    stop, whole = state[STOP], len(data) * 8
    only = registers[NUMBER]
    status = DONE
    while start < stop:
        if n >= len(nows):
            status = FULL
            break
        bit, ip, row = start, 0, 0
        at, room, other_at, other_room = args_used, len(out), ret_used, RETS
        registers[NUMBER], registers[NOW] = only, now
        status = ODD
        while True:
            op = ops[ip, OP]
            length = ops[ip, TEXT_LENGTH]
            if at + length + DIGITS > room:
                status = FULL
                break
            if length:
                literal = ops[ip, TEXT_AT]
                for k in range(length):
                    out[at + k] = literals[literal + k]
                at += length
            a = ops[ip, A]
            ip += 1
            if op == INTEGER:  # A: size, B: alignment, C: flags, D: base (0: not shown)
                i = ip - 1
                align = ops[i, B]
                bit = (bit + align - 1) & -align
                if bit + a > whole:
                    break
                flags = ops[i, C]
                value = bits(data, bit, a, flags)
                bit += a
                base = ops[i, D]
                if base:
                    at = number(out, at, value, a, flags & SIGNED, base)
                to = ops[i, TO]
                if to >= 0:
                    registers[to] = value
                    if a == 64 and value < 0 and not flags & SIGNED:
                        break
            elif op == REAL:  # as INTEGER; D: shown
                i = ip - 1
                align = ops[i, B]
                bit = (bit + align - 1) & -align
                if bit + a > whole:
                    break
                if ops[i, D]:
                    at = real(out, at, bits(data, bit, a, ops[i, C]), a)
                bit += a
            elif op in (STRING, CHARACTERS):  # A: length or -1, B: its register, C: shown
                begin = (bit + 7) >> 3
                i = ip - 1
                if op == STRING:
                    end = begin
                    while end < len(data) and data[end]:
                        end += 1
                    if end >= len(data):
                        break
                    bit = (end + 1) * 8
                else:
                    count = a if a >= 0 else registers[ops[i, B]]
                    if count < 0 or count > len(data) - begin:
                        break
                    bit = (begin + count) * 8
                    end = begin
                    while end < begin + count and data[end]:
                        end += 1
                if ops[i, C]:
                    if at + 4 * (end - begin) + DIGITS > room:
                        status = FULL
                        break
                    at = quoted(out, at, data, begin, end)
                    if at < 0:
                        break
                to = ops[i, TO]
                if to >= 0:
                    registers[to], registers[to + 1] = begin, end
            elif op == ALIGN:
                bit = (bit + a - 1) & -a
            elif op == LABEL:  # A: register, B and C: its cases, in order
                value = registers[a]
                low, high = ops[ip - 1, B], ops[ip - 1, C]
                last = high
                while low < high:
                    middle = (low + high) >> 1
                    if cases[middle, 1] < value:
                        low = middle + 1
                    else:
                        high = middle
                if low < last and cases[low, 0] <= value:
                    length = cases[low, 3]
                    if at + length + 2 * DIGITS > room:
                        status = FULL
                        break
                    for k in range(length):
                        out[at + k] = literals[cases[low, 2] + k]
                    at += length
                    out[at] = 40
                    at = number(out, at + 1, value, 64, 1, 10)
                    out[at] = 41
                    at += 1
                else:
                    at = number(out, at, value, 64, 1, 10)
            elif op == SWITCH:  # A: register, B and C: its cases, of which the first counts; D: else
                value = registers[a]
                i = ip - 1
                ip = ops[i, D]
                for k in range(ops[i, B], ops[i, C]):
                    if cases[k, 0] <= value <= cases[k, 1]:
                        ip = cases[k, 2]
                        break
                if ip < 0:
                    break
            elif op == JUMP:
                ip = a
            elif op == LOOP:  # A: length or -1, B: its register, D: behind the loop; TO: counts down
                i = ip - 1
                count = a if a >= 0 else registers[ops[i, B]]
                if count < 0 or count > MOST_ELEMENTS:
                    break
                registers[ops[i, TO]] = count
                if not count:
                    ip = ops[i, D]
            elif op == AGAIN:  # A: the loop's first operation, B and C: the literal between two rounds; TO: counts down
                i = ip - 1
                to = ops[i, TO]
                registers[to] -= 1
                if registers[to]:
                    ip = a
                    for k in range(ops[i, C]):
                        out[at + k] = literals[ops[i, B] + k]
                    at += ops[i, C]
            elif op == CLOCK:  # A: register of its value, B: size
                value, size = registers[a], ops[ip - 1, B]
                if size < 64:
                    value = registers[NOW] + ((value - registers[NOW]) & ((np.int64(1) << size) - 1))
                if value < 0 or value >= LATEST:
                    break
                registers[NOW] = value
            elif op == COPY:
                registers[ops[ip - 1, TO]] = registers[a]
            elif op == SAVE:
                registers[ops[ip - 1, TO]] = bit
            elif op == SEEK:
                bit = registers[a]
            elif op == OUT:
                at, other_at = other_at, at
                room, other_room = other_room, room
            elif op == EVENT:
                row = registers[NUMBER]
                if registers[NOW] < floor or row < 0 or row >= len(classes):
                    break
                ip = classes[row, ENTRY]
                if ip == NEW:
                    status, state[WHAT] = NEW_CLASS, row
                if ip < 0:
                    break
            elif op == END:
                status = DONE
                break
        if status:
            break
        if bit <= start:
            status = ODD
            break
        kind = classes[row, KIND]
        if kind < 0:
            call = registers[classes[row, CALL]] if classes[row, CALL] >= 0 else np.int64(-1)
            if call < 0 or call >= CALLS:
                status = ODD
                break
            table = -1 - kind
            kind = np.int64(kinds[table, call])
            if kind < 0:
                status, state[WHAT], state[WHERE] = NEW_CALL, call, table
                break
        comm, to = np.int64(-1), classes[row, COMM]
        if to >= 0:
            begin, end = registers[to], registers[to + 1]
            if end - begin > COMM_BYTES:
                status = ODD
                break
            known = place(comms, half(data, begin, end), half(data, begin + 8, end))
            comm = comms[known, 2] - 1
            if comm < 0:
                status, state[WHAT], state[WHERE], state[LENGTH] = NEW_COMM, known, begin, end - begin
                break
        tid, to = np.int64(-1), classes[row, TID]
        if to >= 0 and -1 <= registers[to] < 1 << 31:
            tid = registers[to]
        args_used, ret_used = at, other_at
        start, now = bit, registers[NOW]
        if state[WHOLE]:
            start = (start + 7) & -8
        floor = now
        nows[n], row_kinds[n], tids[n], row_comms[n] = now, kind, tid, comm
        args_end[n], ret_end[n], blank[n] = args_used, ret_used, classes[row, BLANK]
        n += 1
    state[START], state[CLOCK_AT], state[FLOOR], state[ROWS] = start, now, floor, n
    state[ARGS], state[RET] = args_used, ret_used
    registers[NUMBER] = only
    return status
