"""An output folder looked at again: what it was made from, what became of each gap, and one gap event by event.

Of a folder that is large only what is asked for is held: the list of its gaps, and some events of one of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from tracemend.errors import OutputError
from tracemend.mending.mended import HYPOTHESES, INFERRED
from tracemend.outputs import merged, overlay
from tracemend.trace.pieces import Piece

#: One gap as the overlay's first line has it.
Row = dict[str, Any]

#: What it says of a gap, each of this kind.
_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("gap", "cpu", "begin_ns", "end_ns", "events"), (int,)),
    **dict.fromkeys(("known", "status", "reason"), (str,)),
    "count": (int, type(None)),
    "confidence": (float, int, type(None)),
}
_STATUSES = ("filled", "refused", "left")
#: Rows of a Parquet file that are looked at at once.
_AT_ONCE = 1 << 14


class Span(NamedTuple):
    """How many events were recorded, on which cpus, and from when to when."""

    events: int
    begin_ns: int
    end_ns: int
    cpus: list[int]


class Ends(NamedTuple):
    """A gap's first events and its last ones; ``hidden`` lie between them."""

    first: pa.Table
    hidden: int
    last: pa.Table


class Around(NamedTuple):
    """The events recorded last before a gap on its cpu, and first after it."""

    before: pa.Table
    after: pa.Table


@dataclass(frozen=True)
class Folder:
    """What ``mend`` wrote; ``header`` is the overlay's first line without the ``gaps``."""

    path: Path
    header: dict[str, Any]
    gaps: list[Row]

    @classmethod
    def open(cls, path: Path) -> Folder:
        """Raises OutputError for what is no output folder, and for a damaged one."""
        if not path.exists():
            raise OutputError(f"{path}: no such folder")
        if not is_folder(path):
            raise OutputError(f"{path}: no folder that mend wrote; to have one: tracemend mend TRACE -o OUT")
        header = overlay.read_header(path / overlay.JSONL)
        gaps = header.pop("gaps", None)
        if not isinstance(gaps, list) or not all(map(_sound, gaps)):
            raise OutputError(f"{path / overlay.JSONL}: the overlay is damaged: its list of gaps")
        return cls(path, header, gaps)

    @property
    def made_from(self) -> str:
        """The path of the trace that was mended, as it was given; empty if it came from nowhere."""
        return _text(self.header.get("input"))

    @property
    def described(self) -> str:
        """What it is, in a sentence."""
        what = f" of {self.made_from}" if self.made_from else ""
        version, model, seed = (_text(self.header.get(key)) for key in ("tracemend", "model", "seed"))
        return f"{self.path} is a mended trace{what}, made by tracemend {version} ({model}, seed {seed})."

    @property
    def format(self) -> str:
        return _text(self.header.get("format"))

    @property
    def arch(self) -> str | None:
        options = self.header.get("options")
        return _text(options.get("arch")) or None if isinstance(options, dict) else None

    @property
    def clocked(self) -> bool:
        """Whether its times are times; else they are positions."""
        told = self.header.get("recorded")
        return not (isinstance(told, dict) and told.get("clock") == "index")

    @cached_property
    def span(self) -> Span | None:
        """What was recorded; None where an earlier version wrote the folder."""
        told = self.header.get("recorded")
        try:
            found = Span(*(told[name] for name in Span._fields))  # type: ignore[index]
        except (TypeError, KeyError):
            return None
        numbers = [*found[:3], *found.cpus] if isinstance(found.cpus, list) else [None]
        return found if all(map(_number, numbers)) and found.begin_ns <= found.end_ns else None

    @property
    def original(self) -> Path | None:
        """Where the recorded events are: the trace itself or, if it has gone, the marked copy; None without both."""
        copies = [*sorted(self.path.glob(f"{merged.STEM}.*")), self.path / merged.STEM]
        given = [Path(self.made_from)] if self.made_from else []
        return next((path for path in (*given, *copies) if _exists(path)), None)

    def gap(self, number: int) -> Row:
        """Raises OutputError where there is no such gap."""
        found = next((row for row in self.gaps if row["gap"] == number), None)
        if found is None:
            there = f"they are 0 to {len(self.gaps) - 1}" if self.gaps else "there are none"
            raise OutputError(f"{self.path}: there is no gap {number}; {there}")
        return found

    def worst(self) -> list[Row]:
        """The gaps, those first of which most inferred events are likely not right; then those that stay open, the
        longest first."""

        def key(row: Row) -> tuple[float, ...]:
            many = lost(row)
            open_ = math.inf if many is None else many
            return (-(likely_not_right(row) or 0), -open_, row["begin_ns"] - row["end_ns"], row["gap"])

        return sorted(self.gaps, key=key)

    def inferred(self, number: int, most: int) -> Ends:
        """The inferred events of one gap, so many of them. Raises OutputError for a damaged file."""
        return _ends(_rows(self.path / overlay.PARQUET, INFERRED, number), INFERRED, most)

    def drawn(self, number: int, most: int) -> list[Ends]:
        """Other fills of one gap, so many events of each; none where none were drawn. Raises OutputError."""
        path, found = self.path / overlay.HYPOTHESES, list[Ends]()
        if not path.exists():
            return found
        which = sorted({i for t in _rows(path, HYPOTHESES, number) for i in t["hypothesis"].unique().to_pylist()})
        for one in which:
            rows = (t.filter(pc.equal(t["hypothesis"], one)) for t in _rows(path, HYPOTHESES, number))
            found.append(_ends(rows, HYPOTHESES, most))
        return found


def is_folder(path: Path) -> bool:
    """Whether it looks like what ``mend`` writes."""
    return (path / overlay.JSONL).is_file()


def lost(row: Row) -> int | None:
    """How many events the tracer lost in a gap; where it doesn't tell, how many were taken to be; else None."""
    count: int | None = row["count"]
    return count if count is not None else row["events"] or None


def likely_not_right(row: Row) -> float | None:
    """How many of a gap's inferred events are probably not what happened at their place, by their confidence. None of a
    gap that stays open: nothing was inferred that could be right or not."""
    return row["events"] * (1 - (row["confidence"] or 0.0)) if row["status"] == "filled" else None


def around(pieces: Iterable[Piece], row: Row, many: int) -> Around | None:
    """So many recorded events on each side of a gap; None where the trace has no such gap. No more is read than that.

    A gap that the tracer marked is known by its times. A suspected one lies between two events of these times that
    follow each other.
    """
    for piece in pieces:
        trace, first = piece.trace, piece.first
        stream = trace.streams.get(row["cpu"], np.array([], np.int64))
        at = None
        if row["known"] == "suspected":
            time = trace.time_ns[stream]
            pairs = np.flatnonzero((time[:-1] == row["begin_ns"]) & (time[1:] == row["end_ns"]))
            at = int(pairs[0]) + 1 if len(pairs) else None
        else:
            same = ("cpu", "begin_ns", "end_ns", "count")
            gap = next((g for g in piece.gaps if all(getattr(g, name) == row[name] for name in same)), None)
            if gap is not None:
                at = len(stream) if gap.after is None else int(np.searchsorted(stream, gap.after - first))
        if at is not None:
            sides = stream[max(0, at - many) : at], stream[at : at + many]
            return Around(*(trace.table.take(pa.array(rows)) for rows in sides))
    return None


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that none can have
        return False


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _number(value: object) -> bool:
    """Whether a number fits where the trace's own do."""
    return type(value) is int and abs(value) < 1 << 63


def _sound(row: object) -> bool:
    """Whether it is what is said of a gap."""
    if not isinstance(row, dict) or any(type(row.get(key, ...)) not in kinds for key, kinds in _KINDS.items()):
        return False
    numbers = all(_number(row[key]) for key in ("gap", "cpu", "begin_ns", "end_ns", "events"))
    counted = row["count"] is None or (_number(row["count"]) and row["count"] >= 0)
    sure = row["confidence"] is None or 0 <= row["confidence"] <= 1
    return numbers and counted and sure and row["status"] in _STATUSES and row["begin_ns"] <= row["end_ns"]


def _rows(path: Path, schema: pa.Schema, number: int) -> Iterator[pa.Table]:
    """A gap's rows of a file that is in order of gaps, some at a time. Raises OutputError."""
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            column = file.schema_arrow.get_field_index("gap")
            groups = []
            for i in range(file.metadata.num_row_groups):
                told = file.metadata.row_group(i).column(column).statistics
                if told is None or not told.has_min_max or told.min <= number <= told.max:
                    groups.append(i)
            for batch in file.iter_batches(_AT_ONCE, row_groups=groups, columns=schema.names):
                table = pa.Table.from_batches([batch]).select(schema.names).cast(schema)
                table = table.filter(pc.equal(table["gap"], number))
                if len(table):
                    yield table
    except (pa.ArrowException, KeyError, ValueError, TypeError, IndexError) as e:
        reason = str(e).splitlines()[0] if str(e) else type(e).__name__
        raise OutputError(f"{path}: the overlay is damaged: {reason}") from e
    except OSError as e:
        raise OutputError(f"{path}: {e.strerror or e}") from e


def _ends(tables: Iterable[pa.Table], schema: pa.Schema, most: int) -> Ends:
    """So many of the rows, half of them from the beginning and half from the end."""
    head, tail = most - most // 2, most // 2
    rows, first, last = 0, schema.empty_table(), schema.empty_table()
    for table in tables:
        rows += len(table)
        taken = head - len(first)
        first = pa.concat_tables([first, table.slice(0, taken)])
        last = pa.concat_tables([last, table.slice(taken)])
        last = last.slice(max(0, len(last) - tail))
    return Ends(first, rows - len(first) - len(last), last)
