"""Cases of how trouble in the world looks, each with its right answer beside it: read from where they lie, not copied.

A row says what reading must give; what it leaves out is not asked. ``answer`` is what ``scan`` can make of that: lost,
complete, or can't tell. A new case is a new row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import ROOT

from tracemend.errors import TraceError
from tracemend.formats import read
from tracemend.trace.events import Trace

CASES = ROOT.parent / "shared" / "cases" / "reading"


@dataclass(frozen=True)
class Case:
    """``gaps``: cpu and count of each. ``refused``: what the error says, of a file that is no trace."""

    file: str
    format: str = ""
    events: int = 0
    answer: str = "complete"
    threads: set[int] | None = None
    comms: set[str] | None = None
    names: list[str] = field(default_factory=list)
    cpus: set[int] | None = None
    gaps: list[tuple[int, int | None]] = field(default_factory=list)
    overwritten: int = 0
    refused: str = ""


READING = [
    Case(
        "advise_overwritten.txt",
        "ftrace",
        3,
        "lost",
        names=["sched_waking", "sched_wakeup", "sched_waking"],
        threads={1974, 1977},
        overwritten=8_736_446,
    ),
    Case("atrace_TRACE_header.txt", "ftrace", 2, names=["tracing_mark_write"] * 2, cpus={1, 3}, threads={18913, 19593}),
    Case(
        "function_graph_text.txt",
        "ftrace",
        4,
        "lost",
        names=["pick_next_task_fair", "pick_task_fair", "pick_task_fair", "unknown"],
        cpus={3},
        gaps=[(3, 120)],
    ),
    Case("ltrace_taken_for_strace.txt", refused="ltrace output: library calls, no system calls"),
    Case("strace_decode_pids.strace", "strace", 8, threads={26274, 26275}, comms={"sh", "cat"}),
    Case(
        "strace_detached.strace",
        "strace",
        6,
        names=["poll", "nanosleep", "poll", "poll", "nanosleep", "nanosleep"],
        threads={29392, 29394},
    ),
    Case(
        "strace_z_order.strace",
        "strace",
        8,
        names=["openat", "openat", "wait4", "wait4", "read", "read", "close", "close"],
        threads={100, 101},
    ),
]


def answer(trace: Trace) -> str:
    """What can be said of losses where no broken pair of events is found."""
    if trace.gaps or trace.overwritten or trace.unplaced:
        return "lost"
    return "can't tell" if any(not d.unless for d in trace.doubts) else "complete"


@pytest.mark.parametrize("case", READING, ids=lambda c: c.file)
def test_reading(case: Case) -> None:
    path = CASES / case.file
    if not path.exists():
        pytest.skip(f"{path} is not there")
    if case.refused:
        with pytest.raises(TraceError, match=case.refused):
            read(path)
        return
    trace = read(path)
    check(case, trace, path)
    assert trace.passed_over is None
    assert read(path, strict=True).table.equals(trace.table)


def check(case: Case, trace: Trace, path: Path) -> None:
    assert (trace.format, len(trace)) == (case.format, case.events), path
    assert answer(trace) == case.answer
    assert [(g.cpu, g.count) for g in trace.gaps] == case.gaps
    assert trace.overwritten == case.overwritten
    if case.names:
        assert trace.table["name"].to_pylist() == case.names
    if case.threads is not None:
        assert set(trace.threads) == case.threads
    if case.comms is not None:
        assert set(trace.comms[1]) == case.comms
    if case.cpus is not None:
        assert set(trace.streams) == case.cpus
