"""Experiments: grids, results that survive a kill, trainings that are taken up again, tables."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import commands
import numpy as np
import pytest
from conftest import ROOT

from tracemend.datasets import Data, Windows
from tracemend.diffusion.recipes import recipe
from tracemend.errors import DataError, OptionError, OutputError, TraceError
from tracemend.judging import trained as models
from tracemend.judging.experiment import run
from tracemend.judging.grid import narrowed, plan, read_grid
from tracemend.judging.report import as_csv, as_markdown, cells, figures, write
from tracemend.judging.results import KEY, append, exclusive, read_results
from tracemend.judging.trained import trained
from tracemend.trace.vocabulary import FIRST, numbered
from tracemend.trace.windows import Stream

SHARED = ROOT.parent / "shared" / "data"
needs_data = pytest.mark.skipif(not (SHARED / "pts").is_dir(), reason="needs ../shared/data")
GRID = """
[[grid]]
data = ["pts/compress-gzip"]
menders = ["copy period", "lookup"]
gaps = [1, 10]
windows = 20
seeds = [0, 1]

[[grid]]
data = ["pts/compress-gzip"]
menders = ["masked-s4-tiny"]
lengths = [50]
windows = 5
seeds = [0, 1]
set = ["iterations=10"]
"""
#: Every kind of thing that the smoke grid does, and less of it.
LITTLE_SMOKE = """
[[grid]]
data = ["pts/compress-gzip"]
menders = ["most frequent", "copy", "copy period", "n-gram", "automaton", "lookup"]
gaps = [1, 10, 40]
places = ["centre", "end"]
windows = 10

[[grid]]
data = ["pts/compress-gzip"]
menders = ["sssd-s4-tiny", "masked-s4-tiny", "lstm-tiny"]
lengths = [50]
gaps = [10]
windows = 2
seeds = [0, 1]
set = ["iterations=2"]

[[grid]]
data = ["pts/compress-gzip"]
menders = ["diffwave-tiny-published"]
lengths = [50]
gaps = [10]
windows = 2
set = ["iterations=2"]
"""


def made_up() -> Data:
    """A made-up data set: two loops, one after the other."""
    rng = np.random.default_rng(0)
    loops = [np.array([0, 1, 2, 3, 4]), np.array([5, 6, 7])]
    parts = [np.concatenate([np.tile(loops[k], 10) for k in rng.integers(0, 2, 20)]) + FIRST for _ in range(3)]
    held = [[Stream(p, np.zeros_like(p))] for p in parts]
    counts = np.bincount(parts[0] - FIRST, minlength=8).tolist()
    return Data("made-up", numbered(8, counts), held[0], held[1], held[2], False)


def row(**changes: Any) -> dict[str, Any]:
    """A row of results with numbers that are easy to recompute (made up)."""
    part = {"gaps": 10, "accuracy": 0.5, "perfect": 0.25, "rouge_l": 0.75, "accuracy_interval": [0.4, 0.6]}
    key = {"data": "d", "mender": "copy", "set": [], "length": 50, "gap": 10, "place": "centre", "seed": 0}
    return key | {"windows": 10, "subsets": {"all": part, "unseen": {"gaps": 0}}, "calibration_error": 0.1} | changes


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    path = tmp_path / "grid.toml"
    path.write_text(GRID)
    return path


def test_a_grid_is_every_combination_and_baselines_have_no_seed(grid: Path) -> None:
    jobs = plan(read_grid(grid), [])
    assert {(j.mender, j.length, j.seed, len(j.cells)) for j in jobs} == {
        ("copy period", 200, 0, 2),
        ("lookup", 200, 0, 2),
        ("masked-s4-tiny", 50, 0, 1),
        ("masked-s4-tiny", 50, 1, 1),
    }
    done = [{**row(), "data": j.data, "mender": j.mender, "set": j.set, "length": j.length, "gap": 10, "seed": j.seed,
             "windows": j.cells[0][2]} for j in jobs]  # fmt: skip
    assert [(j.mender, j.cells) for j in plan(read_grid(grid), done)] == [
        ("copy period", ((1, "centre", 20),)),
        ("lookup", ((1, "centre", 20),)),
    ]


def test_a_grid_can_be_narrowed(grid: Path) -> None:
    grids = read_grid(grid)
    assert narrowed(grids, []) == grids
    assert [j.mender for j in plan(narrowed(grids, ["lookup"]), [])] == ["lookup"]
    assert len(plan(narrowed(grids, ["lookup", "masked-s4-tiny", "pts/compress-gzip"]), [])) == 3
    with pytest.raises(OptionError, match="unknown mender or data set of the grids 'adfa'; one of"):
        narrowed(grids, ["adfa"])


@pytest.mark.long
@needs_data
def test_results_are_kept_and_only_what_is_missing_is_done(grid: Path, tmp_path: Path) -> None:
    results, models = tmp_path / "r.jsonl", tmp_path / "models"
    grids = read_grid(grid)
    assert run(grids, results, source=SHARED, models=models) == 6
    first = results.read_text().splitlines()
    assert run(grids, results, source=SHARED, models=models) == 0
    # a kill has cut the last line short, another row is gone altogether
    results.write_text("\n".join([*first[:2], *first[3:-1], first[-1][:40]]))
    assert len(read_results(results)) == 4
    assert run(grids, results, source=SHARED, models=models) == 2
    again = read_results(results)

    def scored(rows: list[dict[str, Any]]) -> list[str]:
        return sorted(json.dumps([r["mender"], r["gap"], r["seed"], r["subsets"], r["by_rank"]]) for r in rows)

    assert scored(again) == scored([json.loads(line) for line in first])
    lookup = next(r for r in again if r["mender"] == "lookup" and r["gap"] == 10)
    assert lookup["subsets"]["all"]["accuracy"] > 0.99
    assert {"commit", "machine", "version", "seed", "train_s", "impute_s"} <= lookup.keys()
    # the lookup's fills are the truth, almost everywhere
    assert lookup["subsets"]["all"]["bits"] == pytest.approx(lookup["subsets"]["all"]["bits_truth"], abs=0.05)


@pytest.mark.long
def test_a_training_that_was_cut_off_ends_with_the_same_weights(tmp_path: Path) -> None:
    data, chosen = made_up(), recipe("masked-s4-tiny").changed(["iterations=5", "length=40"])
    whole, about = trained(chosen, data, 0, tmp_path / "a")
    assert (about["iterations"], len(about["validation"])) == (5, 5)

    class KilledError(Exception):
        pass

    real = models._write

    def killed_after_two(path: Path, document: dict[str, Any]) -> None:
        real(path, document)
        if len(document["validation"]) == 2:
            raise KilledError

    models._write = killed_after_two
    try:
        with pytest.raises(KilledError):
            trained(chosen, data, 0, tmp_path / "b")
    finally:
        models._write = real
    taken_up, _ = trained(chosen, data, 0, tmp_path / "b")
    assert taken_up.digest == whole.digest
    other, _ = trained(chosen, data, 1, tmp_path / "b")
    assert other.digest != whole.digest


def reported(grid: Path, folder: Path, iterations: int, *more: str) -> None:
    """Run a grid like the smoke grid, twice, and look at its tables and figures."""

    def tracemend(*arguments: str) -> str:
        done = commands.run(*arguments, cwd=folder)
        assert done.returncode == 0, done.stderr
        return done.stdout

    options = ["--from", str(SHARED), "--models", "models", *more]
    assert tracemend("experiment", str(grid), *options).strip() == "smoke.jsonl"
    assert tracemend("experiment", str(grid), *options, "--dry-run") == ""
    tracemend("report", "smoke.jsonl", "-o", "out", "--figures")
    assert (folder / "out" / "pts-compress-gzip-200-centre-all.svg").exists()
    text = (folder / "out" / "tables.md").read_text()
    assert "| lookup | 100.0 / 100.0 / 100.0 | 100.0 / 100.0 / 100.0 | 100.0 / 100.0 / 100.0 |" in text
    # on all windows and on those outside the loop; not one of these is unseen
    assert text.count(f"sssd-s4-tiny, iterations={iterations}") == 2


@needs_data
@pytest.mark.long
def test_a_little_smoke_grid_runs_and_is_reported(tmp_path: Path) -> None:
    grid = tmp_path / "smoke.toml"
    grid.write_text(LITTLE_SMOKE)
    reported(grid, tmp_path, 2)


@pytest.mark.long
@needs_data
def test_the_smoke_grid_runs_and_is_reported(tmp_path: Path) -> None:
    reported(ROOT / "experiments" / "smoke.toml", tmp_path, 40, "--jobs", "2")


@needs_data
@pytest.mark.long
def test_a_killed_experiment_loses_nothing(grid: Path, tmp_path: Path) -> None:
    results = tmp_path / "r.jsonl"
    options = ["-o", str(results), "--from", str(SHARED), "--models", str(tmp_path / "m")]
    command = [sys.executable, "-m", "tracemend", "experiment", str(grid), *options]
    child = subprocess.Popen(
        [*command, "--jobs", "2"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path
    )
    end = time.monotonic() + 120
    while len(read_results(results)) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    time.sleep(1)  # its processes go with it
    before = len(read_results(results))
    assert before >= 2
    done = commands.run(*command[3:], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"{6 - before} rows added" in done.stderr
    rows = read_results(results)
    assert len({json.dumps([r[k] for k in KEY]) for r in rows}) == len(rows) == 6


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[grid]\n", "no experiment"),
        ("a = 1\n", "unknown table 'a'; one of grid, lost"),
        ("", "neither [[grid]] nor [[lost]] nor [[figures]]"),
        ("grid = [1]\n", "must be a list of tables"),
        ('[[grid]]\ndata = ["adfa"]\nmenders = ["lstm-tiny"]\nset = ["options=3"]\n', "no setting of a recipe"),
        ('[[grid]]\ndata = ["adfa"]\nmenders = ["lstm-tiny"]\nset = ["iterations=abc"]\n', "no setting of a recipe"),
        ('[[grid]]\ndata = ["pts/compress-gzip"]\n', "a grid needs menders"),
        ('[[grid]]\ndata = ["no"]\nmenders = ["copy"]\n', "unknown data set 'no'; one of"),
        ('[[grid]]\ndata = ["adfa"]\nmenders = ["nobody"]\n', "unknown mender 'nobody'; one of"),
        ('[[grid]]\ndata = ["adfa"]\nmenders = ["copy"]\nplaces = ["left"]\n', "unknown place of a gap 'left'"),
        ('[[grid]]\ndata = ["adfa"]\nmenders = ["copy"]\ngapes = [1]\n', "unknown key of a grid 'gapes'; one of"),
        ('[[grid]]\ndata = ["adfa"]\nmenders = ["copy"]\ngaps = [300]\n', "is shorter than its gap of 300"),
        ('[[grid]]\ndata = ["adfa"]\nmenders = ["copy"]\ngaps = ["1"]\n', "gaps must be a list of numbers, not ['1']"),
        ('[[grid]]\ndata = ["adfa"]\nmenders = ["copy"]\ngaps = 1\n', "gaps must be a list of numbers, not 1"),
        ('[[grid]]\ndata = ["adfa"]\nmenders = []\n', "menders must be a list of names, not []"),
        ('[[grid]]\ndata = ["adfa"]\nmenders = ["lstm-tiny"]\nset = ["no.thing=1"]\n', "no setting of a recipe"),
        ('[[grid]]\ndata = ["adfa"]\nmenders = ["lstm-tiny"]\nset = ["steps"]\n', "no setting of a recipe"),
    ],
)
def test_a_grid_that_is_none_is_told_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(DataError) as told:
        read_grid(path)
    assert str(path) in str(told.value)
    assert said in str(told.value)
    assert "\n" not in str(told.value)


def test_results_that_are_none_are_told_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    assert read_results(path) == []
    append(path, row())
    append(path, row(seed=1))
    assert [r["seed"] for r in read_results(path)] == [0, 1]
    path.write_text('{"data": 1}\n' + path.read_text())
    with pytest.raises(DataError, match=r"r\.jsonl:1: no row of results"):
        read_results(path)


def test_one_experiment_at_a_time_writes_a_file_and_a_torn_tail_goes(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    with exclusive(path):
        append(path, row())
        with pytest.raises(DataError, match="another experiment"), exclusive(path):
            pass
    whole = path.read_bytes()
    for cut in (1, 2, 40):  # behind the row's last brace, behind an inner one, in the middle
        path.write_bytes(whole + whole[:-cut])
        assert len(read_results(path)) == (2 if cut == 1 else 1)
        with exclusive(path):
            append(path, row(seed=1))
        assert [r["seed"] for r in read_results(path)] == ([0, 0, 1] if cut == 1 else [0, 1])
    with pytest.raises(OutputError, match="can't be written"), exclusive(tmp_path / "r.jsonl" / "x"):
        pass


def test_a_row_that_finds_no_room_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    append(path, row())
    size = path.stat().st_size
    code = (
        "import resource, signal, sys; from pathlib import Path; from tracemend.judging.results import append;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size + 50}, {size + 50}));"
        "append(Path(sys.argv[1]), {'a': 'x' * 500})"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert "OutputError" in done.stderr
    assert path.stat().st_size == size


def test_equal_rows_are_no_seeds() -> None:
    (cell,) = cells([row(set=()), row(set=())])
    assert cell["seeds"] == 1


def test_errors_come_whole_out_of_other_processes() -> None:
    error = TraceError("a.txt", 3, "no event")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.line) == (str(error), 3)


def test_seeds_become_one_cell() -> None:
    other = row(seed=1)
    other["subsets"] = {"all": {**row()["subsets"]["all"], "accuracy": 0.7, "accuracy_interval": [0.6, 0.8]}}
    (cell,) = cells([row(set=()), {**other, "set": ()}])
    assert cell["accuracy"] == pytest.approx(0.6)
    assert (cell["seeds"], cell["low"]) == (2, 0.5)
    assert (cell["spread"], cell["high"]) == (pytest.approx(0.1), pytest.approx(0.7))
    assert cells([row(set=())], "unseen") == []


def test_rows_from_before_a_measure_was_made_are_read_beside_others() -> None:
    new = row(set=(), mender="lookup")
    new["subsets"] = {"all": new["subsets"]["all"] | {"bits": 2.0, "bits_truth": 3.0, "likelier": 0.5}}
    old, seed = row(set=()), {**row(set=(), seed=1), "mender": "lookup"}
    cell = next(c for c in cells([old, new, seed]) if c["mender"] == "lookup")
    assert (cell["seeds"], cell["bits"], cell["bits_truth"]) == (2, 2.0, 3.0)
    head, *lines = as_csv([old, new]).splitlines()
    assert {line.split(",")[head.split(",").index("bits")] for line in lines} == {"", "2.0"}
    assert "| copy |" in as_markdown([old, new])


@pytest.mark.long
def test_tables_and_figures(tmp_path: Path) -> None:
    rows = [row(set=(), gap=g, mender=m) for g in (1, 10) for m in ("copy", "lookup")] + [
        row(set=("steps=2",), mender="lstm-tiny", gap=10, train_s=3.0, iterations=20)
    ]
    text = as_markdown(rows)
    assert "| d, windows of 50, centre, all | gap 1 (10 windows) | gap 10 (10 windows) |" in text
    assert "| lstm-tiny, steps=2 |  | 50.0 / 25.0 / 75.0 |" in text
    lines = as_csv(rows).splitlines()
    assert len(lines) == 6
    assert lines[0].startswith("data,mender,set,length,gap,place,windows,subset,seeds")
    with pytest.raises(DataError, match="no rows"):
        as_markdown([])
    out = tmp_path / "out"
    names = [p.name for p in write(rows, out, plots=True, force=False)]
    assert names == ["d-50-centre-all.svg", "tables.csv", "tables.md"]
    first = (out / names[0]).read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        write(rows, out, plots=False, force=False)
    write(rows, out, plots=True, force=True)
    assert (out / names[0]).read_bytes() == first
    (out / "mine.txt").write_text("")
    with pytest.raises(OutputError, match=r"mine\.txt"):
        write(rows, out, plots=False, force=True)
    assert (out / "mine.txt").exists()
    assert figures([], tmp_path) == []


def test_windows_of_the_made_up_data_are_its_own() -> None:
    data = made_up()
    windows = data.windows(20, 5)
    assert isinstance(windows, Windows)
    assert windows.ids_NL.shape == (5, 20)
