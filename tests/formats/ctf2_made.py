"""Made-up CTF 2: the metadata of a CTF 1.8 trace said again in CTF 2's JSON, so that its stream files are of both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tracemend.formats.ctf.metadata import Metadata, StreamClass
from tracemend.formats.ctf.names import (
    EVENT_CONTEXT,
    EVENT_FIELDS,
    EVENT_HEADER,
    PACKET_CONTEXT,
    PACKET_HEADER,
    STREAM_CONTEXT,
    shown_name,
)
from tracemend.formats.ctf.tsdl import read_metadata
from tracemend.formats.ctf.types import (
    Array,
    Enumeration,
    FieldPath,
    Float,
    Integer,
    Place,
    String,
    Structure,
    Type,
    Variant,
)

Object = dict[str, Any]
ROLES: dict[tuple[str, ...], dict[str, Any]] = {
    PACKET_HEADER: {
        "magic": "packet-magic-number",
        "uuid": "metadata-stream-uuid",
        "stream_id": "data-stream-class-id",
        "stream_instance_id": "data-stream-id",
    },
    PACKET_CONTEXT: {
        "packet_size": "packet-total-length",
        "content_size": "packet-content-length",
        "timestamp_begin": "default-clock-timestamp",
        "timestamp_end": "packet-end-default-clock-timestamp",
        "packet_seq_num": "packet-sequence-number",
        "events_discarded": "discarded-event-record-counter-snapshot",
    },
    EVENT_HEADER: {"id": "event-record-class-id", "timestamp": "default-clock-timestamp"},
}
ORIGINS = {
    PACKET_HEADER: "packet-header",
    PACKET_CONTEXT: "packet-context",
    EVENT_HEADER: "event-record-header",
    STREAM_CONTEXT: "event-record-common-context",
    EVENT_CONTEXT: "event-record-specific-context",
    EVENT_FIELDS: "event-record-payload",
}


class Converter:
    """Says types in JSON. ``renamed``: fields with a role are called otherwise, since their names mean nothing."""

    def __init__(self, metadata: Metadata, renamed: bool = True) -> None:
        self.metadata, self.renamed = metadata, renamed
        self.root: tuple[str, ...] = ()
        self.open: list[Structure] = []
        self.roots: dict[tuple[str, ...], Structure | None] = {}

    def fragments(self) -> list[Object]:
        m = self.metadata
        preamble: Object = {"type": "preamble", "version": 2}
        if m.uuid is not None:
            preamble["uuid"] = list(m.uuid)
        found = [preamble, {"type": "trace-class", "environment": m.env, **self.struct(PACKET_HEADER, m.packet_header)}]
        for clock in m.clocks.values():
            offset = {"seconds": clock.offset_s, "cycles": clock.offset}
            found.append(
                {"type": "clock-class", "id": clock.name, "frequency": clock.frequency, "offset-from-origin": offset}
            )
        for stream in m.streams.values():
            found.append(self.stream(stream))
            for event in stream.events.values():
                named = {"id": event.id, "name": event.name, "data-stream-class-id": stream.id}
                context = self.struct(EVENT_CONTEXT, event.context)
                found.append(
                    {"type": "event-record-class", **named, **context, **self.struct(EVENT_FIELDS, event.fields)}
                )
        return found

    def stream(self, stream: StreamClass) -> Object:
        clock = {"default-clock-class-id": next(iter(self.metadata.clocks))} if self.metadata.clocks else {}
        return {
            "type": "data-stream-class",
            "id": stream.id,
            **clock,
            **self.struct(PACKET_CONTEXT, stream.packet_context),
            **self.struct(EVENT_HEADER, stream.event_header),
            **self.struct(STREAM_CONTEXT, stream.event_context),
        }

    def struct(self, root: tuple[str, ...], kind: Structure | None) -> Object:
        """The property that is the structure of a root."""
        self.root, self.roots[root] = root, kind
        name = ORIGINS[root].removesuffix("-payload").removeprefix("event-record-")
        name = {"header": "event-record-header", "common-context": "event-record-common-context"}.get(name, name)
        name = "payload" if root == EVENT_FIELDS else name
        return {} if kind is None else {f"{name}-field-class": self.type(kind)}

    def name(self, name: str) -> str:
        shown = shown_name(name)
        return f"the {shown}" if self.renamed and shown in ROLES.get(self.root, {}) else shown

    def type(self, kind: Type, role: str = "") -> Object:
        match kind:
            case Integer():
                found: Object = {
                    "type": f"fixed-length-{'' if kind.signed else 'un'}signed-integer",
                    "length": kind.size,
                    "byte-order": "little-endian" if kind.little else "big-endian",
                    "alignment": kind.align,
                    "preferred-display-base": kind.base,
                }
                return found | ({"roles": [role]} if role else {})
            case Enumeration():
                mappings: dict[str, list[list[int]]] = {}
                for label, low, high in kind.labels:
                    mappings.setdefault(label, []).append([low, high])
                return self.type(kind.container, role) | {"mappings": mappings}
            case Float():
                order = "little-endian" if kind.little else "big-endian"
                number = {"length": kind.size, "byte-order": order, "alignment": kind.align}
                return {"type": "fixed-length-floating-point-number", **number}
            case String():
                return {"type": "null-terminated-string"}
            case Structure():
                self.open.append(kind)
                roles = ROLES.get(self.root, {})
                members = [
                    {"name": self.name(name), "field-class": self.type(t, roles.get(shown_name(name), ""))}
                    for name, t in kind.members
                ]
                self.open.pop()
                return {"type": "structure", "member-classes": members, "minimum-alignment": kind.align}
            case Array():
                return self.array(kind, role)
            case Variant():
                tag = self.found(kind.tag)
                assert isinstance(tag, Enumeration)
                options = []
                for name, t in kind.options:
                    ranges = [[a, b] for n, a, b in tag.labels if shown_name(n) == shown_name(name)]
                    options.append(
                        {"name": shown_name(name), "selector-field-ranges": ranges, "field-class": self.type(t)}
                    )
                return {"type": "variant", "selector-field-location": self.location(kind.tag), "options": options}
        raise TypeError(kind)

    def array(self, kind: Array, role: str) -> Object:
        if role == "metadata-stream-uuid":
            return {"type": "static-length-blob", "length": 16, "roles": [role]}
        sort = "string" if kind.is_text else "array"
        element = {} if kind.is_text else {"element-field-class": self.type(kind.element)}
        if isinstance(kind.length, int):
            return {"type": f"static-length-{sort}", "length": kind.length, **element}
        return {"type": f"dynamic-length-{sort}", "length-field-location": self.location(kind.length), **element}

    def location(self, path: FieldPath) -> Object:
        if isinstance(path[0], Place):
            up = [s.place for s in reversed(self.open)].index(path[0])
            return {"path": [None] * up + [self.name(str(n)) for n in path[1:]]}
        root = next(r for r in ORIGINS if path[: len(r)] == r)
        own, self.root = self.root, root
        names = [self.name(str(n)) for n in path[len(root) :]]
        self.root = own
        return {"origin": ORIGINS[root], "path": names}

    def found(self, path: FieldPath) -> Type:
        if isinstance(path[0], Place):
            at: Type = next(s for s in self.open if s.place is path[0])
            rest = path[1:]
        else:
            root = next(r for r in ORIGINS if path[: len(r)] == r)
            structure = self.roots[root]
            assert structure is not None
            at, rest = structure, path[len(root) :]
        for name in rest:
            assert isinstance(at, Structure)
            at = next(t for n, t in at.members if n == name)
        return at


def sequence(fragments: list[Object]) -> bytes:
    """Fragments as a sequence of JSON texts."""
    return b"".join(b"\x1e" + json.dumps(f, indent=1).encode() + b"\n" for f in fragments)


def convert(folder: Path, to: Path, renamed: bool = True) -> Path:
    """A folder of CTF 1.8, said again in CTF 2."""
    to.mkdir(parents=True)
    for file in folder.iterdir():
        if file.is_file() and file.name != "metadata":
            (to / file.name).write_bytes(file.read_bytes())
    metadata = read_metadata(folder / "metadata")
    (to / "metadata").write_bytes(sequence(Converter(metadata, renamed).fragments()))
    return to
