"""benchmarks/peers.py, but for the library that it measures: no test here needs it."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT
from numpy.typing import NDArray
from test_experiment import made_up

from tracemend.diffusion.codecs import CODECS
from tracemend.judging.experiment import scored
from tracemend.judging.grid import missing
from tracemend.judging.report import cells
from tracemend.judging.results import KEY, append, key, read_results
from tracemend.judging.windows import Hidden, blackout, judge_windows
from tracemend.trace.vocabulary import FIRST, MASK, numbered

VOCABULARY = numbered(20, range(20, 0, -1))


@pytest.fixture(scope="module")
def peers() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        yield importlib.import_module("peers")


class Knowing:
    """In place of a fitted model: knows what stands in each hidden position, with a little noise.

    x_NLC: of all windows, in order. chains: how many it returns, the first of them wrong, as a model that samples.
    """

    def __init__(self, x_NLC: NDArray[np.float32], chains: int = 0) -> None:
        self.x_NLC, self.chains, self.at = x_NLC, chains, 0

    def impute(self, given: dict[str, NDArray[np.float32]], n_sampling_times: int = 0) -> NDArray[np.float32]:
        hidden = np.isnan(given["X"])
        true = self.x_NLC[self.at : self.at + len(hidden)]
        self.at += len(hidden)
        assert (given["X"][~hidden] == true[~hidden]).all()
        assert n_sampling_times == self.chains
        noisy = true + np.where(hidden, np.random.default_rng(0).normal(0, 0.05, true.shape), 0).astype(np.float32)
        return np.stack([-noisy, *[noisy] * (self.chains - 1)], axis=1) if self.chains else noisy


def windows(number: int, length: int = 50) -> NDArray[np.int64]:
    return np.random.default_rng(0).integers(FIRST, len(VOCABULARY), (number, length))


@pytest.mark.parametrize("codec", ["bits", "onehot", "standardised"])
def test_what_is_encoded_comes_back_and_what_is_hidden_is_nan(peers: Any, codec: str) -> None:
    codes = CODECS[codec](VOCABULARY)
    ids = windows(3)
    known = np.tile(blackout(50, 7, "centre"), (3, 1))
    x = peers.encoded(np.where(known, ids, MASK), known, codes)
    assert x.dtype == np.float32
    assert np.isnan(x).all(axis=-1).tolist() == (~known).tolist()
    assert not np.isnan(x[known]).any()
    whole = peers.encoded(ids, np.ones_like(known), codes)
    best, sure = peers.decoded(whole.reshape(-1, codes.shape[1]), codes)
    assert best.tolist() == ids.ravel().tolist()
    assert ((sure > 0.2) & (sure <= 1)).all()


def test_gaps_are_runs_anywhere(peers: Any) -> None:
    one, four = (peers.Setting("SAITS", "bits", gap=10, gaps=k) for k in (1, 4))
    known = peers.gaps(np.random.default_rng(0), 20_000, 80, one)
    edges = np.diff(np.pad(~known, ((0, 0), (1, 1))).astype(int), axis=1)
    assert ((edges == 1).sum(axis=1) == 1).all()
    assert ((~known).sum(axis=1) == 10).all()
    assert set(np.argmin(known, axis=1).tolist()) == set(range(71))
    hidden = (~peers.gaps(np.random.default_rng(0), 1000, 80, four)).sum(axis=1)
    assert (hidden.min(), hidden.max()) == (pytest.approx(12, abs=4), 40)
    assert not peers.gaps(np.random.default_rng(0), 3, 10, one).any()


@pytest.mark.parametrize(("codec", "chains"), [("onehot", 0), ("bits", 3)])
def test_the_model_of_another_library_is_judged_as_a_mender(peers: Any, codec: str, chains: int) -> None:
    codes, ids, known = CODECS[codec](VOCABULARY), windows(250), blackout(50, 10, "centre")
    model = Knowing(peers.encoded(ids, np.ones(ids.shape, bool), codes), chains)
    mender = peers.Peer("a peer", model, codes, chains or None)
    row = judge_windows(mender, Hidden(ids, known, {"all": np.ones(len(ids), bool)}, VOCABULARY))
    assert row["subsets"]["all"]["accuracy"] == 1
    assert model.at == len(ids)  # in several calls


def test_rows_are_those_of_experiments(peers: Any, tmp_path: Any) -> None:
    every = list(peers.jobs(["codec=bits"]))
    keys = [j.key(c) for j in every for c in j.cells]
    assert len(set(keys)) == len(keys)
    assert {j.mender for j in every} == set(peers.PEERS)
    data = made_up()
    job = peers.Job(data.name, "PyPOTS SAITS", ("codec=bits",), 40, 0, ((1, "centre", 20), (5, "centre", 20)))
    codes = CODECS["bits"](data.vocabulary)
    test = peers.encoded(data.windows(40, 20).ids_NL, np.ones((20, 40), bool), codes)
    mender = peers.Peer(job.mender, Knowing(np.concatenate([test, test])), codes, None)
    for row in scored(job, data, mender, {"iterations": 7, "pypots": "1.5"}):
        append(tmp_path / "peers.jsonl", row)
    rows = read_results(tmp_path / "peers.jsonl")
    assert [key(r) for r in rows] == [job.key(c) for c in job.cells]
    assert list(rows[0])[: len(KEY)] == list(KEY)
    assert cells(rows)[0]["accuracy"] == 1
    assert not missing([job], rows)
    (left,) = missing([job], rows[:1])
    assert left.cells == job.cells[1:]


def test_settings_are_changed_by_name(peers: Any) -> None:
    setting = peers.PEERS["PyPOTS SAITS"]
    changed = setting.changed(["codec=bits", "windows=64", "rate=0.5"])
    assert (changed.codec, changed.windows, changed.rate, changed.width) == ("bits", 64, 0.5, setting.width)
    assert json.dumps(peers.asdict(changed))
    for wrong in ("colour=red", "windows"):
        with pytest.raises((AttributeError, ValueError)):
            setting.changed([wrong])


def test_the_rate_warms_up_and_falls(peers: Any) -> None:
    rates = torch.tensor([peers.factor(step, 1000) for step in range(1001)])
    assert rates.argmax() == 99
    assert rates[0] == pytest.approx(0.01)
    assert rates[-1] == pytest.approx(0.01)


def test_training_windows_come_from_their_part(peers: Any) -> None:
    data = made_up()
    drawn = peers.drawn(data, "validation", 16, 30, 0)
    runs = np.lib.stride_tricks.sliding_window_view(data.validation[0].ids, 30)
    assert drawn.shape == (16, 30)
    assert {w.tobytes() for w in drawn} <= {r.tobytes() for r in runs.copy()}
