"""Masked (absorbing-state) diffusion over events: events are hidden one by one and brought back in any order.

Axis legend: B batch, L length, C channels (event, thread), H width, V ids of a channel.

Austin et al., "Structured Denoising Diffusion Models in Discrete State-Spaces" (2021), section 3 (absorbing state),
in the simplified form of Sahoo et al., "Simple and Effective Masked Diffusion Language Models" (2024): the network
predicts the clean ids of hidden positions and needs no time. Only the gap is ever hidden, known events never are.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

Denoise = Callable[[Tensor, Tensor, Tensor], "list[Tensor]"]  # (ids_BLC, known_BL, time_B) -> logits_BLV a channel


class Masked:
    """Each channel c has ``sizes[c]`` ids and the id ``hidden[c]`` (may be sizes[c] itself) for "not known yet".

    ``weights``: what a channel's cross-entropy counts in the loss.
    """

    def __init__(self, sizes: tuple[int, ...], hidden: tuple[int, ...], weights: tuple[float, ...] = ()) -> None:
        self.sizes, self.hidden = tuple(sizes), tuple(hidden)
        self.weights = tuple(weights) or (1.0,) * len(self.sizes)

    def stem(self, width: int) -> nn.Module:
        return Stem(self.sizes, self.hidden, width)

    def head(self, width: int) -> nn.Module:
        return Head(self.sizes, width)

    def prior(self, clean_BLC: Tensor, known_BL: Tensor) -> Tensor:
        """The fully hidden state: known events stay, all others are hidden."""
        return torch.where(known_BL[..., None], clean_BLC, torch.tensor(self.hidden, device=clean_BLC.device))

    def loss(self, denoise: Denoise, clean_BLC: Tensor, known_BL: Tensor, generator: torch.Generator) -> Tensor:
        """Mean cross-entropy of hidden positions: hide a uniform share of each gap, at least one event of it.

        The share t is uniform in (0, 1] as in Sahoo et al. (2024), eq. 10; each hidden event counts the same instead
        of with 1/t, which lowers the gradient's variance and leaves the minimiser as it is.
        """
        B, L = known_BL.shape
        share = torch.rand(B, 1, generator=generator).to(clean_BLC.device)
        rank = torch.rand(B, L, generator=generator).to(clean_BLC.device).masked_fill(known_BL, 2.0)
        shown = known_BL | (rank > share)
        one = rank.argmin(dim=1, keepdim=True)  # the first of the random order is always hidden
        shown = shown.scatter(1, one, known_BL.gather(1, one))
        logits = denoise(self.prior(clean_BLC, shown), known_BL, share[:, 0])
        hidden = ~shown
        total = clean_BLC.new_zeros((), dtype=torch.float32)
        for c, logits_BLV in enumerate(logits):
            picked = functional.cross_entropy(logits_BLV[hidden].float(), clean_BLC[..., c][hidden])
            total = total + self.weights[c] * picked
        return total


class Stem(nn.Module):
    """(ids_BLC, known_BL) -> (x_BHL, cond_BHL): the sum of the channels' embeddings; cond tells known from guessed."""

    def __init__(self, sizes: tuple[int, ...], hidden: tuple[int, ...], width: int) -> None:
        super().__init__()
        rows = [max(n, h + 1) for n, h in zip(sizes, hidden, strict=True)]
        self.channels = nn.ModuleList(nn.Embedding(n, width) for n in rows)
        self.known = nn.Embedding(2, width)
        for table in [*self.channels, self.known]:
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, ids_BLC: Tensor, known_BL: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.stack([table(ids_BLC[..., c]) for c, table in enumerate(self.channels)]).sum(0)
        return x.transpose(1, 2), self.known(known_BL.long()).transpose(1, 2)


class Head(nn.Module):
    """x_BHL -> one tensor of logits_BLV a channel."""

    def __init__(self, sizes: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.channels = nn.ModuleList(nn.Linear(width, n) for n in sizes)

    def forward(self, x_BHL: Tensor) -> list[Tensor]:
        x = x_BHL.transpose(1, 2)
        return [head(x) for head in self.channels]
