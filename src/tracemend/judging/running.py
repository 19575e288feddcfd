"""Who a view shows on each cpu against who really ran: in the gaps, and how much cpu time each thread gets.

Axis legend: G gaps, S stretches of a cpu's time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tracemend.judging.views import View
from tracemend.reckoning.events import IDLE, UNKNOWN
from tracemend.trace.events import Gap

Ints = NDArray[np.int64]


def right_time(view: View, truth: View, gaps: Sequence[Gap]) -> tuple[Ints, Ints]:
    """Of each gap (G,) for how many ns the view shows who really ran on its cpu, and for how many that is known."""
    right, known = np.zeros(len(gaps), np.int64), np.zeros(len(gaps), np.int64)
    for cpu in {g.cpu for g in gaps}:
        own = [i for i, g in enumerate(gaps) if g.cpu == cpu]
        edges = np.array([[gaps[i].begin_ns, gaps[i].end_ns] for i in own], np.int64)
        times, shown, real = _side_by_side(view, truth, cpu, edges.ravel())
        length = np.diff(times, append=times[-1:])
        for total, of in ((known, real != UNKNOWN), (right, (real != UNKNOWN) & (shown == real))):
            summed = np.concatenate([[0], np.cumsum(np.where(of, length, 0))])
            begin, end = summed[np.searchsorted(times, edges)].T
            total[own] = end - begin
    return right, known


def cpu_time(view: View, truth: View) -> tuple[Counter[int], Counter[int]]:
    """The ns that each thread runs on all cpus as the view shows it, and really: as long as the truth knows who runs,
    and of no idle thread."""
    shown_ns: Counter[int] = Counter()
    real_ns: Counter[int] = Counter()
    for cpu in truth.running:
        times, shown, real = _side_by_side(view, truth, cpu, np.empty(0, np.int64))
        length = np.where(real != UNKNOWN, np.diff(times, append=times[-1:]), 0)
        for total, who in ((shown_ns, shown), (real_ns, real)):
            total.update(dict(_summed(who, length)))
    for total in (shown_ns, real_ns):
        total.pop(IDLE, None)
        total.pop(UNKNOWN, None)
    return shown_ns, real_ns


def time_error(shown_ns: Counter[int], real_ns: Counter[int]) -> float:
    """How far threads' cpu times are from the real ones: the sum of all errors over that of the real times."""
    wrong = sum(abs(shown_ns[t] - real_ns[t]) for t in shown_ns.keys() | real_ns.keys())
    return wrong / max(1, sum(real_ns.values()))


def _side_by_side(view: View, truth: View, cpu: int, edges: Ints) -> tuple[Ints, Ints, Ints]:
    """Times between which nothing changes (S,), the edges among them, and whom both show from each on."""
    nobody = np.empty(0, np.int64), np.empty(0, np.int64)
    both = [v.running.get(cpu, nobody) for v in (view, truth)]
    times = np.unique(np.concatenate([*(t for t, _ in both), edges]))
    shown, real = (
        np.concatenate([[UNKNOWN], who])[np.searchsorted(begin, times, "right")].astype(np.int64) for begin, who in both
    )
    return times, shown, real


def _summed(who: Ints, length: Ints) -> Iterator[tuple[int, int]]:
    threads, code = np.unique(who, return_inverse=True)
    total = np.zeros(len(threads), np.int64)
    np.add.at(total, code.ravel(), length)
    return zip(threads.tolist(), total.tolist(), strict=True)
