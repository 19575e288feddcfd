"""The one reverse loop: from a gap of which nothing is known to one that is filled.

Axis legend: B batch, L length, C channels, V ids of a channel.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from tracemend.diffusion.backbones.held import chain
from tracemend.diffusion.denoiser import Denoiser
from tracemend.diffusion.processes.base import Noise, Process


def restore(
    process: Process,
    denoise: Denoiser,
    clean_BLC: Tensor,
    known_BL: Tensor,
    steps: int,
    noise: Noise | None = None,
) -> list[Tensor]:
    """Log-probabilities_BLV of the events at every position (and of further channels, if the process has them).

    clean_BLC: ids; what it holds in the gap plays no part. noise: needed by Gaussian processes. What doesn't depend on
    the time is computed once for the whole chain.
    """
    given = process.encode(clean_BLC)
    state: Any = process.start(given, known_BL, noise)
    with chain(denoise):
        for t, s in pairwise(process.times(steps, known_BL)):
            state.values_BLC = torch.where(known_BL[..., None], given, state.values_BLC)
            state = process.step(denoise, state, given, known_BL, t, s, noise)
    return process.beliefs(state)
