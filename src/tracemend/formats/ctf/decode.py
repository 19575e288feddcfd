"""Decoders: for each kind of packet and event a function, compiled when it is first needed from its types' source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tracemend.errors import TraceError
from tracemend.formats.ctf.fields import Writer, joined
from tracemend.formats.ctf.metadata import EventClass, Metadata, StreamClass
from tracemend.formats.ctf.names import (
    EVENT_CONTEXT,
    EVENT_FIELDS,
    EVENT_HEADER,
    PACKET_CONTEXT,
    PACKET_HEADER,
    STREAM_CONTEXT,
    Bound,
    Names,
    Options,
    shown_name,
)
from tracemend.formats.ctf.types import Array, Enumeration, Integer, Refused, String, Structure, Type, Variant, Varint
from tracemend.formats.ctf.values import DAMAGED, READING, Budget, Damage, Quotes, listed

#: Where an event says whose it is: in a context by these names, or, for perf, among its fields.
TIDS, COMMS, PERF_TID = ("tid", "vtid", "perf_tid"), ("procname", "comm", "perf_comm"), "perf_tid"

#: Where values of the packet and of the event's header are kept by their paths, for what refers to them.
Env = dict[tuple[str, ...], Any]
#: Reads a packet's header or context from a bit on: the bit behind it, and the values that were asked for. All its
#: values go into the ``Env``, if there is one; a context that refers to the header needs it.
PacketReader = Callable[[bytes, int, Env | None], tuple[int, Sequence[Any]]]


@dataclass(frozen=True, slots=True)
class Plan:
    """How an event class becomes rows: ``kind`` is the row's code, or a table from the number in field ``number``."""

    kind: int | Mapping[int, int]
    number: str = ""
    has_ret: bool = False


class Decoder:
    """Everything that reads one stream class's packets and events, each function made when it is first needed."""

    def __init__(self, metadata: Metadata, stream: StreamClass, plan: Callable[[EventClass], Plan]) -> None:
        self.metadata, self.stream, self.plan = metadata, stream, plan
        self.budget = Budget()
        self.clock: str | None = None
        self.timed = False
        self.shared: dict[str, Any] = {
            "__builtins__": {"int": int, "len": len, "min": min, "bin": bin},
            **READING,
            **{"listed": listed, "spend": self.budget.spend, "QUOTES": Quotes()},
        }
        header = stream.event_header
        self.whole = header is not None and header.align >= 8 and header.ends[0] == 0
        self.base = "at" if self.whole else "bit"
        self.outer: dict[tuple[str, ...], Structure | None] = {
            PACKET_HEADER: metadata.packet_header,
            PACKET_CONTEXT: stream.packet_context,
            EVENT_HEADER: header,
        }
        try:
            self.read_events = self._loop()
        except Refused as e:
            raise TraceError(metadata.path, stream.line, str(e)) from None
        self.classes = _Classes(self)

    def run(
        self, data: bytes, bit: int, now: int, floor: int, end: int, limit: int, add: Callable[[Any], None], env: Any
    ) -> tuple[int, int, int, Exception | None]:
        """Decode up to ``limit`` events of a packet's content, from ``bit`` to ``end``, and add their rows.

        Returns the bit behind the last whole event, the clock, the last event's time, and what was wrong, if anything.
        """
        self.budget.left = 1 << 16 | len(data) * 8
        place, end = (bit + 7 >> 3, end + 7 >> 3) if self.whole else (bit, end)
        place, now, floor, error = self.read_events(data, place, end, now, floor, limit, self.classes, add, env)
        return (place * 8 if self.whole else place), now, floor, error

    def _loop(self) -> Callable[..., Any]:
        """The function that reads events one after the other: the event header is in it, the rest in the classes'."""
        w = Writer(self.shared, {k: v for k, v in self.outer.items() if k != EVENT_HEADER})
        w.silent, w.keep, w.indent = True, self._keep, 3
        w.start(bits=not self.whole, known=8 if self.whole else 1)
        header = self.stream.event_header
        only = next(iter(self.stream.events), 0)
        w.emit("if start >= end: break")
        w.emit(f"{self.base} = start")
        w.emit(f"number = {only}")
        w.root(EVENT_HEADER, header)
        if self._refers_to_header():
            w.flush()
            for path, value in _scalars(EVENT_HEADER, w.roots.get(EVENT_HEADER, Names())):
                w.emit(f"env[{w.constant(path)}] = {value}")
        w.settle(bits=not self.whole)
        w.emit("if now < floor: raise Damage('time goes backwards')")
        w.emit(f"{self.base} = classes[number](data, {self.base}, now, add, env)")
        if header is None or not header.least:
            w.emit(f"if {self.base} <= start: raise Damage('an event without a size')")
        w.emit("floor = now")
        w.emit(f"start = {self.base}")
        loop = w.lines
        w.lines, w.indent = [], 1
        w.emit("try:")
        with w.indented():
            w.emit("for _ in repeat(None, limit):")
            w.lines += loop
        w.emit("except DAMAGED as error:")
        with w.indented():
            w.emit("return start, now, floor, error")
        self.shared["DAMAGED"] = DAMAGED
        parameters = "data, start, end, now, floor, limit, classes, add, env"
        return w.function("read_events", parameters, "start, now, floor, None")

    def _keep(self, name: str, bound: Bound) -> str | None:
        """What an event header's field does: it tells the event's class, or moves the clock on."""
        kind = bound.type.container if isinstance(bound.type, Enumeration) else bound.type
        if not isinstance(kind, Integer | Varint):
            return None
        name = shown_name(name)
        if kind.clock is not None or name == "timestamp":
            self.clock, self.timed = self.clock or kind.clock, True
            mask = f"{(1 << kind.size) - 1:#x}" if isinstance(kind, Integer) else f"(1 << {bound.value}_bits) - 1"
            whole = isinstance(kind, Integer) and kind.size == 64
            return f"now = {bound.value}" if whole else f"now += {bound.value} - now & {mask}"
        return f"number = {bound.value}" if name == "id" else None

    def _refers_to_header(self) -> bool:
        """Whether any event takes a length or a tag from the event header by its full path."""
        structures = [self.stream.event_context]
        for e in self.stream.events.values():
            structures += [e.context, e.fields]
        seen: set[int] = set()
        todo: list[Type] = [s for s in structures if s is not None]
        while todo:
            kind = todo.pop()
            if id(kind) in seen:
                continue
            seen.add(id(kind))
            path = kind.tag if isinstance(kind, Variant) else kind.length if isinstance(kind, Array) else ()
            if isinstance(path, tuple) and path[:3] == EVENT_HEADER:
                return True
            if isinstance(kind, Structure):
                todo += [t for _, t in kind.members]
            elif isinstance(kind, Variant):
                todo += [t for _, t in kind.options]
            elif isinstance(kind, Array):
                todo.append(kind.element)
        return False

    def event(self, event: EventClass) -> Callable[..., int]:
        """The function that reads one event behind its header and adds its row; raises TraceError."""
        plan = self.plan(event)
        w = Writer(self.shared, self.outer)
        w.start(bits=not self.whole, known=8 if self.whole else 1)
        try:
            contexts = w.root(STREAM_CONTEXT, self.stream.event_context) + w.root(EVENT_CONTEXT, event.context)
            fields = w.root(EVENT_FIELDS, event.fields)
            w.flush()
            thread, command, taken = whose(w.roots)
            tid, comm = thread.value if thread else "-1", command.value if command else "None"
            contexts = [(name, text) for name, text in contexts if name not in taken]
            ret = next((t for name, t in fields if plan.has_ret and name == "ret"), None)
            fields = [(name, text) for name, text in fields if ret is None or name != "ret"]
            number = integer(w.roots.get(EVENT_FIELDS, Names()), plan.number)
            code = (
                plan.kind
                if isinstance(plan.kind, int)
                else f"{w.constant(plan.kind)}[{number.value if number else -1}]"
            )
            args = joined(fields + contexts)
            shown = w.rendered(args) if args.template else "None"
            result = w.rendered(ret) if ret else "None"
            w.settle(bits=not self.whole)
            w.emit(f"add((now, {code}, {tid}, {comm}, {shown}, {result}))")
            return w.function("read_event", f"data, {self.base}, now, add, env", self.base)
        except Refused as e:
            raise TraceError(self.metadata.path, event.line, f"event {event.name}: {e}") from None


class _Classes(dict[int, Callable[..., int]]):
    """Event ids to the functions that read them, made when they first occur."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder

    def __missing__(self, number: int) -> Callable[..., int]:
        event = self.decoder.stream.events.get(number)
        if event is None:
            raise Damage(f"an event of class {number}, which the metadata doesn't have")
        self[number] = made = self.decoder.event(event)
        return made


def whose(roots: Mapping[tuple[str, ...], Names]) -> tuple[Bound | None, Bound | None, set[str]]:
    """The event's thread and command, and the names of the contexts that they come from."""
    scopes = [roots.get(STREAM_CONTEXT, Names()), roots.get(EVENT_CONTEXT, Names())]
    taken: set[str] = set()
    for name in TIDS:
        tid = next((found for s in scopes if (found := integer(s, name))), None)
        if tid:
            taken = {name}
            break
    else:
        tid = integer(roots.get(EVENT_FIELDS, Names()), PERF_TID)
    for name in COMMS:
        comm = next((found for s in scopes if (found := _text(s, name))), None)
        if comm:
            return tid, comm, taken | {name}
    return tid, None, taken


def integer(names: Names, name: str) -> Bound | None:
    """An integer field, by the name it is shown with."""
    for known, bound in names.items():
        if shown_name(known) == name and isinstance(bound, Bound) and isinstance(bound.type, Integer | Varint):
            return bound
    return None


def _text(names: Names, name: str) -> Bound | None:
    """A field of text."""
    for known, bound in names.items():
        if shown_name(known) != name or not isinstance(bound, Bound):
            continue
        kind = bound.type
        if (isinstance(kind, String) or (isinstance(kind, Array) and kind.is_text)) and kind.codec == "utf-8":
            return bound
    return None


def _scalars(root: tuple[str, ...], names: Names) -> Iterator[tuple[tuple[str, ...], str]]:
    """Paths and variables of all values but those within variants' options."""
    for name, bound in names.items():
        if isinstance(bound, Bound):
            yield (*root, name), bound.value
        elif not isinstance(bound, Options):
            yield from _scalars((*root, name), bound)


def packet_reader(
    root: tuple[str, ...], structure: Structure | None, metadata: Metadata, wanted: Sequence[str]
) -> tuple[PacketReader, bool]:
    """What reads a packet's header or context. wanted: names, as they are shown, of the fields whose values it returns
    (None where there is no such field; an array's as bytes or a list). Also whether it refers to the header's.

    Raises Refused."""
    shared: dict[str, Any] = {
        "__builtins__": {"int": int, "len": len, "min": min},
        **READING,
        "spend": Budget().spend,
    }
    w = Writer(shared, {PACKET_HEADER: metadata.packet_header} if root == PACKET_CONTEXT else {})
    w.silent = True
    w.start(bits=True, known=1)
    w.root(root, structure)
    w.settle(bits=True)
    names = w.roots.get(root, Names())
    w.emit("if env is not None:")
    with w.indented():
        w.emit("pass")
        for path, value in _scalars(root, names):
            w.emit(f"env[{w.constant(path)}] = {value}")
    found = list(_scalars((), names))
    if metadata.version == 1:  # there a name means something at the top only
        found = [(path, value) for path, value in found if len(path) == 1]
    values = {shown_name(path[-1]): value for path, value in reversed(found)}
    result = f"bit, [{', '.join(values.get(n, 'None') for n in wanted)}]"
    return w.function("read_packet", "data, bit, env", result), w.refers
