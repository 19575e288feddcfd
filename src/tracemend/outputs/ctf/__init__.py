"""A CTF trace with its inferred events in a stream of their own, and the way back to the original.

The folder is a copy of the trace's. Each trace directory in it that lost events has one file more, a stream of inferred
events, and its metadata has one part more, which declares that stream; all else is the original's, byte for byte. Every
event of the stream says that it is inferred, how sure that is, of which gap and of which stream. Its name, thread and
time are inferred, and those of its fields that its context names; all others are there for readers that expect them,
and hold a ``<...>``.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from tracemend.errors import OutputError
from tracemend.formats import files, sha256
from tracemend.formats.base import Builder, Options
from tracemend.formats.ctf.event_names import Kinds
from tracemend.formats.ctf.folders import METADATA
from tracemend.formats.ctf.metadata import INFERRED_EVENTS
from tracemend.formats.ctf.metadata_file import JSON_MAGIC, MERGED, PACKET_HEADER, PACKET_MAGIC
from tracemend.formats.ctf.packets import Packets, Stream
from tracemend.formats.ctf.streams import all_streams, open_traces
from tracemend.mending.mended import Result
from tracemend.outputs.ctf.extra import NAME, Extra
from tracemend.outputs.overlay import NOTE
from tracemend.untrusted import json_of

#: Where babeltrace2 finds the plug-in that shows inferred events.
PLUGIN_FOLDER = Path(__file__).parent / "babeltrace"
NOT_INTO_CTF_2 = (
    "CTF 2, into which nothing is merged; babeltrace2 from 2.1 on makes CTF 1.8 of it: "
    'babeltrace2 TRACE --component=sink.ctf.fs --params=\'path="OUT",ctf-version="1"\''
)
#: Bytes of a packet of metadata, at most.
PACKET = 4096


@dataclass(frozen=True, slots=True)
class Mark:
    """What a merged trace's metadata says of the original: its own size in bytes, and the folder's SHA-256."""

    size: int
    sha256: str


def write(mended: Result, source: Path, folder: Path) -> None:
    """Make the folder, a copy of the trace's (``source``) with the inferred events in it.

    Raises OutputError for a trace that has changed since it was read, that holds inferred events already, or that has
    no room for them (no clock, streams without ids); OSError.
    """
    refuse(source)
    _copy(source, folder)
    if sha256(folder) != mended.provenance["input_sha256"]:
        raise OutputError(f"{source}: changed since it was read; not merged")
    for path, extra in _extras(mended, source):
        if (path / NAME).exists():
            raise OutputError(f"{path / NAME}: a file of this name is in the trace already")
        place = folder / path.relative_to(source)
        with open(place / NAME, "xb") as f:
            f.writelines(extra.packets())
        _append(place / METADATA, extra, mended)


def refuse(source: Path) -> None:
    """Raises OutputError for a trace into which nothing can be merged, as far as its files alone tell."""
    if not source.is_dir():
        raise OutputError(f"{source}: only a CTF trace's whole folder can be merged, not its metadata alone")
    if any(file.read_bytes()[:1] == JSON_MAGIC for file in source.rglob(METADATA) if file.is_file()):
        raise OutputError(f"{source}: {NOT_INTO_CTF_2}")


def _extras(mended: Result, source: Path) -> Iterator[tuple[Path, Extra]]:
    """The directories that lost events, each with the stream that goes into it."""
    arch = str((mended.provenance.get("options") or {}).get("arch", Options().arch))
    traces, streams = _open(source, arch)
    if any(t.metadata.version > 1 for t in traces):
        raise OutputError(f"{source}: {NOT_INTO_CTF_2}")
    if any(kind.inferred for t in traces for kind in t.metadata.streams.values()):
        raise OutputError(f"{source}: holds inferred events already: strip it first")
    lost = {g.cpu for g, f in zip(mended.trace.gaps, mended.fills, strict=True) if f.events}
    for trace in traces:
        lossy = {s.number: s for s in streams if s.trace is trace and s.number in lost}
        if lossy:
            yield trace.folder, Extra(trace, lossy, mended.in_time, arch)


def _open(folder: Path, arch: str) -> tuple[list[Packets], list[Stream]]:
    """The traces in a folder and all their streams, with the numbers by which gaps know them."""
    builder = Builder(folder, "ctf", Options(arch))
    traces = open_traces(folder, builder, Kinds(builder))
    return traces, all_streams(traces)


def _append(metadata: Path, extra: Extra, mended: Result) -> None:
    raw = metadata.read_bytes()
    made = mended.provenance
    mark = {"metadata_bytes": len(raw), "input_sha256": made["input_sha256"]}
    env: dict[str, str | int] = {
        "tracemend_version": str(made["tracemend"]),
        "tracemend_model": str(made.get("model") or ""),
        "tracemend_model_sha256": str(made.get("model_sha256") or ""),
        "tracemend_seed": int(made.get("seed") or 0),
        "tracemend_input_sha256": str(made["input_sha256"]),
        "tracemend_note": f"{NOTE}; tracemend_fields names the fields that are inferred, <...> stands for others",
        INFERRED_EVENTS: extra.count,
    }
    if mended.trace.partial is not None:
        env["tracemend_windows"] = mended.trace.partial.sentence(mended.outline.kept)
    text = MERGED + json.dumps(mark).encode() + b" */\n" + extra.tsdl(env).encode()
    with open(metadata, "ab") as f:
        f.write(_as_in(raw, text))


def _as_in(raw: bytes, text: bytes) -> bytes:
    """More text for metadata, in packets if what is there is in packets."""
    order = next((o for o in "<>" if raw[:4] == struct.pack(f"{o}I", PACKET_MAGIC)), None)
    if order is None:
        return b"\n" + text
    header = struct.Struct(order + PACKET_HEADER)
    _, uuid, *_ = header.unpack_from(raw)
    room = PACKET - header.size
    packets = b""
    for part in (text[at : at + room] for at in range(0, len(text), room)):
        bits = (header.size + len(part)) * 8
        packets += header.pack(PACKET_MAGIC, uuid, 0, bits, bits, 0, 0, 0, 1, 8) + part
    return packets


def read_marks(folder: Path) -> dict[Path, Mark]:
    """The trace directories at and below a merged folder that have a stream of inferred events."""
    found = {}
    for metadata in sorted(folder.rglob(METADATA)):
        raw = metadata.read_bytes() if metadata.is_file() else b""
        at = raw.rfind(MERGED)
        if at < 0:
            continue
        try:
            facts = json_of(raw[at + len(MERGED) : raw.index(b" */", at)])
            found[metadata.parent] = Mark(int(facts["metadata_bytes"]), str(facts["input_sha256"]))
        except (ValueError, KeyError, TypeError) as e:
            raise OutputError(f"{metadata}: the mark of the merged trace is damaged") from e
    return found


def original(merged: Path, to: Path) -> str:
    """Put the original of a merged trace (or a copy of a folder that is none) into a folder; returns its SHA-256.

    Raises OutputError for a damaged mark; OSError.
    """
    marks = read_marks(merged)
    _copy(merged, to, without={folder / NAME for folder in marks})
    for folder, mark in marks.items():
        metadata = to / folder.relative_to(merged) / METADATA
        if 0 <= mark.size < metadata.stat().st_size:
            os.truncate(metadata, mark.size)
    return sha256(to)


def _copy(source: Path, to: Path, without: Collection[Path] = ()) -> None:
    """All files and folders in a folder into another one, links as what they lead to."""
    inside = set(files(source))
    found = sorted(source.rglob("*"))
    to.mkdir(exist_ok=True)
    for path in found:
        place = to / path.relative_to(source)
        if path.is_dir() and not path.is_symlink():
            place.mkdir()
        elif path in inside and path not in without:
            shutil.copyfile(path, place)
