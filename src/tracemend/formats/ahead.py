"""Work that hands its results on one by one, as an iterator: it goes on in a thread, one result ahead.

Results may be large: there are never more of them than the one that is looked at, and the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import Empty, Queue
from threading import Event, Thread
from typing import TypeVar

T = TypeVar("T")


class _Stopped(BaseException):
    """Nobody wants the results any more."""


def ahead(work: Callable[[Callable[[T], None]], None]) -> Iterator[T]:
    """What ``work`` gives to the function that it is called with. What it raises is raised here; where the iterator is
    given up it is stopped at its next result."""
    results: Queue[T | BaseException | None] = Queue(1)
    stopped = Event()

    def give(result: T) -> None:
        results.put(result)
        results.join()  # only when it was taken the next one is begun
        if stopped.is_set():
            raise _Stopped

    def run() -> None:
        try:
            work(give)
            results.put(None)
        except BaseException as e:  # told where the results are awaited
            results.put(e)

    thread = Thread(target=run, daemon=True)
    thread.start()
    try:
        while (result := results.get()) is not None:
            results.task_done()
            if isinstance(result, BaseException):
                raise result
            yield result
    finally:
        stopped.set()
        while thread.is_alive():
            with suppress(Empty):  # make room for what it has in hand
                results.get(timeout=0.05)
                results.task_done()
