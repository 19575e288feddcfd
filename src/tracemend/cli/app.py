"""The command line: one file a verb, put together here. stdout is data, stderr is narration.

Exit codes: 0 done (scan: complete), 1 error, 2 usage; of scan 3 lost, 4 can't tell.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from tracemend import __version__
from tracemend.cli import datasets, library
from tracemend.cli.advise import advise
from tracemend.cli.babeltrace import babeltrace
from tracemend.cli.evaluate import evaluate
from tracemend.cli.experiment import experiment
from tracemend.cli.figures import figures
from tracemend.cli.formats import formats
from tracemend.cli.help import EXIT_CODES, Grouped, Worded, examples
from tracemend.cli.mend import mend
from tracemend.cli.recipes import recipes
from tracemend.cli.record import record
from tracemend.cli.report import report
from tracemend.cli.scan import scan
from tracemend.cli.show import show
from tracemend.cli.strip import strip
from tracemend.cli.terminal import close_stdout, complain, say
from tracemend.cli.train import train
from tracemend.cli.view import view
from tracemend.compiled import before_compiling
from tracemend.errors import TracemendError

VERBS: dict[str, tuple[Callable[..., None], ...]] = {
    "Look": (scan, advise, show, view, formats),
    "Mend": (mend, strip, babeltrace),
    "Measure": (figures, evaluate),
    "Record, train, experiment": (record, train, recipes, experiment, report),
}
OF_DATASETS: dict[str, Callable[..., None]] = {
    "list": datasets.listed,
    "fetch": datasets.fetch,
    "audit": datasets.audit,
}
OF_LIBRARY: dict[str, Callable[..., None]] = {
    "add": library.add,
    "list": library.listed,
    "remove": library.remove,
    "like": library.like,
}
OF_GROUPS = {
    "datasets": ("Data sets: list, fetch and audit them.", OF_DATASETS),
    "library": ("Your own recordings, which mend copies from.", OF_LIBRARY),
}


def command_line(asked: str = "") -> typer.Typer:
    """All verbs, or the one that was asked for: to put all together takes a tenth of a small scan's time."""
    line = typer.Typer(
        cls=Grouped,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Find what a tracer lost, say so, and reconstruct it with every event flagged as inferred.",
        epilog=EXIT_CODES,
        callback=_options,
    )
    every = {verb.__name__: (panel, verb) for panel, verbs in VERBS.items() for verb in verbs}
    for panel, verb in [every[asked]] if asked in every else every.values():
        line.command(cls=Worded, rich_help_panel=panel, epilog=examples(verb.__name__))(verb)
    for group, (told, verbs) in OF_GROUPS.items() if asked not in every else ():
        within = typer.Typer(cls=Grouped, no_args_is_help=True, rich_markup_mode=None, help=told)
        for name, verb in verbs.items():
            within.command(name, cls=Worded, epilog=examples(f"{group} {name}"))(verb)
        line.add_typer(within, name=group, rich_help_panel="Record, train, experiment")
    return line


def _version(value: bool) -> None:
    if value:
        say(f"tracemend {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version of tracemend.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; whatever a user can cause ends in one line on stderr."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:  # nohup ignores one
            signal.signal(number, lambda number, _: sys.exit(128 + number))  # so that nothing is left behind
    before_compiling(lambda: complain("compiling loops for this machine, once; half a minute"))
    code: int | str | None = 0
    try:
        try:
            command_line(*sys.argv[1:2])(prog_name="tracemend")
        except SystemExit as e:
            code = e.code
            why = e.__context__ and (e.__context__.__cause__ or e.__context__)
            if isinstance(why, KeyboardInterrupt):
                complain("stopped")
            elif isinstance(why, BrokenPipeError):
                raise why from None
        sys.stdout.flush()  # a full disk is told here, not when the interpreter ends
    except TracemendError as e:
        complain(str(e))
        code = 1
    except BrokenPipeError:  # whoever read stdout has seen enough: tracemend ... | head
        close_stdout()
        code = 0
    except OSError as e:
        close_stdout()
        complain(f"{e.filename or 'stdout'}: {e.strerror or e}")
        code = 1
    except MemoryError:
        complain("out of memory")
        code = 1
    sys.exit(code)
