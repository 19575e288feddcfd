"""A mended trace once more, out of what was written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conftest import ROOT
from typer.testing import CliRunner

from tracemend.api import mend
from tracemend.cli.app import command_line
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


@pytest.mark.long
def test_a_report_against_the_truth(mended: Mended, tmp_path: Path) -> None:
    write(mended, tmp_path / "out")
    page = tmp_path / "page.html"

    def run(*words: object) -> int:
        return CliRunner().invoke(command_line(), ["report", *map(str, words)]).exit_code

    complete = LOSSY.parent / "complete.txt.xz"
    assert run(tmp_path / "out", "--truth", complete, "-o", page) == 0
    assert "Against the truth, the complete recording" in page.read_text()
    assert run(tmp_path / "out", "-o", page) != 0, "it exists already"
    assert run(tmp_path / "out", "--truth", LOSSY, "-o", page, "--force") != 0, "that isn't the truth"
    assert "Against the truth, the complete recording" in page.read_text(), "what was there stays"
    assert run(tmp_path / "out", "-o", page, "--force") == 0
    assert "Against the truth, the complete recording" not in page.read_text()
    assert run(LOSSY, "--truth", complete) == 2


@pytest.mark.long
def test_a_folder_s_own_page(mended: Mended, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(mended, out)
    page = out / report.NAME
    first = page.read_bytes()

    def run(*words: object) -> tuple[int, str]:
        done = CliRunner().invoke(command_line(), ["report", *map(str, words), "--quiet"])
        return done.exit_code, done.output

    page.write_bytes(b"")
    assert run(out) == (0, f"{page} is the report of this folder; --force makes it anew\n")
    assert not page.read_bytes(), "nothing was written"
    assert run(out, "--force") == (0, f"{page}\n")
    assert page.read_bytes()[:1000] == first[:1000]
    page.unlink()
    assert run(out) == (0, f"{page}\n")
    beside = tmp_path / "out-truth.html"
    complete = LOSSY.parent / "complete.txt.xz"
    assert run(out, "--truth", complete) == (0, f"{beside}\n")
    assert f"tracemend report OUT --truth {complete}" in beside.read_text()
    assert run(out, "--truth", complete)[0] == 1, "it exists already"
    for taken in (LOSSY, complete, out / overlay.JSONL):
        before = taken.read_bytes()
        assert run(out, "--truth", complete, "-o", taken, "--force")[0] == 1
        assert taken.read_bytes() == before, "what is given is never written"


@pytest.mark.long
def test_figures_are_in_the_page_again(tmp_path: Path) -> None:
    out, page = tmp_path / "out", tmp_path / "page.html"
    source = ROOT / "tests" / "data" / "ftrace_pipe.txt"
    run = CliRunner()
    asked = ["mend", str(source), "-o", str(out), "--alone", "--perfetto", "--merged", "--refuse", "0.1", "--quiet"]
    assert run.invoke(command_line(), asked).exit_code == 0
    assert run.invoke(command_line(), ["report", str(out), "-o", str(page), "--quiet"]).exit_code == 0
    first, again = ((path.read_text()).split('id="figures"')[1] for path in (out / report.NAME, page))
    assert first.split("</section>")[0] == again.split("</section>")[0]
    command = f"tracemend mend {source} -o OUT --refuse 0.1 --alone --merged --perfetto"
    assert all(f'<code class="command">{command}</code>' in text for text in (first, again))
    assert "fills with a mean confidence below 0.1" in again
    figures = out / "figures.parquet"
    figures.write_bytes(figures.read_bytes()[:100])
    assert run.invoke(command_line(), ["report", str(out), "-o", str(page), "--quiet", "--force"]).exit_code == 1


@pytest.mark.parametrize(
    "damage",
    [
        {"options": [1]},
        {"options": {"hypotheses": "x", "refuse": {}, "examples": 3, "budget": {"seconds": 1}, "adapt": 10**400}},
        {"options": {"made up": {"deep": ["<b>"]}}, "familiar": {"share": "all"}},
        {"model": None, "seed": [], "tracemend": 7},
    ],
)
def test_a_damaged_overlay_s_options_are_left_out(mended: Mended, tmp_path: Path, damage: dict[str, object]) -> None:
    out = tmp_path / "out"
    write(mended, out, ("overlay",))
    jsonl = out / overlay.JSONL
    first, rest = jsonl.read_text().split("\n", 1)
    jsonl.write_text(json.dumps(json.loads(first) | damage) + "\n" + rest)
    text = report.render(reopen(Folder.open(out)))
    assert "How this was made" in text
    assert "<b>" not in text.split('id="made"')[1].split("<script")[0]
