"""The way back: the original, byte for byte, out of a merged file or an output folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from tracemend.errors import OutputError
from tracemend.outputs import ctf, merged, overlay
from tracemend.whole import whole_file, whole_folder

_PIECE = 1 << 20


def strip(
    out: str | Path,
    to: str | Path | BinaryIO,
    force: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write the original that ``out``, a merged file or an output folder, was made from.

    What is written is checked against the SHA-256 that ``out`` records before the first byte of it is written. From a
    folder without a merged file the original itself is copied, from the path that the overlay records. ``force``
    replaces a ``to`` that exists, but no folder with anything in it. A CTF trace is a folder, and so is ``to`` then.
    ``progress``: told of bytes done, of how many: each is read twice, once to check it.
    Raises OutputError; then nothing was written. TypeError for what is no path, and BrokenPipeError where nobody reads
    ``to`` any more.

    >>> paths = mend("tests/data/ftrace_pipe.txt").write(folder / "out", outputs=["merged"])
    >>> strip(folder / "out", folder / "again.txt")
    >>> (folder / "again.txt").read_bytes() == Path("tests/data/ftrace_pipe.txt").read_bytes()
    True
    """
    if not isinstance(out, str | os.PathLike):
        raise TypeError(f"takes the folder that was written, or the merged file in it, not {type(out).__name__}")
    out, to = Path(out), Path(to) if isinstance(to, str | os.PathLike) else to
    try:
        source, wanted, merged_as = _source(out)
        if source.is_dir():
            _strip_folder(source, wanted, to, force)
            return
        size = source.stat().st_size
        checked = _counted(_pieces(source, merged_as), lambda done: progress(min(done, size), 2 * size))
        if _digest(checked) != wanted:
            which = "the merged file was changed" if merged_as else "it was changed since it was mended"
            raise OutputError(f"{source}: {which}: it doesn't give back the original")
        given = _counted(_pieces(source, merged_as), lambda done: progress(min(size + done, 2 * size), 2 * size))
        if not isinstance(to, Path):
            for piece in given:
                to.write(piece)
            return
        if to.exists() and not force:
            raise OutputError(f"{to}: exists already")
        with whole_file(to) as f:
            f.writelines(given)
    except OSError as e:
        if isinstance(e, BrokenPipeError):
            raise  # no fault: whoever read it has seen enough
        if not isinstance(to, Path):
            where = "stdout"
        elif e.filename and f".{to.name}." not in str(e.filename):
            where = e.filename  # not the file that is written aside, of which nobody knows
        else:
            where = str(to)
        raise OutputError(f"{where}: {e.strerror or e}") from e


def _strip_folder(source: Path, wanted: str, to: Path | BinaryIO, force: bool) -> None:
    if not isinstance(to, Path):
        raise OutputError(f"{source}: a CTF trace is a folder: name one to write")
    target = to.resolve()
    if target.exists() and not (force and target.is_dir() and not any(target.iterdir())):
        raise OutputError(f"{to}: exists already; only an empty folder is replaced")
    if source.resolve() in target.parents:
        raise OutputError(f"{to}: lies in {source.name}; choose another folder")
    with whole_folder(to) as work:
        if ctf.original(source, work) != wanted:
            raise OutputError(f"{source}: changed since it was made: it doesn't give back the original")


def _source(out: Path) -> tuple[Path, str, str | None]:
    """The file or folder to read, the SHA-256 of the original, and the format if the file is a merged one."""
    if not out.exists():
        raise OutputError(f"{out}: no such folder or file")
    if not out.is_dir():
        if not out.is_file():
            raise OutputError(f"{out}: neither an output folder nor a merged file")
        head = merged.read_header(out)
        return out, head["input_sha256"], head["format"]
    if not (out / overlay.JSONL).exists():
        if marks := ctf.read_marks(out):
            return out, next(iter(marks.values())).sha256, None
        raise OutputError(f"{out}: no folder that mend wrote")
    head = overlay.read_header(out / overlay.JSONL)
    if (out / merged.STEM).is_dir():
        return out / merged.STEM, head["input_sha256"], None
    for path in sorted(out.glob(f"{merged.STEM}.*")):
        if not path.is_file():
            raise OutputError(f"{path}: not a file")
        return path, head["input_sha256"], merged.read_header(path)["format"]
    if not isinstance(head.get("input"), str) or not head["input"]:
        raise OutputError(f"{out}: has no merged file, and records no path of the original")
    path = Path(head["input"])
    if not path.is_file() and not (path.is_dir() and head.get("format") == "ctf"):
        raise OutputError(f"{out}: has no merged file, and the original is no longer at {path}")
    return path, head["input_sha256"], None


def _pieces(source: Path, merged_as: str | None) -> Iterator[bytes]:
    with open(source, "rb") as f:
        if merged_as:
            yield from merged.original(f, merged_as)
        else:
            while piece := f.read(_PIECE):
                yield piece


def _counted(pieces: Iterator[bytes], count: Callable[[int], None]) -> Iterator[bytes]:
    """The pieces; now and then it is told how many bytes they were."""
    done = told = 0
    for piece in pieces:
        yield piece
        done += len(piece)
        if done - told >= _PIECE:
            told = done
            count(done)


def _digest(pieces: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()
