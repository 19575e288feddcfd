"""The traces that a command is given, as people give them: files, folders, globs, pipes."""

from __future__ import annotations

import atexit
import glob
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from tracemend.cli.terminal import complain, progress
from tracemend.errors import OutputError, TraceError

if TYPE_CHECKING:
    from tracemend.outputs.folder import Folder

STDIN = Path("-")
#: What ``mend`` always writes into its folder (outputs/overlay.py, which isn't loaded to ask).
OVERLAY = "overlay.jsonl"
BLOCK = 1 << 20


def is_pipe(path: Path) -> bool:
    """Whether it can be read only once, from its beginning to its end: stdin, a pipe, a process substitution."""
    return path == STDIN or path.is_fifo() or path.is_char_device()


def open_pipe(path: Path) -> BinaryIO:
    """Raises TraceError for a terminal, and OSError."""
    if path != STDIN:
        return open(path, "rb")
    if sys.stdin.isatty():
        raise TraceError(path, 0, "stdin is a terminal: pipe a trace into it")
    return cast(BinaryIO, sys.stdin.buffer)


def mended(path: Path) -> Folder | None:
    """What ``mend`` wrote, if it is that; None for anything else. Raises OutputError for a damaged one."""
    if path == STDIN or not (path / OVERLAY).is_file():
        return None
    from tracemend.outputs.folder import Folder

    return Folder.open(path)


def recorded(path: Path) -> Path:
    """The path itself; of a folder that ``mend`` wrote the trace that it was made from, which is told on stderr: a
    mended trace has lost what that has lost. Raises OutputError where it is gone."""
    folder = mended(path)
    if folder is None:
        return path
    if folder.original is None:
        raise OutputError(f"{folder.described} That trace is no longer there. The fills: {_look(path)}")
    complain(f"{folder.described} What follows is about {folder.original}. The fills: {_look(path)}")
    return folder.original


def _look(path: Path) -> str:
    return f"tracemend show {shlex.quote(str(path))}"


def on_disk(path: Path, quiet: bool = False) -> Path:
    """The path itself; of a pipe a copy of all that comes out of it, which goes when the program ends.

    Readers look at the beginning of a file first, and outputs at the whole of it once more. Raises TraceError, and
    OutputError for a folder that ``mend`` wrote.
    """
    if found := mended(path):
        raise OutputError(f"{found.described} Name that trace instead. The fills: {_look(path)}")
    if not is_pipe(path):
        return path
    folder = tempfile.mkdtemp(prefix="tracemend-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    copy = Path(folder) / ("stdin" if path == STDIN else path.name)
    try:
        with open_pipe(path) as pipe, open(copy, "wb") as file, progress(f"reading {path}", quiet) as update:
            done = 0
            while block := pipe.read(BLOCK):
                file.write(block)
                done += len(block)
                update(0, 0, f"{done >> 20:,} MiB")
    except OSError as e:
        raise TraceError(path, 0, e.strerror or str(e)) from e
    return copy


def traces(paths: list[Path], chosen: str | None = None) -> Iterator[Path]:
    """Every trace that the arguments name: a pattern stands for what it matches, a folder that is no trace itself for
    the traces in it. What else lies there is told on stderr.

    chosen: the format that all of them are said to have. Raises TraceError where there is no trace.
    """
    for path in paths:
        matching = [path]
        if not is_pipe(path) and not path.exists() and any(c in str(path) for c in "*?["):
            matching = sorted(map(Path, glob.glob(str(path), recursive=True)))  # noqa: PTH207 (it may be absolute)
            matching = matching or [path]  # told as a file that isn't there, beside what is
        for one in matching:
            if one.is_dir() and (one / OVERLAY).is_file():
                yield recorded(one)
            elif one.is_dir():
                yield from _in_folder(one, chosen)
            else:
                yield one


def _in_folder(folder: Path, chosen: str | None) -> Iterator[Path]:
    from tracemend.formats import CHOICE, recognise

    metadata = {f.parent for f in folder.rglob("metadata") if f.is_file()}
    perf = {f.parent for f in folder.rglob("data") if f.is_file() and _is_trace(f.parent)} - metadata
    mended = {f.parent for f in folder.rglob(OVERLAY) if f.is_file()}
    for one in sorted(mended):
        complain(f"{one}: a mended trace (passed over)")
    whole = {one for one in metadata | perf if not mended.intersection((one, *one.parents))}
    loose = [f for f in sorted(folder.rglob("*")) if f.is_file() and not (whole | mended).intersection(f.parents)]
    if not loose and not whole:
        raise TraceError(folder, 0, "no trace in this folder, nor in those below it")
    if folder in whole or not (loose or perf):  # one trace, in one folder or in several below
        yield folder
        return
    found = 0
    for path in sorted({*loose, *(m for m in whole if not whole.intersection(m.parents))}):
        try:
            if chosen is None:
                recognise(path)
        except TraceError as e:
            complain(f"{str(e).removesuffix(CHOICE)} (passed over)")
            continue
        found += 1
        yield path
    if not found:
        raise TraceError(folder, 0, "no trace in this folder, nor in those below it")


def _is_trace(folder: Path) -> bool:
    """Whether a folder is a trace as a whole: perf record --threads writes one with a file ``data``."""
    from tracemend.formats import recognise

    with suppress(TraceError):
        return bool(recognise(folder))
    return False
