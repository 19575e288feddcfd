"""The columns that ftrace, trace-cmd and perf share: read alike, they come out as read line by line."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracemend.errors import TraceError
from tracemend.formats import ftrace, kernel, perf, read
from tracemend.formats.base import Builder, Options
from tracemend.formats.text import Lines, as_strings, open_binary, spans
from tracemend.trace.syscalls import call_name

DATA = Path(__file__).parents[1] / "data"
LAYOUTS = {"ftrace": ftrace.LAYOUT, "perf": perf.LAYOUT}
FTRACE = ("ftrace_pipe.txt", "ftrace_trace.txt", "ftrace_syscalls.txt.xz", "trace_cmd_report.txt")
PERF = ("perf_lost.txt.xz", "perf_callchain.txt", "perf_syscalls.txt")


def lines_of(name: str, every: int) -> list[bytes]:
    with open_binary(DATA / name) as f:
        return [line.rstrip(b"\n") for line in f.readlines()[::every]]


REAL = {
    "ftrace": [line for name in FTRACE for line in lines_of(name, 7)],
    "perf": [line for name in PERF for line in lines_of(name, 9)],
}
PIECES = b" |  |-|[|]|[001]|:|: |.|5|12.5:|\t|\0|\xe9|(|=|NR|sys_enter: NR -1 (|PERF_RECORD_LOST lost 3|#".split(b"|")
PIECES += [b"a" * 40, b" tracemend_inferred gap=3"]


def outcome(format: str, chunk: bytes, way: str) -> object:
    """All that reading a chunk gives, as plain values: every line by the regular expression alone, columns by array
    operations, or by compiled loops."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(kernel, "ROUNDS", 0 if way == "lines" else 8)
        patched.setattr(kernel, "WORTHWHILE", 1)
        patched.setattr("tracemend.formats.text.CHUNK", 0 if way == "compiled" else 1 << 30)
        builder = Builder(Path("made up"), format, Options())
        others: list[tuple[int, int, bytes]] = []
        try:
            kernel.parse(Lines(chunk, 1), LAYOUTS[format]).add_to(builder, lambda *other: others.append(other))
            events = builder.finish().table.to_pylist() if builder.rows else []
        except TraceError as e:  # time goes backwards, at the same line
            return e.line, e.message
    codes = list(builder.names.codes), list(builder.comms.codes)
    return events, others, builder.inferred, builder.malformed, codes


@st.composite
def chunks_of(draw: st.DrawFn) -> tuple[str, bytes]:
    tracer = draw(st.sampled_from(sorted(REAL)))
    lines = []
    for line in draw(st.lists(st.sampled_from(REAL[tracer]), max_size=14)):
        for _ in range(draw(st.sampled_from([0, 0, 0, 1, 1, 2]))):
            at = draw(st.integers(0, min(len(line), 70)))
            until = at + draw(st.integers(0, 3))
            piece = draw(st.one_of(st.sampled_from(PIECES), st.binary(max_size=2)))
            line = line[:at] + piece + line[until:]  # noqa: PLW2901
        lines.append(line)
    return tracer, b"\n".join(lines) + draw(st.sampled_from([b"", b"\n", b"\r\n"]))


WAYS = ("columns", "compiled")


@pytest.mark.long
@settings(max_examples=150, deadline=None)
@given(chunk=chunks_of())
def test_columns_read_as_lines_do(chunk: tuple[str, bytes]) -> None:
    by_lines = outcome(*chunk, "lines")
    for way in WAYS:
        assert outcome(*chunk, way) == by_lines


@pytest.mark.long
@settings(max_examples=3000, deadline=None)
@given(chunk=chunks_of())
def test_many_columns_read_as_lines_do(chunk: tuple[str, bytes]) -> None:
    by_lines = outcome(*chunk, "lines")
    for way in WAYS:
        assert outcome(*chunk, way) == by_lines


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("format", "name"), [*(("ftrace", n) for n in FTRACE), *(("perf", n) for n in PERF)])
def test_real_files_read_as_their_lines_do(format: str, name: str, way: str) -> None:
    with open_binary(DATA / name) as f:
        chunk = f.read()
    assert outcome(format, chunk, way) == outcome(format, chunk, "lines")


def test_two_words_on_every_line() -> None:
    """Made up: one behind what only looks like a time, and one behind the time; no two are the same."""
    chunk = b"".join(b"12.5: a%d-17 [000] 3.%06d: b%d\n" % (k, k, k) for k in range(900))
    assert outcome("ftrace", chunk, "compiled") == outcome("ftrace", chunk, "lines")


@pytest.mark.parametrize("name", ["ftrace_pipe.txt", "ftrace_syscalls.txt.xz", "perf_lost.txt.xz"])
def test_most_lines_are_read_alike(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading is fast because few lines go through the expression one by one."""
    times: list[bytes] = []
    plain = kernel._time_ns

    def counted(text: bytes, unit_ns: int) -> int | None:
        times.append(text)
        return plain(text, unit_ns)

    monkeypatch.setattr(kernel, "_time_ns", counted)
    events = len(read(DATA / name))
    assert 0 < len(times) < events / 50


@pytest.mark.parametrize("name", ["ftrace_pipe.txt", "ftrace_trace.txt", "trace_cmd_report.txt", "perf_lost.txt.xz"])
def test_against_a_plain_reading(name: str) -> None:
    """An independent parser of raw_syscalls' lines, as simple as can be."""
    expected = []
    with open_binary(DATA / name) as f:
        for number, line in enumerate(f.read().decode().splitlines(), 1):
            m = re.fullmatch(
                r"\s*(\S+)(?:-|\s+)(\d+)\s+\[(\d+)\].*?(\d+)\.(\d+): .*?sys_(enter|exit):\s+NR (-?\d+) (.*)", line
            )
            if m:
                comm, tid, cpu, seconds, fraction, phase, call, rest = m.groups()
                time_ns = int(seconds) * 10**9 + int(fraction.ljust(9, "0"))
                args, ret = (rest[1:-1], None) if phase == "enter" else (None, rest.removeprefix("= "))
                expected.append((time_ns, int(cpu), int(tid), comm, call_name(int(call)), phase, args, ret, number))
    table = read(DATA / name).table
    assert list(zip(*(table[c].to_pylist() for c in table.column_names), strict=True)) == expected
    assert len(expected) > 100


def test_lines_in_many_layouts(tmp_path: Path) -> None:
    """More layouts than rounds: what no round takes is read by the expression."""
    text = "".join(
        f"{'x' * (k % 15)}-{k} [{k % 3}] {10 ** (k % 5)}.{k:06d}: sys_exit: NR 0 = {k}\n" for k in range(400)
    )
    (tmp_path / "trace").write_text("".join(sorted(text.splitlines(True), key=lambda s: float(s.split()[2][:-1]))))
    trace = read(tmp_path / "trace")
    assert sorted(trace.tid.tolist()) == list(range(400))


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("sys_enter: NR 257 (1, 2)", ("openat", "enter", "1, 2", None)),
        ("sys_exit: NR 257 = -2", ("openat", "exit", None, "-2")),
        ("sys_exit: NR -1 = 0", ("syscall_-1", "exit", None, "0")),
        ("sys_enter: NR 4095 (0)", ("syscall_4095", "enter", "0", None)),
        ("sys_enter:            NR 0 (3)", ("read", "enter", "3", None)),
        ("sys_openat(dfd: 3, mode: 0)", ("openat", "enter", "dfd: 3, mode: 0", None)),
        ("sys_openat -> 0x3", ("openat", "exit", None, "0x3")),
        ("sys_newfstat(fd: 3)", ("fstat", "enter", "fd: 3", None)),
        ("sys_enter_openat: dfd: 3, mode: 0", ("openat", "enter", "dfd: 3, mode: 0", None)),
        ("sys_exit_openat:      0x3", ("openat", "exit", None, "0x3")),
        ("sched_switch: prev_comm=a ==> next_pid=1", ("sched_switch", "instant", "prev_comm=a ==> next_pid=1", None)),
        ("sys_enter: nothing known", ("sys_enter", "instant", "nothing known", None)),
        ("tracing_mark_write: a (b)", ("tracing_mark_write", "instant", "a (b)", None)),
        ("vfs_read <-ksys_read", ("vfs_read", "instant", "<-ksys_read", None)),
        (
            "a_name_of_more_than_32_bytes_is_kept_whole: x",
            ("a_name_of_more_than_32_bytes_is_kept_whole", "instant", "x", None),
        ),
    ],
)
def test_words(tmp_path: Path, word: str, expected: tuple[str | None, ...]) -> None:
    texts = {
        "ftrace": f"  cat-17  [001] .....  12.000001: {word}\n",
        "perf": f"  cat  17 [001]  12.000001: group:{word}\n",
    }
    for tracer, text in texts.items():
        (tmp_path / "trace").write_text(text)
        (event,) = read(tmp_path / "trace", tracer).table.to_pylist()
        assert (event["name"], event["phase"], event["args"], event["ret"]) == expected, tracer


@pytest.mark.parametrize("name", [*FTRACE, *PERF])
def test_the_last_line_needs_no_line_end(tmp_path: Path, name: str) -> None:
    """As long as nothing of it is missing, whatever event it is."""
    tracer = "ftrace" if name in FTRACE else "perf"
    events = [line for line in lines_of(name, 3) if LAYOUTS[tracer].match(line) and b"PERF_RECORD" not in line]
    assert events
    for line in events[:60]:
        (tmp_path / "trace").write_bytes(line)
        assert len(read(tmp_path / "trace", tracer)) == 1


def test_other_architectures(tmp_path: Path) -> None:
    (tmp_path / "trace").write_text("  cat-17  [001] .....  12.000001: sys_enter: NR 56 (1, 2)\n")
    assert read(tmp_path / "trace").names[1] == ["clone"]
    assert read(tmp_path / "trace", arch="aarch64").names[1] == ["openat"]


@pytest.mark.parametrize("format", ["ftrace", "perf"])
def test_inferred_events_are_no_evidence(tmp_path: Path, format: str) -> None:
    path = tmp_path / "trace"
    name = "ftrace_pipe.txt" if format == "ftrace" else "perf_lost.txt.xz"
    with open_binary(DATA / name) as f:
        lines = f.readlines()[:200]
    path.write_bytes(b"".join(lines))
    clean = read(path)
    inferred = lines[-1].rstrip(b"\n") + b" tracemend_inferred gap=0 confidence=0.5\n"
    path.write_bytes(b"# tracemend 0.1\n" + b"".join(lines[:150]) + inferred * 3 + b"".join(lines[150:]))
    merged = read(path)
    assert merged.warnings == ("3 inferred events of an earlier mending were passed over",)
    assert merged.table.drop("line").equals(clean.table.drop("line"))
    assert [g.as_dict() | {"line": 0} for g in merged.gaps] == [g.as_dict() | {"line": 0} for g in clean.gaps]


def test_spans_and_strings() -> None:
    raw = b"..ab..c....\xe9."
    start, end = (pa.array(x).to_numpy() for x in ([2, 6, 7, 11], [4, 7, 7, 12]))
    assert spans(raw, start, end).to_pylist() == [b"ab", b"c", b"", b"\xe9"]
    valid = pa.array([True, False, True, True]).to_numpy(zero_copy_only=False)
    assert as_strings(spans(raw, start, end, valid)).to_pylist() == ["ab", None, "", "\xe9"]
    assert as_strings(spans(raw, start[:3], end[:3]), ascii_only=True).to_pylist() == ["ab", "c", ""]
    assert spans(raw, start[:0], end[:0]).to_pylist() == []


@pytest.mark.parametrize("way", WAYS)
def test_arguments_without_an_end_are_no_event_in_either_way(way: str) -> None:
    whole = b" cat-7 [000] ..... 1.0: sys_enter: NR 0 (3)\n"
    odd = whole.replace(b"(3)", b"(3 and more") + whole.replace(b"sys_enter: NR 0 (3)", b"sys_openat(dfd: 3) then")
    chunk = whole + odd + whole.replace(b")\n", b") \n")
    found = outcome("ftrace", chunk, way)
    assert found == outcome("ftrace", chunk, "lines")
    assert isinstance(found, tuple)
    assert [event["line"] for event in found[0]] == [1, 4]
    assert found[1:4] == ([], 0, 2)
