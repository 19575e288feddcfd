"""A mended trace put together again: out of its output folder and the trace that it was made from."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet

from tracemend.errors import OutputError, TraceError
from tracemend.formats import FORMATS, read, size
from tracemend.losses.suspect import suspect
from tracemend.mending.mended import HYPOTHESES, INFERRED, Fill, Mended
from tracemend.outputs import overlay
from tracemend.outputs.folder import Folder, Row
from tracemend.trace.events import PHASES, Trace
from tracemend.trace.syscalls import DEFAULT_ARCH, architectures

#: Bytes of a trace that is read as a whole for this, at most.
MOST = 1 << 28
#: What the overlay and the trace must say alike of a gap.
_SAID = ("gap", "cpu", "begin_ns", "end_ns", "count", "known")

#: What is said of how a mended trace was made, each of this kind; so are its options.
_MADE: dict[str, Any] = {
    **dict.fromkeys(("tracemend", "model", "model_sha256", "input", "input_sha256", "format"), str),
    "seed": int,
}
_NUMBER = (int, float)
_OPTIONS: dict[str, Any] = {
    **dict.fromkeys(("unknown", "arch", "suits"), str),
    **dict.fromkeys(("refuse", "adapt"), _NUMBER),
    **dict.fromkeys(("hypotheses", "shipped", "pieces"), int),
    "examples": [str],
    **{key: [{"name": str, "sha256": str}] for key in ("library", "programs")},
    "adapted": {"trials": int},
    "tuned": {"steps": int},
    "budget": {"seconds": _NUMBER, "gaps_after": int},
}
_SEEN: dict[str, Any] = {
    "familiar": {"share": float, "length": int, "enough": object},
    "alike": [{"name": str, "own": object, "share": float}],
}


def architecture(folder: Folder) -> str:
    """That of the folder's trace; the usual one where a damaged overlay names another."""
    return folder.arch if folder.arch in architectures() else DEFAULT_ARCH


def reopen(folder: Folder) -> Mended:
    """The mended trace of an output folder.

    Raises OutputError: a damaged folder; a trace that is gone, has changed, is large, can't be read, or has other gaps
    than the folder tells of.
    """
    source, given = folder.original, folder.made_from
    if source is None:
        raise OutputError(f"{folder.path}: its trace is no longer at {given}" if given else f"{folder.path}: no trace")
    if size(source) > MOST:
        raise OutputError(
            f"{folder.path}: its trace {source} has more than {MOST >> 20} MiB, too many to read it as a whole"
        )
    try:
        trace = read(source, folder.format if folder.format in FORMATS else None, arch=architecture(folder))
    except TraceError as e:
        raise OutputError(f"{folder.path}: its trace can't be read: {e}") from e
    if str(source) == given and trace.provenance.get("sha256") != folder.header.get("input_sha256"):
        raise OutputError(f"{folder.path}: its trace {source} has changed")
    trace = _with_gaps(trace, folder)
    _, inferred = overlay.read_overlay(folder.path / overlay.PARQUET)
    if set(inferred["phase"].unique().to_pylist()) - set(PHASES):
        raise OutputError(f"{folder.path}: the overlay is damaged: a phase that nobody knows")
    fills = tuple(_fill(row) for row in sorted(folder.gaps, key=lambda row: row["gap"]))
    filled = pa.array([fill.gap for fill in fills if fill.status == "filled"], inferred["gap"].type)
    if not pa.compute.all(pa.compute.is_in(inferred["gap"], filled), min_count=0).as_py():
        raise OutputError(f"{folder.path}: the overlay is damaged: events of a gap that isn't filled")
    return Mended(trace, inferred.select(INFERRED.names), fills, _provenance(folder), _drawn(folder))


def _provenance(folder: Folder) -> dict[str, Any]:
    """How it was made; what a damaged overlay says otherwise than ``mend`` does is left out."""
    header = folder.header
    made = {key: header[key] if _is(header.get(key), kind) else None for key, kind in _MADE.items()}
    options = header["options"] if isinstance(header.get("options"), dict) else {}
    made["options"] = {key: value for key, value in options.items() if _is(value, _OPTIONS.get(key, object))}
    return made | {key: header[key] for key, kind in _SEEN.items() if _is(header.get(key), kind)}


def _is(value: object, kind: Any) -> bool:
    """Whether a value is of a kind: a type or several, a list of one, or a dict with entries of these kinds."""
    if isinstance(kind, dict):
        return isinstance(value, dict) and all(_is(value.get(key), held) for key, held in kind.items())
    if isinstance(kind, list):
        return isinstance(value, list) and all(_is(held, kind[0]) for held in value)
    if isinstance(value, int | float) and kind is not object:
        return isinstance(value, kind) and type(value) is not bool and abs(value) < 1 << 63
    return isinstance(value, kind)


def _with_gaps(trace: Trace, folder: Folder) -> Trace:
    """The trace with the gaps that the folder tells of, suspected ones too. Raises OutputError for other gaps."""
    rows = sorted(folder.gaps, key=lambda row: row["gap"])
    if any(row["known"] == "suspected" for row in rows) and not any(g.known == "suspected" for g in trace.gaps):
        trace = trace.with_gaps((*trace.gaps, *suspect(trace)))
    if [tuple(row[k] for k in _SAID) for row in rows] != [tuple(g.as_dict()[k] for k in _SAID) for g in trace.gaps]:
        raise OutputError(f"{folder.path}: its gaps aren't those that its trace {trace.path} has by itself")
    return trace


def _drawn(folder: Folder) -> pa.Table | None:
    """The hypotheses, if some were written."""
    path = folder.path / overlay.HYPOTHESES
    try:
        return pa.parquet.ParquetFile(path).read().select(HYPOTHESES.names).cast(HYPOTHESES)
    except FileNotFoundError:
        return None
    except (pa.ArrowException, KeyError, ValueError) as e:
        raise OutputError(f"{path}: is damaged") from e
    except OSError as e:
        raise OutputError(f"{path}: {e.strerror or e}") from e


def _fill(row: Row) -> Fill:
    """What became of a gap; what a damaged overlay says otherwise is left out."""
    unmet, changed, agreement = row.get("unmet"), row.get("changed"), row.get("agreement")
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
        changed if type(changed) is int else 0,
    )
