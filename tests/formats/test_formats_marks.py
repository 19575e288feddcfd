"""Marks of losses: how many events they count and between which events they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import ROOT

from tracemend.errors import TraceError
from tracemend.formats import parquet, perf, read
from tracemend.formats.text import open_binary
from tracemend.trace.events import Trace

DATA = Path(__file__).parents[1] / "data"

#: File, sum of the tracer's counts per cpu.
LOST = {
    "ftrace_pipe.txt": {0: 85, 1: 7225},  # what per_cpu/cpuN/stats said
    "ftrace_syscalls.txt.xz": {0: 332, 1: 323},
    "trace_cmd_report.txt": {0: 252},
}


def per_cpu(trace: Trace) -> dict[int, int]:
    lost: dict[int, int] = {}
    for gap in trace.gaps:
        lost[gap.cpu] = lost.get(gap.cpu, 0) + (gap.count or 0)
    return lost


@pytest.mark.parametrize("name", LOST)
def test_counts(name: str) -> None:
    trace = read(DATA / name)
    assert per_cpu(trace) == LOST[name]
    assert trace.lost == sum(LOST[name].values())
    assert {g.known for g in trace.gaps} == {"counted"}


@pytest.mark.parametrize("name", [*LOST, "perf_lost.txt.xz"])
def test_gaps_stand_between_the_events_around_their_mark(name: str) -> None:
    """Line by line: a gap follows the last event of its cpu above the mark and precedes the first below it."""
    trace = read(DATA / name)
    with open_binary(DATA / name) as f:
        lines = f.read().decode().splitlines()
    cpu_of_line = dict(zip(trace.line.tolist(), trace.cpu.tolist(), strict=True))
    row_of_line = {line: row for row, line in enumerate(trace.line.tolist())}
    marks = [i for i, text in enumerate(lines, 1) if re.search(r"LOST|DROPPED", text)]
    assert [g.line for g in trace.gaps] == marks
    assert [g.number for g in trace.gaps] == list(range(len(marks)))
    for gap in trace.gaps:
        above = [line for line in cpu_of_line if line < gap.line and cpu_of_line[line] == gap.cpu]
        below = [line for line in cpu_of_line if line > gap.line and cpu_of_line[line] == gap.cpu]
        assert gap.before == (row_of_line[max(above)] if above else None)
        assert gap.after == (row_of_line[min(below)] if below else None)
        assert gap.begin_ns == int(trace.time_ns[gap.before if gap.before is not None else 0])
        count = re.search(r"lost (\d+)$|LOST (\d+) EVENTS|(\d+) EVENTS DROPPED", lines[gap.line - 1])
        assert count is not None
        assert gap.count == int(count[count.lastindex or 0])


def test_perf_loses_at_the_time_of_the_first_survivor() -> None:
    trace = read(DATA / "perf_lost.txt.xz")
    assert len(trace.gaps) == 3
    for gap in trace.gaps:
        assert gap.after is not None
        assert gap.end_ns == int(trace.time_ns[gap.after])


def test_the_header_tells_what_was_overwritten() -> None:
    trace = read(DATA / "ftrace_trace.txt")
    assert (len(trace), trace.overwritten) == (111, 532 - 111)


EVENTS = """\
 a-1 [000] 1.000000: sys_exit: NR 0 = 1
{0} a-1 [000] 2.000000: sys_exit: NR 0 = 2
 b-2 [001] 2.500000: sys_exit: NR 0 = 3
{1} a-1 [000] 3.000000: sys_exit: NR 0 = 4
{2}"""


@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        (("CPU:0 [LOST EVENTS]\n", "", ""), [(0, 0, 1, None)]),  # made up: no page here ended that close
        (("CPU:0 [EVENTS DROPPED]\n", "", ""), [(0, 0, 1, None)]),  # made up
        (("CPU:0 [LOST 5 EVENTS]\n", "CPU:0 [7 EVENTS DROPPED]\n", ""), [(0, 0, 1, 5), (0, 1, 3, 7)]),
        (("CPU:1 [LOST 5 EVENTS]\n", "", ""), [(1, None, 2, 5)]),
        (("", "", "CPU:1 [LOST 5 EVENTS]\nCPU:0 [LOST 6 EVENTS]\n"), [(1, 2, None, 5), (0, 3, None, 6)]),
        (("CPU:7 [LOST 5 EVENTS]\n", "", ""), [(7, None, None, 5)]),
        (("CPU:0 [LOST 5 EVENTS]\nCPU:0 [LOST 6 EVENTS]\n", "", ""), [(0, 0, 1, 11)]),
        (("CPU:0 [LOST 5 EVENTS]\nCPU:0 [LOST EVENTS]\n", "", ""), [(0, 0, 1, None)]),
    ],
)
def test_made_up_marks(tmp_path: Path, marks: tuple[str, str, str], expected: list[tuple[int | None, ...]]) -> None:
    (tmp_path / "trace").write_text(EVENTS.format(*marks))
    trace = read(tmp_path / "trace")
    assert [(g.cpu, g.before, g.after, g.count) for g in trace.gaps] == expected
    assert [g.known for g in trace.gaps] == ["uncounted" if g.count is None else "counted" for g in trace.gaps]


PERF = """\
 a 1 [000] 1.0: raw_syscalls:sys_exit: NR 0 = 1
 a 1 [000] 2.0: PERF_RECORD_LOST lost 5
 a 1 [000] 2.0: raw_syscalls:sys_exit: NR 0 = 2
{0}"""


@pytest.mark.parametrize(
    ("samples", "beyond"),
    [(5, None), (9, "4 events more were lost at the end of the recording, which no mark places")],
)
def test_lost_samples_count_what_the_marks_count_again(tmp_path: Path, samples: int, beyond: str | None) -> None:
    """Made up: perf 6.1 doesn't print this record."""
    (tmp_path / "trace").write_text(PERF.format(f" a 1 [000] 3.0: PERF_RECORD_LOST_SAMPLES lost {samples}\n"))
    trace = read(tmp_path / "trace")
    assert [(g.before, g.after, g.count) for g in trace.gaps] == [(0, 1, 5)]
    assert [u.said for u in trace.unplaced] == ([beyond] if beyond else [])


@pytest.mark.parametrize(
    ("words", "said", "count", "unit"),
    [
        (
            "Processed 57620 events and lost 7 chunks!\n\nCheck IO/CPU overload!",
            "perf says it lost 7 chunks; record the text with --show-lost-events to see where",
            7,
            "chunks",
        ),
        ("Processed 120399 samples and lost 54.56%!", "perf says it lost 54.56 % of 120,399 samples", None, "samples"),
        ("LOST 12 events, Check IO/CPU overload!", "perf says it lost 12 events", 12, "events"),
        ("# Total Lost Samples: 5", "perf says it lost 5 samples", 5, "samples"),
        ("5 lost samples", "perf says it lost 5 samples", 5, "samples"),
        ("AUX data lost 3 times out of 9!", "perf says AUX data were lost 3 times", 3, "AUX"),
        ("AUX data had gaps in it 1 times out of 9!", "perf says AUX data had gaps 1 times", 1, "AUX"),
        ("4 events with unknown id!", "perf passed over 4 events that it couldn't tell", 4, "events"),
        ("8 unprocessable samples recorded.", "perf passed over 8 samples of a guest", 8, "samples"),
    ],
)
def test_perfs_own_words_on_losses(tmp_path: Path, words: str, said: str, count: int | None, unit: str) -> None:
    one, _, two = PERF.format("").splitlines(keepends=True)
    for text in (f"Warning:\n{words}\n\n{one}{two}", f"{one}{two}Warning:\n{words}\n"):
        (tmp_path / "trace").write_text(text)
        trace = read(tmp_path / "trace")
        assert [(u.said, u.count, u.unit) for u in trace.unplaced] == [(said, count, unit)]
        assert not trace.passed_over
        assert len(trace) == 2


def test_perfs_words_that_are_no_loss(tmp_path: Path) -> None:
    words = "[ perf record: Woken up 2 times to write data ]\n[ perf record: Captured and wrote 5.680 MB perf.data ]\n"
    one, _, two = PERF.format("").splitlines(keepends=True)
    (tmp_path / "trace").write_text(
        f"{words}{one}Warning:\n3 out of order events recorded.\n# Total Lost Samples: 0\n{two}"
    )
    trace = read(tmp_path / "trace")
    assert not trace.unplaced
    assert trace.warnings == ("perf says: 3 out of order events recorded",)
    # marks say where the chunks are that perf counts
    (tmp_path / "trace").write_text(PERF.format("Warning:\nProcessed 3 events and lost 1 chunks!\n"))
    assert not read(tmp_path / "trace").unplaced


def test_perfs_chunks_of_the_shared_case() -> None:
    path = ROOT.parent / "shared" / "cases" / "reading" / "perf_lost_chunks.txt"
    if not path.exists():
        pytest.skip(f"{path} isn't there")
    (unplaced,) = read(path).unplaced
    assert (unplaced.count, unplaced.unit) == (144, "chunks")


@pytest.mark.parametrize(
    "line", ["dd 7 [000]  raw_syscalls:sys_exit: NR 0 = 1", "dd 7/7     250000 cpu-clock:    7f12 f (x)"]
)
def test_perf_script_without_times_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "trace").write_text(f"# comment\n  {line}\n" * 5)
    assert perf.without_times((tmp_path / "trace").read_bytes())
    for named in (None, "perf"):
        with pytest.raises(TraceError, match=r"perf script without times: record with -T \(--timestamp\)"):
            read(tmp_path / "trace", named)
    (tmp_path / "trace").write_text(PERF.format(""))
    assert not perf.without_times((tmp_path / "trace").read_bytes())


def test_other_records_of_perf_are_no_events(tmp_path: Path) -> None:
    (tmp_path / "trace").write_text(PERF.format(" a 1 [000] 3.0: PERF_RECORD_COMM exec: a:1/1\n# comment\nWarning:\n"))
    assert len(read(tmp_path / "trace")) == 2


def test_perf_without_a_cpu(tmp_path: Path) -> None:
    (tmp_path / "trace").write_text(PERF.format("").replace("[000] ", ""))
    trace = read(tmp_path / "trace")
    assert [(g.cpu, g.before, g.after, g.count) for g in trace.gaps] == [(-1, 0, 1, 5)]
    assert trace.cpu.tolist() == [-1, -1]


@pytest.mark.parametrize("name", ["opensnoop_lost.txt", "perf_trace_lost.txt"])
def test_a_recording_of_a_trace_whose_losses_name_no_cpu(tmp_path: Path, name: str) -> None:
    trace = read(DATA / name)
    parquet.write(trace, tmp_path / "copy.parquet")
    again = read(tmp_path / "copy.parquet")
    assert [(g.cpu, g.before, g.count) for g in again.gaps] == [(g.cpu, g.before, g.count) for g in trace.gaps]
    assert again.doubts == trace.doubts
