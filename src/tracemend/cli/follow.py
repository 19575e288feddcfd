"""scan --follow: a live trace, with a line whenever something is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path

from tracemend.cli.inputs import live, open_pipe
from tracemend.cli.terminal import print_json, say, warn
from tracemend.errors import TraceError
from tracemend.formats import FORMATS, known
from tracemend.formats.base import Builder, Options
from tracemend.formats.text import LONGEST_LINE
from tracemend.losses.following import HEAD, Following
from tracemend.trace.events import Gap
from tracemend.trace.evidence import Unplaced, plural


def follow(path: Path, format: str | None, options: Options, json_: bool) -> Following:
    """Read a pipe to its end (or to ctrl-C), tell each loss as it is read, and judge. Raises TraceError and OSError."""

    def tell(loss: Gap | Unplaced) -> None:
        if json_:
            print_json(loss.as_dict())
        elif isinstance(loss, Unplaced):
            say(f"lost: {loss.said}")
        else:
            count = "an unknown number of events" if loss.count is None else plural(loss.count, "event")
            cpu = f" on cpu {loss.cpu}" if loss.cpu >= 0 else ""
            say(f"lost: {count}{cpu} before line {loss.line:,}, {loss.begin_ns / 1e9:.6f} s")

    with open_pipe(path) as pipe:
        blocks, head = live(pipe, LONGEST_LINE), b""
        first: list[bytes] = []
        found = FORMATS[format] if format else None
        for block in blocks:
            first.append(block)
            head += block[: HEAD - len(head)]
            found = found or known(head)
            if found or len(head) >= HEAD:
                break
        if found is None:
            raise TraceError(path, 0 if not head else 1, "no known trace format" if head else "nothing came")
        following = Following(Builder(path, found.name, options), tell)
        with suppress(KeyboardInterrupt):
            following.run(found, _numbered(path, chain(first, blocks)))
    trace, said = following.trace, following.verdict
    warn(path, trace.warnings)
    if json_:
        counts = {"format": found.name, "events": following.builder.rows, "lost": following.lost}
        print_json({"input": str(path), **said.as_dict(), **counts})
    else:
        say(f"{path}: {found.name}, {plural(following.builder.rows, 'event')}")
        say(f"{said.word.capitalize()}: {said.reason}.")
        if said.advice:
            say(said.advice)
    return following


def _numbered(path: Path, blocks: Iterator[bytes]) -> Iterator[tuple[bytes, int]]:
    line = 1
    for block in blocks:
        if len(block) > LONGEST_LINE and b"\n" not in block:
            raise TraceError(path, line, "a line of more than 1 MiB: this is no text trace")
        yield block, line
        line += block.count(b"\n")
