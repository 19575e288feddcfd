"""Recordings of a whole machine that show nothing of other people's programs but that they ran."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from conftest import ROOT, make_trace
from hypothesis import given, settings
from hypothesis import strategies as st

from tracemend.datasets.recordings import pairs as lossy_runs
from tracemend.datasets.recordings import read_split
from tracemend.formats import parquet
from tracemend.formats.base import Options
from tracemend.recording import pairs
from tracemend.recording.corpus import HOW_KERNEL
from tracemend.recording.others import OTHER, descendants, kernel_threads, masked, whole_until
from tracemend.trace.events import ENTER, EXIT, INSTANT, Trace

CORPUS = ROOT / "corpus" / "kernel"
SPLIT = ROOT / "experiments" / "workloads.toml"
LOSSY = sorted((CORPUS / "pairs").glob("*.parquet"))
#: One of each way to lose; all of them in the long run.
FEW = [p for p in LOSSY if p.stem.startswith(("sh-pipes-3", "sort-2"))]


def said(rows: list[tuple[int, int, str, int, str | None, str | None]]) -> Trace:
    """A made-up trace from (cpu, tid, name, phase, arguments, result), times 1000 ns apart."""
    made = make_trace([(5000 + 1000 * k, cpu, tid, name, phase) for k, (cpu, tid, name, phase, *_) in enumerate(rows)])
    table = made.table
    for column, values in (("args", [r[4] for r in rows]), ("ret", [r[5] for r in rows])):
        at = table.schema.get_field_index(column)
        table = table.set_column(at, table.schema.field(at), pa.array(values, pa.string()))
    return replace(made, table=table)


def switch(prev: int, now: int) -> str:
    return (
        f"prev_comm=task{prev} x prev_pid={prev} prev_prio=120 prev_state=S ==> "
        f"next_comm=task{now} x next_pid={now} next_prio=120"
    )


#: Made up. Thread 5 is the command, 6 its child, 9 somebody else.
MACHINE = said(
    [
        (0, 5, "sched_process_fork", INSTANT, "comm=task5 pid=5 child_comm=task5 child_pid=6", None),
        (0, 5, "read", ENTER, "3, 7f00, 20, 0, 0, 0", None),
        (0, 5, "read", EXIT, None, "32"),
        (0, 5, "mmap", EXIT, None, str(0x7F0012345000)),
        (0, 5, "sched_switch", INSTANT, switch(5, 9), None),
        (0, 9, "openat", ENTER, "3, 7f00, 20, 0, 0, 0", None),
        (0, 9, "page_fault_user", INSTANT, "address=0x7f00 ip=0x7f01 error_code=0x4", None),
        (0, 9, "sched_process_exec", INSTANT, "filename=/home/somebody/secret pid=9 old_pid=9", None),
        (0, 9, "timer_expire_entry", INSTANT, "timer=ffff8881 function=tick now=4 baseclk=3", None),
        (0, 9, "block_rq_issue", INSTANT, "8,0 WS 4096 () 8 + 8 none,0,0 [task9]", None),
        (0, 9, "sched_switch", INSTANT, switch(9, 6), None),
        (0, 6, "block_rq_issue", INSTANT, "8,0 WS 4096 () 8 + 8 none,0,0 [task6]", None),
        (0, 6, "page_fault_user", INSTANT, "address=0x7f00 ip=0x7f01 error_code=0x4", None),
    ]
)


def test_of_others_only_that_they_ran() -> None:
    own = descendants(MACHINE, [0, 5])
    assert own == {0, 5, 6}
    trace, may = masked(MACHINE, own)
    assert (~may).nonzero()[0].tolist() == [5, 6, 7]
    rows = trace.table.filter(pa.array(may)).to_pylist()
    assert trace.time_ns[0] == 0
    assert "secret" not in str(rows)
    assert not [r for r in rows if "task9" in str(r)]
    assert [r["comm"] for r in rows if r["tid"] == 9] == [OTHER] * 3
    args = [r["args"] for r in rows]
    assert args[0] == MACHINE.table["args"][0].as_py()
    assert args[1:4] == [None] * 3
    assert [r["ret"] for r in rows[2:4]] == ["32", None]  # an address is nobody's business, and says nothing
    assert args[4] == switch(5, 9).replace("task9 x", OTHER)
    assert args[5:7] == ["function=tick", "8,0 WS 4096 () 8 + 8 none,0,0 [other]"]
    assert args[8].endswith("[task6]")
    assert args[9] is None


def test_where_a_cpus_story_tears() -> None:
    assert whole_until(MACHINE) == len(MACHINE)
    without = pa.concat_tables([MACHINE.table.slice(0, 10), MACHINE.table.slice(11)])  # without the switch to 6
    assert whole_until(replace(MACHINE, table=without)) == 10
    other_cpu = said([(0, 5, "sched_switch", INSTANT, switch(5, 9), None), (1, 6, "read", ENTER, "", None)])
    assert whole_until(other_cpu) == 2
    assert whole_until(make_trace([])) == 0


@pytest.mark.skipif(not Path("/proc/2/stat").exists(), reason="no /proc with the kernel's own threads")
def test_the_kernels_own_threads() -> None:
    found = kernel_threads()
    assert {0, 2} <= found
    assert os.getpid() not in found


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_part_of_a_pair_is_a_pair(data: st.DataObject) -> None:
    if not FEW:
        pytest.skip("corpus/kernel/pairs isn't there")
    pair = pairs.head(pairs.read(FEW[0]), 6000)
    kept = np.random.default_rng(data.draw(st.integers(0, 1 << 32))).random(len(pair.complete)) < data.draw(
        st.sampled_from([0.0, 0.01, 0.5, 1.0])
    )
    part = pairs.only(pair, kept)
    assert part.faults() == []
    assert len(part.complete) == kept.sum() == len(part.lossy) + part.lost
    lost = np.concatenate([np.empty(0, np.int64), *pair.missing])
    assert part.lost == kept[lost].sum()
    assert all(len(m) for m in part.missing)


def sound(path: Path) -> None:
    """Everything agrees, the switches tell who runs, and nothing is shown that shouldn't be."""
    lossy = path.parent.name == "pairs"
    if lossy:
        pair = pairs.read(path)
        assert pair.faults() == []
        assert pair.lost
    trace = pair.complete if lossy else parquet.read(path, Options())
    assert whole_until(trace) == len(trace)
    assert {"sched_switch", "softirq_entry", "hrtimer_expire_entry"} <= set(trace.names[1])
    comm = pc.fill_null(trace.table["comm"].cast(pa.string()), "")
    calls = trace.table.filter(pa.array(trace.phase != INSTANT))
    assert calls["args"].null_count == len(calls)
    theirs = np.asarray(pc.equal(comm, OTHER))
    becomes = np.asarray(pc.equal(trace.table["name"].cast(pa.string()), "sched_process_exec"))
    assert not (theirs & ((trace.phase != INSTANT) | becomes)).any()


@pytest.mark.parametrize("path", FEW, ids=lambda p: p.stem)
def test_the_corpus_is_sound(path: Path) -> None:
    sound(path)


@pytest.mark.long
def test_all_of_the_corpus_is_sound() -> None:
    for path in sorted(CORPUS.rglob("*.parquet")):
        sound(path)


def test_the_corpus_is_found_by_its_split() -> None:
    """No workload that tests is ever trained on, and of the others only runs 0 and 1."""
    if not LOSSY:
        pytest.skip("corpus/kernel/pairs isn't there")
    found = list(lossy_runs(CORPUS, SPLIT))
    tested = read_split(SPLIT).tested
    assert {r.how for r in found} == set(HOW_KERNEL)
    assert {r.run for r in found if r.tests == "by run"} == {3}
    assert {r.workload for r in found if r.tests == "by workload"} <= tested
    assert len({r.workload for r in found}) == 24
    complete = [p.stem.rpartition("-") for p in CORPUS.glob("*.parquet")]
    assert not {workload for workload, _, _ in complete} & tested
    assert {run for *_, run in complete} == {"0", "1"}
