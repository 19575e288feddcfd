"""CTF 2: traces of CTF 1.8 said in it (made-up), what only it has, and what babeltrace2 makes of recordings."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import time
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from conftest import CHANNELS, mostly_long
from ctf2_made import Object, convert, sequence
from ctf_made import MAGIC, UUID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_ctf import damage, index_counters, kernel, made
from typer.testing import CliRunner

from tracemend.cli.app import command_line
from tracemend.errors import TraceError
from tracemend.formats import glance, read, read_windows, recognise
from tracemend.trace.events import Trace


@cache
def converter() -> str:
    """babeltrace2 if it writes CTF 2, and what it is that it isn't otherwise (the reason to skip)."""
    if shutil.which("babeltrace2") is None:
        pytest.skip("babeltrace2 is not installed")
    said = subprocess.run(["babeltrace2", "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"(\d+)\.(\d+)", said)
    if version is None or (int(version[1]), int(version[2])) < (2, 1):
        pytest.skip(f"CTF 2 takes babeltrace2 2.1 or newer, this is {version and version[0]}")
    return "babeltrace2"


def by_babeltrace(source: Path, to: Path) -> Path:
    """The CTF 2 that babeltrace2 makes of a trace."""
    subprocess.run([converter(), str(source), "--output-format=ctf", f"--output={to}"], check=True, capture_output=True)
    heads = [m.read_bytes() for m in to.rglob("metadata")]
    assert heads
    assert all(b'"version":2' in head.partition(b"\n")[0] for head in heads)
    return to


def same(ours: Trace, theirs: Trace) -> None:
    """Everything but the lines, which count all events of a table."""
    assert ours.table.equals(theirs.table)
    assert ours.gaps == theirs.gaps
    assert ours.doubts == theirs.doubts
    assert ours.tracer == theirs.tracer


# traces of CTF 1.8, said in CTF 2


@pytest.mark.parametrize("seed", mostly_long(range(60), 25))
def test_random_types_said_in_ctf_2(tmp_path: Path, seed: int) -> None:
    trace, events, contexts = made(seed)
    packets = [trace.packet(events[:1], contexts=contexts[:1]), trace.packet(events[1:], contexts=contexts[1:])]
    folder = trace.write(
        tmp_path / "1", [[p for p, some in zip(packets, (events[:1], events[1:]), strict=True) if some]]
    )
    same(read(folder, strict=True), read(convert(folder, tmp_path / "2", renamed=seed % 2 == 0), strict=True))


@pytest.mark.parametrize("name", CHANNELS)
def test_recordings_said_in_ctf_2(lttng_recordings: dict[str, Path], tmp_path: Path, name: str) -> None:
    folder = next(lttng_recordings[name].rglob("metadata")).parent
    other = convert(folder, tmp_path / "2")
    assert recognise(other).name == "ctf"
    same(read(folder), read(other))
    same(read_windows(folder, 20), read_windows(other, 20))
    ours, theirs = glance(folder), glance(other)
    assert (ours.streams, ours.gaps, ours.doubts) == (theirs.streams, theirs.gaps, theirs.doubts)


@pytest.mark.parametrize("name", ["whole", "discard"])
def test_recordings_as_babeltrace_says_them_in_ctf_2(
    lttng_recordings: dict[str, Path], tmp_path: Path, name: str
) -> None:
    folder = lttng_recordings[name]
    other = by_babeltrace(folder, tmp_path / "2")
    ours, theirs = read(folder), read(other)
    assert ours.table.equals(theirs.table)
    assert (ours.lost, ours.tracer, ours.doubts) == (theirs.lost, theirs.tracer, theirs.doubts)
    if all(counters == sorted(counters) for counters in map(index_counters, folder.rglob("*.idx"))):
        assert ours.gaps == theirs.gaps  # a counter that falls, babeltrace2 lets fall elsewhere
        assert [g.count for g in glance(other).gaps] == [g.count for g in glance(folder).gaps]


def test_random_types_as_babeltrace_says_them_in_ctf_2(tmp_path: Path) -> None:
    refused = 0
    for seed in range(20):
        trace, events, contexts = made(seed)
        folder = trace.write(tmp_path / f"{seed}", [[trace.packet(events, contexts=contexts)]])
        try:
            other = by_babeltrace(folder, tmp_path / f"{seed} again")
        except subprocess.CalledProcessError:
            refused += 1
            continue
        ours, theirs = read(folder), read(other)
        assert ours.time_ns.tolist() == theirs.time_ns.tolist()
        assert ours.table["args"].to_pylist() == theirs.table["args"].to_pylist()
    assert refused < 10


# what only CTF 2 has


def unsigned(size: int, **more: Any) -> Object:
    return {"type": "fixed-length-unsigned-integer", "length": size, "byte-order": "little-endian", **more}


def member(name: str, kind: Object | str) -> Object:
    return {"name": name, "field-class": kind}


def structure(*members: Object, **more: Any) -> Object:
    return {"type": "structure", "member-classes": list(members), **more}


def located(*path: str | None, **more: Any) -> Object:
    return {"path": list(path), **more}


VARINT = {"type": "variable-length-unsigned-integer"}
TEXT = {"type": "null-terminated-string"}
PREAMBLE = {"type": "preamble", "version": 2}
PAYLOAD_ROOT = "event-record-payload"
PAYLOAD = structure(
    member("flag", {"type": "fixed-length-boolean", "length": 8, "byte-order": "big-endian", "alignment": 8}),
    member("told", {"type": "optional", "selector-field-location": located("flag"), "field-class": TEXT}),
    member("n", VARINT),
    member(
        "many",
        {
            "type": "dynamic-length-array",
            "element-field-class": {"type": "variable-length-signed-integer"},
            "length-field-location": located("n", origin="event-record-payload"),
        },
    ),
    member("bytes", {"type": "dynamic-length-blob", "length-field-location": located("n")}),
    member("wide", TEXT | {"encoding": "utf-16le"}),
    member("padded", {"type": "static-length-string", "length": 12, "encoding": "utf-32be"}),
    member(
        "bits", {"type": "fixed-length-bit-map", "length": 16, "byte-order": "little-endian", "flags": {"a": [[0, 3]]}}
    ),
    member("_own", VARINT | {"mappings": {"few": [[0, 3]], "many": [[4, 400]]}}),
    member(
        "inner",
        structure(
            member("k", "byte"),
            member(
                "deeper",
                structure(
                    member("text", {"type": "dynamic-length-string", "length-field-location": located(None, "k")}),
                    member(
                        "more",
                        {"type": "dynamic-length-string", "length-field-location": located("n", origin=PAYLOAD_ROOT)},
                    ),
                    **{"minimum-alignment": 32},
                ),
            ),
        ),
    ),
    member(
        "choice",
        {
            "type": "variant",
            "selector-field-location": located("inner", "k"),
            "options": [
                {"selector-field-ranges": [[0, 1], [9, 9]], "field-class": TEXT},
                {"selector-field-ranges": [[2, 8]], "field-class": structure(member("x", "byte"), member("y", "byte"))},
            ],
        },
    ),
    member(
        "absent",
        {
            "type": "optional",
            "selector-field-location": located("n"),
            "selector-field-ranges": [[5, 7]],
            "field-class": "byte",
        },
    ),
)
FRAGMENTS: list[Object] = [
    PREAMBLE | {"uuid": list(UUID.bytes), "attributes": {"someone": 1}},
    {"type": "field-class-alias", "name": "octet", "field-class": unsigned(8, alignment=8)},
    {"type": "field-class-alias", "name": "byte", "field-class": "octet"},
    {
        "type": "trace-class",
        "environment": {"tracer_name": "barectf"},
        "packet-header-field-class": structure(
            member("m", unsigned(32, roles=["packet-magic-number"])),
            member("u", {"type": "static-length-blob", "length": 16, "roles": ["metadata-stream-uuid"]}),
            member("c", VARINT | {"roles": ["data-stream-class-id"]}),
        ),
    },
    {
        "type": "clock-class",
        "id": "ticks",
        "frequency": 1000,
        "origin": {"name": "somewhere", "uid": "x"},
        "offset-from-origin": {"seconds": 2, "cycles": 500},
    },
    {
        "type": "data-stream-class",
        "id": 200,
        "default-clock-class-id": "ticks",
        "packet-context-field-class": structure(
            member("size", unsigned(16, roles=["packet-total-length", "packet-content-length"])),
            member("events_discarded", unsigned(8)),  # means nothing without a role
            member(
                "within",
                structure(
                    member("begin", VARINT | {"roles": ["default-clock-timestamp"]}),
                    member("end", unsigned(32, roles=["packet-end-default-clock-timestamp"])),
                    member("lost", VARINT | {"roles": ["discarded-event-record-counter-snapshot"]}),
                ),
            ),
        ),
        "event-record-header-field-class": structure(
            member("id", VARINT),  # neither does this
            member("kind", VARINT | {"roles": ["event-record-class-id"]}),
            member("now", VARINT | {"roles": ["default-clock-timestamp"]}),
        ),
    },
    {"type": "event-record-class", "id": 3, "data-stream-class-id": 200, "name": "all", "payload-field-class": PAYLOAD},
]


def leb(value: int) -> bytes:
    """LEB128, signed where the value is negative."""
    found = bytearray()
    while not (0 <= value < 128 or -64 <= value < 0):
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value & 127)
    return bytes(found)


def event(at: int, *, told: bool, now: int, k: int) -> bytes:
    """The event that begins at byte ``at`` of its packet."""
    found = bytearray(leb(77) + leb(3) + leb(now))

    def pad() -> None:
        found.extend(bytes(-(at + len(found)) % 4))

    pad()  # everything is aligned as what is innermost
    found += bytes([told]) + b"yes\0" * told + leb(2) + leb(-300) + leb(5) + b"\xfe\x01"
    found += "né".encode("utf-16le") + b"\0\0" + "a\0b".encode("utf-32be") + b"\x05\x80" + leb(300)
    pad()
    found.append(k)
    pad()
    return bytes(found + b"abcdefghi"[:k] + b"xy" + (b"\7\x08" if k == 3 else b"end\0"))


def only_ctf_2(folder: Path) -> Path:
    """A made-up packet of two events."""
    head = struct.pack("<I", MAGIC) + UUID.bytes + leb(200)
    begin, lost = leb(100), leb(6)
    at = len(head) + 2 + 1 + len(begin) + 4 + len(lost)
    events = event(at, told=True, now=100, k=3)
    events += event(at + len(events), told=False, now=300, k=1)
    context = struct.pack("<HB", (at + len(events)) * 8, 9) + begin + struct.pack("<I", 400) + lost
    folder.mkdir()
    (folder / "metadata").write_bytes(sequence(FRAGMENTS))
    (folder / "stream").write_bytes(head + context + events)
    return folder


ARGS = (
    'flag={}, told={}, n=2, many=[-300, 5], bytes=[0xfe, 0x1], wide="né", padded="a", bits=0x8005, _own=many(300), '
    'inner={{k={}, deeper={{text="{}", more="xy"}}}}, choice={}, absent=none'
)


def test_what_only_ctf_2_has(tmp_path: Path) -> None:
    folder = only_ctf_2(tmp_path / "trace")
    trace = read(folder, strict=True)
    assert trace.table["args"].to_pylist() == [
        ARGS.format(1, '"yes"', 3, "abc", "{x=7, y=8}"),
        ARGS.format(0, "none", 1, "a", '"end"'),
    ]
    assert trace.names[1] == ["all"]
    assert trace.time_ns.tolist() == [2_600_000_000, 2_800_000_000]
    assert [(g.count, g.begin_ns, g.end_ns) for g in trace.gaps] == [(6, 2_800_000_000, 2_900_000_000)]
    assert (trace.tracer, trace.doubts) == ("barectf", ())
    assert [g.count for g in glance(folder).gaps] == [6]


def test_babeltrace_reads_the_fields_so_too(tmp_path: Path) -> None:
    written(tmp_path, PAYLOAD, *FRAGMENTS[1:3])
    (tmp_path / "stream").write_bytes(event(0, told=True, now=0, k=3)[4:])
    done = subprocess.run([converter(), str(tmp_path)], capture_output=True, text=True, check=True)
    said = 'e: { flag = true, told = { "yes" }, n = 2, many = [ [0] = -300, [1] = 5 ], bytes = { fe 01 }, wide = "né", '
    said += 'padded = "a", bits = 0x8005 { "a" }, _own = ( "many" : container = 300 ), inner = { k = 3, deeper = '
    assert done.stdout == said + '{ text = "abc", more = "xy" } }, choice = { { x = 7, y = 8 } }, absent = <none> }\n'
    assert read(tmp_path).table["args"].to_pylist() == [ARGS.format(1, '"yes"', 3, "abc", "{x=7, y=8}")]


@pytest.mark.parametrize("order", "<>")
def test_metadata_in_packets(tmp_path: Path, order: str) -> None:
    folder = only_ctf_2(tmp_path / "trace")
    raw, parts = (folder / "metadata").read_bytes(), b""
    for at in range(0, len(raw), 1000):
        piece = raw[at : at + 1000]
        bits = (37 + len(piece)) * 8
        parts += struct.pack(f"{order}I16sIIIBBBBB", 0x75D11D57, UUID.bytes, 0, bits, bits, 0, 0, 0, 2, 0) + piece
    (folder / "metadata").write_bytes(parts)
    assert len(read(folder, strict=True)) == 2


@pytest.mark.parametrize("size", [16, 32, 64])
def test_numbers_with_a_point(tmp_path: Path, size: int) -> None:
    real = {"type": "fixed-length-floating-point-number", "length": size, "byte-order": "big-endian", "alignment": 8}
    written(tmp_path, structure(member("r", real), member("b", unsigned(3)), member("s", real | {"alignment": 1})))
    form = {16: ">e", 32: ">f", 64: ">d"}[size]
    (tmp_path / "stream").write_bytes(struct.pack(form, -0.5) + b"\x05" + bytes(size // 8))
    with pytest.raises(TraceError, match="two byte orders"):
        read(tmp_path)
    written(tmp_path, structure(member("r", real), member("b", unsigned(8))))
    (tmp_path / "stream").write_bytes(struct.pack(form, -0.5) + b"\x05")
    assert read(tmp_path).table["args"].to_pylist() == ["r=-0.5, b=5"]


def written(folder: Path, payload: Object, *fragments: Object) -> None:
    """The metadata of one kind of event."""
    stream = {"type": "data-stream-class"}
    event = {"type": "event-record-class", "name": "e", "payload-field-class": payload}
    (folder / "metadata").write_bytes(sequence([PREAMBLE, *fragments, stream, event]))


def test_locations_go_through_what_was_chosen(tmp_path: Path) -> None:
    inner = structure(member("k", unsigned(8)))
    held = {"type": "optional", "selector-field-location": located("flag"), "selector-field-ranges": [[1, 1]]}
    text = {"type": "dynamic-length-string", "length-field-location": located("held", "k")}
    written(
        tmp_path,
        structure(member("flag", unsigned(8)), member("held", held | {"field-class": inner}), member("t", text)),
    )
    (tmp_path / "stream").write_bytes(b"\1\2hi")
    assert read(tmp_path).table["args"].to_pylist() == ['flag=1, held={k=2}, t="hi"']
    (tmp_path / "stream").write_bytes(b"\0\2hi")
    with pytest.raises(TraceError, match="refers to a field that isn't there"):
        read(tmp_path)


def test_a_length_may_be_whatever_was_chosen(tmp_path: Path) -> None:
    one = structure(member("a", unsigned(16)), member("k", VARINT))
    choice = {"type": "variant", "selector-field-location": located("tag")}
    whole = [{"selector-field-ranges": [[i, i]], "field-class": unsigned(8 << i)} for i in range(2)]
    parts = [
        {"selector-field-ranges": [[0, 0]], "field-class": one},
        {"selector-field-ranges": [[1, 1]], "field-class": structure(member("k", unsigned(8)))},
    ]

    def text(*path: str) -> Object:
        return {"type": "dynamic-length-string", "length-field-location": located(*path)}

    for options, path, first, second in (
        (whole, ("x",), b"\0\2hi", b"\1\2\0hi"),
        (parts, ("x", "k"), b"\0\7\0\2hi", b"\1\2hi"),
    ):
        payload = structure(
            member("tag", unsigned(8)), member("x", choice | {"options": options}), member("t", text(*path))
        )
        written(tmp_path, payload)
        for data in (first, second):
            (tmp_path / "stream").write_bytes(data)
            (args,) = read(tmp_path).table["args"].to_pylist()
            assert args.endswith('t="hi"')


def test_locations_go_up_and_down_again(tmp_path: Path) -> None:
    """babeltrace2 2.1.1 finds nothing behind two steps up, of which 6.4.2 has no limit."""
    text = {"type": "dynamic-length-string", "length-field-location": located(None, None, "other", "n")}
    deeper = structure(member("b", structure(member("t", text))))
    written(tmp_path, structure(member("other", structure(member("n", VARINT))), member("a", deeper)))
    (tmp_path / "stream").write_bytes(b"\2hi")
    assert read(tmp_path).table["args"].to_pylist() == ['other={n=2}, a={b={t="hi"}}']


def test_elements_have_lengths_of_their_own(tmp_path: Path) -> None:
    text = {
        "type": "dynamic-length-string",
        "length-field-location": located("rows", "k", origin="event-record-payload"),
    }
    rows = {
        "type": "static-length-array",
        "length": 2,
        "element-field-class": structure(member("k", VARINT), member("t", text)),
    }
    written(tmp_path, structure(member("rows", rows)))
    (tmp_path / "stream").write_bytes(b"\2hi\3you")
    assert read(tmp_path).table["args"].to_pylist() == ['rows=[{k=2, t="hi"}, {k=3, t="you"}]']


def test_a_trace_without_an_event(tmp_path: Path) -> None:
    (tmp_path / "metadata").write_bytes(sequence([PREAMBLE, {"type": "data-stream-class"}]))
    trace, seen = read(tmp_path), glance(tmp_path)
    assert (len(trace), trace.gaps, trace.doubts) == (0, (), ())
    assert (seen.streams, seen.gaps, seen.doubts) == ((), (), ())


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        ({"type": "mystery"}, "no type of field class: 'mystery'"),
        ({"type": "fixed-length-mystery", "length": 8, "byte-order": "big-endian"}, "fixed-length-mystery"),
        (unsigned(0), "an integer of 0 bits"),
        (unsigned(8) | {"byte-order": "middle"}, "'byte-order' is 'middle'"),
        (unsigned(8) | {"bit-order": "last-to-first"}, "bits in another order"),
        ({"type": "fixed-length-unsigned-integer", "byte-order": "big-endian"}, "'length' is missing"),
        (unsigned(8, alignment=3), "alignment of 3"),
        (unsigned(8, mappings={"a": [[2, 1]]}), "no range"),
        (TEXT | {"encoding": "ebcdic"}, "'encoding' is 'ebcdic'"),
        ("nowhere", "no field class alias 'nowhere'"),
        (7, "a field class that is no object"),
        ({"type": "static-length-string", "length": -1}, "a length of -1"),
        ({"type": "static-length-array", "length": 1 << 50, "element-field-class": unsigned(8)}, "tebibyte"),
        ({"type": "dynamic-length-blob", "length-field-location": located("later")}, "leads to no field"),
        ({"type": "dynamic-length-blob", "length-field-location": located(None, None, "n")}, "leads to no field"),
        ({"type": "dynamic-length-blob", "length-field-location": located("n", origin="moon")}, "'origin' is 'moon'"),
        ({"type": "dynamic-length-blob", "length-field-location": located("n", origin="packet-context")}, "no field"),
        ({"type": "variant", "selector-field-location": located("n"), "options": []}, "without an option"),
        (structure(member("a", TEXT), member("a", TEXT)), "two fields named a"),
    ],
)
def test_field_classes_that_can_not_be(tmp_path: Path, payload: Any, why: str) -> None:
    written(tmp_path, structure(member("n", unsigned(8)), member("f", payload)))
    (tmp_path / "stream").write_bytes(bytes(64))
    with pytest.raises(TraceError, match=re.escape(why)) as e:
        read(tmp_path)
    assert (e.value.path, e.value.line > 3) == (str(tmp_path / "metadata"), True)


DEEP: Object = TEXT
for _ in range(60):
    DEEP = structure(member("x", DEEP))


@pytest.mark.parametrize(
    ("raw", "line", "why"),
    [
        (b'\x1e{"type": "preamble", "version": 2}\n\x1e{"type":\n 7,}', 3, "no JSON"),
        (b'\x1e{"type": "preamble", "version": 2}\n\x1e"\xff"', 2, "no JSON"),
        (b'\x1e{"type": "preamble", "version": 2}\n\x1e' + b"[" * 100_000, 2, "nested too deep"),
        (b'\x1e{"type": "preamble", "version": 2}\n\x1e[1]', 2, "no object"),
        (b'\x1e{"type": "preamble", "version": 3}', 1, "CTF 3; only 1.8 and 2"),
        (b'\x1e{"type": "preamble", "version": 2, "uuid": [1]}', 1, "'uuid' is not what it should be"),
        (
            sequence([PREAMBLE | {"extensions": {"my.tracer": {"piano": 1}}}]),
            1,
            "extensions that nothing here knows: my",
        ),
        (sequence([{"type": "data-stream-class"}]), 1, "the preamble is the first fragment"),
        (sequence([PREAMBLE, PREAMBLE]), 5, "the preamble is the first fragment"),
        (b"\x1e{ }", 1, "'type' is missing"),
        (b"\x1e\n{", 2, "no JSON"),
        (sequence([PREAMBLE, {"type": "riddle"}]), 5, "no type of fragment: 'riddle'"),
        (sequence([PREAMBLE, {"type": "event-record-class"}]), 5, "its data stream class isn't there"),
        (sequence([PREAMBLE, {"type": "data-stream-class"}, {"type": "data-stream-class"}]), 8, "two of id 0"),
        (sequence([PREAMBLE, {"type": "data-stream-class", "default-clock-class-id": "c"}]), 5, "no clock class 'c'"),
        (sequence([PREAMBLE, {"type": "clock-class", "id": "c", "frequency": 0}]), 5, "stands still"),
        (sequence([PREAMBLE, {"type": "clock-class", "id": "c", "frequency": True}]), 5, "'frequency' is not"),
        (sequence([PREAMBLE, {"type": "data-stream-class", "packet-context-field-class": TEXT}]), 5, "is no structure"),
        (sequence([PREAMBLE, {"type": "data-stream-class", "packet-context-field-class": DEEP}]), 5, "nested too deep"),
        (
            sequence([PREAMBLE, {"type": "field-class-alias", "name": "a", "field-class": "a"}]),
            5,
            "no field class alias",
        ),
    ],
)
def test_metadata_that_can_not_be(tmp_path: Path, raw: bytes, line: int, why: str) -> None:
    (tmp_path / "metadata").write_bytes(raw)
    (tmp_path / "stream").write_bytes(bytes(64))
    begin = time.monotonic()
    with pytest.raises(TraceError, match=re.escape(why)) as e:
        read(tmp_path, "ctf")
    assert time.monotonic() - begin < 1
    assert (e.value.path, e.value.line) == (str(tmp_path / "metadata"), line)
    assert "\n" not in e.value.message


@pytest.mark.long
def test_aliases_of_aliases_are_no_bomb(tmp_path: Path) -> None:
    layers = [{"type": "field-class-alias", "name": "a0", "field-class": unsigned(8)}]
    for i in range(30):
        twice = structure(*(member(f"m{k}", f"a{i}") for k in range(9)))
        layers.append({"type": "field-class-alias", "name": f"a{i + 1}", "field-class": twice})
    written(tmp_path, structure(member("x", "a30")), *layers)
    begin = time.monotonic()
    with pytest.raises(TraceError, match="a type of more than 10,000 fields"):
        read(tmp_path)
    assert time.monotonic() - begin < 5


def test_nothing_is_merged_into_ctf_2(tmp_path: Path) -> None:
    names = ("syscall_entry_read", "syscall_exit_read")
    trace = kernel(names)
    packets = [
        trace.packet(
            [(1000 * i + 10 * k, {"_id": 0, "_ret": 1}) for k in range(20)],
            ids=[k % 2 for k in range(20)],
            contexts=[{"_tid": 7, "_procname": "cat"}] * 20,
            sequence=i,
            discarded=4 * (i > 0),
        )
        for i in range(3)
    ]
    folder = convert(trace.write(tmp_path / "1", [packets]), tmp_path / "2")
    words = ["mend", str(folder), "-o", str(tmp_path / "out"), "--model", "lookup"]
    done = CliRunner().invoke(command_line(), words)
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(command_line(), [*words[:3], str(tmp_path / "other"), *words[4:], "--merged"])
    assert done.exit_code != 0
    assert not (tmp_path / "other").exists()


# damage


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32), strict=st.booleans())
def test_damage_never_raises_anything_else(tmp_path_factory: pytest.TempPathFactory, seed: int, strict: bool) -> None:
    hurt_at_random(tmp_path_factory.mktemp("hurt"), seed, strict)


@pytest.mark.parametrize("seed", range(10))
def test_what_is_always_damaged_alike(tmp_path: Path, seed: int) -> None:
    hurt_at_random(tmp_path, seed, strict=False)


def hurt_at_random(place: Path, seed: int, strict: bool) -> None:
    rng = Random(seed)
    folder = only_ctf_2(place / "trace")
    hurt = folder / rng.choice(["metadata", "stream"])
    hurt.write_bytes(damage(rng, hurt.read_bytes()))
    begin = time.monotonic()
    error: TraceError | None
    try:
        trace = read(folder, "ctf", strict=strict)
        glance(folder, "ctf")
    except TraceError as e:
        error = e
    else:
        error = None
        trace.table.validate(full=True)
        assert (np.diff(trace.time_ns) >= 0).all()
    assert error is None or (error.path.startswith(str(folder)) and "\n" not in error.message)
    assert time.monotonic() - begin < 5
