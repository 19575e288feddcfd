"""Addresses as the kernel's own text has them: names of functions, from ``/proc/kallsyms``."""

from __future__ import annotations

import bisect
from functools import cached_property
from pathlib import Path

from tracemend.formats.tracedat.expressions import UnprintableError

KALLSYMS = Path("/proc/kallsyms")


class Symbols:
    """The running kernel's symbols, read when the first one is asked for."""

    @cached_property
    def _names(self) -> dict[int, str]:
        """By address, of several at one the first; what one without privilege sees has none."""
        return {address: name for address, name in reversed(self._all) if address}

    @cached_property
    def _all(self) -> list[tuple[int, str]]:
        try:
            lines = KALLSYMS.read_text(errors="replace").splitlines()
        except OSError:
            return []
        return [(int(address, 16), name) for address, _, name in (line.split(maxsplit=3)[:3] for line in lines)]

    @cached_property
    def _text(self) -> list[int]:
        """The addresses of the kernel's own functions, in order."""
        edges = [address for address, name in self._all if name in ("_stext", "_etext")]
        return sorted(a for a in self._names if edges and min(edges) <= a <= max(edges))

    def pointer(self, address: int, letters: str) -> str:
        """What the kernel prints for ``%p`` and for ``%ps``; a Pointer."""
        if letters not in ("", "s"):
            raise UnprintableError
        if not letters:
            return f"{address:016x}"
        if address not in self._names and self._text and self._text[0] <= address <= self._text[-1]:
            address = self._text[bisect.bisect_right(self._text, address) - 1]
        return self._names.get(address) or f"0x{address:x}"
