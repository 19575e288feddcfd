"""What kernel events say in their fields, out of the text that each tracer prints of them: who was switched in, who was
woken, which interrupt.

Fields have the kernel's names, whoever wrote the trace. A command is text that anybody can choose: it may look like the
fields behind it. It has at most 15 bytes, so what stands around it, taken together, says where it ends.

Axis legend: R rows of one kind of event.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.trace.events import Trace

Ints = NDArray[np.int64]

SWITCH = "sched_switch"
WAKEUPS = ("sched_wakeup", "sched_wakeup_new", "sched_waking")
#: As they follow each other.
SOFTIRQS = ("softirq_raise", "softirq_entry", "softirq_exit")

#: As perf puts the subsystem in front of a name in CTF, and LTTng another word in front of softirqs.
_OTHER_NAMES = re.compile(r"(?:(?:sched|irq):)?(?:irq_(?=softirq_))?")


def kernel_name(name: str) -> str:
    """What the kernel calls an event that a trace has under this name."""
    return name[_OTHER_NAMES.match(name).end() :]  # type: ignore[union-attr]  # it matches nothing, too


_WOKEN = (
    r"^comm=(?P<comm>.*) pid=(?P<pid>\d{1,9}) prio=-?\d+(?: success=\d+)?(?: target_cpu=(?P<target_cpu>\d{1,9}))?$",
    # trace-cmd's
    r"^(?P<comm>.*):(?P<pid>\d{1,9}) \[-?\d+\](?: success=\d+)?(?:.* CPU:(?P<target_cpu>\d{1,9}))?$",
)
_SOFTIRQ = (r"^vec=(?P<vec>\d{1,9})(?: \[action=(?P<action>[^\]]*)\])?$",)
#: How the text of an event can read: as the kernel prints it, as Perfetto names the fields, as trace-cmd writes it.
_SPELLINGS: dict[str, tuple[str, ...]] = {
    SWITCH: (
        r"^(?:prev_comm=(?P<prev_comm>.*?) prev_pid=(?P<prev_pid>\d{1,9})(?: prev_prio=-?\d+)? )?"
        r"prev_state=(?P<prev_state>\S+)(?: ==>)? next_comm=(?P<next_comm>.*) next_pid=(?P<next_pid>\d{1,9})"
        r"(?: next_prio=-?\d+)?$",
        r"^(?P<prev_comm>.{0,15}?):(?P<prev_pid>\d{1,9}) \[-?\d+\] (?P<prev_state>\S+) ==> "
        r"(?P<next_comm>.{0,15}):(?P<next_pid>\d{1,9}) \[-?\d+\]$",
    ),
    **dict.fromkeys(WAKEUPS, _WOKEN),
    "sched_process_fork": (
        r"^(?:parent_)?comm=(?P<comm>.*?) (?:parent_)?pid=(?P<pid>\d{1,9}) child_comm=(?P<child_comm>.*) "
        r"child_pid=(?P<child_pid>\d{1,9})$",
    ),
    "sched_process_exec": (r"^filename=(?P<filename>.*) pid=(?P<pid>\d{1,9}) old_pid=(?P<old_pid>\d{1,9})$",),
    "sched_process_exit": (r"^comm=(?P<comm>.*) pid=(?P<pid>\d{1,9})(?: (?:tgid|prio)=-?\d+)+(?: group_dead=\w+)?$",),
    "sched_migrate_task": (
        r"^comm=(?P<comm>.*) pid=(?P<pid>\d{1,9}) prio=-?\d+ orig_cpu=(?P<orig_cpu>\d{1,9}) "
        r"dest_cpu=(?P<dest_cpu>\d{1,9})$",
    ),
    "irq_handler_entry": (r"^irq=(?P<irq>\d{1,9}) (?:name|handler)=(?P<name>.*)$",),
    "irq_handler_exit": (r"^irq=(?P<irq>\d{1,9}) (?:ret|return)=(?P<ret>\w+)$",),
    **dict.fromkeys(SOFTIRQS, _SOFTIRQ),
}
#: As LTTng calls the fields, whose ``pid`` is the process.
_LTTNG = {
    "prev_pid": ("prev_tid",),
    "next_pid": ("next_tid",),
    "child_pid": ("child_tid",),
    "pid": ("tid", "parent_tid"),
    "comm": ("parent_comm",),
    "old_pid": ("old_tid",),
}
NUMBERS = frozenset(
    ("prev_pid", "next_pid", "pid", "child_pid", "old_pid", "target_cpu", "orig_cpu", "dest_cpu", "irq", "vec")
)
#: What a thread that was switched out waits for, the lowest bit first; no letter: it could have gone on.
_STATES = "SDTtXZPI"
#: The bit behind them: it was made to stop.
_PREEMPTED = 1 << len(_STATES)
#: trace-cmd's letters for the last two.
_TRACE_CMD = str.maketrans("xW", "PI")
#: Fields as CTF's readers and ``perf trace`` write them: whatever stands in quotes is no field. Behind braces come
#: others' fields first.
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_BEFORE = rf'(?s)^(?:\{{(?:[^"]|{_QUOTED})*|(?:[^"]|{_QUOTED})*?)(?:^|[\s\[{{(,])'
#: A text, the number of an enumeration's label, a word.
_BEHIND = (
    r' ?[=:] ?(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|\( .{0,99}container = (?P<number>-?\d+) \)'
    r'|(?P<word>[^\s,\])}"(]+(?:\(-?\d+\))?))'
)


def values(trace: Trace, event: str, names: Sequence[str]) -> tuple[Ints, dict[str, pa.StringArray]]:
    """The rows (R,) of the events that the kernel calls so, and what each of the named fields is there, as the kernel
    prints it; null where the event doesn't tell.

    ``ret`` of a system call's exit is what it returned. Numbers have no zeros in front.
    """
    codes, known = trace.names
    own = [code for code, name in enumerate(known) if event in (name, kernel_name(name))]
    if not own:
        return np.empty(0, np.int64), {name: pa.array([], pa.string()) for name in names}
    rows = np.flatnonzero(np.isin(codes, own))
    found = parsed(event, taken(trace, "args", rows), names)
    if "ret" in found:
        import pyarrow.compute as pc

        found["ret"] = pc.coalesce(found["ret"], _printed(event, "ret", taken(trace, "ret", rows)))
    return rows, found


def numbers(texts: pa.StringArray) -> Ints:
    """Texts (R,) as numbers, decimal or hexadecimal; -1 for all else."""
    coded = texts.dictionary_encode()
    found = [
        int(t, 0) if re.fullmatch(r"0x[0-9a-f]{1,8}|[1-9]\d{0,8}|0", t) else -1 for t in coded.dictionary.to_pylist()
    ]
    return np.asarray(np.array([*found, -1], np.int64)[coded.indices.fill_null(-1).to_numpy()], np.int64)


def taken(trace: Trace, column: str, rows: Ints) -> pa.StringArray:
    """Some rows' texts in a column, all in one piece."""
    found = trace.table[column].take(pa.array(rows)).combine_chunks()
    if isinstance(found, pa.ChunkedArray):
        found = found.chunk(0) if found.num_chunks else pa.array([], pa.string())
    return found


def parsed(event: str, args: pa.StringArray, names: Sequence[str]) -> dict[str, pa.StringArray]:
    """The named fields of events of one kind whose texts (R,) are given; null where a text doesn't tell."""
    import pyarrow.compute as pc  # most traces have no such events

    found = {name: pa.nulls(len(args), pa.string()) for name in names}
    for spelling in _SPELLINGS.get(event, ()):
        told = [name for name in names if f"?P<{name}>" in spelling]
        if not told:
            continue
        # what isn't asked for isn't kept: that takes half of the time
        kept = re.sub(rf"\?P<(?!(?:{'|'.join(told)})>)\w+>", "?:", spelling)
        groups = pc.extract_regex(args, "(?s)" + kept)
        for name in told:
            found[name] = pc.coalesce(found[name], _said(groups, name))
        args = pc.if_else(groups.is_valid(), None, args)
    for name in names if args.null_count < len(args) else ():
        for spelt in (*_LTTNG.get(name, ()), name):
            groups = pc.extract_regex(args, _BEFORE + re.escape(spelt) + _BEHIND)
            quoted = pc.replace_substring_regex(_said(groups, "quoted"), r'\\(["\\])', r"\1")
            found[name] = pc.coalesce(found[name], quoted, _said(groups, "number"), _said(groups, "word"))
    return {name: _printed(event, name, text) for name, text in found.items()}


def _said(groups: pa.StructArray, name: str) -> pa.StringArray:
    """What a group of an expression found: where it found nothing it holds an empty text."""
    import pyarrow.compute as pc

    text = groups.field(name)
    return pc.if_else(pc.equal(text, ""), None, text)


def _printed(event: str, name: str, found: pa.StringArray) -> pa.StringArray:
    """A field as the kernel prints it."""
    import pyarrow.compute as pc

    if name in NUMBERS:
        return _said(pc.extract_regex(found, r"^0*(?P<number>\d{1,9})$"), "number")
    spell = {("sched_switch", "prev_state"): _state, ("irq_handler_exit", "ret"): _handled}.get((event, name))
    if spell is None:
        return found
    coded = found.dictionary_encode()
    return pa.array([spell(text) for text in coded.dictionary.to_pylist()], pa.string()).take(coded.indices)


def _state(text: str) -> str:
    """Why a thread was switched out."""
    if not (number := re.search(r"^-?\d{1,18}$|(?<=\()-?\d{1,18}(?=\)$)", text)):
        return text.translate(_TRACE_CMD)
    bits = int(number[0])
    return "|".join(letter for k, letter in enumerate(_STATES) if bits >> k & 1) or "R" + "+" * bool(bits & _PREEMPTED)


def _handled(text: str) -> str:
    """Whether an interrupt's handler did anything."""
    return {"1": "handled", "0": "unhandled"}.get(text, text)


def spellings(name: str) -> tuple[str, ...]:
    """What the kernel's field is called in CTF, the likeliest name first."""
    return (*_LTTNG.get(name, ()), name)


def coded(event: str, name: str, text: str) -> int | None:
    """The number that a field holds where the kernel prints this; None if it is none."""
    if (event, name) == (SWITCH, "prev_state"):
        word = text.rstrip("+")
        bits = [_STATES.find(letter) for letter in word.split("|")] if word != "R" else []
        known = all(bit >= 0 for bit in bits)
        return sum(1 << bit for bit in bits) | (_PREEMPTED if word != text else 0) if known else None
    if (event, name) == ("irq_handler_exit", "ret"):
        return {"handled": 1, "unhandled": 0}.get(text)
    try:
        return int(text, 16 if "x" in text.lower() else 10)
    except ValueError:
        return None
