"""Contests over truly lost events: menders on recordings whose other half is the truth, by the gap's length.

A contest is a ``[[lost]]`` table of an experiment's file (experiments/authentic.toml). A row of results is one mender
on one recording with the scores of each gap, so that every table can be made from the same rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path

import numpy as np

from tracemend.datasets import LossyRun, Part, corpus
from tracemend.diffusion import DEFAULT_MODEL
from tracemend.errors import DataError, ModelError, extra, one_of
from tracemend.judging import kernel
from tracemend.judging.contests import SPLIT, Kind, about, told
from tracemend.judging.evaluate import PARTS, TRAINED, part_of_mend
from tracemend.judging.gaps import MEANS, GapScore, judge
from tracemend.judging.grid import read_tables
from tracemend.judging.likelihood import Likelihood, held_out
from tracemend.judging.metrics import LENGTH_BINS, bin_name, confidence_bins, error_by_chance, error_of_bins, interval
from tracemend.judging.report import markdown_table, triple
from tracemend.judging.results import Row
from tracemend.menders import MENDERS, NGram
from tracemend.menders.base import Mender, Trained
from tracemend.menders.examples import shipped
from tracemend.mending.mended import Mended
from tracemend.mending.options import Options
from tracemend.mending.run import COPIERS, MIXTURE, mend_trace
from tracemend.recording import Pair
from tracemend.recording.corpus import HOW, HOW_KERNEL, HOW_UST
from tracemend.trace.events import Trace
from tracemend.trace.vocabulary import universal
from tracemend.trace.windows import Stream, streams

#: What tells one row from another, the fields of a Job. ``most``: gaps filled of each recording and bin of length.
KEY = ("pair", "mender", "model", "most", "seed")
#: What each gap is scored by, besides its length.
SCORES = ("accuracy", *MEANS, "bits", "bits_truth")
#: What every row has the scores of.
GAPS = "gaps"


@dataclass(frozen=True)
class Knowledge:
    """What menders know besides the lossy trace; made once for all recordings, when it is first asked for.

    folder: holds corpus/ and experiments/workloads.toml. model: a folder, or the shipped model's name.
    """

    folder: Path
    model: str

    def _part(self, part: Part) -> list[Stream]:
        traces = corpus(self.folder / "corpus", part, self.folder / SPLIT)
        return [s for t in traces for s in streams(t, universal(), shortest=1)]

    @cached_property
    def machines(self) -> list[Trace]:
        """Whole machines during the training runs."""
        return corpus(self.folder / "corpus" / "kernel", "train", self.folder / SPLIT)

    @cached_property
    def taught(self) -> Mender:
        """An n-gram bridge that has learnt from the training recordings."""
        return NGram(self._part("train"))

    @cached_property
    def network(self) -> Trained:
        with extra("diffusion"):
            from tracemend.diffusion.restorer import load
        return load(self.model)

    @cached_property
    def likelihood(self) -> Likelihood | None:
        """How likely events are to who knows the validation recordings."""
        return held_out(self._part("validation"), universal())


Contestant = Callable[[Trace, Knowledge, set[int], int], Mended]


def _baseline(name: str, lossy: Trace, knowledge: Knowledge, only: set[int], seed: int) -> Mended:
    mender = MENDERS[name](streams(lossy, universal().extended(lossy), shortest=1))
    return mend_trace(lossy, mender, Options(seed=seed, only=frozenset(only)))


def _part_of_mend(name: str, lossy: Trace, knowledge: Knowledge, only: set[int], seed: int) -> Mended:
    model = knowledge.network if name in TRAINED else None
    return part_of_mend(name, model)(lossy, Options(seed=seed, only=frozenset(only)))


def _with_machines(name: str, lossy: Trace, knowledge: Knowledge, only: set[int], seed: int) -> Mended:
    options = Options(seed=seed, only=frozenset(only))
    return mend_trace(lossy, None, options, copier=COPIERS[name], examples=knowledge.machines, shipped=shipped())


#: (lossy trace, knowledge, gaps to fill, seed) -> what is inferred. Without more said they have only what is intact of
#: the lossy trace itself; "examples": the training recordings, which ship with the package, too; "machines": the
#: training recordings of whole machines.
CONTESTANTS: dict[str, Contestant] = {
    **{name: partial(_baseline, name) for name in MENDERS if name not in PARTS},
    "n-gram of the corpus": lambda lossy, known, only, seed: mend_trace(
        lossy, known.taught, Options(seed=seed, only=frozenset(only))
    ),
    **{name: partial(_part_of_mend, name) for name in (*PARTS, f"{MIXTURE} + examples")},
    **{f"{name} + examples + machines": partial(_with_machines, name) for name in COPIERS},
}


@dataclass(frozen=True)
class Contest:
    """One ``[[lost]]`` of the file. menders: of ``CONTESTANTS``. how: ways of losing, if empty all but those of whole
    machines. models: folders, or the shipped model's name. most: gaps to fill of each recording and bin of length,
    evenly over the recording; the others stay open."""

    menders: tuple[str, ...]
    how: tuple[str, ...] = ()
    models: tuple[str, ...] = (DEFAULT_MODEL,)
    most: int = 8
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        """Raises ModelError for a name that is unknown or a number that makes no sense."""
        for name in self.menders:
            one_of("mender", name, CONTESTANTS)
        for name in self.how:
            one_of("way of losing", name, HOW + HOW_UST + HOW_KERNEL)
        if self.most < 1 or min(self.seeds) < 0:
            raise ModelError("most must be positive, seeds not negative")

    def jobs(self, recordings: Iterable[LossyRun]) -> list[Job]:
        """Only networks have a model and a seed."""
        return [
            Job(recording.name, mender, model, self.most, seed)
            for recording in recordings
            if recording.how in (self.how or HOW + HOW_UST)
            for mender in self.menders
            for model in (self.models if mender in TRAINED else ("",))
            for seed in (self.seeds if mender in TRAINED else (0,))
        ]


@dataclass(frozen=True, slots=True)
class Job:
    """One row."""

    pair: str
    mender: str
    model: str
    most: int
    seed: int


def read_contests(path: Path) -> list[Contest]:
    """The contests of an experiment's file; none if it has none. Raises DataError for any that isn't one."""
    lists = {"menders": str, "how": str, "models": str, "seeds": int}
    return read_tables(path, "lost", Contest, lists, ("most",))


def is_contest(path: Path) -> bool:
    """Whether a file of results is of contests, by its first row."""
    with open(path, "rb") as file:
        return b'"pair"' in file.readline(1 << 12)


_knowledge = lru_cache(maxsize=1)(Knowledge)


def _work(job: Job, recording: LossyRun, folder: Path) -> Row:
    return row(job, recording, _knowledge(folder, job.model or DEFAULT_MODEL))


KIND = Kind(KEY, GAPS, _work)


def row(job: Job, recording: LossyRun, knowledge: Knowledge) -> Row:
    """One mender on one recording. Gaps whose count the tracer doesn't state get the true one (``told``)."""
    pair = told(recording)
    only = chosen(pair, job.most)
    begin = time.process_time()
    mended = CONTESTANTS[job.mender](pair.lossy, knowledge, only, job.seed)
    seconds = time.process_time() - begin
    scores = judge(mended, pair, knowledge.likelihood)
    known = [k for k in SCORES if all(getattr(s, k) is not None for s in scores)]
    return {
        **about(job, recording, seconds),
        "events": sum(s.length for s in scores),
        "gaps": {"length": [s.length for s in scores], **{k: [_rounded(getattr(s, k)) for s in scores] for k in known}},
        "confidence": {bin_name(*b): _counted(scores, b) for b in LENGTH_BINS if _held(scores, b)},
        **({"kernel": kernel.scores(mended, pair, only)} if recording.how in HOW_KERNEL else {}),
    }


def _rounded(value: float | bool) -> float | int:
    return int(value) if isinstance(value, bool) else round(float(value), 4)


def chosen(pair: Pair, most: int) -> set[int]:
    """Gaps to fill: at most so many of each bin of length, evenly over the recording."""
    result: set[int] = set()
    lengths = np.array([len(m) for m in pair.missing])
    for low, high in LENGTH_BINS:
        held = np.flatnonzero((lengths >= low) & (lengths <= high))
        picked = np.unique(np.linspace(0, len(held) - 1, min(most, len(held))).round().astype(np.int64))
        result |= set(held[picked].tolist()) if len(held) else set()
    return result


def _held(scores: Sequence[GapScore], lengths: tuple[int, int]) -> list[GapScore]:
    return [s for s in scores if lengths[0] <= s.length <= lengths[1]]


def _counted(scores: Sequence[GapScore], lengths: tuple[int, int]) -> list[list[float]]:
    """Events, sum of their confidences, and how many were right, by bin of confidence."""
    held = _held(scores, lengths)
    counts = confidence_bins(np.concatenate([s.confidence for s in held]), np.concatenate([s.right for s in held]))
    return [[round(float(x), 2) for x in c] for c in counts]


def by_length(rows: Sequence[Row], seed: int = 0) -> list[Row]:
    """One cell a mender (with its model) and bin of length, and "all": means over gaps, the accuracy with its 95 %
    bootstrap interval over recordings, and the calibration error over events, with what of it would be there by
    chance."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for r in rows:
        groups.setdefault((r["mender"], r["model"]), []).append(r)
    cells = []
    for (mender, model), held in groups.items():
        length = np.concatenate([r["gaps"]["length"] for r in held])
        _, recording = np.unique([r["pair"] for r in held for _ in r["gaps"]["length"]], return_inverse=True)
        names = [k for k in SCORES if all(k in r["gaps"] for r in held)]
        values = {k: np.concatenate([r["gaps"][k] for r in held]).astype(float) for k in names}
        for low, high in (*LENGTH_BINS, (1, 1 << 63)):
            within = (length >= low) & (length <= high)
            if not within.any():
                continue
            cell: Row = {"mender": mender, "model": model, "length": "all" if high >> 62 > 1 else bin_name(low, high)}
            cell |= {"gaps": int(within.sum()), "events": int(length[within].sum())}
            cell["recordings"] = len(np.unique(recording[within]))
            cell |= {k: float(v[within].mean()) for k, v in values.items()}
            rng = np.random.default_rng(seed)
            cell["interval"] = interval(values["accuracy"][within], rng, group_G=recording[within])
            bins = [b for r in held for n, b in r["confidence"].items() if cell["length"] in ("all", n)]
            counts = np.sum(bins, axis=0)
            cell["calibration_error"] = error_of_bins(counts)
            cell["error_by_chance"] = error_by_chance(counts, rng)
            cells.append(cell)
    return cells


def lengths(cells: Sequence[Row]) -> list[str]:
    """The bins of length that the cells are of, in order, "all" last."""
    return [n for n in [*(bin_name(*b) for b in LENGTH_BINS), "all"] if any(c["length"] == n for c in cells)]


def table(rows: Sequence[Row], show: Callable[[Row], str]) -> str:
    """Markdown: a row a mender, the weakest first, a column a bin of length; ``show`` writes a cell."""
    cells = by_length(rows)
    named = {(c["mender"], c["model"]): [c["mender"], *filter(None, [c["model"]])] for c in cells}
    found = {(c["mender"], c["model"], c["length"]): c for c in cells}
    columns = lengths(cells)
    most = {n: max(c["gaps"] for c in cells if c["length"] == n) for n in columns}
    lines = sorted(named, key=lambda k: found[*k, "all"]["accuracy"])
    several = len({model for _, model in named if model}) > 1
    body = [
        [", ".join(named[k] if several else named[k][:1])]
        + [show(found[*k, n]) if (*k, n) in found else "" for n in columns]
        for k in lines
    ]
    return markdown_table(["events lost", *(f"{n} ({most[n]} gaps)" for n in columns)], body)


def as_markdown(rows: Sequence[Row]) -> str:
    """A table for each part of the split and way of losing. Raises DataError if there is nothing to show."""
    if not rows:
        raise DataError("no rows of results to report on")
    text = "Accuracy / perfect rate / ROUGE-L (eq. 9), per cent, means over gaps.\n"
    for part, how in dict.fromkeys((r["part"], r["how"]) for r in rows):
        text += f"\n## {how}, {part}\n\n" + table([r for r in rows if (r["part"], r["how"]) == (part, how)], triple)
    return text
