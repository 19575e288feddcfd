"""How right are figures after a loss, and do their intervals hold: on recordings whose truth is known.

Every figure is judged over the whole trace, as ``tracemend figures`` gives it, and gap by gap. A figure counts only if
something of it was lost in truth or in any draw: that what no gap touches is exact is no success.

Axis legend: K figures, H draws, G gaps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tracemend.judging.amounts import KINDS, Amounts, Calling, Calls, scaled, side_by_side
from tracemend.judging.metrics import LENGTH_BINS, bin_name
from tracemend.judging.results import Row
from tracemend.mending.mended import INFERRED, Mended
from tracemend.reckoning.counting import drawn
from tracemend.reckoning.figures import FIGURES
from tracemend.reckoning.intervals import interval
from tracemend.reckoning.tally import Key
from tracemend.reckoning.whole import reckoned
from tracemend.recording import Pair

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: The figures of a whole trace that are judged: by what, and which.
WHOLE = (*KINDS, "call errors", "thread cpu_ns")
#: Ways to correct: not at all, by scaling what survived, by one fill, by all draws.
LEFT, SCALED, FILL, DRAWS = WAYS = ("left open", "scaled", "fill", "draws")
#: Standard deviations on each side that hold 90 % of a normal distribution.
NINETY = 1.645


@dataclass(frozen=True)
class Judged:
    """Figures of one kind, in truth, and as each way has them (each (K,)). low, high: of the draws; spread: standard
    deviations of scaling, if every lost event is drawn by itself. lost: whether anything of a figure was lost in truth
    or in any draw. without_row: so many that something was lost of have no row. Where there are no draws, these have
    nothing."""

    truth: Floats
    ways: Mapping[str, Floats]
    spread: Floats
    low: Floats
    high: Floats
    lost: Bools
    without_row: int = 0

    def of(self, which: Bools) -> Judged:
        low, high, lost = self.low[which], self.high[which], self.lost[which]
        ways = {way: x[which] for way, x in self.ways.items()}
        return Judged(self.truth[which], ways, self.spread[which], low, high, lost)

    def row(self) -> Row:
        """Sums from which tables are made: of the truth, of how far each way is from it and, over the figures of which
        something was lost, of how often intervals held it and how wide they were."""
        wrong = {way: _short(np.abs(x - self.truth).sum()) for way, x in self.ways.items()}
        row: Row = {"figures": len(self.truth), "truth": _short(self.truth.sum()), "wrong": wrong}
        if DRAWS not in self.ways:
            return row
        centre = self.ways[SCALED]
        naive = np.ceil(centre - NINETY * self.spread), np.floor(centre + NINETY * self.spread)
        least = np.maximum(self.truth, 1)[self.lost]
        row |= {"lost": int(self.lost.sum()), "least": _short(least.sum()), "without_row": self.without_row}
        for name, (low, high) in ((DRAWS, (self.low, self.high)), (SCALED, naive)):
            begin, end, truth = (x[self.lost] for x in (np.maximum(low, 0), high, self.truth))
            row[name] = {
                "held": int(((begin <= truth) & (truth <= end)).sum()),
                "width": _short((end - begin).sum()),
                "relative": round(float(((end - begin) / least).sum()), 4),
            }
        return row


@dataclass(frozen=True)
class Judging:
    """One fill of a recording, and draws of it (H; 0 if there are none), against the truth."""

    pair: Pair
    mended: Mended
    draws: int

    def row(self) -> Row:
        """By kind of figure: of the whole trace, and of all gaps of a bin of length."""
        whole = {kind: judged.row() for kind, judged in self.whole()}
        gaps: dict[str, Row] = {}
        length = np.array([len(m) for m in self.pair.missing], np.int64)
        for kind in KINDS:
            gap, judged = self.in_gaps(kind)
            bins = ((b, (length[gap] >= b[0]) & (length[gap] <= b[1])) for b in LENGTH_BINS)
            gaps[kind] = {bin_name(*b): judged.of(at).row() for b, at in bins if at.any()}
        return {"whole": whole, "by_gap": gaps}

    @cached_property
    def calling(self) -> Calling:
        return Calling(self.pair, {})

    @cached_property
    def calls(self) -> tuple[Calls, Calls, Calls, list[Calls]]:
        """In truth, as they survived, of the fill, of each draw."""
        find, mended = self.calling, self.mended
        draws = [find.filled(d) for d in drawn(mended, self.draws)]
        return find.in_truth(), find.filled(), find.filled(mended.inferred), draws

    def lost_in_gaps(self, kind: str) -> tuple[Ints, Floats, Floats, Floats]:
        """Which gap each figure is of (K,), and what that lost of it: as usual, in truth (each (K,)), by the draws
        (H, K)."""
        gap, known, (usual, _, truth, _, *draws) = self._in_gaps(kind)
        return gap[known], usual[known], truth[known], np.array(draws)[:, known]

    def in_gaps(self, kind: str) -> tuple[Ints, Judged]:
        """Which gap each figure is of (K,), and the figures: what a gap lost of them."""
        gap, known, (usual, variance, truth, fill, *drew) = self._in_gaps(kind)
        left = np.zeros(len(gap))
        ways, low, high, lost = {LEFT: left, SCALED: usual, FILL: fill}, truth, truth, truth != left
        if drew:
            draws = np.array(drew)
            found = interval(draws, left, kind, usual)
            low, ways[DRAWS], high = found.whole
            lost = lost | (draws != left).any(axis=0)
        return gap, Judged(truth, ways, np.sqrt(variance), low, high, lost & known)

    def _in_gaps(self, kind: str) -> tuple[Ints, Bools, Floats]:
        """Which gap each figure is of, and whether it can be known to be there (K,); what the gap lost of it as usual,
        the variance of that, in truth, by the fill, and by each draw (4 + H, K)."""
        truth, survived, fill, draws = self.calls
        sides = [c.in_gaps(kind) for c in (truth, fill, *draws)]
        gap, key, values = side_by_side([*scaled(self.pair, survived.by_cpu(kind)), *sides])
        return gap, self._known(kind, key), values

    def _known(self, kind: str, key: Ints) -> Bools:
        """Whether a figure (K,) has a row: not that of a thread of which nothing survived, or of "unknown", nor that of
        a call that neither survived nor is in a draw."""
        survived = self.calls[1]
        if kind.startswith("thread "):
            return np.isin(key, self.pair.lossy.tid)
        names = [survived.name, *(drawn.name for drawn in self.calls[3])]
        return np.isin(key, np.concatenate(names))

    def whole(self) -> Iterator[tuple[str, Judged]]:
        """The figures of the whole trace that there are, as ``tracemend figures`` gives them."""
        pair, mended = self.pair, self.mended
        truth = reckoned(Mended(pair.complete, INFERRED.empty_table(), (), {}), 1)
        fill = reckoned(replace(mended, hypotheses=None), 1)
        draws = reckoned(mended, self.draws) if self.draws else fill
        for kind in WHOLE:
            by, name = kind.split(" ")
            tables = [r.figures(by).of(name) for r in (truth, fill, draws)]
            if not tables[-1].num_rows:
                continue
            columns = ((0, "observed"), (2, "observed"), (1, "estimate"), (2, "estimate"), (2, "low"), (2, "high"))
            sides = [self._amounts(tables[i], column) for i, column in columns]
            more, variance = self._scaled(kind, sides[1])
            tallies = [
                self._of_keys({k: row[FIGURES[name]] for k, row in tally.counts[by].items()})
                for tally in draws.counted.fills[1:]
            ]
            _, key, values = side_by_side([*sides, more, variance, *tallies])
            real, left, filled, centre, low, high, added, squared = values[:8]
            ways = {LEFT: left, SCALED: left + added, FILL: filled} | ({DRAWS: centre} if self.draws else {})
            lost, known = (real != left) | (values[8:] != left).any(axis=0), self._known(kind, key)
            without = int(((real != left) & ~known).sum())
            yield kind, Judged(real, ways, np.sqrt(squared), low, high, lost & known, without)

    def _amounts(self, table: pa.Table, column: str) -> Amounts:
        """A column of a table of figures."""
        keys = table["tid"] if table["tid"].null_count == 0 else table["key"]
        # an end that nobody knows: the estimate is the best there is
        values = pc.coalesce(table[column], table["estimate"])
        return self._of_keys(dict(zip(keys.to_pylist(), values.to_pylist(), strict=True)))

    def _of_keys(self, amounts: Mapping[Key, float]) -> Amounts:
        codes = self.calling.codes
        keys = [codes.setdefault(k, len(codes)) if isinstance(k, str) else k for k in amounts]
        return Amounts(np.zeros(len(keys), np.int64), np.array(keys, np.int64), np.array([*amounts.values()], float))

    def _scaled(self, kind: str, left: Amounts) -> tuple[Amounts, Amounts]:
        """What scaling adds to each key, and the variance of that."""
        if kind in KINDS:
            more, variance = scaled(self.pair, self.calls[1].by_cpu(kind))
            return more._replace(place=np.zeros_like(more.place)), variance._replace(place=np.zeros_like(more.place))
        times = self.pair.lost / max(1, len(self.pair.lossy))
        if kind.endswith(" cpu_ns"):  # that there are no events is no reason why nobody should run
            outline = self.mended.outline
            whole = max(1, (outline.end_ns - outline.begin_ns) * len(outline.cpus))
            share = min(sum(g.duration_ns for g in self.pair.lossy.gaps) / whole, 0.99)
            times = share / (1 - share)
        more = left._replace(amount=left.amount * times)
        return more, more._replace(amount=left.amount * times)


def errors(whole: Mapping[str, Row], way: str) -> dict[str, float]:
    """How far the figures of a whole trace are from the truth, over the truth, by kind. whole: a row of each kind."""
    return {kind: sums["wrong"][way] / max(1, sums["truth"]) for kind, sums in whole.items()}


def _short(value: float) -> float:
    """Sums of counts as they are, others to a tenth."""
    return int(value) if float(value).is_integer() else round(float(value), 1)
