"""A trace in pieces is the trace: the same events, gaps and findings, however small the pieces are."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from dataclasses import fields, replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from conftest import ROOT, make_trace
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tracemend.errors import TraceError
from tracemend.formats import pieces, read
from tracemend.formats.ahead import ahead
from tracemend.formats.base import Builder, Options, Sink
from tracemend.losses.advice import Backlogs, advise
from tracemend.losses.scanning import scan, scan_pieces
from tracemend.trace.events import Mark, Trace
from tracemend.trace.pieces import Piece, Size, cut

DATA = ROOT / "tests" / "data"
SIZES = [Size(50, 20), Size(300, 1000), Size(7, 0)]


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
        parts = list(pieces(path, size=size))
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
        for piece in pieces(path, size=size):
            shown = {g.number: g for g in piece.trace.gaps}
            end = piece.first + len(piece.trace)
            for gap in trace.gaps:
                if gap.after is not None and piece.first <= gap.after < end:
                    own = shown[gap.number]
                    assert own.after == gap.after - piece.first, name
                    assert (own.begin_ns, own.end_ns, own.count) == (gap.begin_ns, gap.end_ns, gap.count)
                    near = gap.before is not None and gap.before >= piece.first
                    assert own.before == (gap.before - piece.first if near and gap.before is not None else None)


def test_a_trace_cut_when_it_is_held_is_the_same() -> None:
    for name, trace in readable().items():
        assert trace.path is not None
        for ours, other in zip(pieces(trace.path, size=SIZES[0]), cut(trace, SIZES[0]), strict=True):
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


@settings(max_examples=150, deadline=None)
@given(batches(), st.integers(1, 8), st.integers(0, 6))
def test_marks_are_placed_as_in_the_whole(
    made: list[tuple[list[tuple[int, int]], list[tuple[int, int | None]]]], events: int, margin: int
) -> None:
    parts: list[Piece] = []
    sink = Sink(Size(events, margin), parts.append)
    traces = []
    for options in (Options(), Options(sink=sink)):
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


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("asked", [False, True])
def test_a_scan_finds_the_same_in_pieces(size: Size, asked: bool) -> None:
    for name, trace, path in cases(size):
        if name == "ftrace_drop.txt.xz":
            continue  # what the ends of sub-buffers tell takes a long stretch of them: below
        in_one = scan(trace, suspected=asked).as_dict()
        assert scan_pieces(pieces(path, size=size), suspected=asked).as_dict() == in_one, name


@pytest.mark.parametrize("size", SIZES)
def test_the_verdict_on_drop_mode_does_not_hang_on_pieces(size: Size) -> None:
    trace = readable()["ftrace_drop.txt.xz"]
    assert trace.path is not None
    in_one, in_many = scan(trace), scan_pieces(pieces(trace.path, size=size))
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
        for piece in pieces(path, size=size):
            backlogs.add(piece)
        assert backlogs.finish() == advise(trace), name


# the thread that reads ahead


def test_reading_stops_where_nobody_wants_more() -> None:
    path = readable()["lossy.txt"].path
    assert path is not None
    before = threading.active_count()
    some = pieces(path, size=Size(100, 10))
    assert isinstance(some, Generator)
    next(some)
    some.close()
    assert threading.active_count() == before


def test_what_goes_wrong_is_raised_behind_what_was_given() -> None:
    def work(give: object) -> None:
        assert callable(give)
        give(1)
        raise TraceError(Path("a"), 2, "broken")

    results: Iterator[int] = ahead(work)
    assert next(results) == 1
    with pytest.raises(TraceError, match="broken"):
        next(results)


def test_a_damaged_trace_raises_in_pieces_as_a_whole(tmp_path: Path) -> None:
    """Made up: time goes back behind the first pieces."""
    path = tmp_path / "trace.txt"
    lines = [f"  a-7 [000] ..... {t}.000000: sys_enter: NR 0 (0)\n" for t in (*range(10, 300), 5)]
    path.write_text("".join(lines))
    with pytest.raises(TraceError) as one:
        read(path)
    with pytest.raises(TraceError) as many:
        list(pieces(path, size=Size(20, 5)))
    assert str(one.value) == str(many.value)


PEAK = """
import resource, sys
from tracemend.formats import pieces
from tracemend.losses.scanning import scan_pieces
from tracemend.trace.pieces import Size
found = scan_pieces(pieces(sys.argv[1], size=Size(1 << 15, 1 << 12)))
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
