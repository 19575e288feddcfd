from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from made_up import RAW, made_up, mended

from tracemend.formats import read
from tracemend.mending.mended import Mended
from tracemend.outputs import perfetto
from tracemend.trace.events import SCHEMA, Gap, Trace

pb = pytest.importorskip("perfetto.protos.perfetto.trace.perfetto_trace_pb2")

CATEGORIES = {"syscall", "syscall.across_gap", "event", "tracemend.inferred", "tracemend.lost", "tracemend"}


class Parsed:
    """What Perfetto's own schema makes of the bytes; interned names are put in place of their numbers."""

    def __init__(self, made: Mended, folder: Path) -> None:
        (path,) = perfetto.write(made, folder)
        trace = pb.Trace()
        data = path.read_bytes()
        assert trace.ParseFromString(data) == len(data)
        self.packets = trace.packet
        first = trace.packet[0]
        assert first.sequence_flags == first.SEQ_INCREMENTAL_STATE_CLEARED
        interned = first.interned_data
        self.names = {n.iid: n.name for n in interned.event_names}
        self.categories = {c.iid: c.name for c in interned.event_categories}
        self.notes = {a.iid: a.name for a in interned.debug_annotation_names}
        self.tracks = {
            p.track_descriptor.uuid: p.track_descriptor for p in trace.packet if p.HasField("track_descriptor")
        }

    def events(self, *categories: str) -> Iterator[dict[str, Any]]:
        for p in self.packets:
            if p.HasField("track_event"):
                event = p.track_event
                (category,) = (self.categories[c] for c in event.category_iids)
                notes = {
                    self.notes[a.name_iid] if a.name_iid else a.name: getattr(a, a.WhichOneof("value"))
                    for a in event.debug_annotations
                }
                if not categories or category in categories:
                    name = self.names[event.name_iid] if event.name_iid else event.name
                    yield {
                        "time": p.timestamp,
                        "type": event.type,
                        "track": event.track_uuid,
                        "name": name,
                        "category": category,
                        "notes": notes,
                    }


@pytest.fixture
def parsed(tmp_path: Path) -> Parsed:
    return Parsed(mended(statuses=("filled", "refused", "filled", "left")), tmp_path)


def test_packets_are_whole(parsed: Parsed) -> None:
    assert set(parsed.categories.values()) == CATEGORIES
    for p in parsed.packets:
        assert p.trusted_packet_sequence_id == 1
        assert p.WhichOneof("data") in {"track_event", "track_descriptor", None}
        if p.HasField("track_event"):
            assert p.sequence_flags == p.SEQ_NEEDS_INCREMENTAL_STATE
            assert p.track_event.track_uuid in parsed.tracks
            assert p.timestamp > 0
    assert all(not t.parent_uuid or t.parent_uuid in parsed.tracks for t in parsed.tracks.values())
    assert sum(p.HasField("track_descriptor") for p in parsed.packets) == len(parsed.tracks)


def test_every_event_is_there_once(parsed: Parsed) -> None:
    made = mended(statuses=("filled", "refused", "filled", "left"))
    survivors = list(parsed.events("syscall", "syscall.across_gap", "event"))
    assert sorted(e["time"] for e in survivors) == sorted(made.trace.time_ns.tolist())
    inferred = list(parsed.events("tracemend.inferred"))
    assert sorted(e["time"] for e in inferred) == sorted(made.inferred["time_ns"].to_pylist())
    args = {a for a in made.trace.table["args"].to_pylist() if a}
    assert {e["notes"]["args"] for e in survivors if "args" in e["notes"]} == args
    returned = {r for r in made.trace.table["ret"].to_pylist() if r}
    assert {e["notes"]["ret"] for e in survivors if "ret" in e["notes"]} == returned


def test_slices_are_balanced_on_every_track(parsed: Parsed) -> None:
    """Each end closes the begin of its own name, in order of time, and nothing stays open: no error in the viewer."""
    open_: dict[int, list[str]] = defaultdict(list)
    for e in sorted(parsed.events(), key=lambda e: e["time"]):
        if e["type"] == perfetto.BEGIN:
            open_[e["track"]].append(e["name"])
        elif e["type"] == perfetto.END:
            name = open_[e["track"]].pop()
            assert not e["name"] or e["name"] == name
    assert not any(open_.values())


def test_inferred_events_have_tracks_of_their_own(parsed: Parsed) -> None:
    inferred = list(parsed.events("tracemend.inferred"))
    own = {e["track"] for e in inferred}
    assert own.isdisjoint(e["track"] for e in parsed.events(*CATEGORIES - {"tracemend.inferred"}))
    names = {parsed.tracks[t].name for t in own}
    assert {"find (inferred)", "unknown thread (inferred)"} <= names
    assert all(name.endswith(" (inferred)") for name in names)
    for e in inferred:
        assert set(e["notes"]) == {"confidence", "gap"}
        assert 0.2 <= e["notes"]["confidence"] <= 1
    parents = {parsed.tracks[parsed.tracks[t].parent_uuid].thread.thread_name for t in own}
    assert {"find", "sh", ""} <= parents


def test_threads_have_descriptors(parsed: Parsed) -> None:
    made = mended()
    threads = {t.thread.tid: t for t in parsed.tracks.values() if t.HasField("thread")}
    assert set(threads) == {int(t) for t in made.trace.tid}
    for tid, track in threads.items():
        process = parsed.tracks[track.parent_uuid]
        assert process.process.pid == track.thread.pid == tid
        assert process.process.process_name == track.thread.thread_name


def test_gaps_are_slices_on_their_cpu_s_track(parsed: Parsed) -> None:
    made = mended(statuses=("filled", "refused", "filled", "left"))
    lost = list(parsed.events("tracemend.lost"))
    begins = [e for e in lost if e["type"] == perfetto.BEGIN]
    assert sorted((e["time"], e["name"]) for e in begins) == sorted(
        (g["begin_ns"], f"{g['count']} events lost ({g['status']})") for g in made.gap_table()
    )
    assert {parsed.tracks[e["track"]].name for e in begins} == {"lost events: cpu 0", "lost events: cpu 1"}
    assert all({"count", "known", "status", "gap"} <= set(e["notes"]) for e in begins)


def test_the_note_on_top(parsed: Parsed) -> None:
    begin, end = parsed.events("tracemend")
    assert begin["name"] == begin["notes"]["note"] == "inferred events are no evidence"
    assert begin["notes"]["model"] == "made up"
    assert end["time"] > begin["time"]
    assert "no evidence" in parsed.tracks[begin["track"]].description


def test_a_call_over_a_gap_says_so(tmp_path: Path) -> None:
    made = mended()
    found = list(Parsed(made, tmp_path).events("syscall", "syscall.across_gap"))
    begins: dict[int, dict[str, Any]] = {}
    seen = set()
    for e in sorted(found, key=lambda e: e["time"]):
        if e["type"] == perfetto.BEGIN:
            begins[e["track"]] = e
        elif e["type"] == perfetto.END:
            begin = begins.pop(e["track"])["time"]
            over = any(g.begin_ns < e["time"] and g.end_ns > begin for g in made.trace.gaps)
            assert (e["category"] == "syscall.across_gap") is over
            seen.add(over)
    assert seen == {True, False}


def events(rows: list[tuple[int, int, str, str]]) -> Trace:
    """A trace of (time, thread, name, phase)."""
    table = pa.Table.from_pylist(
        [
            {"time_ns": t, "cpu": 0, "tid": tid, "comm": None, "name": n, "phase": p, "line": i}
            for i, (t, tid, n, p) in enumerate(rows, 1)
        ],
        pa.schema([f.with_nullable(True) for f in SCHEMA]),
    ).cast(SCHEMA)
    return Trace(None, "ftrace", table)


def test_what_a_loss_left_alone_has_no_made_up_length(tmp_path: Path) -> None:
    trace = events(
        [
            (1, 5, "read", "exit"),
            (2, 5, "read", "enter"),
            (3, 5, "sched_switch", "instant"),
            (4, 5, "read", "exit"),
            (5, 5, "write", "enter"),
            (6, 5, "read", "exit"),
            (7, 0, "read", "enter"),
            (8, -1, "irq", "instant"),
            (9, 5, "write", "enter"),
        ]
    )
    got = Parsed(made_up(trace), tmp_path)
    found = [(e["time"], e["type"], e["name"]) for e in got.events() if e["category"] != "tracemend"]
    assert found == [
        (1, 3, "read (exit)"),
        (2, 1, "read"),
        (3, 3, "sched_switch"),
        (4, 2, "read"),
        (5, 3, "write (enter)"),
        (6, 3, "read (exit)"),
        (7, 3, "read (enter)"),
        (8, 3, "irq"),
        (9, 3, "write (enter)"),
    ]
    assert {t.name for t in got.tracks.values() if t.name} == {"tracemend", "idle thread", "unknown thread"}


def test_gaps_that_overlap_on_one_cpu_stay_balanced(tmp_path: Path) -> None:
    gaps = tuple(
        Gap(i, 0, None, None, a, b, None, "suspected", 1) for i, (a, b) in enumerate([(1, 9), (3, 12), (9, 20)])
    )
    got = Parsed(made_up(replace(events([(1, 5, "read", "enter"), (20, 5, "read", "exit")]), gaps=gaps)), tmp_path)
    spans: dict[int, list[int]] = defaultdict(list)
    for e in got.events("tracemend.lost"):
        spans[e["track"]].append(e["time"])
    assert sorted(spans.values()) == [[1, 9, 9, 20], [3, 12]]


def test_a_trace_of_marks_only(tmp_path: Path) -> None:
    (tmp_path / "trace.txt").write_text("CPU:0 [LOST 8 EVENTS]\n")
    got = Parsed(made_up(read(tmp_path / "trace.txt"), statuses=("left",)), tmp_path)
    assert [e["name"] for e in got.events("tracemend.lost")] == ["8 events lost (left)", ""]


def test_big_numbers_and_any_text(tmp_path: Path) -> None:
    trace = read(RAW)
    table = trace.table.set_column(0, SCHEMA.field("time_ns"), pa.array(trace.time_ns + (2**62)))
    odd = "\u0000 ü <script> " + "x" * 70_000
    table = table.set_column(6, SCHEMA.field("args"), pa.array([odd, *[None] * (len(trace) - 1)], pa.string()))
    got = Parsed(made_up(replace(trace, table=table, gaps=())), tmp_path)
    first = next(got.events("syscall", "syscall.across_gap"))
    assert first["time"] == int(np.min(trace.time_ns)) + 2**62
    assert first["notes"]["args"] == odd


def test_what_was_inferred_is_no_fact_when_it_is_read_again(tmp_path: Path) -> None:
    (path,) = perfetto.write(mended(statuses=("filled", "refused", "filled", "left")), tmp_path)
    again = read(path)
    assert again.format == "perfetto"
    assert len(again) == 0
    assert again.provenance["packets_passed_over"]["track_event"] > 0
    assert [w for w in again.warnings if "packets of kinds that are not read" in w and "track_event" in w]
