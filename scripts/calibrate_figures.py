"""Fit how wide the intervals of figures must be, on validation recordings (src/tracemend/reckoning/intervals.json).

    python scripts/calibrate_figures.py [--corpus corpus] [--seed 0] [--draws 16] [--keep FOLDER]

The recordings are the validation part of experiments/workloads.toml: not trained on, not tested on. Complete ones
lose events as a ring buffer does (``diffusion/gaps.py``); whole machines (corpus/kernel, run 2) really lost theirs, and
are taken as they are and with their system calls alone. Half of them are mended with other runs of the workload as
examples, half without. They don't say which threads are one process: threads of one command stand for one.

An end of an interval is so far from the estimate that 95 % of the figures lie on its inner side: the 95 % quantile
regression (Koenker and Bassett 1978) of the residual on ``intervals.terms``, then made to hold by conformal factors
(Romano, Patterson and Candes 2019; cross-conformal, Vovk 2015) for figures whose draws agree less and less, or of which
more was lost. A figure counts if something of it was lost in truth or in any draw. What is printed is of workloads that
had no part in the fit.

Axis legend: K figures, H draws, T terms, G gaps.
"""

from __future__ import annotations

import argparse
import json
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.datasets import corpus, workload
from tracemend.diffusion.gaps import lose
from tracemend.judging.amounts import KINDS
from tracemend.judging.figures import Judging
from tracemend.judging.metrics import LENGTH_BINS, bin_name
from tracemend.mending.mended import INFERRED, Mended
from tracemend.mending.options import Options
from tracemend.mending.run import mend_trace
from tracemend.reckoning.figures import FIGURES
from tracemend.reckoning.intervals import DRAWS, GRADES, NOMINAL, End, estimated, root, shared_out, size, terms
from tracemend.reckoning.tally import BY, Asked
from tracemend.reckoning.whole import FIGURES_BY, reckoned
from tracemend.recording import Pair, pairs
from tracemend.trace.events import INSTANT, Gap, Trace
from tracemend.trace.vocabulary import universal
from tracemend.trace.windows import Stream, streams

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ROOT = Path(__file__).parents[1]
SPLIT = ROOT / "experiments" / "workloads.toml"
OUT = ROOT / "src" / "tracemend" / "reckoning" / "intervals.json"
EVENTS, SHARE, LONGEST = 12_000, 0.35, 3000  # of each recording with simulated losses
#: All that is counted.
ALL = Asked(BY, processes=True)
TAIL = (1 + NOMINAL) / 2
SIDES = {"low": -1, "high": 1}
#: What share of figures factors put on the inner side of an end: with 95 % of the weighted ones, 87 to 89 % of all
#: figures of whole traces lay within on workloads that had no part in the fit.
INSIDE = 0.965
#: Up to which grades factors are.
UPTO = {
    "dissent": (0.003, 0.03, 0.1, 0.2, 0.4, 0.8, 1.6),
    "size": (1.0, 5.0, 25.0, 125.0, 625.0, 3125.0, 15625.0),
}
#: No factor is more than that, for what a few figures did that nobody could foresee.
WIDEST = 5.0
#: The fewest figures that have a factor of their own.
FEWEST = 200
FOLDS, LEAST_WORKLOADS = 4, 8
#: Weights of terms are e to the power of something in between.
LEAST, MOST = -14, 3


@dataclass(frozen=True)
class Sample:
    """Figures of one kind of one recording: of the whole trace (``length`` 0), or of gaps. Each (K,), draws (H, K)."""

    kind: str
    workload: str
    seen: bool
    truth: Floats
    observed: Floats
    usual: Floats
    draws: Floats
    length: Ints

    @property
    def grounds(self) -> Floats:
        return terms(self.draws, self.observed, self.usual, self.kind)

    @property
    def weight(self) -> Floats:
        """What each figure counts (K,): recordings of many figures count more, but not as many times more."""
        return np.full(len(self.truth), max(1, len(self.truth)) ** -0.75)

    def lost(self) -> Sample:
        """Those of which something was lost in truth or in any draw."""
        at = (self.truth != self.observed) | (self.draws != self.observed).any(axis=0)
        truth, observed, usual = self.truth[at], self.observed[at], self.usual[at]
        return replace(
            self, truth=truth, observed=observed, usual=usual, draws=self.draws[:, at], length=self.length[at]
        )


def losses(folder: Path, seed: int) -> Iterator[tuple[str, str, Pair]]:
    """Validation recordings with holes: how they lost, their workloads, and the recordings with their truth."""
    for number, trace in enumerate(corpus(folder, "validation", SPLIT)):
        rng = np.random.default_rng([seed, number])
        begin = int(rng.integers(0, max(1, len(trace) - EVENTS)))
        part = replace(trace, table=trace.table.slice(begin, EVENTS))
        lossy, missing = lose(part, rng, share=SHARE, shortest=3, longest=LONGEST)
        if missing:
            yield "simulated", workload(trace), Pair(lossy, part, missing)
    for path in sorted((folder / "kernel" / "pairs").glob("*-2-*.parquet")):
        pair = pairs.read(path).told()
        name = path.stem.rsplit("-", 2)[0]
        yield "machine", name, pair
        yield "calls", name, calls_alone(pair)


def calls_alone(pair: Pair) -> Pair:
    """A recording of a whole machine as if only system calls had been recorded."""
    kept, whole = pair.lossy.phase != INSTANT, pair.complete.phase != INSTANT
    row, row_whole = np.cumsum(kept) - 1, np.cumsum(whole) - 1
    ours = pair.lossy.table.filter(pa.array(kept))
    time_ns = ours["time_ns"].to_numpy()
    found = []
    for gap, missing in zip(pair.lossy.gaps, pair.missing, strict=True):
        lost = missing[whole[missing]]
        stream = pair.lossy.streams.get(gap.cpu, np.empty(0, np.int64))
        stream = stream[kept[stream]]
        at = int(np.searchsorted(stream, len(kept) if gap.after is None else gap.after))
        before = int(row[stream[at - 1]]) if at else None
        after = int(row[stream[at]]) if at < len(stream) else None
        found.append((gap, before, after, row_whole[lost]))
    gaps: list[Gap] = []
    missing_of: list[Ints] = []
    for gap, before, after, lost in found:
        if gaps and (gaps[-1].cpu, gaps[-1].before, gaps[-1].after) == (gap.cpu, before, after):
            missing_of[-1] = np.concatenate([missing_of[-1], lost])
        elif len(lost):
            begin = int(time_ns[0] if before is None else time_ns[before])
            end = int(time_ns[-1] if after is None else time_ns[after])
            gaps.append(replace(gap, number=len(gaps), before=before, after=after, begin_ns=begin, end_ns=end))
            missing_of.append(lost)
    lossy = replace(pair.lossy, table=ours, gaps=tuple(gaps))
    return Pair(lossy, replace(pair.complete, table=pair.complete.table.filter(pa.array(whole))), missing_of).told()


def mended(folder: Path, seed: int, draws: int, keep: Path | None) -> Iterator[tuple[str, bool, Judging]]:
    """Each with its workload, and whether other runs of it were examples. keep: a folder of what is mended already."""
    known: dict[str, list[Stream]] = {}
    for trace in corpus(folder, "train", SPLIT):
        known.setdefault(workload(trace), []).extend(streams(trace, universal(), shortest=1))
    for number, (how, name, pair) in enumerate(losses(folder, seed)):
        seen = (number // (1 if how == "simulated" else 2)) % 2 == 0
        there = keep / f"{how}-{name}.pickle" if keep else None
        if there and there.exists():
            result: Mended = pickle.loads(there.read_bytes())
        else:
            examples = [s for of, held in known.items() if seen or of != name for s in held]
            result = mend_trace(pair.lossy, None, Options(seed, hypotheses=draws), shipped=examples)
            print(f"{how} {name}: {len(pair.lossy):,} events, {pair.lost:,} lost", flush=True)
        if there and not there.exists():
            there.write_bytes(pickle.dumps(result))
        yield name, seen, Judging(pair, result, draws)


def samples(name: str, seen: bool, judging: Judging) -> Iterator[Sample]:
    """All kinds of figures of the whole trace, and those of gaps."""
    processes = groups(judging.pair.complete)
    complete = replace(judging.pair.complete, processes=processes)
    truth = reckoned(Mended(complete, INFERRED.empty_table(), (), {}), 1, ALL)
    given = replace(judging.mended, trace=replace(judging.mended.trace, processes=processes))
    ours = reckoned(given, judging.draws, ALL)
    told = {"errors": ours.counted.results, "cpu_ns": ours.counted.switched}
    for by in FIGURES_BY:
        (real_keys, real), (keys, made) = truth.sides(by), ours.sides(by)
        if real_keys.width != keys.width and by == "time":
            continue
        at = {k: i for i, k in enumerate(real_keys.keys)}
        there = np.array([at.get(k, -1) for k in keys.keys], np.int64)
        # a figure that has no row has no interval
        true = np.where(there[:, None] >= 0, real[0][there], 0)
        for figure, column in FIGURES.items():
            if not told.get(figure, True):
                continue
            sides = [side.astype(float) for side in (true[:, column], made[0, :, column], made[1:, :, column])]
            if by == "thread":
                all_of = (real[0, :, column].sum(), *(side.sum(axis=-1) for side in sides[1:]))
                yield of_whole(f"total {figure}", name, seen, *(np.asarray(s, float)[..., None] for s in all_of))
                sides = [side[..., np.isin(keys.numbers, judging.pair.lossy.tid)] for side in sides]
            yield of_whole(f"{by} {figure}", name, seen, *sides)
    length = np.array([len(m) for m in judging.pair.missing], np.int64)
    for kind in KINDS:
        gap, usual, true_part, draws = judging.lost_in_gaps(kind)
        yield Sample(kind, name, seen, true_part, np.zeros(len(gap)), usual, draws, length[gap]).lost()


def groups(trace: Trace) -> dict[int, int]:
    """Threads of one command as if they were a process, by the first one's number: the recordings don't say which
    threads are."""
    codes, _ = trace.comms
    first: dict[int, int] = {}
    named = np.flatnonzero((codes >= 0) & (trace.tid >= 0))
    pairs = np.unique(np.stack([trace.tid[named], codes[named]]), axis=1).T.tolist()
    return {tid: first.setdefault(code, tid) for tid, code in pairs}


def of_whole(kind: str, name: str, seen: bool, truth: Floats, observed: Floats, draws: Floats) -> Sample:
    usual = shared_out(draws, observed)
    return Sample(kind, name, seen, truth, observed, usual, draws, np.zeros(len(truth), np.int64)).lost()


def fit(found: Sequence[Sample]) -> dict[str, End]:
    """The ends of one kind's intervals. found: of several workloads."""
    return {side: _fitted(found, sign) for side, sign in SIDES.items()}


def _fitted(found: Sequence[Sample], sign: int) -> End:
    """One end: factors are of workloads that had no part in the weights they multiply, for nobody's program had one in
    what is shipped. They go by whatever makes the loss least."""
    held_out = [(s, regression(others, sign)) for own, others in folds(found) for s in own]
    grounds = np.concatenate([s.grounds for s, _ in held_out], axis=1)
    near = np.concatenate([np.maximum(root(s.grounds, weights), 1e-9) for s, weights in held_out])
    residual = sign * np.concatenate([s.truth - estimated(s.draws) for s, _ in held_out])
    weight = np.concatenate([s.weight for s, _ in held_out])
    final = regression(found, sign).tolist()
    tried = []
    for by, edges in UPTO.items():
        grade = GRADES[by](grounds)
        upto, times = factors(residual / near, grade, weight, edges)
        out = residual - near * np.array(times)[np.searchsorted(upto, grade)]
        tried.append((pinball(out, at_stake(grounds), weight), End(by, final, upto, times)))
    return min(tried, key=lambda found: found[0])[1]


def folds(found: Sequence[Sample]) -> Iterator[tuple[list[Sample], list[Sample]]]:
    """Samples of some workloads, and those of the others."""
    names = sorted({s.workload for s in found})
    for fold in range(FOLDS):
        out = set(names[fold::FOLDS])
        yield [s for s in found if s.workload in out], [s for s in found if s.workload not in out]


def regression(found: Sequence[Sample], sign: int) -> Floats:
    """The weights (T,) of terms by which 95 % of the truth lies on the inner side."""
    grounds = np.concatenate([s.grounds for s in found], axis=1)
    residual = sign * np.concatenate([s.truth - estimated(s.draws) for s in found])
    weight = np.concatenate([s.weight for s in found])
    scale = at_stake(grounds)

    def loss(logs: Floats) -> float:
        return pinball(residual - root(grounds, np.exp(logs)), scale, weight)

    logs = descended(loss, np.full(len(grounds), -1.0))
    return np.array([float(f"{w:.3g}") for w in np.where(logs > LEAST, np.exp(logs), 0)])


def at_stake(grounds: Floats) -> Floats:
    """What an error is measured by (K,): how much there was to lose."""
    return np.asarray((10 + size(grounds)) * np.sqrt(grounds[-1]))


def pinball(out: Floats, scale: Floats, weight: Floats) -> float:
    """The loss that is least if 95 % lie inside; out: how far outside each lies (K,)."""
    return float(np.average(np.where(out > 0, TAIL * out, (TAIL - 1) * out) / scale, weights=weight))


def factors(ratio: Floats, grade: Floats, weight: Floats, edges: Sequence[float]) -> tuple[list[float], list[float]]:
    """Up to which grades, and what 95 % of the ratios of figures (K,) of these grades are no more than."""
    upto, times, begin = [], [], -1.0
    for edge in (*edges, np.inf):
        within = (grade > begin) & (grade <= edge)
        rest = grade > edge
        if (within.sum() < FEWEST or 0 < rest.sum() < FEWEST) and rest.any():
            continue
        if within.any():
            times.append(float(np.clip(np.ceil(1e4 * quantile(ratio[within], weight[within])) / 1e4, 0, WIDEST)))
            upto.append(edge)
        begin = edge
    return upto[:-1], times


def descended(loss: Callable[[Floats], float], at: Floats) -> Floats:
    """The lowest place near one (T,), coordinate by coordinate."""
    best, step = loss(at), np.full(len(at), 2.0)
    for _ in range(60):
        for i in range(len(at)):
            tried = (np.clip(at + sign * step[i] * (np.arange(len(at)) == i), LEAST, MOST) for sign in (1, -1))
            lower = next(((value, there) for there in tried if (value := loss(there)) < best - 1e-9), None)
            step[i] *= 1.3 if lower else 0.6
            if lower:
                best, at = lower
        if step.max() < 0.02:
            break
    return at


def quantile(values: Floats, weight: Floats) -> float:
    """What ``INSIDE`` of the values are no more than, by their weights; a little more where there are few."""
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weight[order])
    level = min(1.0, INSIDE * (1 + 1 / len(values)))
    return float(values[order][min(int(np.searchsorted(total, level * total[-1])), len(values) - 1)])


def held(sample: Sample, ends: dict[str, End]) -> tuple[NDArray[np.bool_], Floats]:
    """Whether each interval holds the truth (K,), and how wide it is (K,)."""
    grounds, centre = sample.grounds, estimated(sample.draws)
    least = np.zeros(len(centre)) if sample.kind.endswith(" time_ns") else sample.observed
    low = np.maximum(np.ceil(centre - ends["low"].distance(grounds)), least)
    high = np.maximum(np.floor(centre + ends["high"].distance(grounds)), least)
    return (low <= sample.truth) & (sample.truth <= high), high - low


def checked(found: Sequence[Sample]) -> None:
    """Print how often intervals hold on workloads that had no part in the fit."""
    right: dict[tuple[str, bool], list[tuple[NDArray[np.bool_], Floats, Floats, Ints]]] = {}
    for own, others in folds(found):
        ends = fit(others)
        for s in own:
            level = "gaps" if s.length.any() else "whole"
            right.setdefault((level, s.seen), []).append((*held(s, ends), s.truth, s.length))
    for (level, seen), parts in sorted(right.items()):
        ok, wide, truth, length = (np.concatenate([p[i] for p in parts]) for i in range(4))
        text = f"{found[0].kind}, {level}, {'seen' if seen else 'unseen'}: {ok.mean():.3f} of {len(ok)} held, "
        text += f"width {wide.sum() / max(1, truth.sum()):.2f} of the truth"
        bins = [(b, (length >= b[0]) & (length <= b[1])) for b in LENGTH_BINS]
        print(text, *(f"{bin_name(*b)}: {ok[at].mean():.2f}" for b, at in bins if at.sum() > 20), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--corpus", type=Path, default=ROOT / "corpus")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--keep", type=Path, help="a folder that keeps what was mended")
    options = parser.parse_args()
    found: dict[str, list[Sample]] = {}
    number = 0
    for recording in mended(options.corpus, options.seed, options.draws, options.keep):
        number += 1
        for sample in samples(*recording):
            if len(sample.truth):
                found.setdefault(sample.kind, []).append(sample)
    kinds = {}
    for kind in sorted(found):
        if len({s.workload for s in found[kind]}) < LEAST_WORKLOADS:
            continue
        checked(found[kind])
        kinds[kind] = {side: vars_of(end) for side, end in fit(found[kind]).items()}
    made = {"command": "python scripts/calibrate_figures.py", "seed": options.seed, "draws": options.draws}
    document = {"made": {**made, "recordings": number}, "kinds": kinds}
    OUT.write_text(json.dumps(document, indent=1) + "\n")


def vars_of(end: End) -> dict[str, Any]:
    """For JSON."""
    return {"by": end.by, "weights": list(end.weights), "upto": list(end.upto), "times": list(end.times)}


if __name__ == "__main__":
    main()
