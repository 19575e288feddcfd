"""The compiled loops that read the kernel's lines in large inputs: each walks the bytes once, where array operations
walk them once a field. Positions lie within a line, and lines within the chunk.

Axis legend: D bytes of a chunk with what is behind it, N lines, K events.
"""

from __future__ import annotations

import numpy as np

from tracemend.compiled import inlined, lean
from tracemend.formats.kernel import LATEST, LONGEST_HEAD
from tracemend.formats.kernel_details import (
    CLOSE,
    COLON,
    DOT,
    EQUALS,
    MINUS,
    NAMED,
    NAMED_ENTER,
    NAMED_EXIT,
    NINE,
    OPEN,
    OTHER,
    RAW_ENTER,
    RAW_EXIT,
    SPACE,
    ZERO,
)
from tracemend.formats.text import Bools, Bytes, Ints
from tracemend.formats.text_scan import Codes, Table, byte_at, code_of, eight_at, find, first_of, same, zeros
from tracemend.trace.events import ENTER, EXIT, INSTANT

_COLONS, _SPACES, _OPENS = (np.uint64(c) * np.uint64(0x0101010101010101) for c in (COLON, SPACE, OPEN))


#: Rows of what ``scan_lines`` finds: the head (-1: none), the time, begin, end and code of the event's word.
HEAD, TIME, WORD, AFTER, CODE = range(5)
#: In place of the phase of a call: its arguments begin with a parenthesis that nothing closes.
UNCLOSED = 3


@inlined
def _is_digit(byte: int) -> bool:
    return ZERO <= byte <= NINE


@inlined
def _time(data: Bytes, begin: int, end: int, pointed: bool) -> tuple[int, int, int]:
    """The number at ``begin`` without its point, its decimals, and the colon behind it that a space follows; 0 where
    there is no such thing, or one of so many digits that it may not fit."""
    at, value, decimals = begin, 0, 0
    while at < end and _is_digit(byte_at(data, at)):
        value = value * 10 + (byte_at(data, at) - ZERO)
        at += 1
    if at == begin:
        return 0, 0, 0
    if pointed:
        point = at
        at += 1
        if at < end and byte_at(data, point) == DOT:
            while at < end and _is_digit(byte_at(data, at)):
                value = value * 10 + (byte_at(data, at) - ZERO)
                at += 1
        decimals = at - point - 1
        if decimals == 0:
            return 0, 0, 0
    if at + 1 >= end or at - begin > 18 or byte_at(data, at) != COLON or byte_at(data, at + 1) != SPACE:
        return 0, 0, 0
    return value, decimals, at


@inlined
def _first_time(data: Bytes, start: int, end: int, pointed: bool) -> int:
    """Where the first time of a line begins; ``end`` if there is none."""
    colon = find(data, start, end, _COLONS)
    while colon + 1 < end:
        if byte_at(data, colon + 1) == SPACE:
            at = colon
            while at > start and _is_digit(byte_at(data, at - 1)):
                at -= 1
            if pointed and start < at < colon and byte_at(data, at - 1) == DOT:
                at -= 1
                while at > start and _is_digit(byte_at(data, at - 1)):
                    at -= 1
            if at < colon and _time(data, at, end, pointed)[2] == colon:
                return at
        colon = find(data, colon + 1, end, _COLONS)
    return end


@inlined
def _starts_as(data: Bytes, start: int, end: int, code: int, seen: Ints) -> bool:
    """Whether a line starts with the head of that code."""
    length = seen[1, code]
    return start + length < end and same(data, seen[0, code], start, length)


@lean
def scan_lines(
    data: Bytes, lines: tuple[Ints, Ints, Bools], units: Ints, counted: bool, heads: Table, words: Table, fields: Ints
) -> None:
    """Find the first time of each line, with a colon and spaces behind it, and code what stands in front as a head and
    what stands behind as the event's word.

    lines (N,): begin, end, and whether it is wanted. units: what one of the time stands for in nanoseconds,
    by the number of decimals. counted: whether a number may stand in front of the event. heads, words: for one
    more word a line. fields (5, N).
    """
    pointed = len(units) > 1
    starts, ends, wanted = lines
    last = 0
    for i in range(len(wanted)):
        fields[HEAD, i] = -1
        fields[CODE, i] = -1
        if not wanted[i]:
            continue
        start, end = starts[i], min(ends[i], starts[i] + LONGEST_HEAD)
        # A line that starts as the last one did has no earlier time, either.
        repeated = heads.seen[2, 0] > 0 and _starts_as(data, start, end, last, heads.seen)
        begin = start + heads.seen[1, last] if repeated else end
        time, decimals, colon = _time(data, begin, end, pointed)
        if colon == 0:
            repeated = False
            begin = _first_time(data, start, end, pointed)
            time, decimals, colon = _time(data, begin, end, pointed)
        if colon == 0 or decimals >= len(units) or time > LATEST // units[decimals]:
            continue
        word = colon + 1
        while word < end and byte_at(data, word) == SPACE:
            word += 1
        if counted and word < end and _is_digit(byte_at(data, word)):
            word = _behind_count(data, word, end)
        if word < end and byte_at(data, word) > SPACE:
            if not repeated:
                last = code_of(data, start, begin, heads)
            fields[HEAD, i] = last
            fields[TIME, i] = time * units[decimals]
            fields[WORD, i] = word
            after = _word_end(data, word, ends[i])
            fields[AFTER, i] = after
            fields[CODE, i] = code_of(data, word, after, words)


@lean
def _behind_count(data: Bytes, at: int, end: int) -> int:
    """Where the event's word starts behind its count; ``end`` if this is no count."""
    while at < end and _is_digit(byte_at(data, at)):
        at += 1
    if at < end and byte_at(data, at) != SPACE:
        return end
    while at < end and byte_at(data, at) == SPACE:
        at += 1
    return at


@inlined
def _word_end(data: Bytes, at: int, end: int) -> int:
    """Where an event's word ends: at a space, a parenthesis or the line's end."""
    while at < end:
        eight = eight_at(data, at)
        hits = zeros(eight ^ _SPACES) | zeros(eight ^ _OPENS)
        if hits:
            return min(at + first_of(hits), end)
        at += 8
    return end


@lean
def scan_words(data: Bytes, rows: Ints, ends: Ints, words: Table, fields: Ints) -> None:
    """Fill in end and code of the word of some lines (rows) of which another found where it begins."""
    for row in rows:
        fields[AFTER, row] = _word_end(data, fields[WORD, row], ends[row])
        fields[CODE, row] = code_of(data, fields[WORD, row], fields[AFTER, row], words)


@inlined
def _skipped(data: Bytes, at: int, end: int, most: int) -> int:
    """Behind the spaces at ``at``, of which so many are passed over at most."""
    end = min(end, at + most)
    while at < end and byte_at(data, at) == SPACE:
        at += 1
    return at


@lean
def scan_details(
    data: Bytes, rows: Ints, ends: Ints, kinds: Ints, numbers: tuple[Codes, Table], fields: Ints, found: Codes
) -> tuple[int, int]:
    """Read what stands behind each event's word: a call's number, arguments or a result. Returns the bytes that all
    arguments have, and all results.

    rows (K,): the lines that are events. kinds: of the words' codes. numbers: the codes of calls by their numbers as
    far as they are that long (-1: none yet), and a table for K of the others. fields: of ``scan_lines``. found (4, K):
    the word's code or, where a number tells the call, the number's behind those of all words; the phase, and the span
    of arguments or result.
    """
    small, table = numbers
    told = returned = 0
    for i in range(len(rows)):
        row = rows[i]
        after, end, kind = fields[AFTER, row], ends[row], kinds[fields[CODE, row]]
        detail = _skipped(data, after, end, 64)
        number = -1
        opener = detail
        if kind in (RAW_ENTER, RAW_EXIT):
            if detail + 1 < end and byte_at(data, detail) == 78 and byte_at(data, detail + 1) == 82:  # NR
                at = _skipped(data, detail + 2, end, 8)
                digits = at + (at < end and byte_at(data, at) == MINUS)
                opener = digits
                value = 0
                while opener < min(end, digits + 9) and _is_digit(byte_at(data, opener)):
                    value = value * 10 + (byte_at(data, opener) - ZERO)
                    opener += 1
                if opener > digits:
                    known = at == digits and value < len(small)
                    if known:
                        number = int(small[value])
                    if number < 0:
                        number = code_of(data, at, opener, table)
                    if known:
                        small[value] = number
            if number < 0:
                kind = OTHER  # the same word without a number
                opener = detail
        opener = _skipped(data, opener, end, 8)
        arrow = kind == NAMED and detail < end and byte_at(data, detail) == MINUS  # ->
        called = kind == NAMED and after < end and byte_at(data, after) == OPEN
        entered = kind in (RAW_ENTER, NAMED_ENTER) or called
        left = kind in (RAW_EXIT, NAMED_EXIT) or arrow
        begin = detail
        if number >= 0 or kind == NAMED:
            marked = opener < end and (byte_at(data, opener) == OPEN or byte_at(data, opener) == EQUALS)
            begin = opener + 1 if marked else opener if number >= 0 else detail
        begin = _skipped(data, min(detail + 2, end) if arrow else begin, end, 8)
        whole = (number >= 0 or kind == NAMED) and entered
        closed = whole and byte_at(data, end - 1) == CLOSE
        opened = whole and opener < end and byte_at(data, opener) == OPEN
        finish = max(begin, end - 1 if closed else end)
        told += 0 if left and not entered else finish - begin
        returned += finish - begin if left and not entered else 0
        found[0, i] = len(kinds) + number if number >= 0 else fields[CODE, row]
        found[1, i] = UNCLOSED if opened and not closed else ENTER if entered else EXIT if left else INSTANT
        found[2, i] = begin
        found[3, i] = finish
    return told, returned
