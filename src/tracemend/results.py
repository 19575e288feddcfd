"""Results of experiments: JSON Lines, one row a cell of a grid, written as soon as it is there."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

from tracemend.errors import DataError

Row = dict[str, Any]

#: What tells one row from another. ``set``: changes to the recipe; ``windows``: how many were asked for.
KEY = ("data", "mender", "set", "length", "gap", "place", "seed", "windows")


def read_results(path: Path) -> list[Row]:
    """The rows of a results file. A last line that a kill cut short is left out; any other is a DataError."""
    try:
        lines = path.read_text().split("\n")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as e:
        raise DataError(f"{path}: no results ({e})") from e
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or (number == len(lines) and not line.endswith("}")):
            continue
        try:
            row = json.loads(line)
            row["set"] = tuple(row["set"])
            if any(k not in row for k in KEY):
                raise KeyError(", ".join(k for k in KEY if k not in row))
        except (ValueError, KeyError, TypeError) as e:
            raise DataError(f"{path}:{number}: no row of results ({type(e).__name__}: {e})") from e
        rows.append(row)
    return rows


def key(row: Row) -> tuple[Any, ...]:
    """What tells this row from others."""
    return tuple(row[k] for k in KEY)


def mend_tail(path: Path) -> None:
    """Cut off a last line that a kill left unfinished, so that the next row begins a line of its own."""
    if not path.exists():
        return
    with open(path, "rb+") as file:
        content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        if content != whole:
            rest = content[len(whole) :]
            if rest.endswith(b"}"):
                file.write(b"\n")
            else:
                file.truncate(len(whole))
            os.fsync(file.fileno())


def append(path: Path, row: Row) -> None:
    """Add one row in one piece, whoever else is adding rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = (json.dumps(row) + "\n").encode()
    with open(path, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
