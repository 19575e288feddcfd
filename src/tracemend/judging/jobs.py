"""Jobs shared out to workers, each of which uses one core."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from typing import TypeVar

from tracemend.engines import Engine, at_work

AnyJob = TypeVar("AnyJob")
Result = TypeVar("Result")


def shared_out(
    jobs: Sequence[AnyJob], engine: Engine, of: Callable[[AnyJob], Callable[[], Result]]
) -> Iterator[tuple[AnyJob, Result]]:
    """Each job with its result, as they end; in this process if nobody else is to work.

    of: what is to be done for a job. Raises what that raises, and WorkerError if a worker was killed.
    """
    if engine.alone or (len(jobs) < 2 and not engine.distant):
        before = _threads(1)
        try:
            for job in jobs:
                yield job, of(job)()
        finally:
            _threads(before)
        return
    with at_work(engine) as crew:
        waiting = {crew.submit(_on_one_core, of(job)): job for job in jobs}
        for future in as_completed(waiting):
            yield waiting[future], future.result()


def _on_one_core(_: None, work: Callable[[], Result]) -> Result:
    _threads(1)
    return work()


def _threads(number: int) -> int:
    """Give PyTorch, if it is installed, so many threads; returns how many it had."""
    try:
        import torch
    except ModuleNotFoundError:
        return number
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    return before
