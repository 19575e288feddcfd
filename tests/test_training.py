"""Training: it learns, it repeats, and it can be taken up again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import tracemend
from tracemend.errors import ModelError
from tracemend.gaps import Overflow
from tracemend.recipes import recipe
from tracemend.training import Training, draw, enters_only, streams, weights_of
from tracemend.vocabulary import MASK, numbered, universal
from tracemend.windows import SLOTS, UNKNOWN_THREAD, Stream

TINY = recipe("masked-transformer-tiny")
PERIOD = np.array([3, 7, 4, 9, 5, 3, 8])
DATA = [Stream(np.tile(PERIOD, 60), np.full(420, 1))]
VOCABULARY = numbered(10)


def run(steps: int, seed: int = 0) -> Training:
    training = Training(TINY, VOCABULARY, total=steps, seed=seed)
    training.bfloat16 = False
    return training


def test_a_loop_is_learnt() -> None:
    training = run(400)
    steps = list(training.steps(DATA, DATA, every=400))
    assert steps[-1].loss < 0.3 * steps[0].loss
    assert steps[-1].validation is not None
    assert steps[-1].validation > 0.8


def test_the_same_seed_gives_the_same_weights() -> None:
    first, second, other = run(5), run(5), run(5, seed=1)
    for t in (first, second, other):
        list(t.steps(DATA))
    assert all(torch.equal(a, b) for a, b in zip(first.average.values(), second.average.values(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first.average.values(), other.average.values(), strict=True))


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    whole = run(8)
    list(whole.steps(DATA))
    half = run(8)
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


def test_batches_depend_on_seed_and_step_alone() -> None:
    share = weights_of(DATA)
    a, b, c = (draw(TINY, DATA, share, 0, step, 4) for step in (1, 1, 2))
    assert torch.equal(a[0], b[0])
    assert not (a[0].shape == c[0].shape and torch.equal(a[0], c[0]))


def test_intact_stretches_end_at_gaps() -> None:
    from conftest import rng, threads_on_cpus

    from tracemend.gaps import lose

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
