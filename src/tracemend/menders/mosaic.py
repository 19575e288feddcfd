"""A gap as a mosaic of copied pieces: its events are copied from places that are like it, changing places midway.

The copying model of Li and Stephens, "Modeling linkage disequilibrium and identifying recombination hotspots" (2003),
by which genomes with holes are filled from those of others: a hidden Markov model whose state is the place that is
copied from. Axis legend: S places to copy from (sources), C classes of places alike in their last events, N hidden
positions, P sites of the index, U distinct ids, T thread slots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tracemend.menders import calibration
from tracemend.menders.base import Proposal, Proposer
from tracemend.menders.places import CONTEXT, ORDERS, Places
from tracemend.menders.runs import Run, hidden_runs, joined, likeliest
from tracemend.trace.windows import SLOTS, UNKNOWN_THREAD, Stream, Window

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Number = TypeVar("Number", int, float)

#: How likely the copy goes on elsewhere, where the last so many events are the same (0: anywhere).
JUMPS = {32: 0.003, 16: 0.003, 8: 0.003, 4: 0.001, 2: 3e-4, 1: 1e-4, 0: 3e-5}
#: In gaps of more events than this, jumps are so much as likely: a gap's copies don't break off the oftener the longer
#: it is.
CALMER = ((0, 1.0), (300, 1 / 3), (1000, 1 / 5))
#: How many places are copied from, about, in gaps of more events than this: in a long gap the copy changes places
#: often, and needs more to choose from. (All there are, if they aren't more than the first number.)
MOST = ((0, 8192), (200, 131_072))
#: The best matching sites are as many at most. Numbers of the forward pass that are held at once.
SITES, LARGEST = 192, 100_000_000
TINY = 1e-280


@dataclass(frozen=True, slots=True)
class _Level:
    """Places alike in their last k events. parent_C: each class's class at the next shorter length (0 at the
    shortest). rate_C: the jump's probability over the class's weight, 0 where nothing follows any of its places."""

    parent_C: Ints
    rate_C: Floats


class _Sources:
    """Places to copy from, and the moves between them: on to the next event, or to where the last events were alike."""

    def __init__(self, places: Places, at_S: Ints, trust: float, jumps: Mapping[int, float]) -> None:
        """at_S: positions in ``places``, in order; each needs max(jumps) positions before it to be there as well, else
        it is only context."""
        lengths = sorted(jumps)
        labels, real = _classes(places.ids_S, at_S, lengths)
        self.at_S = at_S = at_S[real]
        labels = [label[real] for label in labels]
        self.ids_U, self.id_S = np.unique(places.ids_S[at_S], return_inverse=True)
        self.event_S = places.ids_S[at_S]
        #: is the next source the next event of the same stretch?
        self.follows_S = np.append((np.diff(at_S) == 1), False)
        self.weight_S = np.where(at_S < places.foreign, 1.0, trust)
        #: what enters a place by a jump has copied the event before it
        self.enter_S = self.weight_S * self.follows_S
        self.levels: list[_Level] = []
        self.class_S = np.zeros(len(at_S), np.int64)
        total = np.zeros(len(at_S))
        for k, label in zip(lengths, labels, strict=True):
            _, first, class_S = np.unique(label, return_index=True, return_inverse=True)
            weight = np.bincount(class_S, self.enter_S, len(first))
            p_C = np.where(weight > 0, jumps[k], 0.0)
            self.levels.append(_Level(self.class_S[first], p_C / np.maximum(weight, TINY)))
            self.class_S = class_S
            total += p_C[class_S]
        #: where the copy can't go on it must jump
        self.stay_S = np.where(self.follows_S, 1 - total, 0.0)
        self.leave_S = np.where(self.follows_S, 1.0, 1 / np.maximum(total, TINY))

    def __len__(self) -> int:
        return len(self.at_S)

    def onward(self, p_S: Floats) -> tuple[Floats, float]:
        """The places one event later (S,), summing to 1, and what their sum was."""
        jump_S = self._shared(p_S * self.leave_S) * self.enter_S
        moved = np.empty(len(p_S))
        moved[0] = 0
        np.add(p_S[:-1] * self.stay_S[:-1], jump_S[:-1], out=moved[1:])
        total = max(float(moved.sum()), TINY)
        return np.asarray(moved / total), total

    def before(self, place: int, p_S: Floats, total: float, rng: np.random.Generator) -> int:
        """A place drawn from those one event before ``place``, which were as likely as p_S says; ``total``: the
        likelihood of ``place`` that they make together."""
        stayed = max(place - 1, 0)  # nothing leads to the first place: all likelihoods are 0 where it was drawn
        if rng.random() * total < p_S[stayed] * self.stay_S[stayed]:
            return stayed
        rate = np.zeros(1)
        for level, own in zip(self.levels, self._classes(stayed), strict=True):
            rate = rate[level.parent_C]
            rate[own] += level.rate_C[own]
        weight = p_S * self.leave_S * rate[self.class_S]
        return _drawn(weight, rng) if weight.any() else stayed  # all may be rounded away

    def _classes(self, place: int) -> list[int]:
        """The classes that a place is in, one a level."""
        found = [int(self.class_S[place])]
        for level in self.levels[:0:-1]:
            found.append(int(level.parent_C[found[-1]]))
        return found[::-1]

    def backward(self, p_S: Floats) -> Floats:
        """The probability of what comes (S,), largest 1, from that one event later, p_S."""
        behind = np.zeros(len(p_S))
        behind[:-1] = p_S[1:]
        result = behind * self.stay_S + self._shared(behind * self.enter_S) * self.leave_S
        return np.asarray(result / max(result.max(), TINY))

    def _shared(self, value_S: Floats) -> Floats:
        """What every place gets of all places' values by jumping: the sums over each of its classes at their rates."""
        sums = [np.bincount(self.class_S, value_S, len(self.levels[-1].rate_C))]
        for finer, coarser in zip(self.levels[:0:-1], self.levels[-2::-1], strict=True):
            sums.append(np.bincount(finer.parent_C, sums[-1], len(coarser.rate_C)))
        got = self.levels[0].rate_C * sums[-1]
        for level, total in zip(self.levels[1:], sums[-2::-1], strict=True):
            got = got[level.parent_C] + level.rate_C * total
        return np.asarray(got[self.class_S])


@dataclass(frozen=True, slots=True)
class Copying:
    """How the mosaic copies.

    jumps: see JUMPS. calmer: see CALMER. miss: probability that a known event isn't the one at the place copied from.
    context: known events that are looked at on each side. most: places that are copied from, about, by the gap's
    length; the ones in the best matching surroundings. trust: what a place of the examples counts, against one of the
    streams.

    Raises ValueError for jumps with contexts of other lengths than 0 and powers of two up to CONTEXT, or without 0.
    """

    jumps: Mapping[int, float] = field(default_factory=lambda: JUMPS)
    calmer: Sequence[tuple[int, float]] = CALMER
    miss: float = 1e-3
    context: int = 48
    most: Sequence[tuple[int, int]] = MOST
    trust: float = 0.03

    def __post_init__(self) -> None:
        if 0 not in self.jumps or not self.jumps.keys() <= {0, *ORDERS}:
            raise ValueError(f"jumps need 0 and may have powers of two up to {CONTEXT}: {sorted(self.jumps)}")


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
        #: how much likelier all jumps are (baselines/adapted.py)
        self.factor = 1.0
        self.context = self.how.context
        self.places = Places(streams, examples)
        self.back_S, self.ahead_S = _same_thread(self.places.tids_S)
        self._every: dict[float, _Sources] = {}

    def propose(self, windows: Sequence[Window], seed: int = 0) -> list[Proposal]:
        """Deterministic: ``seed`` isn't used."""
        return [joined([self._fill(run) for run in hidden_runs(window)]) for window in windows]

    def sources(self, run: Run, hidden: slice | None = None) -> _Sources:
        """All places if they aren't many, else those around the run's best matching sites; none in ``hidden``."""
        n, size = len(run), len(self.places.ids_S)
        calm, most = _of_length(self.how.calmer, n) * self.factor, _of_length(self.how.most, n)
        jumps = {k: p * calm for k, p in self.how.jumps.items()}
        every = self.places.events <= self.how.most[0][1]
        if every and hidden is None:
            if calm not in self._every:
                self._every[calm] = _Sources(self.places, np.arange(size), self.how.trust, jumps)
            return self._every[calm]
        at = np.arange(size)
        if not every:
            span = n + 2 * self.context
            room = max(1, min(SITES, max(12, most // span), LARGEST // (n * span)))
            best = np.sort(self.places.best(run, room, -np.log(self.how.trust) / 3)[0])
            begin = np.maximum(best - self.context - max(jumps), 0)
            at = _union(begin, np.minimum(best + n + self.context, size))
        if hidden is not None:
            at = at[(at < hidden.start) | (at >= hidden.stop)]
        return _Sources(self.places, at, self.how.trust, jumps)

    def hypotheses(self, window: Window, number: int, seed: int | Sequence[int] = 0) -> list[Proposal]:
        """So many fills of a window, each drawn as a whole from all that the model holds possible given both sides.

        Each is a proposal of one candidate a position. (Forward filtering, backward sampling: Carter and Kohn, "On
        Gibbs sampling for state space models", 1994.)
        """
        rng = np.random.default_rng(seed)
        parts = [self._draw(run, number, rng) for run in hidden_runs(window)]
        return [joined([of_run[i] for of_run in parts]) for i in range(number)]

    def _draw(self, run: Run, number: int, rng: np.random.Generator) -> list[Proposal]:
        found = self._forward(run)
        if found is None:
            return [self._nothing(len(run))] * number
        sources, forward_NS, total_N, behind = found
        n, result = len(run), []
        for _ in range(number):
            copied = np.empty(n, np.int64)
            copied[-1] = _drawn(forward_NS[-1] * behind, rng)
            for t in range(n - 1, 0, -1):
                likelihood = float(forward_NS[t, copied[t]]) * total_N[t]
                copied[t - 1] = sources.before(int(copied[t]), forward_NS[t - 1], likelihood, rng)
            threads = np.zeros((n, SLOTS), np.float32)
            self._thread(run, sources.at_S[copied], threads)
            ones = np.ones((n, 1), np.float32)
            steps = self._steps(sources.at_S[np.append(copied, copied[-1])] + np.repeat([0, 1], [n, 1])).astype(float)
            drawn = sources.event_S[copied][:, None]
            result.append(Proposal(drawn, ones, threads, np.where(steps >= 0, steps, np.nan)))
        return result

    def tried(self, run: Run, factor: float, hidden: slice) -> Ints:
        """The likeliest events (N, M) of a run of known events, were jumps so much likelier and were nothing known of
        the places in ``hidden``."""
        before, self.factor = self.factor, factor
        try:
            return self._fill(run, hidden).events_NM
        finally:
            self.factor = before

    def _forward(
        self, run: Run, hidden: slice | None = None
    ) -> tuple[_Sources, NDArray[np.float32], Floats, Floats] | None:
        """The sources, how likely each is at every position given the events before it (N, S), what each of these rows
        had summed to (N,), and how likely what is known behind the last position is from each source there (S,)."""
        n = len(run)
        sources = self.sources(run, hidden)
        if not len(sources):
            return None
        here = sources.weight_S / sources.weight_S.sum()
        for event in run.left[-self.context :].tolist():
            here = sources.onward(here)[0] * np.where(sources.event_S == event, 1.0, self.how.miss)
        forward, total = np.empty((n, len(sources)), np.float32), np.empty(n)
        for t in range(n):
            here, total[t] = sources.onward(here)
            forward[t] = here
        behind = np.ones(len(sources))
        for event in run.right[: self.context][::-1].tolist():
            behind = sources.backward(behind * np.where(sources.event_S == event, 1.0, self.how.miss))
        return sources, forward, total, behind

    def _nothing(self, n: int) -> Proposal:
        """Where there is nothing to copy from."""
        threads = np.zeros((n, SLOTS), np.float32)
        threads[:, UNKNOWN_THREAD] = 1
        return Proposal(*likeliest(np.full((n, 1), 0.05), self.places.common[:1]), threads)

    def _fill(self, run: Run, hidden: slice | None = None) -> Proposal:
        n = len(run)
        found = self._forward(run, hidden)
        if found is None:
            return self._nothing(n)
        sources, forward, _, behind = found
        table = np.empty((n, len(sources.ids_U)))
        copied, steps = np.empty(n, np.int64), np.empty(n + 1)
        timed_S, step_S = self._timed(sources)
        timed = bool(timed_S.any())
        for t in range(n - 1, -1, -1):
            belief = forward[t] * behind
            copied[t] = belief.argmax()
            table[t] = np.bincount(sources.id_S, belief, len(sources.ids_U))
            steps[t] = _mean(belief, timed_S, step_S) if timed else np.nan
            if t == n - 1:
                steps[n] = _mean(belief, *self._timed(sources, 1))
            if t:
                behind = sources.backward(behind)
        table /= np.maximum(table.sum(axis=1, keepdims=True), TINY)
        threads = np.zeros((n, SLOTS), np.float32)
        self._thread(run, sources.at_S[copied], threads)
        return Proposal(*likeliest(table, sources.ids_U), threads, steps)

    def _timed(self, sources: _Sources, ahead: int = 0) -> tuple[Floats, Floats]:
        """Whether it is known of each source (S,), or what follows it by ``ahead`` events, how long after the event
        before it came, and that time in ns (0 if not)."""
        steps = self._steps(sources.at_S + ahead)
        return (steps >= 0).astype(float), np.maximum(steps, 0).astype(float)

    def _steps(self, at: Ints) -> Ints:
        """Times since the event before, in ns, at some places; -1 where nobody knows. Those of the examples are another
        machine's."""
        return np.where(at < self.places.foreign, self.places.steps_S[at], -1)

    def _thread(self, run: Run, copied_N: Ints, threads_NT: NDArray[np.float32]) -> None:
        """Write who did it: the thread as far back as the copied event's last was, and as far ahead as its next one is;
        where they disagree the nearer edge of the gap says more."""
        n = len(run)
        back, ahead = self.back_S[copied_N].tolist(), self.ahead_S[copied_N].tolist()
        for edge, distance, sign in ((run.left_threads, back, 1), (run.right_threads[::-1], ahead[::-1], -1)):
            line = edge.tolist()
            known = len(line)
            for t, d in enumerate(distance):
                slot = line[known + t - d] if 0 < d <= known + t else UNKNOWN_THREAD
                line.append(slot)
                threads_NT[t if sign > 0 else n - 1 - t, slot] += (n - t) / (n + 1)
        # a thread that one edge doesn't know is the other edge's
        rest = threads_NT[:, UNKNOWN_THREAD] < threads_NT.sum(axis=1)
        threads_NT[rest, UNKNOWN_THREAD] *= 0.01
        threads_NT[:, 1] += 1e-3
        threads_NT /= threads_NT.sum(axis=1, keepdims=True)


def _mean(belief_S: Floats, known_S: Floats, value_S: Floats) -> float:
    """The mean of a value where it is known (it is 0 elsewhere), NaN if that is nowhere likely."""
    # not by BLAS: its threads wait for each other where other work keeps a core busy, many times as long as they add
    weight = float(np.einsum("s,s->", belief_S, known_S))
    return float(np.einsum("s,s->", belief_S, value_S)) / weight if weight > TINY else np.nan


def _drawn(weight_S: Floats, rng: np.random.Generator) -> int:
    """One of S, as likely as its weight."""
    total = np.cumsum(weight_S)
    return min(int(np.searchsorted(total, rng.random() * total[-1], "right")), len(total) - 1)


def _of_length(by_length: Sequence[tuple[int, Number]], n: int) -> Number:
    """What is given for a gap of ``n`` events: of the last pair whose number of events is below it."""
    return [value for length, value in by_length if n > length][-1]


def _union(begin: Ints, end: Ints) -> Ints:
    """The whole numbers in any of the ranges [begin, end), which are in order, each once."""
    covered = np.maximum.accumulate(np.append(0, end[:-1]))
    begin = np.maximum(begin, covered)
    length = np.maximum(end - begin, 0)
    return np.asarray(
        np.repeat(begin - np.append(0, np.cumsum(length)[:-1]), length) + np.arange(length.sum()), np.int64
    )


def _classes(ids: Ints, at_S: Ints, lengths: Sequence[int]) -> tuple[list[Ints], NDArray[np.bool_]]:
    """For each length k (powers of two and 0) labels (S,) that are the same where the k events up to a position are,
    and which positions are events with max(lengths) positions of ``at_S`` before them."""
    longest = max(lengths)
    inside = np.zeros(len(at_S), bool)
    inside[longest:] = at_S[longest:] - at_S[: max(len(at_S) - longest, 0)] == longest
    labels = {0: np.zeros(len(at_S), np.int64), 1: np.unique(ids[at_S], return_inverse=True)[1]}
    k = 1
    while k < longest:
        before = np.concatenate([np.zeros(min(k, len(at_S)), np.int64), labels[k][:-k]])
        labels[2 * k] = np.unique(labels[k] * (len(at_S) + 1) + before, return_inverse=True)[1]
        k *= 2
    return [labels[k] for k in lengths], inside & (ids[at_S] >= 0)


def _same_thread(tids: Ints) -> tuple[Ints, Ints]:
    """How far back the event before, and how far ahead the next one, of the same thread and stretch stands; 0: none."""
    stretch = np.cumsum(tids < 0)
    order = np.lexsort((tids, stretch))
    same = (np.diff(tids[order]) == 0) & (np.diff(stretch[order]) == 0) & (tids[order][1:] >= 0)
    step = np.where(same, np.diff(order), 0)
    back, ahead = np.zeros(len(tids), np.int64), np.zeros(len(tids), np.int64)
    back[order[1:]], ahead[order[:-1]] = step, step
    return back, ahead
