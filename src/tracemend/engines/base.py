"""What any engine is asked for: workers that know what their tasks have in common, and take task after task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Future
from contextlib import contextmanager
from typing import Any, TypeVar

from tracemend.errors import WorkerError

Result = TypeVar("Result")


#: In a worker: who hears how far its task is.
hearer: list[Callable[[int, int], None]] = []


def tell(done: int, total: int) -> None:
    """Within a task: so much of all of it is done."""
    for hear in hearer:
        hear(done, total)


class Crew(ABC):
    """Workers, each of which does one task at a time; ``workers``: how many."""

    workers: int

    @property
    def compiling(self) -> bool:
        """Whether one compiles loops now, as far as anybody hears of it."""
        return False

    def far(self, task: Future[Any]) -> tuple[int, int]:
        """How far a task is, as it told last; 0 of 0 where nobody hears it."""
        return 0, 0

    @abstractmethod
    def submit(self, work: Callable[..., Result], *args: Any) -> Future[Result]:
        """Have ``work(common, *args)`` done. The future raises what that raises, BrokenExecutor where its worker was
        killed."""

    @abstractmethod
    def end(self) -> None:
        """All is done."""

    @abstractmethod
    def stop(self) -> None:
        """Give up: nobody waits for what is still worked on."""

    def in_order(self, work: Callable[..., Result], items: Iterable[Any]) -> Iterator[Result]:
        """``work(common, item)`` of each, in order; never more are begun than keep all workers at it."""
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(self.submit(work, item))
            while len(waiting) > self.workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class Engine(ABC):
    """Where work is done."""

    @property
    @abstractmethod
    def alone(self) -> bool:
        """Whether this very process does all of it: then no crew is called together."""

    @property
    @abstractmethod
    def distant(self) -> bool:
        """Whether workers may be on other machines: then nothing is handed over in files."""

    @abstractmethod
    def begin(self, common: object) -> Crew:
        """Call workers together. common: what all tasks are given; it is sent once. Raises WorkerError where nobody
        comes."""


@contextmanager
def at_work(engine: Engine, common: object = None) -> Iterator[Crew]:
    """A crew that is at work as long as the block; nothing of it stays behind, however that ends.

    Raises WorkerError where a worker was killed and nobody does its task again.
    """
    crew = engine.begin(common)
    try:
        yield crew
    except BrokenExecutor:
        crew.stop()
        raise WorkerError("a process that did a part of the work was killed (out of memory?)") from None
    except BaseException:
        crew.stop()
        raise
    else:
        crew.end()
