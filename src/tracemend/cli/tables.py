"""Tables that fit the width they are printed in: headers break first, then texts; nothing is cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from textwrap import wrap

from tracemend.untrusted import printable

#: Columns that hold text, by their headers, and others that begin like OTHER: they stand on the left, numbers on
#: the right.
TEXT = (
    "",
    "known",
    "where",
    "command",
    "call",
    "side",
    "mender",
    "data",
    "fill",
    "event",
    "details",
    "task",
    "state",
    "recording",
    "recorded by",
    "comes from",
)
OTHER = "other "
#: How much of something there is, drawn in one character: from nothing to all.
BARS = " ▁▂▃▄▅▆▇█"
#: Columns whose cells may go on in the line below, and how many characters of each stand in one line at least.
LEAST = {"command": 12, "call": 12, "task": 11, "event": 16}
#: Behind these a text is broken rather than within a word.
BREAKS = " _-,/:;."


@dataclass(frozen=True)
class Column:
    """A column's header and its cells."""

    name: str
    cells: Sequence[str]

    @cached_property
    def longest(self) -> int:
        """Of its cells."""
        return max(map(length, self.cells), default=0)

    @cached_property
    def word(self) -> int:
        """The longest word of its header."""
        return max(map(length, self.name.split()), default=0)

    @property
    def broken(self) -> int:
        """Its width with a word of the header a line."""
        return max(self.word, self.longest)

    @property
    def left(self) -> bool:
        """Whether its cells stand on the left."""
        return self.name in TEXT or self.name.startswith(OTHER)

    @property
    def least(self) -> int:
        """The width that it needs."""
        return max(self.word, min(self.longest, LEAST.get(self.name, self.longest)))

    def header(self, width: int) -> list[str]:
        """Its lines, in the width."""
        lines = [""]
        for word in self.name.split():
            longer = f"{lines[-1]} {word}".lstrip()
            lines[-1:] = [longer] if length(longer) <= width or not lines[-1] else [lines[-1], word]
        return lines

    def placed(self, cell: str, width: int) -> list[str]:
        """A cell's lines, as wide as the width."""
        lines = folded(cell, width) if self.name in LEAST else [cell]
        blanks = [" " * (width - length(line)) for line in lines]
        return [line + b if self.left else b + line for line, b in zip(lines, blanks, strict=True)]


@dataclass(frozen=True)
class Block:
    """The lines of a table whose columns stand beside each other: those of the header, and the rows, of which one may
    have several lines."""

    header: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)


def blocks(
    columns: Sequence[str], rows: Iterable[Sequence[str]], width: int, keys: int = 1, cut: bool = True
) -> list[Block]:
    """A table; where it doesn't fit the width the columns on the right go into tables below, with the first ``keys``
    columns once more. Rows may end before the last columns do. cut: whether it has to fit; if not, the columns take as
    much as they need."""
    held = [[*map(printable, row), *[""] * (len(columns) - len(row))] for row in rows]
    every = [Column(name, [row[i] for row in held]) for i, name in enumerate(columns)]
    made: list[Block] = []
    first, rest = every[:keys], every[keys:]
    while rest or not made:
        many = len(rest)
        while cut and many > 1 and _sum([c.least for c in (*first, *rest[:many])], 1) > width:
            many -= 1
        made.append(_block([*first, *rest[:many]], len(held), width, cut))
        rest = rest[many:]
    return made


def _sum(widths: Sequence[int], between: int) -> int:
    return sum(widths) + between * (len(widths) - 1)


def _block(columns: Sequence[Column], rows: int, width: int, cut: bool) -> Block:
    between, widths = 2, [max(length(c.name), c.longest) for c in columns]
    if _sum(widths, between) > width:
        widths = [c.broken for c in columns]
    if _sum(widths, between) > width and _sum(widths, 1) <= width:
        between = 1
    if cut:
        for i in reversed(range(len(columns))):  # what stands on the left says which row it is
            widths[i] -= max(0, min(_sum(widths, between) - width, widths[i] - columns[i].least))
    if cut and _sum(widths, between) > width:
        between = 1

    def line(cells: Iterable[str]) -> str:
        placed = [c.placed(cell, w) for c, cell, w in zip(columns, cells, widths, strict=True)]
        lines = [
            [*rows, *[" " * w] * (max(map(len, placed)) - len(rows))] for rows, w in zip(placed, widths, strict=True)
        ]
        return "\n".join((" " * between).join(parts).rstrip() for parts in zip(*lines, strict=True))

    headers = [c.header(w) for c, w in zip(columns, widths, strict=True)]
    height = max(map(len, headers))
    above = zip(*([""] * (height - len(lines)) + lines for lines in headers), strict=True)
    return Block([line(cells) for cells in above], [line(c.cells[i] for c in columns) for i in range(rows)])


def entries(rows: Iterable[tuple[str, str]], width: int | None) -> Iterator[str]:
    """Names, and beside each what is said of it; where there is a width in lines below each other."""
    held = [(printable(name), printable(said)) for name, said in rows]
    margin = max((length(name) for name, _ in held), default=0) + 2
    for name, said in held:
        room = None if width is None else max(width - margin, 20)
        first, *rest = (
            [said] if room is None else wrap(said, room, break_long_words=False, break_on_hyphens=False) or [""]
        )
        yield f"{name}{' ' * (margin - length(name))}{first}".rstrip()
        yield from (" " * margin + line for line in rest)


def folded(text: str, width: int) -> list[str]:
    """A text in lines of the width, broken between words where they aren't too long for that."""
    lines, begin = [], 0
    while len(text) - begin > width or length(text[begin:]) > width:
        end = begin + max(1, width)
        while end > begin + 1 and length(text[begin:end]) > width:
            end -= 1
        behind = max(text.rfind(c, (begin + end) // 2, end) for c in BREAKS) + 1 or end
        lines.append(text[begin:behind].rstrip())
        begin = behind + (text[behind : behind + 1] == " ")
    return [*lines, text[begin:]]


def length(text: str) -> int:
    """Columns of a terminal that a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)
