"""perf.data: its losses by its records, its events by perf or by its records; perf is the judge of the latter."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import mostly_long, recorders
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from perfdata_made import BACKWARD, ID_ALL, WITH_ID, lossy

from tracemend.errors import TraceError
from tracemend.formats import read
from tracemend.formats.perfdata import tool
from tracemend.formats.text import open_binary
from tracemend.trace.events import SCHEMA, Trace

DATA = Path(__file__).parents[1] / "data"
ALL_LOST = "12 events more were lost at the end of the recording, which no mark places"

needs_perf = pytest.mark.skipif(shutil.which("perf") is None, reason="perf is not installed")
can_record = pytest.mark.skipif(os.geteuid() != 0 or shutil.which("perf") is None, reason="recording takes root, perf")


@pytest.fixture
def no_perf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")


def by_both(path: Path) -> tuple[Trace, Trace]:
    """The trace as perf prints it, and by its records alone."""
    with pytest.MonkeyPatch.context() as patch:
        printed = read(path)
        patch.setenv("PATH", "/nowhere")
        own = read(path)
    assert printed.provenance["read_by"] == "perf script --ns --show-lost-events"
    assert own.provenance["read_by"] == "tracemend"
    return printed, own


def assert_same(path: Path) -> Trace:
    printed, own = by_both(path)
    for name in SCHEMA.names:
        ours, theirs = own.table[name].to_pylist(), printed.table[name].to_pylist()
        if name == "comm":  # perf knows a forked thread's name only once it tells it itself
            known = [k for k, c in enumerate(theirs) if not c.startswith(":")]
            ours, theirs = [ours[k] for k in known], [theirs[k] for k in known]
        assert name == "line" or ours == theirs, name
    places = [[(g.cpu, g.before, g.after, g.count) for g in t.gaps] for t in (printed, own)]
    assert places[0] == places[1]
    assert (printed.unplaced, printed.doubts, printed.stored) == (own.unplaced, own.doubts, own.stored)
    return printed


def told_lost(path: Path) -> int:
    """What perf itself counts as lost."""
    done = subprocess.run(["perf", "report", "--stats", "-i", str(path)], capture_output=True, text=True, check=False)
    per_event = done.stdout.split("stats:")[2:]
    words = [line.split() for text in per_event for line in text.splitlines() if "LOST_SAMPLES" in line]
    return sum(int(w[2]) for w in words)


def record(path: Path, *arguments: str, work: tuple[str, ...] = ("dd", "if=/dev/zero", "of=/dev/null", "bs=1")) -> None:
    command = [
        "perf",
        "record",
        "-q",
        "-o",
        str(path),
        *arguments,
        *work,
        *(("count=20000",) if work[0] == "dd" else ()),
    ]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        pytest.skip(f"perf can't record here: {done.stderr[-200:]}")


RAW = ("-e", "raw_syscalls:sys_enter,raw_syscalls:sys_exit")


@needs_perf
def test_perf_data(tmp_path: Path) -> None:
    with open_binary(DATA / "perf_lost.data.xz") as f:
        (tmp_path / "perf.data").write_bytes(f.read())
    packed, plain, text = (
        read(DATA / "perf_lost.data.xz"),
        read(tmp_path / "perf.data"),
        read(DATA / "perf_lost.txt.xz"),
    )
    assert packed.format == plain.format == "perf.data"
    assert packed.table.equals(text.table)
    assert plain.table.equals(text.table)
    assert packed.gaps == plain.gaps == text.gaps
    assert plain.path == tmp_path / "perf.data"
    assert plain.provenance["read_by"] == "perf script --ns --show-lost-events"
    assert plain.provenance["bytes"] == (tmp_path / "perf.data").stat().st_size


@needs_perf
def test_records_read_as_perf_prints_them() -> None:
    assert assert_same(DATA / "perf_lost.data.xz").lost


# Recorded here


@recorders
@can_record
@pytest.mark.parametrize(
    "arguments",
    mostly_long(
        [
            ("-m", "1", *RAW),
            ("-m", "1", "-z", *RAW),
            ("-m", "1", "--threads", *RAW),
            ("-m", "1", "-a", "-g", "-e", "sched:sched_switch,syscalls:sys_enter_read"),
            ("-m", "1", "-e", "raw_syscalls:sys_enter", "-e", "cpu-clock", "--no-buffering"),
            ("-m", "1024", *RAW),
        ]
    ),
    ids=["small", "compressed", "a folder", "all cpus, call chains", "two sorts", "large"],
)
def test_every_loss_is_a_gap_or_has_no_place(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    path = tmp_path / "perf.data"
    record(path, *arguments)
    trace = read(path) if "cpu-clock" in arguments else assert_same(path)
    unplaced = sum(u.count or 0 for u in trace.unplaced)
    assert trace.lost + unplaced == told_lost(path)
    assert not trace.doubts
    assert not trace.passed_over
    assert sum(trace.stored.values()) > 40 * len(trace)


@pytest.mark.long
@recorders
@can_record
def test_what_is_lost_at_the_very_end_has_no_mark(tmp_path: Path) -> None:
    """The reader of the buffer sleeps to the end: no record of a loss finds room."""
    path = tmp_path / "perf.data"
    record(path, "-m", "1", *RAW, work=("dd", "if=/dev/zero", "of=/dev/null", "bs=1", "count=300"))
    trace = read(path)
    assert trace.lost + sum(u.count or 0 for u in trace.unplaced) == told_lost(path)


@recorders
@can_record
def test_a_recorder_that_was_killed_leaves_a_doubt(tmp_path: Path) -> None:
    path = tmp_path / "perf.data"
    command = ["perf", "record", "-q", "-a", "-o", str(path), "-e", "raw_syscalls:sys_enter"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        for _ in range(100):
            time.sleep(0.05)
            if path.exists() and path.stat().st_size > 1 << 15:
                break
        process.send_signal(signal.SIGKILL)
    if not path.exists() or path.stat().st_size < 1 << 12:
        pytest.skip("perf can't record all cpus here")
    trace = read(path)
    assert "its recorder was ended before it took down what it had lost" in [d.why for d in trace.doubts]


@pytest.mark.long
@recorders
@can_record
def test_overwriting_and_pipes_leave_doubts(tmp_path: Path) -> None:
    path = tmp_path / "perf.data"
    record(path, "--overwrite", "-e", "raw_syscalls:sys_enter", work=("true",))
    assert ["--overwrite" in d.why for d in read(path).doubts] == [True]
    with open(path, "wb") as out:
        subprocess.run(["perf", "record", "-q", *RAW, "-o", "-", "true"], stdout=out, check=True, timeout=60)
    trace = assert_same(path)
    assert len(trace)
    assert [d.unless for d in trace.doubts] == ["unless perf record was killed"]


@pytest.mark.long
@recorders
@can_record
def test_without_times_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "perf.data"
    record(path, "-e", "cpu-clock", "--no-timestamp", work=("true",))
    with pytest.raises(TraceError, match="perf script without times: record with -T"):
        read(path)


# Of a newer perf


def widened(data: bytes, by: int, fill: int = 0) -> bytes:
    """Made up of a recorded file: the same with attributes that are larger by so many bytes."""
    at, size, attrs = (int.from_bytes(data[k : k + 8], "little") for k in (24, 32, 16))
    table = b""
    for k in range(at, at + size, attrs):
        attr, ids = bytearray(data[k : k + attrs - 16]), data[k + attrs - 16 : k + attrs]
        attr[4:8] = (attrs - 16 + by).to_bytes(4, "little")
        table += bytes(attr) + bytes([fill]) * by + ids
    data += bytes(-len(data) % 8)
    head = (attrs + by).to_bytes(8, "little") + len(data).to_bytes(8, "little") + len(table).to_bytes(8, "little")
    return data[:16] + head + data[40:] + table


@needs_perf
@pytest.mark.parametrize("by", [8, 16, 64])
def test_newer_attributes_are_cut_for_an_older_perf(tmp_path: Path, by: int) -> None:
    with open_binary(DATA / "perf_lost.data.xz") as f:
        data = f.read()
    path = tmp_path / "perf.data"
    path.write_bytes(widened(data, by))
    trace, plain = read(path), read(DATA / "perf_lost.data.xz")
    assert trace.table.equals(plain.table)
    assert trace.gaps == plain.gaps
    assert path.read_bytes() == widened(data, by)
    if trace.warnings or by == 64:  # a perf of today may know 8 bytes more, but not these
        assert "read a copy whose are cut to" in trace.warnings[0]


@needs_perf
def test_newer_attributes_that_are_used_are_not_cut(tmp_path: Path) -> None:
    with open_binary(DATA / "perf_lost.data.xz") as f:
        (tmp_path / "perf.data").write_bytes(widened(f.read(), 64, fill=1))
    trace, plain = read(tmp_path / "perf.data"), read(DATA / "perf_lost.data.xz")
    assert trace.provenance["read_by"] == "tracemend"
    assert "its records were read without it" in trace.warnings[0]
    assert trace.time_ns.tolist() == plain.time_ns.tolist()
    assert [(g.cpu, g.before, g.count) for g in trace.gaps] == [(g.cpu, g.before, g.count) for g in plain.gaps]


# Made up


@pytest.mark.usefixtures("no_perf")
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("piped", [False, True])
def test_without_perf(tmp_path: Path, order: str, piped: bool) -> None:
    made = lossy(order=order)
    (tmp_path / "perf.data").write_bytes(made.piped() if piped else made.file())
    trace = read(tmp_path / "perf.data")
    assert trace.time_ns.tolist() == [*range(1000, 1010), *range(2000, 2010)]
    assert trace.cpu.tolist() == [k % 2 for k in range(20)]
    assert set(trace.table["comm"].to_pylist()) == {"seven"}
    assert [(g.cpu, g.before, g.after, g.count) for g in trace.gaps] == [(0, 8, 10, 30)]
    assert [(u.said, u.count) for u in trace.unplaced] == [(ALL_LOST, 12)]
    assert trace.stored == {0: 560, 1: 560}
    assert bool(trace.doubts) == piped


@needs_perf
@pytest.mark.parametrize("order", ["<", ">"])
def test_perf_reads_what_is_made_up(tmp_path: Path, order: str) -> None:
    (tmp_path / "perf.data").write_bytes(lossy(order=order).file())
    printed, own = by_both(tmp_path / "perf.data")
    assert printed.time_ns.tolist() == own.time_ns.tolist()
    assert [(g.cpu, g.before, g.after, g.count) for g in printed.gaps] == [(0, 8, 10, 30)]
    assert printed.unplaced == own.unplaced


@pytest.mark.usefixtures("no_perf")
def test_other_losses_and_doubts(tmp_path: Path) -> None:
    path = tmp_path / "perf.data"

    def of(records: list[bytes], **how: object) -> Trace:
        made = lossy(**how)
        made.records = [*(made.sample(k) for k in range(3)), *records]
        path.write_bytes(made.file())
        return read(path)

    made = lossy()
    trace = of([made.aux(0), made.aux(1, cpu=1), made.aux(4, cpu=1)])
    assert [(u.said, u.count, u.cpu) for u in trace.unplaced] == [("AUX data were cut off 2 times on cpu 1", 2, 1)]
    assert not of([made.lost_samples(9, misc=1 << 15)]).unplaced  # a filter's, as its user wanted
    assert "throttled sampling 1 times" in " ".join(of([made.record(5, bytes(24) + made.end(0, 0))]).warnings)
    assert [d.unless for d in of([], read_format=WITH_ID).doubts] == ["unless the buffer was full at the very end"]
    assert "--overwrite" in of([], flags=ID_ALL | BACKWARD).doubts[0].why
    assert "recorder was ended" in of([], unfinished=True).doubts[0].why
    assert not of([]).doubts
    # a mark whose cpu nothing tells is of the cpu of its thread's next event
    trace = of([made.lost(5, 50, cpu=0xFFFFFFFF), made.sample(60, cpu=3)])
    assert [(g.cpu, g.after, g.count) for g in trace.gaps] == [(3, 3, 5)]


@pytest.mark.usefixtures("no_perf")
def test_samples_too_short_for_their_event_have_no_name(tmp_path: Path) -> None:
    made = lossy()
    made.records = [made.record(9, bytes(8))]
    (tmp_path / "perf.data").write_bytes(made.file())
    trace = read(tmp_path / "perf.data")
    assert trace.names[1] == ["unknown"]
    assert "a sample that is shorter than its event says" in trace.unplaced[0].said


@pytest.mark.usefixtures("no_perf")
def test_damage_is_told_and_what_was_read_is_kept(tmp_path: Path) -> None:
    path, whole = tmp_path / "perf.data", lossy().file()
    for data, words in (
        (whole[:-60], "the records end within one"),
        (whole[:-60] + bytes(60), "a record of 0 bytes"),
        (whole[:-48], "the file ends 48 bytes before its records do"),
    ):
        path.write_bytes(data)
        trace = read(path)
        assert len(trace) >= 18
        assert words in str(trace.warnings) + str(trace.unplaced)
        assert trace.passed_over
        with pytest.raises(TraceError, match=r"byte \d+: "):
            read(path, strict=True)
    for data in (whole[:50], b"PERFILE2" + bytes(100), whole[:16] + b"\xff" * 8 + whole[24:]):
        path.write_bytes(data)
        with pytest.raises(TraceError, match=r"byte \d+: "):
            read(path)


@pytest.mark.usefixtures("no_perf")
def test_a_folder_without_its_other_files_is_told(tmp_path: Path) -> None:
    made, path = lossy(), tmp_path / "perf.data" / "data"
    path.parent.mkdir()
    data = made.file()
    word = 72 + 24 // 64 * 8
    features = bytearray(data)
    features[word : word + 8] = (1 << 24).to_bytes(8, "little")
    at = len(features) + 16
    path.write_bytes(bytes(features) + at.to_bytes(8, "little") + (8).to_bytes(8, "little") + (1).to_bytes(8, "little"))
    for given_ in (path, path.parent):
        with pytest.raises(TraceError, match=r"its events lie in files data\.0"):
            read(given_)
    (path.parent / "data.0").write_bytes(made.sample(5000))
    for given_ in (path, path.parent):
        assert len(read(given_)) == 21


@settings(max_examples=150, deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.usefixtures("no_perf")
def test_no_damage_does_anything_but_be_told(tmp_path: Path, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["plain", "swapped", "piped", "recorded"]))
    if kind == "recorded":
        with open_binary(DATA / "perf_lost.data.xz") as f:
            raw = bytearray(f.read(60_000))
    else:
        made = lossy(order=">" if kind == "swapped" else "<")
        raw = bytearray(made.piped() if kind == "piped" else made.file())
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(raw) - 1))
        piece = data.draw(st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from([b"\xff" * 8, bytes(8)])))
        raw[at : at + len(piece)] = piece
    path = tmp_path / "perf.data"
    path.write_bytes(raw[: data.draw(st.integers(0, len(raw)))] if data.draw(st.booleans()) else raw)
    for strict in (False, True):
        try:
            trace = read(path, "perf.data", strict=strict)
        except TraceError as e:
            assert str(e).startswith(f"{path}: ")  # noqa: PT017
        else:
            trace.table.validate(full=True)


# perf that fails


def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    """A made-up perf in front of all others, and a made-up file."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "perf").write_text("#!/bin/sh\n" + script)
    (folder / "perf").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    path = tmp_path / "trace"
    path.write_bytes(lossy(attr_size=64).file())
    return path


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo first >&2; echo 'the last word' >&2; exit 3", "perf script failed (3): first; the last word"),
        ("exit 3", "perf script failed (3): it gave no reason"),
        ("kill -9 $$", "perf script failed (-9)"),
        ("echo nonsense", "perf printed more lines that can't be read than events"),
        ("head -c 2000000 /dev/zero", "a line of more than 1 MiB"),
        ("echo 'it is empty' >&2", "perf script printed no events: it is empty"),
    ],
)
def test_where_perf_fails_the_records_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    trace = read(stand_in(tmp_path, monkeypatch, script))
    assert message in trace.warnings[0]
    assert len(trace) == 20
    assert trace.lost == 30


def test_the_command_is_right_and_what_it_leaves_out_is_a_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = stand_in(
        tmp_path,
        monkeypatch,
        f'[ "$*" = "script --ns --show-lost-events -i {tmp_path / "trace"}" ] || exit 1\n'
        f"head -3 {DATA / 'perf_syscalls.txt'}",
    )
    trace = read(path)
    assert trace.provenance["read_by"] == "perf script --ns --show-lost-events"
    assert "perf printed only 3 of its 20 samples" in [d.why for d in trace.doubts]


def test_a_perf_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stand_in(tmp_path, monkeypatch, "exec sleep 60")
    monkeypatch.setattr(tool, "PATIENCE", 0.2)
    assert "perf script took longer than 0.2 s" in read(path).warnings[0]
