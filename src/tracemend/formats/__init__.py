"""The formats: one file each, one entry here. A format is recognised by its content, never by the file's name."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from tracemend.errors import TraceError
from tracemend.events import Trace
from tracemend.formats import ftrace
from tracemend.formats.base import Format, Options
from tracemend.formats.text import open_binary

FORMATS: dict[str, Format] = {f.name: f for f in (ftrace.FORMAT,)}


def recognise(path: Path) -> Format:
    """The first format whose content test the file passes; raises TraceError if there is none."""
    with open_binary(path) as f:
        head = f.read(1 << 16)
    if not head.strip():
        raise TraceError(path, 0, "the file is empty")
    for candidate in FORMATS.values():
        if candidate.recognise(head):
            return candidate
    raise TraceError(path, 1, f"no known trace format; --format takes one of {', '.join(FORMATS)}")


def read(
    path: str | Path, format: str | None = None, *, arch: str = "x86_64", skip_malformed: bool = False
) -> Trace:
    """Read a trace. The format is recognised by content unless named; ``arch`` names raw system-call numbers.

    Raises TraceError (with file and line) for what can't be read.
    """
    path = Path(path)
    if not path.is_file():
        raise TraceError(path, 0, "no such file" if not path.exists() else "not a file")
    try:
        chosen = FORMATS[format] if format else recognise(path)
        trace = chosen.read(path, Options(arch, skip_malformed))
    except KeyError:
        raise TraceError(path, 0, f"unknown format {format!r}; one of {', '.join(FORMATS)}") from None
    except OSError as e:
        raise TraceError(path, 0, e.strerror or str(e)) from e
    return replace(trace, provenance={**trace.provenance, "sha256": sha256(path), "bytes": path.stat().st_size})


def sha256(path: Path) -> str:
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
