"""Windows' event trace logs: real ones from ../shared, and made-up ones for what the real ones don't have."""

from __future__ import annotations

import struct
from collections import Counter
from pathlib import Path
from uuid import UUID

import etl_made as made
import numpy as np
import pyarrow as pa
import pytest
from conftest import ROOT
from etl_made import ORIGIN, SIZE, START, START_NS, Log
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_formats_robust import attempt, check

from tracemend.api import mend
from tracemend.errors import TraceError
from tracemend.formats import read, recognise
from tracemend.trace.events import Trace

REAL = ROOT.parent / "shared" / "data" / "etw"
real = pytest.mark.skipif(not REAL.is_dir(), reason=f"the recorded logs are not at {REAL}")
#: What etl-parser 1.0.1 (PyPI) counts behind the header, by provider; our name of it, and the header's EventsLost.
JUDGED = {
    "AMSITrace.etl": ({"8e805eb3-6a8f-4a1e-90fa-a831d94e54a1": 19}, "AmsiTrace/AmsiScript", 3),
    "lxcore_kernel.etl": (
        {"0cd1c309-0878-4515-83db-749843b3f5c9": 2},
        "Microsoft.Windows.Subsystem.LxCore/BreakPoint",
        0,
    ),
}
PROCESS = UUID("3d6fa8d0-fe05-11d0-9dda-00c04fd7ba7c")
LOST = UUID("6a399ae0-4bc6-4de9-870b-3657f8947e7e")


def trace_of(log: Log | bytes, folder: Path, **options: bool) -> Trace:
    path = folder / "made.etl"
    path.write_bytes(log if isinstance(log, bytes) else log.bytes())
    assert recognise(path).name == "etl"
    trace = read(path, **options)  # type: ignore[arg-type]
    check(trace)
    return trace


def lost(trace: Trace) -> list[tuple[int | None, str]]:
    return [(u.count, u.unit) for u in trace.unplaced]


@real
@pytest.mark.parametrize("name", JUDGED)
def test_real_logs(name: str) -> None:
    counts, called, events_lost = JUDGED[name]
    trace = read(REAL / name)
    check(trace)
    assert Counter(trace.table["name"].to_pylist()) == {called: sum(counts.values())}
    assert lost(trace) == ([(events_lost, "events")] if events_lost else [])
    assert not trace.gaps
    assert not trace.doubts
    assert trace.passed_over is None
    assert trace.format == "etl"
    assert trace.tracer == "etw"
    assert (trace.tid > 0).all()


@real
def test_real_times_lie_within_the_session() -> None:
    # StartTime and EndTime of the log: 17 February 2020, 12:48:30.4 and 12:50:00.0 (UTC)
    trace = read(REAL / "AMSITrace.etl")
    begin, end = ((t - made.EPOCH) * 100 for t in (132264173104203138, 132264174000260662))
    assert begin < trace.time_ns.min() <= trace.time_ns.max() < end
    assert (np.diff(trace.time_ns) >= 0).all()


@real
@pytest.mark.parametrize("name", JUDGED)
def test_real_buffers_are_numbered_in_the_order_of_their_first_events(name: str) -> None:
    raw, at, begun = (REAL / name).read_bytes(), 0, {}
    while at < len(raw):
        (size,), (number,) = struct.unpack_from("<I", raw, at), struct.unpack_from("<q", raw, at + 24)
        (begun[number],) = struct.unpack_from("<q", raw, at + 72 + 16)
        at += size
    assert sorted(begun) == list(range(len(begun)))
    assert [begun[n] for n in sorted(begun)] == sorted(begun.values())


@pytest.mark.long
@real
@pytest.mark.parametrize("name", JUDGED)
def test_another_reader_counts_the_same(name: str) -> None:
    etl = pytest.importorskip("etl.etl", reason="takes etl-parser (PyPI)")
    found: Counter[str] = Counter()

    class Observer(etl.IEtlFileObserver):  # type: ignore[misc,name-defined]
        def on_event_record(self, event: object) -> None:
            guid = event.source.event_header.provider_id.inner  # type: ignore[attr-defined]
            rest = bytes(guid.data4)
            fields = f"{guid.data1:08x}-{guid.data2:04x}-{guid.data3:04x}-{rest[:2].hex()}-{rest[2:].hex()}"
            found[fields] += 1

        on_trace_record = on_perfinfo_trace = on_system_trace = on_win_trace = lambda *_: None

    etl.build_from_stream((REAL / name).read_bytes()).parse(Observer())
    assert found == JUDGED[name][0]


def test_every_kind_of_record(tmp_path: Path) -> None:
    o, log = ORIGIN, Log()
    log.add(
        1,
        made.switch(o + 10, 5, 4),
        made.perfinfo(o + 11, 15, 51, struct.pack("<Q", 0xFFFFF80012345678)),
        made.perfinfo(o + 12, 15, 52, struct.pack("<I", 0xC0000005)),
        made.switch(o + 20, 6, 5),
        made.perfinfo(o + 22, 15, 67),
        made.perfinfo(o + 23, 5, 50, struct.pack("<I", 77)),
        made.perfinfo(o + 24, 15, 51, struct.pack("<I", 0x8012), wide=False),
    )
    log.add(
        0,
        made.event(o + 5, 12, tid=31),
        made.classic(o + 6, PROCESS, 1, tid=32),
        made.instance(o + 7, made.GUID, 9, tid=33),
        made.message(o + 8, 77, tid=34),
        made.system(o + 9, 9, 10, tid=35),
        made.system(o + 10, 9, 11, tid=36, compact=True),
        made.perfinfo(o + 11, 1, 10, wide=False),
        made.perfinfo(o + 12, 0x77, 200),
    )
    items = [(12, b"\x07\0Prov\0"), (11, b"\x08\0\x80\x01Name\0\0")]
    log.add(0, made.event(o + 15, 12, channel=11, items=items))
    trace = trace_of(log, tmp_path)
    guid = f"{{{made.GUID}}}"
    rows = zip(*(trace.table[c].to_pylist() for c in ("time_ns", "cpu", "tid", "name", "args")), strict=True)
    assert [((t - START_NS) // 100, *rest) for t, *rest in rows] == [
        (5, 0, 31, f"{guid}/12", None),
        (6, 0, 32, "Process/Start", None),
        (7, 0, 33, f"{guid}/9", None),
        (8, 0, 34, f"{guid}/77", None),
        (9, 0, 35, "Registry/Create", None),
        (10, 1, 4, "Thread/CSwitch", "next=5 previous=4"),
        (10, 0, 36, "Registry/Open", None),
        (11, 1, 5, "PerfInfo/SysClEnter", "0xfffff80012345678"),
        (11, 0, -1, "DiskIo/Read", None),
        (12, 1, 5, "PerfInfo/SysClExit", "0xc0000005"),
        (12, 0, -1, "Group0x77/200", None),
        (15, 0, 7, "Prov/Name", None),
        (20, 1, 5, "Thread/CSwitch", "next=6 previous=5"),
        (22, 1, 6, "PerfInfo/ISR", None),
        (23, 1, 6, "Thread/ReadyThread", "thread=77"),
        (24, 1, 6, "PerfInfo/SysClEnter", "0x8012"),
    ]
    assert not trace.gaps
    assert not trace.unplaced
    assert not trace.doubts
    assert trace.stored.keys() == {0, 1}


def test_switches_that_do_not_follow_each_other_are_a_doubt(tmp_path: Path) -> None:
    log, o = Log(processors=1), ORIGIN
    log.add(
        0, made.switch(o, 5, 4), made.perfinfo(o + 1, 15, 67), made.switch(o + 2, 7, 6), made.perfinfo(o + 3, 15, 67)
    )
    trace = trace_of(log, tmp_path)
    assert trace.tid.tolist() == [4, -1, -1, 7]
    (doubt,) = trace.doubts
    assert "no switch had given" in doubt.why
    assert not doubt.unless


@pytest.mark.parametrize(
    ("clock", "origin", "at", "ns"),
    [
        (1, ORIGIN, ORIGIN + 30, START_NS + 3000),
        (2, START, START + 30, START_NS + 3000),
        (3, ORIGIN, ORIGIN + 30, START_NS + 10),  # cycles of 3 GHz
        (0, START, START + 30, START_NS + 3000),
        (0, ORIGIN, ORIGIN + 30, START_NS + 3000),
    ],
)
@pytest.mark.parametrize("pointer", [4, 8])
def test_clocks(tmp_path: Path, clock: int, origin: int, at: int, ns: int, pointer: int) -> None:
    log = Log(clock=clock, origin=origin, pointer=pointer)
    log.add(0, made.event(at, 1))
    assert trace_of(log, tmp_path).time_ns.tolist() == [ns]


def full(**about: int) -> Log:
    """A log of six buffers on two cpus (or one) with three events each."""
    log = Log(**about)  # type: ignore[arg-type]
    for k in range(6):
        log.add(k % log.processors, *(made.event(ORIGIN + 100 * k + i, i) for i in range(3)))
    return log


def without(log: Log, *numbers: int) -> Log:
    log.written = len(log.buffers) + 1 - len(numbers)
    for n in sorted(numbers, reverse=True):
        del log.buffers[n - 1]
    return log


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        (full(), []),
        (full(events_lost=5), [(5, "events")]),
        (full(buffers_lost=2), [(2, "buffers")]),
        (without(full(), 3, 4), [(2, "buffers")]),
        (without(full(), 1), [(1, "buffers")]),
        (without(full(mode=2), 1, 2), [(2, "buffers")]),
        (without(full(mode=0x400), 1, 2), [(2, "buffers")]),
        (without(full(mode=8), 1, 2), []),  # they are in the file before
        (without(full(mode=8), 3), [(1, "buffers")]),
        (full(written=9), [(2, "buffers")]),
    ],
)
def test_losses_without_a_place(tmp_path: Path, log: Log, expected: list[tuple[int, str]]) -> None:
    trace = trace_of(log, tmp_path)
    assert lost(trace) == expected
    assert not trace.gaps
    assert not trace.doubts


def test_with_one_processor_a_missing_buffer_has_its_place(tmp_path: Path) -> None:
    trace = trace_of(without(full(processors=1), 1, 4), tmp_path)
    assert [(g.before, g.after, g.count) for g in trace.gaps] == [(None, 0, None), (5, 6, None)]
    assert not trace.unplaced


@pytest.mark.parametrize(("flag", "unit"), [(0x22, "events"), (0x24, "buffers")])
def test_marked_buffers(tmp_path: Path, flag: int, unit: str) -> None:
    log = full()
    log.add(0, made.event(ORIGIN + 5000, 1), flags=flag)
    assert lost(trace_of(log, tmp_path)) == [(None, unit)]


def test_records_of_losses(tmp_path: Path) -> None:
    log = full()
    log.add(0, made.classic(ORIGIN + 2000, LOST, 32), made.classic(ORIGIN + 2001, LOST, 33))
    trace = trace_of(log, tmp_path)
    assert lost(trace) == [(None, "events"), (None, "buffers")]
    alone = full(processors=1)
    alone.add(0, made.classic(ORIGIN + 2000, LOST, 32))
    (gap,) = trace_of(alone, tmp_path).gaps
    assert (gap.before, gap.after) == (17, 18)


@pytest.mark.parametrize(
    ("log", "why"),
    [
        (full(end=0), "never closed"),
        (Log(buffers=[*full().buffers, full().buffers[2]]), "repeat"),
    ],
)
def test_doubts(tmp_path: Path, log: Log, why: str) -> None:
    trace = trace_of(log, tmp_path)
    (doubt,) = trace.doubts
    assert why in doubt.why
    assert doubt.remedy
    assert not doubt.unless


def test_merged_sessions_are_a_doubt(tmp_path: Path) -> None:
    log = full()
    log.add(0, made.event(ORIGIN + 9000, 1), number=1, session=4)
    trace = trace_of(log, tmp_path)
    assert "merged from 2 sessions" in trace.doubts[0].why
    assert not trace.unplaced


def test_a_damaged_buffer_is_passed_over(tmp_path: Path) -> None:
    raw = bytearray(full().bytes())
    raw[3 * SIZE : 3 * SIZE + 40] = b"\x55" * 40
    trace = trace_of(bytes(raw), tmp_path)
    assert len(trace) == 15
    assert lost(trace) == [(1, "buffers")]
    assert trace.passed_over is not None
    assert trace.passed_over.why.startswith(f"byte {3 * SIZE}: a buffer")
    with pytest.raises(TraceError, match=f"byte {3 * SIZE}: a buffer whose header is damaged"):
        trace_of(bytes(raw), tmp_path, strict=True)


def test_damage_in_a_buffer_is_a_gap_there(tmp_path: Path) -> None:
    raw = bytearray(full().bytes())
    second = 3 * SIZE + 72 + 80  # the second event of the third buffer, which is cpu 0's
    raw[second : second + 2] = b"\xff\xff"
    trace = trace_of(bytes(raw), tmp_path)
    assert len(trace) == 16
    (gap,) = trace.gaps
    assert (gap.cpu, gap.count) == (0, None)
    assert trace.time_ns[gap.before] == START_NS + 200 * 100
    assert trace.time_ns[gap.after] == START_NS + 400 * 100


def test_a_file_that_was_cut(tmp_path: Path) -> None:
    raw = full().bytes()
    trace = trace_of(raw[: 5 * SIZE], tmp_path)
    assert lost(trace) == [(2, "buffers")]
    trace = trace_of(raw[: 6 * SIZE + 72 + 100], tmp_path)
    assert len(trace) == 16
    assert [g.cpu for g in trace.gaps] == [1]


def test_a_file_that_overwrites_its_oldest_buffers_was_cut(tmp_path: Path) -> None:
    """Its numbers begin at 1: nothing was overwritten, and what is missing is missing at the end."""
    raw = full(mode=2).bytes()
    assert lost(trace_of(raw, tmp_path)) == []
    assert lost(trace_of(raw[: len(raw) // 2 // SIZE * SIZE], tmp_path)) != []


def test_space_that_was_never_written_is_no_damage(tmp_path: Path) -> None:
    trace = trace_of(full().bytes() + bytes(3 * SIZE), tmp_path)
    assert not trace.unplaced
    assert trace.passed_over is None


@pytest.mark.parametrize(
    ("log", "message"),
    [
        (full(major=5), "before Vista"),
        (full(pointer=5), "a pointer of 5 bytes"),
        (full(origin=-1), "a time that can't be"),
    ],
)
def test_what_is_refused(tmp_path: Path, log: Log, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        trace_of(log, tmp_path)


def test_compressed_buffers_are_refused(tmp_path: Path) -> None:
    log = full()
    log.add(0, made.event(ORIGIN, 1), flags=0x60)
    with pytest.raises(TraceError, match="byte 7168: a compressed buffer; let Windows read it: tracerpt"):
        trace_of(log, tmp_path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_log_reads_back(tmp_path: Path, data: st.DataObject) -> None:
    """Buffers of several cpus whose times overlap, in any order in the file, some of them missing."""
    cpus = data.draw(st.integers(1, 3))
    blocks = data.draw(
        st.lists(
            st.tuples(st.integers(0, cpus - 1), st.lists(st.integers(0, 1000), max_size=8)), min_size=1, max_size=8
        )
    )
    kept = data.draw(st.lists(st.booleans(), min_size=len(blocks), max_size=len(blocks)))
    log, expected = Log(processors=cpus), []
    for number, ((cpu, times), keep) in enumerate(zip(blocks, kept, strict=True), 1):
        if keep:
            log.add(cpu, *(made.event(ORIGIN + t, number) for t in times), number=number)
            expected += [(START_NS + 100 * t, cpu, f"{{{made.GUID}}}/{number}") for t in times]
    log.buffers = data.draw(st.permutations(log.buffers))
    trace = trace_of(log, tmp_path)
    found = zip(*(trace.table[c].to_pylist() for c in ("time_ns", "cpu", "name")), strict=True)
    assert sorted(found) == sorted(expected)
    last = max((n for n, k in enumerate(kept, 1) if k), default=0)
    missing = kept[:last].count(False)
    if cpus > 1:
        assert lost(trace) == ([(missing, "buffers")] if missing else [])
    else:
        assert bool(trace.gaps) == bool(missing)


def test_a_log_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "made.etl"
    path.write_bytes(without(full(processors=1), 3).bytes())
    mended = mend(path)
    assert len(mended.trace.gaps) == 1


def seeds() -> list[bytes]:
    """Ten made-up logs to damage."""
    kinds = Log()
    kinds.add(0, made.switch(ORIGIN + 1, 5, 4), made.message(ORIGIN + 2, 7), made.classic(ORIGIN + 3, LOST, 32))
    kinds.add(1, made.event(ORIGIN + 4, 1, channel=11, items=[(12, b"\x04\0P\0"), (11, b"\x05\0\0N\0")]))
    logs = [
        full(),
        full(processors=1),
        full(pointer=4),
        full(clock=2, origin=START),
        full(clock=3),
        full(mode=2),
        kinds,
    ]
    return [
        *(log.bytes() for log in [*logs, without(full(), 2), without(full(processors=1), 2)]),
        full().bytes()[:5000],
    ]


SEEDS = seeds()


@pytest.mark.long
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_never_raises_anything_else(tmp_path: Path, data: st.DataObject) -> None:
    raw = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw)) | st.integers(0, 420))
        match data.draw(st.sampled_from(["patch", "word", "delete", "truncate", "repeat"])):
            case "patch":
                patch = data.draw(st.binary(min_size=1, max_size=8))
                raw[at : at + len(patch)] = patch
            case "word":
                word = data.draw(st.sampled_from([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x10000, SIZE]))
                raw[at & ~3 : (at & ~3) + 4] = struct.pack("<I", word)
            case "delete":
                del raw[at : at + data.draw(st.integers(1, 100))]
            case "truncate":
                del raw[at:]
            case _:
                raw[at:at] = raw[at : at + SIZE]
    path = tmp_path / "damaged"
    path.write_bytes(bytes(raw) or b"\0")
    attempt(path, format="etl", strict=data.draw(st.booleans()))


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_a_compressed_log_is_unpacked(tmp_path: Path, codec: str) -> None:
    log = ROOT.parent / "shared" / "data" / "etw" / "AMSITrace.etl"
    if not log.exists():
        pytest.skip(f"{log} is absent")
    path = tmp_path / "log"
    with pa.output_stream(str(path), compression=codec) as out:
        out.write(log.read_bytes())
    assert len(read(path)) == len(read(log))
