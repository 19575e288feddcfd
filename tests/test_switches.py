"""A cpu goes on with the thread that it last switched to; where it doesn't, events are missing."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import rng

from tracemend.formats import read
from tracemend.losses.scanning import scan
from tracemend.losses.switches import FILTERED, unchained
from tracemend.losses.verdict import COMPLETE, UNKNOWN

SPELLINGS = {
    "the kernel's": "prev_comm=a b prev_pid={} prev_prio=1 prev_state=R ==> next_comm=prev_pid=1 next_pid={}",
    "trace-cmd's": "my:thread:{} [120] S ==> next [x]:{} [120]",
}


def switches(n: int, spelling: str, wrong: float = 0.0) -> list[str]:
    """Made up: n switches on each of two cpus, some of them leaving out the one before."""
    draw = rng(5)
    lines, now = [of_all(spelling)], [0, 0]
    for i in range(n):
        cpu = i % 2
        new = int(draw.integers(1, 40))
        if draw.random() < wrong:
            now[cpu] = int(draw.integers(41, 80))
        detail = SPELLINGS[spelling].format(now[cpu], new)
        lines.append(f"  t-{now[cpu]} [00{cpu}] d..2. {1 + i / 1e4:.6f}: sched_switch: {detail}\n")
        now[cpu] = new
    return lines


#: The idle thread goes to one of the kernel's and comes back: so all threads were recorded.
OF_ALL = {
    "the kernel's": ("prev_comm=swapper/7 prev_pid=0 {}==> next_comm=kworker/7:1 next_pid=9 {}", 7),
    "trace-cmd's": ("swapper/7:0 [120] R ==> kworker/7:1:9 [120]", 7),
}


def of_all(spelling: str) -> str:
    detail, cpu = OF_ALL[spelling]
    return f"  <idle>-0 [00{cpu}] d..2. 0.500000: sched_switch: {detail}\n"


def trace_of(folder: Path, lines: list[str]) -> Path:
    path = folder / "trace.txt"
    path.write_text("".join(lines))
    return path


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_whole_chain_has_no_break_and_a_cut_one_has(tmp_path: Path, spelling: str) -> None:
    lines = switches(2000, spelling)
    whole = scan(read(trace_of(tmp_path, lines)))
    assert (whole.verdict.word, whole.gaps) == (COMPLETE, ())
    gone = [*range(401, 461), 1301]
    broken = scan(read(trace_of(tmp_path, [line for i, line in enumerate(lines) if i not in gone])))
    assert broken.verdict.word == UNKNOWN
    assert [(g.cpu, g.known, g.count) for g in broken.gaps] == [
        (0, "suspected", None),
        (1, "suspected", None),
        (0, "suspected", None),
    ]
    assert broken.gaps[0].begin_ns == read(trace_of(tmp_path, lines)).time_ns[399]


def test_a_filtered_trace_proves_nothing(tmp_path: Path) -> None:
    trace = read(trace_of(tmp_path, switches(2000, "the kernel's", wrong=2 * FILTERED)))
    assert not len(unchained(trace)[0])
    assert scan(trace).verdict.word == COMPLETE


def test_a_filter_by_process_that_few_switches_contradict(tmp_path: Path) -> None:
    _, *lines = switches(2000, "the kernel's", wrong=FILTERED / 3)
    trace = read(trace_of(tmp_path, lines))
    assert not len(unchained(trace)[0])
    assert scan(trace).verdict.word == COMPLETE


def test_every_break_is_found(tmp_path: Path) -> None:
    trace = read(trace_of(tmp_path, switches(2000, "the kernel's", wrong=FILTERED / 3)))
    p, q = unchained(trace)
    tid = trace.tid
    following = np.array([int(a.split("next_pid=")[1].split()[0]) for a in trace.table["args"].to_pylist()])
    neighbours = [pair for rows in trace.streams.values() for pair in pairwise(rows.tolist())]
    expected = {(r, s) for r, s in neighbours if following[r] != tid[s]}
    assert set(zip(p.tolist(), q.tolist(), strict=True)) == expected
    assert expected
