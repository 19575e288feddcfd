"""Scan and advise on small traces whose losses are known."""

from __future__ import annotations

from dataclasses import replace

import pytest
from conftest import make_trace, rng, threads_on_cpus

from tracemend.diffusion.gaps import lose
from tracemend.losses.advice import advise
from tracemend.losses.scanning import SLICES, scan
from tracemend.trace.events import Gap


def test_a_complete_trace_is_clean() -> None:
    findings = scan(threads_on_cpus(rng(0), 300))
    assert not findings.broken
    assert findings.lost == 0
    assert findings.open_calls == ()


def test_sums_agree_however_they_are_cut() -> None:
    lossy, missing = lose(threads_on_cpus(rng(1), 2000, cpus=3), rng(2))
    findings = scan(lossy)
    total = sum(map(len, missing))
    assert findings.broken
    assert findings.lost == total
    assert sum(r["lost"] for r in findings.cpus()) == total
    assert sum(r["gaps"] for r in findings.cpus()) == len(missing)
    assert sum(r["events"] for r in findings.cpus()) == len(lossy)
    assert abs(sum(findings.over_time()) - total) <= SLICES
    assert len(findings.as_dict()["gaps"]) == len(missing)


def test_calls_that_lost_a_side_are_named() -> None:
    """Made up: read's exit and write's enter are lost."""
    calls = [("read", 0), ("read", 1), ("write", 0), ("write", 1), ("read", 0), ("write", 1), ("read", 0)]
    rows = [(t, 0, 7, name, phase) for t, (name, phase) in zip((0, 1, 2, 3, 4, 9, 10), calls, strict=True)]
    trace = replace(make_trace(rows), gaps=(Gap(0, 0, 4, 5, 4, 9, 2, "counted", 6),))
    assert [(c.name, c.lost, c.tid) for c in scan(trace).open_calls] == [("read", "exit", 7), ("write", "enter", 7)]


def test_advice_covers_the_backlog() -> None:
    """Made up: 100 events/ms come for 10 ms, of which the reader takes every second one: half pile up."""
    rows: list[tuple[int, int, int, str, int]] = []
    gaps = []
    time = 0
    for burst in range(10):
        for _ in range(50):
            rows.append((time, 0, 7, "read", len(rows) % 2))
            time += 10_000
        begin, time = rows[-1][0], time + 500_000
        gaps.append(Gap(burst, 0, len(rows) - 1, len(rows), begin, time, 50, "counted", 1))
    rows.append((time, 0, 7, "read", 0))
    (a,) = advise(replace(make_trace(rows), gaps=tuple(gaps)))
    assert a.lost == 500
    # at the reader's pace everything that was lost would still have been waiting: at least one gap's worth of bytes
    assert a.missing_bytes >= 50 * 48
    assert a.sufficient_kb(8) >= 8 + a.missing_bytes / 1024
    assert a.complete


def test_no_gap_needs_no_advice() -> None:
    assert advise(threads_on_cpus(rng(0), 100)) == []


def test_a_gap_that_nobody_saw_the_end_of_has_no_rate() -> None:
    rows = [(k * 1000, 0, 100, "read", k % 2) for k in range(10)]
    last = Gap(0, 0, 9, None, 9000, 9000, 500, "counted", 10)
    (a,) = advise(replace(make_trace(rows), gaps=(last,)))
    assert (a.lost, a.rate, a.as_dict(8)["events_per_second"]) == (500, None, None)
    middle = Gap(1, 0, 4, 5, 4000, 5000, 3, "counted", 6)
    (a,) = advise(replace(make_trace(rows), gaps=(middle, last)))
    assert a.rate == pytest.approx(3e6)


def test_a_gap_too_short_for_its_events_has_no_rate() -> None:
    rows = [(k * 1000, 0, 100, "read", k % 2) for k in range(10)]
    short = Gap(0, 0, 4, 5, 4000, 4002, 100, "counted", 6)
    (a,) = advise(replace(make_trace(rows), gaps=(short,)))
    assert a.rate is None
    (a,) = advise(replace(make_trace(rows), gaps=(replace(short, count=10),)))
    assert a.rate == pytest.approx(1e7)  # over the time between the events that survived


def test_the_bytes_of_an_event_are_those_that_the_trace_tells() -> None:
    rows = [(k * 1000, 0, 100, "read", k % 2) for k in range(10)]
    gap = Gap(0, 0, 4, 5, 4000, 5000, 3, "counted", 6)
    (a,) = advise(replace(make_trace(rows), gaps=(gap,), stored={0: 1000}))
    assert a.event_bytes == 100
