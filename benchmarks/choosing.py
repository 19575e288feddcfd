"""What is there to be won by choosing better among fills, and who can choose?

    python benchmarks/choosing.py MODEL [--events 3000] [--drawn 16] [--seeds 0 1 2] [--out FILE]

The mosaic's fill of a gap that it isn't sure of stands beside others that it draws from its own beliefs as wholes, and
beside a network's. The best of them, picked by who knows the truth, says how much there is to be won; the other rows
pick by what can be known: the network's likelihood of each fill, how well the usual times of its events fit the gap's
duration, what the others agree on, or the learnt weight of a blend (fitted on the other recordings). All fills obey the
constraints. Validation recordings with simulated losses; examples are of other workloads, while the network has seen
other runs of the same ones. A seed draws the losses and the fills.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import ROOT, command
from numpy.typing import NDArray
from simulated import recordings

from tracemend.diffusion.gaps import lose
from tracemend.diffusion.processes.masked import Masked
from tracemend.diffusion.restorer import Restorer
from tracemend.diffusion.training import keep_memory
from tracemend.judging.provenance import provenance
from tracemend.menders import Mosaic
from tracemend.menders.calibration import Calibration, Weight
from tracemend.mending.beliefs import Whole
from tracemend.mending.blocks import hypotheses, propose
from tracemend.mending.filling import Filling
from tracemend.mending.run import DRAWN
from tracemend.trace.events import Trace
from tracemend.trace.vocabulary import OTHER, Vocabulary, universal
from tracemend.trace.windows import SLOTS, UNKNOWN_STEP, Stream, Window, log_step, streams, window

#: Gaps of which the mosaic believes more than this in the mean have nothing to choose; longer ones aren't judged.
SURE, LONGEST = 0.97, 128
#: Parts in which a network is shown a fill, in any order: it says how likely each part is given those before.
PARTS = 4

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Case:
    """One gap: of which recording; the share right of the mosaic's fill (first) and each drawn one; what may tell them
    apart; beliefs and what was right of the mosaic's and the network's fill."""

    recording: int
    length: int
    right_K: Floats
    agreed_K: Floats
    likely_K: Floats
    held_K: Floats
    timed_K: Floats
    beliefs: tuple[Floats, Floats]
    rights: tuple[NDArray[np.bool_], NDArray[np.bool_]]

    @property
    def network_right(self) -> float:
        return float(self.rights[1].mean())


def likelihood(model: Restorer, w: Window, fills: Sequence[Ints], rng: np.random.Generator) -> Floats:
    """The network's log-probability of each fill (N, 3): of a part of the events at a time, given all before."""
    hidden, count = np.flatnonzero(~w.known_L), len(model.vocabulary)
    shown_as = np.stack(fills)
    shown_as[..., 0][shown_as[..., 0] >= count] = OTHER
    ids = np.repeat(w.ids_LC[None], len(fills), 0)
    ids[..., 0][ids[..., 0] >= count] = OTHER
    assert isinstance(model.process, Masked)
    total, rows = np.zeros(len(fills)), np.arange(len(fills))[:, None]
    still = len(hidden)
    for part in np.array_split(rng.permutation(len(hidden)), min(PARTS, len(hidden))):
        clean = torch.from_numpy(ids)[..., : len(model.process.sizes)]
        known = torch.from_numpy(np.repeat(w.known_L[None], len(fills), 0))
        with torch.inference_mode():
            logits = model.network(clean, known, torch.full((len(fills),), still / len(hidden)))
        logp = torch.log_softmax(logits[0][:, hidden[part]].float(), dim=-1).numpy()
        total += logp[rows, np.arange(len(part)), shown_as[:, part, 0]].sum(axis=1)
        ids[:, hidden[part]] = shown_as[:, part]
        still -= len(part)
    return total


class Times:
    """How long it takes from one event to the next, by both, by the second alone, or by neither."""

    def __init__(self, lossy: Trace, ids: Ints) -> None:
        held: dict[tuple[int, int], list[float]] = {}
        for cpu, rows in lossy.streams.items():
            whole = np.ones(max(0, len(rows) - 1), bool)
            whole[[b - 1 for b in lossy.breaks(cpu) if 0 < b < len(rows)]] = False
            steps = np.diff(lossy.time_ns[rows]).astype(float)
            for a, b, step in zip(ids[rows[:-1]][whole], ids[rows[1:]][whole], steps[whole], strict=True):
                for key in ((int(a), int(b)), (-1, int(b)), (-1, -1)):
                    held.setdefault(key, []).append(float(step))
        self.moments = {k: (float(np.mean(v)), float(np.var(v))) for k, v in held.items()}

    def fit(self, events: Sequence[int], duration_ns: int) -> float:
        """The log-density of a duration: log-normal, with the sum of the steps' means and variances."""
        mean = variance = 0.0
        for a, b in pairwise(events):
            m, v = next((self.moments[k] for k in ((a, b), (-1, b), (-1, -1)) if k in self.moments), (1.0, 1.0))
            mean, variance = mean + m, variance + v + (0.3 * m) ** 2  # few times tell little of their spread
        spread = np.log1p(variance / max(mean, 1.0) ** 2) + 0.05
        off = np.log(duration_ns + 1) - np.log(max(mean, 1.0)) + spread / 2
        return float(-(off**2) / (2 * spread) - np.log(spread) / 2)


def _channels(w: Window, events: Whole, tids: Whole, steps: Floats) -> Ints:
    """A fill as a window shows it (N, 3)."""
    slot = {int(t): k for k, t in enumerate(w.tids) if t >= 0}
    slots = [min(slot.get(int(t), 0), SLOTS - 1) for t in tids]
    told = np.where(np.isnan(steps), UNKNOWN_STEP, log_step(np.nan_to_num(steps).astype(np.int64)))
    return np.stack([events, slots, told], axis=1).astype(np.int64)


def cases(
    number: int, part: Trace, examples: list[Stream], model: Restorer, drawn: int, rng: np.random.Generator
) -> tuple[list[Case], int]:
    """The gaps that there is something to choose in, and how many there are at all."""
    lossy, missing = lose(part, rng)
    vocabulary: Vocabulary = universal().extended(lossy)
    truth = vocabulary.extended(part).encode(part)
    mosaic = Mosaic(streams(lossy, vocabulary, shortest=1), examples)
    mosaic.calibration = mosaic.confidence = None
    copying, restoring = Filling(lossy, mosaic, vocabulary), Filling(lossy, model, vocabulary)
    ids = copying.around.ids
    times = Times(lossy, ids)
    order = sorted(lossy.gaps, key=lambda g: (g.end_ns, g.begin_ns, g.number))
    beliefs = propose(mosaic, copying.around, [(g, g.count or 0) for g in order], 0, lambda done, total: None)
    found = []
    for gap, copied in zip(order, beliefs, strict=True):
        count = gap.count or 0
        filled, _ = copying.fill(gap, count, copied)
        if 1 < count <= LONGEST and copied.p[:, 0].mean() < SURE:
            others = hypotheses(mosaic, copying.around, gap, count, drawn, int(rng.integers(1 << 31)))
            wholes = [copied, *others]
            fills = [filled, *(copying.fill(gap, count, copied.told(o, DRAWN))[0] for o in others)]
            restored = next(propose(model, restoring.around, [(gap, count)], 0, lambda done, total: None))
            by_network, _ = restoring.fill(gap, count, restored)
            w = window(*restoring.around.of(gap, model.context), count, gap.duration_ns)
            shown = [_channels(w, f.ids, f.tids, o.steps[:-1]) for f, o in zip(fills, wholes, strict=True)]
            ids_KN = np.stack([f.ids for f in fills])
            p_KN = np.where(copied.events[None] == ids_KN[:, :, None], copied.p[None], 0).sum(axis=2)
            first, last = (int(ids[e]) if e is not None else -1 for e in (gap.before, gap.after))
            right = truth[missing[gap.number]]
            found.append(
                Case(
                    recording=number,
                    length=count,
                    right_K=(ids_KN == right).mean(axis=1),
                    agreed_K=(ids_KN[:, None] == ids_KN[None, 1:]).mean(axis=(1, 2)),
                    likely_K=likelihood(model, w, shown, rng),
                    held_K=np.log(p_KN + 1e-4).sum(axis=1),
                    timed_K=np.array([times.fit([first, *f.ids.tolist(), last], gap.duration_ns) for f in fills]),
                    beliefs=(filled.confidence.astype(float), by_network.confidence.astype(float)),
                    rights=(filled.ids == right, by_network.ids == right),
                )
            )
        copying.timelines.remember(filled)
        restoring.timelines.remember(filled)
    return found, len(order)


def weighed(all_cases: Sequence[Case]) -> list[bool]:
    """Does the learnt weight take the network's fill? Curves and weight are of the other recordings' gaps."""
    taken = [False] * len(all_cases)
    for number in {c.recording for c in all_cases}:
        others = [c for c in all_cases if c.recording != number]
        length = np.repeat([c.length for c in others], [c.length for c in others])
        curves = [
            Calibration.fit(
                np.concatenate([c.beliefs[side] for c in others]),
                np.concatenate([c.rights[side] for c in others]),
                length,
            )
            for side in (0, 1)
        ]

        def means(case: Case, curves: Sequence[Calibration] = curves) -> tuple[float, float]:
            (copies, network), (copied, restored) = curves, case.beliefs
            return copies.mean(copied, case.length), network.mean(restored, case.length)

        sure = np.array([means(c) for c in others])
        ahead = np.array([c.network_right - c.right_K[0] for c in others])
        weight = Weight.fit(sure[:, 0], sure[:, 1], np.array([c.length for c in others]), ahead)
        for i, case in enumerate(all_cases):
            if case.recording == number:
                taken[i] = weight(*means(case), case.length) > 0.5
    return taken


def rows(found: Sequence[Case]) -> dict[str, list[float]]:
    """The share right of each gap by who picks."""

    def by(score: Any) -> list[float]:
        return [float(c.right_K[int(np.argmax(score(c)))]) for c in found]

    both = [(float(c.right_K[0]), c.network_right) for c in found]
    return {
        "the mosaic's fill": [a for a, _ in both],
        "the network's fill": [b for _, b in both],
        "either: by the learnt weight": [b if take else a for (a, b), take in zip(both, weighed(found), strict=True)],
        "either: the better one": [max(pair) for pair in both],
        "one drawn": [float(c.right_K[1]) for c in found],
        "of all drawn: what most agree on": by(lambda c: c.agreed_K),
        "of all drawn: the network's likeliest": by(lambda c: c.likely_K),
        "of all drawn: by mosaic and network": by(lambda c: c.held_K + c.likely_K / 2),
        "of all drawn: whose times fit best": by(lambda c: c.timed_K),
        "of all drawn: by mosaic and times": by(lambda c: c.held_K + 2 * c.timed_K),
        "of all drawn: the best one": [float(c.right_K.max()) for c in found],
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--events", type=int, default=3000, help="of each recording")
    parser.add_argument("--drawn", type=int, default=16)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "choosing.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    model = Restorer.load(options.model)
    model.calibration = None
    found: dict[int, list[Case]] = {seed: [] for seed in options.seeds}
    gaps = dict.fromkeys(options.seeds, 0)
    for number, trace, examples in recordings():
        for seed in options.seeds:
            rng = np.random.default_rng([seed, number, 5])
            begin = int(rng.integers(0, max(1, len(trace) - options.events)))
            part = replace(trace, table=trace.table.slice(begin, options.events))
            more, total = cases(number, part, examples["unseen"], model, options.drawn, rng)
            found[seed] += more
            gaps[seed] += total
    table = [rows(found[seed]) for seed in options.seeds]
    document = {
        "command": command(),
        **provenance(),
        "model": model.name,
        "model_sha256": model.digest,
        "drawn": options.drawn,
        "seeds": options.seeds,
        "gaps": list(gaps.values()),
        "unsure": [len(found[seed]) for seed in options.seeds],
        "rows": [
            {
                "picked": name,
                "accuracy": [round(float(np.mean(t[name])), 4) for t in table],
                "perfect": [round(float(np.mean(np.array(t[name]) == 1)), 4) for t in table],
            }
            for name in table[0]
        ],
    }
    options.out.write_text(json.dumps(document, indent=1) + "\n")
    print(options.out)


if __name__ == "__main__":
    main()
