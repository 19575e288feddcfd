"""Imports go only down the list in docs/design.md, and nothing in the package is called utils."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from conftest import ROOT

PACKAGE = ROOT / "src" / "tracemend"

#: From the bottom to the top; modules on one line may import each other, all may import what stands before.
LAYERS: list[set[str]] = [
    {"errors", "syscalls", "data", "models", "whole"},
    {"results"},
    {"events"},
    {"mended", "formats", "vocabulary"},
    {"downstream"},
    {"suspect", "scanning", "windows"},
    {"examples"},
    {"gaps", "outputs", "backbones", "codecs", "schedules", "recording"},
    {"report"},
    {"processes"},
    {"denoiser"},
    {"sampler", "recipes", "constraints", "datasets"},
    {"mender", "baselines", "blend", "calibration"},
    {"reference", "training", "tuning", "familiarity"},
    {"mending"},
    {"metrics", "evaluate"},
    {"experiment"},
    {"api"},
    {"lost"},
    {"cli", "__main__"},
]


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("tracemend."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("tracemend.")}
    return found


def test_imports_go_down() -> None:
    level = {name: i for i, layer in enumerate(LAYERS) for name in layer}
    seen = set()
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if name == "__init__":
            continue
        seen.add(name)
        for other in imported(path) - {name}:
            assert level[other] <= level[name], f"{path.relative_to(PACKAGE)} imports {other}, which lies above it"
    assert seen <= level.keys()


def test_there_is_no_drawer_for_odds_and_ends() -> None:
    for path in PACKAGE.rglob("*"):
        assert not re.fullmatch(r"(utils?|helpers?|common|misc|manager)", path.stem), path


def test_reading_and_scanning_do_not_wait_for_torch() -> None:
    import subprocess
    import sys

    code = "import sys, tracemend; tracemend.read, tracemend.scan; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
