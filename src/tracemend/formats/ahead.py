"""Work that hands its results on one by one, as an iterator: it goes on in a thread, one result ahead, or in step.

Results may be large: there are never more of them than the one that is looked at and the next, in step only the one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import Empty, Queue
from threading import Event, Semaphore, Thread
from typing import TypeVar

T = TypeVar("T")


class _Stopped(BaseException):
    """Nobody wants the results any more."""


def ahead(work: Callable[[Callable[[T], None]], None], in_step: bool = False) -> Iterator[T]:
    """What ``work`` gives to the function that it is called with. What it raises is raised here; where the iterator is
    given up it is stopped at its next result. in_step: it goes on only while a result is awaited."""
    results: Queue[T | BaseException | None] = Queue(1)
    further, stopped = Semaphore(0), Event()

    def give(result: T) -> None:
        results.put(result)
        further.acquire()
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
            if isinstance(result, BaseException):
                raise result
            if not in_step:
                further.release()
            yield result
            del result
            if in_step:
                further.release()
    finally:
        stopped.set()
        further.release()
        while thread.is_alive():
            with suppress(Empty):  # make room for what it has in hand
                results.get(timeout=0.05)
