"""How each tracer is given a larger buffer: in its own words."""

from __future__ import annotations

from collections.abc import Callable

PAGE_KB = 4


def _pages(kb: int) -> int:
    return max(1, kb // PAGE_KB)


#: By the tracer that wrote the trace: how to record with a buffer of so many KiB a cpu (a power of two).
LARGER: dict[str, Callable[[int], str]] = {
    "ftrace": lambda kb: f"echo {kb} > /sys/kernel/tracing/buffer_size_kb",
    "trace-cmd": lambda kb: f"trace-cmd record -b {kb} ...",
    "atrace": lambda kb: f"atrace -b {kb} ...",
    "perf": lambda kb: f"perf record -m {_pages(kb)} ...",
    "lttng": lambda kb: f"lttng enable-channel --subbuf-size={max(4, kb // 4)}k --num-subbuf=4 ...",
    "perfetto": lambda kb: (
        f"ftrace_config {{ buffer_size_kb: {kb} }} in its configuration, and larger buffers {{ size_kb }}"
    ),
    "etw": lambda kb: f"logman start ... -bs {min(kb, 1024)} -nb {max(2, kb // 1024)} {max(4, kb // 512)}",
    "bpftrace": lambda kb: f"BPFTRACE_PERF_RB_PAGES={_pages(kb)} bpftrace ...",
}


def larger(tracer: str, kb: int) -> str | None:
    """The tracer's own way to a buffer of ``kb`` KiB a cpu; None for one whose way isn't known."""
    make = LARGER.get(tracer)
    return None if make is None else make(kb)
