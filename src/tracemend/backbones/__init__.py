"""The backbones: networks that know nothing of diffusion, gaps or vocabularies. One file each, one entry here.

A backbone is an ``nn.Module`` made by ``cls(width, **options)`` and called as (x_BHL, cond_BHL, time_BH) -> _BHL:
B batch, H width, L any length.
"""

from __future__ import annotations

from torch import nn

from tracemend.backbones.transformer import Transformer

BACKBONES: dict[str, type[nn.Module]] = {"transformer": Transformer}
