"""CTF: babeltrace2 is the judge of what is read, and made-up traces (labelled so) reach the corners of the language."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import tarfile
import time
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import fuzz
import numpy as np
import pytest
from babeltrace import Event, judged
from conftest import CHANNELS, lttng, recorders
from ctf_made import MAGIC, UUID, Made, Struct, Words, draw_struct
from ctf_made import Int as MadeInt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from tracemend.cli.app import command_line
from tracemend.errors import TraceError
from tracemend.formats import glance, read
from tracemend.formats.ctf.tsdl import read_metadata
from tracemend.losses.scanning import SLICES, QuickScan, scan
from tracemend.trace.events import Trace
from tracemend.trace.syscalls import NO_NUMBER, call_name, canonical

HERE = Path(__file__).parent


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
        phase = phase.replace("entry", "enter")
        name = call_name(int(fields["id"])) if name == "unknown" else canonical(name)
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
    counts = [e["count"] for e in lost if e["lost"] == "events"]
    uncounted = any(g.count is None for g in trace.gaps)
    if None not in counts and not uncounted:  # babeltrace has none, or less than none, where a counter runs backwards
        assert trace.lost == sum(counts) if min(counts, default=0) >= 0 else trace.lost >= sum(counts)


# traces that tracers made


@pytest.mark.parametrize("name", CHANNELS)
def test_lttng_as_babeltrace_reads_it(lttng_recordings: dict[str, Path], name: str) -> None:
    trace = read(lttng_recordings[name])
    ((events, lost, error),) = judged(lttng_recordings[name])
    assert not error
    assert trace.format == "ctf"
    assert_as_judged(trace, events, lost)
    assert (sum(g.count is None for g in trace.gaps) > 0) == (name == "overwrite")
    counted = sum(map(discarded, lttng_recordings[name].rglob("*.idx")))
    assert QuickScan(glance(lttng_recordings[name])).lost == counted
    if name != "overwrite":  # where events were discarded beside overwritten packets there is one gap without a count
        assert trace.lost == counted


@pytest.mark.parametrize("name", CHANNELS)
def test_contexts_say_which_threads_are_one_process(lttng_recordings: dict[str, Path], name: str) -> None:
    trace = read(lttng_recordings[name])
    assert trace.processes.keys() == set(trace.tid.tolist())
    assert len(trace.processes) > len(set(trace.processes.values())) == 1
    said = {int(a.rpartition("vpid=")[2].partition(",")[0]) for a in trace.table["args"].to_pylist()}
    assert said == set(trace.processes.values())


def index_entries(index: Path) -> list[bytes]:
    """What LTTng's index beside a stream says of each of its packets."""
    data = index.read_bytes()
    size = int.from_bytes(data[12:16], "big")
    return [data[at : at + size] for at in range(16, len(data), size)]


def index_counters(index: Path) -> list[int]:
    """The packets' counters of discarded events, by the index."""
    return [int.from_bytes(e[40:48], "big") for e in index_entries(index)]


def discarded(index: Path) -> int:
    """Events that a stream discarded from its first packet on, by the index."""
    entries, counters = index_entries(index), index_counters(index)
    late = any(entries[0][64:72]) if entries else False  # its sequence number
    return max(counters) - counters[0] * late if entries else 0  # it falls to 0 for a packet now and then


def test_discarded_events_are_missing_where_the_gaps_are(lttng_recordings: dict[str, Path]) -> None:
    """The two sessions saw the same run: what one lacks was lost by the end of the gap that counts it.

    Each session took its own time of an event: the smaller one's is later or earlier by some microseconds. An event is
    known by its thread, name and arguments.
    """
    whole, lossy = read(lttng_recordings["whole"]), read(lttng_recordings["discard"])
    assert lossy.lost > 0
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
    counted: Counter[int] = Counter()
    for gap in lossy.gaps:  # a counter is read when its packet is closed, and knows of all events lost until then
        counted[gap.cpu] += gap.count or 0
        assert sum(r[1] == gap.cpu and r[0] <= gap.end_ns + slack for r in missing) >= counted[gap.cpu]


@pytest.mark.long
def test_overwritten_packets_are_gaps_without_a_count(lttng_recordings: dict[str, Path]) -> None:
    trace = read(lttng_recordings["overwrite"])
    ((_, lost, _),) = judged(lttng_recordings["overwrite"])
    overwritten = [g for g in trace.gaps if g.known == "uncounted"]
    assert len(overwritten) == len([e for e in lost if e["lost"] == "packets"])
    for gap in overwritten:
        assert gap.before is not None
        assert gap.after is not None
        assert trace.time_ns[gap.before] <= gap.begin_ns <= gap.end_ns <= trace.time_ns[gap.after]


@pytest.mark.long
@recorders
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


# what system calls are called


def kernel(names: tuple[str, ...], tids: bool = True) -> Made:
    """A made-up trace of the kernel: events with a number and a result, in the context of a thread."""
    word = MadeInt(64, True, True, 10, 8)
    context = Struct([("_tid", MadeInt(32, True, True, 10, 8)), ("_procname", Words(17))]) if tids else None
    return Made(Struct([("_id", word), ("_ret", word)]), True, context, names=names)


def spoken(
    folder: Path, events: list[tuple[str, int, int, int]], *, tids: bool = True, arch: str = "x86_64"
) -> list[tuple[Any, ...]]:
    """Rows of a made-up trace of (name, thread, number, result)."""
    names = tuple(dict.fromkeys(name for name, *_ in events))
    trace = kernel(names, tids)
    packet = trace.packet(
        [(i, {"_id": number, "_ret": ret}) for i, (_, _, number, ret) in enumerate(events)],
        ids=[names.index(name) for name, *_ in events],
        contexts=[{"_tid": tid, "_procname": "cat"} for _, tid, _, _ in events],
    )
    table = read(trace.write(folder, [[packet]]), arch=arch).table
    return list(zip(*(table[c].to_pylist() for c in ("name", "phase", "tid", "comm", "args", "ret")), strict=True))


def test_lttngs_system_calls(tmp_path: Path) -> None:
    events = [
        ("syscall_entry_newfstat", 7, 5, 0),
        ("syscall_exit_newfstat", 7, 5, -2),
        ("compat_syscall_entry_openat", 8, 1, 0),
        ("compat_syscall_exit_openat", 8, 1, 3),
        ("syscall_entry_unknown", 7, 451, 0),
        ("compat_syscall_entry_unknown", 7, 451, 0),  # a number of another table, which nothing names
        ("sched_switch", 7, 1, 2),
    ]
    assert spoken(tmp_path, events) == [
        (canonical("newfstat"), "enter", 7, "cat", "id=5, ret=0", None),
        (canonical("newfstat"), "exit", 7, "cat", "id=5", "-2"),
        ("openat", "enter", 8, "cat", "id=1, ret=0", None),
        ("openat", "exit", 8, "cat", "id=1", "3"),
        (call_name(451), "enter", 7, "cat", "id=451, ret=0", None),
        ("unknown", "enter", 7, "cat", "id=451, ret=0", None),
        ("sched_switch", "instant", 7, "cat", "id=1, ret=2", None),
    ]


def test_exits_of_older_lttng_are_those_of_the_threads_call(tmp_path: Path) -> None:
    events = [
        ("exit_syscall", 9, 0, 1),  # it entered before the trace
        ("sys_read", 7, 0, 0),
        ("sys_futex", 8, 0, 0),
        ("exit_syscall", 7, 0, 5),
        ("compat_sys_write", 7, 0, 0),
        ("exit_syscall", 8, 0, 0),
        ("exit_syscall", 7, 0, 6),
    ]
    names = [r[:3] for r in spoken(tmp_path / "a", events)]
    assert names == [
        (NO_NUMBER, "exit", 9),
        ("read", "enter", 7),
        ("futex", "enter", 8),
        ("read", "exit", 7),
        ("write", "enter", 7),
        ("futex", "exit", 8),
        ("write", "exit", 7),
    ]
    alone = [e for e in events if e[1] == 7]
    assert [r[:3] for r in spoken(tmp_path / "b", alone, tids=False)][:2] == [
        ("read", "enter", -1),
        ("read", "exit", -1),
    ]


@pytest.mark.parametrize("group", ["", "raw_syscalls:"])
def test_numbers_are_named_by_the_architecture(tmp_path: Path, group: str) -> None:
    events = [(f"{group}sys_enter", 7, 63, 0), (f"{group}sys_exit", 7, 63, 9), (f"{group}sys_exit", 7, -1, 9)]
    for arch in ("x86_64", "aarch64"):
        found = spoken(tmp_path / arch, events, arch=arch)
        assert [r[:2] for r in found] == [
            (call_name(63, arch), "enter"),
            (call_name(63, arch), "exit"),
            (NO_NUMBER, "exit"),
        ]
        assert found[1][-1] == "9"


def test_perfs_named_system_calls(tmp_path: Path) -> None:
    events = [
        ("syscalls:sys_enter_newuname", 7, 63, 0),
        ("syscalls:sys_exit_newuname", 7, 63, 0),
        ("demo:sys_read", 7, 0, 0),
    ]
    assert [r[:2] for r in spoken(tmp_path, events)] == [
        ("uname", "enter"),
        ("uname", "exit"),
        ("demo:sys_read", "instant"),
    ]


# losses


def counting(packets: list[dict[str, Any]], instance: int | None = None) -> tuple[Made, list[bytes]]:
    """A made-up stream: each packet has as many ``events`` (one a 10 ns) and these counters."""
    trace = Made(Struct([("n", MadeInt(32, False, True, 10, 8))]), True, instance=instance)
    made_packets, now = [], 100
    for i, p in enumerate(packets):
        events = [(now + 10 * k, {"n": k}) for k in range(p.get("events", 3))]
        end = now + 10 * len(events) + 5
        made_packets.append(
            trace.packet(
                events, sequence=p.get("sequence", i), discarded=p["discarded"], begin=now, end=end, cpu=p.get("cpu", 0)
            )
        )
        now = end + 100
    return trace, made_packets


def losing(folder: Path, packets: list[dict[str, Any]], **options: Any) -> Trace:
    trace, made_packets = counting(packets)
    return read(trace.write(folder, [made_packets]), **options)


def test_discarded_events_lie_behind_the_packet_that_counts_them(tmp_path: Path) -> None:
    trace = losing(tmp_path, [{"discarded": d} for d in (0, 4, 4, 9)])
    assert [(g.count, g.before, g.after) for g in trace.gaps] == [(4, 5, 6), (5, 11, None)]
    first, last = trace.gaps
    assert (first.begin_ns, first.end_ns) == (int(trace.time_ns[5]), int(trace.time_ns[5]) + 15)  # the packet's end
    assert first.end_ns < trace.time_ns[6]
    assert last.end_ns == trace.time_ns[11] + 15


def test_what_an_uncounted_packet_lost_is_looked_for_where_nothing_was_written_longest(tmp_path: Path) -> None:
    """As in recordings of LTTng-UST, in which a packet's count is left at 0."""
    trace, _ = counting([])
    times = [(100, 130), (200, 900), (1000, 1030)]  # when the packets begin and end
    packets = [
        trace.packet([(b, {"n": b}), (b + 9, {"n": b + 9})], sequence=i, discarded=d, begin=b, end=e)
        for i, ((b, e), d) in enumerate(zip(times, (3, 0, 7), strict=True))
    ]
    found = read(trace.write(tmp_path, [packets]))
    assert [(g.count, g.before, g.after) for g in found.gaps] == [(3, 1, 2), (4, 3, 4)]


def test_discarded_events_in_front_of_the_first_one_left(tmp_path: Path) -> None:
    trace = losing(tmp_path, [{"discarded": 3, "events": 0}, {"discarded": 3}])
    assert [(g.count, g.before, g.after) for g in trace.gaps] == [(3, None, 0)]


@pytest.mark.parametrize(
    ("counters", "counts"),
    [
        ((0, 250, 240, 400), [250, 150]),
        ((10, 5, 5), [5]),
        ((0, 100, 90, 80, 200), [100, 100]),
        ((7, 7, 3), [7]),
        ((0, 2**64 - 144, 10), [10]),
        ((144, 0, 0), [144]),  # as LTTng-UST writes it now and then
        ((9, 20, 0, 20, 0, 0, 25), [9, 11, 5]),
    ],
)
def test_counters_that_run_backwards_add_up(tmp_path: Path, counters: tuple[int, ...], counts: list[int]) -> None:
    trace = losing(tmp_path, [{"discarded": d} for d in counters])
    assert [g.count for g in trace.gaps] == counts
    ((_, lost, error),) = judged(tmp_path)
    if not error and all(e["count"] is not None and e["count"] >= 0 for e in lost):
        assert trace.lost == sum(e["count"] for e in lost)


def test_overwritten_packets_have_no_count(tmp_path: Path) -> None:
    trace = losing(tmp_path, [{"discarded": 0, "sequence": s} for s in (0, 1, 4, 5)])
    assert [(g.count, g.known, g.before, g.after) for g in trace.gaps] == [(None, "uncounted", 5, 6)]
    assert trace.gaps[0].begin_ns == trace.time_ns[5] + 15
    assert trace.gaps[0].end_ns == trace.time_ns[6]


def test_a_stream_that_begins_later_says_so(tmp_path: Path) -> None:
    """What was lost before is no gap: one of LTTng's rotated chunks alone begins like that, too."""
    trace = losing(tmp_path, [{"discarded": 70, "sequence": s} for s in (5, 6)])
    assert trace.gaps == ()
    assert trace.warnings == ("1 of 1 streams begin late (stream_0 with packet 5): what they held before is not here",)


@pytest.mark.parametrize("grown", [b"", b"/* an event that came later */\n"])
def test_rotated_chunks_are_one_trace(tmp_path: Path, grown: bytes) -> None:
    """A loss that a chunk's first packet counts isn't overlooked; what a missing chunk held nobody knows."""
    counters = [{"discarded": d} for d in (0, 4, 4, 11, 11, 12)]
    trace, packets = counting(counters, instance=7)
    whole = read(trace.write(tmp_path / "whole", [packets]))
    chunks = tmp_path / "chunks"
    for name, part in (("1", packets[:3]), ("2", packets[3:4]), ("3", packets[4:])):
        trace.write(chunks / name, [part])
    with open(chunks / "2" / "metadata", "ab") as f:
        f.write(grown)
    joined = read(chunks)
    assert joined.table.drop_columns("line").equals(whole.table.drop_columns("line"))
    assert [(g.count, g.before, g.after) for g in joined.gaps] == [(4, 5, 6), (7, 11, 12), (1, 17, None)]
    assert (joined.gaps, joined.warnings) == (whole.gaps, ())
    assert [(s.packets, s.number) for s in glance(chunks).streams] == [(6, 0)]
    (chunks / "2" / "metadata").write_bytes(b"")
    warning = f"passed over, no CTF metadata: {chunks / '2' / 'metadata'}"
    assert read(chunks).warnings == glance(chunks).warnings == (warning,)
    shutil.rmtree(chunks / "2")
    # the seven may have been lost in the chunk that is missing, or behind the packet that counts them
    assert [g.count for g in read(chunks).gaps] == [4, None, 7, 1]


def sizes(trace: Trace) -> dict[int, int]:
    return {n: len(rows) for n, rows in trace.streams.items()}


def test_what_is_no_chunk_stays_apart(tmp_path: Path) -> None:
    """Copies, whose packets are of the same time, and a trace of the same UUID whose metadata are other ones."""
    trace, packets = counting([{"discarded": d} for d in (0, 4, 4, 11)], instance=7)
    for name, part in (("1", packets[:2]), ("2", packets[2:]), ("3", packets[2:]), ("4", packets)):
        trace.write(tmp_path / "copies" / name, [part])
    copies = read(tmp_path / "copies")
    assert sizes(copies) == {0: 12, 1000: 6, 2000: 12}
    assert copies.warnings[0].startswith("2 streams lie there twice (")
    assert len(copies.warnings) == 2  # and that there are several on one cpu
    for name, part in (("1", packets[:2]), ("2", packets[2:3]), ("3", packets[3:])):
        trace.write(tmp_path / "other" / name, [part])
    other = tmp_path / "other" / "3" / "metadata"
    other.write_text(other.read_text().replace("CTF 1.8", "CTF 1.8, and more"))
    assert sizes(read(tmp_path / "other")) == {0: 9, 1000: 3}


def test_chunks_of_one_moment_are_joined_in_order(tmp_path: Path) -> None:
    """The first one's only packet begins and ends when the other's begins; a second copy of it isn't joined."""
    trace, _ = counting([], instance=7)
    late = trace.packet([(1000, {"n": 1}), (1200, {"n": 2})], sequence=1, discarded=3)
    early = trace.packet([(1000, {"n": 0})], sequence=0)
    for name, packet in (("1", late), ("2", early)):
        trace.write(tmp_path / "two" / name, [[packet]])
        trace.write(tmp_path / "copies" / name, [[early]])
    joined = read(tmp_path / "two")
    assert (sizes(joined), [g.count for g in joined.gaps]) == ({0: 3}, [3])
    assert sizes(read(tmp_path / "copies")) == {0: 1, 1000: 1}


@pytest.mark.long
@pytest.mark.parametrize("grown", ["1", "2"])
def test_merged_chunks_are_one_trace(tmp_path: Path, grown: str) -> None:
    """Also where a stream is in one chunk alone: babeltrace2 takes one chunk's metadata for all of them."""
    trace, packets = counting([{"discarded": d, "events": 20} for d in (0, 4, 4, 11, 11)], instance=7)
    second = replace(trace, instance=8)
    others = [second.packet([(t, {"n": 1}) for t in range(a, a + 60, 3)], discarded=9, cpu=1) for a in (400, 500)]
    trace.write(tmp_path / "in" / "1", [packets[:2]])
    trace.write(tmp_path / "in" / "2", [packets[2:], others])
    with open(tmp_path / "in" / grown / "metadata", "ab") as f:
        f.write(b"/* an event that came later */\n")
    before = read(tmp_path / "in")
    assert sizes(before) == {0: 100, 1: 40}
    assert (
        CliRunner()
        .invoke(command_line(), ["mend", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--merged"])
        .exit_code
        == 0
    )
    merged = tmp_path / "out" / "merged"
    ((events, _, error),) = judged(merged)
    assert not error
    assert len(events) == len(before) + before.lost == 140 + 11 + 9
    after = read(merged)
    assert [(g.cpu, g.count) for g in after.gaps] == [(g.cpu, g.count) for g in before.gaps]
    assert sizes(after) == sizes(before)


@pytest.mark.long
def test_chunks_that_lttng_rotated(lttng_daemon: None, traced_program: Path, tmp_path: Path) -> None:
    session = f"tracemend-{os.getpid()}-rotated"
    try:
        lttng("create", session, f"--output={tmp_path}")
        lttng("enable-channel", "-u", "-s", session, "ch", "--subbuf-size=4096", "--num-subbuf=4")
        lttng("enable-event", "-u", "demo:*", "-c", "ch", "-s", session)
        lttng("start", session)
        for _ in range(2):
            with subprocess.Popen([traced_program, "4000", "2"]):
                time.sleep(0.03)
                lttng("rotate", session)
    finally:
        subprocess.run(["lttng", "destroy", session], check=False, capture_output=True)
    assert len(list(tmp_path.rglob("metadata"))) > 1
    trace = read(tmp_path)
    ((events, lost, error),) = judged(tmp_path)
    assert not error
    assert_as_judged(trace, events, lost)
    counted = sum(e["count"] for e in lost)
    assert (trace.lost, QuickScan(glance(tmp_path)).lost) == (counted, counted)
    assert len(trace.streams) <= (os.cpu_count() or 1)


def test_an_impossible_loss_is_refused(tmp_path: Path) -> None:
    packets = [{"discarded": 0}, {"discarded": 1 << 50}]
    with pytest.raises(TraceError, match=r"stream_0: byte \d+: a loss of 1125899906842624 events can't be true"):
        losing(tmp_path, packets, strict=True)
    (gap,) = losing(tmp_path, packets).gaps
    assert (gap.known, gap.count) == ("uncounted", None)


def test_streams_on_one_cpu_are_told_apart(tmp_path: Path) -> None:
    made_trace = Made(Struct([("n", MadeInt(32, False, True, 10, 8))]), True)
    event = [(5, {"n": 1})]
    streams = [[made_trace.packet(event, cpu=c, discarded=d)] for c, d in ((0, 0), (1, 0), (1, 9), (1, 0))]
    trace = read(made_trace.write(tmp_path / "a", streams))
    assert sorted(trace.streams) == [0, 1, 1001, 2001]
    assert [(g.cpu, g.count) for g in trace.gaps] == [(1001, 9)]
    assert trace.warnings == ("several streams on one cpu: 1001 stands for stream_2 on cpu 1",)
    assert trace.provenance["streams"][2] == {"number": 1001, "cpu": 1, "file": "stream_2"}


def test_streams_without_a_cpu(tmp_path: Path) -> None:
    made_trace = Made(Struct([("n", MadeInt(32, False, True, 10, 8))]), True, cpus=False)
    packet = made_trace.packet([(5, {"n": 1})])
    assert sorted(read(made_trace.write(tmp_path / "a", [[packet]])).streams) == [-1]
    assert sorted(read(made_trace.write(tmp_path / "b", [[packet], [packet]])).streams) == [0, 1000]


def test_a_glance_at_the_headers_finds_the_same_losses(tmp_path: Path) -> None:
    trace = losing(tmp_path, [{"discarded": d, "sequence": s} for d, s in ((0, 0), (4, 1), (4, 2), (3, 4), (9, 5))])
    seen = glance(tmp_path)
    whole, quick = scan(trace), QuickScan(seen)
    assert (quick.lost, quick.broken) == (whole.lost, whole.broken) == (9, True)
    assert [(s.number, s.packets) for s in seen.streams] == [(0, 5)]
    assert seen.streams[0].bytes == (tmp_path / "stream_0").stat().st_size
    assert [(g.cpu, g.count, g.line) for g in seen.gaps] == [(0, 4, 1), (0, None, 2), (0, 5, 4)]
    counted = [g for g in seen.gaps if g.count]
    for gap, known in zip(counted[1:], [g for g in trace.gaps if g.count][-1:], strict=True):
        assert gap.begin_ns <= known.begin_ns <= known.end_ns <= gap.end_ns
    assert abs(sum(quick.over_time()) - quick.lost) <= SLICES
    document = json.loads(json.dumps(quick.as_dict()))
    assert document["events"] is None
    assert set(document["gaps"][0]) == {"gap", "cpu", "begin_ns", "end_ns", "count", "known", "packet"}


def test_a_glance_reads_no_event(tmp_path: Path) -> None:
    made_trace = Made(Struct([("text", Words())]), True)
    packet = bytearray(made_trace.packet([(1, {"text": "a" * 60})]))
    packet[-16:] = b"x" * 16  # no end of the text
    folder = made_trace.write(tmp_path, [[bytes(packet)]])
    assert glance(folder).gaps == ()
    with pytest.raises(TraceError, match="an event is damaged"):
        read(folder, strict=True)
    with pytest.raises(TraceError, match="ftrace has no packets with headers to look at, only ctf"):
        glance(HERE.parent / "data" / "ftrace_pipe.txt")
    with pytest.raises(TraceError, match="no such file"):
        glance(tmp_path / "missing")


def test_scan_on_the_command_line(tmp_path: Path) -> None:
    losing(tmp_path, [{"discarded": d} for d in (0, 4)])
    runner = CliRunner()
    for options, words in (([], "6 events over"), (["--quick"], "2 packets of")):
        done = runner.invoke(command_line(), ["scan", str(tmp_path), *options])
        assert done.exit_code == 3
        assert words in done.stdout
        assert "Lost: 4 events in 1 gap" in done.stdout
        document = json.loads(runner.invoke(command_line(), ["scan", str(tmp_path), "--json", *options]).stdout)
        assert document["lost"] == 4
    assert runner.invoke(command_line(), ["scan", str(tmp_path), "--quick", "--suspect"]).exit_code == 2
    losing(tmp_path, [{"discarded": 0}])
    assert runner.invoke(command_line(), ["scan", str(tmp_path), "--quick"]).exit_code == 0


# times


@pytest.mark.parametrize("stamp", [8, 27, 32])
def test_short_timestamps_wrap(tmp_path: Path, stamp: int) -> None:
    step = (1 << stamp) - 3
    times = [5 + k * step for k in range(9)]
    made_trace = Made(Struct([("n", MadeInt(8, False, True, 10, 8))]), True, stamp=stamp)
    packets = [
        made_trace.packet([(t, {"n": 0}) for t in times[a:b]], sequence=i) for i, (a, b) in enumerate(((0, 4), (4, 9)))
    ]
    folder = made_trace.write(tmp_path, [packets])
    assert read(folder).time_ns.tolist() == times
    ((events, _, _),) = judged(folder)
    assert [e["ns"] for e in events] == times


@pytest.mark.parametrize(
    ("frequency", "offset_s", "offset"),
    [(3, 1, 1), (2_994_123_457, 1_700_000_000, 123), (10**9, -5, 7), (10**6, 0, -9)],
)
def test_times_are_exact(tmp_path: Path, frequency: int, offset_s: int, offset: int) -> None:
    """babeltrace reckons in floating point where a clock doesn't tick in nanoseconds: it may be some ns off."""
    times = [2**53 + 1, 2**53 + 2, 2**60 + 1] if frequency > 10**8 else [10**6 + 1, 10**6 + 2, 10**9 + 1]
    made_trace = Made(Struct([("n", MadeInt(8, False, True, 10, 8))]), True, None, frequency, offset_s, offset)
    folder = made_trace.write(tmp_path, [[made_trace.packet([(t, {"n": 0}) for t in times])]])
    exact = [offset_s * 10**9 + (offset + t) * 10**9 // frequency for t in times]
    assert read(folder).time_ns.tolist() == exact
    ((events, _, error),) = judged(folder)
    if not error:
        assert [e["ns"] for e in events] == pytest.approx(exact, rel=1e-15, abs=1)


def test_a_time_beyond_64_bits_is_refused(tmp_path: Path) -> None:
    made_trace = Made(Struct([("n", MadeInt(8, False, True, 10, 8))]), True, offset_s=10**10)
    folder = made_trace.write(tmp_path, [[made_trace.packet([(1, {"n": 0})])]])
    with pytest.raises(TraceError, match="beyond what 64 bits of nanoseconds hold"):
        read(folder)


# the metadata's language


LANGUAGE = r"""/* CTF 1.8 */
// comments of two kinds /* and one in the other
typealias integer { size = 8; align = 8; signed = false; } := uint8_t;
typealias integer { size = 0x20; align = 010; signed = 1; byte_order = native; } := int;
typealias integer { size = 32; signed = TRUE; } := const char *;
typedef uint8_t byte, pair[2];
struct point { integer { size = 32; align = 8; } x, y; };
enum colour : uint8_t { RED, GREEN = 5, BLUE, "dark blue" = 10 ... 0x14, };
variant either { uint8_t RED; struct { pair two; string words; } GREEN; int BLUE; };
trace { major = 1; minor = 8; byte_order = le; packet.header := struct { integer { size = 32; } magic; uint8_t n; }; };
env { who = "a \"quoted\" \x41\102 word"; number = -3; };
clock { name = "c"; freq = 1000000000; uuid = "2d9a3a3e-1b2c-4d5e-8f90-a1b2c3d4e5f6"; absolute = FALSE; };
callsite { name = "nothing"; file = "x.c"; line = 3; };
stream {
  typealias integer { size = 64; map = clock.c.value; } := stamp;
  packet.context := struct { stamp timestamp_begin; uint8_t row[trace.packet.header.n]; uint8_t size; };
  event.header := struct { enum : uint8_t { "few" = 0 ... 9, many = 10 } id; stamp timestamp; };
  event.context := struct { uint8_t depth; };
};
event {
  name = "all of it";
  id = 4;
  loglevel = 13;
  model.emf.uri = "http://example.org/";
  context := struct { enum colour tint; };
  fields := struct {
    struct point where;
    variant either <event.context.tint> which;
    variant <stream.event.header.id> { int few; string many; } tagged;
    uint8_t deep[stream.event.context.depth];
    uint8_t packed[stream.packet.context.size];
    struct { uint8_t inner; uint8_t row[inner]; uint8_t other[where.x]; } nested;
    int table[2][where.y];
    pair pairs[2];
    enum { A, B = -4, C } small;
    const char * pointed;
    floating_point { exp_dig = 8; mant_dig = 24; } real;
    integer { size = 3; base = binary; } bits;
    integer { size = 5; base = oct; signed = true; } more;
    integer { size = 8; encoding = ASCII; } text[3];
    struct { } nothing;
    enum colour hue;
  };
};
"""


#: Tags elsewhere than beside the variant, which babeltrace's grammar doesn't have.
AFAR = (
    "    variant either <event.context.tint> which;\n",
    "    variant <stream.event.header.id> { int few; string many; } tagged;\n",
)


def language(folder: Path, metadata: bytes, afar: bool = True) -> Path:
    def number(size: int, *values: int) -> bytes:
        return b"".join(v.to_bytes(size, "little", signed=v < 0) for v in values)

    body = number(4, MAGIC) + number(1, 3) + number(8, 7) + number(1, 1, 2, 3) + number(1, 2)  # n, time, row, size
    body += number(1, 4) + number(8, 9) + number(1, 3) + number(1, 5)  # id, timestamp, depth, tint
    body += number(4, 2, 1)  # where
    if afar:
        body += number(1, 8, 9) + b"hi\0"  # which: GREEN
        body += number(4, -1)  # tagged: few
    body += number(1, 1, 2, 3) + number(1, 4, 5)  # deep, packed
    body += number(1, 2) + number(1, 6, 7) + number(1, 8, 9)  # nested
    body += number(4, 10, -11) + number(1, 1, 2, 3, 4)  # table, pairs
    body += number(4, -3, 77)  # small: C, pointed
    body += struct.pack("<f", 0.5) + number(1, 0b11111_101) + b"ab\0" + number(1, 12)
    folder.mkdir()
    (folder / "metadata").write_bytes(metadata)
    (folder / "stream").write_bytes(body)
    return folder


LANGUAGE_ARGS = (
    'where={x=2, y=1}, which={two=[8, 9], words="hi"}, tagged=-1, deep=[1, 2, 3], packed=[4, 5], '
    "nested={inner=2, row=[6, 7], other=[8, 9]}, table=[[10], [-11]], pairs=[[1, 2], [3, 4]], small=C(-3), "
    'pointed=0x4d, real=0.5, bits=0b101, more=037, text="ab", nothing={}, hue=dark blue(12), depth=3, tint=GREEN(5)'
)


def test_the_corners_of_the_language(tmp_path: Path) -> None:
    folder = language(tmp_path / "trace", LANGUAGE.encode())
    trace = read(folder)
    assert trace.table["args"].to_pylist() == [LANGUAGE_ARGS]
    assert trace.table["name"].to_pylist() == ["all of it"]
    assert trace.time_ns.tolist() == [9]
    env = read_metadata(folder / "metadata").env
    assert env == {"who": 'a "quoted" AB word', "number": -3}
    assert read(folder / "metadata").table.equals(trace.table)


def test_the_corners_of_the_language_as_babeltrace_reads_them(tmp_path: Path) -> None:
    text = LANGUAGE.replace(AFAR[0], "").replace(AFAR[1], "")
    folder = language(tmp_path / "trace", text.encode(), afar=False)
    ((events, lost, error),) = judged(folder)
    assert not error
    assert_as_judged(read(folder), events, lost)


@pytest.mark.parametrize("order", "<>")
def test_metadata_in_packets(tmp_path: Path, order: str) -> None:
    text = LANGUAGE.encode()
    packets = b""
    for part in (text[:700], text[700:]):
        content = 37 + len(part)
        size = content + 11
        head = struct.pack(order + "I16sIIIBBBBB", 0x75D11D57, UUID.bytes, 0, content * 8, size * 8, 0, 0, 0, 1, 8)
        packets += (head + part).ljust(size, b"\0")
    assert read(language(tmp_path / "trace", packets)).table["args"].to_pylist() == [LANGUAGE_ARGS]
    for at, value, message in ((24, 9, "metadata packet of"), (32, 1, "compressed"), (36, 7, "CTF 1.7")):
        damaged = bytearray(packets)
        damaged[at] = value
        with pytest.raises(TraceError, match=message):
            read(language(tmp_path / f"damaged {at}", bytes(damaged)))


HEAD = "/* CTF 1.8 */\ntrace { major = 1; minor = 8; byte_order = le; };\nstream { id = 0; };\n"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("/* CTF 1.8 */\nstream { id = 0; };\n", 3, "no trace { } with a byte_order"),
        ("/* CTF 1.8 */\ntrace {\n byte_order = me; };\n", 3, "no trace { } with a byte_order"),
        ("/* CTF 1.8 */\ntrace { major = 2; minor = 0; byte_order = le; };\n", 2, "CTF 2.0; only 1.8"),
        (HEAD + "event { name = x; fields := struct { nothing a; }; };", 4, "no such type: nothing"),
        (HEAD + "event { name = x; fields := struct nowhere; };", 4, "no such struct: nowhere"),
        (HEAD + "event { name = x;\n fields := struct { integer { size = 65537; } a; }; };", 5, "of 65537 bits"),
        (HEAD + "event { name = x; fields := struct { integer { size = 8; align = 3; } a; }; };", 4, "alignment of 3"),
        (HEAD + "event { name = x; fields := struct { integer { signed = true; } a; }; };", 4, "without a size"),
        (HEAD + "event { name = x; stream_id = 3; };", 4, "stream 3, which isn't there"),
        (HEAD + "event { name = x; };\nevent { name = y; };", 5, "two events with id 0"),
        (HEAD + "stream { id = 0; };", 4, "two streams with id 0"),
        (HEAD + "event { name = x; fields := struct { string a; string a; }; };", 4, "two fields named a"),
        (HEAD + "event { name = x; fields := struct { string a[-1]; }; };", 4, "an array of -1 elements"),
        (HEAD + "event { name = x; fields := struct { string a }; };", 4, "';' expected, not '}'"),
        (HEAD + 'event { name = "x; };', 4, "no TSDL"),
        (HEAD + "event { name = x;", 4, "a name expected, not 'the end'"),
        (HEAD + "/* open", 4, "no TSDL"),
        (HEAD + "riddle { };", 4, "no block of metadata: riddle"),
        (HEAD + "clock { name = c; freq = 0; };", 4, "a clock of 0 Hz"),
        (HEAD + "event { fields := struct { enum : string { } { A } a; }; };", 4, "something else than integers"),
        (HEAD + "event { fields := struct { integer { size = " + "9" * 1301 + "; } a; }; };", 4, "no integer holds"),
        (HEAD + "event { fields := struct { floating_point { exp_dig = 5; mant_dig = 11; } a; }; };", 4, "of 5 and 11"),
        (HEAD + "typealias string := text;\ntypealias string := text;", 5, "type text is there already"),
        (HEAD + "event { name = x; fields := " + "struct { " * 10_000, 4, "nested more than 32 deep"),
        (
            HEAD
            + "struct s0 { string a; };\n"
            + "".join(f"struct s{i + 1} {{ struct s{i} a; }};\n" for i in range(99)),
            35,
            "nested more than 32 deep",
        ),
        (
            HEAD
            + "struct s0 { string a; };\n"
            + "".join(f"struct s{i + 1} {{ struct s{i} a, b; }};\n" for i in range(30)),
            16,
            "a type of more than 10,000 fields",
        ),
        (HEAD + "event { fields := struct { string a[4000000000][4000000000]; }; };", 4, "larger than a tebibyte"),
    ],
)
def test_metadata_that_can_not_be_is_refused_with_its_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    (tmp_path / "metadata").write_text(text)
    (tmp_path / "stream").write_bytes(b"\0" * 64)
    begin = time.monotonic()
    with pytest.raises(TraceError) as e:
        read(tmp_path)
    assert time.monotonic() - begin < 1
    assert message in e.value.message
    assert (e.value.path, e.value.line) == (str(tmp_path / "metadata"), line)


#: Types that are allowed, each at the edge of what is.
LARGE = {
    "9,000 fields": ("".join(f"integer {{ size = 8; }} f{i};" for i in range(9000)), bytes(9000)),
    "variants within variants": (
        "enum : integer { size = 8; } { A = 0 } t; "
        + "variant <t> { struct { integer { size = 8; } x; " * 11
        + "} A; } v; " * 11,
        bytes(12),
    ),
    "arrays of arrays": ("integer { size = 8; } a" + "[2]" * 11 + ";", bytes(2048)),
    "structures within structures": ("struct { " * 25 + "integer { size = 8; } x; " + "} s; " * 25, bytes(1)),
    "40 options": (
        f"enum : integer {{ size = 8; }} {{ {', '.join(f'o{i}' for i in range(40))} }} t; "
        f"variant <t> {{ {' '.join(f'integer {{ size = 8; }} o{i};' for i in range(40))} }} v;",
        bytes([39, 1]),
    ),
    "3,000 options": (
        f"enum : integer {{ size = 16; }} {{ {', '.join(f'o{i}' for i in range(3000))} }} t; "
        f"variant <t> {{ {' '.join(f'integer {{ size = 8; }} o{i};' for i in range(3000))} }} v;",
        b"\0\1\1",
    ),
}


def one_event(folder: Path, fields: str, data: bytes) -> None:
    """A made-up trace of one event with these fields."""
    (folder / "metadata").write_text(
        HEAD.replace("id = 0;", "id = 0; event.header := struct { integer { size = 8; } id; };")
        + f"event {{ name = x; fields := struct {{ {fields} }}; }};"
    )
    (folder / "stream").write_bytes(b"\0" + data)


@pytest.mark.parametrize("name", LARGE)
def test_large_types_are_read_or_refused(tmp_path: Path, name: str) -> None:
    fields, data = LARGE[name]
    one_event(tmp_path, fields, data)
    try:
        trace = read(tmp_path)
    except TraceError as e:
        refused = e.message
    else:
        refused = ""
        assert len(trace) == 1
    assert refused == ("event x: types too large to be read" if name == "3,000 options" else "")


# damage


BOMBS = {
    "a length of 2^32": ("integer { size = 32; } n; string a[n];", (2**32 - 1).to_bytes(4, "little")),
    "a length of 2^64 bytes": ("integer { size = 64; } n; integer { size = 8; encoding = UTF8; } a[n];", b"\xff" * 8),
    "numbers": ("integer { size = 32; } n; integer { size = 64; } a[n];", b"\xff" * 4),
    "a negative length": ("integer { size = 32; signed = true; } n; string a[n];", b"\xff" * 4),
    "elements without a size": ("integer { size = 32; } n; struct { } a[n];", b"\xff" * 4),
    "nested elements without a size": ("integer { size = 16; } n; struct { } a[n][n];", b"\xff" * 2),
    "a fixed length of 2^40": ("integer { size = 8; } a[1099511627776];", b""),
    "text of 2^40": ("integer { size = 8; encoding = UTF8; } a[1099511627776];", b""),
    "a string without an end": ("string a;", b"x"),
    "no option": ("enum : integer { size = 8; } { A = 1 } t; variant <t> { string A; } v;", b"\7"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_in_events_are_refused_at_once(tmp_path: Path, name: str) -> None:
    fields, data = BOMBS[name]
    one_event(tmp_path, fields, data)
    begin = time.monotonic()
    for strict in (True, False):
        with pytest.raises(TraceError, match="stream: byte 0: an event is damaged: "):
            read(tmp_path, strict=strict)
    assert time.monotonic() - begin < 1


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (2, 1 << 63, "a packet of 704 bits with 9223372036854775808 bits of content"),
        (3, 1 << 63, "a packet of 1152921504606846976 bytes where the file has 88"),
        (3, 0, "a packet of 0 bits"),
        (3, 8, "a packet of 8 bits"),
        (2, 8, "a packet of 704 bits with 8 bits of content"),
    ],
)
@pytest.mark.parametrize("strict", [False, True])
def test_sizes_of_packets_that_can_not_be(tmp_path: Path, field: int, value: int, message: str, strict: bool) -> None:
    made_trace = Made(Struct([("n", MadeInt(32, False, True, 10, 8))]), True)
    good = made_trace.packet([(1, {"n": 1})])
    bad = bytearray(made_trace.packet([(2, {"n": 2})], sequence=1))
    at = 24 + 8 * field
    bad[at : at + 8] = value.to_bytes(8, "little")
    folder = made_trace.write(tmp_path, [[good, bytes(bad)]])
    begin = time.monotonic()
    if strict:
        with pytest.raises(TraceError, match=f"stream_0: byte {len(good)}: {message}"):
            read(folder, strict=True)
    else:
        trace = read(folder)
        assert trace.table["args"].to_pylist()[0] == "n=1"
        assert trace.warnings[0].startswith(f"1 packet passed over: stream_0: byte {len(good)}: {message}")
        assert [(g.known, g.count, g.after) for g in trace.gaps] == [("uncounted", None, None)]
        assert [(g.known, g.count) for g in glance(folder).gaps] == [("uncounted", None)]
    assert time.monotonic() - begin < 1


def test_what_was_read_before_the_damage_is_kept(tmp_path: Path) -> None:
    made_trace = Made(Struct([("text", Words())]), True)
    packets = [
        bytearray(made_trace.packet([(10 * i + k, {"text": f"{i} {k}"}) for k in range(3)], sequence=i))
        for i in range(3)
    ]
    at = packets[1].index(b"1 2\0")
    packets[1][at:] = b"x" * (len(packets[1]) - at)  # the text of the packet's last event has no end
    folder = made_trace.write(tmp_path, [[bytes(p) for p in packets]])
    with pytest.raises(TraceError, match=f"stream_0: byte {len(packets[0]) + at - 8}: an event is damaged") as e:
        read(folder, strict=True)
    assert e.value.path == str(tmp_path / "stream_0")
    trace = read(folder)
    kept = ["0 0", "0 1", "0 2", "1 0", "1 1", "2 0", "2 1", "2 2"]
    assert trace.table["args"].to_pylist() == [f'text="{k}"' for k in kept]
    damage = f"stream_0: byte {len(packets[0]) + at - 8}: an event is damaged"
    assert trace.warnings == (f"1 packet passed over: {damage}: it runs over the end of its packet",)
    assert [(g.known, g.count, g.before, g.after) for g in trace.gaps] == [("uncounted", None, 4, 5)]


def test_a_file_that_is_cut_short(tmp_path: Path) -> None:
    made_trace = Made(Struct([("n", MadeInt(32, False, True, 10, 8))]), True)
    packet = made_trace.packet([(k, {"n": k}) for k in range(100)])
    folder = made_trace.write(tmp_path, [[packet[:-400]]])
    with pytest.raises(
        TraceError, match=f"byte 0: a packet of {len(packet)} bytes where the file has {len(packet) - 400}"
    ):
        read(folder, strict=True)
    trace = read(folder)
    assert 60 < len(trace) < 80
    assert trace.table["args"].to_pylist() == [f"n={k}" for k in range(len(trace))]
    assert [(g.known, g.before, g.after) for g in trace.gaps] == [("uncounted", len(trace) - 1, None)]
    assert trace.passed_over is not None
    assert trace.passed_over.number == 1


@pytest.mark.parametrize(("at", "message"), [(0, "no packet begins here"), (20, "class")])
def test_packets_that_are_none(tmp_path: Path, at: int, message: str) -> None:
    made_trace = Made(Struct([("n", MadeInt(32, False, True, 10, 8))]), True)
    packet = bytearray(made_trace.packet([(1, {"n": 1})]))
    packet[at] ^= 1
    with pytest.raises(TraceError, match=f"stream_0: byte 0: .*{message}"):
        read(made_trace.write(tmp_path, [[bytes(packet)]]))


def test_folders_that_are_no_trace(tmp_path: Path) -> None:
    (tmp_path / "metadata").write_text("not TSDL")
    with pytest.raises(TraceError, match="no trace by itself"):
        read(tmp_path)
    with pytest.raises(TraceError, match="no folder with a CTF trace's metadata"):
        read(tmp_path, "ctf")
    with pytest.raises(TraceError, match="not a file, as ftrace takes it"):
        read(tmp_path, "ftrace")


@pytest.fixture(scope="module")
def seeds(made_up: list[Path]) -> list[dict[str, bytes]]:
    """Made-up traces to damage."""
    return [{f.name: f.read_bytes() for f in folder.iterdir()} for folder in made_up[:20]]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged")


def damage(rng: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        a = rng.randrange(len(changed) + 1)
        b = min(len(changed), a + rng.randrange(1, 40))
        match rng.choice(["flip", "flip", "noise", "delete", "repeat", "truncate", "number"]):
            case "flip" if a < len(changed):
                changed[a] ^= 1 << rng.randrange(8)
            case "noise":
                changed[a:b] = rng.randbytes(b - a)
            case "delete":
                del changed[a:b]
            case "repeat":
                changed[a:a] = changed[a:b]
            case "truncate":
                del changed[a:]
            case _:
                size = rng.choice([4, 8])
                changed[a : a + size] = rng.choice([0, 1, (1 << (8 * size)) - 1, 1 << (8 * size - 1)]).to_bytes(
                    size, "little"
                )
    return bytes(changed)


def attempt(folder: Path, strict: bool) -> None:
    """Read it or be told, in a sentence that names a file of the trace, why not; in any case soon."""
    begin = time.monotonic()
    error: TraceError | None
    try:
        trace = read(folder, "ctf", strict=strict)
    except TraceError as e:
        error = e
    else:
        error = None
        trace.table.validate(full=True)
        for rows_of in trace.streams.values():
            assert (np.diff(trace.time_ns[rows_of]) >= 0).all()
        for gap in trace.gaps:
            assert gap.begin_ns <= gap.end_ns
            assert gap.count is None or gap.count >= 0
    assert time.monotonic() - begin < 10
    assert error is None or (error.path.startswith(str(folder)) and "\n" not in error.message)


def damaged(seeds: list[dict[str, bytes]], scratch: Path, seed: int, strict: bool) -> None:
    rng = Random(seed)
    files = rng.choice(seeds)
    hurt = rng.choice(sorted(files))
    for name, data in files.items():
        (scratch / name).write_bytes(damage(rng, data) if name == hurt else data)
    attempt(scratch, strict)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32), strict=st.booleans())
def test_damage_never_raises_anything_else(
    seeds: list[dict[str, bytes]], scratch: Path, seed: int, strict: bool
) -> None:
    damaged(seeds, scratch, seed, strict)


@pytest.mark.long
@settings(
    max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32), strict=st.booleans())
def test_much_damage_never_raises_anything_else(
    seeds: list[dict[str, bytes]], scratch: Path, seed: int, strict: bool
) -> None:
    damaged(seeds, scratch, seed, strict)


def test_what_fuzzing_found(tmp_path: Path) -> None:
    """Inputs that led the fuzzer (tests/formats/fuzz.py) to other places in the reader."""
    with tarfile.open(HERE.parent / "data" / "fuzz_ctf.tar.xz") as archive:
        inputs = [file.read() for member in archive if (file := archive.extractfile(member))]
    assert len(inputs) > 100
    for data in inputs:
        fuzz.unpack(data, tmp_path)
        attempt(tmp_path, strict=bool(len(data) & 1))


@pytest.mark.long
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32), strict=st.booleans())
def test_damage_to_real_traces(lttng_recordings: dict[str, Path], scratch: Path, seed: int, strict: bool) -> None:
    rng = Random(seed)
    source = lttng_recordings[rng.choice(["discard", "overwrite"])] / "ust/uid/0/64-bit"
    hurt = rng.choice(["metadata", "ch_0", "ch_1"])
    for name in ("metadata", "ch_0", "ch_1"):
        file = source / name
        data = file.read_bytes()[: None if name == "metadata" else 3 * 4096] if file.exists() else b""
        (scratch / name).write_bytes(damage(rng, data) if name == hurt else data)
    attempt(scratch, strict)
