"""Which packets of a trace lie around its losses: the windows that can be read without the rest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tracemend.errors import TraceError
from tracemend.formats.ctf.packets import Stream
from tracemend.formats.ctf.stream_events import Events

#: Events that are kept from looking for windows, to be decoded only once.
MOST_HELD = 1 << 19


def select(events: list[Events], context: int) -> list[tuple[int, int]]:
    """Choose the packets that the surroundings of all losses need; returns the spans of time that they cover whole.

    A span reaches from the ``context``-th event before a loss to the one after it, on the stream that lost, or as far
    as that stream has events. What overlaps it is wanted of every stream: a thread may have run on any of them.
    Raises TraceError where packets don't tell their times.
    """
    edges = [_edges(e.stream) for e in events]
    reaches = _Reaches(context)
    spans: list[tuple[int, int]] = []
    for e in events:
        for one in list(e.lost):
            before, after = reaches(e, one.after, -1), reaches(e, one.after + 1, 1)
            low = e.stream.span(0)[0] if before is None else before
            ends = [e.stream.span(one.after)[1], *([] if one.end is None else [e.stream.ns(one.end)])]
            spans.append((low, max(low, *ends) if after is None else after))
    merged: list[tuple[int, int]] = []
    for low, high in sorted(spans):
        if merged and low <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(high, merged[-1][1])
        else:
            merged.append((low, high))
    for e, (begins, latest) in zip(events, edges, strict=True):
        e.wanted = set()
        for low, high in merged:
            e.wanted.update(range(int(np.searchsorted(latest, low)), int(np.searchsorted(begins, high, "right"))))
    return merged


class _Reaches:
    """How far ``context`` events of a stream reach from one of its packets on."""

    def __init__(self, context: int) -> None:
        self.context, self.kept = context, MOST_HELD
        #: the number of events of each packet that was looked at, and its first and last ones' values of the clock
        self.known: dict[tuple[int, int], tuple[int, list[int], list[int]]] = {}

    def __call__(self, events: Events, k: int, step: int) -> int | None:
        """When the last of them was, from packet ``k`` forwards (step 1) or backwards (-1), in ns; None if none is."""
        found, last = 0, None
        while 0 <= k < len(events.stream.packets) and found < self.context:
            count, first_ones, last_ones = self._packet(events, k)
            if count:
                at = min(self.context - found, count)
                last = events.stream.ns(last_ones[-at] if step < 0 else first_ones[at - 1])
            found += count
            k += step
        return last

    def _packet(self, events: Events, k: int) -> tuple[int, list[int], list[int]]:
        key = events.index, k
        if key not in self.known:
            rows = events.ahead(k)
            now = rows.column(0)
            self.known[key] = rows.events, now[: self.context], now[-self.context :]
            if self.kept > 0:
                events.held[k] = rows
                self.kept -= rows.events
        return self.known[key]


def _edges(stream: Stream) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """When the stream's packets begin and end, in ns; both in order, none earlier or later than it can be."""
    if not stream.decoder.timed or any(p.begin is None or p.end is None for p in stream.packets):
        raise TraceError(stream.file, 0, "packets don't tell their times, so it can only be read whole")
    times = np.fromiter((stream.span(k) for k in range(len(stream.packets))), np.dtype((np.int64, 2)))
    return np.minimum.accumulate(times[::-1, 0])[::-1], np.maximum.accumulate(times[:, 1])
