"""The user's own library: recordings that ``mend`` copies from by itself, besides those that come with tracemend.

A folder on this machine, one file a recording. A file holds which events followed each other by which thread; times,
arguments and results aren't in it. What lies in the folder may be damaged or not ours: it is told and passed over.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tracemend.errors import OptionError, OutputError, TraceError
from tracemend.formats import in_pieces
from tracemend.formats.base import EARLIER
from tracemend.losses.scanning import Scanning
from tracemend.losses.verdict import COMPLETE, LOST
from tracemend.menders.examples import Example, apart, laid_out
from tracemend.trace.events import PHASES, Trace
from tracemend.trace.evidence import plural
from tracemend.trace.pieces import Piece
from tracemend.trace.vocabulary import FIRST, Vocabulary, by_frequency
from tracemend.trace.windows import Stream
from tracemend.untrusted import json_of, printable
from tracemend.whole import whole_file

#: So many events of a trace are kept at most, so many it must have at least to be of use; so many all have together.
MOST, LEAST, WHOLE = 1 << 18, 100, 1 << 24
#: Of a trace that lost events so many more are left out on each side of a gap: the mark may stand a little off.
BESIDE = 32
#: Letters of a name, and bytes of a file.
LONGEST, LARGEST = 80, 1 << 24
SUFFIX = ".parquet"
KEY = b"tracemend_library"
COLUMNS = pa.schema([("stream", pa.int32()), ("id", pa.int32()), ("thread", pa.int32())])


@dataclass(frozen=True)
class Recording:
    """A recording of the library. sha256: of its events. tracer: who recorded it, its format if nobody knows. source:
    the file it was made of. added: when. note: what is to be known of it, as a sentence."""

    name: str
    sha256: str
    events: int
    tracer: str
    source: str
    added: str
    note: str = ""


@dataclass(frozen=True)
class Library:
    """What lies in the folder, in order of names. passed_over: what can't be used, one line each."""

    recordings: tuple[Recording, ...]
    examples: tuple[Example, ...]
    passed_over: tuple[str, ...]

    def __repr__(self) -> str:
        names = ", ".join(r.name for r in self.recordings[:10]) + (", ..." if len(self.recordings) > 10 else "")
        over = f"; {plural(len(self.passed_over), 'file')} passed over" if self.passed_over else ""
        return f"<Library of {plural(len(self.recordings), 'recording')}{f': {names}' if names else ''}{over}>"


def folder() -> Path:
    """The library's folder: $TRACEMEND_LIBRARY, else one among the user's data. It needn't be there."""
    if named := os.environ.get("TRACEMEND_LIBRARY"):
        return Path(named).expanduser()
    home = os.environ.get("XDG_DATA_HOME", "")
    base = Path(home) if Path(home).is_absolute() else Path("~/.local/share").expanduser()
    return base / "tracemend" / "library"


def read() -> Library:
    """All recordings of the library. Raises OutputError for a folder that can't be read."""
    found: list[tuple[Recording, Example]] = []
    faults, room = [], WHOLE
    for path in _files():
        try:
            one = _read(path)
            if len(one[1]) > room:
                raise ValueError(f"the library takes {WHOLE:,} events")
            found.append(one)
            room -= len(one[1])
        except (OSError, ValueError, KeyError, TypeError, RecursionError, pa.ArrowException) as e:
            reason = str(e).partition("\n")[0][:200] or type(e).__name__
            faults.append(f"{path}: no recording of the library ({reason}); passed over")
    found.sort(key=lambda pair: pair[0].name)
    return Library(tuple(r for r, _ in found), tuple(e for _, e in found), tuple(faults))


def add(trace: Trace | str | Path, name: str | None = None) -> tuple[Recording, bool]:
    """Add a trace, or the one that lies at a path. Returns what the library has of it now, and whether that is new:
    what it has already isn't added again.

    name: if not given, the file's. Of a trace that lost events the stretches between its gaps are kept, without the
    events next to a gap. Raises TraceError for a trace that is of no use or can't be read, OptionError for a name that
    is taken or none, OutputError for a folder that can't be written.
    """
    return put(in_pieces(trace), name)


def put(pieces: Iterator[Piece], name: str | None = None) -> tuple[Recording, bool]:
    """The same of a trace that comes in pieces."""
    scanning, first = Scanning(), None
    for piece in pieces:
        first = first or piece
        scanning.add(piece)
    assert first is not None, "a trace has at least one piece"
    found = scanning.finish()
    facts, path = found.trace, first.trace.path
    at = path if path is not None else "the trace"
    for wrong, why in (
        ("inferred" in first.trace.table.column_names, "has inferred events, and a fill is no evidence"),
        (any(w.endswith(EARLIER) for w in facts.warnings), "is a mended trace, and a fill is no evidence"),
        (facts.passed_over, "could not be read in full"),
        (facts.unplaced, "lost events, and its tracer doesn't tell where"),
        (len(found.gaps) > len(found.marked), "seems to have lost events that its tracer doesn't mark"),
    ):
        if wrong:
            raise TraceError(at, 0, f"{why}: not added")
    streams, vocabulary = _stretches(first.trace)
    kept = sum(map(len, streams))
    if kept < LEAST:
        raise TraceError(at, 0, f"has {plural(kept, 'event')} to copy from, which are too few: not added")
    example = Example(_named(name, path), tuple(streams), vocabulary, own=True)
    notes = []
    if found.marked:
        notes.append(
            f"It lost events: kept is what lies between its gaps ({len(found.marked):,}), not right beside them."
        )
    elif found.verdict.word not in (COMPLETE, LOST):
        notes.append("Nobody can tell whether it lost events.")
    if not (first.only or first.last):
        notes.append(f"It is long: of its beginning {kept:,} events are kept.")
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
    tracer = facts.tracer or facts.format
    source = str(path.resolve()) if path is not None else ""
    return _kept(Recording(example.name, example.sha256, kept, tracer, source, now, " ".join(notes)), example)


def remove(name: str) -> Recording:
    """Remove the recording of this name. Raises OptionError where there is none."""
    with _alone() as where:
        found = next((r for r in read().recordings if r.name == name), None)
        if found is None:
            raise OptionError(f"{printable(name)!r} isn't in the library ({where})")
        _file(where, found.sha256).unlink()
    return found


def _kept(recording: Recording, example: Example) -> tuple[Recording, bool]:
    """Lay it down, unless it is there. Raises OptionError for a name that is taken, and OutputError."""
    with _alone() as where:
        held = read().recordings
        for known in held:
            if known.sha256 == recording.sha256:
                return known, False
            if known.name == recording.name:
                raise OptionError(f"{known.name!r} is in the library already; give this one another name (--name)")
        if sum(r.events for r in held) + recording.events > WHOLE:
            raise OptionError(f"the library is full (it takes {WHOLE:,} events); remove some recordings first")
        _write(recording, example, _file(where, recording.sha256))
    return recording, True


def _stretches(trace: Trace) -> tuple[list[Stream], Vocabulary]:
    """The intact stretches of each cpu, without what is next to a gap."""
    vocabulary = Vocabulary(by_frequency([trace]).entries)
    ids, found, room = vocabulary.encode(trace), [], MOST
    for cpu, rows in trace.streams.items():
        parts = np.split(rows, trace.breaks(cpu))
        for number, part in enumerate(parts):
            first = BESIDE if number > 0 else 0
            last = len(part) - (BESIDE if number < len(parts) - 1 else 0)
            kept = part[first : min(max(first, last), first + room)]
            if len(kept) >= BESIDE:
                found.append(Stream(ids[kept].astype(np.int64), trace.tid[kept].astype(np.int64)))
                room -= len(kept)
    return found, vocabulary


def _named(name: str | None, path: Path | None) -> str:
    """Raises OptionError for a name that can't be shown or typed."""
    chosen = name if name is not None else printable(path.name.split(".")[0])[:LONGEST] if path is not None else ""
    if not chosen.strip() or chosen != printable(chosen) or len(chosen) > LONGEST or chosen.startswith("-"):
        raise OptionError(
            f"a name has 1 to {LONGEST} letters that can be shown, and doesn't begin with -: not {name!r}"
        )
    return chosen


def _files() -> list[Path]:
    where = folder()
    try:
        return sorted(p for p in where.iterdir() if p.suffix == SUFFIX and not p.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as e:
        raise OutputError(f"{where}: can't be read: {e.strerror or e}") from e


def _file(where: Path, sha256: str) -> Path:
    return where / f"{sha256[:16]}{SUFFIX}"


@contextmanager
def _alone() -> Iterator[Path]:
    """The folder, made if need be, for as long as nobody else changes it. Raises OutputError."""
    where = folder()
    try:
        where.mkdir(0o700, parents=True, exist_ok=True)
        lock = os.open(where, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield where
        finally:
            os.close(lock)
    except OSError as e:
        raise OutputError(f"{where}: can't be used as the library: {e.strerror or e}") from e


def _write(recording: Recording, example: Example, path: Path) -> None:
    entries = [[name, PHASES[phase]] for name, phase in example.vocabulary.entries]
    columns = [pa.array(c.astype(np.int32)) for c in laid_out(example.streams)]
    table = pa.Table.from_arrays(columns, schema=COLUMNS)
    about = json.dumps(asdict(recording) | {"entries": entries}).encode()
    with whole_file(path) as file:
        pq.write_table(table.replace_schema_metadata({KEY: about}), file, compression="zstd", compression_level=9)


def _read(path: Path) -> tuple[Recording, Example]:
    """A recording of the library. Raises OSError, ValueError, KeyError, TypeError and Arrow's errors for what is none;
    looks first at what says how large it is."""
    if not path.is_file():
        raise ValueError("no file")
    if path.stat().st_size > LARGEST:
        raise ValueError("too large")
    with pq.ParquetFile(path) as file:
        if file.metadata.num_rows > MOST:
            raise ValueError("too many events")
        if not file.schema_arrow.equals(COLUMNS):
            raise ValueError("other columns")
        document: dict[str, Any] = json_of((file.schema_arrow.metadata or {})[KEY])
        columns = file.read(use_threads=False).columns
    if any(c.null_count for c in columns):
        raise ValueError("events without an id")
    number, ids, threads = (c.to_numpy() for c in columns)
    about = Recording(**{f.name: document[f.name] for f in fields(Recording)})
    for field in fields(Recording):
        if not isinstance(getattr(about, field.name), int if field.name == "events" else str):
            raise ValueError(f"no {field.name}")
    vocabulary = Vocabulary((str(n), PHASES.index(p)) for n, p in document["entries"])
    if not len(ids) or ids.min() < FIRST or ids.max() >= len(vocabulary):
        raise ValueError("events without a name")
    example = Example(_named(about.name, None), tuple(apart(number, ids, threads)), vocabulary, own=True)
    if example.sha256 != about.sha256 or path.stem != about.sha256[:16]:
        raise ValueError("damaged")
    return about, example
