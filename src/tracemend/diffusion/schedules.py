"""Noise schedules: how much of the signal is left after each diffusion step.

Each gives alpha_bar_T, float64, falling: x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) noise (Ho et al. 2020,
eq. 4). Axis legend: T diffusion steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def linear(steps: int) -> Tensor:
    """Betas from 1e-4 to 0.02 whatever the number of steps, as in the public SSSD and DiffWave code.

    Made for 1000 steps (Ho et al. 2020, section 4): with 200, a third of the signal is left at the end.
    """
    return (1 - torch.linspace(1e-4, 0.02, steps, dtype=torch.float64)).cumprod(0)


def quadratic(steps: int) -> Tensor:
    """Betas from 1e-4 to 0.5, evenly spaced in their roots (Tashiro et al., "CSDI", 2021, appendix E)."""
    return (1 - torch.linspace(1e-2, 0.5**0.5, steps, dtype=torch.float64).square()).cumprod(0)


def cosine(steps: int) -> Tensor:
    """Nichol and Dhariwal, "Improved Denoising Diffusion Probabilistic Models" (2021), eq. 17, betas at most 0.999."""
    f = (torch.linspace(0, 1, steps + 1, dtype=torch.float64).add(0.008) / 1.008 * math.pi / 2).cos().square()
    return (1 - (1 - f[1:] / f[:-1]).clamp(max=0.999)).cumprod(0)


def zero_terminal(alpha_bar_T: Tensor) -> Tensor:
    """The same schedule shifted and scaled so that it ends in pure noise (Lin et al. 2024, algorithm 1)."""
    root = alpha_bar_T.sqrt()
    return ((root - root[-1]) * root[0] / (root[0] - root[-1])).square()


SCHEDULES: dict[str, Callable[[int], Tensor]] = {
    "linear": linear,
    "quadratic": quadratic,
    "cosine": cosine,
    "linear-zero": lambda steps: zero_terminal(linear(steps)),
    "cosine-zero": lambda steps: zero_terminal(cosine(steps)),
}
