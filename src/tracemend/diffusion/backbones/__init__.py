"""The backbones: networks that know nothing of diffusion, gaps or vocabularies. One file each, one entry here.

A backbone is an ``nn.Module`` made by ``cls(widths, **options)`` and called as (x_BHL, cond_BCL, time_BE) -> _BHL:
B batch, L any length; by its ``Widths`` H channels of its own, C of conditioning, E that tell the diffusion time.
"""

from __future__ import annotations

from torch import nn

from tracemend.diffusion.backbones.gated import Gated
from tracemend.diffusion.backbones.lstm import LSTM
from tracemend.diffusion.backbones.sashimi import Sashimi
from tracemend.diffusion.backbones.selective import Selective
from tracemend.diffusion.backbones.transformer import Transformer

BACKBONES: dict[str, type[nn.Module]] = {
    "transformer": Transformer,
    "gated": Gated,
    "sashimi": Sashimi,
    "selective": Selective,
    "lstm": LSTM,
}
