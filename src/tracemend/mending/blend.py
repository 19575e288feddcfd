"""A copier (mosaic or lookup) and a network together: for each window, whichever has proven right when so sure.

Axis legend: N hidden positions, M candidates, T thread slots.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tracemend.menders import Lookup, Mosaic
from tracemend.menders.base import CANDIDATES, Mender, Proposal, Proposer, Trained
from tracemend.trace.vocabulary import BREAK
from tracemend.trace.windows import Window

#: Events of a gap up to which a network is asked: in longer ones it is surer of itself the more its mistakes add up.
LONGEST = 128


class Blend(Proposer):
    """p = (1 - w) p_copier + w p_network, with one weight for all positions of a window.

    w is learnt (``Weight``), from how sure both are in the mean, each by its own curve of confidence. Mixing position
    by position is worse than either: two fills that are each coherent but shifted against each other make one that is
    neither. A window that shows only one edge of its gap (a block of a long one), or hides more than LONGEST events or
    than the network takes at once, is left to the copier: there the network's mistakes add up.
    """

    def __init__(self, copier: Mosaic | Lookup, network: Trained) -> None:
        self.copier, self.network, self.weight = copier, network, network.weight
        self.name = f"{copier.name} + {network.name}"
        self.calibration = network.blend_calibration
        self.longest, self.context = copier.longest, max(copier.context, network.context)

    def propose(self, windows: Sequence[Window], seed: int = 0) -> list[Proposal]:
        """Both menders' beliefs, mixed. The network isn't asked where it can't win however sure it were, nor where it
        has no names for most of what it would see."""
        result = self.copier.propose([w.narrowed(self.copier.context) for w in windows], seed)
        copied = [_mean(self.copier, p) if len(p) else 1.0 for p in result]
        open_windows = [
            i
            for i, (w, p) in enumerate(zip(windows, result, strict=True))
            if 0 < len(p) <= min(LONGEST, self.network.longest)
            and max(self.weight(copied[i], sure, len(p)) for sure in (0.0, 1.0)) >= 0.5
            and _both_edges(w)
            and self._knows(w)
        ]
        guesses = self.network.propose([windows[i] for i in open_windows], seed)
        for i, guess in zip(open_windows, guesses, strict=True):
            w = self.weight(copied[i], _mean(self.network, guess), len(guess))
            result[i] = mix(result[i], guess, 1 - w)
        return result

    def _knows(self, window: Window) -> bool:
        events = window.ids_LC[window.known_L, 0]
        return bool((events < len(self.network.vocabulary)).mean() > 0.5)


def _mean(mender: Mender, proposal: Proposal) -> float:
    """The mean confidence in a window's likeliest events, by the mender's curve if it has one."""
    belief, curve = proposal.p_NM[:, 0], mender.calibration
    return curve.mean(belief, len(proposal)) if curve else float(belief.mean())


def _both_edges(window: Window) -> bool:
    """Do known events stand on both sides of everything hidden?"""
    hidden = np.flatnonzero(~window.known_L)
    first, last = int(hidden[0]), int(hidden[-1])
    if first == 0 or last == len(window.known_L) - 1:
        return False
    return bool((window.ids_LC[[first - 1, last + 1], 0] != BREAK).all())


def mix(a: Proposal, b: Proposal, weight: float) -> Proposal:
    """The mixture weight * a + (1 - weight) * b; with the steps of what counts more, the other's where it can't say."""
    events = np.concatenate([a.events_NM, b.events_NM], axis=1)
    p = np.concatenate([a.p_NM * weight, b.p_NM * (1 - weight)], axis=1)
    p = np.where(events >= 0, p, 0)
    # the same event named by both: add the second's share to the first
    same = (a.events_NM[:, :, None] == b.events_NM[:, None, :]) & (a.events_NM >= 0)[:, :, None]
    width = a.events_NM.shape[1]
    p[:, :width] += np.where(same, p[:, None, width:], 0).sum(axis=2)
    p[:, width:] = np.where(same.any(axis=1), 0, p[:, width:])
    order = np.argsort(-p, axis=1, kind="stable")[:, :CANDIDATES]
    events, p = np.take_along_axis(events, order, 1), np.take_along_axis(p, order, 1)
    threads = a.threads_NT * weight + b.threads_NT * (1 - weight)
    first, second = (a.steps, b.steps) if weight >= 0.5 else (b.steps, a.steps)
    steps = np.where(np.isnan(first), second, first)
    return Proposal(np.where(p > 0, events, -1), p.astype(np.float32), threads.astype(np.float32), steps)
