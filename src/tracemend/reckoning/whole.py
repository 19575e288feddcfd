"""A whole trace mended and counted, piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from tracemend.errors import ModelError, one_of
from tracemend.mending.parts import How
from tracemend.mending.pieces import Done, mend_pieces
from tracemend.reckoning.counting import Count, Counted
from tracemend.reckoning.making import Reckoning
from tracemend.reckoning.tally import BY, Asked
from tracemend.trace.pieces import Piece


def asked(by: str, span: tuple[int, int] | None = None) -> Asked:
    """What is to be counted. Raises ModelError for what figures can't be by, and a span that ends before it begins."""
    if by == "process":
        raise ModelError("traces don't say which threads are one process: use thread")
    if span is not None and span[0] > span[1]:
        raise ModelError("the span ends before it begins")
    return Asked((one_of("key of figures", by, BY),), span)


def reckon(
    pieces: Iterable[Piece],
    how: How,
    count: Count,
    folder: Callable[[], Path],
    progress: Callable[[Done], None] = lambda done: None,
) -> Reckoning:
    """Mend a trace and count what survived, what was filled in, and each of the draws.

    Parameters as of ``mend_pieces``, which this raises as; ModelError also for a span of a trace without a clock. What
    the result says of its inferred events is there as long as the folder is, its figures for good.
    """
    counted = Counted(count)
    result = mend_pieces(pieces, replace(how, count=count), folder, progress, counted.take)
    if count.asked.span is not None and result.trace.clock == "index":
        raise ModelError("the trace has no clock, so nothing can be told of a span of it")
    counted.close(result.outline.end_ns)
    return Reckoning(counted, result)
