"""Reads a ``trace.dat`` number by number and string by string; what the file claims is held against what is there."""

from __future__ import annotations

from typing import IO

from tracemend.formats.text import decode

#: What is larger isn't a description of events (bytes; files of a whole kernel have some 5 MB).
MOST_DESCRIBED = 1 << 26
MOST_STRING = 1 << 12


class DamageError(Exception):
    """What is wrong, and at which byte of the file."""

    def __init__(self, at: int, message: str) -> None:
        super().__init__(message)
        self.at, self.message = at, message


class Cursor:
    """Reads numbers and strings one after the other. ``origin``: the byte of the file that a position stands for, where
    what is read was unpacked; raises DamageError where the file ends too early."""

    def __init__(self, file: IO[bytes], end: int, order: str, at: int = 0, origin: int | None = None) -> None:
        self.file, self.end, self.order, self.at, self.origin = file, end, order, at, origin

    @property
    def place(self) -> int:
        """The byte of the file where it is."""
        return self.at if self.origin is None else self.origin

    def fail(self, message: str) -> DamageError:
        return DamageError(self.place, message)

    def take(self, size: int, what: str) -> bytes:
        if not 0 <= size <= self.end - self.at:
            raise self.fail(f"{what} takes {size} bytes, the file has {max(0, self.end - self.at)} more")
        self.file.seek(self.at)
        data = self.file.read(size)
        if len(data) < size:
            raise self.fail(f"{what} takes {size} bytes, the file has {len(data)} more")
        self.at += size
        return data

    def skip(self, size: int, what: str) -> None:
        if not 0 <= size <= self.end - self.at:
            raise self.fail(f"{what} takes {size} bytes, the file has {max(0, self.end - self.at)} more")
        self.at += size

    def number(self, size: int, what: str) -> int:
        return int.from_bytes(self.take(size, what), "little" if self.order == "<" else "big")

    def described(self, size: int, what: str) -> bytes:
        """``size`` bytes of description."""
        if size > MOST_DESCRIBED:
            raise self.fail(f"{what} of {size} bytes can't be true")
        return self.take(size, what)

    def string(self, what: str) -> str:
        """A string that a zero byte ends."""
        self.file.seek(self.at)
        data = self.file.read(min(MOST_STRING, max(0, self.end - self.at)))
        end = data.find(b"\0")
        if end < 0:
            raise self.fail(f"{what} doesn't end")
        self.at += end + 1
        return decode(data[:end])

    def expect(self, text: bytes, what: str) -> None:
        at = self.place
        if self.take(len(text), what) != text:
            raise DamageError(at, f"{what} isn't here")
