"""The formats: one file each, one entry here. A format is recognised by its content, never by the file's name."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from tracemend.errors import TraceError
from tracemend.events import Trace
from tracemend.formats import external, ftrace, parquet, perf, sequence, strace
from tracemend.formats.base import Format, Options
from tracemend.formats.text import read_head
from tracemend.syscalls import architectures

#: In the order in which they are tried: magic numbers first, the least demanding text last.
FORMATS: dict[str, Format] = {
    f.name: f
    for f in (
        parquet.FORMAT,
        external.TRACE_DAT,
        external.PERF_DATA,
        ftrace.FORMAT,
        perf.FORMAT,
        strace.FORMAT,
        sequence.FORMAT,
    )
}


def recognise(path: Path) -> Format:
    """The first format whose content test the file passes; raises TraceError if there is none."""
    head = read_head(path)
    if not head.strip():
        raise TraceError(path, 0, "the file is empty")
    for candidate in FORMATS.values():
        if candidate.recognise(head):
            return candidate
    raise TraceError(path, 1, f"no known trace format; --format takes one of {', '.join(FORMATS)}")


def read(path: str | Path, format: str | None = None, *, arch: str = "x86_64", skip_malformed: bool = False) -> Trace:
    """Read a trace. The format is recognised by content unless named; ``arch`` names raw system-call numbers.

    Raises TraceError (with file and line) for what can't be read.
    """
    path = Path(path)
    if not path.is_file():
        raise TraceError(path, 0, "no such file" if not path.exists() else "not a file")
    if format is not None and format not in FORMATS:
        raise TraceError(path, 0, f"unknown format {format!r}; one of {', '.join(FORMATS)}")
    if arch not in architectures():
        raise TraceError(path, 0, f"unknown architecture {arch!r}; one of {', '.join(architectures())}")
    try:
        chosen = FORMATS[format] if format else recognise(path)
        trace = chosen.read(path, Options(arch, skip_malformed))
        return replace(trace, provenance={**trace.provenance, "sha256": sha256(path), "bytes": path.stat().st_size})
    except OSError as e:
        raise TraceError(path, 0, e.strerror or str(e)) from e


def sha256(path: Path) -> str:
    """The file's SHA-256 as it lies on disk, in hexadecimal digits."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
