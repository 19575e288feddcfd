"""What mend wrote, put together again: of its folder and the trace that it was made of."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np

from tracemend.errors import OutputError, TraceError
from tracemend.formats import read, size
from tracemend.mending.mended import INFERRED, Fill, Mended
from tracemend.outputs.folder import Folder
from tracemend.outputs.overlay import read_overlay
from tracemend.trace.syscalls import DEFAULT_ARCH

#: Bytes of a trace that is read as a whole for this, at most.
MOST = 1 << 28


def reopen(out: Path) -> Mended:
    """The mended trace of an output folder, hypotheses aside.

    Raises OutputError: no such folder, a damaged one, a trace that is gone, has changed, is large, or was read in
    another way than by its format alone (suspected gaps, windows).
    """
    folder = Folder.open(out)
    source = Path(folder.made_from)
    if not folder.made_from or not source.exists():
        raise OutputError(f"{out}: its trace is no longer at {source}" if folder.made_from else f"{out}: has no trace")
    if size(source) > MOST:
        raise OutputError(f"{out}: its trace {source} is too large to be read as a whole")
    try:
        trace = read(source, folder.format or None, arch=folder.arch or DEFAULT_ARCH)
    except TraceError as e:
        raise OutputError(f"{out}: its trace can't be read: {e}") from e
    if trace.provenance.get("sha256") != folder.header.get("input_sha256"):
        raise OutputError(f"{out}: its trace {source} has changed")
    rows, inferred = {row["gap"]: row for row in folder.gaps}, read_overlay(out)[1]
    own = [rows.get(gap.number, {}) for gap in trace.gaps]
    same = len(rows) == len(own) and all(
        g.as_dict().items() <= row.items() for g, row in zip(trace.gaps, own, strict=True)
    )
    filled = [row["gap"] for row in own if row.get("status") == "filled"]
    if not same or not np.isin(inferred["gap"].to_numpy(), filled).all():
        raise OutputError(f"{out}: its gaps aren't those that its trace {source} has by itself")
    fills = tuple(Fill(**{f.name: row[f.name] for f in fields(Fill) if f.name in row}) for row in own)
    return Mended(trace, inferred.select(INFERRED.names), fills, folder.header)
