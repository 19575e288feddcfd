"""A grid of experiments: data x menders x lengths x gaps x places x seeds. One row of results a cell.

A grid is a TOML file (experiments/*.toml); results are JSON Lines, one row as soon as it is there. What is in the file
already is not done again, so a killed experiment goes on where it was, in the middle of a training if need be.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import json
import multiprocessing
import os
import platform
import signal
import subprocess
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, fields, replace
from functools import cache, lru_cache, partial
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import torch

from tracemend import __version__
from tracemend.baselines import BASELINES
from tracemend.datasets import DATASETS, Data, load
from tracemend.errors import DataError, ModelError, OutputError, one_of
from tracemend.evaluate import Likelihood, blackout, held_out, judge_windows
from tracemend.mender import Mender, Restorer
from tracemend.recipes import RECIPES, Recipe, recipe
from tracemend.results import KEY, Row, append, exclusive, key, read_results
from tracemend.training import Training, keep_memory

Progress = Callable[[int, int, str], None]
AnyJob = TypeVar("AnyJob")
Table = TypeVar("Table")

PLACES = ("centre", "end")


@dataclass(frozen=True, slots=True)
class Job:
    """Everything that one mender has to do on one data set: it is trained once, if it is to be trained at all.

    cells: (gap, place, number of windows).
    """

    data: str
    mender: str
    set: tuple[str, ...]
    length: int
    seed: int
    cells: tuple[tuple[int, str, int], ...]

    def key(self, cell: tuple[int, str, int]) -> tuple[Any, ...]:
        gap, place, windows = cell
        return self.data, self.mender, self.set, self.length, gap, place, self.seed, windows


@dataclass(frozen=True, slots=True)
class Grid:
    """One ``[[grid]]`` of the file: every combination is a cell. ``set``: changes to the recipes (Recipe.changed)."""

    data: tuple[str, ...]
    menders: tuple[str, ...]
    lengths: tuple[int, ...] = (200,)
    gaps: tuple[int, ...] = (10,)
    places: tuple[str, ...] = ("centre",)
    seeds: tuple[int, ...] = (0,)
    windows: int = 500
    set: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises ModelError for a name that is unknown or a number that makes no sense."""
        for name in self.data:
            one_of("data set", name, DATASETS)
        for name in self.menders:
            one_of("mender", name, [*BASELINES, *RECIPES])
        for place in self.places:
            one_of("place of a gap", place, PLACES)
        if min(*self.lengths, *self.gaps, self.windows) < 1 or min(self.seeds) < 0:
            raise ModelError("lengths, gaps and windows must be positive, seeds not negative")
        for length, gap in product(self.lengths, self.gaps):
            blackout(length, gap, "centre")
        for name in self.menders:
            if name in RECIPES:
                recipe(name).changed(self.set)

    def jobs(self) -> Iterator[Job]:
        """Baselines have no seed: they get 0. Changes to recipes don't concern them either."""
        cells = tuple((g, p, self.windows) for p, g in product(self.places, self.gaps))
        for data, length, mender in product(self.data, self.lengths, self.menders):
            trained = mender in RECIPES
            for seed in self.seeds if trained else (0,):
                yield Job(data, mender, self.set if trained else (), length, seed, cells)


def read_grid(path: Path) -> list[Grid]:
    """The grids of an experiment's file; none if it has none. Raises DataError, naming the file, for any that isn't
    one."""
    lists = {f.name: str if f.name in {"data", "menders", "places", "set"} else int for f in fields(Grid)}
    del lists["windows"]
    return read_tables(path, "grid", Grid, lists, ("windows",))


#: The kinds of tables that an experiment's file may have.
KINDS = ("grid", "lost")


def read_tables(
    path: Path, kind: str, of: Callable[..., Table], lists: Mapping[str, type], numbers: Sequence[str]
) -> list[Table]:
    """The tables ``[[kind]]`` of an experiment's file, each as ``of`` makes it from its keys.

    lists: the keys that hold lists, and of what; numbers: those that hold a number. Raises DataError, naming the file.
    """
    try:
        document = tomllib.loads(path.read_text())
        for name in document:
            one_of("table", name, KINDS)
        if not document:
            raise TypeError(f"neither {' nor '.join(f'[[{k}]]' for k in KINDS)}")
        tables = document.get(kind, [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            raise TypeError(f"[[{kind}]] must be a list of tables")
        return [of(**_checked(table, kind, lists, numbers)) for table in tables]
    except OSError as e:
        raise DataError(f"{path}: {e.strerror or e}") from e
    except (TypeError, ValueError, ModelError) as e:
        raise DataError(f"{path}: no experiment: {e}") from e


def _checked(table: dict[str, Any], kind: str, lists: Mapping[str, type], numbers: Sequence[str]) -> dict[str, Any]:
    """Raises TypeError and ModelError for keys and values that such a table can't have."""
    for name, value in table.items():
        one_of(f"key of a {kind}", name, [*lists, *numbers])
        if name in numbers:
            right, many = type(value) is int, "a number"
        else:
            of = lists[name]
            right = isinstance(value, list) and all(type(x) is of for x in value) and (bool(value) or name == "set")
            many = f"a list of {'names' if of is str else 'numbers'}"
        if not right:
            raise TypeError(f"{name} must be {many}, not {value!r}")
    missing = [name for name in ("data", "menders") if name in lists and name not in table]
    if missing:
        raise TypeError(f"a {kind} needs {' and '.join(missing)}")
    return {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}


def narrowed(grids: Sequence[Grid], only: Sequence[str]) -> list[Grid]:
    """The grids with only the named menders and data sets, where any of either kind are named.

    Raises ModelError for a name that no grid has.
    """
    menders = {m for g in grids for m in g.menders}
    data = {d for g in grids for d in g.data}
    for name in only:
        one_of("mender or data set of the grids", name, [*sorted(menders), *sorted(data)])
    left = []
    for grid in grids:
        kept_menders = tuple(m for m in grid.menders if m in only or not menders & set(only))
        kept_data = tuple(d for d in grid.data if d in only or not data & set(only))
        if kept_menders and kept_data:
            left.append(replace(grid, menders=kept_menders, data=kept_data))
    return left


def plan(grids: Sequence[Grid], done: Sequence[Row]) -> list[Job]:
    """The jobs of the grids that are still to be done."""
    return missing((job for grid in grids for job in grid.jobs()), done)


def missing(jobs: Iterable[Job], done: Sequence[Row]) -> list[Job]:
    """What of the jobs is still to be done, each cell once, by data set (loading one takes a while)."""
    there = {key(r) for r in done}
    cells: dict[Job, dict[tuple[int, str, int], None]] = {}
    for job in jobs:
        bare = replace(job, cells=())
        cells.setdefault(bare, {}).update(dict.fromkeys(c for c in job.cells if job.key(c) not in there))
    left = [replace(job, cells=tuple(todo)) for job, todo in cells.items() if todo]
    return sorted(left, key=lambda j: (j.data, j.length))


def run(
    grids: Sequence[Grid],
    results: Path,
    *,
    source: Path | None = None,
    models: Path,
    processes: int = 1,
    command: str = "",
    progress: Progress = lambda done, total, note: None,
) -> int:
    """Do what is still to be done; returns the number of rows added.

    source: a folder with the data sets, else the cache. models: a folder that keeps trained models. processes: each
    works on one core. Raises TracemendError for data that isn't there; rows written until then stay.
    """
    about = {"command": command, **provenance()}
    with exclusive(results):
        jobs = plan(grids, read_results(results))
        total, done = sum(len(j.cells) for j in jobs), 0
        progress(0, total, "")
        for job, added in in_processes(
            jobs, processes, lambda job: partial(_work, job, source, models, results, about)
        ):
            done += added
            progress(done, total, f"{job.data} {job.mender}")
    return done


def in_processes(
    jobs: Sequence[AnyJob], processes: int, of: Callable[[AnyJob], Callable[[], int]]
) -> Iterator[tuple[AnyJob, int]]:
    """Each job with the number of rows that it added, as they end; in this process if there is to be only one.

    of: what is to be done for a job. Raises what that raises, and DataError if a process was killed.
    """
    if processes == 1 or len(jobs) < 2:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            for job in jobs:
                yield job, of(job)()
        finally:
            torch.set_num_threads(threads)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(processes, len(jobs)), context, initializer=_begin_process, initargs=(os.getpid(),))
    try:
        waiting = {pool.submit(of(job)): job for job in jobs}
        for future in as_completed(waiting):
            yield waiting[future], future.result()
    except BaseException as e:
        for child in multiprocessing.active_children():  # their rows and trainings are kept; nobody waits for the rest
            child.kill()
        if isinstance(e, BrokenProcessPool):
            raise DataError("a process of the experiment was killed (out of memory?); what is done is kept") from e
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin_process(parent: int) -> None:
    """One thread; and when the experiment is killed its processes go with it (Linux: prctl's PR_SET_PDEATHSIG)."""
    torch.set_num_threads(1)
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(1, signal.SIGKILL)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)


def _work(job: Job, source: Path | None, models: Path, results: Path, about: Row) -> int:
    for row in work(job, source, models):
        append(results, row | about)
    return len(job.cells)


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
        scores = judge_windows(
            mender,
            windows.ids_NL,
            known,
            data.subsets(windows, known),
            data.vocabulary,
            group_W=windows.group_N,
            named=data.named,
            likelihood=likelihood,
            seed=job.seed,
        )
        yield dict(zip(KEY, job.key(cell), strict=True)) | scores | about


def _mender(job: Job, data: Data, models: Path) -> tuple[Mender, Row]:
    if job.mender in BASELINES:
        begin = time.process_time()
        baseline = BASELINES[job.mender](data.train)
        return baseline, {"train_s": round(time.process_time() - begin, 2)}
    chosen = recipe(job.mender).changed([f"length={job.length}", *job.set])
    return trained(chosen, data, job.seed, models)


def trained(chosen: Recipe, data: Data, seed: int, models: Path) -> tuple[Restorer, Row]:
    """The model of a recipe on a data set, and what is to be said of its training; trained if nobody has yet.

    A training that was cut off is taken up again: its state is saved five times. ``trained``: the commit that it was
    begun at, whatever the rest of a row comes from. Raises OutputError for a folder that can't be written.
    """
    identity = [chosen.as_dict(), data.name, data.vocabulary.digest, seed]
    folder = models / hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:20]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "lock", "wb") as lock:  # another process may be at the very same model
            fcntl.flock(lock, fcntl.LOCK_EX)
            about = _trained(chosen, data, seed, folder)
    except OSError as e:
        raise OutputError(f"{folder}: can't be written: {e.strerror or e}") from e
    return Restorer.load(folder), about


def _trained(chosen: Recipe, data: Data, seed: int, folder: Path) -> Row:
    file = folder / "training.json"
    about = _read_training(file)
    if "parameters" in about and (folder / "weights.safetensors").exists():
        return about
    keep_memory()
    resumed = (folder / "state.safetensors").exists() and about["validation"]
    state = Training.resume(folder, data.vocabulary) if resumed else Training(chosen, data.vocabulary, seed=seed)
    before, begin = about["train_s"], time.process_time()
    every = max(1, chosen.iterations // 5)
    for step in state.steps(data.train, data.validation, every=every):
        if step.number % every == 0 or step.number == chosen.iterations:
            about["train_s"] = round(before + time.process_time() - begin, 1)
            measured = [step.number, step.validation_loss, step.validation]
            about["validation"] = [v for v in about["validation"] if v[0] < step.number] + [measured]
            state.save(folder)
            _write(file, about)
    Restorer(chosen, data.vocabulary, state.averaged()).save(folder)
    about["train_s"] = round(before + time.process_time() - begin, 1)
    about |= {
        "iterations": chosen.iterations,
        "parameters": sum(p.numel() for p in state.network.parameters()),
        "device": str(state.device),
    }
    _write(file, about)
    (folder / "state.safetensors").unlink(missing_ok=True)
    return about


def _read_training(file: Path) -> Row:
    """What is known of a training so far; of one not yet begun, if there is nothing that can be read."""
    begun: Row = {"train_s": 0.0, "validation": [], "trained": provenance()["commit"]}
    try:
        about: Row = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        return begun
    return about if isinstance(about, dict) and begun.keys() <= about.keys() else begun


def _write(path: Path, document: Row) -> None:
    path.with_suffix(".tmp").write_text(json.dumps(document))
    path.with_suffix(".tmp").replace(path)


@cache
def provenance() -> Row:
    """Version, commit (if this is a checkout) and machine."""
    return {"version": __version__, "commit": commit(Path(__file__).parent), "machine": _machine()}


def commit(folder: Path) -> str | None:
    """What the checkout that holds a folder is at, "-dirty" behind it if it has changes; None where nothing of the
    folder is under version control."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False).stdout

    try:
        return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*").strip() if git("ls-files") else None
    except OSError:
        return None


def _machine() -> Row:
    processor = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {"cpu": processor, "cores": os.cpu_count(), "torch": torch.__version__, "python": platform.python_version()}
