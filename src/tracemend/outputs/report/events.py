"""The report's events: recorded and inferred ones as columns, in order of time, as many as a page has room for.

Inferred events are those of all gaps, or of those first of which most are likely not right. Recorded ones are all
there up to some time, and beyond it those beside gaps (``mending/shown.py``).

Axis legend: E events of the page, R recorded ones, I inferred ones, G gaps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.mending.mended import INFERRED, Result, rows_of
from tracemend.mending.shown import beside
from tracemend.outputs.known import flat
from tracemend.outputs.report.columns import Numbers, Words
from tracemend.trace.events import PHASES, rows_by

Ints = NDArray[np.int64]

#: Characters shown of a name, and of a field's value.
LONGEST_NAME, LONGEST_VALUE = 80, 40
#: Confidence is told in so many parts.
PARTS = 10_000


@dataclass(frozen=True, slots=True)
class Room:
    """How many events a page holds, at most: recorded ones, inferred ones, and those of hypotheses or of the truth."""

    recorded: int = 1_200_000
    inferred: int = 400_000
    others: int = 250_000

    def half(self) -> Room:
        return Room(self.recorded // 2, self.inferred // 2, self.others // 2)


@dataclass
class Names:
    """Strings that columns tell by number: names of events, commands, names and values of fields; and threads, which
    are a thread id and a command each."""

    names: Words = field(default_factory=lambda: Words(LONGEST_NAME))
    comms: Words = field(default_factory=lambda: Words(LONGEST_NAME))
    values: Words = field(default_factory=lambda: Words(LONGEST_VALUE))
    threads: dict[tuple[int, int], int] = field(default_factory=dict)

    def kinds(self, table: pa.Table) -> dict[str, Numbers]:
        """What happened to whom: name, phase and thread of each event, each as narrow as it can be."""
        comm = self._codes(table["comm"], self.comms)
        tid = table["tid"].to_numpy().astype(np.int64)
        pair, first, which = np.unique(tid << 32 | (comm + 1), return_index=True, return_inverse=True)
        number = np.empty(len(pair), np.int64)
        for i in np.argsort(first).tolist():  # by appearance
            key = int(tid[first[i]]), int(comm[first[i]])
            number[i] = self.threads.setdefault(key, len(self.threads))
        phase = Words(LONGEST_NAME)
        phase.numbers(PHASES)
        return {
            "name": self._codes(table["name"], self.names).astype(np.int32),
            "phase": self._codes(table["phase"], phase).astype(np.int8),
            "thread": number[which].astype(np.int32),
        }

    @staticmethod
    def _codes(column: pa.ChunkedArray, words: Words) -> Ints:
        """Numbers of a column's strings, -1 where there is none."""
        array = column.unify_dictionaries().combine_chunks()
        if isinstance(array, pa.ChunkedArray):
            array = array.chunk(0) if array.num_chunks else pa.array([], array.type)
        codes = np.nan_to_num(array.indices.to_numpy(zero_copy_only=False), nan=-1).astype(np.int64)
        used = np.unique(codes)
        used = used[used >= 0]
        number = np.full(max(1, len(array.dictionary) + 1), -1)
        number[used] = words.numbers(array.dictionary.take(pa.array(used)).to_pylist())
        return np.asarray(number[codes])


def worst(result: Result, room: int) -> Ints:
    """Numbers of the filled gaps whose events there is room for, those first of which most are likely not right."""
    fills = sorted(
        (f for f in result.fills if f.events), key=lambda f: (-f.events * (1 - (f.confidence or 0.0)), f.gap)
    )
    fit = np.cumsum([f.events for f in fills]) <= room
    return np.array([f.gap for f, fits in zip(fills, fit, strict=True) if fits], np.int64)


def of_gaps(tables: Iterable[pa.Table], gaps: Ints) -> Iterator[pa.Table]:
    """The rows of some gaps, copied: a table is mapped from its file for as long as anything of it is held."""
    for table in tables:
        chosen = np.isin(table["gap"].to_numpy(), gaps)
        if chosen.any():
            found = table.filter(pa.array(chosen))
            for i, field in enumerate(found.schema):
                if pa.types.is_dictionary(field.type):  # whose words are still the table's
                    words = found.column(i).cast(field.type.value_type)
                    found = found.set_column(i, field, words.dictionary_encode().cast(field.type))
            yield found


@dataclass(frozen=True)
class Events:
    """``columns``: of each event (E,), by name. ``rows``: of the recorded ones in the whole trace, and where each is
    among the events. ``until_ns``: up to there all recorded events are there; None: all are. ``gaps``: whose inferred
    events are there."""

    columns: dict[str, Numbers]
    rows: Ints
    place: Ints
    until_ns: int | None
    gaps: Ints

    def at(self, row: int | None) -> int:
        """Where a row of the whole trace is among the events, -1 if it isn't."""
        if row is None:
            return -1
        i = int(np.searchsorted(self.rows, row))
        return int(self.place[i]) if i < len(self.rows) and self.rows[i] == row else -1


def events(result: Result, names: Names, room: Room, begin_ns: int) -> Events:
    """What there is room for; times since ``begin_ns``."""
    recorded, whole = _recorded(result, room.recorded)
    rows, cut = recorded["row"].to_numpy(), whole < result.outline.kept
    columns = _own(recorded, names)
    until = int(columns["time"][: _first(rows, whole)].max(initial=begin_ns)) if cut else None
    del recorded  # of what is large there is one at a time
    pa.default_memory_pool().release_unused()
    gaps = worst(result, room.inferred)
    inferred = pa.concat_tables([INFERRED.empty_table(), *of_gaps(result.tables(), gaps)]).unify_dictionaries()
    r, i = len(rows), inferred.num_rows
    sure = np.round(inferred["confidence"].to_numpy().astype(np.float64) * PARTS).astype(np.int32)
    columns |= {"gap": np.full(r, -1, np.int32), "sure": np.zeros(r, np.int32)}
    for name, values in (_own(inferred, names) | {"gap": inferred["gap"].to_numpy(), "sure": sure}).items():
        columns[name] = np.concatenate([columns[name], values])
    pa.default_memory_pool().release_unused()
    order = np.lexsort((np.concatenate([rows, rows_of(inferred, result.trace.gaps)]), columns["time"]))
    for name in columns:
        columns[name] = columns[name][order]
    columns["time"] = since(columns["time"].astype(np.int64), begin_ns)
    place = np.empty(r + i, np.int64)
    place[order] = np.arange(r + i)
    columns |= _fields(inferred.select(["fields"]).take(pa.array(order[order >= r] - r)), names)
    return Events(columns, rows, place[:r], until, gaps)


def _own(table: pa.Table, names: Names) -> dict[str, Numbers]:
    """When and where each event was, and what happened to whom."""
    return {"time": table["time_ns"].to_numpy(), "cpu": table["cpu"].to_numpy(), **names.kinds(table)}


def _recorded(result: Result, room: int) -> tuple[pa.Table, int]:
    """Recorded events in the order of the trace's rows, no more than there is room for, and how many of them from the
    first on are all there."""
    whole, tables = result.recorded()
    table = pa.concat_tables(tables)
    rows, first = np.unique(table["row"].to_numpy(), return_index=True)
    if len(rows) > room:
        streams = rows_by(table["cpu"].to_numpy()[first])
        behind = [result.outline.kept if g.after is None else g.after for g in result.trace.gaps]
        near = beside({c: rows[at] for c, at in streams.items()}, result.trace.gaps, np.array(behind, np.int64))
        near = near[: room // 2]
        whole = min(whole, room - len(near))
        kept = (rows < whole) | np.isin(rows, near)
        first = first[kept]
    return table.take(pa.array(first)).unify_dictionaries(), whole


def _first(rows: Ints, whole: int) -> int:
    return int(np.searchsorted(rows, whole))


def since(time_ns: Ints, begin_ns: int) -> Ints:
    """Times from a trace's begin on; what lies further than whole numbers reach lies at their end."""
    # differences of 64 bits, as they come out without a sign
    apart = time_ns.astype(np.int64).view(np.uint64) - np.array(begin_ns, np.int64).view(np.uint64)
    return np.minimum(apart, np.uint64(1 << 62)).astype(np.int64)


def _fields(inferred: pa.Table, names: Names) -> dict[str, Ints]:
    """Fields of the inferred events: of each event how many (I,), and of each field its name, value and confidence."""
    starts, name, value, sure = flat(inferred)
    return {
        "fields": np.diff(starts),
        "field": names.values.numbers(name.to_pylist()),
        "value": names.values.numbers(value.to_pylist()),
        "known": np.round(sure * PARTS).astype(np.int64),
    }
