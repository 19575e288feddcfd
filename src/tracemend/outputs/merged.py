"""The trace with its inferred events in place, every one of them marked, and the way back to the original.

Here is how text has them; a CTF trace, which is a folder, has them as ``ctf`` says.

Lines of the original stay as they are. In front of them all comes one comment that says what the file is; each inferred
event is one line more, right before its gap's first surviving event, spelt as ``lines`` says. Further decisions:

* perf's consumers count lines as samples, so in perf's text an inferred event is a comment (``#`` in front).
* The comment at the top holds ``# tracer: ftrace`` within its first 64 bytes where the trace is ftrace's: that is where
  Perfetto looks for it.
* In a sequence, the inferred names follow the run of ``?`` that they stand for, each with a ``~`` in front; where the
  next name begins a line, they are lines of their own.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from heapq import merge
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa

from tracemend.errors import OutputError
from tracemend.formats import sequence
from tracemend.formats.text import LONGEST_LINE, PACKED
from tracemend.mending.mended import Result
from tracemend.outputs import ctf
from tracemend.outputs.lines import MARKER, Style, samples
from tracemend.outputs.overlay import NOTE
from tracemend.trace.events import Gap
from tracemend.untrusted import json_of, json_text

STEM = "merged"
HEADER = b"# tracemend merged:"


def write(mended: Result, folder: Path) -> list[Path]:
    """Write ``merged`` with the input's suffix into the folder; of a CTF trace, a folder of that name.

    Raises OutputError if the input can't be merged, has changed since it was read, or holds inferred events already.
    """
    trace = mended.trace
    path = trace.path
    if path is None:
        raise OutputError("a trace that was not read from a file can't be merged")
    refuse(path, trace.format)
    if trace.format == "ctf":
        ctf.write(mended, path, folder / STEM)
        return [folder / STEM]
    out = folder / f"{STEM}{path.suffix or '.txt'}"
    with open(path, "rb") as source, open(out, "wb") as sink:
        digest = _MERGERS[trace.format](mended, source, sink)
    if digest != mended.provenance["input_sha256"]:
        raise OutputError(f"{path}: changed since it was read; not merged")
    return [out]


def refuse(path: Path, format: str) -> None:
    """Raises OutputError for a trace into which inferred events can't be merged."""
    if format == "ctf":
        ctf.refuse(path)
    elif not (format in _MERGERS and path.is_file() and _is_text(path)):
        known = ", ".join(_MERGERS)
        raise OutputError(
            f"{path}: only CTF and uncompressed text ({known}) can be merged; the overlay has the inferred events"
        )


def header(mended: Result) -> bytes:
    """The comment at the top of a merged file, without a line end."""
    made = mended.provenance
    facts = {k: made.get(k) for k in ("tracemend", "model", "model_sha256", "seed", "input_sha256", "format")}
    hint = b" (# tracer: ftrace)" if mended.trace.format == "ftrace" else b""
    return HEADER + hint + f" {NOTE} ".encode() + json_text(facts).encode()


def read_header(path: Path) -> dict[str, Any]:
    """What the top of a merged file says; raises OutputError for a file that is none."""
    try:
        with open(path, "rb") as f:
            line = f.readline(LONGEST_LINE)
        if not line.startswith(HEADER):
            raise ValueError
        found = json_of(line[line.index(b"{") :])
        return {"input_sha256": str(found["input_sha256"]), "format": str(found["format"])}
    except OSError as e:
        raise OutputError(f"{path}: {e.strerror or e}") from e
    except (ValueError, KeyError, TypeError) as e:
        raise OutputError(f"{path}: no merged trace of tracemend's") from e


@dataclass(frozen=True)
class Grammar:
    """How one kind of text holds inferred events.

    ``hint`` is in every line that has some. ``marked`` finds out whether a line of the original has some already;
    ``whole`` matches a line that is one, ``part`` one within a line. ``column`` says where on a line the n-th event
    (from 0) begins, 0 if nothing is in front of it.
    """

    hint: bytes
    marked: re.Pattern[bytes]
    whole: re.Pattern[bytes]
    part: re.Pattern[bytes] | None
    column: Callable[[bytes, int], int]


def _name_column(line: bytes, ordinal: int) -> int:
    at = [m.start() for m in re.finditer(rb"\S+", line) if sequence.NAME.fullmatch(m[0])][ordinal]
    return at if line[:at].strip() else 0


LINES = Grammar(
    hint=MARKER,
    marked=re.compile(re.escape(MARKER)),
    whole=re.compile(rb" tracemend_inferred gap=\d+ confidence=[01]\.\d\d(?: fields=[\d.,]+)?\r?\n?\Z"),
    part=None,
    column=lambda line, ordinal: 0,
)
NAMES = Grammar(
    hint=b"~",
    marked=re.compile(rb"\A(?!#)(?:.*\s)?~", re.DOTALL),
    whole=re.compile(rb"\A~\S+\r?\n?\Z"),
    part=re.compile(rb"(?<=\s)~\S+ "),
    column=_name_column,
)


def original(merged: IO[bytes], format: str) -> Iterator[bytes]:
    """The original's bytes, piece by piece, out of a merged file's."""
    grammar = NAMES if format == "sequence" else LINES
    merged.readline()
    held = b""  # the last line's end: it is ours if an inferred line without one closes the file
    for line in merged:
        if grammar.hint in line and grammar.whole.search(line):
            if not line.endswith(b"\n"):
                held = b""
            continue
        cut = grammar.part if grammar.hint in line and not line.startswith(b"#") else None
        kept = cut.sub(b"", line) if cut else line
        if kept.endswith(b"\n"):
            yield held + kept[:-1]
            held = b"\n"
        else:
            yield held + kept
            held = b""
    yield held


@dataclass(frozen=True)
class Place:
    """Where inferred events go: before event ``ordinal`` (from 0) of the original's line ``line`` (from 1)."""

    line: float
    ordinal: int
    texts: Iterable[bytes]


def interleave(
    source: Iterable[bytes], sink: IO[bytes], header: bytes, places: Iterator[Place], grammar: Grammar
) -> str:
    """Copy the lines of ``source`` with inferred events in between; returns the SHA-256 of what was read.

    ``places`` come in order. Inferred events become lines of their own, except before an event that is not the first
    thing on its line. Raises OutputError if the source has inferred events already.
    """
    digest = hashlib.sha256()
    line = last = b""
    place = next(places, None)
    for number, line in enumerate(source, 1):
        digest.update(line)
        if grammar.hint in line and grammar.marked.search(line):
            raise OutputError(f"line {number} of the input is an inferred event already: strip it first")
        if number == 1:
            if line.startswith(HEADER):
                raise OutputError("the input is a merged trace already: strip it first")
            sink.write(header + _end(line))
        written = 0
        if place is not None and place.line <= number:
            end = _end(line if line.endswith(b"\n") else last)
            while place is not None and place.line <= number:
                at = grammar.column(line, place.ordinal)
                sink.write(line[written:at])
                sink.writelines(text + (b" " if at else end) for text in place.texts)
                written = at
                place = next(places, None)
        sink.write(line[written:] if written else line)
        last = line
    while place is not None:
        # A last line without an end stays without one: the end goes in front of each line that follows it.
        end = _end(line)
        sink.writelines(text + end if line.endswith(b"\n") else b"\n" + text for text in place.texts)
        place = next(places, None)
    return digest.hexdigest()


def _end(line: bytes) -> bytes:
    return b"\r\n" if line.endswith(b"\r\n") else b"\n"


def _is_text(path: Path) -> bool:
    with open(path, "rb") as f:
        head = f.read(1 << 16)
    return b"\0" not in head and not head.startswith((*PACKED, b"\x93NUMPY", b"PK\x03\x04"))


def _merge_lines(mended: Result, source: IO[bytes], sink: IO[bytes]) -> str:
    style = Style.of(mended)

    behind = mended.outline.places

    def where(gap: Gap) -> tuple[float, int]:
        line, _ = behind[gap.number]
        return (gap.line + 1 if line is None else line), 0

    places = _places(mended, where, style.lines)
    return interleave(source, sink, header(mended), places, LINES)


def _places(
    mended: Result, where: Callable[[Gap], tuple[float, int]], texts: Callable[[pa.Table], Iterable[bytes]]
) -> Iterator[Place]:
    """The places of all gaps with inferred events, in order; their texts are made only when they are asked for."""
    gaps = {gap.number: gap for gap in mended.trace.gaps}

    def of(closed: bool) -> Iterator[tuple[float, int, int, pa.Table]]:
        """The events of gaps that end with an event, which parts have in the order of the file, or of all others."""
        for part in mended.parts():
            numbers = part["gap"].to_numpy()
            starts = np.flatnonzero(np.diff(numbers, prepend=-1)).tolist()
            found = []
            for start, stop in pairwise([*starts, len(numbers)]):
                gap = gaps[int(numbers[start])]
                if (gap.after is not None) == closed:
                    found.append((*where(gap), gap.number, part.slice(start, stop - start)))
            yield from sorted(found, key=_place)

    for line, ordinal, _, inferred in merge(of(True), of(False), key=_place):
        yield Place(line, ordinal, texts(inferred))


def _place(found: tuple[float, int, int, pa.Table]) -> tuple[float, int, int]:
    return found[:3]


def _merge_sequence(mended: Result, source: IO[bytes], sink: IO[bytes]) -> str:
    numbers = any(token.isdigit() for token in samples(mended)[0].split())
    behind = mended.outline.places

    def where(gap: Gap) -> tuple[float, int]:
        """Before the gap's first surviving event, which is right behind the run; or at the file's end."""
        line, ordinal = behind[gap.number]
        return math.inf if line is None else line, ordinal

    def texts(inferred: pa.Table) -> Iterator[bytes]:
        strings = [inferred[c].cast(pa.string()).to_pylist() for c in ("name", "phase")]
        for name, phase in zip(*strings, strict=True):
            bare = name.removeprefix("id_") if numbers else name  # as the reader names the number
            yield f"~{bare}{'' if phase == 'instant' else f':{phase}'}".encode()

    return interleave(source, sink, header(mended), _places(mended, where, texts), NAMES)


_MERGERS: dict[str, Callable[[Result, IO[bytes], IO[bytes]], str]] = {
    "ftrace": _merge_lines,
    "perf": _merge_lines,
    "sequence": _merge_sequence,
}
