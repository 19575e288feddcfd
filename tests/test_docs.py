"""README and docs keep their word."""

from __future__ import annotations

import json
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

import make_docs
import pytest
from conftest import ROOT
from docs.drawing import spread
from heads import head

from docs import claims, common, figures, paper, rooms

README = (ROOT / "README.md").read_text()


@pytest.fixture
def _one_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the results of the study say is made out once, not for every table and figure."""
    once = cache(paper.Paper)
    for module in (claims, figures, paper):
        monkeypatch.setattr(module, "Paper", once)


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


@pytest.mark.parametrize("every", [None, 7, 50])
def test_makers_take_whatever_rows_exist(every: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing measured at all, and rows here and there."""
    rows = of_the_study()[::every] if every else []
    with_results(tmp_path, monkeypatch, paper=rows, honest=[])
    for name, maker in make_docs.MAKERS.items():
        if name.startswith(("paper", "honest")):
            for table in re.findall(r"(?:^\|.*\n)+", maker(), re.M):
                assert len({line.count("|") for line in table.splitlines()}) == 1, f"{name}: {table}"
    for _, data in figures.FIGURES.values():
        assert json.loads(figures.described(data()))


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
    assert sorted(shown) == sorted(there)


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
@pytest.mark.parametrize(
    "name",
    [
        n
        if n in ("table4-models", "figure6-lstm")
        else pytest.param(n, marks=pytest.mark.long)  # a figure of each kind
        for n in figures.FIGURES
    ],
)
def test_figures_are_the_same_bytes_each_time(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(figures, "FIGURES", {name: figures.FIGURES[name]})
    assert figures.write(tmp_path) == [f"{name}.svg"]
    assert figures.write(tmp_path) == []
    assert figures.held(tmp_path / f"{name}.svg") == json.loads(figures.described(figures.FIGURES[name][1]()))


def test_names_of_curves_keep_apart() -> None:
    assert spread([10, 50, 90], apart=5, most=100) == [10, 50, 90]
    assert spread([50, 50, 50], apart=4, most=100) == [46, 50, 54]
    assert spread([99, 100, 100], apart=5, most=102) == [92, 97, 102]
