"""What the end of a file tells: that it breaks off, or that another trace lies behind the first."""

from __future__ import annotations

import mmap
from typing import IO

from tracemend.trace.evidence import Doubt

BREAKS_OFF = Doubt(
    "the file breaks off within its last piece, so that what came after that is missing",
    "Copy the whole file, or stop the tracer so that it writes all of it.",
)
WITHIN_A_LINE = Doubt(
    "the file breaks off within its last line, so that what came after that is missing",
    BREAKS_OFF.remedy,
)


def another(file: IO[bytes], beginning: int) -> Doubt | None:
    """A doubt where a second trace, which no reader reads, lies behind the first, as ``cat a b`` makes it: the first
    ``beginning`` bytes of the file, which are one of a kind, stand in it once more."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        at = whole.find(whole[:beginning], 1)
    if at < 0:
        return None
    return Doubt(f"another trace, which was not read, lies behind it from byte {at:,} on", "Scan the two apart.")
