"""Fills as tables of inferred events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.mending.beliefs import Filled
from tracemend.mending.fields import Fields
from tracemend.mending.mended import HYPOTHESES, INFERRED
from tracemend.mending.scheduled import Scheduled
from tracemend.mending.together import Inferred
from tracemend.mending.wakes import settled
from tracemend.trace.events import PHASES
from tracemend.trace.vocabulary import Vocabulary


@dataclass(frozen=True)
class Tables:
    """Makes the tables. scheduled: what switches asked of the fills, where they were recorded."""

    fields: Fields
    vocabulary: Vocabulary
    scheduled: Scheduled | None

    @cached_property
    def _kinds(self) -> tuple[pa.Array, NDArray[np.int32], NDArray[np.int8]]:
        """The names that there are, and by id which of them and the phase."""
        entries = [self.vocabulary.entry(i) or ("unknown", 2) for i in range(len(self.vocabulary))]
        names = list(dict.fromkeys(n for n, _ in entries))
        place = {n: i for i, n in enumerate(names)}
        name_of = np.array([place[n] for n, _ in entries], np.int32)
        return pa.array(names, pa.string()), name_of, np.array([p for _, p in entries], np.int8)

    def inferred(self, parts: Sequence[Filled], *, counted: bool = False) -> pa.Table:
        """The events of some fills, one after the other (INFERRED). counted: only with the fields that figures are made
        of."""
        if not parts:
            return INFERRED.empty_table()
        inferred = Inferred.of(parts)
        if self.scheduled:
            switches, wakeups = (inferred.ids == i for i in (self.scheduled.switch, self.scheduled.wakeup))
            inferred = settled(inferred, self.scheduled.running, switches, wakeups)
        comm = self.fields.comms(inferred)
        lengths = [len(f.ids) for f in parts]
        names, name_of, phase_of = self._kinds
        columns = [
            pa.array(np.repeat([f.gap.number for f in parts], lengths), pa.int32()),
            pa.array(inferred.cpus, pa.int32()),
            pa.array(inferred.times, pa.int64()),
            pa.array(inferred.tids, pa.int32()),
            pa.DictionaryArray.from_arrays(
                pa.array(np.maximum(comm, 0), pa.int32(), mask=comm < 0), pa.array(self.fields.names.known, pa.string())
            ),
            pa.DictionaryArray.from_arrays(pa.array(name_of[inferred.ids], pa.int32()), names),
            pa.DictionaryArray.from_arrays(pa.array(phase_of[inferred.ids], pa.int8()), pa.array(PHASES, pa.string())),
            pa.array(np.clip(inferred.confidence, 0, 1), pa.float32()),
            self.fields.counted(inferred, comm) if counted else self.fields.of(inferred, comm),
        ]
        return pa.Table.from_arrays(columns, schema=INFERRED)

    def hypotheses(self, drawn: list[list[Filled]]) -> pa.Table:
        """What was drawn of each gap (HYPOTHESES): the first ones of all gaps belong together, and so on. They are
        taken out of ``drawn``: they take much memory."""
        tables: list[pa.Table] = []
        while drawn and drawn[0]:  # there may be many: each is let go once its table is made
            table = self.inferred([others.pop(0) for others in drawn]).drop_columns("confidence")
            number = pa.array(np.full(len(table), len(tables), np.int32))
            tables.append(table.add_column(1, HYPOTHESES.field("hypothesis"), number))
        if not tables:
            return HYPOTHESES.empty_table()
        table = pa.concat_tables(tables)
        del tables
        order = pa.array(np.argsort(table["gap"].to_numpy(), kind="stable"))
        columns = table.columns
        del table
        for k, column in enumerate(columns):  # one by one, so that none is there twice for long
            columns[k] = column.take(order)
            del column
        return pa.Table.from_arrays(columns, schema=HYPOTHESES)


class Draws:
    """What was drawn to be counted and nothing else: a table for each history, made when it is asked for.

    drawn: of each gap one fill for each history. gaps: their numbers.
    """

    def __init__(self, tables: Tables, drawn: list[list[Filled]]) -> None:
        self._tables, self._drawn = tables, drawn
        self.gaps = [others[0].gap.number for others in drawn]

    def __iter__(self) -> Iterator[pa.Table]:
        """The events of each history in turn (INFERRED), with the fields alone that figures are made of."""
        for fills in zip(*self._drawn, strict=True):
            yield self._tables.inferred(fills, counted=True)
