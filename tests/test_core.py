"""The core's commands where none of the extras is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from tracemend.recording import available

EXTRAS = ("torch", "safetensors", "pooch", "matplotlib", "pandas")
#: Python imports this before anything else; then nobody finds the extras.
HIDE = f"""
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {EXTRAS}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hidden())
"""
TRACE = ROOT / "tests" / "data" / "ftrace_pipe.txt"


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which Python doesn't find the extras."""
    folder = tmp_path_factory.mktemp("bare")
    (folder / "sitecustomize.py").write_text(HIDE)
    before = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([str(folder), *([before] if before else [])])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


@pytest.mark.long
def test_the_core_is_all_that_a_plain_installation_brings(tmp_path: Path) -> None:
    """A real environment, installed from the project's files alone; pip brings what the core needs and nothing else."""
    bin_ = tmp_path / "env" / "bin"
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "env")], check=True)
    source = shutil.copytree(ROOT, tmp_path / "source", ignore=shutil.ignore_patterns(".*", "corpus", "out", "runs"))
    install = [str(bin_ / "pip"), "install", "--quiet", str(source)]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode and "No matching distribution" in done.stderr:
        pytest.skip("pip reaches no package registry")
    assert done.returncode == 0, done.stderr
    there = subprocess.run([str(bin_ / "pip"), "list"], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "safetensors", "pooch", "matplotlib", "pandas"} & set(there)
    for words, code in (
        (["scan", TRACE], 3),
        (["mend", TRACE, "-o", tmp_path / "out"], 0),
        (["train", TRACE, "-o", tmp_path / "m"], 1),
    ):
        command = [str(bin_ / "tracemend"), *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == code, done.stderr
    assert "pip install 'tracemend[diffusion]'" in done.stderr


def run(bare: dict[str, str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "tracemend", *map(str, arguments)]
    return subprocess.run(command, env=bare, capture_output=True, text=True, check=False, timeout=300)


def test_the_extras_are_not_found_here(bare: dict[str, str]) -> None:
    done = subprocess.run([sys.executable, "-c", "import torch"], env=bare, capture_output=True, text=True, check=False)
    assert (done.returncode, "No module named 'torch'" in done.stderr) == (1, True)


def test_scan_and_advise(bare: dict[str, str]) -> None:
    done = run(bare, "scan", TRACE)
    assert (done.returncode, done.stderr) == (3, "")
    assert run(bare, "advise", TRACE).returncode == 0


@pytest.mark.parametrize("model", ["mosaic", pytest.param("lookup", marks=pytest.mark.long)])
def test_mend_and_strip(bare: dict[str, str], tmp_path: Path, model: str) -> None:
    out = tmp_path / "out"
    done = run(bare, "mend", TRACE, "-o", out, "--alone", "--model", model, "--merged", "--perfetto")
    assert done.returncode == 0, done.stderr
    stripped = tmp_path / "back.txt"
    assert run(bare, "strip", out, "-o", stripped).returncode == 0
    assert stripped.read_bytes() == TRACE.read_bytes()


def test_evaluate(bare: dict[str, str]) -> None:
    complete = ROOT / "tests" / "data" / "ftrace_complete.txt.xz"
    done = run(bare, "evaluate", complete, complete)
    assert done.returncode == 0, done.stderr
    assert "0 gaps" in done.stdout


@pytest.mark.parametrize("verb", ["formats", "recipes"])
def test_lists(bare: dict[str, str], verb: str) -> None:
    assert run(bare, verb).returncode == 0


@pytest.mark.skipif(bool(available()), reason=f"recording: {available()}")
def test_record(bare: dict[str, str], tmp_path: Path) -> None:
    done = run(bare, "record", "-o", tmp_path / "run.parquet", "--", "true")
    assert done.returncode in (0, 3), done.stderr
    assert (tmp_path / "run.parquet").exists()


@pytest.mark.parametrize(
    ("extra", "arguments"),
    [
        ("diffusion", ["mend", TRACE, "-o", "OUT", "--model", "default"]),
        ("diffusion", ["train", TRACE, "-o", "OUT"]),
        ("datasets", ["datasets", "fetch", "adfa", "--to", "OUT"]),
        ("plots", ["report", ROOT / "benchmarks" / "results" / "honest.jsonl", "-o", "OUT", "--figures"]),
    ],
)
def test_what_is_missing_is_said_in_one_line(
    bare: dict[str, str], tmp_path: Path, extra: str, arguments: list[str | Path]
) -> None:
    done = run(bare, *(tmp_path / "out" if a == "OUT" else a for a in arguments))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(f"is not installed: pip install 'tracemend[{extra}]'")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out" / "tables.md").exists()
