"""Mended traces for the tests of the outputs. Their inferred events are made up by a random generator, by no model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from tracemend.formats import read
from tracemend.mending.mended import INFERRED, Fill, Mended, Status
from tracemend.trace.events import Trace

RAW = Path(__file__).parent / "data" / "ftrace_raw.txt"
UNCOUNTED = 6  # events made up for a gap without a count
CALLS = [(name, phase) for name in ("openat", "read", "close") for phase in ("enter", "exit")]
#: What an event's fields may be, by its name; of calls by their phase.
VALUES: dict[str, dict[str, list[str]]] = {
    "exit": {"ret": ["0", "-2", "17"]},
    "sched_switch": {
        "prev_comm": ["sh", "kworker/0:1"],
        "prev_pid": ["0", "4121"],
        "prev_state": ["S", "R+"],
        "next_comm": ["find", "swapper/0"],
        "next_pid": ["0", "4122"],
    },
    "sched_wakeup": {"comm": ["find"], "pid": ["4122"], "target_cpu": ["001"]},
    "irq_handler_entry": {"irq": ["19"], "name": ["ahci"]},
    "irq_handler_exit": {"irq": ["19"], "ret": ["handled"]},
    "softirq_entry": {"vec": ["3"], "action": ["NET_RX"]},
    "softirq_exit": {"vec": ["3"], "action": ["NET_RX"]},
}
KERNEL = [*CALLS, *((name, "instant") for name in VALUES if name != "exit"), ("made", "instant")]


def mended(path: Path = RAW, *, seed: int = 0, statuses: tuple[Status, ...] = ("filled",), most: int = 5000) -> Mended:
    """The trace with made-up events, all of them drawn at random; gaps take ``statuses`` in turn."""
    return made_up(read(path), seed=seed, statuses=statuses, most=most)


def made_up(
    trace: Trace,
    *,
    seed: int = 0,
    statuses: tuple[Status, ...] = ("filled",),
    most: int = 5000,
    names: Sequence[tuple[str, str]] = CALLS,
) -> Mended:
    rng = np.random.default_rng(seed)
    tids = [-1, *{int(t) for t in trace.tid if t > 0}]
    comms = {int(t): c for t, c in zip(trace.tid, trace.table["comm"].cast(pa.string()).to_pylist(), strict=True)}
    rows: dict[str, list[object]] = {name: [] for name in INFERRED.names}
    fills = []
    for gap in trace.gaps:
        status = statuses[gap.number % len(statuses)]
        count = min(most, UNCOUNTED if gap.count is None else gap.count) if status == "filled" else 0
        sure = rng.uniform(0.2, 1, count).astype(np.float32)
        for time, confidence in zip(np.sort(rng.integers(gap.begin_ns, gap.end_ns + 1, count)), sure, strict=True):
            tid = int(rng.choice(tids))
            name, phase = names[int(rng.integers(len(names)))]
            known = _fields(VALUES.get(name if phase == "instant" else phase, {}), rng)
            values = (gap.number, gap.cpu, int(time), tid, comms.get(tid), name, phase, float(confidence), known)
            for column, value in zip(INFERRED.names, values, strict=True):
                rows[column].append(value)
        mean = float(sure.mean()) if count else 0.31 if status == "refused" else None
        reason = {"filled": "", "refused": "confidence 0.31 is below 0.5", "left": "longer than the limit"}[status]
        fills.append(Fill(gap.number, status, count, mean, gap.count is None and status == "filled", reason))
    path = trace.path
    provenance = {
        "tracemend": "0.1.0",
        "model": "made up",
        "model_sha256": "0" * 64,
        "seed": seed,
        "input": None if path is None else str(path),
        "input_sha256": trace.provenance.get("sha256"),
        "format": trace.format,
        "options": {"arch": "x86_64"},
    }
    return Mended(trace, pa.table(rows, INFERRED), tuple(fills), provenance)


def _fields(values: dict[str, list[str]], rng: np.random.Generator) -> list[tuple[str, dict[str, object]]]:
    """Some of them."""
    sure = rng.uniform(0.3, 1, len(values)).astype(np.float32).tolist()
    drawn = (
        (k, {"value": str(rng.choice(v)), "confidence": c}) for (k, v), c in zip(values.items(), sure, strict=True)
    )
    return [field for field in drawn if rng.random() < 0.7]
