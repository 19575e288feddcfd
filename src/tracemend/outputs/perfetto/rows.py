"""Events as they are laid on tracks: a call is a slice where both its ends are there, all else is an instant.

Axis legend: E events of these rows, P pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tracemend.outputs.perfetto.encoding import (
    BEGIN,
    CONFIDENCE,
    END,
    EXIT_CONFIDENCE,
    INSTANT,
    Bools,
    Bytes,
    Events,
    Ints,
    Names,
    colour,
    confidence_notes,
    inferred_colour,
)
from tracemend.trace.events import ENTER, EXIT, PHASES, Trace


@dataclass(frozen=True)
class Rows:
    """Events (E,): when, whose, what. ``name``: numbers in ``known``. ``confidence``: of inferred ones, whose names and
    colours say that they are."""

    time: Ints
    tid: Ints
    phase: Ints
    name: Ints
    known: list[str]
    confidence: NDArray[np.float64] | None = None

    @classmethod
    def recorded(cls, trace: Trace) -> Rows:
        codes, known = trace.names
        time, tid, phase, name = (c.astype(np.int64) for c in (trace.time_ns, trace.tid, trace.phase, codes))
        return cls(time, tid, phase, name, known)

    @classmethod
    def filled(cls, table: pa.Table) -> Rows:
        """Of a table of inferred events."""
        said = {column: table[column].cast(pa.string()) for column in ("name", "phase")}
        known = pc.unique(said["name"]).to_pylist()
        coded = (pc.index_in(said["phase"], pa.array(PHASES)), pc.index_in(said["name"], pa.array(known, pa.string())))
        time, tid, phase, name = (c.to_numpy().astype(np.int64) for c in (table["time_ns"], table["tid"], *coded))
        return cls(time, tid, phase, name, known, table["confidence"].to_numpy().astype(np.float64))

    def only(self, rows: Ints | Bools) -> Rows:
        """Some of them."""
        sure = None if self.confidence is None else self.confidence[rows]
        return Rows(self.time[rows], self.tid[rows], self.phase[rows], self.name[rows], self.known, sure)

    @property
    def calls(self) -> Bools:
        """Which of them are ends of calls."""
        return np.isin(self.phase, (ENTER, EXIT))

    def pairs(self, track: Ints, within: Ints) -> tuple[Ints, Ints]:
        """Rows of enters and of the exits that belong to them (P,).

        A pair is an enter and the very next end of a call on its track, if that is the exit of the same call with the
        same ``within``. So pairs of one track never overlap.
        """
        calls = np.flatnonzero(self.calls)
        calls = calls[np.lexsort((calls, self.time[calls], track[calls]))]
        a, b = calls[:-1], calls[1:]
        paired = (self.phase[a] == ENTER) & (self.phase[b] == EXIT) & (self.name[a] == self.name[b])
        paired &= (track[a] == track[b]) & (within[a] == within[b])
        return a[paired], b[paired]

    def events(
        self, pairs: tuple[Ints, Ints], track: Ints, category: Ints, notes: list[Bytes | pa.Array], names: Names
    ) -> Events:
        """Each on its track (E,). A slice says how sure both its ends are; it has the less sure one's colour."""
        kind = np.full(len(self.time), INSTANT, np.int64)
        kind[pairs[0]], kind[pairs[1]] = BEGIN, END
        if self.confidence is None:
            shown = [colour(names.cool(self.known)[self.name])]
        else:
            least = self.confidence.copy()
            least[pairs[0]] = least[pairs[1]] = np.minimum(least[pairs[0]], least[pairs[1]])
            note = np.where(kind == END, EXIT_CONFIDENCE, CONFIDENCE)
            shown = [inferred_colour(least), confidence_notes(self.confidence, note)]
        return Events(self.time, kind, track, category, self._labels(kind, names), [*shown, *notes])

    def _labels(self, kind: Ints, names: Names) -> Ints:
        """The name of each, interned. One end of a call that stands alone says which end it is."""
        alone = (kind == INSTANT) & self.calls
        pick = self.name * (len(PHASES) + 1) + np.where(alone, self.phase + 1, 0)
        used, inverse = np.unique(pick, return_inverse=True)
        return names.of([self._label(u) for u in used.tolist()])[inverse] if len(pick) else pick

    def _label(self, pick: int) -> str:
        name, phase = divmod(pick, len(PHASES) + 1)
        said = [*PHASES[phase - 1 : phase], *([] if self.confidence is None else ["inferred"])]
        return self.known[name] + (f" ({', '.join(said)})" if said else "")
