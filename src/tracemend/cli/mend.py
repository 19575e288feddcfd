"""mend: the gaps filled, beside the trace."""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tracemend import __version__
from tracemend.cli.arguments import (
    AddressOption,
    AloneOption,
    ArchOption,
    EngineOption,
    ExampleOption,
    FormatOption,
    JsonOption,
    LibraryOption,
    PieceJobsOption,
    QuietOption,
    SeedOption,
    StrictOption,
    TraceArgument,
    chosen_engine,
    chosen_format,
    in_bytes,
    own_examples,
    read_pieces,
    read_trace,
    read_windows,
    spare_pandas,
)
from tracemend.cli.inputs import on_disk
from tracemend.cli.terminal import complain, print_json, progress, say, tell
from tracemend.compiled import working_time
from tracemend.errors import OutputError, WorkerError
from tracemend.trace.evidence import plural

if TYPE_CHECKING:
    from tracemend.cli.terminal import Update
    from tracemend.mending.mended import Result
    from tracemend.mending.options import Options
    from tracemend.mending.pieces import Done

#: It is said how long a mend will take once this share of it was seen done and so many seconds passed, if it is so many
#: more.
ENOUGH, SOON, LONG = 0.02, 3.0, 10.0


def mend(
    trace: TraceArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder to write. It appears whole or not at all.")
    ],
    model: Annotated[
        str,
        typer.Option(
            help="Who fills the gaps: mosaic or lookup (both copy), mixture (both, and counts of what follows what), "
            "default (the mosaic and the network that comes with tracemend), or a folder made by train."
        ),
    ] = "mosaic",
    examples: ExampleOption = None,
    alone: AloneOption = False,
    library: LibraryOption = True,
    more_examples: Annotated[
        bool,
        typer.Option(
            "--more-examples",
            help="Copy from recordings of many more programs that come with tracemend: those that the trace is like.",
        ),
    ] = False,
    unknown: Annotated[
        Literal["leave", "estimate"],
        typer.Option(help="What to do with gaps of which the tracer doesn't tell how many events were lost."),
    ] = "leave",
    refuse: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Leave a gap open if the mean confidence of its fill is below this; figures count it all the same.",
        ),
    ] = 0.0,
    hypotheses: Annotated[
        int,
        typer.Option(
            min=0,
            max=100,
            help="Also draw this many other fills of each gap. Of very long gaps each one takes its time.",
        ),
    ] = 0,
    suits: Annotated[
        Literal["positions", "figures"],
        typer.Option(
            "--for",
            help="What is to be right: each event at its position, or how often each event occurs (takes longer).",
        ),
    ] = "positions",
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
    perfetto: Annotated[bool, typer.Option("--perfetto", help="Also write a trace for Perfetto's viewer.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the output folder of an earlier run.")] = False,
    seed: SeedOption = 0,
    format: FormatOption = None,
    arch: ArchOption = "x86_64",
    strict: StrictOption = False,
    jobs: PieceJobsOption = None,
    engine: EngineOption = "local",
    address: AddressOption = None,
    figures: Annotated[
        bool,
        typer.Option(
            "--figures/--no-figures",
            help="Also say how many calls there probably were, and how long (see tracemend figures); takes longer.",
        ),
    ] = True,
    budget: Annotated[
        float | None,
        typer.Option(
            min=0, metavar="SECONDS", help="After this long, fill the other pieces of a large trace by the lookup."
        ),
    ] = None,
    workdir: Annotated[
        Path | None,
        typer.Option(help="Where a large trace's inferred events wait to be written. Not given: beside the output."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Take up what a run of the same mend had done when it was stopped.")
    ] = False,
    json_: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Fill the gaps with inferred events. They go into a folder; the trace itself is never touched."""
    source = on_disk(trace, quiet)
    with progress("preparing", quiet):  # much is loaded, and examples are read
        spare_pandas()
        from tracemend.api import how, trained
        from tracemend.formats.base import cores
        from tracemend.menders.base import CONTEXT
        from tracemend.mending.options import Options
        from tracemend.mending.pieces import mend_pieces
        from tracemend.mending.run import COPIERS, MOSAIC
        from tracemend.outputs import check, write
        from tracemend.reckoning.counting import Count
        from tracemend.reckoning.intervals import DRAWS, FEW
        from tracemend.reckoning.reading import sentence
        from tracemend.reckoning.tally import Asked
        from tracemend.reckoning.whole import reckon
        from tracemend.trace.pieces import Piece
        from tracemend.whole import work_folder

        options = Options(seed, unknown, refuse, hypotheses, adapt, suits=suits, more_examples=more_examples)
        outputs = ["overlay", "report", *(["merged"] if merged else []), *(["perfetto"] if perfetto else [])]
        workers = chosen_engine(engine, address, jobs, cores())
        check(source, chosen_format(source, format, arch), output, outputs, force)
        # distant workers have the network sent: the folder may be on this machine alone
        network = trained(model) if (window_only or workers.distant) and model not in COPIERS else None
        pieces: Iterable[Piece]
        if window_only:
            for option, asked in (("--suspect", suspect), ("--perfetto", perfetto)):
                if asked:
                    raise typer.BadParameter(f"{option} needs the whole trace", param_hint="--window-only")
            context = max(CONTEXT, network.context if network else 0)
            pieces = [Piece.whole(read_windows(source, context, format, arch, strict))]
        else:
            pieces = read_pieces(source, format, arch, strict, quiet=True, jobs=1 if workers.alone else None)
        others = [read_trace(p, None, arch, strict, quiet=True) for p in examples or []]
        own = own_examples(library and not alone)
        way = replace(
            how(network or model, options, examples=others, alone=alone, library=False),
            library=own,
            engine=workers,
            suspect=suspect,
            budget=budget,
        )
        # only the mosaic draws, and a window isn't all of the trace
        counts = figures and model == MOSAIC and not window_only
        count = Count(Asked(("call", "thread")), max(hypotheses, FEW)) if counts else None
        work = (workdir or output.resolve().parent) / f".{output.resolve().name}.tracemend-work"
        key = _key(
            [source, *(examples or []), Path(model)],
            [format, arch, strict, model, alone, [e.sha256 for e in own], suspect, budget, counts],
            options,
        )
    stays = (KeyboardInterrupt, SystemExit, OSError, OutputError, WorkerError)
    try:
        with work_folder(work, key, resume, stays) as folder, progress("mending", quiet) as update:
            told, made = _told(update, source, quiet, count is not None), []
            if count is None:
                mended = mend_pieces(pieces, way, folder, told)
            else:
                reckoning = reckon(pieces, way, count, folder, told)
                mended = reckoning.result
                made = reckoning.every() if mended.fills else []
            paths = write(mended, output, outputs, force, lambda name: update(0, 0, f"writing {name}"), made, workers)
    except FileExistsError as e:
        raise OutputError(f"{work}: {e.strerror}") from e
    except stays as e:
        if work.exists():
            complain(f"stopped; what is done by now lies in {work}, and --resume takes it up")
        if isinstance(e, OSError) and not isinstance(e, BrokenPipeError):
            # what was read or written elsewhere is told as an error of its own
            raise OutputError(f"{work}: {e.strerror or e}") from e
        if isinstance(e, KeyboardInterrupt) and work.exists():
            raise typer.Exit(130) from None  # the line above says it
        raise
    if json_:
        print_json(
            {
                "output": str(output),
                "files": [str(p) for p in paths],
                "events": mended.events,
                "gaps": mended.gap_table(),
                "provenance": mended.provenance,
                **({"figures": [f.as_dict() for f in made]} if made else {}),
            }
        )
        return
    _print_fills(mended, hypotheses)
    if count and made and (found := sentence(made[0])):
        more = f"; tracemend figures takes {DRAWS}, and longer" if count.draws < DRAWS else ""
        say(f"{found} By {count.draws} fills of every gap, each as it may have been{more}.")
    for p in paths:
        say(f"  {p}")
    if sys.stdout.isatty():
        say(f"Look at it: tracemend show {shlex.quote(str(output))}")


def _key(given: list[Path], asked: list[object], options: Options) -> dict[str, object]:
    """What makes two mends the same: program, what is given as it lies on disk, and everything that was asked for."""
    from tracemend.formats import files

    # the time of change, which nobody sets: a copy may have the time of modification of what was there before
    stats = [(str(f.resolve()), f.stat()) for path in given for f in files(path)]
    told = [(name, s.st_size, s.st_ctime_ns) for name, s in stats]
    digest = hashlib.sha256(json.dumps([told, asked, repr(options)]).encode()).hexdigest()
    return {"tracemend": __version__, "asked": digest}


def _told(update: Update, source: Path, quiet: bool, counts: bool) -> Callable[[Done], None]:
    """How far a mend is: in events where it is known how many are lost, else in bytes of the trace. Once, as soon as
    that can be said, how long it will take. counts: figures are made, too."""
    from tracemend.formats import size

    whole, said = size(source), quiet
    begun: tuple[float, float] | None = None  # when it was first known how much is done, and how much that was

    def tell_far(done: Done) -> None:
        nonlocal begun, said
        known = 0 < done.taken <= whole  # not of what is packed
        if done.of:
            then = "; now the figures are counted" if counts and done.events >= done.of else ""
            update(done.events, done.of, f"lost events{then}")
        else:
            read, of, unit = in_bytes(done.taken, whole)
            update(read, of, f"{unit}: {plural(done.events, 'event')} in {plural(done.gaps, 'gap')}")
        share = done.events / done.of if done.of else done.taken / whole if known else 0.0
        if said or not share:
            return
        now = working_time()
        begun = begun or (now, share)
        since, more = now - begun[0], share - begun[1]
        if since >= SOON and more >= ENOUGH:
            said = True
            if (left := since * (1 - share) / more) >= LONG:
                tell(estimate(left, done, whole))

    return tell_far


def estimate(left: float, done: Done, whole: int) -> str:
    """What there is to do, and that it takes so many seconds more; of a trace that comes in pieces all of this by what
    came so far of its bytes."""
    events, gaps, how = done.of, done.gaps, ""
    if not done.of:
        lost, found, read = done.found
        events, gaps = lost * whole // max(1, read), found * whole // max(1, read)
        how = f", by the first {min(100, 100 * read // max(1, whole))} % of the trace"
    takes = plural(round(left / 60), "minute") if left >= 90 else f"{left:.0f} s"
    return f"about {takes} to go for {plural(events, 'event')} in {plural(gaps, 'gap')}{how}"


def _print_fills(mended: Result, hypotheses: int) -> None:
    """What became of the gaps, how sure the fills are, and what to know of them."""
    from tracemend.losses.verdict import UNKNOWN

    if not mended.fills:
        say(f"No gap to fill. {mended.verdict.sentence()}")
        if mended.verdict.word == UNKNOWN:
            say("To fill places where events don't fit together: --suspect --unknown estimate")
        return
    counts = mended.counts
    say(
        f"{plural(len(mended.fills), 'gap')}: {counts['filled']:,} filled with "
        f"{plural(mended.events, 'inferred event')}, "
        f"{counts['refused']:,} refused, {counts['left']:,} left open"
    )
    for f in [f for f in mended.fills if f.status != "filled"][:10]:
        say(f"  gap {f.gap}: {f.status}: {f.reason}")
    if mended.confidence is not None:
        unmet = sum(f.unmet for f in mended.fills)
        say(f"Mean confidence {mended.confidence:.2f}. Inferred events are no evidence.")
        if unmet:
            say(
                f"{unmet} calls that the surviving events leave open could not be closed: "
                "their gaps have no room for that."
            )
    if hypotheses and mended.filled:
        alike = sum(f.events * (f.agreement or 0.0) for f in mended.fills) / mended.events
        say(f"{hypotheses} hypotheses: {100 * alike:.0f} % of their events are the same as in the fills.")
    if mended.alike:
        say(mended.alike)
    for home, told in (("library", "your library"), ("programs", "recordings that come with tracemend")):
        if used := mended.provenance["options"].get(home):
            say(f"Copied also from {told}: {', '.join(e['name'] for e in used)}.")
    if mended.familiar:
        say(mended.familiar)
    partial = mended.trace.partial
    if partial is not None:
        say(partial.sentence(mended.outline.kept).capitalize() + ".")
