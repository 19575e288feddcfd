"""Training: it learns, it repeats, and it can be taken up again."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import tracemend
from tracemend.diffusion.gaps import Blackout, Overflow, Points
from tracemend.diffusion.recipes import Recipe, recipe
from tracemend.diffusion.training import Training, draw, enters_only, join, weights_of
from tracemend.errors import ModelError
from tracemend.trace.vocabulary import FIRST, MASK, Vocabulary, by_frequency, numbered, universal
from tracemend.trace.windows import SLOTS, UNKNOWN_THREAD, Stream, streams

TINY = recipe("masked-transformer-tiny")
PERIOD = np.array([3, 7, 4, 9, 5, 3, 8])
DATA = [Stream(np.tile(PERIOD, 60), np.full(420, 1))]
VOCABULARY = numbered(10)
PLACES = ("anywhere", "centre", "end", "grid")


def run(steps: int, seed: int = 0, chosen: Recipe = TINY) -> Training:
    training = Training(chosen, VOCABULARY, total=steps, seed=seed)
    training.bfloat16 = False
    return training


@pytest.mark.long
def test_a_loop_is_learnt() -> None:
    training = run(300, chosen=TINY.changed(["rate=0.006"]))
    steps = list(training.steps(DATA, DATA, every=300))
    assert steps[-1].loss < 0.3 * steps[0].loss
    assert steps[-1].validation is not None
    assert steps[-1].validation > 0.8


def test_the_same_seed_gives_the_same_weights() -> None:
    first, second, other = run(5), run(5), run(5, seed=1)
    for t in (first, second, other):
        list(t.steps(DATA))
    assert all(torch.equal(a, b) for a, b in zip(first.average.values(), second.average.values(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first.average.values(), other.average.values(), strict=True))


@pytest.mark.parametrize("chosen", [TINY, recipe("masked-selective-tiny")], ids=["adamw", "muon"])
def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(tmp_path: Path, chosen: Recipe) -> None:
    whole = run(8, chosen=chosen)
    list(whole.steps(DATA))
    half = run(8, chosen=chosen)
    for step in half.steps(DATA):
        if step.number == 4:
            break
    half.save(tmp_path)
    again = Training.resume(tmp_path, VOCABULARY)
    again.bfloat16 = False
    assert again.number == 4
    list(again.steps(DATA))
    assert whole.average.keys() == again.average.keys()
    assert all(torch.equal(a, again.average[name]) for name, a in whole.average.items())


@pytest.mark.parametrize("name", ["masked-selective-tiny", "masked-transformer-tiny"])
def test_every_weight_has_one_optimiser_and_muon_the_linear_maps_if_asked_for(name: str) -> None:
    training = run(1, chosen=recipe(name))
    moved = [{id(p) for g in o.param_groups for p in g["params"]} for o in training.optimisers]
    assert sum(map(len, moved)) == len(set().union(*moved)) == len(list(training.network.parameters()))
    linear = {id(m.weight) for m in training.network.backbone.modules() if isinstance(m, torch.nn.Linear)}
    assert len(moved) == (2 if "selective" in name else 1)
    assert isinstance(training.optimisers[-1], torch.optim.Muon) == ("selective" in name)
    assert "selective" not in name or moved[-1] == linear


def test_a_cut_state_is_one_line(tmp_path: Path) -> None:
    training = run(2)
    training.save(tmp_path)
    raw = (tmp_path / "state.safetensors").read_bytes()
    (tmp_path / "state.safetensors").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(ModelError, match="no training to take up"):
        Training.resume(tmp_path, VOCABULARY)


def test_resuming_nothing_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no training to take up"):
        Training.resume(tmp_path, VOCABULARY)


def test_drawn_windows_hide_what_was_there() -> None:
    rng = np.random.default_rng(0)
    tids = np.repeat(np.arange(5, 15), 42)
    stream = Stream(np.arange(3, 423), tids)  # every event tells its own place
    for _ in range(200):
        w, truth = Overflow(longest=40, context=60).draw(stream, rng, 128)
        assert len(w.known_L) <= 128
        assert w.hidden == len(truth) >= 1
        at = np.flatnonzero(~w.known_L)
        assert (w.ids_LC[at, 0] == MASK).all()
        assert (np.diff(truth[:, 0]) == 1).all()
        if at[0] > 0 and w.ids_LC[at[0] - 1, 0] > 2:
            assert w.ids_LC[at[0] - 1, 0] == truth[0, 0] - 1
        right = at[-1] + 1
        if right < len(w.known_L) and w.ids_LC[right, 0] > 2:
            assert w.ids_LC[right, 0] == truth[-1, 0] + 1
        real = tids[truth[:, 0] - 3]
        known = truth[:, 1] != UNKNOWN_THREAD
        assert (w.tids[truth[known, 1]] == real[known]).all()
        assert truth[:, 1].max() < SLOTS


def test_a_batch_of_gaps_of_one_length_has_more_windows_the_shorter_they_are() -> None:
    ids = np.arange(3, 6003)
    data = [Stream(ids, np.zeros_like(ids))]
    gaps = Overflow(longest=1000, context=384, cut=0, shared=True)
    chosen = replace(TINY, gaps=gaps, length=1768, batch=4)
    hidden, sizes = [], []
    for step in range(60):
        _, known = draw(chosen, data, np.ones(1), 0, step, chosen.batch)
        lengths = (~known).sum(dim=1)
        assert (lengths == lengths[0]).all()
        hidden.append(int(lengths[0]))
        sizes.append(known.shape)
    assert min(hidden) < 5
    assert max(hidden) > 500
    assert min(windows for windows, _ in sizes) in (4, 5)
    assert max(windows for windows, _ in sizes) > 60
    assert all(windows * length <= 4 * 1768 < (windows + 1) * length for windows, length in sizes if length > 100)
    apart = replace(gaps, shared=False).for_batch(np.random.default_rng(0))
    assert apart.at is None
    assert apart.windows(4, 1768) == 4


def test_batches_depend_on_seed_and_step_alone() -> None:
    share = weights_of(DATA)
    a, b, c = (draw(TINY, DATA, share, 0, step, 4) for step in (1, 1, 2))
    assert torch.equal(a[0], b[0])
    assert not (a[0].shape == c[0].shape and torch.equal(a[0], c[0]))


def test_intact_stretches_end_at_gaps() -> None:
    from conftest import rng, threads_on_cpus

    from tracemend.diffusion.gaps import lose

    trace = threads_on_cpus(rng(0), 600, cpus=1)
    lossy, missing = lose(trace, rng(1), longest=30)
    parts = streams(lossy, universal(), shortest=1)
    assert len(parts) == len(missing) + 1
    assert sum(map(len, parts)) == len(lossy)
    only = enters_only(streams(trace, universal()), universal())
    assert all((universal().phase[s.ids] == 0).all() for s in only)


def test_the_functions_of_the_package() -> None:
    """train, restore, Imputer: the front door."""
    from conftest import rng, threads_on_cpus

    trace = threads_on_cpus(rng(0), 500)
    log: list[int] = []
    model = tracemend.train([trace], recipe_name="masked-transformer-tiny", steps=3, log=lambda s: log.append(s.number))
    assert log == [1, 2, 3]
    ids = np.tile(np.arange(5), (20, 8))
    known = np.ones(ids.shape, bool)
    known[:, 17:22] = False
    filled = tracemend.Imputer("lookup").fit(ids).impute(np.where(known, ids, 0), known)
    assert (filled == ids).all()
    assert model.restore(np.full((1, 9), 5), np.arange(9)[None] != 4).ids.shape == (1, 9)
    with pytest.raises(ModelError, match="fit before impute"):
        tracemend.Imputer().impute(ids, known)
    with pytest.raises(ModelError, match="no intact stretch"):
        tracemend.train([replace(trace, table=trace.table.slice(0, 4))])


@pytest.mark.long
def test_a_stopped_run_keeps_its_best_weights(tmp_path: Path) -> None:
    """Published recipes keep the weights of the lowest validation loss; a resumed run must know which those were."""
    chosen = recipe("diffwave-tiny-published")
    counted = numbered(10, range(10, 0, -1))
    whole = Training(chosen, counted, total=8, device="cpu")
    list(whole.steps(DATA, DATA, every=2))
    half = Training(chosen, counted, total=8, device="cpu")
    for step in half.steps(DATA, DATA, every=2):
        if step.number == 4:
            break
    half.save(tmp_path)
    again = Training.resume(tmp_path, counted, device="cpu")
    list(again.steps(DATA, DATA, every=2))
    assert again.best == whole.best
    assert all(torch.equal(a, again.average[name]) for name, a in whole.average.items())
    half.best = 0.0  # nothing that comes can be better
    half.save(tmp_path)
    kept = Training.resume(tmp_path, counted, device="cpu")
    list(kept.steps(DATA, DATA, every=2))
    assert all(torch.equal(a, kept.average[name]) for name, a in half.average.items())


def shared() -> Training:
    """Some training in as many processes as there are."""
    torch.set_num_threads(1)
    device, first = join("cpu")
    chosen = replace(recipe("lstm-tiny"), gaps=Blackout(5), length=40)
    training = Training(chosen, numbered(10), total=5, device=device)
    assert first == (training.rank == 0)
    training.bfloat16 = False
    ids = np.random.default_rng(0).integers(3, 13, 500)
    list(training.steps([Stream(ids, np.ones_like(ids))]))
    return training


@pytest.mark.long
def test_two_processes_train_as_one(tmp_path: Path) -> None:
    """torchrun with two processes on the CPU: both end with the same weights, those of one process with all windows."""
    script = tmp_path / "run.py"
    script.write_text(
        "import os, sys\n"
        "from test_training import shared\n"
        "from safetensors.torch import save_file\n"
        "training = shared()\n"
        "save_file(training.network.state_dict(), os.path.join(sys.argv[1], f'{training.rank}.safetensors'))\n"
    )
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    seen = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": seen}
    done = subprocess.run(
        [*launch, script, tmp_path], env=environment, check=False, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    both = [load_file(tmp_path / f"{rank}.safetensors") for rank in (0, 1)]
    for name, weights in shared().network.state_dict().items():
        assert torch.equal(both[0][name], both[1][name])
        torch.testing.assert_close(both[0][name], weights, atol=1e-4, rtol=1e-3)


def test_a_device_that_is_not_there_is_one_line() -> None:
    with pytest.raises(ModelError, match="no device 'abacus' here"):
        Training(TINY, VOCABULARY, device="abacus")


def test_blackouts_lie_where_the_study_puts_them() -> None:
    rng = np.random.default_rng(0)
    begins = {place: {Blackout(10, place).begin(rng, 200) for _ in range(2000)} for place in PLACES}
    assert begins["centre"] == {95}
    assert begins["end"] == {190}
    assert begins["grid"] == set(range(0, 200, 10))
    assert begins["anywhere"] == set(range(191))
    shared = Blackout(10, shared=True).for_batch(rng)
    assert len({shared.begin(rng, 200) for _ in range(50)}) == 1
    with pytest.raises(ModelError, match="a window of 9 events is shorter than its gap of 10"):
        Blackout(10).begin(rng, 9)
    with pytest.raises(ModelError, match="'left' of a blackout; one of anywhere, centre, end, grid"):
        Blackout(10, "left")
    stream = Stream(np.arange(3, 503), np.ones(500, np.int64))
    for gaps in (Blackout(7), Points()):
        for _ in range(50):
            w, truth = gaps.draw(stream, rng, 60)
            filled = w.ids_LC[:, 0].copy()
            assert (filled[~w.known_L] == MASK).all()
            filled[~w.known_L] = truth[:, 0]
            assert (np.diff(filled) == 1).all()
            assert w.hidden == len(truth) == (7 if isinstance(gaps, Blackout) else w.hidden) >= 1


def test_streams_shorter_than_the_gap_are_not_trained_on() -> None:
    short = Stream(DATA[0].ids[:7], DATA[0].tids[:7])
    chosen = replace(recipe("masked-s4-tiny"), iterations=2, gaps=Blackout(10))
    done = list(Training(chosen, VOCABULARY, seed=1).steps([short, DATA[0]], [short, DATA[0]], every=1))
    alone = list(Training(chosen, VOCABULARY, seed=1).steps(DATA, DATA, every=1))
    assert [s.loss for s in done] == [s.loss for s in alone]
    assert [s.validation for s in done] == [s.validation for s in alone]
    with pytest.raises(ModelError, match="no stream of 10 events or more to train on"):
        next(Training(chosen, VOCABULARY).steps([short]))


def test_a_vocabulary_by_frequency_counts(tmp_path: Path) -> None:
    from conftest import rng, threads_on_cpus

    trace = threads_on_cpus(rng(0), 400)
    vocabulary = by_frequency([trace, trace])
    ids = vocabulary.encode(trace)
    counts = np.bincount(ids, minlength=len(vocabulary))[FIRST:]
    assert vocabulary.counts == tuple((2 * counts).tolist())
    assert (np.diff(counts) <= 0).all()
    vocabulary.save(tmp_path / "v.json")
    assert Vocabulary.load(tmp_path / "v.json") == vocabulary
    with pytest.raises(ModelError, match="2 entries with 1 counts"):
        Vocabulary([("a", 0), ("b", 0)], [1])
