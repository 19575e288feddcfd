"""record: complete recordings, and pairs that really lose events."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tracemend.cli.arguments import JsonOption, QuietOption
from tracemend.cli.terminal import GAPS_FOUND, print_json, progress, say, tell
from tracemend.errors import OutputError
from tracemend.trace.evidence import plural


@contextmanager
def _live(quiet: bool) -> Iterator[Any]:
    """How far a recording is: a line on the terminal, which doesn't get in the command's way; else one now and then."""
    if quiet or not sys.stderr.isatty():
        with progress("recording", quiet) as update:
            yield lambda events, rate, lost: update(0, 0, _far(events, rate, lost))
        return

    def put(text: str) -> None:
        sys.stderr.write(f"{text}\033[K\r")
        sys.stderr.flush()

    put("recording")
    yield lambda events, rate, lost: put(_far(events, rate, lost))
    put("")


def _far(events: int, rate: float, lost: int) -> str:
    return f"{plural(events, 'event')}, {rate:,.0f} a second, {lost:,} lost"


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
        print_json(about)
        return
    say(
        f"{len(pair.lossy):,} of {len(pair.complete):,} events survived; {pair.lost:,} were lost in {len(lengths):,} "
        f"gaps ({stated:,} with a count)" + (f" of {lengths[0]:,} to {lengths[-1]:,} events" if lengths else "")
    )
    if not faults:
        say("Checked: every stated count, the tracer's own sum and the events really missing agree.")
    for p in paths:
        say(f"  {p}")


def _say_absent(trace: Any) -> None:
    """What was asked for and can't be there."""
    absent = trace.provenance.get("absent")
    if absent:
        tell(f"This kernel has no {', '.join(absent)}: recorded without.")


def record(
    command: Annotated[list[str], typer.Argument(help="The command to run, behind --.", metavar="-- COMMAND...")],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="The file to write (.parquet, or .txt for ftrace's text); with --pair a folder."
        ),
    ],
    pair: Annotated[
        bool,
        typer.Option(
            "--pair", help="Record the run twice at once: completely, and into a small buffer that loses events."
        ),
    ] = False,
    events: Annotated[
        Literal["raw", "syscalls", "sched", "kernel"],
        typer.Option(
            help="raw: system calls. syscalls: with their arguments by name. sched: raw, and scheduling. kernel: "
            "sched, interrupts, timers, block I/O, network, idle, page faults."
        ),
    ] = "raw",
    of: Annotated[
        Literal["command", "machine"] | None,
        typer.Option(
            help="Whose events: the command's and its children's, or, while it runs, the whole machine's. If not "
            "given, the machine's for --events kernel, else the command's.",
            show_default=False,
        ),
    ] = None,
    tracer: Annotated[
        Literal["ftrace", "perf", "lttng"],
        typer.Option(help="Who records. perf, and lttng (a program's own tracepoints), need --pair."),
    ] = "ftrace",
    buffer: Annotated[
        int | None,
        typer.Option(
            min=4,
            max=1 << 24,
            help="Size of the buffer in KiB a cpu: 65536 if not given; of the small buffer of --pair 8, for the whole "
            "machine 64.",
        ),
    ] = None,
    delay: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=60_000,
            help="With --pair: how long the small buffer's reader pauses, in ms on average: 1 if not given, for the "
            "whole machine 10.",
        ),
    ] = None,
    mode: Annotated[
        Literal["overwrite", "drop"],
        typer.Option(help="With --pair: a full buffer loses its oldest events, or (drop) its newest, without a mark."),
    ] = "overwrite",
    seed: Annotated[int, typer.Option(min=0, help="With --pair: decides how long the reader pauses each time.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier recording.")] = False,
    json_: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Record what a command and its children do, or the whole machine while it runs (Linux, root).

    Exit code 3 if events were lost. With --pair exit code 1 if the tracer's counts, its own sum and the events that are
    really missing don't agree.
    """
    from tracemend.formats import parquet
    from tracemend.recording import RecordError, Wanted
    from tracemend.recording import ftrace as by_ftrace
    from tracemend.recording import lttng as by_lttng
    from tracemend.recording import perf as by_perf
    from tracemend.recording.pairs import refuse_existing, write_folder
    from tracemend.whole import whole_file

    if pair:
        refuse_existing(output, force)
    elif output.exists() and not (force and output.is_file()):
        raise OutputError(f"{output}: exists already; --force replaces it")
    if tracer != "ftrace" and of == "machine":
        raise typer.BadParameter("only ftrace records the whole machine", param_hint="--of")
    if tracer == "perf" and (not pair or events != "raw" or mode != "overwrite"):
        raise typer.BadParameter("perf records pairs of raw events in overwrite mode only", param_hint="--tracer")
    if tracer == "lttng" and (not pair or events != "raw"):
        raise typer.BadParameter("LTTng records pairs, of all events that the program has", param_hint="--tracer")
    if not pair and output.suffix not in (".parquet", ".txt"):
        raise typer.BadParameter("a recording's name ends in .parquet or .txt", param_hint="--output")
    if not pair and output.suffix == ".txt" and events == "syscalls":
        raise typer.BadParameter("system calls by name can't be written as text", param_hint="--events")
    wanted = Wanted.of(events) if of is None else Wanted(events, of == "machine")
    with _live(quiet) as live:
        if not pair:
            whole = by_ftrace.record(command, events=wanted, buffer_kb=buffer or by_ftrace.COMPLETE_KB, live=live)
        elif tracer == "ftrace":
            small = by_ftrace.SmallBuffer.of(wanted)
            if buffer is not None:
                small = replace(small, kb=buffer)
            if delay is not None:
                small = replace(small, delay_ms=delay)
            both, lossy, faults = by_ftrace.record_pair(
                command, replace(small, overwrite=mode == "overwrite", seed=seed), events=wanted, live=live
            )
            text = None if events == "syscalls" else lossy.text()
        elif tracer == "lttng":
            both, faults = by_lttng.record_pair(
                command, subbuf_kb=max(4, (buffer or 16) // by_lttng.NUMBER), overwrite=mode == "overwrite"
            )
            text = None
        else:
            pages = max(1, 1 << ((buffer or 4) // 4).bit_length() - 1)
            both, printed, faults = by_perf.record_pair(
                command, pages=pages, delay_ms=1.0 if delay is None else delay, seed=seed
            )
            text = iter([printed])
    _say_absent(both.complete if pair else whole.trace)
    if pair:
        with progress("writing", quiet):
            paths = write_folder(both, output, text, force=force)
        _say_pair(both, paths, faults, json_)
        if faults:
            raise RecordError(f"{output}: {'; '.join(faults)}")
        return
    with progress("writing", quiet):
        if output.suffix == ".txt":
            with whole_file(output) as file:
                file.writelines(line.encode() for line in whole.text())
        else:
            parquet.write(whole.trace, output)
    gaps = len(whole.trace.gaps)
    if json_:
        print_json(
            {
                "output": str(output),
                "events": len(whole.trace),
                "gaps": gaps,
                "lost": whole.lost,
                "status": whole.status,
            }
        )
    else:
        say(f"{output}: {plural(len(whole.trace), 'event')} of {plural(len(whole.trace.threads), 'thread')}")
        say(
            f"{whole.lost:,} events were lost in {gaps:,} gaps; a larger --buffer loses less."
            if whole.lost
            else "Nothing was lost."
        )
        if whole.status:
            ended = f"by {signal.Signals(-whole.status).name}" if whole.status < 0 else f"with status {whole.status}"
            say(f"The command ended {ended}.")
    if whole.lost:
        raise typer.Exit(GAPS_FOUND)
