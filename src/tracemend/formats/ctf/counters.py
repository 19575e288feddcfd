"""The counters that packets have of what was lost, which run around, and at times say what can't be."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import chain, pairwise


def step(before: int | None, after: int | None, size: int) -> int:
    """From one counter of ``size`` bits to the next, signed; 0 where one is missing."""
    if before is None or after is None or before == after:
        return 0
    half = 1 << (size - 1)
    return (after - before + half) % (2 * half) - half


def growth(counters: Iterable[int | None], size: int, whole: bool) -> Iterator[tuple[range, int]]:
    """Where a counter of ``size`` bits grew, and by how much: at one of these packets. ``whole``: it was 0 before them.

    counters: are gone through several times.

    It only ever grows, but LTTng-UST leaves a 0 in one packet of seventy, and the next one goes on from where it was: a
    0 behind another count is none. Of the rest the largest part counts in which no count falls, the higher one of two.
    """
    start = 0 if whole else next((c for c in counters if c is not None), 0)
    rising = all(a <= b for a, b in pairwise(chain([start], (t for _, t in _totals(counters, start, size)))))
    before, since = start, 0
    # there may be millions of them, and hardly ever one that falls
    for k, total in _totals(counters, start, size) if rising else _risen(_totals(counters, start, size), start):
        if total > before:
            yield range(since, k + 1), total - before
        before, since = total, k + 1


def _totals(counters: Iterable[int | None], start: int, size: int) -> Iterator[tuple[int, int]]:
    """The packets that have a count, and the counter's value there as if it never ran around."""
    total = last = start
    for k, c in enumerate(counters):
        if c is None or (c == 0 and last):
            continue
        total += step(last, c, size)
        yield k, total
        last = c


def _risen(totals: Iterable[tuple[int, int]], start: int) -> list[tuple[int, int]]:
    """The most of them from ``start`` up, in order, that never fall."""
    held = [(k, total) for k, total in totals if total >= start]
    ends: list[int] = []  # of the best run of each length, from the last place on: its total, negative so that it rises
    at: list[int] = []  # and its place
    following = [-1] * len(held)
    for i, (_, total) in reversed(list(enumerate(held))):
        length = bisect_right(ends, -total)
        following[i] = at[length - 1] if length else -1
        ends[length : length + 1], at[length : length + 1] = [-total], [i]
    found = []
    i = at[-1] if at else -1
    while i >= 0:
        found.append(held[i])
        i = following[i]
    return found
