"""What contests on really lossy recordings have in common: which jobs are still to be done, and doing them.

A contest is a table of an experiment's file; it knows its jobs. A job is one row of results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from tracemend.datasets import LossyRun, pairs
from tracemend.engines import HERE, Engine
from tracemend.errors import DataError, one_of
from tracemend.judging.experiment import Progress
from tracemend.judging.jobs import shared_out
from tracemend.judging.provenance import provenance
from tracemend.judging.results import Row, append, exclusive, read_results
from tracemend.recording import Pair

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

#: Which recordings are for what, in the project's tree.
SPLIT = Path("experiments") / "workloads.toml"


class Contest(Protocol):
    """One table of the file: a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def menders(self) -> tuple[str, ...]: ...

    def jobs(self, recordings: Sequence[LossyRun]) -> Iterable[Any]:
        """Dataclasses, whose first fields are ``pair`` (a recording's name) and ``mender``."""


C = TypeVar("C", bound=Contest)


@lru_cache(maxsize=1)
def told(recording: LossyRun) -> Pair:
    """A recording with its truth. Gaps whose count the tracer doesn't state have the true one. Jobs come by recording:
    the next one mostly asks for the same."""
    return recording.read().told()


def about(job: DataclassInstance, recording: LossyRun, seconds: float) -> Row:
    """What every row says of its job and its recording. seconds: of the processor."""
    return {
        **asdict(job),
        "workload": recording.workload,
        "run": recording.run,
        "how": recording.how,
        "part": recording.tests,
        "seconds": round(seconds, 2),
    }


@dataclass(frozen=True)
class Kind:
    """A kind of contests. key: the fields of its jobs, which tell one row from another. scores: what every row has been
    scored by. work: (job, recording, the project's tree) -> row."""

    key: tuple[str, ...]
    scores: str
    work: Callable[[Any, LossyRun, Path], Row]


def found(folder: Path) -> list[LossyRun]:
    """The recordings of a tree with corpus/pairs, and corpus/kernel/pairs. Raises DataError if there are none,
    TraceError."""
    places = (folder / "corpus", folder / "corpus" / "kernel")
    recordings = [r for place in places for r in pairs(place, folder / SPLIT)]
    if not recordings:
        raise DataError(f"{folder / 'corpus' / 'pairs'}: no recordings with their truth")
    return recordings


def narrowed(contests: Sequence[C], only: Sequence[str]) -> list[C]:
    """The contests with only the named menders, if any are. Raises ModelError for a name that no contest has."""
    there = list(dict.fromkeys(m for c in contests for m in c.menders))
    wanted = [one_of("mender of the contests", name, there) for name in only] or there
    parts = [replace(c, menders=tuple(m for m in c.menders if m in wanted)) for c in contests]
    return [c for c in parts if c.menders]


def plan(kind: Kind, contests: Sequence[Contest], recordings: Sequence[LossyRun], done: Sequence[Row]) -> list[Any]:
    """The jobs that are still to be done, each once, by recording."""
    there = {tuple(r[k] for k in kind.key) for r in done}
    jobs = dict.fromkeys(j for c in contests for j in c.jobs(recordings) if astuple(j) not in there)
    return sorted(jobs, key=lambda j: j.pair)


def run(
    kind: Kind,
    contests: Sequence[Contest],
    results: Path,
    folder: Path,
    *,
    engine: Engine = HERE,
    command: str = "",
    progress: Progress = lambda done, total, note: None,
) -> int:
    """Do what is still to be done; returns the number of rows added. folder: the project's tree, with corpus/pairs.

    Raises TracemendError for recordings that aren't there; rows written until then stay.
    """
    about = {"command": command, **provenance()}
    recordings = {r.name: r for r in found(folder)}
    with exclusive(results):
        jobs = plan(kind, contests, list(recordings.values()), read_results(results, kind.key, kind.scores))
        progress(0, len(jobs), "")
        done = 0
        for job, row in shared_out(jobs, engine, lambda j: partial(kind.work, j, recordings[j.pair], folder)):
            append(results, row | about)
            done += 1
            progress(done, len(jobs), f"{job.pair} {job.mender}")
    return done
