"""The figures that people make from traces."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from conftest import make_trace, right, threads_on_cpus
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tracemend.diffusion.gaps import lose
from tracemend.formats import read
from tracemend.judging.downstream import descriptor_error, errors, of_mended, of_trace
from tracemend.mending.mended import FIELDS, INFERRED, Mended
from tracemend.mending.run import mend_trace
from tracemend.trace.events import PHASES, Gap
from tracemend.trace.syscalls import DESCRIPTORS, all_names


def test_figures_by_hand() -> None:
    rows = [
        (0, 0, 1, "read", 0),
        (5, 0, 1, "read", 1),
        (6, 0, 1, "write", 0),
        (7, 1, 2, "read", 0),
        (9, 0, 1, "write", 1),
        (10, 0, 1, "close", 1),  # its enter was lost
        (11, 1, 2, "futex", 0),  # the exit of read was lost, and this one's
        (12, 1, 2, "sched_switch", 2),
    ]
    made = of_trace(make_trace(rows))
    expected = {(1, "read"): 1, (1, "write"): 1, (1, "close"): 1, (2, "read"): 1, (2, "futex"): 1}
    assert made.calls == Counter(expected)
    assert made.time_ns == Counter({"read": 5, "write": 3})
    assert made.unpaired == 3
    assert errors(made, made) == {"call_counts": 0, "time_shares": 0, "unpaired": 0, "descriptors": 0}
    part = of_trace(make_trace(rows[:2]))
    assert errors(made, part) == {
        "call_counts": pytest.approx(4 / 5),
        "time_shares": pytest.approx(3 / 8),
        "unpaired": pytest.approx(3 / 5),
        "descriptors": 1,  # the only one that was closed is missing
    }
    assert errors(made, of_trace(make_trace([])))["call_counts"] == 1


def test_a_fill_that_is_right_gives_the_figures_of_the_complete_trace() -> None:
    whole = threads_on_cpus(np.random.default_rng(3), 4000)
    lossy, lost = lose(whole, np.random.default_rng(4), longest=30)
    assert set(errors(of_trace(whole), of_mended(right(whole, lossy, lost))).values()) == {0}


def test_mending_a_recording_makes_its_call_counts_better() -> None:
    """Of a real one: what calls a made-up one has at random nobody can know."""
    whole = read(Path(__file__).parents[1] / "corpus" / "awk-sed-2.parquet")
    whole = replace(whole, table=whole.table.slice(0, 4000))
    lossy, _ = lose(whole, np.random.default_rng(4), longest=30)
    truth = of_trace(whole)
    left, filled = errors(truth, of_trace(lossy)), errors(truth, of_mended(mend_trace(lossy)))
    assert filled["call_counts"] < left["call_counts"] / 2


def test_every_call_that_opens_or_closes_descriptors_is_one() -> None:
    assert not set(DESCRIPTORS) - set(all_names())


def test_descriptors_by_hand() -> None:
    truth = {(1, "openat"): 5, (1, "close"): 3, (2, "pipe2"): 1, (2, "close"): 1, (2, "read"): 9}
    assert descriptor_error(truth, truth) == 0
    assert descriptor_error(truth, {}) == pytest.approx((2 + 1) / (5 + 3 + 2 + 1))
    # two calls too many that settle each other, and one descriptor of the other thread left open
    assert descriptor_error(truth, {**truth, (1, "openat"): 6, (1, "close"): 4}) == 0
    assert descriptor_error(truth, {**truth, (2, "close"): 0, (2, "read"): 0}) == pytest.approx(1 / 11)
    # a thread more or another one is as wrong as a number
    assert descriptor_error({(1, "dup"): 1}, {(2, "dup"): 1}) == 2
    assert descriptor_error({(1, "read"): 1}, {(1, "dup"): 3}) == 3


calls = st.lists(st.tuples(st.integers(1, 3), st.sampled_from(["openat", "socketpair", "close", "read"])), max_size=30)


@given(truth=calls, other=calls)
def test_descriptors_are_those_of_a_table_of_open_ones(
    truth: list[tuple[int, str]], other: list[tuple[int, str]]
) -> None:
    """Each call is played on a number of open descriptors that began at 100."""

    def left_open(made: list[tuple[int, str]]) -> tuple[dict[int, int], int]:
        still, touched = dict.fromkeys(range(1, 4), 100), 0
        for tid, name in made:
            for step in {"openat": [1], "socketpair": [1, 1], "close": [-1], "read": []}[name]:
                still[tid] += step
                touched += 1
        return still, touched

    (real, touched), (found, _) = left_open(truth), left_open(other)
    expected = sum(abs(real[t] - found[t]) for t in real) / max(1, touched)
    assert descriptor_error(Counter(truth), Counter(other)) == pytest.approx(expected)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 32), tick=st.integers(1, 8))
def test_events_of_the_same_time_pair_by_their_place_in_the_stream(seed: int, tick: int) -> None:
    """A clock so coarse that gaps begin and end within one of its ticks; each thread stays on its cpu."""
    rng = np.random.default_rng(seed)
    inside = dict.fromkeys(range(4), "")
    rows = []
    for i in range(200):
        tid = int(rng.integers(4))
        name = inside[tid] or str(rng.choice(["read", "write", "close"]))
        rows.append((i // tick, tid % 2, tid, name, int(bool(inside[tid]))))
        inside[tid] = "" if inside[tid] else name
    whole = make_trace(rows)
    lossy, lost = lose(whole, rng, longest=6)
    assume(lost)
    assert of_mended(right(whole, lossy, lost)) == of_trace(whole)


def test_the_order_of_a_mended_trace_by_hand() -> None:
    trace = make_trace([(5, 0, 1, "read", 0), (5, 1, 2, "read", 0), (5, 0, 1, "write", 1), (6, 1, 2, "read", 1)])
    gap = Gap(7, 0, 0, 2, 5, 5, 2, "counted", 3)
    first = Gap(3, 1, None, 1, 5, 5, 1, "counted", 2)
    last = Gap(9, 1, 3, None, 6, 6, 1, "counted", 5)
    rows = [(3, 5, 2, "write", 1), (7, 5, 1, "read", 1), (7, 5, 1, "write", 0), (9, 6, 2, "close", 0)]
    number, time, tid, name, phase = zip(*rows, strict=True)
    columns = {"gap": number, "cpu": [0] * 4, "time_ns": time, "tid": tid, "comm": [None] * 4, "name": name}
    columns |= {"phase": [PHASES[p] for p in phase], "confidence": [1.0] * 4}
    columns["fields"] = pa.array([()] * 4, FIELDS)
    mended = Mended(trace.with_gaps((gap, first, last)), pa.table(columns).cast(INFERRED), (), {})
    assert mended.order.tolist() == [0, 4, 1, 5, 6, 2, 3, 7]
    # the exit and the enter at the edges have lost their other halves, all else is paired
    assert of_mended(mended).unpaired == 2
