"""A trace in pieces is the trace: the same events, gaps and findings, however small the pieces are."""

from __future__ import annotations

import errno
import io
import lzma
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import fields, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
from conftest import ROOT, make_trace, mostly_long
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tracemend.api import how, mend
from tracemend.compiled import before_compiling
from tracemend.engines import Local, at_work, tell
from tracemend.errors import OptionError, OutputError, TraceError, WorkerError
from tracemend.formats import FORMATS, pieces, read, sha256
from tracemend.formats.ahead import ahead
from tracemend.formats.base import Builder
from tracemend.formats.base import Options as Reading
from tracemend.formats.cutting import Cutting, Sink
from tracemend.losses.advice import Backlogs, advise
from tracemend.losses.scanning import scan, scan_pieces
from tracemend.menders.examples import Example
from tracemend.mending.mended import Mended, Result
from tracemend.mending.options import Options
from tracemend.mending.pieces import Done, Spooled, mend_pieces
from tracemend.outputs import read_overlay, strip, write
from tracemend.trace.events import Mark, Trace
from tracemend.trace.pieces import Piece, Size, cut
from tracemend.whole import work_folder

DATA = ROOT / "tests" / "data"
SIZES = mostly_long([Size(300, 1000), Size(50, 20), Size(7, 0)])


@cache
def readable() -> dict[str, Trace]:
    """The recordings among the tests' data."""
    found = {}
    for path in (*sorted(DATA.iterdir()), *sorted((ROOT / "recordings" / "deploy").glob("*.txt"))):
        try:
            found[path.name] = read(path)
        except TraceError:
            continue
    return found


def cases(size: Size) -> Iterator[tuple[str, Trace, Path]]:
    """The recordings that such pieces aren't too many of."""
    for name, trace in readable().items():
        if len(trace) <= 300 * size.events:
            assert trace.path is not None
            yield name, trace, trace.path


def plain(table: pa.Table) -> pa.Table:
    """The same without dictionaries, which grow while a trace is read."""
    kinds = [pa.field(f.name, f.type.value_type if pa.types.is_dictionary(f.type) else f.type) for f in table.schema]
    return table.cast(pa.schema(kinds)).combine_chunks()


def whole(parts: list[Piece]) -> pa.Table:
    return plain(pa.concat_tables([plain(p.own.table) for p in parts]))


@pytest.mark.parametrize("size", SIZES)
def test_pieces_are_the_trace(size: Size) -> None:
    for name, trace, path in cases(size):
        parts = list(pieces(path, cuts=size))
        assert whole(parts).equals(plain(trace.table)), name
        gaps = sorted((g for p in parts for g in p.gaps), key=lambda g: g.number)
        assert tuple(gaps) == trace.gaps, name
        for f in fields(Trace):
            if f.name not in ("table", "gaps"):
                assert getattr(parts[-1].trace, f.name) == getattr(trace, f.name), (name, f.name)
        for piece, following in pairwise(parts):
            assert len(piece) == size.events
            assert piece.first + piece.end == following.first + following.begin
            assert not piece.last
        assert parts[-1].last


@pytest.mark.parametrize("size", SIZES)
def test_a_piece_shows_the_gaps_around_its_own_events(size: Size) -> None:
    for name, trace, path in cases(size):
        for piece in pieces(path, cuts=size):
            shown = {g.number: g for g in piece.trace.gaps}
            end = piece.first + len(piece.trace)
            for gap in trace.gaps:
                if gap.after is not None and piece.first <= gap.after < end:
                    own = shown[gap.number]
                    assert own.after == gap.after - piece.first, name
                    assert (own.begin_ns, own.end_ns, own.count) == (gap.begin_ns, gap.end_ns, gap.count)
                    near = gap.before is not None and gap.before >= piece.first
                    assert own.before == (gap.before - piece.first if near and gap.before is not None else None)


@pytest.mark.long
def test_a_trace_cut_when_it_is_held_is_the_same() -> None:
    for name, trace in readable().items():
        assert trace.path is not None
        for ours, other in zip(pieces(trace.path, cuts=Size(50, 20)), cut(trace, Size(50, 20)), strict=True):
            assert (ours.begin, ours.end, ours.first, ours.gaps) == (other.begin, other.end, other.first, other.gaps)
            assert plain(ours.trace.table).equals(plain(other.trace.table)), name


def test_a_small_trace_is_its_only_piece() -> None:
    trace = readable()["lossy.txt"]
    assert trace.path is not None
    (piece,) = pieces(trace.path)
    assert piece.only
    assert piece.own is piece.trace
    assert piece.trace.table.equals(trace.table)
    assert piece.gaps == piece.trace.gaps == trace.gaps


@st.composite
def batches(draw: st.DrawFn) -> list[tuple[list[tuple[int, int]], list[tuple[int, int | None]]]]:
    """Made up: batches of events (cpu, step), and marks (cpu, count) in front of some batch's end."""
    cpus = st.integers(0, 2)
    event, mark = st.tuples(cpus, st.integers(0, 3)), st.tuples(cpus, st.none() | st.integers(1, 9))
    return draw(st.lists(st.tuples(st.lists(event, min_size=1, max_size=6), st.lists(mark, max_size=2)), max_size=12))


@pytest.mark.long
@settings(max_examples=80, deadline=None)
@given(batches(), st.integers(1, 8), st.integers(0, 6))
def test_marks_are_placed_as_in_the_whole(
    made: list[tuple[list[tuple[int, int]], list[tuple[int, int | None]]]], events: int, margin: int
) -> None:
    parts: list[Piece] = []
    sink = Sink(Size(events, margin), parts.append)
    traces = []
    for options in (Reading(), Reading(sink=sink)):
        builder, now, row = Builder(Path("made up"), "ftrace", options), 0, 0
        for some, marks in made:
            at = np.cumsum([step for _, step in some]) + now
            for cpu, count in marks:
                builder.marks.append(Mark(cpu, row + len(some) // 2, count, row))
            add(builder, at, np.array([cpu for cpu, _ in some]), row)
            now, row = (int(at[-1]) if len(at) else now), row + len(some)
        traces.append(builder.finish())
    assert sink.rest is not None
    parts.append(replace(sink.rest, trace=traces[1]))
    assert whole(parts).equals(plain(traces[0].table))
    assert tuple(sorted((g for p in parts for g in p.gaps), key=lambda g: g.number)) == traces[0].gaps


def add(builder: Builder, at: NDArray[np.int64], cpu: NDArray[np.int64], row: int) -> None:
    n = len(at)
    zero = np.zeros(n, np.int32)
    builder.add(
        time_ns=at.astype(np.int64),
        cpu=cpu.astype(np.int32),
        tid=zero,
        comm=zero + builder.comms("a"),
        name=zero + builder.names("read"),
        phase=zero.astype(np.int8),
        args=pa.nulls(n, pa.string()),
        ret=pa.nulls(n, pa.string()),
        line=np.arange(row, row + n),
    )


@pytest.mark.long
@pytest.mark.parametrize("size", SIZES)
def test_a_scan_finds_the_same_in_pieces(size: Size) -> None:
    for name, trace, path in cases(size):
        if name == "ftrace_drop.txt.xz":
            continue  # what the ends of sub-buffers tell takes a long stretch of them: below
        parts = list(pieces(path, cuts=size))
        for asked in (False, True):
            in_one = scan(trace, suspected=asked).as_dict()
            assert scan_pieces(iter(parts), suspected=asked).as_dict() == in_one, name


@pytest.mark.parametrize("size", SIZES)
def test_the_verdict_on_drop_mode_does_not_hang_on_pieces(size: Size) -> None:
    trace = readable()["ftrace_drop.txt.xz"]
    assert trace.path is not None
    in_one, in_many = scan(trace), scan_pieces(pieces(trace.path, cuts=size))
    assert in_many.verdict.word == in_one.verdict.word == "can't tell"
    proven = {g.line for g in in_many.gaps}
    assert len(proven) >= 10
    assert in_many.verdict.advice == in_one.verdict.advice


@pytest.mark.parametrize(
    "rows",
    [
        # a call whose other side comes only in a later piece: then its enters don't pair
        [("mount", 0), ("mount", 0), ("read", 0), ("read", 1), ("read", 0), ("read", 1), ("mount", 1)],
        # and one that has no other side pairs with nothing
        [("mount", 0), ("mount", 0), ("read", 0), ("read", 1), ("read", 0), ("read", 1), ("read", 0)],
    ],
)
@pytest.mark.parametrize("size", [Size(2, 0), Size(3, 1), Size(100, 0)])
def test_what_a_later_piece_settles(rows: list[tuple[str, int]], size: Size) -> None:
    """Made up."""
    trace = make_trace([(t, 0, 7, name, phase) for t, (name, phase) in enumerate(rows)])
    assert scan_pieces(cut(trace, size)).verdict.word == scan(trace).verdict.word


@pytest.mark.parametrize("size", SIZES)
def test_advice_is_the_same_in_pieces(size: Size) -> None:
    for name, trace, path in cases(size):
        backlogs = Backlogs()
        for piece in pieces(path, cuts=size):
            backlogs.add(piece)
        assert backlogs.finish() == advise(trace), name


# the thread that reads ahead


@pytest.mark.parametrize("jobs", [1, 2])
def test_reading_stops_where_nobody_wants_more(jobs: int) -> None:
    path = readable()["lossy.txt"].path
    assert path is not None
    before = threading.active_count()
    some = pieces(path, cuts=Size(100, 10), jobs=jobs)
    assert isinstance(some, Generator)
    next(some)
    some.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("in_step", [False, True])
def test_what_goes_wrong_is_raised_behind_what_was_given(in_step: bool) -> None:
    def work(give: object) -> None:
        assert callable(give)
        give(1)
        raise TraceError(Path("a"), 2, "broken")

    results: Iterator[int] = ahead(work, in_step)
    assert next(results) == 1
    with pytest.raises(TraceError, match="broken"):
        next(results)


def counting() -> tuple[list[int], Callable[[Callable[[int], None]], None]]:
    """Work that gives 0 to 4, and those that it has begun."""
    begun: list[int] = []

    def work(give: Callable[[int], None]) -> None:
        for n in range(5):
            begun.append(n)
            give(n)

    return begun, work


def test_no_more_is_made_than_the_next() -> None:
    begun, work = counting()
    for n in ahead(work):
        until = time.monotonic() + 60
        while len(begun) < min(n + 2, 5):
            assert time.monotonic() < until
            time.sleep(0.001)
        time.sleep(0.01)  # for one more, if there were
        assert len(begun) == min(n + 2, 5)


def test_in_step_none_is_made_before_the_last_one_is_done_with() -> None:
    begun, work = counting()
    for n in ahead(work, in_step=True):
        time.sleep(0.01)  # for one more, if there were
        assert begun == list(range(n + 1))


def test_with_one_job_nothing_is_read_before_it_is_wanted(recording: Path) -> None:
    cut: list[int] = []
    real = Cutting.piece

    def counted(self: Cutting, *args: Any) -> tuple[Piece, int]:
        cut.append(len(cut))
        return real(self, *args)

    with mock.patch.object(Cutting, "piece", counted):
        some = pieces(recording, cuts=Size(400, 50), jobs=1)
        for n in range(1, 4):
            next(some)
            time.sleep(0.01)  # for one more, if there were
            assert len(cut) == n


def test_a_damaged_trace_raises_in_pieces_as_a_whole(tmp_path: Path) -> None:
    """Made up: time goes back behind the first pieces."""
    path = tmp_path / "trace.txt"
    lines = [f"  a-7 [000] ..... {t}.000000: sys_enter: NR 0 (0)\n" for t in (*range(10, 300), 5)]
    path.write_text("".join(lines))
    with pytest.raises(TraceError) as one:
        read(path)
    with pytest.raises(TraceError) as many:
        list(pieces(path, cuts=Size(20, 5)))
    assert str(one.value) == str(many.value)


PEAK = """
import resource, sys
from tracemend.formats import pieces
from tracemend.menders.examples import Example
from tracemend.losses.scanning import scan_pieces
from tracemend.trace.pieces import Size
found = scan_pieces(pieces(sys.argv[1], cuts=Size(1 << 15, 1 << 12)))
print(len(found.seen), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.long
def test_memory_does_not_grow_with_the_trace(tmp_path: Path) -> None:
    """Made of a recording, repeated."""
    peaks = []
    for size in (1e7, 8e7):
        large = tmp_path / f"{size:.0f}.txt"
        source = ROOT / "recordings" / "deploy" / "lossy.txt"
        enlarge = [sys.executable, str(ROOT / "scripts" / "enlarge.py"), str(source), str(large), "--bytes", str(size)]
        subprocess.run(enlarge, check=True, capture_output=True)
        done = subprocess.run([sys.executable, "-c", PEAK, str(large)], capture_output=True, text=True, check=True)
        events, peak = map(int, done.stdout.split())
        assert events > size / 120
        peaks.append(peak)
    assert peaks[1] < peaks[0] + 30_000, "KiB"


# mending in pieces

SMALL = Size(1500, 500)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The beginning of a recording with eight gaps."""
    path = tmp_path_factory.mktemp("recording") / "trace.txt"
    lines = (ROOT / "recordings" / "deploy" / "lossy.txt").read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:6000]))
    return path


def in_pieces(path: Path, out: Path, size: Size = SMALL, **how_else: Any) -> Result:
    """Mend a trace with the lookup and write all outputs."""
    options = how_else.pop("options", Options())
    way = replace(how("lookup", options, alone=True), **how_else)
    with work_folder(out.parent / f".{out.name}.work", {}) as folder:
        mended = mend_pieces(pieces(path, cuts=size), way, folder)
        merged = ["merged"] if FORMATS[mended.trace.format].name in ("ftrace", "perf", "sequence") else []
        write(mended, out, ["overlay", "report", "perfetto", *merged], engine=way.engine)
    return mended


@pytest.mark.parametrize("size", [SMALL, Size(400, 50), Size(97, 0)])
def test_every_gap_is_filled_in_its_place(recording: Path, tmp_path: Path, size: Size) -> None:
    trace = read(recording)
    mended = in_pieces(recording, tmp_path / "out", size)
    assert isinstance(mended, Spooled)
    assert mended.trace.gaps == trace.gaps
    assert [f.gap for f in mended.fills] == [g.number for g in trace.gaps]
    head, inferred = read_overlay(tmp_path / "out")
    assert read_overlay(tmp_path / "out" / "overlay.parquet")[1].to_pylist() == inferred.to_pylist()
    assert [g["gap"] for g in head["gaps"]] == [g.number for g in trace.gaps]
    numbers = inferred["gap"].to_numpy()
    for gap, fill in zip(trace.gaps, mended.fills, strict=True):
        times = inferred["time_ns"].to_numpy()[numbers == gap.number]
        if fill.status == "filled":
            assert len(times) == fill.events == gap.count
            assert gap.begin_ns <= times[0]
            assert times[-1] <= gap.end_ns
    assert (np.diff(numbers) >= 0).all()
    out = io.BytesIO()
    strip(tmp_path / "out", out)
    assert out.getvalue() == recording.read_bytes()


def test_one_piece_is_mended_as_ever(recording: Path, tmp_path: Path) -> None:
    mended = in_pieces(recording, tmp_path / "out", Size())
    assert isinstance(mended, Mended)
    as_ever = mend(read(recording), "lookup", alone=True)
    assert mended.inferred.equals(as_ever.inferred)
    assert (mended.fills, mended.provenance) == (as_ever.fills, as_ever.provenance)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.long
def test_the_same_bytes_for_any_number_of_processes(recording: Path, tmp_path: Path) -> None:
    options = Options(hypotheses=0, refuse=0.5)
    for jobs in (1, 2):
        in_pieces(recording, tmp_path / str(jobs), engine=Local(jobs), options=options, suspect=True)
    for path in (tmp_path / "1").iterdir():
        assert path.read_bytes() == (tmp_path / "2" / path.name).read_bytes(), path.name


@pytest.mark.long
def test_what_goes_wrong_in_one_of_several_processes_that_write_leaves_nothing(recording: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace.txt"
    trace.write_bytes(recording.read_bytes())
    with work_folder(tmp_path / ".work", {}) as folder:
        mended = mend_pieces(pieces(trace, cuts=SMALL), how("lookup", alone=True), folder)
        trace.write_bytes(recording.read_bytes() + b"# more\n")
        with pytest.raises(OutputError, match="changed since it was read"):
            write(mended, tmp_path / "out", ["merged", "report"], engine=Local(2))
    assert [p.name for p in tmp_path.iterdir()] == ["trace.txt"]


@pytest.mark.parametrize(
    "name", ["ftrace_syscalls.txt.xz", "perf_lost.txt.xz", "trace_cmd.dat.xz", "perfetto_lossy.pftrace.xz"]
)
def test_formats_of_all_kinds_are_mended_in_pieces(name: str, tmp_path: Path) -> None:
    path = DATA / name
    trace = readable()[name]
    way = how("lookup", alone=True)
    with work_folder(tmp_path / ".work", {}) as folder:
        mended = mend_pieces(pieces(path, cuts=Size(200, 60)), way, folder)
        write(mended, tmp_path / "out", ["overlay", "report"])
    assert [(f.gap, f.events) for f in mended.fills if f.status == "filled"] == [
        (g.number, g.count) for g in trace.gaps if g.count is not None and mended.fills[g.number].status == "filled"
    ]
    assert mended.trace.gaps == trace.gaps


def test_a_sequence_on_one_line_is_merged(tmp_path: Path) -> None:
    """Made up: a run of unknown names on a line that pieces divide."""
    path = tmp_path / "names.txt"
    path.write_text(
        " ".join(["openat", "read", "close"] * 60 + ["?"] * 4 + ["read", "close"] * 60) + "\nopenat\n?\nread\n"
    )
    mended = in_pieces(path, tmp_path / "out", Size(50, 10))
    assert isinstance(mended, Spooled)
    assert mended.events == 5
    merged = (tmp_path / "out" / "merged.txt").read_text()
    assert "~" in merged.split("? ? ? ? ")[1].split()[0]
    out = io.BytesIO()
    strip(tmp_path / "out", out)
    assert out.getvalue() == path.read_bytes()


def test_what_writers_are_sent_is_the_same_and_small(recording: Path, tmp_path: Path) -> None:
    mended = in_pieces(recording, tmp_path / "out", Size(400, 50))
    assert isinstance(mended, Spooled)
    sent = pickle.dumps(mended)
    received = pickle.loads(sent)
    assert (received.trace.gaps, received.fills) == (mended.trace.gaps, mended.fills)
    assert received.outline.places == mended.outline.places
    assert [p.path for p in (received.trace, mended.trace)] == [recording] * 2
    many = replace(mended, trace=replace(mended.trace, gaps=mended.trace.gaps * 50), fills=mended.fills * 50)
    assert len(pickle.dumps(many)) - len(sent) < 150 * 49 * len(mended.fills)


def test_a_ctf_trace_in_pieces(lttng_recordings: dict[str, Path], tmp_path: Path) -> None:
    for name in ("discard", "overwrite"):
        path = lttng_recordings[name]
        trace = read(path)
        size = Size(max(50, len(trace) // 7), 40)
        parts = list(pieces(path, cuts=size))
        assert len(parts) > 5
        assert whole(parts).equals(plain(trace.table))
        assert tuple(sorted((g for p in parts for g in p.gaps), key=lambda g: g.number)) == trace.gaps
        assert scan_pieces(iter(parts)).as_dict() == scan(trace).as_dict()
        with work_folder(tmp_path / ".work", {}) as folder:
            mended = mend_pieces(iter(parts), how("lookup", Options(unknown="estimate"), alone=True), folder)
            write(mended, tmp_path / name, ["overlay", "report", "merged"])
        again = read(tmp_path / name / "merged")
        assert again.table.equals(trace.table)
        assert mended.events == sum(f.events for f in mended.fills) > 0
        assert again.warnings[-1].startswith(f"{mended.events} inferred events")
        strip(tmp_path / name, tmp_path / f"{name}-back")
        assert sha256(tmp_path / f"{name}-back") == trace.provenance["sha256"]


@pytest.mark.long
def test_suspected_gaps_are_numbered_behind_the_marked_ones(tmp_path: Path) -> None:
    path = tmp_path / "drop.txt"
    text = lzma.decompress((DATA / "ftrace_drop.txt.xz").read_bytes()).decode()
    lines = text.splitlines(keepends=True)
    path.write_text("".join([*lines[:4000], "CPU:0 [LOST 3 EVENTS]\n", *lines[4000:8000]]))
    mended = in_pieces(path, tmp_path / "out", Size(1000, 200), suspect=True, options=Options(unknown="estimate"))
    known = [g.known for g in mended.trace.gaps]
    assert known == sorted(known)  # counted, then suspected
    assert set(known) == {"counted", "suspected"}
    assert [g.number for g in mended.trace.gaps] == [f.gap for f in mended.fills] == list(range(len(known)))
    inferred = read_overlay(tmp_path / "out")[1]
    assert set(inferred["gap"].to_pylist()) == {f.gap for f in mended.fills if f.events}
    out = io.BytesIO()
    strip(tmp_path / "out", out)
    assert out.getvalue() == path.read_bytes()


def test_no_gap_in_any_piece(tmp_path: Path) -> None:
    trace = readable()["ftrace_complete.txt.xz"]
    assert trace.path is not None
    with work_folder(tmp_path / ".work", {}) as folder:
        mended = mend_pieces(pieces(trace.path, cuts=Size(500, 50)), how("lookup", alone=True), folder)
        write(mended, tmp_path / "out", ["overlay", "report", "perfetto"])
    assert mended.events == 0
    assert mended.verdict == scan(trace).verdict
    assert read_overlay(tmp_path / "out")[1].num_rows == 0


def test_inferred_events_come_in_order_of_time(recording: Path, tmp_path: Path) -> None:
    with work_folder(tmp_path / ".work", {}) as folder:
        mended = mend_pieces(pieces(recording, cuts=SMALL), how("lookup", alone=True), folder)
        in_time = pa.concat_tables(mended.in_time())
        by_gap = pa.concat_tables(mended.tables())
    whole = Mended(read(recording), plain_inferred(by_gap), mended.fills, mended.provenance)
    (expected,) = whole.in_time()
    assert in_time.to_pylist() == expected.to_pylist()


def plain_inferred(table: pa.Table) -> pa.Table:
    return table.unify_dictionaries().combine_chunks()


def test_a_late_piece_is_filled_by_the_lookup(recording: Path, tmp_path: Path) -> None:
    way = replace(how("mosaic", alone=True), budget=0.0)
    with work_folder(tmp_path / ".work", {}) as folder:
        mended = mend_pieces(pieces(recording, cuts=SMALL), way, folder)
    assert {f.by for f in mended.fills if f.status == "filled"} == {"lookup"}
    assert mended.provenance["options"]["budget"]["gaps_after"] == len(mended.fills)
    assert next(mended.gap_rows())["by"] == "lookup"


def test_progress_moves_within_a_piece(recording: Path, tmp_path: Path) -> None:
    way = how("lookup", alone=True)
    told: list[Done] = []
    with work_folder(tmp_path / ".work", {}) as folder:
        mended = mend_pieces(pieces(recording, cuts=SMALL), way, folder, told.append)
    shown = [(d.taken, d.events) for d in told]
    assert shown == sorted(shown)
    assert len(set(shown)) > len({d.gaps for d in told})
    assert told[-1].found[:2] == (sum(g.count or 0 for g in mended.trace.gaps), len(mended.fills))


@pytest.mark.long
def test_other_processes_tell_how_far_they_are() -> None:
    with at_work(Local(2)) as crew:
        tasks = [crew.submit(_told, done) for done in (3, 4)]
        assert [task.result() for task in tasks] == [3, 4]
        assert [crew.far(task) for task in tasks] == [(3, 5), (4, 5)]
        assert not crew.compiling


def _told(_: object, done: int) -> int:
    tell(done, 5)
    return done


def test_a_stopped_mend_is_taken_up(recording: Path, tmp_path: Path) -> None:
    way = how("lookup", alone=True)
    stopped: list[int] = []

    def stop(done: Done) -> None:
        if done.gaps and done.gaps not in stopped:
            stopped.append(done.gaps)
        if len(stopped) == 2:
            raise KeyboardInterrupt

    work = tmp_path / ".work"
    with pytest.raises(KeyboardInterrupt), work_folder(work, {"a": 1}) as folder:
        mend_pieces(pieces(recording, cuts=SMALL), way, folder, stop)
    kept = {p.name: p.stat().st_mtime_ns for p in work.glob("*.part")}
    assert len(kept) == 2
    with work_folder(work, {"a": 1}, resume=True) as folder:
        mended = mend_pieces(pieces(recording, cuts=SMALL), way, folder)
        assert {p.name: p.stat().st_mtime_ns for p in work.glob("*.part")}.items() > kept.items()
        write(mended, tmp_path / "resumed")
    assert not work.exists()
    in_pieces(recording, tmp_path / "whole")
    for name in ("overlay.jsonl", "overlay.parquet"):
        assert (tmp_path / "resumed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("hurt", mostly_long(["0.part", "0.inferred", "1.inferred"]))
@pytest.mark.parametrize("damage", [b"", b"[]", b'{"tables": ""}', b"\xff"], ids=["empty", "list", "lacking", "noise"])
def test_damaged_work_is_done_anew(recording: Path, tmp_path: Path, hurt: str, damage: bytes) -> None:
    """As a part may be whose tables didn't reach the disk when the power went."""
    way, work = how("lookup", alone=True), tmp_path / ".work"
    with suppress(KeyboardInterrupt), work_folder(work, {}) as folder:
        whole = mend_pieces(pieces(recording, cuts=SMALL), way, folder)
        events = [t.to_pylist() for t in whole.tables()]
        raise KeyboardInterrupt
    (work / hurt).write_bytes(damage)
    with work_folder(work, {}, resume=True) as folder:
        again = mend_pieces(pieces(recording, cuts=SMALL), way, folder)
        assert [t.to_pylist() for t in again.tables()] == events


@pytest.mark.parametrize("process", [1 << 70, 4_000_000, os.getppid()])
def test_work_of_a_process_that_is_gone_is_taken_up(tmp_path: Path, process: int) -> None:
    """Even if another process has its number by now: who is at work holds a lock."""
    work = tmp_path / ".work"
    work.mkdir()
    (work / "work.json").write_text(f'{{"tracemend_work": {{}}, "process": {process}}}')
    (work / "0.part").write_text("")
    with work_folder(work, {}, resume=True) as folder:
        assert (folder() / "0.part").exists()
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("resumed", [False, True])
def test_work_that_somebody_is_at_stays(tmp_path: Path, resumed: bool) -> None:
    """Also where it was taken up by one that has another number than the first."""
    work = tmp_path / ".work"
    program = f"""
import sys
from pathlib import Path
from tracemend.whole import work_folder
with work_folder(Path({str(work)!r}), {{}}, resume=True) as folder:
    folder()
    print("there", flush=True)
    sys.stdin.read()
"""
    if resumed:
        with suppress(KeyboardInterrupt), work_folder(work, {}) as folder:
            folder()
            raise KeyboardInterrupt
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"there\n"
        for resume in (False, True):
            with (
                pytest.raises(FileExistsError, match=f"process {process.pid} is at work there"),
                work_folder(work, {}, resume) as folder,
            ):
                folder()
        assert work.exists()
        process.communicate()
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("reason", [OSError(errno.ENOSPC, "No space left on device"), TraceError("trace", 1, "broken")])
def test_what_a_full_disk_stopped_stays(tmp_path: Path, reason: Exception) -> None:
    """What the next run would meet again doesn't."""
    work = tmp_path / ".work"
    with suppress(OSError, TraceError), work_folder(work, {}) as folder:
        (folder() / "0.part").write_text("")
        raise reason
    assert (work / "0.part").exists() == isinstance(reason, OSError)


def test_somebody_else_s_work_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """He could have put anything there."""
    work = tmp_path / ".work"
    work.mkdir()
    (work / "work.json").write_text('{"tracemend_work": {}, "process": 4000000}')
    monkeypatch.setattr(os, "getuid", lambda: work.stat().st_uid + 1)
    with pytest.raises(FileExistsError), work_folder(work, {}, resume=True) as folder:
        folder()
    assert work.exists()


def test_familiarity_that_the_first_piece_doesn_t_tell(tmp_path: Path) -> None:
    """Made up: of its two cpus none has enough events to be compared with the examples'."""
    line = "             a-{c}      [00{c}] .....  {s}.000001: sys_enter: NR 0 (3)\n"
    lines = [line.format(c=n % 2 if n < 8 else 0, s=n) for n in range(24)]
    for at in (17, 2):
        lines.insert(at, "CPU:0 [LOST 2 EVENTS]\n")
    path = tmp_path / "trace.txt"
    path.write_text("".join(lines))
    example = readable()["strace_z.txt.xz"]
    mended = in_pieces(path, tmp_path / "out", Size(8, 0), examples=(example,))
    assert mended.provenance["familiar"]["share"] >= 0


def test_a_budget_is_a_number_of_seconds() -> None:
    for seconds in (-1.0, float("nan"), float("inf")):
        with pytest.raises(OptionError, match="seconds of budget must be a number from 0"):
            replace(how("lookup"), budget=seconds)
    with pytest.raises(OptionError, match="a number from 0 to 1"):
        Options(refuse=float("nan"))


@pytest.mark.long
def test_processes_end_with_the_one_that_sends_the_pieces(recording: Path, tmp_path: Path) -> None:
    """Even if that is killed: they would wait for pieces for ever."""
    program = f"""
import sys
from pathlib import Path
from dataclasses import replace
from tracemend.api import how
from tracemend.engines import Local
from tracemend.formats import pieces
from tracemend.mending.pieces import mend_pieces
from tracemend.trace.pieces import Size

def tell(done):
    print("done", flush=True)
    sys.stdin.read()

if __name__ == "__main__":
    way = replace(how("lookup", alone=True), engine=Local(2))
    mend_pieces(pieces({str(recording)!r}, cuts=Size(50, 20)), way, lambda: Path({str(tmp_path)!r}), tell)
"""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"done\n"
        process.kill()
        assert process.communicate(timeout=20)[0] == b""  # to its end: nobody has it open any more


def test_the_work_of_another_mend_is_not_taken_up(tmp_path: Path) -> None:
    work = tmp_path / ".work"
    with suppress(KeyboardInterrupt), work_folder(work, {"a": 1}) as folder:
        (folder() / "0.part").write_text("{}")
        raise KeyboardInterrupt
    assert work.exists()
    with work_folder(work, {"a": 2}, resume=True) as folder:
        assert not (folder() / "0.part").exists()
    assert not work.exists()


@pytest.mark.long
def test_a_work_folder_that_cannot_be_made_is_named(recording: Path, tmp_path: Path) -> None:
    program = """
import sys
from tracemend.trace import pieces
pieces.USUAL = pieces.Size(50, 20)
if __name__ == "__main__":
    from tracemend.__main__ import main
    main()
"""
    asked = ["mend", recording, "-o", tmp_path / "out", "--model", "lookup", "--alone", "--workdir", tmp_path / "no"]
    command = [sys.executable, "-c", program, *map(str, asked)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    work = tmp_path / "no" / ".out.tracemend-work"
    assert (done.returncode, done.stderr) == (1, f"tracemend: {work}: No such file or directory\n")


def test_a_folder_that_is_no_work_stays(tmp_path: Path) -> None:
    work = tmp_path / ".work"
    work.mkdir()
    (work / "mine").write_text("mine")
    with pytest.raises(FileExistsError), work_folder(work, {}) as folder:
        folder()
    assert (work / "mine").exists()


@pytest.mark.long
def test_a_process_that_is_killed_ends_the_mend(recording: Path, tmp_path: Path) -> None:
    way = replace(how("lookup", alone=True), engine=Local(2), shipped=_die)
    with pytest.raises(WorkerError, match="was killed"), work_folder(tmp_path / ".work", {}) as folder:
        mend_pieces(pieces(recording, cuts=SMALL), way, folder)
    assert not (tmp_path / ".work").exists()


def _die() -> list[Example]:
    os.kill(os.getpid(), signal.SIGKILL)
    return []


@pytest.mark.long
def test_that_another_process_compiles_is_told(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))  # for the processes: this one has begun
    told: list[str] = []
    before_compiling(lambda: told.append("compiling"))
    with work_folder(tmp_path / ".work", {}) as folder:
        mend_pieces(pieces(recording, cuts=SMALL), replace(how("lookup", alone=True), engine=Local(2)), folder)
    assert told == ["compiling"]
