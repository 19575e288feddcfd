"""The blocks of TSDL, the language of CTF's metadata (CTF 1.8, chapters 6 to 8), to streams, events and clocks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from tracemend.errors import TraceError
from tracemend.formats.ctf import json_metadata
from tracemend.formats.ctf.declarations import Attributes, Scope, TypeParser
from tracemend.formats.ctf.metadata import NS, Clock, EventClass, Metadata, StreamClass
from tracemend.formats.ctf.metadata_file import JSON_MAGIC, unpack
from tracemend.formats.ctf.tokens import tokens
from tracemend.formats.ctf.types import Structure, Type
from tracemend.formats.text import decode

#: Metadata larger than this is damage: LTTng's for a whole kernel has one or two mebibytes.
MOST_BYTES = 1 << 24


def read_metadata(path: Path) -> Metadata:
    """Read a trace's metadata; raises TraceError with the line (of the text that packets hold, if it is in packets)."""
    if path.stat().st_size > MOST_BYTES:
        raise TraceError(path, 0, f"metadata of more than {MOST_BYTES >> 20} MiB")
    text = unpack(path, path.read_bytes())
    if text.startswith(JSON_MAGIC):
        return json_metadata.parsed(path, text)
    return _Parser(path, tokens(path, decode(text))).metadata()


@dataclass(slots=True)
class _Block:
    """What stands in ``trace { }``, ``stream { }`` and the like: attributes by ``=``, types by ``:=``."""

    line: int
    attributes: Attributes
    types: dict[str, Type]


class _Parser(TypeParser):
    """Recursive descent over the tokens of blocks."""

    def block(self, outer: Scope) -> _Block:
        """``{ name = value; path := type; ... }``."""
        scope = Scope(outer)
        found = _Block(self.token.line, {}, {})
        self.expect("{")
        while not self.accept("}"):
            line = self.token.line
            if self.declaration(scope):
                continue
            if self.token.text in ("struct", "variant", "enum"):
                self.type(scope, whole=True)
                self.accept(";")
                continue
            name = ".".join(self.dotted())
            if self.accept(":="):
                found.types[name] = self.type(scope, whole=True)
            else:
                self.expect("=")
                found.attributes[name] = self.value(), line
            self.expect(";")
        return found

    def metadata(self) -> Metadata:
        """The whole of it."""
        result = Metadata(self.path, self.little)
        root = Scope()
        events: list[_Block] = []
        while self.token.kind != "end":
            line = self.token.line
            if self.accept(";") or self.declaration(root):
                continue
            if self.token.text in ("struct", "variant", "enum"):
                self.type(root, whole=True)
                self.accept(";")
                continue
            sort = self.word("a block")
            if sort not in ("trace", "env", "clock", "stream", "event", "callsite"):
                self.fail(f"no block of metadata: {sort}", line)
            block = self.block(root)
            self.accept(";")
            if sort == "trace":
                self._trace(block, result)
            elif sort == "env":
                result.env |= {name: value for name, (value, _) in block.attributes.items()}
            elif sort == "clock":
                clock = self._clock(block)
                result.clocks[clock.name] = clock
            elif sort == "stream":
                self._stream(block, result)
            elif sort == "event":
                events.append(block)
        for block in events:  # their streams may stand behind them
            self._event(block, result)
        return result

    def _structure(self, block: _Block, name: str) -> Structure | None:
        found = block.types.get(name)
        if found is not None and not isinstance(found, Structure):
            self.fail(f"{name} is no struct", block.line)
        return found

    def _trace(self, block: _Block, result: Metadata) -> None:
        a = block.attributes
        version = self.number(a, "major", 1), self.number(a, "minor", 8)
        if version != (1, 8):
            self.fail(f"CTF {version[0]}.{version[1]}; only 1.8 can be read", block.line)
        if "uuid" in a:
            try:
                result.uuid = UUID(str(a["uuid"][0])).bytes
            except ValueError:
                self.fail(f"no UUID: {str(a['uuid'][0])[:40]!r}", a["uuid"][1])
        result.packet_header = self._structure(block, "packet.header")

    def _clock(self, block: _Block) -> Clock:
        a = block.attributes
        frequency = self.number(a, "freq", NS)
        if frequency < 1:
            self.fail(f"a clock of {frequency} Hz", block.line)
        name = str(a.get("name", ("", 0))[0])
        return Clock(name, frequency, self.number(a, "offset_s", 0), self.number(a, "offset", 0))

    def _stream(self, block: _Block, result: Metadata) -> None:
        stream = StreamClass(
            self.number(block.attributes, "id", 0),
            self._structure(block, "packet.context"),
            self._structure(block, "event.header"),
            self._structure(block, "event.context"),
            line=block.line,
        )
        result.numbered &= "id" in block.attributes
        if stream.id in result.streams:
            self.fail(f"two streams with id {stream.id}", block.line)
        result.streams[stream.id] = stream

    def _event(self, block: _Block, result: Metadata) -> None:
        a = block.attributes
        if not result.streams:  # a trace may have one kind of stream and nothing to say about it
            result.streams[0] = StreamClass(0, line=block.line)
        result.numbered &= "stream_id" in a
        only = next(iter(result.streams)) if len(result.streams) == 1 else 0
        stream = result.streams.get(self.number(a, "stream_id", only))
        if stream is None:
            self.fail(f"an event of stream {self.number(a, 'stream_id', only)}, which isn't there", block.line)
        event = EventClass(
            self.number(a, "id", 0),
            str(a["name"][0]) if "name" in a else f"event_{self.number(a, 'id', 0)}",
            self._structure(block, "context"),
            self._structure(block, "fields"),
            block.line,
        )
        if event.id in stream.events:
            self.fail(f"two events with id {event.id} in stream {stream.id}", block.line)
        stream.events[event.id] = event
