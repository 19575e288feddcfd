"""Recordings of whole machines: is what the recorder tells of them true, what is in the corpus? (docs/recording.md)"""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq

from docs.common import ROOT, folded, load, source
from tracemend.judging.report import markdown_table

CORPUS = ROOT / "corpus" / "kernel"
EVENTS = {"sched": "scheduling, of a command", "kernel": "kernel, of the machine"}


def recording() -> str:
    """Pairs recorded anew, and whether all that is told of their losses agrees."""
    d = load("recording_machine")
    amounts = ("events", "survived", "gaps", "stated", "exact", "counter", "missing")
    head = ["", "recordings where all agrees", "events", "survived", "gaps", "gaps with a count", "of them exact"]
    body = [
        [EVENTS[t["events_of"]], f"{t['without_faults']} of {t['recordings']}"]
        + [f"{t[a]:,}" for a in amounts]
        + [f"{100 * t['recorder']:.1f}"]
        for t in d["totals"]
    ]
    head += ["tracer's own counter", "really missing", "the recorder's own events, %"]
    return markdown_table(head, body) + source(d, "recording_machine")


def corpus() -> str:
    """Each recording of ``corpus/kernel``."""
    body, totals = [], np.zeros(4, np.int64)
    for path in sorted(CORPUS.rglob("*.parquet"), key=lambda p: (p.stem, p)):
        events = pq.read_metadata(path).num_rows
        if path.parent == CORPUS:
            body.append([path.stem, f"{events:,}", "complete", "", ""])
            totals += [1, events, 0, 0]
            continue
        gap = pq.read_table(path, columns=["gap"])["gap"].to_numpy()
        lengths = np.unique(gap[gap >= 0], return_counts=True)[1]
        told = f"{lengths.min():,} / {int(np.median(lengths)):,} / {lengths.max():,}"
        body.append([path.stem, f"{events:,}", f"{lengths.sum():,}", f"{len(lengths):,}", told])
        totals += [1, events, lengths.sum(), len(lengths)]
    recordings, events, lost, gaps = totals.tolist()
    table = markdown_table(["recording", "events", "lost", "gaps", "shortest, median, longest"], body)
    said = f"{recordings} recordings, {events:,} events, {lost:,} of them lost in {gaps:,} gaps.\n"
    return said + folded("Each recording", table)
