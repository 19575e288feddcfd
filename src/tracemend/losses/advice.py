"""What buffer would have held the events that were lost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracemend.losses.suspect import ENTER_BYTES, EXIT_BYTES
from tracemend.trace.events import ENTER, EXIT, Gap, Trace, by_cpu

#: Bytes of a ring-buffer record that is no raw_syscalls event: a middling guess.
OTHER_BYTES = 48
#: perf's records hold so many bytes more an event: their header, time, thread, cpu and period.
PERF_BYTES = 60
#: No tracer takes less than this for an event, ns: a gap that is shorter isn't where its events were lost.
SHORTEST_NS = 20


@dataclass(frozen=True, slots=True)
class Advice:
    """What one cpu's buffer lacked: ``missing_bytes`` more would have held the largest backlog.

    ``rate`` is the highest rate of lost events a second over any gap whose length and count are known, None if there is
    none; ``complete`` is False if some gap has no count.
    """

    cpu: int
    lost: int
    rate: float | None
    event_bytes: float
    missing_bytes: int
    complete: bool

    def sufficient_kb(self, current_kb: int) -> int:
        """A buffer of ``current_kb`` grown by what was missing and a quarter more, as a power of two of KiB; with 0 so
        much is to be added to whatever it had."""
        need = current_kb + self.missing_bytes * 1.25 / 1024
        return int(2 ** math.ceil(math.log2(max(need, 4))))

    def as_dict(self, current_kb: int) -> dict[str, Any]:
        return {
            "cpu": self.cpu,
            "lost": self.lost,
            "events_per_second": None if self.rate is None else round(self.rate),
            "bytes_per_event": round(self.event_bytes, 1),
            "missing_kb": math.ceil(self.missing_bytes / 1024),
            "add_kb": self.sufficient_kb(0) if self.missing_bytes else None,
            "sufficient_kb": self.sufficient_kb(current_kb) if self.missing_bytes and current_kb else None,
            "complete": self.complete,
        }


def advise(trace: Trace) -> list[Advice]:
    """For each cpu with a gap, how many bytes its buffer was short of.

    The reader's pace is taken from what survived: bytes of surviving events over the time of the cpu's stream. Lost
    events would have queued up behind them; the backlog grows by what a gap lost and falls whenever events come more
    slowly than the reader reads. Its peak is what the buffer lacked.
    """
    result = []
    size = np.where(trace.phase == ENTER, ENTER_BYTES, np.where(trace.phase == EXIT, EXIT_BYTES, OTHER_BYTES))
    size = size + (PERF_BYTES if trace.tracer in ("perf", "perf trace") else 0)
    for cpu, held in sorted(by_cpu(trace.gaps).items()):
        rows = trace.streams.get(cpu, np.empty(0, np.int64))
        gaps = sorted(held, key=lambda g: g.end_ns)
        stored = trace.stored.get(cpu, 0)
        if stored and len(rows):
            mean = stored / len(rows)
            kept = mean * np.arange(len(rows) + 1)
        else:
            mean = float(size[rows].mean()) if len(rows) else (ENTER_BYTES + EXIT_BYTES) / 2
            kept = np.concatenate([[0], np.cumsum(size[rows])])
        begin = min([int(trace.time_ns[rows[0]])] if len(rows) else [], default=gaps[0].begin_ns)
        end = max(int(trace.time_ns[rows[-1]]) if len(rows) else 0, gaps[-1].end_ns)
        pace = float(kept[-1]) / max(1, end - begin)
        backlog = peak = 0.0
        seen, at = 0, begin
        for g in gaps:
            row = int(np.searchsorted(rows, g.after)) if g.after is not None else len(rows)
            backlog += float(kept[row] - kept[seen]) - pace * (g.end_ns - at)
            backlog = max(0.0, backlog) + (g.count or 0) * mean
            peak = max(peak, backlog)
            seen, at = row, g.end_ns
        rate = max((rate for g in gaps if (rate := _rate(trace, g)) is not None), default=None)
        complete = all(g.count is not None for g in gaps)
        result.append(Advice(cpu, sum(g.count or 0 for g in gaps), rate, mean, math.ceil(peak), complete))
    return result


def _rate(trace: Trace, gap: Gap) -> float | None:
    """Lost events a second between the surviving ones before and after a gap; None where one of them, or the count, is
    unknown, and where the time between them is too short for so many."""
    if gap.count is None or gap.before is None or gap.after is None:
        return None
    time_ns = max(gap.duration_ns, int(trace.time_ns[gap.after] - trace.time_ns[gap.before]))
    return gap.count / time_ns * 1e9 if time_ns >= gap.count * SHORTEST_NS and time_ns else None
