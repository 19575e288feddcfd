"""Recording for real: identities hold, and nothing is left behind. Amounts are never asserted."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import DEMO

import tracemend
from tracemend.record import PREFIX, TRACEFS, RecordError, align, available, record, record_pair, remove_stale

recording = pytest.mark.skipif(bool(available()), reason=f"recording needs root and tracefs: {available()}")


def left_behind() -> list[str]:
    return [p.name for p in (TRACEFS / "instances").glob(f"{PREFIX}{os.getpid()}-*")]


@recording
def test_a_complete_recording_pairs_every_call(tmp_path: Path) -> None:
    trace = record(["ls", "/"], tmp_path / "trace.txt")
    names = set(trace.table["name"].to_pylist())
    assert {"execve", "openat", "getdents64", "write"} <= names
    assert trace.gaps == ()
    assert left_behind() == []


@recording
def test_recording_works_with_many_files_open(tmp_path: Path) -> None:
    """A shell redirects descriptors of one digit only; the recorder must not depend on low ones being free."""
    with contextlib.ExitStack() as held:
        for _ in range(20):
            held.enter_context(open("/dev/null"))
        assert len(record(["true"], tmp_path / "trace.txt"))


@recording
def test_marks_overrun_and_missing_events_agree(tmp_path: Path) -> None:
    """A workload that outruns an 8 KiB buffer; record_pair raises if the identities don't hold."""
    pair = record_pair(["find", "/usr/share/perl", "/usr/include"], tmp_path, buffer_kb=8, delay_ms=2)
    assert len(pair.missing) == len(pair.lossy.gaps)
    assert [len(m) for m in pair.missing] == [g.count for g in pair.lossy.gaps]
    assert len(pair.lossy) + pair.lossy.lost <= len(pair.complete)
    assert left_behind() == []


@recording
def test_a_killed_recorder_leaves_nothing_for_long(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from tracemend.record import record; "
        f"record(['sleep', '60'], Path({str(tmp_path)!r}) / 't.txt')"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    instance = TRACEFS / "instances" / f"{PREFIX}{process.pid}-all"
    try:
        for _ in range(400):
            if instance.exists():
                break
            time.sleep(0.05)
        assert instance.exists()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    remove_stale()
    assert not instance.exists()


def test_alignment_refuses_what_does_not_fit() -> None:
    if not DEMO.is_dir():
        pytest.skip("recordings/deploy isn't there")
    lossy, complete = tracemend.read(DEMO / "lossy.txt"), tracemend.read(DEMO / "complete.txt.xz")
    assert lossy.lost > 0
    pair = align(lossy, complete, lossy.lost)
    assert sum(len(m) for m in pair.missing) == lossy.lost
    with pytest.raises(RecordError, match="the kernel of"):
        align(lossy, complete, lossy.lost + 1)
    wrong = lossy.with_gaps(tuple(replace(g, count=(g.count or 0) + 1) for g in lossy.gaps))
    with pytest.raises(RecordError, match="aren't a part"):
        align(wrong, complete)
