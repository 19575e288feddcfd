"""The trace of what tracerpt wrote."""

from __future__ import annotations

import io
from pathlib import Path

from tracemend.errors import TraceError
from tracemend.formats.base import Builder, Options
from tracemend.formats.text import UNPACKING, open_binary
from tracemend.formats.tracerpt import elements, encoding, table
from tracemend.formats.tracerpt.rows import Rows
from tracemend.trace.events import Trace

#: Bytes in which a file shows whether it is XML.
LOOKED_AT = 256


def read(path: Path, options: Options) -> Trace:
    """Read tracerpt's CSV or XML; raises TraceError."""
    rows = Rows(Builder(path, "tracerpt", options))
    try:
        with open_binary(path) as f:
            head = f.read(LOOKED_AT)
            told = encoding(head)
        xml = head.decode(told, "replace").lstrip().startswith("<")
        with open_binary(path) as f, io.TextIOWrapper(f, told, "replace", newline="\n") as text:
            if xml:
                rows.builder.pieces = "events"
                elements.read(text, rows)
            else:
                table.read(text, rows)
    except UNPACKING as e:
        raise TraceError(path, 0, f"can't read it: {e}") from e
    return rows.finish()
