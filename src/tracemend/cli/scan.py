"""scan: what was lost, and whether that can be known."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tracemend.cli.allowing import allowance, exit_code
from tracemend.cli.arguments import (
    AddressOption,
    ArchOption,
    EngineOption,
    FormatOption,
    JsonOption,
    QuietOption,
    StrictOption,
    checked,
    chosen_engine,
    glance,
    read_pieces,
)
from tracemend.cli.inputs import Stray, is_pipe, mended
from tracemend.cli.inputs import traces as named
from tracemend.cli.tables import BARS
from tracemend.cli.terminal import (
    CANT_TELL,
    GAPS_FOUND,
    close_stdout,
    complain,
    cpu_name,
    print_json,
    print_table,
    print_verdict,
    progress,
    say,
    warn,
    width,
)
from tracemend.errors import TraceError, TracemendError
from tracemend.trace.evidence import duration, plural

if TYPE_CHECKING:
    from tracemend.engines import Engine
    from tracemend.formats.base import Options
    from tracemend.losses.following import Following
    from tracemend.losses.scanning import QuickScan, Scan
    from tracemend.losses.seen import Seen
    from tracemend.outputs.folder import Folder
    from tracemend.trace.events import Gap

#: From good to bad: of several traces the worst decides. 1: one could not be read.
WORSE = (0, CANT_TELL, GAPS_FOUND, 1)


def scan(
    traces: Annotated[
        list[Path],
        typer.Argument(
            help="The traces to read: files, folders, patterns, or - for stdin. Their content tells the format.",
            metavar="TRACE...",
        ),
    ],
    format: FormatOption = None,
    arch: ArchOption = "x86_64",
    strict: StrictOption = False,
    suspect: Annotated[
        bool,
        typer.Option("--suspect", help="Look for losses without a mark even where the tracer marks its losses."),
    ] = False,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="CTF only: look at the packets' headers and decode no event. Says where and how many."
        ),
    ] = False,
    follow: Annotated[
        bool,
        typer.Option("--follow", help="Read a live pipe (cat trace_pipe | ...) and say when it loses something."),
    ] = False,
    max_lost: Annotated[
        str | None,
        typer.Option(
            metavar="N|N%", help="Exit with 0 if no trace lost more than this: a number of events, or a share (1%)."
        ),
    ] = None,
    accept_unknown: Annotated[
        bool, typer.Option("--accept-unknown", help="Exit with 0 where nobody can tell whether something was lost.")
    ] = False,
    engine: EngineOption = "local",
    address: AddressOption = None,
    json_: JsonOption = False,
    quiet: QuietOption = False,
    most: Annotated[int, typer.Option(min=0, help="How many gaps and unfinished calls to list.")] = 10,
) -> None:
    """Say whether a trace is complete or has lost events (where, how many, whose), or that nobody can tell.

    Exit code 0: complete, 3: lost, 4: can't tell. Of several traces the worst counts, and one that can't be read (1) is
    worse than one that lost events.
    """
    allowed = allowance(max_lost)
    if quick and suspect:
        raise typer.BadParameter("--suspect needs the events, which --quick doesn't read", param_hint="--quick")
    if quick and isinstance(allowed, float):
        raise typer.BadParameter("a share needs the events, which --quick doesn't read", param_hint="--max-lost")

    if follow:
        live = _followed(traces, format, checked(format, arch, strict), json_)
        raise typer.Exit(exit_code(live.verdict, live.losses, live.builder.rows, allowed, accept_unknown))

    from tracemend.losses.scanning import QuickScan
    from tracemend.losses.verdict import LOST

    workers = chosen_engine(engine, address, None)
    asked = Asked(format, arch, strict, suspect, quick)
    found = list(named(traces, format))
    paths = [one for one in found if isinstance(one, Path)]
    folders = {folder.original: folder for given in traces if (folder := mended(given))}
    codes = []
    try:
        for one in found:
            if isinstance(one, Stray):
                _print_stray(one, len(paths) > 1, json_)
        for path, findings in _of_all(paths, asked, workers, quiet):
            if isinstance(findings, TracemendError):
                codes.append(1)
                _print_unread(findings, path, len(paths) > 1, json_)
                continue
            if path in folders and not isinstance(findings, QuickScan):
                _complain_of_change(findings, folders[path])
            kept = 0 if isinstance(findings, QuickScan) else len(findings.seen)
            codes.append(exit_code(findings.verdict, findings.losses, kept, allowed, accept_unknown))
            if json_:
                print_json(findings.as_dict() | {"input": str(path)})
            elif len(paths) > 1:
                share = "" if isinstance(findings, QuickScan) or not findings.lost else _share(findings)
                compared = ("more than", "within")[not codes[-1]]
                within = f", {compared} --max-lost" if findings.verdict.word == LOST and max_lost else ""
                say(f"{findings.verdict.word:10}  {path}: {findings.verdict.reason}{share}{within}")
            else:
                _print(findings, path, most)
        sys.stdout.flush()
    except BrokenPipeError:
        close_stdout()  # whoever reads has seen enough; what was found by now stays found
    code = max(codes, key=WORSE.index)
    if code:
        raise typer.Exit(code)


def _print_unread(error: TracemendError, path: Path, several: bool, json_: bool) -> None:
    """A trace that can't be read, on stderr and, of several, among the others."""
    complain(str(error))
    if json_:
        print_json({"input": str(path), "error": str(error)})
    elif several:
        say(f"{'unreadable':10}  {path}")


def _print_stray(stray: Stray, several: bool, json_: bool) -> None:
    """A file that is no trace, which no exit code speaks of."""
    complain(f"{stray.why} (passed over)")
    if json_:
        print_json({"input": str(stray.path), "no_trace": stray.why})
    elif several:
        say(f"{'no trace':10}  {stray.path}")


def _complain_of_change(findings: Scan, folder: Folder) -> None:
    """Where a trace isn't what it was when it was mended, its losses may be others."""
    source, digest = folder.original, findings.trace.provenance.get("sha256")
    if str(source) == folder.made_from and digest != folder.header.get("input_sha256"):
        complain(f"{source}: has changed since {folder.path} was made from it")


@dataclass(frozen=True)
class Asked:
    """How each of several traces is to be scanned."""

    format: str | None
    arch: str
    strict: bool
    suspect: bool
    quick: bool

    def findings(self, path: Path, quiet: bool) -> Scan | QuickScan | TracemendError:
        """What was lost, or why nobody can say."""
        from tracemend.losses.scanning import QuickScan, scan_pieces

        try:
            if self.quick:
                return QuickScan(glance(path, self.format, self.strict))
            pieces = read_pieces(path, self.format, self.arch, self.strict, quiet)
            return scan_pieces(pieces, suspected=self.suspect)
        except TracemendError as e:
            return e


def _of_all(
    paths: Sequence[Path], asked: Asked, workers: Engine, quiet: bool
) -> Iterator[tuple[Path, Scan | QuickScan | TracemendError]]:
    """Each trace with its findings, in order."""
    from tracemend.engines import at_work

    if workers.alone:
        yield from ((path, asked.findings(path, quiet)) for path in paths)
        return
    for path in paths:
        if is_pipe(path):
            raise typer.BadParameter(f"{path} is a pipe, which other machines can't read", param_hint="--engine")
    # the formats' and architectures' names are looked at here
    checked(asked.format, asked.arch, asked.strict)
    with at_work(workers, asked) as crew, progress("scanning", quiet) as update:
        found = crew.in_order(_elsewhere, (p.resolve() for p in paths))
        for done, (path, findings) in enumerate(zip(paths, found, strict=True)):
            update(done + 1, len(paths))
            yield path, _renamed(findings, path)


def _elsewhere(asked: Asked, path: Path) -> Scan | QuickScan | TracemendError:
    """Scan a trace on whichever machine this is. The events stay there."""
    from tracemend.losses.scanning import QuickScan

    findings = asked.findings(path, quiet=True)
    if isinstance(findings, TracemendError | QuickScan):
        return findings
    trace = findings.trace
    return replace(findings, trace=replace(trace, table=trace.table.slice(0, 0)))


def _renamed(findings: Scan | QuickScan | TracemendError, path: Path) -> Scan | QuickScan | TracemendError:
    """With the trace's path as it was given, and warnings said here."""
    from tracemend.losses.scanning import QuickScan

    if isinstance(findings, TraceError):
        return TraceError(path, findings.line, findings.message)
    if not isinstance(findings, TracemendError):
        warn(path, (findings.seen if isinstance(findings, QuickScan) else findings.trace).warnings)
    return findings


def _followed(traces: list[Path], format: str | None, options: Options, json_: bool) -> Following:
    from tracemend.cli.follow import follow

    if len(traces) > 1 or not is_pipe(traces[0]):
        raise typer.BadParameter("takes one pipe: cat trace_pipe | tracemend scan - --follow", param_hint="--follow")
    return follow(traces[0], format, options, json_)


def _print(findings: Scan | QuickScan, path: Path, most: int) -> None:
    from tracemend.losses.scanning import QuickScan

    if isinstance(findings, QuickScan):
        _print_quick(findings, path, most)
    else:
        _print_scan(findings, path, most)


def _print_quick(findings: QuickScan, path: Path, most: int) -> None:
    seen, (begin, end) = findings.seen, findings.span
    packets, size = (sum(getattr(s, f) for s in seen.streams) for f in ("packets", "bytes"))
    say(
        f"{path}: {seen.format}, {packets:,} packets of {size:,} bytes in {duration(end - begin)} "
        "(headers only: no event was read)"
    )
    print_verdict(findings.verdict)
    if not seen.gaps:
        return
    _print_cpus(findings.cpus(), ("packets", "gaps", "lost"), duration)
    _print_over_time(findings.over_time())
    _print_largest(seen.gaps, most, "packet", duration, _seconds)


def _print_scan(findings: Scan, path: Path, most: int) -> None:
    trace = findings.trace
    timed = trace.clock != "index"
    seen = findings.seen
    span = seen.end_ns - seen.begin_ns
    length = duration(span) if timed else plural(span, "position")
    say(f"{path}: {trace.format}, {plural(len(seen), 'event')} in {length}")
    print_verdict(findings.verdict, _share(findings) if findings.lost else "")
    if not findings.gaps:
        return
    lasting = duration if timed else (lambda ns: "-")
    _print_cpus(findings.cpus(), ("events", "gaps", "lost", "share lost"), lasting)
    _print_over_time(findings.over_time())
    where = _seconds if timed else str
    _print_largest(findings.gaps, most, "line", lasting, where, lambda g: _commands(seen, findings.threads(g)))
    if findings.calls:
        shown = list(islice(findings.calls, most))
        rows = [(str(c.gap), str(c.tid), c.comm or "-", c.name, c.lost) for c in shown]
        title = f"\nsystem calls that lost a side ({len(shown)} of {len(findings.calls)})"
        print_table(("gap", "thread", "command", "call", "side"), rows, title)


def _share(findings: Scan) -> str:
    least = "at least " if findings.losses.uncounted else ""
    share = f"{least}{findings.share_lost:.1%} of all events"
    return f"; altogether {share}" if findings.losses.unplaced else f" ({share})"


def _seconds(ns: int) -> str:
    return f"{ns / 1e9:.6f} s"


def _print_cpus(rows: Sequence[dict[str, Any]], counts: Sequence[str], lasting: Callable[[float], str]) -> None:
    """A row a cpu: what is counted, the largest gap, the longest, and all of them together."""

    def cell(row: dict[str, Any], name: str) -> str:
        if name not in ("lost", "share lost", "largest"):
            return f"{row[name]:,}"
        if row["uncounted"] and not row["lost"]:
            return "?"
        least = "at least " if row["uncounted"] else ""
        return f"{least}{row['share_lost']:.1%}" if name == "share lost" else f"{least}{row[name]:,}"

    print_table(
        ("cpu", *counts, "largest gap", "longest", "time lost"),
        [
            (
                cpu_name(row["cpu"]),
                *(cell(row, name) for name in counts),
                cell(row, "largest"),
                lasting(row["longest_ns"]),
                lasting(row["lost_ns"]),
            )
            for row in rows
        ],
    )


def _print_over_time(over_time: list[int]) -> None:
    if any(over_time):
        title = "\nlost over time  "
        while len(title) + len(over_time) > width() and len(over_time) > 1:
            over_time = [sum(over_time[i : i + 2]) for i in range(0, len(over_time), 2)]
        top = max(over_time)
        say(f"{title}[" + "".join(BARS[-(-c * 8 // top)] for c in over_time) + "]")


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
            cpu_name(g.cpu),
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


def _commands(seen: Seen, tids: Sequence[int]) -> str:
    """The commands of these threads, the first few, and how many threads they are."""
    names = list(dict.fromkeys(name for t in tids if (name := seen.commands.get(t)) is not None))
    return ", ".join(names[:3]) + (" ..." if len(names) > 3 else "") + f" ({plural(len(tids), 'thread')})"
