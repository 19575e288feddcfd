"""Files that can't be read are refused with what they seem to be."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracemend.errors import TraceError
from tracemend.formats import FORMATS, read
from tracemend.formats.lookalikes import looks_like, rival
from tracemend.formats.perf import WITHOUT_TIMES

DATA = Path(__file__).parents[1] / "data"
LIKE = [
    (b"\x7fELF\x02\x01\x01" + bytes(100), "a program or a library (ELF)"),
    ("a-1 [000] 1.0: x: y\n".encode("utf-16"), "text in UTF-16: save it as UTF-8"),
    ("a-1 [000] 1.0: x: y\n".encode("utf-16-le"), "text in UTF-16: save it as UTF-8"),
    (struct.pack("<IHH", 0xA1B2C3D4, 2, 4) + bytes(40), "captured packets (pcap)"),
    (b"PK\x03\x04" + bytes(200), "a zip archive: unpack it first"),
    (b"x" + bytes(256) + b"ustar" + bytes(300), "a tar archive: unpack it first"),
    (bytes(range(256)) * 4, "a binary file"),
    (b'{"traceEvents": [{"ph": "X", "ts": 1}]}', "a trace of Chrome or Perfetto in JSON"),
    (b'[{"name": "a", "ph": "X", "ts": 1}]', "a trace of Chrome or Perfetto in JSON"),
    (b'{"ids": [1, 2, 3]}\n', "JSON"),
    (b"<!DOCTYPE html>\n<html><head>", "a web page (HTML)"),
    (b'<?xml version="1.0"?>\n<a/>', "XML"),
    (b"name,value\nread,1\nwrite,2\n", "a table (CSV)"),
    (b"[    0.000000] Linux version 6.18.0 (gcc 12)\n", "the kernel's log (dmesg)"),
    (b"main;parse;read 12\nmain;eval 3\n", "folded stacks: counts of samples, no samples"),
    (b"It was a dark and stormy night; the rain fell in torrents.\n", "plain text"),
    (b"# event histogram\n#\n# trigger info: hist:keys=id\n#\n", "a histogram of ftrace: counts of events, no events"),
    (
        b"% time     seconds  usecs/call     calls    errors syscall\n------ ----------- ----------- ---------\n",
        "the summary of strace -c: counts of calls, no calls",
    ),
    (b"perf 17 250000 cycles:u: ffffffff a ([kernel])\n", WITHOUT_TIMES),
    (b'puts("a")  = 2\nfree(0x1)  = <void>\n', "ltrace output: library calls, no system calls"),
    (b'read(3, "a", 1)  = 1\n+++ exited (status 0) +++\n', "ltrace output: library calls, no system calls"),
    (b'[pid 7] libc.so.6->read(3, "a", 1)  = 1\n', "ltrace output: library calls, no system calls"),
    (b"main->puts(0x1, 2)  = 2\n", "ltrace output: library calls, no system calls"),
    (b"SYS_brk(0)  = 1\nopenat@SYS(1, 2)  = 3\n", "ltrace output: library calls, no system calls"),
    (b'SYSCALL(args) \t\t = return\nopen("/x\\0", 0x0, 0x0)\t\t = 3 0\n', "dtruss output, of DTrace"),
    (b'open("/x", O_RDONLY)\t\t\tErr#2 ENOENT\n', "truss output, of another system than Linux"),
    (b"mmap(0x0,131072,0x3,0x2,-1,0x0) = 34366160896 (0x800626000)\n", "truss output, of another system than Linux"),
    (b"  1234 cat      CALL  read(0x3,0x7f,0x10)\n", "kdump output, of BSD's ktrace"),
]


@pytest.mark.parametrize(("data", "what"), LIKE)
def test_refusals_say_what_a_file_looks_like(tmp_path: Path, data: bytes, what: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(TraceError) as e:
        read(path)
    assert f"no known trace format ({what}" in str(e.value)
    assert all(name in str(e.value) for name in FORMATS)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"<!DOCTYPE html>\n<html><head><title>systrace", "a web page (HTML) without ftrace's text in it"),
        (
            b"  cat   17 [001] raw_syscalls:sys_enter: NR 0 (3)\n  cat   17 [001] raw_syscalls:sys_exit: NR 0 = 1\n",
            WITHOUT_TIMES,
        ),
    ],
)
def test_what_a_format_knows_as_its_own_it_refuses_itself(tmp_path: Path, data: bytes, what: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(TraceError) as e:
        read(path)
    assert str(e.value).endswith(what)


@pytest.mark.parametrize("name", sorted(p.name for p in DATA.glob("strace_*")))
def test_no_file_of_strace_has_a_rival(name: str) -> None:
    assert read(DATA / name).format == "strace"
    assert not rival((DATA / name).read_bytes()[: 1 << 16])


@given(st.binary(max_size=400))
def test_anything_has_a_look_or_none(data: bytes) -> None:
    assert "\n" not in looks_like(data)
