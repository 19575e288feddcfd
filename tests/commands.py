"""The commands as tests run them: most in this process, and in one of their own where that is the point."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from unittest import mock

from tracemend.cli import terminal
from tracemend.cli.app import main

#: What a command may set, and this process must not keep.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)
#: Seconds; no test waits so long for the lines that say that work goes on.
NEVER = 1e6


@dataclass(frozen=True)
class Done:
    """How a command ended and what it printed."""

    returncode: int
    stdout: str
    stderr: str


def run(*arguments: str | Path, cwd: Path | None = None, often: float = NEVER) -> Done:
    """The command in this process, a line of progress every ``often`` seconds. What its children print isn't seen."""
    words = ["tracemend", *map(str, arguments)]
    with (
        contextlib.chdir(cwd or Path.cwd()),
        handlers_kept(),
        stream() as stdout,
        stream() as stderr,
        mock.patch.multiple(sys, argv=words, stdout=stdout, stderr=stderr),
        mock.patch.multiple(terminal, OFTEN=often),
    ):
        try:
            main()
        except SystemExit as e:
            return Done(e.code if isinstance(e.code, int) else int(e.code is not None), text(stdout), text(stderr))
        raise AssertionError("the command didn't say how it ended")


def run_apart(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, as a user runs it; nothing may warn."""
    command = [sys.executable, "-W", "error", "-m", "tracemend", *map(str, arguments)]
    # one thread: on busy cores OpenMP's threads wait for each other many times as long as they work
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=300)


@contextlib.contextmanager
def stream() -> Iterator[IO[str]]:
    """A stream as a process has one: of text, with bytes and a descriptor below."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", newline="") as made:
        yield made


def text(written: IO[str]) -> str:
    """What was written to it."""
    written.seek(0)
    return written.read()


@contextlib.contextmanager
def handlers_kept() -> Iterator[None]:
    """Whatever is done with signals meanwhile, it is undone at the end."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
