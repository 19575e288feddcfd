"""Perfetto's traces: recorded ones against Perfetto's own schema and trace processor, made-up ones for the rest."""

from __future__ import annotations

import lzma
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import perfetto_judge
import pyarrow as pa
import pytest
from commands import run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tracemend.errors import TraceError
from tracemend.formats import read, recognise
from tracemend.formats.perfetto import wire
from tracemend.outputs import perfetto
from tracemend.trace.events import Trace
from tracemend.trace.syscalls import call_name

pb = pytest.importorskip("perfetto.protos.perfetto.trace.perfetto_trace_pb2")

DATA = Path(__file__).parents[1] / "data"
RECORDED = sorted(p.name for p in DATA.glob("perfetto_*"))
#: Of these, one that lost events and one in packets within packets: the judge takes seconds for each.
BRIEF = ("perfetto_lossy.pftrace.xz", "perfetto_packed.pftrace")
COMPACT = {"sched_switch": "next", "sched_waking": "pid"}


def data_of(name: str) -> bytes:
    raw = (DATA / name).read_bytes()
    return lzma.decompress(raw) if name.endswith(".xz") else raw


def packets(data: bytes) -> Iterator[Any]:
    """All packets as Perfetto's own schema has them, those that lie packed in others, too."""
    for packet in pb.Trace.FromString(data).packet:
        if packet.HasField("compressed_packets"):
            yield from packets(zlib.decompress(packet.compressed_packets))
        else:
            yield packet


def text_of(message: Any) -> str:
    parts = [f"{f.name}={str(v, 'latin-1') if isinstance(v, bytes) else v}" for f, v in message.ListFields()]
    return " ".join(parts)


def expected(data: bytes) -> list[tuple[Any, ...]]:
    """Time, cpu, thread (None: not recorded), name, phase, arguments, result of all events of kinds in the schema."""
    found: list[tuple[Any, ...]] = []
    for bundle in (p.ftrace_events for p in packets(data) if p.HasField("ftrace_events")):
        for e in bundle.event:
            name = e.WhichOneof("event")
            at = e.timestamp, bundle.cpu, e.pid
            if name == "sys_enter":
                args = ", ".join(f"{a:x}" for a in e.sys_enter.args)
                found.append((*at, call_name(e.sys_enter.id), "enter", args, None))
            elif name == "sys_exit":
                found.append((*at, call_name(e.sys_exit.id), "exit", None, str(e.sys_exit.ret)))
            elif name == "print":
                found.append((*at, "print", "instant", e.print.buf.rstrip("\n"), None))
            elif name == "generic":
                args = " ".join(f"{f.name}={getattr(f, f.WhichOneof('value'))}" for f in e.generic.field)
                found.append((*at, e.generic.event_name, "instant", args, None))
            elif name is not None:
                found.append((*at, name, "instant", text_of(getattr(e, name)), None))
        c, comms, time = bundle.compact_sched, bundle.compact_sched.intern_table, 0
        switches = (c.switch_timestamp, c.switch_prev_state, c.switch_next_comm_index, c.switch_next_pid)
        for delta, state, comm, pid, prio in zip(*switches, c.switch_next_prio, strict=True):
            time += delta
            args = f"prev_state={state} next_comm={comms[comm]} next_pid={pid} next_prio={prio}"
            found.append((time, bundle.cpu, None, "sched_switch", "instant", args, None))
        time = 0
        wakings = (c.waking_timestamp, c.waking_comm_index, c.waking_pid, c.waking_prio, c.waking_target_cpu)
        for delta, comm, pid, prio, target in zip(*wakings, strict=True):
            time += delta
            args = f"comm={comms[comm]} pid={pid} prio={prio} target_cpu={target}"
            found.append((time, bundle.cpu, None, "sched_waking", "instant", args, None))
    return found


def events(trace: Trace) -> list[tuple[Any, ...]]:
    columns = ("time_ns", "cpu", "tid", "name", "phase", "args", "ret")
    return list(zip(*(trace.table[c].to_pylist() for c in columns), strict=True))


# Recorded traces ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_trace_is_known_by_its_content(name: str) -> None:
    assert recognise(DATA / name).name == "perfetto"


@pytest.mark.parametrize("name", RECORDED)
def test_every_event_is_read_as_the_schema_has_it(name: str) -> None:
    trace = read(DATA / name, strict=True)
    wanted = expected(data_of(name))
    if "packed" in name:  # the raw monotonic clock, by the snapshots a steady way from boot time
        first, boot = min(w[0] for w in wanted), int(trace.time_ns[0])
        assert 0 < boot - first < 10**9
        wanted = [(w[0] + boot - first, *w[1:]) for w in wanted]
    known = {w[3] for w in wanted}
    got = [e for e in events(trace) if e[3] in known]
    assert len(wanted) > 100
    both = [Counter((*e[:2], *e[3:]) for e in side) for side in (got, wanted)]
    assert both[0] == both[1]
    own = Counter(w for w in wanted if w[2] is not None)
    assert not own - Counter(got)
    assert trace.tracer == "perfetto"
    assert trace.provenance["recorder"].startswith("Perfetto v")
    assert np.all(np.diff(trace.time_ns) >= 0)


def test_events_that_the_trace_itself_describes_have_names_and_fields() -> None:
    """sched_stat_runtime isn't in the schema: one trace has its fields' names in each event, the other one once."""
    for name in ("perfetto_kinds.pftrace.xz", "perfetto_generic.pftrace.xz"):
        found = [e for e in events(read(DATA / name)) if e[3] == "sched_stat_runtime"]
        assert len(found) > 50
        for e in found:
            assert {w.partition("=")[0] for w in e[5].split() if "=" in w} >= {"comm", "pid", "runtime"}
            assert f"pid={e[2]} " in e[5] + " "
        assert any(e[3] == "print" and e[5] == "hello" for e in events(read(DATA / name)))


def test_compact_events_have_the_thread_that_the_switch_before_brought_in() -> None:
    """By the trace with both: what a full event records is what a compact one's place tells."""
    trace = read(DATA / "perfetto_generic.pftrace.xz")
    assert (trace.tid < 0).sum() <= 2  # one on each cpu, in front of its first switch
    for rows in trace.streams.values():
        running = -1
        for row in rows.tolist():
            name, args = trace.table["name"][row].as_py(), trace.table["args"][row].as_py()
            if running >= 0:
                assert trace.tid[row] == running
            running = int(args.partition("next_pid=")[2].split()[0]) if name == "sched_switch" else int(trace.tid[row])


@pytest.mark.parametrize("name", RECORDED)
def test_gaps_are_where_the_bundles_say(name: str) -> None:
    trace = read(DATA / name)
    wanted = []
    for bundle in (p.ftrace_events for p in packets(data_of(name)) if p.HasField("ftrace_events")):
        times = [e.timestamp for e in bundle.event]
        for column in (bundle.compact_sched.switch_timestamp, bundle.compact_sched.waking_timestamp):
            times += np.cumsum(column).tolist() if len(column) else []
        if bundle.lost_events:
            wanted.append((bundle.cpu, min(times)))
    got = [(g.cpu, int(trace.time_ns[g.after])) for g in trace.gaps if g.after is not None]
    assert sorted(got) == sorted(wanted)
    assert bool(wanted) == ("lossy" in name)
    assert all(g.known == "uncounted" for g in trace.gaps)


def test_what_the_kernel_overran_is_told_by_cpu() -> None:
    trace = read(DATA / "perfetto_lossy.pftrace.xz")
    stats = {
        p.ftrace_stats.phase: p.ftrace_stats
        for p in packets(data_of("perfetto_lossy.pftrace.xz"))
        if p.HasField("ftrace_stats")
    }
    wanted = {c.cpu: c.overrun for c in stats[2].cpu_stats}
    assert {u.cpu: u.count for u in trace.unplaced} == wanted
    assert all(n > 1000 for n in wanted.values())
    assert all("overwritten in the kernel's buffer, those of its gaps among them" in u.said for u in trace.unplaced)
    assert not trace.doubts


def test_what_perfettos_own_buffer_lost_is_told() -> None:
    ring, discard = (read(DATA / f"perfetto_{n}.pftrace.xz") for n in ("ring", "discard"))
    assert any("overwrote" in u.said and u.unit == "chunks" and u.count for u in ring.unplaced)
    assert not ring.doubts
    assert any("had no room for" in u.said for u in discard.unplaced)
    (doubt,) = discard.doubts  # the kernel's statistics are among what was lost
    assert "no statistics" in doubt.why


@pytest.mark.parametrize(
    "name", ["perfetto_kinds.pftrace.xz", "perfetto_generic.pftrace.xz", "perfetto_packed.pftrace"]
)
def test_a_trace_that_lost_nothing_has_no_gap_and_no_doubt(name: str) -> None:
    trace = read(DATA / name, strict=True)
    assert not trace.gaps
    assert not trace.unplaced
    assert not trace.doubts
    assert not trace.warnings


@pytest.mark.parametrize("name", [n if n in BRIEF else pytest.param(n, marks=pytest.mark.long) for n in RECORDED])
def test_the_trace_processor_agrees(name: str, tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_bytes(data_of(name))
    trace = read(path)
    told, lost = perfetto_judge.answers(
        path,
        "select e.ts, e.cpu, t.tid, e.name from ftrace_event e left join thread t using (utid)",
        "select name from stats where value > 0 and severity = 'data_loss'",
    )
    phases = trace.table["phase"].to_pylist()
    names = [n if p == "instant" else f"sys_{p}" for n, p in zip(trace.table["name"].to_pylist(), phases, strict=True)]
    ours = Counter(zip(trace.time_ns.tolist(), trace.cpu.tolist(), names, strict=True))
    theirs = Counter((r.ts, r.cpu, r.name) for r in told)
    if "packed" in name:  # it converts the raw clock by coarser moments: 10 us apart
        assert (ours - theirs).total() == len(trace)
        ours, theirs = (Counter((0, *k[1:]) for k in side.elements()) for side in (ours, theirs))
    assert not theirs - ours
    # it leaves out compact events in front of a cpu's first switch
    assert {n for *_, n in (ours - theirs)} <= {"sched_switch", "sched_waking"}
    assert (ours - theirs).total() <= 0.02 * len(trace)
    assert bool(lost) == bool(trace.gaps or trace.unplaced)


def test_mending_and_its_own_output_read_again(tmp_path: Path) -> None:
    done = run("mend", DATA / "perfetto_lossy.pftrace.xz", "-o", tmp_path / "out", "--perfetto")
    assert done.returncode == 0, done.stderr
    again = read(tmp_path / "out" / perfetto.NAME)
    assert len(again) == 0
    assert not again.gaps
    assert "no events of the kernel" in " ".join(d.why for d in again.doubts)


# Made-up traces -----------------------------------------------------------------------------------------------------


class Made:
    """A trace made up with Perfetto's schema: system calls of one thread a cpu."""

    def __init__(self) -> None:
        self.trace = pb.Trace()

    def packet(self, sequence: int = 1, **fields: Any) -> Any:
        return self.trace.packet.add(trusted_packet_sequence_id=sequence, **fields)

    def bundle(self, cpu: int, times: list[int], sequence: int = 1, **fields: Any) -> Any:
        packet = self.packet(sequence)
        packet.ftrace_events.cpu = cpu
        for key, value in fields.items():
            setattr(packet.ftrace_events, key, value)
        for time in times:
            event = packet.ftrace_events.event.add(timestamp=time, pid=100 + cpu)
            event.sys_enter.id = 257
        return packet

    def statistics(self, sequence: int = 1, **end: int) -> Made:
        for phase in (1, 2):
            about = self.packet(sequence).ftrace_stats
            about.phase = phase
            about.cpu_stats.add(cpu=0, overrun=7, **(end if phase == 2 else {}))
        self.packet(9).trace_stats.final_flush_outcome = 1
        return self

    def read(self, tmp_path: Path, **how: Any) -> Trace:
        path = tmp_path / "trace"
        path.write_bytes(self.trace.SerializeToString())
        return read(path, **how)


def test_counters_from_before_the_trace_are_no_loss(tmp_path: Path) -> None:
    made = Made()
    made.bundle(0, [10, 20])
    trace = made.statistics().read(tmp_path)
    assert not trace.unplaced
    assert not trace.doubts
    again = made.statistics(dropped_events=3, commit_overrun=1).read(tmp_path)
    assert [(u.count, u.cpu) for u in again.unplaced] == [(1, 0), (3, 0)]


def test_lost_packets_are_placed_where_a_bundle_follows_on_missing_events(tmp_path: Path) -> None:
    made = Made()
    made.bundle(0, [10, 20]).previous_packet_dropped = 1  # as the first packet of each sequence says
    made.bundle(1, [12, 22])
    made.bundle(0, [110], previous_bundle_end_timestamp=90).previous_packet_dropped = 1
    made.bundle(1, [112], previous_bundle_end_timestamp=22)
    trace = made.statistics().read(tmp_path)
    (gap,) = trace.gaps
    assert (gap.cpu, gap.begin_ns, gap.end_ns, gap.known) == (0, 20, 110, "uncounted")
    assert not trace.unplaced


def test_lost_packets_without_a_place_are_told(tmp_path: Path) -> None:
    made = Made()
    made.bundle(0, [10, 20])
    made.bundle(0, [110]).previous_packet_dropped = 1
    trace = made.statistics().read(tmp_path)
    assert not trace.gaps
    (loss,) = trace.unplaced
    assert "lost packets with events of the kernel" in loss.said
    assert loss.count is None


def test_lost_packets_of_what_is_not_read(tmp_path: Path) -> None:
    made = Made()
    for dropped in (1, 1, 0, 1):
        made.packet(5, previous_packet_dropped=dropped).track_event.name = "frame"
    trace = made.read(tmp_path)
    assert [u.said for u in trace.unplaced] == ["Perfetto lost packets 2 times"]
    made.bundle(0, [10])
    trace = made.statistics().read(tmp_path)
    assert not trace.unplaced
    assert "Perfetto lost packets 2 times that hold no events of the kernel" in trace.warnings


def test_a_loss_in_a_bundle_without_events_lies_before_the_next_one(tmp_path: Path) -> None:
    made = Made()
    made.bundle(0, [10, 20])
    made.bundle(0, [], lost_events=True)
    made.bundle(1, [25])
    made.bundle(0, [30])
    made.bundle(1, [], lost_events=True)
    trace = made.statistics().read(tmp_path)
    assert [(g.cpu, g.before, g.after) for g in trace.gaps] == [(0, 1, 3), (1, 2, None)]


def test_events_that_the_kernel_reader_could_not_make_out_are_a_gap(tmp_path: Path) -> None:
    made = Made()
    made.bundle(0, [10, 20])
    made.bundle(0, [40]).ftrace_events.error.add(timestamp=25, status=5)
    trace = made.statistics().read(tmp_path)
    assert [(g.before, g.after) for g in trace.gaps] == [(1, 2)]


@pytest.mark.parametrize(
    ("machine", "arch", "name"),
    [
        ("aarch64", "x86_64", "rt_sigaction"),
        ("armv7l", "x86_64", "geteuid32"),
        ("x86_64", "x86_64", "alarm"),
        ("aarch64", "riscv64", "rt_sigaction"),
        ("toaster", "x86_64", "alarm"),
    ],
)
def test_calls_have_the_names_of_the_traces_machine(tmp_path: Path, machine: str, arch: str, name: str) -> None:
    made = Made()
    made.packet().system_info.utsname.machine = machine
    number = {"rt_sigaction": 134, "geteuid32": 201, "alarm": 37}[name]
    made.bundle(0, [10]).ftrace_events.event[0].sys_enter.id = number
    assert made.read(tmp_path, arch=arch).table["name"].to_pylist() == [name]


def test_clocks_are_brought_to_boot_time(tmp_path: Path) -> None:
    made = Made()
    made.bundle(0, [1000, 2000], ftrace_clock=2, ftrace_timestamp=900, boot_timestamp=5900)
    made.bundle(0, [3000], ftrace_clock=2, ftrace_timestamp=2500, boot_timestamp=7510)
    assert made.read(tmp_path).time_ns.tolist() == [6000, 7000, 8010]
    made = Made()
    made.bundle(0, [1000], ftrace_clock=3)
    trace = made.read(tmp_path)
    assert trace.time_ns.tolist() == [1000]
    assert "ftrace's clock (local)" in trace.warnings[0]


def test_sources_of_the_same_cpu_are_streams_of_their_own(tmp_path: Path) -> None:
    made = Made()
    made.bundle(0, [10, 30])
    made.bundle(0, [20, 40], sequence=2, lost_events=True)
    trace = made.statistics().statistics(2).read(tmp_path)
    assert trace.cpu.tolist() == [0, 1000, 0, 1000]
    assert [g.cpu for g in trace.gaps] == [1000]
    assert any("cpu 0 is cpu 1000" in w for w in trace.warnings)


def test_a_flush_that_failed_leaves_a_doubt(tmp_path: Path) -> None:
    made = Made()
    made.bundle(0, [10])
    made.statistics().trace.packet[-1].trace_stats.final_flush_outcome = 2
    assert any("flush failed" in d.why for d in made.read(tmp_path).doubts)


def test_threads_are_called_what_events_and_the_list_of_processes_tell(tmp_path: Path) -> None:
    made = Made()
    tree = made.packet().process_tree
    tree.processes.add(pid=102, cmdline=["/usr/bin/very-long-program-name", "-x"])
    tree.threads.add(tid=103, tgid=102, name="worker")
    for cpu in range(4):
        made.bundle(cpu, [10 * cpu + 1, 10 * cpu + 5])
    event = made.bundle(4, []).ftrace_events.event.add(timestamp=3, pid=0)
    event.sched_switch.next_pid, event.sched_switch.next_comm = 100, "late"
    rename = made.bundle(5, []).ftrace_events.event.add(timestamp=12, pid=101)
    rename.task_rename.pid, rename.task_rename.newcomm = 101, "renamed"
    trace = made.read(tmp_path)
    comms = dict(
        zip(zip(trace.tid.tolist(), trace.time_ns.tolist(), strict=True), trace.table["comm"].to_pylist(), strict=True)
    )
    assert comms[0, 3] == "<idle>"
    assert comms[100, 1] == comms[100, 5] == "late"
    assert comms[101, 15] == "renamed"
    assert comms[102, 21] == "very-long-progr"
    assert comms[103, 31] == "worker"
    assert trace.processes == {102: 102, 103: 102}


def test_packets_packed_with_zstd(tmp_path: Path) -> None:
    made, outer = Made(), pb.Trace()
    made.bundle(0, [10, 20])
    packed = pa.Codec("zstd").compress(made.statistics().trace.SerializeToString(), asbytes=True)
    outer.packet.add(zstd_compressed_packets=packed)
    path = tmp_path / "trace"
    path.write_bytes(outer.SerializeToString())
    assert read(path, strict=True).time_ns.tolist() == [10, 20]


# Damage -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECORDED)
def test_a_trace_that_is_cut_short_has_a_doubt(name: str, tmp_path: Path) -> None:
    data, path = data_of(name), tmp_path / "trace"
    for cut in (len(data) - 1, len(data) * 2 // 3):
        path.write_bytes(data[:cut])
        if "packed" in name:  # one packet holds nearly all of it
            with pytest.raises(TraceError, match="the file ends within a packet"):
                read(path)
            continue
        trace = read(path)
        assert trace.passed_over is not None
        assert trace.passed_over.pieces == "packets"
        assert "the file ends within a packet" in trace.passed_over.why
        assert trace.doubts
        with pytest.raises(TraceError, match=r"byte \d+: the file ends within a packet"):
            read(path, strict=True)


def test_an_event_that_cannot_be_read_is_told_and_passed_over(tmp_path: Path) -> None:
    made = Made()
    made.bundle(0, [10, 20, 30])
    data = made.statistics().trace.SerializeToString()
    path = tmp_path / "trace"
    path.write_bytes(data.replace(b"\x08\x14\x10\x64", b"\x08\x14\x17\x64"))  # a pid of the unknown sort 7
    trace = read(path)
    assert trace.time_ns.tolist() == [10, 30]
    assert trace.passed_over is not None
    assert "an event that can't be read" in trace.passed_over.why


@pytest.mark.parametrize(
    "data",
    [
        b"\x0a\x04\x08\x01\x10\x02",  # pprof: field 1 is a number there
        b"\nThe quick brown fox\n" * 20,
        b"\n\n\n",
        b"\x0a",
        b"\x0a\x00\x0a\x00",
        b"\x12\x02\x08\x01",
    ],
)
def test_what_is_no_trace_is_not_taken_for_one(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with suppress(TraceError):
        assert recognise(path).name != "perfetto"


@pytest.mark.long
def test_a_bomb_is_refused(tmp_path: Path) -> None:
    packed = zlib.compress(bytes(1 << 28) + b"\0" * 10)
    path = tmp_path / "trace"
    path.write_bytes(pb.Trace(packet=[pb.TracePacket(compressed_packets=packed)]).SerializeToString())
    with pytest.raises(TraceError, match="unpacks to more than"):
        read(path, "perfetto")


@pytest.mark.parametrize("name", RECORDED)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_gives_a_trace_or_an_error(tmp_path: Path, name: str, data: st.DataObject) -> None:
    raw = bytearray(data_of(name))
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(raw) - 1))
        patch = data.draw(
            st.binary(max_size=12) | st.sampled_from([b"\xff" * 11, b"\x80" * 11, b"\x12\x7f", b"\x22\x04"])
        )
        raw[at : at + data.draw(st.sampled_from([0, len(patch)]))] = patch
    path = tmp_path / "trace"
    path.write_bytes(bytes(raw))
    with suppress(TraceError):
        trace = read(path, "perfetto")
        assert all(g.begin_ns <= g.end_ns for g in trace.gaps)


# The encoding -------------------------------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


FIELD = st.tuples(
    st.integers(1, 1 << 20),
    st.integers(0, (1 << 64) - 1) | st.binary(max_size=200) | st.floats(allow_nan=False, width=32),
)


def encoded(number: int, value: int | bytes | float) -> bytes:
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    if isinstance(value, float):
        return varint(number << 3 | 5) + np.float32(value).tobytes()
    return varint(number << 3) + varint(value)


@pytest.mark.long
@settings(deadline=None)
@given(messages=st.lists(st.lists(FIELD, max_size=6), max_size=8))
def test_fields_of_many_messages_are_those_of_each(messages: list[list[tuple[int, Any]]]) -> None:
    bodies = [b"".join(encoded(n, v) for n, v in fields) for fields in messages]
    ends = np.cumsum([len(b) for b in bodies]).astype(np.int64)
    raw = b"".join(bodies)
    found = wire.fields(np.frombuffer(raw + bytes(wire.PAD), np.uint8), np.append(0, ends)[:-1], ends)
    assert not found.broken.any()
    got: list[list[tuple[int, Any]]] = [[] for _ in messages]
    for row, number, sort, value, end in zip(
        found.row.tolist(),
        found.number.tolist(),
        found.wire.tolist(),
        found.value.tolist(),
        found.end.tolist(),
        strict=True,
    ):
        bits = value & (1 << 64) - 1
        known: Any = raw[value:end] if sort == wire.LENGTH else bits
        got[row].append((number, np.uint32(bits).view(np.float32).item() if sort == wire.FOUR else known))
    assert got == messages
    for body, fields in zip(bodies, messages, strict=True):
        alone: dict[int, list[Any]] = {}
        for number, value in fields:
            kept = int(np.float32(value).view(np.uint32)) if isinstance(value, float) else value
            alone.setdefault(number, []).append(kept)
        assert wire.message(body) == alone


@settings(deadline=None)
@given(values=st.lists(st.integers(0, (1 << 64) - 1)))
def test_packed_numbers(values: list[int]) -> None:
    assert wire.packed(b"".join(map(varint, values))).tolist() == values


@pytest.mark.parametrize("data", [b"\x80", b"\xff" * 11, b"\x01\x80"])
def test_numbers_that_do_not_end(data: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.packed(data)
    broken: Callable[[bytes], object] = wire.message
    with pytest.raises(wire.WireError):
        broken(b"\x08" + data[-1:] * 11 if data[-1] >= 0x80 else b"\x08\x80")
