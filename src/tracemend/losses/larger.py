"""How each tracer is given a larger buffer: in its own words."""

from __future__ import annotations

from collections.abc import Callable

PAGE_KB = 4
#: Stands in a command for a size that isn't known, in KiB a cpu.
SIZE = "SIZE"

#: A size as a command has it: so many units of so many KiB, and no fewer than so many.
Units = Callable[[int, int], str]

#: By the tracer that wrote the trace: how to record with a larger buffer of each cpu.
LARGER: dict[str, Callable[[Units], str]] = {
    "ftrace": lambda n: f"echo {n(1, 1)} > /sys/kernel/tracing/buffer_size_kb",
    "trace-cmd": lambda n: f"trace-cmd record -b {n(1, 1)} ...",
    "atrace": lambda n: f"atrace -b {n(1, 1)} ...",
    "perf": lambda n: f"perf record -m {n(1, PAGE_KB)}K ...",
    "perf trace": lambda n: f"perf trace -m {n(1, PAGE_KB)}K ...",
    "lttng": lambda n: f"lttng enable-channel --subbuf-size={n(4, 4)}k --num-subbuf=4 ...",
    "perfetto": lambda n: (
        f"ftrace_config {{ buffer_size_kb: {n(1, 1)} }} in its configuration, and larger buffers {{ size_kb }}"
    ),
    "etw": lambda n: f"logman start ... -bs 1024 -nb {n(1024, 2)} {n(512, 4)}",
    "bpftrace": lambda n: f"BPFTRACE_PERF_RB_PAGES={n(PAGE_KB, 1)} bpftrace ...",
}


def larger(tracer: str, kb: int | None) -> str | None:
    """The tracer's own way to a buffer of ``kb`` KiB a cpu (a power of two), or of SIZE where that is None; None for a
    tracer whose way isn't known."""

    def units(size_kb: int, least: int) -> str:
        if kb is None:
            return f"<{SIZE}>" if size_kb == 1 else f"<{SIZE}/{size_kb}>"
        return str(max(least, kb // size_kb))

    make = LARGER.get(tracer)
    return None if make is None else make(units)
