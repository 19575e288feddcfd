"""From tallies to figures: the draws of each figure become an estimate and an interval.

Axis legend: H draws, K keys.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.losses import verdict
from tracemend.mending.mended import Result
from tracemend.reckoning.counting import Counted
from tracemend.reckoning.figures import FIGURES, SCHEMA, Figures
from tracemend.reckoning.intervals import estimated, interval, share_lost
from tracemend.reckoning.tally import (
    CALLS,
    CPU,
    ERRORS,
    EVENTS,
    GUESSED,
    NEVER,
    SIDES,
    UNKNOWN,
    UNSAID,
    UNTIL,
    Key,
    Tally,
)
from tracemend.reckoning.touched import Touched
from tracemend.trace.evidence import plural

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

#: Slices of time that figures are given in, at most, if nobody says how many.
SLICES = 20
#: All of time.
ALWAYS = NEVER, -NEVER


@dataclass(frozen=True)
class Reckoning:
    """Makes figures of what was counted and closed. result: the mended trace."""

    counted: Counted
    result: Result

    @property
    def lost(self) -> bool:
        """Whether the trace says that it lost something which figures could miss."""
        return bool(self.result.trace.gaps or self.result.trace.unplaced)

    def figures(self, by: str, slices: int = SLICES) -> Figures:
        """The figures by one thing; by time in no more than so many slices."""
        keys, made = self.sides(by, slices)
        whole = self._whole(made)
        trace, names = self.result.trace, list(self._names(by))
        span = self.counted.count.asked.span
        about = {
            "input": str(trace.path) if trace.path else "",
            "events": self.result.outline.kept,
            "lost_events": trace.lost,
            "uncounted": verdict.Losses.of(trace).uncounted,
            "lost": self.lost,
            **{k: v for k, v in self.result.verdict.as_dict().items() if k != "advice"},
            "draws": self.counted.count.draws if any(f.counted for f in self.result.fills) else 0,
            "seed": self.result.provenance.get("seed"),
            **({} if span is None else {"span_ns": list(span)}),
        }
        return Figures(
            by,
            self._table(names, keys, made),
            self._table(names, Keys("total", [""], keys.width, self.counted.count.asked.anywhere("call")), whole),
            (*self._placeless(by, int(whole[0, 0, CALLS] - made[0, :, CALLS].sum())), *self._notes()),
            about,
            trace.clock == "index",
        )

    def every(self) -> list[Figures]:
        """The figures by all that was counted, and by process where the trace says which threads are one."""
        by = self.counted.count.asked.by
        return [self.figures(b) for b in (*by, *(["process"] if "thread" in by and self.counted.processes else []))]

    def sides(self, by: str, slices: int = SLICES) -> tuple[Keys, Ints]:
        """What figures by one thing are made of: the columns of the tallies of what survived, and of each draw
        (1 + H, K, columns)."""
        tallies = [self.counted.observed, *self.counted.fills[1:]]
        counted_by = "thread" if by == "process" else by
        counts = [t.counts[counted_by] for t in tallies]
        width = tallies[0].width
        if by == "process":
            counts = [_together(t, self.counted.processes) for t in counts]
        elif by == "time":
            width = _slice({int(k) for c in counts for k in c}, width, slices)
            counts = [_coarse(t, width) for t in tallies]
        keys = _keys(by, counts)
        nothing = [0] * UNTIL + [NEVER]
        rows = [[c.get(k, nothing) for k in keys] for c in counts]
        made = np.array(rows, np.int64).reshape(len(counts), len(keys), UNTIL + 1)
        _returned(made)
        return Keys(by, keys, width, self.counted.count.asked.anywhere(counted_by)), made

    def _whole(self, made: Ints) -> Ints:
        """The columns of all keys together (1 + H, 1, columns): the same for every way to ask. made: of the keys, by
        what is asked; cpu time is not of calls."""
        _, calls = self.sides("call")
        whole: Ints = calls.sum(axis=1, keepdims=True)
        whole[:, :, UNTIL] = calls[:, :, UNTIL].max(axis=1, keepdims=True, initial=NEVER)
        whole[:, :, CPU] = made[:, :, CPU].sum(axis=1, keepdims=True)
        return whole

    def _placeless(self, by: str, calls: int) -> Iterator[str]:
        if calls:
            place = "on which cpu" if by == "cpu" else "when"
            yield f"Of {plural(calls, 'call')} only the end was recorded: nobody knows {place} they began."
            yield "Of what was observed, they count in the row of all alone."

    def _notes(self) -> Iterator[str]:
        trace, fills = self.result.trace, self.result.fills
        if trace.unplaced:
            yield "Nobody knows where all of that was lost: no figure is exact, and none has an upper end."
        if trace.overwritten:
            yield "The figures are of the time from the first event on that is left."
        left = [f for f in fills if f.status != "filled" and not f.drawn]
        if drawn := [f for f in fills if f.drawn]:
            yield f"The fills of {plural(len(drawn), 'gap')} were refused; what was drawn of them counts all the same."
        if left:
            why = "; ".join(list(dict.fromkeys(f.reason for f in left))[:2])
            yield f"{len(left):,} of {plural(len(fills), 'gap')} stay open ({why}): what they lost is in no figure."
        if any(f.estimated and f.counted for f in fills):
            yield "The tracer gave no count of some gaps: how much they lost is a guess, without an upper end."
        if any(f.by for f in fills):
            yield "Some gaps were filled in a hurry: what they lost is known without an upper end."
        if self.result.verdict.word == verdict.UNKNOWN:
            yield "The figures are of what was recorded; whether that is all nobody can tell."

    def _names(self, by: str) -> Iterator[str]:
        """The figures that there are."""
        there = {
            "cpu_ns": self.counted.switched and by != "call",
            "errors": self.counted.results,
            "time_ns": not self.result.trace.nested,
        }
        for name in FIGURES:
            if there.get(name, True) and not (name.endswith("_ns") and self.result.trace.clock == "index"):
                yield name

    def _table(self, names: Sequence[str], keys: Keys, counts: Ints) -> pa.Table:
        """The figures of keys, by the columns of their tallies (1 + H, K, columns): of what survived, and the draws."""
        return pa.concat_tables(self._figure(name, keys, counts) for name in names)

    def _called(self, by: str) -> dict[int, str]:
        """What threads or processes were called last: a process as its first thread is, or else as any of them."""
        comms, processes = self.counted.comms, self.counted.processes
        if by != "process":
            return comms
        return {processes[tid]: comms[tid] for tid in sorted(comms, reverse=True) if tid in processes} | {
            pid: comms[pid] for pid in processes.values() if pid in comms
        }

    def _filled(self, keys: Keys) -> Floats:
        """How many events were filled in that may be of each key (K,)."""
        filled: Counter[int] = Counter()
        for gap, fill in zip(self.result.trace.gaps, self.result.fills, strict=True):
            filled[gap.cpu] += fill.counted
        if keys.cpus is None:
            return np.full(len(keys), float(filled.total()))
        return np.array([filled.total() if cpu < 0 else filled[cpu] + filled[-1] for cpu in keys.cpus.tolist()], float)

    def _calls(self, keys: Keys, survived: Ints) -> tuple[Floats, Floats]:
        """How many calls of each key were made at least and at most (K,), by what survived (K, columns).

        The tracer counts the lost events, and a call has two: it is entered and left. Some have one only: those open at
        the trace's ends, those that end their thread. There are no more of them than calls without another half among
        what survived, which are scaled by what was lost, and one more a thread.
        """
        observed, sides = survived[:, CALLS].astype(float), survived[:, SIDES]
        filled = self._filled(keys)
        if self.result.trace.nested or not keys.anywhere:
            return observed, observed + filled
        alone = 2 * observed.sum() - sides.sum()
        more = alone / 2 * (1 + filled / max(1, sides.sum())) + len(self.counted.observed.heads)
        most = np.minimum(filled, np.floor((sides + filled) / 2 + more) - observed)
        least = observed
        if keys.by == "total" and sides.sum() == survived[:, EVENTS].sum():  # nothing but calls was recorded
            stated = sum(f.counted for f in self.result.fills if not f.estimated)
            least = np.maximum(observed, np.ceil((sides + stated) / 2))
        return least, np.maximum(least, observed + most)

    def _longest(self, name: str, keys: Keys, begin: Ints, end: Ints) -> Floats:
        """How much time each key has at most (K,), from ``begin`` to ``end``: a cpu runs one thread at a time, and a
        thread is in one call at a time."""
        tallies = [self.counted.observed, *self.counted.fills]
        if name == "time_ns":  # calls last beyond the slice that they are entered in
            end = np.full(len(keys), (self.counted.count.asked.span or ALWAYS)[1])
        since = np.maximum(begin, min((t.begin_ns for t in tallies if t.end_ns >= t.begin_ns), default=0))
        length: Floats = np.maximum(np.minimum(end, max(t.end_ns for t in tallies)) - since + 1, 0).astype(float)
        if name == "cpu_ns":
            return length * (1 if keys.one_at_a_time else len(self.result.outline.cpus))
        if keys.by == "thread":
            return np.where(keys.numbers < 0, np.inf, length)
        threads = {tid for t in tallies for tid in t.heads}
        if keys.by == "process":
            known = self.counted.processes
            number = Counter(known.get(tid, -1) for tid in threads)
            return np.where(keys.numbers < 0, np.inf, length * np.array([number[k] for k in keys.numbers.tolist()]))
        return np.full(len(keys), np.inf) if min(threads, default=0) < 0 else length * len(threads)

    def _figure(self, name: str, keys: Keys, counts: Ints) -> pa.Table:
        trace, span = self.result.trace, self.counted.count.asked.span
        column = FIGURES[name]
        observed, draws = counts[0, :, column].astype(float), counts[1:, :, column].astype(float)
        found = interval(draws, observed, f"{keys.by} {name}")
        low, estimate, high = found.whole
        least = np.zeros(len(keys)) if name == "time_ns" else observed
        most = observed + self._filled(keys)
        if name == "calls":
            least, most = self._calls(keys, counts[0])
        begin, end = keys.times(span or ALWAYS)
        if name.endswith("_ns"):
            most = np.maximum(self._longest(name, keys, begin, end), observed)
        elif name == "events" and keys.by in ("cpu", "total") and span is None:
            low = high = estimate  # the tracer's own counts
        low, estimate, high = (np.clip(x, least, most) for x in (low, estimate, high))
        gaps = Touched.by(trace.gaps, self.result.fills)
        if name == "time_ns" and span is not None:  # what began before the span may reach into it
            begin = np.where(begin <= span[0], NEVER, begin)
        where = column, keys.cpus, begin, end, counts[:, :, UNTIL].max(axis=0, initial=NEVER)
        touched, unsure = (g.figures(*where) | bool(trace.unplaced) for g in (gaps, gaps.of(gaps.open)))
        low, estimate, high = (np.where(touched, x, observed) for x in (low, estimate, high))
        if name == "time_ns":  # an enter and an exit with an open gap between needn't be one call
            low[unsure] = 0
        timed = touched & (name == "time_ns")
        guessed = estimated(counts[1:][:, :, [GUESSED, UNKNOWN]].astype(float)).round().astype(np.int64)
        columns = {
            **keys.columns(self._called(keys.by)),
            "figure": pa.array([name] * len(keys), pa.string()),
            "observed": pa.array(observed.astype(np.int64)),
            "estimate": pa.array(estimate.astype(np.int64)),
            "low": pa.array(low.astype(np.int64)),
            "high": pa.array(high.astype(np.int64), mask=unsure),
            "lost": pa.array(share_lost(observed, estimate), pa.float32()),
            "exact": pa.array(~touched),
            "inferred": pa.array(guessed[:, 0], mask=~timed),
            "unknown": pa.array(guessed[:, 1], mask=~timed),
        }
        table = pa.table(columns).select(SCHEMA.names).cast(SCHEMA)
        if keys.by in ("time", "total"):
            return table
        there = np.flatnonzero((observed > 0) | (high > 0))
        if keys.by == "cpu":
            return table.take(pa.array(there))
        return table.take(pa.array(there[np.lexsort((there, -estimate[there]))]))


@dataclass(frozen=True)
class Keys:
    """What figures are of (K,). width: of slices of time. anywhere: whether calls count that were entered nobody knows
    where (``Asked``)."""

    by: str
    keys: list[Key]
    width: int
    anywhere: bool

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def numbers(self) -> Ints:
        numbered = self.by in ("thread", "process", "cpu", "time")
        return np.array(self.keys if numbered else [0] * len(self), np.int64)

    @property
    def cpus(self) -> Ints | None:
        """The cpu of each, if they are cpus."""
        return self.numbers if self.by == "cpu" else None

    @property
    def one_at_a_time(self) -> bool:
        """Whether of each no more than one can run at a time."""
        return self.by in ("thread", "cpu")

    def times(self, span: tuple[int, int]) -> tuple[Ints, Ints]:
        """When each is, of a span."""
        if self.by != "time":
            return np.full(len(self), span[0]), np.full(len(self), span[1])
        begin = self.numbers * self.width
        return np.maximum(begin, span[0]), np.minimum(begin + self.width - 1, span[1])

    def columns(self, comms: dict[int, str]) -> dict[str, pa.Array]:
        """The columns that say what it is."""
        begin, end = self.times(ALWAYS)
        names = [comms.get(int(k), "") if self.by in ("thread", "process") else str(k) for k in self.keys]

        def there(by: str, values: Ints, kind: pa.DataType) -> pa.Array:
            return pa.array(values, kind) if self.by == by else pa.nulls(len(self), kind)

        return {
            "by": pa.array([self.by] * len(self), pa.string()),
            "key": pa.array(names, pa.string()),
            "tid": there("thread", self.numbers, pa.int32()),
            "pid": there("process", self.numbers, pa.int32()),
            "cpu": there("cpu", self.numbers, pa.int32()),
            "begin_ns": there("time", begin, pa.int64()),
            "end_ns": there("time", end, pa.int64()),
        }


def _keys(by: str, counts: list[dict[Key, list[int]]]) -> list[Key]:
    """All keys, in order; of slices of time also those in which nothing happened."""
    found: list[Any] = sorted({k for c in counts for k in c})
    if by == "time" and found:
        return list(range(found[0], found[-1] + 1))
    return found


def _together(threads: dict[Key, list[int]], processes: dict[int, int]) -> dict[Key, list[int]]:
    """The columns of threads, summed up by the process that they are of; -1: nobody knows which."""
    held: dict[Key, list[int]] = {}
    for tid, columns in threads.items():
        own = held.setdefault(processes.get(int(tid), -1), [0] * UNTIL + [NEVER])
        own[:UNTIL] = [a + b for a, b in zip(own[:UNTIL], columns[:UNTIL], strict=True)]
        own[UNTIL] = max(own[UNTIL], columns[UNTIL])
    return held


def _coarse(tally: Tally, width: int) -> dict[Key, list[int]]:
    """A tally's slices, as wide as that."""
    held = Tally(tally.asked, {"time": dict(tally.counts["time"])}, width=tally.width)
    held.coarsen(width)
    return held.counts["time"]


def _slice(cells: set[int], width: int, most: int) -> int:
    """The narrowest slice (1, 2 or 5 times a power of ten ns) of which no more than so many hold all cells."""
    if not cells:
        return width
    first, last = min(cells), max(cells)
    scale = 1
    while True:
        for times in (1, 2, 5):
            if last // (scale * times) - first // (scale * times) < most:
                return width * scale * times
        scale *= 10


def _returned(counts: Ints) -> None:
    """An inferred call that doesn't say how it ended failed as often as those of the same key did that survived."""
    observed = counts[0]
    returned = np.maximum(observed[:, CALLS] - observed[:, UNSAID], 1)
    more = np.maximum(counts[1:, :, UNSAID] - observed[:, UNSAID], 0)
    counts[1:, :, ERRORS] += np.round(more * np.minimum(observed[:, ERRORS] / returned, 1)).astype(np.int64)
