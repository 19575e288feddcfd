"""Figures as one Parquet file: each row an estimate or an observation, and says which."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from tracemend.errors import OutputError
from tracemend.reckoning.figures import FIGURES, SCHEMA, Figures, rounded
from tracemend.untrusted import json_of
from tracemend.whole import whole_file

NAME = "figures.parquet"
#: More rows than this no trace has.
MOST_ROWS = 1 << 24
#: What the metadata must tell for figures to be read.
ABOUT = {"events": int, "lost_events": int, "lost": bool, "verdict": str, "reason": str, "draws": int, "notes": list}
#: The column that says what figures are of, where it isn't the key alone.
KEYED = {"thread": "tid", "process": "pid", "cpu": "cpu", "time": "begin_ns"}


def write(figures: Sequence[Figures], path: Path) -> None:
    """Write figures by several things, each with its totals behind it; how they were made is in the schema's metadata,
    as ``tracemend``. The file appears whole or not at all. Raises OSError."""
    about = figures[0].about | {"notes": list(figures[0].notes), "index": figures[0].index}
    schema = SCHEMA.with_metadata({"tracemend": json.dumps(about)})
    tables = [rounded(part).cast(schema) for made in figures for part in (made.table, made.total)]
    with whole_file(path) as file:
        pyarrow.parquet.write_table(pa.concat_tables(tables), file, compression="zstd")


def read(folder: Path, by: str) -> Figures:
    """The figures by one thing that lie in an output folder. Raises OutputError where there are none, and for damaged
    ones."""
    path = folder / NAME
    if not path.is_file():
        raise OutputError(
            f"{folder}: holds no figures (mend writes them without --no-figures); ask for those of the trace"
        )
    table, about = _read(path)
    if by not in (there := _by(table)):
        raise OutputError(f"{path}: holds figures by {', '.join(there)}, not by {by}; ask for those of the trace")
    return _figures(path, table, about, by)


def read_all(folder: Path) -> list[Figures]:
    """All figures that lie in an output folder, which may be none. Raises OutputError for damaged ones."""
    path = folder / NAME
    if not path.is_file():
        return []
    table, about = _read(path)
    return [_figures(path, table, about, by) for by in _by(table)]


def _by(table: pa.Table) -> list[str]:
    return [by for by in dict.fromkeys(table["by"].to_pylist()) if by != "total"]


def _read(path: Path) -> tuple[pa.Table, dict[str, Any]]:
    """The rows of a file, and how they were made. Raises OutputError."""
    try:
        file = pyarrow.parquet.ParquetFile(path)
        if file.metadata.num_rows > MOST_ROWS:
            raise ValueError("too many rows")
        table = file.read()
        about = json_of((table.schema.metadata or {})[b"tracemend"])
        if not all(isinstance(about[key], kind) for key, kind in ABOUT.items()):
            raise ValueError("its metadata don't say how they were made")
        for field in SCHEMA:  # what an earlier version didn't say, nobody knows
            if field.nullable and field.name not in table.column_names:
                table = table.append_column(field, pa.nulls(table.num_rows, field.type))
        table = table.select(SCHEMA.names).cast(SCHEMA).replace_schema_metadata()
        if set(table["figure"].to_pylist()) - FIGURES.keys():
            raise ValueError("figures that nobody knows")
        if set(_by(table)) - {"call", *KEYED}:
            raise ValueError("figures by what nobody knows")
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as e:
        raise OutputError(f"{path}: can't be read as figures: {e}") from e
    return table, about


def _figures(path: Path, table: pa.Table, about: dict[str, Any], by: str) -> Figures:
    """Those by one thing, with their totals behind them. Raises OutputError."""
    keys = table["by"].to_pylist()
    begin = keys.index(by)
    rows = next((i for i in range(begin, len(keys)) if keys[i] != by), len(keys))
    end = next((i for i in range(rows, len(keys)) if keys[i] != "total"), len(keys))
    if by in KEYED and table.slice(begin, rows - begin)[KEYED[by]].null_count:
        raise OutputError(f"{path}: can't be read as figures: some don't say of what they are")
    rest = {key: value for key, value in about.items() if key not in ("notes", "index")}
    notes, index = tuple(map(str, about["notes"])), about.get("index", False) is True
    return Figures(by, table.slice(begin, rows - begin), table.slice(rows, end - rows), notes, rest, index)


def check(path: Path, source: Path, force: bool) -> None:
    """Raises OutputError for a place where figures can't be written: it is taken, is or lies in the input."""
    if path.resolve() == source.resolve() or source.resolve() in path.resolve().parents:
        raise OutputError(f"{path}: is or lies in the input; choose another file")
    if path.exists() and not (force and path.is_file()):
        raise OutputError(f"{path}: exists already; --force replaces a file")
    if not path.resolve().parent.is_dir():
        raise OutputError(f"{path}: there is no folder {path.resolve().parent}")
