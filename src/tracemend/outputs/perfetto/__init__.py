"""A trace for the viewer of Perfetto: what survived, what was lost, and what was inferred, each on tracks of its own.

Written straight in protocol-buffer encoding (the fields' numbers are those of Perfetto's ``trace_packet.proto``,
``track_event.proto`` and their kin).

On top are the cpus with their losses and what was inferred there (``cpus``), below it the threads (``threads``). A
call whose enter and exit both survived is a slice: an enter that its own exit follows as the very next call event of
its thread. An enter or exit left alone by a loss is an instant, so that no slice has a made-up length. A slice during
which events were lost anywhere has the category ``syscall.across_gap``: its two ends may belong to different calls.

Each inferred event is there twice: below its thread, in the category ``tracemend.inferred``, and on its cpu, in
``tracemend.inferred.by_cpu``. Its name says that it is inferred; annotations say its gap, how sure it is, and of each
field that is known its value and how sure that is.
"""

from __future__ import annotations

from pathlib import Path

from tracemend.mending.mended import Result
from tracemend.outputs.perfetto.cpus import Cpus
from tracemend.outputs.perfetto.encoding import CLEARED, Names, descriptor, message, packet, uint
from tracemend.outputs.perfetto.rows import Rows
from tracemend.outputs.perfetto.running import Running
from tracemend.outputs.perfetto.threads import Threads, fill_notes

NAME = "trace.perfetto-trace"


def write(result: Result, folder: Path) -> list[Path]:
    """Write ``trace.perfetto-trace`` into the folder; raises OSError. Of a trace that was mended in pieces it shows the
    first one with gaps: a browser couldn't open it all."""
    path, mended = folder / NAME, result.head
    left_out = result.outline.kept - len(mended.trace)
    names, threads = Names(), Threads(mended)
    cpus = Cpus(mended, Running(mended, threads.comm))
    recorded, filled = Rows.recorded(mended.trace), Rows.filled(mended.inferred)
    notes = fill_notes(mended.inferred, names)
    events = [
        *threads.events(recorded, filled, notes, names),
        *cpus.events(recorded, filled, notes, threads, names),
    ]
    with open(path, "wb") as f:
        f.write(packet(uint(13, CLEARED) + message(12, names.interned())))
        f.write(_ROOT)
        f.writelines(cpus.about(left_out))
        f.writelines(cpus.descriptors())
        f.writelines(threads.descriptors())
        for some in events:
            some.write(f)
    return [path]


#: Newer versions of the viewer than 52 show processes and threads in the order that their descriptors give.
_ROOT = descriptor(0, rest=uint(19, 1) + uint(20, 1))
