"""A network that is trained on, on the trace that it is to mend."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import rng, threads_on_cpus

from tracemend.diffusion.denoiser import build
from tracemend.diffusion.gaps import Blackout, lose
from tracemend.diffusion.recipes import recipe
from tracemend.diffusion.restorer import Restorer
from tracemend.diffusion.tuning import LEAST
from tracemend.menders import Lookup
from tracemend.menders.calibration import Weight
from tracemend.mending.options import Options
from tracemend.mending.run import mend_trace
from tracemend.trace.vocabulary import numbered, universal
from tracemend.trace.windows import Stream, streams, window

PERIOD = [3, 4, 5, 4, 6, 3, 7]
DATA = [Stream(np.tile(PERIOD, 60), np.full(420, 1), np.append(-1, np.full(419, 100)))]


def fresh(channels: int = 2) -> Restorer:
    torch.manual_seed(0)
    chosen, vocabulary = (
        recipe("masked-transformer-tiny").changed([f"how.channels={channels}", "rate=0.03"]),
        numbered(10),
    )
    return Restorer(chosen, vocabulary, build(chosen, vocabulary)[1])


def fresh_once() -> Restorer:
    with torch.random.fork_rng(devices=[]):
        return fresh()


def right(model: Restorer) -> float:
    stream, share = DATA[0], []
    for at in range(60, 120):
        proposal = model.propose([window(stream[at - 20 : at], stream[at + 5 : at + 25], 5, 600)])[0]
        share.append((proposal.events_NM[:, 0] == stream.ids[at : at + 5]).mean())
    return float(np.mean(share))


@pytest.mark.long
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_the_trace_is_learnt(channels: int) -> None:
    model = fresh(channels)
    better, steps = model.tuned(DATA, seconds=600, steps=150)
    assert steps == 150
    assert right(better) > max(0.5, right(model) + 0.2)
    proposal = better.propose([window(DATA[0][40:60], DATA[0][65:85], 5, 600)])[0]
    assert np.isnan(proposal.steps[-1])
    if channels == 3:
        assert (np.abs(np.log2(proposal.steps[:5] / 100)) < 1).all()
    else:
        assert np.isnan(proposal.steps).all()


def test_the_same_steps_give_the_same_model_and_the_given_one_stays() -> None:
    model = fresh()
    model.weight = Weight((1.0, 2.0, 3.0, 4.0))
    before = {k: v.clone() for k, v in model.network.state_dict().items()}
    first, second = (model.tuned(DATA, seconds=600, steps=5)[0] for _ in range(2))
    weights = [m.network.state_dict() for m in (first, second)]
    assert all(torch.equal(weights[0][k], weights[1][k]) for k in before)
    assert not all(torch.equal(weights[0][k], before[k]) for k in before)
    assert all(torch.equal(model.network.state_dict()[k], before[k]) for k in before)
    assert first.weight == model.weight


def test_names_that_the_model_does_not_have() -> None:
    strange = Stream(np.arange(3, 3 + LEAST), np.zeros(LEAST, int))
    assert fresh().tuned([strange], seconds=600, steps=2)[1] == 2


def test_no_time_or_too_few_events() -> None:
    model = fresh()
    assert model.tuned(DATA, seconds=0) == (model, 0)
    assert model.tuned([DATA[0][: LEAST - 1]], seconds=600) == (model, 0)
    assert model.tuned(DATA, seconds=1e-6)[1] == 1
    pieces = [DATA[0][a : a + 40] for a in range(0, 400, 40)]
    hidden = replace(model.recipe, gaps=Blackout(50))
    assert Restorer(hidden, model.vocabulary, model.network).tuned(pieces, seconds=600, steps=2)[1] == 0


def test_other_random_numbers_stay_as_they_are() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    fresh_once().tuned(DATA, seconds=600, steps=1)
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.long
def test_mending_trains_the_network_for_its_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    lossy, _ = lose(threads_on_cpus(rng(0), 900), rng(1), longest=30)
    chosen = recipe("masked-transformer-tiny")
    model = Restorer(chosen, universal(), build(chosen, universal())[1])
    clock: Iterator[int] = iter(range(10_000))
    look = SimpleNamespace(monotonic=lambda: float(next(clock)))  # each look at it takes a second
    monkeypatch.setattr("tracemend.diffusion.tuning.time", look)
    mended = mend_trace(lossy, model, Options(adapt=8.0))
    assert mended.provenance["options"]["tuned"] == {"steps": 5}
    assert mend_trace(lossy, model, Options(adapt=8.0), copier=Lookup).provenance["options"]["tuned"] == {"steps": 9}
    assert mend_trace(lossy, model, Options(adapt=8.0), copier=None).provenance["options"]["tuned"] == {"steps": 9}
    for options in (Options(adapt=0), Options(), Options(adapt=8.0, only=frozenset())):
        assert "tuned" not in mend_trace(lossy, model, options).provenance["options"]
    assert sum(len(s) for s in streams(lossy, universal())) > LEAST
