"""scan --follow: a live trace, with a line whenever something is lost."""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import chain
from pathlib import Path

from tracemend.cli.inputs import open_pipe
from tracemend.cli.terminal import print_json, print_verdict, say, warn
from tracemend.errors import TraceError
from tracemend.formats import FORMATS, known
from tracemend.formats.base import Builder, Options
from tracemend.formats.text import CHUNK, pieces
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
        text = pieces(lambda: os.read(pipe.fileno(), CHUNK), path)  # as soon as something is there
        first: list[tuple[bytes, int]] = []
        head, found = b"", FORMATS[format] if format else None
        for piece in text:
            first.append(piece)
            head += piece[0][: HEAD - len(head)]
            found = found or known(head)
            if found or len(head) >= HEAD:
                break
        if found is None:
            raise TraceError(path, 0 if not head else 1, "no known trace format" if head else "nothing came")
        following = Following(Builder(path, found.name, options), tell)
        with suppress(KeyboardInterrupt):
            following.run(found, chain(first, text))
    trace, said = following.trace, following.verdict
    warn(path, trace.warnings)
    if json_:
        counts = {"format": found.name, "events": following.builder.rows, "lost": following.losses.events}
        print_json({"input": str(path), **said.as_dict(), **counts})
    else:
        say(f"{path}: {found.name}, {plural(following.builder.rows, 'event')}")
        print_verdict(said)
    return following
