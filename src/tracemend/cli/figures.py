"""figures: how often, how long, who; and how sure that still is after a loss."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tracemend.cli.arguments import (
    ArchOption,
    FormatOption,
    JsonOption,
    QuietOption,
    StrictOption,
    TraceArgument,
    chosen_engine,
    read_pieces,
    read_trace,
)
from tracemend.cli.inputs import on_disk
from tracemend.cli.terminal import cpu_name, duration, print_json, print_table, progress, say
from tracemend.errors import OutputError
from tracemend.trace.evidence import plural

if TYPE_CHECKING:
    from tracemend.reckoning.figures import Figures

#: Which figures are shown, if nobody says so, in this order; others where there are none of these.
SHOWN = {
    "call": ("calls", "time_ns", "errors"),
    "thread": ("cpu_ns", "calls", "time_ns"),
    "cpu": ("cpu_ns", "events", "calls"),
    "time": ("events", "calls", "cpu_ns"),
}
TITLES = {"calls": "Calls", "time_ns": "Time in calls", "cpu_ns": "Cpu time", "errors": "Errors", "events": "Events"}
#: Characters of a name that are shown.
LONGEST = 24


def figures(
    trace: TraceArgument,
    by: Annotated[str, typer.Option(help="What figures are of: call, thread, cpu or time.")] = "call",
    span: Annotated[
        str | None,
        typer.Option(
            metavar="FROM..TO", help="Of this time alone, in the trace's own seconds. One side may be left out."
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="So many rows of each figure, the largest.")] = 10,
    slices: Annotated[int, typer.Option(min=1, max=1000, help="So many slices of time at most, for --by time.")] = 20,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write all figures to a file (Parquet).")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace that file.")] = False,
    draws: Annotated[
        int, typer.Option(min=2, max=1000, help="So many times what was lost is drawn; the range comes from that.")
    ] = 16,
    seed: Annotated[int, typer.Option(min=0, help="Decides the draws: the same seed gives the same figures.")] = 0,
    examples: Annotated[
        list[Path] | None,
        typer.Option("--example", help="A complete trace to copy from as well. May be given several times."),
    ] = None,
    alone: Annotated[
        bool, typer.Option("--alone", help="Copy nothing from the recordings that come with tracemend.")
    ] = False,
    format: FormatOption = None,
    arch: ArchOption = "x86_64",
    strict: StrictOption = False,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Workers that mend the pieces of a large trace. Not given: one a processor."),
    ] = None,
    json_: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Count calls, errors, times and events; after a loss, say how many there probably were.

    What was lost is drawn several times as it may have been. A figure that no loss touches is exact, and says so. The
    trace is never touched.
    """
    from dataclasses import replace

    from tracemend.api import how
    from tracemend.formats.base import cores
    from tracemend.mending.options import Options
    from tracemend.outputs.figures import check, write
    from tracemend.reckoning.counting import Count
    from tracemend.reckoning.whole import asked, reckon

    source = on_disk(trace, quiet)
    count = Count(asked(by, None if span is None else _span(span)), draws)
    if output is not None:
        check(output, source, force)
    others = [read_trace(p, None, arch, strict) for p in examples or []]
    way = how(options=Options(seed), examples=others, alone=alone)
    way = replace(way, engine=chosen_engine("local", None, jobs, cores()))
    with TemporaryDirectory(prefix="tracemend-") as folder, progress("counting", quiet) as update:
        pieces = read_pieces(source, format, arch, strict, quiet=True)
        reckoning = reckon(
            pieces,
            way,
            count,
            lambda: Path(folder),
            lambda done: update(done.events, done.of, f"{plural(done.events, 'lost event')} drawn"),
        )
        made = reckoning.figures(by, slices)
    if output is not None:
        try:
            write([made], output)
        except OSError as e:
            raise OutputError(f"{output}: can't be written: {e.strerror or e}") from e
    if json_:
        print_json(made.as_dict() | {"input": str(trace)})
    else:
        _print(made, trace, top)


def _span(text: str) -> tuple[int, int]:
    """From and to in ns. Raises typer.BadParameter."""
    begin, dots, end = text.partition("..")
    try:
        if not dots or not (begin or end):
            raise ValueError
        sides = [int(Decimal(side) * 10**9) if side else None for side in (begin, end)]
        if any(side is not None and abs(side) >= 1 << 62 for side in sides):
            raise ValueError
    except (ValueError, InvalidOperation, OverflowError):
        raise typer.BadParameter(f"not FROM..TO in seconds: {text!r}", param_hint="--span") from None
    return (-(1 << 62) if sides[0] is None else sides[0]), ((1 << 62) if sides[1] is None else sides[1])


def _print(made: Figures, trace: Path, top: int) -> None:
    about = made.about
    kept, lost = about["events"], about["lost_events"]
    share = f"; {lost:,} were lost, {100 * lost / max(1, kept + lost):.1f} % of all" if about["lost"] else ""
    say(f"{trace}: {plural(kept, 'event')} survived{share}.")
    told = {row["figure"]: row for row in made.total.to_pylist()}
    there = [name for name, row in told.items() if row["high"] != 0]
    for name in [n for n in SHOWN[made.by] if n in there] or there[-1:]:
        _print_figure(made, name, told[name], top)
    say("")
    if about["lost"]:
        say(
            f"About: what there probably was, by {plural(about['draws'], 'draw')} of what was lost. Nine of ten times it lies "
            "within the range."
        )
    elif not made.notes:
        say("Nothing was lost: these figures are exact.")
    for note in made.notes:
        say(note)


def _print_figure(made: Figures, name: str, total: dict[str, Any], top: int) -> None:
    """The largest of one figure, and all together."""
    rows = made.of(name)
    shown = rows if made.by == "time" else rows.slice(0, top)
    first = {"call": ["call"], "thread": ["command", "tid"], "cpu": ["cpu"], "time": ["from"]}[made.by]
    lines = [_key(made, row) + _cells(name, row) for row in shown.to_pylist()]
    more = rows.num_rows - shown.num_rows
    rest = [""] * (len(first) - 1)
    if more:
        lines.append([f"{more:,} more", *rest, "", "", "", ""])
    lines.append(["all", *rest, *_cells(name, total)])
    say("")
    print_table([*first, "observed", "about", "range", "lost"], lines, title=TITLES[name])


def _key(made: Figures, row: dict[str, Any]) -> list[str]:
    if made.by == "thread":
        return [_short(row["key"]) or "-", str(row["tid"]) if row["tid"] >= 0 else "unknown"]
    if made.by == "cpu":
        return [cpu_name(row["cpu"])]
    if made.by == "time":
        return [str(row["begin_ns"]) if made.index else f"{row['begin_ns'] / 1e9:.9g} s"]
    return [_short(row["key"])]


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"


def _cells(name: str, row: dict[str, Any]) -> list[str]:
    """What was observed, about how much there was, between what, and the share that was lost."""

    def told(n: int) -> str:
        return duration(n) if name.endswith("_ns") else f"{n:,}"

    observed, about, low = (told(row[k]) for k in ("observed", "estimate", "low"))
    if row["exact"]:
        return [observed, observed, "exact", ""]
    if row["high"] is None:
        return [observed, f"{about} or more", f"from {low}", ""]
    high = told(row["high"])
    lost = f"{100 * row['lost']:.1f} %" if row["lost"] >= 0.0005 else "-"
    return [observed, about, low if low == high else f"{low} to {high}", lost]
