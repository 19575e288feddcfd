"""Which recordings is a trace like? Few of a large library are worth copying from: those of the same kind of work.

A recording is as like as the share of the trace's runs of events that stand in it word for word. The most alike of the
project's own recordings is that of the same program for all 34 programs (tests/test_library.py).

Axis legend: K distinct runs of a trace.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tracemend.menders.examples import Example
from tracemend.menders.familiarity import LENGTH
from tracemend.trace import ngrams
from tracemend.trace.vocabulary import Vocabulary
from tracemend.trace.windows import Stream

#: A trace looks like a recording that holds so much of it, and like others that hold nearly as much; so many are told.
ALIKE, NEARLY, TOLD = 0.8, 0.9, 3
#: Those are copied from that hold so much of the trace, the most alike first, up to so many events: each costs time,
#: and what is unlike gives nothing (benchmarks/results/library.json).
WORTH, MOST = 0.1, 1_000_000


def likeness(streams: Sequence[Stream], examples: Sequence[Example], vocabulary: Vocabulary) -> list[float]:
    """Of each example the share of the streams' runs that stand in it; ids are of ``vocabulary``."""
    every = np.sort(np.concatenate([np.empty(0, np.uint64), *(ngrams.runs(s.ids, LENGTH) for s in streams)]))
    first = np.flatnonzero(np.append(True, every[1:] != every[:-1])[: len(every)])
    runs_K, count_K = every[first], np.diff(np.append(first, len(every)))
    shares = []
    for example in examples:
        known = ngrams.distinct((s.ids for s in example.within(vocabulary)), LENGTH)
        shares.append(float(count_K[ngrams.occur(runs_K, known)].sum() / max(1, len(every))))
    return shares


def chosen(examples: Sequence[Example], shares: Sequence[float], most: int = MOST) -> list[Example]:
    """Those worth copying from: the ones that always are, and of the others those that the trace is like. Were some
    that aren't chosen missing, the choice would be the same."""
    alike = [(share, e) for share, e in zip(shares, examples, strict=True) if share >= WORTH and not e.always]
    found, room = [], most
    for _, example in sorted(alike, key=lambda pair: (-pair[0], pair[1].sha256)):
        if len(example) <= room:
            found.append(example)
            room -= len(example)
    return [*(e for e in examples if e.always), *sorted(found, key=lambda e: (e.name, e.sha256))]


def told(examples: Sequence[Example], shares: Sequence[float]) -> list[dict[str, Any]]:
    """What a trace looks like, for provenance: the most alike first; nothing where nothing is like it."""
    return _told({"name": e.name, "own": e.own, "share": s} for e, s in zip(examples, shares, strict=True))


def together(parts: Iterable[tuple[list[dict[str, Any]], int]]) -> list[dict[str, Any]]:
    """The same of a trace in parts, from what was told of each part and its number of events."""
    sums: dict[tuple[str, bool], float] = {}
    whole = 0
    for rows, events in parts:
        whole += events
        for row in rows:
            key = row["name"], row["own"]
            sums[key] = sums.get(key, 0.0) + row["share"] * events
    return _told({"name": n, "own": own, "share": s / max(1, whole)} for (n, own), s in sums.items())


def _told(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    ranked = sorted(rows, key=lambda row: (-row["share"], row["name"]))
    least = max(ALIKE, NEARLY * ranked[0]["share"]) if ranked else 1
    return [row | {"share": round(row["share"], 4)} for row in ranked[:TOLD] if row["share"] >= least]


def sentence(rows: Sequence[dict[str, Any]]) -> str:
    """What a trace looks like, as people read it; empty where nothing is like it."""
    return f"Looks like: {named(rows)}." if rows else ""


def named(rows: Sequence[dict[str, Any]]) -> str:
    """Each with where it is from, and its share."""
    homes = {True: "in your library", False: "comes with tracemend"}
    return ", ".join(f"{row['name']} ({homes[row['own']]}; {100 * row['share']:.0f} %)" for row in rows)
