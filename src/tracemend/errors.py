"""The errors a user can cause, each told in one line that names the file and the position."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from pathlib import Path
from typing import Any


class TracemendError(Exception):
    """Anything the command line reports in one line with exit code 1."""


class TraceError(TracemendError):
    """A trace that can't be read: ``path:line: message`` (line numbers start at 1, 0 means the whole file)."""

    def __init__(self, path: str | Path, line: int, message: str) -> None:
        self.path, self.line, self.message = str(path), line, message
        super().__init__(f"{path}:{line}: {message}" if line else f"{path}: {message}")

    def __reduce__(self) -> tuple[type[TraceError], tuple[str, int, str]]:
        """Errors come out of other processes whole."""
        return type(self), (self.path, self.line, self.message)


class OutputError(TracemendError):
    """An output that can't be written: it exists, is the input, or its folder refuses."""


class OptionError(TracemendError, ValueError):
    """A value that an option can't have; it says which it can have."""


class ModelError(OptionError):
    """A model, vocabulary or recipe that can't be loaded or doesn't fit."""


class DataError(TracemendError):
    """A data set, a grid of experiments or a file of results that isn't there or isn't what it should be."""


class WorkerError(TracemendError):
    """Work that was shared out and can't be ended: workers were killed, or none are to be had."""


class MissingError(TracemendError):
    """A part of tracemend that needs packages which are not installed."""


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Import here what only an extra of the package brings. Raises MissingError, which says what to install."""
    try:
        yield
    except ModuleNotFoundError as e:
        if (e.name or "").startswith("tracemend"):
            raise
        raise MissingError(f"{e.name} is not installed: pip install 'tracemend[{name}]'") from e


def one_of(what: str, value: str, accepted: Iterable[str]) -> str:
    """The value, if it is accepted; raises OptionError naming the accepted ones."""
    accepted = list(accepted)
    if value not in accepted:
        raise OptionError(f"unknown {what} {value!r}; one of {', '.join(accepted)}")
    return value


def number(what: str, value: Any, least: float = 0, most: float = math.inf, *, whole: bool = False) -> None:
    """Raises OptionError for a value that is no number from ``least`` to ``most``, or no whole one."""
    fits = isinstance(value, Integral if whole else Real)
    if not fits or not least <= value <= most or math.isinf(value):
        kind, end = "whole number" if whole else "number", "" if most == math.inf else f" to {most:g}"
        raise OptionError(f"{what} must be a {kind} from {least:g}{end}, not {value!r}")
