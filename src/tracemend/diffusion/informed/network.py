"""The network that says which candidate it was.

Axis legend: B gaps, L positions, N hidden ones of the longest gap, C candidates, E experts, D drawn fills, H width, V
rows of events, F classes of length.

An absorbing-state process as in ``processes/masked.py`` (Austin et al. 2021; Sahoo et al. 2024). The logits are those
of a product of experts (Hinton 2002, eq. 1; ``menders/mixture.py``) and something on top that is nothing before any
training: until then it is the mixture.
"""

from __future__ import annotations

import bisect
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from tracemend.diffusion.backbones.transformer import Transformer
from tracemend.diffusion.backbones.widths import Widths
from tracemend.diffusion.informed.clues import ASKED, GUESSED, STRANGERS, Batch
from tracemend.errors import ModelError
from tracemend.trace.windows import HIDDEN_THREAD
from tracemend.untrusted import json_of

#: Who is heard: the mosaic, the lookup and the n-gram bridge.
EXPERTS = 3
#: What an expert that doesn't name an event holds it likely; the same in ``menders/mixture.py``.
UNNAMED = 1e-3
#: The least share of the drawn fills.
UNDRAWN = 0.02
#: Logarithms are divided by so much where they are read.
SCALE = 3.0


@dataclass(frozen=True, slots=True)
class Shape:
    """known: ids with rows of their own. lengths: gaps up to these have powers of their own. context: known events that
    are read on each side."""

    known: int
    lengths: tuple[int, ...]
    width: int = 128
    layers: int = 4
    heads: int = 4
    context: int = 32
    dropout: float = 0.1

    @staticmethod
    def from_dict(document: Any) -> Shape:
        """Raises ModelError for anything that is none."""
        try:
            return Shape(**document | {"lengths": tuple(int(n) for n in document["lengths"])})
        except (TypeError, KeyError, ValueError) as e:
            raise ModelError(f"no shape of a network: {e}") from e


class Informed(nn.Module):
    """(Batch) -> logits_BNV of the hidden positions; (Batch, plain=True): by the events beside the gap alone."""

    def __init__(self, shape: Shape, power_FE: Sequence[Sequence[float]] | None = None) -> None:
        """power_FE: of the mixture that it begins as, equal ones if not given."""
        super().__init__()
        self.shape, H, E = shape, shape.width, EXPERTS
        rows = shape.known + STRANGERS
        self.events, self.slots, self.kinds = (nn.Embedding(n, H) for n in (rows, HIDDEN_THREAD + 1, 4))
        for table in (self.events, self.slots, self.kinds):
            nn.init.normal_(table.weight, std=0.1)
        self.facts = nn.Sequential(nn.Linear(2 * E + 4, H // 2), nn.GELU(), nn.Linear(H // 2, H))
        self.candidate, self.pool = nn.Linear(H, H), nn.Linear(H, H)
        self.backbone = Transformer(Widths.alike(H), layers=shape.layers, heads=shape.heads, dropout=shape.dropout)
        self.own, self.bias = nn.Linear(H, H), nn.Parameter(torch.zeros(rows))
        self.choice, self.gate = nn.Linear(H, H), nn.Linear(H, E + 2)
        self.heard = nn.Parameter(torch.zeros(()))
        for layer in (self.choice, self.gate):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        equal = [[1 / E] * E] * len(shape.lengths)
        self.powers = nn.Parameter(torch.tensor(power_FE if power_FE is not None else equal, dtype=torch.float32))

    def forward(self, batch: Batch, plain: bool = False) -> Tensor:
        events, slots, kinds = (torch.from_numpy(x) for x in (batch.events_BL, batch.slots_BL, batch.kind_BL))
        first, n = batch.first, batch.candidates_BNC.shape[1]
        cond = self.slots(slots) + self.kinds(kinds)
        x = self.events(events)
        if not plain:
            read = self._read(batch, events)
            asked = (kinds[:, first : first + n] == ASKED)[..., None]
            pooled = self.pool((read.share_BNC[..., None] * read.seen_BNCH).sum(-2)) * asked
            x = torch.cat([x[:, :first], x[:, first : first + n] + pooled, x[:, first + n :]], dim=1)
        time = x.new_zeros(len(x), self.shape.width)
        h = self.backbone(x.transpose(1, 2), cond.transpose(1, 2), time).transpose(1, 2)[:, first : first + n]
        own = self.own(h) @ self.events.weight.T + self.bias
        if plain:
            alone: Tensor = own
            return alone
        gate = self.gate(h)
        chosen = (self.choice(h)[..., None, :] * read.seen_BNCH).sum(-1) / math.sqrt(self.shape.width)
        chosen = chosen + (gate[..., None, :-2] * read.logs_BNCE).sum(-1) + gate[..., -2:-1] * read.drawn_BNC
        logits: Tensor = (self.heard + gate[..., -1:]) * torch.log_softmax(own, dim=-1) + read.floor_B[:, None, None]
        lifted = (read.odds_BNC - read.floor_B[:, None, None] + chosen) * read.there_BNC
        return logits.scatter_add(-1, read.rows_BNC, lifted)

    def _read(self, batch: Batch, events_BL: Tensor) -> Read:
        candidates, p = torch.from_numpy(batch.candidates_BNC), torch.from_numpy(batch.p_BNCE)
        there, rows = candidates >= 0, candidates.clamp(min=0)
        classes = [bisect.bisect_left(self.shape.lengths, n) for n in batch.length_B.tolist()]
        powers = self.powers[torch.tensor(classes)]
        logs = torch.log(p + UNNAMED)
        odds = (logs * powers[:, None, None]).sum(-1)
        floor = math.log(UNNAMED) * powers.sum(-1)
        share = torch.softmax(odds.masked_fill(~there, -30.0), dim=-1)
        drawn = _drawn(torch.from_numpy(batch.drawn_BND), candidates, events_BL, batch)
        facts = torch.cat([logs / SCALE, p, odds[..., None] / SCALE, share[..., None], drawn], dim=-1)
        seen = functional.gelu(self.candidate(SCALE * self.events(rows) + self.facts(facts)))
        return Read(rows, there, odds, floor, share, logs, torch.log(drawn[..., 1] + UNDRAWN), seen)


class Together(nn.Module):
    """Several networks of one shape as one: the mean of what they hold likely."""

    def __init__(self, networks: Sequence[Informed]) -> None:
        super().__init__()
        self.networks, self.shape = nn.ModuleList(networks), networks[0].shape

    def forward(self, batch: Batch) -> Tensor:
        each = torch.stack([torch.log_softmax(network(batch), dim=-1) for network in self.networks])
        return torch.logsumexp(each, dim=0) - math.log(len(each))


@dataclass(frozen=True, slots=True)
class Read:
    """What a batch's evidence is to the network. rows_BNC: of the candidates; odds_BNC: of the mixture; floor_B: of
    events that nobody names; drawn_BNC: logarithms of the share of draws; seen_BNCH: each candidate as a vector."""

    rows_BNC: Tensor
    there_BNC: Tensor
    odds_BNC: Tensor
    floor_B: Tensor
    share_BNC: Tensor
    logs_BNCE: Tensor
    drawn_BNC: Tensor
    seen_BNCH: Tensor


def _drawn(drawn_BND: Tensor, candidates_BNC: Tensor, events_BL: Tensor, batch: Batch) -> Tensor:
    """Of each candidate (B, N, C, 2) the share of drawn fills that have it, all of them alike and by how well they
    agree with what is guessed already."""
    if not drawn_BND.shape[2]:
        return torch.zeros(*candidates_BNC.shape, 2)
    n = candidates_BNC.shape[1]
    hit = (drawn_BND[:, :, None] == candidates_BNC[..., None]) & (candidates_BNC >= 0)[..., None]
    guessed = torch.from_numpy(batch.kind_BL)[:, batch.first : batch.first + n] == GUESSED
    right = (drawn_BND == events_BL[:, batch.first : batch.first + n, None]) & guessed[..., None]
    agreement = (2 * right.sum(1) - guessed.sum(1)[:, None]).float()
    weight = torch.softmax(agreement, dim=-1)[:, None, None]
    return torch.stack([hit.float().mean(-1), (hit * weight).sum(-1)], dim=-1)


def save(network: Informed, weights: dict[str, Tensor], path: Path) -> None:
    """Keep a network with these weights, in half precision, as one file. Raises OSError."""
    halves = {name: w.half().contiguous() for name, w in weights.items()}
    save_file(halves, path, {"shape": json.dumps(asdict(network.shape))})


def load(path: Path) -> Informed:
    """A network that ``save`` kept, ready for use. Raises ModelError."""
    try:
        with safe_open(path, "pt") as file:
            shape = Shape.from_dict(json_of((file.metadata() or {})["shape"]))
        network = Informed(shape)
        network.load_state_dict({name: w.float() for name, w in load_file(path).items()})
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as e:
        raise ModelError(f"{path}: no network that reads evidence ({str(e).splitlines()[0]})") from e
    return network.eval().requires_grad_(False)
