"""figures: how often, how long, who; and how sure that still is after a loss."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from tracemend.cli.arguments import (
    AloneOption,
    ArchOption,
    ExampleOption,
    FormatOption,
    JsonOption,
    LibraryOption,
    PieceJobsOption,
    QuietOption,
    StrictOption,
    TraceArgument,
    chosen_engine,
    in_bytes,
    own_examples,
    read_pieces,
    read_trace,
    spare_pandas,
)
from tracemend.cli.inputs import mended, on_disk, recorded
from tracemend.cli.terminal import complain, print_json, print_table, progress, say
from tracemend.errors import OutputError, TracemendError
from tracemend.trace.evidence import plural

if TYPE_CHECKING:
    from tracemend.cli.terminal import Update
    from tracemend.mending.pieces import Done
    from tracemend.reckoning.figures import Figures

#: Seconds that a time has at most.
LATEST = Decimal(4 * 10**9)


def figures(
    trace: TraceArgument,
    by: Annotated[str, typer.Option(help="What figures are of: call, thread, process, cpu or time.")] = "call",
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
        int | None,
        typer.Option(
            min=2,
            max=1000,
            help="So many times the gaps are filled (16 if not given); the range comes from how these fills differ.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Decides these fills: the same seed gives the same figures. 0 if not given."),
    ] = None,
    examples: ExampleOption = None,
    alone: AloneOption = False,
    library: LibraryOption = True,
    format: FormatOption = None,
    arch: ArchOption = "x86_64",
    strict: StrictOption = False,
    jobs: PieceJobsOption = None,
    json_: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Count calls, errors, times and events; after a loss, say how many there probably were.

    The gaps are filled many times, each time as it may have been: that gives an estimate and a range. A figure that no
    loss touches is exact, and says so. The trace is never touched. Of a folder that mend wrote its figures are read,
    unless what is asked for isn't there.
    """
    given = (span is not None, draws, seed is not None, examples, alone, not library, format, strict, arch != "x86_64")
    lying = None if any(given) else _lying(trace, by)
    if lying is not None:
        _give(lying, trace, output, force, json_, top)
        return
    trace = recorded(trace)
    source = on_disk(trace, quiet)
    with progress("preparing", quiet):  # much is loaded, and examples are read
        spare_pandas()
        from dataclasses import replace

        from tracemend.api import how
        from tracemend.formats import size
        from tracemend.formats.base import cores
        from tracemend.mending.options import Options
        from tracemend.outputs.figures import check
        from tracemend.reckoning.counting import Count
        from tracemend.reckoning.intervals import DRAWS
        from tracemend.reckoning.reading import shown
        from tracemend.reckoning.whole import asked, reckon

        count = Count(asked(by, None if span is None else _span(span)), draws or DRAWS)
        if output is not None:
            check(output, source, force)
        others = [read_trace(p, None, arch, strict, quiet=True) for p in examples or []]
        way = how(options=Options(seed or 0), examples=others, alone=alone, library=False)
        own = own_examples(library and not alone)
        workers = chosen_engine("local", None, jobs, cores())
        way = replace(way, library=own, engine=workers)
    with TemporaryDirectory(prefix="tracemend-") as folder, progress("counting", quiet) as update:
        pieces = read_pieces(source, format, arch, strict, quiet=True, jobs=1 if workers.alone else None)
        told = partial(_tell_far, update, size(source))
        reckoned = reckon(pieces, way, count, lambda: Path(folder), told)
        made = reckoned.figures(by, slices)
    if span is not None and not shown(made):
        first, last = (ns / 1e9 for ns in (reckoned.result.outline.begin_ns, reckoned.result.outline.end_ns))
        raise TracemendError(f"{trace}: has no event from {span}; it goes from {first:.9f} to {last:.9f} (seconds)")
    _give(made, trace, output, force, json_, top)


def _give(made: Figures, trace: Path, output: Path | None, force: bool, json_: bool, top: int) -> None:
    """Write them where that was asked for, and print them. Raises OutputError."""
    if output is not None:
        from tracemend.outputs.figures import check, write

        check(output, trace, force)
        try:
            write([made], output)
        except OSError as e:
            raise OutputError(f"{output}: can't be written: {e.strerror or e}") from e
    if json_:
        print_json(made.as_dict() | {"input": str(trace)})
    else:
        _print(made, trace, top)


def _lying(path: Path, by: str) -> Figures | None:
    """The figures that ``mend`` wrote into a folder, which is told on stderr; None where there are none by this, and
    for what is no such folder. Raises OutputError for damaged ones."""
    folder = mended(path)
    if folder is None:
        return None
    from tracemend.outputs.figures import read_all

    made = next((made for made in read_all(folder.path) if made.by == by), None)
    if made is None:
        return None
    complain(f"{folder.described} These are the figures that lie in it; --draws makes them anew.")
    return made


def _tell_far(update: Update, whole: int, done: Done) -> None:
    """Of a trace in pieces nobody knows yet how much was lost: so much of it is read."""
    if done.of:
        update(done.events, done.of, "lost events filled in")
    else:
        read, of, unit = in_bytes(done.taken, whole)
        update(read, of, f"{unit}: {plural(done.events, 'lost event')} filled in")


def _span(text: str) -> tuple[int, int]:
    """From and to in ns. Raises typer.BadParameter."""
    begin, dots, end = text.partition("..")
    try:
        if not dots or not (begin or end):
            raise ValueError
        sides = [Decimal(side) if side else usual for side, usual in ((begin, -LATEST), (end, LATEST))]
        if any(not -LATEST <= side <= LATEST for side in sides):
            raise ValueError
    except (ValueError, ArithmeticError):
        raise typer.BadParameter(f"not FROM..TO in seconds: {text!r}", param_hint="--span") from None
    return int(sides[0] * 10**9), int(sides[1] * 10**9)


def _print(made: Figures, trace: Path, top: int) -> None:
    from tracemend.reckoning.reading import explained, shown, table

    about = made.about
    kept, lost = about["events"], about["lost_events"]
    least = "at least " if about.get("uncounted") else ""  # what an earlier version wrote doesn't say
    share = f" ({least}{100 * lost / (kept + lost):.1f} % of all events)" if lost else ""
    say(f"{trace}: {plural(kept, 'event')} survived.")
    say(f"{about['verdict'].capitalize()}: {about['reason']}{share}.")
    for name in shown(made):
        found = table(made, name, top)
        say("")
        print_table(found.columns, found.rows, title=found.title)
    say("")
    for sentence in explained(made):
        say(sentence)
