"""Packets in columns: a large trace has millions of them, and as objects they would take five times the memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

#: What stands in a column for None, and for a number that has no room there.
_NONE, _WIDE = -(1 << 63), 1 - (1 << 63)
_ROOM = range(_WIDE + 1, 1 << 63)


class Packet(NamedTuple):
    """One packet of a file: ``at`` and ``size`` in bytes, ``content`` (of the header's begin on) in bits.

    Times are values of the stream's clock, the counters what the tracer noted when it closed the packet; None where it
    notes no such thing. body: the bit at which the events begin. cut: what follows in it, or behind it in its file,
    can't be read.
    """

    file: Path
    at: int
    size: int
    content: int
    begin: int | None
    end: int | None
    sequence: int | None
    discarded: int | None
    cpu: int
    body: int = 0
    cut: bool = False


class PacketTable:
    """Packets in their order; each is made anew when it is asked for. discarded: their counters of discarded events
    alone."""

    def __init__(self, packets: Iterable[Packet] = ()) -> None:
        self._files: list[Path] = []
        self._file, self._cpu, self._body, self._cut = array("i"), array("i"), array("i"), array("b")
        self._at, self._size, self._content = array("q"), array("q"), array("q")
        self._begin, self._end, self._sequence, self.discarded = (Numbers() for _ in range(4))
        self.extend(packets)

    def append(self, packet: Packet) -> None:
        if not self._files or self._files[-1] != packet.file:
            self._files.append(packet.file)
        self._file.append(len(self._files) - 1)
        self._cpu.append(packet.cpu)
        self._body.append(packet.body)
        self._cut.append(packet.cut)
        self._at.append(packet.at)
        self._size.append(packet.size)
        self._content.append(packet.content)
        self._begin.append(packet.begin)
        self._end.append(packet.end)
        self._sequence.append(packet.sequence)
        self.discarded.append(packet.discarded)

    def extend(self, packets: Iterable[Packet]) -> None:
        for packet in packets:
            self.append(packet)

    def cut_last(self) -> None:
        """What follows the last packet can't be read."""
        self._cut[-1] = True

    def times(self, k: int) -> tuple[int | None, int | None]:
        """Begin and end of packet ``k``."""
        k = range(len(self))[k]
        return self._begin[k], self._end[k]

    def __len__(self) -> int:
        return len(self._at)

    def __getitem__(self, k: int) -> Packet:
        k = range(len(self))[k]
        return Packet(
            self._files[self._file[k]],
            self._at[k],
            self._size[k],
            self._content[k],
            self._begin[k],
            self._end[k],
            self._sequence[k],
            self.discarded[k],
            self._cpu[k],
            self._body[k],
            self._cut[k] != 0,
        )

    def __iter__(self) -> Iterator[Packet]:
        return map(self.__getitem__, range(len(self)))


class Numbers:
    """A column of whole numbers of any size, or None."""

    def __init__(self) -> None:
        self._values, self._wide = array("q"), dict[int, int]()

    def append(self, value: int | None) -> None:
        if value is None:
            self._values.append(_NONE)
        elif value in _ROOM:
            self._values.append(value)
        else:
            self._wide[len(self._values)] = value
            self._values.append(_WIDE)

    def __getitem__(self, k: int) -> int | None:
        value = self._values[k]
        return value if value > _WIDE else None if value == _NONE else self._wide[k]

    def __iter__(self) -> Iterator[int | None]:
        return map(self.__getitem__, range(len(self._values)))

    def __len__(self) -> int:
        return len(self._values)
