"""CTF 2's metadata (CTF2-SPEC-2.0), a sequence of JSON texts (RFC 7464), to the same that TSDL becomes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tracemend.errors import TraceError
from tracemend.formats.ctf.json_fields import FieldClasses, taken
from tracemend.formats.ctf.metadata import Clock, EventClass, Metadata, StreamClass
from tracemend.formats.ctf.metadata_file import JSON_MAGIC
from tracemend.formats.ctf.names import (
    EVENT_CONTEXT,
    EVENT_FIELDS,
    EVENT_HEADER,
    PACKET_CONTEXT,
    PACKET_HEADER,
    STREAM_CONTEXT,
)
from tracemend.formats.ctf.types import Refused


def parsed(path: Path, raw: bytes) -> Metadata:
    """What the metadata says; raises TraceError with the line."""
    reader = _Reader(path)
    for line, fragment in fragments(path, raw):
        try:
            reader.take(fragment, line)
        except Refused as e:
            kind = fragment.get("type")
            where = f"{kind} {fragment.get('name', '')}".rstrip() if isinstance(kind, str) else "a fragment"
            raise TraceError(path, line, f"{where[:80]}: {e}") from None
    if not reader.begun:
        raise TraceError(path, 1, "no preamble of CTF 2")
    return reader.metadata


def fragments(path: Path, raw: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects in a sequence of JSON texts, each behind a record separator, with the lines at which they begin."""
    line = 1
    for text in raw.split(JSON_MAGIC):
        if text.strip():
            try:
                found = json.loads(text)
            except (ValueError, RecursionError) as e:  # a UnicodeDecodeError is a ValueError, too
                at = line + getattr(e, "lineno", 1) - 1
                why = "nested too deep" if isinstance(e, RecursionError) else getattr(e, "msg", "") or str(e)
                raise TraceError(path, at, f"no JSON: {why}") from None
            if not isinstance(found, dict):
                raise TraceError(path, line, "a fragment that is no object")
            yield line, found
        line += text.count(b"\n")


class _Reader:
    """Takes one fragment after the other, into ``metadata``."""

    def __init__(self, path: Path) -> None:
        self.metadata = Metadata(path, little=True, version=2)
        self.begun = False
        self.classes = FieldClasses()

    def take(self, given: dict[str, Any], line: int) -> None:
        """Take a fragment; raises Refused."""
        kind = taken(given, "type", str)
        if (kind == "preamble") == self.begun:
            raise Refused("the preamble is the first fragment, and the only one")
        if kind == "preamble":
            self._preamble(given)
        elif kind == "field-class-alias":
            self.classes.aliases.setdefault(taken(given, "name", str), self._known(given.get("field-class")))
        elif kind == "trace-class":
            self._trace(given)
        elif kind == "clock-class":
            self._clock(given)
        elif kind == "data-stream-class":
            self._stream(given, line)
        elif kind == "event-record-class":
            self._event(given, line)
        else:
            raise Refused(f"no type of fragment: {kind[:40]!r}")

    def _preamble(self, given: dict[str, Any]) -> None:
        if given.get("version") != 2:
            raise Refused(f"CTF {str(given.get('version'))[:20]}; only 1.8 and 2 can be read")
        extensions = taken(given, "extensions", dict, {})
        if extensions:
            raise Refused(f"extensions that nothing here knows: {', '.join(map(str, extensions))}"[:100])
        if "uuid" in given:
            uuid = taken(given, "uuid", list)
            if len(uuid) != 16 or not all(type(b) is int and 0 <= b < 256 for b in uuid):
                raise Refused("property 'uuid' is not what it should be")
            self.metadata.uuid = bytes(uuid)
        self.begun = True

    def _known(self, given: object) -> object:
        """The field class of an alias, which may be another one that is there already."""
        if isinstance(given, str) and given not in self.classes.aliases:
            raise Refused(f"no field class alias {given[:40]!r}")
        return given

    def _trace(self, given: dict[str, Any]) -> None:
        env = taken(given, "environment", dict, {})
        self.metadata.env |= {name: value for name, value in env.items() if isinstance(value, str | int)}
        found = self.classes.structure(PACKET_HEADER, given, "packet-header-field-class")
        self.metadata.packet_header = found

    def _clock(self, given: dict[str, Any]) -> None:
        name, frequency = taken(given, "id", str), taken(given, "frequency", int)
        if frequency < 1:
            raise Refused("a clock that stands still")
        offset = taken(given, "offset-from-origin", dict, {})
        clock = Clock(name, frequency, taken(offset, "seconds", int, 0), taken(offset, "cycles", int, 0))
        self.metadata.clocks[name] = clock

    def _stream(self, given: dict[str, Any], line: int) -> None:
        stream = StreamClass(taken(given, "id", int, 0), line=line)
        if stream.id in self.metadata.streams:
            raise Refused(f"two of id {stream.id}")
        clock = taken(given, "default-clock-class-id", str, "")
        if clock and clock not in self.metadata.clocks:
            raise Refused(f"no clock class {clock[:40]!r}")
        self.classes.clock = clock or None
        stream.packet_context = self.classes.structure(PACKET_CONTEXT, given, "packet-context-field-class")
        stream.event_header = self.classes.structure(EVENT_HEADER, given, "event-record-header-field-class")
        stream.event_context = self.classes.structure(STREAM_CONTEXT, given, "event-record-common-context-field-class")
        self.metadata.streams[stream.id] = stream

    def _event(self, given: dict[str, Any], line: int) -> None:
        stream = self.metadata.streams.get(taken(given, "data-stream-class-id", int, 0))
        if stream is None:
            raise Refused("its data stream class isn't there")
        number = taken(given, "id", int, 0)
        if number in stream.events:
            raise Refused(f"two of id {number}")
        self.classes.roots |= {
            PACKET_CONTEXT: stream.packet_context,
            EVENT_HEADER: stream.event_header,
            STREAM_CONTEXT: stream.event_context,
        }
        context = self.classes.structure(EVENT_CONTEXT, given, "specific-context-field-class")
        fields = self.classes.structure(EVENT_FIELDS, given, "payload-field-class")
        name = taken(given, "name", str, f"event_{number}")
        stream.events[number] = EventClass(number, name, context, fields, line)
