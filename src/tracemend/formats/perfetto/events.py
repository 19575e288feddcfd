"""Ftrace events of many bundles at once: each field a column, names and texts by the schema.

Axis legend: E events, F fields of all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tracemend.formats.base import Builder
from tracemend.formats.perfetto.schema import GENERIC, PID, PRINT, SYS_ENTER, SYS_EXIT, TIMESTAMP, Event
from tracemend.formats.perfetto.wire import LENGTH, Fields, fields
from tracemend.formats.text import Bools, Ints, as_strings, spans
from tracemend.trace.events import ENTER, EXIT, INSTANT
from tracemend.trace.syscalls import call_name

#: A thread that isn't recorded (of a compact event), or isn't told.
UNKNOWN = -1
#: How a field's value becomes text.
SKIPPED, SIGNED, UNSIGNED, TEXT, HEX = range(5)
_SORTS = {"i": SIGNED, "u": UNSIGNED, "s": TEXT}
_DIGITS = np.frombuffer(bytes(range(256)).hex().encode(), np.uint8).reshape(256, 2)


@dataclass(frozen=True, slots=True)
class Columns:
    """Events as columns (E,). ``bundle``: which bundle each lay in, by its number.

    ``next``: the thread that a switch brings in, UNKNOWN for other events. ``compact``: its own thread isn't recorded.
    """

    bundle: Ints
    time_ns: Ints
    tid: Ints
    name: Ints
    phase: Ints
    next: Ints
    compact: Bools
    args: pa.Array
    ret: pa.Array


@dataclass(frozen=True, slots=True)
class Told:
    """What threads are called: at ``time_ns`` (of the bundle's clock) thread ``tid`` has the command ``comm``."""

    bundle: Ints
    time_ns: Ints
    tid: Ints
    comm: Ints


@dataclass(slots=True)
class Batch:
    """Events raw[begin:end] (E,), each a message. ``raw`` has a few zero bytes more, as ``fields`` wants it."""

    raw: bytes
    begin: Ints
    end: Ints
    bundle: Ints
    kinds: dict[int, Event]
    builder: Builder
    arch: str

    def decode(self) -> tuple[Columns, list[Told], list[int]]:
        """The events, what they tell of threads, and where those begin that can't be read."""
        data, count = np.frombuffer(self.raw, np.uint8), len(self.begin)
        outer = fields(data, self.begin, self.end)
        time, tid = _last(outer, TIMESTAMP, count, -1), _last(outer, PID, count, 0)
        event = outer.of((outer.wire == LENGTH) & (outer.number != TIMESTAMP) & (outer.number != PID))
        kind, body, stop = (np.zeros(count, np.int64) for _ in range(3))
        kind[event.row], body[event.row], stop[event.row] = event.number, event.value, event.end
        inner = fields(data, body, stop)
        good = ~(outer.broken | inner.broken | (time < 0) | (tid < 0) | (tid >= 1 << 31) | (kind == 0))
        inner = inner.of(good[inner.row])
        name, phase = self._names(kind, inner)
        args = self._args(kind, inner)
        exits = phase == EXIT
        ret = _last(inner.of(kind[inner.row] == SYS_EXIT), 2, count, 0)
        columns = Columns(
            bundle=self.bundle[good],
            time_ns=time[good],
            tid=tid[good],
            name=name[good],
            phase=phase[good],
            next=self._next(kind, inner)[good],
            compact=np.zeros(int(good.sum()), bool),
            args=pc.if_else(pa.array(exits), pa.scalar(None, pa.string()), args).filter(pa.array(good)),
            ret=pa.array(ret, mask=~exits).cast(pa.string()).filter(pa.array(good)),
        )
        told = [Told(self.bundle[r], time[r], t, c) for r, t, c in self._told(kind, inner)]
        return columns, told, self.begin[~good].tolist()

    def _kinds(self, kind: Ints) -> tuple[list[tuple[int, Event]], NDArray[np.intp]]:
        """The kinds of events that there are, and which of them each event is (E,)."""
        known, of = np.unique(kind, return_inverse=True)
        return [(n, self.kinds.get(n) or Event(f"ftrace_event_{n}")) for n in known.tolist()], of

    def _names(self, kind: Ints, inner: Fields) -> tuple[Ints, Ints]:
        """Codes of names and phases (E,): a system call's name is its number's, a generic event's stands in it."""
        known, of = self._kinds(kind)
        calls = (kind == SYS_ENTER) | (kind == SYS_EXIT)
        named = inner.of((kind[inner.row] == GENERIC) & (inner.number == 1) & (inner.wire == LENGTH))
        used = np.bincount(of[~calls], minlength=len(known)) > 0
        codes = [self.builder.names(e.name) if u else -1 for (_, e), u in zip(known, used.tolist(), strict=True)]
        name = np.array(codes, np.int64)[of]
        number, inverse = np.unique(_last(inner, 1, len(kind), -1)[calls], return_inverse=True)
        name[calls] = np.array([self.builder.names(call_name(n, self.arch)) for n in number.tolist()], np.int64)[
            inverse
        ]
        words = self._texts(named).dictionary_encode()
        own = np.array([self.builder.names(w) for w in words.dictionary.to_pylist()], np.int64)
        name[named.row] = own[words.indices.to_numpy()]
        return name, np.where(kind == SYS_ENTER, ENTER, np.where(kind == SYS_EXIT, EXIT, INSTANT))

    def _next(self, kind: Ints, inner: Fields) -> Ints:
        switch = next((n for n, e in self.kinds.items() if e.name == "sched_switch"), 0)
        return _last(inner.of(kind[inner.row] == switch), 6, len(kind), UNKNOWN)

    def _told(self, kind: Ints, inner: Fields) -> list[tuple[Ints, Ints, Ints]]:
        """What threads are called: events (rows), threads, codes of commands."""
        found = []
        for number, event in self._kinds(kind)[0]:
            for tid, comm in event.told:
                own = inner.of(kind[inner.row] == number)
                names = own.of((own.number == comm) & (own.wire == LENGTH))
                words = self._texts(names).dictionary_encode()
                codes = np.array([self.builder.comms(w) for w in words.dictionary.to_pylist()], np.int64)
                threads = _last(own, tid, len(kind), 0)[names.row]
                found.append((names.row, threads, codes[words.indices.to_numpy()]))
        return found

    def _args(self, kind: Ints, inner: Fields) -> pa.Array:
        """The text of each event's fields (E,), as the kernel spells them: ``name=value``."""
        pairs, of = np.unique(kind[inner.row] << 32 | inner.number & 0xFFFFFFFF, return_inverse=True)
        labels, sorts = [], []
        for pair in pairs.tolist():
            number, key = pair >> 32, pair & 0xFFFFFFFF
            label, letter = self.kinds[number].fields.get(key, ("", "")) if number in self.kinds else ("", "")
            if number == SYS_ENTER:
                labels.append("")
                sorts.append(HEX if key == 2 else SKIPPED)
            elif number == PRINT:
                labels.append("")
                sorts.append(TEXT if key == 2 else SKIPPED)
            else:
                labels.append(f"{label}=")
                sorts.append(SKIPPED if number in (SYS_EXIT, GENERIC) else _SORTS.get(letter, SKIPPED))
        sort = np.array(sorts, np.int64)[of] if len(pairs) else np.empty(0, np.int64)
        shown = (sort != SKIPPED) & ((sort == TEXT) == (inner.wire == LENGTH))
        label = pa.array(labels, pa.string()).take(pa.array(of[shown]))
        row, text = inner.row[shown], pc.binary_join_element_wise(label, self._values(inner.of(shown), sort[shown]), "")
        generic = inner.of((kind[inner.row] == GENERIC) & (inner.number == 2) & (inner.wire == LENGTH))
        if len(generic.row):
            row, text = np.concatenate([row, generic.row]), pa.concat_arrays([text, self._generic(generic)])
            order = np.argsort(row, kind="stable")
            row, text = row[order], text.take(pa.array(order))
        offsets = np.searchsorted(row, np.arange(len(kind) + 1))
        joined = pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), text), " ")
        calls, printed = pa.array(kind == SYS_ENTER), pa.array(kind == PRINT)
        joined = pc.if_else(calls, pc.replace_substring(joined, " ", ", "), joined)
        return pc.if_else(printed, pc.utf8_rtrim(joined, "\n"), joined)

    def _generic(self, nested: Fields) -> pa.Array:
        """``name=value`` of the fields that a generic event brings along, name and all."""
        inner = fields(np.frombuffer(self.raw, np.uint8), nested.value, nested.end)
        count = len(nested.row)
        sort = np.select([inner.number == 3, inner.number == 4, inner.number == 5], [TEXT, SIGNED, UNSIGNED], SKIPPED)
        parts = []
        for wanted in (inner.number == 1, sort != SKIPPED):
            chosen = wanted & ((inner.wire == LENGTH) == ((inner.number == 1) | (sort == TEXT)))
            own, sorts = inner.of(chosen), np.where(inner.number == 1, TEXT, sort)[chosen]
            where = np.full(count, -1, np.int64)
            where[own.row] = np.arange(len(own.row))
            parts.append(self._values(own, sorts).take(pa.array(where, mask=where < 0)).fill_null(""))
        return pc.binary_join_element_wise(parts[0], parts[1], "=")

    def _values(self, chosen: Fields, sort: Ints) -> pa.Array:
        """The values of fields as text (F,)."""
        parts, at = [], []
        for kind in (SIGNED, UNSIGNED, TEXT, HEX):
            own = np.flatnonzero(sort == kind)
            value = chosen.value[own]
            if kind == TEXT:
                parts.append(self._texts(chosen.of(sort == TEXT)))
            elif kind == HEX:
                parts.append(_hex(value))
            else:
                parts.append(pa.array(value if kind == SIGNED else value.view(np.uint64)).cast(pa.string()))
            at.append(own)
        place = np.empty(len(sort), np.int64)
        place[np.concatenate(at)] = np.arange(len(sort))
        return pa.concat_arrays(parts).take(pa.array(place))

    def _texts(self, chosen: Fields) -> pa.Array:
        """Fields of text, as text (F,)."""
        return as_strings(spans(self.raw, chosen.value, chosen.end))


def _last(found: Fields, number: int, count: int, default: int) -> Ints:
    """A field of a whole number in each message (E,): the last value, or the default where there is none."""
    column = np.full(count, default, np.int64)
    own = (found.number == number) & (found.wire != LENGTH)
    column[found.row[own]] = found.value[own]
    return column


def _hex(value: Ints) -> pa.Array:
    """64 bits as hexadecimal digits without zeros in front."""
    octets = value.astype(">i8").view(np.uint8).reshape(-1, 8)
    first = np.minimum((octets != 0).argmax(axis=1), 7)
    first[value == 0] = 7
    begin = np.arange(len(value), dtype=np.int64) * 16
    skipped = 2 * first + (octets[np.arange(len(value)), first] < 16)
    return as_strings(spans(_DIGITS[octets].tobytes(), begin + skipped, begin + 16), ascii_only=True)
