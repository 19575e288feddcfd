"""README and docs keep their word."""

from __future__ import annotations

import json
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import make_docs
import pytest
from conftest import ROOT
from heads import head
from hypothesis import given
from hypothesis import strategies as st

from docs import claims, common, drawing, figures, paper, rooms, windows

#: Pictures of the study's windows and of the same ones split otherwise.
OF_THE_STUDY = (
    *(
        "table4-models",
        "figure4-lengths",
        "figure5-places",
        "figure6-lstm",
        "figure7-rare",
        "study-found",
        "study-hard",
    ),
    *("study-corrections", "others", "modules", "purpose", "imputers"),
)
README = (ROOT / "README.md").read_text()


@pytest.fixture
def _one_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the results of the study say is made out once, not for every table and figure."""
    once = cache(paper.Paper)
    for module in (claims, figures, paper, windows):
        monkeypatch.setattr(module, "Paper", once)


@pytest.mark.long
@pytest.mark.usefixtures("_one_paper")
def test_generated_parts_are_up_to_date(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["make_docs.py", "--check", "--quick"])
    make_docs.main()  # exits where something is not
    assert capsys.readouterr().out == "all up to date\n"


@pytest.mark.long
def test_what_mending_prints_is_up_to_date() -> None:
    text = README
    assert "<!-- slow output: " in text
    assert make_docs.remade(text) == text


def python_of_the_readme() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    exec(compile(code, "README.md", "exec"), {})


@pytest.mark.long
def test_the_python_of_the_readme_runs_on_the_beginning_of_its_trace(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "recordings").mkdir()
    head("shell", 1800, tmp_path / "recordings" / "shell")
    monkeypatch.chdir(tmp_path)
    python_of_the_readme()
    assert re.search(r"in [1-9] of [1-9] gaps", capsys.readouterr().out)


@pytest.mark.long
def test_the_python_of_the_readme_runs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    python_of_the_readme()
    assert "in 17 of 17 gaps" in capsys.readouterr().out


def test_the_makefile_has_what_the_readme_promises() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert {"demo", "test", "lint", "fmt", "docs"} <= targets
    assert set(re.findall(r"(?:`|    )make ([a-z-]+)", README)) <= targets


def of_the_study() -> list[Any]:
    return [json.loads(line) for line in (ROOT / "benchmarks" / "results" / "paper.jsonl").read_text().splitlines()]


def with_results(folder: Path, monkeypatch: pytest.MonkeyPatch, **rows: list[Any]) -> None:
    """Every committed file of results, but for those of which other rows are given."""
    for path in common.RESULTS.iterdir():
        if path.stem not in rows:
            folder.joinpath(path.name).symlink_to(path)
    for name, held in rows.items():
        folder.joinpath(f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in held))
    monkeypatch.setattr(common, "RESULTS", folder)


@pytest.mark.long
@pytest.mark.parametrize("every", [None, 7, 50])
def test_makers_take_whatever_rows_exist(every: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing measured at all, and rows here and there."""
    rows = of_the_study()[::every] if every else []
    with_results(tmp_path, monkeypatch, paper=rows, honest=[])
    for name, maker in make_docs.MAKERS.items():
        if name.startswith(("paper", "honest")):
            for table in re.findall(r"(?:^\|.*\n)+", maker(), re.M):
                assert len({line.count("|") for line in table.splitlines()}) == 1, f"{name}: {table}"
    for name in OF_THE_STUDY:
        assert ElementTree.fromstring(figures.svg(name))


def test_a_cell_that_nobody_measured_is_blank_and_one_that_is_has_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = {"data": "pts/compress-gzip", "length": 200, "gap": 10, "place": "centre"}
    row = next(r for r in of_the_study() if r["data"] == at["data"]) | at | {"mender": "sssd-s4-small-published"}
    row["subsets"]["all"] |= {"accuracy": 0.5, "perfect": 0.25, "rouge_l_published": 0.75, "rouge_l": 0.5}
    with_results(tmp_path, monkeypatch, paper=[row])
    text = make_docs.MAKERS["paper models"]()
    assert "| SSSD-S4, as published, here |  | 50.0 [1] | 25.0 [1] | 75.0 [1] | 50.0 [1] |" in text
    assert "| compress-gzip | 77.1 / - / - | 83.1 / 50.0 / - |" in text
    assert "\n| lookup |" not in text


def test_numbers_of_the_study_are_those_it_prints() -> None:
    text = make_docs.MAKERS["paper claims"]()
    for number in ("88.04", "81.62", "77.11", "63.24", "86.10", "65.73", "29.61", "84.74"):
        assert number in text


def test_peers_stand_beside_baselines_on_the_same_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = of_the_study()
    at = {"data": "pts/compress-gzip", "length": 200, "gap": 10, "place": "centre", "mender": "lookup"}
    row = next(r for r in rows if r.items() >= at.items())
    with_results(tmp_path, monkeypatch, paper=rows, peers=[row | {"mender": "PyPOTS SAITS"}])
    text = make_docs.MAKERS["peers"]()
    assert "| PyPOTS SAITS | 100.0" in text
    assert "| copy period |" in text
    assert "gap 40" not in text


def test_without_peers_nothing_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_results(tmp_path, monkeypatch, peers=[])
    assert make_docs.MAKERS["peers"]() == "Not run.\n"


def test_every_figure_is_there_and_shown() -> None:
    there = {path.name for path in (ROOT / "docs" / "figures").iterdir()}
    assert there == {f"{name}.svg" for name in figures.FIGURES} | {rooms.DRAWING.name}
    pages = [page.read_text() for page in (ROOT / "docs").rglob("*.md")]
    shown = [name for page in pages for name in re.findall(r"!\[[^\]]+\]\((?:\.\./)?figures/([^)]+)\)", page)]
    assert set(shown) == there
    assert all(len(words) >= 20 for page in pages for words in re.findall(r"!\[([^\]]*)\]", page))


def test_the_drawing_of_the_flow_is_the_code() -> None:
    ways = {way: (takes, gives) for takes, way, gives in rooms.ways()}
    assert ways["formats.read"] == (["trace file"], "Trace")
    assert ways["mending.run.mend_trace"] == (["Trace", "a mender"], "Mended")
    assert ways["judging.gaps.judge"] == (["Mended", "pair with its truth"], "scores of gaps")
    assert rooms.uses()["mending/"] == {
        *("compiled.py", "engines/", "errors.py", "losses/", "menders/", "trace/", "whole.py")
    }
    assert rooms.stale() == []


@pytest.mark.usefixtures("_one_paper")
def test_pictures_are_small_say_what_they_show_and_keep_text_as_text() -> None:
    for name, (title, *_) in figures.FIGURES.items():
        text = (ROOT / "docs" / "figures" / f"{name}.svg").read_text()
        picture = ElementTree.fromstring(text)
        assert picture.findtext("{*}title") == title
        assert len(text) < 20_000, name
        wide, high = (float(picture.attrib[k]) for k in ("width", "height"))
        for part in picture.iterfind(".//{*}text"):
            assert 0 <= float(part.attrib["x"]) <= wide, f"{name}: {part.text}"
            assert 0 <= float(part.attrib["y"]) <= high, f"{name}: {part.text}"
        for colour in set(re.findall(r'class="(\w+)"', text)):
            assert text.count(f".{colour}{{color:") == 2, f"{name}: {colour} on light and on dark paper"


@given(st.floats(0, 1e6), st.floats(1, 1e6))
def test_an_axis_has_few_round_numbers(low: float, whole: float) -> None:
    steps = drawing.round_numbers(low, low + whole)
    assert len(steps) <= 7
    assert all(low - 1e-6 <= step <= low + whole + 1e-6 for step in steps)


def test_curves_beside_each_other_can_be_compared() -> None:
    high, low = (drawing.Curves("", "", [(0, "")], {"": [(0, y)]}) for y in (95, 52))
    assert [p.least for p in drawing.alike([high, low]) if isinstance(p, drawing.Curves)] == [40, 40]
    assert [p.least for p in drawing.alike([high]) if isinstance(p, drawing.Curves)] == [80]


def test_a_label_is_escaped_and_one_nobody_styled_has_a_colour() -> None:
    text = drawing.draw("a < b", [drawing.Bars("<&", "x", ["<row>"], {"<mine>": [1.0], "other": [None]})])
    words = [part.text for part in ElementTree.fromstring(text).iterfind(".//{*}text")]
    assert {"<&", "<row>", "<mine>", "other"} <= set(words)
