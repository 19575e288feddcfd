"""How long calls take, what silence says of a gap's end, and where the rest of a gap's time goes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from conftest import make_trace, rng, threads_on_cpus
from hypothesis import given, settings
from hypothesis import strategies as st

from tracemend.diffusion.gaps import lose
from tracemend.mending.constraints import CLOSED, ENDED, FREE, OPEN, UNSEEN, Threads, rules
from tracemend.mending.durations import LONGEST, STATES, STEPS, Durations, step_of
from tracemend.mending.run import mend_trace
from tracemend.mending.search import Manner, decode
from tracemend.mending.timelines import Timelines
from tracemend.trace.events import ENTER, EXIT, PHASES, Gap, Trace
from tracemend.trace.vocabulary import universal


def durations(trace: Trace) -> tuple[Durations, Timelines]:
    vocabulary = universal().extended(trace)
    timelines = Timelines(trace, vocabulary.encode(trace).astype(np.int64), rules(vocabulary))
    return Durations(timelines.spans, vocabulary), timelines


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), lossy=st.booleans())
def test_spans_are_those_of_a_plain_look(seed: int, lossy: bool) -> None:
    """Each thread's calls and the times between them, but for those of which too much was lost."""
    trace = threads_on_cpus(rng(seed), 300, threads=4, cpus=2)
    if lossy:
        trace, _ = lose(trace, rng(seed), share=0.2, longest=30)
    names, phases = trace.table["name"].to_pylist(), trace.phase.tolist()
    expected = []
    for rows in trace.threads.values():
        for a, b in zip(rows[:-1].tolist(), rows[1:].tolist(), strict=True):
            span = int(trace.time_ns[a]), int(trace.time_ns[b])
            gone = [
                sum(max(0, min(g.end_ns, span[1]) - max(g.begin_ns, span[0])) for g in trace.gaps if g.cpu == cpu)
                for cpu in (trace.cpu[a], trace.cpu[b])
            ]
            call = phases[a] == ENTER and phases[b] != ENTER and names[a] == names[b]
            if (call or (phases[a] != ENTER and phases[b] == ENTER)) and max(gone) <= (span[1] - span[0]) / 2:
                expected.append(span[1] - span[0])
    spans = durations(trace)[1].spans
    assert sorted(spans.lasted[spans.lasted >= 0].tolist()) == sorted(expected)


def test_tails_fall_and_unknown_states_say_nothing() -> None:
    found, _ = durations(threads_on_cpus(rng(1), 500))
    assert (np.diff(found.log_tail, axis=1) <= 0).all()
    assert np.isfinite(found.log_tail).all()
    assert found.log_tail.shape == (len(universal()) + STATES, LONGEST)
    for state in (FREE, UNSEEN, ENDED):
        assert not found.silence(np.array([state]), 1e12).any()
    assert found.by_state(0) is None
    assert (found.by_state(10**9) == found.log_tail[:, step_of(np.array([10**9]))[0]]).all()
    for step in (40, 100, LONGEST - STEPS):
        assert step_of(np.array([2 ** (step / STEPS) + 1]))[0] == step


def test_calls_that_wait_may_last() -> None:
    """By the examples alone: a trace of two events tells nothing. What the trace itself shows counts more."""
    states = np.array([universal().id(name, ENTER) for name in ("close", "openat", "wait4")])
    found, _ = durations(make_trace([(0, 0, 7, "getpid", 0), (1000, 0, 7, "getpid", 1)]))
    close, openat, wait4 = found.silence(states, 10_000_000)
    assert close < openat < wait4
    own, _ = durations(make_trace([(i * 10**9, 0, 7, "close", i % 2) for i in range(40)]))
    assert own.silence(states, 800_000_000)[0] > np.log(0.5)


def test_silence_behind_a_gap_weighs_and_does_not_bind() -> None:
    """Made up: the last event enters close, says what is proposed, and nothing more is seen of the thread."""
    found, timelines = durations(make_trace([(0, 0, 7, "getpid", 0), (1000, 0, 7, "getpid", 1)]))
    vocabulary = universal()
    close, poll, done = vocabulary.id("close", ENTER), vocabulary.id("poll", ENTER), vocabulary.id("close", EXIT)
    events = np.array([[close, poll, done]])
    threads = Threads(*np.array([[-1, FREE, FREE, 0, 1, OPEN, OPEN], [7, CLOSED, FREE, 0, 1, OPEN, OPEN]]).T.copy())
    who = np.array([[0.0, 1.0]], np.float32)

    def last(p: float, silence_ns: int, end: int = FREE) -> int:
        asked = threads._replace(end=np.array([FREE, end]))
        manner = Manner(silence=found.by_state(silence_ns))
        return int(decode(events, np.array([[p, 1 - p, 0.0]], np.float32), who, asked, timelines.rules, manner).ids[0])

    assert last(0.9, 0) == close
    assert last(0.9, 1_000) == close  # not long
    assert last(0.9, 10**9) == poll
    assert last(0.999, 10**9) == poll
    assert last(0.9, 10**9, end=close) == close  # what survived binds


def test_the_rest_of_the_time_goes_where_nobody_need_do_anything() -> None:
    """Made up: a second is lost while a thread reads, closes, polls and closes."""
    rows = [(1000 * i, 0, 7, ("read", "close", "poll", "close")[i // 2 % 4], i % 2) for i in range(400)]
    late = [(r[0] + (10**9 if i >= 210 else 0), *r[1:]) for i, r in enumerate(rows)]
    kept = [r for i, r in enumerate(late) if not 202 <= i < 210]
    gap = Gap(0, 0, 201, 202, late[201][0], late[210][0], 8, "counted", 1)
    table = mend_trace(replace(make_trace(kept), gaps=(gap,))).inferred
    times = [late[201][0], *table["time_ns"].to_pylist(), late[210][0]]
    names = ["", *zip(table["name"].to_pylist(), table["phase"].to_pylist(), strict=True)]
    took = dict(zip(names, np.diff(times).tolist(), strict=True))  # by what it began with
    assert names[1:] == [
        ("poll" if i // 2 % 4 == 2 else "close" if i // 2 % 2 else "read", PHASES[i % 2]) for i in range(202, 210)
    ]
    assert took["poll", "enter"] > 100 * took["close", "enter"]
