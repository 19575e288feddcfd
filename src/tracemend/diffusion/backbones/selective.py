"""Selective state spaces in both directions (Mamba-2), a few attention layers among them if asked.

Dao and Gu, "Transformers are SSMs" (2024): a state space layer whose decay depends on the event, computed in chunks as
products of matrices (section 6), so that time grows with the length and not with its square. Both directions share
keys, queries and values, as in Hwang et al., "Hydra" (2024). Axis legend: B batch, L length, H width, A heads, N state
of a head, P width of a head, K chunks, Q positions of a chunk.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from tracemend.diffusion.backbones.transformer import Attention, Residual, Stack
from tracemend.diffusion.backbones.widths import Widths


class Selective(Stack):
    """A selective scan in every block, but for those that attend."""

    def __init__(
        self,
        widths: Widths,
        *,
        layers: int = 6,
        heads: int = 4,
        state: int = 32,
        chunk: int = 64,
        attention: int = 0,
    ) -> None:
        """state: of a head. chunk: positions computed at once, which changes speed alone. attention: every so many
        layers one attends to the whole window instead, 0 for none. Raises ValueError for heads that don't fit."""
        attending = [attention > 0 and (n + 1) % attention == 0 for n in range(layers)]
        width = widths.inner
        kinds = (lambda: Scan(width, heads, state=state, chunk=chunk), lambda: Attention(width, heads))
        super().__init__(widths, heads, [kinds[attends] for attends in attending])


#: Positions that the short convolution before a scan sees, the middle one being its own.
NEAR = 5
#: The fastest and the slowest decay of a head, per event, to begin with.
DECAYS = (0.5, 0.002)


class Scan(Residual):
    """A selective scan from both ends, then the feed-forward part.

    Keys, queries and values see their neighbours through a short convolution; what comes out is normalised and gated.
    """

    def __init__(self, width: int, heads: int, *, state: int, chunk: int) -> None:
        super().__init__(width, heads)
        self.chunk = chunk
        self.sizes = [heads * state, heads * state, width, width, heads, heads]
        self.into = nn.Linear(width, sum(self.sizes), bias=False)
        self.near = nn.Conv1d(width, width, NEAR, padding=NEAR // 2, groups=width)
        first, last = (math.log(math.expm1(d)) for d in DECAYS)
        self.step = nn.Parameter(torch.linspace(first, last, heads).repeat(2, 1)[..., None].clone())  # (2, A, 1)
        self.skip = nn.Parameter(torch.ones(heads, 1, 1))
        self.normed = nn.LayerNorm(self.head_width)
        self.out = nn.Linear(width, width, bias=False)
        nn.init.zeros_(self.out.weight)

    def mix(self, x_BLH: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        B, L, H = x_BLH.shape
        near = x_BLH + self.near(x_BLH.transpose(1, 2)).transpose(1, 2)
        *mixed, gate, right, left = self.into(near).split(self.sizes, dim=-1)
        q, k, v = (part.view(B, L, self.heads, -1).transpose(1, 2) for part in mixed)
        steps = functional.softplus(torch.stack([right, left]).transpose(-1, -2).float() + self.step[:, None])
        y = scan(q, k, v, steps, chunk=self.chunk) + self.skip * v
        y = self.normed(y).transpose(1, 2).reshape(B, L, H)
        result: Tensor = self.out(y * functional.silu(gate))
        return result


def scan(q_BALN: Tensor, k_BALN: Tensor, v_BALP: Tensor, steps_2BAL: Tensor, *, chunk: int) -> Tensor:
    """What both recurrences give together, _BALP, in chunks (Dao and Gu 2024, section 6).

    With d the steps to the right, S_i = exp(-d_i) S_(i-1) + d_i k_i v_i and y_i = q_i S_i; to the left, with the other
    steps, the same from the end, of which an event sees what comes from behind it: y_i += q_i exp(-d_i) S_(i+1).
    """
    length = q_BALN.shape[2]
    spare = -length % chunk
    chunks = (*q_BALN.shape[:2], -1, chunk)  # (B, A, K, Q)
    q, k, v = (functional.pad(x, (0, 0, 0, spare)).view(*chunks, x.shape[-1]) for x in (q_BALN, k_BALN, v_BALP))
    right, left = functional.pad(steps_2BAL, (0, spare)).view(2, *chunks)  # steps of 0 move nothing
    ahead = right.cumsum(-1)  # up to and with an event, from its chunk's start
    ahead_all = ahead[..., -1:]
    behind_all = left.sum(-1, keepdim=True)
    behind = left.cumsum(-1) - left  # before an event
    # within a chunk: row i sees column j
    row, column = ahead[..., :, None], ahead[..., None, :]
    lower = torch.ones(chunk, chunk, dtype=torch.bool, device=q.device).tril()
    decay = torch.where(lower, column - row, behind[..., :, None] - behind[..., None, :]).clamp(max=0).exp()
    weight = decay * torch.where(lower, right[..., None, :], left[..., None, :])
    y = ((q @ k.transpose(-1, -2)) * weight).to(v.dtype) @ v
    if right.shape[2] > 1:
        # between chunks: each one's state at its edge, those of the others decayed up to this one's edge
        keys = k.transpose(-1, -2)
        from_left = (keys * ((ahead - ahead_all).exp() * right)[..., None, :]).to(v.dtype) @ v  # (B, A, K, N, P)
        from_right = (keys * ((-behind).exp() * left)[..., None, :]).to(v.dtype) @ v
        entering = _carried(from_left, ahead_all[..., 0])
        coming = _carried(from_right.flip(2), behind_all[..., 0].flip(2)).flip(2)
        y = y + (q * (-ahead)[..., None].exp()).to(v.dtype) @ entering.to(v.dtype)
        y = y + (q * (behind - behind_all)[..., None].exp()).to(v.dtype) @ coming.to(v.dtype)
    result: Tensor = y.flatten(2, 3)[..., :length, :]
    return result


def _carried(states_BAKNP: Tensor, decays_BAK: Tensor) -> Tensor:
    """The sum of the states of all chunks before each, decayed by the chunks between."""
    total = decays_BAK.cumsum(-1)
    before = total - decays_BAK
    gone = before[..., :, None] - total[..., None, :]  # between the end of column's and the start of row's chunk
    K = gone.shape[-1]
    earlier = torch.ones(K, K, dtype=torch.bool, device=gone.device).tril(-1)
    weight = (-gone.clamp(min=0)).exp() * earlier
    return (weight.to(states_BAKNP.dtype) @ states_BAKNP.flatten(3)).view(states_BAKNP.shape)
