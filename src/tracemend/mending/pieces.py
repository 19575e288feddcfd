"""Mending piece by piece: each piece of a trace by itself, in as many workers as are asked for, its inferred events
into a work folder.

A piece sees its neighbours' events beside its own and copies from what it sees; so what it is filled with depends on
where the trace is cut, but not on who works on it or when.
"""

from __future__ import annotations

import json
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import ExitStack
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.compiled import tell_of_compiling
from tracemend.engines import Crew, at_work
from tracemend.losses.scanning import Scanning
from tracemend.losses.searching import Search
from tracemend.losses.verdict import Verdict, verdict
from tracemend.menders.familiarity import FAMILIAR
from tracemend.menders.likeness import together
from tracemend.mending.mended import INFERRED, Fill, Mended, Result
from tracemend.mending.outline import Outline
from tracemend.mending.parts import How, Made, Part, Sent, mend_part, mend_sent
from tracemend.mending.shown import Shown
from tracemend.mending.spool import SUSPECTED, Spool
from tracemend.trace.events import Gap, Trace
from tracemend.trace.pieces import Piece, local

One = TypeVar("One")

#: So many pieces without gaps wait to be counted behind those that are being mended.
MOST_COUNTS = 64
#: So many gaps are packed at once for a process that writes.
AT_ONCE = 4096
#: Where other processes work, it is looked so often (in seconds) how far they are.
OFTEN = 0.5


@dataclass(frozen=True, repr=False)
class Spooled(Result):
    """A trace that was mended in pieces: ``spool`` has its inferred events, as long as its folder is there."""

    trace: Trace
    fills: tuple[Fill, ...]
    provenance: dict[str, Any]
    spool: Spool
    survived: Outline
    beginning: Mended
    said: Verdict
    hypotheses: bool = False
    whole: int = 0

    def __getstate__(self) -> dict[str, Any]:
        """For processes that write: gaps and fills packed, as there may be very many."""
        trace = replace(self.trace, gaps=())
        return {**vars(self), "trace": trace, "fills": (_packed(self.trace.gaps), _packed(self.fills))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        gaps, fills = state["fills"]
        trace = replace(state["trace"], gaps=tuple(_unpacked(Gap, gaps)))
        vars(self).update(state, trace=trace, fills=tuple(_unpacked(Fill, fills)))

    @property
    def outline(self) -> Outline:
        return self.survived

    @property
    def verdict(self) -> Verdict:
        return self.said

    def density(self, cpu: int, columns: int, begin_ns: int, span_ns: int) -> NDArray[np.int64]:
        return self.survived.density(cpu, columns, begin_ns, span_ns)

    def recorded(self) -> tuple[int, Iterator[pa.Table]]:
        return self.whole, self.spool.recorded()

    @property
    def head(self) -> Mended:
        return self.beginning

    def tables(self) -> Iterator[pa.Table]:
        return self.spool.inferred()

    def parts(self) -> Iterator[pa.Table]:
        return self.spool.parts()

    def in_time(self) -> Iterator[pa.Table]:
        return self.spool.in_time(self.trace.gaps)

    def drawn(self) -> Iterator[pa.Table] | None:
        return self.spool.drawn() if self.hypotheses else None


def _packed(rows: Sequence[Gap] | Sequence[Fill]) -> list[bytes]:
    """Gaps or fills in bytes, some thousands at a time: field by field they are alike."""
    names = [f.name for f in fields(rows[0])] if rows else []
    parts = (rows[at : at + AT_ONCE] for at in range(0, len(rows), AT_ONCE))
    columns = ([[getattr(one, name) for one in part] for name in names] for part in parts)
    return [zlib.compress(json.dumps(part).encode(), 1) for part in columns]


def _unpacked(kind: Callable[..., One], packed: Iterable[bytes]) -> Iterator[One]:
    for part in packed:
        yield from map(kind, *json.loads(zlib.decompress(part)))


@dataclass(frozen=True, slots=True)
class Done:
    """How far a mend is: events inferred, of so many where that is known, in so many gaps; bytes of the trace.

    Of a trace that comes in pieces ``found`` are the events that the tracer counts as lost, the gaps and the bytes of
    those that came by now.
    """

    events: int
    of: int
    gaps: int
    taken: int = 0
    found: tuple[int, int, int] = (0, 0, 0)


def mend_pieces(
    pieces: Iterable[Piece],
    how: How,
    folder: Callable[[], Path],
    progress: Callable[[Done], None] = lambda done: None,
    counted: Callable[[pa.Buffer], None] = lambda count: None,
) -> Result:
    """Mend a trace that comes in pieces; one that is its only piece as ``mend_trace`` does.

    counted: takes what was counted of each piece, in order, if ``how`` counts.
    folder: makes the work folder, which is asked for only where there is more than one piece and must be there until
    outputs are made of the result; parts of the same work that lie there already are taken up. Raises ModelError as
    ``mend_trace`` does, WorkerError where one that works on a piece is killed, OSError.
    """
    searching = _Searching() if how.suspect else None
    run: _Run | None = None
    with ExitStack() as until_done:
        for piece in pieces:
            found = searching.look(piece) if searching else piece
            if found.only:
                mended, count = how.counted(found, partial(_of_one, progress, len(found.gaps)))
                if count is not None:
                    counted(count)
                return mended
            if run is None:
                run = _Run(how, Spool(folder()), progress, counted)
                if not how.engine.alone:
                    run.crew = until_done.enter_context(at_work(how.engine, how))
            run.take(found)
            if found.last:
                return run.finish(found.trace)
    raise ValueError("pieces without a last one")


def _of_one(progress: Callable[[Done], None], gaps: int, done: int, total: int) -> None:
    progress(Done(done, total, gaps))


class _Searching:
    """Finds what is not marked, piece by piece, and counts it among the pieces' gaps."""

    def __init__(self) -> None:
        self.search = Search()
        self.marked: list[Gap] = []
        self.around: list[Gap] = []

    def look(self, piece: Piece) -> Piece:
        shown = {g.number for g in piece.gaps}
        known = (*self.marked, *piece.gaps, *(g for g in piece.trace.gaps if g.number not in shown))
        self.marked += piece.gaps
        found = self.search.suspect(self.search.look(piece), piece.trace.gaps if piece.only else known)
        base = len(piece.gaps) if piece.only else SUSPECTED
        found = [replace(g, number=base + g.number) for g in found]
        end = piece.first + len(piece.trace)
        self.around = [g for g in (*self.around, *found) if g.after is not None and g.after >= piece.first]
        gaps = (*piece.trace.gaps, *local(iter(self.around), piece.first, end))
        return replace(piece, trace=piece.trace.with_gaps(gaps), gaps=(*piece.gaps, *found))


@dataclass
class _Run:
    """Pieces on their way: as many at a time as there are workers, in order."""

    how: How
    spool: Spool
    progress: Callable[[Done], None]
    counted: Callable[[pa.Buffer], None]
    outline: Outline = field(default_factory=Outline)
    shown: Shown = field(default_factory=Shown)
    gaps: list[Gap] = field(default_factory=list)
    fills: list[Fill] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    head: Piece | None = None
    events: int = 0
    crew: Crew | None = None
    #: Parts that are being made, the files of the pieces that were sent, and bytes of the trace up to there.
    waiting: deque[tuple[Future[Made], Path | None, int]] = field(default_factory=deque)
    seen: int = 0
    lost: int = 0
    #: Bytes of the trace that were read, and that are done with.
    read: int = 0
    taken: int = 0
    #: Of a trace without gaps.
    scanning: Scanning = field(default_factory=Scanning)
    begun: float = field(default_factory=time.monotonic)
    #: What was counted of pieces without gaps behind a part that is still being made.
    counts: deque[tuple[int, pa.Buffer]] = field(default_factory=deque)

    def take(self, piece: Piece) -> None:
        self.outline.add(piece, piece.gaps)
        self.spool.show(self.seen, self.shown.take(piece))
        self.gaps += piece.gaps
        self.lost += sum(g.count or 0 for g in piece.gaps)
        self.read = piece.taken
        if not self.gaps:
            self.scanning.add(piece)
        number, self.seen = self.seen, self.seen + 1
        if not piece.gaps:
            if self.how.count:
                self._count(number, self.how.count(piece, None))
            return
        if self.head is None:
            self.head = piece
        late = self.how.budget is not None and time.monotonic() - self.begun > self.how.budget
        part = Part.read(self.spool.folder, number)
        if part is None and self.crew is not None:
            path = None if self.how.engine.distant else self.spool.folder / f"{number}.events"
            made = self.crew.submit(mend_sent, number, late, Sent.pack(piece, path))
            self.waiting.append((made, path, piece.taken))
            while len(self.waiting) > self.crew.workers:
                self._next(self.crew)
            return
        while self.waiting and self.crew is not None:
            self._next(self.crew)
        within = partial(self._within, piece.taken)
        self._done(part or self._keep(mend_part(self.how, number, late, piece, within)), piece.taken)

    def _within(self, taken: int, done: int, total: int) -> None:
        """So many events of a piece that ends at so many bytes."""
        self._tell(done, self.taken + (taken - self.taken) * done // max(1, total))

    def _tell(self, more: int, taken: int) -> None:
        found = self.lost, len(self.gaps), self.read
        self.progress(Done(self.events + more, 0, len(self.fills), taken, found))

    def _count(self, number: int, count: pa.Buffer) -> None:
        """Hand on what was counted of a piece without gaps, once all parts in front of it are done."""
        self.counts.append((number, count))
        while self.waiting and self.crew is not None and len(self.counts) > MOST_COUNTS:
            self._next(self.crew)
        if not self.waiting:
            self._counted(number + 1)

    def _counted(self, number: int) -> None:
        """Hand on what waits of the pieces in front of one."""
        while self.counts and self.counts[0][0] < number:
            self.counted(self.counts.popleft()[1])

    def _next(self, crew: Crew) -> None:
        """Wait for the piece that was sent first."""
        made, path, taken = self.waiting[0]
        while not wait([made], OFTEN).done:
            if crew.compiling:
                tell_of_compiling(OFTEN)
            events, bytes_done, before = 0, self.taken, self.taken
            for future, _, until in self.waiting:
                done, total = crew.far(future)
                events += done
                bytes_done += (until - before) * done // max(1, total)
                before = until
            self._tell(events, bytes_done)
        self.waiting.popleft()
        part = self._keep(made.result())
        if path is not None:
            path.unlink()
        self._done(part, taken)

    def _keep(self, made: Made) -> Part:
        """Keep what became of a piece; the part comes last, as the sign that all of it is there."""
        part, events = made
        self.spool.put(part.number, events)
        part.write(self.spool.folder)
        return part

    def _done(self, part: Part, taken: int) -> None:
        if self.how.count:
            self._counted(part.number)
            self.counted(self.spool.count(part.number))
        self.events += self.spool.know(part.number)
        self.fills += part.fills
        self.parts.append(part)
        self.taken = taken
        self._tell(0, taken)

    def finish(self, facts: Trace) -> Result:
        """The result, once all pieces were taken in; ``facts``: of the last one."""
        while self.waiting and self.crew is not None:
            self._next(self.crew)
        self._counted(self.seen)
        self.spool.marked = sum(g.number < SUSPECTED for g in self.gaps)
        number = self.spool.number
        gaps, fills = self.gaps, self.fills
        if any(g.number >= SUSPECTED for g in gaps):
            gaps = [replace(g, number=number(g.number)) for g in gaps]
            fills = [replace(f, gap=number(f.gap)) for f in fills]
            self.outline.renumber(number)
        gaps.sort(key=lambda g: g.number)
        fills.sort(key=lambda f: f.gap)
        return Spooled(
            replace(facts, table=facts.table.slice(0, 0), gaps=tuple(gaps)),
            tuple(fills),
            self._provenance(facts),
            self.spool,
            self.outline,
            self._beginning(facts, tuple(gaps), fills),
            self._said(facts, gaps),
            bool(self.how.options.hypotheses),
            self.shown.whole,
        )

    def _said(self, facts: Trace, gaps: Sequence[Gap]) -> Verdict:
        return verdict(facts.with_gaps(tuple(gaps))) if gaps else self.scanning.finish().verdict

    def _beginning(self, facts: Trace, gaps: tuple[Gap, ...], fills: Sequence[Fill]) -> Mended:
        """The first piece with gaps, by itself."""
        if self.head is None:
            return Mended(replace(facts, gaps=()), INFERRED.empty_table(), (), self._provenance(facts))
        own = {g.number: g for g in gaps}
        numbers = [
            g.number if g.number < SUSPECTED else g.number - SUSPECTED + self.spool.marked for g in self.head.gaps
        ]
        first = self.head.first + self.head.begin
        table = self.head.own.table
        shown = local((own[n] for n in sorted(numbers)), first, first + len(table))
        here = [g.number for g in shown]  # if all were left open, the first table is another piece's
        inferred = next(self.spool.parts(), INFERRED.empty_table())
        return Mended(
            replace(facts, table=table, gaps=shown),
            inferred.filter(pa.array(np.isin(inferred["gap"].to_numpy(), here))),
            tuple(f for f in fills if f.gap in here),
            self._provenance(facts),
        )

    def _provenance(self, facts: Trace) -> dict[str, Any]:
        """How all of it was made: sums and means over the pieces."""
        if not self.parts:
            return self.how.mend(Piece.whole(replace(facts, table=facts.table.slice(0, 0), gaps=()))).provenance
        first = self.parts[0].provenance
        options = dict(first["options"])
        adapted = [p.provenance["options"]["adapted"] for p in self.parts if "adapted" in p.provenance["options"]]
        tuned = [p.provenance["options"]["tuned"]["steps"] for p in self.parts if "tuned" in p.provenance["options"]]
        if adapted:
            jumps = sorted({a["jumps"] for a in adapted})
            options["adapted"] = {
                "jumps": jumps[0] if len(jumps) == 1 else jumps,
                "trials": sum(a["trials"] for a in adapted),
            }
        if tuned:
            options["tuned"] = {"steps": sum(tuned)}
        options["pieces"] = self.seen
        if self.how.budget is not None:
            options["budget"] = {"seconds": self.how.budget, "gaps_after": sum(bool(f.by) for f in self.fills)}
        document = {**first, "options": options, "input_sha256": facts.provenance.get("sha256", "")}
        told = [(p.provenance["familiar"], p.weight) for p in self.parts if "familiar" in p.provenance]
        if told:
            share = sum(about["share"] * w for about, w in told) / max(1, sum(w for _, w in told))
            document["familiar"] = {**told[0][0], "share": round(share, 4), "enough": share >= FAMILIAR}
        for home in ("library", "programs"):
            used = {e["sha256"]: e for p in self.parts for e in p.provenance["options"].get(home, ())}
            if used:
                options[home] = sorted(used.values(), key=lambda e: (e["name"], e["sha256"]))
        if alike := together((p.provenance.get("alike", []), p.weight) for p in self.parts):
            document["alike"] = alike
        else:
            document.pop("alike", None)
        return document
