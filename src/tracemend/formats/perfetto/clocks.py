"""Times of other clocks brought to boot time, in which Perfetto has everything.

The kernel's events have boot time already, unless it was asked for another clock: the raw monotonic one is converted by
the trace's snapshots of both, any other by the moments that the bundles bring along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tracemend.formats.perfetto.bundles import Bundle
from tracemend.formats.perfetto.wire import message, number, within
from tracemend.formats.text import Ints

BOOT_TIME, RAW_MONOTONIC = 6, 5  # BuiltinClock
#: FtraceClock: what a bundle's times are of.
BOOT, UNKNOWN, GLOBAL, LOCAL, RAW = range(5)
NAMES = {UNKNOWN: "unknown", GLOBAL: "global", LOCAL: "local", RAW: "mono_raw"}


@dataclass(slots=True)
class Clocks:
    """Moments by the raw monotonic clock and in boot time."""

    raw: list[tuple[int, int]] = field(default_factory=list)

    def add(self, data: bytes) -> None:
        """Take in a ClockSnapshot. Raises WireError."""
        at = {number(c, 1): number(c, 2) for c in within(message(data), 1)}
        if {BOOT_TIME, RAW_MONOTONIC} <= at.keys():
            self.raw.append((at[RAW_MONOTONIC], at[BOOT_TIME]))

    def moments(self, clock: int, bundles: Sequence[Bundle]) -> list[tuple[int, int]]:
        """The same moments by that clock and in boot time; none where that can't be known."""
        if clock == RAW and self.raw:
            return sorted(self.raw)
        return sorted({(b.ticks, b.boot) for b in bundles if b.clock == clock and b.ticks and b.boot})


def to_boot(time: Ints, moments: list[tuple[int, int]]) -> Ints:
    """Times (E,) by a clock in boot time: as far from the latest moment in front of them (or else the first)."""
    clock, boot = (np.array(c, np.uint64).view(np.int64) for c in zip(*moments, strict=True))
    at = np.maximum(np.searchsorted(clock, time, "right") - 1, 0)
    moved: Ints = time + (boot - clock)[at]
    return moved
