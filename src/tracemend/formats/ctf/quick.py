"""The compiled loop at work: columns that it fills, and what it learns of a trace while reading.

Starting it takes half a second, so only large traces come here.
"""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.formats.ctf import operations
from tracemend.formats.ctf.batches import Batch, Place
from tracemend.formats.ctf.decode import Decoder
from tracemend.formats.ctf.kernel import decode
from tracemend.formats.ctf.packet_table import Packet
from tracemend.formats.ctf.table import Table
from tracemend.formats.ctf.types import Refused

#: Bytes of arguments that the columns have room for.
ARGS = 1 << 22
#: Where more events than this, and more than half of all, are none for the compiled loop, it isn't asked any longer.
MOST_ODD = 1 << 8
STOPS = {operations.DONE: "done", operations.FULL: "full", operations.ODD: "odd"}


class Quick:
    """One set of columns, filled by all streams in turn: each takes what it has before another one's turn comes."""

    def __init__(self, comms: dict[bytes | None, int], rows: int) -> None:
        self.comms = comms
        self.tables: dict[int, Table | None] = {}
        self.state = np.zeros(11, np.int64)
        kind, tid, comm, args_end, ret_end = (np.empty(rows, np.int32) for _ in range(5))
        blank, text = (np.empty(size, np.uint8) for size in (rows, operations.RETS + ARGS))
        self.columns = operations.Columns(np.empty(rows, np.int64), kind, tid, comm, args_end, ret_end, blank, text)
        self._clear()

    @property
    def rows(self) -> int:
        """Events in the columns."""
        return int(self.state[operations.ROWS])

    def table(self, decoder: Decoder, at: Place) -> Table | None:
        """The program of a stream class's events, None where it is of no use from a place on."""
        if not (0 <= at.now < operations.LATEST and 0 <= at.floor < operations.LATEST):
            return None
        if id(decoder) not in self.tables:
            try:
                self.tables[id(decoder)] = Table(decoder)
            except Refused:
                self.tables[id(decoder)] = None
        table = self.tables[id(decoder)]
        return None if table is None or table.odd > max(MOST_ODD, table.plain) else table

    def read(self, table: Table, mapped: mmap.mmap, packet: Packet, at: Place) -> tuple[str, Place]:
        """Read a packet's events from a place on; returns why it stops (done, full or odd), and where."""
        state, before = self.state, self.rows
        state[:3] = at
        state[operations.WHOLE] = table.decoder.whole
        state[operations.STOP] = packet.content + 7 & -8 if table.decoder.whole else packet.content
        data = np.frombuffer(mapped, np.uint8, packet.content + 7 >> 3, packet.at)
        while True:
            why = decode(table.program, data, state, self.columns)
            what, where, length = state[operations.WHAT :].tolist()
            if why == operations.NEW_CLASS:
                table.learn_class(what)
            elif why == operations.NEW_CALL:
                table.learn_call(what, where)
            elif why == operations.NEW_COMM:
                raw = data[where : where + length]
                if not table.learn_comm(what, raw, self.comms[raw.tobytes()]):
                    why = operations.ODD
            if why in STOPS:
                table.plain += self.rows - before
                return STOPS[why], Place(*state[:3].tolist())

    def put(self, table: Table, row: list[Any]) -> bool:
        """Put an event into the columns that ``decode`` has read; whether it fits."""
        now, kind, tid, comm, args, ret = row
        c, state, n = self.columns, self.state, self.rows
        raw, more = (b"" if text is None else text.encode() for text in (args, ret))
        begin, behind = int(state[operations.ARGS]), int(state[operations.RET])
        end, last = begin + len(raw), behind + len(more)
        if n == len(c.now) or end > len(c.text) or last > operations.RETS or not 0 <= now < operations.LATEST:
            return False
        c.text[begin:end], c.text[behind:last] = np.frombuffer(raw, np.uint8), np.frombuffer(more, np.uint8)
        state[operations.ARGS], state[operations.RET], state[operations.ROWS] = end, last, n + 1
        c.now[n], c.kind[n], c.tid[n], c.comm[n] = now, kind, tid if -1 <= tid < 1 << 31 else -1, self.comms[comm]
        c.args_end[n], c.ret_end[n], c.blank[n] = end, last, (args is None) | 2 * (ret is None)
        table.odd += 1
        return True

    def take(self, stream: int) -> Batch:
        """What is in the columns, which are empty then; its times are the clock's."""
        c, n = self.columns, self.rows
        args = _strings(c.args_end[:n] - operations.RETS, c.text[operations.RETS :], c.blank[:n] & 1 > 0)
        ret = _strings(c.ret_end[:n], c.text, c.blank[:n] & 2 > 0)
        self._clear()
        return Batch(c.now[:n].copy(), c.kind[:n].copy(), c.tid[:n].copy(), c.comm[:n].copy(), args, ret, stream)

    def _clear(self) -> None:
        self.state[[operations.ROWS, operations.ARGS, operations.RET]] = 0, operations.RETS, 0


def _strings(ends: NDArray[np.int32], text: NDArray[np.uint8], blank: NDArray[np.bool_]) -> pa.Array:
    """Texts one behind the other, some of which are none."""
    if blank.all():
        return pa.nulls(len(ends), pa.string())
    valid = pa.py_buffer(np.packbits(~blank, bitorder="little").tobytes()) if blank.any() else None
    offsets = np.zeros(len(ends) + 1, np.int32)
    offsets[1:] = ends
    data = text[: int(offsets[-1])].tobytes()
    return pa.StringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(data), valid)
