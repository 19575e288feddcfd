"""Contests of figures: on recordings that really lost events, how wrong figures are left open, scaled, filled and
drawn, and how often their intervals hold the truth.

A contest is a ``[[figures]]`` table of an experiment's file (experiments/figures.toml). A row of results is one mender
on one recording with sums by kind of figure, so that every table can be made from the same rows.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tracemend.datasets import LossyRun
from tracemend.errors import DataError, ModelError, one_of
from tracemend.judging.contests import Kind, about, told
from tracemend.judging.evaluate import contestants
from tracemend.judging.figures import DRAWS, FILL, LEFT, SCALED, WHOLE, Judging
from tracemend.judging.grid import read_tables
from tracemend.judging.metrics import LENGTH_BINS, bin_name, interval
from tracemend.judging.report import markdown_table
from tracemend.judging.results import Row
from tracemend.mending.options import Options
from tracemend.mending.run import MOSAIC
from tracemend.recording.corpus import HOW, HOW_KERNEL

#: What tells one row from another, the fields of a Job.
KEY = ("pair", "mender", "draws", "seed")
#: What every row has been scored by.
SCORES = "whole"
#: What is recorded in ways of losing.
SORTS = {"system calls": HOW, "whole machines": HOW_KERNEL}


@dataclass(frozen=True)
class Contest:
    """One ``[[figures]]`` of the file. menders: of ``evaluate.contestants``; of mosaics so many ``draws`` are made.
    how: ways of losing (functions of programs are no calls). most: recordings of each way and part of the split, evenly
    over all."""

    menders: tuple[str, ...]
    how: tuple[str, ...] = HOW + HOW_KERNEL
    most: int = 8
    draws: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises ModelError for a name that is unknown or a number that makes no sense."""
        for name in self.menders:
            one_of("mender", name, contestants(None))
        for name in self.how:
            one_of("way of losing", name, HOW + HOW_KERNEL)
        if self.most < 1 or self.draws < 2 or self.seed < 0:
            raise ModelError("most must be positive, draws at least 2, the seed not negative")

    def jobs(self, recordings: Sequence[LossyRun]) -> Iterator[Job]:
        for recording in self._chosen(recordings):
            for mender in self.menders:
                yield Job(recording.name, mender, self.draws if MOSAIC in mender else 0, self.seed)

    def _chosen(self, recordings: Sequence[LossyRun]) -> Iterator[LossyRun]:
        groups: dict[tuple[str, str], list[LossyRun]] = {}
        for recording in recordings:
            if recording.how in self.how:
                groups.setdefault((recording.how, recording.tests), []).append(recording)
        for held in groups.values():
            for at in np.unique(np.linspace(0, len(held) - 1, min(self.most, len(held))).round().astype(int)).tolist():
                yield held[at]


@dataclass(frozen=True, slots=True)
class Job:
    """One row."""

    pair: str
    mender: str
    draws: int
    seed: int


def read_contests(path: Path) -> list[Contest]:
    """The contests of an experiment's file; none if it has none. Raises DataError for any that isn't one."""
    return read_tables(path, "figures", Contest, {"menders": str, "how": str}, ("most", "draws", "seed"))


def is_contest(path: Path) -> bool:
    """Whether a file of results is of contests of figures, by its first row."""
    with open(path, "rb") as file:
        head = file.readline(1 << 12)
    return b'"pair"' in head and b'"draws"' in head


def row(job: Job, recording: LossyRun) -> Row:
    """One mender on one recording. Gaps whose count the tracer doesn't state get the true one (``told``)."""
    pair = told(recording)
    begin = time.process_time()
    mended = contestants(None)[job.mender](pair.lossy, Options(seed=job.seed, hypotheses=job.draws))
    seconds = time.process_time() - begin
    return {
        **about(job, recording, seconds),
        "events": len(pair.complete),
        "lost": pair.lost,
        **Judging(pair, mended, job.draws).row(),
    }


def _work(job: Job, recording: LossyRun, folder: Path) -> Row:
    return row(job, recording)


KIND = Kind(KEY, SCORES, _work)


# Tables: cells made from many rows.


def ways(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """How figures were corrected: each way with what it made of each recording, a row a recording with ``whole`` and
    ``by_gap`` that have its error as ``wrong``."""
    held: dict[str, list[Row]] = {}
    for r in rows:
        named = {FILL: r["mender"], DRAWS: f"{r['mender']}, draws"}
        for way in (LEFT, SCALED, FILL, DRAWS):
            name = named.get(way, way)
            if (way != DRAWS or r["draws"]) and not any(o["pair"] == r["pair"] for o in held.get(name, [])):
                held.setdefault(name, []).append(r | {"way": way})
    return held


def error(row: Row, kind: str, length: str = "") -> float | None:
    """How wrong the figures of a kind are over the truth, of the whole trace or of gaps of a length; None if the truth
    has none. row: of ``ways``."""
    sums = row["by_gap"].get(kind, {}).get(length) if length else row["whole"].get(kind)
    return sums["wrong"][row["way"]] / sums["truth"] if sums and sums["truth"] else None


def mean_error(rows: Sequence[Row], kind: str, length: str = "") -> tuple[float, tuple[float, float]] | None:
    """The mean over recordings, with its 95 % interval over them."""
    values = np.array([e for r in rows if (e := error(r, kind, length)) is not None])
    return (float(values.mean()), interval(values, np.random.default_rng(0))) if len(values) else None


def nearer(ours: Sequence[Row], others: Sequence[Row], kind: str) -> tuple[int, int, int]:
    """In how many recordings one way is nearer to the truth than another, as near, and in how many there are."""
    other = {r["pair"]: error(r, kind) for r in others}
    pairs = [(error(r, kind), other.get(r["pair"])) for r in ours]
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    return sum(a < b for a, b in known), sum(a == b for a, b in known), len(known)


@dataclass(frozen=True)
class Held:
    """Figures that something was lost of: how many, the share whose intervals held the truth, with its interval over
    recordings; how wide they were together, over the truth."""

    figures: int
    share: float
    interval: tuple[float, float]
    width: float


def held(rows: Sequence[Row], kind: str, way: str = DRAWS, length: str = "") -> Held | None:
    """Of the draws' intervals, or those of scaling, over the whole trace or in gaps of a length."""
    parts = [r["by_gap"].get(kind, {}).get(length) if length else r["whole"].get(kind) for r in rows]
    sums = [s for s in parts if s and s.get("lost")]
    if not sums:
        return None
    lost, right = (np.array([f(s) for s in sums], float) for f in (_lost, lambda s: s[way]["held"]))
    bounds = interval(right, np.random.default_rng(0), group_G=np.arange(len(sums)), weight_G=lost)
    width = sum(s[way]["width"] for s in sums) / max(1, sum(s["least"] for s in sums))
    return Held(int(lost.sum()), float(right.sum() / lost.sum()), bounds, width)


def _lost(sums: Row) -> int:
    return int(sums["lost"])


def lengths(rows: Sequence[Row]) -> list[str]:
    """The bins of length that there are gaps of."""
    there = {n for r in rows for bins in r["by_gap"].values() for n in bins}
    return [n for n in (bin_name(*b) for b in LENGTH_BINS) if n in there]


def kinds(rows: Sequence[Row]) -> list[str]:
    """The kinds of figures that there are of whole traces."""
    return [k for k in WHOLE if any(r["whole"].get(k, {}).get("truth") for r in rows)]


def sorts(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    """The rows by what was recorded and by part of the split."""
    found: dict[tuple[str, str], list[Row]] = {}
    for sort, how in SORTS.items():
        for part in ("by run", "by workload"):
            own = [r for r in rows if r["how"] in how and r["part"] == part]
            if own:
                found[sort, part] = own
    return found


def error_table(rows: Sequence[Row], length: str = "") -> str:
    """Markdown: a row a way to correct figures, a column a kind of figure; mean errors in per cent."""
    columns = kinds(rows)
    body = [[way, *(_percent(mean_error(held, k, length)) for k in columns)] for way, held in ways(rows).items()]
    return markdown_table(["", *map(named, columns)], body)


def named(kind: str) -> str:
    """A kind of figure as people say it."""
    by, figure = kind.split(" ")
    what = {"calls": "calls", "time_ns": "time in calls", "errors": "errors", "cpu_ns": "cpu time"}[figure]
    return f"{what} by {by}"


def _percent(found: tuple[float, tuple[float, float]] | None) -> str:
    if found is None:
        return ""
    value, (low, high) = found
    return f"{100 * value:.1f} ({100 * low:.0f}-{100 * high:.0f})"


def as_markdown(rows: Sequence[Row]) -> str:
    """Errors of whole traces, by what was recorded and part of the split. Raises DataError if there is nothing to
    show."""
    if not rows:
        raise DataError("no rows of results to report on")
    text = "Errors of figures over the truth, per cent, means over recordings.\n"
    for (sort, part), own in sorts(rows).items():
        text += f"\n## {sort}, {part}\n\n" + error_table(own)
    return text
