"""Inferred events of a trace's pieces, kept in files until outputs take them in order of their gaps.

Axis legend: I inferred events of a part.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.ipc
from numpy.typing import NDArray

from tracemend.mending.mended import HYPOTHESES, INFERRED, Edges, Mended
from tracemend.trace.events import Gap

#: Suspected gaps are numbered from here on until it is known how many are marked.
SUSPECTED = 1 << 30
#: What was counted of a part.
COUNT = "count"
#: Events that are taken at once, about.
AT_ONCE = 1 << 16

Ints = NDArray[np.int64]


def pack(table: pa.Table) -> pa.Buffer:
    """A table as the bytes that ``write_table`` keeps."""
    packed = pa.BufferOutputStream()
    _pack(table, packed)
    return packed.getvalue()


def write_table(table: pa.Table, path: Path) -> None:
    """Keep a table so that it can be read without being held. Raises OSError."""
    with pa.OSFile(str(path), "wb") as file:
        _pack(table, file)


def _pack(table: pa.Table, sink: pa.NativeFile) -> None:
    with pa.ipc.new_file(sink, table.schema) as out:
        out.write_table(table.unify_dictionaries(), max_chunksize=AT_ONCE)


def read_table(kept: Path | pa.Buffer) -> pa.Table:
    """A table that was kept; its columns are taken from where it lies as they are used. Raises OSError."""
    with pa.memory_map(str(kept)) if isinstance(kept, Path) else pa.BufferReader(kept) as file:
        return pa.ipc.open_file(file).read_all()


@dataclass
class _Kind:
    """One kind of tables (inferred events, hypotheses): ``runs`` (., 4) are the rows of each gap: its number, the part,
    the first row and the row behind the last."""

    name: str
    schema: pa.Schema
    runs: list[Ints] = field(default_factory=list)


class _InTime(NamedTuple):
    """A part whose events are kept in order of time: every so many-th one's time, and the last one's."""

    number: int
    path: Path
    times: Ints
    last: int


@dataclass
class Spool:
    """The parts in a work folder, a few files each. ``marked``: gaps that are marked, before the suspected ones."""

    folder: Path
    marked: int = 0
    _inferred: _Kind = field(default_factory=lambda: _Kind("inferred", INFERRED))
    _drawn: _Kind = field(default_factory=lambda: _Kind("drawn", HYPOTHESES))
    _shown: list[Path] = field(default_factory=list)
    _in_time: list[_InTime] = field(default_factory=list)

    @staticmethod
    def pack(mended: Mended) -> dict[str, pa.Buffer]:
        """The events of one part, as they are kept; by kind."""
        tables = {"inferred": mended.inferred, "drawn": mended.hypotheses}
        return {kind: pack(table) for kind, table in tables.items() if table is not None}

    def put(self, part: int, packed: dict[str, pa.Buffer]) -> None:
        """Keep the events of one part, and what was counted of it. Raises OSError."""
        for kind, table in packed.items():
            (self.folder / f"{part}.{kind}").write_bytes(table)

    @staticmethod
    def digest(folder: Path, part: int) -> str:
        """Of what was put there for one part. Raises OSError."""
        paths = [folder / f"{part}.{name}" for name in ("inferred", "drawn", COUNT)]
        return " ".join(_sha256(path) for path in paths if path.exists())

    def count(self, part: int) -> pa.Buffer:
        """What was counted of a part. Raises OSError."""
        return pa.py_buffer((self.folder / f"{part}.{COUNT}").read_bytes())

    def know(self, part: int) -> int:
        """Take in a part that was put here; returns how many events were inferred."""
        events = 0
        for kind in (self._inferred, self._drawn):
            path = self.folder / f"{part}.{kind.name}"
            if path.exists():
                gap = read_table(path)["gap"].to_numpy()
                first = np.flatnonzero(np.diff(gap, prepend=-1))
                ends = np.append(first[1:], len(gap))[: len(first)]
                runs = np.stack([gap[first], np.full(len(first), part), first, ends], axis=1)
                kind.runs.append(runs.astype(np.int64))
                events += len(gap) if kind is self._inferred else 0
        return events

    def number(self, gap: int) -> int:
        """A gap's last number, now that it is known how many are marked."""
        return gap if gap < SUSPECTED else gap - SUSPECTED + self.marked

    def inferred(self) -> Iterator[pa.Table]:
        """All inferred events (INFERRED) in order of their gaps, some at a time; no gap is divided."""
        return self._tables(self._inferred)

    def drawn(self) -> Iterator[pa.Table]:
        """All hypotheses (HYPOTHESES) likewise."""
        return self._tables(self._drawn)

    def in_time(self, gaps: Sequence[Gap]) -> Iterator[pa.Table]:
        """All inferred events as they follow each other, some at a time: no more than a few parts have of one time."""
        if not self._in_time:
            self._in_time = list(self._sorted(gaps))
        bounds = np.unique(np.concatenate([np.empty(0, np.int64), *(p.times for p in self._in_time)]))
        later = deque(sorted(self._in_time, key=lambda p: int(p.times[0])))
        held: list[tuple[_InTime, pa.Table]] = []
        for begin, end in zip(bounds.tolist(), [*bounds[1:].tolist(), np.iinfo(np.int64).max], strict=True):
            while later and later[0].times[0] < end:
                held.append((later[0], read_table(later.popleft().path)))
            held = sorted(((p, table) for p, table in held if p.last >= begin), key=lambda h: h[0].number)
            found = []
            for _, table in held:
                first, last = (_bisect(table["time_ns"], at) for at in (begin, end))
                if first < last:
                    found.append(table.slice(first, last - first))
            if found:
                table = pa.concat_tables(found).unify_dictionaries()
                order = np.lexsort((table["row"].to_numpy(), table["time_ns"].to_numpy()))
                yield table.take(pa.array(order)).select(INFERRED.names)

    def _sorted(self, gaps: Sequence[Gap]) -> Iterator[_InTime]:
        """Keep each part's events in order of time, too."""
        edges = Edges.of(gaps)
        for number, table in enumerate(self.parts()):
            time_ns = table["time_ns"].to_numpy()
            row = edges.rows(table)
            order = np.lexsort((row, time_ns))
            kept = table.take(pa.array(order)).append_column("row", pa.array(row[order]))
            path = self.folder / f"{number}.in_time"
            write_table(kept, path)
            if len(order):  # a view of the times would hold all of them
                times = time_ns[order]
                yield _InTime(number, path, times[:: AT_ONCE // 4].copy(), int(times[-1]))

    def show(self, piece: int, recorded: pa.Table) -> None:
        """Keep those of a piece's recorded events that can be shown. Raises OSError."""
        if recorded.num_rows:
            path = self.folder / f"{piece}.recorded"
            write_table(recorded, path)
            self._shown.append(path)

    def recorded(self) -> Iterator[pa.Table]:
        """These events, piece by piece."""
        return map(read_table, self._shown)

    def parts(self) -> Iterator[pa.Table]:
        """The inferred events as the pieces came, a table a piece."""
        for runs in self._inferred.runs:
            if len(runs):
                yield self._numbered(read_table(self.folder / f"{runs[0, 1]}.inferred"), INFERRED)

    def _tables(self, kind: _Kind) -> Iterator[pa.Table]:
        if not kind.runs:
            return
        runs = np.concatenate(kind.runs)
        runs = runs[np.argsort(runs[:, 0], kind="stable")]
        # what follows each other in a file is taken together
        joins = (runs[1:, 1] == runs[:-1, 1]) & (runs[1:, 2] == runs[:-1, 3])
        at = 0
        part, table = -1, kind.schema.empty_table()
        while at < len(runs):
            end = at + 1
            while end < len(runs) and joins[end - 1] and runs[end, 3] - runs[at, 2] <= AT_ONCE:
                end += 1
            if runs[at, 1] != part:
                part = int(runs[at, 1])
                table = read_table(self.folder / f"{part}.{kind.name}")
            begin, stop = int(runs[at, 2]), int(runs[end - 1, 3])
            yield self._numbered(table.slice(begin, stop - begin), kind.schema)
            at = end

    def _numbered(self, table: pa.Table, schema: pa.Schema) -> pa.Table:
        """With the suspected gaps' numbers behind the marked ones'."""
        gap = table["gap"].to_numpy()
        if len(gap) and gap.max() >= SUSPECTED:
            renumbered = pa.array(np.where(gap >= SUSPECTED, gap - SUSPECTED + self.marked, gap), pa.int32())
            table = table.set_column(0, schema.field("gap"), renumbered)
        return table


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _bisect(column: pa.ChunkedArray, value: int) -> int:
    """The first row of a sorted column that is no less than a value; only a few of its pages are looked at."""
    return bisect_left(range(len(column)), value, key=lambda row: column[row].as_py())
