"""advise: the buffer that would have held what was lost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from tracemend.cli.arguments import (
    ArchOption,
    FormatOption,
    JsonOption,
    QuietOption,
    StrictOption,
    TraceArgument,
    read_pieces,
)
from tracemend.cli.inputs import recorded
from tracemend.cli.terminal import cpu_name, print_json, print_table, say

if TYPE_CHECKING:
    from tracemend.losses.advice import Advice
    from tracemend.losses.scanning import Scan


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
    quiet: QuietOption = False,
) -> None:
    """Say whether the buffer sufficed, and how large a one would have held all events."""
    from tracemend.losses.advice import Backlogs
    from tracemend.losses.larger import SIZE, larger
    from tracemend.losses.scanning import Scanning
    from tracemend.losses.verdict import COMPLETE, LOST, UNKNOWN

    trace = recorded(trace)
    scanning, backlogs = Scanning(), Backlogs()
    for piece in read_pieces(trace, format, arch, strict, quiet):
        scanning.add(piece)
        backlogs.add(piece)
    found, advice = scanning.finish(), backlogs.finish()
    read, said = found.trace, found.verdict
    kb = max((a.sufficient_kb(buffer_kb) for a in advice if a.missing_bytes), default=_all_kb(found, buffer_kb))
    add_kb = max((a.sufficient_kb(0) for a in advice if a.missing_bytes), default=None)
    doubled_kb = int(2 ** math.ceil(math.log2(2 * buffer_kb))) if buffer_kb else 0
    size_kb = (kb or doubled_kb) if buffer_kb else None
    way = larger(read.tracer, size_kb) if (size_kb or 0) <= LARGEST_KB else None
    if json_:
        document = {
            "input": str(trace),
            **said.as_dict(),
            "sufficed": {COMPLETE: True, LOST: False}.get(said.word),
            "tracer": read.tracer,
            "buffer_kb": buffer_kb or None,
            "add_kb": add_kb,
            "sufficient_kb": kb if kb and buffer_kb else None,
            "larger": way if said.word == LOST else None,
            "cpus": [a.as_dict(buffer_kb) for a in advice],
        }
        print_json(document)
        return
    kept = "The buffer sufficed" if larger(read.tracer, 1) else "Nothing was lost"  # strace has none
    sentences = {COMPLETE: kept, LOST: "The buffer did not suffice"}
    say(f"{sentences.get(said.word, 'Nobody can tell whether the buffer sufficed')}: {said.reason}.")
    if said.word == UNKNOWN:
        say(said.advice)
    if said.word != LOST:
        return
    if advice:
        _print_cpus(advice, buffer_kb)
    if add_kb:
        size = "sufficient KiB: the old size, that" if buffer_kb else "KiB to add: that"
        say(f"missing KiB: lost events that would have waited at the same time. {size} and a quarter more, rounded up.")
    least = "at least " if found.losses.uncounted else ""
    held = "what was lost" if add_kb else "all events that were written"
    if (size_kb or 0) > LARGEST_KB:
        say(f"It would take {size_kb:,} KiB a cpu, more than a buffer can have: read the trace while it is recorded.")
    else:
        if kb and buffer_kb:
            say(f"\nIt takes a buffer of {least}{kb:,} KiB a cpu to hold {held}:")
        elif add_kb:
            say(f"\nThe buffer of each cpu must be larger by {least}{add_kb:,} KiB to hold {held}:")
        else:
            say("\nNothing tells how much larger the buffer must be. Double it, record again and look again:")
        say(f"  {way or 'see how its tracer, which the trace does not name, sets the size of its buffers'}")
        if way and not size_kb:
            meant = f"the old size and {add_kb:,} more" if add_kb else "twice the old size"
            say(f"  ({SIZE}: {meant}, in KiB a cpu; --buffer-kb with the old size fills it in)")
    say("Or lose less by tracing fewer events: name the system calls or the process.")


def _all_kb(found: Scan, buffer_kb: int) -> int:
    """A buffer that holds also what was overwritten before the first event that is left: so many times the buffer as
    there were events for each that it held. 0 where nothing tells."""
    overwritten, kept = found.trace.overwritten, len(found.seen)
    if not (buffer_kb and overwritten and kept):
        return 0
    return int(2 ** math.ceil(math.log2(buffer_kb * (1 + overwritten / kept))))


def _print_cpus(advice: Sequence[Advice], buffer_kb: int) -> None:
    rows = []
    for a in advice:
        row = a.as_dict(buffer_kb)
        least = "" if a.complete else "at least "
        missing, larger = (
            f"{least}{size:,}" if a.missing_bytes and size else "unknown"
            for size in (row["missing_kb"], row["sufficient_kb" if buffer_kb else "add_kb"])
        )
        rate = "unknown" if a.rate is None else f"{a.rate:,.0f}"
        lost = f"{least}{a.lost:,}" if a.lost else "unknown"
        rows.append((cpu_name(a.cpu), lost, rate, str(row["bytes_per_event"]), missing, larger))
    size = "sufficient KiB" if buffer_kb else "KiB to add"
    print_table(("cpu", "lost", "events/s in gaps", "bytes an event", "missing KiB", size), rows)
