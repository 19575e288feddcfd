"""The counters that packets have of what was lost, which run around, and at times say what can't be."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence


def step(before: int | None, after: int | None, size: int) -> int:
    """From one counter of ``size`` bits to the next, signed; 0 where one is missing."""
    if before is None or after is None or before == after:
        return 0
    half = 1 << (size - 1)
    return (after - before + half) % (2 * half) - half


def growth(counters: Sequence[int | None], size: int, whole: bool) -> list[tuple[range, int]]:
    """Where a counter of ``size`` bits grew, and by how much: at one of these packets. ``whole``: it was 0 before them.

    It only ever grows, but LTTng-UST leaves a 0 in one packet of seventy, and the next one goes on from where it was: a
    0 behind another count is none. Of the rest the largest part counts in which no count falls, the higher one of two.
    """
    start = last = 0 if whole else next((c for c in counters if c is not None), 0)
    total, totals = start, []
    for c in counters:
        known = None if c == 0 and last else c
        total += step(last, known, size)
        totals.append(None if known is None else total)
        last = last if known is None else known
    found, before, since = [], start, 0
    for k in _rising([(k, t) for k, t in enumerate(totals) if t is not None and t >= start]):
        grown = (totals[k] or 0) - before
        if grown:
            found.append((range(since, k + 1), grown))
        before, since = before + grown, k + 1
    return found


def _rising(totals: Sequence[tuple[int, int]]) -> list[int]:
    """The most of the places, in order, whose totals never fall."""
    ends: list[int] = []  # of the best run of each length, from the last place on: its total, negative so that it rises
    at: list[int] = []  # and its place
    following: dict[int, int | None] = {}
    for k, total in reversed(totals):
        i = bisect_right(ends, -total)
        following[k] = at[i - 1] if i else None
        ends[i : i + 1], at[i : i + 1] = [-total], [k]
    found: list[int] = []
    k_or_none = at[-1] if at else None
    while k_or_none is not None:
        found.append(k_or_none)
        k_or_none = following[k_or_none]
    return found
