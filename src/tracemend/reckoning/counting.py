"""A trace is counted as its pieces are mended: what survived, the fill, and each of the draws.

Axis legend: H draws.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tracemend.mending.mended import HYPOTHESES, INFERRED, Mended
from tracemend.reckoning.events import Surviving
from tracemend.reckoning.tally import Asked, Tally
from tracemend.trace.pieces import Piece


@dataclass(frozen=True)
class Count:
    """Counts a piece where it is mended, and says it in bytes (``Counted`` takes them in).

    draws: so many hypotheses are drawn of every gap; each, over all gaps, is one history of the piece.
    """

    asked: Asked
    draws: int

    def __call__(self, piece: Piece, mended: Mended | None) -> pa.Buffer:
        """mended: the piece with its own gaps filled; None for a piece without gaps."""
        surviving = Surviving(piece)
        nested = piece.trace.nested
        document: dict[str, Any] = {
            "observed": Tally.of(surviving.events(), self.asked, nested).as_dict(),
            "comms": list(surviving.comms.items()) if "thread" in self.asked.by else [],
            "processes": list(surviving.processes.items()) if "thread" in self.asked.by else [],
            "switched": surviving.switched,
            "results": bool(surviving.piece.own.table["ret"].null_count < len(piece)),
        }
        if mended is not None and any(f.counted for f in mended.fills):
            unfilled = {f.gap for f in mended.fills if f.status != "filled"}
            undrawn = {f.gap for f in mended.fills if not f.counted}
            draws = ((draw, undrawn) for draw in drawn(mended, self.draws))
            document["fills"] = [
                Tally.of(surviving.events(fill, still_open), self.asked, nested).as_dict()
                for fill, still_open in chain([(mended.inferred, unfilled)], draws)
            ]
        return pa.py_buffer(json.dumps(document).encode())


def drawn(mended: Mended, draws: int) -> Iterator[pa.Table]:
    """The inferred events of each draw, a table a draw (of HYPOTHESES, or of INFERRED), one by one; a gap that was
    filled without draws has the events of its fill in all of them."""
    bare = INFERRED.remove(INFERRED.get_field_index("confidence")).names
    if mended.to_count is not None and mended.to_count.gaps:
        gaps, tables = pa.array(mended.to_count.gaps, pa.int32()), iter(mended.to_count)
    else:
        table = HYPOTHESES.empty_table() if mended.hypotheses is None else mended.hypotheses
        gaps, tables = pc.unique(table["gap"]), (table.filter(pc.equal(table["hypothesis"], h)) for h in range(draws))
    own = pc.is_in(mended.inferred["gap"], gaps)
    same = mended.inferred.filter(pc.invert(own)).select(bare)
    for one in tables:
        yield pa.concat_tables([one.select(bare), same]).unify_dictionaries()


@dataclass
class Counted:
    """What was counted so far. fills: of the fill, and of each draw (1 + H). comms: what threads were called last.
    processes: of which process each thread is, as far as the trace says it. switched, results: whether the scheduler's
    switches and the calls' results were recorded."""

    count: Count
    observed: Tally = field(init=False)
    fills: list[Tally] = field(init=False)
    comms: dict[int, str] = field(default_factory=dict)
    processes: dict[int, int] = field(default_factory=dict)
    switched: bool = False
    results: bool = False

    def __post_init__(self) -> None:
        asked = self.count.asked
        self.observed = Tally(asked, {by: {} for by in asked.by})
        self.fills = [Tally.of_dict(asked, self.observed.as_dict()) for _ in range(1 + self.count.draws)]

    def take(self, said: pa.Buffer) -> None:
        """Take in what was counted of the piece that follows."""
        document, asked = json.loads(said.to_pybytes()), self.count.asked
        self.observed.take(Tally.of_dict(asked, document["observed"]))
        # what a piece without inferred events has, all its histories have
        filled = document.get("fills") or [document["observed"]] * len(self.fills)
        for tally, more in zip(self.fills, filled, strict=True):
            tally.take(Tally.of_dict(asked, more))
        self.comms |= dict(document["comms"])
        self.processes |= dict(document["processes"])
        self.switched |= document["switched"]
        self.results |= document["results"]

    def close(self, end_ns: int) -> None:
        """Nothing follows."""
        for tally in (self.observed, *self.fills):
            tally.close(end_ns)
        width = max(t.width for t in (self.observed, *self.fills))
        for tally in (self.observed, *self.fills):
            tally.coarsen(width)
