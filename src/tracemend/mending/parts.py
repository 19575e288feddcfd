"""One piece at a time: how it is mended, here or by a worker, and what is kept of that."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from tracemend.engines import HERE, Engine, tell
from tracemend.errors import number
from tracemend.menders.base import Mender
from tracemend.menders.examples import Example
from tracemend.mending.mended import Fill, Mended
from tracemend.mending.options import DEFAULTS, Options
from tracemend.mending.run import COPIERS, LOOKUP, Copier, mend_trace
from tracemend.mending.spool import COUNT, Spool, pack, read_table, write_table
from tracemend.trace.events import Trace
from tracemend.trace.pieces import Piece
from tracemend.whole import whole_file


class Counting(Protocol):
    """Counts a piece where it is mended, from so many draws of whole fills, and says it in bytes."""

    @property
    def draws(self) -> int: ...

    def __call__(self, piece: Piece, mended: Mended | None) -> pa.Buffer:
        """mended: the piece with its own gaps filled, None where it has none."""
        ...


@dataclass(frozen=True)
class How:
    """How pieces are mended: as ``mend_trace`` is told, with everything in a form that another process can be sent.

    model, shipped: called where the work is done. library: the user's own examples, which are on this machine alone,
    and so go along. engine: who works. suspect: fill what the tracer doesn't mark, too.
    budget: seconds after which what is left is filled by ``hurried`` work, which takes the least. Raises OptionError
    for one that is no number from 0. count: counts the pieces; draws that only it asks for are not kept.
    """

    model: Callable[[], Mender | None]
    shipped: Callable[[], Sequence[Example]]
    copier: Copier | None
    options: Options = DEFAULTS
    examples: tuple[Trace, ...] = ()
    library: tuple[Example, ...] = ()
    engine: Engine = HERE
    suspect: bool = False
    budget: float | None = None
    late: bool = False
    count: Counting | None = None

    def __post_init__(self) -> None:
        if self.budget is not None:
            number("seconds of budget", self.budget)

    def hurried(self) -> How:
        """The same by the lookup alone, and with nothing learnt."""
        options = replace(self.options, hypotheses=0, adapt=0, suits="positions")
        return replace(self, model=_nobody, copier=COPIERS[LOOKUP], options=options, late=True)

    def mend(self, piece: Piece, progress: Callable[[int, int], None] = lambda done, total: None) -> Mended:
        """Fill a piece's own gaps; those of its neighbours are left out of what is returned."""
        own = {g.number for g in piece.gaps}
        asked = own if self.options.only is None else own & self.options.only
        options = self.options if piece.only else replace(self.options, only=frozenset(asked))
        if self.count and not self.late:
            options = replace(options, counted=self.count.draws)
        mended = mend_trace(
            piece.trace,
            self.model(),
            options,
            copier=self.copier,
            examples=self.examples,
            shipped=[*self.shipped(), *self.library],
            progress=progress,
        )
        if piece.only:
            return mended
        by = LOOKUP if self.late else ""
        return replace(mended, fills=tuple(replace(f, by=by) for f in mended.fills if f.gap in own))

    def counted(
        self, piece: Piece, progress: Callable[[int, int], None] = lambda done, total: None
    ) -> tuple[Mended, pa.Buffer | None]:
        """A piece mended and counted, then without draws that nothing else asks for."""
        mended = self.mend(piece, progress)
        if not self.count:
            return mended, None
        pa.default_memory_pool().release_unused()
        return mended.with_draws(self.options.hypotheses), self.count(piece, mended)


@dataclass(frozen=True, slots=True)
class Part:
    """What became of a piece: its gaps' fills and how they were made; ``weight``: its events."""

    number: int
    fills: tuple[Fill, ...]
    provenance: dict[str, Any]
    weight: int

    def write(self, folder: Path) -> None:
        """Keep it, as the sign that all else of it is there. Raises OSError."""
        document = {
            "fills": [astuple(f) for f in self.fills],
            "provenance": self.provenance,
            "weight": self.weight,
            "tables": Spool.digest(folder, self.number),
        }
        with whole_file(folder / f"{self.number}.part") as file:
            file.write(json.dumps(document).encode())

    @classmethod
    def read(cls, folder: Path, number: int) -> Part | None:
        """A part that was kept; None where it isn't there, or its tables are not as they were: they may not have
        reached the disk."""
        try:
            document = json.loads((folder / f"{number}.part").read_bytes())
            if document["tables"] != Spool.digest(folder, number):
                return None
            return cls(number, tuple(Fill(*f) for f in document["fills"]), document["provenance"], document["weight"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None


def _nobody() -> None:
    """No model."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A piece on its way to a worker: its table packed or in a file, and all else of it."""

    piece: Piece
    events: pa.Buffer | Path

    @classmethod
    def pack(cls, piece: Piece, path: Path | None) -> Sent:
        """Lay a piece's table down in a file, from which it is mapped where it is mended; without one it goes along.
        Raises OSError."""
        table = piece.trace.table
        rest = replace(piece, trace=replace(piece.trace, table=table.slice(0, 0)))
        if path is None:
            return cls(rest, pack(table))
        write_table(table, path)
        return cls(rest, path)

    def unpack(self) -> Piece:
        """The piece. Raises OSError."""
        return replace(self.piece, trace=replace(self.piece.trace, table=read_table(self.events)))


#: A part with its events and what was counted, packed.
Made = tuple[Part, dict[str, pa.Buffer]]


def mend_part(
    how: How, number: int, late: bool, piece: Piece, progress: Callable[[int, int], None] = lambda done, total: None
) -> Made:
    """Mend a piece (``late``: in a hurry). Raises as ``mend_trace``."""
    mended, count = (how.hurried() if late else how).counted(piece, progress)
    packed = Spool.pack(mended) | ({} if count is None else {COUNT: count})
    part = Part(number, mended.fills, mended.provenance, len(piece))
    del mended
    pa.default_memory_pool().release_unused()  # before the next piece is read
    return part, packed


def mend_sent(how: How, number: int, late: bool, sent: Sent) -> Made:
    """Mend a piece that was sent. Raises as ``mend_trace``, and OSError."""
    return mend_part(how, number, late, sent.unpack(), tell)
