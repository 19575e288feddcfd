"""A network that reads what the mixture's experts hold likely: its lessons, its training, and what comes of it.

    python benchmarks/informed.py lessons --data adfa --from data --part 0 --number 3000 --into lessons
    python benchmarks/informed.py train --data adfa --from data --into lessons --minutes 20 --seed 0
    python benchmarks/informed.py judge --data adfa --from data --into lessons --windows 1000

``lessons``: gaps in the training traces, with what the experts hold likely who don't know the trace: of PARTS parts of
the traces one is asked about, with the others as what is known. One part at a time, so that they can be made side by
side. ``train``: a network learns from all that are there. ``judge``: the same windows as in experiments/honest.toml, of
which only those count that occur nowhere in training; the networks beside the experts, and beside a mixture whose
powers are fitted to windows of the validation traces.

``--data lost`` is about truly lost events instead. Its lessons are gaps of simulated losses in the corpus's training
recordings, half of them with other runs of their workload to copy from, half without; it is judged on the really lossy
recordings, as experiments/authentic.toml says.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import ROOT, command
from numpy.typing import NDArray

from tracemend.datasets import Data, LossyRun, corpus, load, pairs, workload
from tracemend.diffusion.gaps import lose
from tracemend.diffusion.informed import network as networks
from tracemend.diffusion.informed.answers import answers
from tracemend.diffusion.informed.clues import Clue
from tracemend.diffusion.informed.clues import load as load_clues
from tracemend.diffusion.informed.clues import save as save_clues
from tracemend.diffusion.informed.lessons import Course, Lessons
from tracemend.judging import lost
from tracemend.judging.contests import SPLIT
from tracemend.judging.informed import InformedMixture
from tracemend.judging.metrics import LENGTH_BINS, bin_name, calibration_error, interval
from tracemend.judging.provenance import provenance
from tracemend.judging.windows import blackout
from tracemend.menders.examples import shipped as examples
from tracemend.menders.mixture import EXPERTS, LENGTHS, Evidence, fit, shipped
from tracemend.mending.mended import Mended
from tracemend.mending.options import Options
from tracemend.mending.run import mend_trace
from tracemend.mending.surroundings import Surroundings
from tracemend.recording.corpus import HOW
from tracemend.trace import ngrams
from tracemend.trace.events import Trace
from tracemend.trace.vocabulary import universal
from tracemend.trace.windows import Stream, streams, window

PARTS, LOST, UNSEEN = 8, "lost", "by workload"
MIXTURE, MOSAIC = "mixture", "mosaic + examples"
#: Events of a stretch that loses some.
EVENTS = 20_000
LENGTH, LONGEST, GAPS, STEPS = 200, 40, (1, 10, 40), (1, 4)
BEST = "the best of all, chosen by the truth"


def lessons(given: argparse.Namespace) -> None:
    given.into.mkdir(parents=True, exist_ok=True)
    path = given.into / f"{given.data}-{given.part}.npz"
    if not path.exists():
        save_clues((_of_recordings if given.data == LOST else _of_windows)(given), path)


def _of_windows(given: argparse.Namespace) -> list[Clue]:
    """Gaps of 10 events, and as many of other lengths, log-uniform, in windows that are drawn as those of the test and
    occur nowhere in what is known."""
    data = load(given.data, given.folder)
    held, known = ([s for i, s in enumerate(data.train) if (i % PARTS == given.part) is own] for own in (True, False))
    held = [s for s in held if len(s) >= LENGTH]
    seen, experts = ngrams.distinct((s.ids for s in known), LENGTH), _experts(known)
    rng = np.random.default_rng([given.seed, given.part])
    found: list[Clue] = []
    begun = time.monotonic()
    for _ in range(20 * given.number):
        stream = held[rng.integers(len(held))]
        begin = int(rng.integers(0, len(stream) - LENGTH + 1))
        part = stream[begin : begin + LENGTH]
        if ngrams.occur(ngrams.windows(part.ids[None]), seen)[0]:
            continue
        n = 10 if rng.random() < 0.5 else int(np.exp(rng.uniform(0, np.log(LONGEST + 1))))
        found.append(_asked(experts, part, n, len(found)))
        if len(found) % 500 == 0:
            print(given.part, len(found), f"{len(found) / (time.monotonic() - begun):.1f} a second", flush=True)
        if len(found) == given.number:
            break
    return found


def _of_recordings(given: argparse.Namespace) -> list[Clue]:
    """Gaps as tracers make them in the training recordings, each of which loses some of its events again and again."""
    held = corpus(ROOT / "corpus", "train", ROOT / SPLIT)
    known = [(workload(t), str(t.path), streams(t, universal(), shortest=1)) for t in held]
    found: list[Clue] = []
    begun = time.monotonic()
    for number, trace in enumerate(held):
        if number % PARTS != given.part:
            continue
        own = workload(trace)
        for seen in (False, True):
            others = [s for name, path, of in known if (path != str(trace.path) if seen else name != own) for s in of]
            for seed in range(given.number):
                found += _lost(trace, others, np.random.default_rng([given.seed, number, seen, seed]))
        print(given.part, own, len(found), f"{len(found) / (time.monotonic() - begun):.1f} a second", flush=True)
    return found


def _lost(trace: Trace, others: list[Stream], rng: np.random.Generator) -> list[Clue]:
    """Gaps of a stretch of a recording that loses three tenths of its events."""
    begin = int(rng.integers(0, max(1, len(trace) - EVENTS)))
    part = replace(trace, table=trace.table.slice(begin, EVENTS))
    lossy, missing = lose(part, rng)
    vocabulary = universal().extended(part)
    truth = vocabulary.encode(part).astype(np.int64)
    experts = _experts(streams(lossy, vocabulary, shortest=1), others)
    around = Surroundings(lossy, vocabulary.encode(lossy).astype(np.int64))
    found = []
    for gap, rows in zip(lossy.gaps, missing, strict=True):
        sides = around.of(gap, experts.context)
        (clue,) = experts.clues(window(*sides, len(rows), gap.duration_ns), None, gap.number)
        found.append(clue.told(truth[rows]))
    return found


def _experts(known: list[Stream], examples: Sequence[Stream] = ()) -> InformedMixture:
    """They only tell: of the network nothing is asked."""
    return InformedMixture(known, examples, networks.Informed(networks.Shape(1, LENGTHS, 8, 0, 1)))


def _asked(experts: InformedMixture, stream: Stream, n: int, seed: int) -> Clue:
    """What the experts say of the middle of a window."""
    at = (len(stream) - n) // 2
    (clue,) = experts.clues(window(stream[:at], stream[at + n :], n), None, seed)
    return clue.told(stream.ids[at : at + n])


def train(given: argparse.Namespace) -> None:
    """A network learns from all lessons that there are."""
    known, taught = _taught(given)
    clues = [c for path in sorted(given.into.glob(f"{given.data}-?.npz")) for c in load_clues(path)]
    torch.manual_seed(given.seed)
    shape = networks.Shape(known, LENGTHS, given.width, given.layers, context=given.context)
    network = networks.Informed(shape, shipped().power_FE)
    print(f"{len(clues):,} gaps, {sum(p.numel() for p in network.parameters()):,} parameters", flush=True)
    course = Course(minutes=given.minutes, alone=given.alone, beside=given.beside)
    learning = Lessons(network, clues, taught, course, given.seed)
    losses: dict[bool, list[float]] = {True: [], False: []}
    told = time.monotonic()
    for step in learning.steps():
        losses[step.plain].append(step.loss)
        if time.monotonic() - told > 30:
            told = time.monotonic()
            means = [f"{np.mean(losses[plain][-200:] or [0]):.3f}" for plain in (False, True)]
            print(f"{step.done:.0%} step {step.number}: loss {means[0]}, without evidence {means[1]}", flush=True)
    networks.save(network, learning.average, given.into / f"{given.data}-{given.name or given.seed}.safetensors")


def _taught(given: argparse.Namespace) -> tuple[int, list[Stream]]:
    """How many ids have rows of their own, and the streams to learn from without evidence."""
    if given.data != LOST:
        data = load(given.data, given.folder)
        return len(data.vocabulary), data.train
    held = corpus(ROOT / "corpus", "train", ROOT / SPLIT)
    return len(universal()), [s for t in held for s in streams(t, universal(), shortest=2)]


def judge(given: argparse.Namespace) -> None:
    """The networks that there are, beside the experts and the mixture, on the same gaps."""
    rows = (_on_lost if given.data == LOST else _on_windows)(given)
    document = json.loads(given.out.read_text()) if given.out.exists() else {"rows": []}
    kept = [r for r in document["rows"] if r["data"] != given.data]
    about = {"command": command(), "seed": given.seed, **provenance(), "lessons": _number(given)}
    given.out.write_text(json.dumps({"rows": kept + [r | about for r in rows]}, indent=1) + "\n")


def _on_lost(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Recordings that really lost events, of workloads that nobody has learnt from: by bin of length the scores of each
    mender, and how much better it is than the mosaic on the same gaps."""
    models = sorted(map(str, given.into.glob(f"{LOST}-*.safetensors")))
    recordings = [r for r in pairs(ROOT / "corpus", ROOT / SPLIT) if r.how in HOW and r.tests == UNSEEN]
    with ProcessPoolExecutor(given.jobs, multiprocessing.get_context("spawn")) as pool:
        found = [r for rows in pool.map(partial(_lost_rows, models), recordings) for r in rows]
    rows = []
    for cell in lost.by_length(found):
        mender, _, model = cell["mender"].partition(", ")
        told = {"data": LOST, "part": UNSEEN, "mender": mender, "model": model}
        rows.append(cell | told | _better(found, cell["mender"], cell["length"]))
        print({k: rows[-1][k] for k in ("mender", "model", "length", "gaps", "accuracy", "more")}, flush=True)
    return rows


def _lost_rows(models: Sequence[str], recording: LossyRun) -> list[dict[str, Any]]:
    """All contestants on one recording."""
    torch.set_num_threads(1)
    names = [MOSAIC, f"{MIXTURE} + examples"]
    for model in models:
        name = f"informed + examples, {Path(model).stem}"
        lost.CONTESTANTS[name] = partial(_informed, _loaded(model))
        names.append(name)
    rows = [lost.row(lost.Job(recording.name, name, "", 3, 0), recording, _knowledge()) for name in names]
    print(recording.name, [round(float(np.mean(r["gaps"]["accuracy"])), 3) for r in rows], flush=True)
    return rows


_loaded = cache(lambda model: networks.load(Path(model)))
_knowledge = cache(lambda: lost.Knowledge(ROOT, ""))


def _better(rows: Sequence[dict[str, Any]], name: str, n: str) -> dict[str, Any]:
    """How much more of a gap's events are right than by the mosaic; paired by gap, the interval over recordings."""
    both = {m: {r["pair"]: r["gaps"] for r in rows if r["mender"] == m} for m in (name, MOSAIC)}
    more, recording = [], []
    for k, (pair, gaps) in enumerate(both[name].items()):
        length, own = np.array(gaps["length"]), np.array(gaps["accuracy"])
        within = np.array([n in ("all", _bin(x)) for x in length.tolist()])
        more.append((own - np.array(both[MOSAIC][pair]["accuracy"]))[within])
        recording.append(np.full(int(within.sum()), k))
    values = np.concatenate(more)
    low, high = interval(values, np.random.default_rng(0), group_G=np.concatenate(recording))
    return {"more": float(values.mean()), "more_interval": [low, high]}


def _bin(n: int) -> str:
    return next(bin_name(low, high) for low, high in LENGTH_BINS if low <= n <= high)


def _informed(network: networks.Informed, lossy: Trace, known: lost.Knowledge, only: set[int], seed: int) -> Mended:
    own = streams(lossy, universal().extended(lossy), shortest=1)
    mender = InformedMixture(own, examples(), network)
    return mend_trace(lossy, mender, Options(seed=seed, only=frozenset(only)), copier=None)


def _on_windows(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Windows of the test traces that occur nowhere in training."""
    data = load(given.data, given.folder)
    experts = _experts(data.train)
    rows: list[dict[str, Any]] = []
    models: dict[str, networks.Informed | networks.Together] = {
        p.stem: networks.load(p) for p in sorted(given.into.glob(f"{given.data}-*.safetensors"))
    }
    models["together"] = networks.Together([m for m in models.values() if isinstance(m, networks.Informed)])
    for n in GAPS:
        fitted, _ = _told(experts, replace(data, test=data.validation), n, given.windows // 2, given.into, "validation")
        power_E = fit([_evidence(c) for c in fitted], [c.truth_N.astype(np.int64) for c in fitted])
        clues, group = _told(experts, data, n, given.windows, given.into, "test")
        base = {"data": given.data, "gap": n}
        truth = np.stack([c.truth_N for c in clues]).astype(np.int64)
        for e, name in enumerate(EXPERTS):
            own, belief = (
                np.stack([_named(c)[e] for c in clues]),
                np.stack([c.p_NCE[..., e].max(axis=1) for c in clues]),
            )
            rows.append(base | {"mender": name} | _scored(own, belief, truth, group))
        rows.append(base | {"mender": BEST, **_by_the_truth(clues, truth, group)})
        mixed = [_mixed(_evidence(c), power_E) for c in clues]
        events, belief = (np.stack([x[k] for x in mixed]) for k in (0, 1))
        rows.append(base | {"mender": MIXTURE, "powers": [round(p, 4) for p in power_E]})
        rows[-1] |= _scored(events, belief, truth, group)
        by_mixture = (events == truth).mean(axis=1)
        for name, network in models.items():
            for steps in STEPS if n > 1 else (1,):
                told = answers(network, clues, steps)
                events, p = (np.stack([x[k][:, 0] for x in told]) for k in (0, 1))
                more = (events == truth).mean(axis=1) - by_mixture
                ends = interval(more, np.random.default_rng(0), group_G=group)
                row = base | {"mender": "informed", "model": name, "steps": steps} | _scored(events, p, truth, group)
                rows.append(row | {"more": round(float(more.mean()), 4), "more_interval": [round(x, 4) for x in ends]})
        for row in rows:
            if row["gap"] == n:
                print({k: v for k, v in row.items() if k != "powers"}, flush=True)
    return rows


def _named(clue: Clue) -> NDArray[np.int64]:
    """What each expert by itself would fill in (E, N)."""
    best_NE = clue.p_NCE.argmax(axis=1)
    return np.take_along_axis(clue.events_NC, best_NE, axis=1).T.astype(np.int64)


def _by_the_truth(clues: Sequence[Clue], truth: NDArray[np.int64], group: NDArray[np.int64]) -> dict[str, Any]:
    """The best of the experts' fills and the drawn ones, of each gap the one with the most events right: what nobody
    can choose who doesn't know the truth."""
    chosen = []
    for clue, true in zip(clues, truth, strict=True):
        every = np.concatenate([_named(clue), clue.drawn_DN])
        chosen.append(every[(every == true).sum(axis=1).argmax()])
    return _scored(np.stack(chosen), np.ones(truth.shape, np.float32), truth, group) | {"calibration_error": None}


def _number(given: argparse.Namespace) -> int:
    return sum(len(load_clues(p)) for p in given.into.glob(f"{given.data}-?.npz"))


def _told(
    experts: InformedMixture, data: Data, n: int, number: int, into: Path, part: str
) -> tuple[list[Clue], NDArray[np.int64]]:
    """Windows of the test part that occur nowhere in training, with what is known of their middles; kept for the next
    time."""
    windows, known = data.windows(LENGTH, number), blackout(LENGTH, n, "centre")
    unseen = data.subsets(windows, known)["unseen"]
    path = into / f"{data.name.replace('/', '-')}-{part}-{n}-{number}.npz"
    if not path.exists():
        threads = np.zeros(LENGTH, np.int64)
        save_clues([_asked(experts, Stream(ids, threads), n, k) for k, ids in enumerate(windows.ids_NL[unseen])], path)
    return load_clues(path), windows.group_N[unseen]


def _evidence(clue: Clue) -> Evidence:
    return Evidence(clue.events_NC.astype(np.int64), clue.p_NCE.astype(np.float32))


def _mixed(evidence: Evidence, power_E: tuple[float, ...]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    odds = evidence.odds(power_E)
    p = np.exp(odds - odds.max(axis=1, keepdims=True))
    rows = np.arange(len(p))
    return evidence.events_NC[rows, odds.argmax(axis=1)], (p / p.sum(axis=1, keepdims=True)).max(axis=1)


def _scored(
    events: NDArray[Any], belief: NDArray[Any], truth: NDArray[np.int64], group: NDArray[np.int64]
) -> dict[str, Any]:
    right = events == truth
    rng = np.random.default_rng(0)
    found: dict[str, Any] = {"windows": len(truth)}
    for name, values in (("accuracy", right.mean(axis=1)), ("perfect", right.all(axis=1).astype(float))):
        found[name] = round(float(values.mean()), 4)
        found[f"{name}_interval"] = [round(x, 4) for x in interval(values, rng, group_G=group)]
    error = calibration_error(belief.ravel().astype(np.float64), right.ravel())
    return found | {"calibration_error": round(error, 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("lessons", "train", "judge"))
    parser.add_argument("--data", default="adfa")
    parser.add_argument("--from", dest="folder", type=Path, required=True, help="a folder with the data sets")
    parser.add_argument("--into", type=Path, required=True, help="lessons, networks and what is asked of them")
    parser.add_argument("--part", type=int, default=0)
    parser.add_argument("--number", type=int, default=3000, help="gaps of a part, losses of a recording")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--alone", type=float, default=0.3)
    parser.add_argument("--beside", type=float, default=0.2)
    parser.add_argument("--context", type=int, default=32, help="known events that are read on each side")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--name", default="", help="of the network, the seed if not given")
    parser.add_argument("--windows", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=2, help="recordings that are judged side by side")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "informed.json")
    given = parser.parse_args()
    {"lessons": lessons, "train": train, "judge": judge}[given.what](given)


if __name__ == "__main__":
    main()
