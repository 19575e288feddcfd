"""Field classes of CTF 2 (CTF2-SPEC-2.0, 5.3), which are JSON, to the types that CTF 1.8's declarations become."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar

from tracemend.formats.ctf.names import (
    EVENT_CONTEXT,
    EVENT_FIELDS,
    EVENT_HEADER,
    PACKET_CONTEXT,
    PACKET_HEADER,
    STREAM_CONTEXT,
)
from tracemend.formats.ctf.types import (
    MOST_NESTED,
    Array,
    Enumeration,
    FieldPath,
    Float,
    Integer,
    Place,
    Refused,
    String,
    Structure,
    Type,
    Variant,
    Varint,
)

#: Field classes in all of the metadata, those within aliases counted wherever an alias is used.
MOST_CLASSES = 1 << 20

Root = tuple[str, ...]
Ranges = tuple[tuple[int, int], ...]
_T = TypeVar("_T")

ORIGINS: dict[str, Root] = {
    "packet-header": PACKET_HEADER,
    "packet-context": PACKET_CONTEXT,
    "event-record-header": EVENT_HEADER,
    "event-record-common-context": STREAM_CONTEXT,
    "event-record-specific-context": EVENT_CONTEXT,
    "event-record-payload": EVENT_FIELDS,
}
#: A role is what CTF 1.8 says by a field's name, so a field that has one gets that name.
ROLES: dict[Root, dict[str, str]] = {
    PACKET_HEADER: {
        "packet-magic-number": "magic",
        "metadata-stream-uuid": "uuid",
        "data-stream-class-id": "stream_id",
        "data-stream-id": "stream_instance_id",
    },
    PACKET_CONTEXT: {
        "packet-total-length": "packet_size",
        "packet-content-length": "content_size",
        "default-clock-timestamp": "timestamp_begin",
        "packet-end-default-clock-timestamp": "timestamp_end",
        "packet-sequence-number": "packet_seq_num",
        "discarded-event-record-counter-snapshot": "events_discarded",
    },
    EVENT_HEADER: {"event-record-class-id": "id", "default-clock-timestamp": "timestamp"},
}
#: Encodings by their names, with the bytes of a zero.
ENCODINGS = {
    "utf-8": ("utf-8", 1),
    "utf-16be": ("utf-16-be", 2),
    "utf-16le": ("utf-16-le", 2),
    "utf-32be": ("utf-32-be", 4),
    "utf-32le": ("utf-32-le", 4),
}
ORDERS = {"little-endian": True, "big-endian": False}
OWN_BIT_ORDERS = {"little-endian": "first-to-last", "big-endian": "last-to-first"}


def taken(given: dict[str, Any], name: str, kind: type[_T], default: _T | None = None) -> _T:
    """A property, which must be of this kind of JSON; raises Refused, also where there is none and no default."""
    value = given.get(name, default)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        what = "is missing" if name not in given else "is not what it should be"
        raise Refused(f"property {name!r} {what}")
    return value


def chosen(given: dict[str, Any], name: str, known: dict[Any, _T], default: Any = None) -> _T:
    """What a property's value stands for."""
    value = given.get(name, default)
    if not isinstance(value, str | int) or value not in known:
        raise Refused(f"property {name!r} is {str(value)[:40]!r}")
    return known[value]


def objects(given: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """A property that is a list of objects."""
    found = taken(given, name, list)
    if not all(isinstance(one, dict) for one in found):
        raise Refused(f"property {name!r} is not what it should be")
    return found


def ranges(found: object) -> Ranges:
    """A set of ranges of integers, both ends included."""
    if not isinstance(found, list):
        raise Refused("no ranges of integers")
    for one in found:
        fits = isinstance(one, list) and len(one) == 2 and all(type(end) is int for end in one)
        if not fits or one[0] > one[1]:
            raise Refused("no range of integers")
    return tuple((low, high) for low, high in found)


@dataclass(slots=True)
class _Open:
    """A structure that is being declared: its fields so far, what they are called here, and the one that is next."""

    place: Place = field(default_factory=Place)
    members: dict[str, Type] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    at: str = ""


class FieldClasses:
    """Makes types; what they refer to is found among ``roots``, the structures that are there before them."""

    def __init__(self) -> None:
        self.aliases: dict[str, Any] = {}
        self.roots: dict[Root, Structure | None] = {}
        self.root: Root = ()
        self.clock: str | None = None
        self.open: list[_Open] = []
        self.names: dict[Place, dict[str, str]] = {}
        self.depth = self.count = 0

    def structure(self, root: Root, given: dict[str, Any], name: str) -> Structure | None:
        """The structure that a fragment's property is, kept as that root; None if it isn't there. Raises Refused."""
        self.root, self.open, self.depth = root, [], 0
        found = self.type(given[name]) if name in given else None
        if found is not None and not isinstance(found, Structure):
            raise Refused(f"{name} is no structure")
        self.roots[root] = found
        return found

    def type(self, given: object) -> Type:
        """The type that a field class, or the name of an alias, stands for; raises Refused."""
        for _ in range(MOST_NESTED):
            if not isinstance(given, str):
                break
            if given not in self.aliases:
                raise Refused(f"no field class alias {given[:40]!r}")
            given = self.aliases[given]
        if not isinstance(given, dict):
            raise Refused("a field class that is no object")
        self.count += 1
        self.depth += 1
        if self.depth > MOST_NESTED or self.count > MOST_CLASSES:
            raise Refused("field classes too many or nested too deep")
        found = self._made(given, taken(given, "type", str))
        self.depth -= 1
        return found

    def _made(self, given: dict[str, Any], kind: str) -> Type:
        if kind.startswith("fixed-length-"):
            return self._fixed(given, kind.removeprefix("fixed-length-"))
        if kind.startswith("variable-length-") and kind.endswith("signed-integer"):
            signed = kind == "variable-length-signed-integer"
            return self._mapped(given, Varint(signed, self._base(given), self._clock_of(given)))
        if kind == "null-terminated-string":
            return String(*chosen(given, "encoding", ENCODINGS, "utf-8"))
        if kind.endswith("-string"):
            codec, _ = chosen(given, "encoding", ENCODINGS, "utf-8")
            return Array(Integer(8, False, True, text=True, alignment=8, codec=codec), self._length(given, kind))
        if kind.endswith("-blob"):
            return Array(Integer(8, False, True, base=16, alignment=8), self._length(given, kind))
        if kind.endswith("-array"):
            length = self._length(given, kind)
            element = self.type(given.get("element-field-class"))
            return Array(element, length, taken(given, "minimum-alignment", int, 1))
        if kind == "structure":
            return self._structure(given)
        if kind == "variant":
            return self._variant(given)
        if kind == "optional":
            tag = self._located(given, "selector-field-location")
            chosen_by = (ranges(given["selector-field-ranges"]),) if "selector-field-ranges" in given else ()
            return Variant(tag, (("field", self.type(given.get("field-class"))),), chosen_by, optional=True)
        raise Refused(f"no type of field class: {kind[:40]!r}")

    def _fixed(self, given: dict[str, Any], kind: str) -> Type:
        size, alignment = taken(given, "length", int), taken(given, "alignment", int, 1)
        little = chosen(given, "byte-order", ORDERS)
        own = OWN_BIT_ORDERS[given["byte-order"]]
        if given.get("bit-order", own) != own and kind != "boolean":
            raise Refused("bits in another order than the bytes' own can't be read")
        if kind == "floating-point-number":
            return Float(size, little, alignment)
        if kind in ("bit-array", "bit-map"):
            return Integer(size, False, little, 16, alignment=alignment)
        if kind not in ("boolean", "unsigned-integer", "signed-integer"):
            raise Refused(f"no type of field class: 'fixed-length-{kind[:40]}'")
        number = Integer(
            size, kind[0] == "s", little, self._base(given), clock=self._clock_of(given), alignment=alignment
        )
        return self._mapped(given, number)

    @staticmethod
    def _base(given: dict[str, Any]) -> int:
        return chosen(given, "preferred-display-base", {2: 2, 8: 8, 10: 10, 16: 16}, 10)

    def _clock_of(self, given: dict[str, Any]) -> str | None:
        return self.clock if self.root == EVENT_HEADER and self._role(given) == "timestamp" else None

    def _role(self, given: dict[str, Any]) -> str:
        """The name that a field's role gives it where it is; empty if it has none."""
        known = ROLES.get(self.root, {})
        return next((known[r] for r in taken(given, "roles", list, []) if isinstance(r, str) and r in known), "")

    def _mapped(self, given: dict[str, Any], number: Integer | Varint) -> Type:
        mappings = taken(given, "mappings", dict, {})
        if not mappings or self._role(given):  # what has a role isn't shown
            return number
        return Enumeration(
            number, tuple((n, low, high) for n, found in mappings.items() for low, high in ranges(found))
        )

    def _length(self, given: dict[str, Any], kind: str) -> int | FieldPath:
        if kind.startswith("dynamic-length-"):
            return self._located(given, "length-field-location")
        if not kind.startswith("static-length-"):
            raise Refused(f"no type of field class: {kind[:40]!r}")
        length = taken(given, "length", int)
        if length < 0:
            raise Refused(f"a length of {length}")
        return length

    def _structure(self, given: dict[str, Any]) -> Structure:
        own = _Open()
        self.open.append(own)
        for member in objects(given, "member-classes") if "member-classes" in given else []:
            own.at = taken(member, "name", str)
            if own.at in own.names:
                raise Refused(f"two fields named {own.at[:40]}")
            kind = self.type(member.get("field-class"))
            name = self._called(own, member)
            own.names[own.at], own.members[name] = name, kind
        self.open.pop()
        self.names[own.place] = own.names
        return Structure(tuple(own.members.items()), taken(given, "minimum-alignment", int, 1), own.place)

    def _called(self, own: _Open, member: dict[str, Any]) -> str:
        """What a field is called here: by its role, or so that its name means nothing and is shown as it stands."""
        given = member["field-class"]
        while isinstance(given, str):
            given = self.aliases[given]
        role = self._role(given)
        if role and role not in own.members:
            return role
        name = f"_{own.at}" if own.at.startswith("_") else own.at
        meant = ROLES.get(self.root, {}).values()
        while name in meant or name in own.members:
            name += "'"
        return name

    def _variant(self, given: dict[str, Any]) -> Variant:
        tag = self._located(given, "selector-field-location")
        options, chosen_by = [], []
        for i, option in enumerate(objects(given, "options")):
            options.append((f"{i} {option.get('name', '')}", self.type(option.get("field-class"))))
            chosen_by.append(ranges(option.get("selector-field-ranges")))
        if not options:
            raise Refused("a variant without an option")
        return Variant(tag, tuple(options), tuple(chosen_by))

    def _located(self, given: dict[str, Any], name: str) -> FieldPath:
        """The path of a field location: of the structure around the field where that is open, else from a root on."""
        location = taken(given, name, dict)
        path = taken(location, "path", list)
        origin = chosen(location, "origin", ORIGINS) if "origin" in location else self.root
        if origin != self.root:
            return (*origin, *self._through(self.roots.get(origin), path))
        at = 0 if "origin" in location else len(self.open) - 1
        rest: list[Any] = []
        for step in path:
            if step is None:
                at, rest = (at, rest[:-1]) if rest else (at - 1, rest)
            elif not rest and at + 1 < len(self.open) and self.open[max(at, 0)].at == step:
                at += 1
            else:
                rest.append(step)
        if not rest or not 0 <= at < len(self.open):
            raise Refused(f"a field location that leads to no field: {path}"[:100])
        around = self.open[at]
        return (around.place, *self._through(Structure(tuple(around.members.items())), rest, around.names))

    def _through(self, kind: Type | None, path: list[Any], names: dict[str, str] | None = None) -> list[str]:
        """A path from a structure on, with fields as they are called here; ``names``: those of the structure itself.

        It goes through whatever is chosen of a variant, or ends there.
        """
        found: list[str] = []
        for i, step in enumerate(path):
            around = [t for _, t in kind.options] if isinstance(kind, Variant) else [kind]
            structures = [t for t in around if isinstance(t, Structure)]
            maps = [names] if names else [self.names[t.place] for t in structures if t.place]
            name = next((m[step] for m in maps if isinstance(step, str) and step in m), None)
            if name is None or (isinstance(kind, Variant) and i < len(path) - 1):
                raise Refused(f"a field location that leads to no field: {path}"[:100])
            found.append(name)
            if isinstance(kind, Variant):
                kind.keys.add(name)
                return found
            kind, names = dict(structures[0].members)[name], None
        if isinstance(kind, Variant):
            kind.keys.add("")
            found.append("")
        return found
