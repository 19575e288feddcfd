"""Write src/tracemend/formats/perfetto/schema.json from the schema in the PyPI package ``perfetto`` (Apache-2.0).

Run: pip install perfetto, then this script. Of every ftrace event it takes the name and the fields (``1s:comm``: field
1, a string, named comm), of the packets the names of their kinds.
"""

import json
from importlib.metadata import version
from pathlib import Path

from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as schema

OUT = Path(__file__).parents[1] / "src" / "tracemend" / "formats" / "perfetto" / "schema.json"
#: What a field's number, bits or bytes stand for, by its type in the schema; a message within is left out.
KINDS = {3: "i", 4: "u", 5: "i", 8: "u", 9: "s", 12: "s", 13: "u", 14: "i"}

events = {}
for event in schema.FtraceEvent.DESCRIPTOR.fields:
    if event.message_type is not None:
        fields = [f"{f.number}{KINDS[f.type]}:{f.name}" for f in event.message_type.fields if f.type in KINDS]
        events[event.number] = " ".join([event.name, *fields])
packets = {f.number: f.name for f in schema.TracePacket.DESCRIPTOR.oneofs_by_name["data"].fields}
document = {
    "source": f"perfetto {version('perfetto')} (PyPI), perfetto_trace.proto",
    "packets": dict(sorted(packets.items())),
    "events": dict(sorted(events.items())),
}
OUT.write_text(json.dumps(document, indent=0, separators=(",", ":")) + "\n")
print(OUT, OUT.stat().st_size, len(events))
