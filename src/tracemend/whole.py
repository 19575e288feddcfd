"""Files and folders that appear whole or not at all: written beside their place, brought to disk, renamed."""

from __future__ import annotations

import os
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
    work = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
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
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to fill that takes the place of ``path`` once the block ends; what is there goes only then.

    Raises OSError.
    """
    target = path.resolve()
    work = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    work.mkdir()
    try:
        yield work
        for inner in [*work.rglob("*"), work]:
            _sync(inner)
        _put(work, target)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    _sync(target.parent)


def _put(work: Path, target: Path) -> None:
    if not target.exists():
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
