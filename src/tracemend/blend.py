"""Lookup and network together: each position's beliefs are a mixture, weighted by how much the lookup has to go by.

Axis legend: N hidden positions, M candidates, T thread slots.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tracemend.baselines import Lookup
from tracemend.mender import CANDIDATES, Proposal, Proposer, Restorer
from tracemend.windows import Window


class Blend(Proposer):
    """p = w p_lookup + (1 - w) p_network with w = support / (support + trust).

    support: the lookup's votes at the position; trust: the votes at which both count the same.
    """

    def __init__(self, lookup: Lookup, network: Restorer, *, trust: float = 2000.0) -> None:
        self.lookup, self.network, self.trust = lookup, network, trust
        self.name = f"lookup + {network.name}"
        self.calibration = network.blend_calibration

    def propose(self, windows: Sequence[Window], seed: int = 0) -> list[Proposal]:
        """Both menders' beliefs, mixed position by position."""
        from_network = self.network.propose(windows, seed)
        result = []
        for w, n in zip(windows, from_network, strict=True):
            looked_up, support = self.lookup.propose_with_support(w)
            result.append(mix(looked_up, n, (support / (support + self.trust)).astype(np.float32)))
        return result


def mix(a: Proposal, b: Proposal, weight_N: NDArray[np.float32]) -> Proposal:
    """The mixture weight * a + (1 - weight) * b, position by position."""
    events = np.concatenate([a.events_NM, b.events_NM], axis=1)
    p = np.concatenate([a.p_NM * weight_N[:, None], b.p_NM * (1 - weight_N)[:, None]], axis=1)
    p = np.where(events >= 0, p, 0)
    # the same event named by both: add the second's share to the first
    same = a.events_NM[:, :, None] == b.events_NM[:, None, :]
    same &= (a.events_NM >= 0)[:, :, None]
    width = a.events_NM.shape[1]
    p[:, :width] += np.where(same, p[:, None, width:], 0).sum(axis=2)
    p[:, width:] = np.where(same.any(axis=1), 0, p[:, width:])
    order = np.argsort(-p, axis=1, kind="stable")[:, :CANDIDATES]
    events, p = np.take_along_axis(events, order, 1), np.take_along_axis(p, order, 1)
    threads = a.threads_NT * weight_N[:, None] + b.threads_NT * (1 - weight_N)[:, None]
    return Proposal(np.where(p > 0, events, -1), p.astype(np.float32), threads)
