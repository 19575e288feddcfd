"""ftrace's own text of raw system calls and other events, line for line as the kernel's ``trace_pipe`` prints it
(kernel/trace/trace_output.c; a test compares the two on one and the same buffer), with the process behind each thread
where the trace says it (the kernel's option ``record-tgid``). Addresses are as they are, not hashed
(the kernel's own text with its option ``hash-ptr`` off)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tracemend.trace.events import EXIT, INSTANT, Trace
from tracemend.trace.syscalls import NO_NUMBER, table

IRQS_OFF, LAZY, RESCHED, HARD, SOFT, PREEMPT, NMI, BH_OFF = (1 << i for i in range(8))
_RESCHED = {
    RESCHED | LAZY | PREEMPT: "B",
    RESCHED | PREEMPT: "N",
    LAZY | PREEMPT: "L",
    RESCHED | LAZY: "b",
    RESCHED: "n",
    LAZY: "l",
    PREEMPT: "p",
}


def flags(common_flags: int, preempt_count: int) -> str:
    """The five letters in front of the time."""
    off = "D" if common_flags & IRQS_OFF and common_flags & BH_OFF else "d" if common_flags & IRQS_OFF else "b"
    within = [(NMI | HARD, "Z"), (NMI, "z"), (HARD | SOFT, "H"), (HARD, "h"), (SOFT, "s")]
    return "".join(
        (
            off if common_flags & (IRQS_OFF | BH_OFF) else ".",
            _RESCHED.get(common_flags & (RESCHED | LAZY | PREEMPT), "."),
            next((letter for bits, letter in within if common_flags & bits == bits), "."),
            f"{preempt_count & 15:x}" if preempt_count & 15 else ".",
            f"{preempt_count >> 4:x}" if preempt_count >> 4 else ".",
        )
    )


def lines(trace: Trace, letters: Sequence[str], arch: str) -> Iterator[str]:
    """The text of a trace of raw system calls and other events, its losses marked.

    letters: the flags of each event.
    """
    numbers = {name: number for number, name in table(arch).items()}
    marks: dict[int, list[str]] = {}
    for gap in trace.gaps:
        count = "" if gap.count is None else f"{gap.count} "
        row = len(trace) if gap.after is None else gap.after
        marks.setdefault(row, []).append(f"CPU:{gap.cpu} [LOST {count}EVENTS]\n")
    columns = (trace.table[c].to_pylist() for c in ("comm", "name", "args", "ret"))
    values = zip(trace.tid.tolist(), trace.cpu.tolist(), trace.time_ns.tolist(), trace.phase.tolist(), strict=True)
    for row, ((tid, cpu, time, phase), (comm, name, args, ret)) in enumerate(
        zip(values, zip(*columns, strict=True), strict=True)
    ):
        yield from marks.get(row, ())
        microseconds = (time + 500) // 1000
        if phase == INSTANT:
            event = f"{name}: {args}"
        else:
            number = numbers[name] if name in numbers else int(name.removeprefix(NO_NUMBER[:-2]))
            event = f"sys_exit: NR {number} = {ret}" if phase == EXIT else f"sys_enter: NR {number} ({args})"
        process = trace.processes.get(tid)
        whose = (f"({process:7d}) " if process else "(-------) ") if trace.processes else ""
        yield (
            f"{comm or '<...>':>16}-{tid:<7} {whose}[{cpu:03d}] {letters[row]} "
            f"{microseconds // 1_000_000:5d}.{microseconds % 1_000_000:06d}: {event}\n"
        )
    yield from marks.get(len(trace), ())
