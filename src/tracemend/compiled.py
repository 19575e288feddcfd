"""Loops that numpy has no word for, compiled by numba.

Importing numba takes a quarter of a second and compiling takes many: what is compiled is kept on disk, and only large
inputs come here at all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


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
        made = numba.njit(cache=True, nogil=True, **options)(function)
    except RuntimeError:  # neither beside the source nor below the user's home can anything be kept: compile each time
        made = numba.njit(nogil=True, **options)(function)
    return cast(Kernel, made)
