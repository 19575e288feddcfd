"""Which threads are one process: what each format tells of that, and figures by process."""

from __future__ import annotations

import json
import lzma
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import perfetto_judge
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from commands import run
from conftest import ROOT, make_trace, threads_on_cpus
from hypothesis import given, settings
from hypothesis import strategies as st

import tracemend
from tracemend.diffusion.gaps import lose
from tracemend.errors import OptionError
from tracemend.formats import parquet, read, text
from tracemend.outputs import figures as written
from tracemend.reckoning.figures import SCHEMA
from tracemend.reckoning.making import Reckoning
from tracemend.reckoning.tally import EVENTS, UNTIL, Asked
from tracemend.reckoning.whole import asked, reckoned

DATA = ROOT / "tests" / "data"
TOLD = DATA / "ftrace_tgid.txt.xz"
PROGRAM, THREADS, FORKED = 5544, (5557, 5559, 5560), 5561


@pytest.fixture(scope="module")
def several() -> tracemend.Trace:
    """A recording of a program of several threads that says which process each is of."""
    return read(TOLD)


def test_ftrace_tells_it_in_its_lines(several: tracemend.Trace) -> None:
    assert {several.processes[t] for t in (PROGRAM, *THREADS)} == {PROGRAM}
    assert several.processes[FORKED] == FORKED
    assert not read(DATA / "ftrace_pipe.txt").processes


def test_large_texts_tell_it_too(several: tracemend.Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read by compiled loops."""
    monkeypatch.setattr(text, "MUCH", 0)
    path = tmp_path / "trace.txt"
    path.write_bytes(lzma.decompress(TOLD.read_bytes()))
    assert read(path).processes == several.processes


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (" python3-7 (5) [000] ..... 1.000001: sys_getppid()\n", {7: 5}),
        (" python3-7 (-----) [000] ..... 1.000001: sys_getppid()\n", {}),
        (" python3-7 (9999999999) [000] ..... 1.000001: sys_getppid()\n", {}),
        (" app 5/7 [000] 1.000001: raw_syscalls:sys_enter: NR 110 (0, 0, 0, 0, 0, 0)\n", {7: 5}),
        (
            "[09:56:34.298524235] vm a:b: { cpu_id = 1 }, { pid = 4, vpid = 5, vtid = 7 }, { pid = 8 }\n",
            {7: 5},
        ),
    ],
    ids=["ftrace", "unknown", "no number", "perf", "babeltrace"],
)
def test_one_line(tmp_path: Path, line: str, told: dict[int, int]) -> None:
    """Made-up ones."""
    path = tmp_path / "trace.txt"
    path.write_text(line * 3)
    assert read(path).processes == told


def test_perf_tells_it_as_text_and_as_data() -> None:
    """perf's text has it only where it was asked for."""
    assert read(DATA / "perf_callchain.txt").processes
    data = read(DATA / "perf_lost.data.xz").processes
    assert data
    assert all(pid in data.values() for pid in data.values())


def test_perf_data_tell_the_same_with_and_without_perf(monkeypatch: pytest.MonkeyPatch) -> None:
    with_perf = read(DATA / "perf_lost.data.xz")
    monkeypatch.setenv("PATH", "/nowhere")
    without = read(DATA / "perf_lost.data.xz")
    there = set(without.tid.tolist())
    assert {t: p for t, p in without.processes.items() if t in there} == {
        t: p for t, p in with_perf.processes.items() if t in there
    }


def test_strace_tells_it_by_calls(tmp_path: Path) -> None:
    """Made up: a process that runs a program, makes a thread, and forks; the thread makes another."""
    path = tmp_path / "trace.txt"
    path.write_text(
        '5 1.000000 execve("/bin/x", ["x"], 0x1 /* 1 var */) = 0\n'
        "5 1.000100 clone3({flags=CLONE_VM|CLONE_THREAD, stack=0x1}, 88) = 6\n"
        "5 1.000200 clone(child_stack=NULL, flags=SIGCHLD) = 7\n"
        "6 1.000300 clone(child_stack=0x2, flags=CLONE_VM|CLONE_THREAD <unfinished ...>\n"
        "8 1.000350 getppid() = 1\n"
        "6 1.000400 <... clone resumed>) = 8\n"
        "7 1.000500 clone(child_stack=0x2, flags=CLONE_VM|CLONE_THREAD) = -1 EAGAIN (Try again)\n"
        "9 1.000600 clone(child_stack=0x2, flags=CLONE_VM|CLONE_THREAD) = 10\n"
        "5 1.000700 exit_group(0) = ?\n"
    )
    assert read(path).processes == {5: 5, 6: 5, 7: 7, 8: 5}


def test_strace_s_recorded_children() -> None:
    trace = read(DATA / "strace_ttt.txt")
    assert trace.processes == {t: t for t in set(trace.tid.tolist())}


def test_it_is_kept_in_parquet(several: tracemend.Trace, tmp_path: Path) -> None:
    parquet.write(several, tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet").processes == several.processes


@pytest.mark.parametrize("told", [[[1]], [["a", 2]], [[1, -5]], 7, [[1, 1 << 40]]])
def test_nonsense_in_parquet_is_told(several: tracemend.Trace, tmp_path: Path, told: object) -> None:
    parquet.write(several, tmp_path / "a.parquet", about={"processes": told})
    with pytest.raises(tracemend.TracemendError, match="no recording"):
        read(tmp_path / "a.parquet")


@pytest.mark.long
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1 << 32), share=st.floats(0, 1))
def test_a_process_has_what_its_threads_have(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    lossy, _ = lose(threads_on_cpus(rng, 300, threads=6, cpus=3), rng, longest=20)
    tids = np.unique(lossy.tid).tolist()
    processes = {t: tids[0] for t in tids if rng.random() < share} | {tids[-1]: tids[-1]}
    trace = replace(lossy, processes=processes)
    made = reckoned(tracemend.mend(trace, hypotheses=2, examples=(), alone=True), 2, Asked(("call", "thread")))
    keys, by_process = made.sides("process")
    thread_keys, by_thread = made.sides("thread")
    owner = np.array([processes.get(int(t), -1) for t in thread_keys.numbers])
    for k, pid in enumerate(keys.numbers.tolist()):
        own = by_thread[:, owner == pid]
        assert np.array_equal(by_process[:, k, :UNTIL], own[:, :, :UNTIL].sum(axis=1)) or made.counted.results
        assert np.array_equal(by_process[:, k, UNTIL], own[:, :, UNTIL].max(axis=1))
    assert by_process[:, :, EVENTS].sum() == by_thread[:, :, EVENTS].sum()


def figures(trace: Path | tracemend.Trace, by: str) -> dict[int, dict[str, Any]]:
    made = tracemend.figures(trace, by, 4)
    return {row["pid" if by == "process" else "tid"]: row for row in made.of("events").to_pylist()}


def test_figures_by_process(several: tracemend.Trace) -> None:
    by_process, by_thread = figures(several, "process"), figures(several, "thread")
    own = [by_thread[t]["observed"] for t in (PROGRAM, *THREADS) if t in by_thread]
    assert by_process[PROGRAM]["observed"] == sum(own)
    assert by_process[PROGRAM]["key"] == "python3"
    assert by_process[FORKED]["observed"] == by_thread[FORKED]["observed"]
    assert all(row["tid"] is None for row in by_process.values())


@pytest.mark.long
def test_the_total_is_the_same_by_process_as_by_thread(several: tracemend.Trace) -> None:
    by_process, by_thread = (tracemend.figures(several, by, 4).total.to_pylist() for by in ("process", "thread"))
    for a, b in zip(by_process, by_thread, strict=True):
        assert (a["figure"], a["observed"], a["estimate"]) == (b["figure"], b["observed"], b["estimate"])


def test_a_trace_that_doesn_t_tell_is_refused_before_the_work() -> None:
    done = run("figures", DATA / "ftrace_pipe.txt", "--by", "process")
    assert done.returncode == 1
    assert "ask by thread" in done.stderr
    assert "record-tgid" in done.stderr
    with pytest.raises(OptionError, match="which threads are one process"):
        reckoned(tracemend.mend(DATA / "ftrace_pipe.txt", hypotheses=2), 2, asked("process"))


def test_an_empty_trace_has_no_figures_by_process() -> None:
    assert tracemend.figures(make_trace([]), "process").table.num_rows == 0


def test_the_command_line_and_the_folder(tmp_path: Path) -> None:
    done = run("figures", TOLD, "--by", "process", "--draws", "4", "--json")
    rows = {row["pid"]: row for row in json.loads(done.stdout)["figures"] if row["figure"] == "calls"}
    assert rows[PROGRAM]["low"] <= rows[PROGRAM]["estimate"] <= rows[PROGRAM]["high"]
    shown = run("figures", TOLD, "--by", "process", "--draws", "4").stdout
    assert "command" in shown
    assert f"python3  {PROGRAM}" in shown
    out = tmp_path / "out"
    assert run("mend", TOLD, "-o", out).returncode == 0
    lying = run("figures", out, "--by", "process", "--json")
    assert "lie in it" in lying.stderr
    assert {row["pid"] for row in json.loads(lying.stdout)["figures"]} >= {PROGRAM, FORKED}


def test_figures_that_an_earlier_version_wrote_are_read(several: tracemend.Trace, tmp_path: Path) -> None:
    made = tracemend.figures(several, "thread", 4)
    written.write([made], tmp_path / written.NAME)
    table = pq.read_table(tmp_path / written.NAME)
    older = table.drop_columns(["pid", "inferred", "unknown"])
    pq.write_table(older, tmp_path / written.NAME)
    again = written.read(tmp_path, "thread")
    assert again.table.schema.equals(SCHEMA)
    assert again.table["estimate"].equals(made.table["estimate"])
    pq.write_table(table.drop_columns(["observed"]), tmp_path / written.NAME)
    with pytest.raises(tracemend.TracemendError, match="can't be read as figures"):
        written.read(tmp_path, "thread")


@pytest.mark.long
def test_every_has_processes_only_where_they_are_told(several: tracemend.Trace) -> None:
    def by(trace: tracemend.Trace) -> list[str]:
        made: Reckoning = reckoned(tracemend.mend(trace, hypotheses=2), 2)
        return [f.by for f in made.every()]

    assert by(several) == ["call", "thread", "process"]
    assert by(replace(several, processes={})) == ["call", "thread"]


@pytest.mark.long
def test_threads_of_a_process_stand_under_it_in_perfetto(several: tracemend.Trace, tmp_path: Path) -> None:
    tracemend.mend(several).write(tmp_path / "out", ["perfetto"])
    asked = "select tid, pid from thread join process using (upid) where tid > 0"
    (rows,) = perfetto_judge.answers(tmp_path / "out" / "trace.perfetto-trace", asked)
    found = {row.tid: row.pid for row in rows}
    assert {found[t] for t in (PROGRAM, *THREADS)} == {PROGRAM}
    assert found[FORKED] == FORKED


def test_tables_of_processes_hold_each_number_once(several: tracemend.Trace) -> None:
    table = tracemend.figures(several, "process", 4).of("events")
    assert pc.count_distinct(table["pid"]).as_py() == table.num_rows
    assert table["pid"].null_count == 0
    assert isinstance(table, pa.Table)
