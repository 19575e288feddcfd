"""Damaged and hostile files: a trace or a TraceError that names the file, never anything else."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from printed import SEEDS as PRINTED

from tracemend.errors import OptionError, TraceError
from tracemend.formats import FORMATS, read
from tracemend.formats.text import open_binary
from tracemend.trace.events import SCHEMA, Trace

DATA = Path(__file__).parents[1] / "data"
TEXTS = (
    "ftrace_counter.txt.xz",
    "ftrace_latency.txt.xz",
    "ftrace_overrun.txt.xz",
    "ftrace_pipe.txt",
    "ftrace_trace.txt",
    "ftrace_syscalls.txt.xz",
    "trace_cmd_report.txt",
    "perf_callchain.txt",
    "perf_syscalls.txt",
    "perf_lost.txt.xz",
    "strace_ttt.txt",
    "strace_r.txt",
    "strace_tt_T.txt",
    "strace_bare.txt",
    "strace_comm.txt.xz",
    "strace_k_C.txt",
    "strace_mixed.txt",
    "strace_z.txt.xz",
)
TEXT_FORMATS = ("ftrace", "perf", "strace", "sequence", *PRINTED)
AWKWARD = [
    b"\0",
    b"\xff\xfe",
    "é".encode(),
    b"\r",
    b"\n",
    b"\n\n",
    b"\t",
    b" " * 70,
    b"-",
    b"[",
    b"]",
    b"[001]",
    b"99999999999999999999",
    b":",
    b": ",
    b"(",
    b" = ",
    b"...",
    b"?",
    b"~",
    b"CPU:1 [LOST 99999999999999999999 EVENTS]\n",
    b"CPU:99999 [LOST EVENTS]\n",
    b"PERF_RECORD_LOST lost 7",
    b"LOST 99999999999999999999 events!\n",
    b"Possibly lost 99999999999999999999 samples\n",
    b"Driver Drops:99999999999999999999\n",
    b"WARNING: Tracer discarded 18446744073709551615 events between [9999999999.999999999] and [",
    b"<unfinished ...>",
    b"<... read resumed>",
    b"strace: Process 12 attached",
    b"<detached ...>",
    b"<sh>",
    b"hello\n",
    b"CPU: 1\noverrun: 7\n",
    b"##### CPU 1 buffer started ####\n",
    b" tracemend_inferred gap=0",
]


def head_of(name: str, lines: int = 90) -> bytes:
    with open_binary(DATA / name) as f:
        return b"".join(f.readlines()[:lines])


#: Made up as the kernel's documentation has it: the kernel that tests run on has no such tracer.
GRAPH = b"""# tracer: function_graph
 0)               |  sys_open() {
 0)               |    /* sched_wakeup: comm=a pid=7 */
 0)   0.081 us    |    kmem_cache_alloc();
 ------------------------------------------
 0)   sh-12   =>  cat-13
 ------------------------------------------
CPU:0 [LOST 12 EVENTS]
 0) ! 103.447 us  |  } /* sys_open */
"""
SEEDS = [head_of(name) for name in TEXTS] + [
    b"openat read read ? ? close\n",
    b"openat:enter\nopenat:exit\n...\n~read\n7\n-1\n",
    *(seed.encode() for seeds in PRINTED.values() for seed in seeds),
    GRAPH,
]


def zstd(data: bytes) -> bytes:
    """Packed, in two frames."""
    half = len(data) // 2
    return b"".join(bytes(pa.Codec("zstd").compress(part)) for part in (data[:half], data[half:]))


def check(trace: Trace) -> None:
    assert trace.table.schema == SCHEMA
    trace.table.validate(full=True)
    for cpu, rows in trace.streams.items():
        assert (np.diff(trace.time_ns[rows]) >= 0).all(), cpu
    for gap in trace.gaps:
        assert gap.begin_ns <= gap.end_ns
        assert gap.count is None or gap.count >= 0
        rows = trace.streams.get(gap.cpu, np.empty(0, np.int64)).tolist()
        around = [r for r in (gap.before, gap.after) if r is not None]
        assert all(r in rows for r in around)
        assert gap.before is None or gap.after is None or rows.index(gap.after) == rows.index(gap.before) + 1


def attempt(path: Path, **options: object) -> None:
    try:
        trace = read(path, **options)  # type: ignore[arg-type]
    except TraceError as e:
        error = e
    else:
        check(trace)
        return
    assert error.path == str(path)
    assert error.line >= 0
    assert "\n" not in error.message


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(0, 4))):
        a = draw(st.integers(0, len(data)))
        b = min(len(data), a + draw(st.integers(0, 200)))
        match draw(st.sampled_from(["delete", "insert", "noise", "repeat", "truncate", "swap"])):
            case "delete":
                del data[a:b]
            case "insert":
                data[a:a] = draw(st.sampled_from(AWKWARD))
            case "noise":
                data[a:a] = draw(st.binary(max_size=40))
            case "repeat":
                data[a:a] = data[a:b]
            case "truncate":
                del data[a:]
            case _:
                data[a : a + 1] = draw(st.binary(min_size=1, max_size=1))
    return bytes(data)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged") / "trace"


@pytest.mark.long
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=damaged(), format=st.sampled_from([None, *TEXT_FORMATS]), strict=st.booleans())
def test_damage_never_raises_anything_else(scratch: Path, data: bytes, format: str | None, strict: bool) -> None:
    scratch.write_bytes(data)
    attempt(scratch, format=format, strict=strict)


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=3000), format=st.sampled_from([None, *TEXT_FORMATS]))
def test_garbage_never_raises_anything_else(scratch: Path, data: bytes, format: str | None) -> None:
    scratch.write_bytes(data)
    attempt(scratch, format=format)


@settings(max_examples=150, deadline=None)
@given(
    packer=st.sampled_from([gzip.compress, bz2.compress, lzma.compress, zstd]),
    seed=st.sampled_from(SEEDS[:5]),
    damage=st.tuples(st.floats(0, 1), st.binary(max_size=6), st.booleans()),
)
def test_damaged_compression(
    scratch: Path, packer: Callable[[bytes], bytes], seed: bytes, damage: tuple[float, bytes, bool]
) -> None:
    packed = packer(seed)
    at, patch, keep = damage
    cut = int(at * len(packed))
    scratch.write_bytes(packed[:cut] + patch + (packed[cut + len(patch) :] if keep else b""))
    attempt(scratch)


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["npy", "npz", "packed"]), at=st.floats(0, 1), patch=st.binary(max_size=8), keep=st.booleans()
)
def test_damaged_arrays(scratch: Path, kind: str, at: float, patch: bytes, keep: bool) -> None:
    out = io.BytesIO()
    ids = np.array([1, 2, -1, -1, 0, 2])
    if kind == "npy":
        np.save(out, ids)
    else:
        save = np.savez_compressed if kind == "packed" else np.savez
        save(out, ids=ids, vocab=np.array(["read", "write", "close"]), offsets=np.array([0, 4, 6]))
    data = out.getvalue()
    cut = int(at * len(data))
    scratch.write_bytes(data[:cut] + patch + (data[cut + len(patch) :] if keep else b""))
    attempt(scratch)


def test_a_damaged_array_s_name_is_told_in_one_line(scratch: Path) -> None:
    out = io.BytesIO()
    np.savez(out, **{"i\nds": np.array([1, 2]), "other": np.array([1])})  # type: ignore[arg-type]
    scratch.write_bytes(out.getvalue())
    attempt(scratch)


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstd])
def test_compressed_input_reads_the_same(tmp_path: Path, name: str, pack: Callable[[bytes], bytes]) -> None:
    data = head_of(name, 10**6)
    plain, packed = tmp_path / "plain", tmp_path / "packed"
    plain.write_bytes(data)
    packed.write_bytes(pack(data))
    a, b = read(plain), read(packed)
    assert a.table.equals(b.table)
    assert a.gaps == b.gaps


@pytest.mark.parametrize("name", TEXTS)
def test_windows_line_ends_read_the_same(tmp_path: Path, name: str) -> None:
    data = head_of(name, 10**6)
    plain, crlf = tmp_path / "plain", tmp_path / "crlf"
    plain.write_bytes(data)
    crlf.write_bytes(data.replace(b"\n", b"\r\n"))
    a, b = read(plain), read(crlf)
    assert a.table.equals(b.table)
    assert a.gaps == b.gaps


@pytest.mark.parametrize("data", [b"", b"\n\n \n", gzip.compress(b"", mtime=0)])
def test_an_empty_file_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "trace"
    path.write_bytes(data)
    with pytest.raises(TraceError, match="the file is empty"):
        read(path)


@pytest.mark.parametrize(
    "data",
    [
        bytes(range(256)) * 40,
        b"\x7fELF\x02\x01\x01" + bytes(5000),
        b"The quick brown fox jumps over the lazy dog and the cat sleeps on",
        b"It was a dark and stormy night; the rain fell in torrents.\n" * 20,
        b"Nov 22 13:40:01 host cron[123]: session opened for user root\n" * 20,
        b"[    0.000000] Linux version 6.18.0 (gcc 12)\n[    0.000000] Command line: quiet\n",
        b'127.0.0.1 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.0" 200 2326\n' * 5,
        b"alpha\nbeta\ngamma\ndelta\n",
        b'{"ids": [1, 2, 3]}\n',
        b"name,value\nread,1\nwrite,2\n",
        b"254\tgated\n255 kernel\n",
        b"PK\x03\x04" + bytes(200),
    ],
)
def test_what_is_no_trace_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(TraceError, match=r"no known trace format( \(.*\))?; --format takes one of") as e:
        read(path)
    assert all(name in str(e.value) for name in FORMATS)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="no such file"):
        read(tmp_path / "missing")
    with pytest.raises(TraceError, match="no trace by itself"):
        read(tmp_path)
    with pytest.raises(OptionError, match="unknown format 'etw'"):
        read(DATA / "ftrace_pipe.txt", "etw")
    with pytest.raises(OptionError, match="unknown architecture 'z80'"):
        read(DATA / "ftrace_pipe.txt", arch="z80")


@pytest.mark.parametrize("format", TEXT_FORMATS)
def test_an_overlong_line_is_refused(tmp_path: Path, format: str) -> None:
    path = tmp_path / "trace"
    path.write_bytes(b"openat\n" + b"x" * (2 << 20) + b"\n")
    with pytest.raises(TraceError, match="more than 1 MiB") as e:
        read(path, format)
    assert e.value.line <= 2


EVENT = "             cat-17      [001] .....  12.000001: sys_enter: NR 0 (3, 7f, 1, 0, 0, 0)\n"
PERF_EVENT = "             cat    17 [001]    12.000001: raw_syscalls:sys_enter: NR 0 (3, 7f, 1, 0, 0, 0)\n"


@pytest.mark.parametrize(
    ("format", "good", "bad"),
    [
        ("ftrace", EVENT, "             cat-17      [001] ....."),
        ("ftrace", EVENT, EVENT.rstrip()[:-4]),
        ("ftrace", EVENT, "             cat-17      [001] .....  12.000002: sys_exit: NR 0 ="),
        ("ftrace", EVENT, "             cat-17      [001] .....  12.000002: sys_read(fd: 3"),
        ("ftrace", EVENT, "CPU:1 [LOST 4"),
        ("ftrace", EVENT, "             cat-9999999999 [001] .....  12.000002: sys_exit: NR 0 = 1"),
        ("ftrace", EVENT, "             cat-17      [001] .....  99999999999.000002: sys_exit: NR 0 = 1"),
        ("ftrace", EVENT, "             cat-17      [001] .....  9999999999.000002: sys_exit: NR 0 = 1"),
        ("ftrace", EVENT, "             cat-17      [999999] .....  12.000002: sys_exit: NR 0 = 1"),
        ("ftrace", EVENT, "CPU:999999 [LOST 4 EVENTS]"),
        ("perf", PERF_EVENT, "             cat    17 [001] "),
        ("perf", PERF_EVENT, PERF_EVENT.rstrip()[:-4]),
        ("strace", "12.0 read(3) = 0\n", "12.1 wri"),
        ("strace", "12.0 read(3) = 0\n", "helloread(3) = 0"),
        ("strace", "12.0 read(3) = 0\n", "read(3) = 0"),
        ("strace", "read(3) = 0\n", "12.0 read(3) = 0"),
        ("strace", "1700000000.0 read(3) = 0\n", "9999999999.0 read(3) = 0"),
        ("sequence", "openat\n", "open,at"),
    ],
)
def test_a_bad_line_is_named_or_passed_over(tmp_path: Path, format: str, good: str, bad: str) -> None:
    path = tmp_path / "trace"
    path.write_text(good + bad)
    with pytest.raises(TraceError) as e:
        read(path, format, strict=True)
    assert e.value.line == 2
    assert str(e.value).startswith(f"{path}:2: ")
    trace = read(path, format)
    path.write_text(good)
    assert trace.table.equals(read(path, format).table)
    assert trace.passed_over is not None
    assert (trace.passed_over.number, trace.passed_over.line, trace.passed_over.why) == (1, 2, e.value.message)
    assert trace.passed_over.sentence() in trace.warnings


@pytest.mark.parametrize("format", ["ftrace", "perf"])
def test_time_going_backwards_is_refused(tmp_path: Path, format: str) -> None:
    event = EVENT if format == "ftrace" else PERF_EVENT
    path = tmp_path / "trace"
    path.write_text(event + event.replace("[001]", "[000]").replace("12.0", "11.0") + event.replace("12.0", "11.9"))
    with pytest.raises(TraceError, match="time goes backwards on cpu 1") as e:
        read(path)
    assert e.value.line == 3


@pytest.mark.parametrize(
    ("format", "mark"),
    [
        ("ftrace", "CPU:1 [LOST 99999999999999999999 EVENTS]\n"),
        ("ftrace", "CPU:1 [99999999999999999999 EVENTS DROPPED]\n"),
        ("perf", "             cat    17 [001]    12.000001: PERF_RECORD_LOST lost 99999999999999999999\n"),
    ],
)
def test_an_impossible_count_is_refused(tmp_path: Path, format: str, mark: str) -> None:
    event = EVENT if format == "ftrace" else PERF_EVENT
    path = tmp_path / "trace"
    path.write_text(event + mark + event)
    with pytest.raises(TraceError, match="a loss of 99999999999999999999 events can't be true") as e:
        read(path, strict=True)
    assert e.value.line == 2
    (gap,) = read(path).gaps  # the loss is true, its number isn't
    assert (gap.known, gap.count) == ("uncounted", None)


@pytest.mark.parametrize(
    "comm",
    ["a b", "x-1", "(sd-pam)", "kworker/0:1", "[a]", "a [001] b", "x-1 [000]", "", "a-", "<...>", "12", "ü", "😀"],
)
def test_awkward_commands_of_ftrace(tmp_path: Path, comm: str) -> None:
    path = tmp_path / "trace"
    lines = [
        f"{c:>16}-17      [001] .....  12.00000{i}: sys_enter: NR 0 (3)\n" for i, c in enumerate(["cat", comm, "cat"])
    ]
    path.write_text("".join(lines))
    trace = read(path)
    assert trace.table["comm"].to_pylist() == ["cat", comm, "cat"]
    assert trace.tid.tolist() == [17] * 3
    assert trace.cpu.tolist() == [1] * 3


@pytest.mark.parametrize("comm", ["a b", "x-1", "(sd-pam)", "kworker/0:1", "[a]", "a [001] b", "7 x", "12", ":-1", "ü"])
def test_awkward_commands_of_perf(tmp_path: Path, comm: str) -> None:
    path = tmp_path / "trace"
    lines = [
        f"{c:>16}    17 [001]    12.00000{i}: raw_syscalls:sys_enter: NR 0 (3)\n" for i, c in enumerate(["cat", comm])
    ]
    path.write_text("".join(lines))
    trace = read(path, "perf")
    assert trace.table["comm"].to_pylist() == ["cat", comm]
    assert trace.tid.tolist() == [17] * 2
    assert trace.cpu.tolist() == [1] * 2


def test_bytes_that_are_no_text_are_kept_as_latin_1(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    event = EVENT.encode().replace(b" cat", b"\xe9cat").replace(b"(3, 7f", b"(\xff, 7f")
    path.write_bytes(EVENT.encode() + event + EVENT.encode().replace(b"7f", "ß".encode()))
    trace = read(path)
    assert trace.table["comm"].to_pylist() == ["cat", "\xe9cat", "cat"]
    assert [a[:4] for a in trace.table["args"].to_pylist()] == ["3, 7", "\xff, 7", "3, ß"]


#: Lines that a pattern could go over again and again, from each of their bytes on.
SLOW = [
    b"read(" + b" " * 100_000,
    b"read(" + b"(" * 100_000,
    b"read(" + b")" * 100_000,
    b"read(" + b") = " * 30_000,
    b"read(3) = 1, " + b'"\\' * 50_000 + b") = 3) = ",
    b"read(1) = " + b"1<" * 50_000 + b") = 3",
    b"/a" * 50_000 + b"strace: Process 7 attached",
    b" " * 100_000 + b"x",
    b"-" * 100_000 + b"x",
    b"- " * 50_000,
    b"a-1 " * 30_000,
    b" |" * 50_000,
    b"[1] " * 30_000,
    b" 0) a-1 => " * 10_000,
    b"=" * 100_000,
    b" 0)  | f();/*" * 10_000,
    b"read(" + b" <unfinished" * 10_000,
]


@pytest.mark.parametrize("line", SLOW, ids=lambda line: line[:16].decode())
def test_no_line_takes_long(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "trace"
    before = time.process_time()
    path.write_bytes(b"x\n" + (line + b"\n") * 2)
    for name in (None, *TEXT_FORMATS):
        attempt(path, format=name)
    path.write_bytes(b"# tracer: function_graph\n" + line + b"\n")
    attempt(path)
    assert time.process_time() - before < 5


def test_zstd_in_many_frames_and_with_passages_to_skip(tmp_path: Path) -> None:
    """As pzstd and others write it: frames one after the other, with data of their own in between."""
    aside = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"
    path = tmp_path / "trace"
    data = head_of("ftrace_pipe.txt", 10**6)
    pieces = [data[at : at + 7000] for at in range(0, len(data), 7000)]
    path.write_bytes(b"".join(aside + bytes(pa.Codec("zstd").compress(p)) for p in pieces) + aside)
    assert read(path).table.equals(read(DATA / "ftrace_pipe.txt").table)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstd])
def test_a_packed_file_that_breaks_off_is_refused(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "trace"
    path.write_bytes(pack(head_of("ftrace_pipe.txt", 10**6) * 9)[:-40])
    with pytest.raises(TraceError, match="can't read"):
        read(path)


def test_what_an_error_is_kept_of_is_closed(tmp_path: Path) -> None:
    """Whoever keeps the error keeps no file open."""
    path = tmp_path / "trace"
    path.write_text(EVENT + "x\n")
    with pytest.raises(TraceError) as e:
        read(path, "ftrace", strict=True)
    held = [str(p.readlink()) for p in Path("/proc/self/fd").iterdir() if p.is_symlink()]
    assert str(path) not in held
    assert e.value.line == 2
