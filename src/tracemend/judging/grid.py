"""The file of an experiment: grids, what each comes to, and what of it is still to be done."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

from tracemend.datasets import DATASETS
from tracemend.diffusion.recipes import RECIPES, recipe
from tracemend.errors import DataError, ModelError, one_of
from tracemend.judging.results import Row, key
from tracemend.judging.windows import blackout
from tracemend.menders import MENDERS

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
            one_of("mender", name, [*MENDERS, *RECIPES])
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
KINDS = ("grid", "lost", "figures")


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
