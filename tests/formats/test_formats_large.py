"""Large texts are read by compiled loops, in large pieces and in several threads: what is read stays the same."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cases import CASES

from tracemend.errors import TraceError
from tracemend.formats import read, recognise, text

DATA = Path(__file__).parents[1] / "data"
TEXTS = ("ftrace", "perf", "strace")


def texts() -> Iterator[Path]:
    for path in sorted([*DATA.iterdir(), *CASES.glob("*")]):
        try:
            if path.is_file() and "expected" not in path.name and recognise(path).name in TEXTS:
                yield path
        except TraceError:
            continue


def lines_of(name: str) -> list[bytes]:
    with text.open_binary(DATA / name) as f:
        return f.read().split(b"\n")[:400]


FTRACE = ("ftrace_pipe.txt", "ftrace_trace.txt", "ftrace_syscalls.txt.xz", "trace_cmd_report.txt", "ftrace_stack.txt")
PERF = ("perf_lost.txt.xz", "perf_callchain.txt", "perf_syscalls.txt")
STRACE = (
    *("strace_ttt.txt", "strace_r.txt", "strace_tt_T.txt", "strace_bare.txt", "strace_mixed.txt"),
    *("strace_k_C.txt", "strace_comm.txt.xz", "strace_z.txt.xz"),
)
#: Neighbouring lines of real files of one kind.
REAL = {
    tracer: [lines_of(name) for name in names]
    for tracer, names in (("ftrace", FTRACE), ("perf", PERF), ("strace", STRACE))
}
#: What is put between, or in the place of some bytes; split at the bars.
PIECES = rb"""
 |  |-|[|]|[001]|:|: |.|5|12.5:|(|)|=| = |) = |)  = ?| = 7|NR|#|<|>|"|?| <0.000012>|99999999999| 5: x|??? |
| <unfinished ...>|<... read resumed>| resumed>|[pid 12] |12<sh> |23:59:59.9 |--- SIG ---|+++ exited with 0 +++
|exit_group(0) = ?|execve(|1 0.5 foo(1) = 2|9999999999.5 |PERF_RECORD_LOST lost 3|Process 12 attached
| tracemend_inferred gap=3|CPU:1 [LOST 7 EVENTS]""".replace(b"\n", b"").split(b"|")
PIECES += [b"\n", b"\t", b"\r", b"\0", b"\xe9", b"a" * 40]


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, bytes]:
    """Real lines, some of them left out, joined or with bytes put in their place."""
    tracer = draw(st.sampled_from(sorted(REAL)))
    lines = draw(st.sampled_from(REAL[tracer]))
    at = draw(st.integers(0, max(0, len(lines) - 20)))
    whole = b"\n".join(lines[at : at + draw(st.integers(1, 25))])
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(whole)))
        piece = draw(st.one_of(st.sampled_from(PIECES), st.binary(max_size=2)))
        whole = whole[:at] + piece + whole[at + draw(st.integers(0, 4)) :]
    return tracer, whole + draw(st.sampled_from([b"", b"\n", b"\r\n"]))


def compare(format: str, whole: bytes, path: Path) -> None:
    path.write_bytes(whole)
    small = outcome(path, 1, format)
    with pytest.MonkeyPatch.context() as patched:
        for name, value in {"CHUNK": 0, "MUCH": 0, "LARGE": 1 << 20}.items():
            patched.setattr(text, name, value)
        assert outcome(path, 1, format) == small


@settings(max_examples=40, deadline=None)
@given(chunk=damaged())
def test_damaged_lines_read_the_same(chunk: tuple[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    compare(*chunk, tmp_path_factory.getbasetemp() / "damaged")


@pytest.mark.long
@settings(max_examples=1500, deadline=None)
@given(chunk=damaged())
def test_many_damaged_lines_read_the_same(chunk: tuple[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    compare(*chunk, tmp_path_factory.getbasetemp() / "damaged")


def outcome(path: Path, jobs: int, format: str | None = None) -> object:
    """All that is read, dictionaries in their order."""
    try:
        trace = read(path, format, jobs=jobs)
    except TraceError as e:
        return e.line, e.message
    about = trace.warnings, trace.unplaced, trace.doubts, trace.passed_over, trace.overwritten, trace.tracer
    return trace.table.combine_chunks().unify_dictionaries(), trace.gaps, about


@pytest.mark.parametrize("path", list(texts()), ids=lambda p: p.name)
def test_large_texts_read_as_small_ones_do(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file as if it were large: in compiled pieces of some lines, in one thread and in several."""
    small = outcome(path, 1)
    for name, value in {"CHUNK": 300, "MUCH": 0, "LARGE": 1500}.items():
        monkeypatch.setattr(text, name, value)
    for jobs in (1, 2, 3):
        assert outcome(path, jobs) == small


def test_a_large_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces as large as they are: of a recording over and over, each time a second later, and at last cut short."""
    monkeypatch.setattr(text, "MUCH", 1 << 22)
    one, path = (DATA / "ftrace_pipe.txt").read_bytes(), tmp_path / "large"
    again = (one.replace(b" 3897.", b" %d." % (3897 + k)) for k in range(text.MUCH // len(one) + 1))
    path.write_bytes(b"".join(again)[:-1])
    large = outcome(path, 2)
    assert "numba" in sys.modules
    monkeypatch.setattr(text, "MUCH", 1 << 30)
    assert outcome(path, 1) == large


def test_a_piece_that_is_small_waits_for_no_other() -> None:
    """A text that is followed shows what it has."""
    asked = []

    def pieces() -> Iterator[tuple[bytes, int]]:
        for n in range(3):
            asked.append(n)
            yield b"line\n", n

    for number, done in enumerate(text.ahead(pieces(), lambda piece: piece[1], jobs=2)):
        assert done == number
        assert asked == [*range(number + 1)]


def test_what_comes_before_an_error_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "CHUNK", 0)

    def pieces() -> Iterator[tuple[bytes, int]]:
        yield from ((b"line\n", n) for n in range(2))
        raise TraceError("made up", 3, "broken")

    read_ahead = text.ahead(pieces(), lambda piece: piece[1], jobs=3)
    assert [next(read_ahead), next(read_ahead)] == [0, 1]
    with pytest.raises(TraceError, match="broken"):
        next(read_ahead)


def test_small_files_do_without_numba(tmp_path: Path) -> None:
    """Also those of several pieces."""
    one = (DATA / "ftrace_pipe.txt").read_bytes()
    again = (one.replace(b" 3897.", b" %d." % (3897 + k)) for k in range(5 * text.CHUNK // len(one)))
    (tmp_path / "pieces").write_bytes(b"".join(again))
    paths = [str(tmp_path / "pieces"), *(str(p) for p in texts() if "ltrace" not in p.name)]
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "from tracemend.formats import read\n"
        f"print([len(read(p)) > 0 for p in {paths!r}])"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "False" not in out
