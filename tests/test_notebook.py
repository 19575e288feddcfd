"""The notebook of the docs runs from top to bottom and shows what its text says.

Its cells are run here as Jupyter runs them: one after the other in one namespace, the value of a last expression shown
by ``_repr_html_`` or ``repr``. That takes no kernel; nbclient and ipykernel would bring some thirty packages, 100 MB.
"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from heads import head

NOTEBOOK = ROOT / "docs" / "notebook.ipynb"


def cells(kind: str) -> list[str]:
    document = json.loads(NOTEBOOK.read_text())
    return ["".join(cell["source"]) for cell in document["cells"] if cell["cell_type"] == kind]


def value_of(code: str, names: dict[str, Any]) -> Any:
    """Run a cell; the value of its last expression."""
    tree = ast.parse(code)
    last = tree.body.pop()
    assert isinstance(last, ast.Expr), code
    exec(compile(tree, NOTEBOOK.name, "exec"), names)
    return eval(compile(ast.Expression(last.value), NOTEBOOK.name, "eval"), names)


def test_the_notebook_is_one_and_stores_no_results() -> None:
    document = json.loads(NOTEBOOK.read_text())
    assert (document["nbformat"], document["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in document["cells"]}) == len(document["cells"])
    for cell in document["cells"]:
        assert cell["metadata"] == {}
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)


@pytest.mark.long
def test_the_notebook_runs_and_shows_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "recordings").symlink_to(ROOT / "recordings")
    monkeypatch.chdir(tmp_path / "docs")
    names: dict[str, Any] = {}
    values = [value_of(code, names) for code in cells("code")]
    assert all(v is not None for v in values)
    kinds = ["Trace", "Scan", "Advices", "Mended", "DataFrame", "Figures", "DataFrame", "Evaluation", "int"]
    kinds += ["list", "bool"]
    assert [type(v).__name__ for v in values] == kinds
    shown = [v._repr_html_() for v in values if hasattr(v, "_repr_html_")]
    assert len(shown) == 8
    gap, (calls,) = values[4], values[6].to_dict("records")
    assert gap["inferred"].tolist() == [False] * 2 + [True] * 6
    assert calls["observed"] < values[8]
    assert calls["low"] <= values[8] <= calls["high"]
    assert values[10] is True
    assert re.search(r"Gap (\d+)", " ".join(cells("markdown")))[1] == "2"  # type: ignore[index]


def test_the_python_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recordings").mkdir()
    head("shell", 1800, tmp_path / "recordings" / "shell")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.S):
        exec(block, names)
    said, mended = capsys.readouterr().out.splitlines()
    assert said.startswith("Lost: ")
    assert mended.startswith("<Mended recordings/shell/lossy.txt (ftrace): ")
    assert repr(names["kept"]) == repr(names["calls"])


def test_the_picture_of_it_is_small() -> None:
    (picture,) = re.findall(r"!\[[^\]]+\]\((pictures/.+?)\)", (ROOT / "docs" / "python.md").read_text())
    content = (ROOT / "docs" / picture).read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) <= 150_000
