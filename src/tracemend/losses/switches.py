"""What the scheduler's switches tell of losses: a cpu goes on with the thread that it last switched to.

Axis legend: E events, B breaks, W switches of one cpu.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.trace.events import Trace
from tracemend.trace.fields import SWITCH, numbers, values

Ints = NDArray[np.int64]

#: From the idle thread to one of the kernel's: what every system does all the time, and what is never recorded where a
#: filter lets only the switches of some processes through. Of such switches a chain can't be asked.
OF_ALL = r"(?s)swapper/\d+.*(?:==>|next_comm).*\b(?:kworker/|rcu|ksoftirqd/|migration/|kcompactd|kswapd|irq/)"
#: Even then: where buffers overflow few switches contradict the one before. If more of them do, not all were recorded.
FILTERED = 0.1


@dataclass
class Chains:
    """What was seen of a trace's switches so far, of which pieces are given in order."""

    of_all: bool = False
    pairs: int = 0
    broken: int = 0

    @property
    def tell(self) -> bool:
        """Whether all switches seem to have been recorded, so that a broken chain tells of a loss."""
        return self.of_all and self.broken <= FILTERED * self.pairs

    def add(self, trace: Trace, begin: int = 0) -> tuple[Ints, Ints]:
        """Rows (B,) of pairs of a cpu's neighbouring switches of which the second one, no earlier than row ``begin``,
        leaves another thread than the first one went to: events between them are missing, if the chains tell."""
        rows, said = values(trace, SWITCH, ("prev_pid", "next_pid"))
        if not len(rows):
            return rows, rows
        import pyarrow.compute as pc  # most traces have no switches

        texts = trace.table["args"].take(pa.array(rows))
        self.of_all = self.of_all or bool(pc.any(pc.match_substring_regex(texts, OF_ALL)).as_py())
        prev, following = (numbers(said[name]) for name in ("prev_pid", "next_pid"))
        told = (prev >= 0) & (following >= 0)
        rows, prev, following = rows[told], prev[told], following[told]
        order = np.argsort(trace.cpu[rows], kind="stable")
        rows, prev, following = rows[order], prev[order], following[order]
        same = (trace.cpu[rows[:-1]] == trace.cpu[rows[1:]]) & (rows[1:] >= begin)
        broken = same & (following[:-1] != prev[1:])
        self.pairs += int(same.sum())
        self.broken += int(broken.sum())
        at = np.flatnonzero(broken)
        return rows[at], rows[at + 1]


def unchained(trace: Trace) -> tuple[Ints, Ints]:
    """The pairs of a whole trace that ``Chains`` finds; none where they tell nothing."""
    chains = Chains()
    before, after = chains.add(trace)
    return (before, after) if chains.tell else (before[:0], after[:0])
