"""Large texts are read by compiled loops, in large pieces and in several threads: what is read stays the same."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
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


def outcome(path: Path, jobs: int) -> object:
    """All that is read, dictionaries in their order."""
    try:
        trace = read(path, jobs=jobs)
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
    """Nothing changed in what large is: a recording over and over, each time a second later, and at last cut short."""
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


def test_small_files_do_without_numba() -> None:
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "from tracemend.formats import read\n"
        f"print([len(read(p)) > 0 for p in {[str(p) for p in texts()][:30]!r} if 'ltrace' not in p])"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "False" not in out
