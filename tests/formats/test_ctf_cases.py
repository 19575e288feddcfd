"""CTF: small traces with what is right for each (the shared cases), what a trace tells of its losses, and damage."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from ctf_made import UUID, Int, Made, Struct
from test_ctf import counting, losing
from typer.testing import CliRunner

from tracemend.cli.app import command_line
from tracemend.errors import TraceError
from tracemend.formats import glance, read, read_windows
from tracemend.formats.ctf.counters import growth
from tracemend.losses.verdict import LOST, verdict

CASES = ROOT.parent / "shared" / "cases" / "ctf"
#: The fields of the events of each case.
RIGHT = {
    "character-constant": ["v=65"],
    "content-size-alone": ["v=65", "v=66"],
    "cpu-id-minus-one": ["v=65", "v=66"],
    "integer-128-bits": [f"v={int.from_bytes(bytes(range(16)), 'little')}"],
    "no-stream-file": [],
    "other-uuid": ["v=65"],
    "struct-no-semicolon": ["f={y={x=65}}", "f={y={x=66}}"],
    "typedef-sequence-scope": ['n=2, f={n="hi", x={d=[7, 8]}}'],
}


@pytest.mark.parametrize("case", RIGHT)
def test_the_cases(case: str) -> None:
    folder = CASES / case
    if not (folder / "metadata").exists():
        pytest.skip(f"{folder} is not here")
    trace, seen = read(folder, strict=True), glance(folder, strict=True)
    assert trace.table["args"].to_pylist() == RIGHT[case]
    assert (trace.gaps, seen.gaps) == ((), ())
    assert bool(trace.warnings) == bool(seen.warnings) == (case == "other-uuid")
    whys = [d.why for d in trace.doubts]
    assert whys == [d.why for d in seen.doubts] == ["its packets count no discarded events"] * (len(trace) > 0)


def one_event(folder: Path, metadata: str, *streams: bytes) -> list[Any]:
    """The arguments of the events of a made-up trace."""
    folder.mkdir(exist_ok=True)
    text = "/* CTF 1.8 */ typealias integer { size = 8; } := u8; trace { major = 1; minor = 8; byte_order = le; };"
    (folder / "metadata").write_text(text + metadata)
    for i, data in enumerate(streams):
        (folder / f"s{i}").write_bytes(data)
    found: list[Any] = read(folder, strict=True).table["args"].to_pylist()
    return found


@pytest.mark.parametrize("size", [65, 100, 128, 1024, 4096, 5000, 65536])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("order", ["le", "be"])
def test_integers_of_any_size(tmp_path: Path, size: int, signed: bool, order: str) -> None:
    attributes = f"size = {size}; align = 8; signed = {str(signed).lower()}; byte_order = {order};"
    field = f"integer {{ {attributes} }} v; struct {{ integer {{ {attributes} base = 16; }} w; }} s;"
    rest = f"integer {{ size = {-size % 8}; byte_order = {order}; }} rest;" if size % 8 else ""
    value = -5 if signed else (1 << size) - 5
    left = value % (1 << size) << (-size % 8 if order == "be" else 0)  # big-endian numbers begin at the highest bit
    raw = left.to_bytes(-(-size // 8), "little" if order == "le" else "big")
    (args,) = one_event(tmp_path, f"event {{ name = e; fields := struct {{ {field} {rest} }}; }};", raw * 2)
    unsigned = value % (1 << size)
    shown = f"{unsigned:#x}" if size > 4096 else str(value)
    assert args == f"v={shown}, s={{w={unsigned:#x}}}" + (", rest=0" if rest else "")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("'A'", 65),
        ("L'A'", 65),
        (r"'\n'", 10),
        (r"'\x41'", 65),
        (r"'\101'", 65),
        (r"'\''", 39),
        ("-'A'", -65),
        ("'ab'", 0x6162),
    ],
)
def test_character_constants_are_numbers(tmp_path: Path, text: str, value: int) -> None:
    labels = f"enum : integer {{ size = 16; signed = true; }} {{ here = {text} }} v;"
    data = value.to_bytes(2, "little", signed=True)
    metadata = f'env {{ a = {text}; b = L"x"; }};'
    assert one_event(tmp_path, metadata + f"event {{ name = e; fields := struct {{ {labels} }}; }};", data) == [
        f"v=here({value})"
    ]


@pytest.mark.parametrize("what", ["struct a { u8 x; }", "variant a { u8 x; }", "enum a : u8 { x }"])
@pytest.mark.parametrize("where", ["root", "trace", "event"])
def test_a_type_may_be_declared_without_a_semicolon(tmp_path: Path, what: str, where: str) -> None:
    outside, inside = (what, "") if where == "root" else ("", what)
    if where == "trace":
        outside, inside = f"stream {{ {what} id = 0; }};", ""
    metadata = f"{outside} event {{ name = e; {inside} fields := struct {{ u8 v; }}; }};"
    assert one_event(tmp_path, metadata, b"A") == ["v=65"]


@pytest.mark.parametrize(
    ("fields", "data", "args"),
    [
        ("typedef u8 S[n]; struct { string n; S x; } f;", b"\2hi\0\7\x08", 'f={n="hi", x=[7, 8]}'),
        ("typealias struct { u8 d[n]; } := S; struct { u8 n; S x; } f;", b"\2\1\7\x08", "f={n=1, x={d=[7, 8]}}"),
        ("struct S { u8 d[n][n]; }; struct { u8 n; struct S x; } f;", b"\1\0\7", "f={n=0, x={d=[[7]]}}"),
        ("struct { u8 n; struct { u8 d[n]; } x; } f;", b"\2\1\7", "f={n=1, x={d=[7]}}"),
        ("struct { u8 k; u8 d[event.fields.n]; } f;", b"\1\7\x08", "f={k=7, d=[8]}"),
        ("struct { u8 k; struct { u8 d[event.fields.f.k]; } g; } f;", b"\0\1\x08", "f={k=1, g={d=[8]}}"),
    ],
)
def test_a_length_is_bound_where_the_type_stands(tmp_path: Path, fields: str, data: bytes, args: str) -> None:
    (found,) = one_event(tmp_path, f"event {{ name = e; fields := struct {{ u8 n; {fields} }}; }};", data)
    assert found == f"n={data[0]}, {args}"


def test_a_tag_is_bound_where_the_type_stands(tmp_path: Path) -> None:
    tag = "enum : u8 { a = 0, b = 1 }"
    fields = f"{tag} t; typedef variant <t> {{ u8 a; string b; }} V; struct {{ {tag} t; V v; }} f;"
    (found,) = one_event(tmp_path, f"event {{ name = e; fields := struct {{ {fields} }}; }};", b"\1\0hi\0")
    assert found == 't=b(1), f={t=a(0), v="hi"}'


@pytest.mark.parametrize("raw", [(1 << 32) - 1, (1 << 64) - 1])
def test_a_thread_on_no_cpu(tmp_path: Path, raw: int) -> None:
    size = raw.bit_length()
    metadata = f"stream {{ packet.context := struct {{ integer {{ size = {size}; align = 8; }} cpu_id; }}; }};"
    metadata += "event { name = e; fields := struct { u8 v; }; };"
    assert one_event(tmp_path, metadata, raw.to_bytes(size // 8, "little") + b"A") == ["v=65"]
    assert read(tmp_path).cpu.tolist() == [-1]


def test_packets_of_several_uuids(tmp_path: Path) -> None:
    made = Made(Struct([("n", Int(32, False, True, 10, 8))]), True, instance=7)
    own, other = (bytearray(made.packet([(t, {"n": t})], discarded=d)) for t, d in ((5, 0), (6, 3)))
    other[4:20] = bytes(16)
    folder = made.write(tmp_path, [[bytes(own)], [bytes(other), bytes(other)]])
    trace, seen = read(folder, strict=True), glance(folder, strict=True)
    assert sorted(trace.table["args"].to_pylist()) == ["n=5", "n=6", "n=6"]
    assert len(trace.streams) == len(seen.streams) == 2
    assert [g.count for g in trace.gaps] == [g.count for g in seen.gaps] == [3]
    said = (
        "2 packets have another UUID than the metadata (stream_1, byte 0): read all the same, as streams of their own"
    )
    assert said in trace.warnings
    assert said in seen.warnings


# what a trace tells of its losses


def environment(folder: Path, env: str) -> Path:
    path = folder / "metadata"
    path.write_text(path.read_text() + f"env {{ {env} }};")
    return folder


@pytest.mark.parametrize(
    ("env", "tracer", "why"),
    [
        ('tracer_name = "lttng-modules"; domain = "kernel";', "lttng", ""),
        ('tracer_name = "lttng-ust";', "lttng", ""),
        ('domain = "ust";', "lttng", ""),
        ('tracer_name = "barectf";', "barectf", ""),
        ('tracer_name = "perf"; domain = "kernel";', "perf", "perf data convert --to-ctf writes none of the losses"),
        ("", "", ""),
    ],
)
def test_who_wrote_it_and_what_that_leaves_in_doubt(tmp_path: Path, env: str, tracer: str, why: str) -> None:
    trace, packets = counting([{"discarded": 0}, {"discarded": 0}])
    folder = environment(trace.write(tmp_path, [packets]), env)
    whole, seen, some = read(folder), glance(folder), read_windows(folder, 5)
    assert (whole.tracer, some.tracer) == (tracer, tracer)
    assert whole.doubts == seen.doubts == some.doubts
    assert [d.why.startswith(why) for d in whole.doubts] == ([True] if why else [])
    assert all(d.remedy and not d.unless for d in whole.doubts)


def test_a_stream_that_begins_late_is_in_doubt(tmp_path: Path) -> None:
    trace = losing(tmp_path, [{"discarded": 0, "sequence": s} for s in (3, 4)])
    assert [d.why for d in trace.doubts] == [
        "1 of 1 streams begin late (stream_0 with packet 3): what they held before is not here"
    ]
    assert glance(tmp_path).doubts == trace.doubts


def test_packets_without_an_event_leave_no_doubt(tmp_path: Path) -> None:
    metadata = "stream { packet.context := struct { u8 content_size; u8 packet_size; }; };"
    assert (
        one_event(tmp_path, metadata + "event { name = e; fields := struct { u8 v; }; };", bytes([16, 64]) + bytes(6))
        == []
    )
    trace, seen = read(tmp_path), glance(tmp_path)
    assert (trace.doubts, seen.doubts, trace.gaps, len(seen.streams)) == ((), (), (), 1)


def test_the_bytes_that_events_took(tmp_path: Path) -> None:
    trace, packets = counting([{"discarded": 0, "events": 3}, {"discarded": 0, "events": 5}])
    assert read(trace.write(tmp_path, [packets])).stored == {0: 8 * 12}  # a time and a number each


@pytest.mark.parametrize("words", [["scan"], ["scan", "--quick"]])
def test_a_trace_without_an_event_is_no_error(tmp_path: Path, words: list[str]) -> None:
    one_event(tmp_path, "event { name = e; fields := struct { u8 v; }; };")
    done = CliRunner().invoke(command_line(), [*words, str(tmp_path), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["gaps"] == []


# damage


def test_a_file_that_can_not_be_read_is_a_loss_without_a_place(tmp_path: Path) -> None:
    trace, packets = counting([{"discarded": 0}])
    folder = trace.write(tmp_path, [packets, [b"x" * 64]])
    found, seen = read(folder), glance(folder)
    assert [(u.said, u.count) for u in found.unplaced] == [("nothing of stream_1 can be read", None)]
    assert seen.unplaced == found.unplaced
    assert verdict(seen).word == LOST
    assert found.passed_over is not None
    with pytest.raises(TraceError, match="stream_1: byte 0: no packet begins here"):
        read(folder, strict=True)
    shutil.rmtree(folder)
    with pytest.raises(TraceError, match="in which no event was found"):
        read(trace.write(tmp_path, [[b"x" * 64]]))
    with pytest.raises(TraceError, match="in which no event was found"):
        glance(folder)


def test_damage_in_the_middle_is_a_gap_there(tmp_path: Path) -> None:
    trace = Made(Struct([("n", Int(32, False, True, 10, 8))]), True, names=("a", "b"))
    packets = [
        bytearray(trace.packet([(100 * i + k, {"n": k}) for k in range(4)], ids=[0] * 4, sequence=i)) for i in range(3)
    ]
    size = 4 + 8 + 4
    at = len(UUID.bytes) + 8 + 48 + 4 + 2 * size
    packets[1][at : at + 4] = b"\xff" * 4  # the third event's class
    folder = trace.write(tmp_path, [[bytes(p) for p in packets]])
    found = read(folder)
    assert [(g.before, g.after, g.count, g.known) for g in found.gaps] == [(5, 6, None, "uncounted")]
    assert len(found) == 10
    again = read_windows(folder, 2)
    assert len(again.gaps) == 0  # what isn't read isn't known to be damaged


# counters


@pytest.mark.parametrize(
    ("counters", "whole", "found"),
    [
        ([0, 5, 5, 9], True, [(range(1, 2), 5), (range(3, 4), 4)]),
        ([5, 5], True, [(range(1), 5)]),
        ([5, 7], False, [(range(1, 2), 2)]),
        ([None, None], True, []),
        ([3, 0, 0, 8], True, [(range(1), 3), (range(1, 4), 5)]),
        ([3, None, 8], True, [(range(1), 3), (range(1, 3), 5)]),
        ([0, 1 << 40, 3, 4], True, [(range(1, 3), 3), (range(3, 4), 1)]),
        ([0, 200, 10, 250], True, [(range(1, 2), 200), (range(2, 4), 50)]),
    ],
)
def test_growth(counters: list[int | None], whole: bool, found: list[tuple[range, int]]) -> None:
    assert list(growth(counters, 64, whole)) == found


def test_a_short_counter_runs_around() -> None:
    assert list(growth([250, 4, 10], 8, whole=False)) == [(range(1, 2), 10), (range(2, 3), 6)]
