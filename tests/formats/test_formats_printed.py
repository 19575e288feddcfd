"""What eBPF tools, sysdig, Falco, babeltrace and perf trace print: events, losses, and how sure one can be of none."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from conftest import mostly_long, recorders
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from printed import (
    AFTER_DROP,
    BCC,
    DATA,
    DROP,
    EXECSNOOP,
    FALCO_ALERT,
    FALCO_ALERT_JSON,
    FALCO_EVENT,
    FALCO_JSON,
    FALCO_LOG,
    FALCO_METRICS,
    KERNEL,
    NO_COMM,
    PERF_TRACE,
    RECORDED,
    SEEDS,
    SUMMARY,
    SYSDIG,
    SYSDIG_JSON,
    TRACE_CPU,
)
from test_ctf import index_counters
from test_formats_robust import AWKWARD, TEXTS, attempt, head_of

from tracemend.formats import FORMATS, read, recognise
from tracemend.losses.scanning import scan
from tracemend.losses.suspect import suspect
from tracemend.losses.verdict import Losses
from tracemend.trace.events import Trace

DAY_NS = 86_400 * 1_000_000_000
MINE = ("babeltrace", "sysdig", "perf-trace", "bpf")


def text(folder: Path, content: str) -> Path:
    path = folder / "printed.txt"
    path.write_text(content)
    return path


def rows(trace: Trace) -> list[tuple[object, ...]]:
    columns = ("time_ns", "cpu", "tid", "comm", "name", "phase")
    return list(zip(*(trace.table[c].to_pylist() for c in columns), strict=True))


def gaps(trace: Trace) -> list[tuple[int, int | None, int | None, int | None]]:
    return [(g.cpu, g.before, g.after, g.count) for g in trace.gaps]


# recognition


@pytest.mark.parametrize("name", RECORDED)
def test_recordings_are_recognised(name: str) -> None:
    assert recognise(DATA / name).name == RECORDED[name]


@pytest.mark.parametrize(("format", "number"), [(f, n) for f in SEEDS for n in range(10)])
def test_samples_are_recognised_as_themselves(tmp_path: Path, format: str, number: int) -> None:
    assert len(SEEDS[format]) == 10
    assert recognise(text(tmp_path, SEEDS[format][number])).name == format


@pytest.mark.parametrize("name", TEXTS)
def test_nothing_of_another_format_is_taken(name: str) -> None:
    head = head_of(name, 10**6)[: 1 << 16]
    assert not [f for f in MINE if FORMATS[f].recognise(head)]


@pytest.mark.parametrize("format", MINE)
def test_one_takes_nothing_of_another(format: str) -> None:
    others = [seed for name, seeds in SEEDS.items() if name != format for seed in seeds]
    assert not [seed[:60] for seed in others if FORMATS[format].recognise(seed.encode())]


@pytest.mark.parametrize(
    "content",
    [
        "UID        PID  PPID  C STIME TTY          TIME CMD\nroot 1 0 0 10:00 ? 00:00:01 init\n",
        "  PID COMMAND\n    1 init\n",
        "we lost 12 events because of the rain\n" * 3,
        "CPU 0: 12 events lost\n",
    ],
)
def test_what_looks_alike_is_refused(tmp_path: Path, content: str) -> None:
    head = content.encode()
    assert not [f for f in MINE if FORMATS[f].recognise(head)]


# perf trace


def test_perf_trace_lines(tmp_path: Path) -> None:
    trace = read(text(tmp_path, PERF_TRACE))
    assert rows(trace) == [
        (32_000, -1, 30186, "cat", "execve", "exit"),
        (32_000, -1, 30186, "cat", "brk", "enter"),
        (33_000, -1, 30186, "cat", "brk", "exit"),
        (40_000, -1, 7, "a b/c", "read", "enter"),
        (41_000, -1, 30186, "cat", "sched_switch", "instant"),
        (50_000, -1, 7, "a b/c", "read", "exit"),
        (164_000, -1, 30186, "cat", "minfault", "instant"),
        (170_000, -1, 30186, "cat", "close", "enter"),
    ]
    assert gaps(trace) == [(-1, 4, 5, 12)]
    assert trace.table["ret"].to_pylist()[:3] == ["0", None, "0x561f08cb1000"]
    assert not trace.warnings


def test_perf_trace_without_commands(tmp_path: Path) -> None:
    trace = read(text(tmp_path, NO_COMM))
    assert [r[4:] for r in rows(trace)] == [(n, p) for n in ("access", "openat") for p in ("enter", "exit")]
    assert set(trace.tid.tolist()) == {-1}
    assert trace.table["ret"].to_pylist()[1] == "-1 ENOENT (No such file or directory)"


@pytest.mark.parametrize("end", ["= ", "="])
def test_perf_trace_prints_no_result_of_getppid(tmp_path: Path, end: str) -> None:
    """Recorded: it takes the result for a thread, and knows no name of that one."""
    trace = read(text(tmp_path, f"     0.534 ( 0.002 ms): sh/3216 getppid()           {end}\n"), strict=True)
    assert trace.table["name"].to_pylist() == ["getppid"] * 2
    assert trace.table["ret"].to_pylist() == [None, None]


def test_a_recorded_loss_of_perf_trace() -> None:
    trace = read(DATA / "perf_trace_lost.txt")
    said = [int(n) for n in re.findall(r"LOST (\d+) events!", (DATA / "perf_trace_lost.txt").read_text())]
    assert trace.lost == sum(said)
    assert all(b.unless for b in trace.doubts)


def test_chunks_that_perf_lost_have_no_place(tmp_path: Path) -> None:
    trace = read(text(tmp_path, NO_COMM + "Processed 241752 events and lost 31 chunks!\n"))
    assert [(u.count, u.unit, u.line) for u in trace.unplaced] == [(31, "chunks", 3)]


def test_colours_of_a_terminal_do_not_matter(tmp_path: Path) -> None:
    plain = read(text(tmp_path, PERF_TRACE))
    coloured = (
        PERF_TRACE.replace("LOST", "\x1b[31mLOST")
        .replace("0.001 ms", "\x1b[33m 0.001 ms\x1b[m")
        .replace("continued]", "\x1b[33mcontinued\x1b[m]")
    )
    again = read(text(tmp_path, coloured))
    assert again.table.equals(plain.table)
    assert again.gaps == plain.gaps


@recorders
def test_perf_trace_records_and_loses(tmp_path: Path) -> None:
    if shutil.which("perf") is None:
        pytest.skip("perf is not installed (linux-perf)")
    out = tmp_path / "out.txt"
    work = ["dd", "if=/dev/zero", "of=/dev/null", "bs=1", "count=5000"]
    done = subprocess.run(["perf", "trace", "-m", "1", "-o", out, *work], capture_output=True, check=False)
    if done.returncode or not out.stat().st_size:
        pytest.skip(f"perf trace can't record here: {done.stderr.decode()[-200:]}")
    trace = read(out)
    said = [int(n) for n in re.findall(r"LOST (\d+) events!", out.read_text())]
    assert trace.format == "perf-trace"
    assert trace.lost == sum(said)
    assert trace.passed_over is None
    whole = tmp_path / "whole.txt"
    subprocess.run(["perf", "trace", "-m", "4096", "-o", whole, "true"], capture_output=True, check=True)
    complete = read(whole)
    if b"LOST" not in whole.read_bytes():
        assert not suspect(complete)


# bpf


def test_bccs_columns(tmp_path: Path) -> None:
    trace = read(text(tmp_path, BCC))
    assert rows(trace) == [
        (0, -1, 1950, "supervise", "io", "instant"),
        (54_000, -1, 1950, "supervise", "io", "instant"),
    ]
    assert gaps(trace) == [(-1, 0, 1, 10)]
    assert [d.unless for d in trace.doubts] == [""]
    trace = read(text(tmp_path, EXECSNOOP))
    assert (trace.clock, [r[2:5] for r in rows(trace)]) == (
        "index",
        [(15887, "bash", "exec"), (15894, "preconv", "exec")],
    )
    assert gaps(trace) == [(-1, 0, 1, 3)]


def test_losses_of_a_cpu_lie_among_its_events(tmp_path: Path) -> None:
    trace = read(text(tmp_path, TRACE_CPU))
    assert trace.cpu.tolist() == [11, 0, 11]
    assert trace.table["name"].to_pylist() == ["sched_switch"] * 3
    assert gaps(trace) == [(11, 0, 2, 5)]


def test_a_line_that_a_loss_broke_in_two() -> None:
    trace = read(DATA / "opensnoop_lost.txt")
    assert [r[2:5] for r in rows(trace)] == [(6667, "python3", "open")] * 24
    assert trace.passed_over is None
    assert [g.count for g in trace.gaps] == [908]
    assert [d.unless for d in trace.doubts] == [""]


@pytest.mark.parametrize("name", ["bpftrace_lost.txt", "bpftrace_lost.jsonl"])
def test_bpftrace_says_what_it_lost(name: str) -> None:
    trace = read(DATA / name)
    said = re.findall(r"Lost (\d+) events|\"lost_events\", \"data\": \{\"events\": (\d+)", (DATA / name).read_text())
    assert trace.lost == sum(int(a or b) for a, b in said) > 0
    assert trace.tracer == "bpftrace"
    assert [bool(d.unless) for d in trace.doubts] == [True]
    assert trace.clock == "index"


@pytest.mark.parametrize("first", ["Attaching 2 probes...", "Attached 2 probes"])
def test_bpftraces_first_line_is_where_its_losses_are(tmp_path: Path, first: str) -> None:
    trace = read(text(tmp_path, f"{first}\nhello\n\n\n@c: 1\n"))
    assert [d.unless for d in trace.doubts] == ["unless the last events of a cpu were lost"]
    assert trace.table["args"].to_pylist() == ["hello"]


@pytest.mark.parametrize(
    ("said", "count"),
    [
        ("Possibly lost 7 samples", 7),
        ("Lost 7 samples", 7),
        ("Lost 7 events", 7),
        ("Lost 1 event", 1),
        ("lost 7 events on CPU #3", 7),
        ("Lost 7 events on CPU #3!", 7),
        ('time=2024 level=warning msg="reading perf ring buffer: lost 7 samples"', 7),
        ("2024/01/01 00:00:00 perf event ring buffer full, dropped 7 samples", 7),
        ('{"level":"warn","ts":1600000000.5,"msg":"Lost 7 events"}', 7),
    ],
)
def test_the_ways_to_say_it(tmp_path: Path, said: str, count: int) -> None:
    trace = read(text(tmp_path, f"{EXECSNOOP}{said}\n"))
    assert [g.count for g in trace.gaps] == [3, count]
    assert len(trace) == 2


# sysdig


def test_sysdigs_lines(tmp_path: Path) -> None:
    trace = read(text(tmp_path, SYSDIG + DROP + AFTER_DROP))
    at = ((11 * 60 + 54) * 60 + 8) * 1_000_000_000
    assert rows(trace) == [
        (at + 853_479_695, 0, 13314, "ssh-agent", "getrlimit", "enter"),
        (at + 853_481_094, 0, 13314, "ssh-agent", "getrlimit", "exit"),
        (at + 853_482_049, 1, 77, "two words", "close", "enter"),
        (at + 853_483_000, 0, 13314, "ssh-agent", "switch", "instant"),
        (at + 853_494_000, 1, 77, "two words", "close", "exit"),
    ]
    assert gaps(trace) == [(1, 2, 4, None)]
    assert trace.table["args"].to_pylist()[2] == "fd=3(<f>/etc/passwd)"
    assert trace.table["ret"].to_pylist()[1] == "res=0 cur=1024 max=4096"


@pytest.mark.parametrize(
    ("events", "drops", "sure"), [(6, 0, True), (6, 12, False), (0, 0, False)], ids=["none", "some", "of a file"]
)
def test_sysdigs_summary_settles_it(tmp_path: Path, events: int, drops: int, sure: bool) -> None:
    trace = read(text(tmp_path, SYSDIG + SUMMARY.format(events, drops)))
    assert (not trace.doubts) == sure
    assert [u.count for u in trace.unplaced] == [drops] * (drops > 0)
    assert [d.unless for d in read(text(tmp_path, SYSDIG)).doubts] == [""]


@pytest.mark.parametrize(
    ("times", "clock", "expected"),
    [
        (("1600000000.000000001", "1600000000.000000002", "1600000000.000000003"), "ns", [1, 2, 3]),
        (("0.000000000", "0.000000005", "0.000000009"), "ns", [0, 5, 9]),
        (("0.000000000", "0.000000005", "0.000000002"), "ns", [0, 5, 7]),
    ],
    ids=["a", "r", "D"],
)
def test_sysdigs_times(tmp_path: Path, times: tuple[str, ...], clock: str, expected: list[int]) -> None:
    lines = [f"{n} {t} 0 cat (7) {'<' if n % 2 else '>'} read\n" for n, t in enumerate(times, 1)]
    trace = read(text(tmp_path, "".join(lines)))
    assert trace.clock == clock
    assert [t % 1_600_000_000_000_000_000 for t in trace.time_ns.tolist()] == expected


def test_how_long_calls_took_is_no_time(tmp_path: Path) -> None:
    lines = [f"{n} 0.00000000{t} 0 cat (7) {d} read\n" for n, (t, d) in enumerate([(0, ">"), (7, "<")] * 3)]
    trace = read(text(tmp_path, "".join(lines)))
    assert (trace.clock, trace.time_ns.tolist()) == ("index", [0, 1, 2, 3, 4, 5])


def test_sysdigs_json(tmp_path: Path) -> None:
    trace = read(text(tmp_path, "[" + SYSDIG_JSON + "," + SYSDIG_JSON.replace('">"', '"<"') + "]\n"))
    assert rows(trace) == [(1_600_000_000_000_000_001, 1, 7, "cat", "read", p) for p in ("enter", "exit")]


@pytest.mark.parametrize("said", [FALCO_LOG + FALCO_ALERT, FALCO_ALERT + FALCO_LOG, FALCO_LOG.rstrip() + FALCO_ALERT])
def test_falco_says_each_drop_twice(tmp_path: Path, said: str) -> None:
    trace = read(text(tmp_path, FALCO_EVENT.replace("13:00", "12:00") + said + FALCO_EVENT))
    assert gaps(trace) == [(-1, 0, 1, 7)]
    assert trace.tracer == "falco"
    assert [d.unless for d in trace.doubts] == [""]


def test_what_falco_tells_one_by_one_is_in_its_metrics(tmp_path: Path) -> None:
    """Two drops were told by an alert; of seven that the metrics count, five were not."""
    some, all_ = (Losses.of(read(text(tmp_path, FALCO_JSON + FALCO_METRICS % n))) for n in (2, 7))
    assert (some.events, all_.events) == (2, 7)
    assert len(some.unplaced) == 0


def test_falcos_json(tmp_path: Path) -> None:
    trace = read(text(tmp_path, FALCO_JSON + FALCO_ALERT_JSON + FALCO_METRICS % 0))
    assert trace.table["name"].to_pylist() == ["Terminal shell in container"]
    assert gaps(trace) == [(-1, None, 0, 2)]
    assert not trace.unplaced
    assert [u.count for u in read(text(tmp_path, FALCO_ALERT_JSON + FALCO_METRICS % 3)).unplaced] == [3]


# babeltrace


def test_babeltraces_system_calls(tmp_path: Path) -> None:
    trace = read(text(tmp_path, KERNEL))
    at = ((12 * 60 + 34) * 60 + 56) * 1_000_000_000
    assert rows(trace) == [
        (at + 1, 1, 7, "cat", "openat", "enter"),
        (at + 11, 1, 7, "cat", "openat", "exit"),
        (at + 21, 0, 7, "cat", "sched_switch", "instant"),
        (at + 31, 0, -1, None, "my:event", "instant"),
    ]
    assert trace.table["ret"].to_pylist() == [None, "3", None, None]
    assert [d.unless for d in trace.doubts] == [""]


#: How each prints: times that are those of CTF, times of day, no names (and so no cpu).
WAYS = [
    ["babeltrace2", "--clock-seconds", "--clock-gmt"],
    ["babeltrace2", "--clock-gmt"],
    ["babeltrace2", "--clock-date", "--clock-gmt", "--fields", "all"],
    ["babeltrace2", "--clock-gmt", "--names", "all"],
    ["babeltrace2", "--clock-gmt", "--no-delta", "--names", "scope"],
    ["babeltrace", "--clock-seconds"],
    ["babeltrace", "--clock-gmt", "--no-delta"],
    ["babeltrace", "--clock-date", "--clock-gmt", "--fields", "all", "--names", "all"],
]


@recorders
@pytest.mark.parametrize("kept", ["discard", "overwrite", "whole"])
@pytest.mark.parametrize("way", mostly_long(WAYS, 3), ids=" ".join)
def test_as_the_trace_itself_is_read(
    lttng_recordings: dict[str, Path], tmp_path: Path, kept: str, way: list[str]
) -> None:
    if shutil.which(way[0]) is None:
        pytest.skip(f"{way[0]} is not installed")
    path = tmp_path / "printed.txt"
    with open(path, "wb") as out:  # both streams in one file: losses break lines in two
        subprocess.run([*way, lttng_recordings[kept]], stdout=out, stderr=out, check=True)
    trace, ctf = read(path), read(lttng_recordings[kept])
    modulo = DAY_NS if max(trace.time_ns.tolist()) < 2 * DAY_NS else 1 << 63
    named = "scope" not in way

    def events(t: Trace) -> list[tuple[object, ...]]:
        return sorted((r[0] % modulo, *(r[1:] if named else r[4:])) for r in rows(t))  # type: ignore[operator]

    def losses(t: Trace) -> list[tuple[object, ...]]:
        return sorted((g.cpu, g.count or -1, g.begin_ns % modulo, g.end_ns % modulo) for g in t.gaps)

    assert trace.passed_over is None
    assert events(trace) == events(ctf)
    assert bool(trace.gaps) == bool(ctf.gaps)
    # where LTTng left a 0 in a packet's counter, the tools tell of other losses than there were
    if all(c == sorted(c) for c in map(index_counters, lttng_recordings[kept].rglob("*.idx"))):
        if way[0] == "babeltrace":  # which keeps lost packets to itself where there are lost events, too
            assert [g for g in losses(trace) if g[1] != -1] == [g for g in losses(ctf) if g[1] != -1]
            assert set(losses(trace)) <= set(losses(ctf))
        elif named:
            assert losses(trace) == losses(ctf)
        else:
            assert trace.lost == ctf.lost
    assert [d.unless for d in trace.doubts] == [""]


def test_a_stdout_alone_tells_of_no_loss(tmp_path: Path) -> None:
    content = (DATA / "babeltrace2_lost.txt").read_text()
    trace = read(text(tmp_path, re.sub(r"WARNING: .*\n", "", content)))
    assert not trace.gaps
    assert trace.doubts
    (gap,) = read(DATA / "babeltrace2_lost.txt").gaps
    assert (gap.cpu, gap.count) == (1, 921)


def test_the_end_of_a_stream_that_nothing_names(tmp_path: Path) -> None:
    trace = read(text(tmp_path, SEEDS["babeltrace"][5]))
    assert [(u.count, u.line) for u in trace.unplaced] == [(2, 5)]
    assert not trace.gaps


# all


@pytest.mark.parametrize("format", SEEDS)
@pytest.mark.parametrize("number", range(10))
def test_scans_of_all_samples(tmp_path: Path, format: str, number: int) -> None:
    scan(read(text(tmp_path, SEEDS[format][number]), format), suspected=True).as_dict()


@pytest.mark.parametrize("name", RECORDED)
def test_windows_line_ends_read_the_same(tmp_path: Path, name: str) -> None:
    crlf = tmp_path / "crlf"
    crlf.write_bytes((DATA / name).read_bytes().replace(b"\n", b"\r\n"))
    a, b = read(DATA / name), read(crlf)
    assert a.table.equals(b.table)
    assert a.gaps == b.gaps


@pytest.mark.parametrize("name", RECORDED)
def test_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    whole = read(DATA / name)
    monkeypatch.setattr("tracemend.formats.text.CHUNK", 300)
    again = read(DATA / name)
    assert again.table.combine_chunks().equals(whole.table.combine_chunks())
    assert again.gaps == whole.gaps


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, bytes]:
    kind = draw(st.sampled_from(sorted(SEEDS)))
    data = bytearray(draw(st.sampled_from(SEEDS[kind])).encode())
    for _ in range(draw(st.integers(0, 4))):
        a = draw(st.integers(0, len(data)))
        b = min(len(data), a + draw(st.integers(0, 200)))
        match draw(st.sampled_from(["delete", "insert", "noise", "repeat", "truncate"])):
            case "delete":
                del data[a:b]
            case "insert":
                data[a:a] = draw(st.sampled_from(AWKWARD))
            case "noise":
                data[a:a] = draw(st.binary(max_size=40))
            case "repeat":
                data[a:a] = data[a:b]
            case _:
                del data[a:]
    return kind, bytes(data)


@pytest.mark.long
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=damaged(), forced=st.booleans(), strict=st.booleans())
def test_damage_never_raises_anything_else(tmp_path: Path, case: tuple[str, bytes], forced: bool, strict: bool) -> None:
    kind, data = case
    path = tmp_path / "damaged"
    path.write_bytes(data)
    attempt(path, format=kind if forced else None, strict=strict)


@pytest.mark.parametrize("kind", SEEDS)
@pytest.mark.parametrize(
    "piece",
    [b" ", b") ", b"a:", b"0", b"[warning] ", b"}, {", b"lost 1", b"(", b"name = x, ", b"\x1b[", b'{"a":', b"1.000 ("],
)
def test_long_lines_take_no_long_time(tmp_path: Path, kind: str, piece: bytes) -> None:
    path = tmp_path / "long"
    long = piece * (100_000 // len(piece))
    starts = [line.encode()[:40] for line in SEEDS[kind][0].splitlines()[:3]]
    path.write_bytes(SEEDS[kind][0].encode() + b"".join(s + long + b" ...\n" for s in (b"", *starts)))
    began = time.monotonic()
    attempt(path, format=kind)
    assert time.monotonic() - began < 20
