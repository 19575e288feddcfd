"""How sure fills are: by what they rest on, fitted where the truth is known, and told by what was right."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from conftest import make_trace, threads_on_cpus
from hypothesis import given, settings
from hypothesis import strategies as st

from tracemend.diffusion.gaps import lose
from tracemend.errors import ModelError
from tracemend.judging.metrics import calibration_error
from tracemend.judging.sureness import Recorder, Sure, filled, row, summary
from tracemend.menders import Lookup, Mosaic
from tracemend.menders.confidence import FAMILIES, NAMES, RESTS, Confidence, Grounds, Judged, apart, families, shipped
from tracemend.mending.beliefs import Filled
from tracemend.mending.constraints import CLOSED, FREE, Threads, rules
from tracemend.mending.run import mend_trace
from tracemend.mending.weighing import ASKED, CARRIED, INSIDE, ITSELF, SURVIVOR, Weighing
from tracemend.recording import Pair
from tracemend.trace.events import ENTER, EXIT, INSTANT, Gap
from tracemend.trace.vocabulary import universal


def grounds(rng: np.random.Generator, n: int, threads: int = 1, *, switched: bool = False) -> Grounds:
    """Made up."""
    belief, alone = rng.random((2, n)).astype(np.float32)
    family, rests = rng.integers(0, len(FAMILIES), n), rng.integers(0, len(RESTS), n)
    return Grounds(belief, alone, family, rests, threads, switched)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 400), st.integers(0, 500), st.booleans(), st.integers(0, 2**31))
def test_the_shipped_confidence_is_one_of_any_fill(n: int, threads: int, switched: bool, seed: int) -> None:
    made = shipped(Mosaic.name)
    assert made is not None
    confidence = made(grounds(np.random.default_rng(seed), n, threads, switched=switched))
    assert confidence.shape == (n,)
    assert confidence.dtype == np.float32
    assert ((confidence >= 0) & (confidence <= 1)).all()


def test_only_the_mosaic_has_one() -> None:
    assert Mosaic([]).confidence is shipped(Mosaic.name)
    assert Lookup([]).confidence is None
    assert shipped("nobody") is None


def test_it_is_fitted_to_what_was_right() -> None:
    """Made-up fills: beliefs are twice too sure where many threads take part, and events that rest on another gap's are
    never right."""
    rng = np.random.default_rng(0)
    fills = []
    for k in range(120):
        own = grounds(rng, int(rng.integers(20, 200)), threads := int(rng.choice([1, 30])))
        chance = np.where(own.rests == CARRIED, 0.0, own.belief / (1 if threads == 1 else 2))
        fills.append(Judged(own, rng.random(len(chance)) < chance, f"{k // 3}", f"{k // 6}"))
    fitted = Confidence.fit(fills[:60])
    again = Confidence.from_dict(json.loads(json.dumps(fitted.as_dict())))
    right = np.concatenate([f.right for f in fills[60:]])
    believed = np.concatenate([f.grounds.belief for f in fills[60:]]).astype(float)
    confidence = np.concatenate([again(f.grounds) for f in fills[60:]]).astype(float)
    assert calibration_error(confidence, right) < 0.05
    assert calibration_error(believed, right) > 0.15
    carried = np.concatenate([f.grounds.rests for f in fills[60:]]) == CARRIED
    assert confidence[carried].mean() < 0.1
    np.testing.assert_array_equal(Confidence.fit(fills[:60]).curve, fitted.curve)


def test_no_workload_is_on_both_sides() -> None:
    workloads = np.random.default_rng(0).choice([f"w{i}" for i in range(30)], 500)
    judged = np.zeros(500, int)
    for others, own in apart(workloads, 1):
        assert not set(workloads[others]) & set(workloads[own])
        judged += own
    assert (judged == 1).all()


GOOD: dict[str, Any] = {"weights": dict.fromkeys(NAMES, 0.5), "curve": [[0.0, 1.0], [0.1, 0.9]]}


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"weights": 3, "curve": [[0], [1]]},
        GOOD | {"weights": {"one": 1.0}},
        GOOD | {"weights": dict.fromkeys(NAMES, float("nan"))},
        GOOD | {"curve": [[1.0, 0.0], [0.1, 0.9]]},
        GOOD | {"curve": [[], []]},
        GOOD | {"curve": [[0.0, 1.0], [0.1]]},
        GOOD | {"curve": [0.0, 1.0]},
        GOOD | {"curve": [[0.0, 1.0], [0.1, 1.9]]},
    ],
)
def test_no_confidence_is_refused(document: dict[str, Any]) -> None:
    assert Confidence.from_dict(GOOD).weights["belief"] == 0.5
    with pytest.raises(ModelError, match="no confidence"):
        Confidence.from_dict(document)


def test_families() -> None:
    names = ["sched_switch", "sched:sched_wakeup", "irq_handler_entry", "timer_hrtimer_start", "net_dev_xmit"]
    trace = make_trace([(k, 0, 1, name, INSTANT) for k, name in enumerate(names)])
    vocabulary = universal().extended(trace)
    found = families(vocabulary)
    told = [FAMILIES[found[vocabulary.id(name, INSTANT)]] for name in names]
    assert told == ["switch", "scheduling", "interrupt", "interrupt", "other"]
    assert [FAMILIES[found[vocabulary.id("read", p)]] for p in (ENTER, EXIT)] == ["enter", "exit"]


def test_what_events_rest_on() -> None:
    """Two gaps of a made-up trace: what the first leaves open is closed in the second."""
    trace = make_trace([(0, 0, 1, "read", ENTER), (100, 0, 2, "write", EXIT)])
    vocabulary = universal().extended(trace)
    weighing = Weighing(trace, rules(vocabulary))

    def filled(number: int, begin: int, events: list[tuple[int, str, int]], p: float) -> Filled:
        ids = np.array([vocabulary.id(name, phase) for _, name, phase in events])
        gap = Gap(number, 0, 0, 1, begin, begin + 40, len(events), "counted", 1)
        times, nobody = begin + np.arange(len(events)), np.full(len(events), -1)
        tids = np.array([tid for tid, *_ in events])
        return Filled(gap, ids, tids, times, np.full(len(events), p, np.float32), nobody)

    def threads(begin: list[int], end: list[int]) -> Threads:
        nothing = np.zeros(len(begin) + 1, np.int64)
        return Threads(np.array([0, 1, 2]), np.array([FREE, *begin]), np.array([FREE, *end]), *(nothing,) * 4)

    read, write = (vocabulary.id(name, ENTER) for name in ("read", "write"))
    first = filled(0, 10, [(1, "read", EXIT), (2, "close", ENTER), (2, "close", EXIT), (2, "write", ENTER)], 0.5)
    belief, rests = weighing.weighed(first, threads([read, CLOSED], [FREE, write]), np.full(4, 0.1, np.float32))
    assert rests.tolist() == [SURVIVOR, ITSELF, INSIDE, ASKED]
    np.testing.assert_array_equal(belief, first.confidence)
    weighing.remember(first)
    second = filled(1, 50, [(2, "write", EXIT), (1, "sched_yield", INSTANT)], 0.8)
    for alone, sure in ((0.1, 0.8 * 0.5), (0.7, 0.7)):
        belief, rests = weighing.weighed(second, threads([CLOSED, write], [FREE, FREE]), np.full(2, alone, np.float32))
        assert rests.tolist() == [CARRIED, ITSELF]
        np.testing.assert_allclose(belief, [sure, 0.8], rtol=1e-6)


def test_sureness_by_hand() -> None:
    fills = [
        Sure("a", "k", np.array([0.95] * 60 + [0.05] * 60), np.array([True] * 60 + [False] * 60)),
        Sure("b", "k", np.full(200, 0.8), np.arange(200) < 100),
        Sure("c", "l", np.array([0.5]), np.array([True])),
    ]
    cell = row(fills)
    assert (cell["gaps"], cell["events"]) == (3, 321)
    assert cell["sure_0.9"] == {"events": 60, "said": 0.95, "right": 1.0}
    assert cell["sure_0.99"] == {"events": 0, "said": None, "right": None}
    assert cell["recordings"] == {"recordings": 2, "within": 0.5, "median": 0.175, "nine_of_ten": 0.275}
    assert cell["off_by_gap"] == pytest.approx((0 + 0.3 + 0.5) / 3, abs=1e-4)
    told = summary(fills)
    assert set(told["kinds"]) == {"k", "l"}
    assert told["recordings"]["b"]["calibration_error"] == 0.3


def test_what_is_recorded_is_what_was_filled() -> None:
    """Each lost event of a made-up trace once, and the fitted confidence of its grounds is what a mended trace has."""
    whole = threads_on_cpus(np.random.default_rng(1), 600, threads=4, cpus=2)
    lossy, missing = lose(whole, np.random.default_rng(2))
    recorder = Recorder(by=(fitted := shipped(Mosaic.name)))
    found = filled(Pair(lossy, whole, missing), (), recorder)
    assert sum(len(right) for _, right in found) == sum(map(len, missing))
    assert [len(g.belief) for g, _ in found] == [len(right) for _, right in found]
    assert fitted is not None
    said = np.sort(np.concatenate([fitted(g) for g, _ in found]))
    np.testing.assert_array_equal(said, np.sort(mend_trace(lossy).inferred["confidence"].to_numpy()))
