"""The search for losses without a mark, through a trace of any size: piece by piece, with what pairs carried over.

A break whose second event is in a piece is looked at there, with what is known of the trace by then; its gap is put in
that piece's part of the streams. What a later piece alone could settle (whether a call has another side at all, whether
all switches were recorded) is remembered once a kind, so that no verdict hangs on how a trace is cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.losses.suspect import Sides, Stacks, located, owners, unpaired
from tracemend.losses.switches import Chains
from tracemend.trace.events import INSTANT, Gap, Trace
from tracemend.trace.fields import SWITCH
from tracemend.trace.pieces import PIECE, Piece
from tracemend.trace.placing import last_of

Ints = NDArray[np.int64]

#: Suspected gaps that are remembered, and events that are kept for those to come: as many as one piece can have.
MOST = PIECE


@dataclass(frozen=True)
class Looked:
    """A piece's events behind those that are kept of the ones before (the first ``begin``), and the pairs in it whose
    second event is the piece's own and can't follow the first in a thread (B,). ``rows``: of the whole trace."""

    trace: Trace
    begin: int
    rows: Ints
    before: Ints
    after: Ints


@dataclass
class Search:
    """What was seen so far of a trace whose pieces are given in order. ``most``: suspected gaps that are remembered."""

    most: int = MOST
    sides: Sides = field(default_factory=Sides)
    chains: Chains = field(default_factory=Chains)
    open_calls: Stacks = field(default_factory=dict)
    found: list[Gap] = field(default_factory=list)
    #: How many of them rest on switches alone, which may turn out to tell nothing.
    _on_switches: set[int] = field(default_factory=set)
    #: The first pair of each kind that tells of a loss if both of its calls turn out to have two sides.
    _unsettled: dict[tuple[str, str], Gap] = field(default_factory=dict)
    #: The first pair of switches that doesn't fit, before they told anything.
    _unchained: Gap | None = None
    _kept: pa.Table | None = None
    _kept_rows: Ints = field(default_factory=lambda: np.empty(0, np.int64))

    def look(self, piece: Piece) -> Looked:
        """Take in a piece's events."""
        own, rows = piece.own, np.arange(piece.first + piece.begin, piece.first + piece.end)
        begin = len(self._kept_rows)
        if self._kept is not None and begin:
            table = pa.concat_tables([self._kept, own.table]).unify_dictionaries()
            own, rows = replace(own, table=table, gaps=()), np.concatenate([self._kept_rows, rows])
        self.sides.add(piece.trace)  # its neighbours' events, too: they may be the other sides of its own
        looked = Looked(own, begin, rows, *unpaired(own, self.sides, self.open_calls, begin))
        if not piece.last:
            keep = _to_keep(own)
            self._kept, self._kept_rows = own.table.take(pa.array(keep)), rows[keep]
        return looked

    def suspect(self, looked: Looked, gaps: Sequence[Gap]) -> list[Gap]:
        """The gaps that the piece's events tell of and ``gaps``, the marked ones, don't explain; with the whole trace's
        rows, numbered from 0."""
        trace = looked.trace if looked.trace.gaps == gaps else looked.trace.with_gaps(tuple(gaps))
        pairs, chains = (looked.before, looked.after), self.chains.add(trace, looked.begin)
        breaks = [pairs, chains] if self.chains.tell else [pairs]
        self._remember(looked, chains)
        new = located(trace, breaks, looked.begin)
        whole = [self._numbered(g, looked) for g in new[: self.most - len(self.found)]]
        if not len(looked.before):
            self._on_switches.update(range(len(self.found), len(self.found) + len(whole)))
        numbered = [replace(g, number=len(self.found) + i) for i, g in enumerate(whole)]
        self.found += numbered
        return numbered

    def _numbered(self, gap: Gap, looked: Looked) -> Gap:
        before, after = (None if row is None else int(looked.rows[row]) for row in (gap.before, gap.after))
        return replace(gap, before=before, after=after)

    def _remember(self, looked: Looked, chains: tuple[Ints, Ints]) -> None:
        if len(chains[0]) and not self.chains.tell and self._unchained is None:
            self._unchained = _between(looked, int(chains[0][0]), int(chains[1][0]))
        one = self.sides.one
        codes, names = looked.trace.names
        if looked.trace.nested or one.isdisjoint(names):
            return
        assumed = Sides(self.sides.enters | one, self.sides.exits | one)
        before, after = unpaired(looked.trace, assumed, None, looked.begin)
        unsettled = np.array([n in one for n in names], bool)
        some = unsettled[codes[before]] | unsettled[codes[after]]
        before, after = before[some], after[some]
        kinds, first = np.unique(codes[before].astype(np.int64) * len(names) + codes[after], return_index=True)
        for kind, at in zip(kinds.tolist(), first.tolist(), strict=True):
            key = names[kind // len(names)], names[kind % len(names)]
            if key not in self._unsettled and len(self._unsettled) < self.most:
                self._unsettled[key] = _between(looked, int(before[at]), int(after[at]))

    def finish(self) -> list[Gap]:
        """All suspected gaps, in the order of the events behind them, numbered from 0."""
        found = [g for g in self.found if self.chains.tell or g.number not in self._on_switches]
        both = self.sides.both
        late = [g for key, g in self._unsettled.items() if both.issuperset(key)]
        if self._unchained is not None and self.chains.tell:
            late.append(self._unchained)
        places = {(g.cpu, g.line) for g in found}
        found += [g for g in late if (g.cpu, g.line) not in places]
        return sorted(found, key=lambda g: (g.after or 0, g.before or 0, g.cpu))


def _between(looked: Looked, p: int, q: int) -> Gap:
    """A suspected gap somewhere between two events."""
    trace = looked.trace
    begin, end, cpu, line = int(trace.time_ns[p]), int(trace.time_ns[q]), int(trace.cpu[q]), int(trace.line[q])
    return Gap(-1, cpu, None, int(looked.rows[q]), min(begin, end), end, None, "suspected", line)


def _to_keep(trace: Trace) -> Ints:
    """Rows of what pairs with later events: the last side of a call of each thread (or cpu, where no thread is known)
    and the last switch of each cpu; and of the last event of each cpu, behind which something may be missing."""
    codes, names = trace.names
    calls = np.flatnonzero(trace.phase != INSTANT)
    switches = np.flatnonzero(codes == names.index(SWITCH)) if SWITCH in names else calls[:0]
    last = set(last_of(trace.cpu).values())
    for rows, key in ((calls, owners(trace)), (switches, trace.cpu)):
        last.update(rows[list(last_of(key[rows]).values())].tolist())
    return np.array(sorted(last)[-MOST:], np.int64)
