"""show: a mended trace in the terminal, as a whole or gap by gap."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from itertools import chain, repeat, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tracemend.cli.arguments import JsonOption, QuietOption, read_pieces, spare_pandas
from tracemend.cli.tables import OTHER, Block, blocks, folded, length
from tracemend.cli.terminal import (
    BOLD,
    complain,
    cpu_name,
    limit,
    painted,
    print_json,
    print_lines,
    print_table,
    say,
    width,
)
from tracemend.errors import TraceError
from tracemend.trace.evidence import duration, plural
from tracemend.untrusted import printable

if TYPE_CHECKING:
    import pyarrow as pa

    from tracemend.outputs.folder import Around, Ends, Folder, Row

#: Recorded events that are shown on each side of a gap.
SIDES = 5
#: Gaps of the list, and inferred events of one gap.
GAPS, EVENTS = 10, 40
#: Columns that the details of an event need to stand beside it; below it they begin so far from the left.
ROOM, INDENT = 24, 6
#: Stands in front of what was inferred, and what became of gaps, in words.
INFERRED = "┆"
STATES = {"filled": "filled", "refused": "refused", "left": "left open"}


def show(
    mended: Annotated[Path, typer.Argument(help="The folder that mend wrote.", metavar="OUT")],
    gap: Annotated[
        int | None, typer.Option(min=0, help="Show this gap: what was recorded around it, what was inferred in it.")
    ] = None,
    most: Annotated[
        int | None,
        typer.Option(
            min=1, help=f"How many gaps to list ({GAPS}), or how many inferred events of a gap to show ({EVENTS})."
        ),
    ] = None,
    hypotheses: Annotated[
        bool, typer.Option("--hypotheses", help="With --gap: also show the other fills that mend --hypotheses drew.")
    ] = False,
    trace: Annotated[
        Path | None, typer.Option(help="The trace that was mended, if it isn't where it was any more.")
    ] = None,
    json_: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show a mended trace: when each cpu lost events, the worst gaps, and with --gap one of them event by event.

    Inferred events have a bar (┆) in front and a confidence: how often such a guess is right. They are no evidence.
    """
    spare_pandas()
    from tracemend.outputs.folder import Folder

    if hypotheses and gap is None:
        raise typer.BadParameter("is for one gap: name it with --gap", param_hint="--hypotheses")
    folder = Folder.open(mended)
    if gap is None:
        if json_:
            print_json(_about(folder) | {"gaps": folder.worst()})
        else:
            _print_all(folder, most or GAPS)
        return
    row = folder.gap(gap)
    ends = folder.inferred(gap, most or EVENTS)
    sides = _recorded(folder, row, trace, quiet)
    others = folder.drawn(gap, most or EVENTS) if hypotheses else []
    if json_:
        print_json(_about(folder) | {"gap": row, **_as_dict(ends, sides, others)})
        return
    _print_gap(folder, row, ends, sides)
    if hypotheses:
        _print_drawn(ends, others)
    _print_next(folder, row, hypotheses)


def _about(folder: Folder) -> dict[str, Any]:
    return {"output": str(folder.path), **folder.header}


def _recorded(folder: Folder, row: Row, trace: Path | None, quiet: bool) -> Around | None:
    """The recorded events around a gap; None where nothing has them any more, which is told on stderr."""
    from tracemend.formats import FORMATS
    from tracemend.outputs.folder import around
    from tracemend.trace.syscalls import DEFAULT_ARCH, architectures

    source = trace or folder.original
    if source is None:
        complain(
            f"{folder.made_from or 'the trace'} is no longer there, so what was recorded around the gap isn't shown; "
            "--trace names where it is"
        )
        return None
    # a damaged overlay may name what nobody knows: the trace's content tells, too
    arch = folder.arch if folder.arch in architectures() else DEFAULT_ARCH
    found = around(
        read_pieces(source, folder.format if folder.format in FORMATS else None, arch, False, quiet), row, SIDES
    )
    if found is None:
        raise TraceError(source, 0, f"has no such gap: it isn't what it was when {folder.path} was made")
    return found


# All gaps ------------------------------------------------------------------------------------------------------------


def _print_all(folder: Folder, most: int) -> None:
    from tracemend.cli.lanes import lanes, when
    from tracemend.outputs.folder import likely_not_right, lost

    counted = [n for row in folder.gaps if (n := row["count"]) is not None]
    least = "at least " if len(counted) < len(folder.gaps) else ""
    kept = f"{plural(folder.span.events, 'event')} survived; " if folder.span else ""
    say(folder.described)
    if not folder.gaps:
        say(f"{kept}the trace has no gap, so nothing was inferred.")
        return
    say(f"{kept}{least}{plural(sum(counted), 'event')} were lost in {plural(len(folder.gaps), 'gap')}.")
    states = [row["status"] for row in folder.gaps]
    inferred = sum(row["events"] for row in folder.gaps if row["status"] == "filled")
    say(
        f"{plural(states.count('filled'), 'gap')} filled with {plural(inferred, 'inferred event')}, "
        f"{states.count('refused'):,} refused, {states.count('left'):,} left open. Inferred events are no evidence."
    )
    say("")
    print_lines(lanes(folder, width()))
    worst = folder.worst()[:most]
    say(f"\nThe worst gaps ({len(worst)} of {len(folder.gaps)}): most events likely not right; then those left open")
    rows = [
        (
            str(row["gap"]),
            cpu_name(row["cpu"]),
            "?" if lost(row) is None else f"{lost(row):,}",
            STATES[row["status"]] + (" (suspected)" if row["known"] == "suspected" else ""),
            "" if row["confidence"] is None else f"{row['confidence']:.2f}",
            "-" if (doubted := likely_not_right(row)) is None else f"{doubted:,.0f}",
            duration(row["end_ns"] - row["begin_ns"]) if folder.clocked else "-",
            when(row["begin_ns"], folder.clocked),
        )
        for row in worst
    ]
    at = "at (s)" if folder.clocked else "at"
    print_table(("gap", "cpu", "lost", "state", "confidence", "likely not right", "duration", at), rows)
    say("likely not right: so many inferred events are probably not what happened at their place, by their confidence")
    say(f"\nOne of them:  tracemend show {_typed(folder)} --gap {worst[0]['gap']}")
    if folder.made_from:
        say(f"Its figures:  tracemend figures {shlex.quote(folder.made_from)}")


def _typed(folder: Folder) -> str:
    return shlex.quote(str(folder.path))


# One gap -------------------------------------------------------------------------------------------------------------


def _print_gap(folder: Folder, row: Row, ends: Ends, sides: Around | None) -> None:
    from tracemend.cli.lanes import when
    from tracemend.outputs.folder import lost

    many, suspected = lost(row), row["known"] == "suspected"
    count = "an unknown number of events" if many is None else plural(many, "event")
    about = "about " if row["count"] is None and many is not None else ""
    cpu = f" of cpu {row['cpu']}" if row["cpu"] >= 0 else ""
    long = f" in {duration(row['end_ns'] - row['begin_ns'])}" if folder.clocked else ""
    say(f"Gap {row['gap']}{cpu}: {about}{count} {'probably ' if suspected else ''}lost{long}.")
    sure = "" if row["confidence"] is None else f" Mean confidence {row['confidence']:.2f}."
    why = f": {row['reason']}" if row["reason"] else ""
    state = (
        "Filled; a fill is a guess and no evidence" if row["status"] == "filled" else STATES[row["status"]].capitalize()
    )
    say(f"{state}{why}.{sure}")
    if suspected:
        say("The tracer marked no loss here: the events around tell of it.")
    say("")
    digits = 6 if not (row["begin_ns"] % 1000 or row["end_ns"] % 1000) else 9

    def time(ns: int) -> str:
        return when(ns, folder.clocked, digits)

    before, after = (_lines(t, time) for t in (sides.before, sides.after)) if sides else ([], [])
    first, last = _lines(ends.first, time), _lines(ends.last, time)
    rows = [*before, *first, *last, *after]
    inferred = f"{count} lost; what follows was inferred" if first else f"{count} lost; none was inferred"
    if sides and not before:
        inferred = f"the first events of this cpu: {inferred}"
    edges = {len(before): inferred}
    if ends.hidden:
        edges[len(before) + len(first)] = f"{ends.hidden:,} more inferred events (--most shows more)"
    until = len(before) + len(first) + len(last)
    if after and first:
        edges[until] = "recorded again"
    block = _with_details(rows, width(), limit() is not None)
    print_lines(painted(line, BOLD) for line in block.header)
    for i in range(len(rows) + 1):
        if i in edges:
            print_lines([painted(f"~~~ {edges[i]} ~~~", BOLD)])
        if i < len(rows):
            print_lines([painted(block.rows[i], "36" if rows[i][0] else "")])
    if sides and not after:
        print_lines([painted("~~~ the trace ends ~~~", BOLD)])


def _with_details(rows: Sequence[tuple[str, ...]], width: int, narrow: bool) -> Block:
    """Events as a table; narrow: whether it has to fit. Where there is little room, details that are longer stand in
    lines of their own below their event."""
    (block,) = blocks(("", "time", "task", "event", "confidence"), [row[:-1] for row in rows], width, 5, cut=narrow)
    heads = [row.split("\n") for row in block.rows]
    margin = max((length(line) for lines in (*heads, block.header) for line in lines), default=0) + 2
    room = max(width - margin, 0) if narrow else None
    made = []
    for (*_, details), head in zip(rows, heads, strict=True):
        said = printable(details)
        if room is not None and room < min(length(said), ROOM):
            lines = [*head, *(" " * INDENT + line for line in folded(said, max(ROOM, width - INDENT)))]
        else:
            told = [said] if room is None or not said else folded(said, room)
            lines = [f"{h}{' ' * (margin - length(h))}{line}" for h, line in zip_longest(head, told, fillvalue="")]
        made.append("\n".join(line.rstrip() for line in lines))
    return Block([*block.header[:-1], f"{block.header[-1]:{margin}}details"], made)


def _lines(events: pa.Table, time: Callable[[int], str]) -> list[tuple[str, ...]]:
    """Events as rows of a table: recorded ones with what they were told, inferred ones with what is known."""
    from tracemend.outputs.known import known

    inferred = "confidence" in events.column_names
    fields = known(events) if inferred else repeat(())
    rows: list[tuple[str, ...]] = []
    for event, told in zip(events.to_pylist(), fields, strict=False):
        details = _details(event) if not inferred else ", ".join(f"{k}={v} ({sure:.2f})" for k, v, sure in told)
        sure = f"{event['confidence']:.2f}" if inferred else ""
        rows.append((INFERRED if inferred else "", time(event["time_ns"]), _task(event), _event(event), sure, details))
    return rows


def _task(event: dict[str, Any]) -> str:
    """A thread as ftrace writes it: its command and its number."""
    if event["tid"] < 0:
        return event["comm"] or "unknown"
    return f"{event['comm'] or '<...>'}-{event['tid']}"


def _event(event: dict[str, Any]) -> str:
    name: str = event["name"]
    return name if event["phase"] == "instant" else f"{event['phase']:5} {name}"


def _details(event: dict[str, Any]) -> str:
    return f"= {event['ret']}" if event["ret"] is not None else event["args"] or ""


def _print_drawn(ends: Ends, others: Sequence[Ends]) -> None:
    """The fill and the other fills side by side."""
    if not others:
        say("\nNo other fills of this gap were drawn (mend --hypotheses draws some).")
        return
    say("\nOther fills that may be as true, event by event (=: the same as in the fill)")
    names = [
        ([_event(e) for e in o.first.to_pylist()], [_event(e) for e in o.last.to_pylist()]) for o in (ends, *others)
    ]
    firsts = zip_longest(*(first for first, _ in names), fillvalue="")
    lasts = list(zip_longest(*(last[::-1] for _, last in names), fillvalue=""))[::-1]
    rows = [
        (str(number), fill, *("=" if event == fill else event for event in rest))
        for number, (fill, *rest) in chain(enumerate(firsts, 1), enumerate(lasts, len(names[0][0]) + ends.hidden + 1))
    ]
    print_table(("event no.", "fill", *(f"{OTHER}{n}" for n in range(1, len(names)))), rows, keys=2)


def _print_next(folder: Folder, row: Row, hypotheses: bool) -> None:
    """What to type next."""
    say("")
    numbers = [r["gap"] for r in folder.gaps]
    at = numbers.index(row["gap"])
    beside = {"Previous:": numbers[at - 1 : at] if at else [], "Next:": numbers[at + 1 : at + 2]}
    for what, found in beside.items():
        for number in found:
            say(f"{what:10}tracemend show {_typed(folder)} --gap {number}")
    if row.get("agreement") is not None and not hypotheses:
        say(f"Others:   tracemend show {_typed(folder)} --gap {row['gap']} --hypotheses")


def _as_dict(ends: Ends, sides: Around | None, others: Sequence[Ends]) -> dict[str, Any]:
    def listed(table: pa.Table, **flags: bool) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = table.to_pylist(maps_as_pydicts="strict")
        return [row | flags for row in rows]

    return {
        "before": listed(sides.before, inferred=False) if sides else None,
        "inferred": [*listed(ends.first, inferred=True), *listed(ends.last, inferred=True)],
        "hidden": ends.hidden,
        "after": listed(sides.after, inferred=False) if sides else None,
        **({"hypotheses": [listed(o.first) + listed(o.last) for o in others]} if others else {}),
    }
