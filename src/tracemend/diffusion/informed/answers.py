"""What a network says of gaps: in some steps, each of which takes what it is surest of for granted.

Axis legend: B gaps, N hidden positions, M candidates, V rows of events.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from tracemend.diffusion.informed.clues import Batch, Clue, Floats, Ints
from tracemend.diffusion.informed.network import Informed, Together
from tracemend.menders.base import CANDIDATES
from tracemend.trace.vocabulary import BREAK, MASK

#: Gaps that are run together, and positions of them.
TOGETHER, POSITIONS = 32, 8192

Answer = tuple[Ints, Floats]


def answers(network: Informed | Together, clues: Sequence[Clue], steps: int = 1) -> list[Answer]:
    """Of each gap the likeliest events_NM and their probabilities p_NM, -1 where there are fewer.

    Gaps of one length are run together, so that none depends on what others are filled up with. steps: of which each
    fixes the surest positions (Chang et al., "MaskGIT", 2022, section 3.2); a position's probabilities are those of the
    step that fixes it.
    """
    found: dict[int, Answer] = {}
    alike: dict[tuple[int, ...], list[int]] = {}
    for i, clue in enumerate(clues):
        if len(clue):
            alike.setdefault((len(clue), clue.events_NC.shape[1], len(clue.drawn_DN)), []).append(i)
    with torch.inference_mode():
        for (n, *_), numbers in alike.items():
            many = max(1, min(TOGETHER, POSITIONS // (n + 2 * network.shape.context)))
            for a in range(0, len(numbers), many):
                chosen = numbers[a : a + many]
                answered = _run(network, [clues[i] for i in chosen], steps)
                found |= dict(zip(chosen, answered, strict=True))
    nothing = np.empty((0, CANDIDATES), np.int64), np.empty((0, CANDIDATES), np.float32)
    return [found.get(i, nothing) for i in range(len(clues))]


def _run(network: Informed | Together, clues: Sequence[Clue], steps: int) -> list[Answer]:
    """Gaps of one length."""
    batch = Batch.of(clues, network.shape.context, network.shape.known)
    shape = batch.candidates_BNC.shape[:2]
    open_BN, fixed = np.ones(shape, bool), np.zeros((*shape, CANDIDATES), np.int64)
    p_BNM = np.zeros((*shape, CANDIDATES), np.float32)
    for k in range(1, steps + 1):
        logits = network(batch)
        logits[..., [MASK, BREAK]] = -torch.inf  # no guess is "not known"
        top = torch.softmax(logits, dim=-1).topk(CANDIDATES, dim=-1)
        p, rows = top.values.numpy(), top.indices.numpy()
        left = math.floor(shape[1] * math.cos(k / steps * math.pi / 2)) if k < steps else 0
        sure = np.where(open_BN, p[..., 0], -1.0)
        rank = np.argsort(np.argsort(-sure, axis=1, kind="stable"), axis=1, kind="stable")
        fix = open_BN & (rank < (open_BN.sum(axis=1) - left)[:, None])
        fixed[fix], p_BNM[fix] = rows[fix], p[fix]
        open_BN &= ~fix
        if k < steps:
            batch.show(np.where(fix, rows[..., 0], -1))
    named = [_named(clue, batch.candidates_BNC[b], fixed[b], network.shape.known) for b, clue in enumerate(clues)]
    return [(np.where(p > 0, events, -1), p) for events, p in zip(named, p_BNM, strict=True)]


def _named(clue: Clue, called_NC: Ints, rows_NM: Ints, known: int) -> NDArray[np.int64]:
    """The events of some rows: strangers are the candidates that were called so."""
    events = np.where(rows_NM < known, rows_NM, -1)
    for n, m in np.argwhere(rows_NM >= known).tolist():
        own = clue.events_NC[n][called_NC[n, : clue.events_NC.shape[1]] == rows_NM[n, m]]
        events[n, m] = own[0] if len(own) else -1
    return events
