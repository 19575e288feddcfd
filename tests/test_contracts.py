"""What every entry of the registries must do; a new backbone or mender inherits these tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import rng, threads_on_cpus

from tracemend.backbones import BACKBONES
from tracemend.baselines import Copy, Lookup, MostFrequent
from tracemend.blend import Blend
from tracemend.errors import ModelError
from tracemend.gaps import lose
from tracemend.mender import Mender, Restorer
from tracemend.mending import mend_trace
from tracemend.processes.masked import Masked
from tracemend.recipes import RECIPES, build, recipe
from tracemend.sampler import unmask
from tracemend.training import streams
from tracemend.vocabulary import MASK, numbered, universal
from tracemend.windows import HIDDEN_THREAD, SLOTS, Stream


def tiny(vocabulary_size: int = 40) -> Restorer:
    torch.manual_seed(0)
    chosen = recipe("masked-transformer-tiny")
    vocabulary = numbered(vocabulary_size - 3)
    return Restorer(chosen, vocabulary, build(chosen, len(vocabulary))[1])


PATTERN = np.tile(np.arange(3, 11), 40)
STREAM = Stream(PATTERN, np.zeros_like(PATTERN))
MENDERS: dict[str, Callable[[], Mender]] = {
    "lookup": lambda: Lookup([STREAM]),
    "network": tiny,
    "blend": lambda: Blend(Lookup([STREAM]), tiny()),
    "copy": Copy,
    "most frequent": MostFrequent,
}


@pytest.mark.parametrize("name", MENDERS)
@pytest.mark.parametrize("channels", [1, 2])
def test_menders_fill_the_hidden_and_keep_the_known(name: str, channels: int) -> None:
    ids = np.stack([PATTERN[i : i + 48] for i in range(5)])
    known = np.ones(ids.shape, bool)
    known[:, 20:27] = False
    known[2, 40:44] = False  # a second gap in one window
    given = ids if channels == 1 else np.stack([ids, np.ones_like(ids)], axis=-1)
    hidden = np.where(known if channels == 1 else known[..., None], given, 0)
    mender = MENDERS[name]()
    first, second = mender.restore(hidden, known, 1), mender.restore(hidden, known, 1)
    assert first.ids.shape == given.shape
    assert (first.ids[known] == given[known]).all()
    assert (first.ids == second.ids).all()
    events = first.ids if channels == 1 else first.ids[..., 0]
    assert (events[~known] > MASK).all()
    assert first.confidence_BL.shape == known.shape
    assert ((first.confidence_BL >= 0) & (first.confidence_BL <= 1)).all()
    assert (first.confidence_BL[known] == 1).all()


@pytest.mark.parametrize("name", MENDERS)
def test_proposals_are_distributions(name: str) -> None:
    trace = threads_on_cpus(rng(0), 300)
    lossy, _ = lose(trace, rng(1), longest=40)
    vocabulary = universal().extended(lossy)
    mender = MENDERS[name]() if name != "lookup" else Lookup(streams(lossy, vocabulary, shortest=2))
    from tracemend.mending import Mending

    run = Mending(lossy, mender, vocabulary)
    beliefs = run.propose([(g, g.count or 1) for g in lossy.gaps], 0, lambda done, total: None)
    for gap, b in zip(lossy.gaps, beliefs, strict=True):
        assert len(b.events) == len(b.p) == len(b.threads) == gap.count
        assert (b.p >= 0).all()
        assert (b.p.sum(axis=1) <= 1 + 1e-4).all()
        assert (np.diff(b.p, axis=1) <= 1e-6).all()
        np.testing.assert_allclose(b.threads.sum(axis=1), 1, atol=1e-3)


@pytest.mark.parametrize("name", MENDERS)
def test_no_hidden_run_is_an_empty_proposal(name: str) -> None:
    ids = PATTERN[None, :20]
    assert (MENDERS[name]().restore(ids, np.ones_like(ids, bool)).ids == ids).all()


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="don't fit"):
        tiny().restore(np.zeros((2, 5), int), np.zeros((2, 6), bool))


@pytest.mark.parametrize("name", BACKBONES)
class TestBackbones:
    def make(self, name: str) -> torch.nn.Module:
        torch.manual_seed(0)
        backbone = BACKBONES[name](32)
        for p in backbone.parameters():  # what starts at zero would hide what depends on it
            if (p == 0).all():
                torch.nn.init.normal_(p, std=0.1)
        return backbone.eval()

    @pytest.mark.parametrize("length", [1, 7, 64, 201])
    def test_any_length(self, name: str, length: int) -> None:
        x, cond, time = torch.randn(2, 32, length), torch.randn(2, 32, length), torch.randn(2, 32)
        assert self.make(name)(x, cond, time).shape == (2, 32, length)

    def test_a_position_sees_both_sides(self, name: str) -> None:
        x = torch.randn(1, 32, 40, requires_grad=True)
        y = self.make(name)(x, torch.zeros(1, 32, 40), torch.zeros(1, 32))
        (grad,) = torch.autograd.grad(y[0, :, 20].square().sum(), x)
        assert (grad[0].abs().sum(0) > 0).all()

    def test_every_parameter_learns(self, name: str) -> None:
        backbone = self.make(name)
        backbone(torch.randn(1, 32, 16), torch.randn(1, 32, 16), torch.randn(1, 32)).square().sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in backbone.parameters())

    def test_windows_of_a_batch_are_independent(self, name: str) -> None:
        backbone = self.make(name)
        x, cond, time = torch.randn(3, 32, 24), torch.randn(3, 32, 24), torch.randn(3, 32)
        alone = torch.cat([backbone(x[i : i + 1], cond[i : i + 1], time[i : i + 1]) for i in range(3)])
        torch.testing.assert_close(backbone(x, cond, time), alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_build_and_come_back_from_their_dictionary(name: str) -> None:
    chosen = recipe(name)
    assert type(chosen).from_dict(chosen.as_dict()) == chosen
    _, network = build(chosen, 50)
    logits = network(torch.zeros(1, 9, 2, dtype=torch.long), torch.ones(1, 9, dtype=torch.bool), torch.ones(1))
    assert [x.shape for x in logits] == [(1, 9, 50), (1, 9, SLOTS)]
    assert chosen.source


def test_unknown_recipes_name_the_accepted_ones() -> None:
    with pytest.raises(ModelError, match=r"'nonsense'; one of masked-transformer"):
        recipe("nonsense")


def test_the_sampler_never_touches_what_is_known() -> None:
    """Also when the network would rather have something else there."""
    process = Masked((20, SLOTS), (MASK, HIDDEN_THREAD))
    clean = torch.randint(3, 20, (4, 30, 1)).repeat(1, 1, 2)
    known = torch.rand(4, 30) < 0.5

    def denoise(ids: torch.Tensor, known_BL: torch.Tensor, time: torch.Tensor) -> list[torch.Tensor]:
        assert (ids[known] == clean[known]).all()
        return [torch.zeros(4, 30, 20).index_fill(2, torch.tensor([7]), 5.0), torch.zeros(4, 30, SLOTS)]

    for generator in (None, torch.Generator().manual_seed(0)):
        state, logp = unmask(process, denoise, clean, known, 5, generator)
        assert (state[known] == clean[known]).all()
        assert len(logp) == 2
        if generator is None:
            assert (state[..., 0][~known] == 7).all()


def test_the_loss_hides_only_the_gap_and_at_least_one_event_of_it() -> None:
    process = Masked((20, SLOTS), (MASK, HIDDEN_THREAD))
    clean = torch.randint(3, 16, (64, 30, 1)).repeat(1, 1, 2)
    known = torch.ones(64, 30, dtype=torch.bool)
    known[:, 10:14] = False
    hidden: list[int] = []

    def denoise(ids: torch.Tensor, known_BL: torch.Tensor, time: torch.Tensor) -> list[torch.Tensor]:
        masked = ids[..., 0] == MASK
        assert not (masked & known).any()
        hidden.extend(masked.sum(1).tolist())
        return [torch.zeros(64, 30, 20), torch.zeros(64, 30, SLOTS)]

    loss = process.loss(denoise, clean, known, torch.Generator().manual_seed(0))
    assert set(hidden) == {1, 2, 3, 4}
    torch.testing.assert_close(loss, torch.log(torch.tensor(20.0)) + torch.log(torch.tensor(float(SLOTS))))


def test_a_model_survives_its_folder(tmp_path: Path) -> None:
    model = tiny()
    model.save(tmp_path / "m")
    again = Restorer.load(tmp_path / "m")
    ids, known = PATTERN[None, :30], np.arange(30)[None] % 7 != 3
    assert (model.restore(ids, known).ids == again.restore(ids, known).ids).all()
    assert again.digest


@pytest.mark.parametrize("damage", ["missing", "no json", "other shape", "other vocabulary", "cut weights"])
def test_damaged_models_are_refused_in_one_line(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "m"
    tiny().save(folder)
    if damage == "missing":
        (folder / "weights.safetensors").unlink()
    elif damage == "no json":
        (folder / "recipe.json").write_text("{")
    elif damage == "other shape":
        text = (folder / "recipe.json").read_text()
        (folder / "recipe.json").write_text(text.replace('"width": 32', '"width": 64'))
    elif damage == "other vocabulary":
        numbered(50).save(folder / "vocabulary.json")
    else:
        raw = (folder / "weights.safetensors").read_bytes()
        (folder / "weights.safetensors").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(ModelError) as caught:
        Restorer.load(folder)
    assert "\n" not in str(caught.value)


def test_a_mender_of_ones_own_can_mend() -> None:
    """The protocol is all that ``mend`` asks for."""
    lossy, _ = lose(threads_on_cpus(rng(2), 300), rng(3), longest=20)
    mended = mend_trace(lossy, tiny(), lookup=False)
    assert mended.filled == len(lossy.gaps)
