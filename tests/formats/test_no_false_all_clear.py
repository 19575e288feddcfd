"""Nobody is told "complete" of a trace that lost events: recordings that really lose some, as tracers hand them on.

The text of a buffer in drop mode, perf's text and its conversion to CTF hide losses; they are never called complete.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import recorders
from tracedat_recorded import TRACEFS, can_record, instances
from tracedat_recorded import record as trace_cmd

from tracemend.formats import read
from tracemend.losses.suspect import suspect
from tracemend.losses.verdict import COMPLETE, LOST, verdict
from tracemend.recording.ftrace import SmallBuffer
from tracemend.recording.ftrace import record_pair as ftrace_pair
from tracemend.recording.perf import available_perf
from tracemend.recording.tracefs import available
from tracemend.trace.events import Trace

WORK = ("dd", "if=/dev/zero", "of=/dev/null", "bs=1", "count=30000")
CALLS = "raw_syscalls:sys_enter,raw_syscalls:sys_exit"

ftraced = pytest.mark.skipif(bool(available()), reason=available())
perfed = pytest.mark.skipif(bool(available_perf()), reason=available_perf())
trace_cmded = pytest.mark.skipif(bool(can_record()), reason=can_record())


def word(trace: Trace) -> str:
    """The verdict with all that could speak for "complete"."""
    assert len(trace)
    return verdict(trace, suspect(trace)).word


def until_lossy(record: Callable[[], int]) -> None:
    """Record until events are lost: whether a small buffer runs over depends on what else the machine does."""
    for _ in range(5):
        if record():
            return
    pytest.skip("no recording of five lost anything")


@recorders
@ftraced
def test_the_text_of_drop_mode(tmp_path: Path) -> None:
    path = tmp_path / "trace.txt"

    def record() -> int:
        small = SmallBuffer(kb=8, overwrite=False, delay_ms=2.0)
        _, lossy, _ = ftrace_pair(WORK, small, quiet=True, timeout=60)
        path.write_text("".join(lossy.text()))
        return lossy.lost

    until_lossy(record)
    assert "LOST" not in path.read_text()
    assert word(read(path)) != COMPLETE


def perf_data(path: Path, *arguments: str) -> None:
    command = ["perf", "record", "-q", "-m", "1", "-o", str(path), "-e", CALLS, *arguments, *WORK]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def lost_in(path: Path) -> int:
    """What the recording lost, by perf's own count."""
    done = subprocess.run(["perf", "report", "--stats", "-i", str(path)], capture_output=True, text=True, check=True)
    return done.stdout.count("LOST_SAMPLES events:")


@pytest.fixture
def lossy_perf_data(alone: None, tmp_path: Path) -> Path:
    path = tmp_path / "perf.data"

    def record() -> int:
        perf_data(path)
        return lost_in(path)

    until_lossy(record)
    return path


@perfed
def test_perf_data(lossy_perf_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert word(read(lossy_perf_data)) == LOST
    monkeypatch.setenv("PATH", "/nowhere")
    assert word(read(lossy_perf_data)) == LOST


@perfed
@pytest.mark.parametrize("remarks", [subprocess.STDOUT, subprocess.DEVNULL], ids=["with its remarks", "without"])
def test_perf_script_without_its_losses(lossy_perf_data: Path, tmp_path: Path, remarks: int) -> None:
    text = tmp_path / "perf.txt"
    with open(text, "wb") as out:
        subprocess.run(["perf", "script", "-i", str(lossy_perf_data)], stdout=out, stderr=remarks, check=True)
    assert b"PERF_RECORD_LOST" not in text.read_bytes()
    assert word(read(text)) != COMPLETE


@perfed
def test_perf_script_with_other_records(lossy_perf_data: Path, tmp_path: Path) -> None:
    """That it shows some records doesn't prove that it shows losses."""
    text = tmp_path / "perf.txt"
    with open(text, "wb") as out:
        command = ["perf", "script", "--show-mmap-events", "--show-task-events", "-i", str(lossy_perf_data)]
        subprocess.run(command, stdout=out, stderr=subprocess.DEVNULL, check=True)
    assert b"PERF_RECORD_MMAP" in text.read_bytes()
    assert word(read(text)) != COMPLETE


@perfed
def test_perf_data_as_ctf(lossy_perf_data: Path, tmp_path: Path) -> None:
    convert = ["perf", "data", "convert", "-f", "-i", str(lossy_perf_data), "--to-ctf", str(tmp_path / "ctf")]
    done = subprocess.run(convert, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this perf doesn't write CTF: {done.stderr[:200]}")
    assert word(read(tmp_path / "ctf")) != COMPLETE


@recorders
@trace_cmded
@pytest.mark.parametrize("overwrite", [True, False], ids=["overwrite", "drop"])
def test_trace_dat(tmp_path: Path, overwrite: bool) -> None:
    path = tmp_path / "trace.dat"

    def record() -> int:
        with instances(1) as (name,):
            (TRACEFS / "instances" / name / "options" / "overwrite").write_text(str(int(overwrite)))
            trace_cmd(path, "-B", name, "-e", "raw_syscalls", "-b", "8", "-s", "200000", work=" ".join(WORK))
        command = ["trace-cmd", "report", "--stat", "-i", str(path)]
        stats = subprocess.run(command, capture_output=True, text=True, check=True)
        lines = [line.partition(": ") for line in stats.stdout.splitlines()]
        return sum(int(n) for key, _, n in lines if key in ("overrun", "commit overrun", "dropped events"))

    until_lossy(record)
    assert word(read(path)) == LOST


@pytest.mark.parametrize("mode", ["discard", "overwrite"])
def test_lttng(lttng_recordings: dict[str, Path], mode: str) -> None:
    assert word(read(lttng_recordings[mode])) == LOST
