"""Tracks of cpus, on top of all: where events were lost, and in each such stretch what was inferred there.

Below each cpu lies what was recorded on it: who ran, where the trace has switches (``running``), or else its events.
The track at the very top says what the file is, and below it another one shows when any cpu lost events.

The viewer (version 52) puts a track among the first ones only if it has another one below it, and sorts those by name;
so every cpu has one below it, and numbers of cpus have the same number of digits.

Axis legend: G gaps, I inferred events, E events.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from tracemend.mending.mended import Fill, Mended
from tracemend.outputs.overlay import NOTE
from tracemend.outputs.perfetto.encoding import (
    ABOUT,
    BEGIN,
    BY_CPU,
    END,
    EXPLICIT,
    INFERRED_BY_CPU,
    LOST,
    ORANGE,
    RED,
    THREAD,
    VIOLET,
    Bytes,
    Events,
    Ints,
    Names,
    colour,
    descriptor,
    notes_of,
    ranked,
    slice_of,
    text,
    text_notes,
    uint,
)
from tracemend.outputs.perfetto.rows import Rows
from tracemend.outputs.perfetto.running import Running
from tracemend.outputs.perfetto.threads import Threads
from tracemend.trace.events import Gap
from tracemend.trace.evidence import plural

_ABOUT_TRACK, _ANYWHERE = 1, 2
_GROUPS = 3  # and on: of cpus, where there are many
_LANES = 1 << 30  # and on: of gaps that begin before another one of their cpu ends
_FIRST = 1 << 31  # four tracks for each cpu: lost, recorded, who ran, who ran as inferred

#: So many cpus stand on top; more of them are put into groups of as many, or the viewer would show some at the bottom.
_MOST = 32

#: What a viewer may unfold at first: the tracks of cpus, by a pattern of names.
UNFOLDED = "^(about this trace|cpus? [0-9]+|cpu not recorded)"

#: What became of a gap, as its name says it.
_BECAME = {"filled": "filled", "refused": "fill refused", "left": "left open"}
_THREADS = "Which threads are one process isn't known; those of one command stand together, under a made-up number."


class Cpus:
    """The tracks of cpus; -1 is where the trace doesn't say which."""

    def __init__(self, mended: Mended, running: Running) -> None:
        self._mended, self._running = mended, running
        trace = mended.trace
        self.gaps = sorted(
            zip(trace.gaps, mended.fills, strict=True), key=lambda g: (g[0].begin_ns, g[0].end_ns, g[0].number)
        )
        of_gaps = np.array([gap.cpu for gap, _ in self.gaps], np.int64)
        self.cpus = np.unique(np.concatenate([trace.cpu.astype(np.int64), of_gaps]))
        self._by_cpu = ~np.isin(trace.cpu, running.recorded.cpu)  # events of cpus of which nobody says who ran
        self._lanes, self._further = self._laid(of_gaps)

    def _laid(self, of_gaps: Ints) -> tuple[Ints, list[int]]:
        """The track of each gap (G,), and the cpu of each further track: gaps of one track don't overlap."""
        first = self._track(of_gaps)
        lanes = np.empty(len(self.gaps), np.int64)
        further: list[int] = []
        free: dict[int, list[tuple[int, int]]] = {}  # by cpu: when the last gap of each track ends, and which it is
        for i, (gap, _) in enumerate(self.gaps):
            ends = free.setdefault(gap.cpu, [])
            if ends and ends[0][0] <= gap.begin_ns:
                track = heapq.heappop(ends)[1]
            elif ends:
                track = _LANES + len(further)
                further.append(gap.cpu)
            else:
                track = int(first[i])
            lanes[i] = track
            heapq.heappush(ends, (gap.end_ns, track))
        return lanes, further

    def _track(self, cpu: Ints) -> Ints:
        return _FIRST + 4 * np.searchsorted(self.cpus, cpu)

    def events(
        self, recorded: Rows, filled: Rows, fill_notes: list[Bytes | pa.Array], threads: Threads, names: Names
    ) -> Iterator[Events]:
        """All but what ``about`` writes."""
        yield self._lost(filled, [*fill_notes, text_notes(THREAD, threads.names(filled.tid))], names)
        for inferred, slices in enumerate((self._running.recorded, self._running.inferred)):
            yield slices.events(names, self._track(slices.cpu) + 2 + inferred, bool(inferred))
        rows, cpu = recorded.only(self._by_cpu), self._mended.trace.cpu[self._by_cpu].astype(np.int64)
        pairs = rows.pairs(cpu, rows.tid * (len(self.gaps) + 1) + self._segments()[self._by_cpu])
        notes: list[Bytes | pa.Array] = [text_notes(THREAD, threads.names(rows.tid))]
        yield rows.events(pairs, self._track(cpu) + 1, np.full_like(cpu, BY_CPU), notes, names)

    def _segments(self) -> Ints:
        """How many gaps of its cpu lie before each event (E,)."""
        trace, found = self._mended.trace, np.zeros(len(self._mended.trace), np.int64)
        before: dict[int, list[int]] = {}
        for gap, _ in self.gaps:
            if gap.before is not None:
                before.setdefault(gap.cpu, []).append(gap.before)
        for cpu, rows in before.items():
            own = trace.streams[cpu]
            found[own] = np.searchsorted(np.sort(rows), own)
        return found

    def _lost(self, filled: Rows, fill_notes: list[Bytes | pa.Array], names: Names) -> Events:
        """Gaps as slices, and within them what was inferred: as slices only what nothing else comes between."""
        count, inner = len(self.gaps), len(filled.time)
        of_gap = self._mended.inferred["gap"].to_numpy().astype(np.int64)
        rank = {gap.number: i for i, (gap, _) in enumerate(self.gaps)}
        nth = np.array([rank[n] for n in of_gap.tolist()], np.int64)
        pairs = filled.pairs(of_gap, filled.tid)
        within = filled.events(pairs, self._lanes[nth], np.full(inner, INFERRED_BY_CPU), fill_notes, names)
        begin, end = np.array([(g.begin_ns, g.end_ns) for g, _ in self.gaps], np.int64).reshape(-1, 2).T
        label = names.of([f"{_lost(g.count)} ({_BECAME[f.status]})" for g, f in self.gaps])
        shown = np.array([RED if f.status == "filled" else VIOLET for _, f in self.gaps], np.int64)
        told = pa.array([notes_of(_notes(*gap)) for gap in self.gaps], pa.binary())
        lost, none = np.full(count, LOST), np.zeros(count, np.int64)
        begins = Events(begin, np.full(count, BEGIN), self._lanes, lost, label, [colour(shown), told])
        ends = Events(end, np.full(count, END), self._lanes, lost, none)
        # at one time a gap ends before the next one of its track begins, and what is inferred lies within its own
        events, every = Events.joined([begins, within, ends]), np.arange(count)
        part, own = np.repeat([0, 1, 2], [count, inner, count]), np.concatenate([every, nth, every])
        return events.take(np.lexsort((np.arange(len(part)), part, own, events.time)))

    def about(self, left_out: int) -> Iterator[bytes]:
        """What this file is, in a slice as long as the trace, and below it when anything was lost on any cpu."""
        made, time = self._mended.provenance, self._mended.trace.time_ns
        description = f"Mended by tracemend {made['tracemend']}: {NOTE}."
        if left_out:
            description += (
                f" A piece of a trace: {left_out:,} other events that survived, and their gaps, are left out."
            )
        yield descriptor(_ABOUT_TRACK, name="about this trace", rest=text(14, description))
        yield descriptor(_ANYWHERE, name="lost on any cpu", parent=_ABOUT_TRACK)
        keys = ("tracemend", "model", "model_sha256", "seed", "input", "input_sha256", "format")
        notes = {"note": description, "threads": _THREADS} | {k: made.get(k) for k in keys}
        begin, end = (int(time.min()), int(time.max())) if len(time) else (0, 0)
        name = f"{NOTE}; this is a piece of a trace" if left_out else NOTE
        yield from slice_of((begin, end), _ABOUT_TRACK, ABOUT, name, notes, ORANGE)
        yield from self._anywhere()

    def _anywhere(self) -> Iterator[bytes]:
        gaps, filled = [gap for gap, _ in self.gaps], [fill.status == "filled" for _, fill in self.gaps]
        reached = np.maximum.accumulate(np.array([gap.end_ns for gap in gaps], np.int64))
        first = np.flatnonzero(np.array([g.begin_ns for g in gaps[1:]], np.int64) > reached[:-1]) + 1
        for own in np.split(np.arange(len(gaps)), first) if gaps else ():
            some = [gaps[i] for i in own.tolist()]
            counts = [gap.count for gap in some if gap.count is not None]
            more = len(some) - len(counts)
            name = _lost(sum(counts) if counts else None, "at least " if more else "")
            notes = {
                "stretches": len(some),
                "cpus": sorted({gap.cpu for gap in some}),
                "events": sum(counts) if counts else None,
                "stretches without a count": more or None,
            }
            shown = RED if all(filled[i] for i in own.tolist()) else VIOLET
            yield from slice_of((some[0].begin_ns, int(reached[own[-1]])), _ANYWHERE, LOST, name, notes, shown)

    def descriptors(self) -> Iterator[bytes]:
        """What the tracks are."""
        digits = len(str(self.cpus.max(initial=0)))
        word = {cpu: f"cpu {cpu:0{digits}}" if cpu >= 0 else "cpu not recorded" for cpu in self.cpus.tolist()}
        many = len(self.cpus) > _MOST
        kept = {*self._mended.trace.streams, *np.unique(self._running.inferred.cpu).tolist(), *self._further}
        below = {1: "recorded", 2: "who ran", 3: "who ran (inferred)"}
        for i, (cpu, name) in enumerate(word.items()):
            group, track = _GROUPS + i // _MOST, _FIRST + 4 * i
            if many and i % _MOST == 0:
                last = word[int(self.cpus[min(i + _MOST, len(self.cpus)) - 1])]
                yield descriptor(group, name=f"{name} to {last}", rest=uint(11, EXPLICIT))
            # of a cpu that lost all it had there is nothing below
            parent = group if many else 0 if cpu in kept else _ABOUT_TRACK
            yield descriptor(track, name=name, parent=parent, rest=uint(11, EXPLICIT) + ranked(i))
            for nth, what in below.items():
                yield descriptor(track + nth, name=f"{name}: {what}", parent=track, rest=ranked(nth))
        parents = self._track(np.array(self._further, np.int64)).tolist()
        for i, (cpu, parent) in enumerate(zip(self._further, parents, strict=True)):
            yield descriptor(_LANES + i, name=f"{word[cpu]}: lost at the same time", parent=parent)


def _lost(count: int | None, about: str = "") -> str:
    return "lost events" if count is None else f"lost {about}{plural(count, 'event')}"


def _notes(gap: Gap, fill: Fill) -> dict[str, Any]:
    row = gap.as_dict() | fill.as_dict()
    return {key: row[key] for key in ("gap", "count", "known", "status", "events", "confidence", "reason", "line")}
