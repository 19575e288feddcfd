"""Events as they are laid on tracks: a call is a slice where both its ends are there, all else is an instant.

Axis legend: E events of these rows, P pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tracemend.outputs.perfetto.encoding import BEGIN, END, INSTANT, Bools, Bytes, Events, Ints, Names, colour
from tracemend.trace.events import ENTER, EXIT, PHASES, Trace


@dataclass(frozen=True)
class Rows:
    """Events (E,): when, whose, what. ``name``: numbers in ``known``. ``inferred``: their names say that they are."""

    time: Ints
    tid: Ints
    phase: Ints
    name: Ints
    known: list[str]
    inferred: bool

    @classmethod
    def recorded(cls, trace: Trace) -> Rows:
        codes, known = trace.names
        time, tid, phase, name = (c.astype(np.int64) for c in (trace.time_ns, trace.tid, trace.phase, codes))
        return cls(time, tid, phase, name, known, inferred=False)

    @classmethod
    def filled(cls, table: pa.Table) -> Rows:
        """Of a table of inferred events."""
        said = {column: table[column].cast(pa.string()) for column in ("name", "phase")}
        known = pc.unique(said["name"]).to_pylist()
        coded = (pc.index_in(said["phase"], pa.array(PHASES)), pc.index_in(said["name"], pa.array(known, pa.string())))
        time, tid, phase, name = (c.to_numpy().astype(np.int64) for c in (table["time_ns"], table["tid"], *coded))
        return cls(time, tid, phase, name, known, inferred=True)

    def only(self, rows: Ints | Bools) -> Rows:
        """Some of them."""
        return Rows(self.time[rows], self.tid[rows], self.phase[rows], self.name[rows], self.known, self.inferred)

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
        """Each on its track (E,). ``notes`` of inferred events say their colour, too (``confidence_notes``)."""
        shown = [] if self.inferred else [colour(names.cool(self.known)[self.name])]
        kind = np.full(len(self.time), INSTANT, np.int64)
        kind[pairs[0]], kind[pairs[1]] = BEGIN, END
        return Events(self.time, kind, track, category, self._labels(kind, names), [*shown, *notes])

    def _labels(self, kind: Ints, names: Names) -> Ints:
        """The name of each, interned. One end of a call that stands alone says which end it is."""
        alone = (kind == INSTANT) & self.calls
        pick = self.name * (len(PHASES) + 1) + np.where(alone, self.phase + 1, 0)
        used, inverse = np.unique(pick, return_inverse=True)
        return names.of([self._label(u) for u in used.tolist()])[inverse] if len(pick) else pick

    def _label(self, pick: int) -> str:
        name, phase = divmod(pick, len(PHASES) + 1)
        said = [*PHASES[phase - 1 : phase], *(["inferred"] if self.inferred else [])]
        return self.known[name] + (f" ({', '.join(said)})" if said else "")
