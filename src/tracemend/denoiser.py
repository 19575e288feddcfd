"""The network as a whole: stem + backbone + head. What goes in and comes out is the process's affair.

Axis legend: B batch, L length, C channels, H width, V ids of a channel.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Denoiser(nn.Module):
    """(ids_BLC, known_BL, time_B) -> what the process's head gives.

    time_B in [0, 1] is embedded by sines and cosines (Vaswani et al. 2017, section 3.5) of 1000 times its value.
    """

    def __init__(self, stem: nn.Module, backbone: nn.Module, head: nn.Module, width: int) -> None:
        super().__init__()
        self.stem, self.backbone, self.head = stem, backbone, head
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.width = width

    def forward(self, ids_BLC: Tensor, known_BL: Tensor, time_B: Tensor) -> list[Tensor]:
        x_BHL, cond_BHL = self.stem(ids_BLC, known_BL)
        time_BH = self.time(sinusoids(time_B * 1000, self.width).to(x_BHL.dtype))
        result: list[Tensor] = self.head(self.backbone(x_BHL, cond_BHL, time_BH))
        return result


def sinusoids(t_B: Tensor, width: int) -> Tensor:
    """Sines and cosines (B, H) of geometrically spaced frequencies."""
    frequency = 10_000 ** (-torch.arange(0, width, 2, device=t_B.device) / width)
    angle = t_B[:, None].float() * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=-1)[:, :width]
