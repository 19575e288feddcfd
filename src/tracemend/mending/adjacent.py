"""Gaps that no event lies between: what they lost follows each other, so they are filled as one.

A tracer that loses everything for a while may say so several times before an event survives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tracemend.mending.beliefs import Filled
from tracemend.trace.events import Gap


def joined(gaps: Sequence[Gap], counts: dict[int, int]) -> dict[int, list[Gap]]:
    """The gaps that nothing lies between, in order, by the number of the first of them, which is to be filled with what
    all of them lost. counts: by number, how many events each gap is filled with; changed to say so."""
    places: dict[tuple[int, int | None, int | None], list[Gap]] = {}
    for gap in gaps:
        if gap.number in counts:
            places.setdefault((gap.cpu, gap.before, gap.after), []).append(gap)
    return {
    }


def apart(filled: Filled, gaps: Sequence[Gap], counts: dict[int, int]) -> list[Filled]:
    """What was filled as one as fills of these gaps."""
