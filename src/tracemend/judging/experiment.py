"""A grid of experiments: data x menders x lengths x gaps x places x seeds. One row of results a cell.

A grid is a TOML file (experiments/*.toml); results are JSON Lines, one row as soon as it is there. What is in the file
already is not done again, so a killed experiment goes on where it was, in the middle of a training if need be.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path

from tracemend.datasets import Data, load
from tracemend.diffusion.recipes import recipe
from tracemend.engines import HERE, Engine
from tracemend.errors import extra
from tracemend.judging.grid import Grid, Job, plan
from tracemend.judging.jobs import shared_out
from tracemend.judging.likelihood import Likelihood, held_out
from tracemend.judging.provenance import provenance
from tracemend.judging.results import KEY, Row, append, exclusive, read_results
from tracemend.judging.windows import Hidden, blackout, judge_windows
from tracemend.menders import MENDERS
from tracemend.menders.base import Mender

Progress = Callable[[int, int, str], None]


def run(
    grids: Sequence[Grid],
    results: Path,
    *,
    source: Path | None = None,
    models: Path,
    engine: Engine = HERE,
    command: str = "",
    progress: Progress = lambda done, total, note: None,
) -> int:
    """Do what is still to be done; returns the number of rows added.

    source: a folder with the data sets, else the cache. models: a folder that keeps trained models. engine: who
    works. Raises TracemendError for data that isn't there; rows written until then stay.
    """
    about = {"command": command, **provenance()}
    with exclusive(results):
        jobs = plan(grids, read_results(results))
        total, done = sum(len(j.cells) for j in jobs), 0
        progress(0, total, "")
        where = None if engine.distant else results
        for job, rows in shared_out(jobs, engine, lambda job: partial(_work, job, source, models, where, about)):
            if engine.distant:
                for row in rows:
                    append(results, row)
            done += len(rows)
            progress(done, total, f"{job.data} {job.mender}")
    return done


def _work(job: Job, source: Path | None, models: Path, results: Path | None, about: Row) -> list[Row]:
    """The rows of a job. They are added to the file one by one, where there is one: on another machine there isn't, and
    a job that is begun again must not add its rows twice."""
    rows = []
    for row in work(job, source, models):
        rows.append(row | about)
        if results is not None:
            append(results, rows[-1])
    return rows


@lru_cache(maxsize=1)
def _load(name: str, source: Path | None, length: int) -> tuple[Data, Likelihood | None]:
    """A data set, and how likely events are to who knows its validation part."""
    data = load(name, source, length=length)
    return data, held_out(data.validation, data.vocabulary)


def work(job: Job, source: Path | None, models: Path) -> Iterator[Row]:
    """The rows of one job, its cells in order."""
    data, likelihood = _load(job.data, source, job.length)
    yield from scored(job, data, *_mender(job, data, models), likelihood=likelihood)


def scored(job: Job, data: Data, mender: Mender, about: Row, *, likelihood: Likelihood | None = None) -> Iterator[Row]:
    """The rows of one job whose mender is there. about: what every row is to say of it. likelihood: of the data set's
    ids, if fills are to be judged by it, too."""
    for cell in job.cells:
        gap, place, number = cell
        windows = data.windows(job.length, number)
        known = blackout(job.length, gap, place)
        subsets = data.subsets(windows, known)
        hidden = Hidden(windows.ids_NL, known, subsets, data.vocabulary, windows.group_N, data.named)
        scores = judge_windows(mender, hidden, likelihood=likelihood, seed=job.seed)
        yield dict(zip(KEY, job.key(cell), strict=True)) | scores | about


def _mender(job: Job, data: Data, models: Path) -> tuple[Mender, Row]:
    if job.mender in MENDERS:
        begin = time.process_time()
        baseline = MENDERS[job.mender](data.train)
        return baseline, {"train_s": round(time.process_time() - begin, 2)}
    chosen = recipe(job.mender).changed([f"length={job.length}", *job.set])
    with extra("diffusion"):
        from tracemend.judging.trained import trained
    return trained(chosen, data, job.seed, models)
