"""A trace for ui.perfetto.dev: what survived, what was lost, and what was inferred, each on tracks of its own.

Written straight in protocol-buffer encoding (the fields' numbers are those of Perfetto's ``trace_packet.proto``,
``track_event.proto`` and their kin).

A call whose enter and exit both survived is a slice: an enter that its own exit follows as the very next call event of
its thread. An enter or exit left alone by a loss is an instant, so that no slice has a made-up length. A slice during
which events were lost anywhere has the category ``syscall.across_gap``: its two ends may belong to different calls.
Inferred events lie below their thread, on a track that says so, in the category ``tracemend.inferred``; of each field
that is known they have an annotation with its value and how sure that is. Who ran on a cpu is told by ``cpus``.
The tracers here record threads and not processes, so each thread is shown as a process of its own.

Axis legend: P packets.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tracemend.mending.mended import Mended, Result
from tracemend.outputs.known import flat
from tracemend.outputs.overlay import NOTE
from tracemend.outputs.perfetto.cpus import Cpus
from tracemend.outputs.perfetto.encoding import (
    ABOUT,
    ACROSS,
    ARGS,
    BEGIN,
    CLEARED,
    END,
    EVENT,
    GAP,
    INFERRED,
    INSTANT,
    LOST,
    RET,
    SYSCALL,
    Bytes,
    Events,
    Ints,
    Names,
    confidence_notes,
    descriptor,
    field_notes,
    message,
    number_notes,
    packet,
    slice_of,
    text,
    text_notes,
    uint,
)
from tracemend.trace.events import ENTER, EXIT, PHASES

NAME = "trace.perfetto-trace"


def write(result: Result, folder: Path) -> list[Path]:
    """Write ``trace.perfetto-trace`` into the folder; raises OSError. Of a trace that was mended in pieces it shows the
    first one with gaps: a browser couldn't open it all."""
    path, mended = folder / NAME, result.head
    left_out = result.outline.kept - len(mended.trace)
    names = Names()
    threads = Threads(mended)
    survivors = _survivors(mended, names, threads)
    fills = _fills(mended, names, threads)
    cpus = Cpus(mended, threads.comm)
    running = list(cpus.events(names))
    with open(path, "wb") as f:
        f.write(packet(uint(13, CLEARED) + message(12, names.interned())))
        f.writelines(_about(mended, left_out))
        f.writelines(threads.descriptors())
        f.writelines(_gaps(mended))
        f.writelines(cpus.descriptors())
        for events in (survivors, fills, *running):
            events.write(f)
    return [path]


_ABOUT_TRACK = 1
_LOST_TRACKS = 2  # and on, below _THREAD_TRACKS
_THREAD_TRACKS = 1 << 32  # three for each thread: process, thread, inferred


class Threads:
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
                yield descriptor(process, rest=message(3, uint(1, tid) + text(6, name)))
                thread = uint(1, tid) + uint(2, tid) + text(5, name)
                yield descriptor(process + 1, parent=process, rest=message(4, thread))
            else:  # the idle thread, which every cpu has, and events without a thread
                name = (comm or "idle thread") if tid == 0 else "unknown thread"
                if self.survived[i]:
                    yield descriptor(process + 1, name=name)
            if self.inferred[i]:
                parent = process + 1 if tid > 0 or self.survived[i] else _ABOUT_TRACK
                yield descriptor(process + 2, name=f"{name} (inferred)", parent=parent)


def _about(mended: Mended, left_out: int) -> Iterator[bytes]:
    """A track on top whose one slice, as long as the trace, says what this file is."""
    made, time = mended.provenance, mended.trace.time_ns
    description = f"Mended by tracemend {made['tracemend']}: {NOTE}."
    if left_out:
        description += f" A piece of a trace: {left_out:,} other events that survived, and their gaps, are left out."
    yield descriptor(_ABOUT_TRACK, name="tracemend", rest=text(14, description))
    begin, end = (int(time.min()), int(time.max())) if len(time) else (0, 0)
    keys = ("tracemend", "model", "model_sha256", "seed", "input", "input_sha256", "format")
    notes = {"note": NOTE} | {k: made.get(k) for k in keys}
    yield from slice_of((begin, end), _ABOUT_TRACK, ABOUT, NOTE, notes)


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
            yield descriptor(_LOST_TRACKS + used, name=name, parent=_ABOUT_TRACK)
            lanes.append((_LOST_TRACKS + used, 0))
            used += 1
        track = lanes[lane][0]
        lanes[lane] = (track, row["end_ns"])
        lost = "events lost" if row["count"] is None else f"{row['count']} events lost"
        notes = {key: row[key] for key in ("gap", "count", "known", "status", "events", "confidence", "reason", "line")}
        yield from slice_of((row["begin_ns"], row["end_ns"]), track, LOST, f"{lost} ({row['status']})", notes)


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


def _labels(names: Names, codes: Ints, known: list[str], phase: NDArray[np.int8], kind: Ints) -> Ints:
    """The interned name of each event: the call for slices and other events, with its phase for a call left alone."""
    spelled = [[n, f"{n} ({PHASES[ENTER]})", f"{n} ({PHASES[EXIT]})"] for n in known]
    alone = (kind == INSTANT) & ((phase == ENTER) | (phase == EXIT))
    pick = codes.astype(np.int64) * 3 + np.where(alone, phase + 1, 0)
    used, inverse = np.unique(pick, return_inverse=True)
    return names.of([spelled[u // 3][u % 3] for u in used.tolist()])[inverse] if len(pick) else pick


def _survivors(mended: Mended, names: Names, threads: Threads) -> Events:
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
    notes: list[Bytes | pa.Array] = [text_notes(ARGS, trace.table["args"]), text_notes(RET, trace.table["ret"])]
    return Events(time, kind, threads.survivors(trace.tid), category, label, notes)


def _fills(mended: Mended, names: Names, threads: Threads) -> Events:
    table = mended.inferred
    time, tid = table["time_ns"].to_numpy(), table["tid"].to_numpy()
    gap = table["gap"].to_numpy().astype(np.int64)
    known = pc.unique(table["name"].cast(pa.string())).to_pylist()
    codes = pc.index_in(table["name"].cast(pa.string()), pa.array(known, pa.string())).to_numpy().astype(np.int64)
    phase = pc.index_in(table["phase"].cast(pa.string()), pa.array(PHASES)).to_numpy().astype(np.int8)
    enters, exits = _pairs(tid.astype(np.int64), time, phase, codes, gap)
    kind = _kinds(phase, enters, exits)
    label = _labels(names, codes, known, phase, kind)
    notes: list[Bytes | pa.Array] = [confidence_notes(table["confidence"].to_numpy()), number_notes(GAP, gap)]
    fields = flat(table)
    if len(fields.names):
        notes.append(field_notes(names, fields))
    return Events(time, kind, threads.fills(tid), np.full(len(gap), INFERRED), label, notes)
