"""Workers that are processes of this machine."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import resource_tracker
from typing import Any
from weakref import WeakKeyDictionary

from tracemend.compiled import while_compiling
from tracemend.engines.base import Crew, Engine, Result, hearer

#: Tasks on their way for each worker, at most, that are heard apart.
PLACES = 3


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
        #: Memory that all share: how far each task is, in a place of its own while it is on its way, and behind them
        #: whether anyone compiles, as of who began or ended last.
        self._numbers = spawned.RawArray("q", 2 * PLACES * workers + 1)
        self._place: WeakKeyDictionary[Future[Any], int] = WeakKeyDictionary()
        self._sent = 0
        resource_tracker.ensure_running()  # by itself it would begin in ``submit``, and have ctrl-C heard again there
        self._pool = ProcessPoolExecutor(workers, spawned, _begin, (common, os.getpid(), self._numbers))

    def submit(self, work: Callable[..., Result], *args: Any) -> Future[Result]:
        place = 2 * (self._sent % (PLACES * self.workers))
        self._sent += 1
        self._numbers[place : place + 2] = [0, 0]
        # ctrl-C is for this process: a worker that is being started inherits that it doesn't hear it, and says nothing
        heard = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            task = self._pool.submit(_do, place, work, *args)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, heard)
        self._place[task] = place
        return task

    def far(self, task: Future[Any]) -> tuple[int, int]:
        place = self._place[task]
        return self._numbers[place], self._numbers[place + 1]

    @property
    def compiling(self) -> bool:
        return bool(self._numbers[-1])

    def end(self) -> None:
        self._pool.shutdown()

    def stop(self) -> None:
        for process in multiprocessing.active_children():
            process.kill()
        self._pool.shutdown(wait=True, cancel_futures=True)


#: In a worker: what tasks have in common, and where its task tells how far it is.
_common: list[object] = []
_place: list[int] = []


def _begin(common: object, parent: int, numbers: Any) -> None:
    """Begin as a worker; when the parent is killed its workers go with it (Linux: prctl's PR_SET_PDEATHSIG)."""
    _common[:] = [common]

    def hear(done: int, total: int) -> None:
        numbers[_place[0] : _place[0] + 2] = [done, total]

    def compiles(begins: bool) -> None:
        numbers[-1] = begins

    hearer[:] = [hear]
    while_compiling(compiles)
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(1, signal.SIGKILL)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)


def _do(place: int, work: Callable[..., Result], *args: Any) -> Result:
    _place[:] = [place]
    return work(*_common, *args)
