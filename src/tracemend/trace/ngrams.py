"""Runs of events as 64-bit numbers, so that "does this occur there, word for word" is a search in a sorted array.

The hash of a run is a polynomial in an odd base over its events' random-looking numbers, modulo 2^64. All runs of a
stream come out of one cumulative sum. Two different runs share a hash with a chance of about 2^-60.

Axis legend: S events of a stream, L events of a run, N windows, K distinct hashes.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tracemend.trace.windows import Ints

Hashes = NDArray[np.uint64]
Bools = NDArray[np.bool_]

#: 5 modulo 8: its powers take the longest to repeat. The other is its inverse modulo 2^64.
BASE = 0x9E3779B97F4A7C15
INVERSE = pow(BASE, -1, 1 << 64)


def _room(count: int) -> int:
    """The power of two that ``count`` fits into, so that few tables are made."""
    return 1 << max(0, count - 1).bit_length()


@lru_cache(maxsize=8)
def _mixed(room: int) -> Hashes:
    """A random-looking number for each of the ids below ``room`` (Steele et al. 2014, SplitMix64)."""
    x = np.arange(1, room + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)), np.uint64)


@lru_cache(maxsize=16)
def _powers(base: int, room: int) -> Hashes:
    powers = np.full(room, base, np.uint64)
    powers[0] = 1
    return np.cumprod(powers, dtype=np.uint64)


def _terms(ids: Ints) -> Hashes:
    """What each event adds to the polynomial (..., L)."""
    length = ids.shape[-1]
    mixed = _mixed(_room(int(ids.max()) + 1))
    return np.asarray(mixed[ids] * _powers(BASE, _room(length))[:length], np.uint64)


def runs(ids_S: Ints, length: int) -> Hashes:
    """Hashes of all runs of ``length`` events (S - L + 1,), none of a stream that is shorter."""
    count = len(ids_S) - length + 1
    if count <= 0:
        return np.empty(0, np.uint64)
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(_terms(ids_S), dtype=np.uint64)])
    return np.asarray((sums[length:] - sums[:-length]) * _powers(INVERSE, _room(count))[:count], np.uint64)


def windows(ids_NL: Ints) -> Hashes:
    """Hashes of windows (N,), the same as ``runs`` gives for the same events."""
    if not ids_NL.size:
        return np.zeros(len(ids_NL), np.uint64)
    return np.asarray(_terms(ids_NL).sum(axis=1, dtype=np.uint64), np.uint64)


def distinct(streams: Iterable[Ints], length: int) -> Hashes:
    """The distinct hashes of all runs of these streams, sorted (K,)."""
    return unique(np.concatenate([np.empty(0, np.uint64), *(runs(s, length) for s in streams)]))


def unique(hashes_N: Hashes) -> Hashes:
    """Distinct hashes, sorted (K,). numpy's own takes ten times as long on millions of integers."""
    ranked = np.sort(hashes_N)
    return np.asarray(ranked[np.append(True, ranked[1:] != ranked[:-1])[: len(ranked)]], np.uint64)


def occur(hashes_N: Hashes, known_K: Hashes) -> Bools:
    """Which hashes are among those of ``distinct`` (N,)."""
    if not len(known_K):
        return np.zeros(len(hashes_N), bool)
    at = np.minimum(np.searchsorted(known_K, hashes_N), len(known_K) - 1)
    return np.asarray(known_K[at] == hashes_N, np.bool_)


def covered(hit_N: Bools, length: int) -> Bools:
    """Events (N + L - 1,) that lie in a run that is hit."""
    steps = np.zeros(len(hit_N) + length, np.int64)
    steps[: len(hit_N)] += hit_N
    steps[length:] -= hit_N
    return np.cumsum(steps)[:-1] > 0
