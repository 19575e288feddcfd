"""Jobs in several processes, each on one core."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from tracemend.errors import DataError

AnyJob = TypeVar("AnyJob")
Result = TypeVar("Result")


def in_processes(
    jobs: Sequence[AnyJob], processes: int, of: Callable[[AnyJob], Callable[[], Result]]
) -> Iterator[tuple[AnyJob, Result]]:
    """Each job with its result, as they end; in this process if there is to be only one.

    of: what is to be done for a job. Raises what that raises, and DataError if a process was killed.
    """
    if processes == 1 or len(jobs) < 2:
        before = _threads(1)
        try:
            for job in jobs:
                yield job, of(job)()
        finally:
            _threads(before)
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
    _threads(1)
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(1, signal.SIGKILL)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)


def _threads(number: int) -> int:
    """Give PyTorch, if it is installed, so many threads; returns how many it had."""
    try:
        import torch
    except ModuleNotFoundError:
        return number
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    return before
