"""Packets in columns, and counters of what was lost against a slow search."""

from __future__ import annotations

import tracemalloc
from itertools import combinations, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracemend.formats.ctf.counters import growth
from tracemend.formats.ctf.packet_table import Packet, PacketTable

numbers = st.none() | st.integers(-(1 << 71), 1 << 71) | st.sampled_from([-(1 << 63), 1 - (1 << 63), (1 << 63) - 1])
packets = st.builds(
    Packet,
    file=st.sampled_from([Path("a"), Path("b")]),
    at=st.integers(0, 1 << 40),
    size=st.integers(0, 1 << 40),
    content=st.integers(0, 1 << 43),
    begin=numbers,
    end=numbers,
    sequence=numbers,
    discarded=numbers,
    cpu=st.integers(-1, 1 << 16),
    body=st.integers(0, 1 << 24),
    cut=st.booleans(),
)


@given(held=st.lists(packets, max_size=6), more=st.lists(packets, min_size=1, max_size=3))
def test_a_table_gives_back_what_was_put_into_it(held: list[Packet], more: list[Packet]) -> None:
    table = PacketTable(held)
    table.extend(PacketTable(more))
    every = held + more
    assert list(table) == every
    assert [table[k] for k in range(-len(every), 0)] == every
    assert list(table.discarded) == [p.discarded for p in every]
    assert [table.times(k) for k in range(len(every))] == [(p.begin, p.end) for p in every]
    table.cut_last()
    assert table[-1] == every[-1]._replace(cut=True)
    with pytest.raises(IndexError):
        table[len(every)]


def test_a_packet_takes_less_than_a_hundred_bytes() -> None:
    file = Path("channel_0")
    tracemalloc.start()
    table = PacketTable(Packet(file, 8192 * k, 8192, 60000, 1 << 50, 1 << 51, k, 7 * k, 0, 576) for k in range(20_000))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(table) == 20_000
    assert held < 100 * 20_000


@given(counters=st.lists(st.none() | st.integers(0, 9), max_size=9), whole=st.booleans())
def test_as_many_counts_are_believed_as_never_fall(counters: list[int | None], whole: bool) -> None:
    found = list(growth(counters, 64, whole))
    start = 0 if whole else next((c for c in counters if c is not None), 0)
    counted, last = [], start
    for c in counters:
        if c is not None and (c or not last):
            counted.append(c)
            last = c
    held = [c for c in counted if c >= start]
    rising = [some for n in range(len(held), -1, -1) for some in combinations(held, n) if _rises(some)]
    most = len(rising[0])
    assert start + sum(grown for _, grown in found) in {
        some[-1] if some else start for some in rising if len(some) == most
    }
    assert all(grown > 0 and len(places) for places, grown in found)
    assert all(before.stop <= after.start for (before, _), (after, _) in pairwise(found))


def _rises(counts: tuple[int, ...]) -> bool:
    return all(a <= b for a, b in pairwise(counts))
