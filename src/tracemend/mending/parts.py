"""One piece at a time: how it is mended, here or in a process of its own, and what is kept of that."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace
from functools import partial
from multiprocessing.context import SpawnContext
from pathlib import Path
from threading import Thread
from typing import Any

from tracemend.compiled import before_compiling
from tracemend.errors import ModelError
from tracemend.menders.base import Mender
from tracemend.mending.mended import Fill, Mended
from tracemend.mending.options import DEFAULTS, Options
from tracemend.mending.run import COPIERS, LOOKUP, Copier, mend_trace
from tracemend.mending.spool import Spool, read_table, write_table
from tracemend.trace.events import Trace
from tracemend.trace.pieces import Piece
from tracemend.trace.windows import Stream
from tracemend.whole import whole_file


@dataclass(frozen=True)
class How:
    """How pieces are mended: as ``mend_trace`` is told, with everything in a form that another process can be sent.

    model, shipped: called where the work is done. jobs: processes. suspect: fill what the tracer doesn't mark, too.
    budget: seconds after which what is left is filled by ``hurried`` work, which takes the least. Raises ModelError for
    one that is no number from 0.
    """

    model: Callable[[], Mender | None]
    shipped: Callable[[], Sequence[Stream]]
    copier: Copier | None
    options: Options = DEFAULTS
    examples: tuple[Trace, ...] = ()
    jobs: int = 1
    suspect: bool = False
    budget: float | None = None
    late: bool = False

    def __post_init__(self) -> None:
        if self.budget is not None and not 0 <= self.budget < math.inf:
            raise ModelError(f"seconds of budget must be a number from 0, not {self.budget:g}")

    def hurried(self) -> How:
        """The same by the lookup alone, and with nothing learnt."""
        options = replace(self.options, hypotheses=0, adapt=0)
        return replace(self, model=_nobody, copier=COPIERS[LOOKUP], options=options, late=True)

    def mend(self, piece: Piece, progress: Callable[[int, int], None] = lambda done, total: None) -> Mended:
        """Fill a piece's own gaps; those of its neighbours are left out of what is returned."""
        own = {g.number for g in piece.gaps}
        asked = own if self.options.only is None else own & self.options.only
        options = self.options if piece.only else replace(self.options, only=frozenset(asked))
        mended = mend_trace(
            piece.trace,
            self.model(),
            options,
            copier=self.copier,
            examples=self.examples,
            shipped=self.shipped(),
            progress=progress,
        )
        if piece.only:
            return mended
        by = LOOKUP if self.late else ""
        return replace(mended, fills=tuple(replace(f, by=by) for f in mended.fills if f.gap in own))


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


def mend_part(
    how: How, folder: Path, number: int, piece: Piece, progress: Callable[[int, int], None] = lambda done, total: None
) -> Part:
    """Mend a piece and keep what came of it, unless that is there already. Raises as ``mend_trace``, and OSError."""
    kept = Part.read(folder, number)
    if kept is not None:
        return kept
    mended = how.mend(piece, progress)
    Spool.put(folder, number, mended)
    part = Part(number, mended.fills, mended.provenance, len(piece))
    part.write(folder)
    return part


def send(piece: Piece, folder: Path, number: int) -> None:
    """Lay a piece down for another process: its table as a file that is mapped there, the rest beside it."""
    write_table(piece.trace.table, folder / f"{number}.events")
    rest = replace(piece, trace=replace(piece.trace, table=piece.trace.table.slice(0, 0)))
    (folder / f"{number}.piece").write_bytes(pickle.dumps(rest))


class Far:
    """How far processes are with pieces that were sent: memory that they share with who sent them.

    A piece has a place of its own while it is on its way, and nobody else writes there.
    """

    def __init__(self, context: SpawnContext, places: int) -> None:
        self.places = places
        self._numbers = context.RawArray("q", 2 * places + 1)

    def tell(self, place: int, done: int, total: int) -> None:
        """So many events of all that a piece is to get."""
        self._numbers[2 * place], self._numbers[2 * place + 1] = done, total

    def of(self, place: int) -> tuple[int, int]:
        """What was told of a piece."""
        return self._numbers[2 * place], self._numbers[2 * place + 1]

    def compiles(self) -> None:
        """Loops are being compiled."""
        self._numbers[-1] = 1

    @property
    def compiling(self) -> bool:
        return bool(self._numbers[-1])


_HOW: How
_FOLDER: Path
_FAR: Far


def work_as(how: How, folder: Path, far: Far) -> None:
    """Begin as a process that mends pieces, and ends with the one that sends them, even if that is killed."""
    global _HOW, _FOLDER, _FAR
    Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C is for the process that sends the pieces
    _HOW, _FOLDER, _FAR = how, folder, far
    before_compiling(far.compiles)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def mend_sent(number: int, late: bool, place: int) -> Part:
    """Mend a piece that was sent (``late``: in a hurry) in a process that began with ``work_as``."""
    events, rest = _FOLDER / f"{number}.events", _FOLDER / f"{number}.piece"
    piece: Piece = pickle.loads(rest.read_bytes())  # our own, from a folder of ours
    piece = replace(piece, trace=replace(piece.trace, table=read_table(events)))
    part = mend_part(_HOW.hurried() if late else _HOW, _FOLDER, number, piece, partial(_FAR.tell, place))
    for path in (events, rest):
        path.unlink()
    return part
