"""Beliefs about gaps: a long one in blocks from both ends inward, each block seeing what was put beside it.

Axis legend: N positions of a gap, T threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracemend.menders import Mosaic
from tracemend.menders.base import Mender, Proposal
from tracemend.menders.runs import one_after_the_other
from tracemend.mending.beliefs import Beliefs
from tracemend.mending.surroundings import Surroundings
from tracemend.trace.events import Gap
from tracemend.trace.windows import GONE, SLOTS, UNKNOWN_THREAD, Stream, Window, slots_by_recency, window

Ints = NDArray[np.int64]

#: A gap of up to so many events is drawn as a whole, though its beliefs come in blocks: where each hypothesis has
#: surroundings of its own, all take their time.
DRAWN_AT_ONCE = 1 << 14

#: (events proposed for so far, all of them)
Progress = Callable[[int, int], None]


def propose(
    mender: Mender, around: Surroundings, gaps: Sequence[tuple[Gap, int]], seed: int, progress: Progress
) -> Iterator[Beliefs]:
    """Beliefs for each gap with its count, in blocks where it is long.

    All gaps' blocks of a round run together; where the mender takes one at a time, so do gaps, and the beliefs about
    one are not made before those about the one before are taken.
    """
    total, done = sum(n for _, n in gaps), 0
    for some in [[gap] for gap in gaps] if mender.at_once == 1 else [gaps]:
        work = [_Blocks(*around.of(gap, mender.context), count, mender, gap.duration_ns) for gap, count in some]
        while open_blocks := [(w, part) for w in work for part in w.next_blocks()]:
            many = mender.at_once or len(open_blocks)
            for together in (open_blocks[at : at + many] for at in range(0, len(open_blocks), many)):
                windows = [part.window for _, part in together]
                for (w, part), proposal in zip(together, mender.propose(windows, seed), strict=True):
                    w.take(part, proposal)
                    done += len(proposal)
                progress(done, total)
        yield from (w.beliefs() for w in work)


def hypotheses(mender: Mosaic, around: Surroundings, gap: Gap, count: int, number: int, seed: int) -> list[Beliefs]:
    """So many different beliefs about one gap, each sure of a fill that was drawn as a whole.

    A very long gap is drawn in blocks, each beside what was drawn before.
    """
    longest = max(mender.longest, DRAWN_AT_ONCE)
    blocks = _Blocks(*around.of(gap, mender.context), count, mender, gap.duration_ns, longest)
    work = [blocks.another() for _ in range(number)]
    alike, rounds = True, [blocks.next_blocks()] * number  # they all begin with the same windows
    while rounds[0]:
        for parts in zip(*rounds, strict=True):
            own = [seed, gap.number, parts[0].begin]  # gaps and blocks that look alike are drawn apart
            if alike:
                drawn = mender.hypotheses(parts[0].window, number, own)
            else:
                drawn = [mender.hypotheses(part.window, 1, [*own, k])[0] for k, part in enumerate(parts)]
            for w, part, proposal in zip(work, parts, drawn, strict=True):
                w.take(part, proposal)
        alike, rounds = False, [w.next_blocks() for w in work]
    return [w.beliefs() for w in work]


@dataclass(slots=True)
class _Part:
    window: Window
    begin: int
    end: int


class _Blocks:
    """A gap on its way: blocks from both ends inward, each seeing what was put beside it."""

    def __init__(
        self, left: Stream, right: Stream, count: int, mender: Mender, span_ns: int, longest: int | None = None
    ) -> None:
        """What isn't taken at once is filled half as much at each end. span_ns: the gap's duration; longest: what is
        taken at once, as the mender has it if not given."""
        self.left, self.right, self.count, self.span_ns = left, right, count, span_ns
        self.longest, self.context = longest or mender.longest, mender.context
        self.begin, self.end = 0, count
        self.tids = slots_by_recency(left.tids, right.tids)
        self.events: list[tuple[int, Proposal, Ints]] = []

    def another(self) -> _Blocks:
        """The same gap on another way. Nothing may have been taken yet."""
        other = copy(self)
        other.events = []
        return other

    def next_blocks(self) -> list[_Part]:
        """The windows to propose for next: the whole of what is left, or one block at each end of it."""
        room = self.end - self.begin
        if room <= 0:
            return []
        left, right = self.left[-self.context - 1 :], self.right[: self.context + 1]
        span_ns = self.span_ns * room // self.count
        if room <= self.longest:
            return [_Part(window(left, right, room, span_ns), self.begin, self.end)]
        block = self.longest // 2
        # beyond a block lie events of which nothing is known yet: a BREAK
        ahead = window(left, GONE + right, block)
        behind = window(left + GONE, right, block, span_ns * block // room)
        return [
            _Part(ahead, self.begin, self.begin + block),
            _Part(behind, self.end - block, self.end),
        ]

    def take(self, part: _Part, proposal: Proposal) -> None:
        """Keep a block's proposal, and its likeliest events as context of the next one."""
        self.events.append((part.begin, proposal, part.window.tids))
        ahead = part.begin == self.begin
        if ahead:
            self.begin = part.end
        else:
            self.end = part.begin
        if self.begin == self.end:
            return
        tids = part.window.tids
        slots = proposal.threads_NT.argmax(axis=1)
        guess = np.where(slots < len(tids), tids[np.minimum(slots, len(tids) - 1)], -1)
        best = Stream(proposal.events_NM[:, 0], guess)
        if ahead:
            self.left = (self.left + best)[-self.context - 1 :]
        else:
            self.right = (best + self.right)[: self.context + 1]

    def beliefs(self) -> Beliefs:
        """What was proposed for all blocks together."""
        parts = sorted(self.events, key=lambda x: x[0])
        threads = np.zeros((self.count, len(self.tids)), np.float32)
        place = {int(t): i for i, t in enumerate(self.tids)}
        for begin, proposal, tids in parts:  # a block numbers threads its own way
            own = threads[begin : begin + len(proposal)]
            columns = np.full(SLOTS, UNKNOWN_THREAD)
            columns[: len(tids)] = [place.get(t, UNKNOWN_THREAD) for t in tids.tolist()]
            known = columns != UNKNOWN_THREAD
            own[:, columns[known]] = proposal.threads_NT[:, known]
            own[:, UNKNOWN_THREAD] = np.add.accumulate(proposal.threads_NT[:, ~known], axis=1)[:, -1]
        widest = max(p.events_NM.shape[1] for _, p, _ in parts)
        return Beliefs(
            np.concatenate([_as_wide(p.events_NM, widest, -1) for _, p, _ in parts]),
            np.concatenate([_as_wide(p.p_NM, widest, 0) for _, p, _ in parts]),
            threads,
            self.tids,
            one_after_the_other([p.steps for _, p, _ in parts]),
        )


def _as_wide(table: NDArray[Any], width: int, nothing: int) -> NDArray[Any]:
    """So many columns, those that aren't there filled up: a block that little could be copied for has fewer."""
    more = width - table.shape[1]
    return np.pad(table, ((0, 0), (0, more)), constant_values=nothing) if more else table
