"""Bare sequences: names without times, as text, ``.npy`` or ``.npz``.

Text: one name a line, or several on a line. A name may carry its phase (``openat:enter``, ``openat:exit``); a bare one
is an instant, for nothing says whether it entered or left. A number alone is an id, shown as ``id_7``. ``?`` stands for
one lost event, so a run of them is one gap with that count, and so does ``-1``; ``...`` stands for an unknown number of
them. A token that starts with ``~`` is an inferred event of an earlier mending: no evidence, passed over. ``#`` starts
a line of comment.

``.npy``: one dimension of integer ids. ``.npz``: the ids under ``ids`` (or as the only array), the names they stand
for under ``vocab``, and under ``offsets`` where each of several traces starts and the last one ends. The id -1 stands
for one lost event.

Positions stand in for times: the clock is ``index``, and a lost event takes up a position too, so that a gap of k has
room for k. Each trace of an ``.npz`` is a stream of its own, its number the cpu, and positions start anew in each.

Axis legend: T entries of the ids (lost ones included), E events among them, S traces.
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.errors import TraceError
from tracemend.formats.base import Builder, Evidence, Format, Options
from tracemend.formats.text import Ints, chunks, decode, open_binary, read_head
from tracemend.trace.events import INSTANT, PHASES, Mark, Trace
from tracemend.trace.evidence import Doubt
from tracemend.trace.syscalls import all_names

#: More ids than this, or more bytes of arrays, are not read: a small file can hold very many.
MOST_IDS, MOST_BYTES = 1 << 25, 1 << 29
#: The arrays of a sequence; others may lie beside them.
KEPT = ("ids", "vocab", "offsets")
NPY, ZIP = b"\x93NUMPY", b"PK\x03\x04"
NAME = re.compile(rb"(?:[A-Za-z_](?:(?:::|[\w.$@/-])*\w)?|\d{1,9})(?::(?:enter|exit|instant))?")
LOST, LOST_ID, LOST_UNKNOWN, INFERRED = b"?", b"-1", b"...", b"~"


def recognise(head: bytes) -> bool:
    """Whether this is a numpy file, or text of nothing but plausible names."""
    if head.startswith(NPY):
        return True
    if head.startswith(ZIP):
        return head[30 : 30 + int.from_bytes(head[26:28], "little")].endswith(b".npy")
    whole = head if len(head) < 1 << 16 else head[: head.rfind(b"\n" if b"\n" in head else b" ") + 1]
    return _plausible([line.split() for line in whole.splitlines() if not line.startswith(b"#")])


def _plausible(lines: list[list[bytes]]) -> bool:
    """Whether the lines' tokens are a sequence of events rather than prose or a list of words.

    All names must be numbers, or half of them known calls, named ids or with a phase; one name a line will also do if
    some name returns (a list of words has each once).
    """
    tokens = [t.removeprefix(INFERRED) for line in lines for t in line]
    names = [t for t in tokens if t not in (LOST, LOST_ID, LOST_UNKNOWN)]
    if not names or not all(NAME.fullmatch(n) for n in names):
        return False
    if all(n.isdigit() for n in names):
        return True
    calls = {n.encode() for n in all_names()}
    known = sum(n in calls or n.endswith((b":enter", b":exit", b":instant")) or n.startswith(b"id_") for n in names)
    return known * 2 >= len(names) or (max(map(len, lines)) == 1 and len(set(names)) < len(names))


def read(path: Path, options: Options) -> Trace:
    """Read a sequence; raises TraceError."""
    builder = Builder(path, "sequence", options)
    if read_head(path, len(NPY)).startswith((NPY, ZIP)):
        _read_arrays(builder)
    else:
        _read_text(builder)
    builder.doubts.append(BARE)
    return builder.finish("index")


def _event(builder: Builder, name: str) -> tuple[int, int]:
    """Codes of name and phase."""
    bare, _, phase = name.rpartition(":")
    if bare and phase in PHASES:
        name = bare
    else:
        phase = PHASES[INSTANT]
    return builder.names(f"id_{name}" if name.isdigit() else name), PHASES.index(phase)


def _read_text(builder: Builder) -> None:
    position = 0
    known: dict[bytes, tuple[int, int]] = {}
    for chunk, first in chunks(builder.path):
        builder.reading(chunk, first)
        events: list[tuple[int, int, int, int]] = []
        for line, text in enumerate(chunk.split(b"\n"), first):
            if text.startswith(b"#"):
                continue
            for token in text.split():
                event = known.get(token)
                if event is None and NAME.fullmatch(token):
                    event = known[token] = _event(builder, token.decode())
                if event is not None:
                    events.append((position, *event, line))
                    position += 1
                elif token in (LOST, LOST_ID, LOST_UNKNOWN):
                    count = None if token == LOST_UNKNOWN else 1
                    builder.marks.append(Mark(0, builder.rows + len(events), count, line))
                    position += 1
                elif token.startswith(INFERRED):
                    builder.inferred += 1
                else:
                    builder.bad(line, f"no name of an event: {decode(token[:80])!r}")
        if events:
            time, name, phase, line_of = np.array(events, np.int64).T
            _add(builder, time=time, cpu=np.zeros(len(events), np.int32), name=name, phase=phase, line=line_of)


def _read_arrays(builder: Builder) -> None:
    ids_T, vocab, offsets_S = _load(builder.path)
    lost = ids_T == -1
    seen, inverse = np.unique(ids_T[~lost], return_inverse=True)
    most = len(vocab) if vocab is not None else 1 << 31
    for i in seen[(seen < 0) | (seen >= most)][:1].tolist():
        at = int(np.flatnonzero(ids_T == i)[0])
        raise TraceError(builder.path, 0, f"entry {at} of the ids is {i}: no id between -1 and {most - 1}")
    trace_T = np.repeat(np.arange(len(offsets_S) - 1), np.diff(offsets_S))
    position_T = np.arange(len(ids_T)) - np.repeat(offsets_S[:-1], np.diff(offsets_S))
    above_T = np.cumsum(~lost)
    starts = np.flatnonzero(lost & ~(np.append(False, lost[:-1]) & (position_T > 0)))
    ends = np.flatnonzero(lost & ~(np.append(lost[1:], False) & (np.append(position_T[1:], 0) > 0)))
    builder.marks += [
        Mark(int(trace_T[a]), int(above_T[a]), int(b - a + 1), int(a)) for a, b in zip(starts, ends, strict=True)
    ]
    if not len(seen):
        return
    names = [str(vocab[i]) if vocab is not None else f"id_{i}" for i in seen.tolist()]
    codes = np.array([_event(builder, n) for n in names], np.int64)[inverse]
    kept = np.flatnonzero(~lost)
    _add(
        builder,
        time=position_T[kept],
        cpu=trace_T[kept].astype(np.int32),
        name=codes[:, 0],
        phase=codes[:, 1],
        line=kept,
    )


def _arrays(raw: io.BytesIO) -> dict[str, NDArray[Any]]:
    """The arrays that make up a sequence, by name. Raises whatever numpy raises, and ValueError for larger ones."""
    if raw.getbuffer()[: len(ZIP)] != ZIP:
        return {"": np.load(raw, allow_pickle=False)}
    with zipfile.ZipFile(raw) as packed:
        sizes = {Path(i.filename).stem: i.file_size for i in packed.infolist()}
    wanted = {name: size for name, size in sizes.items() if name in KEPT} if "ids" in sizes else sizes
    if len(sizes) > 1 and "ids" not in sizes:
        return dict.fromkeys(sizes, np.empty(0))  # they are named, not used
    if sum(wanted.values()) > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES >> 20} MiB of them")
    loaded = np.load(raw, allow_pickle=False)
    return {name: loaded[name] for name in wanted}


def _load(path: Path) -> tuple[Ints, NDArray[Any] | None, Ints]:
    """Ids (T,), names of the ids, and the traces' bounds (S + 1,); raises TraceError."""
    try:
        with open_binary(path) as f, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy tells of headers that Python 2 wrote
            raw = io.BytesIO(f.read(MOST_BYTES + 1))
            if raw.getbuffer().nbytes > MOST_BYTES:
                raise ValueError(f"more than {MOST_BYTES >> 20} MiB of them")
            arrays = _arrays(raw)
    except Exception as e:  # a damaged file makes numpy raise a dozen kinds of errors
        raise TraceError(path, 0, f"can't read the arrays: {' '.join(str(e).split())}") from e
    ids = arrays["ids"] if "ids" in arrays else next(iter(arrays.values())) if len(arrays) == 1 else None
    if ids is None:
        raise TraceError(path, 0, f"no array named ids, but {', '.join(map(repr, arrays)) or 'none at all'}")
    if ids.size > MOST_IDS:
        raise TraceError(path, 0, f"{ids.size:,} ids are more than can be read at once ({MOST_IDS:,}): cut the file up")
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise TraceError(path, 0, f"the ids are no single row of integers, but {ids.dtype} of shape {ids.shape}")
    if ids.dtype.kind == "u" and len(ids) and int(ids.max()) >= 1 << 31:
        raise TraceError(path, 0, f"an id of {int(ids.max())} can't be true")
    vocab = arrays.get("vocab")
    if vocab is not None and (vocab.ndim != 1 or vocab.dtype.kind != "U"):
        raise TraceError(path, 0, f"the vocab is no single row of names, but {vocab.dtype} of shape {vocab.shape}")
    offsets = arrays.get("offsets", np.array([0, len(ids)]))
    if offsets.ndim != 1 or offsets.dtype.kind not in "iu" or len(offsets) < 2:
        raise TraceError(path, 0, f"the offsets are no single row of integers, but {offsets.dtype} of {offsets.shape}")
    offsets = offsets.astype(np.int64)
    if offsets[0] != 0 or offsets[-1] != len(ids) or (np.diff(offsets) < 0).any():
        raise TraceError(path, 0, f"the offsets don't run from 0 to {len(ids)}")
    return ids.astype(np.int64), vocab, offsets


def _add(builder: Builder, *, time: Ints, cpu: NDArray[np.int32], name: Ints, phase: Ints, line: Ints) -> None:
    none = pa.nulls(len(time), pa.string())
    builder.add(
        time_ns=np.ascontiguousarray(time, np.int64),
        cpu=cpu,
        tid=np.full(len(time), -1, np.int32),
        comm=np.full(len(time), -1, np.int32),
        name=name.astype(np.int32),
        phase=phase.astype(np.int8),
        args=none,
        ret=none,
        line=np.ascontiguousarray(line, np.int64),
    )


BARE = Doubt(
    "a bare sequence has no tracer that would have marked a loss",
    "Scan the trace that it was taken from.",
)
EVIDENCE = Evidence(
    marks="? or -1 for a lost event, ... for an unknown number",
    complete="",
    blind="everything that whoever wrote the sequence didn't mark",
)
FORMAT = Format(
    "sequence", "a bare sequence of names or ids (text, .npy, .npz)", recognise, read, EVIDENCE, in_pieces=True
)
