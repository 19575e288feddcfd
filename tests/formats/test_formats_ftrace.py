"""ftrace's text in all formats of its lines, and what it says of losses without a place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tracemend.errors import TraceError
from tracemend.formats import read
from tracemend.formats.text import open_binary
from tracemend.trace.events import Trace

DATA = Path(__file__).parents[1] / "data"
#: Recorded in formats of other options, by what their clock is.
FORMS = {
    "ftrace_latency.txt.xz": "ns",
    "ftrace_verbose.txt.xz": "ns",
    "ftrace_counter.txt.xz": "index",
    "ftrace_stack.txt": "ns",
    "ftrace_overrun.txt.xz": "ns",
    "ftrace_dropped.txt.xz": "ns",
}
TICKS = "the clock counts ticks: times are as it counted, and no seconds"


def text_of(name: str) -> str:
    with open_binary(DATA / name) as f:
        return f.read().decode()


def made_up(tmp_path: Path, text: str, **options: bool) -> Trace:
    path = tmp_path / "trace"
    path.write_text(text)
    return read(path, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", FORMS)
def test_every_event_of_a_real_file(name: str) -> None:
    """As many as the header says are in the buffer, and nothing is passed over."""
    trace = read(DATA / name, strict=True)
    header = re.search(r"entries-in-buffer/entries-written: (\d+)/(\d+)|latency: \d+ us, #(\d+)/(\d+)", text_of(name))
    assert header is not None
    left, written = (int(n) for n in header.groups() if n)
    assert (len(trace), trace.overwritten) == (left, written - left)
    assert (trace.clock, TICKS in trace.warnings) == (FORMS[name], FORMS[name] == "index")
    assert set(trace.streams) <= {0, 1}
    assert (trace.tid >= 0).all()
    assert {"sys_enter", "sys_exit"}.isdisjoint(trace.names[1])  # the calls have their names


def test_the_latency_format_has_microseconds() -> None:
    (first, second), *_ = re.findall(r" (\d+)us.:.*\n.* (\d+)us.:", text_of("ftrace_latency.txt.xz"))
    assert read(DATA / "ftrace_latency.txt.xz").time_ns[:2].tolist() == [int(first) * 1000, int(second) * 1000]
    first = re.findall(r"\] (\d+\.\d+)ms", text_of("ftrace_verbose.txt.xz"))[0]
    assert read(DATA / "ftrace_verbose.txt.xz").time_ns[0] == int(first.replace(".", "")) * 1000


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("    bash-1977    0d..1 5us : sched_waking: x", (5_000, 0, 1977, "bash", "sched_waking")),
        ("    bash-1977    1dN.2 12us!: func <-caller", (12_000, 1, 1977, "bash", "func")),
        ("   <...>-1977    0d..1. 5us+: func <-caller", (5_000, 0, 1977, "<...>", "func")),
        ("   my-sh-1977   12.....    7: sched_waking: x", (7, 12, 1977, "my-sh", "sched_waking")),
        ("   a b-20612   0.....  3850.458371: sys_exit: NR 3 = 0", (3_850_458_371_000, 0, 20612, "a b", "close")),
        ("   a-1 [000] .....  31424797625582: sys_exit: NR 3 = 0", (31_424_797_625_582, 0, 1, "a", "close")),
        ("   a-1 [000] .....  9223372036854775807: x: y", ((1 << 63) - 1, 0, 1, "a", "x")),
        ("  a-1  (  77) [000] d..1.  1.000001: sys_exit: NR 3 = 0", (1_000_001_000, 0, 1, "a", "close")),
        ("  a-1  (-----) [000]  1.000001: sys_exit: NR 3 = 0", (1_000_001_000, 0, 1, "a", "close")),
        ("  [x] y-1 [000] 1.000001: <stack trace>", (1_000_001_000, 0, 1, "[x] y", "kernel_stack")),
        ("  a-1 [000] 1.000001: <user stack trace>", (1_000_001_000, 0, 1, "a", "user_stack")),
    ],
)
def test_lines(tmp_path: Path, line: str, expected: tuple[int, int, int, str, str]) -> None:
    trace = made_up(tmp_path, "# tracer: nop\n#\n" + line + "\n", strict=True)
    (event,) = trace.table.to_pylist()
    assert tuple(event[k] for k in ("time_ns", "cpu", "tid", "comm", "name")) == expected


def test_ticks_are_no_seconds(tmp_path: Path) -> None:
    """Read as seconds, a clock that has run for three hours would not fit 64 bits of nanoseconds."""
    text = "".join(f" a-{k % 3} [000] ..... {31424797625582 + k}: sys_exit: NR 3 = 0\n" for k in range(300))
    trace = made_up(tmp_path, text)
    assert trace.time_ns.tolist() == [31424797625582 + k for k in range(300)]
    assert (trace.clock, trace.warnings) == ("index", (TICKS,))
    with pytest.raises(TraceError):
        made_up(tmp_path, " a-1 [000] ..... 99999999999999999999: x: y\n", strict=True)


PREAMBLES = [
    "TRACE:\n# tracer: nop\n#\n",
    'Tracing syscall "read" for PID 123. Ctrl-C to end.\n',
    'Tracing "do_nanosleep" for 3 seconds...\n',
    "Tracing PIDs 1234... Ctrl-C to end.\n# tracer: function\n#\n",
    "version = 6\nCPU 1 is empty\ncpus=2\n",
    "trace-cmd: No such file or directory\n  opening x\ncpus=2\n",
    "capturing trace... done\nTRACE:\n",
]


@pytest.mark.parametrize("preamble", PREAMBLES)
def test_preambles(tmp_path: Path, preamble: str) -> None:
    trace = made_up(
        tmp_path, preamble.replace("  opening x\n", "") + " a-1 [000] 1.000001: x: y\n\nEnding tracing...\n"
    )
    assert (trace.format, len(trace), trace.passed_over) == ("ftrace", 1, None)


def test_what_a_marker_wrote_may_have_several_lines(tmp_path: Path) -> None:
    trace = made_up(tmp_path, " a-1 [000] 1.000001: tracing_mark_write: two\nlines\n a-1 [000] 1.000002: x: y\n")
    assert len(trace) == 2
    assert trace.passed_over is not None
    assert (trace.passed_over.number, trace.passed_over.line) == (1, 2)


def test_a_really_lossy_file_of_drop_mode_is_doubted() -> None:
    """Its header counts all that was written as being there: 413 events were dropped, as only the statistics say."""
    trace = read(DATA / "ftrace_dropped.txt.xz")
    assert (trace.gaps, trace.overwritten, trace.unplaced) == ((), 0, ())
    assert "drop mode" in trace.doubts[0].why
    assert trace.doubts[0].unless


def test_statistics_say_what_was_lost(tmp_path: Path) -> None:
    statistics = (DATA / "ftrace_dropped.stats").read_text()
    trace = made_up(tmp_path, text_of("ftrace_dropped.txt.xz") + statistics, strict=True)
    assert [(u.cpu, u.count, u.unit) for u in trace.unplaced] == [(1, 413, "events")]
    marked = " a-1 [000] 1.000001: x: y\nCPU:0 [LOST {} EVENTS]\n a-1 [000] 1.000002: x: y\nCPU: 0\noverrun: 5\n"
    assert made_up(tmp_path, marked.format(5)).unplaced == ()
    assert [u.count for u in made_up(tmp_path, marked.format(3)).unplaced] == [2]


def test_where_a_buffer_starts(tmp_path: Path) -> None:
    """The kernel says so only where buffers overran. With the header, that says how many were overwritten."""
    text = text_of("ftrace_overrun.txt.xz")
    assert "buffer started ####" in text
    trace = read(DATA / "ftrace_overrun.txt.xz")
    assert trace.overwritten > 0
    assert trace.unplaced == ()
    headless = made_up(tmp_path, re.sub(r"(?m)^# .*\n", "", text), strict=True)
    assert headless.overwritten == 0
    assert [(u.count, u.cpu) for u in headless.unplaced] == [(None, -1)]


def test_headers_of_several_files_add_up(tmp_path: Path) -> None:
    """As of ``cat per_cpu/cpu*/trace``."""
    one = "# entries-in-buffer/entries-written: 1/{}   #P:2\n a-1 [00{}] 1.000001: x: y\n"
    assert made_up(tmp_path, one.format(3, 0) + one.format(1, 1)).overwritten == 2


#: As the kernel's documentation of function_graph shows it: the kernel that tests run on has no such tracer.
GRAPH = """\
# tracer: function_graph
#
# CPU  DURATION                  FUNCTION CALLS
# |     |   |                     |   |   |   |
 0)               |  sys_open() {
 0)               |    do_sys_open() {
 0)               |      /* sched_wakeup: comm=a pid=7 */
 0)   1.382 us    |      kmem_cache_alloc [slab]();
 1)   ==========> |
 1)               |  smp_irq() {
 1) + 12.300 us   |  }
 1)   <========== |
 ------------------------------------------
 0)   sh-12   =>  kworker/0:1-13
 ------------------------------------------

 0)   0.081 us    |  pick_task();
 ------------------------------------------
 0)  kworker/0:1-13  =>   sh-12
 ------------------------------------------

 0) ! 103.447 us  |    }
 0) $ 2147483.6 us |  } /* sys_open */
"""


def events(trace: Trace) -> list[tuple[object, ...]]:
    return list(zip(*(trace.table[c].to_pylist() for c in ("cpu", "tid", "name", "phase")), strict=True))


def test_function_graph(tmp_path: Path) -> None:
    trace = made_up(tmp_path, GRAPH, strict=True)
    assert trace.clock == "index"
    assert events(trace) == [
        (0, -1, "sys_open", "enter"),
        (0, -1, "do_sys_open", "enter"),
        (0, -1, "sched_wakeup", "instant"),
        (0, -1, "kmem_cache_alloc [slab]", "enter"),
        (0, -1, "kmem_cache_alloc [slab]", "exit"),
        (1, -1, "smp_irq", "enter"),
        (1, -1, "smp_irq", "exit"),
        (0, 13, "pick_task", "enter"),
        (0, 13, "pick_task", "exit"),
        (0, 12, "do_sys_open", "exit"),
        (0, 12, "sys_open", "exit"),
    ]
    assert trace.table["args"].to_pylist()[2] == "comm=a pid=7"
    assert set(trace.comms[1]) == {"sh", "kworker/0:1"}
    assert trace.nested


@pytest.mark.parametrize(
    "front",
    [
        " 0)  ",
        "",
        " 0)   sh-12    |  ",
        " 14.000001 |   0)   sh-12   |  ",
        " 14.000001 |   1)  d..1 |  ",
        "  123 us |   0)  ",
    ],
)
def test_columns_of_function_graph(tmp_path: Path, front: str) -> None:
    lines = ["             |  a() {", " 0.081 us    |    b(x=1);", " 0.500 us    |  } /* = 0x5 */"]
    header = "# tracer: function_graph\n"
    trace = made_up(tmp_path, header + "".join(f"{front}{line}\n" for line in lines), strict=True)
    assert trace.table["name"].to_pylist() == ["a", "b", "b", "a"]
    assert trace.table["phase"].to_pylist() == ["enter", "enter", "exit", "exit"]
    assert trace.table["ret"].to_pylist()[3] == "0x5"
    assert set(trace.tid.tolist()) == ({12} if "sh-12" in front else {-1})
    assert set(trace.cpu.tolist()) == ({-1} if not front else {1} if "1)" in front else {0})
    if "14.000001" in front:
        assert (trace.clock, set(trace.time_ns.tolist())) == ("ns", {14_000_001_000})


def test_returns_behind_a_loss_are_of_nothing_known(tmp_path: Path) -> None:
    text = (
        " 0)               |  a() {\nCPU:0 [LOST 12 EVENTS]\n 0)   0.500 us    |  }\n 0)   0.500 us    |  } /* c */\n"
    )
    trace = made_up(tmp_path, text, strict=True)
    assert [e[2:] for e in events(trace)] == [("a", "enter"), ("unknown", "exit"), ("c", "exit")]
    assert [(g.before, g.after, g.count) for g in trace.gaps] == [(0, 1, 12)]


def test_a_call_that_never_returned_takes_no_return_of_another(tmp_path: Path) -> None:
    """Its call stands deeper than the return."""
    trace = made_up(tmp_path, " 0)  |  a() {\n 0)  |    b() {\n 0)  0.5 us  |  }\n")
    assert [e[2:] for e in events(trace)] == [("a", "enter"), ("b", "enter"), ("a", "exit")]


@pytest.mark.parametrize(
    "header", ["# tracer: nop\n#\n# entries-in-buffer/entries-written: 0/0   #P:2\n#\n", GRAPH[: GRAPH.index(" 0)")]]
)
def test_a_trace_may_have_no_event(tmp_path: Path, header: str) -> None:
    trace = made_up(tmp_path, header, strict=True)
    assert (len(trace), trace.gaps, trace.overwritten) == (0, (), 0)


def test_a_trace_file_without_its_header_is_complete_on_a_condition(tmp_path: Path) -> None:
    """It lost events with overwrite on, and nothing that is left of it says so."""
    with open_binary(DATA / "ftrace_overrun.txt.xz") as f:
        lines = f.readlines()
    path = tmp_path / "trace.txt"
    path.write_bytes(b"".join(line for line in lines if not line.startswith(b"#")))
    trace = read(path)
    assert not trace.overwritten
    assert "unless it is a part of a trace file" in [d.unless for d in trace.doubts]
    report = read(DATA / "trace_cmd_report.txt")
    assert [d.unless for d in report.doubts] == ["unless it was recorded with overwrite off"]
