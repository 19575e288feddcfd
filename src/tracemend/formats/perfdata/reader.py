"""The trace of a ``perf.data``: its losses by its records, its events by perf, or else by its records, too."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from tracemend.errors import TraceError
from tracemend.formats import perf
from tracemend.formats.base import Builder, Options
from tracemend.formats.endings import another
from tracemend.formats.perfdata import MAGIC, events, tool
from tracemend.formats.perfdata.file import FORMAT_LOST, WRITE_BACKWARD, Described, describe
from tracemend.formats.perfdata.records import Told, parts, walk
from tracemend.formats.text import UNPACKING, chunks, open_binary
from tracemend.formats.tracedat.cursor import DamageError
from tracemend.trace.events import Trace
from tracemend.trace.evidence import Doubt, Unplaced

NO_END = Doubt(
    "what perf record lost after the last event that found room is marked only from Linux 6.1 on, and this file is of "
    "an earlier one",
    "Record with perf and Linux 6.1 or newer, or with a larger buffer (-m).",
    "unless the buffer was full at the very end",
)
KILLED = Doubt(
    "its recorder was ended before it took down what it had lost",
    "End perf record by SIGINT or SIGTERM, and wait for it.",
)
IN_A_PIPE = Doubt(
    "perf record wrote into a pipe, and nothing tells whether it came to its end",
    "Record into a file (-o).",
    "unless perf record was killed",
)
OVERWRITING = Doubt(
    "perf record --overwrite keeps only the newest events and doesn't say what it overwrote",
    "Record without --overwrite.",
)
BY_RECORDS = "{0}; its records were read without it: tracepoints are complete, other events have only their names"


def read(path: Path, options: Options) -> Trace:
    """Read a perf.data, or the folder that perf record --threads or --kcore made of it; raises TraceError."""
    builder = Builder(path, "perf.data", options, pieces="pieces")
    main = path / "data" if path.is_dir() else path
    with tempfile.TemporaryDirectory(prefix="tracemend-") as name:
        plain = _unpacked(builder, main, Path(name))
        size = plain.stat().st_size
        try:
            with open(plain, "rb") as file:
                found = describe(file, size)
                second = another(file, 16)  # magic number and size of the header
        except DamageError as e:
            raise TraceError(path, 0, f"byte {e.at}: {e.message}") from None
        if found.split and not parts(plain):
            raise TraceError(path, 0, "its events lie in files data.0, data.1 and so on, which are not beside it")
        told = walk(plain, size, found)
        builder = _events(builder, plain, size, found, Path(name))
    builder.doubts += [second] if second else []
    _tell(builder, found, told)
    return builder.finish()


def _unpacked(builder: Builder, path: Path, folder: Path) -> Path:
    """The file itself, or a copy in ``folder`` where it is compressed."""
    with open(path, "rb") as f:
        if f.read(8) in MAGIC:
            return path
    copy = folder / "unpacked"
    try:
        with open_binary(path) as packed, open(copy, "wb") as out:
            shutil.copyfileobj(packed, out)
    except UNPACKING as e:
        raise TraceError(builder.path, 0, f"can't unpack it: {e}") from e
    return copy


def _events(empty: Builder, plain: Path, size: int, found: Described, folder: Path) -> Builder:
    """A builder with the file's events, in the place of one without any."""
    given = plain.parent if found.split else plain
    try:
        return _printed(empty, given, folder)
    except TraceError as e:
        failed = e
    with open(plain, "rb") as file:
        for cut in tool.narrowed(file, found, folder / "copy"):
            try:
                builder = _printed(empty, folder / "copy", folder)
            except TraceError:
                continue
            builder.warnings.append(
                f"perf here doesn't know attributes of {found.attr_size} bytes; it read a copy whose are cut to {cut}: "
                "all that was cut off is zero"
            )
            return builder
    builder = _fresh(empty)
    builder.warnings.append(BY_RECORDS.format(failed.message))
    events.fill(builder, plain, size, found)
    builder.provenance["read_by"] = "tracemend"
    return builder


def _fresh(empty: Builder) -> Builder:
    return Builder(empty.path, empty.format, empty.options, pieces=empty.pieces)


def _printed(empty: Builder, path: Path, folder: Path) -> Builder:
    """The events as perf prints them; raises TraceError where it doesn't."""
    builder = replace(_fresh(empty), pieces="lines")
    text, complaint = tool.print_text(path, folder)
    try:
        perf.fill(builder, chunks(text))
    except TraceError as e:  # whatever is wrong with the text, the user knows only the file it was made from
        raise TraceError(empty.path, e.line, e.message) from None
    if builder.malformed > builder.rows:
        raise TraceError(empty.path, 0, "perf printed more lines that can't be read than events")
    if complaint and not builder.rows and not builder.marks:
        raise TraceError(empty.path, 0, f"perf script printed no events: {complaint}")
    builder.unplaced.clear()  # the records tell it better
    builder.provenance["read_by"] = " ".join(tool.COMMAND)
    return builder


def _tell(builder: Builder, found: Described, told: Told) -> None:
    """What the records say of losses beyond the marks, and what could not be known from them."""
    builder.stored.update(told.stored)
    builder.processes = told.processes | builder.processes
    beyond = max(sum(n or 0 for *_, n in told.lost), told.lost_samples) - sum(m.count or 0 for m in builder.marks)
    if beyond > 0:
        said = f"{beyond:,} events more were lost at the end of the recording, which no mark places"
        builder.unplaced.append(Unplaced(said, beyond))
    printed = builder.rows + builder.malformed
    if printed < told.samples:
        builder.doubts.append(
            Doubt(f"perf printed only {printed:,} of its {told.samples:,} samples", "See what perf script says of it.")
        )
    for cpu, times in sorted(told.aux.items()):
        said = f"AUX data were cut off {times:,} times" + (f" on cpu {cpu}" if cpu >= 0 else "")
        builder.unplaced.append(Unplaced(said, times, "AUX", cpu))
    if told.throttled:
        builder.warnings.append(f"the kernel throttled sampling {told.throttled:,} times: it took no samples meanwhile")
    for fault in told.faults:
        builder.bad(0, fault)
    if told.faults and not found.unfinished:
        builder.unplaced.append(Unplaced(f"{told.faults[0]}; the events there are missing", None))
    if found.unfinished:
        builder.doubts.append(KILLED)
    if found.piped:
        builder.doubts.append(IN_A_PIPE)
    if any(a.flags & WRITE_BACKWARD for a in found.attrs):
        builder.doubts.append(OVERWRITING)
    if not all(a.read_format & FORMAT_LOST for a in found.attrs):
        builder.doubts.append(NO_END)
