"""strip: the original again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tracemend.cli.arguments import QuietOption, spare_pandas
from tracemend.cli.terminal import progress
from tracemend.errors import OutputError


def strip(
    mended: Annotated[
        Path, typer.Argument(help="What mend wrote: its folder, or the merged file or folder in it.", metavar="OUT")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The file to write, or for CTF the folder. If not given: stdout."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists, or an empty folder.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Give back the original trace, byte for byte."""
    if output is not None and output.exists() and not force:
        raise OutputError(f"{output}: exists already; --force replaces it")
    with progress("stripping", quiet) as update:
        spare_pandas()
        from tracemend.outputs import strip as undo

        def told(done: int, total: int) -> None:
            update(done >> 20, total >> 20, "MiB")

        undo(mended, sys.stdout.buffer if output is None else output, force=force, progress=told)
