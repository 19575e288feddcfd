"""Gaps that no event lies between: what they lost follows each other, so they are filled as one.

A tracer that loses events again and again may say so several times before one survives.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from tracemend.mending.beliefs import Filled
from tracemend.mending.mended import Fill
from tracemend.trace.events import Gap


class Places:
    """The places that gaps are at, each named by the first gap there. counts: by number, what each gap is filled with.

    ``counts``: the same of whole places. ``gaps``: the first ones, in the order in which they are to be filled.
    """

    def __init__(self, gaps: Iterable[Gap], counts: dict[int, int]) -> None:
        at: dict[tuple[int, int | None, int | None], list[Gap]] = {}
        for gap in gaps:
            at.setdefault((gap.cpu, gap.before, gap.after), []).append(gap)
        self._own = counts
        self._members = {members[0].number: members for members in at.values()}
        self.counts = {first: sum(counts[g.number] for g in members) for first, members in self._members.items()}
        self.gaps = sorted((m[0] for m in self._members.values()), key=lambda g: (g.end_ns, g.begin_ns, g.number))

    def fills(self, whole: Filled) -> Iterator[Filled]:
        """What a place was filled with, gap by gap."""
        members = self._members[whole.gap.number]
        cuts = np.cumsum([0, *(self._own[g.number] for g in members)])
        for gap, first, end in zip(members, cuts[:-1], cuts[1:], strict=True):
            own = slice(first, end)
            ids, tids, times = whole.ids[own], whole.tids[own], whole.times[own]
            yield Filled(gap, ids, tids, times, whole.confidence[own], whole.following[own])

    def told(self, whole: Fill) -> Iterator[Fill]:
        """What became of a place, gap by gap."""
        for gap in self._members[whole.gap]:
            first, filled = gap.number == whole.gap, whole.status == "filled"
            yield replace(
                whole,
                gap=gap.number,
                events=self._own[gap.number] if filled else 0,
                estimated=gap.count is None,
                drawn=self._own[gap.number] if whole.drawn else 0,
                unmet=whole.unmet if first else 0,
                changed=whole.changed if first else 0,
            )
