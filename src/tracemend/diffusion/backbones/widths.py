"""The widths that meet in a backbone."""

from __future__ import annotations

from typing import NamedTuple


class Widths(NamedTuple):
    """Channels: of the network itself, of the conditioning beside it, and of the time embedding."""

    inner: int
    cond: int
    time: int

    @staticmethod
    def alike(width: int) -> Widths:
        """All three the same."""
        return Widths(width, width, width)
