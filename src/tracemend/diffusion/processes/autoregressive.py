"""Next-event prediction: what comes after the events so far, fed its own output through a gap.

The study's LSTM (Janecek et al. 2025, RQ3), with a softmax. It sees only what came before the gap.
Axis legend: B batch, L length, C channels, H width, V ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tracemend.diffusion.backbones.widths import Widths
from tracemend.diffusion.processes.base import Clock, Denoise, Noise, State
from tracemend.trace.vocabulary import BREAK, MASK, OTHER, Vocabulary


@dataclass(slots=True)
class Read(State):
    """How far the window has been read: the memory after it, and the log-probabilities_BLV of all that was read."""

    memory: Any = None
    logp: list[Tensor] | None = None


class Autoregressive:
    """p(event | events before it in the window). Needs a backbone with ``advance``."""

    fine, causal, noisy = False, True, False

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.size = len(vocabulary)

    def stem(self, width: int) -> nn.Module:
        return Stem(self.size, width)

    def clock(self, width: int) -> nn.Module:
        return Clock(2, 1, 1).requires_grad_(False)

    def head(self, width: int) -> nn.Module:
        return nn.Conv1d(width, self.size, 1)

    def widths(self, width: int) -> Widths:
        return Widths(width, 1, 1)

    def encode(self, clean_BLC: Tensor) -> Tensor:
        return clean_BLC

    def loss(self, denoise: Denoise, clean_BLC: Tensor, known_BL: Tensor, generator: torch.Generator) -> Tensor:
        """Mean cross-entropy of every event of the window given those before it; gaps play no part."""
        time = torch.zeros(len(clean_BLC), device=clean_BLC.device)
        logits_BVL = denoise(before(clean_BLC), known_BL, time)
        target = clean_BLC[..., 0].masked_fill(clean_BLC[..., 0] == BREAK, -100)
        return functional.cross_entropy(logits_BVL.float(), target)

    def start(self, given_BLC: Tensor, known_BL: Tensor, noise: Noise | None) -> Read:
        return Read(torch.where(known_BL[..., None], given_BLC, MASK))

    def times(self, steps: int, known_BL: Tensor) -> Sequence[float]:
        """Every position is a step, whatever ``steps`` says."""
        return range(known_BL.shape[1] + 1)

    def step(
        self,
        denoise: Denoise,
        state: Read,
        given_BLC: Tensor,
        known_BL: Tensor,
        t: float,
        s: float,
        noise: Noise | None,
    ) -> Read:
        """Read one event (a known one, or the own guess where it is hidden) and guess the next; the memory is kept."""
        at = int(t)
        values = state.values_BLC
        last = values[:, at - 1 : at] if at else torch.full_like(values[:, :1], BREAK)
        logits, memory = denoise.advance(last, state.memory)  # type: ignore[attr-defined]
        logits[:, [MASK, BREAK, OTHER]] = -torch.inf
        logp = torch.log_softmax(logits[..., 0].float(), dim=1)
        hidden = ~known_BL[:, at]
        values = values.clone()
        values[:, at, 0] = torch.where(hidden, logp.argmax(dim=1), values[:, at, 0])
        return Read(values, memory, [*(state.logp or []), logp])

    def beliefs(self, state: Read) -> list[Tensor]:
        return [torch.stack(state.logp or [], dim=1)]


def before(ids_BLC: Tensor) -> Tensor:
    """The same ids one place later, BREAK in front: what is read to guess each position."""
    return torch.cat([torch.full_like(ids_BLC[:, :1], BREAK), ids_BLC[:, :-1]], dim=1)


class Stem(nn.Module):
    """(ids_BLC, known_BL) -> (x_BHL, nothing)."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.events = nn.Embedding(size, width)

    def forward(self, ids_BLC: Tensor, known_BL: Tensor) -> tuple[Tensor, Tensor]:
        x = self.events(ids_BLC[..., 0]).transpose(1, 2)
        return x, x[:, :1] * 0
