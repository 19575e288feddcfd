"""Loops that numpy has no word for, compiled by numba.

Importing numba takes a quarter of a second and compiling takes many: what is compiled is kept on disk, and only large
inputs come here at all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar, cast

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

#: Called once in a process, before the first function that isn't on disk yet is compiled.
_tell: list[Callable[[], object]] = []
#: Called whenever compiling begins and ends.
_hear: list[Callable[[bool], object]] = []


def before_compiling(tell: Callable[[], object]) -> None:
    """Have ``tell`` called if anything must be compiled now: that is silent, and takes half a minute."""
    _tell[:] = [tell]


def while_compiling(hear: Callable[[bool], object]) -> None:
    """Have ``hear`` called with True when compiling begins, and with False when it ends."""
    _hear[:] = [hear]


def tell_of_compiling(seconds: float = 0.0) -> None:
    """Have it told, unless it was, and count so many seconds: what is compiled may be compiled in a process of ours."""
    while _tell:
        _tell.pop()()
    _spent.add(seconds)


def working_time() -> float:
    """A clock in seconds that stands still while loops are compiled: how long work takes is told by it."""
    return time.monotonic() - _spent.seconds()


class _Spent:
    """Seconds that went into compiling; functions are compiled within others, and in several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sum = 0.0
        self._open = 0
        self._since = 0.0

    def add(self, seconds: float) -> None:
        with self._lock:
            self._sum += seconds

    def begin(self) -> bool:
        """Whether nothing was being compiled before."""
        with self._lock:
            self._open += 1
            if self._open == 1:
                self._since = time.monotonic()
            return self._open == 1

    def end(self) -> bool:
        """Whether nothing is being compiled any more."""
        with self._lock:
            self._open -= 1
            if not self._open:
                self._sum += time.monotonic() - self._since
            return not self._open

    def seconds(self) -> float:
        with self._lock:
            return self._sum + (time.monotonic() - self._since if self._open else 0.0)


_spent = _Spent()


def compiled(function: Kernel) -> Kernel:
    """The function as machine code that runs without Python's lock. It may take arrays and numbers alone, and each of
    its indices must be in range: nothing checks them."""
    return _made(function)


def lean(function: Kernel) -> Kernel:
    """As ``compiled``, of one that makes no array: then none is counted, which in a tight loop takes many times longer
    than all else."""
    return _made(function, _nrt=False)


def inlined(function: Kernel) -> Kernel:
    """As ``lean``, of a small one that becomes a part of each function that calls it."""
    return _made(function, _nrt=False, forceinline=True)


def _made(function: Kernel, **options: Any) -> Kernel:
    import numba

    try:
        made = numba.njit(cache=True, nogil=True, error_model="numpy", **options)(function)
    except RuntimeError:  # neither beside the source nor below the user's home can anything be kept: compile each time
        made = numba.njit(nogil=True, error_model="numpy", **options)(function)
    _listen()
    return cast(Kernel, made)


@cache
def _listen() -> None:
    from numba.core import event

    class Listener(event.Listener):
        def on_start(self, event: Any) -> None:
            tell_of_compiling()
            if _spent.begin():
                self.hear(True)

        def on_end(self, event: Any) -> None:
            if _spent.end():
                self.hear(False)

        @staticmethod
        def hear(begins: bool) -> None:
            for hear in _hear:
                hear(begins)

    event.register("numba:compile", Listener())  # type: ignore[no-untyped-call]
