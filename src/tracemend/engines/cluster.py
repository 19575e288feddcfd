"""Workers on the machines of a Ray cluster, or of one that is started here for as long as the work takes.

What all tasks have in common lies in Ray's object store once; so does each large argument and result.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from tracemend import __version__
from tracemend.engines.base import Crew, Engine, Result
from tracemend.errors import WorkerError, extra

#: Seconds until an address is given up.
PATIENCE = 10
#: How often a task is begun again whose worker was lost.
AGAIN = 3
#: Bytes of the object store of a cluster that is started here: for each worker, and besides. Ray puts what is more to
#: disk, and takes no store of less than 75 MiB.
STORE_OF_WORKER, STORE = 64 << 20, 128 << 20
#: Nobody is told of a run; a worker out of memory is a lost worker like others; GPUs stay visible to tasks that ask for
#: none.
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_task_oom_retries": str(AGAIN),
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@dataclass(frozen=True)
class Cluster(Engine):
    """``jobs``: tasks at a time, None: one a processor of the cluster. ``address``: of a cluster that is there; if not
    given the one that RAY_ADDRESS names, else one is started here. A program that is connected to one stays so."""

    jobs: int | None = None
    address: str | None = None

    def __post_init__(self) -> None:
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        with extra("ray"):
            import ray  # noqa: F401 (tells now that it is missing)

    @property
    def alone(self) -> bool:
        return False

    @property
    def distant(self) -> bool:
        return True

    def begin(self, common: object) -> Crew:
        return _Tasks(self, common)


class _Tasks(Crew):
    def __init__(self, engine: Cluster, common: object) -> None:
        import ray

        self._ours = not ray.is_initialized()
        if self._ours:
            _join(engine)
        self.workers = engine.jobs or max(1, int(ray.cluster_resources().get("CPU", 1)))  # type: ignore[no-untyped-call]
        self._task = ray.remote(max_retries=AGAIN)(_do)
        self._common = [ray.put(common)]  # in a list, or Ray would unpack it for every task
        self._begun: dict[Future[Any], Any] = {}

    def submit(self, work: Callable[..., Result], *args: Any) -> Future[Result]:
        future: Future[Result] = Future()
        self._begun[future] = reference = self._task.remote(self._common, work, *args)
        reference.future().add_done_callback(partial(self._ended, future))
        return future

    def _ended(self, future: Future[Result], source: Future[Result]) -> None:
        from ray.exceptions import RayError, RayTaskError

        self._begun.pop(future, None)
        error = source.exception()
        if error is None:
            future.set_result(source.result())
        elif isinstance(error, RayTaskError):
            future.set_exception(error.cause)
        elif isinstance(error, RayError):
            future.set_exception(BrokenExecutor(str(error)))
        else:
            future.set_exception(error)

    def end(self) -> None:
        import ray

        self._common.clear()
        if self._ours:
            ray.shutdown()

    def stop(self) -> None:
        import ray

        for reference in list(self._begun.values()):
            ray.cancel(reference, force=True)
        self.end()


def _join(engine: Cluster) -> None:
    """Connect to the cluster, or start one. Raises WorkerError."""
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    named = engine.address or os.environ.get("RAY_ADDRESS")
    handler = signal.getsignal(signal.SIGTERM)
    try:
        if named:
            _knock(named)
            ray.init(named, **quiet)
            _compare()
        else:
            store = engine.jobs * STORE_OF_WORKER + STORE if engine.jobs else None
            ray.init("local", num_cpus=engine.jobs, object_store_memory=store, include_dashboard=False, **quiet)
    except (OSError, RuntimeError, ValueError) as e:
        where = f"at {named}" if named else "can be started here"
        raise WorkerError(f"no Ray cluster {where}: {str(e).splitlines()[0] if str(e) else type(e).__name__}") from e
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray puts its own there, by which nobody hears that we were stopped


def _knock(address: str) -> None:
    """See whether anybody listens there: Ray itself waits for minutes. Raises OSError."""
    found = re.fullmatch(r"(?:ray://)?\[?([^/]+?)\]?:(\d{1,5})", address)
    if found:
        socket.create_connection((found[1], int(found[2])), timeout=PATIENCE).close()


def _compare() -> None:
    """See whether the cluster's machines, one of which stands for all, have this version. Raises WorkerError."""
    import ray

    def version() -> str:  # within, so that Ray sends it as code: what lies there may be older
        import tracemend

        return tracemend.__version__

    try:
        there = ray.get(ray.remote(version).remote())
    except ray.exceptions.RayTaskError:
        there = "none"
    if there != __version__:
        ray.shutdown()
        raise WorkerError(f"this is tracemend {__version__}, and on the Ray cluster it is {there}")


def _do(common: list[Any], work: Callable[..., Result], *args: Any) -> Result:
    """Do a task, on whichever machine this is."""
    return work(_unpacked(common[0]), *args)


@lru_cache(maxsize=1)
def _unpacked(reference: Any) -> Any:
    """What tasks have in common, unpacked once a process."""
    import ray

    return ray.get(reference)
