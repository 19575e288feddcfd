"""What kernel events say in their fields, whoever printed them and whatever threads are called."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from tracemend.formats import read
from tracemend.trace.events import Trace
from tracemend.trace.fields import kernel_name, numbers, parsed, values

SWITCH = ("prev_comm", "prev_pid", "prev_state", "next_comm", "next_pid")


def unpacked(name: str, folder: Path) -> Trace:
    path = folder / name.removesuffix(".xz")
    path.write_bytes(lzma.decompress((ROOT / "tests" / "data" / name).read_bytes()))
    return read(path)


#: Commands are at most 15 bytes; these look like what stands behind them.
HOSTILE = (
    "x prev_pid=7",
    "a:1 [1] R ==> b",
    " ==> next_comm=",
    'x", tid = 5',
    "pid=3 prio=1",
    "",
    "a=b",
    "q\\",
    "]",
    "é" * 7,
)
COMMS = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(st.characters(codec="utf-8", min_codepoint=32), max_size=15).filter(lambda t: len(t.encode()) < 16),
)
PIDS = st.integers(0, 1 << 22)


def kernel(prev: str, pid: int, to: str, next_pid: int) -> str:
    return (
        f"prev_comm={prev} prev_pid={pid} prev_prio=120 prev_state=S ==> next_comm={to} next_pid={next_pid} next_prio=9"
    )


def trace_cmd(prev: str, pid: int, to: str, next_pid: int) -> str:
    return f"{prev}:{pid} [120] S ==> {to}:{next_pid} [120]"


def perfetto(prev: str, pid: int, to: str, next_pid: int) -> str:
    return kernel(prev, pid, to, next_pid).replace("S ==> next_comm", "1 next_comm")


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def ctf(prev: str, pid: int, to: str, next_pid: int) -> str:
    return (
        f"prev_comm={quoted(prev)}, prev_tid={pid}, prev_prio=20, prev_state=1, next_comm={quoted(to)}, "
        f"next_tid={next_pid}, next_prio=20, pid=1"
    )


def babeltrace(prev: str, pid: int, to: str, next_pid: int) -> str:
    contexts = f'{{ cpu_id = 1 }}, {{ prev_tid = 99, next_comm = "no", procname = {quoted(to)} }}'
    return (
        f"{contexts}, {{ prev_comm = {quoted(prev)}, prev_tid = {pid}, prev_prio = 20, prev_state = "
        f'( "TASK_INTERRUPTIBLE" : container = 1 ), next_comm = {quoted(to)}, next_tid = {next_pid}, next_prio = 20 }}'
    )


SPELLINGS = (kernel, trace_cmd, perfetto, ctf, babeltrace)


@pytest.mark.long
@settings(max_examples=30, deadline=None)
@given(COMMS, PIDS, COMMS, PIDS)
def test_a_switch_tells_who_left_and_who_came_in_every_spelling(prev: str, pid: int, to: str, next_pid: int) -> None:
    """The texts are made up, by what each tracer is known to print. An empty command is told by nobody."""
    wanted = [prev or None, str(pid), "S", to or None, str(next_pid)]
    for spell in SPELLINGS:
        found = parsed("sched_switch", pa.array([spell(prev, pid, to, next_pid)]), SWITCH)
        assert [found[name][0].as_py() for name in SWITCH] == wanted, spell.__name__


#: Made up, by what each tracer is known to print: the event, its text, what it tells.
TOLD: list[tuple[str, str, dict[str, str | None]]] = [
    ("sched_wakeup", "comm=a pid=1 pid=7 prio=120 target_cpu=003", {"comm": "a pid=1", "pid": "7", "target_cpu": "3"}),
    ("sched_wakeup", "comm=a pid=7 prio=120 success=1 target_cpu=000", {"comm": "a", "pid": "7", "target_cpu": "0"}),
    ("sched_wakeup", "a:b:7 [120] success=1 CPU:001", {"comm": "a:b", "pid": "7", "target_cpu": "1"}),
    ("sched_wakeup_new", "a:7 [120]", {"comm": "a", "pid": "7", "target_cpu": None}),
    ("sched_waking", 'comm="a", tid=7, prio=120, target_cpu=1, pid=5', {"comm": "a", "pid": "7", "target_cpu": "1"}),
    (
        "sched_process_fork",
        'parent_comm = "a", parent_tid = 3, parent_pid = 2, child_comm = "b", child_tid = 9, child_pid = 2',
        {"comm": "a", "pid": "3", "child_comm": "b", "child_pid": "9"},
    ),
    (
        "sched_process_exec",
        "filename=/tmp/a pid=1 b pid=7 old_pid=6",
        {"filename": "/tmp/a pid=1 b", "pid": "7", "old_pid": "6"},
    ),
    ("sched_process_exec", 'filename="/a, b", tid=7, old_tid=6', {"filename": "/a, b", "pid": "7", "old_pid": "6"}),
    ("sched_process_exit", "comm=a pid=7 prio=120 group_dead=true", {"comm": "a", "pid": "7"}),
    ("sched_process_exit", "comm=a b pid=7 tgid=7 prio=120", {"comm": "a b", "pid": "7"}),
    ("sched_migrate_task", "comm=a pid=7 prio=1 orig_cpu=0 dest_cpu=12", {"orig_cpu": "0", "dest_cpu": "12"}),
    ("irq_handler_entry", "irq=42 name=virtio3 tx", {"irq": "42", "name": "virtio3 tx"}),
    ("irq_handler_exit", "irq=42 ret=unhandled", {"irq": "42", "ret": "unhandled"}),
    ("irq_handler_exit", "irq=42, ret=1", {"irq": "42", "ret": "handled"}),
    ("softirq_raise", "vec=9 [action=RCU]", {"vec": "9", "action": "RCU"}),
    ("softirq_entry", "vec=9", {"vec": "9", "action": None}),
    ("sched_switch", 'prev_comm: "cat", prev_pid: 30186 (cat)', {"prev_comm": "cat", "prev_pid": "30186"}),
    ("sched_switch", "prev_state=256 next_comm=a next_pid=7 next_prio=1", {"prev_state": "R+", "prev_pid": None}),
    ("sched_switch", "prev_state=UNINTERRUPTIBLE(2), next_tid=7", {"prev_state": "D", "next_pid": "7"}),
    ("sched_switch", "a:7 [120] W ==> b:8 [120]", {"prev_state": "I"}),
    ("timer_expire_entry", "timer=00f function=process_timeout now=4", {"function": "process_timeout", "gone": None}),
    ("read", "fd: 0x3, buf: 0x5", {"fd": "0x3"}),
]


@pytest.mark.parametrize(("event", "text", "told"), TOLD, ids=[text for _, text, _ in TOLD])
def test_each_event_tells_its_fields(event: str, text: str, told: dict[str, str | None]) -> None:
    found = parsed(event, pa.array([text, None]), list(told))
    assert {name: column.to_pylist() for name, column in found.items()} == {k: [v, None] for k, v in told.items()}


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60), st.sampled_from([*{event for event, _, _ in TOLD}]))
def test_no_text_is_too_strange(text: str, event: str) -> None:
    names = [*{name for kind, _, told in TOLD if kind == event for name in told}]
    for column in parsed(event, pa.array([text]), names).values():
        assert len(column) == 1


@pytest.mark.parametrize("file", ["ftrace_verbose.txt.xz", "perfetto_kinds.pftrace.xz", "perfetto_lossy.pftrace.xz"])
def test_who_was_switched_in_is_who_goes_on(file: str, tmp_path: Path) -> None:
    """In recordings each cpu's events behind a switch are those of the thread that came."""
    trace = unpacked(file, tmp_path)
    rows, told = values(trace, "sched_switch", SWITCH)
    codes, names = trace.names
    assert len(rows) == sum(np.asarray(names)[codes] == "sched_switch")
    assert told["next_pid"].null_count == told["next_comm"].null_count == told["prev_state"].null_count == 0
    known = [r for r, pid in zip(rows, told["prev_pid"].to_pylist(), strict=True) if pid is not None]
    assert numbers(told["prev_pid"].drop_null()).tolist() == trace.tid[known].tolist()
    place = {int(row): k for k, row in enumerate(rows)}
    breaks = {cpu: set(trace.breaks(cpu)) for cpu in trace.streams}
    came = numbers(told["next_pid"])
    for cpu, own in trace.streams.items():
        for k, (row, behind) in enumerate(zip(own.tolist(), own[1:].tolist(), strict=False)):
            if row in place and k + 1 not in breaks[cpu]:
                assert came[place[row]] == trace.tid[behind]


def test_what_calls_returned(tmp_path: Path) -> None:
    trace = unpacked("ftrace_syscalls.txt.xz", tmp_path)
    rows, told = values(trace, "openat", ("ret", "filename"))
    exits = trace.phase[rows] == 1
    assert set(told["ret"].filter(pa.array(exits)).to_pylist()) >= {"0x3"}
    assert told["ret"].filter(pa.array(~exits)).null_count == (~exits).sum() == told["filename"].drop_null().__len__()
    rows, told = values(trace, "sched_process_fork", ("pid",))
    assert len(rows) == len(told["pid"]) == 0


def test_events_are_known_by_the_kernels_name() -> None:
    assert kernel_name("sched:sched_switch") == "sched_switch"
    assert kernel_name("irq_softirq_entry") == kernel_name("irq:softirq_entry") == "softirq_entry"
    assert kernel_name("irq_handler_entry") == "irq_handler_entry"
    assert kernel_name("demo:sched_switch") == "demo:sched_switch"
