"""scan: what was lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tracemend.cli.arguments import (
    ArchOption,
    FormatOption,
    JsonOption,
    StrictOption,
    TraceArgument,
    glance,
    read_trace,
)
from tracemend.cli.terminal import GAPS_FOUND, duration, print_json, print_table, say

if TYPE_CHECKING:
    from tracemend.losses.scanning import QuickScan, Scan
    from tracemend.trace.events import Gap, Trace


def scan(
    trace: TraceArgument,
    format: FormatOption = None,
    arch: ArchOption = "x86_64",
    strict: StrictOption = False,
    suspect: Annotated[
        bool, typer.Option("--suspect", help="Also look for losses that the tracer doesn't mark (ftrace in drop mode).")
    ] = False,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="CTF only: look at the packets' headers and decode no event. Says where and how many."
        ),
    ] = False,
    json_: JsonOption = False,
    most: Annotated[int, typer.Option(min=0, help="How many gaps and unfinished calls to list.")] = 10,
) -> None:
    """Say what was lost: where, how many events, whose. Exit code 3 if anything was."""
    from tracemend.losses.scanning import QuickScan
    from tracemend.losses.scanning import scan as find

    findings: Scan | QuickScan
    if quick:
        if suspect:
            raise typer.BadParameter("--suspect needs the events, which --quick doesn't read", param_hint="--quick")
        findings = QuickScan(glance(trace, format, strict))
    else:
        findings = find(read_trace(trace, format, arch, strict), suspected=suspect)
    if json_:
        print_json(findings.as_dict())
    elif isinstance(findings, QuickScan):
        _print_quick(findings, most)
    else:
        _print_scan(findings, most)
    if findings.broken:
        raise typer.Exit(GAPS_FOUND)


def _print_quick(findings: QuickScan, most: int) -> None:
    seen, (begin, end) = findings.seen, findings.span
    packets, size = (sum(getattr(s, f) for s in seen.streams) for f in ("packets", "bytes"))
    say(
        f"{seen.path}: {seen.format}, {packets:,} packets of {size:,} bytes in {duration(end - begin)} "
        "(headers only: no event was read)"
    )
    if not findings.broken:
        say("No gap: the tracer marks no loss.")
        return
    say(f"{_number(seen.gaps)}; {findings.lost:,} events lost by the tracer's counts")
    _print_cpus(findings.cpus(), ("packets", "gaps", "lost"), duration)
    _print_over_time(findings.over_time())
    _print_largest(seen.gaps, most, "packet", duration, _seconds)


def _print_scan(findings: Scan, most: int) -> None:
    trace = findings.trace
    timed = trace.clock != "index"
    span = int(trace.time_ns.max() - trace.time_ns.min()) if len(trace) else 0
    length = duration(span) if timed else f"{span} positions"
    say(f"{trace.path}: {trace.format}, {len(trace):,} events in {length}")
    if not findings.broken:
        say("No gap: the tracer marks no loss.")
        return
    say(
        f"{_number(findings.gaps)}; {findings.lost:,} events lost by the tracer's counts, "
        f"{findings.share_lost:.1%} of all"
    )
    if trace.overwritten:
        say(f"{trace.overwritten:,} events were overwritten before the first one that is left")
    lasting = duration if timed else (lambda ns: "-")
    _print_cpus(findings.cpus(), ("events", "gaps", "lost", "share lost"), lasting)
    _print_over_time(findings.over_time())
    if findings.gaps:
        where = _seconds if timed else str
        _print_largest(findings.gaps, most, "line", lasting, where, lambda g: _commands(trace, findings.threads(g)))
    if findings.open_calls:
        shown = findings.open_calls[:most]
        rows = [(str(c.gap), str(c.tid), c.comm or "-", c.name, c.lost) for c in shown]
        title = f"\nsystem calls that lost a side ({len(shown)} of {len(findings.open_calls)})"
        print_table(("gap", "thread", "command", "call", "side"), rows, title)


def _number(gaps: Sequence[Gap]) -> str:
    """How many gaps there are, and how many of them have no count."""
    uncounted = sum(g.count is None for g in gaps)
    return f"{len(gaps):,} gaps" + (f", {uncounted} of them without a count" if uncounted else "")


def _seconds(ns: int) -> str:
    return f"{ns / 1e9:.6f} s"


def _print_cpus(rows: Sequence[dict[str, Any]], counts: Sequence[str], lasting: Callable[[float], str]) -> None:
    """A row a cpu: what is counted, the largest gap, the longest, and all of them together."""

    def cell(row: dict[str, Any], name: str) -> str:
        return f"{row['share_lost']:.1%}" if name == "share lost" else f"{row[name]:,}"

    print_table(
        ("cpu", *counts, "largest gap", "longest", "time lost"),
        [
            (
                str(row["cpu"]),
                *(cell(row, name) for name in counts),
                f"{row['largest']:,}",
                lasting(row["longest_ns"]),
                lasting(row["lost_ns"]),
            )
            for row in rows
        ],
    )


def _print_over_time(over_time: list[int]) -> None:
    if any(over_time):
        bars = " ▁▂▃▄▅▆▇█"
        top = max(over_time)
        say("\nlost over time  [" + "".join(bars[-(-c * 8 // top)] for c in over_time) + "]")


def _print_largest(
    gaps: Sequence[Gap],
    most: int,
    place: str,
    lasting: Callable[[float], str],
    where: Callable[[int], str],
    commands: Callable[[Gap], str] | None = None,
) -> None:
    """The largest gaps, a row each. place: what their position in the file is called."""
    largest = sorted(gaps, key=lambda g: (-(g.count or 0), -g.duration_ns))[:most]
    rows = [
        (
            str(g.number),
            str(g.cpu),
            "?" if g.count is None else f"{g.count:,}",
            g.known,
            lasting(g.duration_ns),
            str(g.line),
            where(g.begin_ns),
            *([commands(g)] if commands else []),
        )
        for g in largest
    ]
    columns = ("gap", "cpu", "lost", "known", "duration", place, "where", *(["command"] if commands else []))
    print_table(columns, rows, f"\nlargest gaps ({len(largest)} of {len(gaps)})")


def _commands(trace: Trace, tids: Sequence[int]) -> str:
    """The commands of these threads, the first few, and how many threads they are."""
    codes, comms = trace.comms
    last = [codes[trace.threads[t][-1]] for t in tids]
    names = list(dict.fromkeys(comms[c] for c in last if c >= 0))
    return ", ".join(names[:3]) + (" ..." if len(names) > 3 else "") + f" ({len(tids)} threads)"
