"""What inferred system calls are about and what they return.

Axis legend: M surviving and inferred events.
"""

from __future__ import annotations

from collections.abc import Container
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tracemend.mending.descriptors import CLOSES, DISTURBS, LOWEST, NONE, OPENS, RETURNS, UNKNOWN, lowest_free
from tracemend.mending.settling import Known, Settling, codes_of
from tracemend.trace.arguments import KEYS, key_texts, keys
from tracemend.trace.events import ENTER, EXIT, Trace
from tracemend.trace.fields import numbers, taken
from tracemend.trace.syscalls import DESCRIPTORS

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: An argument that is less likely isn't given: it is what an event is about, not what comes of it.
NEARLY = 0.9
#: So many surviving calls say what their arguments are.
MOST_LEARNT = 1 << 18
#: Calls that return a descriptor that they are told, and those that open or close more than one.
TOLD = ("dup2", "dup3")
MANY = (*(call for call, more in DESCRIPTORS.items() if more == 2), "execve", "execveat", "close_range")
#: Calls that return the lowest that is free.
LOWEST_FREE = [call for call, more in DESCRIPTORS.items() if more == 1 and call not in TOLD]


class Told:
    """What the surviving calls of a trace say, read once for all of its fills."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self._keys: dict[tuple[str, int, frozenset[str]], tuple[Ints, Ints, pa.StringArray]] = {}

    def key(self, settling: Settling, key: tuple[str, int], calls: set[str]) -> tuple[Ints, Ints, pa.StringArray]:
        """Rows at which some calls are entered, and the argument that is their key: codes of texts, -1 where it isn't
        told, and the texts."""
        asked = (*key, frozenset(calls))
        if asked not in self._keys:
            rows = np.flatnonzero(((settling.phases == ENTER) & settling.which(*calls))[: settling.first])
            rows = rows[:: len(rows) // MOST_LEARNT + 1]
            coded = key_texts(taken(self.trace, "args", rows), key).dictionary_encode()
            self._keys[asked] = rows, codes_of(coded), coded.dictionary
        return self._keys[asked]

    @cached_property
    def returned(self) -> tuple[Ints, pa.StringArray]:
        """What each event (E,) returned: codes of texts, -1 where it isn't told, and the texts."""
        coded = pa.concat_arrays(self.trace.table["ret"].chunks).dictionary_encode()
        return codes_of(coded), coded.dictionary

    def about(self, column: str) -> bool:
        """Whether any event says something in a column."""
        return bool(self.trace.table[column].null_count < len(self.trace))


def calls(settling: Settling, told: Told) -> None:
    """Say what there is to know of calls."""
    entering = settling.phases == ENTER
    known, texts, which = _arguments(settling, told)
    settling.settle(settling.calls, np.any([*which.values(), np.zeros_like(entering)], axis=0), known)
    for (name, _), own in which.items():
        events = settling.ours(own)
        sure = np.where(known.sure[events] >= NEARLY, known.sure[events], 0)
        settling.say(name, events, known.known[events], sure, texts)
    _returned(settling, told, _closed(settling, known, texts))


def results(settling: Settling, told: Told) -> None:
    """Say what calls return and no more."""
    known, texts, _ = _arguments(settling, told, {KEYS["close"]})
    settling.settle(settling.calls, _closing(settling), known)
    _returned(settling, told, _closed(settling, known, texts))


def _arguments(
    settling: Settling, told: Told, asked: Container[tuple[str, int]] = KEYS.values()
) -> tuple[Known, pa.StringArray, dict[tuple[str, int], Bools]]:
    """What surviving calls say in these keys, as numbers of texts, the texts, and which events have which key."""
    known, texts = settling.nothing(), pa.array([], pa.string())
    which: dict[tuple[str, int], Bools] = {}
    if not told.about("args"):
        return known, texts, which
    there = settling.there | {"close"}  # of which what survived tells what is open
    for key, own in keys(sorted(there)).items():
        if key in asked:
            which[key] = (settling.phases == ENTER) & settling.which(*own)
            rows, codes, more = told.key(settling, key, own)
            known.known[rows] = np.where(codes >= 0, codes + len(texts), -1)
            texts = pa.concat_arrays([texts, more])
    return known, texts, which


def _closing(settling: Settling) -> Bools:
    return np.asarray(settling.which("close") & (settling.phases == ENTER), np.bool_)


def _closed(settling: Settling, known: Known, texts: pa.StringArray) -> Ints:
    """The descriptors that are closed (M,), -1: unknown."""
    closed = settling.nothing().known
    closing = np.flatnonzero(_closing(settling))
    closed[closing] = _descriptors(_taken(texts, known.known[closing]))
    return closed


def _returned(settling: Settling, told: Told, closed: Ints) -> None:
    """Say what calls returned."""
    exits = settling.phases == EXIT
    if not told.about("ret") or not exits[settling.first :].any():
        return
    known = settling.nothing()
    known.known[: settling.first], texts = told.returned
    opening = exits & settling.which(*LOWEST_FREE) & (settling.all.tids >= 0)
    events = settling.ours(exits)
    if settling.ours(opening).size and (closed >= 0).any():
        lowest, more = _lowest(settling, opening, Known(known.known.copy(), known.sure.copy()), texts, closed)
        settling.settle(settling.calls, exits, known)
        better = (lowest.known >= 0) & ((lowest.sure > known.sure) | (known.known < 0))
        known.known[better], known.sure[better] = lowest.known[better], lowest.sure[better]
        texts = pa.concat_arrays([texts, more])
    else:
        settling.settle(settling.calls, exits, known)
    settling.say("ret", events, known.known[events], known.sure[events], texts)


def _lowest(
    settling: Settling, opening: Bools, known: Known, texts: pa.StringArray, closed: Ints
) -> tuple[Known, pa.StringArray]:
    """The descriptors that inferred calls return by what is open then, as numbers of texts and of the returned ones
    that follow these. known: what surviving calls returned.

    Two walks: the first says which surviving calls returned the lowest that was free, and from that is learnt which
    inferred ones do and which fail; by that the second one knows what is open.
    """
    exits = settling.phases == EXIT
    does = np.where(opening, RETURNS, 0)
    does[exits & settling.which(*TOLD)] = OPENS
    does[exits & settling.which(*MANY)] = DISTURBS
    does[_closing(settling)] = CLOSES
    which = np.where(does == CLOSES, np.where(closed >= 0, closed, UNKNOWN), UNKNOWN)
    told = np.flatnonzero(exits & (does > 0) & (known.known >= 0))
    spelt = texts.take(pa.array(known.known[told]))
    which[told] = _descriptors(spelt)
    ours = settling.ours(opening)
    free = lowest_free(settling.calls, does, which, ours)
    known.known[opening & (free >= 0) & (which == free)] = len(texts)
    settling.settle(settling.calls, opening, known)
    code = known.known[ours]
    others = _descriptors(_taken(texts, np.where(code < len(texts), code, -1)))
    which[ours] = np.where(code == len(texts), LOWEST, others)
    free = lowest_free(settling.calls, does, which, ours)
    given, place = np.unique(free, return_inverse=True)
    spell = hex if pc.any(pc.starts_with(spelt, "0x")).as_py() else str
    found = np.where((known.known == len(texts)) & (free >= 0), len(texts) + place, -1)
    return Known(found, known.sure), pa.array([spell(number) for number in given.tolist()])


def _taken(texts: pa.StringArray, codes: Ints) -> pa.StringArray:
    """The texts of these numbers; none of -1."""
    return texts.take(pa.array(codes, mask=codes < 0))


def _descriptors(texts: pa.StringArray) -> Ints:
    """Descriptors out of texts; NONE for other texts, UNKNOWN where there is none."""
    found = numbers(texts)
    return np.where(found >= 0, found, np.where(np.asarray(texts.is_valid()), NONE, UNKNOWN))
