"""strip: the original again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tracemend.errors import OutputError


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
