"""Threads' histories against plain lists of all their events, and how they grow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import slow_fill
from conftest import ROOT, make_trace
from hypothesis import given, settings
from hypothesis import strategies as st

from tracemend.formats import read
from tracemend.mending.beliefs import Filled
from tracemend.mending.constraints import ENDED, FREE, rules
from tracemend.mending.timelines import Timelines
from tracemend.trace.events import ENTER, EXIT, Gap, Partial, Trace
from tracemend.trace.vocabulary import Vocabulary, universal

CALLS = ("read", "write", "exit", "rt_sigreturn", "tick")


def made_up(data: st.DataObject) -> Trace:
    """A made-up trace in which calls follow each other as they like, with gaps anywhere."""
    n = data.draw(st.integers(0, 40))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**31)))
    time = np.cumsum(rng.integers(0, 4, n))
    cpu, tid = rng.integers(0, 3, n), rng.integers(-1, 5, n)
    kind = rng.integers(0, len(CALLS), n)
    phase = np.where(kind == len(CALLS) - 1, 2, rng.integers(0, 2, n))
    rows = [
        (int(t), int(c), int(w), CALLS[k], int(p)) for t, c, w, k, p in zip(time, cpu, tid, kind, phase, strict=True)
    ]
    trace = make_trace(rows)
    gaps = []
    for number in range(int(rng.integers(1, 8))):
        own = trace.streams.get(here := int(rng.integers(0, 3)), np.empty(0, np.int64))
        at = int(rng.integers(0, len(own) + 1))
        before, after = (int(own[at - 1]) if at else None), (int(own[at]) if at < len(own) else None)
        begin = int(time[before]) if before is not None else int(time.min(initial=99))
        end = int(time[after]) if after is not None else int(time.max(initial=99))
        gaps.append(Gap(number, here, before, after, min(begin, end), end, None, "uncounted", 1))
    low, high = sorted(rng.integers(0, 60, 2).tolist())
    partial = Partial(((low, high),), {}, 1, 1) if data.draw(st.booleans()) else None
    return replace(trace, gaps=tuple(gaps), partial=partial)


def assert_same(
    fast: Timelines, slow: slow_fill.Timelines, gap: Gap, later: list[Gap], tids: list[int], n: int
) -> None:
    """Threads, columns and obligations of one gap."""
    nominal = np.sort(np.linspace(gap.begin_ns, gap.end_ns, n + 2)[1:-1].astype(np.int64))
    spans = [(g.begin_ns, g.end_ns) for g in later]
    expected, columns = slow.threads_of(gap, np.array(tids), nominal, spans)
    threads, found = fast.threads_of(gap, np.array(tids), nominal)
    assert [a.tolist() for a in threads] == [a.tolist() for a in slow_fill.as_arrays(expected)]
    assert found.tolist() == columns


def assert_all_the_same(trace: Trace, vocabulary: Vocabulary, seed: int, most: int = 12) -> None:
    """Gap by gap, in order of their ends, each filled with whatever chance has of calls."""
    rng = np.random.default_rng(seed)
    ids = vocabulary.encode(trace).astype(np.int64)
    fast, slow = Timelines(trace, ids, rules(vocabulary)), slow_fill.Timelines(trace, ids, vocabulary)
    everyone = np.unique(trace.tid[trace.tid >= 0])
    for gap in trace.gaps:
        threads, _ = slow.threads_of(gap, np.array([-1]), np.array([(gap.begin_ns + gap.end_ns) // 2]), [])
        needed = int(np.sum([slow_fill.need(t.begin, t.end) for t in threads if t.begin != ENDED]))
        assert fast.obligations(gap) == needed
    order = sorted(trace.gaps, key=lambda g: (g.end_ns, g.begin_ns, g.number))
    for k, gap in enumerate(order):
        tids = [-1, *rng.permutation(everyone)[: rng.integers(0, 4)].tolist(), 99_999][: int(rng.integers(1, 6))]
        assert_same(fast, slow, gap, order[k + 1 :], tids, int(rng.integers(1, 5)))
        if rng.random() < 0.3:
            continue
        n = int(rng.integers(1, most))
        times = np.sort(rng.integers(gap.begin_ns, gap.end_ns + 1, n))
        who = rng.choice(np.append(everyone, [-1, 99_999]), n).astype(np.int64)
        filled = Filled(gap, rng.choice(np.append(ids, 5), n), who, times, np.ones(n, np.float32), np.full(n, -1))
        fast.remember(filled)
        slow.remember(filled)


@pytest.mark.long
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_the_same_threads_take_part_in_the_same_way(data: st.DataObject) -> None:
    trace = made_up(data)
    assert_all_the_same(trace, universal().extended(trace), data.draw(st.integers(0, 2**31)))


@pytest.mark.parametrize(
    "name", ["tests/data/perf_trace_lost.txt", "tests/data/ftrace_pipe.txt", "recordings/deploy/lossy.txt"]
)
def test_the_same_threads_in_recordings(name: str) -> None:
    trace = read(ROOT / name)
    assert trace.gaps
    assert_all_the_same(trace, universal().extended(trace), 0)


def test_one_of_two_calls_at_a_moment_is_settled() -> None:
    """Made up: two exits are filled in at one time, then the first one's enter; the other's is still missing."""
    trace = make_trace([(0, cpu, 4, "tick", 2) for cpu in range(3)])
    trace = trace.with_gaps(tuple(Gap(cpu, cpu, cpu, None, 0, 9, None, "uncounted", 1) for cpu in range(3)))
    vocabulary = universal().extended(trace)
    ids = vocabulary.encode(trace).astype(np.int64)
    fast, slow = Timelines(trace, ids, rules(vocabulary)), slow_fill.Timelines(trace, ids, vocabulary)
    enter, leave = vocabulary.id("write", ENTER), vocabulary.id("write", EXIT)
    for gap, fill, time in ((trace.gaps[0], [leave, leave], 5), (trace.gaps[1], [enter], 4)):
        who, times, nobody = (np.full(len(fill), value) for value in (4, time, -1))
        filled = Filled(gap, np.array(fill), who, times, np.ones(len(fill), np.float32), nobody)
        fast.remember(filled)
        slow.remember(filled)
    threads, _ = fast.threads_of(trace.gaps[2], np.array([-1]), np.array([5]))
    assert (threads.tids.tolist(), threads.end.tolist()) == ([-1, 4], [FREE, enter])
    assert_same(fast, slow, trace.gaps[2], [], [-1], 3)


def test_what_a_tracer_counts_is_no_measure_of_memory() -> None:
    """Made up: a gap that is said to have lost more events than any memory holds."""
    trace = make_trace([(0, 0, 4, "tick", 2), (9, 0, 4, "tick", 2)])
    trace = trace.with_gaps((Gap(0, 0, 0, 1, 0, 9, 1 << 60, "counted", 1),))
    vocabulary = universal().extended(trace)
    timelines = Timelines(trace, vocabulary.encode(trace).astype(np.int64), rules(vocabulary))
    enter, tid, time, nobody = (np.array([value]) for value in (vocabulary.id("write", ENTER), 4, 5, -1))
    timelines.remember(Filled(trace.gaps[0], enter, tid, time, np.ones(1, np.float32), nobody))


@pytest.mark.parametrize("most", [7, 1 << 15, (1 << 16) - 1, 1 << 16, 1 << 20])
def test_fills_are_kept_narrow_and_stay_the_same(most: int) -> None:
    gap = Gap(0, 0, 0, 1, 0, 9, 2, "counted", 1)
    ids, tids = np.array([3, most]), np.array([4, 1 << 30])
    filled = Filled(gap, ids, tids, np.array([1, 2]), np.ones(2, np.float32), np.array([-1, 5]))
    narrow = filled.narrow()
    for own, kept in ((ids, narrow.ids), (tids, narrow.tids), (filled.following, narrow.following)):
        assert kept.tolist() == own.tolist()
        assert kept.itemsize < own.itemsize
