"""What viewers keep of kernel traces: impossible transitions, who is shown on a cpu, and cpu times."""

from __future__ import annotations

import lzma
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, rng
from hypothesis import given, settings
from hypothesis import strategies as st
from viewing import Event, inferred_of, one_by_one, soup, trace_of

from tracemend.formats import read
from tracemend.judging.running import cpu_time, right_time, time_error
from tracemend.judging.transitions import KINDS, counted, impossible
from tracemend.judging.views import Bools, View, of_trace, of_truth
from tracemend.reckoning.events import IDLE, UNKNOWN, recorded
from tracemend.recording.pairs import Pair
from tracemend.recording.pairs import read as read_pair
from tracemend.trace.events import Gap, Trace

DATA = ROOT / "tests" / "data"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    """All of a machine, with interrupts; nothing was lost."""
    path = tmp_path_factory.mktemp("whole") / "whole.txt"
    path.write_bytes(lzma.decompress((DATA / "kernel_whole.txt.xz").read_bytes()))
    return read(path)


@pytest.fixture(scope="module")
def pair() -> Pair:
    """A command's system calls and scheduling, which a small buffer really lost some of."""
    return read_pair(DATA / "kernel_pair.parquet")


def wrong(view: View) -> dict[str, set[int]]:
    return {f.kind: set(f.at.tolist()) for f in impossible(view) if len(f.at)}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(0, 60), st.integers(0, 5))
def test_impossible_are_those_that_a_slow_viewer_stumbles_over(seed: int, events: int, gaps: int) -> None:
    trace, inferred, ordered = soup(rng(seed), events, gaps)
    view = of_trace(trace, inferred)
    entries = [e for e in ordered if isinstance(e, Event)]
    assert [(e.time_ns, e.cpu, e.tid, e.gap >= 0) for e in entries] == list(
        zip(view.time_ns.tolist(), view.cpu.tolist(), view.tid.tolist(), view.inferred.tolist(), strict=True)
    )
    assert wrong(view) == one_by_one(ordered)


def test_recordings_have_none(whole: Trace, pair: Pair) -> None:
    assert recorded(whole) is None
    assert wrong(of_trace(whole)) == {}
    inside = recorded(pair.complete)
    assert inside is not None
    assert IDLE not in inside
    assert wrong(of_truth(pair)) == {}
    assert wrong(of_trace(pair.lossy, inside=inside)) == {}


@pytest.mark.parametrize("name", ["nginx-3-kernel_overwrite", "git-0-kernel_overwrite", "memcached-3-kernel_drop"])
def test_a_machine_that_is_never_idle_is_recorded_whole(name: str) -> None:
    path = ROOT / "corpus" / "kernel" / "pairs" / f"{name}.parquet"
    if not path.exists():
        pytest.skip("no corpus/kernel here")
    assert recorded(read_pair(path).complete) is None


def before_moves(trace: Trace) -> Bools:
    """Switches away from threads that run on another cpu next (E,)."""
    view = of_trace(trace)
    found = np.zeros(len(trace), bool)
    left: dict[int, int] = {}
    for row, prev, following in zip(*(x.tolist() for x in (view.switches, view.prev, view.next)), strict=True):
        if following in left and view.cpu[left[following]] != view.cpu[row]:
            found[left[following]] = following != IDLE
        left[prev] = row
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_left_out_shows_unless_a_gap_is_there(whole: Trace, kind: str) -> None:
    """Without some of its events the recording has each kind, with gaps in their place none."""
    out = {
        "not running": ["sched_switch"],
        "other prev": ["sched_switch"],
        "on two cpus": [],
        "not woken": ["sched_wakeup", "sched_wakeup_new"],
        "enter within a call": ["exits"],
        "exit without enter": ["enters"],
        "interrupt not entered": ["softirq_entry", "irq_handler_entry", "hrtimer_expire_entry"],
        "interrupt not left": ["softirq_exit", "irq_handler_exit", "hrtimer_expire_exit"],
    }[kind]
    codes, names = whole.names
    kinds = np.array(names)[codes]
    kinds[whole.phase == 0], kinds[whole.phase == 1] = "enters", "exits"
    draw = rng(1)
    gone = np.isin(kinds, out) & (draw.random(len(whole)) < 0.7)
    if kind == "on two cpus":
        gone = before_moves(whole)
    rows = np.flatnonzero(~gone)
    table = whole.table.take(rows)
    view = of_trace(replace(whole, table=table))
    assert wrong(view).get(kind)
    new = np.cumsum(~gone) - 1
    gaps: list[Gap] = []
    for cpu, own in whole.streams.items():
        kept = own[~gone[own]].tolist()
        for before, after in pairwise([None, *kept, None]):
            low, high = (-1 if before is None else before), (len(whole) if after is None else after)
            count = int(((own > low) & (own < high)).sum())
            begin, end = int(whole.time_ns[max(0, low)]), int(whole.time_ns[min(high, len(whole) - 1)])
            if count:
                sides = [None if r is None else int(new[r]) for r in (before, after)]
                gaps.append(Gap(len(gaps), cpu, sides[0], sides[1], begin, end, count, "counted", 0))
    assert wrong(of_trace(replace(whole, table=table, gaps=tuple(gaps)))) == {}


def test_where_transitions_lie() -> None:
    """Made up: a fill that goes on with thread 1 where 2 ran, and one that is elsewhere."""
    switch = {"prev_pid": "1", "prev_state": "S", "next_pid": "2"}
    events = [
        Event(10, 0, 1, "read", 0),
        Event(20, 0, 1, "sched_switch", fields=switch),
        Event(60, 0, 2, "write", 0),
        Event(70, 0, 3, "sched_exec"),
    ]
    gap = Gap(0, 0, 1, 2, 20, 60, 1, "counted", 0)
    view = of_trace(trace_of(events, [gap]), inferred_of([Event(40, 0, 1, "read", 1, gap=0)]))
    assert counted(view)["not running"] == {"within": 1, "behind": 1, "elsewhere": 1}
    assert {k for k, n in counted(view).items() if sum(n.values())} == {"not running"}


def shown(view: View, cpu: int, end: int) -> list[int]:
    """The thread at each ns, the slow way."""
    told = [(t, w) for t, c, w in zip(view.time_ns, view.cpu, view.after, strict=True) if c == cpu and w != UNKNOWN]
    return [next((int(w) for t, w in reversed(told) if t <= time), UNKNOWN) for time in range(end)]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(1, 40), st.integers(0, 5))
def test_right_time_and_cpu_time_are_those_counted_ns_by_ns(seed: int, events: int, gaps: int) -> None:
    trace, inferred, _ = soup(rng(seed), events, gaps)
    view, truth = of_trace(trace, inferred), of_trace(soup(rng(seed + 1), events, 0)[0])
    right, known = right_time(view, truth, trace.gaps)
    for gap, *found in zip(trace.gaps, right.tolist(), known.tolist(), strict=True):
        both = zip(*(shown(v, gap.cpu, gap.end_ns)[gap.begin_ns :] for v in (view, truth)), strict=True)
        told = [(a, b) for a, b in both if b != UNKNOWN]
        assert found == [sum(a == b for a, b in told), len(told)]
    for of, total in zip((view, truth), cpu_time(view, truth), strict=True):
        counted_ns = Counter[int]()
        for cpu in truth.running:
            end = int(max(v.running[cpu][0][-1] for v in (view, truth) if cpu in v.running))
            sides = (shown(v, cpu, end) for v in (of, truth))
            counted_ns.update(a for a, b in zip(*sides, strict=True) if b != UNKNOWN and a not in (UNKNOWN, IDLE))
        assert +total == counted_ns


def test_the_truth_shows_itself(pair: Pair) -> None:
    truth = of_truth(pair)
    right, known = right_time(truth, truth, pair.lossy.gaps)
    assert (right == known).all()
    assert known.sum() > 0
    times = cpu_time(truth, truth)
    assert times[0] == times[1]
    assert time_error(*times) == 0
    left = of_trace(pair.lossy, inside=recorded(pair.complete))
    assert 0 < right_time(left, truth, pair.lossy.gaps)[0].sum() < known.sum()
    assert 0 < time_error(*cpu_time(left, truth)) < 1


def test_cpu_time_by_hand() -> None:
    """Made up: thread 1 runs for 50 ns, 2 for 40, of which a gap hides 20."""
    on, off = ({"prev_pid": a, "prev_state": "R", "next_pid": b} for a, b in (("1", "2"), ("2", "1")))
    whole = [
        Event(0, 0, 1, "read", 0),
        Event(30, 0, 1, "sched_switch", fields=on),
        Event(70, 0, 2, "sched_switch", fields=off),
        Event(90, 0, 1, "read", 1),
    ]
    truth = of_trace(trace_of(whole))
    gap = Gap(0, 0, 0, 1, 0, 70, 1, "counted", 0)
    lossy = trace_of([whole[0], *whole[2:]], [gap])
    left = of_trace(lossy)
    assert cpu_time(left, truth) == ({1: 90}, {1: 50, 2: 40})
    assert time_error(*cpu_time(left, truth)) == 80 / 90
    assert [x.tolist() for x in right_time(left, truth, [gap])] == [[30], [70]]
    said = Event(40, 0, 1, "sched_switch", fields=on, gap=0)
    mended = of_trace(lossy, inferred_of([said]))
    assert cpu_time(mended, truth)[0] == {1: 60, 2: 30}
    assert [x.tolist() for x in right_time(mended, truth, [gap])] == [[60], [70]]


def test_a_trace_without_switches_says_nothing_of_who_runs() -> None:
    """Made up."""
    view = of_trace(trace_of([Event(1, 0, 1, "read", 0), Event(2, 0, 2, "read", 0), Event(3, 0, 1, "write", 0)]))
    assert wrong(view) == {}
    assert wrong(of_trace(trace_of([]))) == {}


@pytest.mark.long
@pytest.mark.parametrize("path", sorted((ROOT / "corpus" / "kernel" / "pairs").glob("*.parquet")), ids=lambda p: p.stem)
def test_gaps_left_open_add_nothing_to_what_recorders_overlooked(path: Path) -> None:
    """The kernel doesn't trace some threads, and what others did isn't in the corpus: a few wakeups are missing."""
    pair = read_pair(path)
    truth = {kind: sum(n.values()) for kind, n in counted(of_truth(pair)).items()}
    left = {kind: sum(n.values()) for kind, n in counted(of_trace(pair.lossy, inside=recorded(pair.complete))).items()}
    assert sum(truth.values()) <= 4
    assert all(left[kind] <= truth[kind] for kind in left)
