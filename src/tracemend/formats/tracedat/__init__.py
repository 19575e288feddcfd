"""trace-cmd's ``trace.dat``, versions 6 and 7, read without trace-cmd.

``file`` finds everything in the file, ``printing`` makes text of records as trace-cmd does, ``reader`` makes the trace.
"""

from __future__ import annotations

from tracemend.formats.base import Format
from tracemend.formats.tracedat.file import MAGIC
from tracemend.formats.tracedat.reader import read


def recognise(head: bytes) -> bool:
    """Whether the file starts with the magic number."""
    return head.startswith(MAGIC)


FORMAT = Format("trace.dat", "trace-cmd's trace.dat (versions 6 and 7)", recognise, read)
