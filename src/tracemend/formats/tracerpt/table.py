"""tracerpt's CSV: a line of columns' names, and a row an event.

A row is split at its first commas only: the columns in front of the event's data hold none.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from tracemend.errors import TraceError
from tracemend.formats.etl.header import EPOCH
from tracemend.formats.kernel import LATEST
from tracemend.formats.text import LONGEST_LINE
from tracemend.formats.tracerpt import FIRST, columns
from tracemend.formats.tracerpt.rows import CUT, LOG_CLASS, LOST_CLASS, Event, Rows, is_of, number, small

DATA = "User Data"
LATEST_TICK = EPOCH + LATEST // 100
#: Places in the data of the row that describes the log.
END_TIME, MODE, EVENTS_LOST = 4, 7, 11


def _lines(text: io.TextIOWrapper, path: Path) -> Iterator[tuple[int, str]]:
    at = 0
    while line := text.readline(LONGEST_LINE):
        at += 1
        if len(line) == LONGEST_LINE and line[-1] != "\n":
            raise TraceError(path, at, "a line of more than 1 MiB: this is no text of tracerpt")
        yield at, line


def read(text: io.TextIOWrapper, rows: Rows) -> None:
    """Take in all rows. Raises TraceError where no line names the columns."""
    places: dict[str, int] = {}
    opened = False  # whether the last row's data have a quotation mark that isn't closed
    line = "\n"
    for at, line in _lines(text, rows.builder.path):
        if not places:
            places = columns(line)
            continue
        if not line.strip():
            continue
        problem = _row(line, at, places, rows)
        if not problem:
            opened = bool(line.count('"') % 2)
        elif opened:  # a string that holds a line's end
            opened = line.count('"') % 2 == 0
        else:
            rows.builder.bad(at, problem)
    if not places:
        raise TraceError(rows.builder.path, 1, "no line that names tracerpt's columns")
    if not line.endswith("\n"):
        rows.builder.doubts.append(CUT)


def _row(line: str, at: int, places: dict[str, int], rows: Rows) -> str:
    """Take in one row of CSV; what is wrong with it, if anything is."""
    data = places.get(DATA, len(places))
    values = line.split(",", data)

    def value(column: str) -> str:
        place = places.get(column, len(values))
        return values[place].strip().strip('"') if place < len(values) else ""

    tick = number(value("Clock-Time"))
    if len(values) < data or tick is None:
        return "not a row of tracerpt's"
    provider, kind, told = value(FIRST), value("Type"), values[data].strip() if data < len(values) else ""
    if is_of(provider, LOG_CLASS) and kind in ("Header", "0", ""):
        rows.logs.append(_log(told))
        return ""
    if not EPOCH <= tick <= LATEST_TICK:
        return "a time that is none of the calendar's: tracerpt must be run without -rts"
    if is_of(provider, LOST_CLASS):
        rows.tell_lost(kind)
    name = f"{provider}/{number(value('Event ID')) or kind}"
    process, thread, cpu = small(value("PID")), small(value("TID")), small(value("Processor Number"))
    rows.add(Event((tick - EPOCH) * 100, cpu, thread, process, name, told, at))
    return ""


def _log(told: str) -> dict[str, int | None]:
    """What the data of the row that describes the log say.

    Behind the time zone, whose length differs, the beginning (a date), the kind of clock and the lost buffers follow.
    """
    try:
        data = [number(v) for v in next(csv.reader([told], skipinitialspace=True))]
    except (csv.Error, StopIteration):
        data = []
    data += [None] * (EVENTS_LOST + 1 - len(data))
    buffers = next(
        (
            data[i + 2]
            for i in range(len(data) - 3, EVENTS_LOST, -1)
            if (data[i] or 0) >= EPOCH and data[i + 1] in (0, 1, 2, 3)
        ),
        None,
    )
    keys = {"EndTime": data[END_TIME], "LogFileMode": data[MODE], "EventsLost": data[EVENTS_LOST]}
    return {**keys, "BuffersLost": buffers}
