"""advise: the buffer that would have held what was lost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from tracemend.cli.arguments import ArchOption, FormatOption, JsonOption, StrictOption, TraceArgument, read_trace
from tracemend.cli.terminal import print_json, print_table, say

if TYPE_CHECKING:
    from tracemend.losses.advice import Advice
    from tracemend.trace.events import Trace


#: No buffer of a cpu is larger: 1 GiB.
LARGEST_KB = 1 << 20


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
    """Say whether the buffer sufficed, and how large a one would have held all events."""
    from tracemend.losses.advice import advise as ask
    from tracemend.losses.larger import larger
    from tracemend.losses.scanning import scan
    from tracemend.losses.verdict import COMPLETE, LOST, UNKNOWN

    read = read_trace(trace, format, arch, strict)
    said, advice = scan(read).verdict, ask(read)
    kb = max((a.sufficient_kb(buffer_kb) for a in advice), default=_all_kb(read, buffer_kb))
    if json_:
        document = {
            "input": str(trace),
            **said.as_dict(),
            "sufficed": {COMPLETE: True, LOST: False}.get(said.word),
            "tracer": read.tracer,
            "buffer_kb": buffer_kb,
            "sufficient_kb": kb or None,
            "larger": larger(read.tracer, kb) if 0 < kb <= LARGEST_KB else None,
            "cpus": [a.as_dict(buffer_kb) for a in advice],
        }
        print_json(document)
        return
    sentences = {COMPLETE: "The buffer sufficed", LOST: "The buffer did not suffice"}
    say(f"{sentences.get(said.word, 'Nobody can tell whether the buffer sufficed')}: {said.reason}.")
    if said.word == UNKNOWN:
        say(said.advice)
    if said.word != LOST:
        return
    if advice:
        _print_cpus(advice, buffer_kb)
    if kb > LARGEST_KB:
        say(f"All of it would take {kb:,} KiB a cpu, more than a buffer can have: read the trace while it is recorded.")
    elif kb:
        unknown = "" if buffer_kb else " (on top of the size it had: give it with --buffer-kb)"
        held = "the largest backlog" if advice else "all events that were written"
        say(f"\nA per-cpu buffer of {kb:,} KiB would have held {held}{unknown}:")
        say(f"  {larger(read.tracer, kb) or 'see how its tracer sets the size of its buffers'}")
    else:
        say("Nothing tells how much larger it must be; doubling it and looking again is a way to find out.")
    say("Or lose less by tracing fewer events: name the system calls or the process.")


def _all_kb(trace: Trace, buffer_kb: int) -> int:
    """A buffer that holds also what was overwritten before the first event that is left: so many times the buffer as
    there were events for each that it held. 0 where nothing tells."""
    if not (buffer_kb and trace.overwritten and len(trace)):
        return 0
    return int(2 ** math.ceil(math.log2(buffer_kb * (1 + trace.overwritten / len(trace)))))


def _print_cpus(advice: Sequence[Advice], buffer_kb: int) -> None:
    rows = []
    for a in advice:
        row = a.as_dict(buffer_kb)
        least = "" if a.complete else "at least "
        missing, sufficient = (f"{least}{row[k]:,}" for k in ("missing_kb", "sufficient_kb"))
        rate = "unknown" if a.rate is None else f"{a.rate:,.0f}"
        size = str(row["bytes_per_event"])
        rows.append((str(a.cpu), f"{a.lost:,}", rate, size, missing, sufficient))
    print_table(("cpu", "lost", "events/s in gaps", "bytes an event", "missing KiB", "sufficient KiB"), rows)
