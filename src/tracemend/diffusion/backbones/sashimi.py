"""SaShiMi: a U-Net of state space and feed-forward blocks over three resolutions.

Goel et al., "It's Raw! Audio Generation with State-Space Models" (2022), section 4, non-causal as in its diffusion
experiments, with the conditioning of SSSD-SA (Alcaraz and Strodthoff 2022, appendix). Axis legend: B batch, H width,
C conditioning channels, E width of the time embedding, L length, S pooling factor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tracemend.diffusion.backbones.gated import initialised
from tracemend.diffusion.backbones.held import Conditioning
from tracemend.diffusion.backbones.ssm import StateSpace
from tracemend.diffusion.backbones.widths import Widths

#: Both poolings halve the length, each time doubling the width.
POOL = 2
LEVELS = 2


class Sashimi(nn.Module):
    """(x_BHL, cond_BCL, time_BE) -> _BHL. Lengths are filled up to a multiple of 4 and cut again."""

    def __init__(
        self,
        widths: Widths,
        *,
        layers: int = 6,
        expand: int = 2,
        label: Sequence[int] | None = None,
        **options: Any,
    ) -> None:
        """layers: pairs of blocks a level. expand: inner width of the feed-forward blocks. label: (classes, width) of
        the label embedding that the public SSSD-SA makes and never uses. options: the state space layers'."""
        super().__init__()
        width, cond, time = widths

        def level(size: int, stride: int) -> list[nn.Module]:
            pair: list[nn.Module] = []
            for _ in range(layers):
                pair.append(SashimiBlock(StateSpace(size, gated=True, **options), size, cond, time, stride, label))
                pair.append(SashimiBlock(feed_forward(size, expand), size, cond, time, stride, label))
            return pair

        down, up, size = [], [], width
        for n in range(LEVELS):
            down += [*level(size, POOL**n), Down(size)]
            size *= 2
        self.center = nn.ModuleList(level(size, POOL**LEVELS))
        for n in reversed(range(LEVELS)):
            size //= 2
            up += [Up(size), *level(size, POOL**n)]
        self.down, self.up = nn.ModuleList(down), nn.ModuleList(up)
        self.norm = nn.LayerNorm(width)
        if label is not None:
            self.label = nn.Embedding(label[0], label[1])

    def forward(self, x_BHL: Tensor, cond_BCL: Tensor, time_BE: Tensor) -> Tensor:
        L = x_BHL.shape[-1]
        spare = -L % POOL**LEVELS
        x, cond = functional.pad(x_BHL, (0, spare)), functional.pad(cond_BCL, (0, spare))
        skips = [x]
        for layer in self.down:
            x = layer(x, cond, time_BE)
            skips.append(x)
        for layer in self.center:
            x = layer(x, cond, time_BE)
        x = x + skips.pop()
        for layer in self.up:
            x = layer(x, cond, time_BE) + skips.pop()
        result: Tensor = self.norm(x.transpose(1, 2)).transpose(1, 2)
        return result[..., :L]


class SashimiBlock(nn.Module):
    """x + layer(norm(x + time)) + conditioning at the level's resolution."""

    def __init__(
        self, layer: nn.Module, width: int, cond: int, time: int, stride: int, label: Sequence[int] | None
    ) -> None:
        super().__init__()
        self.layer, self.norm = layer, nn.LayerNorm(width)
        self.time = nn.Linear(time, width)
        # the padding is the public SSSD-SA's: at the coarsest level it moves the conditioning by one event
        strided = Conditioning(cond, width, stride, stride=stride, padding=(stride - 1) // 2)
        self.cond = initialised(strided, normed=True)
        if label is not None:
            self.label = nn.Linear(label[1], width)

    def forward(self, x_BHL: Tensor, cond_BCL: Tensor, time_BE: Tensor) -> Tensor:
        z = x_BHL + self.time(time_BE)[:, :, None]
        z = self.layer(self.norm(z.transpose(1, 2)).transpose(1, 2))
        result: Tensor = x_BHL + z + self.cond(cond_BCL)
        return result


def feed_forward(width: int, expand: int) -> nn.Module:
    """Two maps of the channels with a GELU between them."""
    return nn.Sequential(nn.Conv1d(width, expand * width, 1), nn.GELU(), nn.Conv1d(expand * width, width, 1))


class Down(nn.Module):
    """Half the length, twice the width: S neighbouring positions are mapped together."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out = torch.nn.utils.parametrizations.weight_norm(nn.Conv1d(POOL * width, 2 * width, 1))

    def forward(self, x_BHL: Tensor, cond_BCL: Tensor, time_BE: Tensor) -> Tensor:
        B, H, L = x_BHL.shape
        x = x_BHL.view(B, H, L // POOL, POOL).transpose(2, 3).reshape(B, H * POOL, L // POOL)
        result: Tensor = self.out(x)
        return result


class Up(nn.Module):
    """Twice the length, half the width: ``width`` is the outer one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out = torch.nn.utils.parametrizations.weight_norm(nn.Conv1d(2 * width, POOL * width, 1))

    def forward(self, x_BHL: Tensor, cond_BCL: Tensor, time_BE: Tensor) -> Tensor:
        y: Tensor = self.out(x_BHL)
        B, H, L = y.shape
        return y.view(B, H // POOL, POOL, L).transpose(2, 3).reshape(B, H // POOL, L * POOL)
