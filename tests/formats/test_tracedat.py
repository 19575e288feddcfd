"""trace.dat, read by the package itself: trace-cmd's report of the same file is the judge."""

from __future__ import annotations

import lzma
import re
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tracedat_made
from conftest import recorders
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tracedat_made import ENTER, ODD, Made, calls
from tracedat_recorded import TRACEFS, WORK, can_record, instances, record

import tracemend
from tracemend.errors import TraceError
from tracemend.formats import read, ringbuffer
from tracemend.formats.base import Options
from tracemend.formats.ringbuffer import Field, Kind
from tracemend.formats.text import open_binary
from tracemend.formats.tracedat import printing
from tracemend.trace.events import SCHEMA, Trace

DATA = Path(__file__).parents[1] / "data"
COLUMNS = [f.name for f in SCHEMA if f.name not in ("line", "cpu")]

judged = pytest.mark.skipif(shutil.which("trace-cmd") is None, reason="trace-cmd is not installed")


recorded = pytest.mark.skipif(bool(can_record()), reason=can_record())


def reported(path: Path, names: tuple[str, ...] = ("",)) -> list[Trace]:
    """What trace-cmd's text says, read by the text's reader: one trace for each buffer of the file."""
    done = subprocess.run(
        ["trace-cmd", "report", "-t", "-i", str(path)],
        capture_output=True,
        text=True,
        check=True,
        errors="surrogateescape",
    )
    texts: dict[str, list[str]] = {name: [] for name in names}
    marked = None
    for line in done.stdout.splitlines():
        match = re.match(r"(?:(?P<buffer>tracemend-test\S+|made\S*):)?\s*(?P<mark>CPU:\d+ \[.*DROPPED\]$)?", line)
        assert match is not None
        # behind a mark stands its event, and no name in front of that
        name, prefix = (match["buffer"] or "", match["buffer"]) if marked is None else (marked, None)
        marked = name if match["mark"] else None
        if name in texts:
            texts[name].append(match["mark"] or line[len(name) + 1 if prefix else 0 :])
    traces = []
    for k, lines in enumerate(texts.values()):
        text = path.with_suffix(f".{k}.txt")
        text.write_text("\n".join([*lines, ""]), errors="surrogateescape")
        traces.append(read(text, "ftrace"))
    return traces


def rows_of(trace: Trace, buffer: int) -> pa.Table:
    rows = np.flatnonzero(trace.cpu // 1000 == buffer)
    return trace.table.take(pa.array(rows))


def assert_same(trace: Trace, judges: list[Trace], told_apart: bool = True) -> None:
    """Every row and gap of the trace is the judges', one judge a buffer; ``told_apart``: texts of all events, too."""
    assert len(trace) == sum(map(len, judges))
    assert len(trace.gaps) == sum(len(j.gaps) for j in judges)
    for k, judge in enumerate(judges):
        table = rows_of(trace, k)
        assert (np.asarray(table["cpu"]) % 1000).tolist() == judge.cpu.tolist()
        for name in COLUMNS:
            ours, theirs = table[name].to_pylist(), judge.table[name].to_pylist()
            if name == "args" and not told_apart:
                names = table["name"].to_pylist()
                assert [a for a, n in zip(ours, names, strict=True) if n in TOLD] == [
                    a for a, n in zip(theirs, names, strict=True) if n in TOLD
                ]
                continue
            if name == "comm":  # what a thread was called that became another program meanwhile is a matter of taste
                renamed = {t for t, *both in zip(judge.tid.tolist(), ours, theirs, strict=True) if "trace-cmd" in both}
                renamed |= {
                    t for t, n in zip(judge.tid.tolist(), table["name"].to_pylist(), strict=True) if "exec" in n
                }
                ours, theirs = (
                    [c for c, t in zip(x, judge.tid.tolist(), strict=True) if t not in renamed] for x in (ours, theirs)
                )
            assert ours == theirs, name
        ours, theirs = [g for g in trace.gaps if g.cpu // 1000 == k], judge.gaps
        for one, other in zip(ours, theirs, strict=True):
            assert (one.cpu % 1000, one.count, one.known) == (other.cpu, other.count, other.known)
            assert (one.before is None, one.after is None) == (other.before is None, other.after is None)
            assert one.before is None or one.begin_ns == other.begin_ns
            assert one.after is None or one.end_ns == other.end_ns


#: Events of several kinds whose texts are trace-cmd's to the letter, where not everything recorded is one of them.
TOLD = ("sched_switch", "sched_wakeup", "sched_waking", "sched_process_exec", "sched_process_fork", "softirq_entry")

RAW = ("-e", "raw_syscalls")
LOSSY = ("-b", "8", "-s", "30000")


@pytest.mark.long
@recorders
@recorded
@pytest.mark.parametrize(
    ("arguments", "events", "lossy"),
    [
        (("--file-version", "6"), (*RAW, *LOSSY), True),
        (("--file-version", "7", "--date"), (*RAW, *LOSSY), True),
        (("--file-version", "7", "--compression", "none", "-C", "mono"), (*RAW, "-e", "sched", *LOSSY), True),
        (("--file-version", "6", "--date", "-C", "global"), ("-e", "syscalls", "-e", "sched", *LOSSY), True),
        (("--file-version", "7", "--compression", "zstd", "-C", "local"), ("-e", "syscalls", "-b", "16384"), False),
    ],
    ids=["6", "7, date", "7 as it is, mono, sched", "6, date, global, syscalls, sched", "7 by zstd, local, syscalls"],
)
def test_what_trace_cmd_records_reads_as_it_reports_it(
    tmp_path: Path, arguments: tuple[str, ...], events: tuple[str, ...], lossy: bool
) -> None:
    path = tmp_path / "trace.dat"
    for attempt in range(1, 6):  # whether a small buffer runs over depends on what else the machine does
        with instances(1) as (name,):
            record(path, *arguments, "-B", name, *events, work="; ".join([WORK] * attempt))
        trace = read(path)
        if trace.gaps or not lossy:
            break
    assert trace.format == "trace.dat"
    assert len(trace) > 1000
    assert not trace.warnings
    assert_same(trace, reported(path, (name,)))
    assert trace.provenance["version"] == int(arguments[1])
    assert str(trace.provenance["recorder"]).startswith("trace-cmd ")


@pytest.mark.long
@recorders
@recorded
@pytest.mark.parametrize("version", ["6", "7"])
def test_instances_are_streams_of_their_own(tmp_path: Path, version: str) -> None:
    path = tmp_path / "trace.dat"
    with instances(2) as (one, two):
        events = ("-e", "irq", "-e", "sched", "-e", "timer")
        record(path, "--file-version", version, "-B", one, *RAW, *LOSSY, "-B", two, *events, "-b", "8192")
    trace = read(path)
    buffers = (one, two) if one in trace.provenance["buffers"][0] else (two, one)
    assert [b for b in trace.provenance["buffers"] if b] == list(buffers)
    assert set(trace.cpu.tolist()) <= {*range(1000), *range(1000, 2000)}
    assert trace.cpu.max() >= 1000
    assert len(trace.warnings) == 1
    assert trace.warnings[0] == f"several buffers: cpu 1000 is cpu 0 of {buffers[1]!r}"
    assert_same(trace, reported(path, buffers), told_apart=False)


def test_the_recorded_file_reads_without_trace_cmd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    trace, text = read(DATA / "trace_cmd.dat.xz"), read(DATA / "trace_cmd_report.txt")
    assert trace.format == "trace.dat"
    assert trace.line.tolist() == list(range(len(trace)))
    first = trace.table.slice(0, len(text))
    for name in ("cpu", *COLUMNS):
        assert first[name].to_pylist() == text.table[name].to_pylist(), name
    counts = [(g.cpu, g.count, g.begin_ns) for g in text.gaps]
    assert [(g.cpu, g.count, g.begin_ns) for g in trace.gaps[: len(text.gaps)]] == counts
    assert tracemend.scan(trace).trace is trace


# Files made up


def made(**how: object) -> Made:
    """A file of two cpus, with losses of all sorts and events of all sorts."""
    file = Made(**how)  # type: ignore[arg-type]
    notes = [
        (50, file.note(7, 3, 2, b"hello")),
        (1 << 30, file.note(9, 0xFF, 0x81, b"")),
        (5, file.note(0, 0, 1, b"x" * 150)),
    ]
    first = calls(file, 10**9, 7, 10) + calls(file, 2 * 10**9, 7, 6, lost=55)
    first += calls(file, 3 * 10**9, 8, 4, lost=-1) + file.page(4 * 10**9, notes)
    file.pages = {"": [first, calls(file, 10**9, 8, 9)]}
    return file


MADE = [
    {"version": 6},
    {"version": 6, "order": ">"},
    {"version": 6, "long": 4},
    {"version": 6, "long": 4, "order": ">"},
    {"version": 6, "page_size": 8192},
    {"version": 7},
    {"version": 7, "order": ">"},
    {"version": 7, "compression": "zstd"},
    {"version": 7, "long": 4, "order": ">", "compression": "zstd"},
    {
        "version": 6,
        "options": [(7, b"-500\0"), (1, b"0x10\0"), (99, b"nobody knows"), (14, struct.pack("<IIQ", 3, 1, 9))],
    },
    {"version": 7, "options": [(99, b""), (7, b"123456789\0"), (4, b"local [global] mono\n\0")]},
]


@judged
@pytest.mark.parametrize("how", MADE, ids=str)
def test_made_files_read_as_trace_cmd_reports_them(tmp_path: Path, how: dict[str, object]) -> None:
    path = tmp_path / "trace.dat"
    path.write_bytes(made(**how).file())
    trace = read(path)
    assert_same(trace, reported(path))
    assert sorted((g.count or -1) for g in trace.gaps) == [-1, 55]


@judged
@pytest.mark.parametrize("version", [6, 7])
def test_made_instances(tmp_path: Path, version: int) -> None:
    file = made(version=version)
    file.pages["made-up"] = [
        calls(file, 15 * 10**8, 9, 8, lost=7),
        calls(file, 10**9, 8, 3) + calls(file, 10**10, 8, 3, 4),
    ]
    path = tmp_path / "trace.dat"
    path.write_bytes(file.file())
    trace = read(path)
    assert trace.provenance["buffers"] == ["", "made-up"]
    assert_same(trace, reported(path, ("", "made-up")))
    assert {g.cpu: g.count for g in trace.gaps if g.cpu > 999} == {1000: 7, 1001: 4}


def test_zlib_reads_as_what_is_not_compressed(tmp_path: Path) -> None:
    packed, plain = tmp_path / "packed.dat", tmp_path / "plain.dat"
    packed.write_bytes(made(compression="zlib").file())
    plain.write_bytes(made().file())
    assert read(packed).table.equals(read(plain).table)
    assert read(packed).gaps == read(plain).gaps


def test_signs_that_trace_cmd_loses(tmp_path: Path) -> None:
    """A result of a 32-bit kernel: trace-cmd prints -11 as 4294967285."""
    file = Made(version=6, long=4)
    file.pages = {"": [calls(file, 10, 7, 2, ret=-11)]}
    (tmp_path / "trace.dat").write_bytes(file.file())
    assert read(tmp_path / "trace.dat").table["ret"].to_pylist() == [None, "-11"]


def test_what_cannot_be_printed_is_told_by_its_fields(tmp_path: Path) -> None:
    file = Made()
    unknown = file.record(77, 7, 1)
    file.pages = {"": [file.page(9, [(1, file.note(7, 5, 6, b"some words", ODD)), (1, unknown)])]}
    (tmp_path / "trace.dat").write_bytes(file.file())
    table = read(tmp_path / "trace.dat").table
    assert table["args"].to_pylist() == ["left=5 small=6 words=some words", ""]
    assert table["name"].to_pylist() == ["odd", "event_77"]


def test_clocks_and_guests_are_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "trace.dat"
    path.write_bytes(made(version=6, options=[(4, b"local [counter]\0"), (12, bytes(16))]).file())
    assert [w.split(",")[0].split(":")[0] for w in read(path).warnings] == [
        "the clock counter has no nanoseconds",
        "a guest's times",
    ]


# Counters of lost events


def stats(cpu: int, overrun: int = 0, commit: int = 0, dropped: int | None = 0) -> tuple[int, bytes]:
    """Made up as trace-cmd writes them: the option of a cpu's counters."""
    last = "" if dropped is None else f"dropped events: {dropped}\n"
    return 2, (
        f"CPU: {cpu}\nentries: 9\noverrun: {overrun}\ncommit overrun: {commit}\nbytes: 44\n"
        f"oldest event ts: 1.5\nnow ts: 2.5\n{last}read events: 4\n\0"
    ).encode()


def named(buffer: str) -> tuple[int, bytes]:
    return 2, f"\nBuffer: {buffer}\n\n\0".encode()


NOTHING: list[str] = []


@pytest.mark.parametrize("version", [6, 7])
@pytest.mark.parametrize(
    ("options", "said", "doubts"),
    [
        ([stats(0, overrun=55), stats(1)], NOTHING, 0),
        ([stats(0, overrun=60), stats(1)], ["cpu 0: 5 events overwritten beyond those that its marks count"], 0),
        ([stats(0), stats(1, overrun=1234)], ["cpu 1: 1,234 events overwritten"], 0),
        ([stats(0), stats(1, dropped=7)], ["cpu 1: 7 events dropped by the full buffer"], 0),
        (
            [stats(0, 55, commit=2), stats(1), stats(2, dropped=3)],
            [
                "cpu 0: 2 events lost to interrupts that filled the buffer (commit overrun)",
                "cpu 2: 3 events dropped by the full buffer",
            ],
            0,
        ),
        ([], NOTHING, 1),
        ([stats(0, 55)], NOTHING, 1),
        ([stats(0, 55), stats(1, dropped=None)], NOTHING, 1),
    ],
    ids=["marked", "beyond", "overwritten", "dropped", "commit", "none", "one cpu", "old kernel"],
)
def test_counters_tell_what_no_mark_does(
    tmp_path: Path, version: int, options: list[tuple[int, bytes]], said: list[str], doubts: int
) -> None:
    path = tmp_path / "trace.dat"
    trace = read_bytes(path, made(version=version, options=options).file())
    assert [u.said for u in trace.unplaced] == said
    assert [d.unless for d in trace.doubts] == ["unless it was recorded with overwrite off"] * doubts


@pytest.mark.parametrize("version", [6, 7])
def test_counters_of_instances(tmp_path: Path, version: int) -> None:
    file = made(version=version, options=[stats(0, 55), stats(1), named("made-up"), stats(0, dropped=4), stats(1)])
    file.pages["made-up"] = [calls(file, 10**9, 9, 8), calls(file, 10**9, 8, 3)]
    trace = read_bytes(tmp_path / "trace.dat", file.file())
    assert [(u.said, u.cpu) for u in trace.unplaced] == [
        ("cpu 0 of 'made-up': 4 events dropped by the full buffer", 1000)
    ]
    assert not trace.doubts
    assert trace.stored[0] > trace.stored[1] > 0


@recorders
@recorded
@pytest.mark.parametrize("overwrite", [1, 0])
def test_marks_and_counters_of_a_recording_add_up(tmp_path: Path, overwrite: int) -> None:
    path = tmp_path / "trace.dat"
    with instances(1) as (name,):
        (TRACEFS / "instances" / name / "options" / "overwrite").write_text(str(overwrite))
        record(path, "-B", name, *RAW, "-b", "8", "-s", "300000")
    trace = read(path)
    done = subprocess.run(
        ["trace-cmd", "report", "--stat", "-i", str(path)], capture_output=True, text=True, check=True
    )
    counted = re.findall(r"^(?:overrun|commit overrun|dropped events): (\d+)$", done.stdout, re.M)
    assert sum(map(int, counted)) == trace.lost + sum(u.count or 0 for u in trace.unplaced)
    assert not trace.doubts
    if not overwrite:
        assert not trace.gaps
        assert [u.said.partition(": ")[2].partition(" ")[2] for u in trace.unplaced] == (
            ["events dropped by the full buffer"] * len(trace.unplaced)
        )


# Damage

ENOUGH = 200


def told(path: Path, words: str) -> None:
    with pytest.raises(TraceError, match=words) as e:
        read(path, strict=True)
    assert "\n" not in str(e.value)
    assert str(e.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    "how", [{"version": 6}, {"version": 7}, {"compression": "zstd"}, {"compression": "zlib"}], ids=str
)
def test_a_file_that_ends_early_is_told(tmp_path: Path, how: dict[str, object]) -> None:
    whole, path = made(**how).file(), tmp_path / "trace.dat"
    for size in (11, 12, 13, 15, 18, 30, 200, 700, 1500, *range(2000, len(whole) - 1, 1777), len(whole) - 1):
        path.write_bytes(whole[:size])
        told(path, r"byte \d+: ")


def test_what_came_before_the_damage_is_kept(tmp_path: Path) -> None:
    file, path = made(version=6), tmp_path / "trace.dat"
    whole = read_bytes(path, file.file())
    # the file ends within the second cpu's page
    path.write_bytes(file.file()[:-4000])
    told(path, r"byte \d+: a sub-buffer of 96 bytes that says it holds|byte \d+: the file ends 4000 bytes before")
    trace = read(path)
    assert trace.table.slice(0, 1).to_pylist() == whole.table.slice(0, 1).to_pylist()
    assert len(trace) >= len(whole) - 9
    assert trace.passed_over is not None
    # an event that runs over its sub-buffer's end: those before it stay, and a gap of unknown length is behind them
    page = bytearray(calls(file, 10**9, 7, 10))
    page[16 + 4 + 64 + 4 + 24 : 16 + 4 + 64 + 4 + 24 + 4] = struct.pack("<I", 28 | 100 << 5)
    page[8:10] = struct.pack("<H", 16 + 4 + 64 + 4 + 24)
    file.pages = {"": [bytes(page) + calls(file, 10**10, 7, 4)]}
    path.write_bytes(file.file())
    told(path, r"byte \d+: a sub-buffer that ends within an event")
    trace = read(path)
    assert len(trace) == 2 + 4
    assert [(g.count, g.before, g.after) for g in trace.gaps] == [(None, 1, 2)]


def read_bytes(path: Path, data: bytes) -> Trace:
    path.write_bytes(data)
    return read(path)


def test_damaged_records(tmp_path: Path) -> None:
    file, path = Made(), tmp_path / "trace.dat"
    good = file.record(ENTER, 7, 0, 0, 0, 0, 0, 0, 0)
    for page, words, kept in (
        (file.page(5, [(1, good), (1, good[:16]), (1, good)]), "an event that is shorter than its format says", 2),
        (file.page(5, [(1, good), (1, good[:4])]), "an event that is shorter than its format says", 1),
        (file.page(1 << 63, [(1, good)]) + file.page(5, [(1, good)]), "a time that can't be", 1),
        (file.page(5, [(1, good)], lost=1 << 41), r"a loss of \d+ events can't be true", 1),
        (file.page(5, [(1, good)]) + bytes(9), "a sub-buffer of 9 bytes", 1),
    ):
        file.pages = {"": [page]}
        path.write_bytes(file.file())
        told(path, rf"byte \d+: {words}")
        assert len(read(path)) == kept
    file.pages = {"": [file.page(500, [(1, good)]) + file.page(5, [(1, good)])]}
    path.write_bytes(file.file())
    told(path, r"byte \d+: time goes backwards on cpu 0")


HUGE = [
    (6, "header_page\0", 12, 8, "header_page of 9223372036854775808 bytes"),
    (6, "header_event\0", 13, 8, "header_event of 9223372036854775808 bytes"),
    (6, "raw_syscalls\0", 13, 4, "the size of an event's format|an event's format"),
    (6, "raw_syscalls\0", 17, 8, "an event's format of 9223372036854775808 bytes"),
    (6, "options  \0", -4, 4, r"2147483648 cpus"),
    (6, "flyrecord\0", 18, 8, "the file ends|time goes backwards"),
    (6, "flyrecord\0", 10, 8, "the file ends"),
    (7, "none\x001.0\0", 9, 8, "section 0 at byte 9223372036854775808"),
    (7, "\0local\0", 11, 4, "2147483648 cpus"),
    (7, "\0local\0", 7, 4, "sub-buffers of 2147483648 bytes"),
    (7, "\0local\0", -8, 8, "where the file has ended|a buffer takes 2 bytes|the file has 0 more"),
]


@pytest.mark.parametrize(("version", "behind", "by", "size", "words"), HUGE)
def test_sizes_and_counts_that_cannot_be(
    tmp_path: Path, version: int, behind: str, by: int, size: int, words: str
) -> None:
    data, path = bytearray(made(version=version).file()), tmp_path / "trace.dat"
    at = data.index(behind.encode()) + by
    data[at : at + size] = (1 << 8 * size - 1).to_bytes(size, "little")
    path.write_bytes(data)
    told(path, rf"byte \d+: .*({words})")


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "trace.dat"
    six, seven = made(version=6).file(), made(compression="lzma").file()
    for data, words in (
        (six.replace(b"tracing6\0", b"tracing5\0"), "version '5' of trace.dat, only 6 and 7"),
        (seven, "compressed by 'lzma', which tracemend can't unpack"),
        (six.replace(b"flyrecord\0", b"latency  \0"), "latency data, which is text"),
        (six.replace(b"flyrecord\0", b"something\0"), "neither options nor flyrecord"),
        (six.replace(b"27 bits", b"26 bits"), "laid out in a way"),
        (six.replace(b"name: sys_enter\n", b"nome: sys_enter\n"), "a format without a name|without a name or a number"),
        (six.replace(b"common_pid;\toffset:4;", b"common_pid;\toffset:5;"), "event sys_enter begins in a way"),
    ):
        path.write_bytes(data)
        told(path, rf"byte \d+: .*({words})")
    # options that lead back to themselves, and what no unpacking gives
    again = bytearray(made().file())
    at = struct.unpack_from("<Q", again, again.index(b"1.0\0") + 4)[0]
    again[-8:] = struct.pack("<Q", at)
    path.write_bytes(again)
    told(path, r"byte \d+: options that lead back to themselves")
    for compression in ("zlib", "zstd"):
        again = bytearray(made(compression=compression).file())
        again[again.index(b"1.0\0") + 12 + 16 + 12] ^= 0xFF
        path.write_bytes(again)
        told(path, r"byte \d+: can't unpack it")


SMALL = {
    "recorded": lambda: open_binary(DATA / "trace_cmd.dat.xz").read(),
    "six": lambda: made(version=6).file(),
    "seven": lambda: made(version=7).file(),
    "zstd": lambda: made(compression="zstd").file(),
}


@settings(max_examples=ENOUGH, deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_damage_does_anything_but_be_told(tmp_path: Path, data: st.DataObject) -> None:
    raw = bytearray(SMALL[data.draw(st.sampled_from(sorted(SMALL)))]())
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.one_of(st.integers(0, min(3000, len(raw) - 1)), st.integers(0, len(raw) - 1)))
        piece = data.draw(
            st.one_of(
                st.binary(min_size=1, max_size=8),
                st.sampled_from([b"\xff" * 8, bytes(8), b"\0\0\0\x80", b"%999d", b"((((", b"REC->", b"9999999"]),
            )
        )
        raw[at : at + len(piece)] = piece
    path = tmp_path / "trace.dat"
    path.write_bytes(raw)
    for strict in (False, True):
        try:
            trace = read(path, "trace.dat", strict=strict)
        except TraceError as e:
            assert str(e).startswith(f"{path}: ")  # noqa: PT017
        else:
            assert trace.table.schema == SCHEMA


# The text of an event


def printed(form: str, **values: int) -> str:
    """The text that a print fmt makes of unsigned longs."""
    fields = [Field(n, 8 * k, 8, False, False, False) for k, n in enumerate(values)]
    raw = b"".join(v.to_bytes(8, "little") for v in values.values()) or bytes(8)
    one = np.zeros(1, np.int64)
    stream = ringbuffer.Stream(raw, ringbuffer.NATIVE, one, one, one + len(raw))
    kind = Kind(1, "made", tuple(fields), form)
    return printing.printer(kind, 8)(stream, one, kind)[0]


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ('"%d%%|%5d|%-5d|%05d", REC->a, REC->a, REC->a, REC->a', "7%|    7|7    |00007"),
        (
            '"%x %lx %llx %hx %hhd", REC->m, REC->m, REC->m, REC->m, REC->m',
            "ffffffff ffffffffffffffff ffffffffffffffff ffff -1",
        ),
        ('"%u %Lu %ld", REC->m, REC->m, REC->m', "4294967295 18446744073709551615 -1"),
        ('"%s" "%s", REC->a == 7 ? "yes" : "no", REC->a > 7 || !REC->a ? "\\"yes\\"" : "n\\to"', "yesn\to"),
        ('"%d %d %d", 1 + 2 * 3 - 4 / 2, (1 | 2) << 2, 7 % 0', "5 12 0"),
        ('"%d", ((u8)(REC->m)) + (unsigned int)(-1UL) / 0x10000000', "270"),
        ('"%p %p", REC->a, REC->z', "0x7 (nil)"),
        ('"%c", REC->c', "A"),
        ('"%s", __print_flags(REC->a, "|", { 1, "A" }, { 2, "B" }, { 0, ((void *)0) })', "A|B|0x4"),
        ('"%s", __print_flags(REC->z, "|", { 0, "none" }, { 2, "B" })', "none"),
        ('"%s", __print_symbolic(REC->a, { 1 << 1, "two" }, { ~(-8), "seven" })', "seven"),
        ('"%s", __print_symbolic(REC->c, { 1, "one" })', "0x41"),
        # what isn't evaluated is told by its fields
        ('"%ps", REC->a', "a=7 m=18446744073709551615 z=0 c=65"),
        ('"%s", REC->a', "a=7 m=18446744073709551615 z=0 c=65"),
        ('"%d", sizeof(REC->a)', "a=7 m=18446744073709551615 z=0 c=65"),
        ('"%d %d", REC->a', "a=7 m=18446744073709551615 z=0 c=65"),
        ('"%d", REC->none', "a=7 m=18446744073709551615 z=0 c=65"),
        ('"%*d", 3, REC->a', "a=7 m=18446744073709551615 z=0 c=65"),
        ('"%99999d", REC->a', "a=7 m=18446744073709551615 z=0 c=65"),
        ('"%d", ' + "(" * 500 + "1" + ")" * 500, "a=7 m=18446744073709551615 z=0 c=65"),
        ('"%d", ' + "REC->a + " * 5000 + "1", "a=7 m=18446744073709551615 z=0 c=65"),
        ('"%d", 1 << 99999999999999999999', "0"),
        ('"%', "a=7 m=18446744073709551615 z=0 c=65"),
        ("", "a=7 m=18446744073709551615 z=0 c=65"),
    ],
)
def test_print_fmt(form: str, text: str) -> None:
    assert printed(form, a=7, m=(1 << 64) - 1, z=0, c=65) == text


@settings(max_examples=ENOUGH, deadline=2000)
@given(st.text(alphabet='"%dslx(){}[],?:+-*/<>&|~! 19aREC->_fg', max_size=60))
def test_no_print_fmt_does_anything_but_print(form: str) -> None:
    assert isinstance(printed(form, a=1, f=2), str)
    assert isinstance(printed(f'"%d", {form}', a=1, f=2), str)


def test_options_name_the_calls(tmp_path: Path) -> None:
    file, path = Made(), tmp_path / "trace.dat"
    file.pages = {"": [calls(file, 10, 7, 2)]}
    path.write_bytes(file.file())
    assert read(path).table["name"].to_pylist() == ["read", "read"]
    assert read(path, arch="aarch64").table["name"].to_pylist() == ["io_setup", "io_setup"]
    assert Options().arch == "x86_64"


def test_made_formats_are_those_of_the_kernel() -> None:
    for long in (4, 8):
        kinds = [ringbuffer.parse_format(t.decode()) for texts in tracedat_made.formats(long).values() for t in texts]
        assert [k.name for k in kinds] == ["sys_enter", "sys_exit", "note", "odd"]
        assert kinds[0].least == 8 + 7 * long


def test_a_second_trace_behind_the_first_is_a_doubt(tmp_path: Path) -> None:
    whole = lzma.decompress((DATA / "trace_cmd.dat.xz").read_bytes())
    (tmp_path / "two.dat").write_bytes(whole + whole)
    one, two = read(DATA / "trace_cmd.dat.xz"), read(tmp_path / "two.dat")
    assert len(one) == len(two)
    (doubt,) = set(two.doubts) - set(one.doubts)
    assert f"from byte {len(whole):,} on" in doubt.why
    assert not doubt.unless
