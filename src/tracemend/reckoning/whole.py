"""A whole trace mended and counted, piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from numbers import Integral
from pathlib import Path

from tracemend.errors import OptionError, one_of
from tracemend.mending.mended import Mended, Result
from tracemend.mending.parts import How
from tracemend.mending.pieces import Done, mend_pieces
from tracemend.reckoning.counting import Count, Counted
from tracemend.reckoning.making import Reckoning
from tracemend.reckoning.tally import Asked
from tracemend.trace.pieces import Piece

#: What figures can be by.
FIGURES_BY = ("call", "thread", "process", "cpu", "time")
#: What figures are mostly by.
CALLS_AND_THREADS = Asked(("call", "thread"))


def asked(by: str, span: tuple[int, int] | None = None) -> Asked:
    """What is to be counted. Raises OptionError for what figures can't be by, and a span that is none."""
    if span is not None:
        if not isinstance(span, tuple) or [isinstance(side, Integral) for side in span] != [True, True]:
            raise OptionError(f"a span is two whole numbers, from and to in ns, not {span!r}")
        if span[0] > span[1]:
            raise OptionError("the span ends before it begins")
    one_of("key of figures", by, FIGURES_BY)
    return Asked(tuple(dict.fromkeys(("call", "thread" if by == "process" else by))), span, by == "process")


def _with_processes(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """The pieces of a trace that says which threads are one process. Raises OptionError if the first piece with events
    says nothing of that: who waits for the whole trace would be told too late."""
    looked = False
    for piece in pieces:
        if len(piece) and not looked and not piece.trace.processes:
            raise OptionError(
                "the trace doesn't say which threads are one process: ask by thread (ftrace says it with the option "
                "record-tgid, LTTng with the context vpid or pid)"
            )
        looked = looked or len(piece) > 0
        yield piece


def reckoned(mended: Mended, draws: int, asked: Asked = CALLS_AND_THREADS) -> Reckoning:
    """Count a trace that was mended already, with so many hypotheses. Raises OptionError for a span of a trace without
    a clock, and where processes are asked for that it doesn't tell."""
    counted = Counted(Count(asked, draws))
    whole: Iterable[Piece] = [Piece.whole(mended.trace)]
    for piece in _with_processes(whole) if asked.processes else whole:
        counted.take(counted.count(piece, mended))
    return _closed(counted, mended)


def _closed(counted: Counted, result: Result) -> Reckoning:
    """What was counted of a trace, now that all of it was."""
    if counted.count.asked.span is not None and result.trace.clock == "index":
        raise OptionError("the trace has no clock, so nothing can be told of a span of it")
    counted.close(result.outline.end_ns)
    return Reckoning(counted, result)


def reckon(
    pieces: Iterable[Piece],
    how: How,
    count: Count,
    folder: Callable[[], Path],
    progress: Callable[[Done], None] = lambda done: None,
) -> Reckoning:
    """Mend a trace and count what survived, what was filled in, and each of the draws.

    Parameters as of ``mend_pieces``, which this raises as; OptionError also as ``reckoned``. What
    the result says of its inferred events is there as long as the folder is, its figures for good.
    """
    counted = Counted(count)
    pieces = _with_processes(pieces) if count.asked.processes else pieces
    result = mend_pieces(pieces, replace(how, count=count), folder, progress, counted.take)
    return _closed(counted, result)
