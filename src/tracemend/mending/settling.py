"""How fields of inferred events are found: from what the same field is in the same surroundings, or what rules say.

Axis legend: M surviving and inferred events, I inferred ones, V ids of events.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.mending.mended import FIELDS
from tracemend.mending.shares import likeliest
from tracemend.mending.together import Line, Together
from tracemend.trace.events import EXIT, Trace
from tracemend.trace.fields import numbers, values

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

#: A value that is less likely isn't given.
LEAST = 0.5


@dataclass
class Known:
    """A field of all events as a number (M,), -1 where nothing is known, and how sure it is: 1 of what survived."""

    known: Ints
    sure: Floats

    def at(self, events: Ints) -> Known:
        """What others of the events have there; -1: no event."""
        there = events >= 0
        return Known(np.where(there, self.known[events], -1), np.where(there, self.sure[events], 0))


@dataclass
class Said:
    """The fields that were found, one behind the other: whose (of the inferred events), which, what, how sure."""

    events: list[Ints] = field(default_factory=list)
    names: list[pa.Array] = field(default_factory=list)
    texts: list[pa.Array] = field(default_factory=list)
    sure: list[Floats] = field(default_factory=list)

    def add(self, name: str, events: Ints, texts: pa.Array, sure: Floats, least: float = LEAST) -> None:
        """Say a field of some events; nothing where the text is null or less likely than that."""
        kept = np.asarray(texts.is_valid()) & (sure >= least)
        self.events.append(events[kept])
        self.names.append(pa.repeat(name, int(kept.sum())))
        self.texts.append(texts.filter(pa.array(kept)))
        self.sure.append(sure[kept])

    def column(self, confidence: NDArray[np.float32]) -> pa.MapArray:
        """The column ``fields`` of events that are as sure (I,)."""
        events = np.concatenate([np.empty(0, np.int64), *self.events])
        order = np.argsort(events, kind="stable")
        starts = np.append(0, np.cumsum(np.bincount(events, minlength=len(confidence))))
        none = pa.array([], pa.string())
        names, texts = (pa.concat_arrays([none, *a]).take(pa.array(order)) for a in (self.names, self.texts))
        sure = np.concatenate([np.empty(0), *self.sure])[order] * np.clip(confidence, 0, 1)[events[order]]
        items = [texts, pa.array(sure, pa.float32())]
        items = pa.StructArray.from_arrays(items, fields=list(FIELDS.item_type))
        return pa.MapArray.from_arrays(pa.array(starts, pa.int32()), names, items, FIELDS)


class Settling:
    """The fields of inferred events on their way. kinds (V,): what the kernel calls each id; phases (V,): its phase."""

    def __init__(self, trace: Trace, together: Together, kinds: NDArray[np.str_], phases: NDArray[np.int8]) -> None:
        self.trace, self.all, self.kinds, self.phases = trace, together, kinds, phases[together.ids]
        self.first = together.survived
        self.there = set(kinds[np.unique(together.ids[self.first :])].tolist())
        self.said = Said()

    @cached_property
    def cpus(self) -> Line:
        return self.all.line(self.all.cpus)

    @cached_property
    def threads(self) -> Line:
        return self.all.line(self.all.tids)

    @cached_property
    def calls(self) -> Line:
        return self.all.line(self.all.tids, self.phases <= EXIT)

    def which(self, *events: str) -> Bools:
        """Which of all events are of these kinds (M,)."""
        return np.asarray(np.isin(self.kinds, events)[self.all.ids], np.bool_)

    def inferred(self, event: str) -> Ints:
        """The inferred events of a kind."""
        return self.ours(self.which(event))

    def ours(self, which: Bools) -> Ints:
        """The inferred ones of some events (M,)."""
        return np.flatnonzero(which[self.first :]) + self.first

    def nothing(self) -> Known:
        """A field of which nothing is known yet."""
        return Known(np.full(len(self.all.ids), -1, np.int64), np.ones(len(self.all.ids)))

    def numbers(self, name: str, *events: str) -> Known:
        """A field that is a number, of these kinds of surviving events."""
        found = self.nothing()
        for event in events:
            rows, told = values(self.trace, event, (name,))
            found.known[rows] = numbers(told[name])
        return found

    def texts(self, name: str, *events: str) -> tuple[Known, pa.StringArray]:
        """A field that is a text, as numbers of the texts that there are."""
        found = self.nothing()
        rows, told = zip(*(values(self.trace, event, (name,)) for event in events), strict=True)
        coded = pa.concat_arrays([t[name] for t in told]).dictionary_encode()
        found.known[np.concatenate(rows)] = codes_of(coded)
        return found, coded.dictionary

    def settle(self, line: Line, which: Bools, field: Known, *rules: Known) -> Ints:
        """Find a field of the inferred ones of some events, as far as it isn't known; returns these. rules: what else
        it may be; they count as far as they are right elsewhere."""
        events, known = np.flatnonzero(which), field.known
        inferred = events[events >= self.first]
        learnt, asked = events[(events < self.first) & (known[events] >= 0)], inferred[known[inferred] < 0]
        value, p = likeliest(line.surroundings(learnt), known[learnt], line.surroundings(asked))
        for rule in rules:
            tried = learnt[rule.known[learnt] >= 0]
            right = np.sum(rule.known[tried] == known[tried]) / (len(tried) + 1) * rule.sure[asked]
            better = (rule.known[asked] >= 0) & (right > p)
            value, p = np.where(better, rule.known[asked], value), np.where(better, right, p)
        known[asked] = np.where(p >= LEAST, value, -1)
        field.sure[asked] = p
        return inferred

    def say(self, name: str, events: Ints, numbers: Ints, sure: Floats, texts: pa.Array | None = None) -> None:
        """Say a field of inferred events: numbers, or what these are the numbers of; -1: nobody knows."""
        given = pa.array(np.maximum(numbers, 0), mask=numbers < 0)
        self.said.add(name, events - self.first, given.cast(pa.string()) if texts is None else texts.take(given), sure)

    def decided(self, name: str, events: Ints, numbers: Ints, sure: Floats) -> None:
        """Say numbers that the search decided on, however likely they are; -1: it didn't."""
        given = pa.array(np.maximum(numbers, 0), mask=numbers < 0)
        self.said.add(name, events - self.first, given.cast(pa.string()), sure, least=0.0)


def codes_of(coded: pa.DictionaryArray) -> Ints:
    """The codes of texts; -1 where there is none."""
    return np.asarray(coded.indices.fill_null(-1).to_numpy(), np.int64)
