"""What several menders believe as one belief: the product of what each holds likely, each to a power of its own.

Menders that go wrong in different ways know more together than the best of them: where one is sure and wrong another
doubts. The powers say how far each is to be heard. They are few, and fitted where the truth is known, for each class of
gap lengths its own.

A product of experts (Hinton, "Training products of experts by minimizing contrastive divergence", 2002, eq. 1), its
powers by logistic mixing (Mattern, "Mixing strategies in data compression", 2012, eq. 8; Mahoney's PAQ mixes bits so).

Axis legend: E experts, N positions, M candidates of one expert, C candidates of all, F classes of length.
"""

from __future__ import annotations

import bisect
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from tracemend.errors import ModelError
from tracemend.menders.base import CANDIDATES, Floats, Ints, Proposal
from tracemend.menders.lookup import Lookup
from tracemend.menders.mosaic import Mosaic
from tracemend.menders.ngram import NGram
from tracemend.menders.runs import hidden_runs
from tracemend.trace.windows import Stream, Window, window
from tracemend.untrusted import json_of
from tracemend.whole import whole_file

#: Who is mixed, in this order.
EXPERTS = ("mosaic", "lookup", "n-gram")
#: Gaps up to these lengths have powers of their own; the last one: any length.
LENGTHS = (1, 10, 40, 200, 1 << 62)
#: What an expert that doesn't name an event holds it likely.
UNNAMED = 1e-3
#: The powers are held back this much from EQUAL, in positions that say something.
RIDGE = 20.0
EQUAL = 1 / len(EXPERTS)
#: Of the streams every so many-th is held out to fit to; pieces of it that are hidden, and fewer than which tell
#: nothing; known events beside each, at most and at least.
HELD, TRIALS, LEAST, CONTEXT, MARGIN = 8, 400, 40, 100, 16
#: Experts whose time grows with the length of a gap are spared longer ones: the mosaic's belief stands alone.
LONGEST = 1024


@dataclass(frozen=True)
class Powers:
    """power_FE: of each expert's belief, by class of length (``LENGTHS``)."""

    power_FE: tuple[tuple[float, ...], ...] = ((EQUAL,) * len(EXPERTS),) * len(LENGTHS)

    def __post_init__(self) -> None:
        """Raises ModelError for powers of another shape, or such as are no numbers."""
        shape = [len(power_E) for power_E in self.power_FE]
        if shape != [len(EXPERTS)] * len(LENGTHS) or not np.isfinite(self.power_FE).all():
            raise ModelError(f"no powers of {', '.join(EXPERTS)} for {len(LENGTHS)} classes of length")

    def of(self, length: int) -> tuple[float, ...]:
        """The powers (E,) in a gap of ``length`` events."""
        return self.power_FE[bisect.bisect_left(LENGTHS, length)]

    def replaced(self, length: int, power_E: Sequence[float]) -> Powers:
        """The same with other powers for the class of ``length``."""
        k = bisect.bisect_left(LENGTHS, length)
        return Powers(tuple(tuple(power_E) if i == k else own for i, own in enumerate(self.power_FE)))

    def as_dict(self) -> dict[str, Any]:
        rows = [[round(p, 4) for p in power_E] for power_E in self.power_FE]
        return {"experts": list(EXPERTS), "lengths": list(LENGTHS), "powers": rows}

    @staticmethod
    def from_dict(document: Any) -> Powers:
        """Raises ModelError for anything that is none."""
        try:
            if document["experts"] != list(EXPERTS) or document["lengths"] != list(LENGTHS):
                raise ModelError("powers of other experts or lengths; scripts/calibrate.py fits them anew")
            return Powers(tuple(tuple(float(p) for p in power_E) for power_E in document["powers"]))
        except (KeyError, TypeError, ValueError) as e:
            raise ModelError(f"no powers: {e}") from e

    def save(self, path: Path) -> None:
        """Write them as JSON. Raises OSError."""
        with whole_file(path) as file:
            file.write(json.dumps(self.as_dict()).encode() + b"\n")


@cache
def shipped() -> Powers:
    """The powers that ship with the package, fitted to the project's recordings (scripts/calibrate.py)."""
    file = resources.files("tracemend.menders") / "mixture_powers.json"
    return Powers.from_dict(json_of(file.read_text())) if file.is_file() else Powers()


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the experts hold likely, side by side. events_NC: every event that one of them names, -1 where there are
    fewer; p_NCE: what each holds it likely, 0 where it doesn't name it."""

    events_NC: Ints
    p_NCE: Floats

    @staticmethod
    def of(proposals: Sequence[Proposal]) -> Evidence:
        """Proposals for the same positions, in the order of EXPERTS."""
        n, width = len(proposals[0]), max(p.events_NM.shape[1] for p in proposals)
        every = np.full((n, len(proposals), width), -1, np.int64)
        p_NEM = np.zeros(every.shape, np.float32)
        for e, proposal in enumerate(proposals):
            own = proposal.events_NM.shape[1]
            every[:, e, :own] = proposal.events_NM
            p_NEM[:, e, :own] = np.where(proposal.events_NM >= 0, proposal.p_NM, 0)
        flat = every.reshape(n, -1)
        order = np.argsort(flat, axis=1, kind="stable")
        lined = np.take_along_axis(flat, order, 1)
        new = np.diff(lined, axis=1, prepend=-1) != 0  # -1 comes first, and is nobody's
        place = np.cumsum(new, axis=1) - 1
        rows = np.arange(n)[:, None]
        events = np.full((n, max(1, int(place.max(initial=0)) + 1)), -1, np.int64)
        p = np.zeros((*events.shape, len(proposals)), np.float32)
        named = lined >= 0
        row, column = np.broadcast_to(rows, place.shape)[named], place[named]
        events[row, column] = lined[named]
        p[row, column, (order // width)[named]] = p_NEM.reshape(n, -1)[rows, order][named]
        return Evidence(events, p)

    def odds(self, power_E: Sequence[float]) -> Floats:
        """Logarithms (N, C) of the product of the beliefs to these powers, not normalised; -inf where no event is."""
        return np.where(self.events_NC >= 0, self.logs() @ np.asarray(power_E, np.float32), -np.inf)

    def logs(self) -> Floats:
        """Logarithms of the beliefs (N, C, E)."""
        return np.asarray(np.log(self.p_NCE + np.float32(UNNAMED)))


def product(proposals: Sequence[Proposal], power_E: Sequence[float]) -> Proposal:
    """The experts' beliefs multiplied; threads and steps are the first one's."""
    evidence = Evidence.of(proposals)
    odds = evidence.odds(power_E)
    p = np.exp(odds - odds.max(axis=1, keepdims=True, initial=-1e9))
    # what the surest one of them leaves to events that nobody names stays theirs
    named = evidence.p_NCE.sum(axis=1).max(axis=1, initial=0).clip(0, 1)
    p *= (named / np.maximum(p.sum(axis=1), 1e-9))[:, None]
    order = np.argsort(-p, axis=1, kind="stable")[:, :CANDIDATES]
    events, p = np.take_along_axis(evidence.events_NC, order, 1), np.take_along_axis(p, order, 1)
    first = proposals[0]
    return Proposal(np.where(p > 0, events, -1), p.astype(np.float32), first.threads_NT, first.steps)


def fit(evidence: Sequence[Evidence], truth: Sequence[Ints]) -> tuple[float, ...]:
    """The powers (E,) that make the truth of some gaps likeliest, held back from equal ones; a gap counts as one.

    Newton's method on the log-likelihood of a softmax (McFadden 1974, eq. 17), which has one maximum. Positions whose
    event no expert names say nothing of the powers; below 0 none goes.
    """
    power = np.full(len(EXPERTS), EQUAL)
    parts = []
    for own, events_N in zip(evidence, truth, strict=True):
        hit_NC = own.events_NC == events_N[:, None]
        named = hit_NC.any(axis=1)
        logs = np.where((own.events_NC >= 0)[..., None], own.logs(), -np.inf)[named].astype(np.float64)
        parts.append((logs, hit_NC[named].argmax(axis=1), np.sqrt(1 / len(events_N))))
    for _ in range(30):
        slope, curvature = RIDGE * (power - EQUAL), RIDGE * np.eye(len(power))
        for logs_NCE, at_N, weight in parts:
            real = np.isfinite(logs_NCE[..., 0])
            x = np.where(real[..., None], logs_NCE, 0.0)
            odds = np.where(real, x @ power, -np.inf)
            p_NC = np.exp(odds - odds.max(axis=1, keepdims=True, initial=-1e9))
            p_NC /= p_NC.sum(axis=1, keepdims=True)
            mean_NE = np.einsum("nc,nce->ne", p_NC, x)
            slope += weight * (mean_NE - x[np.arange(len(x)), at_N]).sum(axis=0)
            apart = x - mean_NE[:, None]
            curvature += weight * np.einsum("nc,nce,ncf->ef", p_NC, apart, apart)
        step = np.linalg.solve(curvature, slope)
        power = power - step
        if np.abs(step).max() < 1e-4:
            break
    return tuple(np.maximum(power, 0.0).tolist())


class Mixture(Mosaic):
    """A mosaic whose beliefs are multiplied with those of a lookup and of an n-gram bridge of the same streams.

    Threads, times and whole drawn fills are the mosaic's.
    """

    name = "mixture"

    def __init__(
        self, streams: Sequence[Stream], examples: Sequence[Stream] = (), powers: Powers | None = None, **how: Any
    ) -> None:
        """powers: those that ship with the package, if not given. how: of the mosaic."""
        super().__init__(streams, examples, **how)
        self.powers = powers or shipped()
        self.lookup = Lookup(self.places)
        self.ngram = NGram(streams)

    def propose(self, windows: Sequence[Window], seed: int = 0) -> list[Proposal]:
        """Deterministic: ``seed`` isn't used. Of a window whose gaps are of several lengths the longest one counts."""
        result = super().propose(windows, seed)
        longest = [max((len(run) for run in hidden_runs(w)), default=0) for w in windows]
        mixed = [i for i, n in enumerate(longest) if 0 < n <= LONGEST]
        asked = [windows[i] for i in mixed]
        others = zip(self.lookup.propose(asked), self.ngram.propose(asked), strict=True)
        for i, beside in zip(mixed, others, strict=True):
            result[i] = product((result[i], *beside), self.powers.of(longest[i]))
        return result

    def evidence(self, windows: Sequence[Window]) -> list[Evidence]:
        """What each of the experts holds likely in each window."""
        own = super().propose(windows), self.lookup.propose(windows), self.ngram.propose(windows)
        return [Evidence.of(of_window) for of_window in zip(*own, strict=True)]


class FittedMixture(Mixture):
    """A mixture that fits its powers to streams of its own, which it holds out for that: once for each class of lengths
    that it is asked for."""

    name = "mixture"

    def __init__(self, streams: Sequence[Stream]) -> None:
        super().__init__(streams)
        self.calibration = self.confidence = None
        self._streams = streams
        self._fitted: set[int] = set()
        self._part: Mixture | None = None

    def propose(self, windows: Sequence[Window], seed: int = 0) -> list[Proposal]:
        """Deterministic: ``seed`` isn't used."""
        for n in sorted({max((len(run) for run in hidden_runs(w)), default=0) for w in windows} - {0}):
            kind = bisect.bisect_left(LENGTHS, n)
            if kind not in self._fitted and n <= LONGEST:
                self._fitted.add(kind)
                self._fit(n)
        return super().propose(windows, seed)

    def _fit(self, length: int) -> None:
        """Fit the powers for gaps of this class to pieces of held-out streams; as they are where there are too few."""
        pieces = list(self._pieces(length, np.random.default_rng([length, len(self.places.ids_S)])))
        if len(pieces) < LEAST:
            return
        if self._part is None:
            self._part = Mixture([s for k, s in enumerate(self._streams) if k % HELD], powers=self.powers)
        found = self._part.evidence([w for w, _ in pieces])
        self.powers = self.powers.replaced(length, fit(found, [truth for _, truth in pieces]))

    def _pieces(self, length: int, rng: np.random.Generator) -> list[tuple[Window, Ints]]:
        """Windows with a gap of ``length`` events and what was in it, evenly over what is held out."""
        held = list(self._streams[::HELD])
        room = np.array([max(0, len(s) - length - 2 * MARGIN + 1) for s in held])
        if not room.any():
            return []
        found = []
        for k in np.unique(rng.integers(room.sum(), size=TRIALS)).tolist():  # few places: each once
            i = int(np.searchsorted(np.cumsum(room), k, "right"))
            at = MARGIN + k - int(room[:i].sum())
            stream, end = held[i], at + length
            sides = stream[max(0, at - CONTEXT) : at], stream[end : end + CONTEXT]
            found.append((window(*sides, length), stream.ids[at:end].astype(np.int64)))
        return found
