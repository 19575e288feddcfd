"""Files and folders that appear whole or not at all: written beside their place, brought to disk, renamed."""

from __future__ import annotations

import glob
import os
import platform
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the place of ``path`` once the block ends. If it ends in an error nothing is left.

    Raises OSError.
    """
    work = _beside(path)
    try:
        with open(work, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        work.replace(path)
    except BaseException:
        work.unlink(missing_ok=True)
        raise


@contextmanager
def whole_folder(path: Path, *, replace: bool = True) -> Iterator[Path]:
    """A folder to fill that takes the place of ``path`` once the block ends; what is there goes only then.

    replace: False where nothing is there, and nothing that turns up meanwhile may go. Raises OSError.
    """
    target = path.resolve()
    work = _beside(target)
    work.mkdir()
    try:
        yield work
        for inner in [*work.rglob("*"), work]:
            _sync(inner)
        _put(work, target, replace)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    _sync(target.parent)


def _beside(target: Path) -> Path:
    """A name next to the target's for what isn't finished; what a process that was killed left there goes."""
    mark = f".{target.name}.{platform.node()}."
    for left in target.parent.glob(f"{glob.escape(mark)}*"):
        process = re.fullmatch(r"(\d+)\.[0-9a-f]{8}", left.name.removeprefix(mark))
        if process and not _lives(int(process[1])):
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)
    return target.with_name(f"{mark}{os.getpid()}.{secrets.token_hex(4)}")


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


def _put(work: Path, target: Path, replace: bool) -> None:
    if not replace or not target.exists():
        work.rename(target)
        return
    old = work.with_name(f"{work.name}.old")
    target.rename(old)
    try:
        work.rename(target)
    except BaseException:
        old.rename(target)
        raise
    shutil.rmtree(old)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
