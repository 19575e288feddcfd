"""tracemend's own format: one Parquet file with the events as rows and everything else in the file's metadata.

Columns are those of ``events.SCHEMA``; ``args`` and ``ret`` may be missing (they take most of the space and can hold
addresses), ``line`` always is: it is the row. A recording with its truth has one column more (``recording.pairs``).
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.errors import OutputError, TraceError
from tracemend.formats.base import Evidence, Format, Options
from tracemend.trace.events import PHASES, SCHEMA, Mark, Trace
from tracemend.trace.evidence import Doubt, Unplaced
from tracemend.trace.placing import gaps_from_marks
from tracemend.untrusted import json_of
from tracemend.whole import whole_file

if TYPE_CHECKING:
    import pyarrow.parquet as pq

MAGIC = b"PAR1"
KEY = b"tracemend"
#: What a file must hold; the other columns of the schema are filled in.
REQUIRED = ("time_ns", "cpu", "tid", "comm", "name", "phase")
#: Says of each event of a trace whether it is inferred: such a trace is no recording.
INFERRED_COLUMN = "inferred"
#: Columns of texts, of which one value can stand in very many rows.
TEXTS = ("name", "comm", "args", "ret")
#: A file with more rows than this has at most so many of them a byte; and its texts, written out, so many bytes.
MANY_ROWS, ROWS_A_BYTE, MOST_BYTES = 1_000_000, 20, 1 << 31
ENCODED = ("cpu", "tid", "comm", "name", "phase")


def write(
    trace: Trace,
    path: Path,
    *,
    details: bool = True,
    more: dict[str, pa.Array] | None = None,
    about: dict[str, Any] | None = None,
) -> None:
    """Write a trace; the file appears whole or not at all. Equal traces make equal bytes.

    details: with arguments and results. more: further columns. about: further keys of the metadata. Raises OutputError,
    also for a trace with inferred events.
    """
    if INFERRED_COLUMN in trace.table.column_names:
        raise OutputError(f"{path}: not written: some events of the trace are inferred")
    columns = {
        c: trace.table[c] if c not in ("comm", "name", "phase") else trace.table[c].cast(pa.string())
        for c in SCHEMA.names
        if c != "line" and (details or c not in ("args", "ret"))
    } | (more or {})
    document = {
        "version": 1,
        "clock": trace.clock,
        "overwritten": trace.overwritten,
        "marks": [[g.cpu, len(trace) if g.after is None else g.after, g.count] for g in trace.gaps],
        "provenance": trace.provenance,
        "tracer": trace.tracer,
        **({"nested": True} if trace.nested else {}),
        "unplaced": [u.as_dict() for u in trace.unplaced],
        "doubts": [asdict(d) for d in trace.doubts],
        **({"processes": sorted(trace.processes.items())} if trace.processes else {}),
        **(about or {}),
    }
    table = pa.table(columns).replace_schema_metadata({KEY: json.dumps(document, sort_keys=True).encode()})
    encoded = [c for c in (*ENCODED, "args", "ret", *(more or {})) if c in columns]
    import pyarrow.parquet as pq

    try:
        with whole_file(path) as file:
            pq.write_table(
                table,
                file,
                compression="zstd",
                compression_level=19,
                use_dictionary=encoded,
                column_encoding={"time_ns": "DELTA_BINARY_PACKED"},
            )
    except OSError as e:
        raise OutputError(f"{path}: can't be written: {e.strerror or e}") from e


def read_columns(path: Path) -> tuple[pa.Table, dict[str, Any]]:
    """All columns as they are, and the metadata (empty for a file that somebody else wrote). Raises TraceError."""
    import pyarrow.parquet as pq  # every command lists the formats, few read this one

    try:
        schema = pq.read_schema(path)
        texts = [c for c in TEXTS if c in schema.names and _is_text(schema.field(c).type)]
        with pq.ParquetFile(path, read_dictionary=texts) as file:
            _refuse_bomb(file, path)
            table = file.read()
            grown = sum(_text_bytes(table[c]) for c in texts)
            if grown > MOST_BYTES:
                raise TraceError(path, 0, f"its texts take {grown:,} bytes, more than can be read")
    except FileNotFoundError as e:
        raise TraceError(path, 0, "no such file") from e
    except (OSError, pa.ArrowException) as e:
        raise TraceError(path, 0, f"can't be read as Parquet: {str(e).splitlines()[0]}") from e
    missing = [c for c in REQUIRED if c not in table.column_names]
    if missing:
        raise TraceError(path, 0, f"no recording: no column {missing[0]!r}")
    try:
        about = json_of((table.schema.metadata or {}).get(KEY, b"{}"))
        if not isinstance(about, dict):
            raise ValueError("not an object")
    except ValueError as e:
        raise TraceError(path, 0, f"its metadata can't be read: {e}") from e
    return table, about


def _refuse_bomb(file: pq.ParquetFile, path: Path) -> None:
    """Raises TraceError for more rows than a file of this size can have in truth: equal values take no room."""
    rows, size = file.metadata.num_rows, path.stat().st_size
    if rows > MANY_ROWS and rows > ROWS_A_BYTE * size:
        raise TraceError(path, 0, f"{rows:,} rows in {size:,} bytes are no recording")


def _is_text(kind: pa.DataType) -> bool:
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(value) or pa.types.is_large_string(value) or pa.types.is_binary(value))


def _text_bytes(column: pa.ChunkedArray) -> int:
    """Bytes of the values of a column of texts, each value counted as often as it stands there."""
    import pyarrow.compute as pc

    total = 0
    for chunk in column.chunks:
        if isinstance(chunk, pa.DictionaryArray):
            lengths = pc.binary_length(chunk.dictionary.cast(pa.large_binary()))
            total += pc.sum(lengths.take(chunk.indices)).as_py() or 0
    return int(total)


def from_columns(table: pa.Table, about: dict[str, Any], path: Path) -> Trace:
    """The trace that a file's columns and metadata tell of. Raises TraceError for anything that can't be one."""
    import pyarrow.compute as pc

    rows = table.num_rows
    try:
        phases = pa.array(PHASES, pa.string())
        phase = pc.index_in(pa.array(table["phase"].combine_chunks(), pa.string()), value_set=phases).cast(pa.int8())
        columns = {
            "time_ns": table["time_ns"].cast(pa.int64()),
            "cpu": table["cpu"].cast(pa.int32()),
            "tid": table["tid"].cast(pa.int32()),
            "comm": table["comm"].cast(pa.string()).combine_chunks().dictionary_encode(),
            "name": table["name"].cast(pa.string()).combine_chunks().dictionary_encode(),
            "phase": pa.DictionaryArray.from_arrays(phase, phases),
        }
        for name in ("args", "ret"):
            there = name in table.column_names
            columns[name] = table[name].cast(pa.string()) if there else pa.nulls(rows, pa.string())
        columns["line"] = pa.array(np.arange(rows), pa.int64())
        for name in ("time_ns", "cpu", "tid", "name", "phase"):
            if columns[name].null_count:
                raise ValueError(f"column {name!r} has holes, or values that it can't have")
        _check_rows(*(np.asarray(columns[name]) for name in ("time_ns", "cpu", "tid")))
        events = pa.table(columns, schema=SCHEMA)
        marks = [
            Mark(_int(c, (1 << 31) - 1, -1), _int(r, rows), None if n is None else _int(n, 1 << 40), r)
            for c, r, n in about.get("marks", [])
        ]
        gaps = gaps_from_marks(events["cpu"].to_numpy(), events["time_ns"].to_numpy(), marks)
        return Trace(
            path,
            "parquet",
            events,
            gaps,
            overwritten=_int(about.get("overwritten", 0), 1 << 62),
            clock="index" if about.get("clock") == "index" else "ns",
            provenance=dict(about.get("provenance", {})),
            tracer=str(about.get("tracer", "")),
            nested=about.get("nested") is True,
            unplaced=tuple(Unplaced(**u) for u in about.get("unplaced", [])),
            doubts=tuple(Doubt(**d) for d in about["doubts"]) if "doubts" in about else (SILENT,),
            processes={_int(t, (1 << 31) - 1): _int(p, (1 << 31) - 1) for t, p in about.get("processes", [])},
        )
    except (pa.ArrowException, ValueError, TypeError) as e:
        raise TraceError(path, 0, f"no recording: {str(e).splitlines()[0]}") from e


def _check_rows(time_ns: NDArray[np.int64], cpu: NDArray[np.int32], tid: NDArray[np.int32]) -> None:
    """Raises ValueError for rows (E,) that no reader of another format would let pass: times below 0 or that run
    backwards on one cpu, numbers of cpus and threads below -1."""
    for name, column, least in (("time_ns", time_ns, 0), ("cpu", cpu, -1), ("tid", tid, -1)):
        low = np.flatnonzero(column < least)
        if len(low):
            raise ValueError(f"row {low[0]} has {name} {column[low[0]]}")
    order = np.argsort(cpu, kind="stable")
    back = np.flatnonzero((np.diff(time_ns[order]) < 0) & (np.diff(cpu[order]) == 0))
    if len(back):
        raise ValueError(f"row {order[back[0] + 1]}: time goes backwards on cpu {cpu[order[back[0]]]}")


def _int(value: object, most: int, least: int = 0) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"a mark of {value!r}")
    return value


def read(path: Path, options: Options) -> Trace:
    """Read a recording; raises TraceError."""
    del options
    return from_columns(*read_columns(path), path)


SILENT = Doubt("the file doesn't say how its tracer would have told of losses", "Scan the trace that it was made from.")
EVIDENCE = Evidence(
    marks="the losses of the trace that it was made from",
    complete="no loss, and nothing that leaves a doubt about the trace that it was made from",
    blind="what that trace couldn't show either; files of other programs show nothing",
)
TITLE = "tracemend's own recordings (Parquet)"
FORMAT = Format("parquet", TITLE, lambda head: head.startswith(MAGIC), read, EVIDENCE)
