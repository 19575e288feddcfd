"""Fills as tables of inferred events."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from tracemend.mending.beliefs import Filled
from tracemend.mending.filling import Filling
from tracemend.mending.mended import FIELDS, HYPOTHESES, INFERRED
from tracemend.trace.events import PHASES


def drawn_table(run: Filling, drawn: Sequence[Sequence[Filled]]) -> pa.Table:
    """The hypotheses of each gap as a table (HYPOTHESES)."""
    table = inferred_table(run, [f for of_gap in drawn for f in of_gap]).drop_columns("confidence")
    number = [np.full(len(f.ids), k) for of_gap in drawn for k, f in enumerate(of_gap)]
    column = pa.array(np.concatenate(number) if number else [], pa.int32())
    return table.add_column(1, HYPOTHESES.field("hypothesis"), column)


def inferred_table(run: Filling, parts: Sequence[Filled]) -> pa.Table:
    """The events of some fills, one after the other, as a table (INFERRED)."""
    if not parts:
        return INFERRED.empty_table()
    ids = np.concatenate([f.ids for f in parts])
    tids = np.concatenate([f.tids for f in parts])
    comms = [*run.trace.comms[1]]
    comm_of = {tid: int(run.trace.comms[0][rows[-1]]) for tid, rows in run.trace.threads.items()}
    comm = np.array([comm_of.get(t, -1) for t in tids.tolist()], np.int32)
    entries = [run.vocabulary.entry(i) or ("unknown", 2) for i in range(len(run.vocabulary))]
    names = list(dict.fromkeys(n for n, _ in entries))
    place = {n: i for i, n in enumerate(names)}
    name_of = np.array([place[n] for n, _ in entries], np.int32)
    phase_of = np.array([p for _, p in entries], np.int8)
    columns = [
        pa.array(np.repeat([f.gap.number for f in parts], [len(f.ids) for f in parts]), pa.int32()),
        pa.array(np.repeat([f.gap.cpu for f in parts], [len(f.ids) for f in parts]), pa.int32()),
        pa.array(np.concatenate([f.times for f in parts]), pa.int64()),
        pa.array(tids, pa.int32()),
        pa.DictionaryArray.from_arrays(
            pa.array(np.maximum(comm, 0), pa.int32(), mask=comm < 0), pa.array(comms, pa.string())
        ),
        pa.DictionaryArray.from_arrays(pa.array(name_of[ids], pa.int32()), pa.array(names, pa.string())),
        pa.DictionaryArray.from_arrays(pa.array(phase_of[ids], pa.int8()), pa.array(PHASES, pa.string())),
        pa.array(np.clip(np.concatenate([f.confidence for f in parts]), 0, 1), pa.float32()),
        pa.array([()] * len(ids), FIELDS),
    ]
    return pa.Table.from_arrays(columns, schema=INFERRED)
