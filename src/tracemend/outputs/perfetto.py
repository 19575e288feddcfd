"""A trace for ui.perfetto.dev: what survived, what was lost, and what was inferred, each on tracks of its own.

Written straight in protocol-buffer encoding (the fields' numbers are those of Perfetto's ``trace_packet.proto``,
``track_event.proto`` and their kin). Packets are built as columns, many at once: every number has a fixed width, which
the encoding allows (a varint may be longer than it has to be) and which Perfetto's own writers use for lengths.

A call whose enter and exit both survived is a slice: an enter that its own exit follows as the very next call event of
its thread. An enter or exit left alone by a loss is an instant, so that no slice has a made-up length. A slice during
which events were lost anywhere has the category ``syscall.across_gap``: its two ends may belong to different calls.
Inferred events lie below their thread, on a track that says so, in the category ``tracemend.inferred``.
The tracers here record threads and not processes, so each thread is shown as a process of its own.

Axis legend: P packets, W bytes of a column.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tracemend.mending.mended import Mended, Result
from tracemend.outputs.overlay import NOTE
from tracemend.trace.events import ENTER, EXIT, PHASES
from tracemend.untrusted import printable

NAME = "trace.perfetto-trace"

BEGIN, END, INSTANT = 1, 2, 3  # TrackEvent.Type
SYSCALL, ACROSS, EVENT, INFERRED, LOST, ABOUT = range(1, 7)
CATEGORIES = {
    SYSCALL: "syscall",
    ACROSS: "syscall.across_gap",
    EVENT: "event",
    INFERRED: "tracemend.inferred",
    LOST: "tracemend.lost",
    ABOUT: "tracemend",
}
ARGS, RET, CONFIDENCE, GAP = range(1, 5)
ANNOTATIONS = {ARGS: "args", RET: "ret", CONFIDENCE: "confidence", GAP: "gap"}

_SEQUENCE = 1  # trusted_packet_sequence_id
_CLEARED, _NEEDS = 1, 2  # SEQ_INCREMENTAL_STATE_CLEARED, SEQ_NEEDS_INCREMENTAL_STATE
_AT_ONCE = 1 << 16

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Bytes = NDArray[np.uint8]


def write(result: Result, folder: Path) -> list[Path]:
    """Write ``trace.perfetto-trace`` into the folder; raises OSError. Of a trace that was mended in pieces it shows the
    first one with gaps: a browser couldn't open it all."""
    path, mended = folder / NAME, result.head
    left_out = result.outline.kept - len(mended.trace)
    names = _Names()
    threads = _Threads(mended)
    survivors = _survivors(mended, names, threads)
    fills = _fills(mended, names, threads)
    with open(path, "wb") as f:
        f.write(_packet(_uint(13, _CLEARED) + _message(12, names.interned())))
        f.writelines(_about(mended, left_out))
        f.writelines(threads.descriptors())
        f.writelines(_gaps(mended))
        for events in (survivors, fills):
            events.write(f)
    return [path]


# The encoding, one message at a time -------------------------------------------------------------------------------


def _varint(value: int) -> bytes:
    if value < 0x80:
        return value.to_bytes()
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _uint(number: int, value: int) -> bytes:
    """A field of a whole number not below 0."""
    return _varint(number << 3) + _varint(value)


def _message(number: int, body: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(body)) + body


def _text(number: int, value: str) -> bytes:
    return _message(number, printable(value).encode())


def _packet(body: bytes) -> bytes:
    return _message(1, _uint(10, _SEQUENCE) + body)


def _slice(span: tuple[int, int], track: int, category: int, name: str, notes: dict[str, Any]) -> Iterator[bytes]:
    """Two packets from begin to end (ns), with name and annotations written out."""
    body = _text(23, name)
    for key, value in notes.items():
        body += _message(4, _text(10, key) + _text(6, value if isinstance(value, str) else json.dumps(value)))
    for time, kind, rest in ((span[0], BEGIN, body), (span[1], END, b"")):
        event = _uint(9, kind) + _uint(11, track) + _uint(3, category) + rest
        yield _packet(_uint(8, time) + _uint(13, _NEEDS) + _message(11, event))


def _descriptor(uuid: int, *, name: str = "", parent: int = 0, rest: bytes = b"") -> bytes:
    body = _uint(1, uuid) + (_text(2, name) if name else b"") + (_uint(5, parent) if parent else b"") + rest
    return _packet(_message(60, body))


# Tracks ------------------------------------------------------------------------------------------------------------

_ABOUT_TRACK = 1
_LOST_TRACKS = 2  # and on, below _THREAD_TRACKS
_THREAD_TRACKS = 1 << 32  # three for each thread: process, thread, inferred


class _Names:
    """Event names and their interned numbers, from 1; 0 is for an event without a name."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def of(self, names: Sequence[str]) -> Ints:
        return np.array([self.numbers.setdefault(n, len(self.numbers) + 1) for n in names], np.int64)

    def interned(self) -> bytes:
        entries = [(1, CATEGORIES), (3, ANNOTATIONS), (2, {i: n for n, i in self.numbers.items()})]
        return b"".join(
            _message(number, _uint(1, iid) + _text(2, text)) for number, table in entries for iid, text in table.items()
        )


class _Threads:
    """The tracks of threads: survivors on the thread's own, inferred events on one below it."""

    def __init__(self, mended: Mended) -> None:
        trace, inferred = mended.trace, mended.inferred
        tid = inferred["tid"].to_numpy()
        self.tids = np.unique(np.concatenate([trace.tid, tid])).astype(np.int64)
        self.survived, self.inferred = np.isin(self.tids, trace.tid), np.isin(self.tids, tid)
        self.comm: dict[int, str] = {}
        comms = inferred["comm"].cast(pa.string()).to_pylist()
        self.comm.update((int(t), c) for t, c in zip(tid.tolist(), comms, strict=True) if c)
        codes, known = trace.comms
        for t, rows in trace.threads.items():
            named = rows[codes[rows] >= 0]
            if len(named):
                self.comm[t] = known[codes[named[-1]]]

    def survivors(self, tid: NDArray[np.int32]) -> Ints:
        return _THREAD_TRACKS + 3 * np.searchsorted(self.tids, tid) + 1

    def fills(self, tid: NDArray[np.int32]) -> Ints:
        return self.survivors(tid) + 1

    def descriptors(self) -> Iterator[bytes]:
        for i, tid in enumerate(self.tids.tolist()):
            process = _THREAD_TRACKS + 3 * i
            comm = self.comm.get(tid, "")
            if tid > 0:
                name = comm or f"thread {tid}"
                yield _descriptor(process, rest=_message(3, _uint(1, tid) + _text(6, name)))
                thread = _uint(1, tid) + _uint(2, tid) + _text(5, name)
                yield _descriptor(process + 1, parent=process, rest=_message(4, thread))
            else:  # the idle thread, which every cpu has, and events without a thread
                name = (comm or "idle thread") if tid == 0 else "unknown thread"
                if self.survived[i]:
                    yield _descriptor(process + 1, name=name)
            if self.inferred[i]:
                parent = process + 1 if tid > 0 or self.survived[i] else _ABOUT_TRACK
                yield _descriptor(process + 2, name=f"{name} (inferred)", parent=parent)


def _about(mended: Mended, left_out: int) -> Iterator[bytes]:
    """A track on top whose one slice, as long as the trace, says what this file is."""
    made, time = mended.provenance, mended.trace.time_ns
    description = f"Mended by tracemend {made['tracemend']}: {NOTE}."
    if left_out:
        description += f" A piece of a trace: {left_out:,} other events that survived, and their gaps, are left out."
    yield _descriptor(_ABOUT_TRACK, name="tracemend", rest=_text(14, description))
    begin, end = (int(time.min()), int(time.max())) if len(time) else (0, 0)
    keys = ("tracemend", "model", "model_sha256", "seed", "input", "input_sha256", "format")
    notes = {"note": NOTE} | {k: made.get(k) for k in keys}
    yield from _slice((begin, end), _ABOUT_TRACK, ABOUT, NOTE, notes)


def _gaps(mended: Mended) -> Iterator[bytes]:
    """Slices of lost events, on one track a cpu; gaps that overlap on one cpu go on further ones of the same name."""
    free: dict[int, list[tuple[int, int]]] = {}  # by cpu: each track's number and when its last gap ends
    used = 0
    rows = sorted(mended.gap_table(), key=lambda row: (row["begin_ns"], row["end_ns"]))
    for row in rows:
        lanes = free.setdefault(row["cpu"], [])
        lane = next((i for i, (_, end) in enumerate(lanes) if end <= row["begin_ns"]), len(lanes))
        if lane == len(lanes):
            name = f"lost events: cpu {row['cpu']}" if row["cpu"] >= 0 else "lost events"
            yield _descriptor(_LOST_TRACKS + used, name=name, parent=_ABOUT_TRACK)
            lanes.append((_LOST_TRACKS + used, 0))
            used += 1
        track = lanes[lane][0]
        lanes[lane] = (track, row["end_ns"])
        lost = "events lost" if row["count"] is None else f"{row['count']} events lost"
        notes = {key: row[key] for key in ("gap", "count", "known", "status", "events", "confidence", "reason", "line")}
        yield from _slice((row["begin_ns"], row["end_ns"]), track, LOST, f"{lost} ({row['status']})", notes)


# Events ------------------------------------------------------------------------------------------------------------


@dataclass
class _Events:
    """Track events as columns (P,). ``notes``: columns of encoded annotations, arrays (P, W) or Arrow binary (P,)."""

    time: Ints
    kind: Ints
    track: Ints
    category: Ints
    name: Ints
    notes: list[Bytes | pa.Array] = field(default_factory=list)

    def write(self, file: IO[bytes]) -> None:
        """Append the packets in order of time; those of one time keep their order."""
        order = np.argsort(self.time, kind="stable")
        for start in range(0, len(order), _AT_ONCE):
            file.write(self._encode(order[start : start + _AT_ONCE]))

    def _encode(self, rows: Ints) -> memoryview:
        notes = [n[rows] if isinstance(n, np.ndarray) else n.take(pa.array(rows)) for n in self.notes]
        event = _join(
            [
                _fixed(9, self.kind[rows], 1),
                _fixed(11, self.track[rows], 5),
                _fixed(3, self.category[rows], 1),
                _fixed(10, self.name[rows], 4),
            ]
        )
        body = [event, *notes]
        front = _join([_fixed(10, np.full(len(rows), _SEQUENCE), 1), _fixed(8, self.time[rows], 9)])
        front = _join([front, _fixed(13, np.full(len(rows), _NEEDS), 1)])
        length = sum((_lengths(part) for part in body), np.zeros(len(rows), np.int64))
        inner = _fixed(11, length, 4, wire=2)
        outer = _fixed(1, length + front.shape[1] + inner.shape[1], 4, wire=2)
        parts = [_binary(_join([outer, front, inner, event])), *(_binary(n) for n in notes)]
        joined = pc.binary_join_element_wise(*parts, b"") if len(parts) > 1 else parts[0]
        offsets, data = joined.buffers()[1:]
        first, last = np.frombuffer(offsets, np.int32)[[joined.offset, joined.offset + len(joined)]].tolist()
        return memoryview(data)[first:last]


def _fixed(number: int, value: Ints, width: int, wire: int = 0) -> Bytes:
    """A field as columns: its tag, then ``value`` (P,) as a varint of ``width`` bytes -> (P, W)."""
    tag = _varint(number << 3 | wire)
    digits = [(value >> (7 * i)) & 0x7F | (0x80 if i < width - 1 else 0) for i in range(width)]
    columns = [np.full(len(value), byte, np.int64) for byte in tag] + digits
    return np.stack(columns, axis=1).astype(np.uint8)


def _join(parts: list[Bytes]) -> Bytes:
    return np.concatenate(parts, axis=1)


def _lengths(part: Bytes | pa.Array) -> Ints:
    if isinstance(part, np.ndarray):
        return np.full(len(part), part.shape[1], np.int64)
    length: Ints = pc.binary_length(part).to_numpy().astype(np.int64)
    return length


def _binary(part: Bytes | pa.Array) -> pa.Array:
    """Rows of bytes (P, W) as an Arrow array of binary values (P,)."""
    if not isinstance(part, np.ndarray):
        return part
    offsets = np.arange(len(part) + 1, dtype=np.int32) * part.shape[1]
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(part))]
    return pa.Array.from_buffers(pa.binary(), len(part), buffers)


def _text_notes(number: int, texts: pa.ChunkedArray) -> pa.Array:
    """An annotation with a text; empty where the text is null or empty."""
    texts = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    values = texts.fill_null("").cast(pa.binary())
    size = _lengths(values)
    head = _join([_fixed(4, size + 7, 4, wire=2), _fixed(1, np.full(len(size), number), 1), _fixed(6, size, 4, wire=2)])
    joined = pc.binary_join_element_wise(_binary(head), values, b"")
    return pc.if_else(pa.array(size > 0), joined, pa.scalar(b"", pa.binary()))


def _pairs(thread: Ints, time: Ints, phase: NDArray[np.int8], name: Ints, within: Ints) -> tuple[Ints, Ints]:
    """Rows of enters and of the exits that belong to them.

    All (P,). A pair is an enter and the very next call event of its thread, if that is the exit of the same call with
    the same ``within``.
    """
    calls = np.flatnonzero((phase == ENTER) | (phase == EXIT))
    calls = calls[np.lexsort((calls, time[calls], thread[calls]))]
    a, b = calls[:-1], calls[1:]
    paired = (phase[a] == ENTER) & (phase[b] == EXIT) & (name[a] == name[b])
    paired &= (thread[a] == thread[b]) & (within[a] == within[b])
    return a[paired], b[paired]


def _kinds(phase: NDArray[np.int8], enters: Ints, exits: Ints) -> Ints:
    kind = np.full(len(phase), INSTANT, np.int64)
    kind[enters], kind[exits] = BEGIN, END
    return kind


def _labels(names: _Names, codes: Ints, known: list[str], phase: NDArray[np.int8], kind: Ints) -> Ints:
    """The interned name of each event: the call for slices and other events, with its phase for a call left alone."""
    spelled = [[n, f"{n} ({PHASES[ENTER]})", f"{n} ({PHASES[EXIT]})"] for n in known]
    alone = (kind == INSTANT) & ((phase == ENTER) | (phase == EXIT))
    pick = codes.astype(np.int64) * 3 + np.where(alone, phase + 1, 0)
    used, inverse = np.unique(pick, return_inverse=True)
    return names.of([spelled[u // 3][u % 3] for u in used.tolist()])[inverse] if len(pick) else pick


def _survivors(mended: Mended, names: _Names, threads: _Threads) -> _Events:
    trace = mended.trace
    codes, known = trace.names
    time, phase = trace.time_ns, trace.phase
    enters, exits = _pairs(trace.tid.astype(np.int64), time, phase, codes.astype(np.int64), np.zeros(len(trace), int))
    kind = _kinds(phase, enters, exits)
    category = np.where((phase == ENTER) | (phase == EXIT), SYSCALL, EVENT).astype(np.int64)
    begins = np.sort(np.array([g.begin_ns for g in trace.gaps], np.int64))
    ends = np.sort(np.array([g.end_ns for g in trace.gaps], np.int64))
    across = np.searchsorted(begins, time[exits]) > np.searchsorted(ends, time[enters], side="right")
    category[enters[across]] = category[exits[across]] = ACROSS
    label = _labels(names, codes.astype(np.int64), known, phase, kind)
    notes: list[Bytes | pa.Array] = [_text_notes(ARGS, trace.table["args"]), _text_notes(RET, trace.table["ret"])]
    return _Events(time, kind, threads.survivors(trace.tid), category, label, notes)


def _fills(mended: Mended, names: _Names, threads: _Threads) -> _Events:
    table = mended.inferred
    time, tid = table["time_ns"].to_numpy(), table["tid"].to_numpy()
    gap = table["gap"].to_numpy().astype(np.int64)
    known = pc.unique(table["name"].cast(pa.string())).to_pylist()
    codes = pc.index_in(table["name"].cast(pa.string()), pa.array(known, pa.string())).to_numpy().astype(np.int64)
    phase = pc.index_in(table["phase"].cast(pa.string()), pa.array(PHASES)).to_numpy().astype(np.int8)
    enters, exits = _pairs(tid.astype(np.int64), time, phase, codes, gap)
    kind = _kinds(phase, enters, exits)
    label = _labels(names, codes, known, phase, kind)
    sure = table["confidence"].to_numpy().astype("<f8").view(np.uint8).reshape(-1, 8)
    count = len(gap)
    double = _join([_fixed(1, np.full(count, CONFIDENCE), 1), np.full((count, 1), 5 << 3 | 1, np.uint8), sure])
    number = _join([_fixed(1, np.full(count, GAP), 1), _fixed(3, gap, 5)])
    notes: list[Bytes | pa.Array] = [
        _join([_fixed(4, np.full(count, note.shape[1]), 1, wire=2), note]) for note in (double, number)
    ]
    return _Events(time, kind, threads.fills(tid), np.full(count, INFERRED), label, notes)
