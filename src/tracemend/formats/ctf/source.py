"""The Python source of a function that reads: its lines, positions, and values of fixed size.

The source holds no text of the metadata: variables are numbered, and whatever the metadata names (fields, labels) goes
into templates and tables that the source knows by numbers, too. Fields of fixed size in a row are read by one
``struct``; positions are known at generation as far as they can be, and only what follows something of varying size is
worked out while reading.

A position is a base (``at`` in bytes or ``bit`` in bits, from the packet's begin) and bits behind it that are known.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tracemend.formats.ctf.chunks import Chunk, Pending, chunked
from tracemend.formats.ctf.types import Refused

#: Source of more lines than this is refused.
MOST_LINES = 50_000
CODES = {1: "b", 2: "h", 4: "i", 8: "q"}
FLOATING = ("e", "f", "d")


class Source:
    """Collects the source of one function. ``bits``: the base is ``bit``; ``known``: its alignment in bits."""

    def __init__(self, shared: dict[str, Any]) -> None:
        self.constants = shared
        self.lines: list[str] = []
        self.count = self.written = 0
        self.indent = 1
        self.bits, self.off, self.known = False, 0, 8
        self.pending: list[Pending] = []
        self.behind: list[str] = []

    def emit(self, line: str) -> None:
        self.written += 1
        if self.written > MOST_LINES:
            raise Refused("types too large to be read")
        self.lines.append("    " * self.indent + line)

    def variable(self) -> str:
        self.count += 1
        return f"v{self.count}"

    def constant(self, value: object) -> str:
        name = f"C{len(self.constants)}"
        self.constants[name] = value
        return name

    @contextmanager
    def indented(self) -> Iterator[None]:
        self.indent += 1
        yield
        self.indent -= 1

    def function(self, name: str, parameters: str, result: str) -> Callable[..., Any]:
        """Compile what was written; ``result`` is what it returns. Raises Refused where Python's compiler gives up."""
        self.flush()
        source = "\n".join([f"def {name}({parameters}):", *self.lines, f"    return {result}"])
        namespace = self.constants
        try:
            exec(compile(source, f"<{name}>", "exec"), namespace)
        except (SyntaxError, RecursionError, MemoryError) as e:  # a variant of thousands of options, for example
            raise Refused("types too large to be read") from e
        made: Callable[..., Any] = namespace.pop(name)
        return made

    # positions

    def start(self, *, bits: bool, known: int) -> None:
        self.bits, self.off, self.known = bits, 0, known

    def align(self, align: int) -> None:
        if self.known % align == 0 and not (self.bits and align >= 8):
            self.off = -(-self.off // align) * align
            return
        self.flush()
        if align < 8:
            self.emit(f"bit = bit + {self.off + align - 1} & -{align}")
            self.known = align
        else:
            if self.bits:
                self.emit(f"at = bit + {self.off + 7} >> 3")
            elif self.off:
                self.emit(f"at += {self.off + 7 >> 3}")
            if align > 8:
                self.emit(f"at = at + {(align >> 3) - 1} & -{align >> 3}")
            self.bits, self.known = False, align
        self.off = 0

    def settle(self, *, bits: bool | None = None) -> None:
        """Move the base here. ``bits``: to what; None: to bytes if it is known to be a whole number of them."""
        self.flush()
        whole = not self.bits and self.off % 8 == 0
        if bits is None:
            bits = not whole
        known = min(self.known, self.off & -self.off) if self.off else self.known
        if bits and not self.bits:
            self.emit(f"bit = at * 8 + {self.off}" if self.off else "bit = at * 8")
        elif bits and self.off:
            self.emit(f"bit += {self.off}")
        elif not bits and self.bits:
            self.emit(f"at = bit + {self.off + 7} >> 3")
            known = 8
        elif not bits and self.off:
            self.emit(f"at += {self.off + 7 >> 3}")
            known = max(8, known)
        self.bits, self.off, self.known = bits, 0, known

    @property
    def here(self) -> str:
        """The position in bits, as an expression."""
        base = "bit" if self.bits else "at * 8"
        return f"{base} + {self.off}" if self.off else base

    # values of fixed size

    def later(self, size: int, code: str, little: bool, signed: bool = False) -> str:
        """Put off reading a value until others can be read with it; returns its variable."""
        name = self.variable()
        self.pending.append(Pending(self.off, size, code, little, signed, name))
        self.off += size
        return name

    def flush(self) -> None:
        """Read what was put off."""
        pending, self.pending = self.pending, []
        if self.bits:
            for p in pending:
                self.emit(f"{p.name} = read_bits(data, bit + {p.off}, {p.size}, {p.little})")
                self._sign(p)
        elif pending:
            self._unpack(chunked(pending))
        behind, self.behind = self.behind, []
        for line in behind:
            self.emit(line)

    def _unpack(self, chunks: list[Chunk]) -> None:
        order = next((c.little for c in chunks if c.high - c.low > 1 and c.code != "s"), True)
        form, at, foreign = "<" if order else ">", chunks[0].low, []
        for c in chunks:
            size = c.high - c.low
            if c.code == "s" or size not in CODES:
                code, raw = f"{size}s", c.code != "s"
            elif c.little != order and size > 1:
                code, raw = f"{size}s", True
            else:
                code, raw = c.code or CODES[size].upper(), False
            if raw:
                foreign.append(c)
            form += (f"{c.low - at}x" if c.low > at else "") + code
            at = c.high
        names = "".join(f"{c.name}, " for c in chunks)
        unpack = self.constant(struct.Struct(form).unpack_from)
        where = f"at + {chunks[0].low}" if chunks[0].low else "at"
        self.emit(f"{names}= {unpack}(data, {where})")
        for c in foreign:
            if c.code in FLOATING:
                self.emit(f"{c.name}, = {self.constant(struct.Struct('<>'[not c.little] + c.code).unpack)}({c.name})")
            else:
                how = "'little'" if c.little else "'big'"
                self.emit(f"{c.name} = int.from_bytes({c.name}, {how}, signed={c.signed})")
        for c in chunks:
            for p in c.fields:
                shift = p.off - c.low * 8 if p.little else c.high * 8 - p.off - p.size
                self.emit(f"{p.name} = {c.name} >> {shift} & {(1 << p.size) - 1:#x}")
                self._sign(p)

    def _sign(self, p: Pending) -> None:
        if p.code in FLOATING:
            number = self.constant(struct.Struct(f"<{p.code}").unpack)
            self.emit(f"{p.name}, = {number}({p.name}.to_bytes({p.size >> 3}, 'little'))")
        elif p.signed:
            self.emit(f"{p.name} = ({p.name} ^ {1 << (p.size - 1):#x}) - {1 << (p.size - 1):#x}")
