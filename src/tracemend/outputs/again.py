"""A mended trace once more, out of its output folder and the trace that was mended."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet

from tracemend.errors import OutputError
from tracemend.losses.suspect import suspect
from tracemend.mending.mended import HYPOTHESES, INFERRED, Fill, Mended
from tracemend.outputs import overlay
from tracemend.outputs.folder import Folder
from tracemend.trace.events import Trace


def again(folder: Folder, trace: Trace) -> Mended:
    """What was written, with the trace it was made from. Raises OutputError where the trace has other gaps than the
    folder tells of, and for a damaged folder."""
    rows = sorted(folder.gaps, key=lambda row: row["gap"])
    if any(row["known"] == "suspected" for row in rows) and not any(g.known == "suspected" for g in trace.gaps):
        trace = trace.with_gaps((*trace.gaps, *suspect(trace)))
    said = ("gap", "cpu", "begin_ns", "end_ns", "count", "known")
    if [tuple(row[k] for k in said) for row in rows] != [tuple(g.as_dict()[k] for k in said) for g in trace.gaps]:
        raise OutputError(f"{trace.path}: has other gaps than {folder.path} was made for")
    _, inferred = overlay.read_overlay(folder.path / overlay.PARQUET)
    path = folder.path / overlay.HYPOTHESES
    try:
        drawn = pyarrow.parquet.ParquetFile(path).read().select(HYPOTHESES.names).cast(HYPOTHESES)
    except FileNotFoundError:
        drawn = None
    except (pa.ArrowException, KeyError, ValueError) as e:
        raise OutputError(f"{path}: is damaged") from e
    except OSError as e:
        raise OutputError(f"{path}: {e.strerror or e}") from e
    return Mended(trace, inferred.select(INFERRED.names), tuple(map(_fill, rows)), folder.header, drawn)


def _fill(row: dict[str, Any]) -> Fill:
    unmet, agreement = row.get("unmet"), row.get("agreement")
    return Fill(
        row["gap"],
        row["status"],
        row["events"],
        row["confidence"],
        bool(row.get("estimated")),
        row["reason"],
        unmet if type(unmet) is int else 0,
        agreement if type(agreement) is float else None,
        str(row.get("by") or ""),
    )
