"""report: tables and figures from results; a mended trace's report once more, against what was really lost."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tracemend.cli.arguments import QuietOption, read_trace
from tracemend.cli.terminal import progress, say
from tracemend.errors import OutputError, TracemendError


def report(
    results: Annotated[
        list[Path],
        typer.Argument(
            help="Files of results, written by experiment; or one folder that mend wrote.",
            metavar="RESULTS.jsonl|OUT...",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Of results: the folder for tables.md, tables.csv and figures; not given: tables go to stdout. Of a "
            "folder that mend wrote: the page to write; not given: the folder's own report.html, with --truth "
            "OUT-truth.html beside the folder.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    plots: Annotated[bool, typer.Option("--figures", help="Also draw figures (needs the plots extra).")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of Markdown.")] = False,
    truth: Annotated[
        Path | None,
        typer.Option(
            help="Of a folder that mend wrote: the complete recording of the same run. The page then says of each "
            "inferred event whether it is right, and what is missing.",
        ),
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Make the report of a mended trace once more, against the truth; or tables (Markdown, CSV) and figures from the
    results of experiments."""
    from tracemend.judging import corrected, lost
    from tracemend.judging import report as make
    from tracemend.judging.results import read_results
    from tracemend.outputs.folder import is_folder

    missing = next((p for p in results if not p.exists()), None)
    if missing:
        raise TracemendError(f"{missing}: no such file")
    if is_folder(results[0]):
        if len(results) > 1 or plots or as_csv:
            raise typer.BadParameter("the report of a mended trace is one page of one folder", param_hint="OUT")
        _of_mended(results[0], output, truth, force, quiet)
        return
    if truth is not None:
        raise typer.BadParameter("belongs to a folder that mend wrote", param_hint="--truth")
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


def _of_mended(path: Path, output: Path | None, truth: Path | None, force: bool, quiet: bool) -> None:
    """The report of a mended trace, as a page of its own; the folder's own one if nothing else is asked for."""
    from tracemend.outputs import report

    page = output or (_beside(path) if truth else path / report.NAME)
    if output is None and truth is None and page.is_file() and not force:
        say(f"{page} is the report of this folder; --force makes it anew")
        return
    with progress("making the report", quiet):
        _make(path, page, truth, force)
    say(str(page))


def _beside(path: Path) -> Path:
    """Where a page against the truth goes: what lies in the folder is mend's alone."""
    folder = path if path.name not in ("", "..") else path.resolve()
    return folder.parent / f"{folder.name}-truth.html"


def _make(path: Path, page: Path, truth: Path | None, force: bool) -> None:
    from tracemend.outputs import figures, merged, perfetto, report
    from tracemend.outputs.folder import Folder
    from tracemend.outputs.reopened import architecture, reopen
    from tracemend.recording import align
    from tracemend.whole import whole_file

    folder = Folder.open(path)
    for given in (folder.original, truth):
        if given is not None:
            figures.check(page, given, force)
    if path.resolve() in page.resolve().parents and page.resolve() != path.resolve() / report.NAME:
        raise OutputError(f"{page}: lies in the folder that mend wrote; choose another place")
    mended, made = reopen(folder), figures.read_all(path)
    pair = (
        None if truth is None else align(mended.trace, read_trace(truth, None, architecture(folder), False, quiet=True))
    )
    there = {"merged": any(path.glob(f"{merged.STEM}*")), "perfetto": (path / perfetto.NAME).exists()}
    outputs = [name for name, written in there.items() if written]
    try:
        with whole_file(page) as file:
            file.write(report.render(mended, made, pair, outputs).encode())
    except OSError as e:
        raise OutputError(f"{page}: can't be written: {e.strerror or e}") from e
