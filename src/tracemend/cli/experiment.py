"""experiment: a grid of menders, data sets, gaps and seeds."""

from __future__ import annotations

import shlex
import sys
from dataclasses import astuple
from pathlib import Path
from typing import Annotated

import typer

from tracemend.cli.arguments import AddressOption, EngineOption, QuietOption, chosen_engine
from tracemend.cli.terminal import progress, say, tell
from tracemend.errors import DataError


def experiment(
    grid: Annotated[
        Path, typer.Argument(help="What to do: a file with grids of experiments (experiments/).", metavar="FILE.toml")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The file of results to add to. If not given: FILE.jsonl in the current folder."
        ),
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--from", help="A folder with the data sets, instead of what fetch has brought.")
    ] = None,
    models: Annotated[Path, typer.Option(help="The folder that keeps trained models.")] = Path("runs/experiments"),
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1, max=512, help="How many workers to use, each on one core. Not given: one; of Ray's cluster all."
        ),
    ] = None,
    engine: EngineOption = "local",
    address: AddressOption = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="Do only this mender or data set of the grids. May be given several times."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what is still to be done.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Score menders over data sets, lengths, gaps and seeds. What is done already is not done again."""
    from tracemend.judging import contests, corrected, lost
    from tracemend.judging.experiment import run
    from tracemend.judging.grid import narrowed, plan, read_grid
    from tracemend.judging.results import read_results

    results = output or Path(f"{grid.stem}.jsonl")
    typed = " ".join(["tracemend", *map(shlex.quote, sys.argv[1:])])
    held = [(c.KIND, found) for c in (lost, corrected) if (found := c.read_contests(grid))]
    grids = read_grid(grid)
    if len(held) + bool(grids) > 1:
        raise DataError(f"{grid}: [[grid]], [[lost]] and [[figures]] have different results: a file for each")
    tree = source or Path()
    if held:
        kind, asked = held[0][0], contests.narrowed(held[0][1], only or [])
        if dry_run:
            done = read_results(results, kind.key, kind.scores)
            for todo in contests.plan(kind, asked, contests.found(tree), done):
                say(" ".join(str(value) for value in astuple(todo) if value != ""))
            return
    else:
        grids = narrowed(grids, only or [])
    if dry_run:
        for job in plan(grids, read_results(results)):
            changes = "".join(f" {s}" for s in job.set)
            say(f"{job.data} {job.mender}{changes} length {job.length} seed {job.seed}: {len(job.cells)} cells")
        return
    workers = chosen_engine(engine, address, jobs)
    if workers.distant:  # whose current folder is another one
        tree, models, source = tree.resolve(), models.resolve(), source and source.resolve()
    with progress("experiment", quiet) as update:
        if held:
            added = contests.run(kind, asked, results, tree, engine=workers, command=typed, progress=update)
        else:
            added = run(grids, results, source=source, models=models, engine=workers, command=typed, progress=update)
    tell(f"{added:,} rows added")
    say(str(results))
