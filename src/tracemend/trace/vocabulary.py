"""Event names with their phase to ids and back.

The universal vocabulary holds every system call of every architecture, entering and leaving, so that one model serves
every application. Ids below ``FIRST`` are special and the same in every vocabulary.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tracemend.errors import ModelError
from tracemend.trace.events import PHASES, Trace
from tracemend.trace.syscalls import all_names
from tracemend.untrusted import json_of

#: MASK: hidden. BREAK: here an unknown number of events is missing, or the stream begins or ends.
#: OTHER: an event that the vocabulary doesn't hold.
MASK, BREAK, OTHER = range(3)
FIRST = 3

Entry = tuple[str, int]  # name, phase code


class Vocabulary:
    """Entries (name, phase) in order; the id of entry i is FIRST + i.

    counts: how often each entry was seen in training, if somebody counted. Raises ModelError if they don't fit.
    """

    def __init__(self, entries: Iterable[Entry], counts: Iterable[int] | None = None) -> None:
        self.entries: tuple[Entry, ...] = tuple(entries)
        self.counts = None if counts is None else tuple(counts)
        if self.counts is not None and len(self.counts) != len(self.entries):
            raise ModelError(f"a vocabulary of {len(self.entries)} entries with {len(self.counts)} counts")
        self._ids = {e: FIRST + i for i, e in enumerate(self.entries)}

    def __len__(self) -> int:
        """Number of ids, the special ones included."""
        return FIRST + len(self.entries)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and (self.entries, self.counts) == (other.entries, other.counts)

    def __hash__(self) -> int:
        return hash(self.entries)

    def id(self, name: str, phase: int) -> int:
        """The id of an event, OTHER if the vocabulary doesn't hold it."""
        return self._ids.get((name, phase), OTHER)

    def entry(self, id: int) -> Entry | None:
        """Name and phase of an id; None for the special ids."""
        return self.entries[id - FIRST] if FIRST <= id < len(self) else None

    @cached_property
    def phase(self) -> NDArray[np.int8]:
        """Phase code of every id (V,), -1 for the special ones."""
        return np.array([-1] * FIRST + [p for _, p in self.entries], np.int8)

    @cached_property
    def partner(self) -> NDArray[np.int32]:
        """For every id (V,) the id of the same call's other phase (enter <-> exit), -1 where there is none."""
        partner = np.full(len(self), -1, np.int32)
        for i, (name, phase) in enumerate(self.entries):
            if phase < 2:
                partner[FIRST + i] = self._ids.get((name, 1 - phase), -1)
        return partner

    def encode(self, trace: Trace) -> NDArray[np.int32]:
        """Ids of a trace's events (E,)."""
        codes, names = trace.names
        table = np.array([[self.id(n, p) for p in range(len(PHASES))] for n in names], np.int32)
        return table[codes, trace.phase] if len(names) else np.empty(0, np.int32)

    def extended(self, trace: Trace) -> Vocabulary:
        """This vocabulary with the trace's own unknown events behind its own entries, so that they have ids too."""
        codes, names = trace.names
        pairs = np.unique(codes.astype(np.int64) * len(PHASES) + trace.phase)
        extra = [(names[p // len(PHASES)], int(p % len(PHASES))) for p in pairs.tolist()]
        # both phases of a call, so that an open one can be closed
        closed = dict.fromkeys(e for n, p in extra for e in ([(n, 0), (n, 1)] if p < 2 else [(n, p)]))
        unknown = [e for e in closed if e not in self._ids]
        return Vocabulary(self.entries + tuple(unknown)) if unknown else self

    def translated(self, ids: NDArray[np.int64], other: Vocabulary) -> NDArray[np.int64]:
        """The same events, given by another vocabulary's ids, by this one's; OTHER where it doesn't hold them."""
        table = np.array([*range(FIRST), *(self.id(*e) for e in other.entries)], np.int64)
        return np.asarray(table[ids])

    @property
    def digest(self) -> str:
        """SHA-256 of entries and counts: two vocabularies of one digest give the same ids."""
        return hashlib.sha256(json.dumps([self.entries, self.counts]).encode()).hexdigest()

    def save(self, path: Path) -> None:
        if self == universal():
            path.write_text(json.dumps({"universal": len(self)}) + "\n")
        else:
            document = {"entries": [[n, PHASES[p]] for n, p in self.entries], "counts": self.counts}
            path.write_text(json.dumps(document, indent=0) + "\n")

    @staticmethod
    def load(path: Path) -> Vocabulary:
        """Raises ModelError for a file that is no vocabulary, or the universal one of another version."""
        try:
            document = json_of(path.read_text())
            if "universal" in document:
                if document["universal"] != len(universal()):
                    raise ModelError(
                        f"{path}: a universal vocabulary of {document['universal']} ids, this version has "
                        f"{len(universal())}"
                    )
                return universal()
            counts = document.get("counts")
            entries = ((str(n), PHASES.index(p)) for n, p in document["entries"])
            return Vocabulary(entries, None if counts is None else map(int, counts))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
            raise ModelError(f"{path}: no vocabulary ({e})") from e


@cache
def universal() -> Vocabulary:
    """Every system call by name, entering and leaving."""
    return Vocabulary((name, phase) for name in all_names() for phase in (0, 1))


def by_frequency(traces: Iterable[Trace]) -> Vocabulary:
    """The events of these traces, the commonest first, with their counts (Janecek et al. 2025, section III-B)."""
    total: Counter[Entry] = Counter()
    for trace in traces:
        codes, names = trace.names
        pairs, number = np.unique(codes.astype(np.int64) * len(PHASES) + trace.phase, return_counts=True)
        for pair, count in zip(pairs.tolist(), number.tolist(), strict=True):
            total[names[pair // len(PHASES)], pair % len(PHASES)] += count
    order = sorted(total, key=lambda e: (-total[e], e))
    return Vocabulary(order, (total[e] for e in order))


def numbered(count: int, counts: Iterable[int] | None = None) -> Vocabulary:
    """Events without names, for windows of bare ids 0 to count - 1."""
    return Vocabulary(((str(i), 2) for i in range(count)), counts)
