"""Results of experiments: JSON Lines, one row a cell of a grid, written as soon as it is there."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tracemend.errors import DataError, OutputError
from tracemend.untrusted import json_of

Row = dict[str, Any]

#: What tells one row from another. ``set``: changes to the recipe; ``windows``: how many were asked for.
KEY = ("data", "mender", "set", "length", "gap", "place", "seed", "windows")


def key(row: Row) -> tuple[Any, ...]:
    """What tells this row from others."""
    return tuple(row[k] for k in KEY)


def read_results(path: Path, names: Sequence[str] = KEY, scores: str = "subsets") -> list[Row]:
    """The rows of a results file. A last line that a kill cut short is left out; any other is a DataError.

    names: what every row must have to be told from others. scores: the key of what was measured, an object.
    """
    try:
        lines = path.read_text().split("\n")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as e:
        raise DataError(f"{path}: no results ({e})") from e
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or (number == len(lines) and not _whole(line)):
            continue
        try:
            row = json_of(line)
            missing = [k for k in (*names, scores) if k not in row]
            if missing or not isinstance(row[scores], dict):
                raise KeyError(", ".join(missing or [scores]))
            if "set" in row:
                row["set"] = tuple(row["set"])
        except json.JSONDecodeError as e:
            raise DataError(f"{path}:{number}: no row of results; these are what tracemend experiment writes") from e
        except (ValueError, KeyError, TypeError) as e:
            raise DataError(f"{path}:{number}: no row of results ({type(e).__name__}: {e})") from e
        rows.append(row)
    return rows


def _whole(line: str) -> bool:
    try:
        json_of(line)
    except ValueError:
        return False
    return True


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Keep other experiments off a results file, and cut off a last line that a kill left unfinished.

    Raises DataError if another one is at work on it, OutputError if it can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = open(path.with_name(f".{path.name}.lock"), "wb")  # noqa: SIM115
    except OSError as e:
        raise OutputError(f"{path}: can't be written: {e.strerror or e}") from e
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"{path}: another experiment writes to it") from None
        try:
            _cut_tail(path)
        except OSError as e:
            raise OutputError(f"{path}: can't be written: {e.strerror or e}") from e
        yield


def _cut_tail(path: Path) -> None:
    if not path.exists():
        return
    with open(path, "ab+") as file:
        file.seek(0)
        content = file.read()
        begin = content.rfind(b"\n") + 1
        rest = content[begin:]
        if rest and _whole(rest.decode(errors="replace")):
            file.write(b"\n")
        elif rest:
            file.truncate(begin)


def append(path: Path, row: Row) -> None:
    """Add one row in one piece, whoever else is adding rows. Raises OutputError; then nothing was added."""
    line = (json.dumps(row) + "\n").encode()
    try:
        with open(path, "ab", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            end = file.seek(0, os.SEEK_END)
            try:
                if file.write(line) != len(line):
                    raise OSError("no space left")
                os.fsync(file.fileno())
            except OSError:
                file.truncate(end)
                raise
    except OSError as e:
        raise OutputError(f"{path}: can't be written: {e.strerror or e}") from e
