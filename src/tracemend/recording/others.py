"""A recording of a machine without what is nobody's business: of other people's programs only that they ran.

What a machine does while a command runs is the command's, the kernel's own threads', and that of whoever else works
there. A cpu's story needs the others too, when they run and what interrupts them, but not what they do or what they are
called.

Axis legend: E events of a trace.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.trace.events import INSTANT, SCHEMA, Trace

#: What the threads of others are called.
OTHER = "other"
#: A flag of the kernel's own threads, in ``/proc/PID/stat`` (include/linux/sched.h), and their parent.
PF_KTHREAD, KTHREADD = 0x00200000, 2

_FORK = re.compile(r"\bpid=(\d+) child_comm=.* child_pid=(\d+)$")
_NAMED = re.compile(r"\b(\w*comm)=(.*?) (\w*pid)=(\d+)")
_SWITCH = re.compile(r"\bprev_pid=(\d+) .* next_pid=(\d+)\b")
#: Where in the kernel's memory something lies, and clocks: different each time, and told by nothing.
_PLACES = re.compile(r"\b(?:timer|hrtimer|skbaddr|now|baseclk)=\w+ ?")
#: The name at the end of what the block layer tells.
_LAST_NAME = re.compile(r"\[[^\[\]]*\]$")
#: Results from here on are addresses.
ADDRESSES = 1 << 32


def kernel_threads() -> set[int]:
    """The running kernel's own threads, idle among them."""
    found = {0, KTHREADD}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            flags = path.read_text(errors="replace").rpartition(")")[2].split()[6]
        except (OSError, IndexError):
            continue  # it has just ended
        if int(flags) & PF_KTHREAD:
            found.add(int(path.parent.name))
    return found


def descendants(trace: Trace, of: Iterable[int]) -> set[int]:
    """These threads, and those that a complete recording of the machine saw come from them."""
    family = set(of)
    for args in _args(trace, "sched_process_fork"):
        pids = _FORK.search(args or "")
        if pids and int(pids[1]) in family:
            family.add(int(pids[2]))
    return family


def whole_until(trace: Trace) -> int:
    """How many events of a complete recording of a machine there are before one whose thread isn't who runs on its cpu
    by the switches; all of them, if there is none. Some machines have threads that the kernel doesn't trace: they are
    switched to, and never from."""
    names, known = trace.names
    switch = known.index("sched_switch") if "sched_switch" in known else -1
    args, tid, until = trace.table["args"], trace.tid, len(trace)
    for rows in trace.streams.values():
        at = np.flatnonzero(names[rows] == switch)
        pids = [_SWITCH.search(str(args[int(row)])) for row in rows[at]]
        prev, follows = (np.array([int(p[n]) if p else -1 for p in pids], np.int64) for n in (1, 2))
        if len(at):
            runs = np.append(prev[:1], follows)[np.searchsorted(at, np.arange(len(rows)))]
            until = min(until, *rows[runs != tid[rows]].tolist()[:1], until)
    return until


def masked(trace: Trace, own: set[int]) -> tuple[Trace, NDArray[np.bool_]]:
    """The same events with the names of others masked, and which of them (E,) may be shown.

    own: threads of which everything may be shown but the arguments of their system calls and page faults, and results
    that are addresses. Of the others system calls, page faults and the programs that they become aren't shown. Times
    begin at 0.
    """
    foreign = ~np.isin(trace.tid, np.array(sorted(own)))
    codes, known = trace.names
    private = np.array([n.startswith("page_fault") for n in known])[codes] | (trace.phase != INSTANT)
    becomes = np.array([n == "sched_process_exec" for n in known])[codes]
    args = _each(trace.table["args"], lambda text: _PLACES.sub("", _renamed(text, own)).rstrip())
    block = np.array([n.startswith("block_rq") for n in known])[codes] & foreign
    args = _where(block, _each(args, lambda text: _LAST_NAME.sub(f"[{OTHER}]", text)), args)
    comm = trace.table["comm"].cast(pa.string())
    columns = {
        "time_ns": pa.array(trace.time_ns - trace.time_ns[:1].sum()),
        "comm": _where(foreign, pa.repeat(OTHER, len(trace)), comm).dictionary_encode(),
        "args": _where(private, pa.nulls(len(trace), pa.string()), args),
        "ret": _each(trace.table["ret"], lambda text: None if int(text) >= ADDRESSES else text),
    }
    table = trace.table
    for name, column in columns.items():
        table = table.set_column(SCHEMA.get_field_index(name), SCHEMA.field(name), column)
    return Trace(trace.path, trace.format, table, provenance=trace.provenance, tracer=trace.tracer), ~(
        foreign & (private | becomes)
    )


def _renamed(text: str, own: set[int]) -> str:
    return _NAMED.sub(lambda m: m[0] if int(m[4]) in own else f"{m[1]}={OTHER} {m[3]}={m[4]}", text)


def _args(trace: Trace, event: str) -> list[str | None]:
    codes, known = trace.names
    rows = np.flatnonzero(codes == known.index(event)) if event in known else np.empty(0, np.int64)
    texts: list[str | None] = trace.table["args"].take(pa.array(rows)).to_pylist()
    return texts


def _each(column: pa.ChunkedArray, change: Callable[[str], str | None]) -> pa.Array:
    """A column of texts (E,), each different one changed once."""
    coded = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    coded = coded.dictionary_encode()
    values = [None if text is None else change(text) for text in coded.dictionary.to_pylist()]
    return pa.array(values, pa.string()).take(coded.indices)


def _where(rows: NDArray[np.bool_], yes: pa.Array, no: pa.Array) -> pa.Array:
    import pyarrow.compute as pc

    made = pc.if_else(pa.array(rows), yes, no)
    return made.combine_chunks() if isinstance(made, pa.ChunkedArray) else made
