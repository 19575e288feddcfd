"""systrace's pages and atrace -z. The ftrace text in them is recorded, the pages around it are made up after the forms
that systrace wrote: blocks of data (since 2015), a string of JavaScript (before), JSON."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tracemend.errors import TraceError
from tracemend.formats import read, recognise
from tracemend.formats.systrace import PIECE
from tracemend.trace.events import Trace

DATA = Path(__file__).parents[1] / "data"
TEXT = (DATA / "ftrace_pipe.txt").read_bytes()
HEAD = b"""<!DOCTYPE html>
<html>
<head i18n-values="dir:textdirection;">
<meta charset="utf-8"/>
<title>Android System Trace</title>
<script>
var own = document.querySelectorAll('script[class="trace-data"]'); var line = /^  var linuxPerfData = "\\\\$/;
</script>
</head><body>
<!-- BEGIN TRACE -->
"""
TAIL = b"<!-- END TRACE -->\n</body>\n</html>\n"
OPEN, CLOSE = b'  <script class="trace-data" type="application/text">\n', b"  </script>\n"
EVENTS = b'{"traceEvents": [{"ph": "M", "name": "a-17 [000] 1.0: b"}]}\n'
PROCESSES = b"USER PID TID CMD\nroot 1 1 init\n" * 900


def block(data: bytes) -> bytes:
    return OPEN + data + CLOSE


def quoted(text: bytes) -> bytes:
    dummy = b"           dummy-0000  [000] 0.0: 0: trace_event_clock_sync: parent_ts=0.0\\n"
    script = b'";\n  var view;\n  function load() {\n  }\n'
    return (
        b'  <script>\n  var linuxPerfData = "\\\n' + text.replace(b"\n", b"\\n\\\n") + dummy + script + b"  </script>\n"
    )


def in_json(text: bytes) -> bytes:
    return block(json.dumps({"traceEvents": [], "systemTraceEvents": text.decode()}).encode())


PAGES = {
    "one block": HEAD + block(TEXT) + TAIL,
    "among others": HEAD + block(EVENTS) + block(b"# tracer: nop\n#\n" + TEXT) + block(PROCESSES) + TAIL,
    "long lines": HEAD + b"<script>" + b"a" * (PIECE * 2) + b"</script>\n" + block(TEXT) + TAIL,
    "no newline in front": HEAD[:-1] + OPEN.strip() + b"\n" + TEXT + b"</script>" + TAIL,
    "a string": HEAD + quoted(TEXT) + TAIL,
    "escaped lines in a block": HEAD + block(TEXT.replace(b"\n", b"\\n\\\n")) + TAIL,
    "JSON": HEAD + in_json(TEXT) + TAIL,
    "the end is missing": HEAD + block(TEXT).removesuffix(CLOSE),
    "packed": b"capturing trace... done\nTRACE:\n" + zlib.compress(TEXT),
    "packed alone": b"TRACE:\n" + zlib.compress(b"# tracer: nop\n#\n" + TEXT),
}


@pytest.fixture(scope="module")
def plain() -> Trace:
    return read(DATA / "ftrace_pipe.txt")


@pytest.mark.parametrize("pack", [gzip.compress, lambda page: pa.Codec("zstd").compress(page, asbytes=True)])
@pytest.mark.parametrize("name", ["one block", "packed"])
def test_compressed_pages(tmp_path: Path, plain: Trace, name: str, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "trace"
    path.write_bytes(pack(PAGES[name]))
    assert read(path).table.drop(["line"]).equals(plain.table.drop(["line"]))
    path.write_bytes(pack(PAGES[name])[:-20])
    with suppress(TraceError):
        read(path)


@pytest.mark.parametrize("name", PAGES)
def test_the_text_in_a_page_reads_as_it_does_alone(tmp_path: Path, plain: Trace, name: str) -> None:
    path = tmp_path / "trace.html"
    path.write_bytes(PAGES[name])
    assert recognise(path).name == "systrace"
    trace = read(path)
    assert trace.table.drop(["line"]).equals(plain.table.drop(["line"]))
    assert [(g.cpu, g.count, g.before, g.after) for g in trace.gaps] == [
        (g.cpu, g.count, g.before, g.after) for g in plain.gaps
    ]
    assert not trace.warnings
    assert trace.doubts == plain.doubts
    lines = PAGES[name].splitlines()
    if "packed" not in name and name != "JSON":
        for line, ret in list(zip(trace.line.tolist(), trace.table["ret"].to_pylist(), strict=True))[:50]:
            assert b"NR" in lines[line - 1]
            assert ret is None or lines[line - 1].removesuffix(b"\\n\\").endswith(ret.encode())


def test_lines_that_cannot_be_read_have_the_page_s_numbers(tmp_path: Path) -> None:
    path = tmp_path / "trace.html"
    path.write_bytes(HEAD + block(TEXT + b"what is this\n") + TAIL)
    trace = read(path)
    assert trace.passed_over is not None
    assert trace.passed_over.line == PAGES["one block"].count(b"\n", 0, PAGES["one block"].rindex(CLOSE)) + 1
    with pytest.raises(TraceError, match="what is this") as e:
        read(path, strict=True)
    assert e.value.path == str(path)


@pytest.mark.parametrize("page", [HEAD + TAIL, HEAD + block(EVENTS) + TAIL, HEAD + block(PROCESSES), HEAD + block(b"")])
def test_a_page_without_a_trace_is_refused(tmp_path: Path, page: bytes) -> None:
    path = tmp_path / "page.html"
    path.write_bytes(page)
    with pytest.raises(TraceError, match="without ftrace's text in it"):
        read(path)


def test_packed_text_that_is_cut_short_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_bytes(PAGES["packed"][:-400])
    trace = read(path)
    assert len(trace) > 100
    assert "the packed text is cut short" in trace.warnings[0]


@pytest.mark.parametrize("name", PAGES)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_gives_a_trace_or_an_error(tmp_path: Path, name: str, data: st.DataObject) -> None:
    page = bytearray(PAGES[name][: 1 << 16])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(page) - 1))
        patch = data.draw(
            st.sampled_from([b"", b"\0", b'"', b"\\", b"</script>", b"\\u12", b"\n", OPEN, b"{", b"\xff"])
        )
        page[at : at + data.draw(st.integers(0, 40))] = patch
    path = tmp_path / "trace"
    path.write_bytes(bytes(page))
    with suppress(TraceError):
        read(path, "systrace")


def test_a_name_with_escapes_in_json(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    event = '            a"\\b\u00fc-17      [001] .....  12.000001: sys_enter: NR 0 (3, 7f, 1, 0, 0, 0)\n'
    for ascii_only in (True, False):
        made = json.dumps({"systemTraceEvents": event * 4000}, ensure_ascii=ascii_only).encode()
        path.write_bytes(HEAD + block(made) + TAIL)
        trace = read(path, strict=True)
        assert set(trace.table["comm"].to_pylist()) == {'a"\\b\u00fc'}
        assert len(trace) == 4000
