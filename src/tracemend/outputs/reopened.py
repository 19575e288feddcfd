"""What mend wrote, put together again: of its folder and the trace that it was made of."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from tracemend.errors import OutputError, TraceError
from tracemend.formats import read, size
from tracemend.mending.mended import INFERRED, Fill, Mended
from tracemend.outputs import overlay
from tracemend.trace.events import Trace

#: Bytes of a trace that is read as a whole for this, at most.
MOST = 1 << 28


def reopen(out: Path) -> Mended:
    """The mended trace of an output folder, hypotheses aside.

    Raises OutputError: no such folder, a damaged one, a trace that is gone, has changed, is large, or was read in
    another way than by its format alone (suspected gaps, windows).
    """
    header, inferred = overlay.read_overlay(out)
    source = header.get("input")
    if not isinstance(source, str) or not source:
        raise OutputError(f"{out}: records no path of its trace")
    if not Path(source).exists():
        raise OutputError(f"{out}: its trace is no longer at {source}")
    if size(Path(source)) > MOST:
        raise OutputError(f"{out}: its trace {source} is large")
    try:
        trace = read(source, header["format"], arch=header["options"]["arch"])
    except TraceError as e:
        raise OutputError(f"{out}: its trace can't be read: {e}") from e
    except (KeyError, TypeError) as e:
        raise OutputError(f"{out}: the overlay is damaged: it doesn't say how its trace is read") from e
    if trace.provenance.get("sha256") != header.get("input_sha256"):
        raise OutputError(f"{out}: its trace {source} has changed")
    fills = _fills(trace, header)
    numbers = [gap.number for gap, fill in zip(trace.gaps, fills, strict=False) if fill.status == "filled"]
    if len(fills) != len(trace.gaps) or not np.isin(inferred["gap"].to_numpy(), numbers).all():
        raise OutputError(f"{out}: its gaps aren't those that its trace {source} has by itself")
    provenance = {key: value for key, value in header.items() if key != "gaps"}
    return Mended(trace, inferred.select(INFERRED.names), fills, provenance)


def _fills(trace: Trace, header: dict[str, Any]) -> tuple[Fill, ...]:
    """What became of each gap of the trace; nothing if the header has other gaps."""
    try:
        rows = {row["gap"]: row for row in header["gaps"]}
        if len(rows) != len(trace.gaps) or any(g.as_dict().items() - rows[g.number].items() for g in trace.gaps):
            return ()
        own = [rows[gap.number] for gap in trace.gaps]
        return tuple(Fill(**{f.name: row[f.name] for f in fields(Fill) if f.name in row}) for row in own)
    except (AttributeError, KeyError, TypeError):
        return ()
