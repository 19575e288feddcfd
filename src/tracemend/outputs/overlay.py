"""The overlay: the inferred events beside the trace, as lines of JSON and as Parquet, each flagged as inferred.

``overlay.jsonl`` begins with one line that says how the events were made and lists the gaps; every further line is one
inferred event, its ``fields`` a list of those that are known. ``overlay.parquet`` holds the same rows, with that header
in the schema's metadata (without the gaps, if there are very many).
``hypotheses.parquet``, if any were drawn, holds other fills of the same gaps. None holds a date or a path of the
writing program's own, so the same seed gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.json
import pyarrow.parquet

from tracemend.errors import OutputError
from tracemend.mending.mended import FIELDS, INFERRED, Result
from tracemend.mending.mended import HYPOTHESES as DRAWN
from tracemend.outputs.known import Known, flat, known
from tracemend.untrusted import json_of, json_text

JSONL = "overlay.jsonl"
#: Bytes of an overlay's first line, at most: it lists the gaps.
LONGEST_HEADER = 1 << 30
PARQUET = "overlay.parquet"
HYPOTHESES = "hypotheses.parquet"
NOTE = "inferred events are no evidence"

#: What ``read_overlay`` gives: an inferred event's columns and the flag that it is one.
OVERLAY = INFERRED.append(pa.field("inferred", pa.bool_(), nullable=False))
#: A field as lines of JSON have it.
FIELD = pa.struct([("name", pa.string()), ("value", pa.string()), ("confidence", pa.float32())])

_LINES_AT_ONCE = 1 << 14
#: Rows of a group of the Parquet files, at least. Of more gaps only the lines of JSON tell: Parquet's readers refuse
#: metadata of many megabytes.
GROUP = 1 << 18
MOST_GAPS = 10_000


def header(mended: Result) -> dict[str, Any]:
    """How the events were made; its last entry, all gaps with what became of them, is written behind it."""
    made = mended.provenance
    return {
        "tracemend": made["tracemend"],
        "kind": "overlay",
        **{key: made.get(key) for key in ("model", "model_sha256", "seed", "input", "input_sha256", "format")},
        "options": made.get("options") or {},
        **{key: made[key] for key in ("windows", "familiar", "alike") if key in made},
        "note": NOTE,
    }


def _recorded(mended: Result) -> dict[str, Any]:
    """What survived, as far as it takes to draw the gaps over it."""
    outline = mended.outline
    span = {"events": outline.kept, "begin_ns": outline.begin_ns, "end_ns": outline.end_ns}
    return {"clock": mended.trace.clock, **span, "cpus": sorted(outline.cpus)}


def write(mended: Result, folder: Path) -> list[Path]:
    """Write the files into the folder; raises OSError."""
    lines, parquet = folder / JSONL, folder / PARQUET
    head = header(mended) | {"recorded": _recorded(mended)}
    with open(lines, "w", encoding="ascii", newline="\n") as f:
        f.write(json_text(head)[:-1] + ', "gaps": [')  # there may be so many that they are never held as one text
        for i, row in enumerate(mended.gap_rows()):
            f.write((", " if i else "") + json_text(row))
        f.write("]}\n")
        for table in mended.tables():
            events = _lines(table)
            while part := list(islice(events, _LINES_AT_ONCE)):
                f.writelines(part)
    few = len(mended.fills) <= MOST_GAPS
    head |= {"gaps": mended.gap_table()} if few else {"gaps_in": JSONL}
    metadata = {"tracemend": json.dumps(head, allow_nan=False)}
    flagged = (
        _rounded(t.append_column(OVERLAY.field("inferred"), pa.repeat(True, t.num_rows))) for t in mended.tables()
    )
    _write_parquet(flagged, OVERLAY.with_metadata(metadata), parquet)
    hypotheses = mended.drawn()
    if hypotheses is None:
        return [lines, parquet]
    drawn = folder / HYPOTHESES
    _write_parquet(hypotheses, DRAWN.with_metadata(metadata), drawn)
    return [lines, parquet, drawn]


def _write_parquet(tables: Iterable[pa.Table], schema: pa.Schema, path: Path) -> None:
    """Write tables of a schema into one file, as many rows as usual in a group."""
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as file:
        held: list[pa.Table] = []
        rows = 0
        for table in tables:
            held.append(table.cast(schema))
            rows += table.num_rows
            if rows >= GROUP:
                file.write_table(pa.concat_tables(held).unify_dictionaries())
                held, rows = [], 0
        if rows or not held:
            file.write_table(pa.concat_tables(held or [schema.empty_table()]).unify_dictionaries())


def read_header(path: Path) -> dict[str, Any]:
    """The first line of an ``overlay.jsonl``; raises OutputError for anything that is none."""
    try:
        with open(path, "rb") as f:
            found = json_of(f.readline(LONGEST_HEADER))
    except OSError as e:
        raise OutputError(f"{path}: {e.strerror or e}") from e
    except ValueError as e:
        raise OutputError(f"{path}: no overlay of tracemend's") from e
    if not isinstance(found, dict) or found.get("kind") != "overlay" or "tracemend" not in found:
        raise OutputError(f"{path}: no overlay of tracemend's")
    return found


def read_overlay(path: str | Path) -> tuple[dict[str, Any], pa.Table]:
    """The header and the inferred events (schema OVERLAY) of an output folder, an ``overlay.jsonl`` or a ``.parquet``.

    Raises OutputError for anything else, and for a damaged one.

    >>> mended = mend("tests/data/ftrace_pipe.txt")
    >>> paths = mended.write(folder / "out")
    >>> header, inferred = read_overlay(folder / "out")
    >>> header["seed"], inferred.num_rows == mended.events, all(inferred["inferred"].to_pylist())
    (0, True, True)
    """
    path = Path(path)
    if path.is_dir():
        path /= JSONL
    try:
        if path.suffix == ".parquet":
            table = pyarrow.parquet.ParquetFile(path).read()
            found = json_of((table.schema.metadata or {})[b"tracemend"])
        else:
            found = read_header(path)
            with open(path, "rb") as f:
                f.readline()
                table = _read_lines(f.read())
        return found, table.select(OVERLAY.names).cast(OVERLAY)
    except (pa.ArrowException, KeyError, ValueError) as e:
        reason = str(e).splitlines()[0] if str(e) else type(e).__name__
        raise OutputError(f"{path}: the overlay is damaged: {reason}") from e
    except OSError as e:
        raise OutputError(f"{path}: {e.strerror or e}") from e


def _read_lines(lines: bytes) -> pa.Table:
    plain = {c.name: c.type.value_type if pa.types.is_dictionary(c.type) else c.type for c in OVERLAY}
    schema = pa.schema(plain | {"fields": pa.list_(FIELD)})
    if not lines:
        return OVERLAY.empty_table()
    options = pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error")
    table = pyarrow.json.read_json(pa.BufferReader(lines), parse_options=options)
    chunks = [_map_of(chunk) for chunk in table["fields"].chunks]
    at = schema.get_field_index("fields")
    return table.set_column(at, OVERLAY.field("fields"), pa.chunked_array(chunks, FIELDS))


def _map_of(fields: pa.ListArray) -> pa.MapArray:
    """Lists of fields as the map they are. Raises ValueError where something is missing."""
    names, *rest = (fields.values.field(i) for i in range(FIELD.num_fields))
    if fields.null_count or fields.values.null_count or any(part.null_count for part in (names, *rest)):
        raise ValueError("a field without a name, a value or a confidence")
    items = pa.StructArray.from_arrays(rest, fields=list(FIELDS.item_type))
    return pa.MapArray.from_arrays(fields.offsets, names, items, FIELDS)


def _rounded(table: pa.Table) -> pa.Table:
    at = table.schema.get_field_index("confidence")
    table = table.set_column(at, OVERLAY.field("confidence"), pa.array(_four(table["confidence"].to_numpy())))
    starts, names, values, confidence = flat(table)
    items = pa.StructArray.from_arrays([values, pa.array(_four(confidence))], fields=list(FIELDS.item_type))
    fields = pa.MapArray.from_arrays(pa.array(starts, pa.int32()), names, items, FIELDS)
    return table.set_column(table.schema.get_field_index("fields"), OVERLAY.field("fields"), fields)


def _four(confidence: np.typing.NDArray[np.floating[Any]]) -> np.typing.NDArray[np.float32]:
    """To four digits."""
    return np.round(confidence.astype(np.float64), 4).astype(np.float32)


def _lines(inferred: pa.Table) -> Iterator[str]:
    """One line of JSON an event. Put together by hand: a general encoder takes several times as long."""
    text, spelt = cache(json_text), lru_cache(1 << 16)(_fields)
    confidence = np.round(inferred["confidence"].to_numpy().astype(np.float64), 4)
    columns = [inferred[c].to_pylist() for c in ("gap", "cpu", "time_ns", "tid")]
    strings = [inferred[c].cast(pa.string()).to_pylist() for c in ("comm", "name", "phase")]
    rows = zip(*columns, *strings, confidence.tolist(), known(inferred), strict=True)
    for gap, cpu, time, tid, comm, name, phase, sure, fields in rows:
        yield (
            f'{{"gap": {gap}, "cpu": {cpu}, "time_ns": {time}, "tid": {tid}, "comm": {text(comm)}, '
            f'"name": {text(name)}, "phase": {text(phase)}, "confidence": {sure}, "fields": {spelt(fields)}, '
            '"inferred": true}\n'
        )


def _fields(fields: tuple[Known, ...]) -> str:
    return json_text([dict(zip(FIELD.names, field, strict=True)) for field in fields])
