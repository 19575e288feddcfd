"""The compiled loops that read the kernel's lines in large inputs: each walks the bytes once, where array operations
walk them once a field. Positions lie within a line, and lines within the chunk.

Axis legend: D bytes of a chunk with what is behind it, N lines, K events.
"""

from __future__ import annotations

import numpy as np

from tracemend.compiled import compiled
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
from tracemend.formats.text_scan import Table, byte_at, code_of, eight_at, find, first_of, zeros
from tracemend.trace.events import ENTER, EXIT, INSTANT

_COLONS, _SPACES, _OPENS = (np.uint64(c) * np.uint64(0x0101010101010101) for c in (COLON, SPACE, OPEN))


@compiled
def _is_digit(byte: int) -> bool:
    return ZERO <= byte <= NINE


@compiled
def scan_heads(
    data: Bytes, lines: tuple[Ints, Ints, Bools], units: Ints, counted: bool, table: Table, fields: Ints
) -> None:
    """Find the first time of each line, with a colon and spaces behind it, and code what stands in front as a head.

    lines (N,): begin, end, and whether it is wanted. units: what one of the time stands for in nanoseconds,
    by the number of decimals. counted: whether a number may stand in front of the event. table: for N words. fields
    (3, N): the head (-1: none found), time and where the event's word starts.
    """
    pointed = len(units) > 1
    starts, ends, wanted = lines
    for i in range(len(wanted)):
        fields[0, i] = -1
        if not wanted[i]:
            continue
        start, end = starts[i], min(ends[i], starts[i] + LONGEST_HEAD)
        begin = point = start
        colon = find(data, start, end, _COLONS)
        while colon + 1 < end:
            if byte_at(data, colon + 1) == SPACE:
                point = colon - 1
                while point > start and _is_digit(byte_at(data, point)):
                    point -= 1
                begin = point
                if pointed and point > start and byte_at(data, point) == DOT:
                    begin = point - 1
                    while begin > start and _is_digit(byte_at(data, begin)):
                        begin -= 1
                begin += not _is_digit(byte_at(data, begin))
                if begin < point < colon - 1 if pointed else begin < colon:
                    break
            colon = find(data, colon + 1, end, _COLONS)
        decimals = colon - 1 - point if pointed else 0
        if colon + 1 >= end or colon - begin > 18 or decimals >= len(units):  # more digits may not fit
            continue
        time = 0
        for at in range(begin, colon):
            if not pointed or at != point:
                time = time * 10 + (byte_at(data, at) - ZERO)
        word = colon + 1
        while word < end and byte_at(data, word) == SPACE:
            word += 1
        if counted and word < end and _is_digit(byte_at(data, word)):
            word = _behind_count(data, word, end)
        if time <= LATEST // units[decimals] and word < end and byte_at(data, word) > SPACE:
            fields[0, i] = code_of(data, start, begin, table)
            fields[1, i] = time * units[decimals]
            fields[2, i] = word


@compiled
def _behind_count(data: Bytes, at: int, end: int) -> int:
    """Where the event's word starts behind its count; ``end`` if this is no count."""
    while at < end and _is_digit(byte_at(data, at)):
        at += 1
    if at < end and byte_at(data, at) != SPACE:
        return end
    while at < end and byte_at(data, at) == SPACE:
        at += 1
    return at


@compiled
def scan_words(data: Bytes, spans: Ints, table: Table) -> None:
    """Where each event's word ends (at a space, a parenthesis or the line's end), and its code.

    spans (4, K): begin of the word and end of the line; end and code of the word are filled in. table: for K words.
    """
    for i in range(spans.shape[1]):
        at, end = spans[0, i], spans[1, i]
        while at < end:
            eight = eight_at(data, at)
            hits = zeros(eight ^ _SPACES) | zeros(eight ^ _OPENS)
            if hits:
                at += first_of(hits)
                break
            at += 8
        at = min(at, end)
        spans[2, i] = at
        spans[3, i] = code_of(data, spans[0, i], at, table)


@compiled
def _skipped(data: Bytes, at: int, end: int, most: int) -> int:
    """Behind the spaces at ``at``, of which so many are passed over at most."""
    end = min(end, at + most)
    while at < end and byte_at(data, at) == SPACE:
        at += 1
    return at


@compiled
def scan_details(data: Bytes, spans: Ints, kinds: Ints, table: Table, found: Ints) -> None:
    """What stands behind each event's word: a call's number, arguments or a result.

    spans: of ``scan_words``; ``kinds`` of the codes. table: for K
    numbers. found (4, K): the number's code (-1: the word is the name), the phase, and the span of arguments
    or result.
    """
    for i in range(spans.shape[1]):
        after, end, kind = spans[2, i], spans[1, i], kinds[spans[3, i]]
        detail = _skipped(data, after, end, 64)
        number = -1
        opener = detail
        if kind in (RAW_ENTER, RAW_EXIT):
            if detail + 1 < end and byte_at(data, detail) == 78 and byte_at(data, detail + 1) == 82:  # NR
                at = _skipped(data, detail + 2, end, 8)
                digits = at + (at < end and byte_at(data, at) == MINUS)
                opener = digits
                while opener < min(end, digits + 9) and _is_digit(byte_at(data, opener)):
                    opener += 1
                if opener > digits:
                    number = code_of(data, at, opener, table)
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
        closed = (number >= 0 or kind == NAMED) and entered and byte_at(data, end - 1) == CLOSE
        found[0, i] = number
        found[1, i] = ENTER if entered else EXIT if left else INSTANT
        found[2, i] = begin
        found[3, i] = max(begin, end - 1 if closed else end)
