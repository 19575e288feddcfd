"""The backbones: networks that know nothing of diffusion, gaps or vocabularies. One file each, one entry here.

A backbone is an ``nn.Module`` made by ``cls(width, cond=..., time=..., **options)`` and called as
(x_BHL, cond_BCL, time_BE) -> _BHL: B batch, H width, L any length, C ``cond`` channels of conditioning, E ``time``
channels that tell the diffusion time; both are as wide as the network if not given.
"""

from __future__ import annotations

from torch import nn

from tracemend.backbones.gated import Gated
from tracemend.backbones.lstm import LSTM
from tracemend.backbones.sashimi import Sashimi
from tracemend.backbones.selective import Selective
from tracemend.backbones.transformer import Transformer

BACKBONES: dict[str, type[nn.Module]] = {
    "transformer": Transformer,
    "gated": Gated,
    "sashimi": Sashimi,
    "selective": Selective,
    "lstm": LSTM,
}
