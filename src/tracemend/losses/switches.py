"""What the scheduler's switches tell of losses: a cpu goes on with the thread that it last switched to.

Axis legend: E events, B breaks, W switches of one cpu.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.trace.events import Trace

Ints = NDArray[np.int64]

SWITCH = "sched_switch"
#: How the tracers write the thread that leaves and the one that comes: as the kernel prints it, as trace-cmd does, and
#: as fields of CTF.
SPELLINGS = tuple(
    r"(?s)" + spelt
    for spelt in (
        r"prev_pid ?= ?(?P<prev>\d{1,9})\b.*\bnext_pid ?= ?(?P<next>\d{1,9})\b",
        r"^.*?:(?P<prev>\d{1,9}) \[.*==> .*:(?P<next>\d{1,9}) \[",
    )
)
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
        codes, names = trace.names
        none = np.empty(0, np.int64)
        if SWITCH not in names:
            return none, none
        rows = np.flatnonzero(codes == names.index(SWITCH))
        import pyarrow.compute as pc  # most traces have no switches

        texts = trace.table["args"].take(pa.array(rows))
        self.of_all = self.of_all or bool(pc.any(pc.match_substring_regex(texts, OF_ALL)).as_py())
        prev, following = threads_of_switches(texts)
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


def threads_of_switches(texts: pa.ChunkedArray) -> tuple[Ints, Ints]:
    """The threads that switches leave and go to (W,); -1 where a text doesn't say."""
    import pyarrow.compute as pc

    prev, following = np.full(len(texts), -1, np.int64), np.full(len(texts), -1, np.int64)
    for spelling in SPELLINGS:
        found = pc.extract_regex(texts, spelling).combine_chunks()
        valid = found.is_valid().to_numpy(zero_copy_only=False) & (prev < 0)
        if valid.any():
            for name, column in (("prev", prev), ("next", following)):
                column[valid] = found.field(name).filter(pa.array(valid)).cast(pa.int64()).to_numpy()
    return prev, following
