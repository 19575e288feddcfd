"""CTF 1.8 and 2, as LTTng, perf and others write it: a folder with metadata that says how its stream files are read.

``folders`` finds metadata and stream files. Metadata: ``metadata_file`` unpacks the text, ``tokens`` cuts it up,
``declarations`` makes ``types`` of it and ``tsdl`` the streams, events and clocks that ``metadata`` holds. CTF 2's is
JSON, of which ``json_fields`` makes the same types and ``json_metadata`` the same streams, events and clocks.

Code that reads: ``source``, ``chunks``, ``names`` and ``fields`` write it for types, it calls ``values``, and
``decode`` makes of it what reads a packet's header and events.

Events: ``packets`` finds the packets (``packet_table`` holds them) and what was lost, by their ``counters``;
``streams`` joins and numbers their streams, ``stream_events`` decodes one, ``batches`` merges them, ``event_names``
knows system calls. ``windows`` chooses the packets around losses, ``glance`` needs none of their events, ``reader``
makes a Trace of it all.
"""

from __future__ import annotations

from pathlib import Path

from tracemend.formats.base import Evidence, Format, Options
from tracemend.formats.ctf.metadata_file import recognise
from tracemend.trace.events import Glance, Trace

# Every command lists the formats, few read CTF: what reads is imported when there is something to read.


def _read(path: Path, options: Options) -> Trace:
    from tracemend.formats.ctf import reader

    return reader.read(path, options)


def _windows(path: Path, options: Options, context: int) -> Trace:
    from tracemend.formats.ctf import reader

    return reader.windows(path, options, context)


def _glance(path: Path, options: Options) -> Glance:
    from tracemend.formats.ctf.glance import glance

    return glance(path, options)


TITLE = "CTF 1.8 and 2 (LTTng, perf data convert --to-ctf, ...), a folder"
EVIDENCE = Evidence(
    marks="each packet's counter of discarded events, and missing numbers of packets",
    complete="every stream's packets count discarded events, and none was",
    blind="all losses, if the tracer writes no such counter (perf data convert --to-ctf writes none)",
)
FORMAT = Format("ctf", TITLE, recognise, _read, EVIDENCE, folder=True, glance=_glance, windows=_windows, in_pieces=True)
