"""Times: what windows tell of them, what is copied of them, and where inferred events come to stand."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from conftest import make_trace, rng, threads_on_cpus

from tracemend.diffusion.gaps import Blackout, Gaps, Overflow, lose
from tracemend.diffusion.training import enters_only
from tracemend.menders import Mosaic
from tracemend.menders.base import certain
from tracemend.mending.blend import mix
from tracemend.mending.options import Options
from tracemend.mending.run import mend_trace
from tracemend.trace.events import Gap
from tracemend.trace.vocabulary import BREAK, universal
from tracemend.trace.windows import GONE, HIDDEN_STEP, STEPS, UNKNOWN_STEP, Stream, log_step, streams, window


def test_log_steps() -> None:
    steps = np.array([-1, 0, 1, 2, 3, 4, 1023, 1024, 1 << 62])
    assert log_step(steps).tolist() == [UNKNOWN_STEP, 1, 1, 2, 2, 3, 10, 11, STEPS - 1]


def test_streams_know_the_time_since_the_event_before() -> None:
    trace = threads_on_cpus(rng(0), 300, cpus=2)
    lossy, missing = lose(trace, rng(1), longest=20)
    parts = streams(lossy, universal(), shortest=1)
    assert len(parts) == len(missing) + 2
    assert all(s.steps[0] == -1 and (s.steps[1:] >= 0).all() for s in parts)
    rows = lossy.streams[0][: len(parts[0])]
    assert (parts[0].steps[1:] == np.diff(lossy.time_ns[rows])).all()
    whole = Stream(np.arange(3), np.zeros(3, int))
    assert (whole.steps == -1).all()
    assert (whole + parts[0])[3:].steps.tolist() == parts[0].steps.tolist()


def test_a_trace_of_enters_has_the_times_between_enters() -> None:
    trace = make_trace([(i * 10 + i % 2, 0, 7, "read", i % 2) for i in range(100)])
    only = enters_only(streams(trace, universal()), universal())[0]
    assert only.steps[0] == -1
    assert (only.steps[1:] == 20).all()


def test_windows_tell_the_steps_beside_a_gap_and_its_mean_one() -> None:
    known = Stream(np.arange(5, 9), np.full(4, 7), np.array([-1, 10, 20, 1000]))
    w = window(known, known, 3, 4096)
    expected = [0, 4, 5, 10, *[HIDDEN_STEP] * 3, STEPS + 11, 4, 5, 10]  # 4096 / 4 = 2^10
    assert w.ids_LC[:, 2].tolist() == expected
    assert window(known, known, 3).ids_LC[7, 2] == UNKNOWN_STEP


def test_training_windows_hide_steps() -> None:
    stream = Stream(np.arange(3, 203), np.full(200, 7), np.append(-1, np.full(199, 100)))
    streams_ = [stream, stream[:30], stream[100:130]]
    kinds: tuple[Gaps, ...] = (Overflow(longest=20, context=40, cut=1.0), Blackout(10))
    for gaps, seed in product(kinds, range(300)):
        w, truth = gaps.draw(streams_[seed % 3], rng(seed), 64)
        steps, ids = w.ids_LC[:, 2], w.ids_LC[:, 0]
        hidden = np.flatnonzero(~w.known_L)
        assert (steps[hidden] == HIDDEN_STEP).all()
        assert set(truth[:, 2].tolist()) <= {7, UNKNOWN_STEP}
        # nothing of what is hidden or behind a BREAK is told but the gap's mean
        behind = hidden[-1] + 1
        if behind < len(w.known_L):
            assert steps[behind] in (UNKNOWN_STEP, STEPS + 7)
        assert (steps[1:][(ids[:-1] == BREAK) & w.known_L[1:]] == UNKNOWN_STEP).all()


def test_the_mosaic_copies_times() -> None:
    """Made up: read takes long in one habit and short in the other; which one it is, the events around it tell."""
    ids, steps = np.array([3, 4, 5, 6, 4, 7] * 20), np.array([10, 10_000, 10, 10, 500, 10] * 20)
    own = Stream(ids, np.full(120, 7), np.where(np.arange(120) > 0, steps, -1))
    mosaic = Mosaic([own])
    for begin, expected in ((61, [10_000, 10, 10]), (64, [500, 10, 10])):
        proposal = mosaic.propose([window(own[:begin], own[begin + 2 :], 2)])[0]
        np.testing.assert_allclose(proposal.steps, expected, rtol=1e-3)
        drawn = mosaic.hypotheses(window(own[:begin], own[begin + 2 :], 2), 3)
        assert all(d.steps.tolist() == expected for d in drawn)


def test_times_of_examples_are_not_copied() -> None:
    text = rng(0).integers(3, 40, 300)
    timed = Stream(text, np.full(300, 7), np.append(-1, np.full(299, 50)))
    bare = Stream(text, np.full(300, 7))
    w = window(bare[100:140], bare[145:185], 5)
    assert np.isnan(Mosaic([bare], [timed]).propose([w])[0].steps).all()
    np.testing.assert_allclose(Mosaic([timed], [bare]).propose([w])[0].steps, 50)


def test_a_fill_takes_its_times_from_where_it_was_copied() -> None:
    """Made up: a pause behind every other read, so the time that a read usually takes until the next event is wrong of
    each; such a pause stands in the gap, too."""
    rows, now = [], 0
    for i in range(120):
        for phase in (0, 1):
            now += 50_000 if i % 4 == 1 and phase == 0 else 1_000
            rows.append((now, 0, 7, ("read", "write", "read", "poll")[i % 4], phase))
    lost = range(101, 109)
    kept = [r for i, r in enumerate(rows) if i not in lost]
    gap = Gap(0, 0, 100, 101, rows[100][0], rows[109][0], len(lost), "counted", 102)
    mended = mend_trace(replace(make_trace(kept), gaps=(gap,)))
    truth = [rows[i][0] for i in lost]
    np.testing.assert_allclose(mended.inferred["time_ns"].to_numpy(), truth, atol=200)


def test_a_blend_has_the_times_of_who_knows_them() -> None:
    ids, slots = np.array([3, 4]), np.array([1, 1])
    one = certain(ids, slots)
    two = replace(certain(ids, slots), steps=np.array([1.0, 2.0, np.nan]))
    assert mix(one, two, 0.9).steps[:2].tolist() == mix(two, one, 0.1).steps[:2].tolist() == [1.0, 2.0]
    three = replace(certain(ids, slots), steps=np.array([5.0, np.nan, np.nan]))
    assert mix(three, two, 0.9).steps[:2].tolist() == mix(two, three, 0.1).steps[:2].tolist() == [5.0, 2.0]


@pytest.mark.parametrize("seed", range(3))
def test_times_stay_in_order_where_threads_come_and_go(seed: int) -> None:
    lossy, _ = lose(threads_on_cpus(rng(seed), 800, threads=5, cpus=3), rng(seed), longest=80)
    mended = mend_trace(lossy)
    for gap in lossy.gaps:
        times = mended.inferred["time_ns"].to_numpy()[mended.inferred["gap"].to_numpy() == gap.number]
        assert (np.diff(times) >= 0).all()
        assert gap.begin_ns <= times[0] <= times[-1] <= gap.end_ns


@pytest.mark.parametrize("hypotheses", [0, 3])
def test_clocks_that_stand_still(hypotheses: int) -> None:
    """Made up: events of a loop with a clock of a resolution that hides nearly all steps, or all."""
    for step in (0, 1):
        rows = [(i // 100 * step, 0, 7, ("read", "write")[i // 2 % 2], i % 2) for i in range(400)]
        kept = [r for i, r in enumerate(rows) if not 150 <= i < 170]
        gap = Gap(0, 0, 149, 150, rows[149][0], rows[170][0], 20, "counted", 151)
        mended = mend_trace(replace(make_trace(kept), gaps=(gap,)), options=Options(hypotheses=hypotheses))
        times = mended.inferred["time_ns"].to_numpy()
        assert len(times) == 20
        assert rows[149][0] <= times.min() <= times.max() <= rows[170][0]


def test_no_mean_step_is_told_of_a_gap_with_an_open_end() -> None:
    known, gone = Stream(np.arange(5, 9), np.full(4, 7), np.array([-1, 10, 20, 1000])), GONE
    for left, right in ((known, gone + known), (known + gone, known), (known[:0], known)):
        w = window(left, right, 3, 4096)
        assert w.ids_LC[w.known_L, 2].max() < STEPS
