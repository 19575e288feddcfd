"""README and docs keep their word."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

README = (ROOT / "README.md").read_text()


def test_generated_parts_are_up_to_date() -> None:
    script = ROOT / "scripts" / "make_docs.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_python_of_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    os.chdir(ROOT)
    exec(compile(code, "README.md", "exec"), {})
    assert "gaps filled" in capsys.readouterr().out


@pytest.mark.parametrize(
    "page",
    ["README.md", "CONTRIBUTING.md", "docs/design.md", "docs/results.md", "docs/study.md", "docs/experiments.md"],
)
def test_links_and_commands_exist(page: str) -> None:
    from tracemend.cli import app

    text = (ROOT / page).read_text()
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in link:
            assert (ROOT / page).parent.joinpath(link).exists(), link
    verbs = {c.name or (c.callback.__name__ if c.callback else "") for c in app.registered_commands}
    verbs |= {str(group.name) for group in app.registered_groups}
    for verb in re.findall(r"(?:^|[$`] ?|    )tracemend ([a-z]+)", text, re.M):
        assert verb in verbs, verb


def test_the_makefile_has_what_the_readme_promises() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert {"demo", "test", "lint", "fmt", "docs"} <= targets
    assert set(re.findall(r"(?:`|    )make ([a-z-]+)", README)) <= targets


def test_every_path_in_the_tree_exists() -> None:
    tree = README[README.index("## The tree") :]
    for names in re.findall(r"^      ([\w/., ]+?)  ", tree, re.M):
        for name in re.split(r", ", names.strip()):
            assert (ROOT / "src" / "tracemend" / name).exists(), name
    assert Path(ROOT / "docs" / "design.md").exists()
