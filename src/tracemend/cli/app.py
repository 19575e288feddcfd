"""The command line: one file a verb, put together here. stdout is data, stderr is narration.

Exit codes: 0 done (scan: complete), 1 error, 2 usage; of scan 3 lost, 4 can't tell.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from tracemend import __version__
from tracemend.cli import datasets
from tracemend.cli.advise import advise
from tracemend.cli.babeltrace import babeltrace
from tracemend.cli.evaluate import evaluate
from tracemend.cli.experiment import experiment
from tracemend.cli.figures import figures
from tracemend.cli.formats import formats
from tracemend.cli.mend import mend
from tracemend.cli.recipes import recipes
from tracemend.cli.record import record
from tracemend.cli.report import report
from tracemend.cli.scan import scan
from tracemend.cli.strip import strip
from tracemend.cli.terminal import complain, say
from tracemend.cli.train import train
from tracemend.cli.view import view
from tracemend.compiled import before_compiling
from tracemend.errors import TracemendError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Find what a tracer lost, say so, and reconstruct it with every event flagged as inferred.",
)
VERBS: tuple[Callable[..., None], ...] = (
    *(scan, advise, mend, view, figures, evaluate, record),
    *(strip, train, experiment, report, formats, babeltrace, recipes),
)
for verb in VERBS:
    app.command()(verb)

of_datasets = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Data sets: list, fetch and audit them.")
OF_DATASETS: dict[str, Callable[..., None]] = {
    "list": datasets.listed,
    "fetch": datasets.fetch,
    "audit": datasets.audit,
}
for name, verb in OF_DATASETS.items():
    of_datasets.command(name)(verb)
app.add_typer(of_datasets, name="datasets")


def main() -> None:
    """Run the command line; whatever a user can cause ends in one line on stderr."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:  # nohup ignores one
            signal.signal(number, lambda number, _: sys.exit(128 + number))  # so that nothing is left behind
    before_compiling(lambda: complain("compiling loops for this machine, once; half a minute"))
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # a full disk is told here, not when the interpreter ends
    except TracemendError as e:
        complain(str(e))
        code = 1
    except OSError as e:
        # stdout is full or whoever read it has gone; keep the interpreter from complaining about it once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(e, BrokenPipeError):
            complain(f"{e.filename or 'stdout'}: {e.strerror or e}")
        code = 1
    except MemoryError:
        complain("out of memory")
        code = 1
    else:
        code = 0
    sys.exit(code)


def _version(value: bool) -> None:
    if value:
        say(f"tracemend {__version__}")
        raise typer.Exit


@app.callback()
def _app(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version of tracemend.")
    ] = False,
) -> None:
    pass
