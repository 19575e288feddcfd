"""Made-up ``perf.data`` files: machines, versions and ends that can't be recorded where tests run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

#: IP, TID, TIME, CPU, PERIOD, IDENTIFIER, as perf record -a has them for a counted event.
SAMPLE_TYPE = 1 | 2 | 4 | 1 << 7 | 1 << 8 | 1 << 16
ID_ALL, BACKWARD = 1 << 18, 1 << 27
WITH_ID, WITH_LOST = 4, 16
#: perf's software event cpu-clock.
SOFTWARE, CPU_CLOCK = 1, 0


@dataclass
class Made:
    """A file of one event. records: what lies in the data section. flags, sample_type, read_format: its attribute's."""

    order: str = "<"
    attr_size: int = 128
    flags: int = ID_ALL
    read_format: int = WITH_ID | WITH_LOST
    sample_type: int = SAMPLE_TYPE
    records: list[bytes] = field(default_factory=list)
    unfinished: bool = False
    beyond: bytes = b""

    def number(self, value: int, size: int = 8) -> bytes:
        return value.to_bytes(size, "little" if self.order == "<" else "big")

    def record(self, kind: int, body: bytes, misc: int = 0) -> bytes:
        return self.number(kind, 4) + self.number(misc, 2) + self.number(8 + len(body), 2) + body

    def sample(self, time: int, cpu: int = 0, tid: int = 7) -> bytes:
        words = self.number(5) + self.number(0x1000) + self.number(tid, 4) + self.number(tid, 4)
        words += self.number(time) + self.number(cpu, 4) + self.number(0, 4) + self.number(1)
        return self.record(9, words, 2)

    def end(self, time: int, cpu: int, tid: int = 7) -> bytes:
        """What stands at the end of records that are no samples."""
        words = self.number(tid, 4) + self.number(tid, 4) + self.number(time)
        return words + self.number(cpu, 4) + self.number(0, 4) + self.number(5)

    def lost(self, count: int, time: int, cpu: int = 0, tid: int = 7) -> bytes:
        return self.record(2, self.number(5) + self.number(count) + self.end(time, cpu, tid))

    def lost_samples(self, count: int, misc: int = 0) -> bytes:
        return self.record(13, self.number(count) + self.end(0, 0), misc)

    def aux(self, flags: int, cpu: int = 0) -> bytes:
        return self.record(11, self.number(0) + self.number(8) + self.number(flags) + self.end(9, cpu))

    def comm(self, tid: int, name: bytes, time: int = 0) -> bytes:
        name = name.ljust(len(name) + 8 - len(name) % 8, b"\0")
        return self.record(3, self.number(tid, 4) + self.number(tid, 4) + name + self.end(time, 0, tid))

    def attr(self) -> bytes:
        flags = self.flags if self.order == "<" else int(f"{self.flags:064b}"[::-1], 2)
        words = [CPU_CLOCK, 1, self.sample_type, self.read_format, flags]
        made = self.number(SOFTWARE, 4) + self.number(self.attr_size, 4) + b"".join(map(self.number, words))
        return made.ljust(128, b"\0")[: self.attr_size].ljust(self.attr_size, self.beyond or b"\0")

    def file(self) -> bytes:
        data = b"".join(self.records)
        ids_at = 104
        attrs_at = ids_at + 8
        size = self.attr_size + 16
        head = (b"PERFILE2" if self.order == "<" else b"2ELIFREP") + self.number(104) + self.number(size)
        places: Sequence[int] = (attrs_at, size, attrs_at + size, 0 if self.unfinished else len(data), 0, 0, 0, 0, 0, 0)
        made = head + b"".join(map(self.number, places)) + self.number(5)
        return made + self.attr() + self.number(ids_at) + self.number(8) + data

    def piped(self) -> bytes:
        """The same as if it had been written into a pipe."""
        magic = b"PERFILE2" if self.order == "<" else b"2ELIFREP"
        return magic + self.number(16) + self.record(64, self.attr() + self.number(5)) + b"".join(self.records)


def lossy(**how: object) -> Made:
    """Samples of two cpus, a loss of 30 events on the first, and 12 more that were lost at the end."""
    made = Made(**how)  # type: ignore[arg-type]
    made.records = [
        made.comm(7, b"seven"),
        *(made.sample(1000 + k, cpu=k % 2) for k in range(10)),
        made.lost(30, 1500, cpu=0),
        *(made.sample(2000 + k, cpu=k % 2) for k in range(10)),
        made.lost_samples(42),
    ]
    return made
