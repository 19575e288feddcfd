"""A mended trace once more, out of what was written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conftest import ROOT
from typer.testing import CliRunner

from tracemend.api import mend
from tracemend.cli.app import app
from tracemend.errors import OutputError
from tracemend.formats import read
from tracemend.losses.suspect import suspect
from tracemend.mending.mended import Mended
from tracemend.outputs import DEFAULT, overlay, perfetto, report, write
from tracemend.outputs.folder import Folder
from tracemend.outputs.reopened import reopen

LOSSY = ROOT / "recordings" / "shell" / "lossy.txt"


@pytest.fixture(scope="module")
def mended() -> Mended:
    return mend(LOSSY, "lookup", alone=True)


def test_it_is_what_was_written(mended: Mended, tmp_path: Path) -> None:
    write(mended, tmp_path / "out")
    found = reopen(Folder.open(tmp_path / "out"))
    rows = mended.inferred.to_pylist()
    for row, told in zip(rows, found.inferred.to_pylist(), strict=True):
        assert told["confidence"] == pytest.approx(row["confidence"], abs=1e-4)
        assert {k: v for k, v in told.items() if k not in ("confidence", "fields")} == {
            k: v for k, v in row.items() if k not in ("confidence", "fields")
        }
    assert found.gap_table() == mended.gap_table()
    assert found.trace.gaps == mended.trace.gaps
    first = report.render(mended)
    assert len(report.render(found)) == pytest.approx(len(first), rel=0.01)


def test_suspected_gaps_are_found_again(tmp_path: Path) -> None:
    """A recording whose marks were taken out, so that its gaps are suspected only."""
    lines = LOSSY.read_text().splitlines(keepends=True)[:3000]
    path = tmp_path / "unmarked.txt"
    path.write_text("".join(line for line in lines if not line.startswith("CPU:")))
    trace = read(path)
    trace = trace.with_gaps((*trace.gaps, *suspect(trace)))
    assert any(g.known == "suspected" for g in trace.gaps)
    write(mend(trace, "lookup", alone=True, unknown="estimate"), tmp_path / "out")
    found = reopen(Folder.open(tmp_path / "out"))
    assert found.trace.gaps == trace.gaps


def test_the_viewers_trace_is_the_same(mended: Mended, tmp_path: Path) -> None:
    write(mended, tmp_path / "out", [*DEFAULT, "perfetto"])
    (path,) = perfetto.write(reopen(Folder.open(tmp_path / "out")), tmp_path)
    assert path.read_bytes() == (tmp_path / "out" / perfetto.NAME).read_bytes()


def test_a_folder_whose_trace_has_changed_is_refused(tmp_path: Path) -> None:
    trace, out = tmp_path / "trace.txt", tmp_path / "out"
    shutil.copy(LOSSY, trace)
    write(mend(trace, "lookup", alone=True), out)
    jsonl = out / overlay.JSONL
    whole = jsonl.read_text()
    first, rest = whole.split("\n", 1)
    for begin_ns, why in ((7, "its gaps aren't those"), (None, "is damaged")):
        header = json.loads(first)
        header["gaps"][0]["begin_ns"] = begin_ns
        jsonl.write_text(json.dumps(header) + "\n" + rest)
        with pytest.raises(OutputError, match=why):
            reopen(Folder.open(out))
    jsonl.write_text(whole)
    with trace.open("ab") as file:
        file.write(b"\n")
    with pytest.raises(OutputError, match="has changed"):
        reopen(Folder.open(out))
    trace.unlink()
    with pytest.raises(OutputError, match="no longer at"):
        reopen(Folder.open(out))


def test_a_report_against_the_truth(mended: Mended, tmp_path: Path) -> None:
    write(mended, tmp_path / "out")
    page = tmp_path / "page.html"

    def run(*words: object) -> int:
        return CliRunner().invoke(app, ["report", *map(str, words)]).exit_code

    complete = LOSSY.parent / "complete.txt.xz"
    assert run(tmp_path / "out", "--truth", complete, "-o", page) == 0
    assert "set against what was really lost" in page.read_text()
    assert run(tmp_path / "out", "-o", page) != 0, "it exists already"
    assert run(tmp_path / "out", "--truth", LOSSY, "-o", page, "--force") != 0, "that isn't the truth"
    assert "set against what was really lost" in page.read_text(), "what was there stays"
    assert run(tmp_path / "out", "-o", page, "--force") == 0
    assert "set against what was really lost" not in page.read_text()
    assert run(tmp_path / "out") == 2
    assert run(LOSSY, "--truth", complete) == 2
