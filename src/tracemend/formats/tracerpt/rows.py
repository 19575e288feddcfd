"""The events that tracerpt tells, and what it tells of the log's losses."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from tracemend.formats.base import Builder
from tracemend.formats.columns import Sorted
from tracemend.formats.etl.header import CIRCULAR, IN_MEMORY
from tracemend.formats.etl.losses import STOP
from tracemend.formats.etl.names import LOST, TYPES
from tracemend.trace.events import Trace
from tracemend.trace.evidence import Doubt, Unplaced

BATCH = 1 << 16
#: The classes of events that tell of the log, and their GUIDs, which stand there where nothing describes them.
LOG_CLASS = ("eventtrace", "68fdd900-4a3e-11d1-84f4-0000f80464e3")
LOST_CLASS = (LOST.lower(), "6a399ae0-4bc6-4de9-870b-3657f8947e7e")
PLAIN = re.compile(r"(?:0[xX][0-9a-fA-F]{1,16}|\d{1,20})", re.ASCII)
CUT = Doubt("the file breaks off", "Run tracerpt again and copy the whole file.")


@dataclass(frozen=True, slots=True)
class Event:
    """One event as it is told."""

    time_ns: int
    cpu: int
    thread: int
    process: int
    name: str
    args: str
    line: int


@dataclass
class Rows:
    """The events so far, and what the file tells of the log."""

    builder: Builder
    time: Any = field(default_factory=lambda: array("q"))
    cpu: Any = field(default_factory=lambda: array("i"))
    thread: Any = field(default_factory=lambda: array("i"))
    process: Any = field(default_factory=lambda: array("i"))
    name: Any = field(default_factory=lambda: array("i"))
    line: Any = field(default_factory=lambda: array("q"))
    args: list[str | None] = field(default_factory=list)
    packed: list[pa.Array] = field(default_factory=list)
    logs: list[dict[str, int | None]] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)

    def add(self, event: Event) -> None:
        self.time.append(event.time_ns)
        self.cpu.append(event.cpu)
        self.thread.append(event.thread)
        self.process.append(event.process)
        self.name.append(self.builder.names(event.name))
        self.line.append(event.line)
        self.args.append(event.args or None)
        if len(self.args) >= BATCH:
            self._pack()

    def _pack(self) -> None:
        self.packed.append(pa.array(self.args, pa.large_string()))
        self.args = []

    def finish(self) -> Trace:
        """The trace: events in order of time, at equal times in that of the file."""
        self._pack()
        time = np.array(self.time, np.int64)
        cpu, thread, name = (np.array(c, np.int32) for c in (self.cpu, self.thread, self.name))
        line, args = np.array(self.line, np.int64), pa.concat_arrays(self.packed)
        order = np.argsort(time, kind="stable")
        events = Sorted(order, time[order], cpu[order], thread[order], name[order], args, line=line[order])
        self.builder.add_sorted(events)
        self.builder.belong(thread[order], np.array(self.process, np.int32)[order])
        self._losses()
        return self.builder.finish()

    def _losses(self) -> None:
        unplaced, doubts = self.builder.unplaced, self.builder.doubts
        for said, number in self.lost.items():
            unit = "buffers" if said == "RTLostBuffer" else "events"
            unplaced.append(Unplaced(f"{number:,} records say {said}", None, unit))
        if not self.logs:
            doubts.append(
                Doubt(
                    "the row that counts the log's losses (EventTrace, Header) isn't in it",
                    "Let tracerpt write all events of the .etl file, or scan that file itself.",
                )
            )
        for log in self.logs:
            for key, unit in (("EventsLost", "events"), ("BuffersLost", "buffers")):
                count = log.get(key)
                if count is None:
                    doubts.append(Doubt(f"it doesn't say how many {unit} the log lost", "Scan the .etl file itself."))
                elif count:
                    unplaced.append(Unplaced(f"the log's header says that {count:,} {unit} were lost", count, unit))
            if log.get("EndTime") == 0:
                doubts.append(
                    Doubt(
                        "the log was never closed, so that its counters of losses were not written",
                        STOP,
                    )
                )
            if (log.get("LogFileMode") or 0) & (CIRCULAR | IN_MEMORY):
                doubts.append(
                    Doubt("the log overwrites its oldest buffers, which tracerpt doesn't tell", "Scan the .etl file.")
                )

    def tell_lost(self, type: str) -> None:
        """Count a record that a session read in real time got instead of events."""
        self.lost[TYPES[LOST].get(small(type), type)] += 1


def number(text: str) -> int | None:
    """A decimal or hexadecimal number, None for anything else."""
    text = text.strip().strip('"')
    return int(text, 0 if text[:2] == "0x" else 10) if PLAIN.fullmatch(text) else None


def small(text: str) -> int:
    """A thread or a cpu; -1 for none."""
    value = number(text)
    return value if value is not None and value < 1 << 31 else -1


def is_of(provider: str, names: tuple[str, str]) -> bool:
    """Whether a provider, by its name or its GUID, is that one."""
    return provider.lower().strip("{}") in names
