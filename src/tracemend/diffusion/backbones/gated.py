"""DiffWave's stack of gated residual blocks; what mixes positions within a block is a choice.

DiffWave, SSSD-S4, CSDI and CSDI-S4 are this stack with different mixers. Axis legend: B batch, H width, C conditioning
channels, E width of the time embedding, L length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tracemend.diffusion.backbones.held import Conditioning
from tracemend.diffusion.backbones.ssm import Mixed, StateSpace
from tracemend.diffusion.backbones.transformer import Attention as AttentionBlock
from tracemend.diffusion.backbones.transformer import rotary
from tracemend.diffusion.backbones.widths import Widths


def convolution(inner: int, outer: int, size: int = 1, dilation: int = 1, *, normed: bool = True) -> nn.Module:
    """A convolution that keeps the length, with weight norm if asked."""
    return initialised(nn.Conv1d(inner, outer, size, dilation=dilation, padding=dilation * (size - 1) // 2), normed)


def initialised(layer: nn.Conv1d, normed: bool) -> nn.Module:
    """He initialisation (He et al. 2015, eq. 10), and weight norm if asked."""
    nn.init.kaiming_normal_(layer.weight)
    return torch.nn.utils.parametrizations.weight_norm(layer) if normed else layer


class Attention(nn.Module):
    """One transformer block: x_BHL -> _BHL, any length."""

    def __init__(self, width: int, *, heads: int = 4) -> None:
        super().__init__()
        self.block = AttentionBlock(width, heads)

    def forward(self, x_BHL: Tensor) -> Tensor:
        rotation = rotary(x_BHL.shape[-1], self.block.head_width, x_BHL.device)
        result: Tensor = self.block(x_BHL.transpose(1, 2), rotation).transpose(1, 2)
        return result


#: Mixers: (before the conditioning, H -> 2H channels; after it, 2H -> 2H).
MIXERS = ("conv", "s4", "s4-single", "attention")


@dataclass(frozen=True, slots=True)
class Mixer:
    """What mixes positions within a block.

    conv: a dilated convolution (Kong et al., "DiffWave", 2021, figure 2a). s4: S4 layers on both sides of the
    conditioning (Alcaraz and Strodthoff, "SSSD", 2022, figure 1). s4-single and attention: one layer before the
    gate's convolution, where CSDI has its layers (Tashiro et al. 2021, figure 3). normed: weight norm. options: of the
    layers.
    """

    name: str
    dilation: int
    normed: bool
    options: dict[str, Any]

    def halves(self, width: int) -> tuple[nn.Module, nn.Module]:
        """What comes before the conditioning and what after it. Raises ValueError for an unknown name or option."""
        if self.name == "conv":
            if self.options:
                raise ValueError(f"mixer conv has no option {', '.join(map(repr, self.options))}")
            return convolution(width, 2 * width, 3, self.dilation, normed=self.normed), nn.Identity()
        if self.name == "s4":
            before, after = (Mixed(StateSpace(2 * width, **self.options), 2 * width) for _ in range(2))
            return nn.Sequential(convolution(width, 2 * width, 3, normed=self.normed), before), after
        if self.name == "s4-single":
            layer: nn.Module = Mixed(StateSpace(width, **self.options), width)
        elif self.name == "attention":
            layer = Attention(width, **self.options)
        else:
            raise ValueError(f"unknown mixer {self.name!r}; one of {', '.join(MIXERS)}")
        return nn.Sequential(layer, convolution(width, 2 * width, normed=self.normed)), nn.Identity()


class Gated(nn.Module):
    """(x_BHL, cond_BCL, time_BE) -> _BHL: the sum of the blocks' skips over the root of their number."""

    def __init__(
        self,
        widths: Widths,
        *,
        layers: int = 6,
        mixer: str = "conv",
        cycle: int = 12,
        normed: bool = True,
        idle: bool = False,
        **options: Any,
    ) -> None:
        """cycle: dilations run
        from 1 to 2^(cycle - 1) and start again. normed: weight norm. idle: make the parameters too that the public
        implementations make and never use, so that counts and checkpoints agree. options: the mixer's."""
        super().__init__()
        self.blocks = nn.ModuleList(
            GatedBlock(widths, Mixer(mixer, 2 ** (n % cycle), normed, options), onward=idle or n < layers - 1)
            for n in range(layers)
        )
        if idle and mixer == "s4-single":  # CSDI's attention over features, of which there is but one
            self.idle = nn.ModuleList(
                nn.TransformerEncoderLayer(widths.inner, 8, 64, activation="gelu") for _ in range(layers)
            )

    def forward(self, x_BHL: Tensor, cond_BCL: Tensor, time_BE: Tensor) -> Tensor:
        h = x_BHL
        total = torch.zeros((), dtype=x_BHL.dtype, device=x_BHL.device)
        for block in self.blocks:
            h, skip = block(h, cond_BCL, time_BE)
            total = total + skip
        return total * math.sqrt(1 / len(self.blocks))


class GatedBlock(nn.Module):
    """One residual block; returns what goes on and what is summed up."""

    def __init__(self, widths: Widths, mixer: Mixer, *, onward: bool) -> None:
        super().__init__()
        width, normed = widths.inner, mixer.normed
        self.time = nn.Linear(widths.time, width)
        self.before, self.after = mixer.halves(width)
        self.cond = initialised(Conditioning(widths.cond, 2 * width, 1), normed)
        self.onward = convolution(width, width, normed=normed) if onward else None
        self.skip = convolution(width, width, normed=normed)

    def forward(self, x_BHL: Tensor, cond_BCL: Tensor, time_BE: Tensor) -> tuple[Tensor, Tensor]:
        h = self.before(x_BHL + self.time(time_BE)[:, :, None])
        h = self.after(h + self.cond(cond_BCL))
        value, gate = h.chunk(2, dim=1)
        out = value.tanh() * gate.sigmoid()
        further = x_BHL if self.onward is None else (x_BHL + self.onward(out)) * math.sqrt(0.5)
        return further, self.skip(out)
