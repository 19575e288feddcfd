"""Figures against the truth: oracles, contests, intervals and their calibration."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from unittest import mock

import calibrate_figures as calibrate
import numpy as np
import pytest
from commands import run
from conftest import right, rng, threads_on_cpus
from hypothesis import example, given, settings
from hypothesis import strategies as st

import tracemend.judging.contests as common
from docs import corrected as tables
from tracemend.diffusion.gaps import lose
from tracemend.errors import DataError, OptionError
from tracemend.formats import parquet
from tracemend.judging import corrected
from tracemend.judging.amounts import KINDS, Calling
from tracemend.judging.figures import DRAWS, FILL, LEFT, SCALED, Judging, errors
from tracemend.judging.results import read_results
from tracemend.mending.mended import INFERRED, Mended
from tracemend.mending.options import Options
from tracemend.mending.run import mend_trace
from tracemend.reckoning import lasting
from tracemend.reckoning.figures import FIGURES
from tracemend.reckoning.intervals import End, interval, root, shared_out, size, table, terms
from tracemend.reckoning.whole import FIGURES_BY, reckoned
from tracemend.recording import Pair, pairs

ROOT = Path(__file__).parents[1]
SPLIT = '[split]\nvalidation_run = 2\ntest_run = 3\ntest = ["other"]\n'
CONTEST = '[[figures]]\nmenders = ["copy", "mosaic + examples"]\ndraws = 4\nmost = 2\n'


def made_up(seed: int, events: int = 800) -> Pair:
    complete = threads_on_cpus(rng(seed), events, threads=3)
    lossy, missing = lose(complete, rng(seed + 1), longest=60)
    return Pair(lossy, complete, missing)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_calls_of_gaps_and_of_what_survived_are_those_of_a_tally(seed: int) -> None:
    pair = made_up(seed, 300)
    find = Calling(pair, {})
    for trace, calls in ((pair.complete, find.in_truth()), (pair.lossy, find.filled())):
        told = reckoned(Mended(trace, INFERRED.empty_table(), (), {}), 1)
        for kind in KINDS:
            by, name = kind.split(" ")
            mine: dict[int | str, float] = defaultdict(float)
            named = {n: key for key, n in find.codes.items()}
            for key, amount in zip(*(x.tolist() for x in calls.by_cpu(kind)[1:]), strict=True):
                mine[key if by == "thread" else named[key]] += amount
            counts = told.counted.observed.counts[by]
            assert {k: v for k, v in mine.items() if v} == {
                k: row[FIGURES[name]] for k, row in counts.items() if row[FIGURES[name]]
            }


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 1 << 32))
@example(23998)  # loses nothing
def test_a_fill_that_is_right_has_no_error_anywhere(seed: int) -> None:
    pair = made_up(seed, 300)
    with mock.patch.object(lasting, "PLAUSIBLE", 1e-300):  # made-up times are no call's
        row = Judging(pair, right(pair.complete, pair.lossy, pair.missing), 0).row()
    assert set(errors(row["whole"], FILL).values()) == {0.0}
    assert all(sums["wrong"][FILL] == 0 for bins in row["by_gap"].values() for sums in bins.values())
    left = row["whole"]["call calls"]
    assert left["wrong"][LEFT] <= left["truth"]
    # what gaps lost together is what the trace is short of, but for calls whose exit survived
    short = sum(sums["truth"] for sums in row["by_gap"]["call calls"].values())
    assert left["wrong"][LEFT] <= short


def test_intervals_of_a_recording_are_judged_where_something_was_lost() -> None:
    pair = made_up(5)
    judging = Judging(pair, mend_trace(pair.lossy, None, Options(hypotheses=6)), 6)
    for kind, judged in judging.whole():
        assert judged.lost.any(), kind
        assert (judged.low <= judged.ways[DRAWS]).all()
        assert (judged.ways[DRAWS] <= judged.high).all()
        inside = judged.row()
        assert 0 <= inside[DRAWS]["held"] <= inside["lost"] <= inside["figures"]
        assert set(inside["wrong"]) == {LEFT, SCALED, FILL, DRAWS}
    gap, judged = judging.in_gaps("call calls")
    length = np.array([len(m) for m in pair.missing])
    entered = np.bincount(gap, judged.truth, len(length))
    assert (entered <= length).all()
    scaled = np.bincount(gap, judged.ways[SCALED], len(length))
    assert (scaled <= length).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1 << 32), kind=st.sampled_from(sorted(table()) or ["call calls"]))
def test_an_interval_is_about_its_estimate_and_wider_where_draws_differ_more(seed: int, kind: str) -> None:
    random = np.random.default_rng(seed)
    observed = random.integers(0, 1000, 5).astype(float)
    draws = observed + random.integers(0, 50, (16, 5)).astype(float)
    found = interval(draws, observed, kind)
    assert ((found.low <= found.estimate) & (found.estimate <= found.high)).all()
    apart = found.estimate + 3 * (draws - found.estimate)
    wider = terms(apart, observed, shared_out(draws, observed), kind)[0]
    assert (wider >= terms(draws, observed, shared_out(draws, observed), kind)[0]).all()


def test_what_is_known_of_intervals_is_of_figures_that_there_are() -> None:
    for kind, ends in table().items():
        by, name = kind.split(" ")
        assert by in (*FIGURES_BY, "total")
        assert name in FIGURES
        for end in ends.values():
            assert len(end.times) == len(end.upto) + 1
            assert list(end.upto) == sorted(end.upto)
            assert min(end.times) >= 0 <= min(end.weights)


@pytest.mark.long
def test_ends_that_are_fitted_hold_nine_of_ten_others() -> None:
    """Made up: what draws say is right but for noise, the more the more was lost."""

    def sample(seed: int) -> calibrate.Sample:
        random = np.random.default_rng(seed)
        lost = np.exp(random.uniform(0, 6, 60))
        truth = np.round(lost + random.normal(0, 1 + 0.2 * lost))
        draws = lost + random.normal(0, 0.5 + 0.02 * lost, (16, 60))
        return calibrate.Sample("call calls", str(seed), True, truth, np.zeros(60), lost, draws, np.ones(60, np.int64))

    ends = calibrate.fit([sample(n) for n in range(30)])
    ok = np.concatenate([calibrate.held(sample(n), ends)[0] for n in range(30, 60)])
    assert 0.87 < ok.mean() < 0.97
    small, large = (terms(np.full((16, 1), n), np.zeros(1), np.full(1, n), "call calls") for n in (2.0, 300.0))
    assert ends["high"].distance(large) > 5 * ends["high"].distance(small)


def test_quantiles_by_weight() -> None:
    values = np.arange(1000.0)
    assert calibrate.quantile(values, np.ones(1000)) == pytest.approx(1000 * calibrate.INSIDE, abs=2)
    assert calibrate.quantile(values, (values < 100).astype(float)) == pytest.approx(100 * calibrate.INSIDE, abs=1)
    assert calibrate.quantile(np.array([3.0, 1.0]), np.ones(2)) == 3


def test_distances_go_by_how_much_was_lost() -> None:
    grounds = terms(np.array([[1.0, 50.0]]), np.zeros(2), np.zeros(2), "call calls")
    assert size(grounds).tolist() == [1, 50]
    weights = [0.0] * len(grounds)
    weights[2] = 1.0  # the square of how much the draws have
    assert root(grounds, np.array(weights)).tolist() == [1, 50]
    assert End("size", weights, (5.0,), (3.0, 0.5)).distance(grounds).tolist() == [3, 25]
    assert End("dissent", weights, (5.0,), (3.0, 0.5)).distance(grounds).tolist() == [3, 150]


def test_a_machine_with_its_system_calls_alone() -> None:
    pair = pairs.read(ROOT / "corpus" / "kernel" / "pairs" / "sqlite-2-kernel_overwrite.parquet")
    alone = calibrate.calls_alone(pair)
    assert not alone.faults()
    assert alone.lost == sum((pair.complete.phase[m] != 2).sum() for m in pair.missing)
    assert len(alone.lossy) + alone.lost == len(alone.complete)
    assert [g.number for g in alone.lossy.gaps] == list(range(len(alone.missing)))
    for gap, rows in zip(alone.lossy.gaps, alone.missing, strict=True):
        assert (alone.complete.cpu[rows] == gap.cpu).all()
        times = alone.complete.time_ns[rows]
        assert gap.begin_ns <= times.min()
        assert times.max() <= gap.end_ns


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up tree with a corpus, two recordings with their truth, and the results of a contest."""
    folder = tmp_path_factory.mktemp("figures") / "tree"
    (folder / "corpus" / "pairs").mkdir(parents=True)
    (folder / "experiments").mkdir()
    (folder / "experiments" / "workloads.toml").write_text(SPLIT)
    for number in (0, 2):
        parquet.write(threads_on_cpus(rng(number), 400), folder / "corpus" / f"some-{number}.parquet", details=False)
    for name, seed in (("some-3-overwrite", 7), ("other-0-drop", 8)):
        pairs.write(made_up(seed), folder / "corpus" / "pairs" / f"{name}.parquet", details=False)
    (folder.parent / "c.toml").write_text(CONTEST)
    done = run("experiment", "c.toml", "-o", "r.jsonl", "--from", folder, cwd=folder.parent)
    assert (done.returncode, done.stderr) == (0, "4 rows added\n")
    return folder


def test_a_contest_from_the_command_line(tree: Path) -> None:
    again = run("experiment", "c.toml", "-o", "r.jsonl", "--from", tree, "--dry-run", cwd=tree.parent)
    assert (again.returncode, again.stdout) == (0, "")
    rows = read_results(tree.parent / "r.jsonl", corrected.KEY, corrected.SCORES)
    assert {(r["pair"], r["mender"], r["draws"], r["part"]) for r in rows} == {
        (pair, mender, draws, part)
        for pair, part in (("some-3-overwrite", "by run"), ("other-0-drop", "by workload"))
        for mender, draws in (("copy", 0), ("mosaic + examples", 4))
    }
    assert {way: len(held) for way, held in corrected.ways(rows).items()} == dict.fromkeys(
        ("left open", "scaled", "copy", "mosaic + examples", "mosaic + examples, draws"), 2
    )
    told = run("report", "r.jsonl", cwd=tree.parent)
    assert told.returncode == 0, told.stderr
    assert "## system calls, by workload" in told.stdout
    assert "| mosaic + examples, draws |" in told.stdout
    assert run("report", "r.jsonl", "-o", "out", cwd=tree.parent).returncode == 2


def test_tables_of_figures_have_what_the_rows_say(tree: Path) -> None:
    rows = read_results(tree.parent / "r.jsonl", corrected.KEY, corrected.SCORES)
    drawn = [r for r in rows if r["draws"]]
    found = corrected.held(drawn, "call calls")
    assert found is not None
    assert found.figures == sum(r["whole"]["call calls"]["lost"] for r in drawn)
    assert 0 <= found.interval[0] <= found.share <= found.interval[1] <= 1
    every = corrected.ways(rows)
    closer, same, of = corrected.nearer(every["mosaic + examples, draws"], every[LEFT], "call calls")
    assert 0 <= closer + same <= of == 2
    for text in (tables.errors_of(rows), tables.nearer_of(rows), tables.held_of(rows), tables.gaps_of(rows)):
        assert text.count("| --- |") == len(corrected.sorts(rows))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[figures]]\nmenders = ['copi']\n", "copi"),
        ("[[figures]]\nmenders = ['copy']\ndraws = 1\n", "draws at least 2"),
        ("[[figures]]\nmenders = ['copy']\nhow = ['lost']\n", "lost"),
    ],
)
def test_contests_that_make_no_sense(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(DataError, match=told):
        corrected.read_contests(tmp_path / "c.toml")


def test_only_menders_that_a_contest_has() -> None:
    contests = [corrected.Contest(("copy", "lookup"))]
    assert common.narrowed(contests, ["lookup"]) == [corrected.Contest(("lookup",))]
    with pytest.raises(OptionError):
        common.narrowed(contests, ["mosaic"])
    with pytest.raises(DataError):
        corrected.as_markdown([])


def test_the_same_recordings_are_taken_evenly() -> None:
    recordings = common.found(ROOT)
    jobs = list(corrected.Contest(("copy",), ("overwrite",), most=3).jobs(recordings))
    assert len(jobs) == len({j.pair for j in jobs}) == 6
