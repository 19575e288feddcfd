"""report: tables and figures from results."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tracemend.cli.arguments import QuietOption
from tracemend.cli.terminal import progress, say
from tracemend.errors import TracemendError


def report(
    results: Annotated[
        list[Path], typer.Argument(help="Files of results, written by experiment.", metavar="RESULTS.jsonl...")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The folder for tables.md, tables.csv and figures. If not given: tables go to stdout.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace such files in a folder that exists.")] = False,
    plots: Annotated[bool, typer.Option("--figures", help="Also draw figures (needs the plots extra).")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of Markdown.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Make tables (Markdown, CSV) and figures from the results of experiments."""
    from tracemend.judging import corrected, lost
    from tracemend.judging import report as make
    from tracemend.judging.results import read_results

    missing = next((p for p in results if not p.exists()), None)
    if missing:
        raise TracemendError(f"{missing}: no such file")
    figures = all(corrected.is_contest(p) for p in results)
    if figures or all(lost.is_contest(p) for p in results):
        if output or as_csv or plots:
            raise typer.BadParameter("truly lost events have Markdown tables only", param_hint="RESULTS.jsonl")
        if figures:
            names = corrected.KEY, corrected.SCORES
            sys.stdout.write(corrected.as_markdown([r for p in results for r in read_results(p, *names)]))
            return
        sys.stdout.write(lost.as_markdown([r for p in results for r in read_results(p, lost.KEY, lost.GAPS)]))
        return
    with progress("reading", quiet):
        rows = [row for p in results for row in read_results(p)]
    if plots and output is None:
        raise typer.BadParameter("figures need a folder (-o)", param_hint="--figures")
    if as_csv and output:
        raise typer.BadParameter("a folder (-o) has both tables, CSV and Markdown", param_hint="--csv")
    if output is None:
        sys.stdout.write(make.as_csv(rows) if as_csv else make.as_markdown(rows))
        return
    with progress("drawing" if plots else "writing", quiet):
        paths = make.write(rows, output, plots=plots, force=force)
    for path in paths:
        say(str(path))
