"""Names of fields: where packets and events have them, and the values in generated source that they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tracemend.formats.ctf.source import Source
from tracemend.formats.ctf.types import FieldPath, Place, Refused, Structure, Type, Variant

PACKET_HEADER, PACKET_CONTEXT = ("trace", "packet", "header"), ("stream", "packet", "context")
EVENT_HEADER, STREAM_CONTEXT = ("stream", "event", "header"), ("stream", "event", "context")
EVENT_CONTEXT, EVENT_FIELDS = ("event", "context"), ("event", "fields")
ROOTS = (EVENT_FIELDS, EVENT_CONTEXT, STREAM_CONTEXT, EVENT_HEADER, PACKET_CONTEXT, PACKET_HEADER)


@dataclass(slots=True)
class Bound:
    """A value that was read: its type and the variable or expression that holds it."""

    type: Type
    value: str


class Names(dict[str, "Bound | Names"]):
    """What names stand for: values, or what the structure of a place holds."""

    place: Place | None = None


class Options(Names):
    """What a variant's options hold, of which one is there."""


def dotted(path: FieldPath) -> str:
    """A path for people."""
    return ".".join(name for name in path if isinstance(name, str))


def shown_name(name: str) -> str:
    """A field's name without the underscore that tracers put in front of it, against TSDL's keywords."""
    return name[1:] if name.startswith("_") and len(name) > 1 else name


class Scopes:
    """What paths lead to. ``outer``: structures that were read elsewhere, by their roots."""

    def __init__(self, outer: dict[tuple[str, ...], Structure | None]) -> None:
        self.outer = outer
        self.scopes: list[Names] = []
        self.roots: dict[tuple[str, ...], Names] = {}

    def elsewhere(self, path: FieldPath) -> str:
        """What stands for a value that was read elsewhere; raises Refused if nothing can."""
        raise Refused(f"a reference to {dotted(path)}")

    def find(self, path: FieldPath) -> Bound:
        """The value at a path: absolute, of a place, or by its first name in the structures around, from the innermost.

        Raises Refused if there is none. Values of the packet and of the event's header come from elsewhere.
        """
        for root in ROOTS:
            if path[: len(root)] == root:
                found = self._within(self.roots.get(root), path[len(root) :])
                return found or self._outer(root, path[len(root) :])
        for names in reversed(self.scopes):
            found = self._within(names, path[1:] if names.place is path[0] else path)
            if found:
                return found
        for root in ROOTS:
            found = self._within(self.roots.get(root), path)
            if found:
                return found
            structure = self.outer.get(root)
            if structure is not None and path[0] in dict(structure.members):
                return self._outer(root, path)
        raise Refused(f"no field {dotted(path)} to take a length or a tag from")

    @staticmethod
    def _within(names: Names | None, path: FieldPath) -> Bound | None:
        at: Bound | Names | None = names
        for name in path:
            at = at.get(name) if isinstance(at, dict) and isinstance(name, str) else None
        return at if isinstance(at, Bound) else None

    def _outer(self, root: tuple[str, ...], path: FieldPath) -> Bound:
        at: Type | None = self.outer.get(root)
        for name in path:
            inner = at.members if isinstance(at, Structure) else at.options if isinstance(at, Variant) else ()
            at = next((t for n, t in inner if n == name), None)
        if at is None:
            raise Refused(f"no field {dotted((*root, *path))} to take a length or a tag from")
        return Bound(at, self.elsewhere((*root, *path)))


class NamedSource(Source, Scopes):
    """Source in which values have names; those that were read elsewhere are in ``env``."""

    def __init__(self, shared: dict[str, Any], outer: dict[tuple[str, ...], Structure | None]) -> None:
        Source.__init__(self, shared)
        Scopes.__init__(self, outer)
        self.refers = False  # to a value that another function has read

    def elsewhere(self, path: FieldPath) -> str:
        self.refers = True
        return f"env[{self.constant(path)}]"
