"""Files and folders that appear whole or not at all: written beside their place, brought to disk, renamed."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import glob
import itertools
import json
import os
import platform
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

#: Of renameat2(2).
AT_FDCWD, NOREPLACE, EXCHANGE = -100, 1, 2
#: In a work folder: whose work it is.
ABOUT = "work.json"


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the place of ``path`` once the block ends. If it ends in an error nothing is left.

    What is there and no file (a device, a pipe, a folder) stays. Raises OSError, FileExistsError for that.
    """
    refuse_other_than_file(path)
    work = _beside(path)
    try:
        with open(work, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        refuse_other_than_file(path)
        work.replace(path)
    except BaseException:
        work.unlink(missing_ok=True)
        raise


def refuse_other_than_file(path: Path) -> None:
    """Raises FileExistsError for what can't be replaced by a file: /dev/null by any other name is gone for all."""
    if path.exists() and not path.is_file():
        raise FileExistsError(errno.EEXIST, "is there and no file", str(path))


@contextmanager
def whole_folder(path: Path, *, may_go: Callable[[], bool] = lambda: True) -> Iterator[Path]:
    """A folder to fill that takes the place of ``path`` once the block ends; what is there goes only then.

    may_go: asked at the end whether what is there may go; if not it stays, and the folder lies beside it, which the
    error says. Raises OSError.
    """
    target = path.resolve()
    work = _beside(target)
    try:
        work.mkdir()
        yield work
        for inner in [*work.rglob("*"), work]:
            _sync(inner)
        _put(work, target, may_go)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    _sync(target.parent)


@contextmanager
def work_folder(
    path: Path,
    key: dict[str, Any],
    resume: bool = False,
    stays: tuple[type[BaseException], ...] = (KeyboardInterrupt, SystemExit, OSError),
) -> Iterator[Callable[[], Path]]:
    """Gives a function that makes the folder, in which work in pieces is kept until the block ends.

    Where the block ends in an error that ``stays`` names, the next run may not meet it: the folder stays, and with
    ``resume`` work with the same ``key`` finds it as it was. A folder of other work goes, unless somebody is still at
    it: who is holds a lock on it, which ends with its process. Raises OSError.
    """
    made = False
    with ExitStack() as locks:

        def make() -> Path:
            nonlocal made
            if os.path.lexists(path):
                known = _work(path / ABOUT)
                if known is None:
                    raise FileExistsError(errno.EEXIST, "is in the way, and no work folder of tracemend's", str(path))
                if not _locked(path, locks):
                    raise FileExistsError(errno.EEXIST, f"process {known['process']} is at work there", str(path))
                if not (resume and known["key"] == key):
                    shutil.rmtree(path)
            work = _beside(path)
            work.mkdir(0o700)
            mine = work / ABOUT
            try:
                mine.write_text(json.dumps({"tracemend_work": key, "process": os.getpid()}))
                if path.exists():
                    mine.replace(path / ABOUT)
                else:
                    _locked(work, locks)
                    _rename(work, path, NOREPLACE)  # with what is in it, and not if another run was faster
            finally:
                shutil.rmtree(work, ignore_errors=True)
            made = True
            return path

        try:
            yield make
        except stays:
            raise
        except BaseException:
            if made:
                shutil.rmtree(path, ignore_errors=True)
            raise
        if made:
            shutil.rmtree(path, ignore_errors=True)


def _locked(folder: Path, locks: ExitStack) -> bool:
    """Lock a folder until ``locks`` end or the process does; False if another one has. Raises OSError.

    File systems that know no locks let everybody in.
    """
    fd = os.open(folder, os.O_RDONLY)
    locks.callback(os.close, fd)
    with suppress(OSError):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return folder.exists() and os.path.samestat(os.fstat(fd), folder.stat())  # not one that went meanwhile


def _work(about: Path) -> dict[str, Any] | None:
    """The key and the process of a work folder; None for what is none, or somebody else's, who may put there what he
    likes."""
    try:
        if about.parent.lstat().st_uid != os.getuid():
            return None
        found = json.loads(about.read_bytes())
        return {"key": found["tracemend_work"], "process": int(found["process"])}
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


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
    except (ProcessLookupError, OverflowError):  # none has a number that large
        return False
    except OSError:  # somebody else's
        return True
    return True


def _put(work: Path, target: Path, may_go: Callable[[], bool]) -> None:
    """Give the folder its name at one stroke. Raises OSError."""
    try:
        _rename(work, target, NOREPLACE)
        return
    except FileExistsError:
        if not may_go():
            raise FileExistsError(
                errno.EEXIST, f"exists by now; what was written lies in {_aside(work, target)}"
            ) from None
    _rename(work, target, EXCHANGE)
    shutil.rmtree(work)  # what was there before


def _aside(work: Path, target: Path) -> Path:
    for n in itertools.count(1):
        beside = target.with_name(f"{target.name}-{n}")
        with suppress(FileExistsError):
            _rename(work, beside, NOREPLACE)
            break
    return beside


def _rename(old: Path, new: Path, how: int) -> None:
    """Rename at one stroke: NOREPLACE raises FileExistsError where the new name is taken, EXCHANGE swaps the two.

    Linux's renameat2; where that is missing (other systems, some file systems) in two steps. Raises OSError.
    """
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if sys.platform == "linux" else None
    if renameat2 is not None:
        if not renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), how):
            return
        number = ctypes.get_errno()
        if number not in (errno.ENOSYS, errno.EINVAL):
            raise OSError(number, os.strerror(number), str(new))
    if how == NOREPLACE:
        if os.path.lexists(new):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(new))
        old.rename(new)
        return
    away = old.with_name(f"{old.name}.old")
    new.rename(away)
    try:
        old.rename(new)
    except BaseException:
        away.rename(new)
        raise
    away.rename(old)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
