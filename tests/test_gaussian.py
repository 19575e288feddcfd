"""Codecs, schedules and samplers against what they must be by definition or by exact solutions."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tracemend.diffusion.codecs import CODECS, nearest
from tracemend.diffusion.processes.base import Noise
from tracemend.diffusion.processes.gaussian import PREDICTIONS, Gaussian
from tracemend.diffusion.schedules import SCHEDULES, zero_terminal
from tracemend.trace.vocabulary import FIRST, numbered

COUNTS = [400, 100, 50, 20, 5, 1]
VOCABULARY = numbered(6, COUNTS)


@pytest.mark.parametrize("name", CODECS)
@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 300), seed=st.integers(0, 9))
def test_every_id_is_its_own_nearest_codeword(name: str, size: int, seed: int) -> None:
    vocabulary = numbered(size, range(size, 0, -1))
    codes = CODECS[name](vocabulary)
    assert codes.shape[0] == len(vocabulary)
    ids = torch.from_numpy(np.random.default_rng(seed).integers(FIRST, len(vocabulary), (2, 9)))
    logp = nearest(codes[ids], codes)
    assert (logp.argmax(-1) == ids).all()
    torch.testing.assert_close(logp.exp().sum(-1), torch.ones(2, 9))


def test_the_scalar_codec_is_the_studys() -> None:
    """Numbered from 1 by frequency; an output is the nearest integer (Janecek et al. 2025, section III)."""
    codes = CODECS["scalar"](VOCABULARY)
    assert codes[FIRST:, 0].tolist() == [1, 2, 3, 4, 5, 6]
    x = torch.tensor([[[0.2], [1.4], [1.6], [3.49], [5.51], [99.0]]])
    assert (nearest(x, codes).argmax(-1) - FIRST + 1).tolist() == [[1, 1, 2, 3, 6, 6]]


def test_the_standardised_codec_has_unit_variance_over_the_events() -> None:
    code = CODECS["standardised"](VOCABULARY)[FIRST:, 0].numpy()
    share = np.array(COUNTS) / sum(COUNTS)
    assert (code * share).sum() == pytest.approx(0, abs=1e-6)
    assert (code**2 * share).sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [10, 50, 200, 1000])
def test_schedules_fall_from_signal_to_noise(name: str, steps: int) -> None:
    a = SCHEDULES[name](steps)
    assert a.shape == (steps,)
    assert a[0] > 0.8
    assert (a.diff() < 0).all()
    assert a[-1] >= 0
    assert (float(a[-1]) == 0) == name.endswith("zero")


def test_the_published_schedule_does_not_end_in_noise() -> None:
    assert math.sqrt(SCHEDULES["linear"](200)[-1]) == pytest.approx(0.36, abs=0.005)
    shifted = zero_terminal(SCHEDULES["linear"](200))
    assert float(shifted[0]) == pytest.approx(float(SCHEDULES["linear"](200)[0]))


#: Clean values are normally distributed with this deviation: everything about the chain is then known exactly.
SPREAD = 0.7


def perfect(process: Gaussian) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The best possible network for normal data: E[x_0 | x_t], as the process wants it predicted."""

    def denoise(values: Tensor, known: Tensor, time: Tensor) -> Tensor:
        x = values[..., : values.shape[-1] // 2]
        a = process.alpha_bar[time.long()].to(x.dtype)[:, None, None]
        x0 = a.sqrt() * SPREAD**2 / (a * SPREAD**2 + 1 - a) * x
        noise = (x - a.sqrt() * x0) / (1 - a).sqrt()
        return {"clean": x0, "noise": noise, "v": a.sqrt() * noise - (1 - a).sqrt() * x0}[process.how.predict]

    return denoise


def run(process: Gaussian, x: Tensor, steps: int, stop: int = -1) -> Tensor:
    state = process.start(x, torch.zeros(x.shape[:2], dtype=torch.bool), Noise([0]))
    state.values_BLC = x
    times = [t for t in process.times(steps, torch.zeros(1, 1)) if t > stop]
    for t, s in zip(times, [*times[1:], stop], strict=True):
        known = torch.zeros(x.shape[:2], dtype=torch.bool)
        state = process.step(perfect(process), state, x, known, t, s, Noise([int(t)]))
    return state.values_BLC


def made(sampler: str, predict: str = "clean", schedule: str = "cosine", steps: int = 1000) -> Gaussian:
    return Gaussian(
        VOCABULARY,
        codec="scalar",
        schedule=schedule,
        diffusion_steps=steps,
        predict=predict,
        sampler=sampler,
        clip=False,
    )


@pytest.mark.parametrize("predict", PREDICTIONS)
@pytest.mark.parametrize("sampler", ["ddim", "dpm++"])
def test_fewer_steps_go_to_the_same_place_and_the_second_order_sampler_gets_nearer(sampler: str, predict: str) -> None:
    """For normal data the probability flow is known: x_s = x_t sqrt(var_s / var_t) (Song et al. 2021)."""
    process = made(sampler, predict, "linear")
    x = torch.linspace(-2, 2, 9, dtype=torch.float64).reshape(1, 9, 1)
    stop = 40  # away from the data, where both are of first order by design
    first, last = float(process.alpha_bar[-1]), float(process.alpha_bar[stop])
    exact = x * math.sqrt((last * SPREAD**2 + 1 - last) / (first * SPREAD**2 + 1 - first))
    errors = [float((run(process, x, n, stop) - exact).abs().max()) for n in (20, 40, 80)]
    orders = [math.log2(a / b) for a, b in pairwise(errors)]
    assert errors[-1] < (0.05 if sampler == "ddim" else 0.01)
    assert orders[-1] > (0.8 if sampler == "ddim" else 1.7)


@pytest.mark.parametrize("schedule", ["linear", "cosine-zero"])
def test_the_ancestral_sampler_draws_from_the_data(schedule: str) -> None:
    process = made("ddpm", "v", schedule, 200)
    generator = torch.Generator().manual_seed(0)
    a = float(process.alpha_bar[-1])
    begin = torch.randn(1, 20_000, 1, generator=generator, dtype=torch.float64) * math.sqrt(a * SPREAD**2 + 1 - a)
    for steps in (200, 50):
        end = run(process, begin, steps)
        assert float(end.std()) == pytest.approx(SPREAD, rel=0.06)
        assert float(end.mean()) == pytest.approx(0, abs=0.03)


def test_the_published_training_scales_what_is_known() -> None:
    """(sqrt(a) + sqrt(1 - a)) x at known positions, where sampling has x; corrected, both have x."""
    known = torch.ones(4, 20, dtype=torch.bool)
    known[:, 5:9] = False
    ids = torch.full((4, 20, 2), FIRST + 3)
    for consistent in (True, False):
        process = Gaussian(
            VOCABULARY, codec="scalar", schedule="linear", predict="noise", consistent=consistent, clip=False
        )
        seen: list[tuple[Tensor, Tensor]] = []

        def denoise(values: Tensor, mask: Tensor, time: Tensor, seen: list[tuple[Tensor, Tensor]] = seen) -> Tensor:
            seen.append((values, time))
            return torch.zeros(4, 20, 1)

        process.loss(denoise, ids, known, torch.Generator().manual_seed(0))
        values, time = seen[0]
        a = process.alpha_bar[time].float()
        factor = torch.ones(4) if consistent else a.sqrt() + (1 - a).sqrt()
        torch.testing.assert_close(values[:, 0, 0], 4 * factor)
        assert (values[:, 5:9, 1] == 0).all(), "what is hidden must not condition the network"
        assert (values[:, 0, 1] == 4).all()
