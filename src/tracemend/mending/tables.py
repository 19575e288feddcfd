"""Fills as tables of inferred events."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from tracemend.mending.beliefs import Filled
from tracemend.mending.fields import Fields
from tracemend.mending.filling import Filling
from tracemend.mending.mended import HYPOTHESES, INFERRED
from tracemend.mending.together import Inferred
from tracemend.mending.wakes import settled
from tracemend.trace.events import PHASES


def drawn_table(run: Filling, drawn: list[list[Filled]], fields: Fields, counted: bool) -> pa.Table:
    """The hypotheses of each gap as a table (HYPOTHESES): the first ones of all gaps belong together, and so on.

    counted: only with the fields that figures are made of, and one history behind the other. They are taken out of
    ``drawn``: they take much memory.
    """
    tables: list[pa.Table] = []
    while drawn and drawn[0]:  # there may be many: each is let go once its table is made
        table = _table(run, [others.pop(0) for others in drawn], fields, counted).drop_columns("confidence")
        number = pa.array(np.full(len(table), len(tables), np.int32))
        tables.append(table.add_column(1, HYPOTHESES.field("hypothesis"), number))
    if not tables:
        return HYPOTHESES.empty_table()
    table = pa.concat_tables(tables)
    del tables
    if counted:
        return table
    order = pa.array(np.argsort(table["gap"].to_numpy(), kind="stable"))
    columns = table.columns
    del table
    for k, column in enumerate(columns):  # one by one, so that none is there twice for long
        columns[k] = column.take(order)
        del column
    return pa.Table.from_arrays(columns, schema=HYPOTHESES)


def inferred_table(run: Filling, parts: Sequence[Filled], fields: Fields) -> pa.Table:
    """The events of some fills, one after the other, as a table (INFERRED)."""
    if not parts:
        return INFERRED.empty_table()
    return _table(run, parts, fields)


def _table(run: Filling, parts: Sequence[Filled], fields: Fields, counted: bool = False) -> pa.Table:
    inferred = Inferred.of(parts)
    if run.scheduled:
        switches, wakeups = (inferred.ids == i for i in (run.scheduled.switch, run.scheduled.wakeup))
        inferred = settled(inferred, run.scheduled.running, switches, wakeups)
    comm = fields.comms(inferred)
    lengths = [len(f.ids) for f in parts]
    entries = [run.vocabulary.entry(i) or ("unknown", 2) for i in range(len(run.vocabulary))]
    names = list(dict.fromkeys(n for n, _ in entries))
    place = {n: i for i, n in enumerate(names)}
    name_of = np.array([place[n] for n, _ in entries], np.int32)
    phase_of = np.array([p for _, p in entries], np.int8)
    columns = [
        pa.array(np.repeat([f.gap.number for f in parts], lengths), pa.int32()),
        pa.array(inferred.cpus, pa.int32()),
        pa.array(inferred.times, pa.int64()),
        pa.array(inferred.tids, pa.int32()),
        pa.DictionaryArray.from_arrays(
            pa.array(np.maximum(comm, 0), pa.int32(), mask=comm < 0), pa.array(fields.names.known, pa.string())
        ),
        pa.DictionaryArray.from_arrays(pa.array(name_of[inferred.ids], pa.int32()), pa.array(names, pa.string())),
        pa.DictionaryArray.from_arrays(pa.array(phase_of[inferred.ids], pa.int8()), pa.array(PHASES, pa.string())),
        pa.array(np.clip(inferred.confidence, 0, 1), pa.float32()),
        fields.counted(inferred, comm) if counted else fields.of(inferred, comm),
    ]
    return pa.Table.from_arrays(columns, schema=INFERRED)
