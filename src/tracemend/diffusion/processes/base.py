"""What every process is: it decides how events are hidden, what the network reads and writes, and how they come back.

Axis legend: B batch, L length, C channels, H width, E width of the time embedding, V ids of a channel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from tracemend.diffusion.backbones.widths import Widths

#: (values_BLC, known_BL, time_B) -> what the process's head gives.
Denoise = Callable[[Tensor, Tensor, Tensor], Any]


class Noise:
    """Random numbers for a chain: each window has its own, whatever other windows are in the batch."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self.rows = [torch.Generator().manual_seed(seed) for seed in seeds]

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal numbers of the shape of ``like`` (B, ...)."""
        drawn = [torch.randn(like.shape[1:], generator=g) for g in self.rows]
        return torch.stack(drawn).to(like.device)

    def uniform(self, like: Tensor) -> Tensor:
        """Uniform numbers in [0, 1) of the shape of ``like`` (B, ...)."""
        drawn = [torch.rand(like.shape[1:], generator=g) for g in self.rows]
        return torch.stack(drawn).to(like.device)


@dataclass(slots=True)
class State:
    """Where a reverse chain stands. ``values_BLC``: what the network reads of every position."""

    values_BLC: Tensor


class Process(Protocol):
    """Made by ``cls(vocabulary, **options)``.

    fine: values lie too close together for bfloat16. causal: needs a causal backbone. noisy: a chain begins in noise.
    """

    fine: bool
    causal: bool
    noisy: bool

    def stem(self, width: int) -> nn.Module:
        """(values, known_BL) -> (x_BHL, cond_BCL)."""
        ...

    def clock(self, width: int) -> nn.Module:
        """time_B -> time_BE."""
        ...

    def head(self, width: int) -> nn.Module:
        """x_BHL -> what ``loss`` and ``step`` understand."""
        ...

    def widths(self, width: int) -> Widths:
        """What a backbone of this width has beside it: channels of the stem's conditioning, and of the clock."""
        ...

    def encode(self, clean_BLC: Tensor) -> Tensor:
        """Ids as the values that the chain works on."""
        ...

    def loss(self, denoise: Denoise, clean_BLC: Tensor, known_BL: Tensor, generator: torch.Generator) -> Tensor:
        """What training minimises, a scalar; clean_BLC are ids, hidden ones included."""
        ...

    def start(self, given_BLC: Tensor, known_BL: Tensor, noise: Noise | None) -> Any:
        """The state in which nothing of the gap is known; what ``given_BLC`` holds there plays no part."""
        ...

    def times(self, steps: int, known_BL: Tensor) -> Sequence[float]:
        """The times between which the reverse steps go, one more than there are steps."""
        ...

    def step(
        self,
        denoise: Denoise,
        state: Any,
        given_BLC: Tensor,
        known_BL: Tensor,
        t: float,
        s: float,
        noise: Noise | None,
    ) -> Any:
        """One reverse step from time t to time s."""
        ...

    def beliefs(self, state: Any) -> list[Tensor]:
        """Log-probabilities_BLV of the events at every position (and of further channels)."""
        ...


class Clock(nn.Sequential):
    """time_B -> time_BE: sines and cosines, two linear maps with a SiLU between them, one behind if ``last``.

    Frequencies: "falling", as Vaswani et al. (2017, section 3.5); "ends" the same with the last frequency included (the
    DiffWave code's form); "rising" from 1 to 10^4 (CSDI's).
    """

    def __init__(
        self,
        inner: int,
        middle: int,
        outer: int,
        *,
        frequencies: str = "falling",
        scale: float = 1.0,
        last: bool = False,
    ) -> None:
        layers: list[nn.Module] = [nn.Linear(inner, middle), nn.SiLU(), nn.Linear(middle, outer)]
        super().__init__(*layers, *([nn.SiLU()] if last else []))
        self.inner, self.frequencies, self.scale = inner, frequencies, scale

    def forward(self, time_B: Tensor) -> Tensor:
        n = torch.arange((self.inner + 1) // 2, device=time_B.device)
        last = max(1, self.inner // 2 - 1)
        power = {"falling": -2 * n / self.inner, "ends": -n / last, "rising": n / last}[self.frequencies]
        angle = (time_B.float() * self.scale)[:, None] * 10.0 ** (power * 4.0)
        embedded = torch.cat([angle.sin(), angle.cos()], dim=-1)[:, : self.inner]
        result: Tensor = super().forward(embedded)  # type: ignore[no-untyped-call]
        return result
