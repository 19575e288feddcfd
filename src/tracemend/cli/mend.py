"""mend: the gaps filled, beside the trace."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tracemend.cli.arguments import (
    ArchOption,
    FormatOption,
    JsonOption,
    StrictOption,
    TraceArgument,
    chosen_format,
    read_trace,
    read_windows,
)
from tracemend.cli.inputs import on_disk
from tracemend.cli.terminal import print_json, progress, say
from tracemend.trace.evidence import plural

if TYPE_CHECKING:
    from tracemend.mending.mended import Mended


def mend(
    trace: TraceArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder to write. It appears whole or not at all.")
    ],
    model: Annotated[
        str,
        typer.Option(
            help="Who fills the gaps: mosaic or lookup (both copy; no network), default (the mosaic and the network "
            "that comes with tracemend), or a folder made by train."
        ),
    ] = "mosaic",
    examples: Annotated[
        list[Path] | None,
        typer.Option("--example", help="A complete trace to copy from as well. May be given several times."),
    ] = None,
    alone: Annotated[
        bool, typer.Option("--alone", help="Copy nothing from the recordings that come with tracemend.")
    ] = False,
    unknown: Annotated[
        Literal["leave", "estimate"],
        typer.Option(help="What to do with gaps of which the tracer doesn't tell how many events were lost."),
    ] = "leave",
    refuse: Annotated[
        float, typer.Option(min=0, max=1, help="Leave a gap open if the mean confidence of its fill is below this.")
    ] = 0.0,
    hypotheses: Annotated[
        int,
        typer.Option(
            min=0,
            max=100,
            help="Also draw this many other fills of each gap. Of very long gaps each one takes its time.",
        ),
    ] = 0,
    adapt: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="Learn from the intact part of the trace for this long; fills may then differ from run to run.",
        ),
    ] = 0,
    suspect: Annotated[bool, typer.Option("--suspect", help="Also fill losses that the tracer doesn't mark.")] = False,
    window_only: Annotated[
        bool, typer.Option("--window-only", help="CTF only: decode just the packets around the gaps (docs/ctf.md).")
    ] = False,
    merged: Annotated[
        bool,
        typer.Option(
            "--merged",
            help="Also write a copy of the trace with the inferred events in it, marked (CTF; text of ftrace, perf "
            "script, sequences).",
        ),
    ] = False,
    perfetto: Annotated[bool, typer.Option("--perfetto", help="Also write a trace for ui.perfetto.dev.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the output folder of an earlier run.")] = False,
    seed: Annotated[
        int, typer.Option(min=0, help="Decides whatever is left to chance: the same seed gives the same bytes.")
    ] = 0,
    format: FormatOption = None,
    arch: ArchOption = "x86_64",
    strict: StrictOption = False,
    json_: JsonOption = False,
) -> None:
    """Fill the gaps with inferred events. They go into a folder; the trace itself is never touched."""
    from tracemend.api import load
    from tracemend.api import mend as fill
    from tracemend.losses.scanning import scan as find
    from tracemend.menders.base import CONTEXT
    from tracemend.mending.options import Options
    from tracemend.mending.run import COPIERS
    from tracemend.outputs import check, write

    options = Options(seed, unknown, refuse, hypotheses, adapt)
    outputs = ["overlay", "report", *(["merged"] if merged else []), *(["perfetto"] if perfetto else [])]
    source = on_disk(trace)
    check(source, chosen_format(source, format, arch), output, outputs, force)
    network = None
    if window_only:
        for option, asked in (("--suspect", suspect), ("--perfetto", perfetto)):
            if asked:
                raise typer.BadParameter(f"{option} needs the whole trace", param_hint="--window-only")
        network = None if model in COPIERS else load(model)
        broken = read_windows(source, max(CONTEXT, network.context if network else 0), format, arch, strict)
    else:
        broken = read_trace(source, format, arch, strict)
    if suspect:
        broken = broken.with_gaps(find(broken, suspected=True).gaps)
    others = [read_trace(p, None, arch, strict) for p in examples or []]
    with progress("mending") as update:
        mended = fill(broken, network or model, options, examples=others, alone=alone, progress=update)
        paths = write(mended, output, outputs, force)
    if json_:
        print_json(
            {
                "output": str(output),
                "files": [str(p) for p in paths],
                "events": mended.inferred.num_rows,
                "gaps": mended.gap_table(),
                "provenance": mended.provenance,
            }
        )
        return
    _print_fills(mended, hypotheses)
    for p in paths:
        say(f"  {p}")


def _print_fills(mended: Mended, hypotheses: int) -> None:
    """What became of the gaps, how sure the fills are, and what to know of them."""
    from tracemend.losses.scanning import judge

    if not mended.fills:
        say(f"No gap to fill. {judge(mended.trace).sentence()}")
        return
    counts = mended.counts
    say(
        f"{plural(len(mended.fills), 'gap')}: {counts['filled']:,} filled with "
        f"{plural(mended.inferred.num_rows, 'inferred event')}, "
        f"{counts['refused']:,} refused, {counts['left']:,} left"
    )
    for f in [f for f in mended.fills if f.status != "filled"][:10]:
        say(f"  gap {f.gap}: {f.status}: {f.reason}")
    if mended.inferred.num_rows:
        mean = sum(mended.inferred["confidence"].to_pylist()) / mended.inferred.num_rows
        unmet = sum(f.unmet for f in mended.fills)
        say(f"Mean confidence {mean:.2f}. Inferred events are no evidence.")
        if unmet:
            say(
                f"{unmet} calls that the surviving events leave open could not be closed: "
                "their gaps have no room for that."
            )
    if hypotheses and mended.filled:
        alike = sum(f.events * (f.agreement or 0.0) for f in mended.fills) / mended.inferred.num_rows
        say(f"{hypotheses} hypotheses: {100 * alike:.0f} % of their events are the same as in the fills.")
    if mended.familiar:
        say(mended.familiar)
    partial = mended.trace.partial
    if partial is not None:
        say(partial.sentence(len(mended.trace)).capitalize() + ".")
