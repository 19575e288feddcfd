"""Properties of every fill: counts, places, order, constraints, determinism."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from conftest import DEMO, make_trace, odd_pairs, rng, threads_on_cpus
from heads import head, pair_of
from hypothesis import given, settings
from hypothesis import strategies as st

import tracemend
from tracemend.diffusion.gaps import lose
from tracemend.errors import ModelError
from tracemend.menders import Copy, Lookup, Mosaic, MostFrequent
from tracemend.menders.base import Mender
from tracemend.mending.beliefs import Beliefs, Filled
from tracemend.mending.choosing import nearest_in_counts
from tracemend.mending.filling import Filling
from tracemend.mending.mended import Mended
from tracemend.mending.options import AMONG, Options
from tracemend.mending.run import mend_trace
from tracemend.mending.times import spread
from tracemend.recording import Pair, align
from tracemend.trace.events import Gap, Trace
from tracemend.trace.vocabulary import universal
from tracemend.trace.windows import streams

FILL = Filling.fill
MENDERS: dict[str, Callable[[], Mender | None]] = {
    "lookup": lambda: None,
    "copy": Copy,
    "most frequent": MostFrequent,
}


def check_places(trace: Trace, mended: Mended) -> None:
    """Counts equal the tracer's; events lie inside their gap, in order, on its cpu."""
    table = mended.inferred
    number, cpu, time = (table[c].to_numpy() for c in ("gap", "cpu", "time_ns"))
    for gap, fill in zip(trace.gaps, mended.fills, strict=True):
        at = number == gap.number
        assert fill.status == "filled"
        assert at.sum() == fill.events == gap.count
        assert (cpu[at] == gap.cpu).all()
        steps = np.diff(time[at])
        if gap.duration_ns > 2 * at.sum():
            assert (time[at] > gap.begin_ns).all()
            assert (time[at] < gap.end_ns).all()
        else:
            assert (time[at] >= gap.begin_ns).all()
            assert (time[at] <= gap.end_ns).all()
        assert (steps >= 0).all()


@pytest.mark.parametrize("name", MENDERS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), cpus=st.integers(1, 3), threads=st.integers(1, 6), longest=st.integers(1, 150))
def test_every_gap_is_filled_within_reason(name: str, seed: int, cpus: int, threads: int, longest: int) -> None:
    complete = threads_on_cpus(rng(seed), 400, threads=threads, cpus=cpus)
    assert odd_pairs(complete) == []
    lossy, _ = lose(complete, rng(seed + 1), longest=longest)
    mended = mend_trace(lossy, MENDERS[name]())
    check_places(lossy, mended)
    if all(f.unmet == 0 for f in mended.fills):
        assert odd_pairs(lossy, mended) == []


def test_most_obligations_are_met() -> None:
    """The property above says nothing where obligations are unmet, so those must be rare."""
    unmet = events = 0
    for seed in range(12):
        lossy, _ = lose(threads_on_cpus(rng(seed), 600), rng(seed), longest=60)
        mended = mend_trace(lossy)
        unmet += sum(f.unmet for f in mended.fills)
        events += mended.inferred.num_rows
    assert events > 1000
    assert unmet < 0.01 * events


def test_a_pending_call_is_closed_and_an_orphaned_exit_opened() -> None:
    """Made up: read is open when the gap begins, write's exit survives behind it."""
    rows = []
    time = 0
    for _ in range(20):
        for name in ("read", "write"):
            for phase in (0, 1):
                rows.append((time := time + 1000, 0, 7, name, phase))
    complete = make_trace(rows)
    lossy = replace(
        make_trace([r for i, r in enumerate(rows) if i not in (41, 42)]),
        gaps=(Gap(0, 0, 40, 41, rows[40][0], rows[43][0], 2, "counted", 42),),
    )
    mended = mend_trace(lossy)
    assert mended.inferred["name"].to_pylist() == ["read", "write"]
    assert mended.inferred["phase"].to_pylist() == ["exit", "enter"]
    assert mended.inferred["tid"].to_pylist() == [7, 7]
    assert odd_pairs(complete) == odd_pairs(lossy, mended) == []


def test_a_thread_that_runs_elsewhere_is_not_put_into_the_gap() -> None:
    """Made up: thread 8 has events on cpu 1 all through cpu 0's gap, so it can't be in it."""
    rows = []
    for i in range(200):
        rows.append((i * 1000, 0, 7, "read", i % 2))
        rows.append((i * 1000 + 500, 1, 8, "write", i % 2))
    lost = [i for i, r in enumerate(rows) if r[1] == 0 and 50_000 <= r[0] < 150_000]
    kept = [r for i, r in enumerate(rows) if i not in lost]
    before = max(i for i, r in enumerate(kept) if r[1] == 0 and r[0] < 50_000)
    after = min(i for i, r in enumerate(kept) if r[1] == 0 and r[0] >= 150_000)
    gap = Gap(0, 0, before, after, kept[before][0], kept[after][0], len(lost), "counted", 1)
    mended = mend_trace(replace(make_trace(kept), gaps=(gap,)))
    assert set(mended.inferred["tid"].to_pylist()) == {7}
    assert odd_pairs(make_trace(kept), mended) == []


def test_gaps_without_a_count_are_left_or_estimated() -> None:
    complete = threads_on_cpus(rng(3), 800)
    lossy, missing = lose(complete, rng(4), longest=80)
    unknown = replace(lossy, gaps=tuple(replace(g, count=None, known="uncounted") for g in lossy.gaps))
    left = mend_trace(unknown)
    assert {f.status for f in left.fills} == {"left"}
    assert left.inferred.num_rows == 0
    guessed = mend_trace(unknown, options=Options(unknown="estimate"))
    assert all(f.estimated for f in guessed.fills if f.status == "filled")
    true = sum(len(m) for m in missing)
    assert 0.5 * true < guessed.inferred.num_rows < 2 * true


def test_refusal_leaves_out_what_is_below() -> None:
    lossy, _ = lose(threads_on_cpus(rng(5), 800), rng(6), longest=200)
    everything = mend_trace(lossy)
    middle = float(np.median([f.confidence for f in everything.fills if f.confidence is not None]))
    some = mend_trace(lossy, options=Options(refuse=middle))
    refused = [f for f in some.fills if f.status == "refused"]
    assert refused
    assert len(refused) < len(some.fills)
    assert all(f.reason and f.events == 0 for f in refused)
    assert all(f.confidence is not None and (f.confidence < middle) == (f.status == "refused") for f in some.fills)
    assert some.inferred.num_rows < everything.inferred.num_rows


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), longest=st.integers(1, 60), blocks=st.booleans())
def test_every_hypothesis_is_a_history(seed: int, longest: int, blocks: bool) -> None:
    """As many events, within the gaps, and no call out of order from the first gap to behind the last: in gaps drawn
    block by block, too."""
    complete = threads_on_cpus(rng(seed), 400, threads=3, cpus=2)
    lossy, _ = lose(complete, rng(seed + 1), share=0.2, longest=longest)
    mender = Mosaic(streams(lossy, universal().extended(lossy), shortest=1))
    mender.longest = 8 if blocks else mender.longest
    unmet: Counter[int] = Counter()

    def fill(run: Filling, gap: Gap, count: int, beliefs: Beliefs) -> tuple[Filled, int]:
        filled, without_room = FILL(run, gap, count, beliefs)
        unmet[id(run)] += without_room
        return filled, without_room

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Filling, "fill", fill)
        mended = mend_trace(lossy, mender, Options(hypotheses=3, seed=seed))
    assert mended.inferred.equals(mend_trace(lossy, mender).inferred)  # the fills are what they are without them
    assert mended.hypotheses is not None
    assert all(0 <= f.agreement <= 1 for f in mended.fills if f.agreement is not None)
    for k, without_room in enumerate(list(unmet.values())[1:] if lossy.gaps else ()):
        drawn = mended.hypotheses.filter(pc.equal(mended.hypotheses["hypothesis"], k)).drop_columns("hypothesis")
        one = replace(mended, inferred=drawn.append_column("confidence", pa.nulls(len(drawn))))
        check_places(lossy, one)
        if not without_room:
            assert odd_pairs(lossy, one) == []


@pytest.mark.long
def test_a_fill_for_figures_is_a_fill() -> None:
    """Nearest in its counts to all that was drawn, and as sure as the beliefs in each of its events."""
    lossy, _ = lose(threads_on_cpus(rng(2), 800, threads=3), rng(3), longest=80)
    asked = Options(suits="figures", hypotheses=AMONG)
    mended = mend_trace(lossy, options=asked)
    check_places(lossy, mended)
    assert any(f.unmet for f in mended.fills) or odd_pairs(lossy, mended) == []
    assert mended.provenance["options"]["suits"] == "figures"
    assert mend_trace(lossy, options=asked).inferred.equals(mended.inferred)
    assert mend_trace(lossy, options=Options(suits="figures")).inferred.equals(mended.inferred)
    usual = mend_trace(lossy, options=Options(hypotheses=AMONG))
    hypotheses = usual.hypotheses
    assert hypotheses is not None
    assert hypotheses.equals(mended.hypotheses)  # they are drawn beside it, not from it

    def apart(one: Mended) -> int:
        """How far the counts are from those of the hypotheses."""
        found = 0
        for gap in lossy.gaps:
            own = counts(one.inferred.filter(pc.equal(one.inferred["gap"], gap.number)))
            drawn = hypotheses.filter(pc.equal(hypotheses["gap"], gap.number))
            for k in range(AMONG):
                other = counts(drawn.filter(pc.equal(drawn["hypothesis"], k)))
                found += sum((own - other).values()) + sum((other - own).values())
        return found

    assert apart(mended) < apart(usual)
    with pytest.raises(ModelError, match="lookup has no hypotheses, only mosaic has"):
        mend_trace(lossy, options=Options(suits="figures"), copier=Lookup)


def counts(events: pa.Table) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(events[c].to_pylist() for c in ("tid", "name", "phase")), strict=True))


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 12), st.integers(1, 9), st.integers(0, 2**31))
def test_the_nearest_in_counts(n: int, number: int, seed: int) -> None:
    chance, none = rng(seed), np.zeros(n, np.int64)
    gap = Gap(0, 0, 0, 1, 0, 9, n, "counted", 1)
    fills = [
        Filled(gap, chance.integers(3, 6, n), chance.integers(-1, 2, n), none, np.zeros(n, np.float32), none)
        for _ in range(number)
    ]
    tallies = [Counter(zip(f.ids.tolist(), f.tids.tolist(), strict=True)) for f in fills]
    apart = [sum(sum(((a - b) + (b - a)).values()) for b in tallies) for a in tallies]
    assert nearest_in_counts(fills) == apart.index(min(apart))


def test_hypotheses_are_as_frequent_as_what_they_are_copied_from() -> None:
    """Three times in four poll is followed by read and write, else by mmap and munmap, as chance will have it."""
    words = rng(1).random(300) < 0.25
    calls = [call for w in words for call in ("poll", *(("mmap", "munmap") if w else ("read", "write")))]
    rows = [(1000 * i, 0, 7, calls[i // 2], i % 2) for i in range(2 * len(calls))]
    lost = slice(902, 906)  # what followed one poll, both calls of it
    gap = Gap(0, 0, 901, 902, rows[901][0], rows[906][0], 4, "counted", 902)
    lossy = replace(make_trace(rows[: lost.start] + rows[lost.stop :]), gaps=(gap,))
    copier = partial(Mosaic, diagonals=0)  # with them what stands beside the gap by chance is taken for a sign
    mended = mend_trace(lossy, options=Options(hypotheses=100), copier=copier)
    assert mended.hypotheses is not None
    names = mended.hypotheses["name"].to_pylist()
    pairs = Counter(zip(names[::4], names[2::4], strict=True))
    assert set(pairs) == {("read", "write"), ("mmap", "munmap")}
    assert 10 <= pairs["mmap", "munmap"] <= 45
    agreement = mended.fills[0].agreement
    assert agreement == pairs["read", "write"] / 100
    again = mend_trace(lossy, options=Options(hypotheses=100), copier=copier)
    assert again.hypotheses is not None
    assert again.hypotheses.equals(mended.hypotheses)
    with pytest.raises(ModelError, match="lookup has no hypotheses, only mosaic has"):
        mend_trace(lossy, options=Options(hypotheses=1), copier=Lookup)


def test_hypotheses_of_gaps_that_look_alike_are_drawn_apart() -> None:
    """Else what is summed up over gaps would spread far too wide."""
    bulk, around = rng(1).random(100) < 0.5, rng(4).random(21) < 0.5
    words = np.concatenate([bulk, around, ~bulk, around, bulk])  # a word is lost in the middle of both that are alike
    calls = [call for w in words for call in ("poll", *(("mmap", "munmap") if w else ("read", "write")))]
    rows = [(1000 * i, 0, 7, calls[i // 2], i % 2) for i in range(2 * len(calls))]
    cuts = [6 * word + 2 for word in (110, 231)]
    kept = [r for i, r in enumerate(rows) if not any(c <= i < c + 4 for c in cuts)]
    gaps = [
        Gap(k, 0, c - 4 * k - 1, c - 4 * k, 1000 * (c - 1), 1000 * (c + 4), 4, "counted", c) for k, c in enumerate(cuts)
    ]
    mended = mend_trace(replace(make_trace(kept), gaps=tuple(gaps)), options=Options(hypotheses=100))
    assert mended.hypotheses is not None
    names = np.array(mended.hypotheses["name"].to_pylist()).reshape(2, 100, 4)[:, :, 0]
    assert 25 < (names[0] == names[1]).sum() < 75


@pytest.mark.parametrize("kept", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_hypotheses_where_there_is_next_to_nothing_to_copy(kept: int, count: int) -> None:
    for at in range(kept + 1):
        before, after = (at - 1 if at else None), (at if at < kept else None)
        gap = Gap(0, 0, before, after, 1000 * at - 500, 1000 * at - 1, count, "counted", 1)
        trace = make_trace([(1000 * i, 0, 7, ("read", "futex", "poll")[i], 2) for i in range(kept)])
        mended = mend_trace(replace(trace, gaps=(gap,)), options=Options(hypotheses=3))
        assert mended.hypotheses is not None
        assert mended.hypotheses.num_rows == 3 * count


def test_the_same_seed_gives_the_same_events() -> None:
    lossy, _ = lose(threads_on_cpus(rng(7), 500), rng(8))
    first, second = (mend_trace(lossy, options=Options(seed=3)) for _ in range(2))
    assert first.inferred.equals(second.inferred)


def test_progress_is_told_gap_by_gap() -> None:
    """The mosaic takes its time for each, and none gains by the others."""
    lossy, missing = lose(threads_on_cpus(rng(7), 900), rng(8))
    told: list[tuple[int, int]] = []
    mend_trace(lossy, progress=lambda done, total: told.append((done, total)))
    assert len(told) >= sum(len(m) > 0 for m in missing) > 1
    assert told == sorted(told)
    assert told[-1] == (sum(map(len, missing)),) * 2


def test_a_trace_of_enters_only_gets_enters_only() -> None:
    rows = [(i * 1000, 0, 7, ("read", "write", "close")[i % 3], 0) for i in range(90)]
    lossy = replace(
        make_trace(rows[:40] + rows[50:]), gaps=(Gap(0, 0, 39, 40, rows[39][0], rows[50][0], 10, "counted", 1),)
    )
    mended = mend_trace(lossy)
    assert set(mended.inferred["phase"].to_pylist()) == {"enter"}
    assert mended.inferred["name"].to_pylist() == [r[3] for r in rows[40:50]]


def test_open_ended_gaps_are_filled() -> None:
    """A mark before the first event of its cpu, and one that nothing follows."""
    rows = [(10_000 + i * 1000, i % 2, 7 + i % 2, "read", (i // 2) % 2) for i in range(60)]
    trace = make_trace(rows)
    first = Gap(0, 0, None, 0, 10_000, 10_000, 5, "counted", 1)
    last = Gap(1, 1, 59, None, 69_000, 69_000, 4, "counted", 60)
    mended = mend_trace(replace(trace, gaps=(first, last)))
    check_places(replace(trace, gaps=(first, last)), mended)


def test_edges_of_the_same_time_are_told_apart_by_their_place() -> None:
    """Made up: the gap's two ends have the same microsecond; what stands behind it isn't what stood before it."""
    rows = [(1_000, 0, 7, "close", 0), (5_000, 0, 7, "close", 1), (5_000, 0, 7, "read", 0), (9_000, 0, 7, "read", 1)]
    trace = make_trace(rows)
    mended = mend_trace(replace(trace, gaps=(Gap(0, 0, 1, 2, 5_000, 5_000, 2, "counted", 3),)))
    assert mended.inferred["phase"].to_pylist() == ["enter", "exit"]
    assert len(set(mended.inferred["name"].to_pylist())) == 1
    first = mend_trace(replace(trace, gaps=(Gap(0, 0, None, 0, 1_000, 1_000, 2, "counted", 1),)))
    assert first.inferred["phase"].to_pylist() == ["enter", "exit"]


def test_a_child_is_born_with_an_exit_and_a_signals_return_leaves_another_number() -> None:
    """Made up: neither the child's first event, clone's exit, nor the exit of no number behind rt_sigreturn on another
    cpu asks for an enter in the gap."""
    rows = [(i * 1000, 0, 7, "read", i % 2) for i in range(40)]
    rows += [(41_000, 1, 9, "rt_sigreturn", 0), (43_000, 1, 9, "syscall_-1", 1), (60_000, 0, 8, "clone", 1)]
    rows += [(61_000 + i * 1000, 0, 7, "read", i % 2) for i in range(40)]
    trace = make_trace(rows)
    gap = Gap(0, 0, 39, 42, 39_000, 60_000, 4, "counted", 1)
    mended = mend_trace(replace(trace, gaps=(gap,)))
    assert mended.fills[0].unmet == 0
    assert set(mended.inferred["name"].to_pylist()) == {"read"}
    assert set(mended.inferred["tid"].to_pylist()) == {7}


def test_a_call_from_before_the_trace_asks_for_nothing() -> None:
    """Made up: thread 8 returns from a wait behind the gap and was never seen before; thread 9 was."""
    for seen, expected in ((False, 0), (True, 1)):
        rows = [(i * 1000, 0, 7, "read", i % 2) for i in range(40)]
        rows += [(500, 1, 8, "close", 1)] if seen else []
        rows += [(60_500, 1, 8, "wait4", 1), *((61_000 + i * 1000, 0, 7, "read", i % 2) for i in range(40))]
        rows.sort()
        trace = make_trace(rows)
        at = sum(r[0] < 40_000 for r in rows)
        gap = Gap(0, 0, at - 1, at + 1, 39_000, 61_000, 5 - seen, "counted", 1)
        names = mend_trace(replace(trace, gaps=(gap,))).inferred["name"].to_pylist()
        assert names.count("wait4") == expected, names


def test_behind_a_signals_return_anything_may_follow() -> None:
    """Made up: the return and the exit of no number are in the gap, as they are all over the trace."""
    rows, now = [], 0
    for _ in range(30):
        for name, phase in (
            ("read", 0),
            ("read", 1),
            ("rt_sigreturn", 0),
            ("syscall_-1", 1),
            ("write", 0),
            ("write", 1),
        ):
            rows.append((now := now + 1000, 0, 7, name, phase))
    lost = range(91, 97)
    kept = [r for i, r in enumerate(rows) if i not in lost]
    gap = Gap(0, 0, 90, 91, rows[90][0], rows[97][0], len(lost), "counted", 1)
    table = mend_trace(replace(make_trace(kept), gaps=(gap,))).inferred
    found = list(zip(table["name"].to_pylist(), table["phase"].to_pylist(), strict=True))
    assert found == [(rows[i][3], ("enter", "exit")[rows[i][4]]) for i in lost]


def test_a_trace_without_events_is_left() -> None:
    empty = replace(make_trace([]), gaps=(Gap(0, 0, None, None, 0, 0, 5, "counted", 1),))
    assert mend_trace(empty).fills[0].reason == "no event survives to learn from"


def test_a_gap_beyond_all_reason_is_left() -> None:
    rows = [(i * 1000, 0, 7, "read", i % 2) for i in range(60)]
    gap = Gap(0, 0, 29, 30, 29_000, 30_000, 10**9, "counted", 31)
    mended = mend_trace(replace(make_trace(rows), gaps=(gap,)))
    assert mended.fills[0].status == "left"
    assert "too long" in mended.fills[0].reason


@given(
    steps=st.lists(st.floats(1, 1e9), min_size=1, max_size=200),
    begin=st.integers(0, 2**60),
    span=st.integers(0, 10**10),
)
def test_spread_stays_inside_and_in_order(steps: list[float], begin: int, span: int) -> None:
    times = spread(np.array(steps), begin, begin + span)
    assert (np.diff(times) >= 0).all()
    assert (times >= begin).all()
    assert (times <= begin + span).all()
    if span > len(steps) + 1:
        assert (np.diff(times) > 0).all()
        assert (times > begin).all()
        assert (times < begin + span).all()


def recorded_pair(pair: Pair) -> None:
    """A really lossy trace: exact counts, everything in place, the lookup above both baselines."""
    from tracemend.judging.gaps import judge

    assert all(len(m) == g.count for m, g in zip(pair.missing, pair.lossy.gaps, strict=True))
    mean = {}
    for name, make in MENDERS.items():
        mended = mend_trace(pair.lossy, make())
        check_places(pair.lossy, mended)
        mean[name] = np.mean([s.accuracy for s in judge(mended, pair)])
    assert mean["lookup"] > mean["copy"]
    assert mean["lookup"] > mean["most frequent"]


def test_what_the_recording_of_the_demonstration_begins_with(tmp_path: Path) -> None:
    recorded_pair(pair_of(head("deploy", 2700, tmp_path / "pair")))


@pytest.mark.long
@pytest.mark.skipif(not DEMO.is_dir(), reason="recordings/deploy isn't there")
def test_the_recording_of_the_demonstration() -> None:
    recorded_pair(align(tracemend.read(DEMO / "lossy.txt"), tracemend.read(DEMO / "complete.txt.xz")))
