"""advise: the buffer that would have held what was lost."""

from __future__ import annotations

from typing import Annotated

import typer

from tracemend.cli.arguments import ArchOption, FormatOption, JsonOption, StrictOption, TraceArgument, read_trace
from tracemend.cli.terminal import print_json, print_table, say


def advise(
    trace: TraceArgument,
    format: FormatOption = None,
    arch: ArchOption = "x86_64",
    strict: StrictOption = False,
    buffer_kb: Annotated[
        int,
        typer.Option(
            min=0, max=1 << 30, help="The buffer that the trace was recorded with, in KiB a cpu, if you know it."
        ),
    ] = 0,
    json_: JsonOption = False,
) -> None:
    """Say how large a buffer would have held all events."""
    from tracemend.losses.advice import advise as ask

    advice = ask(read_trace(trace, format, arch, strict))
    if json_:
        print_json({"input": str(trace), "buffer_kb": buffer_kb, "cpus": [a.as_dict(buffer_kb) for a in advice]})
        return
    if not advice:
        say("No marked gap: the buffer sufficed.")
        return
    rows = []
    for a in advice:
        row = a.as_dict(buffer_kb)
        least = "" if a.complete else "at least "
        missing, sufficient = (f"{least}{row[k]:,}" for k in ("missing_kb", "sufficient_kb"))
        rate = "unknown" if a.rate is None else f"{a.rate:,.0f}"
        size = str(row["bytes_per_event"])
        rows.append((str(a.cpu), f"{a.lost:,}", rate, size, missing, sufficient))
    print_table(("cpu", "lost", "events/s in gaps", "bytes an event", "missing KiB", "sufficient KiB"), rows)
    kb = max(a.sufficient_kb(buffer_kb) for a in advice)
    unknown = "" if buffer_kb else " (on top of the size it had: give it with --buffer-kb)"
    say(f"\nA per-cpu buffer of {kb:,} KiB would have held the largest backlog{unknown}:")
    for hint in (
        f"echo {kb} > /sys/kernel/tracing/buffer_size_kb",
        f"trace-cmd record -b {kb} ...",
        f"perf record -m {max(1, kb // 4)} ...",
        f"lttng enable-channel --subbuf-size={kb // 4}k --num-subbuf=4 ...",
    ):
        say(f"  {hint}")
    say("Or lose less by tracing fewer events: name the system calls or the process.")
