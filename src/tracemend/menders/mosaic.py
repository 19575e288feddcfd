"""A gap as a mosaic of copied pieces: its events are copied from places that are like it, changing places midway.

The copying model of Li and Stephens, "Modeling linkage disequilibrium and identifying recombination hotspots" (2003),
by which genomes with holes are filled from those of others: a hidden Markov model whose state is the place that is
copied from. Places of the same long context are one state (``menders/chain.py``), those that the best matching sites
pass each for itself (``menders/passes.py``); as merging haplotypes that are alike around a site, Lunter, "Haplotype
matching in large cohorts using the Li and Stephens model" (2019).

Axis legend: S places of the index, R ranges of them, N hidden positions, P sites of the index, T thread slots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tracemend.menders import calibration, confidence
from tracemend.menders.base import Proposal, Proposer
from tracemend.menders.places import CONTEXT, Places
from tracemend.menders.runs import Run, hidden_runs, joined, likeliest
from tracemend.trace.windows import SLOTS, UNKNOWN_THREAD, Stream, Window

if TYPE_CHECKING:
    from tracemend.menders.chain import Chain, Index
    from tracemend.menders.passes import Diagonals, Forward, Known

Ints = NDArray[np.int64]
States = NDArray[np.int32]
Number = TypeVar("Number", int, float)

#: How likely the copy goes on elsewhere, where the last so many events are the same (0: anywhere).
JUMPS = {8: 0.009, 4: 0.001, 2: 3e-4, 1: 1e-4, 0: 3e-5}
#: In gaps of more events than this, jumps are so much as likely: a gap's copies don't break off the oftener the longer
#: it is.
CALMER = ((0, 1.0), (100, 1 / 2), (200, 1 / 3), (1000, 1 / 5))
#: How many places are copied from, about, in gaps of more events than this: in a long gap the copy changes places
#: often, and needs more to choose from. (All there are, if they aren't more than the first number.)
MOST = ((0, 65_536), (200, 131_072))
#: The best matching sites whose surroundings are copied from are as many at most.
SITES = 192


@dataclass(frozen=True, slots=True)
class Copying:
    """How the mosaic copies.

    jumps: see JUMPS. calmer: see CALMER. miss: probability that a known event isn't the one at the place copied from.
    context: known events that are looked at on each side. most: places that are copied from, about, by the gap's
    length; the ones in the best matching surroundings. order: places with so many events alike are one state.
    diagonals: so many of the best matching sites are kept apart. trust: what a place of the examples counts, against
    one of the streams.

    Raises ValueError for an order above CONTEXT, and for jumps without 0 or with contexts of ``order`` events or more.
    """

    jumps: Mapping[int, float] = field(default_factory=lambda: JUMPS)
    calmer: Sequence[tuple[int, float]] = CALMER
    miss: float = 1e-3
    context: int = 80
    most: Sequence[tuple[int, int]] = MOST
    order: int = 16
    diagonals: int = 192
    trust: float = 0.03

    def __post_init__(self) -> None:
        if not 0 < self.order <= CONTEXT:
            raise ValueError(f"places can be alike in up to {CONTEXT} events, not {self.order}")
        if 0 not in self.jumps or not all(0 <= k < self.order for k in self.jumps):
            raise ValueError(f"jumps need 0 and may have lengths below {self.order}: {sorted(self.jumps)}")


class Mosaic(Proposer):
    """Fills are copied from the streams, event by event; at every event the copy may go on at another place, likelier
    the longer the events before it are alike (``Copying.jumps``, in long gaps less likely by ``calmer``).

    The events known on both sides, each copied with few mistakes (``miss``), say where the copy starts and must end
    after exactly as many events as were lost. Beliefs are the model's marginals given both sides (forward-backward,
    Rabiner 1989, eq. 27). Threads are copied as well: as far back (or ahead) in the gap as the copied event's thread
    was last (or next) seen at its own place. Times since the event before are copied, too: the mean of all places'
    that the event may come from.
    """

    name = "mosaic"
    longest = 4096
    at_once: int | None = 1

    def __init__(
        self,
        streams: Sequence[Stream],
        examples: Sequence[Stream] = (),
        **how: Any,
    ) -> None:
        """how: the fields of ``Copying`` that are not to be as usual."""
        self.how = Copying(**how)
        self.calibration = calibration.shipped(self.name)
        self.confidence = confidence.shipped(self.name)
        #: how much likelier all jumps are (menders/adapted.py)
        self.factor = 1.0
        self.context = self.how.context
        self.places = Places(streams, examples)
        self.back_S, self.ahead_S = self.places.same_thread()
        self.lengths = np.array([self.how.order, *sorted(self.how.jumps, reverse=True)])
        self._state_S: States = np.full(len(self.places.ids_S), -1, np.int32)  # but while a chain is made
        self._whole: tuple[Chain, States] | None = None
        #: What was found last, and of which run: what fills a gap draws from it next.
        self._last: tuple[tuple[int, bytes, bytes], tuple[Chain, Diagonals, Known]] | None = None
        self._way: tuple[float, Forward] | None = None

    def propose(self, windows: Sequence[Window], seed: int = 0) -> list[Proposal]:
        """Deterministic: ``seed`` isn't used."""
        return [joined([self._fill(run) for run in hidden_runs(window)]) for window in windows]

    def around(self, run: Run, hidden: slice | None = None) -> tuple[Chain, Diagonals, Known]:
        """What a run is copied from: all places if they aren't many, else those around its best matching sites; none in
        ``hidden``."""
        from tracemend.menders.chain import chain
        from tracemend.menders.passes import Known, placed

        n, size = len(run), len(self.places.ids_S)
        left, right = (
            np.ascontiguousarray(x, np.int64) for x in (run.left[-self.context :], run.right[: self.context])
        )
        own = n, left.tobytes(), right.tobytes()
        if hidden is None and self._last is not None and self._last[0] == own:
            return self._last[1]
        self._last = self._way = None
        room = max(1, min(SITES, max(12, _of_length(self.how.most, n) // (n + 2 * self.context))))
        sites = self.places.best(run, max(room, self.how.diagonals), -np.log(self.how.trust) / 3)[0]
        known = Known(n, left, right, sites[: self.how.diagonals])
        every = self.places.events <= self.how.most[0][1]
        if every and hidden is None and self._whole is not None:
            found, state_S = self._whole
            self._last = own, (found, placed(self.index, state_S, known), known)
            return self._last[1]
        begin_R, end_R = np.zeros(1, np.int64), np.full(1, size)
        if not every:
            best = np.sort(sites[:room])
            before = self.context + self.how.order
            begin_R, end_R = _joined(np.maximum(best - before, 0), np.minimum(best + n + self.context, size))
        span = (0, 0) if hidden is None else (hidden.start, hidden.stop)
        found = chain(self.index, begin_R, end_R, span, self.lengths, self._state_S)
        diagonals = placed(self.index, self._state_S, known)
        if every and hidden is None:
            self._whole = found, self._state_S.copy()
        for begin, end in zip(begin_R.tolist(), end_R.tolist(), strict=True):
            self._state_S[begin:end] = -1
        if hidden is None:
            self._last = own, (found, diagonals, known)
        return found, diagonals, known

    @cached_property
    def index(self) -> Index:
        """What the compiled loops need of the places."""
        from tracemend.menders.chain import Index

        p = self.places
        return Index(p.ids_S, p.steps_F, self.back_S, p.prefix_S, p.foreign, float(self.how.trust))

    def _jumps(self, n: int) -> NDArray[np.float64]:
        """The probability of a jump to a context of each of ``lengths`` in a gap of ``n`` events."""
        calm = _of_length(self.how.calmer, n) * self.factor
        return np.array([self.how.jumps.get(k, 0.0) * calm for k in self.lengths.tolist()])

    def hypotheses(self, window: Window, number: int, seed: int | Sequence[int] = 0) -> list[Proposal]:
        """So many fills of a window, each drawn as a whole from all that the model holds possible given both sides.

        Each is a proposal of one candidate a position (``menders/drawing.py``).
        """
        rng = np.random.default_rng(seed)
        parts = [self._draw(run, number, rng) for run in hidden_runs(window)]
        return [joined([of_run[i] for of_run in parts]) for i in range(number)]

    def _draw(self, run: Run, number: int, rng: np.random.Generator) -> list[Proposal]:
        from tracemend.menders.drawing import draw

        n = len(run)
        chain, diagonals, known = self.around(run)
        if not len(chain.weight_C):
            return [self._nothing(n)] * number
        chance = rng.random((number, n, 3)).transpose(1, 0, 2).copy()  # one hypothesis after the other
        way = self._forward(chain, diagonals, known)
        events_HN, copied_HN = draw(chain, diagonals, known, way, self.how.miss, chance)
        steps = self._steps(np.concatenate([copied_HN, copied_HN[:, -1:] + 1], axis=1)).astype(float)
        steps[steps < 0] = np.nan
        ones = np.ones((n, 1), np.float32)
        return [
            Proposal(events[:, None], ones, self._threads(run, copied), own)
            for events, copied, own in zip(events_HN, copied_HN, steps, strict=True)
        ]

    def tried(self, run: Run, factor: float, hidden: slice) -> Ints:
        """The likeliest events (N, M) of a run of known events, were jumps so much likelier and were nothing known of
        the places in ``hidden``."""
        before, self.factor = self.factor, factor
        try:
            return self._fill(run, hidden).events_NM
        finally:
            self.factor = before

    def _fill(self, run: Run, hidden: slice | None = None) -> Proposal:
        from tracemend.menders.passes import fill

        n = len(run)
        chain, diagonals, known = self.around(run, hidden)
        if not len(chain.weight_C):
            return self._nothing(n)
        way = self._forward(chain, diagonals, known)
        events, p, copied, steps = fill(self.index, chain, diagonals, known, way, self.how.miss)
        return Proposal(events, p, self._threads(run, copied), steps)

    def _forward(self, chain: Chain, diagonals: Diagonals, known: Known) -> Forward:
        from tracemend.menders.passes import forward

        found = self._last is not None and self._last[1][0] is chain
        if found and self._way is not None and self._way[0] == self.factor:
            return self._way[1]
        way = forward(chain, diagonals, known, self._jumps(known.length), self.how.miss)
        if found:
            self._way = self.factor, way
        return way

    def _nothing(self, n: int) -> Proposal:
        """Where there is nothing to copy from."""
        threads = np.zeros((n, SLOTS), np.float32)
        threads[:, UNKNOWN_THREAD] = 1
        return Proposal(*likeliest(np.full((n, 1), 0.05), self.places.common[:1]), threads)

    def _steps(self, at: Ints) -> Ints:
        """Times since the event before, in ns, at some places; -1 where nobody knows. Those of the examples are another
        machine's."""
        foreign = self.places.foreign
        return np.where(at < foreign, self.places.steps_F[np.minimum(at, foreign - 1)], -1)

    def _threads(self, run: Run, copied_N: Ints) -> NDArray[np.float32]:
        """Who did it (N, T): the thread as far back as the copied event's last was, and as far ahead as its next one
        is; where they disagree the nearer edge of the gap says more."""
        from tracemend.menders.threads import follow

        threads_NT = np.zeros((len(run), SLOTS), np.float32)
        left, right = (np.ascontiguousarray(x, np.int64) for x in (run.left_threads, run.right_threads[::-1]))
        follow(left, self.back_S[copied_N].astype(np.int64), False, threads_NT)
        follow(right, self.ahead_S[copied_N[::-1]].astype(np.int64), True, threads_NT)
        # a thread that one edge doesn't know is the other edge's
        rest = threads_NT[:, UNKNOWN_THREAD] < threads_NT.sum(axis=1)
        threads_NT[rest, UNKNOWN_THREAD] *= 0.01
        threads_NT[:, 1] += 1e-3
        threads_NT /= threads_NT.sum(axis=1, keepdims=True)
        return threads_NT


def _of_length(by_length: Sequence[tuple[int, Number]], n: int) -> Number:
    """What is given for a gap of ``n`` events: of the last pair whose number of events is below it."""
    return [value for length, value in by_length if n > length][-1]


def _joined(begin: Ints, end: Ints) -> tuple[Ints, Ints]:
    """The ranges [begin, end), which are in order, as ranges apart from each other."""
    reached = np.maximum.accumulate(end)
    new = np.append(True, begin[1:] > reached[:-1])[: len(begin)]
    return begin[new], reached[np.append(new[1:], True)[: len(end)]]
