"""Masked (absorbing-state) diffusion over events: events are hidden one by one and brought back in any order.

Axis legend: B batch, L length, C channels (event, thread, step), H width, V ids of a channel.

Austin et al., "Structured Denoising Diffusion Models in Discrete State-Spaces" (2021), section 3 (absorbing state),
in the simplified form of Sahoo et al., "Simple and Effective Masked Diffusion Language Models" (2024): the network
predicts the clean ids of hidden positions; it is told the share of the gap that is hidden, though it could do without.
Only the gap is ever hidden, known events never are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from tracemend.diffusion.backbones.widths import Widths
from tracemend.diffusion.processes.base import Clock, Denoise, Noise, State
from tracemend.errors import ModelError
from tracemend.trace.vocabulary import BREAK, MASK, Vocabulary
from tracemend.trace.windows import HIDDEN, SLOTS, STEPS, UNKNOWN_STEP

#: What a channel's cross-entropy counts in the loss: events, threads, steps.
WEIGHTS = (1.0, 0.5, 0.2)
#: The share of training windows whose steps aren't told.
UNTIMED = 0.1


@dataclass(slots=True)
class Shown(State):
    """ids_BLC, what is shown_BL of them, and the log-probabilities_BLV that each position was fixed with."""

    shown_BL: Tensor
    held: list[Tensor] = field(default_factory=list)


class Masked:
    """The first channels of a window (windows.py); what is hidden of them holds HIDDEN."""

    fine, causal, noisy = False, False, False

    def __init__(self, vocabulary: Vocabulary, *, channels: int = 2) -> None:
        """channels: 1 events alone, 2 and threads, 3 and steps. Raises ModelError for another number."""
        if channels not in (1, 2, 3):
            raise ModelError(f"a window has 1 to 3 channels, not {channels}")
        self.sizes, self.hidden = (len(vocabulary), SLOTS, STEPS)[:channels], HIDDEN[:channels]

    def stem(self, width: int) -> nn.Module:
        return Stem((self.sizes[0], SLOTS + 1, 2 * STEPS)[: len(self.sizes)], width)

    def clock(self, width: int) -> nn.Module:
        return Clock(width, width, width, scale=1000)

    def head(self, width: int) -> nn.Module:
        return Head(self.sizes, width)

    def widths(self, width: int) -> Widths:
        return Widths.alike(width)

    def encode(self, clean_BLC: Tensor) -> Tensor:
        return clean_BLC[..., : len(self.hidden)]

    def hide(self, clean_BLC: Tensor, known_BL: Tensor) -> Tensor:
        """The ids with all but the known ones hidden."""
        return torch.where(known_BL[..., None], clean_BLC, torch.tensor(self.hidden, device=clean_BLC.device))

    def loss(self, denoise: Denoise, clean_BLC: Tensor, known_BL: Tensor, generator: torch.Generator) -> Tensor:
        """Mean cross-entropy of hidden positions: hide a uniform share of each gap, at least one event of it.

        The share t is uniform in (0, 1] as in Sahoo et al. (2024), eq. 10; each hidden event counts the same instead
        of with 1/t, which lowers the gradient's variance and leaves the minimiser as it is.
        """
        clean_BLC = self.encode(clean_BLC)
        B, L = known_BL.shape
        share = torch.rand(B, 1, generator=generator).to(clean_BLC.device)
        rank = torch.rand(B, L, generator=generator).to(clean_BLC.device).masked_fill(known_BL, 2.0)
        shown = known_BL | (rank > share)
        one = rank.argmin(dim=1, keepdim=True)  # the first of the random order is always hidden
        shown = shown.scatter(1, one, known_BL.gather(1, one))
        logits = denoise(self.hide(self._untimed(clean_BLC, generator), shown), known_BL, share[:, 0])
        hidden = ~shown
        total = clean_BLC.new_zeros((), dtype=torch.float32)
        for c, logits_BLV in enumerate(logits):
            target = clean_BLC[..., c][hidden]
            if c == 2:
                target = target.masked_fill(target == UNKNOWN_STEP, -100)  # no step to learn
            summed = functional.cross_entropy(logits_BLV[hidden].float(), target, reduction="sum")
            total = total + WEIGHTS[c] * summed / (target >= 0).sum().clamp(min=1)
        return total

    def _untimed(self, clean_BLC: Tensor, generator: torch.Generator) -> Tensor:
        """The ids with the steps of every so many windows unknown: there is data without times."""
        if len(self.sizes) < 3:
            return clean_BLC
        untimed = torch.rand(len(clean_BLC), 1, 1, generator=generator).to(clean_BLC.device) < UNTIMED
        steps = torch.arange(clean_BLC.shape[2], device=clean_BLC.device) == 2
        return clean_BLC.masked_fill(untimed & steps, UNKNOWN_STEP)

    def start(self, given_BLC: Tensor, known_BL: Tensor, noise: Noise | None) -> Shown:
        return Shown(self.hide(given_BLC, known_BL), known_BL.clone())

    def times(self, steps: int, known_BL: Tensor) -> Sequence[float]:
        """Shares of the gap still hidden: the cosine schedule of Chang et al., "MaskGIT" (2022), section 3.3."""
        return [math.cos(k / steps * math.pi / 2) for k in range(steps)] + [0.0]

    def step(
        self,
        denoise: Denoise,
        state: Shown,
        given_BLC: Tensor,
        known_BL: Tensor,
        t: float,
        s: float,
        noise: Noise | None,
    ) -> Shown:
        """Fix the surest hidden positions, so many that a share s of the gap stays hidden.

        Chang et al. (2022), section 3.2, without its noise when ``noise`` is None. The log-probabilities of a
        position are those of the step that fixed it: the network's belief given all that was fixed before.
        """
        hidden = ~state.shown_BL
        total = (~known_BL).sum(dim=1)
        number = hidden.sum(dim=1) - (total * s).long()
        if state.held and not bool((number > 0).any()):
            return state
        logits = denoise(state.values_BLC, known_BL, hidden.sum(dim=1) / total.clamp(min=1))
        logits = [x.float() for x in logits]
        logits[0][..., [MASK, BREAK]] = -torch.inf  # no guess is "not known"
        logp = [torch.log_softmax(x, dim=-1) for x in logits]
        best = [_choose(x, noise) for x in logp]
        sure = best[0][0].masked_fill(state.shown_BL, -torch.inf)
        rank = sure.argsort(dim=1, descending=True).argsort(dim=1)
        fix = hidden & (rank < number[:, None])
        held = state.held or logp
        values = torch.where(fix[..., None], torch.stack([b[1] for b in best], dim=-1), state.values_BLC)
        kept = [torch.where(fix[..., None], new, old) for new, old in zip(logp, held, strict=True)]
        return Shown(values, state.shown_BL | fix, kept)

    def beliefs(self, state: Shown) -> list[Tensor]:
        return state.held


def _choose(logp_BLV: Tensor, noise: Noise | None) -> tuple[Tensor, Tensor]:
    if noise is None:
        best = logp_BLV.max(dim=-1)
        return best.values, best.indices
    drawn = noise.uniform(logp_BLV).clamp(1e-9, 1 - 1e-7)
    ids = (logp_BLV - torch.log(-torch.log(drawn))).argmax(dim=-1)
    return logp_BLV.gather(-1, ids[..., None])[..., 0], ids


class Stem(nn.Module):
    """(ids_BLC, known_BL) -> (x_BHL, cond_BHL): the sum of the channels' embeddings; cond tells known from guessed."""

    def __init__(self, rows: tuple[int, ...], width: int) -> None:
        """rows: how many values each channel has, hidden ones included."""
        super().__init__()
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
