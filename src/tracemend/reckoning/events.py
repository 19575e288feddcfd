"""The events of a piece of a trace, and of one fill of its gaps, as figures are made of them.

Axis legend: E events in order of time, I inferred events.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.mending.mended import INFERRED, rows_of
from tracemend.mending.running import Running
from tracemend.reckoning.lasting import Lasting, lasting
from tracemend.trace.events import EXIT, PHASES, Trace
from tracemend.trace.fields import SWITCH, WAKEUPS, kernel_name, numbers, values
from tracemend.trace.pieces import Piece

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: In place of a thread: nobody knows.
UNKNOWN = -1
IDLE = 0
#: What an exit says of its call; others say nothing.
UNTOLD, FINE, FAILED = -1, 0, 1
#: Results that are errors: -4095 to -1, as a number or as the bits of one.
ERRORS = r"^(?:-(?:[1-9]\d{0,2}|[1-3]\d{3}|40[0-8]\d|409[0-5])|0x(?:f{8})?f{5}[0-9a-f]{3})(?:\s|$)"


@dataclass(frozen=True)
class Events:
    """Events in order of time (E,). code: which of ``names``. result: UNTOLD, FINE or FAILED. who: runs on the event's
    cpu behind it, IDLE for all whose time isn't told. cut: whether lost events are missing in front of it on its cpu.
    inferred: whether it is. lasting: how long a call of each name may last, if that has to be asked.
    """

    time_ns: Ints
    cpu: Ints
    tid: Ints
    names: list[str]
    code: Ints
    phase: NDArray[np.int8]
    result: NDArray[np.int8]
    who: Ints
    cut: Bools
    inferred: Bools
    lasting: list[Lasting]

    def __len__(self) -> int:
        return len(self.time_ns)


class Surviving:
    """The events of a piece that survived, read once for all fills."""

    def __init__(self, piece: Piece) -> None:
        self.piece, trace = piece, piece.trace
        self.result = _results(trace.table["ret"], trace.phase)
        rows, found = values(trace, SWITCH, ("next_pid",))
        self.switched = bool(len(rows))
        self.who = trace.tid.astype(np.int64)
        self.who[rows] = numbers(found["next_pid"])
        self.inside = recorded(trace) if self.switched else None

    @cached_property
    def comms(self) -> dict[int, str]:
        """What each thread was called last."""
        codes, known = self.piece.own.comms
        tid = self.piece.own.tid
        named = np.flatnonzero(codes >= 0)[::-1]
        tids, last = np.unique(tid[named], return_index=True)
        return {t: known[c] for t, c in zip(tids.tolist(), codes[named[last]].tolist(), strict=True)}

    @cached_property
    def processes(self) -> dict[int, int]:
        """Of which process each thread is, as far as that is known."""
        known = self.piece.trace.processes
        return {tid: known[tid] for tid in np.unique(self.piece.trace.tid).tolist() if tid in known}

    @cached_property
    def lasting(self) -> dict[str, Lasting]:
        """How long its calls may have lasted."""
        return lasting(self.piece.trace)

    def events(self, inferred: pa.Table | None = None, still_open: Collection[int] | None = None) -> Events:
        """The piece's own events with the inferred ones (of INFERRED or HYPOTHESES). still_open: the gaps that these
        don't fill; all if not given."""
        trace, begin = self.piece.trace, self.piece.begin
        table = INFERRED.empty_table() if inferred is None else inferred
        own = slice(begin, self.piece.end)
        row = np.arange(begin, self.piece.end).astype(float)
        time_ns = np.concatenate([trace.time_ns[own], table["time_ns"].to_numpy()])
        if table.num_rows:
            order = np.lexsort((np.concatenate([row, rows_of(table, trace.gaps)]), time_ns))
        else:
            order = np.argsort(time_ns, kind="stable")
        codes, names = trace.names
        named = dict(zip(names, range(len(names)), strict=True))
        said, known = coded(table["name"])
        place = np.array([named.setdefault(n, len(named)) for n in known], np.int64)
        phases, spelt = coded(table["phase"])
        phase = np.array([PHASES.index(p) for p in spelt], np.int8)[phases]
        who, result = _of_fields(table, [kernel_name(n) == SWITCH for n in known], said, phase)
        who = np.concatenate([self.who[own], who])
        if self.inside is not None:
            who = np.where((who == UNKNOWN) | np.isin(who, self.inside), who, IDLE)
        cut = np.zeros(len(order), bool)
        behind = (g for g in self.piece.gaps if still_open is None or g.number in still_open)
        cut[[g.after - self.piece.first - begin for g in behind if g.after is not None]] = True
        return Events(
            time_ns[order],
            np.concatenate([trace.cpu[own], table["cpu"].to_numpy()]).astype(np.int64)[order],
            np.concatenate([trace.tid[own], table["tid"].to_numpy()]).astype(np.int64)[order],
            list(named),
            np.concatenate([codes[own], place[said]]).astype(np.int64)[order],
            np.concatenate([trace.phase[own], phase])[order],
            np.concatenate([self.result[own], result])[order],
            who[order],
            cut[order],
            order >= len(row),
            [self.lasting.get(n, Lasting()) for n in named] if table.num_rows else [Lasting()] * len(named),
        )


def recorded(trace: Trace) -> Ints | None:
    """The threads that were recorded where only some processes were, None where all were.

    Of the others such a recording has a switch to or from a recorded thread and no more: never from one of them to
    another one, and nothing that the idle thread does.
    """
    names = [kernel_name(n) for n in trace.names[1]]
    own = np.isin(trace.names[0], [i for i, n in enumerate(names) if n not in (SWITCH, *WAKEUPS)])
    inside = np.unique(trace.tid[own]).astype(np.int64)
    if IDLE in inside or Running(trace).whole:
        return None
    rows, found = values(trace, SWITCH, ("prev_pid", "next_pid"))
    sides = [numbers(found[name]) for name in ("prev_pid", "next_pid")]
    outside = [(side != UNKNOWN) & ~np.isin(side, inside) for side in sides]
    return None if not len(rows) or (outside[0] & outside[1]).any() else inside


def coded(column: pa.ChunkedArray) -> tuple[Ints, list[str]]:
    """Codes into the list of distinct texts, and the list."""
    found = pa.concat_arrays([pa.array([], pa.string()), *column.cast(pa.string()).chunks]).dictionary_encode()
    return found.indices.to_numpy().astype(np.int64), found.dictionary.to_pylist()


def _results(texts: pa.ChunkedArray | pa.Array, phase: NDArray[np.int8]) -> NDArray[np.int8]:
    """What results say (E,) of calls that are left."""
    if texts.null_count == len(texts):
        return np.full(len(phase), UNTOLD, np.int8)
    import pyarrow.compute as pc

    failed = pc.match_substring_regex(texts, ERRORS).cast(pa.int8()).fill_null(UNTOLD).to_numpy()
    return np.where(phase == EXIT, failed, UNTOLD).astype(np.int8)


def _of_fields(
    table: pa.Table, is_switch: list[bool], said: Ints, phase: NDArray[np.int8]
) -> tuple[Ints, NDArray[np.int8]]:
    """Who runs behind each inferred event, and what its result says (I,); said: which name it has."""
    who = table["tid"].to_numpy().astype(np.int64)
    result = np.full(len(who), UNTOLD, np.int8)
    switches, exits = np.flatnonzero(np.array(is_switch, bool)[said]), np.flatnonzero(phase == EXIT)
    if len(switches):
        who[switches] = numbers(_field(table, switches, "next_pid"))
    if len(exits):
        result[exits] = _results(_field(table, exits, "ret"), phase[exits])
    return who, result


def _field(table: pa.Table, rows: Ints, name: str) -> pa.StringArray:
    """What some inferred events say of a field; null where they don't."""
    import pyarrow.compute as pc

    told = table["fields"].take(pa.array(rows)).combine_chunks()
    return pc.struct_field(pc.map_lookup(told, name, "first"), "value")
