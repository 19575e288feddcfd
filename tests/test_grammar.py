"""Fills of a cpu whose switches were recorded: the search against brute force, and its grammar on real recordings."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import tracemend
from tracemend.judging.transitions import counted
from tracemend.judging.views import of_trace, of_truth
from tracemend.mending.beam import Candidates, Ending
from tracemend.mending.constraints import CLOSED, FREE, Threads, rules
from tracemend.mending.durations import STATES
from tracemend.mending.grammar import NOBODY, Cpu, search
from tracemend.mending.nesting import nest, nested
from tracemend.mending.room import need
from tracemend.mending.running import IDLE, READY, RUNS, WAITING, Running
from tracemend.mending.scheduled import since_when
from tracemend.reckoning.events import recorded
from tracemend.recording import pairs
from tracemend.trace.events import INSTANT, Trace
from tracemend.trace.fields import SWITCH
from tracemend.trace.vocabulary import Vocabulary

ROOT = Path(__file__).parents[1]
KERNEL = ROOT / "corpus" / "kernel" / "pairs"
VOCABULARY = Vocabulary([("a", 0), ("a", 1), (SWITCH, 2), ("irq_entry", 2), ("irq_exit", 2), ("sched_wakeup", 2)])
RULES = rules(VOCABULARY)
A, A_, SWITCHES, IRQ, IRQ_, WAKES = range(3, 9)
EVENTS = [A, A_, SWITCHES, IRQ, IRQ_, WAKES]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
NESTING = np.array([0, 0, 0, 0, 0, 0, 1, -1, 0])


class Way(NamedTuple):
    """A fill that was found by trying everything: its score, events, and who runs behind each."""

    score: float
    events: list[int]
    behind: list[int]


def all_woken(needs: list[tuple[int, int]], wakes: list[int]) -> bool:
    """Whether each of those that were switched to at a position and had begun to wait at another one (since, at) can
    have a wakeup in between for itself."""
    if not needs:
        return True
    (since, at), *others = needs
    fitting = [w for w in wakes if since <= w < at]
    return any(all_woken(others, [v for v in wakes if v != w]) for w in fitting)


def ways(candidates: Candidates, threads: Threads, silent: Floats, cpu: Cpu, since: Ints) -> Iterator[Way]:
    """Every fill that the grammar allows, by the words of the documentation rather than by the search's code. since
    (N, T): the position from which on a thread waits that does so at another one, -1 if it doesn't. silent: how likely
    the last thread is in each state in the end."""
    pinned = cpu.waits.pinned
    n, count = candidates.events.shape[0], len(threads.begin)
    for events in itertools.product(EVENTS, repeat=n):
        switches = [i for i, e in enumerate(events) if e == SWITCHES]
        for first in range(count) if cpu.begin == NOBODY else [cpu.begin]:
            for goes in itertools.product(range(count), repeat=len(switches)):
                running, states, stack = first, threads.begin.tolist(), cpu.begun
                wakes: list[int] = []
                needs: list[tuple[int, int]] = []
                came = {first: 0}
                score = float(candidates.log_t[0, first]) if cpu.begin == NOBODY else 0.0
                behind: list[int] = []
                to = iter(goes)
                for i, event in enumerate(events):
                    now = running
                    if not cpu.able[i, now]:
                        break
                    if event in (A, A_):
                        if stack or not (states[now] == A if event == A_ else states[now] == CLOSED):
                            break
                        states[now] = A if event == A else CLOSED
                    if event in (IRQ, IRQ_):
                        stack = nest(stack, int(NESTING[event]))
                        if stack < 0:
                            break
                    if event == WAKES and not pinned[i]:
                        wakes.append(i)
                    if event == SWITCHES:
                        running = next(to)
                        if since[i, running] > came.get(running, -1):
                            needs.append((int(since[i, running]), i))
                        came[running] = i
                        if stack or running == now or not all_woken(needs, wakes):
                            break
                    if not cpu.able[i + 1, running] or (pinned[i] and event != WAKES):
                        break
                    score += float(candidates.log_p[i, EVENTS.index(event)])
                    score += float(candidates.log_t[i + 1, running]) if i + 1 < n else 0.0
                    behind.append(running)
                else:
                    met = all(not need(s, e) for s, e in zip(states, threads.end.tolist(), strict=True))
                    if met and stack == cpu.left and cpu.end in (NOBODY, running):
                        yield Way(score + float(silent[states[-1]]), list(events), behind)


def waiting(rng: np.random.Generator, n: int, count: int, share: float) -> Ints:
    """Since which position each thread waits at each one, -1 if it doesn't."""
    since = np.full((n, count), -1)
    for t in range(count):
        for i in range(n):
            if rng.random() < share:
                since[i, t] = i if i == 0 or since[i - 1, t] < 0 or rng.random() < share else since[i - 1, t]
    return since


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_likeliest_fill_that_the_grammar_allows(data: st.DataObject) -> None:
    n, count = data.draw(st.integers(1, 3)), data.draw(st.integers(2, 3))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**31)))
    states = st.sampled_from([A, CLOSED])
    begin = np.array([data.draw(states) for _ in range(count)])
    end = np.array([FREE, *(data.draw(st.sampled_from([A, CLOSED, FREE])) for _ in range(count - 1))])
    anywhere = np.zeros(count, np.int64), np.full(count, n)
    threads = Threads(np.arange(count) - 1, begin, end, *anywhere, *anywhere)
    edges = st.sampled_from([NOBODY, *range(count)])
    able = rng.random((n + 1, count)) < data.draw(st.sampled_from([1.0, 0.8]))
    able[:, 0] = True
    nests = st.sampled_from([0, 1])
    begins, ends = data.draw(edges), data.draw(edges)
    since = waiting(rng, n, count, data.draw(st.sampled_from([0.0, 0.5])))
    since[:, 0] = -1
    if begins != NOBODY and (since[:, begins] == 0).any():
        since[:, begins] = -1
    cpu = Cpu(
        able,
        np.zeros(count, bool),
        begins,
        ends,
        SWITCHES,
        NESTING,
        data.draw(nests),
        data.draw(nests),
        since_when(since, WAKES, rng.random(n) < data.draw(st.sampled_from([0.0, 0.3]))),
    )
    p = rng.dirichlet(np.ones(len(EVENTS)), n).astype(np.float32) + np.float32(1e-3)
    q = rng.dirichlet(np.ones(count), n).astype(np.float32) + np.float32(1e-3)
    events = np.tile(EVENTS, (n, 1)).astype(np.int64)
    candidates = Candidates(events, p, np.log(p), q, np.log(q).astype(np.float64))
    ending = Ending(np.log(rng.random(len(VOCABULARY) + STATES)), np.zeros((n, count), np.float32))
    ending.last[:, -1] = np.linspace(0, 1, n)
    ending.last[-1, -1] = 1
    every = list(ways(candidates, threads, ending.silence, cpu, since))
    found, best, behind = search(candidates, threads, ending, cpu, RULES, np.array([A]), 200)
    if not every:
        return  # the search has events to fall back on that nobody proposed
    assert found
    most = max(way.score for way in every)
    assert (best.ids.tolist(), behind.tolist()) in [(w.events, w.behind) for w in every if w.score > most - 1e-4]


def test_interrupts_are_open_as_far_as_they_were_seen() -> None:
    kinds = np.array([-1, 1, 0, 2, 0, -2, -1, -2, 1, -1])
    breaks = np.zeros(10, bool)
    breaks[7] = True
    stacks, wrong = nested(kinds, breaks)
    assert stacks.tolist() == [0, 1, 1, 8 + 2, 8 + 2, 1, 0, 0, 1, 0]
    assert wrong == 0  # in front of the break anything may have begun
    assert nested(np.array([1, -1, -2]), np.zeros(3, bool))[1] == 1


@pytest.fixture(scope="module")
def mended() -> tuple[pairs.Pair, tracemend.Mended]:
    """A recording of a whole machine that really lost events, filled with as many as it lost."""
    path = KERNEL / "sort-2-kernel_overwrite.parquet"
    if not path.exists():
        pytest.skip("no corpus/kernel here")
    pair = pairs.read(path).told()
    return pair, tracemend.mend(pair.lossy, "mosaic", alone=True)


def test_who_runs_follows_the_switches(mended: tuple[pairs.Pair, tracemend.Mended]) -> None:
    pair, result = mended
    running = Running(pair.lossy)
    assert running.whole
    table = result.inferred
    names, tids = table["name"].to_pylist(), table["tid"].to_pylist()
    fields = [dict(f) for f in table["fields"].to_pylist()]
    switches = 0
    for gap in pair.lossy.gaps:
        rows = np.flatnonzero(table["gap"].to_numpy() == gap.number)
        edges = running.edges(gap)
        runs = edges.before
        for row in rows.tolist():
            assert runs in (-1, tids[row])
            runs = tids[row]
            if names[row] == SWITCH:
                switches += 1
                runs = int(fields[row]["next_pid"]["value"]) if "next_pid" in fields[row] else -1
                assert runs != tids[row]
        if len(rows):
            assert edges.behind in (-1, runs) or runs == -1
    assert switches > 50


def impossible(pair: pairs.Pair, inferred: pa.Table | None) -> dict[str, int]:
    """How many impossible transitions of each kind a viewer shows."""
    inside = recorded(pair.complete)
    view = of_truth(pair) if inferred is None else of_trace(pair.lossy, inferred, inside)
    return {kind: sum(n.values()) for kind, n in counted(view).items()}


def added(pair: pairs.Pair, inferred: pa.Table) -> int:
    """How many impossible transitions the fills bring, besides what the complete recording has itself."""
    true = impossible(pair, None)
    return sum(max(0, n - true[kind]) for kind, n in impossible(pair, inferred).items())


def test_no_view_falls_into_an_impossible_state(mended: tuple[pairs.Pair, tracemend.Mended]) -> None:
    assert added(mended[0], mended[1].inferred) == 0


@pytest.mark.long
@pytest.mark.parametrize("path", sorted(KERNEL.glob("*.parquet")), ids=lambda p: p.stem)
@pytest.mark.parametrize("alone", [True, False], ids=["alone", "with examples"])
def test_no_view_of_any_recording_does(path: Path, alone: bool) -> None:
    pair = pairs.read(path).told()
    assert added(pair, tracemend.mend(pair.lossy, "mosaic", alone=alone).inferred) == 0


def test_nobody_runs_on_two_cpus(mended: tuple[pairs.Pair, tracemend.Mended]) -> None:
    pair, result = mended
    running = Running(pair.lossy)
    table = result.inferred
    gaps, tids, times = (table[c].to_numpy() for c in ("gap", "tid", "time_ns"))
    for gap in pair.lossy.gaps:
        own = np.flatnonzero(gaps == gap.number)
        who = np.unique(tids[own])
        able = running.able(gap, who, times[own])
        assert able[np.arange(len(own)), np.searchsorted(who, tids[own])].all()


def text(events: list[tuple[int, int, int, str]]) -> str:
    """Lines of ftrace (made up): thread, cpu, microseconds, event."""
    return "# tracer: nop\n" + "".join(f"  x-{t} [{c:03}] ..... 1.{us:06}: {e}\n" for t, c, us, e in events)


def switch(prev: int, state: str, following: int) -> str:
    return (
        f"sched_switch: prev_comm=x prev_pid={prev} prev_prio=120 prev_state={state} ==> "
        f"next_comm=x next_pid={following} next_prio=120"
    )


def read(tmp_path: Path, events: list[tuple[int, int, int, str]]) -> Trace:
    (tmp_path / "trace.txt").write_text(text(events))
    return tracemend.read(tmp_path / "trace.txt")


def test_what_is_known_of_threads(tmp_path: Path) -> None:
    trace = read(
        tmp_path,
        [
            (1, 0, 100, switch(1, "S", 2)),
            (2, 0, 200, switch(2, "R", 3)),
            (3, 0, 300, "sched_wakeup: comm=x pid=1 prio=120 target_cpu=000"),
            (3, 0, 400, switch(3, "S", IDLE)),
        ],
    )
    running = Running(trace)
    gap = tracemend.Gap(0, 1, None, None, trace.time_ns[0], trace.time_ns[3], 2, "counted", 0)
    times = trace.time_ns[:3] + 50_000
    told, since = running.readiness(np.array([1, 2, 3, 9]), times)
    assert told[:, 0].tolist() == [WAITING, WAITING, READY]
    assert told[:, 1].tolist() == [RUNS, READY, READY]
    assert told[:, 2].tolist() == [0, RUNS, RUNS]
    assert not told[:, 3].any()
    assert (since[:, 0] - trace.time_ns[0]).tolist() == [0, 0, 200_000]
    able = running.able(gap, np.array([1, 2, 3, IDLE]), times)
    assert able[:, 0].all()  # from where on it ran isn't known
    assert able[:, 1].tolist() == [False, False, True, True]
    assert able[:, 2].tolist() == [True, False, False, False]
    assert able[:, 3].all()
    assert trace.phase[0] == INSTANT


#: Two threads that take turns, each of which waits in between; nobody says who wakes them.
TURNS = [
    event
    for k in range(0, 120, 6)
    for event in (
        (1, 0, 100 + k, "sys_futex(uaddr: 1)"),
        (1, 0, 101 + k, switch(1, "S", 2)),
        (2, 0, 102 + k, "sys_futex -> 0x0"),
        (2, 0, 103 + k, "sys_futex(uaddr: 1)"),
        (2, 0, 104 + k, switch(2, "S", 1)),
        (1, 0, 105 + k, "sys_futex -> 0x0"),
    )
]


def test_no_wakeup_is_asked_for_where_none_were_recorded(tmp_path: Path) -> None:
    lines = text(TURNS[1:]).splitlines(keepends=True)
    lost = lines[40:53]
    (tmp_path / "trace.txt").write_text("".join([*lines[:40], f"CPU:0 [LOST {len(lost)} EVENTS]\n", *lines[53:]]))
    trace = tracemend.read(tmp_path / "trace.txt")
    assert [g.count for g in trace.gaps] == [len(lost)]
    result = tracemend.mend(trace, "mosaic", alone=True)
    assert [(f.status, f.events, f.unmet) for f in result.fills] == [("filled", len(lost), 0)]
    names = result.inferred["name"].to_pylist()
    assert set(names) == {"futex", SWITCH}
    assert names.count(SWITCH) >= 4
    assert sum(map(sum, (n.values() for n in counted(of_trace(trace, result.inferred)).values()))) == 0


@pytest.mark.long
def test_idle_threads_make_no_calls() -> None:
    path = KERNEL / "make-2-kernel_overwrite.parquet"
    if not path.exists():
        pytest.skip("no corpus/kernel here")
    table = tracemend.mend(pairs.read(path).lossy, "mosaic", alone=True).inferred
    idle = table.filter(pa.array(table["tid"].to_numpy() == IDLE))
    assert idle.num_rows
    assert set(idle["phase"].to_pylist()) == {"instant"}
