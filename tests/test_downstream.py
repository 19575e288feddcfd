"""The figures that people make from traces."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from conftest import make_trace, threads_on_cpus

from tracemend.downstream import errors, of_mended, of_trace
from tracemend.gaps import lose
from tracemend.mended import INFERRED, Mended
from tracemend.mending import mend_trace


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
    assert errors(made, made) == {"call_counts": 0, "time_shares": 0, "unpaired": 0}
    part = of_trace(make_trace(rows[:2]))
    assert errors(made, part) == {
        "call_counts": pytest.approx(4 / 5),
        "time_shares": pytest.approx(3 / 8),
        "unpaired": pytest.approx(3 / 5),
    }
    assert errors(made, of_trace(make_trace([])))["call_counts"] == 1


def test_a_fill_that_is_right_gives_the_figures_of_the_complete_trace() -> None:
    whole = threads_on_cpus(np.random.default_rng(3), 4000)
    lossy, lost = lose(whole, np.random.default_rng(4), longest=30)
    mended = mend_trace(lossy, None, lookup=True)
    table = whole.table.take(np.concatenate(lost))
    gap = np.repeat(np.arange(len(lost)), [len(x) for x in lost])
    columns = {name: table[name] for name in ("cpu", "time_ns", "tid", "comm", "name", "phase")}
    columns |= {"gap": pa.array(gap, pa.int32()), "confidence": pa.array(np.ones(len(gap)), pa.float32())}
    perfect = Mended(lossy, pa.table(columns).select(INFERRED.names).cast(INFERRED), mended.fills, {})
    truth = of_trace(whole)
    assert errors(truth, of_mended(perfect)) == {"call_counts": 0, "time_shares": 0, "unpaired": 0}
    left, filled = errors(truth, of_trace(lossy)), errors(truth, of_mended(mended))
    assert filled["call_counts"] < left["call_counts"]
