"""A mixture whose beliefs a network reads, which says what it makes of them (``diffusion/informed``).

Axis legend: N hidden positions, C candidates, E experts, D drawn fills.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tracemend.errors import extra
from tracemend.menders.base import Ints, Proposal
from tracemend.menders.mixture import LONGEST, Evidence, Mixture
from tracemend.menders.mosaic import Mosaic
from tracemend.menders.runs import Run, hidden_runs
from tracemend.trace.windows import Stream, Window

if TYPE_CHECKING:
    from tracemend.diffusion.informed.clues import Clue
    from tracemend.diffusion.informed.network import Informed, Together

#: Fills that are drawn of each gap, for the network to read.
DRAWN = 8


class InformedMixture(Mixture):
    """Beliefs are the network's, which reads those of the mixture's experts and some fills drawn as wholes. Threads and
    times are the mosaic's, and so is all of a gap that is too long."""

    name = "informed"

    def __init__(
        self,
        streams: Sequence[Stream],
        examples: Sequence[Stream],
        network: Informed | Together,
        steps: int = 1,
        **how: Any,
    ) -> None:
        """steps: in which the network answers. how: of the mixture."""
        super().__init__(streams, examples, **how)
        self.network, self.steps = network, steps
        self.calibration = self.confidence = None

    def propose(self, windows: Sequence[Window], seed: int = 0) -> list[Proposal]:
        """The same for the same seed, by which fills are drawn."""
        with extra("diffusion"):
            from tracemend.diffusion.informed.answers import answers
        result = Mosaic.propose(self, windows, seed)
        longest = [max((len(run) for run in hidden_runs(w)), default=0) for w in windows]
        asked = [i for i, n in enumerate(longest) if 0 < n <= LONGEST]
        clues = [clue for i in asked for clue in self.clues(windows[i], result[i], seed)]
        told = iter(answers(self.network, clues, self.steps))
        for i in asked:
            runs = [next(told) for _ in hidden_runs(windows[i])]
            events, p = (np.concatenate(parts) for parts in zip(*runs, strict=True))
            result[i] = Proposal(events, p, result[i].threads_NT, result[i].steps)
        return result

    def clues(self, window: Window, own: Proposal | None = None, seed: int = 0, draws: int = DRAWN) -> list[Clue]:
        """What is known of each of a window's gaps. own: what the mosaic proposes, if that is there already."""
        own = own or Mosaic.propose(self, [window])[0]
        beside = (mender.propose([window])[0] for mender in (self.lookup, self.ngram))
        evidence = Evidence.of((own, *beside))
        drawn = [p.events_NM[:, 0] for p in self.hypotheses(window, draws, seed)] if draws else []
        every = np.stack(drawn) if drawn else np.empty((0, len(own)), np.int64)
        found, begin = [], 0
        for run in hidden_runs(window):
            at = slice(begin, begin + len(run))
            found.append(clue(run, evidence.events_NC[at], evidence.p_NCE[at], every[:, at]))
            begin += len(run)
        return found


def clue(run: Run, events_NC: Ints, p_NCE: Any, drawn_DN: Ints) -> Clue:
    """What is known of one gap."""
    from tracemend.diffusion.informed.clues import Clue

    sides = np.stack([run.left, run.left_threads], axis=1), np.stack([run.right, run.right_threads], axis=1)
    return Clue.of(sides, events_NC, p_NCE, drawn_DN)
