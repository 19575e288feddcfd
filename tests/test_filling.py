"""Whole fills against those of the plain ways, and what stands around gaps."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import slow_fill
from conftest import ROOT, make_trace, rng, threads_on_cpus
from hypothesis import given, settings
from hypothesis import strategies as st
from test_timelines import made_up

from tracemend.diffusion.gaps import lose
from tracemend.formats import read
from tracemend.menders import Lookup
from tracemend.menders.base import Proposal, Proposer, certain
from tracemend.mending import run
from tracemend.mending.surroundings import Surroundings
from tracemend.trace.events import Gap, Trace, rows_by
from tracemend.trace.vocabulary import BREAK, universal
from tracemend.trace.windows import Stream, Window, slots_by_recency, to_slots, window


def assert_filled_alike(trace: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same events, times, threads and confidences, to the last bit."""
    mended = run.mend_trace(trace, copier=Lookup)
    with monkeypatch.context() as patch:
        patch.setattr(run, "Filling", slow_fill.Slow)
        plain = run.mend_trace(trace, copier=Lookup)
    assert mended.inferred.num_rows > 0
    assert mended.inferred.equals(plain.inferred)
    assert mended.fills == plain.fills


@pytest.mark.parametrize("name", ["perf_lost.txt.xz", "perf_trace_lost.txt", "trace_cmd_report.txt"])
def test_recordings_are_filled_alike(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_filled_alike(read(ROOT / "tests" / "data" / name), monkeypatch)


@pytest.mark.parametrize("seed", range(2))
def test_many_gaps_at_once_are_filled_alike(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A made-up trace of threads that move between cpus, which lose events at the same time."""
    lossy, _ = lose(threads_on_cpus(rng(seed), 1200, threads=12, cpus=4), rng(seed))
    assert_filled_alike(lossy, monkeypatch)


@pytest.mark.long
def test_the_demo_is_filled_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("deploy", "redis", "shell"):
        assert_filled_alike(read(ROOT / "recordings" / folder / "lossy.txt"), monkeypatch)


@pytest.mark.long
@settings(max_examples=200, deadline=None)
@given(st.data())
def test_the_same_stands_around_gaps(data: st.DataObject) -> None:
    trace = made_up(data)
    ids = universal().extended(trace).encode(trace).astype(np.int64)
    fast, plain = Surroundings(trace, ids), slow_fill.Around(trace, ids)
    for gap in trace.gaps:
        most = data.draw(st.integers(1, 20))
        for one, other in zip(fast.of(gap, most), plain.of(gap, most), strict=True):
            assert (one.ids.tolist(), one.tids.tolist(), one.steps.tolist()) == (
                other.ids.tolist(),
                other.tids.tolist(),
                other.steps.tolist(),
            )


def a_stream(data: st.DataObject) -> Stream:
    """A made-up piece of a stream."""
    n = data.draw(st.integers(0, 30))
    chance = rng(data.draw(st.integers(0, 2**31)))
    ids = np.where(chance.random(n) < 0.1, BREAK, chance.integers(3, 99, n))
    return Stream(ids, chance.integers(-1, data.draw(st.integers(0, 40)), n), chance.integers(-1, 1 << 20, n))


@pytest.mark.long
@settings(max_examples=200, deadline=None)
@given(st.data())
def test_the_same_windows(data: st.DataObject) -> None:
    left, right = a_stream(data), a_stream(data)
    hidden, span = data.draw(st.integers(0, 5)), data.draw(st.integers(-1, 1000))
    one, other = window(left, right, hidden, span), slow_fill.window(left, right, hidden, span)
    assert one.ids_LC.tolist() == other.ids_LC.tolist()
    assert one.known_L.tolist() == other.known_L.tolist()
    assert one.tids.tolist() == other.tids.tolist() == slots_by_recency(left.tids, right.tids).tolist()
    slots = slow_fill.slots_by_recency(left.tids, left.tids)
    assert to_slots(right.tids, slots).tolist() == slow_fill.to_slots(right.tids, slots).tolist()


class Certain(Proposer):
    """Says the same of all that is lost."""

    def propose(self, windows: Sequence[Window], seed: int = 0) -> list[Proposal]:
        return [certain(np.full(w.hidden, 10), np.ones(w.hidden, np.int64), 0.9) for w in windows]


def crowd(threads: int) -> Trace:
    """A made-up trace of threads that each call a few times, anywhere on a tenth as many cpus; all of these lose events
    all the time, of all of the threads."""
    chance, n = rng(0), 6 * threads
    tid, cpu = chance.permutation(np.repeat(np.arange(threads), 6)), np.arange(n) % (threads // 10)
    phase = np.empty(n, np.int64)
    phase[np.argsort(tid, kind="stable")] = np.tile([0, 1], n // 2)
    kept = chance.random(n) > 0.15
    row = np.cumsum(kept) - 1
    rows = [(100 * int(i), int(cpu[i]), int(tid[i]), "read", int(phase[i])) for i in np.flatnonzero(kept)]
    gaps: list[Gap] = []
    for own in rows_by(cpu).values():
        for a, b in pairwise(own[kept[own]].tolist()):
            lost = (b - a) // (threads // 10) - 1
            if lost:
                gaps.append(Gap(len(gaps), int(cpu[a]), int(row[a]), int(row[b]), 100 * a, 100 * b, lost, "counted", 1))
    return make_trace(rows).with_gaps(tuple(gaps))


@pytest.mark.long
def test_a_gap_takes_no_longer_in_a_larger_trace() -> None:
    """Four times the threads, cpus and gaps take about four times as long, and not sixteen times."""
    seconds = {}
    for threads in (500, 3000, 12_000):  # the first is for what is done once
        trace = crowd(threads)
        start = time.process_time()
        run.mend_trace(trace, Certain())
        seconds[threads] = time.process_time() - start
    assert seconds[12_000] < 8 * seconds[3000]
