"""What a data set's test part shares with its training part, and how much of it is one loop.

Read it before believing any figure: where test windows occur word for word in training, looking them up is enough.

Axis legend: S events of a stream, K distinct hashes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any

import numpy as np

from tracemend.datasets.base import Data
from tracemend.datasets.study import STRIDE, Study, in_loop, repetitions
from tracemend.trace import ngrams
from tracemend.trace.windows import Ints, Stream

RUNS = (5, 10, 20, 40)
PERIODS = range(1, 65)
#: Events that a stretch must have to count as a loop of a short period: pairs of one event are no loop.
SHORTEST_LOOP = 28


def audit(data: Data, length: int = 200, *, stride: int = STRIDE) -> dict[str, Any]:
    """What there is to know before using a data set; shares are between 0 and 1.

    streams, events: of each part. distinct_ids: in all parts. duplicates: traces equal to another one event for event,
    dropped when the data were loaded, and left among those of all parts. distinct_train_windows, distinct_test_windows:
    the share that is left when windows of ``length``, cut with ``stride``, are counted once. test_windows_in_training:
    the share of test windows that occurs word for word at any place of the training streams, and of those for training
    and validation together. test_runs_in_training: the same for runs of n events. loop: the commonest period, and the
    share of test and training events in stretches of at least two such periods and 28 events.
    """
    parts = {"train": data.train, "validation": data.validation, "test": data.test}
    everything = [s for part in parts.values() for s in part]
    train, test = ([s.ids for s in part] for part in (data.train, data.test))
    train_hashes = _cut(train, length, stride)
    test_hashes = data.test_hashes(length, stride)
    both = ngrams.occur(test_hashes, data.seen(length)) | ngrams.occur(
        test_hashes, ngrams.distinct((s.ids for s in data.validation), length)
    )
    period = loop(test)
    return {
        "name": data.name,
        "length": length,
        "stride": stride,
        "streams": {k: len(part) for k, part in parts.items()},
        "events": {k: sum(map(len, part)) for k, part in parts.items()},
        "distinct_ids": len(set().union(*(set(np.flatnonzero(np.bincount(s.ids)).tolist()) for s in everything))),
        "duplicates": {"dropped": data.dropped, "left": _duplicates(everything)},
        "train_windows": len(train_hashes),
        "test_windows": len(test_hashes),
        "distinct_train_windows": _share(len(ngrams.unique(train_hashes)), len(train_hashes)),
        "distinct_test_windows": _share(len(ngrams.unique(test_hashes)), len(test_hashes)),
        "test_windows_in_training": {
            "train": _share(int(ngrams.occur(test_hashes, data.seen(length)).sum()), len(test_hashes)),
            "train_and_validation": _share(int(both.sum()), len(test_hashes)),
        },
        "test_runs_in_training": {str(n): _overlap(data, n) for n in RUNS},
        "loop": {"period": period, "test": _looping(test, period), "train": _looping(train, period)},
    }


def loop(streams: list[Ints]) -> int:
    """The period up to 64 that has most events in its loops, the least of equals.

    Events in a loop of a divisor don't count: a stretch of one event repeats itself after any number.
    """
    shares = np.zeros(len(PERIODS))
    for stream in streams:
        inside = {p: in_loop(stream, p, SHORTEST_LOOP) for p in PERIODS}
        for n, p in enumerate(PERIODS):
            shorter = np.any([np.zeros_like(inside[p]), *(inside[d] for d in range(1, p) if p % d == 0)], axis=0)
            shares[n] += (inside[p] & ~shorter).sum()
    return PERIODS[int(np.argmax(shares))]


def twins(sets: Mapping[str, Data]) -> list[tuple[str, str]]:
    """Pairs of the study's sets that have the same distinct test windows but for the names of the ids.

    The ids of a window are renamed by the order in which they first occur in it.
    """
    renamed = {n: {w.tobytes() for w in repetitions(d.windows_NL)} for n, d in sets.items() if isinstance(d, Study)}
    return [(a, b) for a, b in combinations(renamed, 2) if renamed[a] == renamed[b]]


def _cut(streams: Iterable[Ints], length: int, stride: int) -> ngrams.Hashes:
    return np.concatenate([np.empty(0, np.uint64), *(ngrams.runs(s, length)[::stride] for s in streams)])


def _overlap(data: Data, run: int) -> float:
    """Share of the runs of the test streams that occur in the training streams."""
    known = ngrams.distinct((s.ids for s in data.train), run)
    hits = [ngrams.occur(ngrams.runs(s.ids, run), known) for s in data.test]
    return _share(sum(int(h.sum()) for h in hits), sum(map(len, hits)))


def _looping(streams: list[Ints], period: int) -> float:
    inside = sum(int(in_loop(s, period, SHORTEST_LOOP).sum()) for s in streams)
    return round(inside / max(1, sum(map(len, streams))), 4)


def _duplicates(streams: list[Stream]) -> int:
    return len(streams) - len({s.ids.tobytes() for s in streams})


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0
