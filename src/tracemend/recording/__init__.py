"""Recorders of complete traces, and of lossy ones whose complete one is recorded beside them.

``ftrace`` and ``perf`` record, ``pages`` reads the kernel's sub-buffers, ``pairs`` finds what each gap lost.
"""

from __future__ import annotations

from tracemend.recording.ftrace import Recorded, SmallBuffer, record, record_pair
from tracemend.recording.pairs import Pair, align
from tracemend.recording.tracefs import EVENTS, RecordError, Wanted, available

__all__ = [
    "EVENTS",
    "Pair",
    "RecordError",
    "Recorded",
    "SmallBuffer",
    "Wanted",
    "align",
    "available",
    "record",
    "record_pair",
]
