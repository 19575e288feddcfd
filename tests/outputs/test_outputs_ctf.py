"""Mended CTF: babeltrace 1 and 2 judge what is written, on LTTng's traces and on made-up ones (labelled so)."""

from __future__ import annotations

import errno
import io
import itertools
import json
import os
import re
import shutil
import struct
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from babeltrace import Event, judged, lines_of_the_first
from commands import run
from conftest import mostly_long
from ctf_made import MAGIC, UUID, Enum, Int, Made, Struct, Words, draw_struct
from hypothesis import given
from hypothesis import strategies as st
from made_up import KERNEL, VALUES, made_up

from tracemend.errors import OutputError
from tracemend.formats import glance, read
from tracemend.formats.ctf.metadata import Clock
from tracemend.formats.ctf.tsdl import read_metadata
from tracemend.mending.mended import Mended
from tracemend.mending.run import mend_trace
from tracemend.outputs import strip, write
from tracemend.outputs.ctf import _open
from tracemend.outputs.ctf.extra import NAME, PACKET_EVENTS, Extra
from tracemend.outputs.ctf.kinds import INCOMPLETE
from tracemend.outputs.ctf.records import all_cycles, cycles

WORD = Int(64, True, True, 10, 8)
#: How the tracers of these tests spell what is inferred.
SPELLED = {
    ("openat", "enter"): "syscall_entry_openat",
    ("openat", "exit"): "syscall_exit_openat",
    ("made", "instant"): "made",
}
MARK = "tracemend_inferred = 1"
#: A field of which nothing is known.
UNKNOWN = '"<...>"'


# traces to mend


def kernel(little: bool = True, **options: Any) -> Made:
    """A made-up trace of the kernel: events with a number and a result, in the context of a thread."""
    word = Int(64, True, little, 10, 8)
    context = Struct([("_tid", Int(32, True, little, 10, 8)), ("_procname", Words(17))])
    given: dict[str, Any] = {"names": tuple(SPELLED.values())}
    given["fields"] = Struct([("_fd", word), ("_path", Words()), ("_ret", word)])
    return Made(little=little, context=context, **given | options)


def record(trace: Made, folder: Path, *, seed: int = 0, streams: int = 2, lost: bool = True) -> Path:
    """The made-up trace with a stream a cpu, each of three packets that count what was lost behind them."""
    rng = Random(seed)
    files = []
    for cpu in range(streams):
        now, discarded, packets = rng.randrange(1000), 0, []
        for k in range(3):
            events = []
            for _ in range(rng.randint(1, 6)):
                now += rng.randint(1, 10**7)
                events.append((now, trace.fields.draw(rng)))
            begin, now = events[0][0], now + rng.randint(0, 10**6)
            discarded += rng.randint(0, 5) + (k == cpu) if lost else 0
            ids = [rng.randrange(len(trace.names)) for _ in events]
            contexts = [{"_tid": 70 + i, "_procname": f"task{i}"} for i in ids]
            if trace.context and "_tid" not in dict(trace.context.members):
                contexts = [trace.context.draw(rng) for _ in events]
            about = {"begin": begin, "end": now, "cpu": cpu, "ids": ids, "contexts": contexts}
            packets.append(trace.packet(events, sequence=k, discarded=discarded, **about))
        files.append(packets)
    return trace.write(folder, files)


def random_trace(seed: int, folder: Path) -> Path:
    """A made-up trace of random types in either byte order, with clocks of several kinds."""
    rng = Random(seed)
    little = rng.random() < 0.5
    fields, context = draw_struct(rng, little), draw_struct(rng, little, most=3) if rng.random() < 0.5 else None
    clock: dict[str, Any] = {
        "frequency": rng.choice([10**9, 10**9, 3_000_000_007, 10**6]),
        "offset_s": rng.randint(0, 10**6),
    }
    names = tuple(SPELLED.values())
    trace = Made(fields, little, context, **clock, offset=rng.randint(0, 10**6), names=names)
    return record(trace, folder, seed=seed)


def in_packets(folder: Path, order: str = "<", part: int = 700) -> Path:
    """The trace with its metadata in packets."""
    metadata = folder / "metadata"
    text, packets = metadata.read_bytes(), b""
    for piece in (text[at : at + part] for at in range(0, len(text), part)):
        content, size = 37 + len(piece), 48 + len(piece)
        head = struct.pack(order + "I16sIIIBBBBB", 0x75D11D57, UUID.bytes, 0, content * 8, size * 8, 0, 0, 0, 1, 8)
        packets += (head + piece).ljust(size, b"\0")
    metadata.write_bytes(packets)
    return folder


def mended(folder: Path, seed: int = 0, **options: Any) -> Mended:
    """With inferred events that are made up, of kinds that the trace has."""
    return made_up(read(folder), seed=seed, **{"names": list(SPELLED)} | options)


def merge(made: Mended, out: Path) -> Path:
    write(made, out, ("merged",))
    return out / "merged"


# what is expected of a merged trace


def contents(folder: Path) -> dict[str, bytes | None]:
    """All files and folders, with what is in the files."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def assert_same(found: list[Event], expected: list[Event], texts: bool = True) -> None:
    """The same events or losses, but for the number of the trace, and for what their texts hold unless ``texts``.

    babeltrace 2.0.4 gives an empty text the value that the same field had in an event before.
    """
    hide = re.compile(r"(?!)" if texts else r'"(?:[^"\\]|\\.)*"')
    shown = [
        [
            {k: [(n, hide.sub("TEXT", t)) for n, t in v] if isinstance(v, list) else v for k, v in e.items()}
            | {"trace": 0}
            for e in events
        ]
        for events in (found, expected)
    ]
    for a, b in zip(*shown, strict=True):  # one by one: pytest would take minutes to tell them apart
        assert a == b


def inferred_of(events: list[Event]) -> list[Event]:
    return [e for e in events if ["tracemend_inferred", "1"] in e["context"]]


def assert_untouched(source: Path, merged: Path, lossy: list[str]) -> None:
    """All that is in the merged folder is the original's, but for one file and one part of the metadata a trace."""
    before, after = contents(source), contents(merged)
    assert set(after) - set(before) == {str(Path(d) / NAME) for d in lossy}
    for name, data in before.items():
        if data is not None and name in {str(Path(d) / "metadata") for d in lossy}:
            assert len(after[name] or b"") > len(data)
            assert (after[name] or b"").startswith(data)
        else:
            assert after[name] == data


def assert_merged(made: Mended, merged: Path, off: int = 0) -> list[Event]:
    """Both babeltraces read the original's events as before and the inferred ones in between; returns those.

    ``off``: nanoseconds by which babeltrace's clock may be off.
    """
    source = made.trace.path
    assert source is not None
    (before, lost, error), (after, lost_then, error_then) = judged(source, merged)
    assert (error, error_then) == ("", "")
    ours = inferred_of(after)
    texts = not any('""' in (args or "") for args in made.trace.table["args"].to_pylist())
    assert_same([e for e in after if ["tracemend_inferred", "1"] not in e["context"]], before, texts)
    assert_same(lost_then, lost)
    times = [e["ns"] for e in after]
    assert times == sorted(times)
    assert_inferred(made, ours, off)
    first = lines_of_the_first(source)
    first_merged = lines_of_the_first(merged)
    assert [line for line in first_merged if MARK not in line] == first
    assert sum(MARK in line for line in first_merged) == made.inferred.num_rows
    stamps = [line[: line.index("]")] for line in first_merged]
    assert stamps == sorted(stamps)
    return ours


def assert_inferred(made: Mended, events: list[Event], off: int) -> None:
    cpus = {s["number"]: (s["cpu"], Path(s["file"]).name) for s in made.trace.provenance["streams"]}
    gaps = {g.number: g for g in made.trace.gaps}
    order = made.order - len(made.trace)
    rows = made.inferred.take(order[order >= 0]).to_pylist()
    assert len(events) == len(rows)
    seen = []
    for e in events:
        context = dict(e["context"])
        gap = gaps[int(context["tracemend_gap"])]
        assert gap.begin_ns - off <= e["ns"] <= gap.end_ns + off
        cpu, file = cpus[gap.cpu]
        assert e["cpu"] == cpu
        assert context["tracemend_of_stream"] == f"{file}({gap.cpu})"
        told = confidences(e)
        assert int(context["tracemend_fields_inferred"]) == len(told)
        held = {name: text for name, text in e["fields"] if text != UNKNOWN and name not in ("id", "perf_tid")}
        assert held.keys() == told.keys()
        fields = tuple((name, text, told[name]) for name, text in held.items())
        seen.append((gap.number, own_name(e), round(float(context["tracemend_confidence"]), 4), fields))
    expected = [
        (
            r["gap"],
            SPELLED.get((r["name"], r["phase"]), r["name"]),
            round(float(np.float32(r["confidence"])), 4),
            tuple((k, v["value"], round(float(np.float32(round(v["confidence"], 4))), 9)) for k, v in r["fields"]),
        )
        for r in rows
    ]
    has = {name for e in events for name, _ in e["fields"]}
    expected = [(*row, tuple(f for f in fields if f[0] in has)) for *row, fields in expected]
    assert sorted(seen, key=lambda r: r[:3]) == sorted(expected, key=lambda r: r[:3])


def own_name(event: Event) -> str:
    """The tracer's own name of the event."""
    name: str = event["name"]
    return name.removesuffix(INCOMPLETE)


def confidences(event: Event) -> dict[str, float]:
    """How sure each inferred field is."""
    told = dict(event["context"]).get("tracemend_fields", "{}")
    return {name: round(float(text), 9) for name, text in re.findall(r"(\w+)=([^,}]+)", told)}


def assert_given_back(made: Mended, out: Path) -> None:
    """``strip`` gives the original back, and read again the merged trace is what the original was."""
    source, merged = made.trace.path, out / "merged"
    assert source is not None
    for i, place in enumerate((out, merged)):
        back = out.with_name(f"{out.name} back {i}")
        strip(place, back)
        assert contents(back) == contents(source)
        shutil.rmtree(back)
    again = read(merged)
    assert again.table.equals(made.trace.table)
    assert again.gaps == made.trace.gaps
    note = f"{made.inferred.num_rows} inferred events of an earlier mending were passed over"
    assert [w for w in again.warnings if w not in made.trace.warnings] == [note]
    assert glance(merged).gaps == glance(source).gaps
    assert note in glance(merged).warnings


# traces of LTTng


def test_lttng_mended(lttng_recordings: dict[str, Path], tmp_path: Path) -> None:
    """Two threads of one program that LTTng couldn't keep up with; what is inferred is made up."""
    source = lttng_recordings["discard"]
    made = mended(source, names=[("demo:tick", "instant"), ("demo:all", "instant")], most=60)
    assert made.inferred.num_rows > 60
    merged = merge(made, tmp_path / "out")
    assert_untouched(source, merged, ["ust/uid/0/64-bit"])
    ours = assert_merged(made, merged)
    known = {(int(t), c) for t, c in zip(made.trace.tid, made.trace.table["comm"].to_pylist(), strict=True)}
    known |= {(-1, "<...>")}
    for e in ours:
        context = dict(e["context"])
        assert (int(context["vtid"]), json.loads(context["procname"])) in known
        assert {text for _, text in e["fields"]} == {UNKNOWN}
    everything = next(dict(e["fields"]) for e in ours if e["name"] == f"demo:all{INCOMPLETE}")
    assert {"n", "text", "seq", "kind"} <= everything.keys()
    assert_given_back(made, tmp_path / "out")


# made-up traces


@pytest.mark.parametrize("little", [True, False])
@pytest.mark.parametrize("packets", [False, True])
def test_system_calls(tmp_path: Path, little: bool, packets: bool) -> None:
    source = record(kernel(little), tmp_path / "trace")
    if packets:
        in_packets(source, "<" if little else ">")
    made = mended(source)
    merged = merge(made, tmp_path / "out")
    assert_untouched(source, merged, [""])
    ours = assert_merged(made, merged)
    assert {e["name"] for e in ours} == {*SPELLED.values(), f"made{INCOMPLETE}"} - {"made"}
    assert all([name for name, _ in e["fields"]] == ["fd", "path", "ret"] for e in ours)
    assert {dict(e["fields"])["ret"] for e in ours if "exit" in e["name"]} == {UNKNOWN, *VALUES["exit"]["ret"]}
    assert {dict(e["fields"])[name] for e in ours for name in ("fd", "path")} == {UNKNOWN}
    threads = {
        (str(t), json.dumps(c or "<...>"))
        for t, c in zip(*(made.inferred[k].to_pylist() for k in ("tid", "comm")), strict=True)
    }
    assert {tuple(dict(e["context"])[k] for k in ("tid", "procname")) for e in ours} == threads
    assert_given_back(made, tmp_path / "out")


@pytest.mark.parametrize("seed", mostly_long(range(30), 12))
def test_random_types(tmp_path: Path, seed: int) -> None:
    source = random_trace(seed, tmp_path / "trace")
    made = mended(source, seed)
    merge(made, tmp_path / "out")
    assert_given_back(made, tmp_path / "out")
    assert_merged(made, tmp_path / "out" / "merged", off=2)


COMPACT = """enum : integer { size = 5; align = 1; } { compact = 0 ... 30, extended = 31 } id;
  variant <id> { struct { integer { size = 27; align = 1; map = clock.c.value; } timestamp; } compact;
    struct { integer { size = 32; align = 8; } id; time_t timestamp; } align(8) extended; } v;"""
LARGE = """enum : integer { size = 16; align = 8; } { compact = 0 ... 65534, extended = 65535 } id;
  variant <id> { struct { integer { size = 32; align = 8; map = clock.c.value; } timestamp; } compact;
    struct { integer { size = 32; align = 8; } id; time_t timestamp; } align(8) extended; } v;"""


@pytest.mark.parametrize("header", [COMPACT, LARGE])
def test_the_headers_of_lttng(tmp_path: Path, header: str) -> None:
    """Header and context of its own: the extra stream needs none of the tracer's tricks."""
    trace = Made(Struct([("n", WORD)]), True, names=("made", "other"))
    source = trace.write(tmp_path / "trace", [[]])
    text = (source / "metadata").read_text()
    at, end = text.index("event.header := struct {"), text.index("} align(8);")
    (source / "metadata").write_text(text[:at] + "event.header := struct { " + header + text[end:])
    body = b""
    for i, stamp in enumerate((10, 20, 3000)):
        compact = struct.pack("<I", i % 2 | stamp << 5) if header == COMPACT else struct.pack("<HI", i % 2, stamp)
        extended = (b"\x1f" if header == COMPACT else b"\xff\xff") + struct.pack("<IQ", i % 2, 1 << 40 | stamp)
        body += (extended if i == 0 else compact) + struct.pack("<q", i)
    size = 24 + 48 + 4 + len(body)
    head = struct.pack("<I16sI", MAGIC, UUID.bytes, 0)
    counts = struct.pack("<QQQQQQI", 1 << 40, 1 << 40 | 5000, size * 8, size * 8, 0, 7, 0)
    (source / "stream_0").write_bytes(head + counts + body)
    made = mended(source, names=[("made", "instant"), ("other", "instant")])
    assert made.inferred.num_rows == 7
    merged = merge(made, tmp_path / "out")
    assert_merged(made, merged)
    assert_given_back(made, tmp_path / "out")


def test_names_as_the_tracer_spells_them(tmp_path: Path) -> None:
    """Calls that the trace has no class for are spelled as its others are, and have no fields."""
    names = [("read", "enter"), ("read", "exit"), ("uname", "exit"), ("openat", "enter"), ("sched_switch", "instant")]
    spelled = {}
    for tracer, own in {
        "lttng": ("syscall_entry_openat", "syscall_exit_openat", "syscall_exit_newuname"),
        "older": ("sys_openat", "exit_syscall", "other"),
        "perf": ("syscalls:sys_enter_openat", "syscalls:sys_exit_openat", "syscalls:sys_exit_newuname"),
        "raw": ("raw_syscalls:sys_enter", "raw_syscalls:sys_exit", "other"),
    }.items():
        fields = Struct([("_id", WORD), ("_ret", WORD)])
        source = record(kernel(names=own, fields=fields), tmp_path / tracer)
        made = mended(source, names=names, seed=3)
        merged = merge(made, tmp_path / f"{tracer} out")
        ((events, _, error),) = judged(merged)
        assert not error
        order = made.order - len(made.trace)
        rows = made.inferred.take(order[order >= 0]).to_pylist()
        found = [(own_name(e), dict(e["fields"]).get("id", "").strip('"')) for e in inferred_of(events)]
        spelled[tracer] = dict(zip([(r["name"], r["phase"]) for r in rows], found, strict=True))
        assert_given_back(made, tmp_path / f"{tracer} out")
    assert spelled["lttng"] == {
        names[0]: ("syscall_entry_read", ""),
        names[1]: ("syscall_exit_read", ""),
        names[2]: ("syscall_exit_newuname", "<...>"),
        names[3]: ("syscall_entry_openat", "<...>"),
        names[4]: ("sched_switch", ""),
    }
    assert spelled["older"] == {
        names[0]: ("sys_read", ""),
        names[1]: ("exit_syscall", "<...>"),
        names[2]: ("exit_syscall", "<...>"),
        names[3]: ("sys_openat", "<...>"),
        names[4]: ("sched_switch", ""),
    }
    assert spelled["perf"] == {
        names[0]: ("syscalls:sys_enter_read", ""),
        names[1]: ("syscalls:sys_exit_read", ""),
        names[2]: ("syscalls:sys_exit_newuname", "<...>"),
        names[3]: ("syscalls:sys_enter_openat", "<...>"),
        names[4]: ("sched_switch", ""),
    }
    assert spelled["raw"] == {
        names[0]: ("raw_syscalls:sys_enter", "0"),
        names[1]: ("raw_syscalls:sys_exit", "0"),
        names[2]: ("raw_syscalls:sys_exit", "63"),
        names[3]: ("raw_syscalls:sys_enter", "257"),
        names[4]: ("sched_switch", ""),
    }


def word(little: bool, size: int, signed: bool = True) -> Int:
    return Int(size, signed, little, 10, 8)


@pytest.mark.parametrize("little", [True, False])
def test_fields_of_the_scheduler(tmp_path: Path, little: bool) -> None:
    """Made up, with LTTng's names and types, all in every event. What is known stands there as LTTng writes it."""
    fields: list[Any] = [("_prev_comm", Words(17)), ("_prev_tid", word(little, 32)), ("_prev_prio", word(little, 32))]
    states: Any = word(little, 64)
    if little:  # as of LTTng 2.13
        states = Enum(states, [("TASK_RUNNING", 0, 0), ("TASK_INTERRUPTIBLE", 1, 1)])
    fields += [("_prev_state", states), ("_next_comm", Words(17)), ("_next_tid", word(little, 32))]
    fields += [("_tid", word(little, 32)), ("_comm", Words(17)), ("_target_cpu", word(little, 32))]
    fields += [
        ("_irq", word(little, 32)),
        ("_name", Words()),
        ("_ret", word(little, 32)),
        ("_vec", word(little, 5, False)),
    ]
    names = [name for name, phase in KERNEL if phase == "instant"]
    spelt = {name: f"irq_{name}" if name.startswith("softirq") else name for name in names}
    trace = kernel(little, names=tuple(spelt.values()), fields=Struct(fields))
    made = mended(record(trace, tmp_path / "trace"), names=[(spelt[name], "instant") for name in names])
    rows = made.inferred.to_pylist()
    rng = Random(1)
    for row in rows:  # made_up knows the kernel's names alone
        known = VALUES.get(row["name"].removeprefix("irq_") if "softirq" in row["name"] else row["name"], {})
        row["fields"] = [
            (k, {"value": rng.choice(v), "confidence": 0.5}) for k, v in known.items() if rng.random() < 0.7
        ]
    made = replace(made, inferred=pa.Table.from_pylist(rows, made.inferred.schema))
    merged = merge(made, tmp_path / "out")
    ((events, _, error),) = judged(merged)
    assert not error
    order = made.order - len(made.trace)
    numbers = {"S": "TASK_INTERRUPTIBLE(1)" if little else "1", "R+": "256", "handled": "1", "001": "1"}
    for e, row in zip(inferred_of(events), made.inferred.take(order[order >= 0]).to_pylist(), strict=True):
        expected = dict.fromkeys((name.removeprefix("_") for name, _ in fields), UNKNOWN)
        for name, said in row["fields"]:
            text = said["value"]
            own = {"prev_pid": "prev_tid", "next_pid": "next_tid", "pid": "tid"}.get(name, name)
            if own in expected:  # LTTng has no action of softirqs
                expected[own] = f'"{text}"' if own.endswith(("comm", "name")) else numbers.get(text, text)
        assert dict(e["fields"]) == expected
        assert set(confidences(e)) == {name for name, text in expected.items() if text != UNKNOWN}
        drawn = {"sched_switch": ("prev_tid", "next_tid"), "sched_wakeup": ("tid",), "made": ("irq",)}
        whole = all(
            expected[n] != UNKNOWN for n in drawn.get(row["name"], ("vec" if "soft" in row["name"] else "irq",))
        )
        assert e["name"] == row["name"] + ("" if whole else INCOMPLETE)
    assert any(confidences(e) for e in inferred_of(events))
    lines = [line for line in lines_of_the_first(merged) if MARK in line]
    assert len(lines) == len(rows)
    assert sum('next_tid = "<...>"' in line for line in lines) > 0
    assert_given_back(made, tmp_path / "out")


@pytest.mark.parametrize(
    ("value", "size", "signed", "held"),
    [
        ("7", 3, False, "7"),
        ("8", 3, False, UNKNOWN),
        ("-1", 3, False, UNKNOWN),
        ("-4", 3, True, "-4"),
        ("4", 3, True, UNKNOWN),
        ("0x7f", 8, True, "127"),
        ("18446744073709551615", 64, False, "18446744073709551615"),
        ("18446744073709551616", 64, False, UNKNOWN),
        ("ten", 32, True, UNKNOWN),
        ("", 32, True, UNKNOWN),
    ],
)
def test_what_does_not_fit_a_field_is_not_known(tmp_path: Path, value: str, size: int, signed: bool, held: str) -> None:
    trace = kernel(fields=Struct([("_ret", word(True, size, signed)), ("_text", Words())]))
    made = mended(record(trace, tmp_path / "trace"), names=[("openat", "exit")], most=1)
    rows = made.inferred.to_pylist()
    texts = ["a b", "", "\0", "ä\n"]
    for row, text in zip(rows, itertools.cycle(texts)):
        row["fields"] = [(k, {"value": v, "confidence": 1.0}) for k, v in (("ret", value), ("text", text))]
    made = replace(made, inferred=pa.Table.from_pylist(rows, made.inferred.schema))
    ((events, _, _),) = judged(merge(made, tmp_path / "out"))
    found = inferred_of(events)
    assert len(found) == len(rows) > 1
    assert {dict(e["fields"])["ret"] for e in found} == {held}
    assert {dict(e["fields"])["text"] for e in found} <= {'"a b"', UNKNOWN, '"ä\\n"'}


def test_perf_says_among_its_fields_whose_an_event_is(tmp_path: Path) -> None:
    fields = Struct([("perf_tid", Int(32, True, True, 10, 1)), ("id", Int(64, True, True, 10, 1))])
    trace = Made(fields, True, names=("raw_syscalls:sys_enter",))
    packet = trace.packet([(5, {"perf_tid": 7, "id": 257})], discarded=9, end=500)
    source = trace.write(tmp_path / "trace", [[packet]])
    made = mended(source, names=[("read", "enter")])
    merged = merge(made, tmp_path / "out")
    ((events, _, error),) = judged(merged)
    assert not error
    order = made.order - len(made.trace)
    tids = [["perf_tid", str(t)] for t in made.inferred.take(order[order >= 0])["tid"].to_pylist()]
    assert [e["fields"] for e in inferred_of(events)] == [[tid, ["id", "0"]] for tid in tids]
    assert_given_back(made, tmp_path / "out")


def test_fields_of_any_type_stand_there(tmp_path: Path) -> None:
    trace = Made(Struct([("n", WORD)]), True, names=("made", "far"))
    source = record(trace, tmp_path / "trace")
    text = (source / "metadata").read_text()
    fields = "fields := struct { integer { size = 8; } a[stream.packet.context.packet_seq_num]; string b; };"
    (source / "metadata").write_text(text + f'event {{ name = "farther"; id = 7; stream_id = 0; {fields} }};\n')
    made = mended(source, names=[("farther", "instant"), ("far", "instant")])
    merged = merge(made, tmp_path / "out")
    fields_of = {own_name(e): e["fields"] for e in inferred_of(judged(merged)[0][0])}
    assert fields_of == {"farther": [["a", UNKNOWN], ["b", UNKNOWN]], "far": [["n", UNKNOWN]]}
    assert_given_back(made, tmp_path / "out")


def test_each_trace_directory_has_its_own(tmp_path: Path) -> None:
    root = tmp_path / "session"
    record(kernel(), root / "kernel", seed=1)
    record(Made(Struct([("n", WORD)]), True, names=("made", "other")), root / "ust" / "uid" / "0", seed=2)
    record(kernel(), root / "whole", seed=3, lost=False)
    for i, folder in enumerate(("kernel", "ust/uid/0", "whole")):  # no two traces have one UUID
        own = UUID.int + i
        for path in (root / folder).iterdir():
            data = path.read_bytes().replace(UUID.bytes, uuid.UUID(int=own).bytes)
            path.write_bytes(data.replace(str(UUID).encode(), str(uuid.UUID(int=own)).encode()))
    (root / "kernel" / "index").mkdir()
    (root / "kernel" / "index" / "stream_0.txt").write_text("not for babeltrace")
    (root / "ust" / "empty").mkdir()
    made = mended(root, names=[("made", "instant")])
    merged = merge(made, tmp_path / "out")
    lossy = ["kernel", "ust/uid/0"]
    assert_untouched(root, merged, lossy)
    assert_merged(made, merged)
    for folder in lossy:
        cpus = [s["number"] for s in made.trace.provenance["streams"] if s["file"].startswith(folder)]
        ((events, _, _),) = judged(merged / folder)
        gaps = {int(dict(e["context"])["tracemend_gap"]) for e in inferred_of(events)}
        assert gaps == {g.number for g in made.trace.gaps if g.cpu in cpus}
    assert_given_back(made, tmp_path / "out")


@pytest.mark.parametrize("tool", [["babeltrace2"], ["babeltrace"], ["babeltrace", "--fields", "all"]])
def test_what_babeltrace_prints_is_read_without_the_inferred_events(tmp_path: Path, tool: list[str]) -> None:
    if shutil.which(tool[0]) is None:
        pytest.skip(f"{tool[0]} is not installed")
    made = mended(record(kernel(), tmp_path / "trace"), names=KERNEL)
    found = []
    for folder in (tmp_path / "trace", merge(made, tmp_path / "out")):
        text = subprocess.run([*tool, folder], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True).stdout
        (tmp_path / "text").write_bytes(text)
        found.append(read(tmp_path / "text", "babeltrace"))
    before, after = found
    assert after.table.drop_columns("line").equals(before.table.drop_columns("line"))
    assert [replace(g, line=0) for g in after.gaps] == [replace(g, line=0) for g in before.gaps] != []
    assert any(f"{made.inferred.num_rows} inferred events" in w for w in after.warnings)


def test_metadata_says_how_the_events_were_made(tmp_path: Path) -> None:
    source = record(kernel(), tmp_path / "trace")
    made = mended(source, seed=5)
    made.provenance["model"] = 'a "model" */ of\nmine'
    merged = merge(made, tmp_path / "out")
    env = read_metadata(merged / "metadata").env
    assert env["tracemend_version"] == made.provenance["tracemend"]
    assert env["tracemend_model"] == made.provenance["model"]
    assert env["tracemend_model_sha256"] == "0" * 64
    assert env["tracemend_seed"] == 5
    assert env["tracemend_input_sha256"] == made.trace.provenance["sha256"]
    assert env["tracemend_events"] == made.inferred.num_rows
    assert "no evidence" in str(env["tracemend_note"])
    assert_merged(made, merged)


def test_nothing_inferred_is_a_plain_copy(tmp_path: Path) -> None:
    source = record(kernel(), tmp_path / "trace")
    merged = merge(mended(source, statuses=("refused",)), tmp_path / "out")
    assert contents(merged) == contents(source)
    strip(tmp_path / "out", tmp_path / "back")
    assert contents(tmp_path / "back") == contents(source)


@given(
    frequency=st.sampled_from([1, 3, 1000, 10**6, 10**9, 2_994_123_457, 2**40]),
    offset_s=st.integers(0, 2 * 10**9),
    offset=st.integers(0, 10**12),
    begin=st.integers(0, 2**62),
    length=st.integers(0, 2**40),
    share=st.floats(0, 1),
)
def test_times_stay_in_their_gap(
    frequency: int, offset_s: int, offset: int, begin: int, length: int, share: float
) -> None:
    clock = Clock("c", frequency, offset_s, offset)
    low, high = clock.ns(begin), clock.ns(begin + length)
    time = min(high, low + int(share * (high - low)))
    assert time <= clock.ns(cycles(clock, time)) <= high
    if frequency >= 10**9:
        assert clock.ns(cycles(clock, time)) == time


@given(
    frequency=st.sampled_from([1, 10**6, 10**9, 2_994_123_457]),
    offset_s=st.integers(-(2**31), 2 * 10**9),
    offset=st.integers(-(10**12), 10**12),
    times=st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 2**61), max_size=4),
)
def test_many_times_are_cycles_as_each_is(frequency: int, offset_s: int, offset: int, times: list[int]) -> None:
    clock = Clock("c", frequency, offset_s, offset)
    assert all_cycles(clock, np.array(times, np.int64)).tolist() == [cycles(clock, time) for time in times]


@pytest.mark.parametrize("little", [True, False])
def test_the_bytes_are_the_same_however_many_events_come_at_once(tmp_path: Path, little: bool) -> None:
    (some,) = mended(record(kernel(little), tmp_path / "trace")).in_time()
    whole = pa.concat_tables([some] * (1200 // len(some)))
    assert len(whole) > 2 * PACKET_EVENTS

    def packets(most: int) -> bytes:
        def inferred() -> Iterator[pa.Table]:
            return (whole.slice(at, most) for at in range(0, len(whole), most))

        traces, streams = _open(tmp_path / "trace", "x86_64")
        extra = Extra(traces[0], {s.number: s for s in streams}, inferred, "x86_64")
        return b"".join(extra.packets())

    assert len({packets(most) for most in (1, 7, 300, len(whole))}) == 1


# refusals


def assert_refused(made: Mended, out: Path, why: str) -> None:
    """Nothing is written, and the input stays as it is."""
    assert made.trace.path is not None
    before = contents(out.parent)
    with pytest.raises(OutputError, match=why) as e:
        write(made, out, ("merged",))
    assert "\n" not in str(e.value)
    assert contents(out.parent) == before


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("map = clock.c.value; } timestamp", "} timestamp", "trace: its events have no clock; not merged"),
        ("id = 0; stream_id = 0;", "id = 0;", "no ids that leave room for another kind"),
        ("stream { id = 0;", "stream {", "no ids that leave room for another kind"),
        ("uint32_t stream_id; };", "uint32_t other; };", "no ids that leave room for another kind"),
        ("uint32_t stream_id; };", "uint32_t stream_id[1]; };", "no ids that leave room for another kind"),
    ],
)
def test_traces_without_room(tmp_path: Path, old: str, new: str, why: str) -> None:
    source = record(kernel(), tmp_path / "trace")
    text = (source / "metadata").read_text()
    text = re.sub(re.escape(old).replace(r"\ ", r"\s+"), new, text)
    assert text != (source / "metadata").read_text()
    (source / "metadata").write_text(text)
    assert_refused(mended(source), tmp_path / "out", why)


def test_an_input_that_changed(tmp_path: Path) -> None:
    source = record(kernel(), tmp_path / "trace")
    made = mended(source)
    with open(source / "stream_1", "ab") as f:
        f.write(b"\0")
    assert_refused(made, tmp_path / "out", "trace: changed since it was read; not merged")


def test_a_merged_trace(tmp_path: Path) -> None:
    source = record(kernel(), tmp_path / "trace")
    merged = merge(mended(source), tmp_path / "out")
    assert_refused(mended(merged), tmp_path / "again", "merged: holds inferred events already: strip it first")


def test_a_file_of_the_extra_streams_name(tmp_path: Path) -> None:
    source = record(kernel(), tmp_path / "trace")
    (source / NAME).touch()
    assert_refused(mended(source), tmp_path / "out", f"trace/{NAME}: a file of this name is in the trace already")


def test_metadata_alone(tmp_path: Path) -> None:
    source = record(kernel(), tmp_path / "trace")
    assert_refused(mended(source / "metadata"), tmp_path / "out", "only a CTF trace's whole folder can be merged")


# failures


@pytest.mark.parametrize("at", range(8))
def test_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    source = record(kernel(), tmp_path / "trace")
    made, real = mended(source), os.fsync
    calls = iter(range(99))

    def failing(fd: int) -> None:
        if next(calls) == at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(fd)

    monkeypatch.setattr(os, "fsync", failing)
    assert_refused(made, tmp_path / "out", "No space left on device")


def test_a_full_disk(tmp_path: Path) -> None:
    """A real one: a file system of 32 kB in memory."""
    source = record(kernel(), tmp_path / "trace", streams=7)
    made = mended(source)
    write(made, tmp_path / "whole", ("merged",))
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("can't mount a file system here")
    try:
        with pytest.raises(OutputError, match="No space left on device"):
            write(made, disk / "out", ("merged",))
        assert contents(disk) == {}
        with open(disk / "most", "wb") as f:
            f.write(bytes(24 << 10))
        with pytest.raises(OutputError, match="No space left on device"):
            strip(tmp_path / "whole", disk / "back")
        assert list(contents(disk)) == ["most"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_force_replaces_an_output_folder(tmp_path: Path) -> None:
    source = record(kernel(), tmp_path / "trace")
    merge(mended(source), tmp_path / "out")
    write(mended(source, seed=2), tmp_path / "out", (), force=True)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["overlay.jsonl", "overlay.parquet"]


# the way back


def test_without_a_merged_folder_the_original_is_copied(tmp_path: Path) -> None:
    source = record(kernel(), tmp_path / "trace")
    write(mended(source), tmp_path / "out")
    strip(tmp_path / "out", tmp_path / "back")
    assert contents(tmp_path / "back") == contents(source)
    shutil.rmtree(source)
    with pytest.raises(OutputError, match="the original is no longer at"):
        strip(tmp_path / "out", tmp_path / "back again")


def test_what_is_there_is_not_replaced(tmp_path: Path) -> None:
    source = record(kernel(), tmp_path / "trace")
    merged = merge(mended(source), tmp_path / "out")
    (tmp_path / "empty").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").touch()
    before = contents(tmp_path)
    targets: dict[Any, str] = {
        io.BytesIO(): "a folder: name one to write",
        tmp_path / "empty": "exists already",
        merged / "inside": "lies in merged",
        tmp_path / "nowhere" / "back": "No such file",
    }
    for to, why in targets.items():
        with pytest.raises(OutputError, match=why):
            strip(tmp_path / "out", to)
    with pytest.raises(OutputError, match="exists already"):
        strip(tmp_path / "out", tmp_path / "mine", force=True)
    assert contents(tmp_path) == before
    strip(tmp_path / "out", tmp_path / "empty", force=True)
    assert contents(tmp_path / "empty") == contents(source)


@pytest.mark.parametrize("change", ["stream", "metadata", "removed", "added", "mark", "size"])
def test_a_merged_trace_that_was_changed(tmp_path: Path, change: str) -> None:
    source = record(kernel(), tmp_path / "trace")
    merged = merge(mended(source), tmp_path / "out")
    metadata = (merged / "metadata").read_bytes()
    match change:
        case "stream":
            (merged / "stream_0").write_bytes((merged / "stream_0").read_bytes()[:-1] + b"x")
        case "metadata":
            (merged / "metadata").write_bytes(metadata.replace(b"openat", b"OPENAT", 1))
        case "removed":
            (merged / "stream_1").unlink()
        case "added":
            (merged / "more").write_text("mine")
        case "mark":
            (merged / "metadata").write_bytes(metadata.replace(b'"metadata_bytes"', b'"metadata_sizes"'))
        case "size":
            (merged / "metadata").write_bytes(metadata.replace(b'"metadata_bytes": ', b'"metadata_bytes": 1'))
    before = contents(tmp_path)
    for out in (tmp_path / "out", merged):
        with pytest.raises(OutputError, match=r"changed since it was made|mark of the merged trace is damaged"):
            strip(out, tmp_path / "back")
    assert contents(tmp_path) == before


def test_the_command_line(tmp_path: Path) -> None:
    """From the trace to its mended copy and back, with a mender's own inferred events."""
    source = record(kernel(), tmp_path / "trace")
    done = run("mend", source, "-o", tmp_path / "out", "--alone", "--merged", "--json")
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "out" / "merged") in json.loads(done.stdout)["files"]
    made = mend_trace(read(source))
    assert made.inferred.num_rows == made.trace.lost == json.loads(done.stdout)["events"]
    assert_merged(made, tmp_path / "out" / "merged")
    assert_given_back(made, tmp_path / "out")
    assert run("strip", tmp_path / "out", "-o", tmp_path / "back").returncode == 0
    assert contents(tmp_path / "back") == contents(source)
    refused: list[list[str | Path]] = [
        ["strip", tmp_path / "out"],
        ["strip", tmp_path / "out", "-o", tmp_path / "back", "--force"],
    ]
    for words in refused:
        done = run(*words)
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
    again = run("scan", tmp_path / "out" / "merged", "--json")
    assert again.returncode == 3
    assert "inferred events of an earlier mending were passed over" in again.stderr
    assert json.loads(again.stdout)["lost"] == made.trace.lost
