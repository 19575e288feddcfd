"""Codecs: how categories become real channels, and back. Each is a table with one codeword an id.

Axis legend: V ids, C channels, B batch, L length.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from tracemend.errors import ModelError
from tracemend.trace.vocabulary import FIRST, Vocabulary


def scalar(vocabulary: Vocabulary) -> Tensor:
    """The number of the entry, from 1: with a vocabulary by frequency this is the study's encoding."""
    return (torch.arange(len(vocabulary)) - FIRST + 1.0).clamp(min=0)[:, None]


def standardised(vocabulary: Vocabulary) -> Tensor:
    """The same numbers with zero mean and unit variance over the training events. Needs a vocabulary with counts."""
    if vocabulary.counts is None:
        raise ModelError("codec 'standardised' needs a vocabulary with counts (one made by frequency)")
    code = scalar(vocabulary)
    share = torch.tensor([0.0] * FIRST + list(vocabulary.counts), dtype=torch.float32)[:, None]
    share = share / share.sum().clamp(min=1)
    mean = (code * share).sum()
    return (code - mean) / ((code - mean).square() * share).sum().sqrt().clamp(min=1e-6)


def bits(vocabulary: Vocabulary) -> Tensor:
    """The id's binary digits as -1 and 1 (Chen et al., "Analog Bits", 2023, section 3.1)."""
    width = max(1, math.ceil(math.log2(len(vocabulary))))
    return ((torch.arange(len(vocabulary))[:, None] >> torch.arange(width)) & 1).float() * 2 - 1


def onehot(vocabulary: Vocabulary) -> Tensor:
    """A channel an id, 1 where it is and -1 elsewhere (Chen et al. 2023, section 5.3)."""
    return torch.eye(len(vocabulary)) * 2 - 1


CODECS: dict[str, Callable[[Vocabulary], Tensor]] = {
    "scalar": scalar,
    "standardised": standardised,
    "bits": bits,
    "onehot": onehot,
}


def nearest(x_BLC: Tensor, codes_VC: Tensor) -> Tensor:
    """Log-probabilities_BLV of the ids, by squared distance from their codewords; the nearest is the likeliest.

    A codeword at the distance of the closest pair of codewords has exp(-2) of the odds of the one that x stands on. The
    special ids below FIRST are never meant.
    """
    real = codes_VC[FIRST:]
    other = torch.cdist(real, real) + torch.diag(torch.full((len(real),), torch.inf, device=real.device))
    spread = other.min().clamp(min=1e-6) if len(real) > 1 else torch.tensor(1.0, device=real.device)
    distance = torch.cdist(x_BLC.float(), real[None].expand(len(x_BLC), -1, -1))
    logp = torch.log_softmax(-2 * (distance / spread).square(), dim=-1)
    special = logp.new_full((*logp.shape[:-1], FIRST), -torch.inf)
    return torch.cat([special, logp], dim=-1)
