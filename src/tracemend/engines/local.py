"""Workers that are processes of this machine."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

from tracemend.engines.base import Crew, Engine, Result


@dataclass(frozen=True)
class Local(Engine):
    """``jobs``: processes; this one alone if there is to be only one."""

    jobs: int = 1

    @property
    def alone(self) -> bool:
        return self.jobs == 1

    @property
    def distant(self) -> bool:
        return False

    def begin(self, common: object) -> Crew:
        return _Processes(self.jobs, common)


HERE = Local()


class _Processes(Crew):
    def __init__(self, workers: int, common: object) -> None:
        self.workers = workers
        spawned = multiprocessing.get_context("spawn")  # a fork would copy a process whose threads hold locks
        self._pool = ProcessPoolExecutor(workers, spawned, _begin, (common, os.getpid()))

    def submit(self, work: Callable[..., Result], *args: Any) -> Future[Result]:
        return self._pool.submit(_do, work, *args)

    def end(self) -> None:
        self._pool.shutdown()

    def stop(self) -> None:
        for process in multiprocessing.active_children():
            process.kill()
        self._pool.shutdown(wait=True, cancel_futures=True)


#: In a worker: what tasks have in common.
_common: list[object] = []


def _begin(common: object, parent: int) -> None:
    """Begin as a worker; when the parent is killed its workers go with it (Linux: prctl's PR_SET_PDEATHSIG)."""
    _common[:] = [common]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C is for the process that sends the tasks
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(1, signal.SIGKILL)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)


def _do(work: Callable[..., Result], *args: Any) -> Result:
    return work(*_common, *args)
