"""The figures that people make from a trace, and how far they are from those of the complete one.

Exact match isn't what an analysis needs: a fill is of use if the counts, times and pairs that come out of the mended
trace are nearer to the truth than those of the broken one.

Axis legend: E events, P pairs of enter and exit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import fsum

import numpy as np
from numpy.typing import NDArray

from tracemend.mending.mended import Mended
from tracemend.reckoning.calls import paired
from tracemend.trace.events import ENTER, PHASES, Trace
from tracemend.trace.syscalls import DESCRIPTORS

#: How often each thread made each call, by (tid, name).
Calls = Mapping[tuple[int, str], int]


@dataclass(frozen=True, slots=True)
class Figures:
    """calls: how often each thread made each call, by (tid, name). time_ns: spent in each call, by name. unpaired:
    enters whose thread's next event isn't their exit, and exits without their enter before them."""

    calls: Counter[tuple[int, str]]
    time_ns: Counter[str]
    unpaired: int


def figures(
    time_ns: NDArray[np.int64],
    tid: NDArray[np.int64],
    name: list[str],
    phase: NDArray[np.int8],
    order: NDArray[np.int64],
) -> Figures:
    """What an analysis makes of events (E,), which follow each other as ``order`` (E,) says: it pairs each enter with
    its thread's next event."""
    names, code = np.unique(np.array(name, dtype=np.str_), return_inverse=True)
    tid, code, phase, time_ns = tid[order], code[order], phase[order], time_ns[order]
    calls = paired(tid, code, phase)
    first, last = calls.rows[calls.first], calls.rows[calls.first + 1]
    # a call was made if its enter is there, or an exit that has none
    made = calls.rows[(phase[calls.rows] == ENTER) | calls.lone]
    spent = np.bincount(code[first], (time_ns[last] - time_ns[first]).astype(float), len(names))
    return Figures(
        Counter(zip(tid[made].tolist(), names[code[made]].tolist(), strict=True)),
        Counter({str(n): int(t) for n, t in zip(names, spent, strict=True) if t}),
        int(calls.lone.sum()),
    )


def of_trace(trace: Trace) -> Figures:
    """The figures of a trace as it is, gaps and all."""
    codes, names = trace.names
    order = np.argsort(trace.time_ns, kind="stable")
    return figures(trace.time_ns, trace.tid.astype(np.int64), [names[c] for c in codes], trace.phase, order)


def of_mended(mended: Mended) -> Figures:
    """The figures of a trace with its inferred events."""
    codes, names = mended.trace.names
    table = mended.inferred
    trace = mended.trace
    phase = np.array([PHASES.index(p) for p in table["phase"].to_pylist()], np.int8)
    return figures(
        np.concatenate([trace.time_ns, table["time_ns"].to_numpy()]),
        np.concatenate([trace.tid, table["tid"].to_numpy()]).astype(np.int64),
        [names[c] for c in codes] + table["name"].to_pylist(),
        np.concatenate([trace.phase, phase]),
        mended.order,
    )


def descriptor_error(truth: Calls, other: Calls) -> float:
    """How far file descriptors opened less those closed are from the truth, thread by thread, over those that were
    opened or closed in truth.

    Each call counts as one that succeeds, in the truth as well: an inferred event has no result. Threads stand for the
    processes that own descriptors, which few formats record. What else opens and closes some: syscalls.DESCRIPTORS.
    """
    wrong: Counter[int] = Counter()
    for calls, sign in ((truth, -1), (other, 1)):
        for (tid, name), n in calls.items():
            wrong[tid] += sign * n * DESCRIPTORS.get(name, 0)
    changed = sum(n * abs(DESCRIPTORS.get(name, 0)) for (_, name), n in truth.items())
    return sum(map(abs, wrong.values())) / max(1, changed)


def errors(truth: Figures, other: Figures) -> dict[str, float]:
    """How far the figures are from the truth.

    call_counts: calls counted too many or too few, per thread and call, over the calls that were made. time_shares:
    total variation between the shares of time in each call. unpaired: more (or fewer) enters and exits without their
    other half than there really are, over the calls that were made. descriptors: see ``descriptor_error``.
    """
    made = max(1, sum(truth.calls.values()))
    wrong = sum(abs(truth.calls[k] - other.calls[k]) for k in truth.calls.keys() | other.calls.keys())
    whole, part = max(1, sum(truth.time_ns.values())), max(1, sum(other.time_ns.values()))
    shares = fsum(  # exact, since a set has no order
        abs(truth.time_ns[k] / whole - other.time_ns[k] / part) for k in truth.time_ns.keys() | other.time_ns.keys()
    )
    return {
        "call_counts": wrong / made,
        "time_shares": shares / 2 if truth.time_ns and other.time_ns else float(truth.time_ns != other.time_ns),
        "unpaired": abs(other.unpaired - truth.unpaired) / made,
        "descriptors": descriptor_error(truth.calls, other.calls),
    }
