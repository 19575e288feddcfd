"""view: a mended trace in Perfetto's own viewer, on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from tracemend.cli.arguments import QuietOption
from tracemend.cli.terminal import progress, say, tell
from tracemend.errors import OutputError


def view(
    mended: Annotated[
        Path,
        typer.Argument(help="What mend wrote: its folder, or the Perfetto trace in it.", metavar="OUT"),
    ],
    port: Annotated[
        int | None,
        typer.Option(
            min=1024, max=65535, help="The port to serve it at. If not given: 9001, or a free one.", metavar="N"
        ),
    ] = None,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Also open the address in the web browser.")
    ] = True,
    quiet: QuietOption = False,
) -> None:
    """Show a mended trace in Perfetto's viewer, which runs on this machine; nothing leaves it. Ctrl-C ends it."""
    import tempfile
    import webbrowser

    from tracemend.outputs.perfetto.serving import serving

    with tempfile.TemporaryDirectory(prefix="tracemend-") as folder:
        trace = _trace(mended, Path(folder), quiet)
        with serving(trace, port) as server:
            say(f"{mended} is shown at {server.address} until you press Ctrl-C")
            try:
                if browser and _screen():
                    webbrowser.open(server.invitation())
                server.serve_forever()
            except KeyboardInterrupt:
                tell("\nno longer shown")


def _trace(mended: Path, folder: Path, quiet: bool) -> Path:
    """The Perfetto trace to show, written into the folder if mend wrote none. Raises OutputError and TraceError."""
    from tracemend.formats import chosen
    from tracemend.outputs import perfetto
    from tracemend.outputs.folder import Folder
    from tracemend.outputs.reopened import reopen

    if not mended.is_dir():
        if chosen(mended).name != "perfetto":
            raise OutputError(f"{mended}: is no Perfetto trace; view takes what mend wrote")
        return mended
    if (mended / perfetto.NAME).is_file():
        return mended / perfetto.NAME
    try:
        with progress("making what the viewer shows", quiet) as update:
            update(0, 0)
            (made,) = perfetto.write(reopen(Folder.open(mended)), folder)
    except OutputError as e:
        raise OutputError(f"{e}; mend with --perfetto writes what view shows") from e
    return made


def _screen() -> bool:
    """Whether a browser would open a window, rather than take over this terminal."""
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
