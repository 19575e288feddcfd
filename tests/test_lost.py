"""Contests over truly lost events, on made-up recordings in the corpus's place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import Done, run
from conftest import rng, threads_on_cpus

import tracemend.judging.contests as common
from tracemend import datasets
from tracemend.diffusion.gaps import lose
from tracemend.errors import DataError, OptionError, TraceError
from tracemend.formats import parquet
from tracemend.judging import lost
from tracemend.judging.metrics import LENGTH_BINS, accuracy, bin_name
from tracemend.judging.report import triple
from tracemend.judging.results import read_results
from tracemend.recording import Pair, pairs

SPLIT = '[split]\nvalidation_run = 2\ntest_run = 3\ntest = ["other"]\n'
CONTEST = '[[lost]]\nmenders = ["copy", "lookup", "lookup + examples", "n-gram of the corpus"]\nmost = 2\n'


def made_up(seed: int) -> Pair:
    complete = threads_on_cpus(rng(seed), 1200, threads=3)
    lossy, missing = lose(complete, rng(seed + 1))
    return Pair(lossy, complete, missing)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with a corpus: one recording of each part, and two with their truth, of which one has no counts."""
    folder = tmp_path / "tree"
    (folder / "corpus" / "pairs").mkdir(parents=True)
    (folder / "experiments").mkdir()
    (folder / "experiments" / "workloads.toml").write_text(SPLIT)
    for number in (0, 2):
        parquet.write(threads_on_cpus(rng(number), 400), folder / "corpus" / f"some-{number}.parquet", details=False)
    whole = made_up(7)
    bare = tuple(replace(g, count=None, known="suspected") for g in whole.lossy.gaps)
    pairs.write(whole, folder / "corpus" / "pairs" / "some-3-overwrite.parquet", details=False)
    pairs.write(replace(whole, lossy=whole.lossy.with_gaps(bare)), folder / "corpus" / "pairs" / "other-0-drop.parquet")
    return folder


def contest(tree: Path, *arguments: str) -> Done:
    """The experiment of c.toml, which lies beside the tree."""
    return run("experiment", "c.toml", "-o", "r.jsonl", "--from", tree, *arguments, cwd=tree.parent)


@pytest.mark.long
def test_a_contest_from_the_command_line(tree: Path) -> None:
    (tree.parent / "c.toml").write_text(CONTEST)
    done = contest(tree, "--dry-run")
    assert (done.returncode, done.stdout.count("some-3-overwrite"), done.stdout.count("\n")) == (0, 4, 8)
    assert not (tree.parent / "r.jsonl").exists()
    done = contest(tree, "--only", "copy")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "2 rows added")
    done = contest(tree)
    assert (done.returncode, done.stderr) == (0, "6 rows added\n")
    assert contest(tree).stderr == "0 rows added\n"
    rows = read_results(tree.parent / "r.jsonl", lost.KEY, "gaps")
    assert len({tuple(r[k] for k in lost.KEY) for r in rows}) == len(rows) == 8
    assert {(r["workload"], r["run"], r["how"], r["part"]) for r in rows} == {
        ("some", 3, "overwrite", "by run"),
        ("other", 0, "drop", "by workload"),
    }
    # the tracer states no count in drop mode: the true one is told, so that both say the same here
    for mender in ("copy", "lookup"):
        first, second = (r for r in rows if r["mender"] == mender)
        assert first["gaps"] == second["gaps"]
    told = run("report", "r.jsonl", cwd=tree.parent)
    assert told.returncode == 0, told.stderr
    assert "## overwrite, by run" in told.stdout
    assert "| lookup + examples |" in told.stdout
    assert run("report", "r.jsonl", "-o", "out", cwd=tree.parent).returncode == 2


def test_scores_are_those_of_the_gaps(tree: Path) -> None:
    job = lost.Job("some-3-overwrite", "lookup", "", 2, 0)
    recording = next(r for r in datasets.pairs(tree / "corpus", tree / common.SPLIT) if r.name == job.pair)
    knowledge = lost.Knowledge(tree, "default")
    row = lost.row(job, recording, knowledge)
    pair = recording.read()
    only = lost.chosen(pair, 2)
    assert len(only) == len(row["gaps"]["length"]) >= 2
    mended = lost.CONTESTANTS["lookup"](pair.lossy, knowledge, only, 0)
    assert {f.gap for f in mended.fills if f.status == "filled"} == only
    names = np.array(mended.inferred["name"].to_pylist())
    phases = np.array(mended.inferred["phase"].to_pylist())
    gap = mended.inferred["gap"].to_numpy()
    for number, score in zip(sorted(only), row["gaps"]["accuracy"], strict=True):
        truth = pair.complete.table.take(pair.missing[number])
        kinds = [f"{n} {p}" for n, p in zip(names[gap == number], phases[gap == number], strict=True)]
        real = [f"{n} {p}" for n, p in zip(truth["name"].to_pylist(), truth["phase"].to_pylist(), strict=True)]
        assert score == pytest.approx(accuracy(np.array(kinds), np.array(real)), abs=1e-4)


def test_gaps_are_chosen_evenly_over_the_recording() -> None:
    complete = threads_on_cpus(rng(0), 10)
    pair = Pair(complete, complete, [np.zeros(n, np.int64) for n in (5, 5, 1, 5, 5, 300, 5, 5)])
    assert lost.chosen(pair, 1) == {0, 2, 5}
    assert lost.chosen(pair, 2) == {0, 2, 5, 7}
    assert lost.chosen(pair, 3) == {0, 2, 5, 7} | {3} or lost.chosen(pair, 3) == {0, 2, 5, 7} | {4}
    assert lost.chosen(pair, 99) == set(range(8))


def made_row(mender: str, pair: str, length: list[int], right: list[float]) -> dict[str, object]:
    scores = dict.fromkeys(lost.SCORES, right)
    bins: dict[str, list[list[float]]] = {}
    for n, r in zip(length, right, strict=True):
        name = next(bin_name(*b) for b in LENGTH_BINS if b[0] <= n <= b[1])
        held = bins.setdefault(name, [[0.0] * 10 for _ in range(3)])
        held[0][5] += n
        held[1][5] += 0.5 * n
        held[2][5] += r * n
    about = {"mender": mender, "model": "", "pair": pair, "part": "by run", "how": "drop"}
    return {**about, "gaps": {"length": length, **scores}, "confidence": bins}


def test_cells_are_means_over_gaps_by_length() -> None:
    rows = [made_row("lookup", "a", [5, 20, 5000], [1, 0.5, 0]), made_row("lookup", "b", [8, 6000], [0, 0])]
    cells = {c["length"]: c for c in lost.by_length(rows)}
    assert list(cells) == ["2-10", "11-40", "1001-5000", "over 5000", "all"]
    assert (cells["2-10"]["gaps"], cells["2-10"]["events"], cells["2-10"]["accuracy"]) == (2, 13, 0.5)
    assert cells["all"]["accuracy"] == pytest.approx(0.3)
    assert cells["2-10"]["recordings"] == 2
    assert cells["2-10"]["calibration_error"] == pytest.approx(abs(6.5 - 5) / 13)
    low, high = cells["all"]["interval"]
    assert low <= 0.3 <= high
    table = lost.table([*rows, made_row("copy", "a", [5], [0])], triple)
    assert [line.split(" | ")[0] for line in table.splitlines()[2:]] == ["| copy", "| lookup"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[lost]]\nmenders = ["nobody"]\n', "unknown mender 'nobody'; one of"),
        ("[[lost]]\nmost = 3\n", "a lost needs menders"),
        ('[[lost]]\nmenders = ["copy"]\nmost = 0\n', "most must be positive"),
        ('[[lost]]\nmenders = ["copy"]\ngaps = [3]\n', "unknown key of a lost 'gaps'"),
        ('[[lost]]\nmenders = "copy"\n', "menders must be a list of names"),
        ('[[lost]]\nmenders = ["copy"]\nhow = ["often"]\n', "unknown way of losing 'often'; one of"),
    ],
)
def test_a_contest_that_is_none_is_told_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(DataError) as told:
        lost.read_contests(path)
    assert str(path) in str(told.value)
    assert said in str(told.value)


def test_what_isnt_there_is_told(tree: Path) -> None:
    contests = [lost.Contest(("copy",))]
    with pytest.raises(OptionError, match="unknown mender of the contests"):
        common.narrowed(contests, ["lookup"])
    (tree / "corpus" / "pairs" / "x.parquet").touch()
    with pytest.raises(TraceError, match="its name must be"):
        common.run(lost.KIND, contests, tree / "r.jsonl", tree)
    for path in (tree / "corpus" / "pairs").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="no recordings with their truth"):
        common.run(lost.KIND, contests, tree / "r.jsonl", tree)
    with pytest.raises(DataError, match="no rows"):
        lost.as_markdown([])


def test_a_file_is_of_one_kind(tree: Path) -> None:
    (tree.parent / "c.toml").write_text(CONTEST + '[[grid]]\ndata = ["adfa"]\nmenders = ["copy"]\n')
    done = contest(tree)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "a file for each" in done.stderr
    assert not (tree.parent / "r.jsonl").exists()
