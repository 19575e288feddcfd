"""What inferred system calls are about and what they return.

Axis legend: M surviving and inferred events.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tracemend.mending.descriptors import CLOSES, DISTURBS, LOWEST, NONE, OPENS, RETURNS, UNKNOWN, lowest_free
from tracemend.mending.settling import Known, Settling, codes_of
from tracemend.trace.arguments import key_texts, keys
from tracemend.trace.events import ENTER, EXIT
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


def calls(settling: Settling) -> None:
    """Say what there is to know of calls."""
    returned(settling, arguments(settling))


def arguments(settling: Settling) -> Ints:
    """Say the arguments that are nearly always the same; returns the descriptors that are closed (M,), -1: unknown."""
    known, texts = settling.nothing(), pa.array([], pa.string())
    table = settling.trace.table
    if table["args"].null_count == len(table):
        return known.known
    entering = settling.phases == ENTER
    asked = settling.there | {"close"}  # of which what survived tells what is open
    which = {key: entering & settling.which(*own) for key, own in keys(sorted(asked)).items()}
    for key, own in which.items():
        rows = np.flatnonzero(own[: settling.first])
        rows = rows[:: len(rows) // MOST_LEARNT + 1]
        coded = key_texts(taken(settling.trace, "args", rows), key).dictionary_encode()
        codes = codes_of(coded)
        known.known[rows] = np.where(codes >= 0, codes + len(texts), -1)
        texts = pa.concat_arrays([texts, coded.dictionary])
    settling.settle(settling.calls, np.any([*which.values(), np.zeros_like(entering)], axis=0), known)
    for (name, _), own in which.items():
        events = settling.ours(own)
        sure = np.where(known.sure[events] >= NEARLY, known.sure[events], 0)
        settling.say(name, events, known.known[events], sure, texts)
    closed = settling.nothing().known
    closing = np.flatnonzero(entering & settling.which("close"))
    closed[closing] = _descriptors(_taken(texts, known.known[closing]))
    return closed


def returned(settling: Settling, closed: Ints) -> None:
    """Say what calls returned."""
    table = settling.trace.table
    exits = settling.phases == EXIT
    if table["ret"].null_count == len(table) or not exits[settling.first :].any():
        return
    coded = pa.concat_arrays(table["ret"].chunks).dictionary_encode()
    known, texts = settling.nothing(), coded.dictionary
    known.known[: settling.first] = codes_of(coded)
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
    does[(settling.phases == ENTER) & settling.which("close")] = CLOSES
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
