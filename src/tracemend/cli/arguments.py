"""Arguments that several commands share, and the reading of the traces that they name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tracemend.cli.inputs import on_disk
from tracemend.cli.terminal import complain, progress, warn
from tracemend.errors import TraceError

if TYPE_CHECKING:
    from tracemend.engines import Engine
    from tracemend.formats.base import Options
    from tracemend.menders.examples import Example
    from tracemend.trace.events import Glance, Trace
    from tracemend.trace.pieces import Piece

TraceArgument = Annotated[
    Path,
    typer.Argument(
        help="The trace to read: a file, for CTF a folder, or - for stdin. Its content tells the format.",
        metavar="TRACE",
    ),
]
FormatOption = Annotated[
    str | None, typer.Option("--format", help="Read the trace as this format (see: tracemend formats).")
]
ArchOption = Annotated[
    str, typer.Option(help="Processor architecture of the trace: it says which number is which system call.")
]
StrictOption = Annotated[
    bool, typer.Option("--strict", help="Refuse a trace of which a line can't be read, instead of passing it over.")
]
SplitOption = Annotated[
    Path, typer.Option(help="The file that says which recordings of the corpus train, validate and test.")
]
SPLIT = Path("experiments/workloads.toml")
EngineOption = Annotated[
    Literal["local", "ray"],
    typer.Option(help="Where work is done: in processes of this machine, or on a Ray cluster that has tracemend, too."),
]
AddressOption = Annotated[
    str | None,
    typer.Option(help="Of Ray's cluster. Not given: the one that RAY_ADDRESS names, else one is started here."),
]
ExampleOption = Annotated[
    list[Path] | None,
    typer.Option("--example", help="A complete trace to copy from as well. May be given several times."),
]
AloneOption = Annotated[
    bool,
    typer.Option(
        "--alone", help="Copy nothing from the recordings that come with tracemend, and nothing from your library."
    ),
]
LibraryOption = Annotated[
    bool,
    typer.Option(
        "--library/--no-library", help="Copy also from recordings of your library that are like the trace, or not."
    ),
]
PieceJobsOption = Annotated[
    int | None,
    typer.Option(
        "--jobs", min=1, max=512, help="Workers that mend the pieces of a large trace. Not given: one a processor."
    ),
]
SeedOption = Annotated[
    int, typer.Option("--seed", min=0, help="Decides whatever is left to chance: the same seed gives the same bytes.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", help="Don't say on stderr how far work is.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def chosen_engine(name: str, address: str | None, jobs: int | None, usual: int = 1) -> Engine:
    """Where work is to be done; usual: processes of this machine if nobody says how many. Raises MissingError where Ray
    isn't installed, and typer.BadParameter."""
    from tracemend.engines import Local

    if name == "ray":
        from tracemend.engines.cluster import Cluster

        return Cluster(jobs, address)
    if address is not None:
        raise typer.BadParameter("is for --engine ray", param_hint="--address")
    return Local(jobs or usual)


def own_examples(wanted: bool) -> tuple[Example, ...]:
    """The recordings of the user's library; what there can't be used is told on stderr. Raises OutputError."""
    from tracemend import library

    found = library.read() if wanted else None
    for fault in found.passed_over if found else ():
        complain(fault)
    return found.examples if found else ()


def read_trace(path: Path, format: str | None, arch: str, strict: bool, quiet: bool = False) -> Trace:
    """The whole trace; that it is being read is shown. Raises TraceError, and typer.BadParameter for a format or
    architecture nobody knows."""
    from tracemend.formats import read

    spare_pandas()
    _check_names(format, arch)
    copy = on_disk(path, quiet)
    try:
        with progress(f"reading {path}", quiet):
            trace = read(copy, format, arch=arch, strict=strict)
    except TraceError as e:
        raise e if copy == path else TraceError(path, e.line, e.message) from None
    warn(path, trace.warnings)
    return trace


def read_pieces(
    path: Path, format: str | None, arch: str, strict: bool, quiet: bool = False, jobs: int | None = None
) -> Iterator[Piece]:
    """A trace piece by piece, with its progress shown. Raises as ``read_trace`` does."""
    from tracemend.formats import pieces, size

    spare_pandas()
    _check_names(format, arch)
    copy = on_disk(path, quiet)
    try:
        with progress(f"reading {path}", quiet) as update:
            whole = size(copy)
            for piece in pieces(copy, format, arch=arch, strict=strict, jobs=jobs):
                update(*in_bytes(piece.taken, whole))
                yield piece
        warn(path, piece.trace.warnings)
    except TraceError as e:
        raise e if copy == path else TraceError(path, e.line, e.message) from None


def in_bytes(done: int, of: int) -> tuple[int, int, str]:
    """How far a trace is read, for ``progress``; of what is packed nobody knows how much there is."""
    if 0 < done <= of:
        return done >> 20, max(of >> 20, 1), "MiB"
    return 0, 0, f"{done >> 20:,} MiB"


class _Absent:
    """Says of pandas that it isn't installed."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name=name)


def spare_pandas() -> None:
    """Have pyarrow look for pandas, as it does at its first array, while there is none: loading it takes a third of a
    second, and no command has a data frame."""
    import pyarrow as pa

    sys.meta_path.insert(0, _Absent)
    try:
        pa.array([])
    finally:
        sys.meta_path.remove(_Absent)


def read_windows(path: Path, context: int, format: str | None, arch: str, strict: bool) -> Trace:
    """What lies within ``context`` events of a gap, of a format in packets. Raises as ``read_trace`` does."""
    from tracemend.formats import read_windows, windowed

    found = chosen_format(path, format, arch)
    if found not in windowed():
        raise typer.BadParameter(f"for {', '.join(windowed())} only, and this is {found}", param_hint="--window-only")
    trace = read_windows(path, context, format, arch=arch, strict=strict)
    warn(path, trace.warnings)
    return trace


def glance(path: Path, format: str | None, strict: bool) -> Glance:
    """What the headers of packets tell. Raises as ``read_trace`` does."""
    from tracemend import formats

    _check_format(format)
    seen = formats.glance(path, format, strict=strict)
    warn(path, seen.warnings)
    return seen


def chosen_format(path: Path, format: str | None, arch: str) -> str:
    """The name of the trace's format. Raises as ``read_trace`` does."""
    from tracemend.formats import chosen

    _check_names(format, arch)
    return chosen(path, format, arch).name


def checked(format: str | None, arch: str, strict: bool) -> Options:
    """How to read. Raises typer.BadParameter for a format or architecture nobody knows."""
    from tracemend.formats.base import Options

    _check_names(format, arch)
    return Options(arch, strict)


def _check_names(format: str | None, arch: str) -> None:
    from tracemend.trace.syscalls import architectures

    _check_format(format)
    if arch not in architectures():
        raise typer.BadParameter(
            f"unknown architecture {arch!r}; one of {', '.join(architectures())}", param_hint="--arch"
        )


def _check_format(name: str | None) -> None:
    from tracemend.formats import FORMATS

    if name is not None and name not in FORMATS:
        raise typer.BadParameter(f"unknown format {name!r}; one of {', '.join(FORMATS)}", param_hint="--format")
