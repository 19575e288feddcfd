"""Which parts of the fills also stand, event for event, in the recordings that there were to copy from.

Of the trace's own events the page finds that by itself (``places.mjs``).

Axis legend: S events of all recordings one behind the other, N events of one fill, P places where its runs may begin.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.errors import TraceError
from tracemend.formats import read, size
from tracemend.menders.examples import shipped
from tracemend.mending.mended import Result
from tracemend.outputs.report.events import of_gaps
from tracemend.trace import ngrams
from tracemend.trace.events import PHASES, Trace
from tracemend.trace.vocabulary import MASK, OTHER, Vocabulary, universal
from tracemend.trace.windows import streams

Ints = NDArray[np.int64]

#: Events of a run, at least, and places of the same run that are compared, at most; both as ``places.mjs`` has them.
RUN, MOST = 6, 2000
#: Bytes of an example that is read once more for this, at most.
LARGEST = 1 << 26
SHIPPED = "a recording that comes with tracemend"


class Recordings:
    """Streams of several recordings, to search in. ``names``: what each recording is called."""

    def __init__(self, examples: Sequence[Trace], with_shipped: bool) -> None:
        self.vocabulary: Vocabulary = universal()
        for trace in examples:
            self.vocabulary = self.vocabulary.extended(trace)
        held = [[s.ids for s in streams(trace, self.vocabulary, shortest=RUN)] for trace in examples]
        self.names = [str(trace.path) for trace in examples]
        if with_shipped:
            held.append([s.ids for s in shipped()])
            self.names.append(SHIPPED)
        # what is no event stands between streams: no run goes on over it
        between = np.array([MASK])
        self.ids_S: Ints = np.concatenate([between, *(part for h in held for ids in h for part in (ids, between))])
        self.ends = np.cumsum([sum(len(ids) + 1 for ids in h) for h in held])

    def look(self, fills: Sequence[Ints]) -> None:
        """Find where runs of these fills stand."""
        wanted = ngrams.distinct(fills, RUN)
        hashes = ngrams.runs(self.ids_S, RUN)
        self.at = np.flatnonzero(ngrams.occur(hashes, wanted))
        order = np.argsort(hashes[self.at], kind="stable")
        self.at, self.hashes = self.at[order], hashes[self.at][order]

    def parts(self, ids_N: Ints) -> Iterator[tuple[int, int, int]]:
        """The longest runs of a fill that stand somewhere: first event, number of events, recording."""
        hashes = ngrams.runs(ids_N, RUN)
        begin_N, end_N = (np.searchsorted(self.hashes, hashes, side) for side in ("left", "right"))
        i = 0
        while i < len(hashes):
            places_P = self.at[begin_N[i] : min(end_N[i], begin_N[i] + MOST)]
            length = 0
            while len(places_P) and i + length < len(ids_N):
                here = places_P[self.ids_S[places_P + length] == ids_N[i + length]]
                if not len(here):
                    break
                places_P, length = here, length + 1
            if length >= RUN:
                yield i, length, int(np.searchsorted(self.ends, places_P[0] - 1, "right"))
            i += length if length >= RUN else 1


def elsewhere(result: Result, gaps: Ints) -> tuple[dict[str, Ints], list[str]]:
    """Of these gaps the parts that stand in other recordings, a row each, and the recordings' names."""
    recordings = Recordings(_examples(result), _with_shipped(result))
    if not recordings.names:
        return {}, []
    numbers: list[int] = []
    fills: list[Ints] = []
    for table in of_gaps(result.tables(), gaps):
        gap, ids = table["gap"].to_numpy(), _ids(table, recordings.vocabulary)
        bounds = np.flatnonzero(np.diff(gap, prepend=-1, append=-1)).tolist()
        for begin, end in pairwise(bounds):
            numbers.append(int(gap[begin]))
            fills.append(ids[begin:end])
    recordings.look(fills)
    rows = [(g, *part) for g, ids in zip(numbers, fills, strict=True) for part in recordings.parts(ids)]
    columns = np.array(rows, np.int64).reshape(-1, 4).T
    return dict(zip(("gap", "first", "length", "source"), columns, strict=True)), recordings.names


def _ids(table: pa.Table, vocabulary: Vocabulary) -> Ints:
    """Events' ids; what the vocabulary doesn't hold has one that no recording has."""
    name, phase = (table[c].unify_dictionaries().combine_chunks() for c in ("name", "phase"))
    every = [[vocabulary.id(n, p) for p in range(len(PHASES))] for n in name.dictionary.to_pylist()]
    known = np.array(every, np.int64).reshape(-1, len(PHASES))
    known[known == OTHER] = len(vocabulary)
    phases = np.array([PHASES.index(p) for p in phase.dictionary.to_pylist()], np.int64)
    return np.asarray(known[name.indices.to_numpy(), phases[phase.indices.to_numpy()]])


def _with_shipped(result: Result) -> bool:
    """Whether it was filled from the recordings that this version comes with, too."""
    there = (result.provenance.get("options") or {}).get("shipped", 0)
    return bool(there) and there == sum(map(len, shipped()))


def _examples(result: Result) -> list[Trace]:
    """The examples that were given, as far as they are still there and aren't large."""
    options = result.provenance.get("options") or {}
    found = []
    for path in map(Path, options.get("examples") or ()):
        try:
            if path.is_file() and size(path) <= LARGEST:
                found.append(read(path, arch=options.get("arch", "x86_64")))
        except (TraceError, OSError, ValueError):  # not what it was, or a name that none can have
            continue
    return found
