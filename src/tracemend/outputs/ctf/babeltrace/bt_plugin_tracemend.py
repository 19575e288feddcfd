"""babeltrace2's filter ``filter.tracemend.mend``: all messages as they come, and the inferred events of an overlay.

    babeltrace2 --plugin-path="$(tracemend babeltrace)" TRACE \
        --component=mend:filter.tracemend.mend --params='overlay="OUT"'

``OUT`` is the output folder of ``tracemend mend TRACE -o OUT``, or its ``overlay.jsonl``. The file runs in the Python
that babeltrace2's bindings are built for, where nothing else of the package need be installed: it takes the standard
library and ``bt2`` alone.

The messages of the graph are passed on unchanged and in order, whatever happens. Inferred events are messages of a
trace and a stream of their own, each in front of the first message that is later; their common context says that they
are inferred, as in a merged trace. Their fields are those that the overlay knows, with the kernel's names; how sure
each of them is stands in the event's own context. If the overlay can't be used, one line on stderr says why.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import bt2

JSONL = "overlay.jsonl"
#: How system calls are spelled, as LTTng does it.
PREFIXES = {"enter": "syscall_entry_", "exit": "syscall_exit_", "instant": ""}
#: Contexts of every inferred event, with the functions of a trace class that make their types.
CONTEXTS = {
    "tracemend_inferred": "create_unsigned_integer_field_class",
    "tracemend_fields_inferred": "create_unsigned_integer_field_class",
    "tracemend_confidence": "create_single_precision_real_field_class",
    "tracemend_gap": "create_unsigned_integer_field_class",
    "cpu_id": "create_signed_integer_field_class",
    "tid": "create_signed_integer_field_class",
    "procname": "create_string_field_class",
}
UNKNOWN_COMM = "<...>"
#: A text that is written as a number.
NUMBER = re.compile("0|-?[1-9][0-9]{0,17}")

#: The context of an event that says how sure each of its fields is.
FIELDS = "tracemend_fields"

#: A field's name, its value (a number where it is written as one) and how sure that is.
Field = tuple[str, Any, float]
#: When, and what: the event's name, the values of CONTEXTS, and its fields.
Inferred = tuple[int, str, tuple[Any, ...], list[Field]]


def say(message: str) -> None:
    """One line on stderr; nothing where there is no stderr to write to."""
    try:
        sys.stderr.write(f"filter.tracemend.mend: {' '.join(message.split())}\n")
        sys.stderr.flush()
    except (AttributeError, OSError, ValueError):
        pass


def read(path: Path) -> list[Inferred]:
    """The inferred events of an overlay in order of time; raises OSError, and ValueError for what is no overlay."""
    path = path / JSONL if path.is_dir() else path
    found: list[Inferred] = []
    number = 0
    with open(path, "rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                if number > 1:
                    found.append(event(row))
                elif row["kind"] != "overlay" or "tracemend" not in row:
                    raise ValueError
            except (ValueError, KeyError, TypeError, RecursionError):
                what = "not an event of an overlay" if number > 1 else "no overlay of tracemend's"
                raise ValueError(f"{path}:{number}: {what}") from None
    if not number:
        raise ValueError(f"{path}: the file is empty")
    return sorted(found, key=lambda e: e[0])


def event(row: dict[str, Any]) -> Inferred:
    """One line of an overlay; raises ValueError, KeyError or TypeError where it is none that bt2 could hold."""
    if row["inferred"] is not True:
        raise ValueError
    time, gap, cpu, tid = (whole(row[k], 64 if k == "time_ns" else 32) for k in ("time_ns", "gap", "cpu", "tid"))
    name, comm, confidence = row["name"], row["comm"], float(row["confidence"])
    comm = UNKNOWN_COMM if comm is None else comm
    texts = all(isinstance(t, str) and "\0" not in t for t in (name, comm))
    if min(time, gap) < 0 or not 0 <= confidence <= 1 or not texts:
        raise ValueError
    fields = [field(f["name"], f["value"], float(f["confidence"])) for f in row["fields"]]
    if len({name for name, _, _ in fields}) < len(fields):
        raise ValueError
    return time, PREFIXES[row["phase"]] + name, (1, len(fields), confidence, gap, cpu, tid, comm), fields


def field(name: Any, value: Any, confidence: float) -> Field:
    """Raises ValueError or TypeError for what bt2 could not hold."""
    if not (isinstance(name, str) and name.isidentifier()) or "\0" in value or not 0 <= confidence <= 1:
        raise ValueError
    return name, whole(int(value), 64) if NUMBER.fullmatch(value) else value, confidence


def whole(value: Any, bits: int) -> int:
    """A signed number of so many bits; raises ValueError for anything else."""
    if type(value) is not int or not -(1 << bits - 1) <= value < 1 << bits - 1:
        raise ValueError
    return value


def time_of(message: Any) -> int | None:
    """When a message is, in ns; None if it has no time."""
    for name in ("default_clock_snapshot", "beginning_default_clock_snapshot"):
        try:
            return int(getattr(message, name).ns_from_origin)
        except Exception:
            continue
    return None


class Stream:
    """The inferred events as messages of a stream of its own; made when the first of them is due."""

    def __init__(self, iterator: Any, events: list[Inferred]) -> None:
        self.iterator, self.events, self.at = iterator, events, 0
        self.made: Any = None
        self.kinds: dict[tuple[Any, ...], Any] = {}

    def until(self, time: int | None) -> list[Any]:
        """Messages of all events that are earlier, or of all that are left and the stream's end (None).

        What can't be made ends the stream, with a line on stderr.
        """
        due: list[Any] = []
        try:
            while self.at < len(self.events) and (time is None or self.events[self.at][0] < time):
                if self.made is None:
                    self._make()
                    due.append(self.iterator._create_stream_beginning_message(self.made))
                due.append(self._event(*self.events[self.at]))
                self.at += 1
        except Exception as e:
            say(f"inferred events from number {self.at} on are left out: {type(e).__name__}: {e}")
            self.events = self.events[: self.at]
        if time is None and self.made is not None:
            try:
                due.append(self.iterator._create_stream_end_message(self.made))
                self.made = None
            except Exception as e:
                say(f"the stream of inferred events has no end: {type(e).__name__}: {e}")
        return due

    def _make(self) -> None:
        component = self.iterator._component
        kind = component._create_trace_class()
        clock = component._create_clock_class(frequency=1_000_000_000, name="tracemend")
        context = kind.create_structure_field_class()
        for name, make in CONTEXTS.items():
            context.append_member(name, getattr(kind, make)())
        self.kind = kind.create_stream_class(
            name="tracemend_inferred", default_clock_class=clock, event_common_context_field_class=context
        )
        self.made = kind(name="tracemend_inferred").create_stream(self.kind, name="tracemend_inferred")

    def _event(self, time: int, name: str, values: tuple[Any, ...], fields: list[Field]) -> Any:
        kind = (name, *((field, type(value)) for field, value, _ in fields))
        if kind not in self.kinds:
            self.kinds[kind] = self._kind(name, fields)
        message = self.iterator._create_event_message(self.kinds[kind], self.made, time)
        for context, value in zip(CONTEXTS, values):  # noqa: B905  (Python 3.9 has no strict)
            message.event.common_context_field[context] = value
        for field, value, confidence in fields:
            message.event.payload_field[field] = value
            message.event.specific_context_field[FIELDS][field] = confidence
        return message

    def _kind(self, name: str, fields: list[Field]) -> Any:
        """The class of events with such fields."""
        if not fields:
            return self.kind.create_event_class(name=name)
        trace = self.kind.trace_class
        context, sure, payload = (trace.create_structure_field_class() for _ in range(3))
        for field, value, _ in fields:
            sure.append_member(field, trace.create_single_precision_real_field_class())
            number = isinstance(value, int)
            make = trace.create_signed_integer_field_class if number else trace.create_string_field_class
            payload.append_member(field, make())
        context.append_member(FIELDS, sure)
        return self.kind.create_event_class(
            name=name, specific_context_field_class=context, payload_field_class=payload
        )


class MendIterator(bt2._UserMessageIterator):  # type: ignore[misc]
    """Messages from upstream, with those of inferred events between them."""

    def __init__(self, config: Any, port: Any) -> None:
        self.upstream = self._create_message_iterator(self._component._input_ports["in"])
        self.inferred = Stream(self, self._component.events)
        self.waiting: list[Any] = []  # the next one last
        self.ended = False

    def __next__(self) -> Any:
        if self.waiting:
            return self.waiting.pop()
        if self.ended:
            raise StopIteration
        try:
            message = next(self.upstream)  # what it raises is upstream's to say
        except StopIteration:
            self.ended = True
            self.waiting = self.inferred.until(None)[::-1]
            return self.__next__()
        time = time_of(message)
        if time is not None:
            self.waiting = [message, *self.inferred.until(time)[::-1]]
            return self.waiting.pop()
        return message


@bt2.plugin_component_class
class mend(bt2._UserFilterComponent, message_iterator_class=MendIterator):  # type: ignore[misc, call-arg]  # noqa: N801
    """Pass all messages on and add the inferred events of an overlay (parameter ``overlay``), flagged as inferred."""

    def __init__(self, config: Any, params: Any, obj: Any) -> None:
        self._add_input_port("in")
        self._add_output_port("out")
        self.events: list[Inferred] = []
        try:
            if params is None or "overlay" not in params:
                raise ValueError("parameter overlay is missing: the output folder of tracemend mend")
            self.events = read(Path(str(params["overlay"])))
        except OSError as e:
            say(f"{e.filename}: {e.strerror or e}; no inferred events")
        except Exception as e:
            say(f"{e}; no inferred events")


bt2.register_plugin(
    module_name=__name__,
    name="tracemend",
    description="Inferred events of mended traces, flagged",
    license="Apache-2.0",
)
