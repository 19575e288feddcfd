"""Figures of traces, corrected after losses: oracles, that they add up, what is exact, and what people see."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import numpy as np
from conftest import threads_on_cpus
from hypothesis import given, settings
from hypothesis import strategies as st

from tracemend.diffusion.gaps import lose
from tracemend.judging.downstream import of_trace
from tracemend.reckoning.events import Surviving
from tracemend.reckoning.tally import BY, CALLS, EVENTS, TIME, Asked, Tally
from tracemend.trace.events import Trace
from tracemend.trace.pieces import Piece

ALL = Asked(BY)


def tally(trace: Trace, asked: Asked = ALL) -> Tally:
    made = Tally.of(Surviving(Piece.whole(trace)).events(), asked, trace.nested)
    made.close(int(trace.time_ns.max(initial=0)))
    return made


def by_hand(trace: Trace, by: str, width: int) -> dict[Any, list[int]]:
    """The slow way: calls, time in calls and events, event by event."""
    found: dict[Any, list[int]] = defaultdict(lambda: [0, 0, 0])
    open_call: dict[int, tuple[int, int, str]] = {}
    names, phases = trace.table["name"].to_pylist(), trace.table["phase"].to_pylist()

    def key(row: int) -> Any:
        own = (names[row], int(trace.tid[row]), int(trace.cpu[row]), int(trace.time_ns[row]) // width)
        return own[BY.index(by)]

    for row in np.argsort(trace.time_ns, kind="stable").tolist():
        found[key(row)][2] += 1
        tid = int(trace.tid[row])
        if phases[row] == "enter":
            found[key(row)][0] += 1
            open_call[tid] = row, int(trace.time_ns[row]), names[row]
        elif phases[row] == "exit":
            enter = open_call.pop(tid, None)
            if enter and enter[2] == names[row]:
                found[key(enter[0])][1] += int(trace.time_ns[row]) - enter[1]
            elif by in ("call", "thread"):
                found[key(row)][0] += 1
    return dict(found)


def columns(made: Tally, by: str, *which: int) -> dict[Any, list[int]]:
    return {k: [row[i] for i in which] for k, row in made.counts[by].items() if any(row[i] for i in which)}


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1 << 32), by=st.sampled_from(BY))
def test_a_tally_is_what_is_counted_event_by_event(seed: int, by: str) -> None:
    rng = np.random.default_rng(seed)
    whole = threads_on_cpus(rng, 300, threads=5, cpus=3)
    broken, _ = lose(whole, rng, longest=20)
    for trace in (whole, broken):
        made = tally(trace)
        assert columns(made, by, CALLS, TIME, EVENTS) == by_hand(trace, by, made.width)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_calls_are_those_that_fills_are_judged_by(seed: int) -> None:
    rng = np.random.default_rng(seed)
    broken, _ = lose(threads_on_cpus(rng, 300), rng, longest=20)
    made, told = tally(broken), of_trace(broken)
    calls: Counter[str] = Counter()
    for (_, name), n in told.calls.items():
        calls[name] += n
    assert {k: n for k, (n,) in columns(made, "call", CALLS).items()} == calls
    assert {k: ns for k, (ns,) in columns(made, "call", TIME).items()} == told.time_ns
