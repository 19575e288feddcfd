"""What trace-cmd's plugins spell otherwise than the kernel does: sched_switch, sched_wakeup and futex."""

from __future__ import annotations

from collections.abc import Callable

from tracemend.formats.tracedat.expressions import WORD, Row

#: Letters of a thread's state, the lowest bit first. (The kernel has X for the fifth and Z for the sixth bit by now.)
_STATES = "SDTtZXxW"


def _state(value: int) -> str:
    return "|".join(c for k, c in enumerate(_STATES) if value >> k & 1) or "R"


def _switched(row: Row) -> str:
    comm, pid, prio, state, next_comm, next_pid, next_prio = row
    return f"{comm}:{pid} [{prio}] {_state(state)} ==> {next_comm}:{next_pid} [{next_prio}]"


def _woken(row: Row) -> str:
    comm, pid, prio, cpu = row
    return f"{comm}:{pid} [{prio}] CPU:{cpu:03d}"


#: futex's operations by number, and which of the call's arguments each of them takes: ``val`` as a number or (``VAL``)
#: in hexadecimal, the fourth as ``utime`` or the number ``val2``.
_FUTEX = dict(
    enumerate(
        (
            ("WAIT", ("VAL", "utime")),
            ("WAKE", ("val",)),
            ("FD", ("val",)),
            ("REQUEUE", ("val", "val2", "uaddr2")),
            ("CMP_REQUEUE", ("val", "val2", "uaddr2", "val3")),
            ("WAKE_OP", ("val", "val2", "uaddr2", "val3")),
            ("LOCK_PI", ("utime",)),
            ("UNLOCK_PI", ()),
            ("TRYLOCK_PI", ()),
            ("WAIT_BITSET", ("VAL", "utime", "val3")),
            ("WAKE_BITSET", ("val", "val3")),
            ("WAIT_REQUEUE_PI", ("VAL", "utime", "uaddr2", "val3")),
            ("CMP_REQUEUE_PI", ("val", "val2", "uaddr2", "val3")),
        )
    )
)
_PRIVATE, _REALTIME = 128, 256


def _futex(row: Row) -> str | None:
    uaddr, op, val, utime, uaddr2, val3 = (v & WORD for v in row)
    known = _FUTEX.get(op & ~(_PRIVATE | _REALTIME))
    if known is None:
        return None
    name, arguments = known
    said = {
        "VAL": f" val=0x{val:08x}",
        "val": f" val={val}",
        "utime": f" utime=0x{utime:08x}",
        "val2": f" val2={utime}",
        "uaddr2": f" uaddr2=0x{uaddr2:08x}",
        "val3": f" val3=0x{val3:08x}",
    }
    flags = "|FUTEX_PRIVATE_FLAG" * bool(op & _PRIVATE) + "|FUTEX_CLOCK_REALTIME" * bool(op & _REALTIME)
    return f"op=FUTEX_{name}{flags} uaddr=0x{uaddr:08x}" + "".join(said[a] for a in arguments)


_WAKEUP = (("comm", "pid", "prio", "target_cpu"), _woken)
#: The fields that it takes, and the text; None: as the kernel has it.
OWN: dict[str, tuple[tuple[str, ...], Callable[[Row], str | None]]] = {
    "sched_switch": (
        ("prev_comm", "prev_pid", "prev_prio", "prev_state", "next_comm", "next_pid", "next_prio"),
        _switched,
    ),
    "sched_wakeup": _WAKEUP,
    "sched_wakeup_new": _WAKEUP,
    "sys_enter_futex": (("uaddr", "op", "val", "utime", "uaddr2", "val3"), _futex),
}
#: Which threads' commands these events tell: of a thread that nothing else named, trace-cmd knows it from then on.
TOLD = {
    "sched_switch": (("prev_pid", "prev_comm"), ("next_pid", "next_comm")),
    "sched_wakeup": (("pid", "comm"),),
    "sched_wakeup_new": (("pid", "comm"),),
}
