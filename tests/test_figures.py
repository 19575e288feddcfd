"""Figures of traces, corrected after losses: oracles, that they add up, what is exact, and what people see."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from conftest import ROOT, right, threads_on_cpus
from hypothesis import given, settings
from hypothesis import strategies as st

import tracemend
from tracemend.diffusion.gaps import lose
from tracemend.formats import read
from tracemend.judging.downstream import of_trace
from tracemend.mending.mended import HYPOTHESES, INFERRED, Mended
from tracemend.reckoning.counting import Count, Counted
from tracemend.reckoning.events import Surviving, recorded
from tracemend.reckoning.making import Reckoning
from tracemend.reckoning.tally import BY, CALLS, CPU, EVENTS, TIME, Asked, Tally
from tracemend.trace.events import Trace
from tracemend.trace.fields import SWITCH, numbers, values
from tracemend.trace.pieces import Piece, Size, cut

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


def kernel_trace() -> Trace:
    """The beginning of a real recording of a whole machine, complete."""
    trace = read(ROOT / "corpus" / "kernel" / "compress-0.parquet")
    return replace(trace, table=trace.table.slice(0, 3000))


def test_cpu_time_is_what_is_counted_event_by_event() -> None:
    trace = kernel_trace()
    rows, found = values(trace, SWITCH, ("next_pid",))
    following = dict(zip(rows.tolist(), numbers(found["next_pid"]).tolist(), strict=True))
    assert following
    assert recorded(trace) is None
    running: dict[int, tuple[int, int]] = {}
    by_thread: Counter[int] = Counter()
    by_cpu: Counter[int] = Counter()
    for row in np.argsort(trace.time_ns, kind="stable").tolist():
        cpu, now = int(trace.cpu[row]), int(trace.time_ns[row])
        who, since = running.get(cpu, (0, now))
        if who:
            by_thread[who] += now - since
            by_cpu[cpu] += now - since
        running[cpu] = following.get(row, int(trace.tid[row])), now
    made = tally(trace)
    assert {k: ns for k, (ns,) in columns(made, "thread", CPU).items()} == +by_thread
    assert {k: ns for k, (ns,) in columns(made, "cpu", CPU).items()} == +by_cpu
    assert sum(ns for (ns,) in columns(made, "time", CPU).values()) == by_cpu.total()


def counted(trace: Trace, size: Size, asked: Asked) -> Counted:
    whole = Counted(Count(asked, 2))
    for piece in cut(trace, size):
        whole.take(whole.count(piece, None))
    whole.close(int(trace.time_ns.max(initial=0)))
    return whole


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1 << 32), events=st.integers(1, 90), span=st.booleans())
def test_any_cut_gives_the_same_tally(seed: int, events: int, span: bool) -> None:
    rng = np.random.default_rng(seed)
    trace, _ = lose(threads_on_cpus(rng, 200, threads=5, cpus=3), rng, longest=20)
    times = np.sort(rng.choice(trace.time_ns, 2)).tolist()
    asked = Asked(BY, (times[0], times[1]) if span else None)
    whole, cut_up = counted(trace, Size(10**6), asked), counted(trace, Size(events, 20), asked)
    for made in (whole.observed, cut_up.observed):
        made.coarsen(10**9)
    assert cut_up.observed == whole.observed
    assert cut_up.fills[1].counts["call"] == whole.observed.counts["call"]
    assert cut_up.comms == whole.comms


def drawn_right(whole: Trace, lossy: Trace, lost: list[Any], draws: int = 2) -> Mended:
    """A mended trace of which all draws are what was lost."""
    mended = right(whole, lossy, lost)
    bare = mended.inferred.drop_columns("confidence")
    tables = [bare.add_column(1, "hypothesis", pa.array([h] * len(bare), pa.int32())) for h in range(draws)]
    table = pa.concat_tables(tables).cast(HYPOTHESES)
    return replace(mended, hypotheses=table, provenance={"options": {"hypotheses": draws}, "seed": 0})


def reckoning(mended: Mended, asked: Asked = ALL, draws: int = 2) -> Reckoning:
    made = Counted(Count(asked, draws))
    made.take(made.count(Piece.whole(mended.trace), mended))
    made.close(mended.outline.end_ns)
    return Reckoning(made, mended)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1 << 32), by=st.sampled_from(BY), span=st.booleans())
def test_right_draws_give_the_figures_of_what_happened(seed: int, by: str, span: bool) -> None:
    """And what no gap touches is exact: there what survived is all that happened."""
    rng = np.random.default_rng(seed)
    whole = threads_on_cpus(rng, 300, threads=5, cpus=3)
    lossy, lost = lose(whole, rng, longest=20)
    times = np.sort(rng.choice(whole.time_ns, 2)).tolist()
    asked = Asked((by,), (times[0], times[1]) if span else None)
    made = reckoning(drawn_right(whole, lossy, lost), asked).figures(by, 7)
    truth = reckoning(Mended(whole, INFERRED.empty_table(), (), {}), asked)
    real = truth.figures(by, 7)
    assert all(real.table["exact"].to_pylist())

    def rows(figures: tracemend.Figures, column: str) -> dict[Any, Any]:
        found = pa.concat_tables([figures.table, figures.total]).to_pylist()
        return {(r["figure"], r["key"], r["tid"], r["begin_ns"]): r[column] for r in found if r["estimate"]}

    assert rows(made, "estimate") == rows(real, "observed")
    for row in made.table.to_pylist():
        if row["exact"]:
            assert row["low"] == row["observed"] == row["estimate"] == row["high"]
        assert row["figure"] == "time_ns" or row["observed"] <= row["low"] <= row["estimate"] <= row["high"]
