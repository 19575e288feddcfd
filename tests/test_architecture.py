"""The house: a folder is a storey, imports go only down, rooms stay small, and PyTorch stays in its own."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from conftest import ROOT

from tracemend.mending.options import Changes, Options

PACKAGE = ROOT / "src" / "tracemend"

#: From the bottom to the top. What stands on one line may not import its neighbours.
STOREYS: list[set[str]] = [
    {"compiled", "errors", "untrusted", "whole"},
    {"engines", "trace"},
    {"formats"},
    {"losses", "recording"},
    {"datasets", "menders"},
    {"diffusion", "library"},
    {"mending"},
    {"reckoning"},
    {"outputs"},
    {"judging"},
    {"api"},
    {"cli"},
]
LEVEL = {name: i for i, storey in enumerate(STOREYS) for name in storey}
#: What a network must know to be a mender: the protocol, and how beliefs become confidence.
PROTOCOL = {"tracemend.menders.base", "tracemend.menders.calibration"}
#: Lines of a file, and arguments of a function.
MOST_LINES, MOST_ARGUMENTS = 400, 7
#: Called once an event of a trace: an object for what belongs together would cost more than the work.
HOT = {("formats/base.py", "add"), ("formats/ctf/decode.py", "run")}

FILES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> set[str]:
    """Modules that are imported anywhere in a file, by their full names."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{a.name}" for a in node.names)}
        elif isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
    return found


def rooms_imported(path: Path) -> set[str]:
    names = [n.split(".") for n in imported(ast.parse(path.read_text())) if n.startswith("tracemend.")]
    return {n[1] for n in names} & LEVEL.keys()


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_go_down(path: Path) -> None:
    here = room(path)
    if here.startswith("__"):
        return  # the package's own face shows what is in the rooms
    for other in rooms_imported(path) - {here}:
        assert LEVEL[other] < LEVEL[here], f"{name_of(path)} imports {other}, which doesn't lie below it"


def test_every_room_has_its_storey() -> None:
    there = {room(p) for p in FILES} - {"__init__", "__main__"}
    assert there == LEVEL.keys()


def test_the_rooms_are_those_of_the_design() -> None:
    text = (ROOT / "docs" / "design.md").read_text()
    for name in LEVEL:
        assert f"`{name}/`" in text or f"`{name}`" in text or f"`{name}.py`" in text, name


@pytest.mark.parametrize("path", sorted((PACKAGE / "diffusion").rglob("*.py")), ids=name_of)
def test_networks_know_of_menders_only_the_protocol(path: Path) -> None:
    names = {n for n in imported(ast.parse(path.read_text())) if n.startswith("tracemend.menders")}
    assert {".".join(n.split(".")[:3]) for n in names} <= PROTOCOL


def top_level_imports(path: Path) -> set[str]:
    nodes = ast.parse(path.read_text()).body
    return {n.split(".")[0] for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for n in imported(node)}


@pytest.mark.parametrize("path", [p for p in FILES if room(p) != "diffusion"], ids=name_of)
def test_torch_is_asked_for_where_it_is_used(path: Path) -> None:
    if name_of(path) == "judging/trained.py":
        return  # the models of experiments; imported only where there are some
    assert not {"torch", "safetensors", "pooch", "matplotlib", "pandas", "ray"} & top_level_imports(path)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_room_is_a_hall(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MOST_LINES
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef) and room(path) != "cli" and (name_of(path), node.name) not in HOT:
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            own = len(given) - (bool(given) and given[0].arg in ("self", "cls"))
            assert own <= MOST_ARGUMENTS, f"{node.name} has {own} arguments; what belongs together is one thing"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_file_says_what_it_holds(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_the_options_of_a_mend_are_the_same_as_keywords() -> None:
    assert set(Changes.__annotations__) == {f.name for f in fields(Options)}


def test_there_is_no_drawer_for_odds_and_ends() -> None:
    for path in PACKAGE.rglob("*"):
        assert not re.fullmatch(r"(utils?|helpers?|common|misc|manager)", path.stem), path


@pytest.mark.parametrize(
    "module", ["api", "cli.app", "losses.scanning", "mending.run", "judging.evaluate", "judging.experiment", "datasets"]
)
def test_the_core_does_without_torch(module: str) -> None:
    extras = ("torch", "safetensors", "pooch", "matplotlib", "pandas", "ray")
    code = f"import sys; sys.modules.update(dict.fromkeys({extras})); import tracemend.{module}"
    subprocess.run([sys.executable, "-c", code], check=True)
