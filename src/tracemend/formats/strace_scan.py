"""The compiled loops that read strace's lines in large inputs: what stands on a line, and what the lines before make of
it. A line that isn't one of the usual calls, to the letter, is left to the patterns of ``stracelines``.

Axis legend: N lines of a chunk, K events.
"""

from __future__ import annotations

import numpy as np

from tracemend.compiled import inlined, lean
from tracemend.formats.rows import DAY_NS
from tracemend.formats.stracelines import EARLIEST_DATE, LATEST_NS
from tracemend.formats.text import Bools, Bytes, Ints
from tracemend.formats.text_scan import Codes, Table, byte_at, code_of, eight_at, find
from tracemend.trace.events import ENTER, EXIT

#: What ``scan_calls`` finds of a line: which of the sorts below it is (a call that ended, one that was left unfinished,
#: one that never returns, the end of one; a signal), how it names its thread, and so on.
SORT, FORM, THREAD, COMM, CLOCK, TIME, NAME, BEGIN, END, RESULT, RESULT_END, TOOK = range(12)
ODD, WHOLE, LEFT, GONE, RESUMED, SIGNAL = range(6)
UNNAMED, BRACKET, COLUMN = range(3)
UNTIMED, OF_DAY, SECONDS = range(3)
#: What a name is: an exec, the last call of a process, one of the system's.
IS_EXEC, IS_LAST, IS_CALL = 1, 2, 4
#: State of ``follow_calls``: what a line must have, strace's clock, the place of the thread that lines without one are
#: of, how many events there are, of these and of all lines, whether lines are missing, whether the last call was a
#: process's last, and whether it is over at a name or a command.
LINE_TIMED, LINE_COLUMNED, NOW, DAYS, DAY_TIME, ALONE, ADDED, INDEX, TORN, LAST, UNKNOWN = range(11)

SPACE, OPEN, CLOSE, EQUALS, LESS, GREATER, DOT, COLON, ZERO, NINE = b" ()=<>.:09"
LEFT_BRACKET, RIGHT_BRACKET, UNDERSCORE, QUESTION = b"[]_?"
_EQUALS = np.uint64(EQUALS) * np.uint64(0x0101010101010101)
_SPACES = np.uint64(0x2020202020202020)
_HIGH = np.uint64(0x8080808080808080)
PID, PAUSED, RESUMING, RESUMES, DASHES = (
    np.frombuffer(w, np.uint8) for w in (b"[pid ", b"<unfinished ...>", b"<... ", b" resumed>", b"---")
)
#: More whole seconds don't fit.
_MOST_SECONDS = LATEST_NS // 1_000_000_000
_SECOND = 1_000_000_000


@inlined
def _is_digit(byte: int) -> bool:
    return ZERO <= byte <= NINE


@inlined
def _is_word(byte: int) -> bool:
    return ZERO <= byte <= NINE or 65 <= byte <= 90 or 97 <= byte <= 122 or byte == UNDERSCORE


@inlined
def _number(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """The number at a place, and where it ends; it means something only if it has no more than 18 digits."""
    value = 0
    while at < end and _is_digit(byte_at(data, at)):
        value = value * 10 + (byte_at(data, at) - ZERO)
        at += 1
    return value, at


@inlined
def _fraction(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """What stands behind a whole number, as nanoseconds, and where it ends; -1 if it is no fraction of up to nine
    digits."""
    if at >= end or byte_at(data, at) != DOT:
        return 0, at
    value, to = _number(data, at + 1, end)
    digits = to - at - 1
    if digits < 1 or digits > 9:
        return -1, to
    for _ in range(9 - digits):
        value *= 10
    return value, to


@inlined
def _stands(data: Bytes, at: int, end: int, word: Bytes) -> bool:
    if at + len(word) > end:
        return False
    same = 0
    for k in range(len(word)):
        same += byte_at(data, at + k) == word[k]
    return same == len(word)


@inlined
def _spaces(data: Bytes, at: int, end: int) -> int:
    while at < end and byte_at(data, at) == SPACE:
        at += 1
    return at


@inlined
def _plain(data: Bytes, at: int, end: int) -> bool:
    """Whether no byte is a control character, some of which the patterns take for spaces."""
    while at < end:
        eight = eight_at(data, at)
        if end - at < 8:
            eight |= _SPACES << np.uint64(8 * (end - at))
        if (eight - _SPACES) & ~eight & _HIGH:
            return False
        at += 8
    return True


@inlined
def _who(data: Bytes, at: int, end: int, row: Ints, threads: Table) -> int:
    """Read the thread in front of a line, and say where it ends; -1 if it is an odd one."""
    bracket = _stands(data, at, end, PID)
    if not bracket and not (at < end and _is_digit(byte_at(data, at))):
        return at
    first = _spaces(data, at + 5, end) if bracket else at
    _, digits = _number(data, first, end)
    to = digits
    if to == first or to >= end:
        return -1
    if not bracket and (to - first > 9 or (byte_at(data, to) != SPACE and byte_at(data, to) != LESS)):
        return at  # a time
    if to - first > 9:
        return -1
    if byte_at(data, to) == LESS:
        while to < end and byte_at(data, to) != GREATER:
            to += 1
        to += 1
        row[BEGIN], row[END] = digits + 1, to - 1
    if bracket:
        if to >= end or byte_at(data, to) != RIGHT_BRACKET:
            return -1
        to += 1
    if to >= end or byte_at(data, to) != SPACE:
        return -1
    row[FORM] = BRACKET if bracket else COLUMN
    row[THREAD] = code_of(data, first, digits, threads)
    return _spaces(data, to, end)


@inlined
def _when(data: Bytes, at: int, end: int, row: Ints) -> int:
    """Read the time in front of a call, if there is one, and say where it ends; -1 if it is an odd one."""
    at = _spaces(data, at, end)
    if at >= end or not _is_digit(byte_at(data, at)):
        return at
    value, to = _number(data, at, end)
    row[CLOCK] = SECONDS
    if to - at > 10 or value > _MOST_SECONDS:
        return -1
    if to == at + 2 and to < end and byte_at(data, to) == COLON:
        row[CLOCK] = OF_DAY
        minutes, second = _number(data, to + 1, end)
        if second != to + 3 or second >= end or byte_at(data, second) != COLON:
            return -1
        seconds, third = _number(data, second + 1, end)
        if third != second + 3:
            return -1
        value, to = value * 3600 + minutes * 60 + seconds, third
    part, to = _fraction(data, to, end)
    if part < 0 or to >= end or byte_at(data, to) != SPACE:
        return -1
    row[TIME] = value * _SECOND + part
    return _spaces(data, to, end)


@inlined
def _took(data: Bytes, begin: int, end: int) -> tuple[int, int]:
    """The duration at the end of a result, and where the result ends in front of it; -1 if there is none."""
    at = end - 1
    if at <= begin or byte_at(data, at) != GREATER:
        return -1, end
    while at > begin and (_is_digit(byte_at(data, at - 1)) or byte_at(data, at - 1) == DOT):
        at -= 1
    if at - 2 <= begin or byte_at(data, at - 1) != LESS or byte_at(data, at - 2) != SPACE:
        return -1, end
    whole, to = _number(data, at, end)
    part, last = _fraction(data, to, end)
    if to == at or to - at > 9 or last == to or part < 0 or last != end - 1:
        return -1, end
    return whole * _SECOND + part, at - 2


@inlined
def _ends(data: Bytes, rest: int, end: int) -> tuple[int, int, int]:
    """How many places look like the end of a call that is over, and of the last one the parenthesis and the equals
    sign."""
    ends = closed = equals = 0
    at = find(data, rest, end, _EQUALS)
    while at < end:
        if at > rest and at + 1 < end and byte_at(data, at - 1) == SPACE and byte_at(data, at + 1) == SPACE:
            back = at - 1
            while back > rest and byte_at(data, back) == SPACE:
                back -= 1
            if byte_at(data, back) == CLOSE:
                ends += 1
                closed, equals = back, at
        at = find(data, at + 1, end, _EQUALS)
    return ends, closed, equals


@inlined
def _ending(data: Bytes, rest: int, end: int, row: Ints) -> int:
    """Read how a call ends, and say which sort of line that makes it."""
    ends, closed, equals = _ends(data, rest, end)
    row[BEGIN] = rest
    if ends == 0 and end - rest >= len(PAUSED) and _stands(data, end - len(PAUSED), end, PAUSED):
        row[END] = end - len(PAUSED)
        return LEFT
    if ends != 1 or equals + 2 >= end or byte_at(data, equals + 2) == SPACE:
        return ODD
    row[END], row[RESULT] = closed, equals + 2
    row[TOOK], row[RESULT_END] = _took(data, equals + 2, end)
    if byte_at(data, equals + 2) != QUESTION:
        return WHOLE
    alone = row[RESULT_END] == equals + 3 and byte_at(data, closed - 1) != GREATER
    return GONE if alone else ODD


@inlined
def _call(data: Bytes, start: int, end: int, row: Ints, tables: tuple[Table, Table, Table]) -> int:
    """Read a line, and say of which sort it is."""
    names, comms, threads = tables
    if not _plain(data, start, end):
        return ODD
    at = _who(data, start, end, row, threads)
    if at < 0:
        return ODD
    if row[BEGIN] > 0:
        row[COMM] = code_of(data, row[BEGIN], row[END], comms)
    at = _when(data, at, end, row)
    if at < 0:
        return ODD
    if _stands(data, at, end, DASHES):
        closed = _stands(data, at, end - 3, DASHES) and _stands(data, end - 3, end, DASHES)
        return SIGNAL if closed and _ends(data, at, end)[0] == 0 else ODD
    resumed = _stands(data, at, end, RESUMING)
    at += 5 if resumed else 0
    name = at
    if at >= end or not _is_word(byte_at(data, at)) or _is_digit(byte_at(data, at)):
        return ODD
    while at < end and _is_word(byte_at(data, at)):
        at += 1
    row[NAME] = code_of(data, name, at, names)
    if resumed:
        if not _stands(data, at, end, RESUMES) or _ending(data, at + 9, end, row) != WHOLE:
            return ODD
        return RESUMED
    if at >= end or byte_at(data, at) != OPEN:
        return ODD
    sort = _ending(data, at + 1, end, row)
    while row[BEGIN] < row[END] and byte_at(data, row[BEGIN]) == SPACE:
        row[BEGIN] += 1
    while row[BEGIN] < row[END] and byte_at(data, row[END] - 1) == SPACE:
        row[END] -= 1
    return sort


@lean
def scan_calls(data: Bytes, starts: Ints, ends: Ints, tables: tuple[Table, Table, Table], calls: Ints) -> None:
    """Read each line by itself. tables: of calls' names, of commands and of threads,
    for N words each. calls (N, 12)."""
    for i in range(len(starts)):
        row = calls[i]
        row[:] = 0
        row[THREAD] = row[COMM] = row[NAME] = row[TOOK] = -1
        row[SORT] = _call(data, starts[i], ends[i], row, tables)


@inlined
def _time_of(row: Ints, state: Ints) -> tuple[int, int]:
    """The line's time, and the day that it is; -1 for what doesn't fit."""
    time, days = row[TIME], state[DAYS]
    if row[CLOCK] == OF_DAY:
        days += time < state[DAY_TIME] - DAY_NS // 2
        days -= time > state[DAY_TIME] + DAY_NS // 2 and days > 0  # -z: a line from before midnight
        time += days * DAY_NS
    elif time < EARLIEST_DATE * _SECOND:
        time = -1 if time > LATEST_NS - state[NOW] else state[NOW] + time
    return (time, days) if time <= LATEST_NS else (-1, days)


@inlined
def _told(row: Ints, state: Ints) -> bool:
    """Set strace's clock to a line's time; False if that doesn't fit."""
    now, days = _time_of(row, state)
    if now < 0:
        return False
    state[NOW] = now
    if row[CLOCK] == OF_DAY:
        state[DAYS], state[DAY_TIME] = days, row[TIME]
    return True


@lean
def follow_calls(
    calls: Ints,
    begin: int,
    state: Ints,
    known: tuple[Codes, Codes, Codes],
    threads: tuple[Codes, Codes, Bools],
    events: Ints,
) -> int:
    """Turn lines from ``begin`` on into events, and say at which line that is over: at one that is odd, doesn't fit
    the others, or has a name, a command or a thread that isn't known yet.

    known: by codes of names, the names' codes in the trace (-1: not known yet) and what they are (IS_EXEC, IS_LAST,
    IS_CALL); and by codes of commands, theirs in the trace. threads: by codes of threads, their places (-1: not known
    yet); and by place, the call that it is in (-1: none), and whether it did anything. events (9, twice as many as
    there are lines): time, whether it is an exit on its call's own line, place, command, name, phase, line, and the
    span of arguments or result.
    """
    names, kinds, comms = known
    places, inside, active = threads
    state[UNKNOWN] = 0
    for i in range(begin, len(calls)):
        row = calls[i]
        timed = row[CLOCK] != UNTIMED
        if row[SORT] == SIGNAL:
            if timed and not _told(row, state):
                return i
            continue
        if row[SORT] == ODD or (row[FORM] == UNNAMED and not timed and not kinds[row[NAME]] & IS_CALL):
            return i
        place = places[row[THREAD]] if row[THREAD] >= 0 else state[ALONE]
        if place < 0 or state[LINE_TIMED] != timed or state[LINE_COLUMNED] != (row[FORM] == COLUMN):
            return i
        now = _time_of(row, state)[0] if timed else 0
        name, comm = names[row[NAME]], comms[row[COMM]] if row[COMM] >= 0 else -1
        if now < 0:
            return i
        if name < 0 or (row[COMM] >= 0 and comm < 0):
            state[UNKNOWN] = 1
            return i
        if timed:
            _told(row, state)
        resumed = row[SORT] == RESUMED
        begun = inside[place]
        if not kinds[row[NAME]] & IS_EXEC and (begun != name if resumed else begun >= 0):
            state[TORN] = 1
        inside[place] = name if row[SORT] in (LEFT, GONE) else -1
        active[place] = True
        state[LAST] = kinds[row[NAME]] & IS_LAST
        for phase in (ENTER, EXIT):
            if (phase == ENTER and resumed) or (phase == EXIT and row[SORT] in (LEFT, GONE)):
                continue
            to = state[ADDED]
            own = phase == EXIT and not resumed
            events[0, to] = now if timed else state[INDEX]
            if own and timed and row[TOOK] > 0:
                events[0, to] += row[TOOK]
            events[1, to], events[2, to], events[3, to] = own, place, comm
            events[4, to], events[5, to], events[6, to] = name, phase, i
            events[7, to] = row[BEGIN if phase == ENTER else RESULT]
            events[8, to] = row[END if phase == ENTER else RESULT_END]
            state[ADDED] += 1
            state[INDEX] += 1
    return len(calls)
