"""What a mender is scored by on a recording of the kernel, besides what gaps of any trace are: families of events, who
is shown on the cpus, impossible transitions, fields.

One row of results is one mender on one recording, as in ``lost``; tables are made from many.

Axis legend: G gaps, N events of gaps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.judging.metrics import LENGTH_BINS, bin_name, confidence_bins, error_of_bins, interval, rouge_l
from tracemend.judging.results import Row
from tracemend.judging.running import cpu_time, right_time, time_error
from tracemend.judging.transitions import KINDS, Where, counted
from tracemend.judging.views import View, of_trace, of_truth
from tracemend.mending.mended import Mended
from tracemend.reckoning.events import recorded
from tracemend.recording import Pair
from tracemend.trace.arguments import KEYS, key_texts
from tracemend.trace.events import ENTER, EXIT, INSTANT, PHASES, Trace
from tracemend.trace.fields import SOFTIRQS, SWITCH, WAKEUPS, kernel_name, taken, values

Ints = NDArray[np.int64]

#: Kinds of events, by their names; those that are entered and left are system calls.
FAMILIES = {
    "scheduling": "sched_",
    "interrupts and timers": "irq_|softirq_|tasklet_|timer_|hrtimer_|timer:",
    "block": "block_",
    "net": "net_|netif_|napi_",
}
CALLS, OTHER = "system calls", "other"
#: The fields that viewers draw from.
FIELDS: dict[str, tuple[str, ...]] = {
    SWITCH: ("prev_pid", "prev_comm", "prev_state", "next_pid", "next_comm"),
    **dict.fromkeys(WAKEUPS, ("pid", "comm", "target_cpu")),
    "sched_process_fork": ("pid", "comm", "child_pid", "child_comm"),
    "sched_process_exec": ("pid", "filename"),
    "sched_process_exit": ("pid", "comm"),
    "sched_migrate_task": ("pid", "orig_cpu", "dest_cpu"),
    "irq_handler_entry": ("irq", "name"),
    "irq_handler_exit": ("irq", "ret"),
    **dict.fromkeys(SOFTIRQS, ("vec",)),
}
#: What system calls' fields are called together.
RESULT, ARGUMENT = "result of a call", "argument of a call"
#: Measures of a family.
MEASURES = ("accuracy", "perfect", "rouge_l")


def family(name: str, phase: int) -> str:
    """Which kind of event that is."""
    if phase != INSTANT:
        return CALLS
    return next((f for f, names in FAMILIES.items() if re.match(names, kernel_name(name))), OTHER)


def scores(mended: Mended, pair: Pair, chosen: Iterable[int]) -> Row:
    """What a fill of a pair's chosen gaps is worth."""
    truth, inside = of_truth(pair), recorded(pair.complete)
    left, view = of_trace(pair.lossy, inside=inside), of_trace(pair.lossy, mended.inferred, inside)
    matched = _matched(mended.inferred, pair)
    return {
        "families": _families(matched),
        "running": _running(left, view, truth, pair, sorted(g for g in chosen if len(pair.missing[g]))),
        "cpu_time": {n: round(time_error(*cpu_time(v, truth)), 5) for n, v in (("left", left), ("mended", view))},
        "transitions": {n: _told(v) for n, v in (("left", left), ("mended", view), ("true", truth))},
        "fields": _fields(mended.inferred, pair.complete, matched),
    }


def _told(view: View) -> dict[str, dict[Where, int]]:
    return {kind: n for kind, n in counted(view).items() if sum(n.values())}


@dataclass(frozen=True)
class _Matched:
    """The events of filled gaps against those that were lost there, position by position (each (N,)).

    at: rows of the inferred table; lost: rows of the complete trace; filled, real: what both are, numbers in ``kinds``.
    """

    gap: Ints
    at: Ints
    lost: Ints
    filled: Ints
    real: Ints
    kinds: list[tuple[str, int]]


def _matched(inferred: pa.Table, pair: Pair) -> _Matched:
    """Only gaps that as many events were inferred for as were lost."""
    gap = inferred["gap"].to_numpy()
    order = np.argsort(gap, kind="stable")
    cuts = np.searchsorted(gap[order], np.arange(len(pair.missing) + 1))
    held = [(order[cuts[g] : cuts[g + 1]], lost) for g, lost in enumerate(pair.missing)]
    held = [(at, lost) for at, lost in held if len(at) == len(lost) > 0]
    at, lost = (np.concatenate([np.empty(0, np.int64), *side]) for side in ([a for a, _ in held], [r for _, r in held]))
    number: dict[tuple[str, int], int] = {}
    codes, names = pair.complete.names
    table = np.array([[number.setdefault((n, p), len(number)) for p in range(len(PHASES))] for n in names], np.int64)
    said = zip(inferred["name"].to_pylist(), map(PHASES.index, inferred["phase"].to_pylist()), strict=True)
    filled = np.array([number.setdefault(kind, len(number)) for kind in said], np.int64)
    real = table[codes[lost], pair.complete.phase[lost]] if len(lost) else lost
    return _Matched(gap[at].astype(np.int64), at, lost, filled[at], real, list(number))


def _families(m: _Matched) -> dict[str, dict[str, list[float]]]:
    """Of each family and each gap that lost some of it: the gap's length, how many, and how right the fill is about
    these."""
    kinds = [family(*k) for k in m.kinds]
    found: dict[str, dict[str, list[float]]] = {}
    for name in dict.fromkeys(kinds):
        own = np.array([k == name for k in kinds])
        rows: dict[str, list[float]] = {k: [] for k in ("length", "lost", *MEASURES)}
        for gap in np.unique(m.gap[own[m.real]]):
            real, filled = m.real[m.gap == gap], m.filled[m.gap == gap]
            here = own[real]
            right = filled[here] == real[here]
            for key, value in zip(
                rows,
                (len(real), int(here.sum()), right.mean(), bool(right.all()), rouge_l(filled[own[filled]], real[here])),
                strict=True,
            ):
                rows[key].append(round(float(value), 4))
        if rows["lost"]:
            found[name] = rows
    return found


def _running(left: View, view: View, truth: View, pair: Pair, chosen: Sequence[int]) -> dict[str, list[int]]:
    """Of each gap its length, the ns for which the truth knows who ran, and those for which that is shown if it is left
    open (then whoever ran last is shown), and mended."""
    gaps = [pair.lossy.gaps[g] for g in chosen]
    (open_ns, known_ns), (right_ns, _) = (right_time(v, truth, gaps) for v in (left, view))
    columns = {"known_ns": known_ns, "left_ns": open_ns, "right_ns": right_ns}
    return {"length": [len(pair.missing[g]) for g in chosen], **{k: v.tolist() for k, v in columns.items()}}


def _fields(inferred: pa.Table, complete: Trace, m: _Matched) -> dict[str, dict[str, Any]]:
    """Of each field: how many of the events that are right have it in truth (``there``), for how many of these it was
    said, and rightly; and what ``confidence_bins`` counts of all that were said: a wrong event's fields are wrong."""
    import pyarrow.compute as pc

    total: dict[str, NDArray[np.float64]] = {}
    for kind in np.unique(m.filled).tolist():
        name, phase = m.kinds[kind]
        here = np.flatnonzero(m.filled == kind)
        same = m.real[here] == kind
        told = inferred["fields"].take(pa.array(m.at[here])).combine_chunks()
        for field, real in _real(complete, name, phase, m.lost[here]).items():
            said = pc.map_lookup(told, field, "first")
            value, sure = (pc.struct_field(said, k) for k in ("value", "confidence"))
            given, there = (x.is_valid().to_numpy(zero_copy_only=False) for x in (value, real))
            right = pc.equal(value, real).fill_null(False).to_numpy(zero_copy_only=False) & same
            bins = confidence_bins(sure.to_numpy(zero_copy_only=False).astype(float)[given], right[given])
            key = {EXIT: RESULT, ENTER: ARGUMENT}.get(phase, f"{kernel_name(name)} {field}")
            counts = [(same & there).sum(), (same & there & given).sum(), right.sum(), *bins.ravel()]
            total[key] = total.get(key, np.zeros(len(counts))) + np.array(counts)
    found = {k: (*c[:3].astype(int).tolist(), np.round(c[3:].reshape(3, -1), 2).tolist()) for k, c in total.items()}
    return {k: dict(zip(("there", "said", "right", "bins"), c, strict=True)) for k, c in sorted(found.items())}


def _real(complete: Trace, name: str, phase: int, rows: Ints) -> dict[str, pa.StringArray]:
    """What the fields of an event of this kind are in the truth, at some of its rows; null where it isn't one."""
    if phase == EXIT:
        return {"ret": taken(complete, "ret", rows)}
    if phase == ENTER:
        return {KEYS[name][0]: key_texts(taken(complete, "args", rows), KEYS[name])} if name in KEYS else {}
    asked = FIELDS.get(kernel_name(name))
    if not asked:
        return {}
    own, texts = values(complete, kernel_name(name), asked)
    place = np.searchsorted(own, rows)
    there = place < len(own)
    there[there] = own[place[there]] == rows[there]
    at = pa.array(np.where(there, place, 0), mask=~there)
    return {field: text.take(at) for field, text in texts.items()}


# Tables: cells made from many rows.


def by_mender(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each mender that have scores of the kernel, the weakest mender first: by who it shows on the cpus."""
    held: dict[str, list[Row]] = {}
    for row in rows:
        if "kernel" in row:
            held.setdefault(row["mender"], []).append(row)
    return dict(sorted(held.items(), key=lambda item: shown(item[1], "right_ns")[0]))


def shown(rows: Sequence[Row], side: str, lengths: tuple[int, int] = (1, 1 << 62)) -> tuple[float, tuple[float, float]]:
    """For what share of the time of gaps so long the right thread is shown, with its interval over recordings; side:
    ``left_ns`` or ``right_ns``."""
    right, known, recording = [], [], []
    for number, row in enumerate(rows):
        gaps = row["kernel"]["running"]
        for length, ns, whole in zip(gaps["length"], gaps[side], gaps["known_ns"], strict=True):
            if lengths[0] <= length <= lengths[1]:
                right.append(ns)
                known.append(whole)
                recording.append(number)
    return _ratio(right, known, recording)


def _ratio(parts: Sequence[float], wholes: Sequence[float], groups: Sequence[int]) -> tuple[float, tuple[float, float]]:
    """A share, and its interval over groups."""
    whole = np.array(wholes, float)
    if not whole.sum():
        return 0.0, (0.0, 0.0)
    part, group = np.array(parts, float), np.array(groups, np.int64)
    return float(part.sum() / whole.sum()), interval(part, np.random.default_rng(0), group_G=group, weight_G=whole)


def filled_lengths(rows: Sequence[Row]) -> list[tuple[int, int]]:
    """The bins of length that there are gaps of."""
    there = [n for r in rows for n in r["kernel"]["running"]["length"]]
    return [(low, high) for low, high in LENGTH_BINS if any(low <= n <= high for n in there)]


def name_of(lengths: tuple[int, int]) -> str:
    """A bin of length, or all of them."""
    return "all" if lengths[1] - lengths[0] >= (1 << 62) - 1 else bin_name(*lengths)


def of_family(rows: Sequence[Row], name: str, lengths: tuple[int, int] = (1, 1 << 62)) -> Row | None:
    """Means over the gaps so long that lost events of the family, the accuracy with its interval over recordings."""
    parts = [(i, r["kernel"]["families"][name]) for i, r in enumerate(rows) if name in r["kernel"]["families"]]
    if not parts:
        return None
    columns = {k: np.concatenate([p[k] for _, p in parts]).astype(float) for k in ("length", "lost", *MEASURES)}
    inside = (columns["length"] >= lengths[0]) & (columns["length"] <= lengths[1])
    if not inside.any():
        return None
    recording = np.repeat([i for i, _ in parts], [len(p["lost"]) for _, p in parts])[inside]
    cell: Row = {k: float(columns[k][inside].mean()) for k in MEASURES}
    cell["interval"] = interval(columns["accuracy"][inside], np.random.default_rng(0), group_G=recording)
    return cell | {"gaps": len(recording), "events": int(columns["lost"][inside].sum())}


def cpu_error(rows: Sequence[Row], side: str) -> tuple[float, tuple[float, float]]:
    """The mean error of cpu times over recordings, with its interval; side: ``left`` or ``mended``."""
    errors = np.array([r["kernel"]["cpu_time"][side] for r in rows], float)
    return float(errors.mean()), interval(errors, np.random.default_rng(0))


def transitions(rows: Sequence[Row], side: str) -> dict[str, dict[str, int]]:
    """All impossible transitions by kind and by where they lie; side: ``left``, ``mended`` or ``true``."""
    total = {kind: dict.fromkeys(("within", "behind", "elsewhere"), 0) for kind in KINDS}
    for row in rows:
        for kind, counts in row["kernel"]["transitions"][side].items():
            for where, n in counts.items():
                total[kind][where] += n
    return total


def of_fields(rows: Sequence[Row]) -> dict[str, Row]:
    """Of each field: of how many right events the truth has it, the share of these for which it was said, the share of
    those said that is right; of all that were said, also of wrong events, the share that is right, the mean confidence
    and its calibration error."""
    cells: dict[str, Row] = {}
    for name in sorted({f for r in rows for f in r["kernel"]["fields"]}):
        parts = [r["kernel"]["fields"][name] for r in rows if name in r["kernel"]["fields"]]
        there, said, right = (sum(p[k] for p in parts) for k in ("there", "said", "right"))
        bins = np.sum([p["bins"] for p in parts], axis=0)
        every, sure, true = bins.sum(axis=1).tolist()
        cells[name] = {"there": there, "said": said / max(1, there), "right": right / max(1, said), "all": int(every)}
        cells[name] |= {"true": true / max(1.0, every), "confidence": sure / max(1.0, every)}
        cells[name]["calibration_error"] = error_of_bins(bins)
    return cells
