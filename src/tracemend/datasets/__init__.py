"""Benchmark data, split before it is cut into windows. One file a kind, one entry in ``DATASETS`` each.

What is public is fetched into a cache folder and checked by content. ``load`` gives streams to train on, to validate
with and to test with.
"""

from __future__ import annotations

import os
from pathlib import Path

from tracemend.datasets import adfa, android, recordings, study
from tracemend.datasets.base import Data, Entry, Windows
from tracemend.datasets.recordings import LossyRun, Part, Tests, corpus, pairs, workload
from tracemend.errors import DataError

__all__ = [
    "DATASETS",
    "Data",
    "Entry",
    "LossyRun",
    "Part",
    "Tests",
    "Windows",
    "cache",
    "corpus",
    "fetch",
    "find",
    "load",
    "pairs",
    "workload",
]

DATASETS: dict[str, Entry] = {e.name: e for e in (*study.ENTRIES, *adfa.ENTRIES, *android.ENTRIES, *recordings.ENTRIES)}


def cache() -> Path:
    """The folder of what was fetched: $TRACEMEND_DATA, else the user's cache folder."""
    named = os.environ.get("TRACEMEND_DATA")
    if named:
        return Path(named)
    import pooch

    return Path(pooch.os_cache("tracemend"))


def find(name: str) -> Entry:
    """A data set by name; raises DataError naming those there are."""
    if name not in DATASETS:
        family = {n: e for n, e in DATASETS.items() if e.family == name.partition("/")[0]}
        raise DataError(f"unknown data set {name!r}; one of {', '.join(family or DATASETS)}")
    return DATASETS[name]


def load(name: str, source: Path | None = None, *, length: int = 200) -> Data:
    """A data set for windows of ``length``, from a folder of data, or the cache (or for "recordings" the current
    folder) if none is given. Raises DataError: an unknown name or length, no such file, or one with other content."""
    entry = find(name)
    folder = source if source is not None else Path() if entry.family == "recordings" else cache()
    return entry.read(name, folder, length)


def fetch(name: str, folder: Path | None = None, archive: Path | None = None) -> Path:
    """Bring a data set into the cache (or another folder), checked; returns its file. Raises DataError.

    archive: the archive to convert instead of downloading it, for data sets that come as one.
    """
    entry = find(name)
    if entry.fetch is None:
        raise DataError(f"{name}: {entry.note}; its home is {entry.home}")
    if archive is not None and not entry.archive:
        raise DataError(f"{name}: comes as single files, not as an archive; --archive is for adfa")
    return entry.fetch(name, cache() if folder is None else folder, archive)
