"""A lossy recording with the complete one of the same run: which events did each gap lose?

Two buffers that record the same run see every event one after the other, so the two differ only in what was lost. Where
times are exact to the nanosecond they say which event is which; where they are not (text), the tracer's counts do.

Axis legend: C events of the complete trace, S surviving events (those of the lossy trace), G gaps.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.errors import OutputError, TraceError
from tracemend.formats import parquet
from tracemend.recording.tracefs import RecordError
from tracemend.trace.events import Gap, Known, Trace, rows_by
from tracemend.whole import whole_folder

Ints = NDArray[np.int64]

#: What each buffer's event reads for itself, and another cpu may change between the one and the other: the state of a
#: thread that has ended and is being reaped, priorities that are lent, the clock's ticks.
_READ_TWICE = r"\b(?:prev_state=\S+|(?:prev_|next_)?prio=-?\d+|now=\d+)"

#: What a folder of ``write_folder`` holds.
FILES = ("lossy.txt", "lossy.parquet", "complete.parquet", "gaps.csv")


@dataclass(frozen=True)
class Pair:
    """A lossy recording with its truth.

    ``missing[g]`` are the rows of ``complete`` that gap g of ``lossy`` lost, in the order of their cpu's stream.
    """

    lossy: Trace
    complete: Trace
    missing: list[Ints]

    @property
    def lost(self) -> int:
        """Events that are really missing."""
        return sum(len(m) for m in self.missing)

    def told(self) -> Pair:
        """The same with the true count in every gap, as if the tracer had stated it (drop mode states none)."""
        gaps = tuple(replace(g, count=len(m)) for g, m in zip(self.lossy.gaps, self.missing, strict=True))
        return replace(self, lossy=self.lossy.with_gaps(gaps))

    def faults(self, counted: int | None = None) -> list[str]:
        """Everything about the losses that doesn't agree; empty if all identities hold.

        Every stated count is that of the events missing there, and all events missing are as many as ``counted``, what
        the tracer itself counted, if it did.
        """
        found = []
        pairs = list(zip(self.lossy.gaps, self.missing, strict=True))
        wrong = [(g, m) for g, m in pairs if g.count is not None and g.count != len(m)]
        if wrong:
            gap, rows = wrong[0]
            found.append(
                f"{len(wrong)} of {len(pairs)} stated counts are wrong; the first is gap {gap.number} on cpu "
                f"{gap.cpu}: {gap.count} stated, {len(rows)} missing"
            )
        if counted is not None and counted != self.lost:
            found.append(f"{self.lost} events are missing, the tracer counted {counted}")
        return found


def by_times(
    lossy: Trace,
    complete: Trace,
    *,
    window_ns: tuple[int, int] | None = None,
    complete_first: bool | None = True,
) -> tuple[Pair, list[str]]:
    """Find the events that each gap lost by times to the nanosecond; also returns what doesn't fit (see ``faults``).

    A thread does one thing at a time: its event reaches the one buffer, then the other, and only then comes its next
    event. So the twin of a surviving event is the latest complete one with the same thread (idle: of the same cpu),
    name, phase, arguments and result that isn't after it; events in interrupts, which can come between the two, differ
    in one of these.
    complete_first: False if the complete buffer comes second, None if that differs from thread to thread (perf).
    window_ns: when both buffers were on for certain; events of the complete trace outside it are left out, unless they
    survived. Runs of missing events without a mark become gaps that are "suspected" and have no count.
    """
    codes = _codes(lossy, complete)
    twin_S = _twins(lossy, complete, codes, backwards=complete_first is False)
    if complete_first is None:
        other_S = _twins(lossy, complete, codes, backwards=True)
        for rows in lossy.threads.values():
            if _misfit(lossy, complete, rows, other_S) < _misfit(lossy, complete, rows, twin_S):
                twin_S[rows] = other_S[rows]
    faults = []
    alone = int((twin_S < 0).sum())
    if alone:
        faults.append(f"{alone} of {len(lossy)} surviving events aren't in the complete recording")
    kept = np.ones(len(complete), bool)
    if window_ns is not None:
        kept = (complete.time_ns >= window_ns[0]) & (complete.time_ns <= window_ns[1])
        kept[twin_S[twin_S >= 0]] = True
    complete = replace(complete, table=complete.table.filter(pa.array(kept)))
    twin_S = np.where(twin_S >= 0, (np.cumsum(kept) - 1)[twin_S], -1)
    return _assign(lossy, complete, twin_S), faults


def _codes(lossy: Trace, complete: Trace) -> Ints:
    """A number for what each event is, the complete trace's first (C + S,): equal ones are the same in all but time."""
    codes: dict[Any, int] = {}
    return np.array([codes.setdefault(k, len(codes)) for t in (complete, lossy) for k in _keys(t)], np.int64)


def _twins(lossy: Trace, complete: Trace, code: Ints, *, backwards: bool) -> Ints:
    """Row of the complete trace for each surviving event (S,), -1 where there is none. code: of ``_codes``."""
    time = np.concatenate([complete.time_ns, lossy.time_ns])
    survives = np.arange(len(code)) >= len(complete)
    order = np.lexsort((survives != backwards, time, code))
    if backwards:
        order = order[::-1]
    # the complete event that stands nearest in front of each, within its code
    at = np.where(survives[order], -1, np.arange(len(order)))
    nearest = np.maximum.accumulate(at)
    behind = np.flatnonzero(survives[order])
    found = nearest[behind]
    good = (found >= 0) & (code[order[behind]] == code[order[found]]) & (np.diff(found, prepend=-1) > 0)
    twin_S = np.full(len(lossy), -1, np.int64)
    twin_S[order[behind[good]] - len(complete)] = order[found[good]]
    return twin_S


def _misfit(lossy: Trace, complete: Trace, rows: Ints, twin_S: Ints) -> tuple[int, int]:
    """How many of a thread's surviving events have no twin, and how far in time the others are from theirs."""
    there = rows[twin_S[rows] >= 0]
    return len(rows) - len(there), int(np.abs(lossy.time_ns[there] - complete.time_ns[twin_S[there]]).sum())


def _assign(lossy: Trace, complete: Trace, twin_S: Ints) -> Pair:
    """Give each event without a twin to the gap before the next surviving event of its cpu."""
    survived_C = np.zeros(len(complete), bool)
    survived_C[twin_S[twin_S >= 0]] = True
    gaps: list[tuple[Gap, Ints]] = []
    for cpu in sorted({*lossy.streams, *complete.streams, *(g.cpu for g in lossy.gaps)}):
        rows = lossy.streams.get(cpu, np.empty(0, np.int64))
        marked = {g.after: g for g in lossy.gaps if g.cpu == cpu}
        # anchors: survivors that are on the same cpu in both, in the order of both
        anchored = twin_S[rows] >= 0
        anchored[anchored] = complete.cpu[twin_S[rows[anchored]]] == cpu
        anchors = rows[anchored]
        rising = twin_S[anchors] >= np.maximum.accumulate(twin_S[anchors]) if len(anchors) else np.zeros(0, bool)
        anchors = anchors[rising]
        truth = complete.streams.get(cpu, np.empty(0, np.int64))
        lost = truth[~survived_C[truth]]
        runs = {n: lost[rows] for n, rows in rows_by(np.searchsorted(twin_S[anchors], lost)).items()}
        at_anchor = {int(r): i for i, r in enumerate(anchors.tolist())}
        for after, gap in marked.items():
            n = len(anchors) if after is None else at_anchor.get(after, int(np.searchsorted(anchors, after)))
            gaps.append((gap, runs.pop(n, np.empty(0, np.int64))))
        for n, run in runs.items():
            before, after = (int(anchors[n - 1]) if n else None), (int(anchors[n]) if n < len(anchors) else None)
            begin = lossy.time_ns[before] if before is not None else complete.time_ns[run[0]]
            end = lossy.time_ns[after] if after is not None else complete.time_ns[run[-1]]
            line = int(lossy.line[after]) if after is not None else 0
            gaps.append((Gap(0, cpu, before, after, int(begin), int(max(begin, end)), None, "suspected", line), run))
    gaps.sort(key=lambda pair: (len(lossy) if pair[0].after is None else pair[0].after, pair[0].cpu))
    numbered = tuple(replace(g, number=i) for i, (g, _) in enumerate(gaps))
    return Pair(lossy.with_gaps(numbered), complete, [run for _, run in gaps])


def write(pair: Pair, path: Path, *, details: bool = True, about: dict[str, Any] | None = None) -> None:
    """The complete trace as Parquet, with the gap that lost each event (-1: it survived); the lossy one is in it, too.

    about: further keys of the metadata. Raises OutputError.
    """
    stated = {"gaps": [{"cpu": g.cpu, "known": g.known, "count": g.count} for g in pair.lossy.gaps]}
    more = {"gap": pa.array(_gap_column(pair))}
    parquet.write(pair.complete, path, details=details, more=more, about={**stated, **(about or {})})


def read(path: Path) -> Pair:
    """A pair from the file that ``write`` made; the surviving events have the complete trace's times.

    Raises TraceError.
    """
    table, about = parquet.read_columns(path)
    complete = parquet.from_columns(table, about, path)
    try:
        gap = table["gap"].to_numpy()
        stated = [(int(g["cpu"]), g["known"], g["count"]) for g in about["gaps"]]
        if len(gap) and not -1 <= gap.min() <= gap.max() < len(stated):
            raise ValueError("an event of a gap that isn't listed")
    except (KeyError, TypeError, ValueError) as e:
        raise TraceError(path, 0, f"no recording with its truth: {e}") from e
    return _from_column(complete, gap, stated)


def _gap_column(pair: Pair) -> NDArray[np.int32]:
    """The gap that lost each event of the complete trace (C,), -1 if it survived."""
    gap_C = np.full(len(pair.complete), -1, np.int32)
    for number, rows in enumerate(pair.missing):
        gap_C[rows] = number
    return gap_C


def _from_column(complete: Trace, gap: NDArray[np.int32], stated: Sequence[tuple[int, Known, int | None]]) -> Pair:
    """The pair of a complete trace and the gap of each of its events (C,); stated: each gap's cpu, known, and count."""
    survivors = np.flatnonzero(gap < 0)
    row_of = np.cumsum(gap < 0)
    lossy = replace(complete, table=complete.table.take(pa.array(survivors)))
    lost = rows_by(gap)
    missing = [lost.get(n, np.empty(0, np.int64)) for n in range(len(stated))]
    gaps = []
    for number, (cpu, known, count) in enumerate(stated):
        stream = complete.streams.get(cpu, np.empty(0, np.int64))
        kept = stream[gap[stream] < 0]
        at = int(np.searchsorted(kept, missing[number][0])) if len(missing[number]) else len(kept)
        before = int(row_of[kept[at - 1]]) - 1 if at else None
        after = int(row_of[kept[at]]) - 1 if at < len(kept) else None
        begin = int(lossy.time_ns[before]) if before is not None else int(complete.time_ns[0])
        end = int(lossy.time_ns[after]) if after is not None else int(complete.time_ns[-1])
        gaps.append(Gap(number, cpu, before, after, begin, max(begin, end), count, known, after or 0))
    return Pair(lossy.with_gaps(tuple(gaps)), complete, missing)


def head(pair: Pair, most: int) -> Pair:
    """The pair before event ``most`` of its complete trace; the surviving events get the complete trace's times.

    Each cpu's stream ends with its last surviving one before that: a gap that isn't over is left out with what it lost.
    """
    gap_C = _gap_column(pair)
    kept_C = np.zeros(len(gap_C), bool)
    for rows in pair.complete.streams.values():
        survivors = rows[(gap_C[rows] < 0) & (rows < most)]
        kept_C[rows[rows <= survivors.max(initial=-1)]] = True
    whole = [len(rows) > 0 and kept_C[rows].all() for rows in pair.missing]
    return only(pair, kept_C & np.array([*whole, True])[gap_C])  # the last one stands for "survived"


def only(pair: Pair, kept_C: NDArray[np.bool_]) -> Pair:
    """The pair of these events of its complete trace (C,) alone; the surviving ones get the complete trace's times.

    A gap has lost what is left of what it lost, and states as many; one of which nothing is left is none.
    """
    gap_C = _gap_column(pair)[kept_C]
    left = np.bincount(gap_C + 1, minlength=len(pair.missing) + 1)[1:]
    number = np.append(np.cumsum(left > 0) - 1, -1)  # the last one stands for "survived"
    complete = replace(pair.complete, table=pair.complete.table.filter(pa.array(kept_C)))
    stated = [
        (gap.cpu, gap.known, None if gap.count is None else gap.count - len(rows) + n)
        for gap, rows, n in zip(pair.lossy.gaps, pair.missing, left.tolist(), strict=True)
        if n
    ]
    return _from_column(complete, number[gap_C].astype(np.int32), stated)


def refuse_existing(folder: Path, force: bool) -> None:
    """Raises OutputError for a folder that exists, unless ``force`` is given and it holds nothing but a pair."""
    if not folder.exists():
        return
    if not force:
        raise OutputError(f"{folder}: exists already; --force replaces a folder of recordings")
    held = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else [folder.name]
    foreign = [name for name in held if name not in FILES]
    if foreign:
        raise OutputError(f"{folder}: holds {foreign[0]}, which is no recording; not replaced")


def write_folder(pair: Pair, folder: Path, text: Iterable[str] | None, *, force: bool = False) -> list[Path]:
    """A pair as people want to look at it, in a folder that appears whole or not at all; returns the files' paths.

    ``lossy.parquet``, ``complete.parquet`` (which ``read`` reads), ``gaps.csv`` and, unless ``text`` is None, the lossy
    trace as the tracer's text, ``lossy.txt``. force: replace a folder that holds nothing else. Raises OutputError.
    """
    refuse_existing(folder, force)
    try:
        with whole_folder(folder) as work:
            told = tuple(g for g in pair.lossy.gaps if g.known != "suspected")  # the others only the truth tells
            parquet.write(pair.lossy.with_gaps(told), work / "lossy.parquet")
            write(pair, work / "complete.parquet")
            (work / "gaps.csv").write_text(gap_table(pair))
            if text is not None:
                with open(work / "lossy.txt", "w") as file:
                    file.writelines(text)
    except (OSError, OutputError) as e:
        cause = e.__cause__ if isinstance(e, OutputError) else e  # that names a file of the folder it was to become
        raise OutputError(f"{folder}: can't be written: {getattr(cause, 'strerror', None) or e}") from e
    return sorted(folder.iterdir())


def gap_table(pair: Pair) -> str:
    """What each gap is said to have lost and what it really lost, as CSV."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["gap", "cpu", "known", "stated", "lost", "begin_ns", "end_ns", "threads"])
    for gap, lost in zip(pair.lossy.gaps, pair.missing, strict=True):
        stated = "" if gap.count is None else gap.count
        threads = len(np.unique(pair.complete.tid[lost]))
        rows.writerow([gap.number, gap.cpu, gap.known, stated, len(lost), gap.begin_ns, gap.end_ns, threads])
    return text.getvalue()


def _keys(trace: Trace) -> NDArray[np.object_]:
    import pyarrow.compute as pc

    args, name = trace.table["args"], trace.table["name"].cast(pa.string())
    changing = pc.match_substring_regex(name, "^(?:sched_|timer_expire_)")
    args = pc.if_else(changing, pc.replace_substring_regex(args, _READ_TWICE, ""), args).to_pylist()
    thread = np.where(trace.tid == 0, -1 - trace.cpu, trace.tid).tolist()  # every cpu has an idle thread
    columns = (trace.table[c].to_pylist() for c in ("name", "phase", "ret"))
    keys = np.empty(len(trace), object)
    keys[:] = list(zip(thread, args, *columns, strict=True))
    return keys


def align(lossy: Trace, complete: Trace, overrun: int | None = None) -> Pair:
    """Find the events that each gap lost by the tracer's counts, for times that are too coarse to tell (text).

    Each cpu's surviving events must stand, in order, in the complete stream: after a mark of k events the k-th next
    event must be the surviving one. Raises RecordError at the first disagreement, and if the counts don't add up to
    ``overrun`` (the kernel's counter).
    """
    if overrun is not None and overrun != lossy.lost:
        raise RecordError(f"the marks tell of {lossy.lost} lost events, the kernel of {overrun}")
    have, whole = _keys(lossy), _keys(complete)
    missing: list[NDArray[np.int64]] = [np.empty(0, np.int64) for _ in lossy.gaps]
    for cpu in sorted({*lossy.streams, *(g.cpu for g in lossy.gaps)}):
        rows = lossy.streams.get(cpu, np.empty(0, np.int64))
        truth = complete.streams.get(cpu, np.empty(0, np.int64))
        gap_before = {g.after: g for g in lossy.gaps if g.cpu == cpu}
        segments = _segments(rows, gap_before)
        for skipped in range(64):  # the complete instance is switched on a moment earlier
            found = _walk(segments, truth, have, whole, skipped)
            if found is not None:
                break
        else:
            raise RecordError(f"cpu {cpu}: the surviving events aren't a part of the complete recording")
        for number, lost in found.items():
            missing[number] = lost
    return Pair(lossy, complete, missing)


Segment = tuple["int | None", int, NDArray[np.int64]]  # gap number, its count, the events that survive after it


def _segments(rows: NDArray[np.int64], gap_before: dict[int | None, Gap]) -> list[Segment]:
    cuts = [i for i, r in enumerate(rows.tolist()) if r in gap_before]
    parts = np.split(rows, cuts)
    segments: list[Segment] = []
    if not cuts or cuts[0] != 0:
        segments.append((None, 0, parts[0]))
    for part in parts[1:] if cuts else []:
        gap = gap_before[int(part[0])]
        segments.append((gap.number, gap.count or 0, part))
    last = gap_before.get(None)
    if last is not None:
        segments.append((last.number, last.count or 0, np.empty(0, np.int64)))
    return segments


def _walk(
    segments: list[Segment],
    truth: NDArray[np.int64],
    have: NDArray[np.object_],
    whole: NDArray[np.object_],
    at: int,
) -> dict[int, NDArray[np.int64]] | None:
    missing: dict[int, NDArray[np.int64]] = {}
    for number, count, part in segments:
        if number is not None:
            missing[number] = truth[at : at + count]
            at += count
        if at + len(part) > len(truth) or not (have[part] == whole[truth[at : at + len(part)]]).all():
            return None
        at += len(part)
    return missing
