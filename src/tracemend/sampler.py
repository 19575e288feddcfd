"""The one reverse loop: from everything hidden to everything known, in few steps.

Axis legend: B batch, L length, C channels, V ids of a channel.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tracemend.processes.masked import Denoise, Masked


def unmask(
    process: Masked,
    denoise: Denoise,
    clean_BLC: Tensor,
    known_BL: Tensor,
    steps: int,
    generator: torch.Generator | None,
) -> tuple[Tensor, list[Tensor]]:
    """Bring the hidden events back; returns the ids_BLC and, per channel, log-probabilities_BLV.

    In each of ``steps`` rounds the network sees what is known and guessed so far, and the surest hidden positions are
    fixed (Chang et al., "MaskGIT" (2022), section 3.2, with the cosine schedule of its eq. 1; without its noise when
    ``generator`` is None). The log-probabilities of a position are those of the round that fixed it, so they are the
    network's belief given all that was fixed before. Known events are held by ``prior``, and nowhere else.
    """
    state = process.prior(clean_BLC, known_BL)
    shown = known_BL.clone()
    held: list[Tensor] = []
    total = (~known_BL).sum(dim=1)
    time = torch.ones(len(clean_BLC), device=clean_BLC.device)
    for k in range(steps):
        logits = denoise(state, known_BL, time)
        logp = [torch.log_softmax(x.float(), dim=-1) for x in logits]
        if not held:
            held = [x.clone() for x in logp]
        best = [_choose(x, generator) for x in logp]
        sure = best[0][0].masked_fill(shown, -torch.inf)
        left = torch.cos(torch.tensor((k + 1) / steps) * torch.pi / 2).item() if k + 1 < steps else 0.0
        keep_hidden = (total * left).long()
        number = (~shown).sum(dim=1) - keep_hidden
        rank = sure.argsort(dim=1, descending=True).argsort(dim=1)
        fix = ~shown & (rank < number[:, None])
        for c in range(len(logp)):
            held[c] = torch.where(fix[..., None], logp[c], held[c])
            state[..., c] = torch.where(fix, best[c][1], state[..., c])
        shown = shown | fix
        time = 1 - shown.float().mean(dim=1)
        if bool(shown.all()):
            break
    return state, held


def _choose(logp_BLV: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    if generator is None:
        best = logp_BLV.max(dim=-1)
        return best.values, best.indices
    noise = torch.rand(logp_BLV.shape, generator=generator).to(logp_BLV.device)
    ids = (logp_BLV - torch.log(-torch.log(noise.clamp(1e-9, 1 - 1e-7)))).argmax(dim=-1)
    return logp_BLV.gather(-1, ids[..., None])[..., 0], ids
