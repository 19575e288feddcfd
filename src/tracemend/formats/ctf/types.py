"""CTF's types (CTF 1.8, chapters 4 and 5) as the metadata declares them. Sizes and alignments are in bits.

What a type costs is worked out when it is made, and kept: metadata of a few lines can describe types of billions of
fields, and nothing here walks over them twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field

#: Types nest no deeper; of arrays, sequences and variants (blocks of the generated code) no deeper than the second.
MOST_NESTED, MOST_BLOCKS = 32, 12
#: No type has more fields than this, with those of its fields counted in.
MOST_FIELDS = 10_000
#: An enumeration has no more labels that stand for a range (every value is compared with them).
MOST_RANGES = 4096
#: No fixed size is larger than this many bits (a tebibyte), no integer larger than the second.
MOST_BITS, MOST_INTEGER = 1 << 43, 1 << 16
#: A larger integer is shown in hexadecimal: Python makes no decimal number of it.
MOST_DECIMAL = 1 << 12


class Refused(Exception):  # noqa: N818 - not an error until the metadata's reader knows the line
    """A type that can't be, or that nobody should have to read."""


class Place:
    """Where a structure stands in the metadata. A path that begins with it is looked for in the structure of that place
    that is being read, whatever else has the same names."""


#: Names one within the other that lead to a field.
FieldPath = tuple[str | Place, ...]


@dataclass(eq=False, slots=True)
class Type:
    """``align``: where it may start. ``least``: its smallest size. ``depth``, ``blocks``, ``fields``: how it nests."""

    align: int = field(default=1, init=False)
    least: int = field(default=0, init=False)
    depth: int = field(default=1, init=False)
    blocks: int = field(default=0, init=False)
    fields: int = field(default=1, init=False)
    #: The bit within a byte at which it ends, for each at which its place may begin; None where that varies.
    ends: tuple[int | None, ...] = field(default=(), init=False)

    def _hold(self, inner: list[Type], blocks: int = 0) -> None:
        """Take what ``inner`` costs; raises Refused where it is too much."""
        self.depth = 1 + max((t.depth for t in inner), default=0)
        self.blocks = blocks + max((t.blocks for t in inner), default=0)
        self.fields = 1 + sum(t.fields for t in inner)
        if self.depth > MOST_NESTED:
            raise Refused(f"types nested more than {MOST_NESTED} deep")
        if self.blocks > MOST_BLOCKS:
            raise Refused(f"arrays, sequences and variants nested more than {MOST_BLOCKS} deep")
        if self.fields > MOST_FIELDS:
            raise Refused(f"a type of more than {MOST_FIELDS:,} fields")
        if self.least > MOST_BITS:
            raise Refused("a type larger than a tebibyte")


def _up(at: int, align: int) -> int:
    return -(-at // align) * align


def _ends_of_fixed(align: int, size: int) -> tuple[int | None, ...]:
    return tuple((_up(at, min(align, 8)) + size) % 8 for at in range(8))


def _check_align(align: int) -> int:
    if align < 1 or align & (align - 1) or align > 1 << 16:
        raise Refused(f"an alignment of {align} bits")
    return align


@dataclass(eq=False, slots=True)
class Integer(Type):
    """``text``: it has an encoding (``codec``), so that an array of it is text. ``clock``: whose value it is."""

    size: int
    signed: bool
    little: bool
    base: int = 10
    text: bool = False
    clock: str | None = None
    alignment: int = 0
    codec: str = "utf-8"

    def __post_init__(self) -> None:
        if not 1 <= self.size <= MOST_INTEGER:
            raise Refused(f"an integer of {self.size} bits")
        if self.size > MOST_DECIMAL and self.base == 10:
            self.base = 16
        self.align = _check_align(self.alignment or (8 if self.size % 8 == 0 else 1))
        self.least = self.size
        self.ends = _ends_of_fixed(self.align, self.size)

    @property
    def is_character(self) -> bool:
        return self.text and self.size == 8 and self.align % 8 == 0


@dataclass(eq=False, slots=True)
class Varint(Type):
    """An integer of as many bytes as it takes, 7 bits in each (LEB128)."""

    signed: bool
    base: int = 10
    clock: str | None = None

    def __post_init__(self) -> None:
        self.align = self.least = 8
        self.ends = _ends_of_fixed(8, 8)


@dataclass(eq=False, slots=True)
class Float(Type):
    """IEEE 754 of 16, 32 or 64 bits."""

    size: int
    little: bool
    alignment: int = 0

    def __post_init__(self) -> None:
        if self.size not in (16, 32, 64):
            raise Refused(f"a floating-point number of {self.size} bits")
        self.align = _check_align(self.alignment or 8)
        self.least = self.size
        self.ends = _ends_of_fixed(self.align, self.size)


@dataclass(eq=False, slots=True)
class String(Type):
    """Text up to a zero: ``unit`` bytes in a row of an encoding whose characters take so many, or some of them."""

    codec: str = "utf-8"
    unit: int = 1

    def __post_init__(self) -> None:
        self.align, self.least = 8, 8 * self.unit
        self.ends = _ends_of_fixed(8, 8)


@dataclass(eq=False, slots=True)
class Enumeration(Type):
    """An integer whose values have labels: (label, lowest, highest)."""

    container: Integer | Varint
    labels: tuple[tuple[str, int, int], ...]
    single: dict[int, str] = field(default_factory=dict, init=False)
    ranges: list[tuple[str, int, int]] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self.align, self.least = self.container.align, self.container.least
        self.ends = self.container.ends

        self.single = {low: name for name, low, high in reversed(self.labels) if low == high}
        self.ranges = [label for label in self.labels if label[1] != label[2]]
        if len(self.ranges) > MOST_RANGES:
            raise Refused(f"an enumeration of more than {MOST_RANGES:,} ranges")

    def label(self, value: int) -> str | None:
        """The first label of this value, or else of a range around it."""
        if value in self.single:
            return self.single[value]
        return next((name for name, low, high in self.ranges if low <= value <= high), None)


@dataclass(eq=False, slots=True)
class Structure(Type):
    """Fields one behind the other."""

    members: tuple[tuple[str, Type], ...]
    alignment: int = 1
    place: Place | None = None

    def __post_init__(self) -> None:
        self.align = max([_check_align(self.alignment), *(t.align for _, t in self.members)])
        self.least = sum(t.least for _, t in self.members)
        self._hold([t for _, t in self.members])
        ends: list[int | None] = [_up(at, min(self.align, 8)) % 8 for at in range(8)]
        for _, t in self.members:
            ends = [None if at is None else t.ends[at] for at in ends]
        self.ends = tuple(ends)


@dataclass(eq=False, slots=True)
class Variant(Type):
    """One of several types, chosen by the label that the enumeration at ``tag`` shows.

    ranges: where the number itself chooses, those of each option, lowest and highest. optional: it may be none of them,
    and then there is nothing. keys: lengths and tags in whatever is chosen, by their names there, "" for itself.
    """

    tag: FieldPath
    options: tuple[tuple[str, Type], ...]
    ranges: tuple[tuple[tuple[int, int], ...], ...] = ()
    optional: bool = False
    keys: set[str] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self.least = 0 if self.optional else min((t.least for _, t in self.options), default=0)
        self._hold([t for _, t in self.options], blocks=1)
        either = [{t.ends[at] for _, t in self.options} | ({at} if self.optional else set()) for at in range(8)]
        self.ends = tuple(next(iter(e)) if len(e) == 1 else None for e in either)


@dataclass(eq=False, slots=True)
class Array(Type):
    """``length`` elements; a path of names where the length is another field's value (a sequence)."""

    element: Type
    length: int | FieldPath
    alignment: int = 1

    def __post_init__(self) -> None:
        self.align = max(self.element.align, _check_align(self.alignment))
        self.least = self.length * self.element.least if isinstance(self.length, int) else 0
        self._hold([self.element], blocks=1)
        self.ends = tuple(self._end(_up(at, min(self.align, 8)) % 8) for at in range(8))

    def _end(self, at: int) -> int | None:
        """Where the last element ends if the first one's place begins at ``at``."""
        if self.element.ends[at] == at or self.length == 0:
            return at
        if not isinstance(self.length, int) or self.length > 64:
            return None
        here: int | None = at
        for _ in range(self.length):
            here = None if here is None else self.element.ends[here]
        return here

    @property
    def is_text(self) -> bool:
        return isinstance(self.element, Integer) and self.element.is_character

    @property
    def codec(self) -> str:
        return self.element.codec if isinstance(self.element, Integer) else "utf-8"
