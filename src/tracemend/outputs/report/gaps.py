"""The report's gaps: a row of columns each, other fills that were drawn, and what was really lost where that is known.

Axis legend: G gaps of the page, X columns of time.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.mending.mended import HYPOTHESES, Result
from tracemend.outputs.report.columns import LARGEST, Numbers, Words
from tracemend.outputs.report.events import PARTS, Events, Names, Room, of_gaps, since
from tracemend.recording.pairs import Pair

Ints = NDArray[np.int64]

#: Rows of gaps in the page.
MOST_GAPS = 200_000
KNOWN = ("counted", "uncounted", "suspected")
STATUSES = ("filled", "refused", "left")
#: Where not all events are in the page, they are counted in so many columns of time, of so many cpus.
COLUMNS, MOST_CPUS = 1 << 11, 64
#: Characters shown of why a gap is as it is.
LONGEST_REASON = 200


def gaps(result: Result, events: Events, reasons: Words, begin_ns: int) -> dict[str, Ints]:
    """A row a gap; -1 stands for what isn't known."""
    rows: list[tuple[int, ...]] = []
    some = list(islice(zip(result.trace.gaps, result.fills, strict=True), MOST_GAPS))
    for gap, fill in some:
        rows.append(
            (
                gap.number,
                gap.cpu,
                -1 if gap.count is None else min(gap.count, LARGEST),
                KNOWN.index(gap.known),
                gap.line,
                (gap.before is None) + 2 * (gap.after is None),
                events.at(gap.before),
                events.at(gap.after),
                STATUSES.index(fill.status),
                fill.events,
                _parts(fill.confidence),
                int(fill.estimated),
                reasons.number(fill.reason),
                fill.unmet,
                _parts(fill.agreement),
                reasons.number(fill.by),
                fill.changed,
            )
        )
    names = (
        *("gap", "cpu", "count", "known", "line", "open", "before", "after"),
        *("status", "events", "sure", "estimated", "reason", "unmet", "agreement", "by", "changed"),
    )
    table = np.array(rows, np.int64).reshape(-1, len(names)).T
    begin = since(np.array([g.begin_ns for g, _ in some], np.int64), begin_ns)
    end = since(np.array([g.end_ns for g, _ in some], np.int64), begin_ns)
    return {"begin": begin, "end": end, **dict(zip(names, table, strict=True))}


def _parts(share: float | None) -> int:
    return -1 if share is None else round(share * PARTS)


def others(result: Result, names: Names, room: Room, chosen: Ints) -> dict[str, Numbers]:
    """Events of hypotheses, of the same gaps as many as there is room for."""
    drawn = result.drawn()
    if drawn is None:
        return {}
    number = int((result.provenance.get("options") or {}).get("hypotheses") or 1)
    events = {f.gap: f.events for f in result.fills}
    fit = np.cumsum([number * events[g] for g in chosen.tolist()]) <= room.others
    table = pa.concat_tables([HYPOTHESES.empty_table(), *of_gaps(drawn, chosen[fit])]).unify_dictionaries()
    return {name: table[name].to_numpy() for name in ("gap", "hypothesis")} | names.kinds(table)


def truth(pair: Pair, names: Names, room: Room) -> dict[str, Numbers]:
    """The events that gaps really lost, of the first ones as many as there is room for."""
    lengths = [len(rows) for rows in pair.missing]
    fit = int(np.searchsorted(np.cumsum(lengths), room.others, "right"))
    rows = np.concatenate([np.empty(0, np.int64), *pair.missing[:fit]])
    gap = np.repeat([g.number for g in pair.lossy.gaps[:fit]], lengths[:fit])
    return {"gap": gap} | names.kinds(pair.complete.table.take(pa.array(rows)))


def density(result: Result, events: Events, begin_ns: int, span_ns: int) -> tuple[list[int], Ints]:
    """How many events survived on each cpu in equal parts of time: the cpus, and their counts one behind the other.
    None where all events are in the page."""
    cpus = [] if events.until_ns is None else sorted(result.outline.cpus)[:MOST_CPUS]
    counts = [result.density(c, COLUMNS, begin_ns, max(1, span_ns)) for c in cpus]
    return cpus, np.concatenate([np.empty(0, np.int64), *counts])


def rows(result: Result, most: int) -> list[dict[str, Any]]:
    """The first gaps, for who reads the page without its script."""
    return list(islice(result.gap_rows(), most))
