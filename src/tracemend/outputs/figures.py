"""Figures as one Parquet file: each row an estimate or an observation, and says which."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from tracemend.errors import OutputError
from tracemend.reckoning.figures import SCHEMA, Figures, rounded
from tracemend.whole import whole_file

NAME = "figures.parquet"


def write(figures: Sequence[Figures], path: Path) -> None:
    """Write figures by several things, each with its totals behind it; how they were made is in the schema's metadata,
    as ``tracemend``. The file appears whole or not at all. Raises OSError."""
    about = figures[0].about | {"notes": list(figures[0].notes)}
    schema = SCHEMA.with_metadata({"tracemend": json.dumps(about)})
    tables = [rounded(part).cast(schema) for made in figures for part in (made.table, made.total)]
    with whole_file(path) as file:
        pyarrow.parquet.write_table(pa.concat_tables(tables), file, compression="zstd")


def check(path: Path, source: Path, force: bool) -> None:
    """Raises OutputError for a place where figures can't be written: it is taken, is or lies in the input."""
    if path.resolve() == source.resolve() or source.resolve() in path.resolve().parents:
        raise OutputError(f"{path}: is or lies in the input; choose another file")
    if path.exists() and not (force and path.is_file()):
        raise OutputError(f"{path}: exists already; --force replaces a file")
    if not path.resolve().parent.is_dir():
        raise OutputError(f"{path}: there is no folder {path.resolve().parent}")
