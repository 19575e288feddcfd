from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from made_up import RAW, mended

from tracemend.errors import OutputError
from tracemend.outputs import strip, write


def output(folder: Path, *outputs: str) -> Path:
    """An output folder of a copy of the real trace."""
    (folder / "trace.txt").write_bytes(RAW.read_bytes())
    write(mended(folder / "trace.txt"), folder / "out", outputs)
    return folder / "out"


def refused(out: Path, why: str) -> None:
    """Stripping raises, and writes nothing anywhere."""
    before = sorted(out.parent.rglob("*"))
    sink = io.BytesIO()
    for to in (out.parent / "back.txt", sink):
        with pytest.raises(OutputError, match=why):
            strip(out, to)
    assert not sink.getvalue()
    assert sorted(out.parent.rglob("*")) == before


@pytest.mark.parametrize("outputs", [(), ("merged",)])
def test_a_folder_gives_the_original_back(tmp_path: Path, outputs: tuple[str, ...]) -> None:
    out = output(tmp_path, *outputs)
    if outputs:
        (tmp_path / "trace.txt").unlink()
    strip(out, tmp_path / "back.txt")
    assert (tmp_path / "back.txt").read_bytes() == RAW.read_bytes()


def test_a_merged_file_gives_the_original_back(tmp_path: Path) -> None:
    merged = output(tmp_path, "merged") / "merged.txt"
    sink = io.BytesIO()
    strip(merged, sink)
    assert sink.getvalue() == RAW.read_bytes()


def test_an_existing_file_stays_without_force(tmp_path: Path) -> None:
    out = output(tmp_path)
    (tmp_path / "back.txt").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        strip(out, tmp_path / "back.txt")
    assert (tmp_path / "back.txt").read_text() == "mine"
    strip(out, tmp_path / "back.txt", force=True)
    assert (tmp_path / "back.txt").read_bytes() == RAW.read_bytes()


def test_an_original_that_changed(tmp_path: Path) -> None:
    out = output(tmp_path)
    (tmp_path / "trace.txt").write_bytes(RAW.read_bytes()[:-1])
    refused(out, "changed since it was mended")


def test_an_original_that_is_gone(tmp_path: Path) -> None:
    out = output(tmp_path)
    (tmp_path / "trace.txt").unlink()
    refused(out, r"no longer at .*trace\.txt")


@pytest.mark.long
@pytest.mark.parametrize("place", [10, -1])
def test_a_merged_file_that_was_changed(tmp_path: Path, place: int) -> None:
    out = output(tmp_path, "merged")
    lines = (out / "merged.txt").read_bytes().splitlines(keepends=True)
    lines[place] = lines[place].replace(b"sys_", b"SYS_")
    (out / "merged.txt").write_bytes(b"".join(lines))
    refused(out, "the merged file was changed")


def test_an_inferred_line_without_its_mark_does_not_pass(tmp_path: Path) -> None:
    """Taking the mark off an inferred line makes it no part of the original."""
    out = output(tmp_path, "merged")
    text = (out / "merged.txt").read_bytes()
    at = text.index(b" tracemend_inferred gap=")
    (out / "merged.txt").write_bytes(text[:at] + text[text.index(b"\n", at) :])
    refused(out, "the merged file was changed")


@pytest.mark.parametrize("content", [b"", b"CPU:1 [LOST 1 EVENTS]\n", b"# tracemend merged: nothing\n", b"\0" * 50])
def test_what_is_no_merged_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "some.txt").write_bytes(content)
    refused(tmp_path / "some.txt", r"some\.txt: no merged trace")


def test_what_is_no_output_folder(tmp_path: Path) -> None:
    (tmp_path / "some").mkdir()
    refused(tmp_path / "some", r"no folder that mend wrote")
    refused(tmp_path / "none", "no such folder or file")


def test_a_target_that_can_not_be_written(tmp_path: Path) -> None:
    out = output(tmp_path)
    with pytest.raises(OutputError, match="No such file or directory"):
        strip(out, tmp_path / "a" / "back.txt")


def test_stripping_tells_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = output(tmp_path, "merged")
    monkeypatch.setattr(sys.modules["tracemend.outputs.strip"], "_PIECE", 50)
    told: list[tuple[int, int]] = []
    strip(out, tmp_path / "back", progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert len(told) > 2
    assert all(0 < done <= total for done, total in told)
