"""strace's text in the forms it comes in."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracemend.errors import TraceError
from tracemend.formats import read
from tracemend.formats.text import open_binary
from tracemend.trace.events import Trace

DATA = Path(__file__).parents[1] / "data"
FILES = ("strace_ttt.txt", "strace_r.txt", "strace_tt_T.txt", "strace_bare.txt")
#: Of one job: as it is, with commands, only calls that succeeded, and some calls with dumps, stacks and a table.
JOBS = ("strace_mixed.txt", "strace_comm.txt.xz", "strace_z.txt.xz", "strace_k_C.txt")
ATTACHED, BROKEN = "strace attached to a process", "the file breaks off within a line"
TORN = "a call is resumed that none left unfinished"


def events(trace: Trace) -> list[tuple[object, ...]]:
    names = ("time_ns", "tid", "name", "phase", "args", "ret", "line")
    return list(zip(*(trace.table[n].to_pylist() for n in names), strict=True))


def made_up(tmp_path: Path, text: str, **options: bool) -> Trace:
    path = tmp_path / "trace"
    path.write_text(text)
    return read(path, "strace", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", FILES)
def test_every_call_of_a_real_file(name: str) -> None:
    """Counted with plain searches: a call that returned twice, one that didn't once."""
    trace = read(DATA / name)
    text = (DATA / name).read_text()
    calls = Counter(re.findall(r"^(?:\[pid +\d+\] |\d+ +)?\s*(?:[\d:.]+ )?([a-z]\w*)\(", text, re.MULTILINE))
    returns = len(re.findall(r"\)\s+= (?!\?$)", text, re.MULTILINE))
    enters = Counter(n for n, p in zip(trace.table["name"].to_pylist(), trace.phase, strict=True) if p == 0)
    assert enters == calls
    assert Counter(trace.phase.tolist()) == {0: calls.total(), 1: returns}
    assert trace.gaps == ()
    assert trace.warnings == ()
    assert set(trace.cpu.tolist()) == {-1}
    assert trace.format == "strace"


@pytest.mark.parametrize("name", FILES)
def test_calls_pair_in_every_thread(name: str) -> None:
    trace = read(DATA / name)
    codes, _ = trace.names
    for rows in trace.threads.values():
        pending = -1
        for row in rows.tolist():
            if trace.phase[row] == 0:
                assert pending == -1
                pending = int(codes[row])
            else:
                assert pending == codes[row]
                pending = -1


def test_threads_are_told_apart() -> None:
    """The form for stderr names no process while there is only one; the others' lines tell its number."""
    assert sorted(read(DATA / "strace_ttt.txt").threads) == [20266, 20267, 20268, 20269]
    threads = read(DATA / "strace_r.txt").threads
    assert len(threads) == 4
    assert min(threads) > 0
    assert list(read(DATA / "strace_bare.txt").threads) == [-1]


def test_clocks(tmp_path: Path) -> None:
    for clock, times in {
        ("1700000000.000001", "1700000000.5", "1700000001"): (1_700_000_000_000_001_000, 499_999_000, 500_000_000),
        ("     0.000000", "     0.000551", "     1.000000"): (0, 551_000, 1_000_000_000),
        ("10:00:00", "10:00:01", "10:00:01"): (36_000_000_000_000, 1_000_000_000, 0),
        ("23:59:59.900000", "00:00:00.100000", "00:00:01.000000"): (86_399_900_000_000, 200_000_000, 900_000_000),
    }.items():
        trace = made_up(tmp_path, "".join(f"{c} getpid() = 1\n" for c in clock))
        enters = trace.time_ns[trace.phase == 0].tolist()
        assert (enters[0], enters[1] - enters[0], enters[2] - enters[1]) == times
        assert trace.clock == "ns"


def test_relative_times_count_from_line_to_line(tmp_path: Path) -> None:
    trace = made_up(tmp_path, "  0.000000 getpid() = 1\n  0.000003 --- SIGCHLD {} ---\n  0.000004 getpid() = 1\n")
    assert trace.time_ns.tolist() == [0, 0, 7000, 7000]


def test_without_times_positions_stand_in(tmp_path: Path) -> None:
    trace = made_up(tmp_path, "getpid() = 1\nexit(0) = ?\n")
    assert (trace.clock, trace.time_ns.tolist()) == ("index", [0, 1, 2])


def test_durations_place_the_exit(tmp_path: Path) -> None:
    trace = made_up(tmp_path, "1.000000 getpid() = 1 <0.000250>\n1.000300 getppid() = 1\n")
    assert trace.time_ns.tolist() == [1_000_000_000, 1_000_250_000, 2_000_300_000, 2_000_300_000]


def test_a_duration_ends_before_the_next_line(tmp_path: Path) -> None:
    trace = made_up(tmp_path, "1700000000.1 getpid() = 1 <0.300000>\n1700000000.2 getppid() = 1\n")
    assert (trace.time_ns - trace.time_ns[0]).tolist() == [0, 100_000_000, 100_000_000, 100_000_000]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('write(1, "a) = b", 6) = 6', [("write", "enter", '1, "a) = b", 6', None), ("write", "exit", None, "6")]),
        (
            'open("/x", 0)                    = -1 ENOENT (No such file or directory)',
            [("open", "enter", '"/x", 0', None), ("open", "exit", None, "-1 ENOENT (No such file or directory)")],
        ),
        (
            "poll([{fd=3}], 1, 5) = 1 ([{fd=3, revents=POLLIN}]) <0.000007>",
            [("poll", "enter", "[{fd=3}], 1, 5", None), ("poll", "exit", None, "1 ([{fd=3, revents=POLLIN}])")],
        ),
        ("exit_group(0)                           = ?", [("exit_group", "enter", "0", None)]),
        ("read(0, <unfinished ...>) = ?", [("read", "enter", "0,", None)]),
        (
            "pause() = ? ERESTARTNOHAND (To be restarted if no handler)",
            [
                ("pause", "enter", "", None),
                ("pause", "exit", None, "? ERESTARTNOHAND (To be restarted if no handler)"),
            ],
        ),
        ("wait4(-1,  <unfinished ...>", [("wait4", "enter", "-1,", None)]),
        ("<... wait4 resumed>NULL, 0, NULL) = 7", [("wait4", "exit", None, "7")]),
        ("<... exit_group resumed>) = ?", []),
        ("[00007f1234567890] [  39] getpid() = 4", [("getpid", "enter", "", None), ("getpid", "exit", None, "4")]),
        ("--- SIGCHLD {si_signo=SIGCHLD} ---", []),
        ("+++ exited with 0 +++", []),
        ("+++ killed by SIGTERM +++", []),
        ("strace: Process 7 attached", []),
        (" > /usr/lib/libc.so.6(write+0x10) [0xf0]", []),
    ],
)
def test_lines(tmp_path: Path, text: str, expected: list[tuple[object, ...]]) -> None:
    heads = {"": "", "12 ": "12 ", "12 1700000000.5 ": "12 1700000001.5 ", "[pid    12] 10:00:00 ": "10:00:01 "}
    for head, later in heads.items():
        if head and text.startswith((" >", "strace:")):
            continue  # these lines have none
        trace = made_up(tmp_path, f"{head}{text}\n{later}brk(0) = 0\n")
        got = [(e[2], e[3], e[4], e[5]) for e in events(trace)]
        assert got == [*expected, ("brk", "enter", "0", None), ("brk", "exit", None, "0")]


def test_a_line_broken_by_an_attached_process_is_joined(tmp_path: Path) -> None:
    text = "clone(flags=SIGCHLDstrace: Process 8 attached\n, child_tidptr=0x1) = 8\n"
    text += "[pid     7] wait4(-1,  <unfinished ...>\n"
    trace = made_up(tmp_path, text)
    assert events(trace) == [
        (0, 7, "clone", "enter", "flags=SIGCHLD, child_tidptr=0x1", None, 2),
        (1, 7, "clone", "exit", None, "8", 2),
        (2, 7, "wait4", "enter", "-1,", None, 3),
    ]


def test_the_last_one_alive_loses_its_prefix(tmp_path: Path) -> None:
    text = "[pid 7] getpid() = 7\nstrace: Process 8 attached\n[pid 8] exit(0) = ?\n"
    text += "[pid 8] +++ exited with 0 +++\nbrk(0) = 0\n"
    assert made_up(tmp_path, text).tid.tolist() == [7, 7, 8, 7, 7]
    text = "[pid 7] exit(0) = ?\nstrace: Process 8 attached\n[pid 7] +++ exited with 0 +++\nbrk(0) = 0\n"
    assert made_up(tmp_path, text).tid.tolist() == [7, 8, 8]


def test_time_going_backwards_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="time goes backwards") as e:
        made_up(tmp_path, "1700000001.0 brk(0) = 0\n1700000000.0 brk(0) = 0\n")
    assert e.value.line == 2


def why(trace: Trace) -> list[str]:
    """The doubts that nothing settles."""
    return [d.why for d in trace.doubts if not d.unless]


def unless(trace: Trace) -> list[str]:
    return [d.unless for d in trace.doubts if d.unless]


@pytest.mark.parametrize("name", JOBS)
def test_real_files_in_other_forms(name: str) -> None:
    """All their calls, each thread's in order, whatever stands in between."""
    trace = read(DATA / name)
    assert (trace.time_ns[1:] >= trace.time_ns[:-1]).all()
    for rows in trace.threads.values():
        assert (trace.line[rows][1:] >= trace.line[rows][:-1]).all()
        exits = (trace.phase[rows] == 1).tolist()
        assert not any(a and b for a, b in pairwise(exits))
    text = "".join(open_text(name))
    succeeded = Counter(re.findall(r"^(?:\d+(?:<\w+>)? +|\[pid +\d+\] )?(?:[\d:.]+ )?([a-z]\w*)\(", text, re.MULTILINE))
    enters = Counter(n for n, p in zip(trace.table["name"].to_pylist(), trace.phase, strict=True) if p == 0)
    assert enters == succeeded
    assert trace.doubts == ()
    # what the job wrote on lines of its own is all that was passed over
    unread = trace.passed_over
    assert (unread is None) is (name != "strace_mixed.txt")
    assert unread is None or (unread.number, unread.why) == (1, "no line of strace: 'sub'")


def open_text(name: str) -> list[str]:
    with open_binary(DATA / name) as f:
        return f.read().decode().splitlines(keepends=True)


def test_what_was_written_into_a_line_takes_nothing_away() -> None:
    mixed, apart = read(DATA / "strace_mixed.txt"), read(DATA / "strace_comm.txt.xz")
    assert Counter(mixed.table["name"].to_pylist()) == Counter(apart.table["name"].to_pylist())


def test_commands_are_known_where_strace_tells_them() -> None:
    trace = read(DATA / "strace_comm.txt.xz")
    codes, comms = trace.comms
    assert set(comms) == {"strace", "sh", "sleep", "cat"}
    assert (codes >= 0).all()
    bracketed = "[pid 7<a b>] 10:00:00 getpid() = 7\n[pid 8</bin>] 10:00:01 brk(0) = 0\n"
    assert trace.format == "strace"
    assert bracketed.count("\n") == 2


def test_attached_and_killed() -> None:
    trace = read(DATA / "strace_killed.txt")
    assert [w[: len(k)] for w, k in zip(why(trace), (BROKEN, ATTACHED), strict=True)] == [BROKEN, ATTACHED]
    assert trace.passed_over is None
    assert trace.table["phase"].to_pylist()[-1] == "enter"  # the call that was begun when strace was killed


@pytest.mark.parametrize(
    ("text", "events", "doubt"),
    [
        ("read(3, ", 1, BROKEN),
        ("read(3, 0x7f, 100) = 5\nread(3", 3, BROKEN),
        ("brk(0) = 0\nwri", 2, BROKEN),
        ('brk(0) = 0\nwrite(1, "a", 1 <detached ...>\n', 3, ""),
        ("pause(strace: Process 7 detached\n <detached ...>\n", 1, ""),
        ("brk(0) = 0\n+++ exited with 0 +++\n", 2, ""),
        ("brk(0) = 0", 2, ""),
        ('strace: Process 7 attached\nread(3, "", 1) = 0\n', 2, ATTACHED),
        ('strace: Process 7 attached with 3 threads\n[pid 8] read(3, "", 1) = 0\n', 2, ATTACHED),
        ("restart_syscall(<... resuming interrupted poll ...>) = 0\n", 2, ATTACHED),
        ('12 brk(0) = 0\n13 <... read resumed>"", 1) = 0\n', 3, ATTACHED),
        ("12 brk(0) = 0\nstrace: Process 13 attached\n13 brk(0) = 0\n", 4, ""),
        ('12 read(3,  <unfinished ...>\n12 <... read resumed>"", 1) = 0\n', 2, ""),
        ("12 read(3,  <unfinished ...>\n12 brk(0) = 0\n", 3, TORN),
        ("12 read(3,  <unfinished ...>\n12 <... write resumed>) = 0\n", 2, TORN),
        ('12 brk(0) = 0\n12 <... read resumed>"", 1) = 0\n', 3, TORN),
        ("12 read(3,  <unfinished ...>\n12 +++ killed by SIGKILL +++\n12 brk(0) = 0\n", 3, ""),
    ],
)
def test_doubts(tmp_path: Path, text: str, events: int, doubt: str) -> None:
    trace = made_up(tmp_path, text)
    assert len(trace) == events
    assert [w[: len(doubt)] for w in why(trace)] == ([doubt] if doubt else [])


@pytest.mark.parametrize("name", ["strace_ttt.txt", "strace_bare.txt", "strace_comm.txt.xz", "strace_z.txt.xz"])
def test_a_part_of_a_file_is_complete_on_a_condition(tmp_path: Path, name: str) -> None:
    lines = open_text(name)
    assert read(DATA / name).doubts == ()
    assert unless(made_up(tmp_path, "".join(lines[10:]))) == ["unless its beginning is missing"]
    assert unless(made_up(tmp_path, "".join(lines[:-5]))) == ["unless its end is missing"]


def test_a_hole_in_a_call_is_seen(tmp_path: Path) -> None:
    """Lines that are taken out of a file leave calls without an end, or ends without a call."""
    lines = open_text("strace_ttt.txt")
    begun = next(at for at, text in enumerate(lines) if "<unfinished" in text)
    assert [w[: len(TORN)] for w in why(made_up(tmp_path, "".join(lines[:begun] + lines[begun + 1 :])))] == [TORN]


def test_threads_that_another_one_replaced(tmp_path: Path) -> None:
    """Made up after a recording: a thread's execve ends all others and takes over the process's number."""
    text = """\
7 execve("/bin/python3", ["python3"], 0x7f /* 9 vars */) = 0
7 futex(0x7f, FUTEX_WAIT <unfinished ...>
8 execve("/bin/true", ["true"], 0x7f /* 9 vars */ <unfinished ...>
7 +++ superseded by execve in pid 8 +++
7 <... execve resumed>) = 0
7 exit_group(0) = ?
7 +++ exited with 0 +++
"""
    assert made_up(tmp_path, text).doubts == ()


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        'helloread(0, "", 10) = 0',
        "5 items read(0) = 0",
        "f(3) = 9",
        "result = compute(7) = 3",
        "42 getpid() = 4",  # a process where lines have none
        "12:00:00 getpid() = 4",
        "<... and so on>",
        "total: 17 (seventeen)",
    ],
)
def test_what_the_program_wrote_is_no_call(tmp_path: Path, text: str) -> None:
    trace = made_up(tmp_path, f"brk(0) = 0\n{text}\ngetpid() = 1\n")
    assert trace.table["name"].to_pylist() == ["brk", "brk", "getpid", "getpid"]
    assert trace.passed_over is not None
    assert (trace.passed_over.number, trace.passed_over.line) == (1, 2)
    with pytest.raises(TraceError):
        made_up(tmp_path, f"brk(0) = 0\n{text}\ngetpid() = 1\n", strict=True)


@pytest.mark.parametrize(
    "text",
    [
        " | 00000  7f 45 4c 46 02 01 01 00  00 00 00 00 00 00 00 00  .ELF............ |",
        " * 6 bytes in buffer 0",
        "[ Process PID=12 runs in 32 bit mode. ]",
        "strace: [ Process PID=12 runs in x32 mode. ]",
        "% time     seconds  usecs/call     calls    errors syscall",
        "------ ----------- ----------- --------- --------- ----------------",
        " 72.09    0.000093          46         2           wait4",
        "100.00    0.000129          10        12         2 total",
        "/usr/bin/strace: Process 7 detached",
        "strace: Process 7 detached",
        "+++ killed by SIGKILL +++",
        "+++ superseded by execve in pid 13 +++",
        "--- stopped by SIGSTOP ---",
        " > /usr/lib/libc.so.6(read+0x10) [0x10a0] ./io/read.c:26",
    ],
)
def test_what_else_strace_writes_is_silent(tmp_path: Path, text: str) -> None:
    trace = made_up(tmp_path, f"brk(0) = 0\n{text}\ngetpid() = 1\n", strict=True)
    assert (len(trace), trace.passed_over, why(trace)) == (4, None, [])


@pytest.mark.parametrize(
    ("text", "args", "ret"),
    [
        ('openat(AT_FDCWD</tmp>, "x") = 3</tmp/a) = b>', 'AT_FDCWD</tmp>, "x"', "3</tmp/a) = b>"),
        ('write(1</dev/pts/0<char 136:0>>, "x) = y", 6) = 6', '1</dev/pts/0<char 136:0>>, "x) = y", 6', "6"),
        ('write(1, "a\\") = b", 7) = 7', '1, "a\\") = b", 7', "7"),
        (
            'openat(3</a(1)>, "x" [etc_t], O_RDONLY) = 4</a(1)/x> [etc_t]',
            '3</a(1)>, "x" [etc_t], O_RDONLY',
            "4</a(1)/x> [etc_t]",
        ),
        ("capget({pid=0}, {effective=1<<CAP_CHOWN}) = 0", "{pid=0}, {effective=1<<CAP_CHOWN}", "0"),
        ("getpid() = 3 /* 1300 in strace's PID NS */", "", "3 /* 1300 in strace's PID NS */"),
    ],
)
def test_paths_and_strings(tmp_path: Path, text: str, args: str, ret: str) -> None:
    trace = made_up(tmp_path, text + "\n")
    assert trace.table["args"].to_pylist() == [args, None]
    assert trace.table["ret"].to_pylist() == [None, ret]


@pytest.mark.parametrize(
    ("head", "tid", "comm"),
    [
        ("12 ", 12, None),
        ("12<a b> ", 12, "a b"),
        ("[pid    12<sh>] ", 12, "sh"),
        ("12 [unconfined_t] ", 12, None),
        ("[unconfined_u:unconfined_r:unconfined_t:s0] ", -1, None),
        ("12<sh> 1700000000.5 [00007f0000001234] ", 12, "sh"),
        ("12 [httpd_t] 10:00:00 ", 12, None),
    ],
)
def test_heads(tmp_path: Path, head: str, tid: int, comm: str | None) -> None:
    trace = made_up(tmp_path, f"{head}getpid() = 1\n", strict=True)
    assert trace.tid.tolist() == [tid, tid]
    assert trace.table["comm"].to_pylist() == [comm, comm]


def test_lines_out_of_order_are_sorted_and_threads_are_not(tmp_path: Path) -> None:
    lines = [
        "1 1700000001.0 brk(0) = 0 <0.5>",
        "2 1700000000.5 getpid() = 2 <0.1>",
        "1 1700000001.2 getpid() = 1 <0.1>",
    ]
    trace = made_up(tmp_path, "\n".join(lines) + "\n")
    times = [(t - 1_700_000_000_000_000_000) // 100_000_000 for t in trace.time_ns.tolist()]
    assert list(zip(times, trace.tid.tolist(), trace.phase.tolist(), strict=True)) == [
        (5, 2, 0), (6, 2, 1), (10, 1, 0), (12, 1, 1), (12, 1, 0), (13, 1, 1)
    ]  # fmt: skip
    with pytest.raises(TraceError, match="time goes backwards within a thread") as e:
        made_up(tmp_path, "\n".join([*lines[:2], "1 1700000000.7 getpid() = 1"]))
    assert e.value.line == 3


def test_over_midnight_and_back(tmp_path: Path) -> None:
    """-z: a call that began before midnight is told after one that began behind it."""
    lines = ["1 23:59:59 brk(0) = 0", "2 00:00:01 brk(0) = 0", "1 23:59:59 brk(0) = 0", "2 00:00:02 brk(0) = 0"]
    trace = made_up(tmp_path, "\n".join(lines))
    assert (trace.time_ns[trace.phase == 0] // 10**9 - 86_399).tolist() == [0, 0, 2, 3]


@settings(max_examples=60, deadline=None)
@given(order=st.lists(st.integers(1, 3), min_size=1, max_size=30), shift=st.lists(st.integers(0, 5), min_size=30))
def test_any_order_of_threads_keeps_each_ones_own(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], shift: list[int]
) -> None:
    """Made-up -z lines: whatever the order between threads, all calls are there and by time."""
    clock = dict.fromkeys((1, 2, 3), 1_700_000_000)
    lines: list[str] = []
    for tid, step in zip(order, shift, strict=False):
        clock[tid] += step
        lines.append(f"{tid} {clock[tid]}.0 getpid() = {len(lines)} <1.5>\n")
    trace = made_up(tmp_path_factory.getbasetemp(), "".join(lines))
    assert len(trace) == 2 * len(lines)
    assert (trace.time_ns[1:] >= trace.time_ns[:-1]).all()
    for tid, rows in trace.threads.items():
        assert trace.phase[rows].tolist() == [0, 1] * (len(rows) // 2), tid
        assert (trace.line[rows][1:] >= trace.line[rows][:-1]).all()
