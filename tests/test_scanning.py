"""Scan and advise on small traces whose losses are known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from conftest import make_trace, rng, threads_on_cpus
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tracemend.diffusion.gaps import lose
from tracemend.losses.advice import advise
from tracemend.losses.scanning import SLICES, scan
from tracemend.losses.suspect import ENTER_BYTES
from tracemend.trace.events import ENTER, Gap

Ints = NDArray[np.int64]


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


def survive(times: Ints, pace: float, size: float) -> NDArray[np.bool_]:
    """Which events a buffer keeps (E,) that is read at a pace, bytes a ns, and loses what comes while it is full."""
    held, kept = 0.0, []
    for since in np.diff(times, prepend=0).tolist():
        held = max(0.0, held - pace * since)
        kept.append(held + ENTER_BYTES <= size)
        held += ENTER_BYTES * kept[-1]
    return np.array(kept)


@given(st.integers(0, 10**6), st.floats(0.3, 1.5), st.integers(2, 60))
@settings(max_examples=40)
def test_a_buffer_as_advised_loses_nothing(seed: int, busy: float, room: int) -> None:
    """Made up: bursts of events, and a reader that is as fast as they come, or a little slower or faster."""
    chance = np.random.default_rng(seed)
    bursts = [np.full(chance.integers(5, 200), chance.integers(200, 20_000)) for _ in range(chance.integers(2, 9))]
    times = np.cumsum(np.concatenate([np.append(b, chance.integers(1, 3_000_000)) for b in bursts]))
    pace, size = busy * ENTER_BYTES * len(times) / int(times[-1]), room * ENTER_BYTES
    kept = survive(times, pace, size)
    at = np.flatnonzero(kept)
    gaps = [
        Gap(k, 0, i, i + 1, int(times[at[i]]), int(times[at[i + 1]]), int(at[i + 1] - at[i]) - 1, "counted", 1)
        for k, i in enumerate(np.flatnonzero(np.diff(at) > 1).tolist())
    ]
    times = times[: at[-1] + 1]  # nobody knows of what was lost behind the last one
    trace = replace(make_trace([(int(t), 0, 7, "read", ENTER) for t in times[at]]), gaps=tuple(gaps))
    for a in advise(trace):
        assert survive(times, pace, size + a.sufficient_kb(0) * 1024).all()
        assert a.missing_bytes <= math.ceil(a.lost * a.event_bytes)


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
