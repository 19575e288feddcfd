"""Losses without a mark: none in complete recordings, most of the true ones in drop mode."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tracemend.formats import read
from tracemend.losses.suspect import suspect
from tracemend.trace.events import Trace

DATA = Path(__file__).parents[1] / "data"


@pytest.mark.parametrize(
    "name",
    [
        "ftrace_complete.txt.xz",  # three processes, one of them killed
        "ftrace_trace.txt",
        "perf_syscalls.txt",
        "strace_ttt.txt",
        "strace_r.txt",
        "strace_tt_T.txt",
        "strace_bare.txt",
    ],
)
def test_nothing_is_suspected_in_complete_recordings(name: str) -> None:
    assert suspect(read(DATA / name)) == ()


@pytest.mark.parametrize(
    "name", ["ftrace_pipe.txt", "ftrace_syscalls.txt.xz", "perf_lost.txt.xz", "perf_callchain.txt"]
)
def test_marked_gaps_explain_what_does_not_pair(name: str) -> None:
    assert suspect(read(DATA / name)) == ()


def test_what_does_not_pair_is_there_to_explain() -> None:
    assert suspect(read(DATA / "perf_lost.txt.xz").with_gaps(())) != ()


def test_drop_mode_against_the_truth() -> None:
    """Every gap of a real drop-mode recording, 56 of 66 of which leave all threads' events paired."""
    trace = read(DATA / "ftrace_drop.txt.xz")
    truth = dict(json.loads((DATA / "ftrace_drop.gaps.json").read_text()))
    assert trace.gaps == ()
    found = suspect(trace)
    hits = sum(g.line in truth for g in found)
    assert hits / len(truth) > 0.9
    assert hits / len(found) > 0.9
    for number, gap in enumerate(found):
        assert (gap.number, gap.known, gap.count) == (number, "suspected", None)
        assert gap.before is not None
        assert gap.after is not None
        assert (gap.begin_ns, gap.end_ns) == (trace.time_ns[gap.before], trace.time_ns[gap.after])
        assert gap.line == trace.line[gap.after]
        stream = trace.streams[gap.cpu].tolist()
        assert stream.index(gap.after) == stream.index(gap.before) + 1


def made_up(tmp_path: Path, *lines: str) -> Trace:
    """Lines ``tid cpu microseconds call``: ``+read`` enters, ``-read`` exits, ``!x`` is another event, ``?`` a mark."""
    text = ""
    for line in lines:
        tid, cpu, time, call = line.split()
        event = {"+": f"sys_{call[1:]}(fd: 1)", "-": f"sys_{call[1:]} -> 0x0", "!": f"{call[1:]}: x", "?": ""}[call[0]]
        text += f" x-{tid} [{int(cpu):03}] 1.{int(time):06}: {event}\n" if event else f"CPU:{cpu} [LOST 1 EVENTS]\n"
    (tmp_path / "trace").write_text(text)
    return read(tmp_path / "trace", "ftrace")


BOTH = ("9 1 0 +read", "9 1 0 -read", "9 1 0 +write", "9 1 0 -write", "9 1 0 +close", "9 1 0 -close")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (("1 0 1 +read", "1 0 2 +write"), [(6, 7)]),  # an exit is missing
        (("1 0 1 -read", "1 0 2 -write"), [(6, 7)]),  # an enter is missing
        (("1 0 1 +read", "1 0 2 -write"), [(6, 7)]),  # both are
        (("1 0 1 -read", "1 0 2 +write", "1 0 3 -write"), []),
        (("1 0 1 -read",), []),  # entered before the recording began
        (("1 0 1 +read",), []),  # still inside when it ended
        (("1 0 1 +exit_group", "1 0 2 -clone", "1 0 3 +read"), []),  # the number came back as a new thread
        (("1 0 1 +futex", "1 0 2 -execve"), []),  # another thread of the process replaced it
        (("1 0 1 +rt_sigreturn", "1 0 2 +read", "1 0 3 -read"), []),  # syscalls:* shows no exit of it
        (("1 0 1 +getpid", "1 0 2 +getpid", "1 0 3 +getpid"), []),  # exits of it weren't recorded at all
        (("1 0 1 +read", "1 0 2 !irq", "1 0 9 !irq", "1 0 10 +write"), [(7, 8)]),  # the longest silence in between
        (("1 0 1 +read", "2 0 9 +read", "1 0 10 +write", "2 0 12 +write"), [(6, 7), (8, 9)]),
        (("1 0 1 +read", "2 0 2 +read", "1 0 9 +write", "2 0 10 +write"), [(7, 8)]),  # one gap explains both
        (("1 0 1 +read", "2 0 2 -close", "1 1 9 +write"), [(5, 8)]),  # on the other cpu, where it is silent longer
        (("1 0 1 +read", "0 0 0 ?", "1 0 3 +write"), []),  # a mark explains it
        (("1 0 1 +read", "1 0 3 +write", "0 0 0 ?", "1 0 4 -write"), [(6, 7)]),  # a mark elsewhere doesn't
    ],
)
def test_made_up(tmp_path: Path, lines: tuple[str, ...], expected: list[tuple[int, int]]) -> None:
    found = suspect(made_up(tmp_path, *BOTH, *lines))
    assert [(g.before, g.after) for g in found] == expected
