"""What commands print: data on stdout, narration on stderr; tables, durations, JSON, progress."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tracemend.cli.tables import blocks
from tracemend.compiled import working_time
from tracemend.untrusted import json_text, printable

if TYPE_CHECKING:
    from tracemend.losses.verdict import Verdict

#: Exit codes of ``scan`` (and ``record``): events were lost; nobody can tell.
GAPS_FOUND, CANT_TELL = 3, 4

#: Columns of a table in a pipe: 80 would cut tables off; people's terminals say how wide they are.
WIDTH = 120
#: Of a header, for ``painted``.
BOLD = "1"
#: Where stderr is no terminal, a line says so often (in seconds) that work goes on.
OFTEN = 10.0
#: Work that begins so soon (in seconds) behind other work goes on with its silence.
SOON = 1.0


def say(text: str) -> None:
    """A line of data: no character of it acts on the terminal."""
    sys.stdout.write(f"{_plain(text)}\n")
    sys.stdout.flush()  # whoever follows a live trace waits for it


def print_verdict(said: Verdict, share: str = "") -> None:
    """The verdict, and what to do."""
    say(said.sentence(share))
    if said.advice:
        say(said.advice)


def tell(text: str) -> None:
    """A line on stderr; whether anybody reads it changes nothing."""
    _silence.since = time.monotonic()
    with suppress(BrokenPipeError):
        sys.stderr.write(f"{_plain(text)}\n")
        sys.stderr.flush()


def complain(text: str) -> None:
    """A line on stderr that says who says it."""
    tell(f"tracemend: {text}")


def close_stdout() -> None:
    """Have what can't be written any more go nowhere, so that the interpreter doesn't complain of it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _plain(text: str) -> str:
    """Harmful characters spelt out; a line end stays in front alone, where it is ours: others may be a name's."""
    rest = text.lstrip("\n")
    return text[: len(text) - len(rest)] + printable(rest)


def warn(path: Path, warnings: Sequence[str]) -> None:
    """Say on stderr what a reader passed over."""
    for warning in warnings:
        complain(f"{path}: {warning}")


def print_json(document: object) -> None:
    """A document on one line."""
    sys.stdout.write(json_text(document) + "\n")


def cpu_name(cpu: int) -> str:
    """A cpu's number; a dash where the trace doesn't say which one it was."""
    return str(cpu) if cpu >= 0 else "-"


def limit() -> int | None:
    """The columns that there are: as COLUMNS says, else the terminal's; None in a pipe, which takes any line."""
    told = os.environ.get("COLUMNS", "")
    if told.isascii() and told.isdigit() and int(told):
        return int(told)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except (OSError, ValueError):
        return None


def width() -> int:
    """Columns to print in."""
    return limit() or WIDTH


def painted(text: str, style: str) -> str:
    """Text that is harmless, in a style (codes of ANSI terminals), where stdout is a terminal that knows them."""
    bare = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty()
    return text if bare or not style else f"\x1b[{style}m{text}\x1b[0m"


def print_lines(lines: Iterable[str]) -> None:
    """Lines of data as they are: who made them spelt out what is harmful, and may have painted them."""
    for line in lines:
        sys.stdout.write(f"{line}\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str = "", keys: int = 1) -> None:
    """A table in the terminal's width; numbers (all columns but those of text) stand on the right. keys: so many first
    columns tell the rows apart."""
    if title:
        say(title)
    for i, block in enumerate(blocks(columns, rows, width(), keys, cut=limit() is not None)):
        print_lines([*([""] if i else []), *(painted(line, BOLD) for line in block.header), *block.rows])


class Update(Protocol):
    """(done, of how many, a word on what) -> shown."""

    def __call__(self, done: int, total: int, note: str = "") -> None: ...


@contextmanager
def progress(title: str, quiet: bool = False) -> Iterator[Update]:
    """Show on stderr how far work is: a bar on a terminal; elsewhere a line now and then; nothing where it is to be
    quiet."""
    if quiet:
        yield lambda done, total, note="": None
        return
    shown = (_bar if sys.stderr.isatty() else _lines)(printable(title))
    with shown as update:
        yield update


@contextmanager
def _bar(title: str) -> Iterator[Update]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[far]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=Console(stderr=True, highlight=False), transient=True)
    try:
        bar.start()  # in here, so that ctrl-C while it begins ends it, too
        task = bar.add_task(title, total=None, far="")

        def update(done: int, total: int, note: str = "") -> None:
            bar.update(task, completed=done, total=total or None, far=_far(done, total, note))

        yield update
    finally:
        bar.stop()


def _far(done: int, total: int, note: str) -> str:
    """How far work is, in words: of how much where that is known, else the note alone says it."""
    return f"{f'{done:,} of {total:,}' if total else ''} {printable(note)}".strip()


@dataclass
class _Silence:
    """Since when nothing was told while work goes on, and when work last ended: pieces of work that follow each other
    are one silence."""

    since: float = 0.0
    ended: float = -SOON

    def begin(self) -> None:
        now = time.monotonic()
        if now - self.ended >= SOON:
            self.since = now

    def end(self) -> None:
        self.ended = time.monotonic()

    def left(self) -> float:
        """Seconds until something is to be told."""
        return max(0.0, self.since + OFTEN - time.monotonic())


_silence = _Silence()


@contextmanager
def _lines(title: str) -> Iterator[Update]:
    state: tuple[int, int, str] = (0, 0, "")
    first: tuple[float, int] | None = None  # when something was done, and how much: what came before is done but once
    begun, ended = time.monotonic(), threading.Event()
    _silence.begin()

    def update(done: int, total: int, note: str = "") -> None:
        nonlocal state, first
        state = (done, total, note)
        if done and first is None:
            first = working_time(), done

    def go_on() -> None:
        while not ended.wait(_silence.left()):
            if _silence.left():
                continue
            done, total, note = state
            since = time.monotonic() - begun
            since_first, more = (working_time() - first[0], done - first[1]) if first else (0.0, 0)
            left = f"about {since_first / more * (total - done):.0f} s left" if more > 0 and done < total else ""
            words = filter(None, (_far(done, total, note), f"{since:.0f} s", left))
            tell(f"{title}: {', '.join(words)}")

    teller = threading.Thread(target=go_on, daemon=True)
    teller.start()
    try:
        yield update
    finally:
        ended.set()
        teller.join()
        _silence.end()
