"""Names are data: whatever a trace or a path is called, no character of it acts on a terminal, a page or a parser."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from commands import run
from conftest import ROOT, mostly_long
from hypothesis import given
from hypothesis import strategies as st

from tracemend.errors import ModelError, OutputError, TraceError
from tracemend.formats import parquet, read
from tracemend.outputs import read_overlay
from tracemend.untrusted import DEEPEST, HARMFUL, json_of, json_text, printable

CASES = ROOT.parent / "shared" / "cases" / "hostile"
#: Escape sequences, an 8-bit one, DEL, a change of direction, a line separator; and markup, of terminals and of pages.
NAMES = [
    "\x1b[31mRED\x1b]0;x\x07\x1b[2J",
    "a\x9b31mb",
    "d\x7fel",
    "x\u202eTXT",
    "l\u2028s",
    "x[/bold]",
    "[celeryd]",
    "<b>&",
]


def trace_of(name: str) -> str:
    """Made up: a thread of that name that lost three events, in ftrace's text."""
    line = "  {}-11 [000] ..... {:.6f}: sys_{}: NR {} {}\n"
    pairs = "".join(
        line.format(name, t + at / 1e6, phase, nr, rest)
        for t in (1, 2)
        for at, nr in enumerate((0, 1, 3, 0, 1, 3))
        for phase, rest in (("enter", "(1, 0, 0, 0, 0, 0)"), ("exit", "= 0"))
    )
    first, second = pairs[: len(pairs) // 2], pairs[len(pairs) // 2 :]
    return first + "CPU:0 [LOST 4 EVENTS]\n" + second


@given(st.text())
def test_printable_text_is_harmless_and_the_rest_stays(text: str) -> None:
    shown = printable(text)
    assert not HARMFUL.search(shown)
    if not HARMFUL.search(text):
        assert shown == text
    assert printable(shown) == shown


def test_escapes_are_spelt_out() -> None:
    assert printable("\x1b[31m\x9b\u202e") == "\\x1b[31m\\x9b\\u202e"
    assert "\x7f" not in json_text("\x7f")
    assert json.loads(json_text("\x7f\x1b\u202e")) == "\x7f\x1b\u202e"


@pytest.mark.parametrize("name", mostly_long(NAMES, 2), ids=ascii)
def test_no_output_has_a_control_character_of_a_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / f"in {name.replace('/', '|')}"
    folder.mkdir()
    path = folder / "trace.txt"
    path.write_text(trace_of(name), newline="")
    out = folder / "out"
    said = [
        run("scan", path),
        run("scan", path, path),
        run("scan", path, "--json"),
        run("advise", path),
        run("mend", path, "-o", out, "--merged", "--perfetto", "--alone"),
        run("mend", path, "-o", out),
        run("strip", out / "merged.txt", "-o", folder / "back.txt"),
        run("scan", folder / "missing"),
        run("scan", path, "--strict", "--format", "strace"),
        run("scan", path, "--format", name),
    ]
    for done in said:
        for text in (done.stdout, done.stderr):
            assert not HARMFUL.search(text.replace("\n", "")), (done.returncode, text)
    assert printable(name) in said[0].stdout, "shown as it is, or spelt out"
    assert name in json.dumps(json.loads(said[2].stdout), ensure_ascii=False) or "comm" not in said[2].stdout
    assert (folder / "back.txt").read_bytes() == path.read_bytes()
    page = (out / "report.html").read_text()
    assert not HARMFUL.search(re.sub(r"<script>.*?</script>|<style>.*?</style>|[\n\t]", "", page, flags=re.S))
    lines = (out / "overlay.jsonl").read_text().split("\n")
    assert not HARMFUL.search("".join(lines))
    events = [json.loads(line) for line in lines[1:] if line]
    assert {e["comm"] for e in events} <= {name, None}
    originals = set(path.read_bytes().split(b"\n"))
    for merged in (out / "merged.txt").read_bytes().split(b"\n"):
        assert merged in originals or not HARMFUL.search(merged.decode())
    if HARMFUL.search(name):
        assert name.encode() not in (out / "trace.perfetto-trace").read_bytes()


def test_a_line_end_in_a_path_begins_no_line(tmp_path: Path) -> None:
    """Otherwise a file's name could say that other files are complete."""
    path = tmp_path / "a\ncomplete    b"
    path.write_text(trace_of("cat"))
    for done in (run("scan", path), run("scan", path, path), run("scan", tmp_path / "a\nb")):
        shown = done.stdout + done.stderr
        assert "a\\x0a" in shown
        assert not any(line.startswith(("complete", "b")) for line in shown.splitlines())


@pytest.mark.parametrize("case", ["brackets", "markup_closing", "terminal_escape"])
def test_the_cases(case: str) -> None:
    path = CASES / f"{case}.txt"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    done = run("scan", path)
    assert done.returncode == 3
    shown = {
        "brackets": "[celeryd]",
        "markup_closing": "x[/bold]",
        "terminal_escape": "\\x1b[31mRED\\x1b]0;x\\x07\\x1b[2J",
    }
    assert f"{shown[case]} (1 thread)" in done.stdout
    assert not HARMFUL.search(done.stdout.replace("\n", ""))


DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize("depth", [DEEPEST + 1, 900, 100_000])
def test_json_that_is_nested_too_deep(depth: int) -> None:
    with pytest.raises(ValueError, match="nested too deep"):
        json_of("[" * depth + "]" * depth)
    assert json_of("[" * 20 + "]" * 20)


def test_a_recording_with_deep_metadata(tmp_path: Path) -> None:
    table, _ = parquet.read_columns(written(tmp_path))
    pq.write_table(table.replace_schema_metadata({parquet.KEY: DEEP.encode()}), tmp_path / "deep.parquet")
    with pytest.raises(TraceError, match="nested too deep"):
        read(tmp_path / "deep.parquet")


def written(folder: Path) -> Path:
    path = folder / "whole.parquet"
    source = folder / "source.txt"
    source.write_text(trace_of("cat"))
    parquet.write(read(source), path)
    return path


def test_an_overlay_with_a_deep_first_line(tmp_path: Path) -> None:
    (tmp_path / "overlay.jsonl").write_text(DEEP + "\n")
    with pytest.raises(OutputError, match="no overlay"):
        read_overlay(tmp_path)


@pytest.mark.parametrize("file", ["recipe.json", "vocabulary.json", "calibration.json"])
def test_a_model_with_a_deep_part(tmp_path: Path, file: str) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    import shutil

    from tracemend.diffusion import DEFAULT_MODEL
    from tracemend.diffusion.restorer import load

    shutil.copytree(Path(DEFAULT_MODEL) if Path(DEFAULT_MODEL).is_dir() else shipped(), tmp_path / "model")
    (tmp_path / "model" / file).write_text(DEEP)
    with pytest.raises(ModelError):
        load(tmp_path / "model")


def shipped() -> Path:
    import tracemend.diffusion

    return Path(tracemend.diffusion.__file__).parent / "models" / "default"


@pytest.mark.long
@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_json_comes_back(document: object) -> None:
    assert json_of(json_text(document)) == document
