"""All messages of a trace without and with the filter of inferred events, as lines of JSON.

    /usr/bin/python3 filter_judge.py PLUGIN_FOLDER TRACE PARAMS ...

Runs under the Python that babeltrace2's bindings are built for. PARAMS: the filter's parameters as JSON, a run each, or
``null`` for a run without the filter. stderr has a line ``run N`` in front of what each run says.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import bt2

sys.path[:0] = [sys.argv[1]]
import bt_plugin_tracemend  # noqa: E402


def plain(field: Any) -> Any:
    """A field as JSON holds it."""
    kind = type(field).__name__
    if field is None:
        return None
    if "Structure" in kind:
        return {name: plain(f) for name, f in field.items()}
    if "Array" in kind:
        return [plain(f) for f in field]
    if "Variant" in kind:
        return plain(field.selected_option)
    return float(field) if "Real" in kind else int(field) if "Integer" in kind or "Enum" in kind else str(field)


def line_of(message: Any) -> dict[str, Any]:
    """What a message is, and where an event is one, all of it."""
    found: dict[str, Any] = {"kind": type(message).__name__, "ns": bt_plugin_tracemend.time_of(message)}
    if "Event" in found["kind"] and hasattr(message, "event"):
        event = message.event
        found["name"] = event.name
        found["context"] = plain(event.common_context_field)
        found["fields"] = [plain(event.specific_context_field), plain(event.payload_field)]
    if hasattr(message, "stream"):
        found["stream"] = message.stream.name
    return found


def main() -> None:
    trace, *runs = sys.argv[2:]
    for number, params in enumerate(map(json.loads, runs)):
        sys.stderr.write(f"run {number}\n")
        sys.stderr.flush()
        filters = [] if params is None else [bt2.ComponentSpec(bt_plugin_tracemend.mend, params or None)]
        source = bt2.AutoSourceComponentSpec(trace)
        for message in bt2.TraceCollectionMessageIterator(source, filters):
            sys.stdout.write(json.dumps({"run": number, **line_of(message)}) + "\n")


if __name__ == "__main__":
    main()
