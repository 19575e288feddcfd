"""What an event trace log tells of its losses: counters, missing buffers, flags, and why it may not tell all."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from tracemend.formats.base import MOST_LOST, Builder
from tracemend.formats.etl.buffers import BUFFER_LOST, EVENTS_LOST, Buffer
from tracemend.formats.etl.header import CIRCULAR, IN_MEMORY, NEW_FILE, ONE_STREAM, Header
from tracemend.trace.evidence import Doubt, Unplaced

STOP = "Stop the session before its file is copied (logman stop NAME -ets, wpr -stop FILE)."


@dataclass(slots=True)
class Losses:
    """Tells a builder of the losses. ``damaged``: buffers that can't be read at all."""

    builder: Builder
    header: Header
    buffers: list[Buffer]
    damaged: int

    def tell(self) -> list[Buffer]:
        """Tell of all losses without a place, and of doubts. Where there is but one stream: the buffers in front of
        which others are missing."""
        self._counters()
        behind = self._missing()
        self._doubts()
        return behind

    @property
    def one_stream(self) -> bool:
        """Whether all events are of one stream, so that what the session lost was lost there."""
        alone = self.header.processors == 1 or bool(self.header.mode & ONE_STREAM)
        return alone and len({b.cpu for b in self.buffers}) == 1

    def _unplaced(self, said: str, count: int | None, unit: str) -> None:
        self.builder.unplaced.append(Unplaced(said, count, unit))

    def _counters(self) -> None:
        header, flags = self.header, [b.flags for b in self.buffers]
        if header.events_lost:
            self._unplaced(
                f"its header says that {header.events_lost:,} events were lost", header.events_lost, "events"
            )
        elif flagged := sum(f & EVENTS_LOST > 0 for f in flags):
            self._unplaced(f"{flagged:,} of its buffers are marked as following lost events", None, "events")
        if header.buffers_lost:
            self._unplaced(
                f"its header says that {header.buffers_lost:,} buffers were lost", header.buffers_lost, "buffers"
            )
        elif flagged := sum(f & BUFFER_LOST > 0 for f in flags):
            self._unplaced(f"{flagged:,} of its buffers are marked as following lost buffers", None, "buffers")

    def _missing(self) -> list[Buffer]:
        """Buffers missing by their numbers, or by how many were written."""
        behind, missing = [], 0
        for session in sorted({b.session for b in self.buffers}):
            numbered = sorted((b for b in self.buffers if b.session == session), key=lambda b: b.number)
            repeated = Counter(b.number for b in numbered).most_common(1)[0][1] > 1
            if repeated or numbered[0].number < 0:
                self.builder.doubts.append(
                    Doubt(
                        "the numbers of its buffers repeat, so that none shows as missing",
                        "Scan the file that the session wrote, before any tool worked on it.",
                    )
                )
                continue
            # the header's buffer is number 0, and a new file of a session goes on where the last one ended
            if self.header.mode & NEW_FILE:
                numbered = [b for b in numbered if b.number]
            last = numbered[0].number - 1 if numbered and self.header.mode & NEW_FILE else 0
            for buffer in numbered:
                if buffer.number > last + 1:
                    missing += buffer.number - last - 1
                    behind.append(buffer)
                last = buffer.number
        overwritten = bool(self.header.mode & (CIRCULAR | IN_MEMORY))
        placed = self.one_stream and not overwritten
        if self.damaged and not (placed and missing >= self.damaged):
            self._unplaced(f"{self.damaged:,} of its buffers can't be read", self.damaged, "buffers")
        unread = missing - self.damaged
        if unread > 0 and not placed:
            why = "were overwritten by later ones" if overwritten else "are missing by their numbers"
            count = unread if unread < MOST_LOST else None
            self._unplaced(f"{unread:,} of its buffers {why}", count, "buffers")
        absent = self.header.buffers_written - len(self.buffers) - max(missing, self.damaged)
        if absent > 0:
            self._unplaced(f"{absent:,} buffers that were written are not in the file", absent, "buffers")
        return behind if placed else []

    def _doubts(self) -> None:
        doubts = self.builder.doubts
        if not self.header.closed:
            doubts.append(Doubt("the file was never closed, so that its counters of losses were not written", STOP))
        sessions = {b.session for b in self.buffers}
        if len(sessions) > 1:
            doubts.append(
                Doubt(
                    f"it was merged from {len(sessions)} sessions and has the counters of losses of one header",
                    "Scan the sessions' own files, before they are merged.",
                )
            )
