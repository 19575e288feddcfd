"""The traces that a command is given, as people give them: files, folders, globs, pipes."""

from __future__ import annotations

import atexit
import glob
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
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

#: What the names of traces' files end with, in front of the ending of a packed one. One without any ending may be one.
OWN = re.compile(r"|\.(?:atrace|dat|data|etl|ftrace|log|out|perf|perfetto-trace|pftrace|strace|systrace|trace|txt|\d+)")
#: Other files' names end with these as often: such a file is one of them if it holds something else than a trace.
SHARED = (".bin", ".csv", ".html", ".json", ".npy", ".npz", ".parquet", ".xml")
PACKED = (".gz", ".bz2", ".xz", ".zst")
#: How the names begin of files that lie beside traces and are about them.
ABOUT = (".", "readme", "license", "licence", "copying", "notice", "makefile")


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


@dataclass(frozen=True, slots=True)
class Stray:
    """A file among traces that is none, nor is it called as one is. why: the reason that it can't be read as one."""

    path: Path
    why: str


def traces(paths: list[Path], chosen: str | None = None) -> Iterator[Path | Stray]:
    """Every trace that the arguments name, and what lies among them: a pattern stands for what it matches, a folder
    that is no trace itself for all that is in it.

    What is called as traces are counts as one, whatever it holds: that it can't be read must not go unnoticed.
    chosen: the format that all of them are said to have. Raises TraceError for a folder in which nothing is.
    """
    named = [one for path in paths for one in _matching(path)]
    found = [one for path in named for one in _in(path)]
    told = [_stray(path) or path for path in found] if chosen is None else found
    yield from told if any(isinstance(one, Path) for one in told) else found


def _matching(path: Path) -> list[Path]:
    if is_pipe(path) or path.exists() or not any(c in str(path) for c in "*?["):
        return [path]
    matching = sorted(map(Path, glob.glob(str(path), recursive=True)))  # noqa: PTH207 (it may be absolute)
    return matching or [path]  # told as a file that isn't there, beside what is


def _in(path: Path) -> Iterator[Path]:
    if path.is_dir() and (path / OVERLAY).is_file():
        yield recorded(path)
    elif path.is_dir():
        yield from _in_folder(path)
    else:
        yield path


def _stray(path: Path) -> Stray | None:
    """The file as a stray, if it is one."""
    from tracemend.formats import CHOICE, recognise

    if not path.is_file():
        return None
    name = Path(path.name.lower())
    ending = Path(name.stem).suffix if name.suffix in PACKED else name.suffix
    about = name.name.startswith(ABOUT)
    if not about and OWN.fullmatch(ending):
        return None
    try:
        recognise(path)
    except TraceError as e:
        why = str(e).removesuffix(CHOICE)
        unread = why == str(e)  # nothing in it tells what it is
        return None if unread and not about and ending in SHARED else Stray(path, why)
    return None


def _in_folder(folder: Path) -> Iterator[Path]:
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
    yield from sorted({*loose, *(m for m in whole if not whole.intersection(m.parents))})


def _is_trace(folder: Path) -> bool:
    """Whether a folder is a trace as a whole: perf record --threads writes one with a file ``data``."""
    from tracemend.formats import recognise

    with suppress(TraceError):
        return bool(recognise(folder))
    return False
