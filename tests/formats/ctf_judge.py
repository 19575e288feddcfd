"""Everything that babeltrace2 reads from a trace, as lines of JSON: what this package's reader is judged by.

    /usr/bin/python3 ctf_judge.py FOLDER ...

Runs under the Python that babeltrace2's bindings are built for, and shares nothing with the package.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import bt2

ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def labels(field: Any) -> list[str]:
    """The labels of an enumeration's value; the bindings of 2.0.4 may trip over a value without any."""
    try:
        return sorted(field.labels)
    except AssertionError:
        return []


def text(field: Any) -> str:
    """A field as tracemend writes it."""
    kind = type(field).__name__
    if "Enumeration" in kind:
        found = labels(field)
        return f"{found[0]}({int(field)})" if found else str(int(field))
    if "Integer" in kind:
        value, size, base = int(field), field.cls.field_value_range, field.cls.preferred_display_base
        if base != 10 and value < 0:
            value += 1 << size
        return {10: str(value), 16: f"{value:#x}", 8: f"0{value:o}", 2: f"{value:#b}"}[base]
    if "Real" in kind:
        return repr(float(field))
    if "String" in kind:
        return '"' + "".join(ESCAPES.get(c, c if c >= " " else f"\\x{ord(c):02x}") for c in str(field)) + '"'
    if "Array" in kind:
        return "[" + ", ".join(text(e) for e in field) + "]"
    if "Structure" in kind:
        return "{" + ", ".join(f"{name}={t}" for name, t in texts(field)) + "}"
    if "Variant" in kind:
        return text(field.selected_option)
    raise TypeError(kind)


def texts(field: Any) -> list[tuple[str, str]]:
    return [] if field is None else [(name, text(f)) for name, f in field.items()]


def line_of(message: Any) -> dict[str, Any] | None:
    """What a message says, if it is an event or a loss."""
    kind = type(message).__name__
    if kind == "_EventMessageConst":
        event = message.event
        packet = event.packet.context_field if event.stream.cls.supports_packets else None
        return {
            "ns": message.default_clock_snapshot.ns_from_origin if event.stream.cls.default_clock_class else None,
            "stream": event.stream.id,
            "cpu": int(packet["cpu_id"]) if packet is not None and "cpu_id" in packet else -1,
            "name": event.name,
            "context": texts(event.common_context_field) + texts(event.specific_context_field),
            "fields": texts(event.payload_field),
        }
    if kind in ("_DiscardedEventsMessageConst", "_DiscardedPacketsMessageConst"):
        count = message.count
        return {
            "lost": "events" if "Events" in kind else "packets",
            "count": None if count is None else count - (1 << 64) * (count >= 1 << 63),
            "stream": message.stream.id,
        }
    return None


def main() -> None:
    for number, folder in enumerate(sys.argv[1:]):
        try:
            for message in bt2.TraceCollectionMessageIterator(folder):
                line = line_of(message)
                if line is not None:
                    sys.stdout.write(json.dumps(line | {"trace": number}) + "\n")
        except bt2._Error as e:
            sys.stdout.write(json.dumps({"trace": number, "error": str(e).splitlines()[0]}) + "\n")


if __name__ == "__main__":
    main()
