"""Loops that numpy has no word for, compiled by numba.

Importing numba takes a quarter of a second and compiling takes many: what is compiled is kept on disk, and only large
inputs come here at all.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar, cast

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

#: Called once in a process, before the first function that isn't on disk yet is compiled.
_tell: list[Callable[[], object]] = []


def before_compiling(tell: Callable[[], object]) -> None:
    """Have ``tell`` called if anything must be compiled now: that is silent, and takes half a minute."""
    _tell[:] = [tell]


def tell_of_compiling() -> None:
    """Have it told, unless it was: what is compiled may be compiled in a process of ours."""
    while _tell:
        _tell.pop()()


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

        def on_end(self, event: Any) -> None:
            pass

    event.register("numba:compile", Listener())  # type: ignore[no-untyped-call]
