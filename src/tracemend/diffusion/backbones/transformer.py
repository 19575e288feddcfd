"""A plain pre-norm transformer with rotary positions: every position sees the whole window, both sides of the gap.

Axis legend: B batch, L length, H width, A heads, D width of a head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from tracemend.diffusion.backbones.widths import Widths


class Stack(nn.Module):
    """(x_BHL, cond_BCL, time_BE) -> _BHL: residual blocks one after the other, between a sum and a norm.

    Rotary position embedding after Su et al., "RoFormer" (2021), eq. 34: only the distance of two positions counts,
    so any length works.
    """

    def __init__(self, widths: Widths, heads: int, blocks: Iterable[Callable[[], Residual]]) -> None:
        """blocks: makers of the blocks, each for ``heads`` heads."""
        super().__init__()
        width = widths.inner
        self.head_width = width // heads
        self.cond = nn.Identity() if widths.cond == width else nn.Conv1d(widths.cond, width, 1)
        self.time = nn.Identity() if widths.time == width else nn.Linear(widths.time, width)
        self.blocks = nn.ModuleList(make() for make in blocks)
        self.norm = nn.LayerNorm(width)

    def forward(self, x_BHL: Tensor, cond_BCL: Tensor, time_BE: Tensor) -> Tensor:
        x = (x_BHL + self.cond(cond_BCL) + self.time(time_BE)[:, :, None]).transpose(1, 2)
        rotation = rotary(x.shape[1], self.head_width, x.device)
        for block in self.blocks:
            x = block(x, rotation)
        result: Tensor = self.norm(x).transpose(1, 2)
        return result


class Transformer(Stack):
    """Attention in every block."""

    def __init__(
        self,
        widths: Widths,
        *,
        layers: int = 6,
        heads: int = 4,
        dropout: float = 0.0,
    ) -> None:
        """Raises ValueError for heads that don't fit."""
        super().__init__(widths, heads, [lambda: Attention(widths.inner, heads, dropout)] * layers)


class Residual(nn.Module):
    """What mixes positions (a subclass's ``mix``), then a gated feed-forward part, each on the normalised input and
    added to it."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        """Raises ValueError for heads that don't fit."""
        super().__init__()
        if width % (2 * heads):
            raise ValueError(f"width {width} isn't a multiple of twice the {heads} heads")
        self.heads, self.head_width, self.dropout = heads, width // heads, dropout
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.down.bias)

    def mix(self, x_BLH: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        """Normalised x_BLH -> _BLH, each position told something of the others. rotation: of the heads (``rotary``)."""
        raise NotImplementedError

    def forward(self, x_BLH: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        x = x_BLH + functional.dropout(self.mix(self.norm1(x_BLH), rotation), self.dropout, self.training)
        hidden = functional.relu(self.up(self.norm2(x))).square()  # So et al., "Primer" (2021), section 4
        result: Tensor = x + functional.dropout(self.down(hidden), self.dropout, self.training)
        return result


class Attention(Residual):
    """Attention over the whole window."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__(width, heads, dropout)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        nn.init.zeros_(self.out.weight)

    def mix(self, x_BLH: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        B, L, H = x_BLH.shape
        q, k, v = self.qkv(x_BLH).view(B, L, 3, self.heads, self.head_width).permute(2, 0, 3, 1, 4)
        q, k = rotate(q, rotation).to(v.dtype), rotate(k, rotation).to(v.dtype)
        result: Tensor = self.out(attention(q, k, v).transpose(1, 2).reshape(B, L, H))
        return result


def attention(q_BALD: Tensor, k_BALD: Tensor, v_BALD: Tensor) -> Tensor:
    """Softmax attention (Vaswani et al. 2017, eq. 1).

    The fused kernel is used where no gradient is needed; its backward pass is several times slower on CPUs than the
    plain products at these lengths.
    """
    if not torch.is_grad_enabled() or q_BALD.is_cuda:
        return functional.scaled_dot_product_attention(q_BALD, k_BALD, v_BALD)
    scores = (q_BALD * q_BALD.shape[-1] ** -0.5) @ k_BALD.transpose(-1, -2)
    mixed: Tensor = scores.softmax(dim=-1).to(v_BALD.dtype) @ v_BALD
    return mixed


def rotary(length: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines (L, D / 2) of the rotary embedding."""
    frequency = 10_000 ** (-torch.arange(0, width, 2, device=device) / width)
    angle = torch.arange(length, device=device)[:, None] * frequency
    return angle.cos(), angle.sin()


def rotate(x_BALD: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Turn each pair of channels by its position's angle."""
    cos, sin = rotation
    a, b = x_BALD.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)
