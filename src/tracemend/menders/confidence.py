"""How sure an event of a finished fill is: a logistic regression on what is known of it and of its gap, and a curve.

A belief says what follows from the model that copies. How often such an event is right depends on more: events in long
gaps, of many threads, or of the scheduler's are wrong more often than they are believed to be. Few numbers are fitted
(``scripts/calibrate.py``), each has a name in the file, and the curve on top makes the whole as sure as it was right on
recordings that the numbers were not fitted on.

Axis legend: N events of a fill, V vocabulary, F features, K knots of the curve.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracemend.errors import ModelError
from tracemend.menders.calibration import Floats, Ints, logistic, monotone, regression
from tracemend.trace.events import INSTANT
from tracemend.trace.fields import SWITCH, kernel_name
from tracemend.trace.vocabulary import Vocabulary
from tracemend.untrusted import json_of

#: Kinds of events, as far as they differ in how well they can be found.
FAMILIES = ("enter", "exit", "switch", "scheduling", "interrupt", "other")
#: How the names of an interrupt's or a timer's events begin.
INTERRUPTS = ("irq_", "softirq_", "tasklet_", "timer_", "hrtimer_")
#: What an event rests on, if not on its belief alone: an exit on the enter that it closes, which was inferred in this
#: gap, survived, or was inferred in an earlier gap; an enter on the exit that survives behind the gap.
RESTS = ("itself", "an enter beside it", "an enter that survived", "an enter of another gap", "an exit that survived")
#: Events on each side whose beliefs are looked at: one alone may be sure by chance.
AROUND = 64
#: Beliefs are kept this far from 0 and 1: what lies nearer has been wrong as often.
NEAR = 3e-3
#: Log odds from which on an event is among the surest. Where long gaps are wrong they are wrong in their
#: middle, and sure of it: a loop that goes round once too often.
SUREST = 2.0
#: Of each fill so many events are fitted to. How much each weight is held back, and into how many parts the workloads
#: are divided to see how what is fitted on some holds for the others.
MOST, RIDGE, FOLDS = 120, 10.0, 8


def families(vocabulary: Vocabulary) -> Ints:
    """Which of FAMILIES each event is of (V,)."""
    found = np.full(len(vocabulary), FAMILIES.index("other"))
    for i in range(len(vocabulary)):
        name, phase = vocabulary.entry(i) or ("", INSTANT)
        kernel = kernel_name(name)
        if phase != INSTANT:
            found[i] = phase
        elif kernel == SWITCH:
            found[i] = FAMILIES.index("switch")
        elif kernel.startswith("sched_"):
            found[i] = FAMILIES.index("scheduling")
        elif kernel.startswith(INTERRUPTS):
            found[i] = FAMILIES.index("interrupt")
    return found


@dataclass(frozen=True, slots=True)
class Grounds:
    """What the confidence of a fill's events rests on (N,).

    belief: in each event, given the constraints. alone: before them. family, rests: numbers of FAMILIES and RESTS.
    threads: how many different ones the fill has. switched: whether the trace has the scheduler's switches.
    """

    belief: NDArray[np.float32]
    alone: NDArray[np.float32]
    family: Ints
    rests: Ints
    threads: int
    switched: bool

    def features(self) -> Iterator[tuple[str, Floats]]:
        """One by one, by name: of each event (N,), or one number if it is the same of all. There can be millions."""
        n = len(self.belief)
        belief, alone = _logit(self.belief), _logit(self.alone)
        surest = np.maximum(belief - SUREST, 0)
        length, switched = np.log10(np.array(max(1.0, n))), np.array(float(self.switched))
        far = np.maximum(np.log10(1 + np.minimum(np.arange(n), np.arange(n)[::-1])) - 2, 0)
        yield "one", np.array(1.0)
        yield "belief", belief
        for p in (0.5, 0.9, 0.98):
            yield f"belief above {p:g}", np.maximum(belief - _logit(np.array(p)), 0)
        yield "alone", alone
        yield "around", _logit(_around(self.belief))
        yield "length", length
        for k in (1, 2, 3):
            yield f"length above {10**k}", np.maximum(length - k, 0)
        yield "belief x length", belief * length
        for k in (2, 3):
            yield f"surest x length above {10**k}", surest * np.maximum(length - k, 0)
        yield "far from the edges", far
        yield "belief x far from the edges", belief * far
        yield "threads", np.log(np.array(max(1.0, self.threads)))
        yield "switched", switched
        yield "switched x length", switched * length
        yield "switched x belief", switched * belief
        for k, name in enumerate(FAMILIES[1:], 1):
            yield name, (self.family == k).astype(float)
        for k, name in enumerate(RESTS[1:], 1):
            yield name, (self.rests == k).astype(float)


def _logit(p: NDArray[Any]) -> Floats:
    p = np.clip(p.astype(np.float64), NEAR, 1 - NEAR)
    return np.asarray(np.log(p / (1 - p)))


def _around(belief_N: NDArray[np.float32]) -> Floats:
    """The mean belief in the events around each."""
    total = np.concatenate([[0.0], np.cumsum(belief_N, dtype=np.float64)])
    at = np.arange(len(belief_N))
    begin, end = np.maximum(at - AROUND, 0), np.minimum(at + AROUND + 1, len(belief_N))
    return np.asarray((total[end] - total[begin]) / (end - begin))


@dataclass(frozen=True, slots=True)
class Judged:
    """A fill whose truth is known: right_N; which recording it is of, and which workload that is one of."""

    grounds: Grounds
    right: NDArray[np.bool_]
    recording: str
    workload: str


@dataclass(frozen=True)
class Confidence:
    """weights: of the features by name. curve: (x_K, y_K), both increasing, in [0, 1]."""

    weights: dict[str, float]
    curve: tuple[Floats, Floats]

    def __call__(self, grounds: Grounds) -> NDArray[np.float32]:
        """How often such events have proven right (N,)."""
        return np.interp(self.raw(grounds), *self.curve).astype(np.float32)

    def raw(self, grounds: Grounds) -> Floats:
        """The same by the regression alone (N,)."""
        odds = np.zeros(len(grounds.belief))
        for name, feature in grounds.features():
            odds += self.weights[name] * feature
        return logistic(odds)

    @staticmethod
    def fit(fills: Sequence[Judged], seed: int = 0) -> Confidence:
        """Fit to fills whose truth is known. Gaps and recordings count by the root of how many events they have: what
        is wrong at one place of a gap is mostly wrong throughout."""
        x_NF, right_N, weight_N, workload_N = _laid_out(fills, np.random.default_rng([seed, len(fills)]))
        found_F = regression(x_NF, right_N, weight_N, RIDGE)
        raw_N = np.empty(len(right_N))
        for others, own in apart(workload_N, seed):
            raw_N[own] = logistic(x_NF[own] @ regression(x_NF[others], right_N[others], weight_N[others], RIDGE))
        return Confidence(dict(zip(NAMES, found_F.tolist(), strict=True)), monotone(raw_N, right_N, weight_N))

    def as_dict(self) -> dict[str, Any]:
        weights = {name: round(weight, 4) for name, weight in self.weights.items()}
        return {"weights": weights, "curve": [np.round(a, 4).tolist() for a in self.curve]}

    @staticmethod
    def from_dict(document: dict[str, Any]) -> Confidence:
        """Raises ModelError for anything that is none."""
        try:
            weights = {str(name): float(weight) for name, weight in document["weights"].items()}
            x, y = (np.array(a, float) for a in document["curve"])
        except (AttributeError, KeyError, TypeError, ValueError) as e:
            raise ModelError(f"no confidence: {e}") from e
        usable = x.ndim == 1 and x.shape == y.shape and len(x) > 0 and (np.diff(x) >= 0).all()
        usable = usable and ((y >= 0) & (y <= 1)).all() and np.isfinite([*weights.values(), *x]).all()
        if weights.keys() != set(NAMES) or not usable:
            raise ModelError("no confidence: numbers missing")
        return Confidence(weights, (x, y))


#: What weights are of.
_NOTHING = Grounds(*(np.empty(0, np.float32),) * 2, *(np.empty(0, np.int64),) * 2, 0, False)
NAMES = tuple(name for name, _ in _NOTHING.features())


def apart(workload_N: NDArray[np.str_], seed: int) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Which events to fit on and which to judge by: no workload is on both sides, and each is judged once."""
    names, number_N = np.unique(workload_N, return_inverse=True)
    fold_N = (np.random.default_rng(seed).permutation(len(names)) % FOLDS)[number_N]
    for fold in np.unique(fold_N).tolist():
        yield fold_N != fold, fold_N == fold


def _laid_out(
    fills: Sequence[Judged], rng: np.random.Generator
) -> tuple[Floats, NDArray[np.bool_], Floats, NDArray[np.str_]]:
    """Features (N, F), what was right, weights and workloads of some events of each fill."""
    x, right, weight, number = [], [], [], []
    for k, fill in enumerate(fills):
        n = len(fill.right)
        chosen = rng.permutation(n)[:MOST]
        features = [np.broadcast_to(f, n)[chosen] for _, f in fill.grounds.features()]
        x.append(np.stack(features, axis=1))
        right.append(fill.right[chosen])
        weight.append(np.full(len(chosen), n**0.5 / len(chosen)))
        number.append(np.full(len(chosen), k))
    number_N, weight_N = np.concatenate(number), np.concatenate(weight)
    recording_N = np.unique([f.recording for f in fills], return_inverse=True)[1][number_N]
    weight_N /= np.bincount(recording_N, weight_N)[recording_N] ** 0.5
    workloads = np.array([f.workload for f in fills])
    return np.concatenate(x), np.concatenate(right), weight_N / weight_N.mean(), workloads[number_N]


@cache
def shipped(name: str) -> Confidence | None:
    """What was fitted to a mender's fills, if anything was."""
    file = resources.files("tracemend.menders") / f"{name}_confidence.json"
    return Confidence.from_dict(json_of(file.read_text())) if file.is_file() else None
