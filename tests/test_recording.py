"""Recording for real: identities hold, and nothing is left behind. Amounts are never asserted."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pytest
from commands import run, run_apart
from conftest import DEMO, make_trace, mostly_long, recorders, rng, threads_on_cpus
from hypothesis import given, settings
from hypothesis import strategies as st

import tracemend
from tracemend.diffusion.gaps import lose
from tracemend.errors import TraceError
from tracemend.formats import parquet, ringbuffer
from tracemend.recording import (
    Pair,
    RecordError,
    SmallBuffer,
    Wanted,
    align,
    available,
    corpus,
    lttng,
    others,
    pages,
    pairs,
    perf,
    record,
    record_pair,
    text,
    tracefs,
)
from tracemend.recording.ftrace import _Pages
from tracemend.recording.tracefs import EVENTS, PREFIX, TRACEFS, Instance, held, names_kept, remove_stale, thread_names
from tracemend.trace.events import Trace

recording = pytest.mark.skipif(bool(available()), reason=f"recording needs root and tracefs: {available()}")
by_perf = pytest.mark.skipif(bool(perf.available_perf()), reason=f"recording by perf: {perf.available_perf()}")

WORKLOADS = Path(__file__).parents[1] / "experiments" / "workloads.toml"
#: Shell pipes: several threads on each cpu, short-lived and moving.
PIPES = "for i in 1 2 3 4 5; do ls /usr/bin | sort | uniq | wc -l & cat /etc/passwd | tr a b | wc; done; wait"


Made = TypeVar("Made", bound=tuple[Any, ...])


def sound(make: Callable[[], Made], most: int = 6, *, lossy: bool = False) -> Made:
    """The first of several recordings of which everything agrees and, if it is to be ``lossy``, something was lost.

    What disagrees now and then is the tracer's doing, and the recorder says so: perf's marks that name no cpu, LTTng's
    counters that are read after their packet was closed, interrupts between one buffer's event and the other's.
    """
    told = []
    for _ in range(most):
        made = make()
        if not made[-1] and (made[0].lost or not lossy):
            return made
        told.append(made[-1] or ["nothing was lost"])
    raise AssertionError(f"nothing agrees in {most} recordings: {told}")


def left_behind() -> list[str]:
    return [p.name for p in (TRACEFS / "instances").glob(f"{PREFIX}{os.getpid()}-*")]


@recorders
@recording
def test_a_complete_recording_pairs_every_call() -> None:
    whole = record(["ls", "/"], quiet=True)
    trace = whole.trace
    names = set(trace.table["name"].to_pylist())
    assert {"execve", "openat", "getdents64", "write"} <= names
    assert trace.gaps == ()
    assert (whole.lost, whole.status) == (0, 0)
    assert (np.diff(trace.time_ns) >= 0).all()
    assert left_behind() == []


@recorders
@recording
def test_a_recording_says_which_threads_are_one_process() -> None:
    program = (
        "import os, threading as t; w = t.Thread(target=os.getppid); w.start(); w.join(); os.fork() or os.getppid()"
    )
    trace = record([sys.executable, "-c", program], quiet=True).trace
    assert trace.processes.keys() == set(trace.tid.tolist())
    processes = Counter(trace.processes.values())
    assert sorted(processes.values()) == [1, 2]
    assert all(trace.processes[pid] == pid for pid in processes)


@recorders
@recording
@pytest.mark.parametrize("events", EVENTS)
def test_every_kind_of_events(events: str) -> None:
    trace = record(["sh", "-c", "ls / | wc -l"], events=events, quiet=True).trace
    names = set(trace.table["name"].to_pylist())
    assert {"execve", "openat", "close"} <= names
    assert ("sched_switch" in names) == (events in ("sched", "kernel"))
    rows = [r for r in trace.table.to_pylist() if r["name"] == "openat" and r["phase"] == "enter"]
    assert all(("filename=" in r["args"]) == (events == "syscalls") for r in rows)
    if "sched_switch" in names:
        execs = [r["args"] for r in trace.table.to_pylist() if r["name"] == "sched_process_exec"]
        assert any(a.startswith("filename=/") and "/ls pid=" in a for a in execs)


def switches(trace: Trace) -> list[tuple[int, int, int, int]]:
    """Of each sched_switch: its row, its cpu, who ran and who runs next."""
    found = []
    columns = (trace.table[c].to_pylist() for c in ("name", "cpu", "args"))
    for row, (name, cpu, args) in enumerate(zip(*columns, strict=True)):
        pids = re.search(r"prev_pid=(\d+) .*next_pid=(\d+)", args) if name == "sched_switch" else None
        if pids:
            found.append((row, cpu, int(pids[1]), int(pids[2])))
    return found


@pytest.mark.long
@recorders
@recording
def test_of_the_machine_each_cpu_has_a_story_without_a_hole() -> None:
    """Whoever a switch lets run, the events up to the next switch are his, and he is the one that it takes off."""
    own = threading.get_native_id()
    with command_of_others() as other:
        trace = record(["sh", "-c", PIPES], events="kernel", quiet=True).trace
        mine = record(["sh", "-c", PIPES], events=Wanted("kernel"), quiet=True).trace
    assert (trace.provenance["of"], mine.provenance["of"]) == ("machine", "command")
    assert other in trace.threads
    # of the command alone others are seen where they make room for it, and no more
    names = mine.table["name"].to_pylist()
    assert {names[row] for row in mine.threads.get(other, ())} <= {"sched_switch"}
    assert {"sched_waking", "softirq_entry", "hrtimer_expire_entry"} <= set(trace.table["name"].to_pylist())
    found = switches(trace)
    # a machine may have threads that its kernel doesn't trace: they are switched to and never from
    left = {(prev, cpu if prev == 0 else -1) for _, cpu, prev, _ in found}
    torn = 0
    for cpu, rows in trace.streams.items():
        runs = None
        by_row = {row: (prev, now) for row, of, prev, now in found if of == cpu}
        assert by_row
        for row in rows.tolist():
            if runs is not None and (runs, cpu if runs == 0 else -1) in left:
                assert runs == trace.tid[row]
            elif runs is not None and runs != trace.tid[row]:
                torn += 1
            if row in by_row:
                assert by_row[row][0] == trace.tid[row]
                runs = by_row[row][1]
    assert (others.whole_until(trace) == len(trace)) == (not torn)
    # the recorder is seen to run, not what it does
    assert {trace.table["phase"][int(row)].as_py() for row in trace.threads[own]} == {"instant"}


@contextlib.contextmanager
def command_of_others() -> Iterator[int]:
    """The process of a shell that is no descendant of what is recorded, and does a little all the time."""
    with subprocess.Popen(["sh", "-c", "while sleep 0.002; do :; done"], stdout=subprocess.DEVNULL) as process:
        try:
            yield process.pid
        finally:
            process.kill()


def test_what_a_kernel_does_not_have_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A made-up kernel that can trace scheduling, two interrupts' events and nothing else."""
    there = [*EVENTS["sched"], "irq/irq_handler_entry", "irq/irq_handler_exit", "irq/tasklet_entry"]
    for event in there:
        (tmp_path / "events" / event).mkdir(parents=True)
        (tmp_path / "events" / event / "enable").touch()
    monkeypatch.setattr(tracefs, "TRACEFS", tmp_path)
    found, absent = Wanted.of("kernel").tracepoints()
    assert found == there[:-1]
    assert {"sched_waking", "softirq_*", "block_rq_*", "net_dev_*", "cpu_idle", "page_fault_*"} <= set(absent)
    assert "irq_handler_*" not in absent
    assert Wanted.of("sched").tracepoints() == (there[:-3], [])


@recorders
@recording
@pytest.mark.parametrize("events", ["raw", "kernel"])
def test_the_text_is_the_kernels_own(events: str) -> None:
    """One and the same buffer, printed by the kernel and by us."""
    with (
        contextlib.ExitStack() as stack,
        held(["sh", "-c", PIPES], quiet=True) as (process, go),
        names_kept(),
        Instance("text", 1 << 14, events=events, pid=process.pid) as instance,
    ):
        if (instance.path / "options" / "hash-ptr").exists():
            instance.set("options/hash-ptr", 0)
        instance.set("tracing_on", 1)
        go()
        process.wait()
        instance.set("tracing_on", 0)
        kernels = (instance.path / "trace").read_text().splitlines(keepends=True)
        collected = _Pages(instance, stack)
        collected.take()
        ours = list(collected.recorded(["sh"], thread_names()).text())
    assert [line for line in kernels if not line.startswith("#")] == ours


@recorders
@recording
def test_recording_works_with_many_files_open() -> None:
    """A shell redirects descriptors of one digit only; the recorder must not depend on low ones being free."""
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(open("/dev/null"))
        assert len(record(["true"], quiet=True).trace)


@recorders
@recording
@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("events", mostly_long(EVENTS))
def test_marks_counters_and_missing_events_agree(events: str, overwrite: bool) -> None:
    """Workloads that outrun a small buffer, several threads and one at a time; a machine always has several."""
    for command in (["sh", "-c", PIPES], ["find", "/usr/share/perl", "/usr/include"])[: 1 if events == "kernel" else 2]:
        small = replace(SmallBuffer.of(Wanted.of(events)), overwrite=overwrite)
        pair, lossy, _ = sound(partial(record_pair, command, small, events=events, quiet=True))
        assert pair.lost == lossy.lost
        assert len(pair.lossy) + pair.lost == len(pair.complete)
        for gap, lost in zip(pair.lossy.gaps, pair.missing, strict=True):
            assert gap.count in (None, len(lost))
            assert (gap.known == "suspected") == (gap.count is None and not overwrite)
            assert (pair.complete.cpu[lost] == gap.cpu).all()
            if gap.after is not None and overwrite:
                assert pair.complete.time_ns[lost].max() <= pair.lossy.time_ns[gap.after]
    assert left_behind() == []


@recorders
@by_perf
def test_a_pair_by_perf() -> None:
    # a short program: the more events, the likelier an interrupt between one buffer's event and the other's
    command = ["find", "/usr/share/perl"]
    pair, printed, _ = sound(partial(perf.record_pair, command, quiet=True), most=25, lossy=True)
    assert pair.lost
    assert len(pair.lossy) + pair.lost == len(pair.complete)
    assert printed.count("PERF_RECORD_LOST lost") == sum(g.count is not None for g in pair.lossy.gaps)


@pytest.mark.long
@recorders
def test_a_program_without_tracepoints() -> None:
    reason = lttng.available_lttng()
    if reason:
        pytest.skip(reason)
    with pytest.raises(RecordError, match=r"^true has no LTTng-UST tracepoints: no events were recorded$"):
        lttng.record_pair(["true"], quiet=True)


def _needs_ust() -> None:
    for tool, package in (("lttng", "lttng-tools"), ("gcc", "gcc"), ("lttng-gen-tp", "liblttng-ust-dev")):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed ({package})")


@recorders
@pytest.mark.parametrize("overwrite", [True, pytest.param(False, marks=pytest.mark.long)])
def test_a_pair_by_lttng(tmp_path: Path, overwrite: bool) -> None:
    """A program with tracepoints; events of two sizes, so that small ones find room where large ones don't."""
    _needs_ust()
    source = Path(__file__).parent / "formats" / "ctf_app"
    program = str(tmp_path / "app")
    libraries = ["-llttng-ust", "-ldl", "-lpthread"]
    subprocess.run(["gcc", "-O1", f"-I{source}", str(source / "app.c"), "-o", program, *libraries], check=True)
    pair, _ = sound(partial(lttng.record_pair, [program, "4000", "2"], overwrite=overwrite, quiet=True))
    assert pair.lost
    assert len(pair.lossy) + pair.lost == len(pair.complete)
    assert len(pair.complete.processes) > len(set(pair.complete.processes.values())) == 1
    if not overwrite:
        assert pair.lost == pair.lossy.lost


@recorders
@recording
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_recorder_leaves_nothing_for_long(tmp_path: Path, how: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tracemend", "record", "-o", str(tmp_path / "t.parquet"), "--", "sleep", "60"]
    )
    instance = TRACEFS / "instances" / f"{PREFIX}{process.pid}-all"
    try:
        for _ in range(400):
            if instance.exists():
                break
            time.sleep(0.05)
        assert instance.exists()
    finally:
        process.send_signal(how)
        process.wait()
    if how == signal.SIGKILL:  # the next recorder removes what this one could not
        remove_stale()
    assert not instance.exists()
    assert list(tmp_path.iterdir()) == []


@recorders
@recording
def test_a_signal_while_an_instance_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python tells of it once the kernel has made it, before anybody knows that it is there."""
    made = Path.mkdir

    def interrupted(path: Path) -> None:
        made(path)
        sys.exit(143)

    monkeypatch.setattr(Path, "mkdir", interrupted)
    with pytest.raises(SystemExit):
        Instance("all", 64, pid=os.getpid())
    assert not (TRACEFS / "instances" / f"{PREFIX}{os.getpid()}-all").exists()


@pytest.mark.long
@recorders
@recording
def test_the_command_line_records(tmp_path: Path) -> None:
    done = run_apart("record", "-o", tmp_path / "t.parquet", "--", "sh", "-c", "echo hello; exit 3")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("hello\n")
    assert "Nothing was lost." in done.stdout
    assert "status 3" in done.stdout
    trace = tracemend.read(tmp_path / "t.parquet")
    assert trace.format == "parquet"
    assert trace.provenance["command"] == ["sh", "-c", "echo hello; exit 3"]
    assert run("scan", str(tmp_path / "t.parquet")).returncode == 0
    again = run("record", "-o", tmp_path / "t.parquet", "--", "true")
    assert (again.returncode, again.stderr.count("\n")) == (1, 1)
    short = run("record", "-o", tmp_path / "t.txt", "--json", "--", "true")
    assert json.loads(short.stdout)["events"] == len(tracemend.read(tmp_path / "t.txt"))


@recorders
@recording
def test_the_command_line_records_pairs(tmp_path: Path) -> None:
    out = tmp_path / "pair"
    for number in range(50):  # enough to be found for a buffer of 8 KiB to run over while its reader rests
        (tmp_path / "tree" / f"{number}").mkdir(parents=True)
    done = run("record", "--pair", "-o", out, "--delay", "20", "--", "find", tmp_path / "tree")
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in out.iterdir()) == ["complete.parquet", "gaps.csv", "lossy.parquet", "lossy.txt"]
    pair = pairs.read(out / "complete.parquet")
    assert pair.faults() == []
    lossy, printed = tracemend.read(out / "lossy.parquet"), tracemend.read(out / "lossy.txt")
    assert len(pair.lossy) == len(lossy) == len(printed)
    assert [g.count for g in pair.lossy.gaps] == [g.count for g in lossy.gaps] == [g.count for g in printed.gaps]
    for column in ("tid", "cpu", "comm", "name", "phase", "args", "ret"):
        assert lossy.table[column].to_pylist() == printed.table[column].to_pylist()
    assert np.abs(lossy.time_ns - printed.time_ns).max() <= 500  # the text has microseconds
    lines = (out / "gaps.csv").read_text().splitlines()
    assert len(lines) == 1 + len(pair.missing)
    # and the counts alone lead to the same events
    by_counts = align(printed, pair.complete)
    assert all((a == b).all() for a, b in zip(by_counts.missing, pair.missing, strict=True))
    judged = run("evaluate", str(out), "--model", "lookup", "--json")
    assert json.loads(judged.stdout)["rows"]
    (out / "mine").touch()
    refused = run("record", "--pair", "--force", "-o", str(out), "--", "true")
    assert (refused.returncode, "holds mine" in refused.stderr) == (1, True)


@pytest.mark.long
@recorders
@recording
def test_the_command_line_records_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "pair"
    monkeypatch.setitem(tracefs.WHERE_THERE, "kernel", (*tracefs.WHERE_THERE["kernel"], "nowhere/nothing_*"))
    done = run("record", "--pair", "--events", "kernel", "-o", out, "--buffer", "8", "--", "sh", "-c", "ls / | wc")
    assert done.returncode == 0, done.stderr
    lossy, printed = tracemend.read(out / "lossy.parquet"), tracemend.read(out / "lossy.txt")
    assert "This kernel has no nothing_*: recorded without." in done.stderr
    assert lossy.provenance["of"] == "machine"
    assert [g.count for g in lossy.gaps] == [g.count for g in printed.gaps]
    for column in ("tid", "cpu", "comm", "name", "phase", "args", "ret"):
        assert lossy.table[column].to_pylist() == printed.table[column].to_pylist()
    done = run("record", "--events", "sched", "--of", "machine", "-o", tmp_path / "t.txt", "--", "true")
    assert done.returncode == 0, done.stderr
    names = tracemend.read(tmp_path / "t.txt").table["name"].to_pylist()
    assert {"sched_switch", "execve"} <= set(names)
    for wrong in (["--tracer", "perf", "--of", "machine", "--pair"], ["--events", "syscalls"]):
        assert run("record", *wrong, "-o", str(tmp_path / "wrong.txt"), "--", "true").returncode == 2


@recorders
@recording
def test_attempts_get_easier_until_enough_survives() -> None:
    workload = corpus.Workload("pipes", PIPES, setup="echo $N > made")
    with workload.ready(3) as (command, folder):
        assert (folder / "made").read_text() == "3\n"
        assert command[-1].startswith("N=3;")
    assert not folder.exists()
    made = [a for a in corpus.attempts(workload, 0, "overwrite", seed=1) if not isinstance(a, str)]
    assert [a.faults for a in made] == [[]] * len(made)
    assert all(a.counted == a.pair.lost for a in made)
    failing = corpus.Workload("wrong", "true", setup="echo so it is >&2; false")
    assert list(corpus.attempts(failing, 0, "drop", seed=1, most=1)) == ["wrong: its setup failed: so it is"]


def recorded_program(workload: corpus.Workload, least: int) -> None:
    """Made from its source, it loses events of which each is known, in both of LTTng's modes."""
    for how in workload.ways:

        def once(how: corpus.How = how) -> tuple[Pair, list[str]]:
            with workload.ready(3) as (command, folder):
                made = corpus.attempt(command, folder, corpus.Setting(how, 16, 0.0, 0))
            return made.pair, made.faults

        pair, _ = sound(once)
        assert set(pair.complete.table["phase"].to_pylist()) == {"instant"}
        assert len(pair.lossy) + pair.lost == len(pair.complete) > least


def program_of_the_corpus() -> corpus.Workload:
    _needs_ust()
    workload = next(w for w in corpus.workloads(WORKLOADS)[0] if w.name == "ust-server")
    assert (workload.ways, [f.name for f in workload.files][-1]) == (corpus.HOW_UST, "server.c")
    return workload


@pytest.mark.long
@recorders
def test_a_program_of_the_corpus_with_tracepoints_and_little_to_do() -> None:
    workload = program_of_the_corpus()
    fewer = "sed -i 's/requests = 500;/requests = 50;/' server.c"
    recorded_program(replace(workload, setup=f"{fewer}; {workload.setup}"), 4_000)


@pytest.mark.long
@recorders
def test_a_program_of_the_corpus_with_tracepoints() -> None:
    recorded_program(program_of_the_corpus(), 40_000)


def test_settings_are_drawn_by_seed() -> None:
    for how in corpus.HOW:
        assert corpus.draw(how, 5) == corpus.draw(how, 5)
        drawn = [corpus.draw(how, seed) for seed in range(50)]
        assert {d.buffer_kb for d in drawn} == set(corpus.BUFFERS_KB[how])
        least, most = corpus.DELAYS_MS[how]
        assert all(least <= d.delay_ms <= most for d in drawn)
        easier, harder = corpus.draw(how, 5, 1), corpus.draw(how, 5, -9)
        assert easier.buffer_kb == 2 * corpus.draw(how, 5).buffer_kb
        assert (harder.buffer_kb, harder.delay_ms > most) == (min(corpus.BUFFERS_KB[how]), True)


@recorders
def test_what_cant_be_recorded_is_said_in_one_line(tmp_path: Path) -> None:
    out = str(tmp_path / "x.parquet")
    if not available():
        done = run("record", "-o", out, "--", "no-such-command")
        assert done.returncode == 1
        assert done.stderr == "tracemend: no-such-command: no such command\n"
    for wrong in (["-o", str(tmp_path / "x.csv")], ["-o", out, "--tracer", "perf"], ["-o", out, "--tracer", "lttng"]):
        assert run("record", *wrong, "--", "true").returncode == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody without privilege")
def test_without_privilege() -> None:
    code = "import os; from tracemend.recording import available; os.setuid(65534); print(available())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "ftrace takes root\n"


# Sub-buffers. The words are made up by the kernel's rules; real ones are read by the tests above.


def page(time: int, events: list[tuple[int, bytes]], *, size: int = 512, lost: int | None = None) -> bytes:
    """A made-up sub-buffer: (time since the one before, record); ``lost`` -1: without a number."""
    data = b""
    for since, body in events:
        delta = since if since < 1 << 27 else 0
        if since >= 1 << 27:
            data += struct.pack("<II", ringbuffer.TIME_EXTEND | (since & (1 << 27) - 1) << 5, since >> 27)
        if len(body) > 112:
            data += struct.pack("<II", delta << 5, len(body) + 4) + body
        else:
            data += struct.pack("<I", len(body) // 4 | delta << 5) + body
    commit = len(data)
    if lost is not None:
        commit |= ringbuffer.MISSED
        if lost >= 0:
            commit |= ringbuffer.STORED
            data += struct.pack("<Q", lost)
    return (struct.pack("<QQ", time, commit) + data).ljust(size, b"\0")


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 1 << 50),
            st.lists(st.tuples(st.integers(0, 1 << 40), st.integers(1, 40)), max_size=12),
            st.sampled_from([None, -1, 0, 1, 1 << 40]),
        ),
        max_size=5,
    )
)
def test_sub_buffers_read_as_they_were_written(
    written: list[tuple[int, list[tuple[int, int]], int | None]],
) -> None:
    raw: list[bytes] = []
    times: list[int] = []
    bodies: list[bytes] = []
    marks: list[tuple[int, int | None]] = []
    for begin, events, lost in written:
        if lost is not None:
            marks.append((len(times), None if lost < 0 else lost))
        records = [(delta, bytes([number + 1]) * 4 * words) for number, (delta, words) in enumerate(events)]
        times += (begin + np.cumsum([delta for delta, _ in records], dtype=np.int64)).tolist()
        bodies += [body for _, body in records]
        raw.append(page(begin, records, size=4096, lost=lost))
    stream = pages.split(b"".join(raw), 4096)
    assert stream.time_ns.tolist() == times
    assert stream.marks == marks
    assert [stream.raw[b : b + len(body)] for b, body in zip(stream.begin.tolist(), bodies, strict=True)] == bodies


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (struct.pack("<QQ", 0, 4096).ljust(64, b"\0"), "says it holds"),
        (struct.pack("<QQI", 0, 4, ringbuffer.TIME_EXTEND), "ends within"),
    ],
)
def test_a_damaged_sub_buffer_is_told(raw: bytes, words: str) -> None:
    with pytest.raises(RecordError, match=words):
        pages.split(raw, 4096)


def test_flags_as_the_kernel_prints_them() -> None:
    assert text.flags(0, 0) == "....."
    assert text.flags(text.IRQS_OFF | text.HARD, 2) == "d.h2."
    assert text.flags(text.RESCHED | text.PREEMPT, 0x10) == ".N..1"
    assert text.flags(text.BH_OFF | text.SOFT | text.LAZY, 0) == "bls.."


# Pairs


def twice(seed: int, *, complete_first: bool = True) -> tuple[Trace, Trace, list[np.ndarray]]:
    """A made-up run in two buffers, of which the second one hears of everything a little later and loses some."""
    draw = rng(seed)
    complete = threads_on_cpus(draw, 600, threads=3)
    lossy, missing = lose(complete, draw)
    later = draw.integers(1, 150, len(lossy)) * (1 if complete_first else -1)
    table = lossy.table.set_column(0, lossy.table.schema.field(0), pa.array(lossy.time_ns + later))
    return replace(lossy, table=table), complete, missing


@pytest.mark.parametrize("complete_first", [True, False, None])
def test_times_tell_which_event_is_which(complete_first: bool | None) -> None:
    for seed in range(20):
        lossy, complete, missing = twice(seed, complete_first=complete_first is not False)
        pair, faults = pairs.by_times(lossy, complete, complete_first=complete_first)
        assert faults == pair.faults(lossy.lost) == []
        assert all((a == b).all() for a, b in zip(pair.missing, missing, strict=True))
        # drop mode: no marks, so the gaps are found
        bare, faults = pairs.by_times(lossy.with_gaps(()), complete, complete_first=complete_first)
        assert faults == bare.faults(lossy.lost) == []
        assert [g.known for g in bare.lossy.gaps] == ["suspected"] * len(missing)
        assert sorted(m.tolist() for m in bare.missing) == sorted(m.tolist() for m in missing)
        assert [g.count for g in bare.told().lossy.gaps] == [len(m) for m in bare.missing]


def test_what_does_not_agree_is_told() -> None:
    lossy, complete, _ = twice(1)
    wrong = lossy.with_gaps(tuple(replace(g, count=(g.count or 0) + 1) for g in lossy.gaps))
    pair, faults = pairs.by_times(wrong, complete)
    assert faults == []
    assert "stated counts are wrong" in pair.faults()[0]
    assert "the tracer counted" in pair.faults(pair.lost + 1)[-1]
    foreign = make_trace([(1_000_000_000, 0, 100, "uname", 0)])
    both = replace(lossy, table=pa.concat_tables([lossy.table, foreign.table]).unify_dictionaries().combine_chunks())
    assert "1 of" in pairs.by_times(both, complete)[1][0]


def test_the_head_of_a_pair_is_a_pair() -> None:
    for seed in range(10):
        lossy, complete, _ = twice(seed)
        pair, _ = pairs.by_times(lossy, complete)
        for most in (1, 50, 300, len(complete)):
            part = pairs.head(pair, most)
            assert part.faults() == []
            assert len(part.complete) == len(part.lossy) + part.lost <= most
            assert part.complete.time_ns.max(initial=0) <= complete.time_ns[most - 1]
            # each gap is one of the whole pair's, with all that it lost
            stamps = {tuple(complete.time_ns[m]) for m in pair.missing}
            assert {tuple(part.complete.time_ns[m]) for m in part.missing} <= stamps
            for rows in part.complete.streams.values():
                assert part.complete.time_ns[rows[-1]] in part.lossy.time_ns  # each stream ends with a survivor


def test_a_pair_in_a_file(tmp_path: Path) -> None:
    for seed in range(5):
        lossy, complete, _ = twice(seed)
        pair, _ = pairs.by_times(lossy, complete)
        pairs.write(pair, tmp_path / "pair.parquet")
        again = pairs.read(tmp_path / "pair.parquet")
        assert again.complete.table.drop(["line"]).equals(pair.complete.table.drop(["line"]))
        assert all((a == b).all() for a, b in zip(again.missing, pair.missing, strict=True))
        have, wanted = ([(g.cpu, g.before, g.after, g.count, g.known) for g in p.lossy.gaps] for p in (again, pair))
        assert have == wanted
        first = (tmp_path / "pair.parquet").read_bytes()
        pairs.write(pair, tmp_path / "pair.parquet")
        assert (tmp_path / "pair.parquet").read_bytes() == first
    parquet.write(complete, tmp_path / "bare.parquet")
    with pytest.raises(TraceError, match="no recording with its truth"):
        pairs.read(tmp_path / "bare.parquet")


def test_a_trace_in_a_file(tmp_path: Path) -> None:
    lossy, _, _ = twice(3)
    for trace in (lossy, lossy.with_gaps(tuple(replace(g, count=None, known="uncounted") for g in lossy.gaps))):
        parquet.write(trace, tmp_path / "t.parquet", details=False)
        again = tracemend.read(tmp_path / "t.parquet")
        assert again.table.drop(["line"]).equals(trace.table.drop(["line"]))
        assert [(g.cpu, g.before, g.after, g.count, g.known) for g in again.gaps] == [
            (g.cpu, g.before, g.after, g.count, g.known) for g in trace.gaps
        ]


def test_a_thread_that_is_reaped_meanwhile_is_the_same_thread() -> None:
    """Made up: each buffer asks for itself in which state a thread is, and its parent may reap it in between. And two
    cpus idle at once."""
    said = "prev_comm=wc prev_pid=9 prev_prio=120 prev_state={} ==> next_comm=swapper/1 next_pid=0 next_prio=120"
    names = ["softirq_raise", "sched_switch", "softirq_raise", "softirq_raise"]

    def recorded(later: int, state: str) -> Trace:
        rows = [(1000, 1, 9), (2000, 1, 9), (3000, 0, 0), (3001, 1, 0)]
        made = make_trace([(t + later, c, p, n, 2) for (t, c, p), n in zip(rows, names, strict=True)])
        args = pa.array([said.format(state) if n == "sched_switch" else "vec=1" for n in names])
        at = made.table.schema.get_field_index("args")
        return replace(made, table=made.table.set_column(at, made.table.schema.field(at), args))

    pair, faults = pairs.by_times(recorded(200, "X"), recorded(0, "Z"))
    assert faults == pair.faults(0) == []
    assert pair.lost == 0


def _metadata(path: Path, document: object) -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({parquet.KEY: json.dumps(document).encode()}), path)


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"marks": 3},
        {"marks": [[0, 1]]},
        {"marks": [[0, -1, 2]]},
        {"marks": [[0, 1 << 62, 2]]},
        {"overwritten": "x"},
        {"provenance": 5},
    ],
)
def test_damaged_metadata_ends_in_one_line(tmp_path: Path, document: object) -> None:
    parquet.write(twice(2)[0], tmp_path / "t.parquet")
    _metadata(tmp_path / "t.parquet", document)
    with pytest.raises(TraceError, match="parquet: "):
        tracemend.read(tmp_path / "t.parquet")


def test_damaged_parquet_ends_in_one_line(tmp_path: Path) -> None:
    parquet.write(twice(2)[0], tmp_path / "t.parquet")
    whole = (tmp_path / "t.parquet").read_bytes()
    draw = rng(0)
    for n in [4, 100, len(whole) // 2, len(whole) - 1, *draw.integers(4, len(whole), 40).tolist()]:
        damaged = bytearray(whole)
        damaged[n:] = b"" if n % 2 else bytes([draw.integers(256)]) + whole[n + 1 :]
        (tmp_path / "d.parquet").write_bytes(bytes(damaged))
        with contextlib.suppress(TraceError):
            tracemend.read(tmp_path / "d.parquet")


def test_alignment_by_counts_refuses_what_does_not_fit() -> None:
    if not DEMO.is_dir():
        pytest.skip("recordings/deploy isn't there")
    lossy, complete = tracemend.read(DEMO / "lossy.txt"), tracemend.read(DEMO / "complete.txt.xz")
    assert lossy.lost > 0
    pair = align(lossy, complete, lossy.lost)
    assert isinstance(pair, Pair)
    assert pair.lost == lossy.lost
    with pytest.raises(RecordError, match="the kernel of"):
        align(lossy, complete, lossy.lost + 1)
    wrong = lossy.with_gaps(tuple(replace(g, count=(g.count or 0) + 1) for g in lossy.gaps))
    with pytest.raises(RecordError, match="aren't a part"):
        align(wrong, complete)
