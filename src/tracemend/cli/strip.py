"""strip: the original again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

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
) -> None:
    """Give back the original trace, byte for byte."""
    from tracemend.outputs import strip as undo

    if output is None:
        undo(mended, sys.stdout.buffer)
        return
    if output.exists() and not force:
        raise OutputError(f"{output}: exists already; --force replaces it")
    undo(mended, output, force=force)
