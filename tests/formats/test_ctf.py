"""CTF: babeltrace2 is the judge of what is read, and made-up traces (labelled so) reach the corners of the language."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from ctf_made import Made, draw_struct

from tracemend.events import Trace
from tracemend.formats import read
from tracemend.syscalls import call_name, canonical

HERE = Path(__file__).parent
Event = dict[str, Any]


@cache
def python_of_babeltrace() -> str:
    """A Python that has babeltrace2's bindings."""
    for python in ("/usr/bin/python3", "python3"):
        if (
            shutil.which(python)
            and not subprocess.run([python, "-c", "import bt2"], capture_output=True, check=False).returncode
        ):
            return python
    pytest.skip("babeltrace2's bindings for Python are not installed (python3-bt2)")


def judged(*folders: Path) -> list[tuple[list[Event], list[Event], str]]:
    """Events and losses that babeltrace2 reads from each folder, and what it complains of."""
    command = [python_of_babeltrace(), str(HERE / "ctf_judge.py"), *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: list[tuple[list[Event], list[Event], str]] = [([], [], "") for _ in folders]
    for line in map(json.loads, done.stdout.splitlines()):
        events, lost, _ = found[line["trace"]]
        if "error" in line:
            found[line["trace"]] = events, lost, line["error"]
        else:
            (lost if "lost" in line else events).append(line)
    return found


def expected(event: Event) -> tuple[Any, ...]:
    """The row that an event of babeltrace2 must have become: time, cpu, thread, command, name, phase, args, ret."""
    name, context, fields = event["name"], dict(event["context"]), dict(event["fields"])
    tid = int(context.pop("tid", None) or context.pop("vtid", None) or fields.get("perf_tid", -1))
    comm = context.pop("procname", None)
    phase, ret = "instant", None
    if name in ("raw_syscalls:sys_enter", "raw_syscalls:sys_exit"):
        phase, name = name.rpartition("_")[2], call_name(int(fields["id"]))
    elif name.startswith("syscall_"):
        _, phase, name = name.split("_", 2)
        phase, name = phase.replace("entry", "enter"), canonical(name)
    if phase == "exit":
        ret = fields.pop("ret")
    args = ", ".join(f"{k}={v}" for k, v in [*fields.items(), *context.items()]) or None
    return event["ns"], event["cpu"], tid, comm and json.loads(comm), name, phase, args, ret


def rows(trace: Trace) -> list[tuple[Any, ...]]:
    columns = ("time_ns", "cpu", "tid", "comm", "name", "phase", "args", "ret")
    return list(zip(*(trace.table[c].to_pylist() for c in columns), strict=True))


def by_cpu(events: list[tuple[Any, ...]]) -> dict[int, list[tuple[Any, ...]]]:
    found = defaultdict(list)
    for e in events:
        found[e[1]].append(e)
    return dict(found)


def assert_as_judged(trace: Trace, events: list[Event], lost: list[Event]) -> None:
    """Each stream's events in the same order with the same everything, and the same losses.

    babeltrace 2.0.4 gives an empty text the value that the same field had in the event before, so where we read one
    the fields are not compared.
    """
    assert len(trace) == len(events)
    theirs = by_cpu([expected(e) for e in events])
    for cpu, ours in by_cpu(rows(trace)).items():
        for a, b in zip(ours, theirs[cpu], strict=True):  # one by one: pytest would take minutes to tell them apart
            assert a == b or ('""' in a[6] and a[:6] == b[:6] and a[7:] == b[7:])
    assert (np.diff(trace.time_ns) >= 0).all()
    assert trace.lost == sum(e["count"] for e in lost if e["lost"] == "events")


# traces that tracers made


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """LTTng's session daemon, ours if none runs."""
    for tool, package in (("lttng", "lttng-tools"), ("lttng-sessiond", "lttng-tools"), ("gcc", "gcc")):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed ({package})")
    listing = ["lttng", "--no-sessiond", "list"]
    if not subprocess.run(listing, capture_output=True, check=False).returncode:
        yield
        return
    home = tmp_path_factory.mktemp("lttng")
    with open(home / "log", "wb") as log:
        started = subprocess.Popen(["lttng-sessiond", "--no-kernel"], stdout=log, stderr=log)
        try:
            for _ in range(200):
                if not subprocess.run(listing, capture_output=True, check=False).returncode:
                    break
                time.sleep(0.05)
            yield
        finally:
            started.terminate()
            started.wait(20)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program with tracepoints, compiled."""
    made = tmp_path_factory.mktemp("program") / "app"
    source = HERE / "ctf_app"
    command = ["gcc", "-O1", f"-I{source}", str(source / "app.c"), "-o", str(made), "-llttng-ust", "-ldl", "-lpthread"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"the program with tracepoints can't be compiled (liblttng-ust-dev): {done.stderr[:200]}")
    return made


CHANNELS = {
    "whole": ["--subbuf-size=4M", "--num-subbuf=4", "--discard"],
    "discard": ["--subbuf-size=4096", "--num-subbuf=4", "--discard"],
    "overwrite": ["--subbuf-size=4096", "--num-subbuf=4", "--overwrite"],
}


@pytest.fixture(scope="module")
def recordings(daemon: None, program: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same run in several sessions at once: one loses nothing, one discards events, one overwrites packets."""
    folder = tmp_path_factory.mktemp("recordings")
    sessions = {name: f"tracemend-{os.getpid()}-{name}" for name in CHANNELS}

    def lttng(*words: str) -> None:
        subprocess.run(["lttng", *words], check=True, capture_output=True)

    try:
        for name, session in sessions.items():
            lttng("create", session, f"--output={folder / name}")
            lttng("enable-channel", "-u", "-s", session, "ch", *CHANNELS[name])
            lttng("enable-event", "-u", "demo:*", "-c", "ch", "-s", session)
            lttng("add-context", "-u", "-s", session, "-c", "ch", "-t", "vtid", "-t", "procname", "-t", "vpid")
            lttng("start", session)
        subprocess.run([program, "15000", "2"], check=True)
    finally:
        for session in sessions.values():
            subprocess.run(["lttng", "destroy", session], check=False, capture_output=True)
    return {name: folder / name for name in CHANNELS}


@pytest.mark.parametrize("name", CHANNELS)
def test_lttng_as_babeltrace_reads_it(recordings: dict[str, Path], name: str) -> None:
    trace = read(recordings[name])
    ((events, lost, error),) = judged(recordings[name])
    assert not error
    assert trace.format == "ctf"
    assert_as_judged(trace, events, lost)
    assert (sum(g.count is None for g in trace.gaps) > 0) == (name == "overwrite")


def test_discarded_events_are_missing_where_the_gaps_are(recordings: dict[str, Path]) -> None:
    """The two sessions saw the same run: what one lacks lies in its gaps, as many as they say, between their times.

    Each session took its own time of an event: the smaller one's is later or earlier by some microseconds. An event is
    known by its thread, name and arguments.
    """
    whole, lossy = read(recordings["whole"]), read(recordings["discard"])
    assert lossy.lost > 1000
    assert lossy.lost == len(whole) - len(lossy)
    assert all(g.known == "counted" for g in lossy.gaps)
    left = Counter(r[2:] for r in rows(lossy))
    missing = []
    for r in rows(whole):
        if left[r[2:]]:
            left[r[2:]] -= 1
        else:
            missing.append(r)
    assert len(missing) == lossy.lost
    slack = 200_000  # how far two sessions' times of one event may be apart where the machine is busy
    placed = 0
    for gap in lossy.gaps:
        inside = sum(r[1] == gap.cpu and gap.begin_ns - slack <= r[0] <= gap.end_ns + slack for r in missing)
        placed += inside >= (gap.count or 0)
    assert placed >= 0.9 * len(lossy.gaps)


def test_overwritten_packets_are_gaps_without_a_count(recordings: dict[str, Path]) -> None:
    trace = read(recordings["overwrite"])
    ((_, lost, _),) = judged(recordings["overwrite"])
    overwritten = [g for g in trace.gaps if g.known == "uncounted"]
    assert len(overwritten) == len([e for e in lost if e["lost"] == "packets"])
    for gap in overwritten:
        assert gap.before is not None
        assert gap.after is not None
        assert trace.time_ns[gap.before] <= gap.begin_ns <= gap.end_ns <= trace.time_ns[gap.after]


def test_perf_as_babeltrace_reads_it(tmp_path: Path) -> None:
    if shutil.which("perf") is None:
        pytest.skip("perf is not installed (linux-perf)")
    record = ["perf", "record", "-q", "-e", "raw_syscalls:*,sched:sched_switch", "-o", str(tmp_path / "p.data")]
    done = subprocess.run([*record, "--", "ls", "-R", "/etc"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"perf can't record here: {done.stderr[:200]}")
    convert = ["perf", "data", "convert", "-f", "-i", str(tmp_path / "p.data"), "--to-ctf", str(tmp_path / "ctf")]
    done = subprocess.run(convert, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this perf doesn't write CTF: {done.stderr[:200]}")
    ((events, lost, error),) = judged(tmp_path / "ctf")
    assert not error
    trace = read(tmp_path / "ctf")
    assert_as_judged(trace, events, lost)
    assert {"enter", "exit"} <= set(trace.table["phase"].to_pylist())
    assert "read" in trace.names[1]


# made-up traces


def made(seed: int) -> tuple[Made, list[tuple[int, dict[str, Any]]], list[dict[str, Any]]]:
    """A made-up trace of random types, with its events and their contexts."""
    rng = Random(seed)
    little = rng.random() < 0.5
    fields = draw_struct(rng, little)
    context = draw_struct(rng, little, most=3) if rng.random() < 0.5 else None
    stamp = rng.choice([64, 64, 32, 27, 40])
    trace = Made(fields, little, context, stamp=stamp, offset_s=rng.randint(0, 10**9), offset=rng.randint(-100, 10**9))
    now = rng.randint(0, 1 << 40)
    events = []
    for _ in range(rng.randint(1, 30)):
        now += rng.randint(0, 1 << (min(stamp, 40) - 1))
        events.append((now, fields.draw(rng)))
    return trace, events, [context.draw(rng) for _ in events] if context else []


SEEDS = range(120)


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("made-up")
    folders = []
    for seed in SEEDS:
        trace, events, contexts = made(seed)
        half = len(events) // 2
        packets = [trace.packet(events[:half], contexts=contexts[:half])] if half else []
        packets.append(trace.packet(events[half:], sequence=len(packets), contexts=contexts[half:]))
        folders.append(trace.write(folder / str(seed), [packets]))
    return folders


@pytest.mark.parametrize("seed", SEEDS)
def test_random_types_read_as_they_were_written(made_up: list[Path], seed: int) -> None:
    made_trace, events, contexts = made(seed)
    trace = read(made_up[seed])
    base = made_trace.offset_s * 10**9 + made_trace.offset
    assert trace.time_ns.tolist() == [base + t for t, _ in events]
    for i, (args, (_, values)) in enumerate(zip(trace.table["args"].to_pylist(), events, strict=True)):
        texts = made_trace.fields.texts(values)
        texts += made_trace.context.texts(contexts[i]) if made_trace.context else []
        assert args == ", ".join(f"{name}={text}" for name, text in texts)


def test_random_types_as_babeltrace_reads_them(made_up: list[Path]) -> None:
    found = judged(*made_up)
    refused = [error for *_, error in found if error]
    assert len(refused) < len(found) / 4, refused[:3]
    for folder, (events, lost, error) in zip(made_up, found, strict=True):
        if not error:
            assert_as_judged(read(folder), events, lost)
