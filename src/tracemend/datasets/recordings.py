"""The project's own recordings as data: read from Parquet, split as experiments/workloads.toml says."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tracemend.datasets.base import Data, Entry
from tracemend.errors import DataError, TraceError
from tracemend.formats import parquet
from tracemend.formats.base import Options
from tracemend.recording.pairs import Pair
from tracemend.recording.pairs import read as read_pair
from tracemend.trace.events import Trace
from tracemend.trace.vocabulary import by_frequency
from tracemend.trace.windows import streams

Part = Literal["train", "validation", "test"]
#: What a pair tests: another run of a workload that was trained on, or a workload that never was.
Tests = Literal["by run", "by workload"]


@dataclass(frozen=True)
class LossyRun:
    """A really lossy recording with its truth, not yet read. how: of ``recording.corpus``' HOW and HOW_UST."""

    path: Path
    workload: str
    run: int
    how: str
    tests: Tests

    @property
    def name(self) -> str:
        return self.path.stem

    def read(self) -> Pair:
        """Raises TraceError."""
        return read_pair(self.path)


@dataclass(frozen=True)
class Split:
    """experiments/workloads.toml's: which workloads and which runs are for what. ``test_run``: -1 if there is none."""

    tested: frozenset[str]
    validation_run: int
    test_run: int

    def part(self, workload: str, run: int) -> Part:
        if workload in self.tested or run == self.test_run:
            return "test"
        return "validation" if run == self.validation_run else "train"


def read_split(path: Path) -> Split:
    """Raises TraceError for a file that tells of none."""
    try:
        split = tomllib.loads(path.read_text())["split"]
        return Split(frozenset(split["test"]), int(split["validation_run"]), int(split.get("test_run", -1)))
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise TraceError(path, 0, f"no split of a corpus: {e}") from e


def corpus(folder: Path, part: Part, split: Path) -> list[Trace]:
    """The complete recordings of one part. ``split``: experiments/workloads.toml."""
    parts = read_split(split)
    result = []
    for path in sorted(folder.glob("*.parquet")):
        workload, _, run = path.stem.rpartition("-")
        if not run.isdecimal():
            raise TraceError(path, 0, "no recording of the corpus: its name must be WORKLOAD-RUN.parquet")
        if parts.part(workload, int(run)) == part:
            result.append(parquet.read(path, Options()))
    return result


def pairs(folder: Path, split: Path, tests: Tests | None = None) -> Iterator[LossyRun]:
    """The really lossy recordings in ``folder``/pairs, or those that test this; only what no part trains on.

    split: experiments/workloads.toml. Raises TraceError.
    """
    parts = read_split(split)
    for path in sorted((folder / "pairs").glob("*.parquet")):
        name = re.fullmatch(r"(.+)-(\d+)-(\w+)", path.stem)
        if not name:
            raise TraceError(path, 0, "no pair of the corpus: its name must be WORKLOAD-RUN-HOW.parquet")
        workload, run, how = name[1], int(name[2]), name[3]
        if parts.part(workload, run) != "test":
            continue
        belongs: Tests = "by workload" if workload in parts.tested else "by run"
        if tests in (None, belongs):
            yield LossyRun(path, workload, run, how, belongs)


def read(name: str, folder: Path, length: int) -> Data:
    """The recordings in ``folder``/corpus as ``folder``/experiments/workloads.toml splits them; a stream is one cpu.

    ``length`` changes nothing. Raises DataError where there are none, TraceError for one that can't be read.
    """
    del length
    split = folder / "experiments" / "workloads.toml"
    if not (folder / "corpus").is_dir() or not split.is_file():
        raise DataError(
            f"{name}: no corpus/ and {split.relative_to(folder)} in {folder}; --from names the project's tree"
        )
    parts: tuple[Part, ...] = ("train", "validation", "test")
    train, validation, test = (corpus(folder / "corpus", part, split) for part in parts)
    if not train or not test:
        raise DataError(f"{name}: no recordings in {folder / 'corpus'}")
    vocabulary = by_frequency(train)
    tested = [streams(t, vocabulary, shortest=1) for t in test]
    workloads = sorted({workload(t) for t in test})
    return Data(
        name,
        vocabulary,
        [s for t in train for s in streams(t, vocabulary, shortest=1)],
        [s for t in validation for s in streams(t, vocabulary, shortest=1)],
        [s for of_trace in tested for s in of_trace],
        named=True,
        # the runs of one workload are alike
        groups=tuple(workloads.index(workload(t)) for t, own in zip(test, tested, strict=True) for _ in own),
    )


def workload(trace: Trace) -> str:
    """Whose recording it is, by its file's name; empty for a trace that was never on disk."""
    return trace.path.stem.rpartition("-")[0] if trace.path else ""


ENTRIES = [
    Entry(
        "recordings",
        "this project's own ftrace recordings, split by run and by workload",
        "corpus/ in the project's tree",
        "Apache-2.0",
        "tracemend, corpus/ and experiments/workloads.toml",
        "corpus",
        read,
        note="in the project's tree: --from names it, the current folder if not given",
    )
]
