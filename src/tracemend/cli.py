"""The command line: one verb a job. stdout is data, stderr is narration.

Exit codes: 0 clean, 1 error, 2 usage, 3 gaps found (scan).
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from tracemend import __version__
from tracemend.errors import DataError, OutputError, TracemendError
from tracemend.events import Gap, Glance, Trace

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Find what a tracer lost, say so, and reconstruct it with every event flagged as inferred.",
)
# a report of 80 columns in a pipe would cut tables off; people's terminals say how wide they are
WIDTH = None if sys.stdout.isatty() else 120
out = Console(width=WIDTH, highlight=False, soft_wrap=not sys.stdout.isatty())
err = Console(stderr=True, highlight=False)

GAPS_FOUND = 3

datasets_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Data sets: list, fetch and audit them.")
app.add_typer(datasets_app, name="datasets")

TraceArgument = Annotated[
    Path, typer.Argument(help="The trace (of CTF, the folder); recognised by content.", metavar="TRACE")
]
FormatOption = Annotated[str | None, typer.Option("--format", help="Read as this format (tracemend formats).")]
ArchOption = Annotated[str, typer.Option(help="Architecture whose table names raw system-call numbers.")]
SkipOption = Annotated[bool, typer.Option("--skip-malformed", help="Pass over lines that can't be read.")]
SplitOption = Annotated[Path, typer.Option(help="Which recordings of the corpus are for what.")]
SPLIT = Path("experiments/workloads.toml")
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def main() -> None:
    """Run the command line; whatever a user can cause ends in one line on stderr."""
    try:
        app()
    except TracemendError as e:
        err.print(f"tracemend: {e}", markup=False, soft_wrap=True)
        code = 1
    except OSError as e:
        # stdout is full or whoever read it has gone; keep the interpreter from complaining about it once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(e, BrokenPipeError):
            err.print(f"tracemend: {e.filename or 'stdout'}: {e.strerror or e}", markup=False, soft_wrap=True)
        code = 1
    except MemoryError:
        err.print("tracemend: out of memory")
        code = 1
    else:
        code = 0
    sys.exit(code)


def _version(value: bool) -> None:
    if value:
        out.print(f"tracemend {__version__}")
        raise typer.Exit


@app.callback()
def _app(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass


def _read(path: Path, format: str | None, arch: str, skip_malformed: bool) -> Trace:
    from tracemend.formats import read

    _check_names(format, arch)
    trace = read(path, format, arch=arch, skip_malformed=skip_malformed)
    _warn(path, trace.warnings)
    return trace


def _read_windows(path: Path, context: int, format: str | None, arch: str, skip_malformed: bool) -> Trace:
    from tracemend.formats import chosen, read_windows, windowed

    _check_names(format, arch)
    found = chosen(path, format, arch).name
    if found not in windowed():
        raise typer.BadParameter(f"for {', '.join(windowed())} only, and this is {found}", param_hint="--window-only")
    trace = read_windows(path, context, format, arch=arch, skip_malformed=skip_malformed)
    _warn(path, trace.warnings)
    return trace


def _glance(path: Path, format: str | None, skip_malformed: bool) -> Glance:
    from tracemend.formats import glance

    _check_format(format)
    seen = glance(path, format, skip_malformed=skip_malformed)
    _warn(path, seen.warnings)
    return seen


def _check_names(format: str | None, arch: str) -> None:
    from tracemend.syscalls import architectures

    _check_format(format)
    if arch not in architectures():
        raise typer.BadParameter(
            f"unknown architecture {arch!r}; one of {', '.join(architectures())}", param_hint="--arch"
        )


def _check_format(name: str | None) -> None:
    from tracemend.formats import FORMATS

    if name is not None and name not in FORMATS:
        raise typer.BadParameter(f"unknown format {name!r}; one of {', '.join(FORMATS)}", param_hint="--format")


def _warn(path: Path, warnings: Sequence[str]) -> None:
    for warning in warnings:
        err.print(f"tracemend: {path}: {warning}", markup=False, soft_wrap=True)


def _json(document: object) -> None:
    sys.stdout.write(json.dumps(document) + "\n")


def _duration(ns: float) -> str:
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns:.0f} ns"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(
            name, justify="left" if name in ("known", "where", "command", "call", "side", "mender", "data") else "right"
        )
    return table


@app.command()
def scan(
    trace: TraceArgument,
    format: FormatOption = None,
    arch: ArchOption = "x86_64",
    skip_malformed: SkipOption = False,
    suspect: Annotated[
        bool, typer.Option("--suspect", help="Look for losses without a mark, too (ftrace in drop mode).")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Look at packets' headers and read no event (CTF): where and how many only.")
    ] = False,
    json_: JsonOption = False,
    most: Annotated[int, typer.Option(min=0, help="Gaps and open calls to list.")] = 10,
) -> None:
    """Say what was lost: where, how many, whose. Exit code 3 when there are gaps."""
    from tracemend.scanning import QuickScan
    from tracemend.scanning import scan as find

    findings: Any
    if quick:
        if suspect:
            raise typer.BadParameter("--suspect needs the events, which --quick doesn't read", param_hint="--quick")
        findings = QuickScan(_glance(trace, format, skip_malformed))
    else:
        findings = find(_read(trace, format, arch, skip_malformed), suspected=suspect)
    if json_:
        _json(findings.as_dict())
    elif quick:
        _print_quick(findings, most)
    else:
        _print_scan(findings, most)
    if findings.broken:
        raise typer.Exit(GAPS_FOUND)


def _print_quick(findings: Any, most: int) -> None:
    seen, (begin, end) = findings.seen, findings.span
    packets, size = (sum(getattr(s, f) for s in seen.streams) for f in ("packets", "bytes"))
    out.print(
        f"{seen.path}: {seen.format}, {packets:,} packets of {size:,} bytes in {_duration(end - begin)} "
        "(headers only: no event was read)",
        markup=False,
    )
    if not findings.broken:
        out.print("No gap: the tracer marks no loss.")
        return
    out.print(f"{_gaps_and_uncounted(seen.gaps)}; {findings.lost:,} events lost by the tracer's counts")
    table = _table("", "cpu", "packets", "gaps", "lost", "largest gap", "longest", "time lost")
    for row in findings.cpus():
        numbers = (f"{row[k]:,}" for k in ("packets", "gaps", "lost", "largest"))
        table.add_row(str(row["cpu"]), *numbers, _duration(row["longest_ns"]), _duration(row["lost_ns"]))
    out.print(table)
    _print_over_time(findings.over_time())
    largest = sorted(seen.gaps, key=lambda g: (-(g.count or 0), -g.duration_ns))[:most]
    title = f"\nlargest gaps ({len(largest)} of {len(seen.gaps)})"
    table = _table(title, "gap", "cpu", "lost", "known", "duration", "packet", "where")
    for g in largest:
        count = "?" if g.count is None else f"{g.count:,}"
        where = f"{g.begin_ns / 1e9:.6f} s"
        table.add_row(str(g.number), str(g.cpu), count, g.known, _duration(g.duration_ns), str(g.line), where)
    out.print(table)


def _gaps_and_uncounted(gaps: Sequence[Gap]) -> str:
    uncounted = sum(g.count is None for g in gaps)
    return f"{len(gaps):,} gaps" + (f", {uncounted} of them without a count" if uncounted else "")


def _print_over_time(over_time: list[int]) -> None:
    if any(over_time):
        bars = " ▁▂▃▄▅▆▇█"
        top = max(over_time)
        out.print("\nlost over time  [" + "".join(bars[-(-c * 8 // top)] for c in over_time) + "]", markup=False)


def _print_scan(findings: Any, most: int) -> None:
    trace = findings.trace
    index = trace.clock == "index"
    span = int(trace.time_ns.max() - trace.time_ns.min()) if len(trace) else 0
    length = f"{span} positions" if index else _duration(span)
    out.print(f"{trace.path}: {trace.format}, {len(trace):,} events in {length}", markup=False)
    if not findings.broken:
        out.print("No gap: the tracer marks no loss.")
        return
    out.print(
        f"{_gaps_and_uncounted(findings.gaps)}; {findings.lost:,} events lost by the tracer's counts, "
        f"{findings.share_lost:.1%} of all"
    )
    if trace.overwritten:
        out.print(f"{trace.overwritten:,} events were overwritten before the first one that is left")
    table = _table("", "cpu", "events", "gaps", "lost", "share lost", "largest gap", "longest", "time lost")
    for row in findings.cpus():
        times = ("-", "-") if index else (_duration(row["longest_ns"]), _duration(row["lost_ns"]))
        counts = (f"{row['events']:,}", f"{row['gaps']:,}", f"{row['lost']:,}", f"{row['share_lost']:.1%}")
        table.add_row(str(row["cpu"]), *counts, f"{row['largest']:,}", *times)
    out.print(table)
    _print_over_time(findings.over_time())
    if findings.gaps:
        largest = sorted(findings.gaps, key=lambda g: (-(g.count or 0), -g.duration_ns))[:most]
        table = _table(
            f"\nlargest gaps ({len(largest)} of {len(findings.gaps)})",
            "gap",
            "cpu",
            "lost",
            "known",
            "duration",
            "line",
            "where",
            "command",
        )
        comm_codes, comms = trace.comms
        threads = trace.threads
        for g in largest:
            tids = findings.threads(g)
            names = dict.fromkeys(comms[comm_codes[threads[t][-1]]] for t in tids if comm_codes[threads[t][-1]] >= 0)
            count = "?" if g.count is None else f"{g.count:,}"
            begin = str(g.begin_ns) if index else f"{g.begin_ns / 1e9:.6f} s"
            table.add_row(
                str(g.number),
                str(g.cpu),
                count,
                g.known,
                "-" if index else _duration(g.duration_ns),
                str(g.line),
                begin,
                _few(list(names), 3) + f" ({len(tids)} threads)",
            )
        out.print(table)
    if findings.open_calls:
        shown = findings.open_calls[:most]
        table = _table(
            f"\nsystem calls that lost a side ({len(shown)} of {len(findings.open_calls)})",
            "gap",
            "thread",
            "command",
            "call",
            "side",
        )
        for c in shown:
            table.add_row(str(c.gap), str(c.tid), c.comm or "-", c.name, c.lost)
        out.print(table)


def _few(names: list[str], most: int) -> str:
    return ", ".join(names[:most]) + (" ..." if len(names) > most else "")


@app.command()
def advise(
    trace: TraceArgument,
    format: FormatOption = None,
    arch: ArchOption = "x86_64",
    skip_malformed: SkipOption = False,
    buffer_kb: Annotated[
        int, typer.Option(min=0, max=1 << 30, help="The per-cpu buffer of the recording, in KiB, if you know it.")
    ] = 0,
    json_: JsonOption = False,
) -> None:
    """Say what buffer size would have sufficed at the observed rates."""
    from tracemend.scanning import advise as ask

    read_trace = _read(trace, format, arch, skip_malformed)
    advice = ask(read_trace)
    if json_:
        _json({"input": str(trace), "buffer_kb": buffer_kb, "cpus": [a.as_dict(buffer_kb) for a in advice]})
        return
    if not advice:
        out.print("No marked gap: the buffer sufficed.")
        return
    table = _table("", "cpu", "lost", "events/s in gaps", "bytes an event", "missing KiB", "sufficient KiB")
    for a in advice:
        row = a.as_dict(buffer_kb)
        least = "" if a.complete else "at least "
        table.add_row(
            str(a.cpu),
            f"{a.lost:,}",
            f"{row['events_per_second']:,}",
            str(row["bytes_per_event"]),
            f"{least}{row['missing_kb']:,}",
            f"{least}{row['sufficient_kb']:,}",
        )
    out.print(table)
    kb = max(a.sufficient_kb(buffer_kb) for a in advice)
    unknown = "" if buffer_kb else " (on top of the size it had: give it with --buffer-kb)"
    out.print(f"\nA per-cpu buffer of {kb:,} KiB would have held the largest backlog{unknown}:")
    for hint in (
        f"echo {kb} > /sys/kernel/tracing/buffer_size_kb",
        f"trace-cmd record -b {kb} ...",
        f"perf record -m {max(1, kb // 4)} ...",
        f"lttng enable-channel --subbuf-size={kb // 4}k --num-subbuf=4 ...",
    ):
        out.print(f"  {hint}", markup=False)
    out.print("Or lose less by tracing fewer events: name the system calls or the process.")


@contextmanager
def _progress(title: str, quiet: bool) -> Iterator[Any]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=err, transient=True, disable=quiet) as bar:
        task = bar.add_task(title, total=None, note="")

        def update(done: int, total: int, note: str = "") -> None:
            bar.update(task, completed=done, total=total, note=note)

        yield update


@app.command()
def mend(
    trace: TraceArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write; it appears whole or not at all.")],
    model: Annotated[
        str,
        typer.Option(
            help="mosaic or lookup (no network), default (the shipped network, too), or a folder made by train."
        ),
    ] = "mosaic",
    examples: Annotated[
        list[Path] | None, typer.Option("--example", help="A trace to copy from, too; repeatable.")
    ] = None,
    alone: Annotated[
        bool, typer.Option("--alone", help="Copy nothing from the recordings that ship with tracemend.")
    ] = False,
    unknown: Annotated[
        Literal["leave", "estimate"], typer.Option(help="What to do with gaps that have no count.")
    ] = "leave",
    refuse: Annotated[
        float, typer.Option(min=0, max=1, help="Leave gaps whose mean confidence is below this unfilled.")
    ] = 0.0,
    hypotheses: Annotated[
        int,
        typer.Option(
            min=0,
            max=100,
            help="Also draw so many other fills of each gap; of very long gaps each takes its time anew.",
        ),
    ] = 0,
    adapt: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="Learn from the intact part for so long: the mosaic is fitted, a network trained on (fills may then "
            "differ from run to run); 0: don't. Not given: the mosaic alone, where nothing like the trace was "
            "recorded before, by the number of lost events.",
        ),
    ] = None,
    suspect: Annotated[bool, typer.Option("--suspect", help="Take losses without a mark for gaps, too.")] = False,
    window_only: Annotated[
        bool, typer.Option("--window-only", help="Read only what lies around the gaps (CTF, docs/ctf.md).")
    ] = False,
    merged: Annotated[
        bool, typer.Option("--merged", help="Also the trace with its inferred events in it, marked (text, and CTF).")
    ] = False,
    perfetto: Annotated[bool, typer.Option("--perfetto", help="Also a trace for the Perfetto UI.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an output folder of an earlier run.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="The one source of chance: same seed, same bytes.")] = 0,
    format: FormatOption = None,
    arch: ArchOption = "x86_64",
    skip_malformed: SkipOption = False,
    json_: JsonOption = False,
) -> None:
    """Fill the gaps with inferred events, beside the trace; the trace itself is never touched."""
    from tracemend.api import load
    from tracemend.api import mend as fill
    from tracemend.mender import CONTEXT
    from tracemend.mending import COPIERS
    from tracemend.outputs import write
    from tracemend.scanning import scan as find

    if output.exists() and not force:
        raise OutputError(f"{output}: exists already; --force replaces an output folder")
    network = None
    if window_only:
        for option, asked in (("--suspect", suspect), ("--perfetto", perfetto)):
            if asked:
                raise typer.BadParameter(f"{option} needs the whole trace", param_hint="--window-only")
        network = None if model in COPIERS else load(model)
        broken = _read_windows(trace, max(CONTEXT, network.context if network else 0), format, arch, skip_malformed)
    else:
        broken = _read(trace, format, arch, skip_malformed)
    if suspect:
        broken = broken.with_gaps(find(broken, suspected=True).gaps)
    others = [_read(p, None, arch, skip_malformed) for p in examples or []]
    outputs = ["overlay", "report", *(["merged"] if merged else []), *(["perfetto"] if perfetto else [])]
    quiet = not sys.stderr.isatty()
    with _progress("mending", quiet) as progress:
        mended = fill(
            broken,
            network or model,
            seed=seed,
            unknown=unknown,
            refuse=refuse,
            hypotheses=hypotheses,
            adapt=adapt,
            examples=others,
            alone=alone,
            progress=progress,
        )
    paths = write(mended, output, outputs, force)
    counts = mended.counts
    if json_:
        _json(
            {
                "output": str(output),
                "files": [str(p) for p in paths],
                "events": mended.inferred.num_rows,
                "gaps": mended.gap_table(),
                "provenance": mended.provenance,
            }
        )
        return
    out.print(
        f"{len(mended.fills):,} gaps: {counts['filled']:,} filled with {mended.inferred.num_rows:,} inferred events, "
        f"{counts['refused']:,} refused, {counts['left']:,} left"
    )
    for f in [f for f in mended.fills if f.status != "filled"][:10]:
        out.print(f"  gap {f.gap}: {f.status}: {f.reason}", markup=False)
    if mended.inferred.num_rows:
        mean = sum(mended.inferred["confidence"].to_pylist()) / mended.inferred.num_rows
        unmet = sum(f.unmet for f in mended.fills)
        note = f"; {unmet} open calls found no room in their gap" if unmet else ""
        out.print(f"mean confidence {mean:.2f}{note}. Inferred events are no evidence.")
    if hypotheses and mended.filled:
        alike = sum(f.events * (f.agreement or 0.0) for f in mended.fills) / mended.inferred.num_rows
        out.print(f"{hypotheses} hypotheses: {100 * alike:.0f} % of their events are those of the fills.")
    if mended.familiar:
        out.print(mended.familiar)
    if broken.partial is not None:
        out.print(broken.partial.sentence(len(broken)).capitalize() + ".")
    for p in paths:
        out.print(f"  {p}", markup=False)


@app.command()
def evaluate(
    lossy: Annotated[Path, typer.Argument(help="The trace with gaps, or a folder of record --pair.", metavar="LOSSY")],
    complete: Annotated[
        Path | None,
        typer.Argument(
            help="The complete recording of the same run; not needed for a folder of record --pair.", metavar="COMPLETE"
        ),
    ] = None,
    model: Annotated[
        str, typer.Option(help="mosaic (no network), default (the shipped network, too), or a folder made by train.")
    ] = "mosaic",
    held_out: Annotated[
        list[Path] | None,
        typer.Option("--held-out", help="Another run's trace: how likely are the fills to who knows it? Repeatable."),
    ] = None,
    corpus: Annotated[
        Path | None, typer.Option(help="A folder of recordings whose validation part is held out, too.")
    ] = None,
    split: SplitOption = SPLIT,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    json_: JsonOption = False,
) -> None:
    """Compare the menders on a trace whose truth is known, by gap length."""
    from tracemend.api import load
    from tracemend.datasets import corpus as recordings
    from tracemend.evaluate import compare
    from tracemend.evaluate import held_out as likelihood_of
    from tracemend.mending import COPIERS
    from tracemend.recording import align, pairs
    from tracemend.vocabulary import universal
    from tracemend.windows import streams

    if complete is None:
        pair = pairs.read(lossy / "complete.parquet" if lossy.is_dir() else lossy)
    else:
        pair = align(_read(lossy, None, "x86_64", False), _read(complete, None, "x86_64", False))
    others = [_read(p, None, "x86_64", False) for p in held_out or []]
    others += recordings(corpus, "validation", split) if corpus else []
    likelihood = likelihood_of([s for t in others for s in streams(t, universal(), shortest=1)], universal())
    rows, figures = compare(pair, None if model in COPIERS else load(model), seed=seed, likelihood=likelihood)
    if json_:
        about = {"lossy": str(lossy), "complete": str(complete), "model": model, "seed": seed}
        about |= {"held_out": [str(t.path) for t in others]}
        _json({**about, "rows": rows, "figures": figures})
        return
    out.print(
        f"{len(pair.lossy):,} of {len(pair.complete):,} events survived; {len(pair.missing):,} gaps, every count "
        f"checked against the complete recording. Call and phase right, by gap length:"
    )
    table = _table(
        "", "length", "gaps", "mender", "accuracy", "95 % interval", "perfect", "ROUGE-L", "thread", "ECE", "seconds"
    )
    for name in dict.fromkeys(r["length"] for r in rows):
        for r in (r for r in rows if r["length"] == name):
            low, high = r["interval"]
            table.add_row(
                name,
                str(r["gaps"]),
                r["mender"],
                f"{r['accuracy']:.3f}",
                f"{low:.3f}-{high:.3f}",
                f"{r['perfect']:.3f}",
                f"{r['rouge_l']:.3f}",
                f"{r['threads']:.3f}",
                f"{r['calibration_error']:.3f}",
                f"{r['seconds']:.1f}",
            )
    out.print(table)
    if rows:
        _print_gaps([r for r in rows if r["length"] == "all"])
    out.print("Figures made from the whole trace: how far they are from those of the complete recording.")
    columns = {
        "call_counts": "calls per thread",
        "time_shares": "shares of time in calls",
        "unpaired": "unpaired enters and exits",
        "descriptors": "open descriptors per thread",
    }
    table = _table("", "", *columns.values())
    for name, far in figures.items():
        table.add_row(name, *(f"{100 * far[k]:.1f}%" for k in columns))
    out.print(table)


def _print_gaps(rows: list[dict[str, Any]]) -> None:
    """The figures made from each gap, means over all gaps; a row a mender."""
    percents = {
        "count_error": "counts wrong",
        "count_better": "counts better",
        "descriptors": "descriptors wrong",
        "time_error": "time error",
    }
    surprise = {"bits": "bits an event", "likelier": "likelier than the truth"} if "bits" in rows[0] else {}
    out.print("Figures made from each gap: how far they are from the truth, means over all gaps.")
    table = _table("", "", *percents.values(), *surprise.values())
    table.add_row("left open", "100.0%", "", f"{100 * rows[0]['descriptors_open']:.1f}%", "")
    for r in rows:
        likely = (f"{r['bits']:.2f}", f"{r['likelier']:.1%}") if surprise else ()
        table.add_row(r["mender"], *(f"{r[k]:.1%}" for k in percents), *likely)
    if surprise:
        table.add_row("the truth", "", "", "", "", f"{rows[0]['bits_truth']:.2f}", "")
    out.print(table)


@contextmanager
def _live() -> Iterator[Any]:
    """A line on the terminal about a recording that is going on, without getting in the command's way."""

    def say(events: int, rate: float, lost: int) -> None:
        if sys.stderr.isatty():
            err.print(f"{events:,} events, {rate:,.0f} a second, {lost:,} lost\033[K", end="\r", markup=False)

    yield say
    if sys.stderr.isatty():
        err.print("\033[K", end="\r")


def _say_pair(pair: Any, paths: list[Path], faults: list[str], json_: bool) -> None:
    lengths = sorted(len(m) for m in pair.missing)
    stated = sum(g.count is not None for g in pair.lossy.gaps)
    about = {
        "files": [str(p) for p in paths],
        "complete": len(pair.complete),
        "survived": len(pair.lossy),
        "lost": pair.lost,
        "gaps": len(lengths),
        "stated": stated,
        "faults": faults,
    }
    if json_:
        _json(about)
        return
    out.print(
        f"{len(pair.lossy):,} of {len(pair.complete):,} events survived; {pair.lost:,} were lost in {len(lengths):,} "
        f"gaps ({stated:,} with a count)" + (f" of {lengths[0]:,} to {lengths[-1]:,} events" if lengths else "")
    )
    if not faults:
        out.print("Checked: every stated count, the tracer's own sum and the events really missing agree.")
    for p in paths:
        out.print(f"  {p}", markup=False)


@app.command()
def record(
    command: Annotated[list[str], typer.Argument(help="What to run, behind --.", metavar="-- COMMAND...")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="File to write (.parquet; .txt: ftrace's text); with --pair a folder."),
    ],
    pair: Annotated[
        bool,
        typer.Option("--pair", help="Record twice at once: complete, and on a small buffer that loses events."),
    ] = False,
    events: Annotated[
        Literal["raw", "syscalls", "sched"],
        typer.Option(help="raw system calls; system calls with their arguments' names; raw ones and scheduling."),
    ] = "raw",
    tracer: Annotated[
        Literal["ftrace", "perf", "lttng"],
        typer.Option(help="Who records; perf and LTTng (user-space events of programs with tracepoints) pairs only."),
    ] = "ftrace",
    buffer: Annotated[
        int | None,
        typer.Option(min=4, max=1 << 24, help="KiB a cpu; 65536 if not given, with --pair 8 (the small buffer)."),
    ] = None,
    delay: Annotated[
        float, typer.Option(min=0, max=60_000, help="With --pair: mean pause of the small buffer's reader, in ms.")
    ] = 1.0,
    mode: Annotated[
        Literal["overwrite", "drop"],
        typer.Option(help="With --pair: a full buffer loses its oldest events, or its newest without any mark."),
    ] = "overwrite",
    seed: Annotated[int, typer.Option(min=0, help="With --pair: of the reader's pauses.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier recording.")] = False,
    json_: JsonOption = False,
) -> None:
    """Record the system calls of a command and its children (Linux, root). Exit code 3 when events were lost; with
    --pair 1 when the tracer's counts, its own sum and the events really missing don't agree."""
    from tracemend.formats import parquet
    from tracemend.recording import RecordError
    from tracemend.recording import ftrace as by_ftrace
    from tracemend.recording import lttng as by_lttng
    from tracemend.recording import perf as by_perf
    from tracemend.recording.pairs import refuse_existing, write_folder
    from tracemend.whole import whole_file

    if pair:
        refuse_existing(output, force)
    elif output.exists() and not force:
        raise OutputError(f"{output}: exists already; --force replaces it")
    if tracer == "perf" and (not pair or events != "raw" or mode != "overwrite"):
        raise typer.BadParameter("perf records pairs of raw events in overwrite mode only", param_hint="--tracer")
    if tracer == "lttng" and (not pair or events != "raw"):
        raise typer.BadParameter("LTTng records pairs, of all events that the program has", param_hint="--tracer")
    if not pair and output.suffix not in (".parquet", ".txt"):
        raise typer.BadParameter("a recording's name ends in .parquet or .txt", param_hint="--output")
    if not pair and output.suffix == ".txt" and events != "raw":
        raise typer.BadParameter("only raw events can be written as text", param_hint="--events")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that nothing is left behind
    with _live() as live:
        if not pair:
            whole = by_ftrace.record(command, events=events, buffer_kb=buffer or by_ftrace.COMPLETE_KB, live=live)
        elif tracer == "ftrace":
            both, lossy, faults = by_ftrace.record_pair(
                command,
                events=events,
                buffer_kb=buffer or 8,
                delay_ms=delay,
                overwrite=mode == "overwrite",
                seed=seed,
                live=live,
            )
            text = lossy.text() if events == "raw" else None
        elif tracer == "lttng":
            both, faults = by_lttng.record_pair(
                command, subbuf_kb=max(4, (buffer or 16) // by_lttng.NUMBER), overwrite=mode == "overwrite"
            )
            text = None
        else:
            pages = max(1, 1 << ((buffer or 4) // 4).bit_length() - 1)
            both, printed, faults = by_perf.record_pair(command, pages=pages, delay_ms=delay, seed=seed)
            text = iter([printed])
    if pair:
        _say_pair(both, write_folder(both, output, text, force=force), faults, json_)
        if faults:
            raise RecordError(f"{output}: {'; '.join(faults)}")
        return
    if output.suffix == ".txt":
        with whole_file(output) as file:
            file.writelines(line.encode() for line in whole.text())
    else:
        parquet.write(whole.trace, output)
    gaps = len(whole.trace.gaps)
    if json_:
        _json(
            {
                "output": str(output),
                "events": len(whole.trace),
                "gaps": gaps,
                "lost": whole.lost,
                "status": whole.status,
            }
        )
    else:
        out.print(f"{output}: {len(whole.trace):,} events of {len(whole.trace.threads):,} threads", markup=False)
        out.print(
            f"{whole.lost:,} events were lost in {gaps:,} gaps; a larger --buffer loses less."
            if whole.lost
            else "Nothing was lost."
        )
        if whole.status:
            ended = f"by {signal.Signals(-whole.status).name}" if whole.status < 0 else f"with status {whole.status}"
            out.print(f"The command ended {ended}.")
    if whole.lost:
        raise typer.Exit(GAPS_FOUND)


@app.command()
def strip(
    mended: Annotated[
        Path, typer.Argument(help="An output folder of mend, or a merged file or folder.", metavar="OUT")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File, or for CTF folder, to write; stdout if not given.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file, or an empty folder.")] = False,
) -> None:
    """Give back the original, byte for byte."""
    from tracemend.outputs import strip as undo

    if output is None:
        undo(mended, sys.stdout.buffer)
        return
    if output.exists() and not force:
        raise OutputError(f"{output}: exists already; --force replaces it")
    undo(mended, output, force=force)


@app.command()
def train(
    traces: Annotated[
        list[Path] | None,
        typer.Argument(help="Traces to learn from: what lies between their gaps.", metavar="TRACES..."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the model and the state of the run.")
    ] = Path("run"),
    recipe: Annotated[
        str | None, typer.Option(help="What to train (tracemend recipes); masked-transformer if not given.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Iterations; the recipe's own if not given.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The one source of chance; 0 if not given.")] = None,
    validate: Annotated[
        list[Path] | None, typer.Option("--validate", help="A trace to measure on; repeatable.")
    ] = None,
    corpus: Annotated[Path | None, typer.Option(help="A folder of recordings (make corpus) instead of TRACES.")] = None,
    split: SplitOption = SPLIT,
    every: Annotated[int, typer.Option(min=1, help="Steps between measurements and saves.")] = 250,
    compile: Annotated[
        bool, typer.Option("--compile", help="Compile the network first (needs a C++ compiler).")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Take up the run in the output folder, with its recipe, seed and iterations."),
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, or one of several (cuda:1).")] = "auto",
    arch: ArchOption = "x86_64",
) -> None:
    """Train a model on traces; it can be stopped and taken up again, and be shared by processes under torchrun."""
    from tracemend.mender import Restorer
    from tracemend.recipes import recipe as find
    from tracemend.training import Training, join, keep_memory
    from tracemend.vocabulary import Vocabulary, by_frequency, universal
    from tracemend.windows import streams

    chosen = find(recipe or "masked-transformer")
    device, first = join(device)
    if first and output.exists() and not resume:
        raise OutputError(f"{output}: exists already; --resume takes up the run in it")
    if bool(traces) == bool(corpus):
        raise typer.BadParameter("name traces or a --corpus, not both", param_hint="TRACES")
    if corpus:
        from tracemend.datasets import corpus as recordings

        learn, held_out = recordings(corpus, "train", split), recordings(corpus, "validation", split)
    else:
        learn = [_read(p, None, arch, False) for p in traces or []]
        held_out = [_read(p, None, arch, False) for p in validate or []]
    if resume:
        vocabulary = Vocabulary.load(output / "vocabulary.json")
    else:
        vocabulary = universal() if chosen.vocabulary == "universal" else by_frequency(learn)
    data = [s for t in learn for s in streams(t, vocabulary)]
    check = [s for t in held_out for s in streams(t, vocabulary)]
    if not data:
        raise TracemendError("no intact stretch of 32 events or more to train on")
    keep_memory()
    run = (
        Training.resume(output, vocabulary, device=device)
        if resume
        else Training(chosen, vocabulary, total=steps, seed=seed or 0, device=device)
    )
    for name, asked, has in (
        ("recipe", recipe, run.recipe.name),
        ("steps", steps, run.total),
        ("seed", seed, run.seed),
    ):
        if asked not in {None, has}:
            raise TracemendError(f"{output}: the run to take up has --{name} {has}, not {asked}")
    if compile:
        run.network.compile(dynamic=False)
    if not first:
        for _ in run.steps(data, check, every=every):
            pass
        return
    output.mkdir(parents=True, exist_ok=True)
    vocabulary.save(output / "vocabulary.json")
    parameters = sum(p.numel() for p in run.network.parameters())
    err.print(f"{run.recipe.name}: {parameters:,} parameters, {sum(map(len, data)):,} events to learn from")
    with open(output / "log.jsonl", "a") as log, _progress("training", not sys.stderr.isatty()) as progress:
        loss = 0.0
        for step in run.steps(data, check, every=every):
            loss = step.loss if not loss else 0.98 * loss + 0.02 * step.loss
            progress(step.number, run.total, f"loss {loss:.3f}")
            if step.number % every == 0 or step.number == run.total:
                row: dict[str, Any] = {"step": step.number, "loss": round(loss, 4), "rate": step.rate}
                row |= {"accuracy": step.validation, "validation_loss": step.validation_loss}
                log.write(json.dumps(row) + "\n")
                log.flush()
                run.save(output)
    Restorer(run.recipe, vocabulary, run.averaged()).save(output)
    out.print(str(output), markup=False)


@app.command()
def experiment(
    grid: Annotated[Path, typer.Argument(help="What to do: a TOML file of grids (experiments/).", metavar="FILE.toml")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Results to add to; FILE.jsonl in the current folder.")
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--from", help="Folder with the data sets, instead of what fetch has brought.")
    ] = None,
    models: Annotated[Path, typer.Option(help="Folder that keeps trained models.")] = Path("runs/experiments"),
    jobs: Annotated[int, typer.Option(min=1, help="Processes, each on one core.")] = 1,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Only this mender or data set of the grids; repeatable.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what is still to be done.")] = False,
) -> None:
    """Score menders over data sets, window lengths, gaps and seeds; what is done already is not done again."""
    from tracemend import lost
    from tracemend.experiment import narrowed, plan, read_grid, run
    from tracemend.results import read_results

    results = output or Path(f"{grid.stem}.jsonl")
    typed = " ".join(["tracemend", *map(shlex.quote, sys.argv[1:])])
    contests, grids = lost.read_contests(grid), read_grid(grid)
    if contests and grids:
        raise DataError(f"{grid}: [[grid]] and [[lost]] have different results: a file for each")
    tree = source or Path()
    if contests:
        contests = lost.narrowed(contests, only or [])
    else:
        grids = narrowed(grids, only or [])
    if dry_run and contests:
        for row in lost.plan(contests, lost.found(tree), read_results(results, lost.KEY, "gaps")):
            out.print(f"{row.pair} {row.mender} {row.model} seed {row.seed}", markup=False)
        return
    if dry_run:
        for job in plan(grids, read_results(results)):
            changes = "".join(f" {s}" for s in job.set)
            out.print(f"{job.data} {job.mender}{changes} length {job.length} seed {job.seed}: {len(job.cells)} cells")
        return
    with _progress("experiment", not sys.stderr.isatty()) as progress:
        if contests:
            added = lost.run(contests, results, tree, processes=jobs, command=typed, progress=progress)
        else:
            added = run(grids, results, source=source, models=models, processes=jobs, command=typed, progress=progress)
    err.print(f"{added:,} rows added", markup=False)
    out.print(str(results), markup=False)


@app.command()
def report(
    results: Annotated[list[Path], typer.Argument(help="Results of experiments.", metavar="RESULTS.jsonl...")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for tables.md, tables.csv and figures.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace such files in an existing folder.")] = False,
    plots: Annotated[bool, typer.Option("--figures", help="Figures, too (needs the plots extra).")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of Markdown.")] = False,
) -> None:
    """Make tables (Markdown, CSV) and figures from results of experiments."""
    from tracemend import lost
    from tracemend import report as make
    from tracemend.results import read_results

    missing = next((p for p in results if not p.exists()), None)
    if missing:
        raise TracemendError(f"{missing}: no such file")
    if all(lost.is_contest(p) for p in results):
        if output or as_csv or plots:
            raise typer.BadParameter("truly lost events have Markdown tables only", param_hint="RESULTS.jsonl")
        sys.stdout.write(lost.as_markdown([r for p in results for r in read_results(p, lost.KEY, "gaps")]))
        return
    rows = [row for p in results for row in read_results(p)]
    if plots and output is None:
        raise typer.BadParameter("figures need a folder (-o)", param_hint="--figures")
    if as_csv and output:
        raise typer.BadParameter("a folder (-o) has both tables, CSV and Markdown", param_hint="--csv")
    if output is None:
        sys.stdout.write(make.as_csv(rows) if as_csv else make.as_markdown(rows))
        return
    for path in make.write(rows, output, plots=plots, force=force):
        out.print(str(path), markup=False)


@app.command()
def formats(json_: JsonOption = False) -> None:
    """List the formats that can be read."""
    from tracemend.formats import FORMATS

    if json_:
        _json({f.name: f.title for f in FORMATS.values()})
        return
    for f in FORMATS.values():
        out.print(f"{f.name:12} {f.title}", markup=False)


@app.command()
def babeltrace() -> None:
    """Print the folder of babeltrace2's plug-in, which shows a mended trace without a copy of it (docs/ctf.md)."""
    from tracemend.outputs.ctf import PLUGIN_FOLDER

    sys.stdout.write(f"{PLUGIN_FOLDER}\n")


@app.command()
def recipes(json_: JsonOption = False) -> None:
    """List the models that can be trained."""
    from tracemend.recipes import RECIPES

    if json_:
        _json({r.name: r.as_dict() for r in RECIPES.values()})
        return
    for r in RECIPES.values():
        out.print(f"{r.name:28} {r.source}", markup=False)


NamesArgument = Annotated[
    list[str] | None, typer.Argument(help="Data sets (tracemend datasets list); all if not given.", metavar="NAMES...")
]


@datasets_app.command("list")
def datasets_list(json_: JsonOption = False) -> None:
    """List the data sets with their terms and whom to cite."""
    from tracemend.datasets import DATASETS

    if json_:
        _json([e.as_dict() for e in DATASETS.values()])
        return
    for family in dict.fromkeys(e.family for e in DATASETS.values()):
        entries = [e for e in DATASETS.values() if e.family == family]
        first = entries[0]
        title = first.title if len(entries) == 1 else f"{first.title}; {len(entries)} of this kind"
        out.print(f"{first.name:28} {title}", markup=False)
        for e in entries[1:]:
            out.print(f"{e.name:28} {e.title}", markup=False)
        for key, text in (("home", first.home), ("terms", first.terms), ("cite", first.citation), ("note", first.note)):
            out.print(f"    {key}: {text}", markup=False)


@datasets_app.command("fetch")
def datasets_fetch(
    names: NamesArgument = None,
    archive: Annotated[
        Path | None, typer.Option(help="The archive, if you have it, to convert instead of downloading it (adfa).")
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="Folder to fill; the cache ($TRACEMEND_DATA) if not given.")
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Bring data sets from their public homes, checked by content; what is wrong leaves nothing behind."""
    from tracemend.datasets import DATASETS, fetch, find

    # the hard versions are made from the same files
    chosen = names or list({e.file: n for n, e in reversed(DATASETS.items()) if e.fetch}.values())[::-1]
    paths = []
    for name in chosen:
        err.print(f"{name}: {find(name).home}", markup=False, soft_wrap=True)
        paths.append(fetch(name, to, archive))
        if not json_:
            out.print(str(paths[-1]), markup=False)
    if json_:
        _json({"files": [str(p) for p in paths]})


@datasets_app.command("audit")
def datasets_audit(
    names: NamesArgument = None,
    source: Annotated[
        Path | None, typer.Option("--from", help="Folder with the data sets, instead of what fetch has brought.")
    ] = None,
    length: Annotated[int, typer.Option(min=1, help="Events of a window.")] = 200,
    json_: JsonOption = False,
) -> None:
    """Say what test and training parts share: duplicates, windows and runs that occur in both, loops."""
    from tracemend.datasets import DATASETS, cache, load
    from tracemend.datasets.audit import audit, twins

    folder = cache() if source is None else source
    there = [n for n, e in DATASETS.items() if (folder / e.file).exists() and not n.startswith("pts-hard")]
    chosen = names or there
    if not chosen:
        raise TracemendError(f"{folder}: no data set there; 'tracemend datasets fetch' brings what is public")
    rows, study = [], {}
    with _progress("audit", not sys.stderr.isatty()) as progress:
        for done, name in enumerate(chosen):
            progress(done, len(chosen), name)
            data = load(name, source, length=length)
            rows.append(audit(data, length))
            if name.startswith("pts/"):
                study[name] = data
    same = twins(study)
    if json_:
        _json({"sets": rows, "twins": same})
        return
    table = _table(
        "", "data", "events", "ids", "duplicates", "distinct", "in training", "runs of 5", "10", "20", "40", "loop"
    )
    for r in rows:
        table.add_row(
            r["name"],
            f"{sum(r['events'].values()):,}",
            str(r["distinct_ids"]),
            f"{r['duplicates']['dropped']:,}",
            f"{r['distinct_train_windows']:.1%}",
            f"{r['test_windows_in_training']['train']:.1%}",
            *(f"{share:.1%}" for share in r["test_runs_in_training"].values()),
            f"{r['loop']['test']:.1%} of {r['loop']['period']}",
        )
    out.print(table)
    out.print(
        f"\nduplicates: traces dropped as equal to another. distinct: of the training windows of {length} (stride 5). "
        "in training: test windows that occur there word for word, and runs of n test events. loop: test events in "
        "stretches that repeat themselves after that many events.",
        markup=False,
    )
    for a, b in same:
        out.print(f"{a} and {b} have the same test windows, but for the names of the ids", markup=False)


if __name__ == "__main__":
    main()
