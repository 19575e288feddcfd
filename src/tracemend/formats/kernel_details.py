"""What stands behind the time in the kernel's lines: the event's word, its call and phase, arguments and result.

Axis legend: K events of a chunk.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from tracemend.formats.columns import Coded, Interner
from tracemend.formats.text import Ints, Lines, as_strings, decode, digits_at, scratch, skip, spans
from tracemend.trace.events import ENTER, EXIT, INSTANT
from tracemend.trace.syscalls import call_name, canonical

if TYPE_CHECKING:
    from tracemend.formats.text_scan import Table

OPEN, CLOSE, SPACE, DOT, COLON, MINUS, EQUALS, ZERO, NINE = b"() .:-=09"
WORD_WIDTH = 32

#: How the word in front of an event's detail tells call and phase.
RAW_ENTER, RAW_EXIT, NAMED, NAMED_ENTER, NAMED_EXIT, OTHER = range(6)

#: The words of what the kernel writes with a head, as an event, and shows as lines of their own below it.
STACKS = {b"<stack": "kernel_stack", b"<user": "user_stack"}
#: perf's letters behind the colon of a counted event (``cycles:u``), which belong to no name.
MODIFIERS = re.compile(r"[ukhGHIpPSDWeb]+")


@dataclass(frozen=True, slots=True)
class Details:
    """Columns (K,). ``unclosed``: the events with a parenthesis that no other one at the end of the line closes."""

    name: Coded
    phase: NDArray[np.int8]
    args: pa.Array
    ret: pa.Array
    unclosed: Ints


def details_compiled(lines: Lines, fields: Ints, words: Table, rows: Ints, arch: str) -> Details:
    """Read what stands behind the words of some lines (K,) of a compiled loop's ``fields``."""
    from tracemend.formats import kernel_scan as scan
    from tracemend.formats.text_scan import gathered, table_of

    code = fields[scan.CODE]
    scan.scan_words(lines.data, rows[code[rows] < 0], lines.end, words, fields)
    numbers, calls = table_of("numbers", len(rows)), scratch("calls", (1024,), np.int32)
    calls[:] = -1
    found = scratch("details", (4, len(rows)), np.int32)
    kinds = [_kind(w) for w in words.words(lines.raw)]
    kind = np.array([k for k, _ in kinds], np.int64)
    told, returned = scan.scan_details(lines.data, rows, lines.end, kind, (calls, numbers), fields, found)
    names = [*(n for _, n in kinds), *(call_name(int(c), arch) for c in numbers.words(lines.raw))]
    unclosed = np.flatnonzero(found[1] == scan.UNCLOSED)
    found[1, unclosed] = ENTER
    left = found[1] == EXIT
    args, ret = (
        as_strings(gathered(lines.data, found[2:], wanted, n), lines.ascii)
        for wanted, n in ((~left, told), (left, returned))
    )
    return Details(_named(found[0], names), found[1].astype(np.int8), args, ret, unclosed)


def details_by_columns(lines: Lines, word: Ints, end: Ints, arch: str) -> Details:
    """Read what stands from ``word`` to ``end`` (K,), which are in order."""
    data = lines.data
    after = _word_ends(lines, word, end)
    words = spans(lines.raw, word, after).dictionary_encode()
    codes = words.indices.to_numpy()
    kinds = [_kind(w) for w in words.dictionary.to_pylist()]
    kind = np.array([k for k, _ in kinds], np.int8)[codes]
    # raw_syscalls: NR and the number, then the arguments in parentheses or = and the result
    detail = np.minimum(skip(data, after, SPACE), end)
    raw = (kind == RAW_ENTER) | (kind == RAW_EXIT)
    raw &= (data[detail] == 78) & (data[np.minimum(detail + 1, end)] == 82)  # NR
    number_at = skip(data, np.where(raw, np.minimum(detail + 2, end), end), SPACE, most=8)
    minus = data[number_at] == MINUS
    number, number_end = digits_at(data, number_at + minus, most=9)
    raw &= number_end > number_at + minus
    kind[((kind == RAW_ENTER) | (kind == RAW_EXIT)) & ~raw] = OTHER  # the same word without a number
    names = [n for _, n in kinds]
    name = codes.astype(np.int64)
    if raw.any():
        calls, inverse = np.unique(np.where(minus, -number, number)[raw], return_inverse=True)
        name[raw] = len(names) + inverse
        names += [call_name(c, arch) for c in calls.tolist()]
    opener = np.minimum(skip(data, np.where(raw, number_end, detail), SPACE, most=8), end)
    mark = data[opener]
    named = kind == NAMED
    arrow = named & (data[detail] == MINUS)  # ->
    is_enter = (kind == RAW_ENTER) | (kind == NAMED_ENTER) | (named & (data[after] == OPEN))
    is_exit = (kind == RAW_EXIT) | (kind == NAMED_EXIT) | arrow
    phase = np.where(is_enter, ENTER, np.where(is_exit, EXIT, INSTANT)).astype(np.int8)
    begin = np.where((raw | named) & ((mark == OPEN) | (mark == EQUALS)), opener + 1, np.where(raw, opener, detail))
    begin = np.minimum(skip(data, np.where(arrow, detail + 2, begin), SPACE, most=8), end)
    called = (raw | named) & is_enter
    closed = called & (data[np.maximum(end - 1, 0)] == CLOSE)
    finish = np.maximum(end - closed, begin)
    args, ret = (as_strings(spans(lines.raw, begin, finish, wanted), lines.ascii) for wanted in (~is_exit, is_exit))
    return Details(_named(name, names), phase, args, ret, np.flatnonzero(called & (mark == OPEN) & ~closed))


def _named(codes: NDArray[np.integer[Any]], names: list[str]) -> Coded:
    """Codes into a list in which a name may stand several times."""
    once = Interner()
    return Coded.of(np.array([once(n) for n in names], np.int32)[codes], list(once.codes))


def _kind(word: bytes) -> tuple[int, str]:
    """What the word before an event's detail says: a kind and the event's name."""
    colon = word.endswith(b":")
    if word in STACKS:
        return OTHER, STACKS[word]
    group, _, short = decode(word.rstrip(b":")).rpartition(":")  # perf puts the tracepoint's group in front
    if group and MODIFIERS.fullmatch(short):
        short = group.rpartition(":")[2]
    if colon and short in ("sys_enter", "sys_exit"):
        return (RAW_ENTER if short == "sys_enter" else RAW_EXIT), short
    if colon and short.startswith("sys_enter_"):
        return NAMED_ENTER, canonical(short.removeprefix("sys_enter_"))
    if colon and short.startswith("sys_exit_"):
        return NAMED_EXIT, canonical(short.removeprefix("sys_exit_"))
    if not colon and short.startswith("sys_"):
        return NAMED, canonical(short.removeprefix("sys_"))
    return OTHER, short


def _word_ends(lines: Lines, word: Ints, end: Ints) -> Ints:
    """Where each event's word (K,) ends: at a space, a parenthesis, or the line's end."""
    window = sliding_window_view(lines.data, WORD_WIDTH)[word]
    stop = (window == SPACE) | (window == OPEN)
    length = stop.argmax(axis=1)
    for i in np.flatnonzero((length == 0) & ~stop[:, 0]).tolist():  # no stop in the window
        text = lines.raw[int(word[i]) : int(end[i])]
        length[i] = min((p for p in (text.find(b" "), text.find(b"(")) if p >= 0), default=len(text))
    ends: Ints = np.minimum(word + length, end)
    return ends
