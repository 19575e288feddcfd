"""strace's text in the forms it comes in."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tracemend.errors import TraceError
from tracemend.formats import read
from tracemend.trace.events import Trace

DATA = Path(__file__).parents[1] / "data"
FILES = ("strace_ttt.txt", "strace_r.txt", "strace_tt_T.txt", "strace_bare.txt")


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
