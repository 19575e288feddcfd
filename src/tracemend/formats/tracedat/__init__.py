"""trace-cmd's ``trace.dat``, versions 6 and 7, read without trace-cmd.

``file`` finds everything in the file: ``cursor`` reads its numbers and strings, ``event_formats`` and ``options`` what
both versions have, ``version6`` and ``version7`` what each has of its own; ``described`` holds what was found.
``sub_buffers`` gives the records' bytes, ``compression`` unpacks them.

``printing`` makes text of records as trace-cmd does: ``print_fmt`` parses their formats, ``expressions`` evaluates
them, ``plugins`` has what trace-cmd spells its own way. ``reader`` makes the trace.
"""

from __future__ import annotations

from tracemend.formats.base import Format
from tracemend.formats.tracedat.file import MAGIC
from tracemend.formats.tracedat.reader import read


def recognise(head: bytes) -> bool:
    """Whether the file starts with the magic number."""
    return head.startswith(MAGIC)


FORMAT = Format("trace.dat", "trace-cmd's trace.dat (versions 6 and 7)", recognise, read)
