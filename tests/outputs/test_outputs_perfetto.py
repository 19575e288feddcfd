from __future__ import annotations

import bisect
import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import perfetto_judge
import pyarrow as pa
import pytest
from conftest import mostly_long
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_up import KERNEL, RAW, made_up, mended

from tracemend.formats import read
from tracemend.mending.mended import Mended
from tracemend.outputs import perfetto
from tracemend.outputs.known import known
from tracemend.outputs.perfetto.encoding import BEGIN, COLOURS, DARK_ORANGE, END, LIGHT_ORANGE, ORANGE, RED, VIOLET
from tracemend.outputs.perfetto.running import Running, Slices
from tracemend.recording import pairs
from tracemend.trace.events import SCHEMA, Gap, Trace

pb = pytest.importorskip("perfetto.protos.perfetto.trace.perfetto_trace_pb2")

CATEGORIES = {"syscall", "syscall.across_gap", "event", "tracemend.inferred", "tracemend.lost", "tracemend"}
CATEGORIES |= {"running", "interrupt", "by_cpu", "tracemend.inferred.by_cpu", "tracemend.inferred.running"}


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
        self.colours = {c.iid: c.str.decode() for c in interned.correlation_id_str}
        self.tracks = {
            p.track_descriptor.uuid: p.track_descriptor for p in trace.packet if p.HasField("track_descriptor")
        }

    def _notes(self, annotations: Iterable[Any]) -> dict[str, Any]:
        return {
            self.notes[a.name_iid] if a.name_iid else a.name: self._notes(a.dict_entries)
            if a.dict_entries
            else getattr(a, a.WhichOneof("value"))
            for a in annotations
        }

    def events(self, *categories: str) -> Iterator[dict[str, Any]]:
        for p in self.packets:
            if p.HasField("track_event"):
                event = p.track_event
                (category,) = (self.categories[c] for c in event.category_iids)
                notes = self._notes(event.debug_annotations)
                if not categories or category in categories:
                    name = self.names[event.name_iid] if event.name_iid else event.name
                    yield {
                        "time": p.timestamp,
                        "type": event.type,
                        "track": event.track_uuid,
                        "name": name,
                        "category": category,
                        "notes": notes,
                        "colour": self.colours.get(event.correlation_id_str_iid),
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
    told = [
        (e["time"], [(k, v["value"], v["confidence"]) for k, v in e["notes"].items() if isinstance(v, dict)])
        for e in inferred
    ]
    expected = zip(made.inferred["time_ns"].to_pylist(), map(list, known(made.inferred)), strict=True)
    assert sorted(told) == sorted(expected)
    assert any(fields for _, fields in told)
    args = {a for a in made.trace.table["args"].to_pylist() if a}
    assert {e["notes"]["args"] for e in survivors if "args" in e["notes"]} == args
    returned = {r for r in made.trace.table["ret"].to_pylist() if r}
    assert {e["notes"]["ret"] for e in survivors if "ret" in e["notes"]} == returned


def test_slices_are_balanced_on_every_track(parsed: Parsed) -> None:
    """Each end closes the begin of its own name, in order of time, and nothing stays open: no error in the viewer."""
    open_: dict[int, list[str]] = defaultdict(list)
    for e in sorted(parsed.events(), key=lambda e: e["time"]):
        if e["type"] == BEGIN:
            open_[e["track"]].append(e["name"])
        elif e["type"] == END:
            name = open_[e["track"]].pop()
            assert not e["name"] or e["name"] == name
    assert not any(open_.values())


def test_inferred_events_have_tracks_of_their_own(parsed: Parsed) -> None:
    inferred = list(parsed.events("tracemend.inferred"))
    own = {e["track"] for e in inferred}
    assert own.isdisjoint(e["track"] for e in parsed.events(*CATEGORIES - {"tracemend.inferred"}))
    names = {parsed.tracks[t].name for t in own}
    assert "inferred: unknown thread" in names
    assert {"inferred: find", "inferred: sh"} <= names
    assert all(name.startswith("inferred: ") for name in names)
    for e in inferred:
        sure = "exit_confidence" if e["type"] == END else "confidence"
        assert {sure, "gap"} <= set(e["notes"]) <= {sure, "gap", "ret"}
        assert 0.2 <= e["notes"][sure] <= 1
    parents = {parsed.tracks[parsed.tracks[t].parent_uuid].thread.thread_name for t in own}
    assert {"find", "sh", ""} <= parents


def test_a_call_has_the_colour_of_its_less_sure_end(parsed: Parsed) -> None:
    begins: dict[int, dict[str, Any]] = {}
    for e in sorted(parsed.events("tracemend.inferred"), key=lambda e: e["time"]):
        if e["type"] == BEGIN:
            begins[e["track"]] = e
        elif e["type"] == END:
            begin = begins.pop(e["track"])
            least = min(begin["notes"]["confidence"], e["notes"]["exit_confidence"])
            assert begin["colour"] == COLOURS[DARK_ORANGE if least >= 0.9 else ORANGE if least >= 0.5 else LIGHT_ORANGE]


def test_what_is_inferred_says_so_in_its_name_and_colour(parsed: Parsed) -> None:
    """No name of a call finds both what was recorded and what was inferred, and their colours differ."""
    colours: dict[bool, set[str]] = {True: set(), False: set()}
    for e in parsed.events(
        "syscall", "syscall.across_gap", "event", "by_cpu", "tracemend.inferred", "tracemend.inferred.by_cpu"
    ):
        inferred = e["category"].startswith("tracemend.")
        assert e["name"].endswith("inferred)") is inferred
        colours[inferred].add(e["colour"])
    assert all(c.startswith("recorded") for c in colours[False])
    assert colours[True] == {c for c in COLOURS.values() if c.startswith("inferred")}
    for e in parsed.events("tracemend.lost"):
        if e["name"].endswith(")"):
            assert e["colour"] == ("tracemend loss" if e["name"].endswith("(filled)") else "tracemend lost, not filled")


def hue_and_lightness(text: str) -> tuple[int, int]:
    """As version 52 of the viewer makes them of a correlation id."""

    def hashed(text: str, values: int) -> int:
        number = 18652613
        for c in text:
            product = int(float(16777619 * (number ^ ord(c)))) & 0xFFFFFFFF  # as JavaScript multiplies
            number = product - (product >> 31 << 32)
        return abs(number) % values

    return hashed(text, 360), 40 + hashed(f"{text}x", 40)


def test_colours_are_those_that_the_documentation_names() -> None:
    shown = {number: hue_and_lightness(text) for number, text in COLOURS.items()}
    assert shown[RED][0] <= 20
    assert 270 <= shown[VIOLET][0] <= 300
    oranges = [shown[number] for number in (DARK_ORANGE, ORANGE, LIGHT_ORANGE)]
    assert all(40 <= hue <= 60 for hue, _ in oranges)
    assert all(dark + 12 <= light for (_, dark), (_, light) in itertools.pairwise(oranges))
    recorded = [hue for number, (hue, _) in shown.items() if COLOURS[number].startswith("recorded")]
    assert len(recorded) == len(set(recorded)) == 12
    assert all(125 <= hue <= 262 for hue in recorded)


def test_threads_of_one_command_stand_together(parsed: Parsed) -> None:
    made = mended()
    threads = {t.thread.tid: t for t in parsed.tracks.values() if t.HasField("thread")}
    assert set(threads) == {int(t) for t in made.trace.tid}
    groups: dict[int, list[Any]] = defaultdict(list)
    for track in threads.values():
        groups[track.thread.pid].append(track.thread)
    processes = {t.process.pid: t.process for t in parsed.tracks.values() if t.HasField("process")}
    assert set(groups) == set(processes)
    for pid, members in groups.items():
        process, (comm,) = processes[pid], {t.thread_name for t in members}
        assert process.process_name == (comm if len(members) == 1 else f"{comm}: {len(members)} threads")
        assert pid == members[0].tid if len(members) == 1 else pid not in threads


def test_a_group_of_threads_has_the_number_of_none(tmp_path: Path) -> None:
    """Nor does it take one from a thread whose number is as large."""
    trace = events([(t, tid, "made", "instant") for t, tid in enumerate((1 << 22, 5, 6, 7), 1)])
    comm = pa.array(["a", "b", "b", "b"]).dictionary_encode()
    named = trace.table.set_column(3, SCHEMA.field("comm"), comm.cast(SCHEMA.field("comm").type))
    got = Parsed(made_up(replace(trace, table=named)), tmp_path)
    processes = {t.process.process_name: t.process.pid for t in got.tracks.values() if t.HasField("process")}
    assert processes == {"a": 1 << 22, "b: 3 threads": (1 << 22) + 1}


def test_lost_stretches_are_on_top_of_their_cpu_with_what_was_inferred_in_them(parsed: Parsed) -> None:
    made = mended(statuses=("filled", "refused", "filled", "left"))
    gaps = {g["gap"]: g for g in made.gap_table()}
    lost = [e for e in parsed.events("tracemend.lost") if e["type"] == BEGIN]
    became = {"filled": "filled", "refused": "fill refused", "left": "left open"}
    own = [e for e in lost if parsed.tracks[e["track"]].name.startswith("cpu ")]
    assert sorted((e["time"], e["name"]) for e in own) == sorted(
        (g["begin_ns"], f"lost {g['count']:,} events ({became[g['status']]})") for g in gaps.values()
    )
    assert {parsed.tracks[e["track"]].name for e in own} == {"cpu 0", "cpu 1"}
    assert all({"count", "known", "status", "gap"} <= set(e["notes"]) for e in own)
    inside = list(parsed.events("tracemend.inferred.by_cpu"))
    assert sorted((e["time"], e["notes"]["gap"]) for e in inside) == sorted(
        zip(made.inferred["time_ns"].to_pylist(), made.inferred["gap"].to_pylist(), strict=True)
    )
    track = {e["notes"]["gap"]: e["track"] for e in own}
    for e in inside:
        assert e["track"] == track[e["notes"]["gap"]]
        assert e["notes"]["thread"] == "unknown thread" or re.fullmatch(r"[a-z]+ \d+", e["notes"]["thread"])


def test_what_was_recorded_on_a_cpu_lies_below_it(parsed: Parsed) -> None:
    made = mended()
    names = {uuid: t.name for uuid, t in parsed.tracks.items()}
    found = sorted((e["time"], names[e["track"]]) for e in parsed.events("by_cpu"))
    assert found == sorted(
        (t, f"cpu {cpu}: recorded") for t, cpu in zip(made.trace.time_ns.tolist(), made.trace.cpu.tolist(), strict=True)
    )
    assert {names[parsed.tracks[u].parent_uuid] for u, n in names.items() if n.endswith("recorded")} == {
        "cpu 0",
        "cpu 1",
    }
    open_: dict[int, int] = {}
    for e in sorted(parsed.events("by_cpu"), key=lambda e: e["time"]):
        if e["type"] == BEGIN:
            open_[e["track"]] = e["time"]
        elif e["type"] == END:
            begin, cpu = open_.pop(e["track"]), int(names[e["track"]][4])
            assert not any(g.begin_ns < e["time"] and g.end_ns > begin for g in made.trace.gaps if g.cpu == cpu)


def test_when_anything_was_lost_on_any_cpu(parsed: Parsed) -> None:
    made = mended()
    spans: list[list[int]] = []
    for e in parsed.events("tracemend.lost"):
        if parsed.tracks[e["track"]].name == "lost on any cpu":
            spans.append([e["time"]]) if e["type"] == BEGIN else spans[-1].append(e["time"])
    for gap in made.trace.gaps:
        assert any(a <= gap.begin_ns <= gap.end_ns <= b for a, b in spans)
    assert all(b < a for (_, b), (a, _) in itertools.pairwise(spans))
    edges = {t for g in made.trace.gaps for t in (g.begin_ns, g.end_ns)}
    assert {t for span in spans for t in span} <= edges


def test_losses_without_a_count_are_not_counted_as_none(tmp_path: Path) -> None:
    gaps = tuple(Gap(i, i, None, None, 1, 9, count, "uncounted", 1) for i, count in enumerate((5, None)))
    trace = replace(events([(1, 5, "made", "instant"), (9, 5, "made", "instant")]), gaps=gaps)
    for some, name in ((gaps, "lost at least 5 events"), (gaps[1:], "lost events")):
        got = Parsed(made_up(replace(trace, gaps=some)), tmp_path)
        begin = next(e for e in got.events("tracemend.lost") if "stretches" in e["notes"])
        assert begin["name"] == name
        assert begin["notes"].get("events") == (5 if len(some) == 2 else None)
        assert begin["notes"]["stretches without a count"] == 1


@pytest.mark.parametrize("cpus", [3, 100])
def test_cpus_are_in_the_order_of_their_numbers(tmp_path: Path, cpus: int) -> None:
    """The viewer sorts tracks on top by name, and has room for some dozens there."""
    trace = events([(t, 5, "made", "instant") for t in range(1, cpus + 1)])
    table = trace.table.set_column(1, SCHEMA.field("cpu"), pa.array(range(cpus), pa.int32()))
    got = Parsed(made_up(replace(trace, table=table)), tmp_path)
    top = [t for t in got.tracks.values() if t.name.startswith("cpu") and not t.parent_uuid]
    assert len(top) <= 40
    assert [t.name for t in top] == sorted(t.name for t in top)
    ranks = [t.sibling_order_rank for t in got.tracks.values() if re.fullmatch(r"cpu \d+", t.name)]
    assert ranks == list(range(cpus))


def test_the_note_on_top(parsed: Parsed) -> None:
    begin, end = parsed.events("tracemend")
    assert begin["name"] == "inferred events are no evidence"
    assert begin["name"] in begin["notes"]["note"]
    assert begin["notes"]["model"] == "made up"
    assert end["time"] > begin["time"]
    assert "no evidence" in parsed.tracks[begin["track"]].description


def test_a_call_over_a_gap_says_so(tmp_path: Path) -> None:
    made = mended()
    found = list(Parsed(made, tmp_path).events("syscall", "syscall.across_gap"))
    begins: dict[int, dict[str, Any]] = {}
    seen = set()
    for e in sorted(found, key=lambda e: e["time"]):
        if e["type"] == BEGIN:
            begins[e["track"]] = e
        elif e["type"] == END:
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
    found = [(e["time"], e["type"], e["name"]) for e in got.events("syscall", "event")]
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
    assert {"other threads", "idle thread", "unknown thread"} <= {t.name for t in got.tracks.values()}


def test_gaps_that_overlap_on_one_cpu_stay_balanced(tmp_path: Path) -> None:
    gaps = tuple(
        Gap(i, 0, None, None, a, b, None, "suspected", 1) for i, (a, b) in enumerate([(1, 9), (3, 12), (9, 20)])
    )
    got = Parsed(made_up(replace(events([(1, 5, "read", "enter"), (20, 5, "read", "exit")]), gaps=gaps)), tmp_path)
    spans: dict[int, list[int]] = defaultdict(list)
    for e in got.events("tracemend.lost"):
        spans[e["track"]].append(e["time"])
    names = {got.tracks[track].name: span for track, span in spans.items()}
    assert names == {"cpu 0": [1, 9, 9, 20], "cpu 0: lost at the same time": [3, 12], "lost on any cpu": [1, 20]}


def test_a_trace_of_marks_only(tmp_path: Path) -> None:
    (tmp_path / "trace.txt").write_text("CPU:0 [LOST 8 EVENTS]\n")
    got = Parsed(made_up(read(tmp_path / "trace.txt"), statuses=("left",)), tmp_path)
    named = [e["name"] for e in got.events("tracemend.lost")]
    assert named == ["lost 8 events", "", "lost 8 events (left open)", ""]


def test_a_cpu_that_lost_all_it_had_is_shown_where_tracks_on_top_are(tmp_path: Path) -> None:
    gaps = tuple(Gap(i, i, None, None, 1, 9, 5, "counted", 1) for i in (0, 1))
    trace = replace(events([(1, 5, "made", "instant"), (9, 5, "made", "instant")]), gaps=gaps)
    got = Parsed(made_up(trace, most=0), tmp_path)
    parents = {t.name: t.parent_uuid for t in got.tracks.values()}
    assert parents["cpu 0"] == 0
    assert got.tracks[parents["cpu 1"]].name == "about this trace"


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


# Cpus --------------------------------------------------------------------------------------------------------------

LOSSY = Path(__file__).parents[1] / "data" / "perfetto_lossy.pftrace.xz"


class Drawn:
    """The slices of each track, with their depths; fails where they don't nest."""

    def __init__(self, got: Parsed, *categories: str) -> None:
        self.slices: dict[str, list[tuple[int, int, str, int, dict[str, Any]]]] = defaultdict(list)
        open_: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for e in sorted(got.events(*categories), key=lambda e: e["time"]):
            name = got.tracks[e["track"]].name
            if ": who ran" not in name:
                continue
            name = name.replace(": who ran", "")
            if e["type"] == BEGIN:
                open_[e["track"]].append(e)
            else:
                begin = open_[e["track"]].pop()
                depth = len(open_[e["track"]])
                self.slices[name].append((begin["time"], e["time"], begin["name"], depth, begin["notes"]))
        assert not any(open_.values())
        for slices in self.slices.values():
            slices.sort(key=lambda s: (s[0], s[3]))


PREV, NEXT = "prev_comm={} prev_pid={} prev_prio=120 prev_state={} ==> ", "next_comm={} next_pid={} next_prio=120"
SWITCHES = f"""\
     sh-1    [000] d..2.     1.000001: sched_switch: {PREV.format("sh", 1, "S")}{NEXT.format("a b", 2)}
    a b-2    [000] d.h..     1.000002: irq_handler_entry: irq=19 name=ahci
    a b-2    [000] ..s..     1.000003: softirq_entry: vec=3 [action=NET_RX]
    a b-2    [000] ..s..     1.000004: softirq_exit: vec=3 [action=NET_RX]
    a b-2    [000] d.h..     1.000005: irq_handler_exit: irq=19 ret=handled
    a b-2    [000] d.h..     1.000006: irq_handler_entry: irq=20 name=eth0
CPU:0 [LOST 4 EVENTS]
      c-3    [000] d.h..     1.000020: irq_handler_exit: irq=20 ret=handled
      c-3    [000] d..2.     1.000021: sched_switch: {PREV.format("c", 3, "R+")}{NEXT.format("swapper/0", 0)}
 <idle>-0    [000] d..2.     1.000030: sched_switch: {PREV.format("swapper/0", 0, "R")}{NEXT.format("c", 3)}
      c-3    [000] .....     1.000031: made: x
"""


def with_events(trace: Trace, rows: list[tuple[int, int, str, dict[str, str]]]) -> Mended:
    """Made-up inferred events (time, thread, name, fields) in the one gap."""
    made = made_up(trace, names=[("made", "instant")])
    table = [
        made.inferred.to_pylist()[0]
        | {"time_ns": t, "tid": tid, "comm": None, "name": name, "confidence": 0.5}
        | {"fields": [(k, {"value": v, "confidence": 0.25}) for k, v in fields.items()]}
        for t, tid, name, fields in rows
    ]
    return replace(made, inferred=pa.Table.from_pylist(table, made.inferred.schema))


def test_who_ran_as_recorded_and_as_inferred(tmp_path: Path) -> None:
    (tmp_path / "trace.txt").write_text(SWITCHES)
    s = 1_000_000_000
    made = with_events(
        read(tmp_path / "trace.txt"),
        [
            (s + 7_000, 2, "made", {}),
            (s + 8_000, 2, "sched_switch", {"prev_pid": "2", "next_pid": "7", "next_comm": "x"}),
            (s + 9_000, 7, "softirq_entry", {"vec": "1"}),
            (s + 10_000, 7, "softirq_exit", {"vec": "1"}),
            (s + 11_000, 7, "sched_switch", {"prev_pid": "7"}),
            (s + 12_000, -1, "made", {}),
            (s + 13_000, -1, "sched_switch", {}),
            (s + 14_000, 3, "sched_switch", {"next_pid": "3"}),
        ],
    )
    drawn = Drawn(Parsed(made, tmp_path))
    found = {
        name: [((a - s) // 1000, (b - s) // 1000, label, depth) for a, b, label, depth, _ in slices]
        for name, slices in drawn.slices.items()
    }
    assert found == {
        "cpu 0": [
            (1, 6, "a b [2]", 0),
            (2, 5, "irq 19 ahci", 1),
            (3, 4, "softirq NET_RX", 2),
            (20, 21, "c [3]", 0),
            (21, 30, "idle", 0),
            (30, 31, "c [3]", 0),
        ],
        "cpu 0 (inferred)": [
            (6, 8, "a b [2]", 0),
            (8, 11, "x [7]", 0),
            (9, 10, "softirq 1", 1),
            (13, 14, "c [3]", 0),
            (14, 20, "c [3]", 0),
        ],
    }
    recorded, inferred = (drawn.slices[name] for name in ("cpu 0", "cpu 0 (inferred)"))
    assert [s[4].get("left in state") for s in recorded] == [None, None, None, "R+", "R", None]
    assert [s[4]["confidence"] for s in inferred] == [0.5, 0.25, 0.5, 0.5, 0.25]
    assert all(s[4]["gap"] == 0 for s in inferred)


def test_a_trace_without_switches_has_no_tracks_of_cpus(parsed: Parsed) -> None:
    assert {e["category"] for e in parsed.events() if "who ran" in parsed.tracks[e["track"]].name} == set()


@pytest.mark.parametrize("seed", range(4))
def test_cpus_of_a_real_trace(tmp_path: Path, seed: int) -> None:
    """Slices agree with the threads of the events in them and leave gaps alone; what is inferred is made up."""
    trace = read(LOSSY)
    made = made_up(trace, seed=seed, most=60, names=KERNEL)
    drawn = Drawn(Parsed(made, tmp_path))
    told = 0
    gaps = {g.number: g for g in trace.gaps}
    for cpu, rows in trace.streams.items():
        slices = [s for s in drawn.slices[f"cpu {cpu}"] if s[3] == 0]
        for (_, end, *_), (begin, *_) in itertools.pairwise(slices):
            assert end <= begin
        for a, b, *_ in slices:
            assert not any(a < g.end_ns and b > g.begin_ns and g.cpu == cpu for g in trace.gaps)
        for row in rows.tolist():
            time, tid = int(trace.time_ns[row]), int(trace.tid[row])
            inside = [s for s in slices if s[0] < time < s[1]]
            assert len(inside) <= 1
            for _, _, label, *_ in inside:
                assert label.endswith(f"[{tid}]") or (label, tid) == ("idle", 0)
                told += 1
    assert told > len(trace) / 2
    for name, slices in drawn.slices.items():
        for a, b, label, depth, notes in slices if name.endswith("(inferred)") else ():
            gap = gaps[notes["gap"]]
            assert name == f"cpu {gap.cpu} (inferred)"
            assert gap.begin_ns <= a <= b <= gap.end_ns
            assert depth == 0 or label.startswith(("irq", "softirq"))


PAIRS = sorted((Path(__file__).parents[2] / "corpus" / "kernel" / "pairs").glob("*.parquet"))


def running(slices: Slices) -> dict[int, list[tuple[int, int, str]]]:
    """Which threads ran on each cpu, in order."""
    found: dict[int, list[tuple[int, int, str]]] = defaultdict(list)
    columns = (slices.cpu.tolist(), *(t.tolist() for t in slices.time), slices.label.to_pylist())
    for cpu, begin, end, label in zip(*columns, strict=True):
        if not label.startswith(("irq ", "softirq ")):
            found[cpu].append((begin, end, label.rpartition(" ")[2]))  # its command changes with exec
    return {cpu: sorted(one) for cpu, one in found.items()}


@pytest.mark.parametrize("path", mostly_long(PAIRS), ids=lambda p: p.stem)
def test_who_ran_is_who_really_ran(path: Path) -> None:
    """On real machines' lossy recordings, against the complete ones: what is drawn of what survived is true, and all
    of it is drawn but for the gaps and the stretches that no switch bounds."""
    pair = pairs.read(path)
    lossy, whole = (running(Running(made_up(t, most=0), {}).recorded) for t in (pair.lossy, pair.complete))
    drawn = 0
    for cpu, slices in lossy.items():
        true = whole[cpu]
        begins = [a for a, *_ in true]
        for a, b, thread in slices:
            within = true[max(0, bisect.bisect_right(begins, a) - 1) : bisect.bisect_left(begins, b)]
            assert {one for _, end, one in within if end > a} == {thread}
            drawn += b - a
    lost = sum(g.duration_ns for g in pair.lossy.gaps)
    total = sum(b - a for slices in whole.values() for a, b, _ in slices)
    assert drawn > 0.8 * (total - lost)


ARGS = {
    "sched_switch": [
        "prev_pid=1 prev_state=S ==> next_comm=a next_pid=2",
        "prev_comm=b prev_pid=2 prev_state=R ==> x",
        "",
    ],
    "irq_handler_entry": ["irq=1 name=a"],
    "irq_handler_exit": ["irq=1 ret=handled"],
    "softirq_entry": ["vec=1 [action=TIMER]"],
    "softirq_exit": ["vec=1 [action=TIMER]"],
    "made": [""],
}
EVENT = st.sampled_from([(name, args) for name, texts in ARGS.items() for args in texts])
TIMES = st.integers(1, 8)


@pytest.mark.long
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(TIMES, st.integers(-1, 1), EVENT), min_size=1, max_size=14),
    st.lists(st.tuples(st.integers(-1, 2), TIMES, TIMES), max_size=3),
    st.integers(0, 99),
)
def test_slices_of_any_trace_nest(
    tmp_path: Path, rows: list[tuple[int, int, tuple[str, str]]], gaps: list[tuple[int, int, int]], seed: int
) -> None:
    """Whatever is recorded and inferred, in whatever order, with gaps that overlap or have no length."""
    table = pa.Table.from_pylist(
        [
            {"time_ns": t, "cpu": cpu, "tid": t % 3, "name": name, "phase": "instant", "args": args, "line": i}
            for i, (t, cpu, (name, args)) in enumerate(rows)
        ],
        pa.schema([f.with_nullable(True) for f in SCHEMA]),
    ).cast(SCHEMA)
    lost = [Gap(i, c, None, None, min(a, b), max(a, b), 5, "counted", i) for i, (c, a, b) in enumerate(gaps)]
    trace = Trace(None, "ftrace", table, tuple(lost))
    made = made_up(trace, seed=seed, names=KERNEL)
    got = Parsed(made, tmp_path)
    stretches: list[tuple[int, int]] = []
    open_: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for e in sorted(got.events(), key=lambda e: e["time"]):
        if e["category"] == "tracemend.inferred.by_cpu":
            assert open_[e["track"]][0]["notes"]["gap"] == e["notes"]["gap"]
        if e["type"] == BEGIN:
            open_[e["track"]].append(e)
        elif e["type"] == END:
            begin = open_[e["track"]].pop()
            assert begin["category"] == e["category"]
            if "gap" in begin["notes"] and e["category"] == "tracemend.lost":
                assert not open_[e["track"]]
                stretches.append((begin["time"], e["time"]))
    assert not any(open_.values())
    assert sorted(stretches) == sorted((g.begin_ns, g.end_ns) for g in lost)
    drawn = Drawn(got)
    running = Running(made, {})
    meant: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
    for slices, what in ((running.recorded, ""), (running.inferred, " (inferred)")):
        columns = zip(slices.cpu.tolist(), *(t.tolist() for t in slices.time), slices.label.to_pylist(), strict=True)
        for cpu, *one in columns:
            meant[f"cpu {cpu}{what}"].append(tuple(one))
    # begins and ends that don't nest would be put together wrongly
    assert {n: sorted(s[:3] for s in found) for n, found in drawn.slices.items()} == {
        n: sorted(found) for n, found in meant.items()
    }
    for name, found in drawn.slices.items():
        for a, b, *_ in found:
            assert a <= b
            assert name != "cpu -1"
            if not name.endswith("(inferred)"):
                assert not any(a < g.end_ns and g.begin_ns < b for g in lost if name == f"cpu {g.cpu}")


@pytest.mark.long
def test_perfetto_takes_it(tmp_path: Path) -> None:
    """Its trace processor finds nothing wrong, and the same slices on the same tracks."""
    made = made_up(read(LOSSY), most=60, names=KERNEL)
    drawn = Drawn(Parsed(made, tmp_path))
    found, wrong, annotated = perfetto_judge.answers(
        tmp_path / perfetto.NAME,
        "select replace(t.name, ': who ran', '') as track, s.ts, s.dur, s.name, s.depth "
        "from slice s join track t on s.track_id = t.id where t.name like 'cpu _: who ran%'",
        "select name from stats where value > 0 and severity in ('error', 'data_loss')",
        "select key, display_value as value from args where key like 'debug.next_pid%'",
    )
    ours = [(n, a, b - a, label, depth) for n, slices in drawn.slices.items() for a, b, label, depth, _ in slices]
    assert sorted((r.track, r.ts, r.dur, r.name, r.depth) for r in found) == sorted(ours)
    assert not wrong
    assert {r.key for r in annotated} == {"debug.next_pid.value", "debug.next_pid.confidence"}
    told = {value for fields in known(made.inferred) for name, value, _ in fields if name == "next_pid"}
    assert {r.value for r in annotated if r.key.endswith("value")} == told > set()
