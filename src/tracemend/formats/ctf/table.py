"""The program that ``kernel`` reads a stream class's events by: it grows by the event classes that occur."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracemend.formats.ctf import operations
from tracemend.formats.ctf.decode import Decoder, integer, whose
from tracemend.formats.ctf.kernel import half
from tracemend.formats.ctf.metadata import EventClass
from tracemend.formats.ctf.names import (
    EVENT_CONTEXT,
    EVENT_FIELDS,
    EVENT_HEADER,
    STREAM_CONTEXT,
    Names,
    shown_name,
)
from tracemend.formats.ctf.program import HeaderWriter, Shown, Writer, encoded
from tracemend.formats.ctf.types import (
    Enumeration,
    Refused,
)

#: Registers of one event, operations and literal text of a program: what takes more is left to ``decode``.
MOST_REGISTERS, MOST_OPERATIONS, MOST_LITERALS = 256, 1 << 20, 1 << 26
#: An enumeration of more ranges (not single values) is left to ``decode``.
MOST_RANGES = 64
#: A variant of more choices is, too.
MOST_CHOICES = 64
#: Classes with larger numbers are left to ``decode``, and those of further tables of calls.
MOST_CLASSES, MOST_TABLES = 1 << 16, 16
LOWEST, HIGHEST = -(1 << 63), (1 << 63) - 1


class Table:
    """The program of one stream class, and what its parts have in common; it grows by the classes that occur."""

    def __init__(self, decoder: Decoder) -> None:
        """Raises Refused where the kernel can't read the events' header."""
        self.decoder = decoder
        self.size = self.kept = self.count = self.known = 0
        self.plain = self.odd = 0  # events that the kernel has read, and that it left to others
        self.text = bytearray()
        self.places: dict[bytes, int] = {}
        self.label_cases: dict[int, tuple[int, int]] = {}
        self.calls: list[Mapping[int, int]] = []
        numbers = max(decoder.stream.events, default=0)
        self.program = operations.Program(
            np.zeros((256, 8), np.int64),
            np.zeros((64, 4), np.int64),
            np.zeros(1024, np.uint8),
            np.full((min(numbers + 1, MOST_CLASSES), 6), operations.NEW, np.int64),
            np.full((0, operations.CALLS), -1, np.int32),
            np.zeros((operations.COMMS, 3), np.int64),
            np.zeros(MOST_REGISTERS, np.int64),
        )
        w = HeaderWriter(self, {k: v for k, v in decoder.outer.items() if k != EVENT_HEADER})
        header = decoder.stream.event_header
        if header is not None:
            w.members(header, Names())
        w.emit(operations.EVENT)
        self._add(w)
        self.program.registers[operations.NUMBER] = next(iter(decoder.stream.events), 0)

    # what parts have in common

    def literal(self, text: bytes) -> int:
        """Where a literal is."""
        if text not in self.places:
            self.places[text] = len(self.text)
            self.text += text
            if len(self.text) > MOST_LITERALS:
                raise Refused("too much text")
        return self.places[text]

    def case(self, rows: list[tuple[int, int, int, int]]) -> tuple[int, int]:
        """Where cases are, from and to."""
        begin, self.count = self.count, self.count + len(rows)
        cases = _grown(self.program.cases, self.count)
        cases[begin : self.count] = np.array(rows, np.int64).reshape(-1, 4)
        self.program = self.program._replace(cases=cases)
        return begin, self.count

    def labels(self, kind: Enumeration) -> tuple[int, int]:
        """Where an enumeration's cases are, apart from each other and in order."""
        if id(kind) not in self.label_cases:
            found = [(value, value, name) for value, name in kind.single.items()]
            singles = sorted(kind.single)
            for name, low, high in kind.ranges:
                found += [(first, last, name) for first, last in _without(low, high, singles)]
            found.sort()
            if any(a[1] >= b[0] for a, b in pairwise(found)):
                raise Refused("labels of the same values")
            rows = []
            for low, high, name in found:
                if high >= LOWEST and low <= HIGHEST:
                    text = encoded(name)
                    rows.append((max(low, LOWEST), min(high, HIGHEST), self.literal(text), len(text)))
            self.label_cases[id(kind)] = self.case(rows)
        return self.label_cases[id(kind)]

    # what grows while reading

    def learn_class(self, number: int) -> None:
        """Write the program of an event class, or leave the class to ``decode``."""
        event = self.decoder.stream.events.get(number)
        row = [operations.SLOW, 0, -1, -1, -1, 0]
        if event is not None:
            try:
                row = self._event(event)
            except Refused:
                row[operations.ENTRY] = operations.SLOW
        self.program.classes[number] = row

    def learn_call(self, number: int, table: int) -> None:
        """Give a number of a call its kind."""
        self.program.kinds[table, number] = self.calls[table][number]

    def learn_comm(self, place: int, raw: NDArray[np.uint8], code: int) -> bool:
        """Give a command its code, if there is still room for one."""
        if self.known >= operations.COMMS // 2:
            return False
        self.known += 1
        size = len(raw)
        self.program.comms[place] = half(raw, 0, size), half(raw, 8, size), code + 1
        return True

    def _event(self, event: EventClass) -> list[int]:
        plan, w = self.decoder.plan(event), Writer(self, self.decoder.outer)
        fields = event.fields.members if event.fields else ()
        rets = [name for name, _ in fields if plan.has_ret and shown_name(name) == "ret"]
        if len(rets) > 1 or any("%" in name for name, _ in fields):
            raise Refused("names that are none")
        back = w.emit(operations.SAVE, to=w.register())
        contexts = {STREAM_CONTEXT: self.decoder.stream.event_context, EVENT_CONTEXT: event.context}
        for root, structure in contexts.items():
            w.root(root, structure)
        w.shown = True
        said = w.root(EVENT_FIELDS, event.fields, Shown(apart="ret" if rets else ""))
        thread, command, taken = whose(w.roots)
        tid, comm = w.held(thread) if thread else -1, w.held(command, 2) if command else -1
        number = integer(w.roots[EVENT_FIELDS], plan.number)
        call = w.held(number) if number else -1
        if any(shown_name(name) not in taken for s in contexts.values() if s for name, _ in s.members):
            end = w.emit(operations.SAVE, to=w.register())  # contexts are in front of the fields, and shown behind
            w.emit(operations.SEEK, w.ops[back][operations.TO])
            for root, structure in contexts.items():
                said |= w.root(root, structure, Shown(taken, before=", " if said else ""))
            w.emit(operations.SEEK, w.ops[end][operations.TO])
        w.emit(operations.END)
        kind = plan.kind if isinstance(plan.kind, int) else self._table(plan.kind)
        return [self._add(w), kind, tid, comm, call, (not said) | 2 * (not rets)]

    def _table(self, kinds: Mapping[int, int]) -> int:
        """Make room for the kinds of numbers of calls; returns what stands for them in a class's row."""
        if len(self.calls) == MOST_TABLES:
            raise Refused("too many classes of numbered calls")
        self.calls.append(kinds)
        rows = np.full((len(self.calls), operations.CALLS), -1, np.int32)
        rows[:-1] = self.program.kinds
        self.program = self.program._replace(kinds=rows)
        return -len(self.calls)

    def _add(self, w: Writer) -> int:
        """Take over the operations that were written; returns where they begin."""
        begin, self.size = self.size, self.size + len(w.ops)
        if self.size > MOST_OPERATIONS:
            raise Refused("too many operations")
        ops = _grown(self.program.ops, self.size)
        ops[begin : self.size] = w.ops
        literals = _grown(self.program.literals, len(self.text))
        literals[self.kept : len(self.text)] = np.frombuffer(self.text, np.uint8, offset=self.kept)
        self.kept = len(self.text)
        self.program = self.program._replace(ops=ops, literals=literals)
        return begin


def _grown(rows: NDArray[Any], count: int) -> NDArray[Any]:
    """The rows with room for so many."""
    if count <= len(rows):
        return rows
    grown = np.zeros((2 * count, *rows.shape[1:]), rows.dtype)
    grown[: len(rows)] = rows
    return grown


def _without(low: int, high: int, taken: list[int]) -> list[tuple[int, int]]:
    """What is left of a range where these values, in order, are taken."""
    found = []
    for value in taken[bisect_left(taken, low) : bisect_right(taken, high)]:
        if value > low:
            found.append((low, value - 1))
        low = value + 1
    return [*found, (low, high)] if low <= high else found
