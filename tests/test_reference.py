"""Parity with the study's reference implementation, on its golden vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, mostly_long
from safetensors.torch import load_file, save_file

from tracemend.diffusion.backbones.held import chain
from tracemend.diffusion.denoiser import build
from tracemend.diffusion.processes.base import Noise
from tracemend.diffusion.processes.gaussian import Gaussian
from tracemend.diffusion.recipes import Recipe, published
from tracemend.diffusion.reference import read
from tracemend.diffusion.restorer import Restorer
from tracemend.diffusion.schedules import SCHEDULES
from tracemend.errors import ModelError
from tracemend.trace.vocabulary import numbered

GOLDEN = ROOT.parent / "shared" / "golden"
golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason="needs the golden vectors in ../shared/golden")
VOCABULARY = numbered(60, range(60, 0, -1))
MODELS = ("diffwave", "sssd-s4", "sssd-sa", "csdi-s4")

#: Parameters at the paper's hyper-parameters, as the public code has them, in thousands.
COUNTS = {"sssd-s4": 47_886, "diffwave": 24_145, "sssd-sa": 29_354, "csdi-s4": 363}


def vectors(name: str) -> dict[str, torch.Tensor]:
    return load_file(GOLDEN / f"{name.replace('-', '_')}.io.safetensors")


def path(name: str) -> Path:
    return GOLDEN / f"{name.replace('-', '_')}.weights.safetensors"


@golden
@pytest.mark.parametrize("name", MODELS)
def test_the_networks_compute_the_same(name: str) -> None:
    io = vectors(name)
    model = read(path(name), VOCABULARY, cycle=3)
    x, cond, mask = (io[k].reshape(3, 1, 64).transpose(1, 2) for k in ("x_t", "cond", "mask"))
    known = mask[..., 0] > 0
    values = torch.cat([x, cond * mask], dim=-1)
    eps = model.network(values, known, io["t"].reshape(3))
    torch.testing.assert_close(eps.transpose(1, 2), io["eps"].reshape(3, 1, 64), atol=1e-4, rtol=0)
    if name == "csdi-s4":
        _, side = model.network.stem(values, known)
        torch.testing.assert_close(side, io["side_info"].reshape(3, -1, 64), atol=1e-5, rtol=0)


@pytest.mark.long
@golden
@pytest.mark.parametrize("name", ["diffwave", "sssd-s4", "sssd-sa"])
def test_a_whole_reverse_chain_ends_in_the_same_place(name: str) -> None:
    io = vectors(name)
    model = read(path(name), VOCABULARY, cycle=3)
    drawn = iter(io["chain_noise"].transpose(2, 3))

    class Replayed(Noise):
        def normal(self, like: torch.Tensor) -> torch.Tensor:
            values: torch.Tensor = next(drawn)
            return values

    process, noise = Gaussian(VOCABULARY, **model.recipe.how), Replayed([])
    given = (io["cond"] * io["mask"]).transpose(1, 2)
    known = io["mask"][:, 0] > 0
    state = process.start(given, known, noise)
    with torch.inference_mode(), chain(model.network):
        for t in range(199, -1, -1):
            state.values_BLC = torch.where(known[..., None], given, state.values_BLC)
            state = process.step(model.network, state, given, known, t, t - 1, noise)
    torch.testing.assert_close(state.values_BLC.transpose(1, 2), io["chain_final"], atol=1e-3, rtol=0)
    assert next(drawn, None) is None


@golden
@pytest.mark.parametrize("name", MODELS)
def test_a_checkpoint_stays_the_same_as_a_model(name: str, tmp_path: Path) -> None:
    model = read(path(name), VOCABULARY, cycle=3)
    model.save(tmp_path / "m")
    again = Restorer.load(tmp_path / "m")
    values, known = torch.randn(2, 64, 2), torch.ones(2, 64, dtype=torch.bool)
    time = torch.tensor([3.0, 40.0])
    torch.testing.assert_close(
        again.network(values, known, time), model.network(values, known, time), atol=1e-2, rtol=1e-2
    )


@golden
def test_the_s4_kernel_is_the_same() -> None:
    io, weights = vectors("s4_layer"), load_file(GOLDEN / "s4_layer.weights.safetensors")
    from tracemend.diffusion.backbones.ssm import Mixed, StateSpace
    from tracemend.diffusion.reference import _put

    layer = Mixed(StateSpace(6, state=16, length=64), 6)
    named: dict[str, torch.Tensor] = {}
    for name, value in weights.items():
        _put(named, name, value)
    layer.load_state_dict(named)
    assert isinstance(layer.mixer, StateSpace)
    torch.testing.assert_close(layer.mixer.kernel(64), io["kernel"], atol=1e-5, rtol=0)
    torch.testing.assert_close(layer(io["u"].permute(1, 2, 0)).permute(2, 0, 1), io["y"], atol=1e-5, rtol=0)


@golden
def test_schedules_are_the_same() -> None:
    linear = load_file(GOLDEN / "schedule_linear200.safetensors")["alpha_bar"]
    torch.testing.assert_close(SCHEDULES["linear"](200).float(), linear.float(), atol=1e-6, rtol=0)
    torch.testing.assert_close(SCHEDULES["quadratic"](50), vectors("csdi-s4")["alpha_bar"], atol=1e-12, rtol=0)


def parameters(recipe: Recipe) -> int:
    _, network = build(recipe, VOCABULARY)
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("name", mostly_long(["diffwave", "sssd-s4", "csdi-s4"]))
def test_the_papers_sizes_have_the_papers_parameters_layer_by_layer(name: str) -> None:
    """One layer is as large as another: what two have more than one, all the others have, too."""
    paper = published(name, "paper")
    one, two = (parameters(paper.changed([f"options.layers={layers}"])) for layers in (1, 2))
    assert round((one + (paper.options["layers"] - 1) * (two - one)) / 1000) == COUNTS[name]


@pytest.mark.long
@pytest.mark.parametrize("name", MODELS)
def test_the_papers_sizes_have_the_papers_parameters(name: str) -> None:
    assert round(parameters(published(name, "paper")) / 1000) == COUNTS[name]


def test_what_is_no_checkpoint_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no checkpoint"):
        read(tmp_path / "nothing", VOCABULARY)
    save_file({"weight": torch.zeros(2)}, tmp_path / "other")
    with pytest.raises(ModelError, match="not a checkpoint of diffwave, sssd-s4, sssd-sa, csdi-s4"):
        read(tmp_path / "other", VOCABULARY)


@golden
@pytest.mark.parametrize("name", MODELS)
def test_damaged_checkpoints_are_refused_in_one_line(name: str, tmp_path: Path) -> None:
    weights = load_file(path(name))
    rng = np.random.default_rng(0)
    names = sorted(k for k in weights if not k.endswith((".z", ".omega")))
    for victim in rng.choice(names, 4, replace=False):
        for damage in ("missing", "shape", "scalar", "stranger", "no roots"):
            broken = dict(weights)
            if damage == "missing":
                del broken[victim]
            elif damage == "stranger":
                broken["stranger.weight"] = torch.zeros(1)
            elif damage == "no roots":
                broken = {k: v for k, v in weights.items() if not k.endswith(".omega")}
                if len(broken) == len(weights):
                    continue
            else:
                broken[victim] = torch.zeros(*weights[victim].shape, 2) if damage == "shape" else torch.zeros(())
            save_file(broken, tmp_path / "broken")
            with pytest.raises(ModelError) as caught:
                read(tmp_path / "broken", VOCABULARY)
            assert "\n" not in str(caught.value)
