"""Which parts of the fills also stand, event for event, in the recordings that there were to copy from.

Of the trace's own events the page finds that by itself (``places.mjs``).

Axis legend: S events of all recordings one behind the other, N events of one fill, E events of all fills, P places at
which a run may begin.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.errors import OutputError, TraceError
from tracemend.formats import read, size
from tracemend.library import read as read_library
from tracemend.menders.examples import Example, packaged
from tracemend.mending.mended import INFERRED, Result
from tracemend.outputs.report.events import of_gaps
from tracemend.trace import ngrams
from tracemend.trace.events import PHASES, Trace
from tracemend.trace.syscalls import DEFAULT_ARCH
from tracemend.trace.vocabulary import FIRST, MASK, Vocabulary, universal
from tracemend.trace.windows import Stream, streams

Ints = NDArray[np.int64]

#: Events of a run, at least, and places of the same run that are compared, at most; both as ``places.mjs`` has them.
RUN, MOST = 6, 2000
#: What it takes of the inferred events.
COLUMNS = ["gap", "name", "phase"]
#: Bytes of an example that is read once more for this, at most.
LARGEST = 1 << 26


@dataclass(frozen=True)
class Fills:
    """Of some gaps the inferred events, as ids of a vocabulary that holds them all."""

    gaps: list[int]
    ids: list[Ints]
    vocabulary: Vocabulary

    @classmethod
    def of(cls, result: Result, gaps: Ints) -> Fills:
        told = (t.select(COLUMNS) for t in (INFERRED.empty_table(), *of_gaps(result.tables(), gaps)))
        table = pa.concat_tables(told).unify_dictionaries()
        name, phase = (table[c].combine_chunks() for c in ("name", "phase"))
        if isinstance(name, pa.ChunkedArray):  # no events at all
            return cls([], [], universal())
        names = name.dictionary.to_pylist()
        phases = np.array([PHASES.index(p) for p in phase.dictionary.to_pylist()], np.int64)
        kinds_E = name.indices.to_numpy().astype(np.int64) * len(PHASES) + phases[phase.indices.to_numpy()]
        kinds, which_E = np.unique(kinds_E, return_inverse=True)
        entries = [(names[k // len(PHASES)], k % len(PHASES)) for k in kinds.tolist()]
        known = universal()
        vocabulary = Vocabulary((*known.entries, *(e for e in entries if known.id(*e) < FIRST)))
        ids_E = np.array([vocabulary.id(*e) for e in entries], np.int64)[which_E]
        gap_E = table["gap"].to_numpy()
        bounds = np.flatnonzero(np.diff(gap_E, prepend=-1, append=-1)).tolist()
        return cls(gap_E[bounds[:-1]].tolist(), [ids_E[a:b] for a, b in pairwise(bounds)], vocabulary)


class Recordings:
    """Streams of ids of several recordings, to search in for runs of fills. ``names``: what each is called."""

    def __init__(self, named: Sequence[tuple[str, Sequence[Stream]]], fills: Sequence[Ints]) -> None:
        self.names = [name for name, _ in named]
        # what is no event stands between streams: no run goes on over it
        between = np.array([MASK], np.int32)
        held_S, at, hashes, begin = [between], [np.empty(0, np.int64)], [np.empty(0, np.uint64)], 1
        wanted = ngrams.distinct(fills, RUN)
        for stream in (stream for _, held in named for stream in held):
            of_runs = ngrams.runs(stream.ids, RUN)
            found = np.flatnonzero(ngrams.occur(of_runs, wanted))
            at.append(found + begin)
            hashes.append(of_runs[found])
            held_S += [stream.ids.astype(np.int32), between]
            begin += len(stream) + 1
        self.ids_S = np.concatenate(held_S)
        self.ends = np.cumsum([sum(len(stream) + 1 for stream in held) for _, held in named])
        self.at, self.hashes = np.concatenate(at), np.concatenate(hashes)
        order = np.argsort(self.hashes, kind="stable")
        self.at, self.hashes = self.at[order], self.hashes[order]

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


def elsewhere(result: Result, gaps: Ints) -> tuple[dict[str, Ints], list[str], list[str]]:
    """Of these gaps the parts that stand in other recordings, a row each; what each recording is called; and where was
    searched, in words."""
    fills = Fills.of(result, gaps)
    named, searched = _named(result, fills.vocabulary)
    recordings = Recordings(named, fills.ids)
    rows = [(g, *part) for g, ids in zip(fills.gaps, fills.ids, strict=True) for part in recordings.parts(ids)]
    columns = dict(zip(("gap", "first", "length", "source"), np.array(rows, np.int64).reshape(-1, 4).T, strict=True))
    used, columns["source"] = np.unique(columns["source"], return_inverse=True)
    return columns, [recordings.names[i] for i in used.tolist()], searched


def _named(result: Result, vocabulary: Vocabulary) -> tuple[list[tuple[str, Sequence[Stream]]], list[str]]:
    """The recordings that there were to copy from, as far as they are still there, by name; and the same in words. The
    user's own come first: of places that are equally long the first one is told."""
    options = result.provenance.get("options") or {}
    named: list[tuple[str, Sequence[Stream]]] = []
    for trace in _examples(options.get("examples") or (), options.get("arch", DEFAULT_ARCH)):
        named.append((str(trace.path), streams(trace, vocabulary, shortest=RUN)))
    searched = [name for name, _ in named]
    wanted = {e["sha256"] for e in options.get("library") or ()}
    own = [e for e in _library(wanted) if e.sha256 in wanted]
    named += [(f"{e.name} (in your library)", e.within(vocabulary)) for e in own]
    searched += ["your library"] if own else []
    if options.get("shipped"):
        shipped = packaged(bool(options.get("more_examples")))
        named += [(f"{e.name} (comes with tracemend)", e.within(vocabulary)) for e in shipped]
        searched.append("the recordings that come with tracemend")
    return named, searched


def _library(wanted: set[str]) -> tuple[Example, ...]:
    """The user's examples, if some are asked for and can be read."""
    try:
        return read_library().examples if wanted else ()
    except OutputError:
        return ()


def _examples(paths: Sequence[str], arch: str) -> Iterator[Trace]:
    """The examples that were given, as far as they are still there and aren't large."""
    for path in map(Path, paths):
        try:
            if path.is_file() and size(path) <= LARGEST:
                yield read(path, arch=arch)
        except (TraceError, OSError, ValueError):  # not what it was, or a name that none can have
            continue
