"""library: the user's own recordings, which mend copies from by itself."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tracemend.cli.arguments import (
    ArchOption,
    FormatOption,
    JsonOption,
    QuietOption,
    StrictOption,
    TraceArgument,
    own_examples,
    read_pieces,
    read_trace,
)
from tracemend.cli.inputs import mended
from tracemend.cli.terminal import complain, print_json, print_table, say
from tracemend.errors import TraceError
from tracemend.trace.evidence import plural


def add(
    trace: Annotated[
        Path,
        typer.Argument(help="The recording to add: a trace that lost nothing, if you have one.", metavar="TRACE"),
    ],
    name: Annotated[str | None, typer.Option(help="What to call it. Not given: as the file is called.")] = None,
    format: FormatOption = None,
    arch: ArchOption = "x86_64",
    strict: StrictOption = False,
    json_: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Add a recording to your library. From then on mend copies from it, where a trace is like it.

    What is kept: which events followed each other, by which thread. It stays on this machine.
    Of a trace that lost events the stretches between its gaps are kept.
    """
    from tracemend import library

    if mended(trace) is not None:
        raise TraceError(trace, 0, "is a mended trace, and a fill is no evidence: not added")
    recording, new = library.put(read_pieces(trace, format, arch, strict, quiet), name)
    if json_:
        print_json(asdict(recording) | {"new": new})
    elif not new:
        say(f"{trace}: is in the library already, as {recording.name}; nothing was done.")
    else:
        say(f"{recording.name}: {plural(recording.events, 'event')} added to your library ({library.folder()}).")
        if recording.note:
            say(recording.note)


def listed(json_: JsonOption = False) -> None:
    """List the recordings of your library."""
    from tracemend import library

    found = library.read()
    for fault in found.passed_over:
        complain(fault)
    if json_:
        print_json({"folder": str(library.folder()), "recordings": [asdict(r) for r in found.recordings]})
        return
    if not found.recordings:
        say(f"Your library is empty ({library.folder()}). Add a recording: tracemend library add TRACE")
        return
    rows = [(r.name, f"{r.events:,}", r.tracer, r.added, r.sha256[:12], r.source) for r in found.recordings]
    print_table(("recording", "events", "recorded by", "added (UTC)", "hash", "file"), rows, str(library.folder()))
    for r in found.recordings:
        if r.note:
            say(f"{r.name}: {r.note}")


def remove(
    names: Annotated[list[str], typer.Argument(help="Names, as list shows them.", metavar="NAME...")],
    json_: JsonOption = False,
) -> None:
    """Remove recordings from your library. The traces that they were made of stay as they are."""
    from tracemend import library

    gone = [library.remove(name) for name in names]
    if json_:
        print_json([asdict(r) for r in gone])
        return
    for recording in gone:
        say(f"{recording.name}: removed from your library.")


def like(
    trace: TraceArgument,
    most: Annotated[int, typer.Option(min=1, help="How many recordings to list.")] = 10,
    format: FormatOption = None,
    arch: ArchOption = "x86_64",
    strict: StrictOption = False,
    json_: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Say which recordings a trace is like, of those that come with tracemend and of your library.

    Each with the share of the trace that stands in it word for word: of every 6 events in a row, how many occur there.
    """
    own = own_examples(True)
    from tracemend.menders.examples import packaged
    from tracemend.menders.likeness import likeness
    from tracemend.trace.vocabulary import universal
    from tracemend.trace.windows import streams

    read = read_trace(trace, format, arch, strict, quiet)
    vocabulary = universal().extended(read)
    examples = [*packaged(more=True), *own]
    shares = likeness(streams(read, vocabulary, shortest=1), examples, vocabulary)
    ranked = sorted(zip(shares, examples, strict=True), key=lambda pair: (-pair[0], pair[1].name))[:most]
    if json_:
        print_json([{"name": e.name, "own": e.own, "share": round(share, 4)} for share, e in ranked])
        return
    homes = {True: "your library", False: "tracemend"}
    print_table(("recording", "share", "comes from"), [(e.name, f"{100 * s:.1f} %", homes[e.own]) for s, e in ranked])
